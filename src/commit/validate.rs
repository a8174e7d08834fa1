//! Which members of a group are written: those whose rule and conditions hold, after what the members before them do.
//!
//! Floor 4. Imports `commit`, `error`, `format`, `reclaim`, `store`.

use std::collections::HashMap;

use crate::commit::batch::{Condition, Entry, Rule, key_of};
use crate::commit::group::Done;
use crate::commit::queue::Share;
use crate::error::Result;
use crate::format::record::Kind;
use crate::reclaim::pin::Pin;
use crate::store::Store;

/// What the members that stay say of keys, each by whether it is there then. What they do not is the index's to say.
pub(super) struct Said<'s> {
    store: &'s Store,
    present: HashMap<Vec<u8>, bool>,
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

impl<'s> Said<'s> {
    pub(super) fn new(store: &'s Store) -> Said<'s> {
        Said { store, present: HashMap::new() }
    }

    /// Whether the member leaves; else what it says counts for those behind it.
    pub(super) fn judge(&mut self, claim: &Claim<'_>) -> Option<Refused> {
        let refused = self.rule_broken(claim).transpose().or_else(|| self.condition_broken(claim).transpose());
        if let Some(outcome) = refused {
            let rests = matches!(outcome, Ok(Done::NotPresent)) && self.present.contains_key(key_of(claim.records));
            return Some(Refused { outcome, provisional: rests });
        }
        let mut record = claim.records;
        for entry in claim.entries {
            self.present.insert(key_of(record).to_vec(), entry.kind != Kind::Delete);
            record = &record[entry.len..];
        }
        None
    }

    fn rule_broken(&self, claim: &Claim<'_>) -> Result<Option<Done>> {
        if claim.share.rule == Rule::Always {
            return Ok(None);
        }
        let Some(entry) = claim.entries.first() else { return Ok(Some(Done::NotPresent)) };
        let key = key_of(claim.records);
        let present = match self.present.get(key) {
            Some(present) => *present,
            None => self.store.find(entry.hash, key, &Pin::new())?.is_some(),
        };
        Ok((!present).then_some(Done::NotPresent))
    }

    fn condition_broken(&self, claim: &Claim<'_>) -> Result<Option<Done>> {
        for condition in claim.conditions {
            let holds = match condition {
                // A member before may fail yet. Then this one was refused for nothing, and its writer looks again.
                Condition::Same { key, .. } if self.present.contains_key(&**key) => false,
                Condition::Same { hash, key, seqno } => self.store.seqno_of(*hash, key)? == *seqno,
                Condition::Unchanged { since } => self.present.is_empty() && self.store.watermark().visible() <= *since,
            };
            if !holds {
                return Ok(Some(Done::Conflict));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[cfg(not(any(zipcask_loom, zipcask_shuttle)))]
mod tests {
    use crate::address::Seqno;
    use crate::commit::batch::{Condition, Member, Records, Rule};
    use crate::commit::group::Done;
    use crate::commit::leader;
    use crate::commit::queue::Work;
    use crate::platform::memory::MemoryDisk;
    use crate::store::{Settings, open};
    use crate::sync::Arc;

    #[test]
    fn what_members_before_are_about_to_write_counts_as_a_change() {
        let store = open::open(Arc::new(MemoryDisk::new()), Settings::default()).unwrap();
        let member = |key: &[u8], condition: Option<Condition>| {
            let mut records = Records::new();
            records.put(store.hash(key), key, b"value").unwrap();
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
            Some(Condition::Same { hash, key, seqno: seqno.map(Seqno::from) })
        };
        let since = |seqno: u64| Some(Condition::Unchanged { since: seqno.into() });
        let (a, b) = (member(b"a", None), member(b"b", None));
        assert_eq!(write(&[a, member(b"c", same(b"b", None))]), [Done::Written(1), Done::Written(2)]);
        assert_eq!(write(&[b, member(b"d", same(b"b", None))]), [Done::Written(3), Done::Conflict]);
        assert_eq!(write(&[member(b"e", since(2))]), [Done::Conflict]);
        assert_eq!(write(&[member(b"f", since(3)), member(b"g", since(3))]), [Done::Written(4), Done::Conflict]);
    }
}
