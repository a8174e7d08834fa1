//! sled.

use sled::{Batch, Db};

use crate::engines::{Engine, Kind, Mode};
use crate::values::Key;

pub(crate) const KIND: Kind = Kind {
    name: "sled 0.34",
    about: "1 GiB of cache, `flush_every_ms(None)`; durable: `insert` and `flush`, which is weaker: \
            on Linux it is sync_file_range, which does not flush the device's cache; OS: `insert`, which is weaker: in its \
            own buffers, lost with the process; load: `apply_batch`, then `flush`",
    open: |dir, _| {
        let config = sled::Config::new().path(dir.join("store")).cache_capacity(1 << 30).flush_every_ms(None);
        Box::new(Store { db: config.open().expect("sled opens"), mode: Mode::Sync })
    },
};

struct Store {
    db: Db,
    mode: Mode,
}

impl Engine for Store {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.db.get(key).expect("sled gets").as_deref());
    }

    fn prepare(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.insert(key, value).expect("sled inserts");
        if self.mode == Mode::Sync {
            self.db.flush().expect("sled flushes");
        }
    }

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_bytes(), &value[..]);
        }
        self.db.apply_batch(batch).expect("sled applies");
    }

    fn sync(&mut self) {
        self.db.flush().expect("sled flushes");
    }

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.db.iter() {
            let (key, value) = pair.expect("sled iterates");
            f(&key, &value);
        }
    }
}
