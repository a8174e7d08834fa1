//! redb.

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::engines::{Engine, Kind, Mode};
use crate::values::Key;

pub(crate) const KIND: Kind = Kind {
    name: "redb 3",
    about: "1 GiB of cache (default); gets and pass: one read transaction a thread and round, YCSB: one a get; durable: \
            `Durability::Immediate` a put; OS: `Durability::None`, which is weaker: lost with the process; load: \
            `Durability::None`, then an empty `Immediate` commit",
    open: |dir, _| {
        let db = Database::create(dir.join("store.redb")).expect("redb opens");
        let store = Store { db, durability: Durability::Immediate };
        store.write(&[]);
        Box::new(store)
    },
};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

struct Store {
    db: Database,
    durability: Durability,
}

impl Store {
    fn write(&self, pairs: &[(&[u8], &[u8])]) {
        let mut txn = self.db.begin_write().expect("redb begins");
        txn.set_durability(self.durability).expect("redb has no savepoints here");
        {
            let mut table = txn.open_table(TABLE).expect("redb opens its table");
            for (key, value) in pairs {
                table.insert(key, value).expect("redb inserts");
            }
        }
        txn.commit().expect("redb commits");
    }
}

impl Engine for Store {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let txn = self.db.begin_read().expect("redb begins");
        let table = txn.open_table(TABLE).expect("redb opens its table");
        let value = table.get(key).expect("redb gets");
        f(value.as_ref().map(|guard| guard.value()));
    }

    fn get_all(&self, keys: &[Key], f: &mut dyn FnMut(&Key, Option<&[u8]>)) {
        let txn = self.db.begin_read().expect("redb begins");
        let table = txn.open_table(TABLE).expect("redb opens its table");
        for key in keys {
            let value = table.get(key.as_bytes()).expect("redb gets");
            f(key, value.as_ref().map(|guard| guard.value()));
        }
    }

    fn prepare(&mut self, mode: Mode) {
        self.durability = match mode {
            Mode::Os => Durability::None,
            Mode::Sync => Durability::Immediate,
        };
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.write(&[(key, value)]);
    }

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        self.durability = Durability::None;
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_bytes(), &value[..])).collect();
        self.write(&pairs);
    }

    fn sync(&mut self) {
        self.durability = Durability::Immediate;
        self.write(&[]);
    }

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        let txn = self.db.begin_read().expect("redb begins");
        let table = txn.open_table(TABLE).expect("redb opens its table");
        for pair in table.iter().expect("redb iterates") {
            let (key, value) = pair.expect("redb iterates");
            f(key.value(), value.value());
        }
    }
}
