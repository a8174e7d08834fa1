//! What other programs say of our archives.
//!
//! Floor 2. Imports `format`, `platform`, `sync`, `zipfile`.

use std::path::Path;
use std::process::Command;

use crate::format::compression::Compression;
use crate::platform::Disk;
use crate::platform::real::RealDisk;
use crate::sync::Arc;
use crate::zipfile::tests::{log, packed, write, write_packed};

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

#[cfg(feature = "deflate")]
#[test]
fn stock_tools_take_a_compressed_archive_without_a_warning_and_unpack_what_was_packed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path(), false).unwrap();
    let pairs = [log(3, 1_000_000), packed(1, 70_000)];
    write_packed(disk.create("deflated.zip").unwrap(), &pairs, Compression::Deflate).unwrap();
    let path = dir.path().join("deflated.zip");
    for tool in TOOLS {
        assert_taken(tool, &path);
    }
    let Ok(output) = Command::new("unzip").arg("-q").arg(&path).arg("-d").arg(dir.path().join("all")).output() else {
        return println!("unzip skipped");
    };
    assert!(output.status.success(), "{output:?}");
    for [(name, bytes), _] in &pairs {
        let chunks = std::fs::read_dir(dir.path().join("all").join(name)).unwrap();
        let mut chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap().path()).collect();
        chunks.sort();
        let whole: Vec<u8> = chunks.iter().flat_map(|chunk| std::fs::read(chunk).unwrap()).collect();
        assert!(whole == *bytes, "{name}: chunks in the order of their names are the segment");
    }
}
