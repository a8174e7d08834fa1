//! The log as a change feed.
//!
//! Floor 6. Imports `address`, `db`, `error`, `platform`, `segment`, `store`.

use std::fmt;
use std::time::Duration;

use crate::address::Seqno;
use crate::db::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::fork::ForkGuard;
use crate::segment::value::Value;
use crate::store::feed::{Committed, Feed};

/// Everything that was committed from some write on, batch by batch, in order: [`Db::tail`](crate::Db::tail).
///
/// It reads the log itself, also where that was packed into an archive as it is; a writer does nothing for it. What a
/// compaction rewrote is gone from the feed: a reader that has fallen behind is told so by an `Invalid` that names the first write that is left.
/// The iterator ends at the end of the log, and goes on when more was written; or, with [`Tail::follow`], when the store is closed; and after an
/// error. It does not keep the store open. Nothing but a [`Cursor`](crate::Cursor) keeps the log for it: any compaction may rewrite a part of it,
/// the background's too, within seconds where much is overwritten.
///
/// Neither [`Keyspace::clear`](crate::Keyspace::clear) nor [`Db::drop_keyspace`](crate::Db::drop_keyspace) is in it, nor that a key's time has come. A put
/// whose time has come when it is read is shown as a delete.
///
/// It shows what readers see, so also writes that are not durable yet. On a handle for reading only it goes as far as the last
/// [`Db::refresh`](crate::Db::refresh), which has to be called by another thread while `next` waits. If the writer failed, and its next session has less
/// than was shown, it ends with an `Invalid` that says so.
///
/// To keep a copy of the store elsewhere: take a [`Snapshot`](crate::Snapshot), copy what it shows, and go on from `snapshot.seqno().next()`; on
/// `Invalid` begin again.
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// let db = zipcask::Options::new().open_in_memory()?;
/// db.put("apple", "red")?;
/// db.delete("apple")?;
/// let mut last = db.oldest_seqno()?;
/// for batch in db.tail(last)? {
///     let batch = batch?;
///     for change in batch.changes() {
///         println!("{}: {:?} is {:?}", change.keyspace, change.key, change.value);
///     }
///     last = batch.seqno();
/// }
/// db.put("pear", "green")?;
/// assert_eq!(db.tail(last.next())?.count(), 1); // goes on behind it
/// # Ok(())
/// # }
/// ```
pub struct Tail {
    /// `None` after an error.
    feed: Option<Feed>,
    follow: bool,
    fork: ForkGuard,
}

/// A batch, a transaction, or a write of its own, as it was committed.
#[derive(Clone, Debug)]
pub struct TailBatch {
    seqno: Seqno,
    changes: Vec<Change>,
}

/// One write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    /// The keyspace's name: "default" of that which a [`Db`](crate::Db) is itself; "#" and a number of one that was dropped since (so
    /// better call none like that).
    pub keyspace: String,
    /// The key.
    pub key: Value,
    /// What was put; `None` if the key was deleted.
    pub value: Option<Value>,
}

impl TailBatch {
    /// The seqno of its last write: [`Db::tail`](crate::Db::tail) goes on behind it from [`Seqno::next`].
    pub fn seqno(&self) -> Seqno {
        self.seqno
    }

    /// Its writes, in their order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    fn of(committed: Committed) -> TailBatch {
        let changes = committed.writes.into_iter().map(|write| Change {
            keyspace: write.keyspace,
            key: write.key,
            value: write.value,
        });
        TailBatch { seqno: committed.seqno, changes: changes.collect() }
    }
}

impl Tail {
    pub(super) fn new(shared: &Shared, from: Seqno) -> Result<Tail> {
        let feed = Feed::new(shared.open_store()?, from)?;
        Ok(Tail { feed: Some(feed), follow: false, fork: ForkGuard::new() })
    }

    /// Whether `next` waits for more at the end of the log, instead of ending there.
    pub fn follow(mut self, yes: bool) -> Tail {
        self.follow = yes;
        self
    }

    /// The next batch, waiting for it at most so long, whatever is written meanwhile that is no batch; `None` if there was none, or the store was closed.
    ///
    /// # Errors
    /// As `next`: `Invalid` if what comes next is not kept any more, and the first write that is; `Corruption`, `Io`, `Forked`.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<TailBatch>> {
        self.next_within(true, Some(timeout))
    }

    fn next_within(&mut self, wait: bool, at_most: Option<Duration>) -> Option<Result<TailBatch>> {
        if self.fork.forked() {
            let text = "the feed was begun before this process was forked";
            return self.feed.take().map(|feed| {
                // Its locks are the parent's.
                std::mem::forget(feed);
                Err(Error::new(ErrorKind::Forked, text))
            });
        }
        let feed = self.feed.as_mut()?;
        let next = if wait { feed.next_within(at_most) } else { feed.next() };
        if next.is_err() {
            self.feed = None;
        }
        next.transpose().map(|committed| committed.map(TailBatch::of))
    }
}

impl Iterator for Tail {
    type Item = Result<TailBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_within(self.follow, None)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("follow", &self.follow).finish_non_exhaustive()
    }
}
