//! fjall.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::engines::{Engine, Kind, Mode};
use crate::values::Key;

pub(crate) const KIND: Kind = Kind {
    name: "fjall 3",
    about: "256 MiB of block cache, else defaults; durable: `insert` and `persist(SyncData)`; OS: `insert` (its journal \
            is handed to the OS); load: `WriteBatch`, then `persist(SyncData)`",
    open: |dir, _| {
        let db = Database::builder(dir.join("store")).cache_size(256 << 20).open().expect("fjall opens");
        let keyspace = db.keyspace("bench", KeyspaceCreateOptions::default).expect("fjall makes a keyspace");
        Box::new(Store { db, keyspace, mode: Mode::Sync })
    },
};

struct Store {
    db: Database,
    keyspace: Keyspace,
    mode: Mode,
}

impl Engine for Store {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.keyspace.get(key).expect("fjall gets").as_deref());
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

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key.as_bytes(), &value[..]);
        }
        batch.commit().expect("fjall commits");
    }

    fn sync(&mut self) {
        self.db.persist(PersistMode::SyncData).expect("fjall persists");
    }

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.keyspace.iter() {
            let (key, value) = pair.into_inner().expect("fjall iterates");
            f(&key, &value);
        }
    }
}
