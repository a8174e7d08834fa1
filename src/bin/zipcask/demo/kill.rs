//! The parent's side of the kill: tells the child its batches, and kills it midway.
//!
//! Floor 7. Imports nothing.

use std::env;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use indicatif::ProgressBar;

use crate::bar;
use crate::demo::input::Record;
use crate::demo::plan::{self, Plan};
use crate::failure::{Code, Failure, Outcome};

/// How the child ended.
pub(crate) struct Killed {
    pub(crate) status: ExitStatus,
    /// Records that it acknowledged before.
    pub(crate) acked: usize,
}

/// A child that does not outlive us.
struct Loader(Child);

impl Drop for Loader {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a child load `records` into a store in `dir`, and kills it when half of them are acknowledged and it is busy
/// with the next batch.
pub(crate) fn load_and_kill(dir: &Path, records: &[Record], plan: &Plan) -> Outcome<Killed> {
    let failed = |error: io::Error| Failure::io("cannot run the loading process", &error);
    let mut child = env::current_exe()
        .and_then(|program| {
            Command::new(program)
                .arg("demo-load")
                .arg("--")
                .arg(dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        })
        .map_err(failed)?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let mut loader = Loader(child);
    let (stdin, stdout) = pipes.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let bar = bar::of_records(records.len() as u64, "loading");
    let acked = thread::scope(|scope| {
        // Holds the pipe open to the end: a child that is told everything waits for more, and is still there to kill.
        let teller = scope.spawn(move || tell_all(stdin, records, plan));
        let acked = kill_midway(&mut loader.0, stdout, records.len(), &bar);
        // Without this a failure above would leave the teller waiting for a child that waits for nobody.
        let _ = loader.0.kill();
        // What it could not tell is no failure: the child was killed.
        let _ = teller.join();
        acked
    });
    bar.finish_and_clear();
    let acked = acked.map_err(failed)?;
    let status = loader.0.wait().map_err(failed)?;
    // A killed process has no code of its own, or 1 where the system has no signals; the child never ends with that.
    let by_itself = status.code().is_some_and(|code| code != 1);
    if by_itself || acked < records.len().div_ceil(2) {
        let text = format!("the loading process ended by itself ({status}), {acked} records acknowledged");
        return Err(Failure::new(Code::Other, text));
    }
    Ok(Killed { status, acked })
}

fn tell_all(stdin: ChildStdin, records: &[Record], plan: &Plan) -> io::Result<BufWriter<ChildStdin>> {
    let mut stdin = BufWriter::with_capacity(1 << 20, stdin);
    for batch in &plan.batches {
        plan::tell(&mut stdin, &records[batch.clone()])?;
    }
    Ok(stdin)
}

/// Kills the child once half of `count` records are acknowledged, half a batch later, so that it is at the next one;
/// returns how many were acknowledged when it was gone.
fn kill_midway(child: &mut Child, stdout: ChildStdout, count: usize, bar: &ProgressBar) -> io::Result<usize> {
    let (mut acked, mut batches, mut killed) = (0, 0, false);
    let start = Instant::now();
    let mut acks = BufReader::new(stdout);
    let mut line = String::new();
    loop {
        line.clear();
        acks.read_line(&mut line)?;
        // A line without its end was cut off by the kill.
        let Some(number) = line.strip_suffix('\n') else {
            return Ok(acked);
        };
        acked = number.parse().map_err(io::Error::other)?;
        bar.set_position(acked as u64);
        batches += 1;
        if count.div_ceil(2) <= acked && !killed {
            thread::sleep(start.elapsed() / batches / 2);
            child.kill()?;
            killed = true;
        }
    }
}
