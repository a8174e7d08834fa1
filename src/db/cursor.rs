//! Named places in the change feed that are kept in the store.
//!
//! Floor 6. Imports `address`, `commit`, `db`, `error`, `format`, `store`, `sync`.

use std::fmt;

use crate::address::Seqno;
use crate::commit::batch::{Records, Rule};
use crate::commit::durability::Durability;
use crate::db::tail::Tail;
use crate::db::{Db, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::{CatalogueRecord, NAME_LEN_MAX};
use crate::store::feed::Feed;
use crate::sync::Arc;

/// How far a consumer of the change feed has come, under a name, in the store itself: [`Db::cursor`].
///
/// What its consumer has still to see is held back from compaction, across restarts, as far as
/// [`Options::cursors_hold_max`](crate::Options::cursors_hold_max) allows; [`Stats::cursors`](crate::Stats::cursors) tells how much that is. A cursor that
/// was left behind has lost something: what it stands at is `Invalid` for [`Cursor::tail`], which names the first write that is left.
///
/// A consumer that notes how far it came once it has dealt with a batch sees each at least once, whatever happens to it. (The idea is
/// that of the replication slots of PostgreSQL.)
///
/// ```
/// # fn main() -> zipcask::Result<()> {
/// let db = zipcask::Options::new().open_in_memory()?;
/// let search = db.cursor("search")?;
/// db.put("apple", "red")?;
/// for batch in search.tail()? {
///     let batch = batch?;
///     // Deal with the batch, and then:
///     search.advance(batch.seqno())?;
/// }
/// assert_eq!(search.position()?, 3.into());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cursor {
    shared: Arc<Shared>,
    name: Box<str>,
}

impl Db {
    /// The cursor of this name, which is made at the end of the log if there is none: it holds what is written from here on. So a
    /// name that nobody consumes holds the log, too, up to [`Options::cursors_hold_max`](crate::Options::cursors_hold_max), until
    /// [`Db::drop_cursor`]; [`Stats::cursors`](crate::Stats::cursors) lists them.
    ///
    /// Making one is durable when this returns. A copy by [`Db::backup`] has it, too.
    ///
    /// # Errors
    /// `Invalid` for an empty name, or one of more than 65,535 bytes. `NotFound` if it is not there and the store is open for reading only. As
    /// [`Keyspace::put`](crate::Keyspace::put).
    pub fn cursor(&self, name: &str) -> Result<Cursor> {
        self.cursor_of(name, None)
    }

    /// The cursor of this name, which is made at `from` if there is none: its consumer sees that write first. One that is there stays where it is.
    ///
    /// # Errors
    /// As [`Db::cursor`], and as [`Db::tail`] if there is none.
    pub fn cursor_from(&self, name: &str, from: Seqno) -> Result<Cursor> {
        self.cursor_of(name, Some(from))
    }

    /// Removes a cursor, durably, and says whether it was there. Handles of it are `NotFound` from then on.
    ///
    /// # Errors
    /// As [`Keyspace::put`](crate::Keyspace::put).
    pub fn drop_cursor(&self, name: &str) -> Result<bool> {
        let shared = &self.default.shared;
        let store = shared.writable_store()?;
        let _naming = store.spaces().naming();
        if store.spaces().cursors().position(name).is_none() {
            return Ok(false);
        }
        shared.place_cursor(name, None, Durability::Sync).map(|()| true)
    }

    fn cursor_of(&self, name: &str, from: Option<Seqno>) -> Result<Cursor> {
        let shared = &self.default.shared;
        let store = shared.open_store()?;
        if name.is_empty() || name.len() > NAME_LEN_MAX {
            let text = format!("the name of a cursor has from 1 to {NAME_LEN_MAX} bytes, this one {}", name.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let is_there = || store.spaces().cursors().position(name).is_some();
        let cursor = Cursor { shared: Arc::clone(shared), name: name.into() };
        if is_there() {
            return Ok(cursor);
        }
        if store.is_read_only() {
            return Err(cursor.not_found());
        }
        // No job rewrites what it is to hold before it does.
        let _jobs = from.map(|_| store.archives().jobs());
        let _naming = store.spaces().naming();
        if !is_there() {
            let position = match from {
                Some(from) => {
                    Feed::new(store, from)?;
                    from.max(1.into())
                }
                None => store.watermark().visible().next(),
            };
            shared.place_cursor(name, Some(position), Durability::Sync)?;
        }
        Ok(cursor)
    }
}

impl Shared {
    /// Only for whoever has the right to move cursors.
    fn place_cursor(&self, name: &str, position: Option<Seqno>, durability: Durability) -> Result<()> {
        let mut records = Records::new();
        records.say(&CatalogueRecord::Cursor { name, seqno: position })?;
        self.commit(records, Rule::Always, durability).map(drop)
    }
}

impl Cursor {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first write that its consumer has still to see. There may be no such write yet.
    ///
    /// It is kept in the store, so a consumer need not note it. (Nor hand it to [`Cursor::advance`], which wants the last write that was seen.)
    ///
    /// # Errors
    /// `NotFound` once it was removed; `Closed`, `Forked`.
    pub fn position(&self) -> Result<Seqno> {
        let found = self.shared.open_store()?.spaces().cursors().position(&self.name);
        found.ok_or_else(|| self.not_found())
    }

    /// The feed from its position on. It does not move by that: [`Cursor::advance`] does.
    ///
    /// # Errors
    /// As [`Cursor::position`]; as [`Db::tail`]: `Invalid` if what it has still to see is not kept any more.
    pub fn tail(&self) -> Result<Tail> {
        Tail::new(&self.shared, self.position()?)
    }

    /// Its consumer has dealt with everything up to `seqno`, that of a [`TailBatch`](crate::TailBatch): what is behind it comes next. What it has come
    /// past already changes nothing.
    ///
    /// Where it stands is as durable as a write with [`Options::durability`](crate::Options::durability). After a power cut it may stand where it was,
    /// and nothing that it has still to see then is missing.
    ///
    /// # Errors
    /// `Invalid` for a write that is none yet. `NotFound` once it was removed. As [`Keyspace::put`](crate::Keyspace::put).
    pub fn advance(&self, seqno: Seqno) -> Result<()> {
        let store = self.shared.writable_store()?;
        let last = store.watermark().visible();
        if seqno > last {
            let text = format!("the cursor {:?} cannot come past write {seqno}: the last is {last}", self.name);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        // Two that move it must not put it back: what it has come past may be gone.
        let _naming = store.spaces().naming();
        let (position, next) = (self.position()?, seqno.next());
        if next <= position {
            return Ok(());
        }
        self.shared.place_cursor(&self.name, Some(next), self.shared.durability)
    }

    fn not_found(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no cursor {:?}", self.name))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("name", &self.name).finish_non_exhaustive()
    }
}
