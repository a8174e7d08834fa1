//! A disk that writes a sector in another's place, not at all, or lies about a file's size.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use zipcask::Options;
use zipcask::sim::{Call, Fault, FaultDisk, Lasts, Random, SimDisk, Written};

use crate::history::{self, Kind, Model, SEGMENT};
use crate::rot;

const SECTOR: usize = 512;

/// Pairs of sectors that are tried, of a store that has more.
const PAIRS: usize = 12_000;

/// What became of damage of a kind.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Found {
    pub(crate) cases: u64,
    pub(crate) detected: u64,
}

impl Found {
    pub(crate) fn add(&mut self, other: Found) {
        self.cases += other.cases;
        self.detected += other.detected;
    }

    pub(crate) fn note(&mut self, harmless: bool) {
        self.cases += 1;
        self.detected += u64::from(!harmless);
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} detected)", self.cases, self.detected)
    }
}

/// What became of sectors that are not where, or what, they should be.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sectors {
    pub(crate) swapped: Found,
    pub(crate) copied: Found,
    pub(crate) stale: Found,
}

impl Sectors {
    pub(crate) fn add(&mut self, other: Sectors) {
        self.swapped.add(other.swapped);
        self.copied.add(other.copied);
        self.stale.add(other.stale);
    }
}

/// The sectors of a store's files, and which of them is meant.
struct Store {
    files: Vec<(String, Vec<u8>)>,
    sectors: Vec<(usize, usize)>,
}

impl Store {
    fn of(disk: &SimDisk) -> Store {
        let names = disk.files().into_iter();
        let files: Vec<_> = names.filter_map(|name| Some((name.clone(), disk.read_file(&name)?))).collect();
        let of_file = |(file, (_, bytes)): (usize, &(String, Vec<u8>))| {
            (0..bytes.len() / SECTOR).map(move |index| (file, index * SECTOR))
        };
        let sectors = files.iter().enumerate().flat_map(of_file).collect();
        Store { files, sectors }
    }

    fn sector(&self, (file, at): (usize, usize)) -> &[u8] {
        &self.files[file].1[at..at + SECTOR]
    }

    /// Puts `bytes` in the place of a sector of `image`.
    fn put(&self, image: &SimDisk, (file, at): (usize, usize), bytes: &[u8]) {
        let name = &self.files[file].0;
        let mut damaged = image.read_file(name).expect("an image has all files");
        damaged[at..at + SECTOR].copy_from_slice(bytes);
        image.write_file(name, &damaged);
    }

    fn name(&self, (file, at): (usize, usize)) -> String {
        format!("{} at {at}", self.files[file].0)
    }
}

/// Swaps sectors of a closed store, puts one in another's place, and lets each be what it was at any moment before: a value is right
/// or refused. The count of keys may be off, since a key that cannot be recognised counts again once it is put again.
///
/// # Errors
/// The first sector whose place changed an answer unnoticed.
pub(crate) fn sectors(seed: u64, kind: Kind, checkpoint: bool) -> Result<Sectors, String> {
    let (disk, model) = rot::closed_store(seed, kind, checkpoint);
    let (store, mut random, mut sum) = (Store::of(&disk), Random::new(seed), Sectors::default());
    for _ in 0..PAIRS {
        let [one, other] = [(); 2].map(|()| store.sectors[random.below(store.sectors.len())]);
        if store.sector(one) == store.sector(other) {
            continue;
        }
        let wrong = |what: String| format!("{} and {}: {what}", store.name(one), store.name(other));
        let image = rot::image(&disk);
        store.put(&image, one, store.sector(other));
        sum.copied.note(read(&image, &model).map_err(wrong)?);
        let image = rot::image(&disk);
        store.put(&image, one, store.sector(other));
        store.put(&image, other, store.sector(one));
        sum.swapped.note(read(&image, &model).map_err(wrong)?);
    }
    sum.stale = stale(&disk, &model, &store)?;
    Ok(sum)
}

/// Whether every value is right (true) or refused (false).
///
/// # Errors
/// A value is wrong.
fn read(image: &SimDisk, model: &Model) -> Result<bool, String> {
    let Ok(db) = history::open(image) else { return Ok(false) };
    rot::values(&db, model)
}

/// Each sector as it was on the device at any moment before, as if the writes since had been lost without a word.
fn stale(disk: &SimDisk, model: &Model, store: &Store) -> Result<Found, String> {
    let (mut found, mut tried, mut random) = (Found::default(), BTreeSet::new(), Random::new(1));
    let mut recording = disk.recording();
    for point in recording.points() {
        // The first image has nothing of what waited.
        let then = recording.images(point, 1, &mut random).next().expect("there is always one");
        for sector in &store.sectors {
            let Some(bytes) = then.read_file(&store.files[sector.0].0) else { continue };
            let mut old = bytes.get(sector.1..).unwrap_or_default().to_vec();
            old.resize(SECTOR, 0);
            if old == store.sector(*sector) || !tried.insert((*sector, old.clone())) {
                continue;
            }
            let image = rot::image(disk);
            store.put(&image, *sector, &old);
            let wrong = |what| format!("{} as it was at {point}: {what}", store.name(*sector));
            found.note(read(&image, model).map_err(wrong)?);
        }
    }
    Ok(found)
}

/// Lets each answer about a file's size, while a closed store is opened and read, have one wrong bit: a value is right or refused,
/// and once sizes are right again, everything is there.
///
/// # Errors
/// The first lie that was believed.
pub(crate) fn sizes(seed: u64, kind: Kind, checkpoint: bool) -> Result<Found, String> {
    let (store, model) = rot::closed_store(seed, kind, checkpoint);
    let mut found = Found::default();
    for nth in 1.. {
        let mut struck = false;
        for bit in (0..20).chain([31, 32, 47, 62, 63]) {
            for lasts in [Lasts::Once, Lasts::FromThenOn] {
                let image = rot::image(&store);
                let disk = FaultDisk::simulated(image.clone());
                disk.inject(Fault { call: Call::Len, nth, errno: 0, lasts, written: Written::Wrong(bit) });
                let wrong = |what| format!("size {nth}, bit {bit}, {lasts:?}: {what}");
                let harmless = match zipcask::sim::open(Options::new(), SEGMENT, Arc::new(disk.clone())) {
                    Ok(db) => rot::values(&db, &model).map_err(wrong)?,
                    Err(_) => false,
                };
                if disk.injected() == 0 {
                    break;
                }
                struck = true;
                found.note(harmless);
                let db = history::open(&image).map_err(|error| wrong(format!("refused for good: {error:?}")))?;
                rot::holds(&db, &model).map_err(|what| wrong(format!("for good: {what}")))?;
            }
        }
        if !struck {
            return Ok(found);
        }
    }
    Ok(found)
}
