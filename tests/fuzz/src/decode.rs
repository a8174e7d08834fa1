//! Decoders of small things: the first byte says which, the next whether checksums are made right.

use zipcask::sim::fuzz;

use crate::{fix, memory};

/// What sectors are salted with here.
pub const DATABASE: [u8; 16] = *b"a database's own";
pub const EPOCH: [u8; 16] = *b"one life of file";
pub const ID: u64 = 7;

pub fn target(data: &[u8]) -> u64 {
    let Some(([which, fixed], bytes)) = data.split_first_chunk() else { return 0 };
    memory::bounded(memory::fair(data.len()), || decode(*which, *fixed != 0, bytes.to_vec()))
}

fn decode(which: u8, fixed: bool, mut bytes: Vec<u8>) -> u64 {
    let salt = [&DATABASE[..], &ID.to_le_bytes(), &EPOCH].concat();
    match which % 6 {
        0 => fuzz::name(&String::from_utf8_lossy(&bytes)),
        1 => {
            // Two sectors, mostly zeros.
            let half = bytes.len() / 2;
            let mut both = vec![0; 1024];
            crate::put(&mut both, 0, &bytes[..half.min(508)]);
            crate::put(&mut both, 512, &bytes[half..][..(bytes.len() - half).min(508)]);
            if fixed {
                fix::sectors(&mut both, &[]);
            }
            fuzz::identity(&both)
        }
        2 => {
            let header = bytes.starts_with(b"ZCSEG");
            let footer = bytes.starts_with(b"ZCFOO");
            bytes.resize(if footer { 64 } else { 512 }, 0);
            match (fixed, footer) {
                (false, _) => {}
                (true, true) => fix::footer(&mut bytes, &salt),
                (true, false) => fix::sectors(&mut bytes, if header { &[] } else { &salt }),
            }
            fuzz::sector(&bytes, &DATABASE, ID, &EPOCH)
        }
        3 => fuzz::payload(&bytes),
        4 => fuzz::manifest(&bytes),
        _ => fuzz::checkpoint(&{
            let mut file = crate::sparse::open(&bytes);
            if fixed {
                fix::checkpoint(&mut file);
            }
            file
        }),
    }
}
