//! What is asked for: random, absent and zipfian runs of keys, seeded.

use fastrand::Rng;

use crate::common::data::{Key, mix};

/// Keys drawn with equal chances from ids `0..count`.
pub(crate) fn uniform(rng: &mut Rng, count: u64, len: usize) -> Vec<Key> {
    (0..len).map(|_| Key::new(rng.u64(0..count))).collect()
}

/// Keys that nobody wrote.
pub(crate) fn absent(rng: &mut Rng, count: u64, len: usize) -> Vec<Key> {
    (0..len).map(|_| Key::new(count + rng.u64(0..count))).collect()
}

/// Keys that one of so many threads has for itself.
pub(crate) fn of_thread(rng: &mut Rng, count: u64, len: usize, thread: u64, threads: u64) -> Vec<Key> {
    (0..len).map(|_| Key::new(rng.u64(0..count / threads) * threads + thread)).collect()
}

/// The scrambled zipfian of YCSB, theta 0.99 (Gray et al., "Quickly generating billion-record synthetic databases").
pub(crate) struct Zipf {
    count: u64,
    zeta: f64,
    eta: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    pub(crate) fn new(count: u64) -> Zipf {
        let zeta: f64 = (1..=count).map(|rank| (rank as f64).powf(-THETA)).sum();
        let zeta_2 = 1.0 + 0.5_f64.powf(THETA);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta);
        Zipf { count, zeta, eta }
    }

    pub(crate) fn keys(&self, rng: &mut Rng, len: usize) -> Vec<Key> {
        (0..len).map(|_| Key::new(mix(self.rank(rng.f64())) % self.count)).collect()
    }

    fn rank(&self, chance: f64) -> u64 {
        let scaled = chance * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * chance - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
        (rank as u64).min(self.count - 1)
    }
}
