//! Whatever happens to a store of several keyspaces, it is what a few sorted maps are.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use crate::intervals::{Bounds, Pairs, bound, is_inverted, pairs};
use zipcask::sim::Random;
use zipcask::{
    Change, Compression, Db, Durability, Error, ErrorKind, Iter, Keyspace, KeyspaceOptions, Options, Range, ReadMode,
    Result, Snapshot, Transaction, Value,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// "default", two others in order, two in none.
const NAMES: [&str; 5] = ["default", "in order", "in order too", "in none", "in none either"];

#[derive(Clone, Default, PartialEq)]
struct Model(BTreeMap<usize, Map>);

fn is_ordered(which: usize) -> bool {
    which < 3
}

fn keyspace_options(which: usize) -> KeyspaceOptions {
    KeyspaceOptions::new().ordered(is_ordered(which)).value_align([8, 64, 8, 8, 4096][which])
}

fn options(seed: u64) -> Options {
    let mode = if seed % 3 == 2 { ReadMode::Positioned } else { ReadMode::Mmap };
    let compression = if seed % 4 == 3 { Compression::Deflate } else { Compression::None };
    let small = Options::new().durability(Durability::Os).segment_size(64 << 10).background(false);
    small.read_mode(mode).archive_compression(compression).default_keyspace(keyspace_options(0))
}

fn handle(db: &Db, which: usize) -> Keyspace {
    if which == 0 {
        let default: &Keyspace = db.as_ref();
        return default.clone();
    }
    db.keyspace_with(NAMES[which], keyspace_options(which)).unwrap()
}

/// Keys of few kinds of bytes, so that many begin alike, end in zeros, or are one the beginning of another.
fn key(random: &mut Random) -> Vec<u8> {
    let starts = [
        &b""[..],
        b"",
        b"\xff",
        b"\xff\xff",
        b"a common beginning/",
        b"eight by",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    let start = starts[random.below(starts.len())];
    let bytes = [0, 0, 1, b'a', 0xfe, 0xff];
    let rest = (0..random.below(4)).map(|_| bytes[random.below(6)]);
    let mut key: Vec<u8> = start.iter().copied().chain(rest).collect();
    if random.below(150) == 0 {
        let fill = [0, b'm', 0xff][random.below(3)];
        key.resize(65_535 - random.below(2), fill);
    }
    key
}

/// Some values have files of their own, unless they are to be small.
fn value(random: &mut Random, small: bool) -> Vec<u8> {
    let len = match random.below(2_000) {
        0 if !small => (1 << 20) + 1,
        1..20 if !small => 40_000,
        1..20 => 20_000,
        20..200 => 900,
        200..1_000 => 100,
        _ => random.below(9),
    };
    let mut value = vec![0; len];
    random.fill(&mut value);
    value
}

#[track_caller]
fn owned(pair: Result<(Value, Value)>, align: usize) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = pair.unwrap();
    assert!(
        value.is_empty() || (value.as_ptr() as usize).is_multiple_of(align),
        "{} bytes lie at no multiple of {align}",
        value.len()
    );
    (key.to_vec(), value.to_vec())
}

/// All that a scan shows, from both sides, and visited now and then.
#[track_caller]
fn shown(mut range: Range, random: &mut Random) -> Pairs {
    let (mut below, mut above) = (Vec::new(), Vec::new());
    let from = random.below(4);
    loop {
        if random.below(8) == 0 {
            let most = random.below(5);
            let mut count = 0;
            let visit = |key: &[u8], value: &[u8]| {
                below.push((key.to_vec(), value.to_vec()));
                count += 1;
                if count > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            range.visit(visit).unwrap();
            continue;
        }
        let is_below = from == 0 || from > 1 && random.below(from) == 0;
        let pair = if is_below { range.next() } else { range.next_back() };
        let Some(pair) = pair else { break };
        if is_below { &mut below } else { &mut above }.push(owned(pair, 8));
    }
    assert!(range.next().is_none() && range.next_back().is_none());
    below.extend(above.into_iter().rev());
    below
}

fn same(found: &Pairs, expected: &Pairs, what: &str) {
    let short = |pairs: &Pairs| {
        let text = |bytes: &[u8]| bytes[..bytes.len().min(24)].escape_ascii().to_string();
        pairs.iter().map(|(key, value)| format!("{} ({}): {}", text(key), key.len(), text(value))).collect::<Vec<_>>()
    };
    assert!(found == expected, "{what}\nfound {:#?}\nexpected {:#?}", short(found), short(expected));
}

/// Something that can be read: the store, a snapshot, a transaction.
trait Reads {
    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>>;
    fn contains(&self, keyspace: &Keyspace, key: &[u8]) -> Result<bool>;
    fn all(&self, keyspace: &Keyspace) -> Iter;
    fn range(&self, keyspace: &Keyspace, bounds: Bounds) -> Result<Range>;
    fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Result<Range>;
}

struct Now;

impl Reads for Now {
    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>> {
        keyspace.get(key)
    }
    fn contains(&self, keyspace: &Keyspace, key: &[u8]) -> Result<bool> {
        keyspace.contains_key(key)
    }
    fn all(&self, keyspace: &Keyspace) -> Iter {
        keyspace.iter()
    }
    fn range(&self, keyspace: &Keyspace, bounds: Bounds) -> Result<Range> {
        keyspace.range(bounds)
    }
    fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Result<Range> {
        keyspace.prefix(prefix)
    }
}

macro_rules! reads {
    ($of:ty) => {
        impl Reads for $of {
            fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>> {
                self.get(keyspace, key)
            }
            fn contains(&self, keyspace: &Keyspace, key: &[u8]) -> Result<bool> {
                self.contains_key(keyspace, key)
            }
            fn all(&self, keyspace: &Keyspace) -> Iter {
                self.iter(keyspace)
            }
            fn range(&self, keyspace: &Keyspace, bounds: Bounds) -> Result<Range> {
                self.range(keyspace, bounds)
            }
            fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Result<Range> {
                self.prefix(keyspace, prefix)
            }
        }
    };
}
reads!(Snapshot);
reads!(Transaction);

/// Checks one keyspace against its map.
fn check(reads: &impl Reads, keyspace: &Keyspace, which: usize, map: &Map, random: &mut Random, what: &str) {
    let what = format!("{what}, {:?}", NAMES[which]);
    let align = [8, 64, 8, 8, 4096][which];
    let all = reads.all(keyspace).map(|pair| pair.unwrap_or_else(|error| panic!("{what}: {error}")));
    let mut all: Pairs = all.map(|pair| owned(Ok(pair), align)).collect();
    if !is_ordered(which) {
        all.sort();
    }
    same(&all, &pairs(map.iter()), &format!("{what}: all"));
    for _ in 0..6 {
        let key = match (random.below(2), map.len()) {
            (0, 1..) => map.keys().nth(random.below(map.len())).unwrap().clone(),
            _ => key(random),
        };
        let found = reads.get(keyspace, &key).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(found.as_deref() == map.get(&key).map(|value| &value[..]), "{what}: {}", key.escape_ascii());
        assert_eq!(
            reads.contains(keyspace, &key).unwrap_or_else(|error| panic!("{what}: {error}")),
            map.contains_key(&key),
            "{what}: {}",
            key.escape_ascii()
        );
    }
    if !is_ordered(which) {
        let refused = reads.range(keyspace, (Bound::Unbounded, Bound::Unbounded)).map_err(|error: Error| error.kind());
        assert_eq!(refused.err(), Some(ErrorKind::Invalid), "{what}");
        return;
    }
    for _ in 0..3 {
        let bounds = (bound(random, key), bound(random, key));
        let expected = if is_inverted(&bounds) { Vec::new() } else { pairs(map.range(bounds.clone())) };
        let found = shown(reads.range(keyspace, bounds.clone()).unwrap(), random);
        same(&found, &expected, &format!("{what}: {bounds:?}"));
        let begin = key(random);
        let expected = pairs(map.iter().filter(|(key, _)| key.starts_with(&begin)));
        same(&shown(reads.prefix(keyspace, &begin).unwrap(), random), &expected, &format!("{what}: {begin:?}.."));
    }
}

/// The store at some moment.
struct Past {
    snapshot: Snapshot,
    spaces: BTreeMap<usize, Keyspace>,
    model: Model,
    /// A scan that is under way, and what it is still to show.
    half: Option<(Range, Pairs, usize)>,
}

struct World {
    dir: tempfile::TempDir,
    db: Option<Db>,
    spaces: BTreeMap<usize, Keyspace>,
    model: Model,
    past: Vec<Past>,
    /// After each of the last batches.
    history: Vec<(u64, Model)>,
    random: Random,
    seed: u64,
    /// Numbers of backups.
    copies: usize,
    /// Every commit: its last seqno, and what it did.
    log: Vec<(u64, Vec<Write>)>,
    /// What the next entry of the log has.
    doing: Vec<Write>,
    follower: Db,
    /// Snapshots of the follower stay open. A large value would go from them, and a keyspace that is dropped is another test's.
    follows: bool,
    followed: Vec<(Snapshot, BTreeMap<usize, Keyspace>, Model)>,
}

type Write = (usize, Vec<u8>, Option<Vec<u8>>);

impl World {
    fn new(seed: u64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let db = options(seed).open(dir.path().join("store")).unwrap();
        let spaces = BTreeMap::from([(0, handle(&db, 0))]);
        let model = Model(BTreeMap::from([(0, Map::new())]));
        let random = Random::new(seed);
        let follower = options(seed).open_read_only(dir.path().join("store")).unwrap();
        World {
            dir,
            db: Some(db),
            spaces,
            model,
            past: Vec::new(),
            history: Vec::new(),
            random,
            seed,
            copies: 0,
            log: Vec::new(),
            doing: Vec::new(),
            follower,
            follows: seed.is_multiple_of(2),
            followed: Vec::new(),
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    /// One that is there.
    fn some(&mut self) -> (usize, Keyspace) {
        let (which, space) = self.spaces.iter().nth(self.random.below(self.spaces.len())).unwrap();
        (*which, space.clone())
    }

    fn map(&mut self, which: usize) -> &mut Map {
        self.model.0.get_mut(&which).unwrap()
    }

    fn note(&mut self) {
        let seqno = self.db().last_seqno().into();
        let doing = std::mem::take(&mut self.doing);
        // What changes nothing writes nothing.
        if !doing.is_empty() && self.log.last().is_none_or(|(last, _)| *last < seqno) {
            self.log.push((seqno, doing));
        }
        self.history.retain(|(other, _)| *other != seqno);
        self.history.push((seqno, self.model.clone()));
        if self.history.len() > 30 {
            self.history.remove(0);
        }
    }

    fn check_now(&mut self) {
        let names: Vec<String> = self.db().keyspaces();
        let mut expected: Vec<String> = self.spaces.keys().map(|which| NAMES[*which].to_owned()).collect();
        expected.sort();
        assert_eq!(names, expected);
        for (which, space) in &self.spaces {
            let map = &self.model.0[which];
            check(&Now, space, *which, map, &mut self.random, "now");
            assert_eq!(space.len(), map.len() as u64, "{which}");
            let (mut seen, reader) = (Pairs::new(), space.reader());
            reader
                .for_each(|key, value| {
                    seen.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                })
                .unwrap();
            seen.sort();
            same(&seen, &pairs(map.iter()), "for_each");
            let keys: Vec<_> = (0..20).map(|_| key(&mut self.random)).chain(map.keys().take(20).cloned()).collect();
            let mut found = vec![None; keys.len()];
            reader.get_many(&keys, |i, value| found[i] = value.unwrap().map(<[u8]>::to_vec));
            for (key, found) in keys.iter().zip(found) {
                assert!(found == map.get(key).cloned(), "get_many");
            }
        }
    }

    fn check_past(&mut self) {
        if self.past.is_empty() {
            return;
        }
        let at = self.random.below(self.past.len());
        let past = &mut self.past[at];
        for (which, space) in &past.spaces {
            check(&past.snapshot, space, *which, &past.model.0[which], &mut self.random, "then");
        }
        if let Some((range, rest, which)) = &mut past.half {
            for _ in 0..self.random.below(4) {
                let is_below = self.random.below(2) == 0;
                let pair = if is_below { range.next() } else { range.next_back() };
                let expected =
                    if rest.is_empty() { None } else { Some(rest.remove(if is_below { 0 } else { rest.len() - 1 })) };
                assert!(pair.map(|pair| owned(pair, 8)) == expected, "a scan under way of {which}");
            }
        }
    }

    fn open_past(&mut self) {
        let snapshot = self.db().snapshot();
        let (which, space) = self.some();
        let half = is_ordered(which).then(|| {
            let bounds = (bound(&mut self.random, key), bound(&mut self.random, key));
            let map = &self.model.0[&which];
            let rest = if is_inverted(&bounds) { Vec::new() } else { pairs(map.range(bounds.clone())) };
            (space.range(bounds).unwrap(), rest, which)
        });
        self.past.push(Past { snapshot, spaces: self.spaces.clone(), model: self.model.clone(), half });
    }

    fn write(&mut self) {
        let (which, space) = self.some();
        let key = key(&mut self.random);
        match self.random.below(8) {
            0 | 1 => {
                assert_eq!(space.delete(&key).unwrap(), self.map(which).contains_key(&key));
                self.set(which, key, None);
            }
            2 => {
                let (now, new) = (self.map(which).get(&key).cloned(), value(&mut self.random, self.follows));
                let to = if self.random.below(3) == 0 { None } else { Some(new) };
                let found = space.update(&key, |was| {
                    assert!(was == now.as_deref());
                    to.clone()
                });
                assert!(found.unwrap().as_deref() == to.as_deref());
                self.set(which, key, to);
            }
            3 => {
                let (now, new) = (self.map(which).get(&key).cloned(), value(&mut self.random, self.follows));
                assert!(!space.compare_and_swap(&key, Some(b"no value is this"), Some(b"x")).unwrap());
                assert!(space.compare_and_swap(&key, now.as_deref(), Some(&new)).unwrap());
                self.set(which, key, Some(new));
            }
            _ => {
                let value = value(&mut self.random, self.follows);
                space.put(&key, &value).unwrap();
                self.set(which, key, Some(value));
            }
        }
        self.note();
    }

    fn set(&mut self, which: usize, key: Vec<u8>, to: Option<Vec<u8>>) {
        self.doing.push((which, key.clone(), to.clone()));
        match to {
            Some(value) => drop(self.map(which).insert(key, value)),
            None => drop(self.map(which).remove(&key)),
        }
    }

    fn batch(&mut self) {
        let mut batch = self.db().batch();
        for _ in 0..self.random.below(40) {
            let (which, space) = self.some();
            let (key, value) = (key(&mut self.random), value(&mut self.random, self.follows));
            if self.random.below(3) == 0 {
                batch.delete(&space, &key);
                self.set(which, key, None);
            } else {
                batch.put(&space, &key, &value);
                self.set(which, key, Some(value));
            }
        }
        batch.commit().unwrap();
        self.note();
    }

    fn transaction(&mut self) {
        let (mut transaction, before) = (self.db().begin(), self.model.clone());
        let mut passed = false;
        for _ in 0..self.random.below(12) {
            let (which, space) = self.some();
            let (key, value) = (key(&mut self.random), value(&mut self.random, self.follows));
            match self.random.below(5) {
                0 => {
                    let there = transaction.delete(&space, &key).unwrap();
                    assert_eq!(there, self.map(which).contains_key(&key));
                    self.set(which, key, None);
                }
                1 => {
                    let (map, random) = (&self.model.0[&which], &mut self.random);
                    check(&transaction, &space, which, map, random, "in a transaction");
                    passed = true;
                }
                2 => {
                    let found = transaction.get(&space, &key).unwrap();
                    assert!(found.as_deref() == self.map(which).get(&key).map(|value| &value[..]));
                }
                _ => {
                    transaction.put(&space, &key, &value).unwrap();
                    self.set(which, key, Some(value));
                }
            }
        }
        let end = self.random.below(4);
        if end == 0 {
            self.model = before;
            self.doing.clear();
            return;
        }
        if end == 1 && !passed {
            // Somebody else writes what nobody looked at.
            let (which, space) = self.some();
            let key = b"nobody looks at this".to_vec();
            let seqno = space.put(&key, "x").unwrap();
            self.map(which).insert(key.clone(), b"x".to_vec());
            self.log.push((seqno.into(), vec![(which, key, Some(b"x".to_vec()))]));
        }
        transaction.commit().unwrap();
        self.note();
    }

    fn keyspaces(&mut self) {
        let which = 1 + self.random.below(NAMES.len() - 1);
        match self.spaces.get(&which).cloned() {
            None => {
                let space = handle(self.db(), which);
                self.spaces.insert(which, space);
                self.model.0.insert(which, Map::new());
            }
            Some(space) if !self.follows && self.random.below(2) == 0 => {
                assert!(self.db().drop_keyspace(NAMES[which]).unwrap());
                assert!(!self.db().drop_keyspace(NAMES[which]).unwrap());
                self.spaces.remove(&which);
                self.model.0.remove(&which);
                assert_eq!(space.get("a").unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(space.len(), 0);
            }
            Some(space) => {
                space.clear().unwrap();
                self.map(which).clear();
            }
        }
        if self.random.below(6) == 0 {
            self.db().as_ref().clear().unwrap();
            self.map(0).clear();
        }
        self.note();
    }

    fn reopen(&mut self) {
        self.past.clear();
        self.spaces.clear();
        self.db.take().unwrap().close().unwrap();
        self.db = Some(options(self.seed).open(self.dir.path().join("store")).unwrap());
        let which: Vec<usize> = self.model.0.keys().copied().collect();
        self.spaces = which.into_iter().map(|which| (which, handle(self.db(), which))).collect();
        self.check_now();
    }

    /// Checks a copy, which is opened for reading only.
    fn check_copy(&mut self, dir: &Path, model: &Model, what: &str) {
        let copy = options(self.seed).open_read_only(dir).unwrap();
        let mut expected: Vec<String> = model.0.keys().map(|which| NAMES[*which].to_owned()).collect();
        expected.sort();
        assert_eq!(copy.keyspaces(), expected, "{what}");
        for (which, map) in &model.0 {
            let space = copy.keyspace(NAMES[*which]).unwrap();
            check(&Now, &space, *which, map, &mut self.random, what);
            assert_eq!(space.len(), map.len() as u64, "{what}");
        }
        assert!(copy.verify().unwrap().is_clean());
    }

    fn backup(&mut self) {
        let dir = self.dir.path().join(format!("copy {}", self.copies / 3));
        self.copies += 1;
        let seqno = self.db().backup(&dir).unwrap().seqno;
        assert_eq!(seqno, self.db().last_seqno());
        let model = self.model.clone();
        self.check_copy(&dir, &model, "a backup");
        let back = self.dir.path().join(format!("back {}", self.copies));
        if let Some((seqno, model)) = self.history.get(self.random.below(self.history.len().max(1))).cloned() {
            match Db::restore(&dir, &back, Some(seqno.into())) {
                Ok(_) => self.check_copy(&back, &model, &format!("restored as of {seqno}")),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid),
            }
        }
        let _ = std::fs::remove_dir_all(back);
    }

    /// Checks the feed from somewhere on.
    fn feed(&mut self) {
        let last: u64 = self.db().last_seqno().into();
        let from = 1 + self.random.below(last as usize + 1) as u64;
        let tail = match self.db().tail(from.into()) {
            Ok(tail) => tail,
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Invalid),
        };
        let mut expected = self.log.iter().filter(|(seqno, _)| *seqno >= from);
        for batch in tail {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                    return;
                }
            };
            // Of commits that deleted nothing there may be no batch.
            let (_, writes) = loop {
                let entry = expected.next().expect("the feed has no more than was written");
                if entry.0 == u64::from(batch.seqno()) {
                    break entry;
                }
                let nothing = entry.1.iter().all(|(_, _, value)| value.is_none());
                assert!(nothing && entry.0 < batch.seqno().into(), "{} is missing before {}", entry.0, batch.seqno());
            };
            let mut last: BTreeMap<(usize, &[u8]), &Option<Vec<u8>>> = BTreeMap::new();
            last.extend(writes.iter().map(|(which, key, value)| ((*which, &key[..]), value)));
            for change in batch.changes() {
                let is_it =
                    |(_, key, value): &Write| *key == *change.key && value.as_deref() == change.value.as_deref();
                assert!(writes.iter().any(is_it), "batch {} of the feed from {from}", batch.seqno());
            }
            for ((_, key), value) in last.into_iter().filter(|(_, value)| value.is_some()) {
                let is_it = |change: &Change| *change.key == *key && change.value.as_deref() == value.as_deref();
                assert!(batch.changes().iter().any(is_it), "batch {} of the feed from {from}", batch.seqno());
            }
        }
        let rest = expected.filter(|(_, writes)| writes.iter().any(|(_, _, value)| value.is_some()));
        assert_eq!(rest.map(|(seqno, _)| *seqno).collect::<Vec<_>>(), [0_u64; 0], "the feed from {from} to {last}");
    }

    /// Checks a handle for reading only that follows.
    fn follow(&mut self) {
        if self.random.below(2) == 0 {
            self.follower.refresh().unwrap();
            let mut expected: Vec<String> = self.model.0.keys().map(|which| NAMES[*which].to_owned()).collect();
            expected.sort();
            assert_eq!(self.follower.keyspaces(), expected);
            let mut spaces = BTreeMap::new();
            for (which, map) in &self.model.0 {
                let space = self.follower.keyspace(NAMES[*which]).unwrap();
                check(&Now, &space, *which, map, &mut self.random, "followed");
                assert_eq!(space.len(), map.len() as u64, "followed");
                assert_eq!(space.put("a", "b").unwrap_err().kind(), ErrorKind::ReadOnly);
                spaces.insert(*which, space);
            }
            if self.follows {
                self.followed.push((self.follower.snapshot(), spaces, self.model.clone()));
            }
            if self.followed.len() > 3 {
                self.followed.remove(0);
            }
        }
        for (then, spaces, model) in &self.followed {
            for (which, space) in spaces {
                check(then, space, *which, &model.0[which], &mut self.random, "followed then");
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..6 => drop(self.db().compact().unwrap()),
            6..12 => drop(self.db().archive().unwrap()),
            12..20 => self.db().seal().unwrap(),
            20..24 => self.db().checkpoint().unwrap(),
            24..27 => self.reopen(),
            27..47 => self.check_now(),
            47..57 if self.past.len() < 4 => self.open_past(),
            57..90 => self.check_past(),
            90..96 => self.past.clear(),
            96..100 => self.backup(),
            100..115 => self.keyspaces(),
            115..160 => self.batch(),
            160..190 => self.transaction(),
            190..200 => self.feed(),
            200..210 => self.follow(),
            _ => self.write(),
        }
    }
}

#[test]
fn a_store_is_what_sorted_maps_are() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("ZIPCASK_SEED").unwrap_or(1), number("ZIPCASK_MODEL_HISTORIES").unwrap_or(12));
    for seed in first..first + count {
        println!("seed {seed}");
        let mut world = World::new(seed);
        (0..1_500).for_each(|_| world.step());
        world.check_now();
        world.reopen();
    }
    crate::report::report(&format!("models: {count} histories of 1500 steps, 0 differences (from seed {first})"));
}
