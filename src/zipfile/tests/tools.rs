//! What other programs say of our archives.
//!
//! Floor 2. Imports `platform`, `sync`, `zipfile`.

use std::path::Path;
use std::process::Command;

use crate::platform::Disk;
use crate::platform::real::RealDisk;
use crate::sync::Arc;
use crate::zipfile::tests::{log, packed, write};

/// Each gets the archive's path behind these.
const TOOLS: [&[&str]; 6] = [
    &["unzip", "-t"],
    &["zip", "-T"],
    &["7z", "t"],
    &["python3", "-W", "error", "-m", "zipfile", "-t"],
    &["bsdtar", "-tf"],
    &["zipinfo", "-v"],
];

fn assert_taken(tool: &[&str], path: &Path) {
    let output = match Command::new(tool[0]).args(&tool[1..]).arg(path).output() {
        Ok(output) => output,
        Err(error) => return println!("{} skipped: {error}", tool[0]),
    };
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).to_lowercase();
    assert!(output.status.success() && !said.contains("warning"), "{tool:?}: {}, {said}", output.status);
    println!("{}: {}", tool[0], said.lines().last().unwrap_or_default());
}

#[test]
fn stock_tools_take_an_archive_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path(), false).unwrap();
    let shapes = [vec![], vec![log(1, 300)], vec![log(3, 1_000_000), packed(1, 70_000), packed(2, 0)]];
    for (name, pairs) in ["none.zip", "one.zip", "many.zip"].into_iter().zip(shapes) {
        write(Arc::clone(&disk.create(name).unwrap()), &pairs).unwrap();
        for tool in TOOLS {
            assert_taken(tool, &dir.path().join(name));
        }
    }
}
