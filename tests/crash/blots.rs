//! Damage of many bytes at random places of a store that has everything: archives of both kinds, unpacked chunks, hints, a written index, a
//! keyspace in order, large values.

use std::collections::BTreeMap;
use std::sync::Arc;

use zipcask::sim::{Random, SimDisk};
use zipcask::{Compression, Db, ErrorKind, Keyspace, KeyspaceOptions, Options, ReadMode};

use crate::misplaced::Found;
use crate::rot;

const SEGMENT: u64 = 256 << 10;
/// Keys of each of two keyspaces, and how many of these have values that are files of their own.
const KEYS: usize = 2000;
const LARGE: usize = 5;
/// The longest blot, and how many a store gets at most.
const LEN_MAX_LOG: usize = 16;
const BLOTS_MAX: usize = 3;

/// Of both keyspaces.
type Model = [BTreeMap<Vec<u8>, Vec<u8>>; 2];

fn open(disk: &SimDisk, mode: ReadMode) -> zipcask::Result<Db> {
    let options = Options::new().read_mode(mode).archive_compression(Compression::Deflate);
    zipcask::sim::open(options, SEGMENT, Arc::new(disk.clone()))
}

fn spaces(db: &Db) -> zipcask::Result<[Keyspace; 2]> {
    let ordered = db.keyspace_with("ordered", KeyspaceOptions::new().ordered(true))?;
    Ok([db.keyspace("default")?, ordered])
}

/// Puts some keys of both keyspaces, and deletes others.
fn write(db: &Db, model: &mut Model, random: &mut Random, keys: usize) -> zipcask::Result<()> {
    for (space, model) in spaces(db)?.iter().zip(model) {
        let mut batch = db.batch();
        for _ in 0..keys {
            let number = random.below(KEYS);
            let key = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
            if random.below(8) == 0 {
                batch.delete(space, &key);
                model.remove(&key);
                continue;
            }
            // Half of it is the same again, so that packing it is of use.
            let len = if number < LARGE { SEGMENT as usize } else { 20 + random.below(500) };
            let mut value = vec![number as u8; len];
            random.fill(&mut value[..len / 2]);
            batch.put(space, &key, &value);
            model.insert(key, value);
        }
        batch.commit()?;
    }
    Ok(())
}

fn closed_store(seed: u64) -> zipcask::Result<(SimDisk, Model)> {
    let (disk, mut model, mut random) = (SimDisk::new(seed), Model::default(), Random::new(seed));
    disk.record();
    let db = open(&disk, ReadMode::Mmap)?;
    for round in 0..12 {
        write(&db, &mut model, &mut random, 150)?;
        match round {
            3 => drop(db.compact()?),
            6 => drop(db.archive()?),
            9 => {
                db.seal()?;
                db.checkpoint()?;
            }
            _ => {}
        }
    }
    db.close()?;
    Ok((disk, model))
}

/// Damages copies of a closed store, so many times, and reads all of each.
///
/// # Errors
/// The first damage that changed an answer, or hid a key, without a word.
pub(crate) fn run(seed: u64, cases: u64) -> Result<(Found, u64), String> {
    let (disk, model) = closed_store(seed).map_err(|error| format!("seed {seed}: {error:?}"))?;
    let names = disk.files().into_iter();
    let files: Vec<_> = names.filter_map(|name| Some((name.clone(), disk.read_file(&name)?))).collect();
    let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let (mut random, mut found) = (Random::new(seed), Found::default());
    for case in 0..cases {
        let image = rot::image(&disk);
        let mut told = Vec::new();
        for _ in 0..=random.below(BLOTS_MAX) {
            told.push(blot(&files, &image, &mut random));
        }
        let wrong = |what: String| format!("seed {seed}, case {case}, {}: {what}", told.join(" and "));
        let mode = [ReadMode::Mmap, ReadMode::Positioned][random.below(2)];
        found.note(read(&image, &model, mode).map_err(wrong)?);
    }
    Ok((found, bytes))
}

/// Writes over some bytes of a file; says what.
fn blot(files: &[(String, Vec<u8>)], image: &SimDisk, random: &mut Random) -> String {
    let (name, bytes) = loop {
        let (name, bytes) = &files[random.below(files.len())];
        if !bytes.is_empty() {
            break (name, bytes);
        }
    };
    let at = random.below(bytes.len());
    let len = ((1 << random.below(LEN_MAX_LOG)) + random.below(64)).min(bytes.len() - at);
    let mut damaged = image.read_file(name).expect("an image has all files");
    let kind = ["noise", "zeros", "ones", "what stands elsewhere"][random.below(4)];
    match kind {
        "noise" => random.fill(&mut damaged[at..at + len]),
        "zeros" => damaged[at..at + len].fill(0),
        "ones" => damaged[at..at + len].fill(0xff),
        _ => {
            let (_, other) = &files[random.below(files.len())];
            let from = random.below(other.len().max(1));
            let some = &other[from.min(other.len())..];
            let some = &some[..some.len().min(len)];
            damaged[at..at + some.len()].copy_from_slice(some);
        }
    }
    image.write_file(name, &damaged);
    format!("{kind} in {name} at {at}, {len} bytes")
}

/// Whether every answer is right (true) or a refusal (false).
///
/// # Errors
/// An answer is wrong, or one of those that say nothing of damage hides a key.
fn read(image: &SimDisk, model: &Model, mode: ReadMode) -> Result<bool, String> {
    let db = match open(image, mode) {
        Ok(db) => db,
        // Without any of the words that it begins with, an identity is none.
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::FormatVersion | ErrorKind::Invalid) => {
            return Ok(false);
        }
        Err(error) => return Err(format!("{error:?}")),
    };
    let Ok(spaces) = spaces(&db) else { return Ok(false) };
    let mut all_right = true;
    for (space, model) in spaces.iter().zip(model) {
        for (key, value) in model {
            match space.get(key) {
                Ok(got) if got.as_deref() == Some(value.as_slice()) => {}
                Ok(got) => return Err(format!("get shows {:?} bytes in place of a value", got.map(|got| got.len()))),
                Err(_) => all_right = false,
            }
        }
        let pairs: Vec<_> = space.iter().collect();
        let shown: Vec<_> = pairs.iter().flatten().collect();
        if shown.iter().any(|(key, value)| model.get(&**key).is_none_or(|is| *is != **value)) {
            return Err("a pass shows what is not there".into());
        }
        if pairs.iter().all(|pair| pair.is_ok()) && shown.len() != model.len() {
            return Err(format!("a pass shows {} of {} keys, and no error", shown.len(), model.len()));
        }
        all_right &= shown.len() == pairs.len();
    }
    let is_clean = db.verify().is_ok_and(|report| report.is_clean());
    if !all_right && is_clean {
        return Err("verify finds nothing, and a key cannot be read".into());
    }
    Ok(all_right)
}
