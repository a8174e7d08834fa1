//! What an image has of a table that changes meanwhile, and what is made of it.
//!
//! Floor 2. Imports `address`, `reclaim`.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::address::Location;
use crate::index::image::{Extent, Memory};
use crate::index::table::{Changed, Probe, Table};
use crate::index::tests::{Random, Twin, at, mix};
use crate::index::unit::{Chained, UNIT_LEN};
use crate::reclaim::pin;

/// What stands for a mapping: aligned as one, and spoiled when it goes.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(bytes: &[u8]) -> Pages {
        let layout = Layout::from_size_align(bytes.len().max(1), 4096).unwrap();
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        // SAFETY: as many bytes were allocated, and nobody else knows them.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Pages { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nobody uses it any more.
        unsafe {
            self.start.write_bytes(0xff, self.layout.size());
            dealloc(self.start.as_ptr(), self.layout);
        }
    }
}

/// A table, written down.
#[derive(Clone, Default)]
struct Written {
    bytes: Vec<u8>,
    extents: Vec<Extent>,
    len: u64,
}

impl Written {
    /// Writes `table` down, and calls `between` before each unit and after the last.
    fn of(table: &Table, mut between: impl FnMut(usize)) -> Result<Written, Chained> {
        let mut image = table.image();
        let mut written = Written::default();
        let mut unit = [0; UNIT_LEN];
        between(0);
        while let Some(extent) = image.copy_next(&mut unit)? {
            written.extents.push(extent);
            written.bytes.extend_from_slice(&unit);
            between(written.extents.len());
        }
        written.len = image.len();
        assert_eq!(image.copy_next(&mut unit), Ok(None), "it stays whole");
        Ok(written)
    }

    fn open(&self) -> Option<Table> {
        let pages = Pages::new(&self.bytes);
        // SAFETY: the bytes live as long as `pages`, which nobody else knows.
        let memory = unsafe { Memory::new(pages.start, self.bytes.len(), Arc::new(pages)) };
        Table::open(memory, &self.extents, self.len)
    }

    /// A twin over this image of the table of `twin`, with the records that image has.
    fn twin(&self, twin: &Twin, model: HashMap<u64, Location>) -> Twin {
        Twin { table: Arc::new(self.open().unwrap()), log: twin.log.clone(), model, hash: twin.hash }
    }
}

/// A change of one key: where its record is from here on, if it has one.
#[derive(Clone, Copy)]
struct Change {
    key: u64,
    to: Option<Location>,
    imaged: bool,
}

impl Change {
    fn apply(self, model: &mut HashMap<u64, Location>) {
        match self.to {
            Some(to) => model.insert(self.key, to),
            None => model.remove(&self.key),
        };
    }
}

fn twin_of(hash: fn(u64) -> u64, keys: u64) -> Twin {
    let mut twin = Twin::new(hash);
    (0..keys).for_each(|key| twin.insert(key));
    twin
}

/// Puts or removes a random key.
fn change(twin: &mut Twin, random: &mut Random, keys: u64) -> Change {
    let key = random.below(keys);
    let hash = (twin.hash)(key);
    let (to, Changed { old, imaged }) = if random.below(3) > 0 {
        let to = twin.append(key);
        (Some(to), twin.table.insert(hash, to, Twin::probe(&twin.log, key)))
    } else {
        (None, twin.table.remove(hash, Twin::probe(&twin.log, key)))
    };
    assert_eq!(old, twin.model.get(&key).copied());
    let change = Change { key, to, imaged };
    change.apply(&mut twin.model);
    change
}

/// Goes on with the table of an image as with any.
fn use_on(mut twin: Twin, random: &mut Random, keys: u64, steps: u64) {
    for _ in 0..steps {
        change(&mut twin, random, keys);
    }
    twin.check_all();
    (0..keys).for_each(|key| twin.relocate(key));
    twin.check_all();
    (0..keys).for_each(|key| twin.remove(key));
    twin.check_all();
}

#[test]
fn an_image_of_a_table_that_rests_is_the_table() {
    for (seed, keys) in [1_800, 2_500, 10_000, 100_000].into_iter().enumerate() {
        println!("seed {seed}");
        let twin = twin_of(mix, keys);
        let written = Written::of(&twin.table, |_| ()).unwrap();
        assert_eq!(written.bytes.len(), written.extents.len() * UNIT_LEN);
        let opened = written.twin(&twin, twin.model.clone());
        opened.check_all();
        assert_eq!(opened.table.bytes(), twin.table.bytes());
        let again = Written::of(&opened.table, |_| ()).unwrap();
        assert!(again.bytes == written.bytes && again.extents == written.extents && again.len == written.len);
        use_on(opened, &mut Random(seed as u64), keys * 4, keys * 4);
    }
}

/// Writes a table of up to `keys` keys down, with up to twice `pace` changes between two copies.
fn write_while_it_changes(seed: u64, hash: fn(u64) -> u64, keys: u64, pace: u64) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut twin = twin_of(hash, keys / 2);
    let (table, mut expected, mut since) = (Arc::clone(&twin.table), twin.model.clone(), Vec::new());
    let written = Written::of(&table, |_| {
        let count = random.below(2 * pace + 1);
        since.extend((0..count).map(|_| change(&mut twin, &mut random, keys)));
    });
    let written = written.unwrap();
    assert!(since.iter().any(|change| change.imaged) && since.iter().any(|change| !change.imaged));
    assert!(!change(&mut twin, &mut random, keys).imaged, "nothing is being written down");
    twin.check_all();

    // Just what was there when its unit was copied, and just as many.
    since.iter().filter(|change| change.imaged).for_each(|change| change.apply(&mut expected));
    let mut opened = written.twin(&twin, expected);
    opened.check_all();
    replay(&mut opened, &since);
    use_on(opened, &mut random, keys * 2, keys * 2);
}

/// Brings a table up to date by all changes since before its first unit was copied, whether it has them or not.
fn replay(opened: &mut Twin, since: &[Change]) {
    for change in since {
        let (hash, probe) = ((opened.hash)(change.key), Twin::probe(&opened.log, change.key));
        match change.to {
            Some(to) => opened.table.insert(hash, to, probe),
            None => opened.table.remove(hash, probe),
        };
        change.apply(&mut opened.model);
    }
    opened.check_all();
}

#[test]
fn an_image_has_just_the_changes_that_said_so_and_replay_brings_the_rest() {
    for seed in 0..40 {
        write_while_it_changes(seed, mix, 4_000 + seed * 500, 1 + seed * 10);
    }
    write_while_it_changes(40, mix, 200_000, 1_000);
}

#[test]
fn an_image_is_true_whichever_bits_of_the_hashes_collide() {
    let masks: [fn(u64) -> u64; 3] =
        [|key| mix(key) & !0x3f, |key| mix(key) & 0xffff_ffff_ffff_ff01, |key| mix(key) & !(1 << 62)];
    for (seed, mask) in masks.into_iter().enumerate() {
        write_while_it_changes(seed as u64, mask, 20_000, 100);
    }
}

#[test]
fn an_image_is_true_while_another_thread_goes_on_changing() {
    const KEYS: u64 = 40_000;
    for seed in 0..10 {
        println!("seed {seed}");
        let mut twin = twin_of(mix, KEYS / 2);
        let (table, mut expected) = (Arc::clone(&twin.table), twin.model.clone());
        let whole = AtomicBool::new(false);
        // Writing down begins before the thread does: what it changes before the first copy counts.
        let mut image = table.image();
        let (since, written) = thread::scope(|scope| {
            let (twin, whole) = (&mut twin, &whole);
            let changing = scope.spawn(move || {
                let (mut random, mut since) = (Random(seed), Vec::new());
                while !whole.load(Ordering::Acquire) {
                    since.extend((0..100).map(|_| change(twin, &mut random, KEYS)));
                }
                since
            });
            let (mut written, mut unit) = (Written::default(), [0; UNIT_LEN]);
            while let Some(extent) = image.copy_next(&mut unit).unwrap() {
                written.extents.push(extent);
                written.bytes.extend_from_slice(&unit);
                thread::yield_now();
            }
            written.len = image.len();
            whole.store(true, Ordering::Release);
            (changing.join().unwrap(), written)
        });
        since.iter().filter(|change| change.imaged).for_each(|change| change.apply(&mut expected));
        let mut opened = written.twin(&twin, expected);
        opened.check_all();
        replay(&mut opened, &since);
        assert_eq!(opened.model, twin.model);
    }
}

#[test]
fn what_is_given_up_half_way_says_no_more_of_changes() {
    let mut twin = twin_of(mix, 10_000);
    let table = Arc::clone(&twin.table);
    let mut image = table.image();
    image.copy_next(&mut [0; UNIT_LEN]).unwrap().unwrap();
    let changes: Vec<_> = (0..100).map(|_| change(&mut twin, &mut Random(7), 10_000)).collect();
    drop(image);
    assert!(changes.iter().any(|change| change.imaged));
    assert!((0..100).all(|_| !change(&mut twin, &mut Random(7), 10_000).imaged));
    Written::of(&table, |_| ()).unwrap();
}

#[test]
fn a_small_table_is_written_down_and_grows_for_it() {
    for keys in [0, 1, 20, 300, 1_000, 1_500] {
        let twin = twin_of(mix, keys);
        let written = Written::of(&twin.table, |_| ()).unwrap();
        assert!(written.extents.len() >= 2 && written.len == keys);
        twin.check_all();
        let mut opened = written.twin(&twin, twin.model.clone());
        opened.check_all();
        (keys..4_000).for_each(|key| opened.insert(key));
        opened.check_all();
    }
}

/// Of one hash there are so many; the others spread.
const SAME: u64 = 15 * 7 + 1;

fn mostly_same(key: u64) -> u64 {
    if key < SAME { 0x5555_5555_5555_5555 } else { mix(key) }
}

#[test]
fn keys_in_a_chain_are_not_written_down() {
    let mut twin = twin_of(mostly_same, 3_000);
    assert!(matches!(Written::of(&twin.table, |_| ()), Err(Chained)));
    assert!(!change(&mut twin, &mut Random(1), 1).imaged);
    // Its place in the chain is empty then, or another's is.
    (0..SAME).for_each(|key| twin.remove(key));
    (0..SAME - 1).for_each(|key| twin.insert(key));
    Written::of(&twin.table, |_| ()).unwrap().twin(&twin, twin.model.clone()).check_all();
}

#[test]
fn a_unit_of_an_image_that_gets_a_chain_leaves_it() {
    let mut twin = twin_of(mostly_same, 3_000);
    (0..SAME).for_each(|key| twin.remove(key));
    (0..SAME - 1).for_each(|key| twin.insert(key));
    let written = Written::of(&twin.table, |_| ()).unwrap();
    let mut opened = written.twin(&twin, twin.model.clone());
    let before = opened.table.bytes();
    opened.insert(SAME - 1);
    opened.check_all();
    assert!(opened.table.bytes() > before, "there is a chain");
    assert!(matches!(Written::of(&opened.table, |_| ()), Err(Chained)));
    use_on(opened, &mut Random(3), 6_000, 6_000);
}

#[test]
fn a_table_over_an_image_takes_all_of_it_along_when_it_goes() {
    struct Keeper {
        pages: Pages,
        _alive: Arc<()>,
    }
    let twin = twin_of(mix, 20_000);
    let written = Written::of(&twin.table, |_| ()).unwrap();
    let alive = Arc::new(());
    let keeper = Keeper { pages: Pages::new(&written.bytes), _alive: Arc::clone(&alive) };
    // SAFETY: the bytes live as long as `keeper`, which nobody else knows.
    let memory = unsafe { Memory::new(keeper.pages.start, written.bytes.len(), Arc::new(keeper)) };
    let table = Table::open(memory, &written.extents, written.len).unwrap();
    (20_000..60_000).for_each(|key| assert_eq!(table.insert(mix(key), at(key + 1), |_| Probe::Other).old, None));
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(table);
    assert_eq!(Arc::strong_count(&alive), 1);
    // What it retired and what was split is freed in the end without a look at the image.
    (0..10).for_each(|_| pin::collect());
}

#[test]
fn units_that_are_no_table_are_refused() {
    let twin = twin_of(mix, 20_000);
    let written = Written::of(&twin.table, |_| ()).unwrap();
    let count = written.extents.len();
    let refused = |change: &dyn Fn(&mut Written)| {
        let mut other = written.clone();
        change(&mut other);
        other.open().is_none()
    };
    assert!(!refused(&|_| ()), "as it is");
    assert!(refused(&|other| other.bytes.truncate((count - 1) * UNIT_LEN)), "a unit too few");
    assert!(refused(&|other| *other = Written::default()), "none");
    for i in 0..count {
        assert!(refused(&|other| drop(other.extents.drain(i..=i))), "extent {i} is missing");
        assert!(refused(&|other| {
            other.extents.remove(i);
            other.bytes.drain(i * UNIT_LEN..(i + 1) * UNIT_LEN);
        }));
        for bit in 0..64 {
            assert!(refused(&|other| other.extents[i].first ^= 1 << bit), "extent {i}, bit {bit}");
            assert!(refused(&|other| other.bytes[i * UNIT_LEN + bit] ^= 1), "unit {i}, byte {bit}");
        }
        for bit in 0..32 {
            assert!(refused(&|other| other.extents[i].depth ^= 1 << bit), "depth {i}, bit {bit}");
        }
        if i > 0 {
            assert!(refused(&|other| other.extents.swap(i - 1, i)), "extents {i} and the one before");
        }
    }
}

#[test]
fn units_that_overlap_are_refused() {
    // One after the other they have as many hashes as there are, but the second begins where no unit of its depth does.
    let extents =
        vec![Extent { first: 0, depth: 2 }, Extent { first: 1 << 62, depth: 1 }, Extent { first: 3 << 62, depth: 2 }];
    let head = |extent: &Extent| [&extent.depth.to_le_bytes()[..], &[0; UNIT_LEN - 4]].concat();
    let written = Written { bytes: extents.iter().flat_map(head).collect(), extents, len: 0 };
    assert!(written.open().is_none());
}

#[test]
fn no_directory_is_larger_than_so_few_units_need() {
    // Each unit is half of what the one before left.
    let mut extents: Vec<Extent> =
        (1..=20).map(|depth| Extent { first: u64::MAX << (64 - depth) << 1, depth }).collect();
    extents[0].first = 0;
    let last = extents[19];
    extents.push(Extent { first: last.next().unwrap(), depth: last.depth });
    assert_eq!(extents[20].next(), None, "they are all hashes");
    let head = |extent: &Extent| [&extent.depth.to_le_bytes()[..], &[0; UNIT_LEN - 4]].concat();
    let written = Written { bytes: extents.iter().flat_map(head).collect(), extents, len: 0 };
    assert!(written.open().is_none());
}
