//! redb.

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, all, plain};
use crate::order::Ordered;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "redb 3",
    about: "1 GiB of cache (default); gets and pass: one read transaction a thread and turn, YCSB: one a get; durable: \
            `Durability::Immediate` a put; OS: `Durability::None`, which is weaker: pages are written, but their root is \
            kept in memory, lost with the process; load: `Durability::None`, then an empty `Immediate` commit",
    open: |dir, _| {
        let db = Database::create(dir.join("store.redb")).expect("redb opens");
        let store = Store { db, durability: Durability::Immediate };
        store.write(&[]);
        Box::new(store)
    },
    takes: all,
    ways: plain,
};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

struct Store {
    db: Database,
    durability: Durability,
}

/// The table as of one transaction, which it keeps.
type AtOnce = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl View for AtOnce {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let value = ReadableTable::get(self, key).expect("redb gets");
        f(value.as_ref().map(|guard| guard.value()))
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.iter().expect("redb iterates") {
            let (key, value) = pair.expect("redb iterates");
            each(key.value(), value.value());
        }
    }
}

impl Ordered for AtOnce {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in ReadableTable::range(self, from..).expect("redb iterates").take(most) {
            let (key, value) = pair.expect("redb iterates");
            each(key.value(), value.value());
        }
    }
}

/// A transaction for each get.
impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        View::get(&self.begin(), key, f)
    }

    fn pass(&self, each: impl FnMut(&[u8], &[u8])) {
        self.begin().pass(each);
    }
}

impl Ordered for &Store {
    fn range(&self, from: &[u8], most: usize, each: impl FnMut(&[u8], &[u8])) {
        Ordered::range(&self.begin(), from, most, each);
    }
}

impl Store {
    fn begin(&self) -> AtOnce {
        let txn = self.db.begin_read().expect("redb begins");
        txn.open_table(TABLE).expect("redb opens its table")
    }

    fn write(&self, pairs: &[(Key, Vec<u8>)]) {
        let mut txn = self.db.begin_write().expect("redb begins");
        txn.set_durability(self.durability).expect("redb has no savepoints here");
        {
            let mut table = txn.open_table(TABLE).expect("redb opens its table");
            for (key, value) in pairs {
                table.insert(key.as_bytes(), value.as_slice()).expect("redb inserts");
            }
        }
        txn.commit().expect("redb commits");
    }
}

impl Engine for Store {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        if turn.wants_the_newest() { turn.go(self) } else { turn.go(self.begin()) }
    }

    fn read_in_order(&self, _: Way, turn: &Turn<'_>) {
        if turn.wants_the_newest() { turn.go_in_order(self) } else { turn.go_in_order(self.begin()) }
    }

    fn prepare(&mut self, mode: Mode) {
        self.durability = match mode {
            Mode::Os => Durability::None,
            Mode::Sync => Durability::Immediate,
        };
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        let mut txn = self.db.begin_write().expect("redb begins");
        txn.set_durability(self.durability).expect("redb has no savepoints here");
        txn.open_table(TABLE).expect("redb opens its table").insert(key, value).expect("redb inserts");
        txn.commit().expect("redb commits");
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        self.durability = Durability::None;
        self.write(pairs);
    }

    fn sync(&mut self) {
        self.durability = Durability::Immediate;
        self.write(&[]);
    }
}
