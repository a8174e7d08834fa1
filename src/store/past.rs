//! The store as it was at a moment that is being shown.
//!
//! Floor 3. Imports `address`, `error`, `index`, `reclaim`, `segment`, `store`, `sync`.

use crate::address::{Location, Seqno};
use crate::error::{Error, ErrorKind, Result};
use crate::index::table::{Found, Probe};
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::Segment;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::apply::Change;
use crate::store::moments::Keep;
use crate::store::pass::{self, Pass};
use crate::store::read::At;
use crate::store::space::{Past, Space};
use crate::store::versions::Was;
use crate::sync::plain::PoisonError;

/// A group on its way into the index. Dropped, it is visible, or nothing of it ever will be.
pub(crate) struct Publication<'s> {
    store: &'s Store,
    keep: Keep,
    /// Somebody waits for it.
    awaited: bool,
}

impl Publication<'_> {
    /// Before the index says the change, which is of this seqno: keeps what the key is now, if a snapshot shows that.
    ///
    /// # Errors
    /// `Io` in positioned mode.
    pub(crate) fn keep(&self, change: &Change<'_>, seqno: Seqno) -> Result<()> {
        if !self.keeps_any() {
            return Ok(());
        }
        let pin = Pin::new();
        let found = self.store.find(change.space, change.hash, change.key, &pin);
        match found.and_then(|at| at.map(|at| Ok((at.was(), at.seqno()?))).transpose()) {
            Ok(was) => self.store.versions().keep(self.keep, change.hash, change.full_key(), seqno, was),
            // What is damaged is kept by nobody: the snapshot has an error there.
            Err(error) if error.kind() == ErrorKind::Corruption => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Publication<'_> {
    /// The segments, if there are snapshots that show something of them.
    pub(crate) fn shown(&self) -> Option<Vec<Hold<Segment>>> {
        self.keeps_any().then(|| self.store.segments())
    }

    /// Whether there are snapshots to keep anything for.
    pub(super) fn keeps_any(&self) -> bool {
        self.keep != Keep::Nothing
    }

    /// The same for a key that only its place in `segment` is known of, which goes without a record that says so; `last` is the last of the log.
    pub(super) fn keep_gone(&self, segment: &Hold<Segment>, at: Location, last: Seqno) {
        let was = Was { segment: segment.clone(), offset: at.linear() - Location::start_of(segment.place()) };
        // What goes since its time has come goes without a write: it is there at the last one still, whose snapshots have a time of their own.
        let until = u64::from(last) + u64::from(segment.has_expired(was.offset, self.store.now_ms()));
        // What is damaged is kept by nobody.
        if self.keeps_any()
            && let (Ok(key), Ok(header)) = (segment.key(was.offset), segment.record(was.offset))
        {
            let hash = self.store.hash(&key);
            let key = (header.keyspace, &*key);
            self.store.versions().keep(self.keep, hash, key, until.into(), Some((was, header.seqno)));
        }
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        self.store.versions().moments.end_publication();
        if self.awaited {
            self.store.news().tell();
        }
    }
}

impl Store {
    /// For the one who changes the index: says that it does from here on.
    pub(crate) fn begin_publication(&self) -> Publication<'_> {
        let keep = self.versions().begin_publication();
        Publication { store: self, keep, awaited: self.news().is_awaited() }
    }

    /// A moment that is shown from here on (S1).
    ///
    /// # Errors
    /// That of the last refresh, or of the last group, if it failed half-way: nothing is of one moment then.
    pub(crate) fn open_moment(&self) -> Result<Seqno> {
        let moment = self.versions().moments.open(|| self.watermark().visible());
        // Looked at when no refresh is under way any more.
        let between = self.between.lock().unwrap_or_else(PoisonError::into_inner).clone();
        between.map_or(Ok(moment), |error| {
            self.close_moment(moment);
            Err(error)
        })
    }

    /// Which log it is that is shown, of those that were followed one after the other.
    pub(crate) fn era(&self) -> u64 {
        if self.is_read_only() { *self.era.lock().unwrap_or_else(PoisonError::into_inner) } else { 0 }
    }

    /// The log is about to be read anew, and may say something else.
    pub(super) fn begin_era(&self) {
        // First, and under a lock: who has met anything of the new log, or misses what goes here, sees afterwards that it is another.
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        // Nobody asks for what was kept for moments of the last one any more, and of the new one it says nothing.
        self.versions().forget();
        self.spaces().forget_past();
    }

    /// What is in the index is of no one moment, and why; or is again.
    pub(crate) fn set_between(&self, why: Option<Error>) {
        *self.between.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(crate) fn close_moment(&self, moment: Seqno) {
        self.versions().close(moment);
        self.spaces().retain_past(self.versions().moments.count().1);
    }

    /// The key's record at a moment that is open, and when that was written.
    ///
    /// # Errors
    /// As `find`.
    pub(crate) fn was_at(&self, space: &Space, key: &[u8], moment: Seqno) -> Result<Option<(Was, Seqno)>> {
        let (hash, pin) = (self.hash(key), Pin::new());
        let found = self.find(space, hash, key, &pin)?;
        let found = found.map(|at| Ok::<_, Error>((at.was(), at.seqno()?))).transpose()?;
        // Looked at behind the table: who found the new one of a keyspace that was cleared meanwhile sees that.
        let found = match moment < space.floor() {
            true => space.past(moment).map(|past| was_in(&past, space.id(), hash, key, &pin)).transpose()?.flatten(),
            false => found,
        };
        match found {
            Some((was, seqno)) if seqno <= moment => return Ok(Some((was, seqno))),
            _ => {}
        }
        match (self.versions().at(hash, (space.id(), key), moment), found) {
            (Some(None), _) | (None, None) => Ok(None),
            (Some(Some(was)), _) => {
                let seqno = was.segment.record(was.offset)?.seqno;
                Ok(Some((was, seqno)))
            }
            (None, Some((was, _))) => Err(not_kept(&was)),
        }
    }

    /// Whether a record that stays was no more at that time.
    ///
    /// # Errors
    /// As `find`.
    pub(crate) fn has_expired(&self, was: &Was, time_ms: u64) -> Result<bool> {
        Ok(was.segment.expiry(was.offset)?.is_some_and(|expiry| expiry <= time_ms))
    }

    /// The value of a record that stays.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) fn value_of(&self, was: &Was) -> Result<Value> {
        pass::pair(&was.segment, was.offset, self.large()).map(|(_, value)| value)
    }

    /// All that was there in a keyspace at a moment that is open.
    pub(crate) fn pass_at(&self, space: &Space, moment: Seqno, time_ms: u64) -> PastPass {
        // Nobody publishes while the log is held: what is in the index is not in the versions as well.
        let _log = self.log();
        let changed = self.versions().all_at(space.id(), moment).into_iter();
        let since = (moment < self.watermark().visible()).then_some(moment);
        let pass = match moment < space.floor() {
            true => Pass::of_past(self, space.past(moment).as_deref()),
            false => Pass::new(self, space),
        };
        let pass = pass.at(time_ms);
        PastPass { pass, since, changed }
    }
}

/// What a keyspace that was cleared had of a key.
fn was_in(past: &Past, keyspace: u16, hash: u64, key: &[u8], pin: &Pin) -> Result<Option<(Was, Seqno)>> {
    let mut failure = None;
    let found = past.table.get(hash, pin, |at| {
        let Some((segment, offset)) = past.resolve(at) else { return Probe::Gone };
        match segment.header_of(offset, keyspace, key) {
            Ok(Some(header)) => Probe::Same((Was { segment: segment.clone(), offset }, header.seqno)),
            Ok(None) => Probe::Other,
            Err(error) => {
                failure = Some(error);
                Probe::Unreadable
            }
        }
    });
    match found {
        Found::At(found) => Ok(Some(found)),
        _ => failure.map_or(Ok(None), Err),
    }
}

impl At<'_> {
    /// The record, to be kept.
    pub(crate) fn was(&self) -> Was {
        Was { segment: self.segment.hold(), offset: self.offset() }
    }
}

/// What the key was is damaged, and was when it was replaced.
#[cold]
fn not_kept(at: &Was) -> Error {
    let what = "the record that this one replaced was damaged, so what the key was is not known";
    Error::corruption(at.segment.path(), at.offset, what)
}

/// All keys and values of a moment.
pub(crate) struct PastPass {
    pass: Pass,
    /// What is newer is none of it; `None` if nothing is.
    since: Option<Seqno>,
    /// What is not in the index any more.
    changed: std::vec::IntoIter<Was>,
}

impl PastPass {
    /// The next; nothing after the last.
    pub(crate) fn next_pair(&mut self) -> Option<Result<(Value, Value)>> {
        let pair = match self.since {
            None => self.pass.next_pair(),
            Some(moment) => self.pass.next_pair_until(moment),
        };
        pair.or_else(|| {
            let time = self.pass.time_ms();
            let was = self.changed.find(|was| !was.segment.has_expired(was.offset, time))?;
            Some(pass::pair(&was.segment, was.offset, self.pass.large()))
        })
    }

    /// At most so many are left.
    pub(crate) fn len_max(&self) -> usize {
        self.pass.len() + self.changed.len()
    }
}
