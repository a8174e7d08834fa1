//! Bringing files into a copy, so that it is whole at any moment.
//!
//! Floor 4. Imports `backup`, `error`, `format`, `limits`, `platform`, `segment`, `store`, `sync`.
//!
//! ```text
//! PENDING: what comes              from here on it may come in any order: it does not count (B2)
//! what is there and useless goes
//! each file: link; or first name, bytes, sync, final name (B3)
//! sync of the folders
//! PENDING: what goes               what came counts, what goes does not: in one rename
//! what goes goes, sync of the folders
//! no PENDING
//! ```
//!
//! In the first backup into a directory the identity, which comes last, does what `PENDING` does in others.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use crate::backup::plan::{Plan, PlannedSegment};
use crate::backup::there::{Judged, There};
use crate::backup::{BackupReport, Step};
use crate::error::Result;
use crate::format::names;
use crate::format::segment::Horizon;
use crate::limits::{FOOTER_LEN, HEADER_COPY, HORIZON_SLOT, RECORDS_START, SECTOR};
use crate::platform::{Access, Disk, File};
use crate::segment::source::Source;
use crate::store::{Store, failed, init, pending};
use crate::sync::Arc;

/// Bytes that are copied at once.
const PIECE_LEN: u64 = 1 << 20;
/// Those that files of a copy lie in.
const FOLDERS: [&str; 3] = [names::SEGMENTS, names::ARCHIVES, names::LARGE];

/// A copy that is being made, or brought up to date.
pub(super) struct Target<'a> {
    store: &'a Store,
    disk: &'a dyn Disk,
    plan: &'a Plan,
    step: Step<'a>,
    links: Links,
    done: BackupReport,
}

/// Whether the copy may share files with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Links {
    Wanted,
    Refused,
}

impl<'a> Target<'a> {
    pub(super) fn new(store: &'a Store, disk: &'a dyn Disk, plan: &'a Plan, step: Step<'a>) -> Target<'a> {
        let done = BackupReport { seqno: plan.seqno, ..BackupReport::default() };
        Target { store, disk, plan, step, links: Links::Wanted, done }
    }

    /// The same, with files of its own.
    pub(super) fn without_links(self) -> Target<'a> {
        Target { links: Links::Refused, ..self }
    }

    /// Brings what is not there, and removes what is replaced.
    ///
    /// # Errors
    /// As the system says; what counted before counts then, or what is to count now (B2).
    pub(super) fn update(mut self, there: &There, judged: &Judged) -> Result<BackupReport> {
        let (disk, first) = (self.disk, there.identity.is_none());
        for (_, len) in &judged.kept {
            self.done.kept_files += 1;
            self.done.kept_bytes += len;
        }
        let kept: BTreeSet<&str> = judged.kept.iter().map(|(name, _)| name.as_str()).collect();
        let coming: BTreeSet<String> = self.names().filter(|name| !kept.contains(name.as_str())).collect();
        self.make_folders()?;
        let hidden: BTreeSet<String> = coming.union(&there.pending).cloned().collect();
        if !first && hidden != there.pending {
            pending::write(disk, &hidden)?;
        }
        for name in judged.useless.iter().chain(&there.leftovers) {
            pending::remove_if_there(disk, name)?;
        }
        self.bring(&kept)?;
        // BARRIER: B2. What came has its names for good, and what was useless has gone for good, before any of it counts.
        FOLDERS.iter().try_for_each(|folder| self.sync(folder))?;
        if first {
            self.remove(&judged.replaced)?;
            // BARRIER: the directory has its name before anybody is told of a copy in it.
            disk.sync_parent().map_err(failed(disk, "sync the parent of", ""))?;
            init::write_identity(disk, &self.store.identity().of_copy())?;
            return Ok(self.done);
        }
        let is_large = |name: &str| name.starts_with(names::LARGE);
        let going = judged.replaced.iter().map(|(name, _)| name).filter(|name| !is_large(name)).cloned().collect();
        if going != hidden {
            pending::write(disk, &going)?;
        }
        self.remove(&judged.replaced)?;
        if !going.is_empty() {
            pending::write(disk, &BTreeSet::new())?;
        }
        Ok(self.done)
    }

    /// The names of all segments and archives of the copy.
    fn names(&self) -> impl Iterator<Item = String> {
        let segments = self.plan.segments.keys().map(|id| names::segment(*id));
        segments.chain(self.plan.archives.keys().map(|id| names::archive(*id)))
    }

    /// Makes the folders that files will lie in, for good.
    fn make_folders(&self) -> Result<()> {
        let wanted = [true, !self.plan.archives.is_empty(), !self.plan.large.is_empty()];
        let mut made = false;
        for (folder, _) in FOLDERS.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            match self.disk.create_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => {
                    done.map_err(failed(self.disk, "create", folder))?;
                    made = true;
                }
            }
        }
        if made {
            // BARRIER: a file that counts does not lose its folder.
            self.disk.sync_dir("").map_err(failed(self.disk, "sync", ""))?;
        }
        Ok(())
    }

    /// Brings all that is not there.
    fn bring(&mut self, kept: &BTreeSet<&str>) -> Result<()> {
        let plan = self.plan;
        for id in &plan.large {
            let name = names::large(*id);
            let there = self.store.disk().open(&name, Access::Read);
            if kept.contains(name.as_str())
                || there.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            {
                // A record may name a file that is lost: that is no reason to copy nothing.
                continue;
            }
            let file = there.map_err(failed(&**self.store.disk(), "open", &name))?;
            self.bring_file(&*file, &name, &names::new_large(*id))?;
        }
        for (id, planned) in plan.segments.iter().filter(|(id, _)| !kept.contains(names::segment(**id).as_str())) {
            self.bring_segment(planned, &names::segment(*id), &names::new_segment(*id))?;
        }
        for id in plan.archives.keys().filter(|id| !kept.contains(names::archive(**id).as_str())) {
            let (name, disk) = (names::archive(*id), self.store.disk());
            let file = disk.open(&name, Access::Read).map_err(failed(&**disk, "open", &name))?;
            self.bring_file(&*file, &name, &names::new_archive(*id))?;
        }
        Ok(())
    }

    /// Brings a file as it is.
    fn bring_file(&mut self, source: &dyn File, name: &str, new: &str) -> Result<()> {
        let len = source.len().map_err(failed(&**self.store.disk(), "read the length of", name))?;
        if self.link(source, name, len)? {
            return Ok(());
        }
        let file = self.create(new)?;
        let path = self.store.disk().path().join(name).display().to_string();
        self.copy(source, &path, &*file, new, 0..len)?;
        self.finish(&*file, new, name, len)
    }

    /// Brings a segment, as it is or as far as it is wanted: without what lies between records and footer.
    fn bring_segment(&mut self, planned: &PlannedSegment, name: &str, new: &str) -> Result<()> {
        let PlannedSegment { header, footer, source, as_it_is } = planned;
        let from = source.file()?;
        if *as_it_is && self.link(&*from, name, planned.bytes())? {
            return Ok(());
        }
        let file = self.create(new)?;
        let mut start = [0; RECORDS_START as usize];
        let horizon = Horizon { offset: footer.end, seqno: footer.last_seqno }.encode(header.salt());
        for (at, sector) in [(0, header.encode()), (HEADER_COPY, header.encode()), (HORIZON_SLOT, horizon)] {
            start[at as usize..][..SECTOR].copy_from_slice(&sector);
        }
        start[HORIZON_SLOT as usize + SECTOR..][..SECTOR].copy_from_slice(&horizon);
        let written = file.write_at(&start, 0);
        written.map_err(failed(self.disk, "write", new))?;
        self.copy(&*from, source.path(), &*file, new, RECORDS_START..footer.end)?;
        let written = file.write_at(&footer.encode(header.salt()), header.len - FOOTER_LEN);
        written.map_err(failed(self.disk, "write", new))?;
        self.finish(&*file, new, name, planned.bytes())
    }

    /// Gives a file of the store its name in the copy, too, if that can be.
    fn link(&mut self, source: &dyn File, name: &str, len: u64) -> Result<bool> {
        let path = self.store.disk().path().join(name);
        if self.links == Links::Refused
            || !self.disk.link(source, &path, name).map_err(failed(self.disk, "link", name))?
        {
            return Ok(false);
        }
        self.done.linked_files += 1;
        self.done.linked_bytes += len;
        (self.step)(0)?;
        Ok(true)
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        pending::remove_if_there(self.disk, name)?;
        self.disk.create(name).map_err(failed(self.disk, "create", name))
    }

    /// Copies these bytes of `source` to where they are there.
    fn copy(&self, source: &dyn File, path: &str, file: &dyn File, name: &str, bytes: Range<u64>) -> Result<()> {
        let (mut at, mut piece) = (bytes.start, vec![0; PIECE_LEN.min(bytes.end - bytes.start) as usize]);
        while at < bytes.end {
            let piece = &mut piece[..PIECE_LEN.min(bytes.end - at) as usize];
            Source::Cache.read_exact(source, path, piece, at)?;
            file.write_from(source, at, piece, at).map_err(failed(self.disk, "write", name))?;
            (self.step)(piece.len() as u64)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Gives a new file its final name.
    fn finish(&mut self, file: &dyn File, new: &str, name: &str, len: u64) -> Result<()> {
        // BARRIER: B3. Its bytes and its length are durable before it has its final name.
        file.sync().map_err(failed(self.disk, "sync", new))?;
        self.disk.rename(new, name).map_err(failed(self.disk, "name", name))?;
        self.done.copied_files += 1;
        self.done.copied_bytes += len;
        Ok(())
    }

    /// Removes files, for good.
    fn remove(&mut self, files: &[(String, u64)]) -> Result<()> {
        for (name, len) in files {
            pending::remove_if_there(self.disk, name)?;
            self.done.removed_files += 1;
            self.done.removed_bytes += len;
        }
        for folder in FOLDERS.iter().filter(|folder| files.iter().any(|(name, _)| name.starts_with(**folder))) {
            // BARRIER: B2. They have gone before `PENDING` does, or before there is an identity.
            self.sync(folder)?;
        }
        Ok(())
    }

    /// Makes the names in a folder durable, if it is there.
    fn sync(&self, folder: &str) -> Result<()> {
        // BARRIER: as the caller says.
        match self.disk.sync_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(failed(self.disk, "sync", folder)),
        }
    }
}
