//! LMDB, by heed.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, RoTxn, WithTls};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, all, plain};
use crate::order::Ordered;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "LMDB (heed 0.22)",
    about: "no checksums; gets and pass (its cursor): one read transaction a thread and turn, YCSB: one a get; durable: \
            a write transaction a put (fdatasync); OS: the same with `NO_SYNC`, which writes to the file before it returns; \
            load: `NO_SYNC` transactions, then `force_sync`",
    open: |dir, bytes| open(dir, bytes, EnvFlags::empty()),
    takes: all,
    ways: plain,
};

pub(crate) const WRITABLE: Kind = Kind {
    name: "LMDB, WRITE_MAP",
    about: "the same with `WRITE_MAP`: writes go into the mapping, and so into the page cache; only where it writes to \
            the OS",
    open: |dir, bytes| open(dir, bytes, EnvFlags::WRITE_MAP),
    takes: |work| work.name == "load" || work.writes_to_the_os(),
    ways: plain,
};

struct Store {
    env: Env,
    db: Database<Bytes, Bytes>,
}

fn open(dir: &Path, bytes: u64, flags: EnvFlags) -> Box<dyn Engine> {
    let mut options = EnvOpenOptions::new();
    options.map_size((4 << 30) + (16 * bytes as usize).next_multiple_of(1 << 20));
    // SAFETY: the directory is ours alone, opened once in this process, and nobody else writes to the mapping.
    let env = unsafe { options.flags(flags).open(dir) }.expect("LMDB opens");
    let mut txn = env.write_txn().expect("LMDB begins");
    let db = env.create_database(&mut txn, None).expect("LMDB makes a database");
    txn.commit().expect("LMDB commits");
    Box::new(Store { env, db })
}

/// All gets in one transaction.
struct AtOnce<'a> {
    store: &'a Store,
    txn: RoTxn<'a, WithTls>,
}

impl View for AtOnce<'_> {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.store.db.get(&self.txn, key).expect("LMDB gets"))
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.store.db.iter(&self.txn).expect("LMDB iterates") {
            let (key, value) = pair.expect("LMDB iterates");
            each(key, value);
        }
    }
}

impl Ordered for AtOnce<'_> {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        for pair in self.store.db.range(&self.txn, &bounds).expect("LMDB iterates").take(most) {
            let (key, value) = pair.expect("LMDB iterates");
            each(key, value);
        }
    }
}

impl Store {
    fn begin(&self) -> AtOnce<'_> {
        AtOnce { store: self, txn: self.env.read_txn().expect("LMDB begins") }
    }
}

/// A transaction for each get.
impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        self.begin().get(key, f)
    }

    fn pass(&self, each: impl FnMut(&[u8], &[u8])) {
        self.begin().pass(each);
    }
}

impl Ordered for &Store {
    fn range(&self, from: &[u8], most: usize, each: impl FnMut(&[u8], &[u8])) {
        self.begin().range(from, most, each);
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
        let set = match mode {
            Mode::Os => FlagSetMode::Enable,
            Mode::Sync => FlagSetMode::Disable,
        };
        // SAFETY: `&mut self`, so no other thread is in the environment.
        unsafe { self.env.set_flags(EnvFlags::NO_SYNC, set) }.expect("LMDB sets its flags");
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        let mut txn = self.env.write_txn().expect("LMDB begins");
        self.db.put(&mut txn, key, value).expect("LMDB puts");
        txn.commit().expect("LMDB commits");
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        self.prepare(Mode::Os);
        let mut txn = self.env.write_txn().expect("LMDB begins");
        for (key, value) in pairs {
            self.db.put(&mut txn, key.as_bytes(), value).expect("LMDB puts");
        }
        txn.commit().expect("LMDB commits");
    }

    fn sync(&mut self) {
        self.env.force_sync().expect("LMDB syncs");
    }
}
