//! Power cuts: every point of a history, what it may leave, recovery on each, and again during and after recovery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zipcask::Durability;
use zipcask::sim::{Random, Sabotage, SimDisk, plant};

use crate::history::{self, History, Kind, LONG_SEGMENT, SEGMENT, Step, Writes};

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) seed: u64,
    pub(crate) histories: u64,
    pub(crate) steps: usize,
    /// Images of a point.
    pub(crate) images: usize,
    /// The same of a history with jobs, which has more points.
    pub(crate) images_of_jobs: usize,
    /// One image in so many is cut again.
    pub(crate) nested_every: u64,
    pub(crate) nested_images: usize,
    /// How many power cuts come one after the other.
    pub(crate) depth: u32,
    /// If above zero, there are as many histories as make so many images.
    pub(crate) at_least: u64,
}

/// What a run did.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) histories: u64,
    pub(crate) points: u64,
    /// After one power cut.
    pub(crate) images: u64,
    /// After two.
    pub(crate) nested: u64,
    /// After more.
    pub(crate) deeper: u64,
    /// Spare segments that histories made.
    pub(crate) spares: u64,
    /// Jobs that wrote an archive, and archives that went for another.
    pub(crate) jobs: u64,
    pub(crate) merged: u64,
    /// How often the index was written down.
    pub(crate) indexes: u64,
    /// Time on a processor.
    pub(crate) busy: Duration,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.histories += other.histories;
        self.points += other.points;
        self.images += other.images;
        self.nested += other.nested;
        self.deeper += other.deeper;
        self.spares += other.spares;
        self.jobs += other.jobs;
        self.merged += other.merged;
        self.indexes += other.indexes;
        self.busy += other.busy;
    }

    /// Images of all depths.
    pub(crate) fn all_images(&self) -> u64 {
        self.images + self.nested + self.deeper
    }

    /// Images a second of one core.
    pub(crate) fn rate(&self) -> f64 {
        self.all_images() as f64 / self.busy.as_secs_f64()
    }
}

/// Runs all histories of the effort, on one thread a core. Says what went wrong first, with the seeds that show it.
pub(crate) fn run_on_all_cores(effort: Effort) -> Result<Counts, String> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let taken = Taken::default();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| run(effort, &taken, None))).collect();
        workers.into_iter().map(|worker| worker.join().expect("it says what goes wrong")).collect()
    });
    let mut sum = Counts::default();
    for counts in outcomes {
        sum.add(&counts?);
    }
    Ok(sum)
}

/// Whether the histories notice a bug: what they say of it.
pub(crate) fn run_planted(effort: Effort, bug: Sabotage) -> Option<String> {
    run(Effort { at_least: 0, ..effort }, &Taken::default(), Some(bug)).err()
}

/// What the threads of a run did so far.
#[derive(Default)]
struct Taken {
    histories: AtomicU64,
    images: AtomicU64,
}

impl Taken {
    /// The number of a history that nobody took before, if more are wanted.
    fn next(&self, effort: &Effort) -> Option<u64> {
        // ORDER: Relaxed; each number is given out once, and nothing else is said by it. A count of images that is late costs a
        // history more.
        let number = self.histories.fetch_add(1, Ordering::Relaxed);
        // ORDER: Relaxed; as above.
        let images = self.images.load(Ordering::Relaxed);
        let wanted = if effort.at_least == 0 { number < effort.histories } else { images < effort.at_least };
        wanted.then_some(number)
    }
}

/// Runs the histories that nobody took before. What is chosen depends on the seed and the history's number, not on who takes it.
fn run(effort: Effort, taken: &Taken, sabotage: Option<Sabotage>) -> Result<Counts, String> {
    let (mut sum, began) = (Counts::default(), Instant::now());
    let busy_before = time_on_processor();
    while let Some(number) = taken.next(&effort) {
        let mut counts = Counts { histories: 1, ..Counts::default() };
        plant(sabotage);
        let outcome = cut_everywhere(effort, number, &mut counts);
        plant(None);
        outcome.map_err(|what| format!("seed {}, history {number}: {what}", effort.seed))?;
        // ORDER: Relaxed; see `Taken::next`.
        taken.images.fetch_add(counts.all_images(), Ordering::Relaxed);
        sum.add(&counts);
    }
    let busy = time_on_processor().zip(busy_before).map(|(after, before)| after - before);
    sum.busy = busy.unwrap_or_else(|| began.elapsed());
    Ok(sum)
}

/// How long this thread ran so far, where the system says so (Linux).
fn time_on_processor() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(line.split_whitespace().next()?.parse().ok()?))
}

fn cut_everywhere(effort: Effort, number: u64, counts: &mut Counts) -> Result<(), String> {
    let mut random = Random::new(effort.seed << 20 | number);
    let (kind, images) = match number / 2 % 2 {
        0 => (Kind::Log, effort.images),
        _ => (Kind::Jobs, effort.images_of_jobs),
    };
    let steps = history::plan(&mut random, kind, effort.steps);
    let disk = SimDisk::new(random.next_u64());
    disk.record();
    let segment = if number % 4 == 3 { LONG_SEGMENT } else { SEGMENT };
    let mut history = History::begin(history::Model::new(), 0, segment, 0);
    let db = history.open_driven(&disk).map_err(|error| format!("a new store does not open: {error:?}"))?;
    history.drive(&disk, db, &steps, 1)?;
    counts.spares += history.spares as u64;
    counts.jobs += history.jobs;
    counts.merged += history.merged;
    counts.indexes += history.indexes;
    let mut recording = disk.recording();
    for point in recording.points() {
        counts.points += 1;
        let mut image_random = Random::new(random.next_u64());
        for image in recording.images(point, images, &mut image_random) {
            counts.images += 1;
            let nested = counts.images.is_multiple_of(effort.nested_every);
            if nested {
                image.record();
            }
            let (db, state) = history.check(&image, point).map_err(|what| format!("point {point}: {what}"))?;
            if counts.images.is_multiple_of(16) && !db.verify().is_ok_and(|report| report.is_clean()) {
                return Err(format!("point {point}: wrong: a recovered store does not verify"));
            }
            if nested {
                let resumed = History::resume(&history, state, point);
                cut_again(effort, resumed, &history.writes[state..], kind, (&image, db), 2, counts)
                    .map_err(|what| format!("point {point}, then {what}"))?;
            } else {
                drop(db);
            }
        }
    }
    Ok(())
}

/// The application retries what it was not told is done: writes of the same lengths, with other bytes. Then the power
/// goes again: at any point since the image was opened. It is power cut number `depth`, and may not be the last.
fn cut_again(
    effort: Effort,
    mut history: History,
    lost: &[Writes],
    kind: Kind,
    (disk, db): (&SimDisk, zipcask::Db),
    depth: u32,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut random = Random::new(effort.seed ^ (counts.images + counts.deeper));
    let retried = lost.iter().take(4);
    let retried = retried
        .enumerate()
        .map(|(i, writes)| Step::Write(writes.clone(), if i == 0 { Durability::Sync } else { Durability::Os }));
    let mut steps: Vec<_> = retried.collect();
    if random.below(2) == 0 {
        steps.insert(0, Step::Spare);
    }
    if kind == Kind::Jobs && random.below(3) > 0 {
        let at = random.below(steps.len() + 1);
        steps.insert(at, if random.below(3) == 0 { Step::Archive } else { Step::Compact(Vec::new()) });
        if random.below(6) == 0 {
            steps.insert(at, Step::Checkpoint);
        }
    }
    // No two lives make the same values.
    history.drive(disk, db, &steps, u64::from(depth) << 28 | counts.all_images())?;
    counts.jobs += history.jobs;
    counts.indexes += history.indexes;
    let mut recording = disk.recording();
    for point in recording.points() {
        let mut image_random = Random::new(random.next_u64());
        for image in recording.images(point, effort.nested_images, &mut image_random) {
            *(if depth == 2 { &mut counts.nested } else { &mut counts.deeper }) += 1;
            let count = counts.nested + counts.deeper;
            if count.is_multiple_of(2) {
                show_stale_blocks(&image);
            }
            // Each of these makes many: else they would be nearly all that there is.
            let again = depth < effort.depth && count.is_multiple_of(8 * effort.nested_every);
            if again {
                image.record();
            }
            let (db, state) = history.check(&image, point).map_err(|what| format!("point {point}: {what}"))?;
            if again {
                let resumed = History::resume(&history, state, point);
                cut_again(effort, resumed, &history.writes[state..], kind, (&image, db), depth + 1, counts)
                    .map_err(|what| format!("point {point}, then {what}"))?;
            }
        }
    }
    Ok(())
}

/// Sectors of the newest segment that nothing was written to show what other files hold there: blocks that a file
/// system handed out anew without clearing them.
fn show_stale_blocks(image: &SimDisk) {
    let files = image.files();
    let mut segments = files.iter().rev().filter(|name| name.starts_with("segments/") && name.ends_with(".seg"));
    let (Some(newest), Some(older)) = (segments.next(), segments.next()) else { return };
    let (Some(mut bytes), Some(stale)) = (image.read_file(newest), image.read_file(older)) else { return };
    let footer = bytes.len().saturating_sub(512);
    if stale.len() != bytes.len() || bytes[footer..].iter().any(|byte| *byte != 0) {
        return;
    }
    for at in (4096..footer).step_by(512) {
        if bytes[at..at + 512].iter().all(|byte| *byte == 0) {
            bytes[at..at + 512].copy_from_slice(&stale[at..at + 512]);
        }
    }
    image.write_file(newest, &bytes);
}
