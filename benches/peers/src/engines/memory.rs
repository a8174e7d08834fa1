//! The floors: maps in memory, which keep nothing.

use std::collections::HashMap;
use std::sync::RwLock;

use dashmap::DashMap;

use crate::common::data::Key;
use crate::engines::{Engine, Kind, Mode, Way, plain};
use crate::ours::Map;
use crate::turn::Turn;
use crate::view::View;

pub(crate) const PLAIN: Kind = Kind {
    name: "HashMap",
    about: "std `HashMap<Vec<u8>, Vec<u8>>` without a lock, where nothing is written; keeps nothing",
    open: |_, _| Box::new(Plain(HashMap::new())),
    takes: |work| work.name == "load" || (work.reads_only() && !work.wants_order()),
    ways: plain,
};

pub(crate) const LOCKED: Kind = Kind {
    name: "RwLock<HashMap>",
    about: "the same in a std `RwLock`, for two threads; keeps nothing",
    open: |_, _| Box::new(Locked(RwLock::new(HashMap::new()))),
    takes: |work| work.name == "load" || (work.threads == 2 && !matches!(work.name, "os" | "ycsb-e")),
    ways: plain,
};

pub(crate) const SHARDED: Kind = Kind {
    name: "DashMap",
    about: "`DashMap<Vec<u8>, Vec<u8>>` 6; keeps nothing",
    open: |_, _| Box::new(Sharded(DashMap::new())),
    takes: |work| {
        matches!(work.name, "load" | "dependent") || (work.threads == 2 && !matches!(work.name, "os" | "ycsb-e"))
    },
    ways: plain,
};

struct Plain(Map);

struct Locked(RwLock<Map>);

struct Sharded(DashMap<Vec<u8>, Vec<u8>>);

fn fill(map: &mut Map, pairs: &[(Key, Vec<u8>)]) {
    map.extend(pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.clone())));
}

impl Engine for Plain {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        turn.go(&self.0);
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, _: &[u8], _: &[u8]) {
        unreachable!("a map without a lock is asked for no writes beside reads");
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        fill(&mut self.0, pairs);
    }

    fn sync(&mut self) {}
}

impl View for &Locked {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.0.read().expect("nobody panicked").get(key).map(Vec::as_slice))
    }

    fn pass(&self, each: impl FnMut(&[u8], &[u8])) {
        (&*self.0.read().expect("nobody panicked")).pass(each);
    }
}

impl Engine for Locked {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        turn.go(self);
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.write().expect("nobody panicked").insert(key.to_vec(), value.to_vec());
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        fill(&mut self.0.write().expect("nobody panicked"), pairs);
    }

    fn sync(&mut self) {}
}

impl View for &Sharded {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(self.0.get(key).as_ref().map(|value| value.as_slice()))
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in &self.0 {
            each(pair.key(), pair.value());
        }
    }
}

impl Engine for Sharded {
    fn read(&self, _: Way, turn: &Turn<'_>) {
        turn.go(self);
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), value.to_vec());
    }

    fn batch(&mut self, pairs: &[(Key, Vec<u8>)]) {
        for (key, value) in pairs {
            self.put(key.as_bytes(), value);
        }
    }

    fn sync(&mut self) {}
}
