//! sled.

use sled::{Batch, Db};

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, all, plain};
use crate::order::Ordered;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "sled 0.34",
    about: "1 GiB of cache, `flush_every_ms(None)`; durable: `insert` and `flush`, which is weaker: \
            on Linux it is sync_file_range, which does not flush the device's cache; OS: `insert`, which is weaker: in its \
            own buffers, lost with the process; load: `apply_batch`, then `flush`",
    open: |dir, _| {
        let config = sled::Config::new().path(dir.join("store")).cache_capacity(1 << 30).flush_every_ms(None);
        Box::new(Store { db: config.open().expect("sled opens"), mode: Mode::Sync })
    },
    takes: all,
    ways: plain,
};

struct Store {
    db: Db,
    mode: Mode,
}

impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.db.get(key).expect("sled gets").as_deref())
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.db.iter() {
            let (key, value) = pair.expect("sled iterates");
            each(&key, &value);
        }
    }
}

impl Ordered for &Store {
    fn range(&self, from: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.db.range(from..).take(most) {
            let (key, value) = pair.expect("sled iterates");
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
        self.db.insert(key, value).expect("sled inserts");
        if self.mode == Mode::Sync {
            self.db.flush().expect("sled flushes");
        }
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_bytes(), value.as_slice());
        }
        self.db.apply_batch(batch).expect("sled applies");
    }

    fn sync(&mut self) {
        self.db.flush().expect("sled flushes");
    }
}
