//! The rules of the house, held over the source tree as text. Each message says where, what is wrong and what to do.
//!
//! Each test here is one rule; the rules stand in `tests/tidy/`, each with tests of its own that feed it a made-up tree
//! and expect exactly its message. A `Tree` is a list of paths and texts, so both kinds run the same code.

#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tags.rs"]
mod tags;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/twins.rs"]
mod twins;

use source::Tree;

/// Runs `rule` over this package and fails with all that it found.
#[track_caller]
fn hold(rule: impl Fn(&Tree) -> Vec<String>) {
    let found = rule(&Tree::of_this_package());
    assert!(found.is_empty(), "{} to mend:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_file_belongs_to_a_room_of_a_known_floor() {
    hold(floors::rooms);
}

#[test]
fn rooms_import_only_rooms_of_lower_floors() {
    hold(floors::imports);
}

#[test]
fn every_header_names_its_floor_and_its_imports() {
    hold(floors::headers);
}

#[test]
fn each_word_that_has_a_door_is_said_only_behind_it() {
    hold(doors::words);
}

#[test]
fn only_platform_os_asks_which_system_it_is() {
    hold(doors::systems);
}

#[test]
fn names_come_from_where_they_are_defined() {
    hold(doors::uses);
}

#[test]
fn files_are_at_most_700_lines() {
    hold(sizes::files);
}

#[test]
fn functions_are_at_most_70_lines() {
    hold(sizes::functions);
}

#[test]
fn every_ordering_stronger_than_relaxed_names_its_pair() {
    hold(tags::orders);
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    hold(tags::safety);
}

#[test]
fn every_barrier_says_what_it_makes_true() {
    hold(tags::barriers);
}

#[test]
fn every_file_that_orders_memory_has_a_loom_twin() {
    hold(twins::twins);
}

#[test]
fn the_text_is_ascii_and_finished() {
    hold(text::marks);
}

#[test]
fn nothing_outside_tests_unwraps() {
    hold(text::unwraps);
}

#[test]
fn the_top_level_has_only_the_folders_of_the_design() {
    match text::tracked_files() {
        Ok(files) => hold(|_| text::top_level(&files)),
        Err(why) => eprintln!("skipped: the top level is what git tracks, and {why}"),
    }
}
