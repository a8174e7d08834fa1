//! Which members of a group are written: those whose rule and conditions hold, after what the members before them do.
//!
//! Floor 4. Imports `address`, `commit`, `error`, `format`, `limits`, `reclaim`, `sabotage`, `store`.

use std::collections::{HashMap, HashSet};

use crate::address::Seqno;
use crate::commit::batch::{Condition, Entry, Rule, key_of};
use crate::commit::group::Done;
use crate::commit::queue::Share;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Kind;
use crate::limits::DEFAULT_KEYSPACE;
use crate::reclaim::pin::Pin;
use crate::sabotage::{Sabotage, planted};
use crate::store::Store;
use crate::store::range::{self, Bounds};

/// Changes behind open moments that are looked through, some milliseconds; if there are more, any may be one that matters.
const CHANGES_MAX: u64 = 1 << 17;

/// What the members that stay say of keys, each by whether it is there then. What they do not is the index's to say.
pub(super) struct Said<'s> {
    store: &'s Store,
    present: HashMap<(u16, Vec<u8>), bool>,
    /// Keyspaces that they clear or drop: what is not among `present` is not there then.
    emptied: HashSet<u16>,
    /// Those of them that they drop.
    dropped: HashSet<u16>,
}

/// Why a member leaves.
pub(super) struct Refused {
    pub(super) outcome: Result<Done>,
    /// The outcome rests on members before this one.
    pub(super) provisional: bool,
}

/// A member's records, encoded, and what must hold for them.
pub(super) struct Claim<'w> {
    pub(super) share: &'w Share,
    pub(super) entries: &'w [Entry],
    pub(super) records: &'w [u8],
    pub(super) conditions: &'w [Condition],
}

/// Whether records of a group may be of a keyspace that is gone when they are written.
pub(super) fn may_come_too_late(store: &Store, entries: &[Entry]) -> bool {
    let drops = entries.len() > 1 && entries.iter().any(|entry| entry.kind == Kind::KeyspaceDrop);
    drops || gone(store, entries, &HashSet::new()).is_some()
}

/// A keyspace that these records are of, and that is not there, or that is dropped before them.
fn gone(store: &Store, entries: &[Entry], dropped: &HashSet<u16>) -> Option<u16> {
    let mut last = DEFAULT_KEYSPACE;
    let written = entries.iter().filter(|entry| !entry.kind.is_catalogue()).map(|entry| entry.keyspace);
    // Mostly it is the same one again.
    let mut others = written.filter(|id| std::mem::replace(&mut last, *id) != *id && *id != DEFAULT_KEYSPACE);
    others.find(|id| dropped.contains(id) || store.spaces().get(*id).is_none())
}

impl<'s> Said<'s> {
    pub(super) fn new(store: &'s Store) -> Said<'s> {
        Said { store, present: HashMap::new(), emptied: HashSet::new(), dropped: HashSet::new() }
    }

    /// Whether the member leaves; else what it says counts for those behind it.
    pub(super) fn judge(&mut self, claim: &Claim<'_>) -> Option<Refused> {
        if let Some(keyspace) = gone(self.store, claim.entries, &self.dropped) {
            let text = "the keyspace of a write was dropped before it was committed; nothing of the batch was written";
            let outcome = Err(Error::new(ErrorKind::NotFound, text));
            return Some(Refused { outcome, provisional: self.dropped.contains(&keyspace) });
        }
        let refused = self.rule_broken(claim).transpose().or_else(|| self.condition_broken(claim).transpose());
        if let Some(outcome) = refused {
            let rests = matches!(outcome, Ok(Done::NotPresent))
                && claim
                    .entries
                    .first()
                    .is_some_and(|entry| self.said(entry.keyspace, key_of(claim.records)).is_some());
            return Some(Refused { outcome, provisional: rests });
        }
        let mut record = claim.records;
        for entry in claim.entries {
            match entry.kind {
                Kind::KeyspaceClear | Kind::KeyspaceDrop => {
                    if entry.kind == Kind::KeyspaceDrop {
                        self.dropped.insert(entry.keyspace);
                    }
                    self.present.retain(|(keyspace, _), _| *keyspace != entry.keyspace);
                    self.emptied.insert(entry.keyspace);
                }
                kind if kind.is_catalogue() => {}
                kind => {
                    self.present.insert((entry.keyspace, key_of(record).to_vec()), kind != Kind::Delete);
                }
            }
            record = &record[entry.len..];
        }
        None
    }

    /// Whether the key is there by what the members say of it, if they say anything.
    fn said(&self, keyspace: u16, key: &[u8]) -> Option<bool> {
        let said = (!self.present.is_empty()).then(|| self.present.get(&(keyspace, key.to_vec())).copied()).flatten();
        said.or_else(|| self.emptied.contains(&keyspace).then_some(false))
    }

    fn rule_broken(&self, claim: &Claim<'_>) -> Result<Option<Done>> {
        if claim.share.rule == Rule::Always {
            return Ok(None);
        }
        let Some(entry) = claim.entries.first() else { return Ok(Some(Done::NotPresent)) };
        let key = key_of(claim.records);
        let present = match (self.said(entry.keyspace, key), self.store.spaces().get(entry.keyspace)) {
            (Some(present), _) => present,
            (None, Some(space)) => self.store.find_live(&space, entry.hash, key, &Pin::new())?.is_some(),
            (None, None) => false,
        };
        Ok((!present).then_some(Done::NotPresent))
    }

    fn condition_broken(&self, claim: &Claim<'_>) -> Result<Option<Done>> {
        for condition in claim.conditions {
            if planted(Sabotage::ReadsUnvalidated) {
                continue;
            }
            let holds = match condition {
                // A member before may fail yet. Then this one was refused for nothing, and its writer looks again.
                Condition::Same { keyspace, key, .. } if self.said(*keyspace, key).is_some() => false,
                Condition::Same { keyspace, hash, key, seqno } => match self.store.spaces().get(*keyspace) {
                    Some(space) => self.store.seqno_of(&space, *hash, key)? == *seqno,
                    None => seqno.is_none(),
                },
                Condition::Unchanged { keyspace, within, since } => self.is_unchanged(*keyspace, within, *since),
            };
            if !holds {
                return Ok(Some(Done::Conflict));
            }
        }
        Ok(None)
    }

    /// Whether nothing of a keyspace within any of these bounds was written since a moment that is open, nor is by the members.
    fn is_unchanged(&self, keyspace: u16, within: &[Bounds], since: Seqno) -> bool {
        let is_within = |key: &[u8]| within.iter().any(|bounds| range::contains(bounds, key));
        let Some(space) = self.store.spaces().get(keyspace) else { return false };
        if self.emptied.contains(&keyspace) || space.floor() > since {
            return false;
        }
        if self.present.keys().any(|(of, key)| *of == keyspace && is_within(key)) {
            return false;
        }
        let versions = self.store.versions();
        space.written() <= since || versions.count() <= CHANGES_MAX && !versions.has_changed(keyspace, since, is_within)
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use std::ops::Bound;

    use crate::address::Seqno;
    use crate::commit::batch::{Condition, Member, Records, Rule};
    use crate::commit::group::Done;
    use crate::commit::leader;
    use crate::commit::queue::Work;
    use crate::error::ErrorKind;
    use crate::format::catalogue::{CatalogueRecord, KeyspaceCreate};
    use crate::platform::memory::MemoryDisk;
    use crate::store::{Settings, Store, open};
    use crate::sync::Arc;

    #[test]
    fn what_members_before_are_about_to_write_counts_as_a_change() {
        let store = open::open(Arc::new(MemoryDisk::new()), Settings::default()).unwrap();
        let member = |key: &[u8], condition: Option<Condition>| {
            let mut records = Records::new();
            records.put(0, store.hash(key), key, b"value").unwrap();
            condition.into_iter().for_each(|condition| records.require(condition));
            Member { records, rule: Rule::Always, barrier: None, seal: false }
        };
        let write = |members: &[Member]| {
            let mut work = Work::default();
            members.iter().for_each(|member| work.push(member));
            leader::write(&store, &mut work).into_iter().map(Result::unwrap).collect::<Vec<_>>()
        };
        let same = |key: &[u8], seqno: Option<u64>| {
            let (hash, key) = (store.hash(key), key.into());
            Some(Condition::Same { keyspace: 0, hash, key, seqno: seqno.map(Seqno::from) })
        };
        let since = |since: Seqno, from: &[u8]| {
            let within = vec![[Bound::Included(from.to_vec()), Bound::Unbounded]];
            Some(Condition::Unchanged { keyspace: 0, within, since })
        };
        let (a, b) = (member(b"a", None), member(b"b", None));
        assert_eq!(write(&[a, member(b"c", same(b"b", None))]), [Done::Written(1), Done::Written(2)]);
        assert_eq!(write(&[b, member(b"d", same(b"b", None))]), [Done::Written(3), Done::Conflict]);
        let third = store.open_moment().unwrap();
        let g = || member(b"g", since(third, b"f"));
        assert_eq!(write(&[member(b"f", since(third, b"a")), g()]), [Done::Written(4), Done::Conflict]);
        assert_eq!(write(&[g()]), [Done::Conflict], "it was written since");
        let fourth = store.open_moment().unwrap();
        assert_eq!(
            write(&[member(b"a", None), member(b"h", since(fourth, b"b"))]),
            [Done::Written(5), Done::Written(6)]
        );
        assert_eq!(write(&[member(b"i", since(fourth, b"i"))]), [Done::Written(7)], "what was written lies before");
        assert_eq!(write(&[member(b"j", since(fourth, b"h"))]), [Done::Conflict]);
    }

    /// What one writer brings: into which keyspace, and which key.
    enum Brings {
        Create(u16),
        Clear(u16),
        Drop(u16),
        Cursor,
        Put(u16, &'static [u8]),
        /// If it is there.
        Delete(u16, &'static [u8]),
    }
    use Brings::{Clear, Create, Cursor, Delete, Drop, Put};

    /// Writes the group, and says what each member was told: the last of its records, and no more of an error than its kind.
    fn write(store: &Store, group: &[Brings]) -> Vec<Result<Done, ErrorKind>> {
        let mut work = Work::default();
        for brings in group {
            let mut records = Records::new();
            let done = match brings {
                Create(id) => {
                    let name = &id.to_string();
                    let create = KeyspaceCreate { id: *id, name, ordered: false, value_align: 8, default_ttl_ms: None };
                    records.say(&CatalogueRecord::Create(create))
                }
                Clear(id) => records.say(&CatalogueRecord::Clear(*id)),
                Drop(id) => records.say(&CatalogueRecord::Drop(*id)),
                Cursor => records.say(&CatalogueRecord::Cursor { name: "cursor", seqno: Some(Seqno::from(1)) }),
                Put(id, key) => records.put(*id, store.hash(key), key, b"value"),
                Delete(id, key) => records.delete(*id, store.hash(key), key),
            };
            done.unwrap();
            let rule = if matches!(brings, Delete(..)) { Rule::IfPresent } else { Rule::Always };
            work.push(&Member { records, rule, barrier: None, seal: false });
        }
        leader::write(store, &mut work).into_iter().map(|told| told.map_err(|error| error.kind())).collect()
    }

    /// A store with the keyspaces 1 and 2, each said by one record.
    fn two_keyspaces() -> Store {
        let store = open::open(Arc::new(MemoryDisk::new()), Settings::default()).unwrap();
        assert_eq!(write(&store, &[Create(1)]), [Ok(Done::Written(1))]);
        assert_eq!(write(&store, &[Create(2)]), [Ok(Done::Written(2))]);
        store
    }

    #[test]
    fn a_write_to_a_keyspace_that_is_gone_is_refused_also_alone() {
        let store = two_keyspaces();
        assert_eq!(write(&store, &[Drop(1)]), [Ok(Done::Written(3))]);
        assert_eq!(write(&store, &[Put(1, b"a")]), [Err(ErrorKind::NotFound)]);
        assert_eq!(write(&store, &[Put(2, b"a"), Put(1, b"a")]), [Ok(Done::Written(4)), Err(ErrorKind::NotFound)]);
        assert_eq!(write(&store, &[Put(0, b"a")]), [Ok(Done::Written(5))]);
    }

    #[test]
    fn a_write_behind_the_drop_of_its_keyspace_in_the_same_group_is_refused() {
        let store = two_keyspaces();
        let told = write(&store, &[Put(1, b"a"), Drop(1), Put(1, b"b"), Put(2, b"c"), Put(0, b"d")]);
        let written = |seqno| Ok(Done::Written(seqno));
        assert_eq!(told, [written(3), written(4), Err(ErrorKind::NotFound), written(5), written(6)]);
        assert_eq!(write(&store, &[Drop(2), Put(2, b"c")]), [written(7), Err(ErrorKind::NotFound)]);
    }

    #[test]
    fn a_clearing_in_the_same_group_empties_its_keyspace_alone_and_takes_writes_behind_it() {
        let store = two_keyspaces();
        let group = [Put(1, b"a"), Put(2, b"b"), Clear(1), Delete(1, b"a"), Delete(2, b"b"), Put(1, b"c")];
        let written = |seqno| Ok(Done::Written(seqno));
        let gone = Ok(Done::NotPresent);
        assert_eq!(write(&store, &group), [written(3), written(4), written(5), gone, written(6), written(7)]);
        assert_eq!(write(&store, &[Delete(1, b"a"), Delete(2, b"b"), Delete(1, b"c")]), [gone, gone, written(8)]);
    }

    #[test]
    fn what_is_said_of_a_cursor_in_the_same_group_is_no_key() {
        let store = two_keyspaces();
        assert_eq!(write(&store, &[Cursor, Delete(0, b"")]), [Ok(Done::Written(3)), Ok(Done::NotPresent)]);
    }
}
