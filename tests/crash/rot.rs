//! Damage to files at rest: every bit of a closed store, every byte of a torn tail.

use std::collections::BTreeMap;

use zipcask::Db;
use zipcask::sim::{Random, SimDisk};

use crate::history::{self, History, Kind, Model, Step};

/// What became of the flipped bits.
#[derive(Clone, Default, Debug)]
pub(crate) struct Flips {
    pub(crate) bits: u64,
    pub(crate) detected: u64,
    pub(crate) harmless: u64,
    /// Damaged stores that were compacted.
    pub(crate) compacted: u64,
    /// Bits, and how many of them were detected, by the kind of file.
    pub(crate) by_file: BTreeMap<&'static str, (u64, u64)>,
}

impl Flips {
    pub(crate) fn add(&mut self, other: &Flips) {
        self.bits += other.bits;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.compacted += other.compacted;
        for (kind, (bits, detected)) in &other.by_file {
            let sum = self.by_file.entry(kind).or_default();
            *sum = (sum.0 + bits, sum.1 + detected);
        }
    }
}

/// What a file is, by its name.
fn kind_of(name: &str) -> &'static str {
    match name.split_once('/').map_or(name, |(folder, _)| folder) {
        "segments" => "segments",
        "archives" => "archives",
        "large" => "large values",
        "hints" => "hints",
        "checkpoint" => "written indexes",
        _ => "identity and others",
    }
}

/// A closed store of a few small segments, and its contents; with a written index that some of them are behind, if asked.
pub(crate) fn closed_store(seed: u64, kind: Kind, checkpoint: bool) -> (SimDisk, Model) {
    let mut random = Random::new(seed);
    let mut steps: Vec<Step> = history::plan(&mut random, Kind::Log, 12);
    if kind == Kind::Jobs {
        // Archives of both kinds, and a segment that is in none.
        steps.insert(9, Step::Archive);
        steps.insert(6, Step::Compact(Vec::new()));
    }
    if checkpoint {
        steps.insert(10, Step::Checkpoint);
    }
    let disk = SimDisk::new(random.next_u64());
    disk.record();
    let mut history = History::begin(Model::new(), 0, history::SEGMENT, 0);
    let db = history::open(&disk).expect("a new store opens");
    history.drive(&disk, db, &steps, 1).expect("a healthy disk");
    (disk, history.models.pop().expect("it has a last state"))
}

/// Flips every bit of every file of `store`, one at a time: reading must find it, or say the truth. So must what a
/// compaction makes of one in so many.
///
/// # Errors
/// The first bit whose flip changed an answer unnoticed.
pub(crate) fn flip_every_bit(
    store: &SimDisk,
    model: &Model,
    first: u64,
    step: u64,
    compact_every: u64,
) -> Result<Flips, String> {
    let mut flips = Flips::default();
    for name in store.files() {
        let Some(bytes) = store.read_file(&name) else { continue };
        let mut bit = first;
        while bit < bytes.len() as u64 * 8 {
            let (at, mask) = ((bit / 8) as usize, 1 << (bit % 8));
            // A segment's header has a copy: what costs both must be found, too.
            let copy = (name.starts_with("segments/") && at < 512).then_some(at + HEADER_COPY);
            for second in [None, copy].into_iter().skip(usize::from(copy.is_none())) {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                if let Some(second) = second {
                    damaged[second] ^= mask;
                }
                let image = image(store);
                image.write_file(&name, &damaged);
                flips.bits += 1;
                let wrong = |what| format!("{name}, bit {bit}: {what}");
                let harmless = compare(&image, model).map_err(wrong)?;
                flips.harmless += u64::from(harmless);
                flips.detected += u64::from(!harmless);
                let of_kind = flips.by_file.entry(kind_of(&name)).or_default();
                *of_kind = (of_kind.0 + 1, of_kind.1 + u64::from(!harmless));
                if flips.bits.is_multiple_of(compact_every) {
                    flips.compacted += u64::from(compact_damaged(&image, model).map_err(wrong)?);
                }
            }
            bit += step;
        }
    }
    Ok(flips)
}

/// Compacts a damaged store, which must make nothing worse; whether it wrote anything.
///
/// # Errors
/// As `compare`.
fn compact_damaged(image: &SimDisk, model: &Model) -> Result<bool, String> {
    let Ok(db) = history::open(image) else { return Ok(false) };
    // Something newer, so that there is something to do, and tombstones, which rest on what older files say.
    let (mut model, key) = (model.clone(), history::key(0));
    db.put(&key, "newer").map_err(|error| format!("put: {error:?}"))?;
    model.insert(key, b"newer".to_vec());
    for number in [3, 7] {
        let key = history::key(number);
        if db.delete(&key).is_ok() {
            model.remove(&key);
        }
    }
    let before = answers(&db, &model)?;
    let compacted = db.compact().is_ok_and(|report| report.archives > 0);
    if before != answers(&db, &model)? {
        return Err("a compaction lost or mended something".into());
    }
    drop(db);
    let db = history::open(image).map_err(|error| format!("refused once it is compacted: {error:?}"))?;
    if before != answers(&db, &model)? {
        return Err("what a compaction left is not what it showed".into());
    }
    Ok(compacted)
}

/// Deletes a key of an archive whose hint is damaged, by one bit after the other, and compacts what holds the tombstone: it must not
/// go while the archive, which stays, puts the key. Returns how many bits.
///
/// # Errors
/// The first bit that brought the key back.
pub(crate) fn flip_every_bit_of_a_hint() -> Result<u64, String> {
    let store = SimDisk::new(7);
    store.record();
    let db = history::open(&store).expect("a new store opens");
    // So many that one of them is next to nothing.
    let key = |number: u8| [number; 9];
    for number in 0..30 {
        db.put(key(number), [number; 190]).expect("a healthy disk takes writes");
    }
    db.compact().expect("a healthy disk takes archives");
    db.close().expect("a healthy disk closes");
    let bytes = store.read_file(ARCHIVE).expect("the archive");
    let found = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name).expect("it is there");
    // Its entry begins behind the header that names it; what follows it is the manifest's.
    let (start, end) = (found(b"hints/").next_multiple_of(4096), found(b"manifest.json"));
    // Of zeros, which are most of it, one bit of each second byte.
    let bits = (start * 8..end * 8).filter(|bit| bytes[bit / 8] != 0 || bit % 16 == 7);
    let mut flipped = 0;
    for bit in bits {
        flipped += 1;
        let image = image(&store);
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        image.write_file(ARCHIVE, &damaged);
        let Ok(db) = history::open(&image) else { continue };
        if !db.stats().recovery.damaged.is_empty() {
            // The bit was one of a segment between the hints.
            continue;
        }
        let number = (bit % 30) as u8;
        let there = db.delete(key(number)).map_err(|error| format!("bit {bit}: {error:?}"))?;
        db.compact().map_err(|error| format!("bit {bit}: {error:?}"))?;
        drop(db);
        let db = history::open(&image).map_err(|error| format!("bit {bit}: {error:?}"))?;
        if !there
            || db.contains_key(key(number)).unwrap_or(true)
            || db.len() != 29
            || image.read_file(ARCHIVE).is_none()
        {
            return Err(format!("bit {bit}: a key that was deleted is back, or the archive is gone"));
        }
    }
    Ok(flipped)
}

const ARCHIVE: &str = "archives/0000000001.zip";

/// A copy of a closed store.
pub(crate) fn image(store: &SimDisk) -> SimDisk {
    let mut random = Random::new(1);
    let mut recording = store.recording();
    let last = *recording.points().end();
    recording.images(last, 1, &mut random).next().expect("a closed store has its one image")
}

/// Whether the store has just this, and every key can be read.
///
/// # Errors
/// What it says else.
pub(crate) fn holds(db: &Db, model: &Model) -> Result<(), String> {
    match answers(db, model)? {
        true => Ok(()),
        false => Err("a key cannot be read".into()),
    }
}

/// Whether every answer is right (true) or a refusal (false).
///
/// # Errors
/// An answer is wrong.
fn compare(image: &SimDisk, model: &Model) -> Result<bool, String> {
    let Ok(db) = history::open(image) else { return Ok(false) };
    answers(&db, model)
}

/// The same of an open store.
///
/// # Errors
/// As `compare`.
fn answers(db: &Db, model: &Model) -> Result<bool, String> {
    let all_right = values(db, model)?;
    // A damaged record that a hint has found counts as a key of its own once its key is written again.
    if db.stats().recovery.damaged.is_empty() && db.len() != model.len() as u64 {
        return Err(format!("{} keys, {} expected", db.len(), model.len()));
    }
    Ok(all_right)
}

/// The same, whatever the store says of how many keys it has.
///
/// # Errors
/// As `compare`.
pub(crate) fn values(db: &Db, model: &Model) -> Result<bool, String> {
    let mut all_right = true;
    for number in 0..history::KEYS {
        let key = history::key(number);
        match db.get(&key) {
            Ok(got) if got.as_deref() == model.get(&key).map(Vec::as_slice) => {}
            Ok(_) => return Err(format!("the value of key {number} is wrong")),
            Err(_) => all_right = false,
        }
    }
    Ok(all_right)
}

/// A store as a killed process leaves it: `count` durable puts in one segment, of which the file's bytes are returned.
pub(crate) fn killed_store(count: u8) -> (SimDisk, Vec<u8>, Model) {
    let disk = SimDisk::new(7);
    let db = history::open(&disk).expect("a new store opens");
    let mut model = Model::new();
    for number in 0..count {
        let value = vec![number + 1; 40 + usize::from(number) * 11];
        db.put(history::key(number), &value).expect("a healthy disk takes writes");
        model.insert(history::key(number), value);
    }
    let bytes = disk.read_file(SEGMENT).expect("the first segment");
    db.close().expect("a healthy disk closes");
    (disk, bytes, model)
}

/// Where a segment has the second copy of its header.
const HEADER_COPY: usize = 7 * 512;

pub(crate) const SEGMENT: &str = "segments/0000000001.seg";

/// How many of the records that `killed_store` puts end at `at` or before: with their padding, which are zeros, if `cut`.
pub(crate) fn whole_before(model: &Model, at: usize, cut: bool) -> u64 {
    let (mut offset, mut whole) = (4096, 0);
    for (key, value) in model {
        // Header, horizon, key, value.
        let end = offset + 24 + 8 + key.len().next_multiple_of(8) + value.len();
        offset = end.next_multiple_of(8);
        whole += u64::from(if cut { offset <= at } else { end <= at });
    }
    whole
}

/// Whether `at` lies between a value's end and the next record.
pub(crate) fn is_padding(model: &Model, at: usize) -> bool {
    whole_before(model, at, false) > whole_before(model, at, true)
}

/// What an open made of a damaged tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Damage: nothing is opened.
    Refused,
    /// The first so many records are there, and no others.
    Prefix(u64),
    /// All are there, but for the value of one, whose key says so.
    OneValueRotten,
}

/// Opens the store with these bytes as its only segment, and sees that new writes survive a reopen.
pub(crate) fn open_damaged(disk: &SimDisk, bytes: &[u8], model: &Model) -> Found {
    disk.write_file(SEGMENT, bytes);
    let Ok(db) = history::open(disk) else { return Found::Refused };
    let count = db.len();
    let mut rotten = 0;
    for (number, (key, value)) in model.iter().enumerate() {
        match db.get(key) {
            Ok(got) => {
                assert_eq!(got.is_some(), (number as u64) < count, "not a prefix");
                assert!(got.is_none_or(|got| got == *value), "a wrong value");
            }
            Err(error) => {
                assert_eq!(error.kind(), zipcask::ErrorKind::Corruption);
                rotten += 1;
            }
        }
    }
    db.put("after", "damage").expect("a recovered store takes writes");
    db.close().expect("a recovered store closes");
    let db = history::open(disk).expect("a recovered store opens again");
    assert_eq!(db.get("after").expect("it is intact").expect("it is there"), "damage");
    assert_eq!(db.len(), count + 1);
    match rotten {
        0 => Found::Prefix(count),
        1 if count == model.len() as u64 => Found::OneValueRotten,
        _ => panic!("{rotten} of {count} records are rotten, by one flipped byte"),
    }
}
