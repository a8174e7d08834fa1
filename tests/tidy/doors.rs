//! Doors: words that only one room may say, so that it alone has to change when what is behind them does.

use crate::source::{Source, Tree};

/// Paths that begin with one of `words` stand in `rooms` only (files or folders of src, without ending).
struct Door {
    words: &'static [&'static str],
    rooms: &'static [&'static str],
    instead: &'static str,
}

const BIN: &str = "bin/zipcask";

const DOORS: &[Door] = &[
    Door {
        words: &["std::sync", "core::sync", "alloc::sync", "std::thread"],
        rooms: &["sync", BIN],
        instead: "use `crate::sync`, so that loom can take its place",
    },
    Door {
        words: &["loom", "shuttle"],
        rooms: &["sync"],
        instead: "use `crate::sync`, or write the model in loom-tests",
    },
    Door {
        words: &["std::fs", "std::os"],
        rooms: &["platform", BIN],
        instead: "go through `platform::Disk`, so that the simulated disk sees it",
    },
    Door {
        words: &["rustix", "memmap2", "fs4", "getrandom", "libc"],
        rooms: &["platform"],
        instead: "go through `platform::Disk`, so that the simulated disk sees it",
    },
    Door {
        words: &["std::time::Instant", "std::time::SystemTime"],
        rooms: &["platform", BIN],
        instead: "ask `platform::Clock`, so that tests own the time",
    },
    Door { words: &["crossbeam_epoch"], rooms: &["reclaim"], instead: "pin by `crate::reclaim::pin`" },
    Door { words: &["crc32c"], rooms: &["format/checksum"], instead: "use `crate::format::checksum`" },
    Door { words: &["zip", "crc32fast", "flate2", "zstd"], rooms: &["zipfile"], instead: "use `crate::zipfile`" },
    Door { words: &["serde_json"], rooms: &[BIN], instead: "use `crate::format::manifest`" },
    Door { words: &["dashmap"], rooms: &["store"], instead: "keep the map in `store`, off the way of a get" },
    Door { words: &["rapidhash", "siphasher"], rooms: &["index/hash"], instead: "use `crate::index::hash::Hasher`" },
];

/// Words that ask which system this is, inside of a cfg.
const SYSTEMS: [&str; 5] = ["target_family", "target_os", "target_vendor", "unix", "windows"];

/// What re-exports one of several: std or loom, this system or that.
const CHOOSERS: &[&str] = &["sync", "platform/os/mod"];

/// Whether a file of src is one of `rooms` or inside it.
fn within(file: &Source, rooms: &[&str]) -> bool {
    let path = file.path.trim_start_matches("src/");
    rooms.iter().any(|room| path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

/// A word that has a door is said behind it.
pub(crate) fn words(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        let closed: Vec<_> = DOORS.iter().filter(|door| !within(file, door.rooms)).collect();
        for path in file.paths().iter().filter(|path| !path.test) {
            for door in &closed {
                if let Some(word) = door.words.iter().find(|word| path.begins(word)) {
                    messages
                        .push(file.says(path.line, format!("`{word}` belongs to {}; {}", names(door), door.instead)));
                }
            }
        }
    }
    messages
}

fn names(door: &Door) -> String {
    let names: Vec<_> =
        door.rooms.iter().filter(|room| **room != BIN).map(|room| format!("`{}`", room.replace('/', "::"))).collect();
    names.join(" and ")
}

/// Differences between systems live in `platform::os`; the errno table of error.rs is the exception.
pub(crate) fn systems(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src().filter(|file| !within(file, &["platform/os", "error"])) {
        for at in 0..file.tokens.len() {
            let group = if file.sees(at + 1, &["!", "("]) { at + 2 } else { at + 1 };
            if file.test[at] || !matches!(file.word(at), "cfg" | "cfg_attr") || file.word(group) != "(" {
                continue;
            }
            let asks = (group..file.closer(group)).find(|&inside| SYSTEMS.contains(&file.word(inside)));
            if let Some(system) = asks {
                messages.push(file.says(
                    file.line(system),
                    format!(
                        "`{}({})` asks for the system; give `platform::os` one function \
                         with a body for each",
                        file.word(at),
                        file.word(system)
                    ),
                ));
            }
        }
    }
    messages
}

/// Nothing is re-exported but by lib.rs, and within the crate by the two that choose between builds and systems; a use
/// names what it takes.
pub(crate) fn uses(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        for at in (0..file.tokens.len()).filter(|&at| !file.test[at] && file.word(at) == "pub") {
            let visibility = if file.word(at + 1) == "(" { file.closer(at + 1) } else { at };
            let inside = visibility > at;
            if file.word(visibility + 1) == "use" && file.path != "src/lib.rs" && !(inside && within(file, CHOOSERS)) {
                messages.push(
                    file.says(file.line(at), "a `pub use` outside of lib.rs; import the name from where it is defined"),
                );
            }
        }
        for path in file.paths().iter().filter(|path| !path.test) {
            if path.in_use && path.parts.last().is_some_and(|part| part == "*") {
                messages.push(
                    file.says(path.line, format!("`use {}` hides what is taken; name it", path.parts.join("::"))),
                );
            }
            if path.parts.windows(2).any(|pair| pair == ["super", "super"]) {
                messages.push(file.says(path.line, "`super::super` does not say where it leads; begin with `crate::`"));
            }
        }
    }
    messages
}

mod tests {
    use super::{DOORS, systems, uses, words};
    use crate::source::found;

    #[test]
    fn a_word_outside_of_its_door_is_named() {
        assert_eq!(
            found(words, &[("src/index/table.rs", "\nuse std::{fmt, sync::{Arc}};")]),
            ["src/index/table.rs:2: `std::sync` belongs to `sync`; use `crate::sync`, so \
                 that loom can take its place"]
        );
        assert_eq!(
            found(words, &[("src/store/open.rs", "fn f() { crc32c::crc32c(b) }")]),
            ["src/store/open.rs:1: `crc32c` belongs to `format::checksum`; use \
                 `crate::format::checksum`"]
        );
        assert_eq!(
            found(words, &[("src/segment/tail.rs", "use rapidhash as hash;")]),
            ["src/segment/tail.rs:1: `rapidhash` belongs to `index::hash`; use \
                 `crate::index::hash::Hasher`"]
        );
    }

    #[test]
    fn every_door_opens_in_its_rooms_only() {
        for door in DOORS {
            for word in door.words {
                let text = format!("use {word}::x;");
                assert_eq!(found(words, &[("src/txn/mod.rs", &text)]).len(), 1, "{word} elsewhere");
                for room in door.rooms {
                    let (file, folder) = (format!("src/{room}.rs"), format!("src/{room}/x.rs"));
                    assert!(found(words, &[(&file, &text), (&folder, &text)]).is_empty(), "{word} in {room}");
                    let beside = format!("src/{room}_x.rs");
                    assert_eq!(found(words, &[(&beside, &text)]).len(), 1, "{word} beside {room}");
                }
            }
        }
    }

    #[test]
    fn strings_comments_tests_and_names_alike_are_no_doors() {
        let text = "//! std::fs, crc32c::x\nconst A: &str = \"std::sync::Arc\"; /* libc::x */
            fn zip(a: B) { a.zip(b); let libc = std::io::empty(); my::zip::x(); }
            use std::time::Duration; use crate::archive::zip;
            #[cfg(test)] mod tests { use std::thread; }
            #[cfg(all(test, zipcask_loom))] #[path = \"../loom-tests/x.rs\"] mod loom_models;";
        assert!(found(words, &[("src/txn/mod.rs", text)]).is_empty());
    }

    #[test]
    fn asking_for_the_system_is_named() {
        let text = "#[cfg(target_os = \"linux\")] fn f() {}\n\
         #[cfg_attr(all(not(unix), x), y)] fn g() { if cfg!(windows) {} }\n\
         #[cfg(test)] mod tests { #[cfg(unix)] fn h() {} }\n\
         #[cfg(feature = \"unix\")] fn unix() {}";
        let instead = "asks for the system; give `platform::os` one function with a body for each";
        assert_eq!(
            found(systems, &[("src/platform/map.rs", text), ("src/platform/os/mod.rs", text), ("src/error.rs", text)]),
            [
                format!("src/platform/map.rs:1: `cfg(target_os)` {instead}"),
                format!("src/platform/map.rs:2: `cfg_attr(unix)` {instead}"),
                format!("src/platform/map.rs:2: `cfg(windows)` {instead}"),
            ]
        );
    }

    #[test]
    fn re_exports_globs_and_towers_of_super_are_named() {
        let text = "pub use a::b;\npub(crate) use crate::c;\nuse d::*;\nuse super::super::e;\n\
         fn f() { super::super::g() }\n#[cfg(test)] mod tests { use super::*; }";
        assert_eq!(
            found(uses, &[("src/db/mod.rs", text)]),
            [
                "src/db/mod.rs:1: a `pub use` outside of lib.rs; import the name from where it \
                 is defined",
                "src/db/mod.rs:2: a `pub use` outside of lib.rs; import the name from where it \
                 is defined",
                "src/db/mod.rs:3: `use d::*` hides what is taken; name it",
                "src/db/mod.rs:4: `super::super` does not say where it leads; begin with `crate::`",
                "src/db/mod.rs:5: `super::super` does not say where it leads; begin with `crate::`",
            ]
        );
        let exempt = [
            ("src/lib.rs", "pub use crate::db::Db;"),
            ("src/sync.rs", "pub(crate) use std::sync::Arc;"),
            ("src/platform/os/mod.rs", "pub(super) use crate::platform::os::linux::barrier;"),
        ];
        assert!(found(uses, &exempt).is_empty());
        let beyond = [("src/sync.rs", "pub use a::b;"), ("src/platform/os/linux.rs", "pub(super) use a::b;")];
        assert_eq!(found(uses, &beyond).len(), 2);
    }
}
