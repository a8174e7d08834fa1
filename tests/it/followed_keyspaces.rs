//! A handle for reading only beside a writer that makes, clears and drops keyspaces.

use zipcask::{Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options, Snapshot};

fn small() -> Options {
    Options::new().durability(Durability::Os).segment_size(64 << 10).background(false)
}

/// What the writer does between two looks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Clear,
    Drop,
    Again,
    Other,
}

const ALL: [Does; 4] = [Does::Clear, Does::Drop, Does::Again, Does::Other];
const JOBS: [&str; 4] = ["nothing", "seal", "archive", "compact"];

struct Setting {
    _dir: tempfile::TempDir,
    writer: Db,
    follower: Db,
    options: KeyspaceOptions,
    /// The follower's.
    old: Keyspace,
    then: Snapshot,
    expected: Vec<(Vec<u8>, Vec<u8>)>,
}

fn setting(ordered: bool, sealed: bool) -> Setting {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    let options = KeyspaceOptions::new().ordered(ordered);
    let space = writer.keyspace_with("space", options).unwrap();
    for i in 0..50_u8 {
        space.put([i], [i; 30]).unwrap();
        writer.put([i], [i; 30]).unwrap();
    }
    if sealed {
        writer.seal().unwrap();
    }
    let follower = small().open_read_only(dir.path()).unwrap();
    let old = follower.keyspace("space").unwrap();
    let then = follower.snapshot();
    let expected = (0..50_u8).map(|i| (vec![i], vec![i; 30])).collect();
    Setting { _dir: dir, writer, follower, options, old, then, expected }
}

impl Setting {
    fn work(&self, does: Does, job: &str) {
        let space = self.writer.keyspace("space").unwrap();
        match does {
            Does::Clear => space.clear().unwrap(),
            _ => assert!(self.writer.drop_keyspace("space").unwrap()),
        }
        let next = match does {
            Does::Again => Some(self.writer.keyspace_with("space", self.options).unwrap()),
            Does::Other => Some(self.writer.keyspace_with("other", self.options).unwrap()),
            Does::Clear => Some(space),
            Does::Drop => None,
        };
        if let Some(next) = next {
            for i in 20..60_u8 {
                next.put([i], [100; 30]).unwrap();
            }
        }
        for i in 0..50_u8 {
            self.writer.put([i], [200; 30]).unwrap();
        }
        match job {
            "seal" => self.writer.seal().unwrap(),
            "archive" => drop(self.writer.archive().unwrap()),
            "compact" => drop(self.writer.compact().unwrap()),
            _ => {}
        }
    }
}

fn each(mut f: impl FnMut(Does, &str, bool, bool) -> Result<(), String>) {
    let mut complaints = Vec::new();
    for does in ALL {
        for job in JOBS {
            for (ordered, sealed) in [(false, false), (false, true), (true, false), (true, true)] {
                if let Err(what) = f(does, job, ordered, sealed) {
                    complaints.push(format!("{does:?}, {job}, ordered {ordered}, sealed {sealed}: {what}"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn a_snapshot_of_a_follower_stays_what_it_was() {
    each(|does, job, ordered, sealed| {
        let setting = setting(ordered, sealed);
        for round in ["before", "behind"] {
            let found = setting.then.iter(&setting.old).collect::<Result<Vec<_>, _>>();
            let found = found.map_err(|error| format!("{round}: iter: {error}"))?;
            let mut found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            found.sort();
            if found != setting.expected {
                return Err(format!("{round}: {} of 50 shown, or others", found.len()));
            }
            for (key, value) in &setting.expected {
                let got = setting.then.get(&setting.old, key).map_err(|error| format!("{round}: get: {error}"))?;
                if got.as_deref() != Some(&value[..]) {
                    return Err(format!("{round}: get: {got:?}"));
                }
            }
            if round == "before" {
                setting.work(does, job);
                setting.follower.refresh().unwrap();
            }
        }
        Ok(())
    });
}

#[test]
fn a_followers_handle_of_a_dropped_keyspace_finds_nothing() {
    each(|does, job, ordered, sealed| {
        if does == Does::Clear {
            return Ok(());
        }
        let setting = setting(ordered, sealed);
        drop(setting.old.clone());
        setting.work(does, job);
        setting.follower.refresh().unwrap();
        let got = setting.old.get([1]).map_err(|error| error.kind());
        if got != Err(ErrorKind::NotFound) {
            return Err(format!("get: {got:?}"));
        }
        match setting.old.len() {
            0 => Ok(()),
            len => Err(format!("len: {len}")),
        }
    });
}

#[test]
fn a_follower_sees_what_the_writer_made_of_the_keyspace() {
    each(|does, job, ordered, sealed| {
        let setting = setting(ordered, sealed);
        setting.work(does, job);
        setting.follower.refresh().unwrap();
        let name = match does {
            Does::Drop => {
                assert_eq!(setting.follower.keyspaces(), ["default"]);
                return Ok(());
            }
            Does::Other => "other",
            _ => "space",
        };
        let space = setting.follower.keyspace(name).unwrap();
        let found = space.iter().collect::<Result<Vec<_>, _>>().map_err(|error| format!("iter: {error}"))?;
        let mut found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        found.sort();
        let expected: Vec<_> = (20..60_u8).map(|i| (vec![i], vec![100; 30])).collect();
        match found == expected && space.len() == 40 {
            true => Ok(()),
            false => Err(format!("{} shown, {} counted", found.len(), space.len())),
        }
    });
}
