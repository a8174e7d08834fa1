//! What a durable write costs on ext4 with a journal, counted by the block layer: for root, on Linux.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use zipcask::sim::make_spare;
use zipcask::{Db, Options};

use crate::mount::Mount;
use crate::report::report;

/// Durable writes that are counted.
const PUTS: u64 = 200;

/// ext4 with a journal.
struct Ext4(Mount);

/// What happened on a device so far.
#[derive(Clone, Copy, Debug)]
struct Counts {
    writes: u64,
    flushes: u64,
    commits: u64,
}

impl Ext4 {
    /// # Errors
    /// What is missing here.
    fn new() -> Result<Ext4, String> {
        let ext4 = Ext4(Mount::ext4(64 << 20, &["-J", "size=4"])?);
        let counted = ext4.commits().map(|_| ());
        counted.ok_or("nobody counts the journal's transactions")?;
        Ok(ext4)
    }

    fn root(&self) -> PathBuf {
        self.0.root()
    }

    /// Transactions that the journal committed.
    fn commits(&self) -> Option<u64> {
        let info = fs::read_to_string(format!("/proc/fs/jbd2/{}-8/info", self.0.device())).ok()?;
        info.split_whitespace().next()?.parse().ok()
    }

    fn counts(&self) -> Counts {
        let stat = fs::read_to_string(format!("/sys/block/{}/stat", self.0.device())).unwrap();
        let fields: Vec<u64> = stat.split_whitespace().map(|field| field.parse().unwrap()).collect();
        // From the kernel's documentation: block/stat.
        Counts { writes: fields[4], flushes: fields[15], commits: self.commits().unwrap() }
    }

    /// What `f` costs for each of `count`: writes, flushes, commits of the journal.
    fn cost(&self, what: &str, count: u64, f: impl FnOnce()) -> (f64, f64, f64) {
        let before = self.counts();
        f();
        let after = self.counts();
        let each = |of: fn(&Counts) -> u64| (of(&after) - of(&before)) as f64 / count as f64;
        let cost = (each(|counts| counts.writes), each(|counts| counts.flushes), each(|counts| counts.commits));
        let (writes, flushes, commits) = cost;
        report(&format!("ext4, {what}: {writes:.3} writes, {flushes:.3} flushes, {commits:.3} commits of the journal"));
        cost
    }
}

fn puts(db: &Db, len: usize) {
    for i in 0..PUTS {
        db.put(i.to_le_bytes(), vec![i as u8; len]).unwrap();
    }
}

#[test]
fn a_durable_write_into_a_spare_costs_one_flush_and_no_commit_of_the_journal() {
    let ext4 = match Ext4::new() {
        Ok(ext4) => ext4,
        Err(why) => return report(&format!("skipped: no ext4 with a journal to count on ({why})")),
    };
    // What it would cost: a file whose blocks were never written.
    let bare = fs::File::create_new(ext4.root().join("bare")).unwrap();
    bare.set_len(4096 * PUTS).unwrap();
    bare.sync_all().unwrap();
    let (_, _, commits) = ext4.cost("a bare file's new blocks", PUTS, || {
        for i in 0..PUTS {
            bare.write_all_at(&[1; 4096], i * 4096).unwrap();
            bare.sync_data().unwrap();
        }
    });
    assert!(commits > 0.9, "the counters do not count");

    let db = Options::new().background(false).open(ext4.root().join("store")).unwrap();
    db.put("first", "1").unwrap();
    let (_, _, commits) = ext4.cost("4,000 bytes into a first segment", PUTS, || puts(&db, 4000));
    assert!(commits < 0.15, "zeros go ahead of the records");
    assert!(make_spare(&db));
    db.seal().unwrap();
    db.put("first", "1").unwrap();
    for len in [100, 4000] {
        let (writes, flushes, commits) = ext4.cost(&format!("{len} bytes into a spare"), PUTS, || puts(&db, len));
        assert!((0.95..=1.05).contains(&flushes), "{flushes} flushes");
        assert!(commits <= 0.02, "{commits} commits");
        assert!(writes < 2.1, "{writes} writes");
    }
    assert_eq!(db.stats().segments.len(), 2, "it was one spare");
    db.close().unwrap();
}
