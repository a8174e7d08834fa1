//! zipcask.

use zipcask::{Db, Durability, PutOptions};

use crate::engines::{Engine, Kind, Mode};
use crate::values::Key;

pub(crate) const KIND: Kind = Kind {
    name: "zipcask",
    about: "default options: mapped reads, 64 MiB segments, every get checks its record's checksums; durable: \
            `Durability::Sync` (fdatasync, shared); OS: `Durability::Os`; load: `Batch` with `Durability::Os`, then `sync`",
    open: |dir, _| {
        let db = Db::open(dir.join("store")).expect("zipcask opens");
        Box::new(Store { db, put: PutOptions::new() })
    },
};

struct Store {
    db: Db,
    put: PutOptions,
}

impl Engine for Store {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.db.get(key).expect("zipcask gets").as_deref());
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

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.put(&*self.db, key.as_bytes(), value);
        }
        batch.commit_with(Durability::Os).expect("zipcask commits");
    }

    fn sync(&mut self) {
        self.db.sync().expect("zipcask syncs");
    }

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.db.iter() {
            let (key, value) = pair.expect("zipcask iterates");
            f(&key, &value);
        }
    }
}
