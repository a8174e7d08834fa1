//! LMDB, by heed.

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode};

use crate::engines::{Engine, Kind, Mode};
use crate::values::Key;

pub(crate) const KIND: Kind = Kind {
    name: "LMDB (heed 0.22)",
    about: "no checksums; gets and pass: one read transaction a thread and round, YCSB: one a get; durable: a write \
            transaction a put (fdatasync); OS: the same with `NO_SYNC`; load: `NO_SYNC` transactions, then `force_sync`",
    open: |dir, keys| {
        let size = (4 << 30) + keys as usize * 2048;
        // SAFETY: the directory is ours alone, and opened once in this process.
        let env = unsafe { EnvOpenOptions::new().map_size(size).open(dir) }.expect("LMDB opens");
        let mut txn = env.write_txn().expect("LMDB begins");
        let db = env.create_database(&mut txn, None).expect("LMDB makes a database");
        txn.commit().expect("LMDB commits");
        Box::new(Store { env, db })
    },
};

struct Store {
    env: Env,
    db: Database<Bytes, Bytes>,
}

impl Engine for Store {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let txn = self.env.read_txn().expect("LMDB begins");
        f(self.db.get(&txn, key).expect("LMDB gets"));
    }

    fn get_all(&self, keys: &[Key], f: &mut dyn FnMut(&Key, Option<&[u8]>)) {
        let txn = self.env.read_txn().expect("LMDB begins");
        for key in keys {
            f(key, self.db.get(&txn, key.as_bytes()).expect("LMDB gets"));
        }
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

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
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

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        let txn = self.env.read_txn().expect("LMDB begins");
        for pair in self.db.iter(&txn).expect("LMDB iterates") {
            let (key, value) = pair.expect("LMDB iterates");
            f(key, value);
        }
    }
}
