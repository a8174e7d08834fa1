//! The files of large values that are mapped: each once, however many values show it.
//!
//! Floor 2. Imports `format`, `segment`, `sync`.
//!
//! Mappings are a limited resource, and whoever keeps values of few files must not use them up.

use std::collections::{HashMap, VecDeque};

use crate::format::large::LargeValue;
use crate::segment::large::file::LargeFile;
use crate::sync::{Arc, Weak};

/// Files that stay mapped after the last value of them was dropped: those opened last.
const RECENT_MAX: usize = 16;
/// So many are known before those that have gone are looked for.
const KNOWN_MIN: usize = 64;

/// Those opened last, and whatever else a value still shows.
#[derive(Debug, Default)]
pub(super) struct MappedFiles {
    /// Oldest first.
    recent: VecDeque<Arc<LargeFile>>,
    /// All that are there, and some that have gone: fewer than twice as many are there, or `KNOWN_MIN`.
    known: HashMap<LargeValue, Weak<LargeFile>>,
    /// Those that have gone are forgotten when so many are known.
    known_max: usize,
}

impl MappedFiles {
    pub(super) fn find(&self, large: &LargeValue) -> Option<Arc<LargeFile>> {
        self.known.get(large)?.upgrade()
    }

    /// Takes in a file that was just mapped. Returns the one to be shown, another if somebody was faster, and one that is
    /// not wanted any more, to be dropped where nobody waits for it.
    pub(super) fn add(&mut self, file: Arc<LargeFile>) -> (Arc<LargeFile>, Option<Arc<LargeFile>>) {
        if let Some(first) = self.find(file.large()) {
            return (first, Some(file));
        }
        if self.known.len() >= self.known_max {
            self.known.retain(|_, file| file.strong_count() > 0);
            self.known_max = KNOWN_MIN.max(self.known.len() * 2);
        }
        self.known.insert(*file.large(), Arc::downgrade(&file));
        self.recent.push_back(Arc::clone(&file));
        let oldest = if self.recent.len() > RECENT_MAX { self.recent.pop_front() } else { None };
        (file, oldest)
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use super::{KNOWN_MIN, MappedFiles, RECENT_MAX};
    use crate::address::LargeId;
    use crate::format::large::LargeValue;
    use crate::format::names;
    use crate::platform::Disk;
    use crate::platform::memory::MemoryDisk;
    use crate::segment::Reading;
    use crate::segment::large::file::LargeFile;
    use crate::sync::Arc;

    /// Maps a file; all that are made here have one byte.
    fn map(disk: &MemoryDisk, i: u32) -> Arc<LargeFile> {
        let large = LargeValue { id: LargeId(u128::from(i).to_le_bytes()), len: 1, crc: 0 };
        let _ = disk.create_dir(names::LARGE);
        if let Ok(file) = disk.create(&names::large(large.id)) {
            file.write_at(&[1], 0).unwrap();
        }
        Arc::new(LargeFile::map(disk, &large, Reading::default()).unwrap().unwrap())
    }

    #[test]
    fn files_that_have_gone_are_forgotten_and_those_that_are_kept_are_not() {
        let (disk, mut files, mut kept) = (MemoryDisk::new(), MappedFiles::default(), Vec::new());
        for i in 0..2000 {
            let (file, _) = files.add(map(&disk, i));
            if i % 10 == 0 {
                kept.push(file);
            }
            assert!(files.known.len() <= KNOWN_MIN.max(2 * (kept.len() + RECENT_MAX)), "{i}");
        }
        for file in kept {
            assert!(Arc::ptr_eq(&file, &files.find(file.large()).unwrap()));
        }
        assert!(files.find(map(&disk, 1).large()).is_none());
    }

    #[test]
    fn of_two_mappings_of_a_file_the_first_is_shown() {
        let (disk, mut files) = (MemoryDisk::new(), MappedFiles::default());
        let (first, _) = files.add(map(&disk, 1));
        let (shown, not_wanted) = files.add(map(&disk, 1));
        assert!(Arc::ptr_eq(&first, &shown) && !Arc::ptr_eq(&first, &not_wanted.unwrap()));
        assert_eq!(files.recent.len(), 1);
    }
}
