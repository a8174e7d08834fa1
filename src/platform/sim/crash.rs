//! What a power cut may leave: images of a recorded disk.
//!
//! Floor 1. Imports `platform`, `sync`.
//!
//! At a point of the trace some things are durable, and others wait: sectors, sizes and changes of names. Each of
//! these may have reached the device or not, in any order, but for two rules: of a sector or size that changed several
//! times one state persists (any of them, or the durable one), and a change of a name comes after the earlier changes
//! of the same name and of the folder it lies in. A file without a name cannot be seen, nor bytes behind a size.
//!
//! A write that was issued and has not returned needs no points of its own: after it all its sectors wait, and any of
//! them may be missing.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use crate::platform::sim::Random;
use crate::platform::sim::disk::SimDisk;
use crate::platform::sim::medium::{Content, Durable, FileId, Item, Medium, NameChange, Op, SECTOR};
use crate::sync::Arc;

/// A recorded trace, to be cut anywhere. A clone shares it, so that several threads can each take a part of the points.
#[derive(Clone, Debug)]
pub struct Recording {
    start: Arc<Medium>,
    ops: Arc<Vec<Op>>,
    next_file: FileId,
    wall_ms: u64,
    /// The state at some point, so that going forward through the points costs each operation once.
    cursor: (usize, Medium),
}

impl Recording {
    pub(super) fn new(start: Medium, ops: Arc<Vec<Op>>, next_file: FileId, wall_ms: u64) -> Self {
        let cursor = (0, start.clone());
        Recording { start: Arc::new(start), ops, next_file, wall_ms, cursor }
    }

    /// All points: before the first operation to after the last.
    pub fn points(&self) -> RangeInclusive<usize> {
        0..=self.ops.len()
    }

    /// How many things wait to be written at `point`.
    pub fn pending(&mut self, point: usize) -> usize {
        self.at(point).pending.len()
    }

    /// What a power cut at `point` may leave: every possible image if their number is at most `budget`; else `budget`
    /// of them: nothing, everything, single classes of things, all prefixes in order of issue, each thing alone (with
    /// what it needs to be seen), all but each thing, and random subsets. If the budget is too small for all of
    /// these, a random choice.
    ///
    /// # Panics
    /// If the trace is shorter than `point`.
    pub fn images<'r>(&mut self, point: usize, budget: usize, random: &'r mut Random) -> Images<'r> {
        let (next_file, wall_ms) = (self.next_file, self.wall_ms);
        let choices = Choices::new(self.at(point).clone());
        let total = choices.count();
        let plan = match total <= budget {
            true => Plan::Exhaustive { total },
            false => Plan::Sampled { families: choices.families(), attempts: budget * 8 },
        };
        let given = HashSet::new();
        Images { choices, plan, step: 0, budget, given, random, next_file, wall_ms }
    }

    fn at(&mut self, point: usize) -> &Medium {
        assert!(point <= self.ops.len(), "the trace ends before point {point}");
        if self.cursor.0 > point {
            self.cursor = (0, Medium::clone(&self.start));
        }
        for op in &self.ops[self.cursor.0..point] {
            self.cursor.1.apply(op);
        }
        self.cursor.0 = point;
        &self.cursor.1
    }
}

/// The images of one point, each once as far as that is cheap to know.
///
/// Each is a disk at rest, with its own clock, random stream and trace; it shares unchanged bytes with the others, and
/// nothing that anybody can change.
#[derive(Debug)]
pub struct Images<'r> {
    choices: Choices,
    plan: Plan,
    step: usize,
    budget: usize,
    given: HashSet<Vec<bool>>,
    random: &'r mut Random,
    next_file: FileId,
    wall_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    Exhaustive { total: usize },
    Sampled { families: usize, attempts: usize },
}

impl Images<'_> {
    /// The next candidate, not yet made possible.
    fn candidate(&mut self) -> Option<Vec<bool>> {
        let step = self.step;
        self.step += 1;
        match self.plan {
            Plan::Exhaustive { total } => (step < total).then(|| self.choices.numbered(step)),
            Plan::Sampled { families, .. } if families <= self.budget && step < families => {
                Some(self.choices.family(step))
            }
            Plan::Sampled { .. } if step < CLASSES => Some(self.choices.family(step)),
            Plan::Sampled { families, attempts } => {
                let sample = families > self.budget && self.random.below(4) > 0;
                (step < families + attempts).then(|| match sample {
                    true => self.choices.family(self.random.below(families)),
                    false => self.choices.any(self.random),
                })
            }
        }
    }
}

impl Iterator for Images<'_> {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        while self.given.len() < self.budget {
            let mut chosen = self.candidate()?;
            self.choices.make_possible(&mut chosen);
            if self.given.contains(&chosen) {
                continue;
            }
            let durable = self.choices.persist(&chosen);
            self.given.insert(chosen);
            let seed = self.random.next_u64();
            return Some(SimDisk::image(durable, self.next_file, self.wall_ms, seed));
        }
        None
    }
}

/// Families of choices that come before those of single items: nothing, everything, names only, contents only,
/// everything but bytes, everything but sizes.
const CLASSES: usize = 6;

/// The things that wait at a point, and how they hang together. A choice is one `bool` for each.
#[derive(Debug)]
struct Choices {
    medium: Medium,
    /// For each item the earlier ones without which it cannot be.
    needs: Vec<Vec<usize>>,
    /// For each sector the size that was set last before it, without which it might not be seen.
    sizes: Vec<Option<usize>>,
    /// For each item its slot: a sector of a file, a size of a file, or a slot of its own.
    slot: Vec<usize>,
    /// The items of each slot, in order: at most one of them counts.
    slots: Vec<Vec<usize>>,
    /// For each sector and size the place of its file in `files`.
    file: Vec<Option<usize>>,
    /// The files that something waits for, with their durable sizes.
    files: Vec<(FileId, u64)>,
}

impl Choices {
    fn new(medium: Medium) -> Self {
        let count = medium.pending.len();
        let mut choices = Choices {
            needs: Vec::with_capacity(count),
            sizes: Vec::with_capacity(count),
            slot: Vec::with_capacity(count),
            slots: Vec::new(),
            file: Vec::with_capacity(count),
            files: Vec::new(),
            medium: Medium { durable: medium.durable, pending: Vec::new() },
        };
        choices.link_names(&medium.pending);
        choices.link_contents(&medium.pending);
        choices.medium.pending = medium.pending;
        choices
    }

    /// Finds what each item needs.
    fn link_names(&mut self, items: &[Item]) {
        let mut touched: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut created: BTreeMap<FileId, usize> = BTreeMap::new();
        let mut own = None;
        for (index, item) in items.iter().enumerate() {
            let mut needs: Vec<usize> = own.into_iter().collect();
            match item {
                Item::Own => own = Some(index),
                Item::Name(change) => {
                    let folder = change.folder();
                    needs.extend(touched.get(&("", folder)).filter(|_| !folder.is_empty()));
                    for name in change.names().into_iter().flatten() {
                        needs.extend(touched.insert((folder, name), index));
                    }
                    if let NameChange::Create { file, .. } = change {
                        created.insert(*file, index);
                    }
                }
                Item::Size { file, .. } | Item::Sector { file, .. } => {
                    needs.extend(created.get(file));
                }
            }
            self.needs.push(needs);
        }
    }

    /// Finds the slots, files and sizes.
    fn link_contents(&mut self, items: &[Item]) {
        let mut places: BTreeMap<(FileId, Option<u32>), usize> = BTreeMap::new();
        let mut files: BTreeMap<FileId, usize> = BTreeMap::new();
        let mut size_set: BTreeMap<FileId, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let (key, size) = match item {
                Item::Own | Item::Name(_) => (None, None),
                Item::Size { file, .. } => {
                    size_set.insert(*file, index);
                    (Some((*file, None)), None)
                }
                Item::Sector { file, index, .. } => (Some((*file, Some(*index))), size_set.get(file).copied()),
            };
            let new = self.slots.len();
            let slot = key.map_or(new, |key| *places.entry(key).or_insert(new));
            if slot == new {
                self.slots.push(Vec::new());
            }
            self.slots[slot].push(index);
            self.slot.push(slot);
            self.sizes.push(size);
            let place = key.map(|(file, _)| {
                *files.entry(file).or_insert_with(|| {
                    let content = self.medium.durable.files.get(&file);
                    self.files.push((file, content.map_or(0, |content| content.size)));
                    self.files.len() - 1
                })
            });
            self.file.push(place);
        }
    }

    /// How many choices there are, possible or not.
    fn count(&self) -> usize {
        self.slots.iter().fold(1, |product, slot| product.saturating_mul(slot.len() + 1))
    }

    /// The choice that `number` spells, one digit a slot.
    fn numbered(&self, mut number: usize) -> Vec<bool> {
        let mut chosen = vec![false; self.slot.len()];
        for slot in &self.slots {
            let digit = number % (slot.len() + 1);
            number /= slot.len() + 1;
            if digit > 0 {
                chosen[slot[digit - 1]] = true;
            }
        }
        chosen
    }

    fn families(&self) -> usize {
        CLASSES + 5 * self.slot.len()
    }

    /// One of the choices worth trying first.
    fn family(&self, number: usize) -> Vec<bool> {
        let items = &self.medium.pending;
        let all_of = |wanted: fn(&Item) -> bool| items.iter().map(wanted).collect();
        match number {
            0 => return vec![false; items.len()],
            1 => return vec![true; items.len()],
            2 => return all_of(|item| matches!(item, Item::Own | Item::Name(_))),
            3 => return all_of(|item| !matches!(item, Item::Name(_))),
            4 => return all_of(|item| !matches!(item, Item::Sector { .. })),
            5 => return all_of(|item| !matches!(item, Item::Size { .. })),
            _ => {}
        }
        let (kind, at) = ((number - CLASSES) % 5, (number - CLASSES) / 5);
        let each = 0..items.len();
        match kind {
            0 => each.map(|index| index <= at).collect(),
            1 => each.map(|index| index != at).collect(),
            2 => {
                let mut alone: Vec<bool> = each.map(|index| index == at).collect();
                self.add_needs(&mut alone);
                alone
            }
            // The names up to here, with and without the contents.
            3 => each.map(|index| index <= at || self.file[index].is_some()).collect(),
            _ => each.map(|index| index <= at && self.file[index].is_none()).collect(),
        }
    }

    /// A random choice, sparse or dense.
    fn any(&self, random: &mut Random) -> Vec<bool> {
        let density = [32, 64, 128, 192, 224][random.below(5)];
        let mut chosen: Vec<bool> = self.slot.iter().map(|_| random.below(256) < density).collect();
        if random.below(2) == 0 {
            self.add_needs(&mut chosen);
        }
        chosen
    }

    /// Adds what chosen items need to be, and to be seen.
    fn add_needs(&self, chosen: &mut [bool]) {
        for index in (0..chosen.len()).rev() {
            if chosen[index] {
                self.needs[index].iter().chain(&self.sizes[index]).for_each(|need| {
                    chosen[*need] = true;
                });
            }
        }
    }

    /// Drops what cannot be for want of something else, what a later state of the same thing covers, and bytes behind
    /// a size: choices that make the same image mostly become the same.
    fn make_possible(&self, chosen: &mut [bool]) {
        for index in 0..chosen.len() {
            chosen[index] = chosen[index] && self.needs[index].iter().all(|need| chosen[*need]);
        }
        let mut taken = vec![false; self.slots.len()];
        for index in (0..chosen.len()).rev() {
            if chosen[index] {
                chosen[index] = !std::mem::replace(&mut taken[self.slot[index]], true);
            }
        }
        let mut sizes: Vec<u64> = self.files.iter().map(|(_, size)| *size).collect();
        for (index, item) in self.medium.pending.iter().enumerate() {
            if let (true, Item::Size { size, .. }, Some(file)) = (chosen[index], item, self.file[index]) {
                sizes[file] = *size;
            }
        }
        for (index, item) in self.medium.pending.iter().enumerate() {
            if let (Item::Sector { index: sector, .. }, Some(file)) = (item, self.file[index]) {
                let start = u64::from(*sector) * SECTOR as u64;
                chosen[index] = chosen[index] && start < sizes[file];
            }
        }
    }

    /// What is durable if of all that waits just `chosen` reaches the device.
    fn persist(&self, chosen: &[bool]) -> Durable {
        let held = &self.medium.durable;
        let items = || {
            let items = self.medium.pending.iter().zip(chosen);
            items.filter(|(_, chosen)| **chosen).map(|(item, _)| item)
        };
        if !held.own_name && !items().any(|item| matches!(item, Item::Own)) {
            return Durable::default();
        }
        let mut tree = held.tree.clone();
        for item in items() {
            if let Item::Name(change) = item {
                change.apply(&mut tree);
            }
        }
        tree.forget_unnamed();
        let content = |file| (file, held.files.get(&file).cloned().unwrap_or_default());
        let mut files: BTreeMap<FileId, Content> = tree.reachable().map(content).collect();
        for item in items() {
            match item {
                Item::Own | Item::Name(_) => {}
                Item::Size { file, size } => {
                    if let Some(content) = files.get_mut(file) {
                        content.size = *size;
                    }
                }
                Item::Sector { file, index, sector } => {
                    if let Some(content) = files.get_mut(file) {
                        content.set(*index, Some(Arc::clone(sector)));
                    }
                }
            }
        }
        for (file, _) in &self.files {
            if let Some(content) = files.get_mut(file) {
                content.trim();
            }
        }
        Durable { own_name: true, tree, files }
    }
}
