//! The keyspaces of a store: what is said of each, and where its keys are.
//!
//! Floor 3. Imports `address`, `format`, `index`, `limits`, `reclaim`, `segment`, `store`, `sync`.
//!
//! K1: a record counts only above its keyspace's floor, the seqno of its making or of its last clearing, whatever file it is read in.
//! So to clear or to drop one takes a record and a table, and none of what was in it has to be looked at.

use std::collections::BTreeMap;

use dashmap::DashMap;

use crate::address::{Location, Seqno};
use crate::format::catalogue::{CatalogueRecord, KeyspaceCreate};
use crate::index::current::Current;
use crate::index::table::Table;
use crate::limits::DEFAULT_KEYSPACE;
use crate::reclaim::hold::Hold;
use crate::reclaim::pin::Pin;
use crate::segment::Segment;
use crate::store::DEFAULT_NAME;
use crate::store::cursors::Cursors;
use crate::sync::Arc;
use crate::sync::plain::{AtomicBool, AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, PoisonError};

/// What a keyspace is made with, for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SpaceOptions {
    pub(crate) ordered: bool,
    /// A power of two, 8..=4096.
    pub(crate) value_align: u16,
    pub(crate) default_ttl_ms: Option<u64>,
}

impl Default for SpaceOptions {
    fn default() -> Self {
        SpaceOptions { ordered: false, value_align: 8, default_ttl_ms: None }
    }
}

/// A keyspace.
#[derive(Debug)]
pub(crate) struct Space {
    id: u16,
    name: Box<str>,
    /// What it was made with, and when; of the default keyspace only where somebody asked for something.
    said: OnceLock<(SpaceOptions, Seqno)>,
    table: Current,
    floor: AtomicU64,
    /// The last write to it.
    written: AtomicU64,
    dropped: AtomicBool,
    /// Whether it is of a log that was lost, and the one that took its place has not said it so far (F5).
    unsaid: AtomicBool,
    /// What the address of each value is a multiple of.
    align: AtomicU64,
    /// Whether keys of it may expire, as far as is known.
    expiring: AtomicBool,
    /// Keys that had expired when they were counted last, and when that was, in milliseconds since 1970.
    expired: AtomicU64,
    counted_ms: AtomicU64,
    /// What it was before it was cleared or dropped, for snapshots.
    past: Mutex<Vec<Arc<Past>>>,
}

/// A keyspace as it was until it was cleared.
#[derive(Debug)]
pub(crate) struct Past {
    until: Seqno,
    pub(crate) table: Arc<Table>,
    /// By place: what the table leads to stays.
    segments: BTreeMap<u64, Hold<Segment>>,
}

impl Past {
    /// All that its table leads to.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Hold<Segment>> {
        self.segments.values()
    }

    /// The segment that lies at this location, and the offset there.
    pub(crate) fn resolve(&self, at: Location) -> Option<(&Hold<Segment>, u64)> {
        let (_, segment) = self.segments.range(..=at.place()).next_back()?;
        segment.has_place(at.place()).then(|| (segment, at.linear() - Location::start_of(segment.place())))
    }
}

impl Space {
    fn new(id: u16, name: &str, floor: Seqno, table: Table) -> Space {
        Space {
            id,
            name: name.into(),
            said: OnceLock::new(),
            table: Current::new(table),
            floor: AtomicU64::new(floor.into()),
            written: AtomicU64::new(0),
            dropped: AtomicBool::new(false),
            unsaid: AtomicBool::new(false),
            align: AtomicU64::new(8),
            expiring: AtomicBool::new(false),
            expired: AtomicU64::new(0),
            counted_ms: AtomicU64::new(0),
            past: Mutex::default(),
        }
    }

    /// The default keyspace, of which nothing was said.
    pub(crate) fn default(floor: Seqno, table: Table) -> Space {
        Space::new(DEFAULT_KEYSPACE, DEFAULT_NAME, floor, table)
    }

    /// One of which this was said at `created`.
    pub(crate) fn of(create: &KeyspaceCreate<'_>, created: Seqno, floor: Seqno, table: Table) -> Space {
        let space = Space::new(create.id, create.name, floor, table);
        space.say(create, created);
        space
    }

    fn say(&self, create: &KeyspaceCreate<'_>, created: Seqno) {
        let KeyspaceCreate { ordered, value_align, default_ttl_ms, .. } = *create;
        self.align.store(value_align.into(), Ordering::Relaxed);
        // Of the default keyspace it is said before anything is written.
        self.floor.fetch_max(created.into(), Ordering::Relaxed);
        let _ = self.said.set((SpaceOptions { ordered, value_align, default_ttl_ms }, created));
    }

    /// Whether a record says no more than that it is there, or was made later. Behind a log that was lost only the same record does.
    fn is_said_again(&self, create: &KeyspaceCreate<'_>, seqno: Seqno) -> bool {
        if !self.unsaid.load(Ordering::Relaxed) {
            return seqno <= self.created();
        }
        let same = seqno == self.created() && self.create().as_ref() == Some(create);
        self.unsaid.store(!same, Ordering::Relaxed);
        same
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn options(&self) -> SpaceOptions {
        self.said.get().map_or(SpaceOptions::default(), |said| said.0)
    }

    /// When it was made; 0 of a default keyspace of which nobody said anything.
    pub(crate) fn created(&self) -> Seqno {
        self.said.get().map_or(Seqno::default(), |said| said.1)
    }

    /// What the catalogue says of it; `None` of a default keyspace of which nobody said anything.
    pub(crate) fn create(&self) -> Option<KeyspaceCreate<'_>> {
        let (SpaceOptions { ordered, value_align, default_ttl_ms }, _) = *self.said.get()?;
        Some(KeyspaceCreate { id: self.id, name: &self.name, ordered, value_align, default_ttl_ms })
    }

    #[inline]
    pub(crate) fn table<'p>(&'p self, pin: &'p Pin) -> &'p Table {
        self.table.get(pin)
    }

    /// The table, for longer than a pin should live.
    pub(crate) fn whole_table(&self) -> Arc<Table> {
        self.table.whole()
    }

    /// What the address of each value is a multiple of.
    #[inline]
    pub(crate) fn align(&self) -> usize {
        self.align.load(Ordering::Relaxed) as usize
    }

    /// No record up to this one counts (K1).
    pub(crate) fn floor(&self) -> Seqno {
        self.floor.load(Ordering::Relaxed).into()
    }

    #[inline]
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The last write to it that is in the index.
    pub(crate) fn written(&self) -> Seqno {
        self.written.load(Ordering::Relaxed).into()
    }

    pub(crate) fn note_written(&self, seqno: Seqno) {
        self.written.store(seqno.into(), Ordering::Relaxed);
    }

    /// How many keys it has, but for those that had expired when they were counted last.
    pub(crate) fn len(&self) -> u64 {
        self.table.get(&Pin::new()).len().saturating_sub(self.expired.load(Ordering::Relaxed))
    }

    /// Whether keys of it may expire.
    pub(crate) fn may_expire(&self) -> bool {
        self.expiring.load(Ordering::Relaxed)
    }

    pub(crate) fn note_expiring(&self) {
        self.expiring.store(true, Ordering::Relaxed);
    }

    /// So many keys have expired by then, if any may.
    pub(crate) fn note_expired(&self, count: u64, counted_ms: u64, expiring: bool) {
        self.expired.store(count, Ordering::Relaxed);
        self.counted_ms.store(counted_ms, Ordering::Relaxed);
        self.expiring.store(expiring, Ordering::Relaxed);
    }

    /// A record with this expiry is replaced or removed.
    pub(crate) fn note_replaced(&self, expiry: Option<u64>) {
        if expiry.is_some_and(|expiry| expiry <= self.counted_ms.load(Ordering::Relaxed)) {
            let _ = self.expired.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        }
    }

    /// What it was at `moment`, if it was cleared since.
    pub(crate) fn past(&self, moment: Seqno) -> Option<Arc<Past>> {
        lock(&self.past).iter().find(|past| moment < past.until).cloned()
    }

    /// What it was before each clearing that a snapshot looks behind.
    pub(crate) fn pasts(&self) -> Vec<Arc<Past>> {
        lock(&self.past).clone()
    }

    /// Empties it. Of what it was, `shown` segments stay for snapshots, if there are any.
    fn renew(&self, at: Seqno, shown: Option<Vec<Hold<Segment>>>) {
        let mut past = lock(&self.past);
        if let Some(shown) = shown {
            let segments = shown.into_iter().map(|segment| (segment.place(), segment)).collect();
            past.push(Arc::new(Past { until: at, table: self.table.whole(), segments }));
        }
        // Before the table: who finds the new one empty, and looks whether it was cleared, learns that it was.
        self.floor.store(at.into(), Ordering::Relaxed);
        self.note_written(at);
        self.expired.store(0, Ordering::Relaxed);
        self.table.replace(Table::new());
    }

    /// Lets go of what no moment from `oldest` on shows. Whether anything is left.
    fn retain_past(&self, oldest: Option<Seqno>) -> bool {
        let mut past = lock(&self.past);
        past.retain(|past| oldest.is_some_and(|oldest| oldest < past.until));
        !past.is_empty()
    }
}

/// All keyspaces of a store.
#[derive(Debug)]
pub(crate) struct Spaces {
    /// The one that a `Db` itself is; only an open puts another in its place.
    default: Arc<Space>,
    /// The others, by their ids.
    others: DashMap<u16, Arc<Space>>,
    /// The same by their names.
    by_name: DashMap<Box<str>, Arc<Space>>,
    /// The id that was given last. The next is another, as long as there are others: snapshots, transactions and feeds under way know keyspaces by
    /// their ids.
    last_id: AtomicU64,
    /// Those of the feed, which the same catalogue tells of.
    cursors: Cursors,
    /// Held by whoever makes or drops one, or moves a cursor, from the look at the names to the record of it.
    naming: Mutex<()>,
    /// Those that were cleared or dropped while a snapshot was open.
    with_past: Mutex<Vec<Arc<Space>>>,
    /// Held by whoever moves records, for some of them, and by whoever clears a keyspace: what is counted of it is then not on its way.
    moving: Mutex<()>,
}

impl Spaces {
    pub(crate) fn new() -> Spaces {
        Spaces {
            default: Arc::new(Space::default(Seqno::default(), Table::new())),
            others: DashMap::new(),
            by_name: DashMap::new(),
            last_id: AtomicU64::new(DEFAULT_KEYSPACE.into()),
            cursors: Cursors::default(),
            naming: Mutex::default(),
            with_past: Mutex::default(),
            moving: Mutex::default(),
        }
    }

    /// Takes in one that was written down, before anybody reads.
    pub(crate) fn adopt(&mut self, space: Space) {
        match space.id {
            DEFAULT_KEYSPACE => self.default = Arc::new(space),
            _ => self.add(space),
        }
    }

    fn add(&self, space: Space) {
        let space = Arc::new(space);
        self.last_id.fetch_max(space.id.into(), Ordering::Relaxed);
        // What the log says of one that was dropped may be read behind what it says of a newer one.
        let newest = |found: &Arc<Space>| if found.created() < space.created() { &space } else { found }.clone();
        let found = self.by_name.get(&*space.name).map(|found| newest(&found));
        self.by_name.insert(space.name.clone(), found.unwrap_or_else(|| Arc::clone(&space)));
        self.others.insert(space.id, space);
    }

    fn take_out(&self, space: &Arc<Space>) {
        space.dropped.store(true, Ordering::Relaxed);
        self.others.remove_if(&space.id, |_, found| Arc::ptr_eq(found, space));
        self.by_name.remove_if(&*space.name, |_, found| Arc::ptr_eq(found, space));
    }

    /// The same of cursors.
    pub(crate) fn adopt_cursors(&mut self, cursors: Cursors) {
        self.cursors = cursors;
    }

    pub(crate) fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    #[inline]
    pub(crate) fn default(&self) -> &Arc<Space> {
        &self.default
    }

    /// The keyspace with this id, if there is one.
    pub(crate) fn get(&self, id: u16) -> Option<Arc<Space>> {
        match id {
            DEFAULT_KEYSPACE => Some(Arc::clone(&self.default)),
            id => self.others.get(&id).map(|space| Arc::clone(&space)),
        }
    }

    /// The keyspace with this name, if there is one.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Space>> {
        if name == DEFAULT_NAME {
            return Some(Arc::clone(&self.default));
        }
        self.by_name.get(name).map(|space| Arc::clone(&space))
    }

    /// What the keyspace is called that had this id when `seqno` was written; of one that was dropped, its number.
    pub(crate) fn name_of(&self, id: u16, seqno: Seqno) -> String {
        let space = self.get(id).filter(|space| id == DEFAULT_KEYSPACE || space.created() < seqno);
        space.map_or_else(|| format!("#{id}"), |space| space.name.to_string())
    }

    /// What the address of each value of that keyspace is a multiple of; of one that was dropped, what any is.
    pub(crate) fn align_of(&self, id: u16) -> usize {
        self.get(id).map_or(size_of::<u64>(), |space| space.align())
    }

    /// All, by their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        let mut others: Vec<_> = self.others.iter().map(|space| Arc::clone(&space)).collect();
        others.sort_by_key(|space| space.id);
        others.insert(0, Arc::clone(&self.default));
        others
    }

    /// What those that are not the default one are called, by their ids.
    pub(crate) fn names(&self) -> Vec<(u16, String)> {
        self.all().iter().skip(1).map(|space| (space.id, space.name.to_string())).collect()
    }

    /// Those that have their keys in order.
    pub(crate) fn ordered(&self) -> Vec<Arc<Space>> {
        let mut all = self.all();
        all.retain(|space| space.options().ordered);
        all
    }

    /// An id that none has, and, as long as there are such, none had. Only for whoever has the right to make one.
    pub(crate) fn free_id(&self) -> Option<u16> {
        let last = self.last_id.load(Ordering::Relaxed) as u16;
        let mut ids = (last..=u16::MAX).skip(1).chain(DEFAULT_KEYSPACE + 1..=last);
        let free = ids.find(|id| !self.others.contains_key(id))?;
        self.last_id.store(free.into(), Ordering::Relaxed);
        Some(free)
    }

    /// The right to make or drop one, or to move a cursor.
    pub(crate) fn naming(&self) -> MutexGuard<'_, ()> {
        lock(&self.naming)
    }

    /// The right to move records of any.
    pub(crate) fn moving(&self) -> MutexGuard<'_, ()> {
        lock(&self.moving)
    }

    /// Keys of all.
    pub(crate) fn len(&self) -> u64 {
        self.default.len() + self.others.iter().map(|space| space.len()).sum::<u64>()
    }

    /// Memory of the index.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |space: &Space| space.table.get(&Pin::new()).bytes();
        bytes(&self.default) + self.others.iter().map(|space| bytes(&space)).sum::<u64>()
    }

    /// What a record of the catalogue says, whichever was read first; the newest of a keyspace counts. `forget` is told of one whose
    /// records are dead from here on, and gives what of it snapshots show.
    pub(crate) fn apply(
        &self,
        record: &CatalogueRecord<'_>,
        seqno: Seqno,
        forget: impl FnOnce(u16) -> Option<Vec<Hold<Segment>>>,
    ) {
        match *record {
            CatalogueRecord::Create(create) => self.begin(&create, seqno, forget),
            CatalogueRecord::Clear(id) => {
                if let Some(space) = self.get(id).filter(|space| space.floor() < seqno) {
                    let _moving = self.moving();
                    self.empty(&space, seqno, forget(id));
                }
            }
            CatalogueRecord::Drop(id) => {
                self.last_id.fetch_max(id.into(), Ordering::Relaxed);
                if let Some(space) = self.get(id).filter(|space| space.created() < seqno && id != DEFAULT_KEYSPACE) {
                    let _moving = self.moving();
                    self.take_out(&space);
                    self.empty(&space, seqno, forget(id));
                }
            }
            CatalogueRecord::Cursor { name, seqno: position } => self.cursors.apply(name, position, seqno),
        }
    }

    fn begin(&self, create: &KeyspaceCreate<'_>, seqno: Seqno, forget: impl FnOnce(u16) -> Option<Vec<Hold<Segment>>>) {
        match self.get(create.id) {
            Some(default) if create.id == DEFAULT_KEYSPACE => default.say(create, seqno),
            Some(now) if now.is_said_again(create, seqno) => {}
            // It was dropped, or its id would not have been given again.
            Some(before) => {
                let _moving = self.moving();
                self.take_out(&before);
                self.empty(&before, seqno, forget(create.id));
                self.add(Space::of(create, seqno, seqno, Table::new()));
            }
            None => self.add(Space::of(create, seqno, seqno, Table::new())),
        }
    }

    fn empty(&self, space: &Arc<Space>, at: Seqno, shown: Option<Vec<Hold<Segment>>>) {
        if shown.is_some() {
            lock(&self.with_past).push(Arc::clone(space));
        }
        space.renew(at, shown);
    }

    /// The log is about to be read anew, and may say something else: no floor holds, and no name.
    pub(crate) fn start_over(&self) {
        for space in self.all() {
            space.floor.store(0, Ordering::Relaxed);
            space.unsaid.store(space.id != DEFAULT_KEYSPACE, Ordering::Relaxed);
        }
        self.cursors.start_over();
    }

    /// The log was read anew: takes out those that it does not say.
    pub(crate) fn drop_unsaid(&self, at: Seqno, mut forget: impl FnMut(u16) -> Option<Vec<Hold<Segment>>>) {
        for space in self.all() {
            if space.unsaid.load(Ordering::Relaxed) {
                let _moving = self.moving();
                self.take_out(&space);
                self.empty(&space, at, forget(space.id));
            }
        }
    }

    /// Whether a record of the catalogue still says something, so that a job has to keep it: what made a keyspace that is there, the
    /// newest that emptied one, and what dropped one, as long as its number was not given again; where a cursor stands. `has_older`:
    /// there are older files than those of the job.
    pub(crate) fn is_said(&self, record: &CatalogueRecord<'_>, seqno: Seqno, has_older: bool) -> bool {
        match *record {
            CatalogueRecord::Create(create) => self.get(create.id).is_some_and(|space| space.created() == seqno),
            CatalogueRecord::Clear(id) => self.get(id).is_some_and(|space| space.floor() == seqno),
            CatalogueRecord::Drop(id) => self.get(id).is_none_or(|space| space.created() < seqno),
            CatalogueRecord::Cursor { name, seqno: position } => self.cursors.is_said(name, position, seqno, has_older),
        }
    }

    /// Lets go of what no moment from `oldest` on shows; `None`: none is open.
    pub(crate) fn forget_past(&self) {
        self.retain_past(None);
    }

    pub(crate) fn retain_past(&self, oldest: Option<Seqno>) {
        lock(&self.with_past).retain(|space| space.retain_past(oldest));
    }
}

/// Finds keyspaces one after the other: mostly the same one again.
pub(crate) struct Finder<'s> {
    spaces: &'s Spaces,
    last: Option<Arc<Space>>,
}

impl<'s> Finder<'s> {
    pub(crate) fn new(spaces: &'s Spaces) -> Finder<'s> {
        Finder { spaces, last: None }
    }

    /// The keyspace with this id, if there is one.
    #[inline]
    pub(crate) fn get(&mut self, id: u16) -> Option<&Space> {
        if id == DEFAULT_KEYSPACE {
            return Some(&self.spaces.default);
        }
        if self.last.as_ref().is_none_or(|last| last.id != id || last.is_dropped()) {
            self.last = self.spaces.get(id);
        }
        self.last.as_deref()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
