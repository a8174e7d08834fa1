//! The keys of a store in order: the engine keeps none, so the verbs that show one sort them.
//!
//! Floor 7. Imports nothing.

use zipcask::{Db, Error, ErrorKind, Value};

use crate::failure::{Code, Failure, Outcome};
use crate::out::counted;

/// The keys of a store in order. Its values are read one by one when they are shown.
pub(crate) struct Sorted {
    keys: Vec<Value>,
    damaged: u64,
    first: Option<Error>,
}

impl Sorted {
    /// The keys in `db` that begin with `prefix`.
    pub(crate) fn of(db: &Db, prefix: &[u8]) -> Outcome<Sorted> {
        let mut sorted = Sorted { keys: Vec::new(), damaged: 0, first: None };
        for pair in db.iter() {
            match pair {
                Ok((key, _)) if key.starts_with(prefix) => sorted.keys.push(key),
                Ok(_) => {}
                Err(error) => sorted.skip(error)?,
            }
        }
        sorted.keys.sort_unstable_by(|a, b| a[..].cmp(&b[..]));
        Ok(sorted)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Calls `show` with the first `limit` keys.
    pub(crate) fn keys(&self, limit: usize, mut show: impl FnMut(&[u8]) -> Outcome) -> Outcome {
        self.keys.iter().take(limit).try_for_each(|key| show(key))
    }

    /// Calls `show` with the first `limit` keys and their values in `db`.
    pub(crate) fn pairs(&mut self, db: &Db, limit: usize, mut show: impl FnMut(&[u8], &[u8]) -> Outcome) -> Outcome {
        let keys = std::mem::take(&mut self.keys);
        for key in keys.iter().take(limit) {
            match db.get(key) {
                Ok(Some(value)) => show(key, &value)?,
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
