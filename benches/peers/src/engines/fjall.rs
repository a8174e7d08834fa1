//! fjall.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, all, plain};
use crate::order::Ordered;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "fjall 3",
    about: "1 GiB of block cache, else defaults; durable: `insert` and `persist(SyncData)`; OS: `insert`, which \
            writes to the journal's file before it returns; load: `WriteBatch`, then `persist(SyncData)`",
    open: |dir, _| {
        let db = Database::builder(dir.join("store")).cache_size(1 << 30).open().expect("fjall opens");
        let keyspace = db.keyspace("bench", KeyspaceCreateOptions::default).expect("fjall makes a keyspace");
        Box::new(Store { db, keyspace, mode: Mode::Sync })
    },
    takes: all,
    ways: plain,
};

struct Store {
    db: Database,
    keyspace: Keyspace,
    mode: Mode,
}

impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.keyspace.get(key).expect("fjall gets").as_deref())
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.keyspace.iter() {
            let (key, value) = pair.into_inner().expect("fjall iterates");
            each(&key, &value);
        }
    }
}

impl Ordered for &Store {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.keyspace.range(from..).take(most) {
            let (key, value) = pair.into_inner().expect("fjall iterates");
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
        self.keyspace.insert(key, value).expect("fjall inserts");
        if self.mode == Mode::Sync {
            self.db.persist(PersistMode::SyncData).expect("fjall persists");
        }
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key.as_bytes(), value.as_slice());
        }
        batch.commit().expect("fjall commits");
    }

    fn sync(&mut self) {
        self.db.persist(PersistMode::SyncData).expect("fjall persists");
    }
}
