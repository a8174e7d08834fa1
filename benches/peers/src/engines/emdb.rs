//! emdb.

use emdb::Emdb;

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, plain, unordered};
use crate::turn::Turn;
use crate::view::View;

pub(crate) const KIND: Kind = Kind {
    name: "emdb 1.0.3",
    about: "`FlushPolicy::OnEachFlush` (default), `get_zerocopy`, no checksum on reads; durable: `insert` and `flush` \
            (fdatasync, shared); OS: `insert`, which writes to the file before it returns; load: `insert_many`, then \
            `flush`; its pass copies keys and values",
    open: |dir, _| {
        let db = Emdb::builder().path(dir.join("store.emdb")).build().expect("emdb opens");
        Box::new(Store { db, mode: Mode::Sync })
    },
    takes: unordered,
    ways: plain,
};

struct Store {
    db: Emdb,
    mode: Mode,
}

impl View for &Store {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.db.get_zerocopy(key).expect("emdb gets").as_deref())
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for (key, value) in self.db.iter().expect("emdb iterates") {
            each(&key, &value);
        }
    }
}

impl Engine for Store {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        turn.go(self);
    }

    fn prepare(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.insert(key, value).expect("emdb inserts");
        if self.mode == Mode::Sync {
            self.db.flush().expect("emdb flushes");
        }
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        let pairs = pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_slice()));
        self.db.insert_many(pairs).expect("emdb inserts many");
    }

    fn sync(&mut self) {
        self.db.flush().expect("emdb flushes");
    }
}
