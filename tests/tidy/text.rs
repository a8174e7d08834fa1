//! The text itself, and what lies at the top of the tree.

use std::collections::BTreeMap;
use std::process::Command;

use crate::source::Tree;

/// Marks of unfinished work.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// The folders of the top level, beside those whose name begins with a dot or with `target`.
const FOLDERS: [&str; 4] = ["benches", "loom-tests", "src", "tests"];

/// Only ASCII, and nothing left to do.
pub(crate) fn marks(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.rust() {
        for (line, text) in (1..).zip(file.text.lines()) {
            if let Some(c) = text.chars().find(|c| !c.is_ascii()) {
                messages.push(
                    file.says(line, format!("{c:?} is not ASCII; write it in ASCII, or as \\u{{{:x}}}", u32::from(c))),
                );
            }
        }
        let notes = file.notes.iter().map(|note| (note.line, note.text.as_str()));
        let code = (0..file.tokens.len()).filter(|&at| file.is_word(at)).map(|at| (file.line(at), file.word(at)));
        for (line, text) in notes.chain(code) {
            let mut words = text.split(|c: char| c != '_' && !c.is_alphanumeric());
            if let Some(mark) = words.find(|word| UNFINISHED.contains(word)) {
                messages.push(file.says(line, format!("{mark}; do it, or write an issue and take the mark out")));
            }
        }
    }
    messages
}

/// No `.unwrap()` but in tests.
pub(crate) fn unwraps(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("src/") || file.path.starts_with("benches/")) {
        for at in (0..file.tokens.len()).filter(|&at| !file.test[at] && file.sees(at, &[".", "unwrap", "("])) {
            messages.push(file.says(
                file.line(at + 1),
                "`.unwrap()` outside of tests; return the error, or `expect(\"why it cannot\")`",
            ));
        }
    }
    messages
}

/// The files that git tracks, or why they are not known.
pub(crate) fn tracked_files() -> Result<Vec<String>, String> {
    // the owner of the folder does not matter to a listing
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = git.output().map_err(|error| format!("git does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!("git does not know: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Folders at the top of the tree.
pub(crate) fn top_level(files: &[String]) -> Vec<String> {
    let mut folders = BTreeMap::new();
    for file in files {
        if let Some((folder, _)) = file.split_once('/') {
            folders.entry(folder).or_insert(file);
        }
    }
    let strange = folders
        .into_iter()
        .filter(|(folder, _)| !FOLDERS.contains(folder) && !folder.starts_with('.') && !folder.starts_with("target"));
    let list = FOLDERS.join(", ");
    strange
        .map(|(folder, file)| format!("{file}:1: the folder `{folder}` at the top level; move it into one of {list}"))
        .collect()
}

mod tests {
    use super::{marks, top_level, unwraps};
    use crate::source::found;

    #[test]
    fn unfinished_work_is_named() {
        let text = "// a TODO: b\nfn f() { /* FIXME\nXXX */ g!(\"TODO\") } // XXXL, XXX_L, mytodo, \
         Todo\nconst TODO: u8 = 1;";
        let advice = "do it, or write an issue and take the mark out";
        assert_eq!(
            found(marks, &[("benches/a.rs", text)]),
            [
                format!("benches/a.rs:1: TODO; {advice}"),
                format!("benches/a.rs:2: FIXME; {advice}"),
                format!("benches/a.rs:3: XXX; {advice}"),
                format!("benches/a.rs:4: TODO; {advice}"),
            ]
        );
    }

    #[test]
    fn what_is_not_ascii_is_named() {
        assert_eq!(
            found(marks, &[("src/a.rs", "a\n// b \u{2026}\n"), ("src/FORMAT.md", "\u{2026}")]),
            ["src/a.rs:2: '\u{2026}' is not ASCII; write it in ASCII, or as \\u{2026}"]
        );
        assert_eq!(found(marks, &[("src/a.rs", "const A: &str = \"\u{e9}\";")]).len(), 1, "nor in strings");
    }

    #[test]
    fn an_unwrap_outside_of_tests_is_named() {
        let text = "/// a.unwrap()\nfn f() { a\n  .unwrap(); b.unwrap_or(1); c(\".unwrap()\"); \
         }\n#[cfg(test)] mod tests { fn g() { a.unwrap(); } }";
        let advice = "`.unwrap()` outside of tests; return the error, or `expect(\"why it cannot\")`";
        assert_eq!(
            found(
                unwraps,
                &[
                    ("src/a.rs", text),
                    ("benches/b.rs", "fn f() { a.unwrap() }"),
                    ("tests/it/main.rs", text),
                    ("loom-tests/a.rs", text)
                ]
            ),
            [format!("src/a.rs:3: {advice}"), format!("benches/b.rs:1: {advice}")]
        );
    }

    #[test]
    fn a_strange_folder_at_the_top_is_named() {
        let files = ["Cargo.toml", ".ci/run", "src/lib.rs", "target-a/b", "docs/a.md", "docs/b.md", "examples/c.rs"];
        assert_eq!(
            top_level(&files.map(str::to_owned)),
            [
                "docs/a.md:1: the folder `docs` at the top level; move it into one of benches, \
                 loom-tests, src, tests",
                "examples/c.rs:1: the folder `examples` at the top level; move it into one of \
                 benches, loom-tests, src, tests",
            ]
        );
    }
}
