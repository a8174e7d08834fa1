//! Packing what the demo loaded, and reading a file out of an archive without the store.
//!
//! Floor 7. Imports nothing.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use zipcask::archive::Archive;
use zipcask::{Db, ErrorKind};

use crate::coding::shown;
use crate::demo::{Expected, check};
use crate::failure::{Code, Failure, Outcome};
use crate::out::{Out, counted};

/// Bytes on disk before and after.
pub(crate) struct Space {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// Packs the whole store, and checks that it holds the same.
pub(crate) fn pack(out: &mut Out, db: &Db, expected: &Expected) -> Outcome<Space> {
    let before = db.stats().disk_bytes;
    db.compact()?;
    let after = db.stats().disk_bytes;
    check::equal(db, expected)?;
    let archives = archives(db.path())?;
    out.now(format_args!(
        "packed      everything into {}; {} on disk before, {} after; every record is there byte for byte",
        counted(archives.len() as u64, "ZIP archive"),
        HumanBytes(before),
        HumanBytes(after),
    ))?;
    Ok(Space { before, after })
}

/// Lists the archives of a closed store, and reads one record out of them.
pub(crate) fn read_one(out: &mut Out, dir: &Path, expected: &Expected) -> Outcome {
    let mut opened = Vec::new();
    for path in archives(dir)? {
        let archive = Archive::open(&path)?;
        let facts = archive.facts();
        out.line(format_args!(
            "            {}: {}, {} in {}",
            path.display(),
            HumanBytes(facts.file_bytes),
            counted(facts.records, "record"),
            counted(facts.entries.len() as u64, "entry"),
        ))?;
        opened.push((path, archive));
    }
    let mut keys: Vec<_> = expected.keys().collect();
    // The longest first: more is to be seen there.
    keys.sort_unstable_by_key(|key| (Reverse(expected[*key].len()), *key));
    for key in keys {
        // What is there has its newest record in the newest archive that has one.
        for (path, archive) in opened.iter().rev() {
            let value = match archive.get(key) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                // A large value, which is in a file of its own.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            };
            if value[..] != expected[key][..] {
                let text = format!("{} has another value in {}", shown(key), path.display());
                return Err(Failure::new(Code::Damage, text));
            }
            return out.now(format_args!(
                "read        {} out of {}, without the store: {}, byte for byte",
                shown(key),
                path.file_name().unwrap_or_default().display(),
                HumanBytes(value.len() as u64),
            ));
        }
    }
    out.now(format_args!("            all values are large: they are in files of their own"))
}

/// The archives of the store in `dir`, oldest first.
pub(crate) fn archives(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let folder = dir.join("archives");
    let failed = |error| Failure::io(format_args!("cannot list {}", folder.display()), &error);
    let entries = fs::read_dir(&folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "zip"));
    paths.sort_unstable();
    Ok(paths)
}
