//! What the benches share: keys and values, and rounds in which zipcask and its floor take turns.

pub(crate) mod data;
pub(crate) mod figures;

use std::time::{Duration, Instant};

use figures::Figures;

/// How much is measured: everything by `cargo bench`, little when it is run as a test.
pub(crate) struct Scale {
    pub(crate) keys: u64,
    quick: bool,
}

impl Scale {
    /// Reads the command line, and says what will be measured.
    pub(crate) fn new(about: &str, keys: u64) -> Scale {
        let quick = !std::env::args().any(|arg| arg == "--bench");
        let keys = if quick { 1_000 } else { keys };
        println!(
            "{about}; {keys} keys of 16 to 24 bytes, values of 100 bytes if nothing else is said, answers checked."
        );
        println!("Speed, floor = 1.00, more is faster: median [p5 .. p95] of alternating rounds in one process.");
        Scale { keys, quick }
    }

    /// `count`, or a hundredth of it.
    pub(crate) fn of(&self, count: usize) -> usize {
        if self.quick { (count / 100).max(2) } else { count }
    }

    /// Lets both sides take turns and prints how fast the first is by the second; each says how long it took.
    pub(crate) fn ratio(
        &self,
        name: &str,
        rounds: usize,
        mut ours: impl FnMut(u64) -> Duration,
        mut floor: impl FnMut(u64) -> Duration,
    ) {
        let mut ratios = Vec::new();
        for round in 0..self.of(rounds) as u64 {
            let (ours, floor) = if round % 2 == 0 {
                let ours = ours(round);
                (ours, floor(round))
            } else {
                let floor = floor(round);
                (ours(round), floor)
            };
            ratios.push(floor.as_secs_f64() / ours.as_secs_f64());
        }
        let it = Figures::of(&ratios);
        println!("{name:<58} {:>6.2}x   [{:.2} .. {:.2}]", it.median, it.p5, it.p95);
    }
}

/// How long `f` takes.
pub(crate) fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}
