//! Many threads against models: what they read while it changes, what is there at the end, and what a reopen finds.
//!
//! `ZIPCASK_SEED` chooses other histories, as far as the scheduler lets it; `ZIPCASK_STRESS_ROUNDS` runs each test so many
//! times, each with a seed of its own. What is freed is written over, so that a read of it shows.

#[path = "stress/bytes.rs"]
mod bytes;
#[path = "stress/counts.rs"]
mod counts;
#[path = "stress/held.rs"]
mod held;
#[path = "stress/jobs.rs"]
mod jobs;
#[path = "stress/linear.rs"]
mod linear;
#[path = "stress/order.rs"]
mod order;
#[path = "stress/over.rs"]
mod over;
#[path = "stress/owned.rs"]
mod owned;
#[path = "stress/pass.rs"]
mod pass;
#[path = "stress/plan.rs"]
mod plan;
#[path = "stress/races.rs"]
mod races;
#[path = "stress/readers.rs"]
mod readers;
#[path = "crash/report.rs"]
mod report;
#[path = "stress/scribble.rs"]
mod scribble;
#[path = "stress/serial.rs"]
mod serial;
#[path = "stress/ways.rs"]
mod ways;

use report::report;
use zipcask::ReadMode;

#[global_allocator]
static ALLOCATOR: scribble::Scribble = scribble::Scribble;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Calls `run` with one seed after the other.
fn for_each_seed(run: impl Fn(u64)) {
    let first = number("ZIPCASK_SEED", 1);
    (first..first + number("ZIPCASK_STRESS_ROUNDS", 1)).for_each(run);
}

fn owned_keys(effort: owned::Effort) {
    for_each_seed(|seed| {
        let counts = owned::run(owned::Effort { seed, ..effort }).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        report(&format!(
            "stress {:?}: {} threads, {} keys: {} puts, {} deletes, {} batches, {} gets, {} read in passes, {} held and \
             looked at again, {} archives written meanwhile: {} reads checked, 0 wrong (seed {seed})",
            effort.read_mode,
            owned::THREADS,
            owned::THREADS * effort.owned,
            counts.puts,
            counts.deletes,
            counts.batches,
            counts.gets,
            counts.passed,
            counts.held,
            counts.archives,
            counts.checked()
        ));
    });
}

#[test]
fn every_read_of_an_owned_key_is_what_its_owner_had_then() {
    owned_keys(owned::Effort {
        seed: 0,
        read_mode: ReadMode::Mmap,
        // Longer than a place of the registry, so that each takes two.
        segment_size: 5 << 18,
        owned: 25_000,
        writes: 60_000,
        rounds_per_pass: 400,
    });
}

#[test]
fn every_read_by_position_of_an_owned_key_is_what_its_owner_had_then() {
    owned_keys(owned::Effort {
        seed: 0,
        read_mode: ReadMode::Positioned,
        segment_size: 2 << 20,
        owned: 6_000,
        writes: 15_000,
        rounds_per_pass: 200,
    });
}

fn races(read_mode: ReadMode) {
    for_each_seed(|seed| {
        let counts = races::run(seed, read_mode).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        report(&format!(
            "races {read_mode:?}: {} threads on the same {} keys: {} puts, {} deletes, {} batches, {} reads checked \
             against the order of seqnos, 0 wrong; {} archives written meanwhile; memory and reopened store equal \
             (seed {seed})",
            races::THREADS,
            races::keys(seed),
            counts.puts,
            counts.deletes,
            counts.batches,
            counts.checked(),
            counts.archives
        ));
    });
}

#[test]
fn races_on_one_key_go_by_seqno_for_readers_in_memory_and_after_a_reopen() {
    races(ReadMode::Mmap);
}

#[test]
fn races_read_by_position_go_by_seqno_for_readers_in_memory_and_after_a_reopen() {
    races(ReadMode::Positioned);
}

const BOTH: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Positioned];

#[test]
fn what_was_handed_out_stays_whatever_happens_to_key_and_store() {
    for_each_seed(|seed| {
        for read_mode in BOTH {
            let looks = held::run(seed, read_mode).unwrap_or_else(|what| panic!("seed {seed}, {read_mode:?}: {what}"));
            report(&format!("held {read_mode:?}: {looks} looks at what was handed out, 0 changed (seed {seed})"));
        }
    });
}

#[test]
fn readers_move_between_threads_and_come_and_go_while_segments_do() {
    for_each_seed(|seed| {
        for read_mode in BOTH {
            let made = readers::come_and_go(seed, read_mode);
            report(&format!(
                "readers {read_mode:?}: {made} made, used in several threads and dropped, 0 wrong (seed {seed})"
            ));
        }
    });
}

#[test]
fn a_reader_may_be_called_inside_of_its_calls_which_may_end_early() {
    for_each_seed(|seed| BOTH.into_iter().for_each(|read_mode| readers::nest(seed, read_mode)));
}

#[test]
fn a_closed_store_says_so_to_its_readers_and_takes_nothing_back() {
    for_each_seed(|seed| BOTH.into_iter().for_each(|read_mode| readers::close(seed, read_mode)));
}

#[test]
fn passes_through_a_table_that_grows_show_all_that_was_there() {
    for_each_seed(|seed| {
        let passes = readers::pass_through_growth(seed, 300);
        report(&format!("growth: {passes} passes through 300 tables that grew, 0 wrong (seed {seed})"));
    });
}

#[test]
fn calls_on_a_key_have_an_order_that_explains_their_answers() {
    linear::check_the_checker();
    for_each_seed(|seed| {
        for read_mode in BOTH {
            let (calls, overlaps) =
                linear::run(seed, read_mode, 600).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            report(&format!(
                "linear {read_mode:?}: {calls} calls on 600 keys, {overlaps} pairs at once, 0 keys without an order (seed {seed})"
            ));
        }
    });
}

#[test]
fn transactions_at_once_are_as_one_after_the_other() {
    for_each_seed(|seed| {
        let counts = serial::run(seed, 4_000).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        report(&format!(
            "serial: {} commits, {} conflicts, {} gets and {} ranges replayed in the order of seqnos, 0 wrong (seed {seed})",
            counts.commits, counts.conflicts, counts.gets, counts.ranges
        ));
    });
}
