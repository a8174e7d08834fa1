//! The floor of writing: what the file system does when nothing else is done.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file written once from end to end, so that neither lengthening nor block allocation is measured.
pub(crate) struct BareLog {
    file: File,
    offset: u64,
    bytes: Vec<u8>,
}

const LEN: u64 = 64 << 20;

impl BareLog {
    pub(crate) fn new(path: &Path) -> BareLog {
        let file = File::create_new(path).expect("the floor's file is made");
        let zeros = vec![0; 1 << 20];
        for at in (0..LEN).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("the floor's file is written");
        }
        file.sync_all().expect("the floor's file is synced");
        BareLog { file, offset: 0, bytes: Vec::new() }
    }

    /// Writes records behind the last by one call; at the end of the file it starts again.
    pub(crate) fn append<'a>(&mut self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.bytes.clear();
        pairs.for_each(|(key, value)| encode(&mut self.bytes, key, value));
        let len = self.bytes.len() as u64;
        if self.offset + len > LEN {
            self.offset = 0;
        }
        self.file.write_all_at(&self.bytes, self.offset).expect("the floor writes");
        self.offset += len;
    }

    pub(crate) fn sync(&self) {
        self.file.sync_data().expect("the floor syncs");
    }
}

/// A record with a header of 16 bytes.
pub(crate) fn encode(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    to.extend_from_slice(&(key.len() as u64).to_le_bytes());
    to.extend_from_slice(&(value.len() as u64).to_le_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value);
}
