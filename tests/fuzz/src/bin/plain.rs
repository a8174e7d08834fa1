//! Runs targets without libFuzzer, on any compiler: over the corpus, and over changes of it that a seed fixes.
//!
//! `plain TARGET SECONDS [SEED]` | `plain TARGET FILE..`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use zipcask::sim::Random;
use zipcask_fuzz::{TARGETS, Target, mutate};

/// An input that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(10);

/// The input that is run, and since when.
static RUNNING: Mutex<Option<(Instant, Vec<u8>)>> = Mutex::new(None);

fn running(input: Option<(Instant, Vec<u8>)>) -> Option<(Instant, Vec<u8>)> {
    std::mem::replace(&mut RUNNING.lock().expect("nobody panics with it"), input)
}

/// Ends the process over an input that takes too long.
fn watch(name: &str) {
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = RUNNING.lock().expect("nobody panics with it");
        if let Some((_, input)) = now.as_ref().filter(|(since, _)| since.elapsed() > LONGEST) {
            keep(name, input, "an input", "takes too long");
            std::process::exit(1);
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let target = args.first().and_then(|name| TARGETS.iter().find(|(target, _)| target == name));
    let (Some((name, target)), Some(first)) = (target, args.get(1)) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: plain {{{}}} SECONDS [SEED] | plain TARGET FILE..", names.join("|"));
        return ExitCode::FAILURE;
    };
    let watched = *name;
    thread::spawn(move || watch(watched));
    let Ok(seconds) = first.parse() else {
        let read = |path: &String| (PathBuf::from(path), std::fs::read(path).expect("the file can be read"));
        return if args[1..]
            .iter()
            .map(read)
            .all(|(path, input)| one(name, *target, &input, &path.display().to_string()).is_some())
        {
            println!("{name}: {} inputs, none breaks a rule", args.len() - 1);
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    };
    let seed = args.get(2).map_or(1, |seed| seed.parse().expect("the seed is a number"));
    fuzz(name, *target, Duration::from_secs(seconds), seed)
}

fn fuzz(name: &str, target: Target, how_long: Duration, seed: u64) -> ExitCode {
    let corpus = corpus(name);
    let (mut random, start) = (Random::new(seed), Instant::now());
    let (mut count, mut accepted) = (0_u64, 0_u64);
    for (path, input) in &corpus {
        match one(name, target, input, path) {
            Some(taken) => accepted += u64::from(taken > 0),
            None => return ExitCode::FAILURE,
        }
        count += 1;
    }
    while start.elapsed() < how_long {
        let mut input = corpus[random.below(corpus.len())].1.clone();
        let other = random.below(corpus.len());
        mutate::mutate(&mut input, &corpus[other].1, &mut random);
        match one(name, target, &input, "a changed input") {
            Some(taken) => accepted += u64::from(taken > 0),
            None => return ExitCode::FAILURE,
        }
        count += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {count} executions in {seconds:.1} s, {accepted} of them accepted, none breaks a rule (seed {seed}, {} inputs)",
        corpus.len()
    );
    ExitCode::SUCCESS
}

/// How much of the input was accepted; `None` if it breaks a rule: it is kept then.
fn one(name: &str, target: Target, input: &[u8], what: &str) -> Option<u64> {
    running(Some((Instant::now(), input.to_vec())));
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    running(None);
    outcome.inspect_err(|_| keep(name, input, what, "breaks a rule")).ok()
}

fn keep(name: &str, input: &[u8], what: &str, why: &str) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    std::fs::create_dir_all(&kept).expect("the folder can be made");
    let path = kept.join(format!("{name}-{:08x}", crc32c::crc32c(input)));
    std::fs::write(&path, input).expect("the input can be kept");
    eprintln!("{name}: {what} {why}; it is kept as {}", path.display());
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("no corpus at {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no inputs in {}", folder.display());
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).expect("an input can be read"));
    paths.into_iter().map(read).collect()
}
