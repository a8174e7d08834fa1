//! Writing one group: validate, cut, stamp, write, barrier, publish.
//!
//! Floor 4. Imports `address`, `commit`, `error`, `format`, `limits`, `platform`, `sabotage`, `segment`, `store`.

use std::ops::Range;

use crate::address::{Location, Seqno};
use crate::commit::batch::{Entry, key_of, value_of};
use crate::commit::group::Done;
use crate::commit::queue::{Share, Work};
use crate::commit::rotate;
use crate::commit::validate::{self, Claim, Refused, Said};
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::CatalogueRecord;
use crate::format::large::LargeValue;
use crate::format::record::{self, Header, Kind};
use crate::limits::{EXTENSION_LEN, SEQNO_MAX};
use crate::platform::Barrier;
use crate::sabotage::{Sabotage, planted};
use crate::segment::ReadMode;
use crate::segment::active::Active;
use crate::store::apply::{self, AHEAD, Change};
use crate::store::space::Finder;
use crate::store::{Log, Store};

/// Writes the group and says what became of each member.
///
/// Members whose rule does not hold leave before anything is written. The rest is written in as few pieces as segments
/// allow, each by one positioned write, in the order of the tickets; a piece becomes visible after the barrier that any
/// member of the group asked for (W1, W2), and if one fails, so do all that follow it.
pub(super) fn write(store: &Store, work: &mut Work) -> Vec<Result<Done>> {
    let guard = PoisonOnPanic(store);
    let mut log = store.log();
    let outcomes = Leader::new(store, &mut log, work).run();
    rotate::look_ahead(store, &mut log);
    drop(log);
    std::mem::forget(guard);
    outcomes
}

/// A leader that panics may have left the log halfway: nobody may write behind it.
struct PoisonOnPanic<'a>(&'a Store);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        self.0.poison(Error::new(ErrorKind::Io, "a writer panicked while it led a group"));
    }
}

struct Leader<'a> {
    store: &'a Store,
    log: &'a mut Log,
    work: &'a mut Work,
    /// What the most demanding member asked for.
    barrier: Option<Barrier>,
    /// Members answered by what members before them are about to do.
    provisional: Vec<usize>,
    /// Why there is no other segment: what is left of the group may only delete then, and goes into the reserve (W8).
    full: Option<Error>,
    outcomes: Vec<Option<Result<Done>>>,
}

/// Members to be written together: a run of the survivors, and where their records lie in the work.
struct Piece {
    /// Of the survivors.
    members: Range<usize>,
    entries: Range<usize>,
    bytes: Range<usize>,
}

/// How a key is changed.
struct Does {
    kind: Kind,
    /// Whether what is put has a time from which on it is no more.
    expires: bool,
}

/// What a record does.
enum Step<'r> {
    Change(Does, &'r Change<'r>),
    Catalogue(&'r CatalogueRecord<'r>),
    /// A put of a keyspace that is gone names a large value.
    Nobodys(Location, LargeValue),
}

impl<'a> Leader<'a> {
    fn new(store: &'a Store, log: &'a mut Log, work: &'a mut Work) -> Leader<'a> {
        let barrier = work.level();
        let outcomes = work.members.iter().map(|_| None).collect();
        Leader { store, log, work, barrier, provisional: Vec::new(), full: None, outcomes }
    }

    fn run(mut self) -> Vec<Result<Done>> {
        let everyone: Vec<usize> = (0..self.work.members.len()).collect();
        let always = self.work.members.iter().all(Share::always);
        let survivors = match always && !validate::may_come_too_late(self.store, &self.work.entries) {
            true => everyone,
            false => self.validate(&everyone, 0, EXTENSION_LEN),
        };
        let failure = self.check_writable().and_then(|()| self.write_all(&survivors)).err();
        if let Some(error) = &failure {
            for member in std::mem::take(&mut self.provisional) {
                self.outcomes[member] = Some(Err(error.clone()));
            }
        }
        // A group that found no space changed nothing for members that only asked for a barrier. And who is told that there
        // is nothing to delete relies on writes before that may not be durable yet.
        let covered = match &failure {
            Some(error) if self.store.check_poison().is_err() => Err(error.clone()),
            _ => self.cover(),
        };
        let last = Done::Written(self.log.last_seqno.into());
        let answer = |(outcome, share): (Option<Result<Done>>, &Share)| match (outcome, &failure) {
            (Some(Ok(Done::NotPresent)), _) if share.barrier.is_some() => covered.clone().map(|()| Done::NotPresent),
            (Some(outcome), _) => outcome,
            (None, Some(error)) if share.entry_count > 0 || share.seal => Err(error.clone()),
            (None, _) => covered.clone().map(|()| last),
        };
        self.outcomes.into_iter().zip(&self.work.members).map(answer).collect()
    }

    /// # Errors
    /// `Poisoned` after a failure, and if somebody removed the file LOCK: a group that is to be durable asks for it, since
    /// another process may have sealed the segment that it is about to be written to.
    fn check_writable(&self) -> Result<()> {
        self.store.check_poison()?;
        match self.barrier {
            Some(_) => self.store.check_lock().map_err(|error| self.poisoned(error)),
            None => Ok(()),
        }
    }

    /// The barrier alone, for everything written before.
    fn cover(&mut self) -> Result<()> {
        if let (Some(level), Some(active)) = (self.barrier, self.log.active.as_mut()) {
            // BARRIER: W1, for members whose answer is about writes of others.
            active.barrier(level).map_err(|error| self.poisoned(error))?;
        }
        self.settle(self.log.last_seqno)
    }

    /// Answers those of `members` whose rule or conditions do not hold, and closes the gaps that they leave. Returns those that stay.
    ///
    /// The members' records are all that the work has behind its first `entry` entries and `at` bytes, which go, too.
    fn validate(&mut self, members: &[usize], mut entry: usize, mut at: usize) -> Vec<usize> {
        let mut said = Said::new(self.store);
        let (mut survivors, mut entries, mut bytes) = (Vec::new(), Vec::new(), vec![0; EXTENSION_LEN]);
        for (i, share) in members.iter().map(|member| (*member, &self.work.members[*member])) {
            let (first, count) = share.conditions;
            let claim = Claim {
                share,
                entries: &self.work.entries[entry..entry + share.entry_count],
                records: &self.work.bytes[at..at + share.len],
                conditions: &self.work.conditions[first..first + count],
            };
            entry += share.entry_count;
            at += share.len;
            if self.full.is_some() && share.puts {
                continue;
            }
            if let Some(Refused { outcome, provisional }) = said.judge(&claim) {
                self.outcomes[i] = Some(outcome);
                if provisional {
                    self.provisional.push(i);
                }
                continue;
            }
            survivors.push(i);
            entries.extend_from_slice(claim.entries);
            bytes.extend_from_slice(claim.records);
        }
        self.work.entries = entries;
        self.work.bytes = bytes;
        survivors
    }

    /// Writes the survivors, piece by piece.
    fn write_all(&mut self, survivors: &[usize]) -> Result<()> {
        let shares: Vec<Share> = survivors.iter().map(|member| self.work.members[*member]).collect();
        let mut piece = Piece { members: 0..0, entries: 0..0, bytes: EXTENSION_LEN..EXTENSION_LEN };
        while piece.members.end < shares.len() {
            piece = cut(&shares, &piece, self.log.active.as_ref(), self.full.is_some());
            if piece.members.is_empty() {
                if let Some(full) = &self.full {
                    return Err(full.clone());
                }
                let share = shares[piece.members.end];
                match rotate::next(self.store, self.log, (share.len + EXTENSION_LEN) as u64) {
                    Err(full) if full.kind() == ErrorKind::NoSpace => {
                        return self.write_deletes(&survivors[piece.members.end..], &piece, full);
                    }
                    rotated => rotated?,
                }
                continue;
            }
            self.write_piece(&piece)?;
            let mut seqno = u64::from(self.log.last_seqno) - piece.entries.len() as u64;
            for i in piece.members.clone() {
                seqno += shares[i].entry_count as u64;
                // Who asked for a seal is told what becomes of that.
                if !shares[i].seal {
                    self.outcomes[survivors[i]] = Some(Ok(Done::Written(seqno)));
                }
            }
        }
        if shares.iter().any(|share| share.seal) {
            rotate::seal(self.store, self.log)?;
        }
        Ok(())
    }

    /// W8: there is no space for another segment. Of the members behind `written`, those that only delete go into the
    /// reserve of this one. They are judged anew: what they rested on may be a put that is not to be.
    ///
    /// # Errors
    /// `full` if anyone is left without room. Else as `write_all`.
    fn write_deletes(&mut self, rest: &[usize], written: &Piece, full: Error) -> Result<()> {
        self.full = Some(full.clone());
        let refused = rest.iter().any(|member| self.work.members[*member].puts);
        let deletes = self.validate(rest, written.entries.end, written.bytes.end);
        self.write_all(&deletes)?;
        if refused { Err(full) } else { Ok(()) }
    }

    /// One positioned write, one barrier, one publication.
    fn write_piece(&mut self, piece: &Piece) -> Result<()> {
        let (at, before) = (self.log.active.as_ref().map_or(0, |active| active.end()), self.log.last_seqno);
        // Comes while the system writes.
        self.prefetch(&self.work.entries[piece.entries.clone()]);
        let last_seqno = self.append(piece)?;
        if planted(Sabotage::PublishBeforeBarrier) {
            self.publish(piece, at)?;
            return self.settle(last_seqno);
        }
        if let Some(level) = self.barrier {
            let active = self.log.active.as_mut();
            // BARRIER: W1, W2. What any member asked for has happened before anyone sees the group.
            let done = active.map_or(Ok(()), |active| active.barrier(level));
            if let Err(error) = done {
                // W7: a failed group was never there.
                self.log.last_seqno = before;
                return Err(self.poisoned(error));
            }
        }
        self.publish(piece, at)?;
        self.settle(last_seqno)
    }

    /// Stamps the piece's records with seqnos and places, and writes them.
    fn append(&mut self, piece: &Piece) -> Result<Seqno> {
        let Some(active) = self.log.active.as_mut() else {
            return Ok(self.log.last_seqno);
        };
        let count = piece.entries.len() as u64;
        let before = u64::from(self.log.last_seqno);
        if count == 0 {
            return Ok(self.log.last_seqno);
        }
        if before + count > SEQNO_MAX {
            return Err(Error::new(ErrorKind::ResourceLimit, "no seqnos are left; copy the store into a new one"));
        }
        record::insert_horizon(&mut self.work.bytes, piece.bytes.start, active.durable());
        let start = piece.bytes.start - EXTENSION_LEN;
        let bytes = &mut self.work.bytes[start..piece.bytes.end];
        let (salt, end) = (active.segment().salt(), active.end());
        let (mut position, mut extension) = (0, EXTENSION_LEN);
        for (i, entry) in self.work.entries[piece.entries.clone()].iter().enumerate() {
            let seqno = Seqno::from(before + 1 + i as u64);
            record::stamp(&mut bytes[position..], seqno, salt, end + position as u64);
            position += entry.len + std::mem::take(&mut extension);
        }
        let last_seqno = Seqno::from(before + count);
        if let Err(error) = active.append(bytes, count, last_seqno) {
            return Err(self.failed_append(error));
        }
        self.log.last_seqno = last_seqno;
        Ok(last_seqno)
    }

    /// Makes the piece, which was written at `at`, readable, and puts it into the index (W2, W6).
    fn publish(&mut self, piece: &Piece, at: u64) -> Result<()> {
        let Some(active) = self.log.active.as_ref() else {
            return Ok(());
        };
        active.segment().tail().publish(active.end());
        let (registry, large) = (self.store.registry(), self.store.large());
        if self.store.settings().reading.mode == ReadMode::Positioned {
            // All or nothing: a device that fails a read here must not leave half a batch in the index.
            self.for_each_step(piece, at, |_, step| match step {
                Step::Change(_, change) => apply::check_readable(registry, change),
                Step::Catalogue(_) | Step::Nobodys(..) => Ok(()),
            })?;
        }
        let publication = self.store.begin_publication();
        let changed = self.for_each_step(piece, at, |seqno, step| match step {
            Step::Change(Does { kind, expires }, change) => {
                publication.keep(change, seqno)?;
                change.space.note_written(seqno);
                if expires {
                    change.space.note_expiring();
                }
                match kind {
                    Kind::Delete => apply::index_delete(registry, large, change),
                    _ => apply::index_put(registry, large, change),
                }
            }
            Step::Nobodys(at, value) => {
                apply::name_nobodys(registry, large, at, Some(value));
                Ok(())
            }
            Step::Catalogue(record) => {
                self.store.spaces().apply(record, seqno, |id| {
                    apply::forget_space(registry, large, id);
                    publication.shown()
                });
                Ok(())
            }
        });
        changed.inspect_err(|error| self.store.set_between(Some(error.clone())))?;
        self.store.watermark().show(self.log.last_seqno);
        drop(publication);
        let large = self.work.entries[piece.entries.clone()].iter().any(|entry| entry.kind == Kind::PutLarge);
        if large {
            let mut bytes = 0;
            self.for_each_step(piece, at, |_, step| {
                if let Step::Change(_, change) = step {
                    bytes += change.large.map_or(0, |large| large.len);
                }
                Ok(())
            })?;
            self.log.large_bytes += bytes;
        }
        Ok(())
    }

    /// Asks for what bringing the first of these into the index will look at.
    fn prefetch(&self, entries: &[Entry]) {
        let hashes = entries.iter().take(AHEAD).map(|entry| (entry.keyspace, entry.hash));
        apply::prefetch_all(self.store.registry(), self.store.spaces(), hashes);
    }

    /// Calls `f` with what each record of the piece, which was written at `at`, does to the index, and its seqno. What is of a
    /// keyspace that was dropped does nothing.
    fn for_each_step(&self, piece: &Piece, at: u64, mut f: impl FnMut(Seqno, Step<'_>) -> Result<()>) -> Result<()> {
        let Some(active) = self.log.active.as_ref() else {
            return Ok(());
        };
        let bytes = &self.work.bytes[piece.bytes.start - EXTENSION_LEN..piece.bytes.end];
        let (mut position, mut extension) = (0, EXTENSION_LEN);
        let entries = &self.work.entries[piece.entries.clone()];
        let (first, mut finder) =
            (u64::from(self.log.last_seqno) - entries.len() as u64 + 1, Finder::new(self.store.spaces()));
        for (i, entry) in entries.iter().enumerate() {
            if i % AHEAD == 0 && i > 0 {
                self.prefetch(&entries[i..]);
            }
            let len = entry.len + std::mem::take(&mut extension);
            let (record, seqno) = (&bytes[position..], Seqno::from(first + i as u64));
            let location = Location::new(active.segment().place(), at + position as u64);
            position += len;
            let done = if entry.kind.is_catalogue() {
                match CatalogueRecord::of(entry.kind, entry.keyspace, value_of(record)) {
                    Ok(said) => f(seqno, Step::Catalogue(&said)),
                    Err(_) => unreachable!("what the catalogue encoded it decodes"),
                }
            } else if let Some(space) = finder.get(entry.keyspace) {
                let large = if entry.kind == Kind::PutLarge { large_of(record) } else { None };
                let (hash, key) = (entry.hash, key_of(record));
                let does = Does { kind: entry.kind, expires: entry.expires };
                f(seqno, Step::Change(does, &Change { space, hash, key, location, len: len as u64, large }))
            } else if let Some(large) = large_of(record).filter(|_| entry.kind == Kind::PutLarge) {
                f(seqno, Step::Nobodys(location, large))
            } else {
                Ok(())
            };
            done.map_err(|error| self.poisoned(error))?;
        }
        Ok(())
    }

    /// Says how far the log is durable.
    fn settle(&mut self, last_seqno: Seqno) -> Result<()> {
        if planted(Sabotage::PublishBeforeBarrier)
            && let (Some(level), Some(active)) = (self.barrier, self.log.active.as_mut())
        {
            // BARRIER: too late, on purpose.
            active.barrier(level)?;
        }
        if self.log.active.as_ref().is_none_or(|active| active.durable() == active.end()) {
            self.store.watermark().settle(last_seqno);
        }
        Ok(())
    }

    /// W8: lack of space closes the segment at its tail, and the next write starts another. Anything else is W4.
    fn failed_append(&mut self, error: Error) -> Error {
        if error.kind() == ErrorKind::NoSpace {
            let sealed = rotate::seal(self.store, self.log);
            let active = self.log.active.as_mut();
            return match (sealed, active) {
                (Ok(()), _) => error,
                // Nothing vouches for the end yet, so what was written behind it must not look like records.
                (Err(full), Some(active)) if full.kind() == ErrorKind::NoSpace => match active.disown() {
                    Ok(()) => error,
                    Err(worse) => self.poisoned(worse),
                },
                (Err(worse), _) => worse,
            };
        }
        self.poisoned(error)
    }

    fn poisoned(&self, error: Error) -> Error {
        self.store.poison(error.clone());
        error
    }
}

/// As many members after `last` as fit into the active segment; none if the first does not. The reserve is left free, but
/// by a member that has the segment to itself.
fn cut(shares: &[Share], last: &Piece, active: Option<&Active>, into_reserve: bool) -> Piece {
    let (room, reserve) = active.map_or((0, 0), |active| (active.room(), active.reserve()));
    let alone = active.is_some_and(Active::is_empty);
    let mut piece = Piece {
        members: last.members.end..last.members.end,
        entries: last.entries.end..last.entries.end,
        bytes: last.bytes.end..last.bytes.end,
    };
    for share in &shares[last.members.end..] {
        let end = piece.bytes.end + share.len;
        let len = end - piece.bytes.start + EXTENSION_LEN;
        let kept = if into_reserve || alone && piece.bytes.is_empty() { 0 } else { reserve };
        if share.len > 0 && len as u64 > room.saturating_sub(kept) {
            break;
        }
        piece.members.end += 1;
        piece.entries.end += share.entry_count;
        piece.bytes.end = end;
    }
    piece
}

/// The large value that the encoded record at the start of `record` names.
fn large_of(record: &[u8]) -> Option<LargeValue> {
    let value = Header::decode(record).map(|header| header.value());
    value.and_then(|at| LargeValue::decode(&record[at.start as usize..at.end as usize])).ok()
}

#[cfg(all(test, feature = "sim"))]
#[path = "leader_tests.rs"]
mod tests;
