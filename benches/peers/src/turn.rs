//! What a thread reads in a turn: warming up, then what is timed.

use crate::clock::Clock;
use crate::common::data::{Key, check, mix, value};
use crate::engines::Engine;
use crate::large;
use crate::order::{self, Ordered};
use crate::plan::{Mix, Update};
use crate::view::{self, Tally, View};

/// What is done with the keys of a turn.
#[derive(Clone, Copy)]
pub(crate) enum Task<'a> {
    /// They are there. One view may serve all gets.
    Found,
    /// They are not.
    Absent,
    /// The first is there; which is next stands in the value, as many times as there are keys. Ids are `0..ids`.
    Dependent { ids: u64 },
    /// They are there, with values of so many bytes.
    Large { value_len: usize },
    /// They are there, and every get must see what was acknowledged before it.
    FoundNewest,
    /// The same, but some are updated, with versions from this one on where the value does not say which.
    Mixed { mix: Mix, version: u64 },
    /// They have these versions.
    Versions(&'a [u64]),
    /// They are there, each the first of a range of so many pairs.
    Ranges { len: usize },
    /// As above, of 1 to so many pairs; one operation of `one_in` puts a key that is new, from this id on.
    Scans { len: usize, one_in: usize, new: u64 },
    /// All keys in their order, whatever is asked for.
    InOrder(Tally),
    /// All keys at once, whatever is asked for.
    Pass(Tally),
}

/// A thread's part of a turn.
pub(crate) struct Turn<'a> {
    pub(crate) task: Task<'a>,
    /// Read as `keys` are, but before the clock starts: it brings the caches to where they are for who reads all day, and
    /// not for who takes turns with others.
    pub(crate) warm: &'a [Key],
    pub(crate) keys: &'a [Key],
    pub(crate) clock: &'a Clock,
    /// Takes the puts.
    pub(crate) engine: &'a dyn Engine,
}

impl Turn<'_> {
    /// Whether it asks for an order.
    pub(crate) fn wants_order(&self) -> bool {
        matches!(self.task, Task::Ranges { .. } | Task::Scans { .. } | Task::InOrder(_))
    }

    /// Whether a transaction would show too old a state if it served more than one get.
    pub(crate) fn wants_the_newest(&self) -> bool {
        matches!(self.task, Task::FoundNewest | Task::Mixed { .. } | Task::Scans { .. } | Task::Versions(_))
    }

    /// Reads through `view`, which is made, and refreshed for the first time, before the clock starts.
    pub(crate) fn go<V: View>(&self, mut view: V) {
        if !self.warm.is_empty() {
            let task = if matches!(self.task, Task::Mixed { .. }) { Task::FoundNewest } else { self.task };
            self.read(&view, task, self.warm);
            view.refresh();
        }
        self.clock.time(|| {
            self.read(&view, self.task, self.keys);
            view.refresh();
        });
    }

    fn read<V: View>(&self, view: &V, task: Task<'_>, keys: &[Key]) {
        match task {
            Task::Found | Task::FoundNewest => view::found(view, keys),
            Task::Absent => view::absent(view, keys),
            Task::Dependent { ids } => view::dependent(view, keys[0].id, keys.len(), ids),
            Task::Large { value_len } => {
                view.get_all(keys, |key, found| large::check(key.id, value_len, found.expect("a key that was loaded")));
            }
            Task::Mixed { mix, version } => mixed(view, self.engine, keys, mix, version),
            Task::Versions(versions) => {
                for (key, &version) in keys.iter().zip(versions) {
                    let found = view.get(key.as_bytes(), |found| found.map(|found| check(key.id, found)));
                    assert_eq!(found, Some(version), "key {} has another value than the last", key.id);
                }
            }
            Task::Pass(all) => view::pass(view, all),
            Task::Ranges { .. } | Task::Scans { .. } | Task::InOrder(_) => unreachable!("they are read in order"),
        }
    }

    /// As `go`, of what is read in order.
    pub(crate) fn go_in_order(&self, view: impl Ordered) {
        let task = match self.task {
            Task::Scans { len, .. } => Task::Ranges { len },
            task => task,
        };
        if !self.warm.is_empty() {
            self.read_in_order(&view, task, self.warm);
        }
        self.clock.time(|| self.read_in_order(&view, self.task, self.keys));
    }

    fn read_in_order(&self, view: &impl Ordered, task: Task<'_>, keys: &[Key]) {
        match task {
            Task::Ranges { len } => keys.iter().for_each(|key| order::range(view, key, len)),
            Task::Scans { len, one_in, new } => {
                for (at, key) in keys.iter().enumerate() {
                    if at % one_in == one_in - 1 {
                        let id = new + at as u64;
                        self.engine.put(Key::new(id).as_bytes(), &value(id, 0));
                    } else {
                        order::range(view, key, 1 + (mix(key.id ^ at as u64) % len as u64) as usize);
                    }
                }
            }
            Task::InOrder(all) => order::in_order(view, all),
            _ => unreachable!("it is read in any order"),
        }
    }
}

/// Gets, and after each `one_in - 1` of them an update. What is read is let go of before anything is put.
fn mixed(view: &impl View, engine: &dyn Engine, keys: &[Key], mix: Mix, version: u64) {
    let get = |key: &Key| view.get(key.as_bytes(), |found| check(key.id, found.expect("a key that was loaded")));
    for (at, key) in keys.iter().enumerate() {
        let version = match mix.update {
            _ if at % mix.one_in != mix.one_in - 1 => {
                get(key);
                continue;
            }
            Update::Blind => version + at as u64,
            Update::Modify => get(key) + 1,
            Update::Insert => unreachable!("keys that are new are no part of this task"),
        };
        engine.put(key.as_bytes(), &value(key.id, version));
    }
}
