//! What one reader keeps of values that are not mapped with their records.
//!
//! Floor 2. Imports `error`, `format`, `segment`, `sync`.

use std::collections::HashMap;

use crate::error::Result;
use crate::format::large::LargeValue;
use crate::segment::fetched::Fetched;
use crate::segment::large::LargeFolder;
use crate::segment::large::file::LargeFile;
use crate::segment::value::Value;
use crate::sync::Arc;

/// Copies of what was read, and the files of large values: one of each, however often it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    values: Vec<Value>,
    files: HashMap<LargeValue, Arc<LargeFile>>,
}

impl Kept {
    /// The value of a record, which stays where it is until `release`.
    ///
    /// # Errors
    /// As `LargeFolder::value`.
    pub(crate) fn keep(&mut self, folder: &LargeFolder, record: &Fetched) -> Result<&[u8]> {
        let Some(large) = record.large() else {
            self.values.push(Value::fetched(record, Fetched::value));
            return Ok(self.values.last().map_or(&[], |value| value));
        };
        let file = folder.whole(large, self.files.get(large))?;
        Ok(self.files.entry(*large).or_insert(file).bytes())
    }

    /// Lets go of all.
    pub(crate) fn release(&mut self) {
        self.values.clear();
        self.files.clear();
    }
}
