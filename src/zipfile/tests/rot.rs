//! Every bit of an archive, flipped; every length, cut.
//!
//! Floor 2. Imports `address`, `error`, `platform`, `sync`, `zipfile`.

use crate::address::ArchiveId;
use crate::error::ErrorKind;
use crate::platform::File;
use crate::sync::Arc;
use crate::zipfile::read::Contents;
use crate::zipfile::tests::{DATABASE, PATH, archive, bytes_of, file_of, log, packed, read, small, write};

/// Whether reading or checking finds something wrong.
fn is_detected(file: &dyn File) -> bool {
    match Contents::read(file, PATH, Some(&DATABASE), Some(ArchiveId(7))) {
        Ok(contents) => !contents.verify(file, PATH).unwrap().is_empty(),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corruption), "{error:?}");
            true
        }
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let file = file_of(&[]);
    write(Arc::clone(&file), &[log(1, 300)]).unwrap();
    let bytes = bytes_of(&*file);
    assert!(!is_detected(&*file));
    let (mut detected, mut harmless) = (0, Vec::new());
    for (offset, byte) in (0..).zip(&bytes) {
        for bit in 0..8 {
            file.write_at(&[byte ^ 1 << bit], offset).unwrap();
            if is_detected(&*file) {
                detected += 1;
            } else {
                harmless.push(offset);
            }
        }
        file.write_at(&[*byte], offset).unwrap();
    }
    let flipped = bytes.len() * 8;
    println!("archive rot: {flipped} bits flipped, {detected} detected, {} harmless", harmless.len());
    assert!(harmless.is_empty(), "{harmless:?}");
}

#[test]
fn every_cut_is_damage() {
    let bytes = archive(&[log(1, 300), packed(1, 5000)]);
    for len in (0..bytes.len()).step_by(97).chain(bytes.len() - 200..bytes.len()) {
        let error = read(&bytes[..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{len}: {error:?}");
        assert_eq!(error.damage().unwrap().0, PATH);
    }
}

#[test]
fn a_file_of_the_right_length_that_was_never_written_in_parts_is_damage() {
    let bytes = small();
    for start in (0..bytes.len()).step_by(512) {
        let mut holed = bytes.clone();
        let end = bytes.len().min(start + 512);
        holed[start..end].fill(0);
        if holed != bytes {
            assert!(is_detected(&*file_of(&holed)), "{start}");
        }
    }
}

#[test]
fn whatever_is_changed_is_detected_and_nothing_panics() {
    let seed = 0x021b_ca5c;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes = small();
    let file = file_of(&bytes);
    let around = [0..60, 4096 + 300..4096 + 400, bytes.len() - 1200..bytes.len()];
    for _ in 0..50_000 {
        let mut places: Vec<usize> = Vec::new();
        for _ in 0..random.usize(1..=4) {
            let range = around[random.usize(..around.len())].clone();
            places.push(random.usize(range));
        }
        for place in &places {
            let byte = if random.bool() { random.u8(..) } else { [0, 0xff, b'P', b'1'][random.usize(..4)] };
            file.write_at(&[byte], *place as u64).unwrap();
        }
        let changed = places.iter().any(|place| {
            let mut byte = [0];
            file.read_at(&mut byte, *place as u64).unwrap();
            byte[0] != bytes[*place]
        });
        assert_eq!(is_detected(&*file), changed, "{places:?}");
        for place in places {
            file.write_at(&bytes[place..=place], place as u64).unwrap();
        }
    }
}
