//! The keys of a keyspace in order: not every one has an order, so the verbs that show one sort them.
//!
//! Floor 7. Imports nothing.

use zipcask::{Error, ErrorKind, Keyspace, Value};

use crate::failure::{Code, Failure, Outcome};
use crate::json::Time;
use crate::out::counted;

/// The keys in order. Their values are read one by one when they are shown.
pub(crate) struct Sorted {
    keys: Vec<Value>,
    damaged: u64,
    first: Option<Error>,
}

impl Sorted {
    /// Those that are wanted.
    pub(crate) fn of(keyspace: &Keyspace, is_wanted: impl Fn(&[u8]) -> bool) -> Outcome<Sorted> {
        let mut sorted = Sorted { keys: Vec::new(), damaged: 0, first: None };
        for pair in keyspace.iter() {
            match pair {
                Ok((key, _)) if is_wanted(&key) => sorted.keys.push(key),
                Ok(_) => {}
                Err(error) => sorted.skip(error)?,
            }
        }
        sorted.keys.sort_unstable_by(|a, b| a[..].cmp(&b[..]));
        Ok(sorted)
    }

    /// The last one first.
    pub(crate) fn reverse(&mut self) {
        self.keys.reverse();
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Calls `show` with the first `limit` keys.
    pub(crate) fn keys(&self, limit: usize, mut show: impl FnMut(&[u8]) -> Outcome) -> Outcome {
        self.keys.iter().take(limit).try_for_each(|key| show(key))
    }

    /// Calls `show` with the first `limit` keys, their values, and when they are no more.
    pub(crate) fn pairs(
        &mut self,
        keyspace: &Keyspace,
        limit: usize,
        mut show: impl FnMut(&[u8], &[u8], Option<Time>) -> Outcome,
    ) -> Outcome {
        let keys = std::mem::take(&mut self.keys);
        for key in keys.iter().take(limit) {
            // The time first: else a key whose time comes in between would be shown as one that stays.
            let time = keyspace.expires_at(key);
            match time.and_then(|time| Ok(keyspace.get(key)?.map(|value| (value, time.map(Time::from))))) {
                Ok(Some((value, time))) => show(key, &value, time)?,
                Ok(None) => {}
                Err(error) => self.skip(error)?,
            }
        }
        Ok(())
    }

    /// Fails if a record was left out because it is damaged.
    pub(crate) fn whole(self) -> Outcome {
        match self.first {
            None => Ok(()),
            Some(error) => Err(Failure::new(
                Code::Damage,
                format!(
                    "left out {} (`zipcask verify` lists all), the first: {error}",
                    counted(self.damaged, "damaged record")
                ),
            )),
        }
    }

    /// Goes on without a damaged record.
    fn skip(&mut self, error: Error) -> Outcome {
        if error.kind() != ErrorKind::Corruption {
            return Err(error.into());
        }
        self.damaged += 1;
        self.first.get_or_insert(error);
        Ok(())
    }
}
