//! Rates of the store beside those of a map in the same process.
//!
//! Floor 7. Imports nothing.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use zipcask::Db;

use crate::demo::Expected;
use crate::failure::{Code, Failure, Outcome};

/// Rounds of each side, in turns; the median counts.
pub(crate) const ROUNDS: usize = 9;
/// A round reads everything again until it has lasted so long.
const ROUND_MIN: Duration = Duration::from_millis(20);
/// Seed of the order of reads.
const SEED: u64 = 42;

/// Records a second of both sides, and what that is in bytes.
pub(crate) struct Rates {
    pub(crate) threads: usize,
    /// The store's.
    pub(crate) ours: f64,
    /// The map's.
    pub(crate) theirs: f64,
    /// Bytes of a record, in the mean.
    pub(crate) record_bytes: f64,
}

impl Rates {
    /// Of `count` records of `bytes` in all, written in so much time; none if there were none.
    pub(crate) fn of(count: usize, bytes: usize, ours: Duration, theirs: Duration) -> Rates {
        let rate = |time: Duration| count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE);
        Rates { threads: 1, ours: rate(ours), theirs: rate(theirs), record_bytes: bytes as f64 / count.max(1) as f64 }
    }
}

/// The keys of `map` in a random order, the same each time.
pub(crate) fn shuffled(map: &Expected) -> Vec<&[u8]> {
    let mut keys: Vec<_> = map.keys().map(|key| &key[..]).collect();
    // A map has another order in each process.
    keys.sort_unstable();
    let mut state = SEED;
    for left in (1..keys.len()).rev() {
        keys.swap(left, (random(&mut state) % (left as u64 + 1)) as usize);
    }
    keys
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Gets every key in `order` from each of `threads` threads, in turns from `db` and from `map`; `touch` is what is done
/// with each value.
pub(crate) fn reads(
    db: &Db,
    map: &Expected,
    order: &[&[u8]],
    threads: usize,
    touch: fn(&[u8]) -> u64,
) -> Outcome<Rates> {
    let from_db = |key: &[u8]| Ok(db.get(key)?.map(|value| touch(&value)));
    let from_map = |key: &[u8]| Ok(map.get(key).map(|value| touch(value)));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (rate, sum) = round(order, threads, from_db)?;
        ours.push(rate);
        let (rate, expected) = round(order, threads, from_map)?;
        theirs.push(rate);
        if sum != expected {
            return Err(Failure::new(
                Code::Damage,
                "the store and the map gave different values while they were measured",
            ));
        }
    }
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    Ok(Rates {
        threads,
        ours: median(ours),
        theirs: median(theirs),
        record_bytes: bytes as f64 / order.len().max(1) as f64,
    })
}

/// A sum that needs the length, the first and the last byte of a value.
pub(crate) fn ends(value: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or(0));
    value.len() as u64 + (end(value.first()) << 32) + (end(value.last()) << 40)
}

/// A sum that needs every byte of a value.
pub(crate) fn all_bytes(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// Gets a second of all threads together, and the sum of one pass.
fn round(
    order: &[&[u8]],
    threads: usize,
    get: impl Fn(&[u8]) -> zipcask::Result<Option<u64>> + Sync,
) -> Outcome<(f64, u64)> {
    let start = Instant::now();
    let pass = |thread: usize| {
        let (behind, ahead) = order.split_at(order.len() * thread / threads);
        let (mut passes, mut sum) = (0, 0_u64);
        while passes == 0 || start.elapsed() < ROUND_MIN {
            sum = 0;
            for key in ahead.iter().chain(behind) {
                sum = sum.wrapping_add(black_box(get(black_box(key))?.unwrap_or(1)));
            }
            passes += 1;
        }
        zipcask::Result::Ok((passes, sum))
    };
    let done = thread::scope(|scope| {
        let pass = &pass;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || pass(thread))).collect();
        let joined = running.into_iter().map(|thread| thread.join().expect("it does not panic"));
        joined.collect::<zipcask::Result<Vec<_>>>()
    })?;
    let passes: usize = done.iter().map(|(passes, _)| passes).sum();
    let sums = done.iter().fold(0_u64, |sums, (_, sum)| sums.wrapping_add(*sum));
    let gets = (passes * order.len()) as f64;
    Ok((gets / start.elapsed().as_secs_f64(), sums))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
