//! Floors: a room (a file or folder at the top of `src`) imports rooms of lower floors only, and its headers say which.

use std::collections::BTreeSet;

use crate::source::{Source, Tree};

/// The rooms of each floor, from floor 0 up.
const FLOORS: [&[&str]; 9] = [
    &["address", "error", "limits", "model", "prefetch", "sabotage", "sync"],
    &["crypto", "format", "platform", "reclaim"],
    &["index", "segment", "zipfile"],
    &["store"],
    &["backup", "commit", "compact"],
    &["txn"],
    &["db"],
    &[BIN, "future", "inspect", "tier"],
    &["fuzz"],
];

/// The rooms of floor 0 that its other rooms may import.
const BASEMENT: [&str; 2] = ["limits", "sync"];

/// The binary: a package of its own to the compiler, so its `crate::` is not the library's.
const BIN: &str = "bin/zipcask";

/// Every file belongs to a room, and every room to a floor.
pub(crate) fn rooms(tree: &Tree) -> Vec<String> {
    let unknown = tree.src().filter_map(|file| Some((file, room(file)?))).filter(|(_, room)| floor(room).is_none());
    let message = |(file, room): (&Source, &str)| {
        file.says(
            1,
            format!(
                "the room `{room}` has no floor; move the file into a room, or name `{room}` in \
                 FLOORS of tests/tidy/floors.rs"
            ),
        )
    };
    unknown.map(message).collect()
}

/// Imports go down.
pub(crate) fn imports(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        match room(file) {
            Some(BIN) => binary(tree, file, &mut messages),
            Some(room) => library(file, room, &mut messages),
            None => {}
        }
    }
    messages
}

fn library(file: &Source, own: &str, messages: &mut Vec<String>) {
    for path in file.paths().iter().filter(|path| !path.test && path.parts.len() > 1) {
        let to = path.parts[1].as_str();
        if path.parts[0] == "super" && leaves_the_room(file, path.token) {
            messages.push(file.says(path.line, format!("`super::{to}` leaves the room `{own}`; write `crate::{to}`")));
        }
        if path.parts[0] != "crate" || to == own {
            continue;
        }
        match (floor(own), floor(to)) {
            (_, None) => {
                messages.push(file.says(
                    path.line,
                    format!("`crate::{to}` is no room; import the name from the room that defines it"),
                ))
            }
            (Some(0), Some(0)) if BASEMENT.contains(&to) && !BASEMENT.contains(&own) => {}
            (Some(here), Some(there)) if there >= here => messages.push(file.says(
                path.line,
                format!(
                    "`{own}` (floor {here}) imports `{to}` (floor {there}); import lower floors \
                     only: move what is needed down, or take it as a closure or trait"
                ),
            )),
            _ => {}
        }
    }
}

/// Whether a `super` at `token` is the crate's root: not inside an inline module, in a file that is a whole room.
fn leaves_the_room(file: &Source, token: usize) -> bool {
    let mut around = std::iter::successors(file.opener(token), |&opener| file.opener(opener));
    let whole =
        file.path.matches('/').count() == 1 || (file.path.matches('/').count() == 2 && file.path.ends_with("/mod.rs"));
    whole && !around.any(|opener| opener >= 2 && file.word(opener - 2) == "mod")
}

fn binary(tree: &Tree, file: &Source, messages: &mut Vec<String>) {
    for path in file.paths().iter().filter(|path| path.parts.len() > 1 && path.parts[0] == "crate") {
        let to = path.parts[1].as_str();
        let own = tree.has(&format!("src/{BIN}/{to}.rs")) || tree.has(&format!("src/{BIN}/{to}/mod.rs"));
        if floor(to).is_some() && !own {
            messages.push(
                file.says(
                    path.line,
                    format!("the binary reaches for the room `{to}`; use the public API, `zipcask::`"),
                ),
            );
        }
    }
    for at in 0..file.tokens.len() {
        if file.sees(at, &["#", "[", "path"]) || file.sees(at, &["include", "!"]) {
            let what = match file.word(at) {
                "#" => "#[path]",
                _ => "include!",
            };
            messages.push(file.says(
                file.line(at),
                format!(
                    "`{what}` brings a file into the binary by its path; use modules of \
                     src/{BIN} and the public API, `zipcask::`"
                ),
            ));
        }
    }
}

/// The second paragraph of each header is `Floor N. Imports ..`, and true.
///
/// A file's own room may be named if the file imports from it by `crate::`. Tests inside a file do not count; a file
/// that is a module of tests as a whole answers for its own imports.
pub(crate) fn headers(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        let Some(own) = room(file) else { continue };
        let Some(floor) = floor(own) else { continue };
        if file.path == format!("src/{BIN}/main.rs") {
            continue;
        }
        let mut used: BTreeSet<String> = BTreeSet::new();
        if own != BIN {
            let paths = file.paths();
            let named = paths
                .iter()
                .filter(|path| file.test_file || !path.test)
                .filter(|path| path.parts.len() > 1 && path.parts[0] == "crate");
            used.extend(named.map(|path| path.parts[1].clone()));
        }
        let said = floor_line(&file.text);
        if !said.as_ref().is_ok_and(|(_, said)| said.contains(&format!("`{own}`"))) {
            used.remove(own);
        }
        let expected = line_of(floor, &used);
        match said {
            Ok((_, said)) if said == expected => {}
            Ok((line, said)) => {
                messages.push(file.says(line, format!("the header says \"{said}\"; write \"{expected}\"")))
            }
            Err(what) => {
                messages.push(file.says(1, format!("{what}; begin with `//! What it is.`, `//!`, `//! {expected}`")))
            }
        }
    }
    messages
}

fn line_of(floor: usize, rooms: &BTreeSet<String>) -> String {
    let rooms: Vec<_> = rooms.iter().map(|room| format!("`{room}`")).collect();
    match rooms.as_slice() {
        [] => format!("Floor {floor}. Imports nothing."),
        _ => format!("Floor {floor}. Imports {}.", rooms.join(", ")),
    }
}

/// The second paragraph of the doc that `text` begins with, as one line, and where it is.
fn floor_line(text: &str) -> Result<(usize, String), &'static str> {
    let doc: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    match doc.first() {
        None => return Err("the file has no header"),
        Some(&"") => return Err("the header does not begin with what the file is"),
        Some(_) => {}
    }
    let Some(first) = doc.iter().position(|line| line.is_empty()) else {
        return Err("the header has no floor line");
    };
    let paragraph: Vec<_> = doc[first + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
    if !paragraph.first().is_some_and(|line| line.starts_with("Floor ")) {
        return Err("the header's second paragraph is no floor line");
    }
    Ok((first + 2, paragraph.join(" ")))
}

/// The room of a file of src; none for lib.rs.
fn room(file: &Source) -> Option<&str> {
    let path = file.path.strip_prefix("src/")?;
    if path == "lib.rs" {
        return None;
    }
    if let Some(verb) = path.strip_prefix("bin/") {
        return Some(if verb.starts_with("zipcask/") { BIN } else { path });
    }
    path.split('/').next().map(|room| room.trim_end_matches(".rs"))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

mod tests {
    use super::{headers, imports, rooms};
    use crate::source::found;

    #[test]
    fn a_room_without_a_floor_is_named() {
        let files = [("src/lib.rs", ""), ("src/store/open.rs", ""), ("src/util/a.rs", ""), ("src/bin/x.rs", "")];
        assert_eq!(
            found(rooms, &files),
            [
                "src/util/a.rs:1: the room `util` has no floor; move the file into a room, or \
                 name `util` in FLOORS of tests/tidy/floors.rs",
                "src/bin/x.rs:1: the room `bin/x.rs` has no floor; move the file into a room, \
                 or name `bin/x.rs` in FLOORS of tests/tidy/floors.rs",
            ]
        );
    }

    #[test]
    fn imports_upward_and_sideways_are_named() {
        let up = "\nuse crate::{error, store::Store};";
        assert_eq!(
            found(imports, &[("src/segment/tail.rs", up)]),
            ["src/segment/tail.rs:2: `segment` (floor 2) imports `store` (floor 3); import \
                 lower floors only: move what is needed down, or take it as a closure or trait"]
        );
        let sideways = "fn f() { crate::compact::swap() }";
        assert_eq!(
            found(imports, &[("src/commit/mod.rs", sideways)]),
            ["src/commit/mod.rs:1: `commit` (floor 4) imports `compact` (floor 4); import \
                 lower floors only: move what is needed down, or take it as a closure or trait"]
        );
        let fine = "// crate::db\nuse crate::index::table; const S: &str = \"crate::db\"; \
         #[cfg(test)] mod tests { use crate::db; }";
        assert!(found(imports, &[("src/store/mod.rs", fine), ("src/lib.rs", "pub use crate::db::Db;")]).is_empty());
    }

    #[test]
    fn floor_zero_stands_on_its_basement() {
        assert!(found(imports, &[("src/error.rs", "use crate::sync::Arc;")]).is_empty());
        assert_eq!(
            found(imports, &[("src/limits.rs", "use crate::sync::Arc;")]),
            ["src/limits.rs:1: `limits` (floor 0) imports `sync` (floor 0); import lower \
                 floors only: move what is needed down, or take it as a closure or trait"]
        );
        assert_eq!(found(imports, &[("src/error.rs", "use crate::address::Seqno;")]).len(), 1);
    }

    #[test]
    fn names_of_the_crate_root_come_from_their_rooms() {
        assert_eq!(
            found(imports, &[("src/db/mod.rs", "use crate::Error;")]),
            ["src/db/mod.rs:1: `crate::Error` is no room; import the name from the room that \
                 defines it"]
        );
        assert_eq!(
            found(imports, &[("src/store/mod.rs", "use super::db::Db;")]),
            ["src/store/mod.rs:1: `super::db` leaves the room `store`; write `crate::db`"]
        );
        let inside = [("src/store/open.rs", "use super::Store;"), ("src/sync.rs", "mod imp { use super::plain; }")];
        assert!(found(imports, &inside).is_empty());
    }

    #[test]
    fn the_binary_uses_the_public_api() {
        let files = [
            (
                "src/bin/zipcask/get.rs",
                "use crate::store::Store;\nuse crate::{args, archive};\nuse zipcask::Db;\n\
                 #[path = \"../../store/mod.rs\"] mod s;",
            ),
            ("src/bin/zipcask/archive.rs", ""),
        ];
        assert_eq!(
            found(imports, &files),
            [
                "src/bin/zipcask/get.rs:1: the binary reaches for the room `store`; use the \
                 public API, `zipcask::`",
                "src/bin/zipcask/get.rs:4: `#[path]` brings a file into the binary by its path; \
                 use modules of src/bin/zipcask and the public API, `zipcask::`",
            ]
        );
    }

    #[test]
    fn a_header_without_its_floor_line_is_named() {
        let says = |text: &str| found(headers, &[("src/index/table.rs", text)]);
        let form = "begin with `//! What it is.`, `//!`, `//! Floor 2. Imports nothing.`";
        assert_eq!(says("fn f() {}"), [format!("src/index/table.rs:1: the file has no header; {form}")]);
        assert_eq!(
            says("//!\n//! Floor"),
            [format!("src/index/table.rs:1: the header does not begin with what the file is; {form}")]
        );
        assert_eq!(says("//! stub"), [format!("src/index/table.rs:1: the header has no floor line; {form}")]);
        assert_eq!(
            says("//! A.\n//!\n//! B."),
            [format!("src/index/table.rs:1: the header's second paragraph is no floor line; {form}")]
        );
    }

    #[test]
    fn a_header_that_does_not_fit_the_imports_is_named() {
        let says = |head: &str, body: &str| {
            found(headers, &[("src/index/table.rs", &format!("//! A\n//! b.\n//!\n{head}\n\n{body}"))])
        };
        let body = "use crate::sync::Arc; use crate::{index::hash, address::Seqno}; \
         #[cfg(test)] mod tests { use crate::error; }";
        assert!(says("//! Floor 2. Imports `address`, `sync`.", body).is_empty());
        assert!(says("//! Floor 2. Imports `address`, `index`,\n//! `sync`.\n//!\n//! C.", body).is_empty());
        for wrong in [
            "Floor 2. Imports `address`.",
            "Floor 3. Imports `address`, `sync`.",
            "Floor 2. Imports `sync`, `address`.",
        ] {
            assert_eq!(
                says(&format!("//! {wrong}"), body),
                [format!(
                    "src/index/table.rs:4: the header says \"{wrong}\"; write \"Floor 2. \
                     Imports `address`, `sync`.\""
                )]
            );
        }
        assert!(says("//! Floor 2. Imports nothing.", "").is_empty());
        assert_eq!(says("//! Floor 2. Imports `index`.", "").len(), 1, "its own room only if it imports from it");
        let tests = "//! A.\n//!\n//! Floor 2. Imports `error`.\nuse crate::error::Error;";
        let files = [("src/index.rs", "#[cfg(test)] mod t;"), ("src/index/t.rs", tests)];
        assert!(found(headers, &files[1..]).is_empty() && found(headers, &files).len() == 1);
        let binary = [
            ("src/bin/zipcask/main.rs", ""),
            ("src/bin/zipcask/get.rs", "//! A.\n//!\n//! Floor 7. Imports nothing.\nuse crate::args;"),
        ];
        assert!(found(headers, &binary).is_empty());
    }
}
