//! Power cuts, failed syncs and rot on a simulated disk: enumerated, not hoped for.
//!
//! `ZIPCASK_SEED` chooses other histories, `ZIPCASK_CRASH_HISTORIES` more of them, `ZIPCASK_CRASH_IMAGES` as many as make so many
//! images, `ZIPCASK_CRASH_DEPTH` more than two power cuts in a row, `ZIPCASK_CRASH_STORMS` more storms, and `ZIPCASK_CRASH_BLOTS` more
//! stores that are damaged at random.

#[path = "crash/aimed.rs"]
mod aimed;
#[path = "crash/blots.rs"]
mod blots;
#[path = "crash/consumer.rs"]
mod consumer;
#[path = "crash/failed_sync.rs"]
mod failed_sync;
#[path = "crash/groups.rs"]
mod groups;
#[path = "crash/history.rs"]
mod history;
#[path = "crash/hook.rs"]
mod hook;
#[path = "crash/lying.rs"]
mod lying;
#[path = "crash/meanwhile.rs"]
mod meanwhile;
#[path = "crash/misplaced.rs"]
mod misplaced;
#[path = "crash/power.rs"]
mod power;
#[path = "crash/report.rs"]
mod report;
#[path = "crash/rot.rs"]
mod rot;
#[path = "crash/since.rs"]
mod since;
#[path = "crash/spaces.rs"]
mod spaces;
#[path = "crash/storm.rs"]
mod storm;
#[path = "crash/world.rs"]
mod world;

use history::Kind;
use power::Effort;
use report::report;
use rot::Found;
use zipcask::sim::{Sabotage, SimDisk, plant};

/// Histories in a run of `cargo test`.
const HISTORIES: u64 = 96;

/// Seeds of storms in a run of `cargo test`.
const STORMS: u64 = 60;

/// Copies of a store that are damaged at random.
const BLOTS: u64 = 400;

/// Wrong bits that each write of a job is tried with.
const LIES: usize = 300;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn effort() -> Effort {
    Effort {
        seed: number("ZIPCASK_SEED", 1),
        histories: number("ZIPCASK_CRASH_HISTORIES", HISTORIES),
        steps: 24,
        images: 100,
        images_of_jobs: 30,
        nested_every: 61,
        nested_images: 6,
        depth: u32::try_from(number("ZIPCASK_CRASH_DEPTH", 2)).expect("a depth that ends"),
        at_least: number("ZIPCASK_CRASH_IMAGES", 0),
    }
}

#[test]
fn a_power_cut_at_any_point_loses_nothing_acknowledged_and_tears_nothing() {
    let began = std::time::Instant::now();
    let sum = power::run_on_all_cores(effort()).unwrap_or_else(|what| panic!("{what}"));
    report(&format!(
        "power cuts: {} histories with {} spare segments, {} archives written and {} replaced, {} indexes written down, {} points, {} images at depth 1 + {} at depth 2 + {} deeper = {} \
         recovered: 0 acknowledged lost, 0 wrong, 0 torn, 0 refused (seed {}; {:.0} images a second of one core, {:.0} s)",
        sum.histories,
        sum.spares,
        sum.jobs,
        sum.merged,
        sum.indexes,
        sum.points,
        sum.images,
        sum.nested,
        sum.deeper,
        sum.all_images(),
        effort().seed,
        sum.rate(),
        began.elapsed().as_secs_f64()
    ));
    if sum.histories >= HISTORIES {
        assert!(sum.nested >= 1_000_000, "too few images to mean much");
        assert!(sum.spares >= 50, "too few spare segments to mean much");
        assert!(sum.jobs >= 100 && sum.merged >= 30, "too few jobs to mean much");
        assert!(sum.indexes >= 50, "too few indexes to mean much");
    }
}

#[test]
fn a_job_that_drops_what_has_expired_ends_and_brings_nothing_older_back() {
    aimed::expired_before_a_job(effort().seed).unwrap_or_else(|what| panic!("{what}"));
}

fn effort_of_spaces() -> spaces::Effort {
    let histories = number("ZIPCASK_CRASH_HISTORIES", HISTORIES);
    spaces::Effort { seed: number("ZIPCASK_SEED", 1), histories, steps: 40, images: 12 }
}

#[test]
fn keyspaces_times_and_transactions_survive_a_power_cut_at_any_point() {
    let effort = effort_of_spaces();
    let counts = spaces::run(effort, None).unwrap_or_else(|what| panic!("{what}"));
    report(&format!(
        "crash, keyspaces: {} created, {} dropped, {} cleared, {} keys expired, {} transactions, {} of them in conflict, \
         {} snapshots, {} archives written, {} cursors made and {} moves of them; {} points, {} images: 0 lost, 0 torn, 0 wrong, 0 refused (seed {})",
        counts.created,
        counts.dropped,
        counts.cleared,
        counts.expired,
        counts.transactions,
        counts.conflicts,
        counts.snapshots,
        counts.jobs,
        counts.cursors,
        counts.moves,
        counts.points,
        counts.images,
        effort.seed
    ));
    if effort.histories >= HISTORIES {
        assert!(counts.images >= 20_000, "too few images to mean much");
        assert!(counts.created.min(counts.cleared) >= 40 && counts.dropped >= 20, "too few keyspaces to mean much");
        assert!(counts.cursors.min(counts.moves) >= 40, "too few cursors to mean much");
        assert!(counts.expired.min(counts.conflicts).min(counts.jobs) >= 40, "too little happened to mean much");
    }
}

/// What `check` finds while a bug is planted.
fn with(bug: Sabotage, check: impl FnOnce() -> Option<String>) -> Option<String> {
    plant(Some(bug));
    let found = check();
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_caught() {
    let power = |bug| power::run_planted(effort(), bug);
    let failed_sync = |bug| with(bug, || failed_sync::sweep().err());
    let rot = |bug| {
        let (disk, model) = rot::closed_store(effort().seed, Kind::Log, false);
        with(bug, || rot::flip_every_bit(&disk, &model, 0, 1, u64::MAX).err())
    };
    let lying = |bug| with(bug, || lying::sweep(effort().seed, LIES).err());
    let since = |bug| with(bug, || since::run(effort().seed).err());
    let aimed = |bug| with(bug, || aimed::expired_before_a_job(effort().seed).err());
    let spaces = |bug| spaces::run(effort_of_spaces(), Some(bug)).err();
    let caught = [
        (Sabotage::NoDirectorySync, power(Sabotage::NoDirectorySync)),
        (Sabotage::AcknowledgeBeforeSync, power(Sabotage::AcknowledgeBeforeSync)),
        (Sabotage::NoValueCrc, power(Sabotage::NoValueCrc)),
        (Sabotage::NoSalt, power(Sabotage::NoSalt)),
        (Sabotage::AppendAfterTornTail, power(Sabotage::AppendAfterTornTail)),
        (Sabotage::BadHeaderIsLeftover, rot(Sabotage::BadHeaderIsLeftover)),
        (Sabotage::PublishBeforeBarrier, failed_sync(Sabotage::PublishBeforeBarrier)),
        (Sabotage::NameBeforeOldIsDurable, power(Sabotage::NameBeforeOldIsDurable)),
        (Sabotage::IdentityNamedBeforeWritten, power(Sabotage::IdentityNamedBeforeWritten)),
        (Sabotage::SpareNamedBeforeHeader, power(Sabotage::SpareNamedBeforeHeader)),
        (Sabotage::RecycledSpare, power(Sabotage::RecycledSpare)),
        (Sabotage::HoleBelowEnd, power(Sabotage::HoleBelowEnd)),
        (Sabotage::LargeValueUnsynced, power(Sabotage::LargeValueUnsynced)),
        (Sabotage::LargeValueGoesFirst, power(Sabotage::LargeValueGoesFirst)),
        (Sabotage::IgnoreReplaces, power(Sabotage::IgnoreReplaces)),
        (Sabotage::SourcesGoFirst, power(Sabotage::SourcesGoFirst)),
        (Sabotage::ArchiveNameUnsynced, power(Sabotage::ArchiveNameUnsynced)),
        (Sabotage::TombstoneDropped, power(Sabotage::TombstoneDropped)),
        (Sabotage::CoversForgotten, power(Sabotage::CoversForgotten)),
        (Sabotage::DeadBeforeDurable, power(Sabotage::DeadBeforeDurable)),
        (Sabotage::DanglingPlaces, power(Sabotage::DanglingPlaces)),
        (Sabotage::ArchiveUnverified, lying(Sabotage::ArchiveUnverified)),
        (Sabotage::IndexBeforeSwap, since(Sabotage::IndexBeforeSwap)),
        (Sabotage::GoneFilesKept, since(Sabotage::GoneFilesKept)),
        (Sabotage::OldDeleteWins, since(Sabotage::OldDeleteWins)),
        (Sabotage::ExpiredHidesNothing, aimed(Sabotage::ExpiredHidesNothing)),
        (Sabotage::ReadsUnvalidated, spaces(Sabotage::ReadsUnvalidated)),
        (Sabotage::StaleInOrder, spaces(Sabotage::StaleInOrder)),
        (Sabotage::CursorHoldsNothing, spaces(Sabotage::CursorHoldsNothing)),
        (Sabotage::CursorUnlisted, spaces(Sabotage::CursorUnlisted)),
    ];
    let mut missed = Vec::new();
    for (bug, what) in &caught {
        match what {
            Some(what) => report(&format!("sabotage {bug:?}: caught ({what})")),
            None => missed.push(bug),
        }
    }
    report(&format!("sabotages: caught {} of {}", caught.len() - missed.len(), caught.len()));
    assert!(caught.len() >= 20);
    assert!(missed.is_empty(), "nothing noticed {missed:?}");
}

#[test]
fn a_failed_barrier_poisons_and_publishes_nothing_and_reopening_heals() {
    let cases = failed_sync::sweep().unwrap_or_else(|what| panic!("{what}"));
    report(&format!("failed barriers: {cases} cases, all as promised"));
    assert!(cases > 100);
}

#[test]
fn every_flipped_bit_of_a_store_is_detected_or_harmless_and_compacting_it_makes_nothing_worse() {
    let mut sum = rot::Flips::default();
    for (kind, checkpoint, compact_every) in
        [(Kind::Log, false, u64::MAX), (Kind::Jobs, false, 11), (Kind::Log, true, u64::MAX)]
    {
        sum.add(&flip_every_bit(kind, checkpoint, compact_every));
    }
    let by_file: Vec<_> =
        sum.by_file.iter().map(|(kind, (bits, found))| format!("{kind} {bits}, {found} detected")).collect();
    report(&format!(
        "rot: {} bits of three stores flipped ({}): {} detected, {} harmless, 0 wrong, 0 silently dropped; {} of these stores compacted",
        sum.bits,
        by_file.join("; "),
        sum.detected,
        sum.harmless,
        sum.compacted
    ));
    assert!(sum.compacted > 1000 && sum.by_file.len() >= 4);
    assert!(sum.detected > 1000 && sum.bits == sum.detected + sum.harmless);
}

#[test]
fn no_flipped_bit_of_a_hint_brings_back_what_was_deleted() {
    let bits = rot::flip_every_bit_of_a_hint().unwrap_or_else(|what| panic!("{what}"));
    report(&format!("rot of a hint: {bits} bits flipped, 0 deleted keys came back"));
    assert!(bits > 1000);
}

fn flip_every_bit(kind: Kind, checkpoint: bool, compact_every: u64) -> rot::Flips {
    let (disk, model) = rot::closed_store(effort().seed, kind, checkpoint);
    let count = |folder: &str| disk.files().iter().filter(|name| name.starts_with(folder)).count();
    assert!(count("archives/") >= 2 || kind == Kind::Log, "too few archives");
    if checkpoint {
        let read = |image: &SimDisk| history::open(image).unwrap().stats().recovery.records;
        let without = rot::image(&disk);
        without.write_file("checkpoint/index", &[]);
        assert!(read(&rot::image(&disk)) < read(&without), "the written index is of use");
    }
    let threads = 2;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let (disk, model) = (&disk, &model);
        let workers: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || rot::flip_every_bit(disk, model, first, threads, compact_every)))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut sum = rot::Flips::default();
    for flips in outcomes {
        sum.add(&flips.unwrap_or_else(|what| panic!("{what}")));
    }
    sum
}

#[test]
fn cutting_or_zeroing_the_tail_leaves_the_longest_valid_prefix_and_flipping_is_detected_or_cut() {
    let count = 11;
    let (_, bytes, _) = rot::killed_store(count);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (mut prefixes, mut refused, mut rotten, mut harmless) = (0, 0, 0, 0);
    for at in used.saturating_sub(4096).max(4096)..used {
        for damage in ["cut", "zero", "flip"] {
            let (disk, mut bytes, model) = rot::killed_store(count);
            match damage {
                "cut" => bytes.truncate(at),
                "zero" => bytes[at..].fill(0),
                _ => bytes[at] ^= 0x40,
            }
            let found = rot::open_damaged(&disk, &bytes, &model);
            if damage != "flip" {
                let whole = rot::whole_before(&model, at, damage == "cut");
                assert_eq!(found, Found::Prefix(whole), "{damage} at {at}");
            }
            match found {
                // What a later record vouches for is damage, not a torn tail.
                Found::Refused => refused += 1,
                Found::OneValueRotten => rotten += 1,
                // The zeros that fill a record up to 8 bytes are nobody's value.
                Found::Prefix(found) if found == u64::from(count) => {
                    assert!(damage == "flip" && rot::is_padding(&model, at), "{damage} at {at} went unnoticed");
                    harmless += 1;
                }
                Found::Prefix(_) => prefixes += 1,
            }
        }
    }
    report(&format!(
        "tails: {} damaged; {prefixes} opened with the valid prefix, {refused} refused and {rotten} cost one value, \
         because a later record vouches for them; {harmless} flips of padding change nothing",
        prefixes + refused + rotten + harmless
    ));
    assert!(prefixes > 0 && refused > 0 && rotten > 0);
}

#[test]
fn an_archive_that_the_disk_wrote_wrong_takes_nothing_s_place() {
    let lies = lying::sweep(effort().seed, LIES).unwrap_or_else(|what| panic!("{what}"));
    report(&format!(
        "lies: {} archives with a wrong bit, {} refused, {} written over; 0 lost, 0 wrong",
        lies.told,
        lies.noticed,
        lies.told - lies.noticed
    ));
    assert!(lies.noticed > 500);
}

#[test]
fn a_sector_in_another_s_place_or_as_it_was_before_is_detected_or_harmless() {
    let seeds = || effort().seed..effort().seed + 3;
    let mut sum = misplaced::Sectors::default();
    for seed in seeds() {
        for (kind, checkpoint) in [(Kind::Log, false), (Kind::Jobs, false), (Kind::Log, true)] {
            sum.add(misplaced::sectors(seed, kind, checkpoint).unwrap_or_else(|what| panic!("{what}")));
        }
    }
    report(&format!(
        "sectors: {} swapped with another, {} written in another's place, {} as they were before: 0 wrong, 0 silently dropped",
        sum.swapped, sum.copied, sum.stale
    ));
    assert!(sum.swapped.detected > 1000 && sum.copied.detected > 1000 && sum.stale.detected > 10);
    // Without the checksum of values and without their place in that of headers there would be wrong ones.
    for bug in [Sabotage::NoValueCrc, Sabotage::NoSalt] {
        let found = with(bug, || seeds().find_map(|seed| misplaced::sectors(seed, Kind::Jobs, false).err()));
        assert!(found.is_some_and(|what| what.ends_with("is wrong")), "{bug:?} went unnoticed");
    }
}

#[test]
fn verify_finds_nothing_wrong_whatever_a_job_is_about_to_do() {
    let verified = meanwhile::verify_before_each_call().unwrap_or_else(|what| panic!("{what}"));
    report(&format!("verified before calls of jobs: {verified} times, 0 problems"));
    assert!(verified > 50);
}

#[test]
fn random_damage_of_many_bytes_is_detected_or_harmless() {
    let seed = effort().seed;
    let (found, bytes) = blots::run(seed, number("ZIPCASK_CRASH_BLOTS", BLOTS)).unwrap_or_else(|what| panic!("{what}"));
    report(&format!(
        "blots: {found} copies of a store of {bytes} bytes with damage of many bytes at random: 0 wrong, 0 silently dropped (seed {seed})"
    ));
    assert!(found.detected > 0);
    // Without the checksum of values there would be wrong ones.
    let missed = with(Sabotage::NoValueCrc, || blots::run(seed, BLOTS).err());
    assert!(missed.is_some_and(|what| what.contains("in place of a value")), "it went unnoticed");
}

#[test]
fn a_disk_that_lies_about_the_size_of_a_file_is_caught_and_costs_nothing_once_it_tells_the_truth() {
    let mut lies = misplaced::Found::default();
    for (kind, checkpoint) in [(Kind::Log, false), (Kind::Jobs, false), (Kind::Log, true)] {
        lies.add(misplaced::sizes(effort().seed, kind, checkpoint).unwrap_or_else(|what| panic!("{what}")));
    }
    report(&format!("sizes: {lies} with a wrong bit: 0 wrong, 0 silently dropped, 0 lost once they were right again"));
    assert!(lies.detected > 100);
}

#[test]
fn a_written_index_and_the_jobs_that_came_after_it_are_one_store() {
    let images = since::run(effort().seed).unwrap_or_else(|what| panic!("{what}"));
    report(&format!("jobs behind a written index: {images} images, each key as it was, 0 of them read in full"));
}

#[test]
fn faults_kills_and_power_cuts_together_lose_nothing() {
    let seed = number("ZIPCASK_SEED", 1);
    let counts = storm::run(seed, number("ZIPCASK_CRASH_STORMS", STORMS)).unwrap_or_else(|what| panic!("{what}"));
    report(&format!(
        "storms: {} of faults, kills and power cuts: {} faults struck, {} archives written, {} kills, {} images \
         recovered: 0 acknowledged lost, 0 wrong, 0 torn, 0 refused (seed {seed})",
        counts.storms, counts.struck, counts.jobs, counts.kills, counts.images
    ));
    assert!(counts.struck > 0 && counts.kills > 0 && counts.jobs > 0);
}
