//! The ways to read zipcask, and the map in memory that it is held against.

use std::collections::HashMap;
use std::ops::ControlFlow;

use zipcask::{Db, Keyspace, Reader};

use crate::common::data::Key;
use crate::view::View;

pub(crate) type Map = HashMap<Vec<u8>, Vec<u8>>;

impl View for &Db {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(Keyspace::get(self, key).expect("zipcask gets").as_deref())
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for pair in self.iter() {
            let (key, value) = pair.expect("zipcask iterates");
            each(&key, &value);
        }
    }
}

impl View for Reader {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(Reader::get(self, key).expect("zipcask gets"))
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let shown = self.for_each(|key, value| {
            each(key, value);
            ControlFlow::Continue(())
        });
        shown.expect("zipcask shows all");
    }

    fn refresh(&mut self) {
        Reader::refresh(self);
    }
}

/// A reader that is asked for many keys at a time.
pub(crate) struct Many {
    pub(crate) reader: Reader,
    pub(crate) batch: usize,
}

impl View for Many {
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        View::get(&self.reader, key, f)
    }

    #[inline]
    fn get_all(&self, keys: &[Key], mut each: impl FnMut(&Key, Option<&[u8]>)) {
        for keys in keys.chunks(self.batch) {
            self.reader.get_many(keys, |at, found| each(&keys[at], found.expect("zipcask gets")));
        }
    }

    fn pass(&self, each: impl FnMut(&[u8], &[u8])) {
        View::pass(&self.reader, each);
    }

    fn refresh(&mut self) {
        self.reader.refresh();
    }
}

impl View for &Map {
    #[inline]
    fn get<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        f(Map::get(self, key).map(Vec::as_slice))
    }

    fn pass(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for (key, value) in *self {
            each(key, value);
        }
    }
}
