//! Archives whose numbers do not fit the 32 and 16 bits of a plain ZIP.
//!
//! Floor 2. Imports `address`, `format`, `limits`, `platform`, `sync`, `zipfile`.

use std::collections::BTreeMap;
use std::io;

use crate::address::SegmentId;
use crate::format::names;
use crate::limits::SECTOR;
use crate::platform::{Barrier, File, Mapping, PrivateMapping};
use crate::sync::Arc;
use crate::sync::plain::Mutex;
use crate::zipfile::read::Contents;
use crate::zipfile::tests::{PATH, manifest};
use crate::zipfile::write::Writer;

/// A file of any length that keeps what is not zero.
#[derive(Debug, Default)]
struct Sparse(Mutex<(u64, BTreeMap<u64, [u8; SECTOR]>)>);

impl File for Sparse {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.lock().unwrap();
        let count = state.0.saturating_sub(offset).min(bytes.len() as u64) as usize;
        bytes[..count].fill(0);
        let end = offset + count as u64;
        for (sector, content) in state.1.range(offset / SECTOR as u64..end.div_ceil(SECTOR as u64)) {
            let start = sector * SECTOR as u64;
            for (at, byte) in (start..).zip(content).filter(|(at, _)| (offset..end).contains(at)) {
                bytes[(at - offset) as usize] = *byte;
            }
        }
        Ok(count)
    }

    fn read_device_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let skip = (at % SECTOR as u64) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(SECTOR - skip));
            let sector = at / SECTOR as u64;
            if piece.iter().any(|byte| *byte != 0) || state.1.contains_key(&sector) {
                state.1.entry(sector).or_insert([0; SECTOR])[skip..skip + piece.len()].copy_from_slice(piece);
            }
            (at, rest) = (at + piece.len() as u64, behind);
        }
        state.0 = state.0.max(at);
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn taken(&self) -> io::Result<u64> {
        self.len()
    }

    fn barrier(&self, level: Barrier) -> io::Result<Barrier> {
        Ok(level)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Mapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_private(&self, _len: usize) -> io::Result<Box<dyn PrivateMapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes packed segments of zeros, each of the length it has and announced with the one beside it; reads them, checks them.
fn round(lens: &[(u64, u64)]) {
    let file = Arc::new(Sparse::default());
    let mut writer = Writer::new(Arc::clone(&file) as Arc<dyn File>, PATH.to_owned());
    let (mut entries, zeros) = (Vec::new(), vec![0; 1 << 20]);
    for (id, (len, len_max)) in (1..).zip(lens) {
        let name = names::packed_entry(SegmentId(id));
        writer.start(&name, *len_max).unwrap();
        for at in (0..*len).step_by(zeros.len()) {
            writer.write(&zeros[..(len - at).min(zeros.len() as u64) as usize]).unwrap();
        }
        entries.push(writer.end());
        writer.start(&names::hint_entry(&name), 1).unwrap();
        entries.push(writer.end());
    }
    let manifest = manifest(entries);
    writer.finish(&manifest).unwrap();
    let contents = Contents::read(&*file, PATH, None, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(contents.manifest, manifest);
    assert_eq!(contents.verify(&*file, PATH).unwrap(), []);
}

#[test]
fn an_entry_that_may_be_large_and_is_not_is_read() {
    round(&[(1000, u32::MAX.into()), (1000, u64::from(u32::MAX) - 1), (0, 1 << 40)]);
}

#[test]
fn an_entry_beyond_4_gib_and_entries_behind_it_are_read() {
    round(&[((4 << 30) + 5, 8 << 30), (1000, 1000), (1000, 8 << 30)]);
}

#[test]
fn more_entries_than_16_bits_count_are_read() {
    round(&vec![(0, 0); 33_000]);
}
