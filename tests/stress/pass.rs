//! Full passes over the keys of a plan: each key once, as its owner has it or had it meanwhile.

use std::ops::ControlFlow;

use zipcask::{Db, Reader};

use crate::plan::{self, Board, Plan};
use crate::ways::{Checked, Way, told};

/// Keys read and checked so far in one pass.
struct Pass<'a> {
    plan: Plan,
    board: &'a Board,
    oldest: Vec<u32>,
    shown: Vec<u8>,
}

impl<'a> Pass<'a> {
    fn begin(plan: Plan, board: &'a Board) -> Pass<'a> {
        let oldest = board.all_oldest();
        Pass { plan, board, shown: vec![0; oldest.len()], oldest }
    }

    fn meet(&mut self, key: &[u8], value: &[u8], newest: impl Fn(u32) -> u32) -> Checked<()> {
        let key = plan::key_of(key).filter(|key| (*key as usize) < self.shown.len());
        let key = key.ok_or("a key that nobody wrote")?;
        let shown = &mut self.shown[key as usize];
        *shown = shown.saturating_add(1);
        self.board.identify(key, self.oldest[key as usize], newest(key), Some(value)).map(drop)
    }

    /// Looks at what was not shown, and at what was shown more than once.
    fn end(self, newest: &[u32], may_show_twice: bool) -> Checked<u64> {
        for (key, (shown, newest)) in (0_u32..).zip(self.shown.iter().zip(newest)) {
            let oldest = self.oldest[key as usize];
            if *shown == 0 {
                self.board.is_there(key, oldest, *newest, false)?;
            }
            let was_deleted = (oldest..=*newest).any(|version| self.plan.len(key, version).is_none());
            if *shown > 1 && !(may_show_twice && was_deleted) {
                return Err(format!("key {key} is shown {shown} times, versions {oldest} to {newest}"));
            }
        }
        Ok(self.shown.len() as u64)
    }
}

/// `iter` shows one moment: that of the call.
pub(crate) fn iter(db: &Db, plan: Plan, board: &Board) -> Checked<u64> {
    let mut pass = Pass::begin(plan, board);
    let all = db.iter();
    let newest = board.all_newest();
    for pair in all {
        let (key, value) = told(pair)?;
        pass.meet(&key, &value, |key| newest[key as usize])?;
    }
    pass.end(&newest, false)
}

/// `for_each` shows what was there all the time; of what came or went meanwhile, it shows some state or none.
pub(crate) fn for_each(reader: &Reader, plan: Plan, board: &Board) -> Checked<u64> {
    let (mut pass, mut met) = (Pass::begin(plan, board), Ok(()));
    let passed = reader.for_each(|key, value| {
        met = pass.meet(key, value, |key| board.newest(key));
        if met.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    told(passed)?;
    met?;
    pass.end(&board.all_newest(), true)
}

/// While nobody writes: every way to read says what the models say. Returns how many keys it read.
pub(crate) fn everything(db: &Db, plan: Plan, board: &Board) -> Checked<u64> {
    let versions = board.all_oldest();
    let there = |key: u32| plan.len(key, versions[key as usize]).is_some();
    let live = (0..versions.len() as u32).filter(|key| there(*key)).count() as u64;
    if db.len() != live {
        return Err(format!("len is {}, {live} keys are there", db.len()));
    }
    let mut reader = db.reader();
    for first in (0..versions.len() as u32).step_by(1000) {
        let keys: Vec<u32> = (first..versions.len() as u32).take(1000).collect();
        let names: Vec<_> = keys.iter().copied().map(plan::name).collect();
        let mut met = Vec::new();
        reader.get_many(&names, |at, value| {
            let (key, version) = (keys[at], versions[keys[at] as usize]);
            met.push(told(value).and_then(|seen| board.identify(key, version, version, seen)));
        });
        let met = met.into_iter().collect::<Checked<Vec<_>>>()?;
        if met.len() != keys.len() {
            return Err(format!("get_many calls {} times for {} keys", met.len(), keys.len()));
        }
        for key in keys {
            let (way, version) = (Way::ALL[key as usize % 3], versions[key as usize]);
            way.read(db, &reader, &plan::name(key), |seen| board.identify(key, version, version, seen))??;
            let contains = told(db.contains_key(plan::name(key)))?;
            board.is_there(key, version, version, contains)?;
        }
        reader.refresh();
    }
    Ok(iter(db, plan, board)? + for_each(&reader, plan, board)? + 3 * versions.len() as u64)
}
