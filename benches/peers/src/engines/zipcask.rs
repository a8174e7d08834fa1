//! zipcask.

use std::path::Path;

use zipcask::{Db, Durability, KeyspaceOptions, Options, PutOptions, Stats};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, unordered};
use crate::order::Visit;
use crate::ours::Many;
use crate::plan::Work;
use crate::turn::Turn;

pub(crate) const KIND: Kind = Kind {
    name: "zipcask",
    about: "default options: mapped reads, 64 MiB segments, checksums checked when a record is first read; `Db::get` and \
            `iter`; Reader: `Reader::get` and `for_each`, one reader a thread and turn, refreshed at its end; get_many: \
            the same, so many keys at a time; durable: `Durability::Sync` (fdatasync, shared); OS: `Durability::Os`; \
            load: `Batch` with `Durability::Os`, then `sync`",
    open: |dir, _| {
        let db = Db::open(dir.join("store")).expect("zipcask opens");
        Box::new(Store { db, put: PutOptions::new(), compacts: false })
    },
    takes: unordered,
    ways: |work| match work.name {
        "get" => &[Way::Plain, Way::Reader, Way::Many(16), Way::Many(64), Way::Many(256)],
        _ if work.reads_only() || work.mix.is_some() => &[Way::Plain, Way::Reader],
        _ => &[Way::Plain],
    },
};

pub(crate) const ORDERED: Kind = Kind {
    name: "zipcask, ordered",
    about: "the same with an ordered keyspace, as it is after loading in no order; `range`; visited: `Range::visit`",
    open: |dir, _| open_ordered(dir, false),
    takes: Work::wants_order,
    ways: |_| &[Way::Plain, Way::Visit],
};

pub(crate) const COMPACTED: Kind = Kind {
    name: "zipcask, compacted",
    about: "the same after `compact()`, called once, when it has been loaded",
    open: |dir, _| open_ordered(dir, true),
    ..ORDERED
};

/// As `COMPACTED` is held against others.
pub(crate) const VISITED: &str = "zipcask, compacted, visited";

struct Store {
    db: Db,
    put: PutOptions,
    /// Whether the next `sync` compacts.
    compacts: bool,
}

fn open_ordered(dir: &Path, compacts: bool) -> Box<dyn Engine> {
    let options = Options::new().default_keyspace(KeyspaceOptions::new().ordered(true));
    let db = options.open(dir.join("store")).expect("zipcask opens");
    Box::new(Store { db, put: PutOptions::new(), compacts })
}

impl Engine for Store {
    fn read(&self, way: Way, turn: &Turn<'_>) {
        match way {
            Way::Plain => turn.go(&self.db),
            Way::Reader => turn.go(self.db.reader()),
            Way::Many(batch) => turn.go(Many { reader: self.db.reader(), batch }),
            Way::Visit => unreachable!("it is asked for ranges only"),
        }
    }

    fn read_in_order(&self, way: Way, turn: &Turn<'_>) {
        if way == Way::Visit { turn.go_in_order(Visit(&self.db)) } else { turn.go_in_order(&self.db) }
    }

    fn prepare(&mut self, mode: Mode) {
        self.put = PutOptions::new().durability(match mode {
            Mode::Os => Durability::Os,
            Mode::Sync => Durability::Sync,
        });
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.put_with(key, value, self.put).expect("zipcask puts");
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.put(&*self.db, key, value);
        }
        batch.commit_with(Durability::Os).expect("zipcask commits");
    }

    fn sync(&mut self) {
        self.db.sync().expect("zipcask syncs");
        if std::mem::take(&mut self.compacts) {
            self.db.compact().expect("zipcask compacts");
        }
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.db.stats())
    }
}
