//! The floors: maps in memory, which keep nothing.

use std::collections::HashMap;
use std::sync::RwLock;

use dashmap::DashMap;

use crate::engines::{Engine, Floor, Kind, Mode};
use crate::values::Key;

pub(crate) const PLAIN: Kind = Kind {
    name: "HashMap",
    about: "std `HashMap<Vec<u8>, Vec<u8>>`, one thread, no lock; keeps nothing",
    open: |_, _| Box::new(Plain(HashMap::new())),
};

pub(crate) const LOCKED: Kind = Kind {
    name: "RwLock<HashMap>",
    about: "std `RwLock<HashMap<Vec<u8>, Vec<u8>>>`, two threads; keeps nothing",
    open: |_, _| Box::new(Locked(RwLock::new(HashMap::new()))),
};

pub(crate) const SHARDED: Kind = Kind {
    name: "DashMap",
    about: "`DashMap<Vec<u8>, Vec<u8>>` 6, two threads; keeps nothing",
    open: |_, _| Box::new(Sharded(DashMap::new())),
};

type Map = HashMap<Vec<u8>, Vec<u8>>;

struct Plain(Map);

struct Locked(RwLock<Map>);

struct Sharded(DashMap<Vec<u8>, Vec<u8>>);

fn pass_map(map: &Map, f: &mut dyn FnMut(&[u8], &[u8])) {
    for (key, value) in map {
        f(key, value);
    }
}

fn fill(map: &mut Map, pairs: &[(Key, [u8; 100])]) {
    map.extend(pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())));
}

impl Engine for Plain {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.0.get(key).map(Vec::as_slice));
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, _: &[u8], _: &[u8]) {
        unreachable!("a map of one thread is asked for no writes beside reads");
    }

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        fill(&mut self.0, pairs);
    }

    fn sync(&mut self) {}

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        pass_map(&self.0, f);
    }

    fn floor(&self) -> Option<Floor> {
        Some(Floor::Alone)
    }
}

impl Engine for Locked {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.0.read().expect("nobody panicked").get(key).map(Vec::as_slice));
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.write().expect("nobody panicked").insert(key.to_vec(), value.to_vec());
    }

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        fill(&mut self.0.write().expect("nobody panicked"), pairs);
    }

    fn sync(&mut self) {}

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        pass_map(&self.0.read().expect("nobody panicked"), f);
    }

    fn floor(&self) -> Option<Floor> {
        Some(Floor::Shared)
    }
}

impl Engine for Sharded {
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.0.get(key).as_ref().map(|value| value.as_slice()));
    }

    fn prepare(&mut self, _: Mode) {}

    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), value.to_vec());
    }

    fn batch(&mut self, pairs: &[(Key, [u8; 100])]) {
        for (key, value) in pairs {
            self.put(key.as_bytes(), value);
        }
    }

    fn sync(&mut self) {}

    fn pass(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in &self.0 {
            f(pair.key(), pair.value());
        }
    }

    fn floor(&self) -> Option<Floor> {
        Some(Floor::Shared)
    }
}
