//! RocksDB.

use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, all, plain};
use crate::order::Ordered;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "RocksDB",
    about: "default options, pinned gets; durable: `sync = true`; OS: `sync = false`, which writes to \
            the WAL's file before it returns; load: `WriteBatch`, then a flush of the WAL",
    open: |dir, _| {
        let mut options = Options::default();
        options.create_if_missing(true);
        Box::new(Store { db: DB::open(&options, dir.join("store")).expect("RocksDB opens"), mode: Mode::Sync })
    },
    takes: all,
    ways: plain,
};

struct Store {
    db: DB,
    mode: Mode,
}

impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.db.get_pinned(key).expect("RocksDB gets").as_deref())
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.db.iterator(IteratorMode::Start) {
            let (key, value) = pair.expect("RocksDB iterates");
            each(&key, &value);
        }
    }
}

impl Ordered for &Store {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.db.iterator(IteratorMode::From(from, Direction::Forward)).take(most) {
            let (key, value) = pair.expect("RocksDB iterates");
            each(&key, &value);
        }
    }
}

impl Engine for Store {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        turn.go(self);
    }

    fn read_in_order(&self, _: Way, turn: &Turn<'_>) {
        turn.go_in_order(self);
    }

    fn prepare(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        let mut options = WriteOptions::default();
        options.set_sync(self.mode == Mode::Sync);
        self.db.put_opt(key, value, &options).expect("RocksDB puts");
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key.as_bytes(), value);
        }
        self.db.write(batch).expect("RocksDB writes");
    }

    fn sync(&mut self) {
        self.db.flush_wal(true).expect("RocksDB flushes its log");
    }
}
