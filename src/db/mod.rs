//! What users hold: the database, its options, batches, iterators, figures.
//!
//! Floor 6. Imports `address`, `commit`, `compact`, `error`, `limits`, `platform`, `store`, `sync`, `txn`.

mod backup;
pub(crate) mod batch;
pub(crate) mod cursor;
pub(crate) mod iter;
pub(crate) mod keyspace;
pub(crate) mod keyspaces;
pub(crate) mod options;
pub(crate) mod range;
pub(crate) mod reader;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod transaction;
pub(crate) mod writer;

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use crate::address::Seqno;
use crate::commit;
use crate::commit::batch::{Member, Records, Rule};
use crate::commit::durability::Durability;
use crate::commit::group::Done;
use crate::commit::queue::Queue;
use crate::compact::pace::Pace;
use crate::compact::worker::Worker;
use crate::compact::{self, CompactionReport, Task};
use crate::db::batch::Batch;
use crate::db::keyspace::Keyspace;
use crate::db::options::Options;
use crate::db::snapshot::Snapshot;
use crate::db::stats::{ArchiveReport, Stats};
use crate::db::tail::Tail;
use crate::db::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::COMPACT_WHEN_DEAD_MIN;
use crate::platform::fork::ForkGuard;
use crate::platform::{Barrier, Disk};
use crate::store::feed::Feed;
use crate::store::verify::VerifyReport;
use crate::store::{self, Settings, Store};
use crate::sync::Arc;
use crate::sync::plain::{AtomicBool, Ordering};
use crate::txn::Writing;

/// An open store. Cloning gives another handle of the same one; all of them may be used from any thread.
///
/// The store closes when the last handle is dropped ([`Keyspace`], [`Batch`], [`Transaction`], [`Reader`](crate::Reader) and [`PutWriter`](crate::PutWriter) are handles, too), or when
/// [`Db::close`] is called on any of them, which can report what went wrong. Closed, every call that can fail is
/// [`ErrorKind::Closed`]; counts and figures stay what they were.
///
/// In a process forked off the one that opened it every call is [`ErrorKind::Forked`], counts and figures are zero, and
/// dropping does nothing.
#[derive(Clone)]
pub struct Db {
    default: Keyspace,
}

/// What all handles share; dropped with the last.
struct Shared {
    store: Arc<Store>,
    queue: Queue,
    durability: Durability,
    compactor: Arc<Worker>,
    fork: ForkGuard,
    closed: AtomicBool,
}

impl Db {
    /// Opens the store in `dir`, making it if there is none, and the directories above it that are missing, with default
    /// options.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Options::new().open(dir)
    }

    /// Opens the store in `dir` for reading only, with default options: beside a process that writes it, or without one, in as
    /// many processes as you like.
    ///
    /// ```
    /// # fn main() -> zipcask::Result<()> {
    /// # let dir = std::env::temp_dir().join(format!("zipcask-read-only-{}", std::process::id()));
    /// use zipcask::{Db, ErrorKind};
    ///
    /// let writer = Db::open(&dir)?; // here, or in another process
    /// let reader = Db::open_read_only(&dir)?;
    /// writer.put("apple", "red")?;
    /// assert_eq!(reader.get("apple")?, None);
    /// reader.refresh()?;
    /// assert_eq!(reader.get("apple")?.unwrap(), b"red");
    /// assert_eq!(reader.put("pear", "green").unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # writer.close()?;
    /// # std::fs::remove_dir_all(&dir).expect("it is ours");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Options::open_read_only`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Db> {
        Options::new().open_read_only(dir)
    }

    pub(crate) fn start(disk: Arc<dyn Disk>, settings: Settings, durability: Durability) -> Result<Db> {
        let settings = Settings { barrier: durability.barrier(), ..settings };
        Db::share(ForkGuard::new(), store::open::open(disk, settings)?, durability)
    }

    pub(crate) fn start_read_only(disk: Arc<dyn Disk>, settings: Settings, durability: Durability) -> Result<Db> {
        Db::share(ForkGuard::new(), store::open::open_read_only(disk, settings)?, durability)
    }

    fn share(fork: ForkGuard, store: Store, durability: Durability) -> Result<Db> {
        let store = Arc::new(store);
        let compactor = Arc::new(Worker::new());
        if store.settings().background {
            let (compactor, weak) = (Arc::downgrade(&compactor), Arc::downgrade(&store));
            store.on_sealed(move || {
                if let (Some(compactor), Some(store)) = (compactor.upgrade(), weak.upgrade()) {
                    compactor.ask(&store);
                }
            });
        }
        let shared = Shared { store, queue: Queue::new(), durability, compactor, fork, closed: AtomicBool::new(false) };
        let space = Arc::clone(shared.store.spaces().default());
        Ok(Db { default: Keyspace { shared: Arc::new(shared), space } })
    }

    /// For the tests: makes a spare segment here and now, as long as the next one is to be; whether there is one afterwards.
    #[cfg(feature = "sim")]
    pub(crate) fn make_spare(&self) -> bool {
        let store = &self.default.shared.store;
        let len = store.log().next_len;
        store.pool().make(len)
    }

    /// For the tests: gives hints to what was sealed, here and now.
    ///
    /// # Errors
    /// As the system says.
    #[cfg(feature = "sim")]
    pub(crate) fn make_hints(&self) -> Result<()> {
        let shared = &self.default.shared;
        let pace = Pace::new(shared.store.disk().clock(), shared.compactor.stop());
        compact::hint_sealed(&shared.store, &pace, &mut crate::address::SegmentId(0))
    }

    /// Follows the process that writes the store, where this handle is for reading only, and returns the last write that can be
    /// read from here on; otherwise the same as [`Db::last_seqno`]. A handle for reading only shows the same until the next
    /// `refresh` of it or one of its clones. (While that runs, reads of single keys may see a part of it; [`Keyspace::iter`] waits.)
    ///
    /// Where nothing was written it costs some system calls, else what was written is read. Where segments or archives came or
    /// went, each file of the store is opened and its header read, and every record of each new archive that a compaction rewrote.
    /// If a session of the writer failed and left less than it showed, all of the log is read again.
    ///
    /// # Errors
    /// `Corruption`, naming file and offset; `FormatVersion`; `ResourceLimit`; `Io`, also if files change faster than they can
    /// be listed. What could be read before can be read still. `Closed`, `Forked`.
    pub fn refresh(&self) -> Result<Seqno> {
        self.default.shared.open_store()?.refresh()
    }

    /// The store's directory, in its canonical form.
    pub fn path(&self) -> &Path {
        self.default.shared.store.disk().path()
    }

    /// The store as it is now, for as long as one likes: O(1), and nobody waits for it.
    ///
    /// On a store that was closed its methods say so.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.default.shared)
    }

    /// Begins a transaction: reads and writes that count as one step, or not at all. [`Transaction::commit`] ends it; to drop it writes nothing.
    ///
    /// [`Db::transaction`] tries again by itself where others were faster. This is for what cannot be run twice, and for giving up half-way
    /// for a reason of one's own.
    ///
    /// On a store that takes no writes its methods say so.
    pub fn begin(&self) -> Transaction {
        Transaction::new(&self.default.shared)
    }

    /// Runs `f` in a transaction and commits it, again and again as long as that is a `Conflict`: so `f` changes nothing but by the transaction.
    /// An error of `f` rolls back and is returned, and `f` is not run again; a panic rolls back, too.
    ///
    /// Errors of `f` are those of the store, passed on by `?`; one of another type cannot be made into such an [`Error`]. A refusal of your own can be the
    /// answer of `f`: whatever it returns as `Ok` is committed, so it must not have written by then. To take back what it has written, use
    /// [`Db::begin`] and drop the transaction.
    ///
    /// ```
    /// # fn main() -> zipcask::Result<()> {
    /// let db = zipcask::Options::new().open_in_memory()?;
    /// let sold = db.transaction(|transaction| {
    ///     if !transaction.delete(&db, "stock")? { // `?`: an error of the store, which ends it
    ///         return Ok(Err("sold out")); // a reason of one's own: nothing was written, and nothing is
    ///     }
    ///     transaction.put(&db, "sold", "1")?;
    ///     Ok(Ok(()))
    /// })?;
    /// assert_eq!(sold, Err("sold out"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `f`; else as [`Transaction::commit`], but for `Conflict`.
    pub fn transaction<T>(&self, mut f: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        loop {
            let mut transaction = self.begin();
            let answer = f(&mut transaction)?;
            match transaction.commit() {
                Ok(_) => return Ok(answer),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything that was committed from the write `from` on, in order, for followers of their own kind: queues, search indexes, copies elsewhere.
    ///
    /// A batch that `from` is within comes whole. To begin as early as can be, take [`Db::oldest_seqno`]; to go on behind a batch, [`Seqno::next`].
    ///
    /// # Errors
    /// `Invalid`, naming the first write that is left, if a compaction has rewritten what `from` was in; also if `from` is further behind the last write than
    /// the next one: whoever was told of that write has seen more than this store has. `Corruption`, `Io`; `Closed`, `Forked`.
    pub fn tail(&self, from: Seqno) -> Result<Tail> {
        Tail::new(&self.default.shared, from)
    }

    /// The first write from which on [`Db::tail`] shows all that follows: what was before it, or a part of that, a compaction has rewritten. If that is so of
    /// the last write, too, it is the next one, which is not written yet.
    ///
    /// It is so at the moment: any compaction, the background's too, may rewrite more, and `tail` says so then, unless a [`Cursor`](crate::Cursor) holds it.
    ///
    /// # Errors
    /// `Corruption`, `Io`; `Closed`, `Forked`.
    pub fn oldest_seqno(&self) -> Result<Seqno> {
        Feed::oldest(self.default.shared.open_store()?)
    }

    /// Starts a batch: several writes that will be in the store whole or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.default.shared)
    }

    /// Makes everything that was acknowledged before this call durable, and returns the last seqno that is.
    ///
    /// # Errors
    /// `Io`: what is durable is unknown then, and the store is `Poisoned` for writes. `Closed`, `Forked`.
    pub fn sync(&self) -> Result<Seqno> {
        self.default.shared.writable_store()?;
        self.default
            .shared
            .commit(Records::new(), Rule::Always, Durability::Sync)
            .map(|done| self.default.shared.seqno_of(done))
    }

    /// The seqno of the newest write that can be read.
    pub fn last_seqno(&self) -> Seqno {
        self.default.shared.figure(Seqno::default(), |store| store.watermark().visible())
    }

    /// Every write up to this seqno is on stable storage.
    pub fn durable_seqno(&self) -> Seqno {
        self.default.shared.figure(Seqno::default(), |store| store.watermark().durable())
    }

    /// Returns once every write up to `seqno` is on stable storage: at once, or after a sync.
    ///
    /// # Errors
    /// `Invalid` if nothing was written as `seqno` yet; `Closed`; as [`Db::sync`].
    pub fn wait_durable(&self, seqno: Seqno) -> Result<()> {
        self.default.shared.open_store()?;
        if seqno <= self.durable_seqno() {
            return Ok(());
        }
        let last = self.last_seqno();
        if seqno > last {
            let text = format!("cannot wait for write {seqno}: the last one is {last}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        self.sync().map(drop)
    }

    /// Closes the active segment, durably; the next write starts another. Without one, does nothing.
    ///
    /// # Errors
    /// As [`Db::sync`].
    pub fn seal(&self) -> Result<()> {
        let shared = &self.default.shared;
        shared.writable_store()?;
        let barrier = Some(Barrier::Durable);
        let member = Member { records: Records::new(), rule: Rule::Always, barrier, seal: true };
        commit::commit(&shared.store, &shared.queue, member).map(drop)
    }

    /// Packs every sealed segment into ZIP archives, as it is, and leaves the archives that there are alone. What is being
    /// written is not sealed: [`Db::seal`] comes first where that is to be packed, too.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: what is not packed yet stays as it is. `Poisoned`, `Closed`, `Forked`.
    pub fn archive(&self) -> Result<ArchiveReport> {
        self.default.shared.run(Task::Archive).map(ArchiveReport::of)
    }

    /// Gives back the space of what was overwritten or deleted: seals the segment that is being written, packs every segment into ZIP
    /// archives, and rewrites each file of which more than a twentieth is dead. Returns when that is done; reads and
    /// writes go on meanwhile.
    ///
    /// # Errors
    /// `NoSpace`: a job needs room for what it keeps before it gives any back. `Io`; `Poisoned`, `Closed`, `Forked`. What
    /// was done is done, and the rest is as it was.
    pub fn compact(&self) -> Result<CompactionReport> {
        self.seal()?;
        self.default.shared.run(Task::Compact(COMPACT_WHEN_DEAD_MIN))
    }

    /// Writes the index down, so that the next open need not rebuild it: some 14 bytes a key. Writers go on meanwhile; what they write
    /// behind it is read at the open. Closing the store does this, too, where it saves reading more than 65,536 records, and so
    /// does the background now and then.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: what was written down before stays. As [`Db::sync`].
    pub fn checkpoint(&self) -> Result<()> {
        let store = self.default.shared.writable_store()?;
        self.sync()?;
        compact::checkpoint(store)
    }

    /// Reads every file of the store and checks every checksum. Damage is in the report, not an error.
    ///
    /// A handle for reading only leaves out files that a compaction has taken away since it was refreshed. Another's
    /// opening has mended the footer of the newest segment if that was damaged: see [`RecoveryReport::mended_footer`](crate::RecoveryReport::mended_footer).
    ///
    /// # Errors
    /// `Io` if the device fails a read; `ResourceLimit` without a descriptor left. `Closed`, `Forked`.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.default.shared.open_store()?.verify()
    }

    /// Sizes and counts, as of now.
    pub fn stats(&self) -> Stats {
        let compactor = &self.default.shared.compactor;
        self.default.shared.figure(Stats::default(), |store| Stats::of(store, compactor.done()))
    }

    /// Closes the store for all handles: waits for writes under way, makes everything durable, seals the log, and lets
    /// others open it. Later calls are `Closed`, a second `close` too; values, iterators and readers keep what they
    /// show, and a pass that is under way goes on.
    ///
    /// # Errors
    /// `Poisoned` after a failed write: the next open recovers what is durable. `Io` if the log cannot be sealed; the
    /// next open does it. The store is closed either way.
    pub fn close(self) -> Result<()> {
        self.default.shared.open_store()?;
        self.default.shared.close()
    }
}

impl Shared {
    pub(super) fn commit(&self, records: Records, rule: Rule, durability: Durability) -> Result<Done> {
        let member = Member { records, rule, barrier: durability.barrier(), seal: false };
        commit::commit(&self.store, &self.queue, member)
    }

    /// Where writes of this durability go.
    pub(super) fn writing(&self, durability: Durability) -> Writing<'_> {
        Writing { store: &self.store, queue: &self.queue, barrier: durability.barrier() }
    }

    pub(super) fn seqno_of(&self, done: Done) -> Seqno {
        match done {
            Done::Written(seqno) => seqno.into(),
            Done::NotPresent | Done::Conflict => self.store.watermark().visible(),
        }
    }

    /// What `f` says of the store; `zero` in a forked process, where its locks may be held for ever.
    pub(super) fn figure<T>(&self, zero: T, f: impl FnOnce(&Store) -> T) -> T {
        if self.fork.forked() { zero } else { f(&self.store) }
    }

    /// The store, if this process may use it.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    #[inline]
    pub(super) fn open_store(&self) -> Result<&Arc<Store>> {
        if self.fork.forked() {
            let text = "the store was opened before this process was forked; open it anew here once it is closed there";
            return Err(Error::new(ErrorKind::Forked, text));
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        Ok(&self.store)
    }

    /// The same, if it takes writes: every call that changes something asks here.
    ///
    /// # Errors
    /// `ReadOnly`, `Closed`, `Forked`.
    #[inline]
    pub(super) fn writable_store(&self) -> Result<&Arc<Store>> {
        let store = self.open_store()?;
        if store.is_read_only() {
            return Err(Error::new(ErrorKind::ReadOnly, "the store was opened for reading only (open_read_only)"));
        }
        Ok(store)
    }

    /// Runs jobs, here and now.
    fn run(&self, task: Task) -> Result<CompactionReport> {
        let store = self.writable_store()?;
        let pace = Pace::new(store.disk().clock(), self.compactor.stop());
        let mut report = CompactionReport::default();
        let done = compact::run(store, task, &pace, &mut report);
        self.compactor.count(&report);
        done.map(|()| report)
    }

    fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        self.compactor.close();
        // A job that somebody else runs ends before anyone else may open the store.
        *self.store.archives().jobs() = None;
        commit::close(&self.store, &self.queue)
    }
}

impl Deref for Db {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.default
    }
}

impl AsRef<Keyspace> for Db {
    fn as_ref(&self) -> &Keyspace {
        &self.default
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.fork.forked() && !self.queue.is_closed() {
            // Nobody is left to tell; the next open recovers.
            let _ = self.close();
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("path", &self.path()).finish_non_exhaustive()
    }
}

#[cfg(all(test, zipcask_shuttle))]
#[path = "../../loom-tests/engine.rs"]
mod schedules;
