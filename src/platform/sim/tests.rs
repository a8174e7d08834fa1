//! The model against what it claims to model.
//!
//! Floor 1. Imports `sync`.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::platform::sim::Random;
use crate::platform::sim::disk::{FailedSync, SimDisk};
use crate::platform::sim::fault::{Call, Fault, FaultDisk, Lasts, Written};
use crate::platform::{Access, Barrier, Disk, File, LockError, Mapping};
use crate::sync::Arc;

const MANY: usize = 4096;

/// A directory with its own name and the folder `segments`, durable, and recording.
fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir("segments").unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_parent().unwrap();
    disk.record();
    disk
}

/// A file `a` of `bytes`, durable with its name, on a disk that records from here.
fn disk_with(bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = disk();
    disk.write_file("a", bytes);
    disk.record();
    let file = disk.open("a", Access::ReadWrite).unwrap();
    (disk, file)
}

fn images_now(disk: &SimDisk, budget: usize) -> Vec<SimDisk> {
    disk.images(disk.position(), budget, &mut Random::new(7)).collect()
}

/// What `name` may hold after a power cut now, `None` if there is no such file.
fn outcomes(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    images_now(disk, MANY).iter().map(|image| image.read_file(name)).collect()
}

/// The sets of files that may be there after a power cut now.
fn listings(disk: &SimDisk) -> BTreeSet<String> {
    images_now(disk, MANY).iter().map(|image| image.files().join(" ")).collect()
}

fn set<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
    items.into_iter().map(str::to_owned).collect()
}

fn mapped(mapping: &dyn Mapping) -> Vec<u8> {
    // SAFETY: these tests have one thread, which writes nothing meanwhile.
    unsafe { std::slice::from_raw_parts(mapping.as_ptr(), mapping.len()) }.to_vec()
}

fn sectors(bytes: [u8; 3]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte; 512]).collect()
}

/// All that an image shows, as text, to compare images by.
fn shown(image: &SimDisk) -> String {
    let mut text = image.list("").unwrap().join(" ");
    for name in image.files() {
        let bytes = image.read_file(&name).unwrap();
        let sum = bytes.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte));
        text += &format!(" {name}:{}:{sum:x}", bytes.len());
    }
    text
}

#[test]
fn an_unsynced_write_is_lost_kept_or_torn_by_sector() {
    let (disk, file) = disk_with(&sectors([1, 1, 1]));
    file.write_at(&sectors([2, 3, 4]), 0).unwrap();
    let mut expected = BTreeSet::new();
    for (a, b, c) in (0..8).map(|bits| (bits & 1, bits & 2, bits & 4)) {
        let pick = |bit: u8, new| if bit == 0 { 1 } else { new };
        expected.insert(Some(sectors([pick(a, 2), pick(b, 3), pick(c, 4)])));
    }
    assert_eq!(outcomes(&disk, "a"), expected);
}

#[test]
fn a_sector_written_several_times_persists_in_any_of_its_states() {
    let (disk, file) = disk_with(b"0");
    for byte in [b"1", b"2", b"3"] {
        file.write_at(byte, 0).unwrap();
    }
    let images = images_now(&disk, 4);
    assert_eq!(images.len(), 4, "each state once");
    let states: BTreeSet<Vec<u8>> = images.iter().map(|i| i.read_file("a").unwrap()).collect();
    assert_eq!(states, ["0", "1", "2", "3"].map(|s| s.as_bytes().to_vec()).into());
}

#[test]
fn what_a_barrier_covered_is_in_every_image_at_every_later_point() {
    let (disk, file) = disk_with(&sectors([1, 1, 1]));
    file.write_at(&sectors([2, 2, 2]), 0).unwrap();
    let before = disk.position();
    file.barrier(Barrier::Durable).unwrap();
    let acknowledged = disk.position();
    for byte in 3..6 {
        file.write_at(&[byte; 512], 1024).unwrap();
    }
    let mut recording = disk.recording();
    let mut random = Random::new(2);
    for point in recording.points() {
        let synced = |image: SimDisk| image.read_file("a").unwrap()[..1024] == [2; 1024];
        let kept: Vec<bool> = recording.images(point, 8, &mut random).map(synced).collect();
        assert_eq!(kept.iter().all(|kept| *kept), point >= acknowledged, "point {point}");
    }
    assert!(recording.images(before, 8, &mut random).count() == 8);
}

#[test]
fn contents_without_their_name_are_gone_and_a_name_may_come_without_contents() {
    let disk = disk();
    let file = disk.create("segments/1").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync().unwrap();
    let x = Some(b"x".to_vec());
    assert_eq!(outcomes(&disk, "segments/1"), [None, x.clone()].into());
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, "segments/1"), [None, x.clone()].into(), "another folder");
    disk.sync_dir("segments").unwrap();
    assert_eq!(outcomes(&disk, "segments/1"), [x].into());

    disk.create("segments/2").unwrap().write_at(b"y", 0).unwrap();
    disk.sync_dir("segments").unwrap();
    let states = [Some(vec![]), Some(vec![0]), Some(b"y".to_vec())];
    assert_eq!(outcomes(&disk, "segments/2"), states.into());
}

#[test]
fn a_size_persists_without_the_bytes_and_the_bytes_not_without_the_size() {
    let (disk, file) = disk_with(b"12");
    file.write_at(b"abc", 1).unwrap();
    let states = ["12", "1a", "1abc", "12\0\0"].map(|s| Some(s.as_bytes().to_vec()));
    assert_eq!(outcomes(&disk, "a"), states.into());
    file.sync().unwrap();
    file.allocate(2000).unwrap();
    let sizes: BTreeSet<usize> = images_now(&disk, MANY).iter().map(|i| i.read_file("a").unwrap().len()).collect();
    assert_eq!(sizes, [4, 2000].into());
}

#[test]
fn bytes_cut_off_by_a_size_that_was_lost_do_not_come_back() {
    let (disk, file) = disk_with(b"12");
    file.write_at(&[9; 600], 0).unwrap();
    for image in images_now(&disk, MANY) {
        let file = image.open("a", Access::ReadWrite).unwrap();
        if file.len().unwrap() == 2 {
            file.allocate(600).unwrap();
            assert_eq!(image.read_file("a").unwrap()[2..], [0; 598]);
        }
    }
}

#[test]
fn a_rename_is_atomic() {
    let disk = disk();
    disk.write_file("old", b"old");
    disk.write_file("target", b"target");
    disk.record();
    disk.rename("old", "target").unwrap();
    let states = images_now(&disk, MANY);
    let states: BTreeSet<_> =
        states.iter().map(|image| (image.read_file("old"), image.read_file("target").unwrap())).collect();
    let before = (Some(b"old".to_vec()), b"target".to_vec());
    assert_eq!(states, [before, (None, b"old".to_vec())].into());
    disk.sync_dir("").unwrap();
    assert_eq!(listings(&disk), set(["target"]));
}

#[test]
fn changes_of_one_name_persist_in_order_and_of_different_names_in_any() {
    let disk = disk();
    disk.write_file("victim", b"");
    disk.record();
    disk.create("new").unwrap();
    disk.rename("new", "named").unwrap();
    disk.remove("victim").unwrap();
    let expected = ["victim", "new victim", "named victim", "", "new", "named"];
    assert_eq!(listings(&disk), set(expected));
}

#[test]
fn a_folder_without_a_durable_name_takes_everything_in_it_away() {
    let disk = disk();
    disk.create_dir("hints").unwrap();
    disk.create("hints/1").unwrap();
    disk.sync_dir("hints").unwrap();
    let roots: BTreeSet<String> = images_now(&disk, MANY).iter().map(|i| i.list("").unwrap().join(" ")).collect();
    assert_eq!(roots, set(["segments/", "hints/ segments/"]));
    assert_eq!(listings(&disk), set(["", "hints/1"]));
    let without = images_now(&disk, MANY).remove(0);
    assert_eq!(without.read_file("hints/1"), None);
    without.create_dir("hints").unwrap();
    assert_eq!(without.list("hints").unwrap(), [""; 0], "a new one is empty");
    disk.sync_dir("").unwrap();
    assert_eq!(listings(&disk), set(["hints/1"]));
}

#[test]
fn a_new_directory_may_vanish_whole_until_its_parent_is_synced() {
    let disk = SimDisk::new(1);
    disk.record();
    disk.create("a").unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(listings(&disk), set(["", "a"]));
    disk.sync_parent().unwrap();
    assert_eq!(listings(&disk), set(["a"]));
}

#[test]
fn a_failed_sync_leaves_pages_that_look_written_and_are_not() {
    let (sim, _) = disk_with(&sectors([1, 1, 1]));
    let disk = FaultDisk::simulated(sim.clone());
    let (lasts, written) = (Lasts::Once, Written::Nothing);
    disk.inject(Fault { call: Call::Barrier, nth: 1, errno: 5, lasts, written });
    let file = disk.open("a", Access::ReadWrite).unwrap();
    let map = file.map(1536).unwrap();
    file.write_at(&[2; 512], 512).unwrap();
    assert_eq!(file.barrier(Barrier::Durable).unwrap_err().raw_os_error(), Some(5));
    file.barrier(Barrier::Durable).unwrap();

    let (old, new) = (sectors([1, 1, 1]), sectors([1, 2, 1]));
    assert_eq!(sim.read_file("a").unwrap(), new);
    assert_eq!(mapped(&*map), new);
    let mut device = vec![9; 1536];
    assert_eq!(file.read_device_at(&mut device, 0).unwrap(), 1536);
    assert_eq!(device, old);
    assert_eq!(outcomes(&sim, "a"), [Some(old.clone())].into(), "never in an image");

    sim.drop_clean();
    assert_eq!(sim.read_file("a").unwrap(), old);
    assert_eq!(mapped(&*map), old);
}

#[test]
fn writing_again_what_a_failed_sync_lost_repairs_it() {
    let (disk, file) = disk_with(&sectors([1, 1, 1]));
    file.write_at(&sectors([2, 2, 2]), 0).unwrap();
    disk.open_file("a", Access::ReadWrite).unwrap().fail_sync();
    file.write_at(&[3; 10], 512).unwrap();
    let mut device = vec![9; 1536];
    file.read_device_at(&mut device, 0).unwrap();
    let mut expected = sectors([1, 2, 1]);
    expected[512..522].fill(3);
    assert_eq!(device, expected, "what waits counts as the device's");
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "a"), [Some(expected.clone())].into());
    disk.drop_clean();
    assert_eq!(disk.read_file("a").unwrap(), expected);
}

#[test]
fn a_failed_sync_may_have_written_a_part() {
    let (disk, file) = disk_with(&[1; 512 * 16]);
    disk.set_failed_sync(FailedSync::PartWritten);
    file.write_at(&[2; 512 * 16], 0).unwrap();
    disk.open_file("a", Access::ReadWrite).unwrap().fail_sync();
    assert_eq!(disk.read_file("a").unwrap(), [2; 512 * 16]);
    let mut device = vec![0; 512 * 16];
    file.read_device_at(&mut device, 0).unwrap();
    assert!(device.contains(&1) && device.contains(&2), "a part of it");
    assert_eq!(outcomes(&disk, "a"), [Some(device.clone())].into());
    disk.drop_clean();
    assert_eq!(disk.read_file("a").unwrap(), device);
}

#[test]
fn an_image_records_its_own_trace_and_can_be_cut_again() {
    let (disk, file) = disk_with(b"0");
    file.write_at(b"1", 0).unwrap();
    let mut finals = BTreeSet::new();
    for image in images_now(&disk, MANY) {
        image.record();
        assert_eq!(image.position(), 0);
        let held = image.read_file("a").unwrap();
        image.open("a", Access::ReadWrite).unwrap().write_at(b"2", 1).unwrap();
        for inner in images_now(&image, MANY) {
            let bytes = inner.read_file("a").unwrap();
            assert_eq!(bytes[..1], held[..], "an image is at rest: nothing of it waits");
            finals.insert(String::from_utf8(bytes).unwrap());
        }
    }
    assert_eq!(finals, set(["0", "0\0", "02", "1", "1\0", "12"]));
}

#[test]
fn images_share_nothing_that_changes() {
    let (disk, file) = disk_with(&sectors([1, 1, 1]));
    file.write_at(&[2; 512], 0).unwrap();
    let before: Vec<String> = images_now(&disk, MANY).iter().map(shown).collect();
    let images = images_now(&disk, MANY);
    let changed = images[0].open("a", Access::ReadWrite).unwrap();
    changed.write_at(&[9; 1536], 0).unwrap();
    changed.sync().unwrap();
    images[0].remove("a").unwrap();
    images[0].create("b").unwrap();
    assert_eq!(images[1..].iter().map(shown).collect::<Vec<_>>(), before[1..]);
    assert_eq!(disk.read_file("a").unwrap(), sectors([2, 1, 1]));
    file.write_at(&[7; 1536], 0).unwrap();
    assert_eq!(images[1..].iter().map(shown).collect::<Vec<_>>(), before[1..]);
    assert_eq!(disk.files(), ["a"]);
}

/// Ten segments of 8 KiB, the last of them with some unsynced records, a rename and a new file.
fn store() -> SimDisk {
    let disk = disk();
    for id in 0..10 {
        disk.write_file(&format!("segments/{id}"), &[id; 8192]);
    }
    disk.record();
    let active = disk.open("segments/9", Access::ReadWrite).unwrap();
    for index in 0..6 {
        active.write_at(&[0xee; 700], 512 + index * 700).unwrap();
    }
    let next = disk.create("segments/new-10").unwrap();
    next.write_at(&[0xdd; 8192], 0).unwrap();
    disk.rename("segments/new-10", "segments/10").unwrap();
    disk
}

#[test]
fn the_same_seed_gives_the_same_images_in_the_same_order() {
    let shown_by = |seed| -> Vec<String> {
        let disk = store();
        let mut random = Random::new(seed);
        let images = disk.images(disk.position(), 500, &mut random);
        images
            .map(|image| {
                let mut bytes = [0; 3];
                image.random(&mut bytes).unwrap();
                format!("{} {bytes:?} {}", shown(&image), image.clock().wall_ms())
            })
            .collect()
    };
    assert_eq!(shown_by(3), shown_by(3));
    assert_ne!(shown_by(3), shown_by(4));
}

#[test]
fn a_sample_keeps_to_its_budget_and_has_nothing_everything_and_each_thing_alone() {
    let disk = store();
    let everything = shown(&disk);
    let nothing = shown(&disk.images(0, 1, &mut Random::new(1)).next().unwrap());
    for budget in [1, 2, 7, 50, 400] {
        let images: Vec<String> = images_now(&disk, budget).iter().map(shown).collect();
        assert_eq!(images.len(), budget);
        assert!(images.contains(&nothing), "budget {budget}");
        assert!(budget < 2 || images.contains(&everything), "budget {budget}");
    }
    // 26 to 28 things wait; one sector alone of the new file needs its names and size as well to be seen.
    let images = images_now(&disk, 400);
    let alone = |image: &&SimDisk| {
        image
            .read_file("segments/new-10")
            .is_some_and(|bytes| bytes.len() == 8192 && bytes.chunks(512).filter(|part| part[0] == 0xdd).count() == 1)
    };
    assert!(images.iter().filter(alone).count() >= 16);
    let distinct: BTreeSet<String> = images.iter().map(shown).collect();
    assert!(distinct.len() > 300, "{} of 400 differ", distinct.len());
}

#[test]
fn all_images_are_given_where_the_budget_allows_and_each_once() {
    let (disk, file) = disk_with(&[1; 5120]);
    file.write_at(&[2; 5120], 0).unwrap();
    let images: BTreeSet<String> = images_now(&disk, 1024).iter().map(shown).collect();
    assert_eq!(images.len(), 1024);

    let (disk, file) = disk_with(b"");
    file.write_at(&[1; 1024], 0).unwrap();
    let count = images_now(&disk, MANY).len();
    assert_eq!(count, 5, "without the size nothing, with it any of two sectors");

    let (disk, file) = disk_with(b"\0");
    for byte in 1..=100 {
        file.write_at(&[byte], 0).unwrap();
    }
    let images: Vec<String> = images_now(&disk, 90).iter().map(shown).collect();
    assert_eq!(images.iter().collect::<BTreeSet<_>>().len(), images.len(), "a sample repeats");
}

#[test]
fn images_draw_random_bytes_of_their_own() {
    let (disk, file) = disk_with(b"0");
    file.write_at(b"1", 0).unwrap();
    let draw = |disk: &SimDisk| {
        let mut bytes = [0; 13];
        disk.random(&mut bytes).unwrap();
        bytes
    };
    let images = images_now(&disk, MANY);
    let drawn = BTreeSet::from([draw(&disk), draw(&images[0]), draw(&images[1])]);
    assert_eq!(drawn.len(), 3);
}

#[test]
fn a_sample_is_always_a_part_of_all_there_is() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let disk = disk();
        for _ in 0..9 {
            let name = ["a", "b", "segments/c"][random.below(3)];
            let Ok(file) = disk.open(name, Access::ReadWrite) else {
                disk.create(name).unwrap();
                continue;
            };
            match random.below(6) {
                0 => disk.remove(name).unwrap(),
                1 => file.sync().unwrap(),
                2 => disk.rename(name, if name.len() > 1 { "segments/d" } else { "d" }).unwrap(),
                3 => disk.sync_dir(["", "segments"][random.below(2)]).unwrap(),
                _ => file.write_at(&[random.below(9) as u8 + 1; 300], 0).unwrap(),
            }
        }
        let end = disk.position();
        let all: BTreeSet<String> = disk.images(end, 1 << 20, &mut random).map(|image| shown(&image)).collect();
        for budget in 1..30 {
            for image in disk.images(end, budget, &mut random) {
                assert!(all.contains(&shown(&image)), "seed {seed}, budget {budget}");
            }
        }
        assert!(all.contains(&shown(&disk)), "seed {seed}");
    }
}

#[test]
fn a_mapping_shows_the_page_cache_at_an_address_that_stays() {
    let disk = disk();
    let file = disk.create("a").unwrap();
    file.allocate(10_000).unwrap();
    file.write_at(b"before", 4094).unwrap();
    let (small, large) = (file.map(5000).unwrap(), file.map(10_000).unwrap());
    let at = small.as_ptr();
    file.write_at(b"after", 4999).unwrap();
    file.allocate(1 << 20).unwrap();
    disk.remove("a").unwrap();
    drop(disk);
    for map in [&*small, &*large] {
        assert_eq!(map.as_ptr().addr() % 4096, 0);
        assert_eq!(mapped(map)[4094..4100], *b"before");
        assert_eq!(mapped(map)[4999], b'a');
    }
    assert_eq!(mapped(&*large)[4999..5004], *b"after");
    assert_eq!(small.as_ptr(), at);
    assert!(file.map((1 << 20) + 1).is_err());
}

#[test]
fn names_follow_the_contract_of_a_directory() {
    use std::io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory, NotFound};
    let disk = disk();
    disk.create("b").unwrap();
    disk.create("segments/1").unwrap();
    assert_eq!(disk.list("").unwrap(), ["b", "segments/"]);
    assert_eq!(disk.list("segments").unwrap(), ["1"]);
    assert_eq!(disk.list("none").unwrap_err().kind(), NotFound);
    assert_eq!(disk.create("b").unwrap_err().kind(), AlreadyExists);
    assert_eq!(disk.create("segments").unwrap_err().kind(), AlreadyExists);
    assert_eq!(disk.create("none/1").unwrap_err().kind(), NotFound);
    assert_eq!(disk.create_dir("b").unwrap_err().kind(), AlreadyExists);
    assert_eq!(disk.open("segments", Access::Read).unwrap_err().kind(), IsADirectory);
    assert_eq!(disk.open("none", Access::Read).unwrap_err().kind(), NotFound);
    assert_eq!(disk.remove("none").unwrap_err().kind(), NotFound);
    assert_eq!(disk.rename("b", "none/b").unwrap_err().kind(), NotFound);
    for name in ["", "/a", "a/", "../a", "a/../b", "segments/x/y", "."] {
        assert_eq!(disk.create(name).unwrap_err().kind(), InvalidInput, "{name}");
    }
    let reader = disk.open("b", Access::Read).unwrap();
    assert!(reader.write_at(b"x", 0).is_err());
    assert!(reader.allocate(1).is_err());
}

#[test]
fn a_move_between_folders_may_leave_both_names_either_or_none() {
    let disk = disk();
    disk.create_dir("spare").unwrap();
    disk.create("spare/a").unwrap().sync().unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_dir("spare").unwrap();
    disk.rename("spare/a", "segments/1").unwrap();
    let states = |disk: &SimDisk| -> BTreeSet<_> {
        let there = |image: &SimDisk, name: &str| image.open(name, Access::Read).is_ok();
        images_now(disk, 100).iter().map(|image| (there(image, "spare/a"), there(image, "segments/1"))).collect()
    };
    assert_eq!(states(&disk).len(), 4);
    disk.sync_dir("segments").unwrap();
    assert_eq!(states(&disk), [(false, true), (true, true)].into());
    disk.sync_dir("spare").unwrap();
    assert_eq!(states(&disk), [(false, true)].into());
}

#[test]
fn a_hole_is_made_sector_by_sector_until_a_sync() {
    let disk = disk();
    let file = disk.create("b").unwrap();
    file.write_at(&[7; 2048], 0).unwrap();
    // BARRIER: the sevens are on the device.
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    file.punch(512, 1024).unwrap();
    let left = |disk: &SimDisk| -> BTreeSet<_> {
        let bytes = |image: &SimDisk| image.read_file("b").unwrap();
        images_now(disk, 100)
            .iter()
            .map(|image| bytes(image).chunks(512).map(|part| part[0]).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(left(&disk), [vec![7, 7, 7, 7], vec![7, 0, 7, 7], vec![7, 7, 0, 7], vec![7, 0, 0, 7]].into());
    // BARRIER: now the hole is, too.
    file.sync().unwrap();
    assert_eq!(left(&disk), [vec![7, 0, 0, 7]].into());
}

#[test]
fn the_lock_is_held_once_and_is_lost_with_its_file() {
    let disk = disk();
    let lock = disk.lock().unwrap();
    assert!(matches!(disk.lock(), Err(LockError::Held(_))));
    assert!(lock.still_ours().unwrap());
    let image = images_now(&disk, 1).remove(0);
    image.lock().unwrap();
    disk.remove("LOCK").unwrap();
    let other = disk.lock().unwrap();
    assert!(!lock.still_ours().unwrap());
    assert!(other.still_ours().unwrap());
    drop(other);
    disk.lock().unwrap();
}

#[test]
fn time_passes_by_looking_and_by_order() {
    let disk = disk();
    disk.set_wall_ms(1000);
    let clock = disk.clock();
    let (wall, monotonic) = (clock.wall_ms(), clock.monotonic_ns());
    assert_eq!(wall, 1001);
    disk.advance_ms(500);
    assert_eq!(clock.wall_ms(), 1502);
    assert!(clock.monotonic_ns() >= monotonic + 500_000_000);
    let image = images_now(&disk, 1).remove(0);
    assert!(image.clock().wall_ms() > 1502, "time does not go back over a power cut");
}

#[test]
fn a_file_placed_from_outside_is_durable_at_once() {
    let disk = disk();
    for name in ["a", "segments/1"] {
        disk.create(name).unwrap().write_at(b"old", 0).unwrap();
    }
    disk.write_file("a", b"x");
    disk.write_file("segments/1", &[5; 1000]);
    assert_eq!(outcomes(&disk, "a"), [Some(b"x".to_vec())].into());
    assert_eq!(outcomes(&disk, "segments/1"), [Some(vec![5; 1000])].into());
    assert_eq!(disk.read_file("a").unwrap(), b"x");
    assert_eq!(disk.files(), ["a", "segments/1"]);
    assert_eq!(disk.read_file("none"), None);
}

/// Prints how many images a second a store of ten 8 KiB segments gives, each opened and read like a recovery would.
/// `cargo test --release --lib sim::tests::throughput -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn throughput_of_images() {
    let disk = store();
    let (mut recording, mut random) = (disk.recording(), Random::new(1));
    for (what, read) in [("made", false), ("made, all files read", true)] {
        let (begin, mut count, mut sum) = (Instant::now(), 0_u32, 0_usize);
        while begin.elapsed().as_secs() < 1 {
            for point in recording.points() {
                for image in recording.images(point, 512, &mut random) {
                    count += 1;
                    if read {
                        sum += image.files().iter().map(|f| read_all(&image, f)).sum::<usize>();
                    }
                }
            }
        }
        let rate = f64::from(count) / begin.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} images/s ({count} images, {sum} bytes)");
    }
}

fn read_all(image: &SimDisk, name: &str) -> usize {
    let file = image.open(name, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap()
}
