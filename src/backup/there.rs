//! What lies where a copy is to be.
//!
//! Floor 4. Imports `address`, `backup`, `error`, `format`, `limits`, `platform`, `segment`, `store`.

use std::collections::BTreeSet;
use std::io;

use crate::address::{ArchiveId, LargeId, SegmentId};
use crate::backup::plan::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::Identity;
use crate::format::names::{self, ArchivesEntry, SegmentsEntry};
use crate::format::segment::Footer;
use crate::limits::FOOTER_LEN;
use crate::platform::{Access, Disk};
use crate::segment::source::Source;
use crate::store::archived::{Archive, read_header};
use crate::store::{Store, failed, init, pending};

/// What a lock leaves.
pub(super) const LOCK_NAMES: [&str; 2] = [names::LOCK, names::HOLDER];

/// The files of a directory that a copy is to be in.
pub(super) struct There {
    /// Of the copy that is there; `None` if it was not finished, or there is none.
    pub(super) identity: Option<Identity>,
    /// Names that do not count.
    pub(super) pending: BTreeSet<String>,
    segments: BTreeSet<SegmentId>,
    archives: BTreeSet<ArchiveId>,
    large: BTreeSet<LargeId>,
    /// Names that never became final.
    pub(super) leftovers: Vec<String>,
}

/// What becomes of them.
#[derive(Default)]
pub(super) struct Judged {
    /// They are what they are to be; each with its bytes.
    pub(super) kept: Vec<(String, u64)>,
    /// They go before anything else is brought: they do not count, and are not what is to come.
    pub(super) useless: Vec<String>,
    /// They go at the end.
    pub(super) replaced: Vec<(String, u64)>,
}

/// What a file that is there is.
enum Verdict {
    Kept(u64),
    Replaced(u64),
    Strange(&'static str),
}

impl There {
    /// Looks without touching anything.
    ///
    /// # Errors
    /// `Invalid` if there is anything but a copy of the store of this identity that nobody has written, or what a first backup of one that
    /// was cut short left.
    pub(super) fn look(disk: &dyn Disk, source: &Identity) -> Result<There> {
        let names = disk.list("").map_err(failed(disk, "list", ""))?;
        let identity = match names.iter().any(|name| name == names::IDENTITY) {
            true => Some(init::read_identity(disk)?),
            false => None,
        };
        let refuse = |why: String| Error::new(ErrorKind::Invalid, format!("{} {why}", disk.path().display()));
        if let Some(identity) = &identity {
            if identity.database != source.database {
                return Err(refuse("holds another store; choose an empty directory for the backup".to_owned()));
            }
            if *identity != source.of_copy() {
                let why = "holds this store, but no backup of it: one that was opened for writing since, or of another copy; choose an empty directory";
                return Err(refuse(why.to_owned()));
            }
        }
        let folders = [names::SEGMENTS, names::ARCHIVES, names::LARGE].map(|folder| format!("{folder}/"));
        let ours = |name: &&String| {
            LOCK_NAMES.contains(&name.as_str()) || folders.contains(*name) || *name == names::IDENTITY_NEW
        };
        if identity.is_none()
            && let Some(name) = names.iter().find(|name| !ours(name))
        {
            return Err(refuse(format!("holds {name}, and is no backup of this store; choose an empty directory")));
        }
        let mut there = There {
            pending: identity.as_ref().map_or(Ok(BTreeSet::new()), |identity| pending::read(disk, identity))?,
            identity,
            segments: BTreeSet::new(),
            archives: BTreeSet::new(),
            large: BTreeSet::new(),
            leftovers: Vec::new(),
        };
        let strange = there.list(disk)?;
        match strange.filter(|_| there.identity.is_none()) {
            Some(name) => {
                Err(refuse(format!("holds {name}, and is no backup of this store; choose an empty directory")))
            }
            None => Ok(there),
        }
    }

    /// Lists the folders; returns a name that is none of ours, if there is one.
    fn list(&mut self, disk: &dyn Disk) -> Result<Option<String>> {
        let list = |folder: &str| match disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(failed(disk, "list", folder)),
        };
        let mut strange = None;
        for name in list(names::SEGMENTS)? {
            match names::parse_segments_entry(&name) {
                SegmentsEntry::Segment(id) => drop(self.segments.insert(id)),
                SegmentsEntry::New(id) => self.leftovers.push(names::new_segment(id)),
                SegmentsEntry::Foreign => strange = Some(format!("{}/{name}", names::SEGMENTS)),
            }
        }
        for name in list(names::ARCHIVES)? {
            match names::parse_archives_entry(&name) {
                ArchivesEntry::Archive(id) => drop(self.archives.insert(id)),
                ArchivesEntry::New(id) => self.leftovers.push(names::new_archive(id)),
                ArchivesEntry::Foreign => strange = Some(format!("{}/{name}", names::ARCHIVES)),
            }
        }
        for name in list(names::LARGE)? {
            match names::parse_large(&name) {
                Some(id) => drop(self.large.insert(id)),
                None if names::is_new_large(&name) => self.leftovers.push(format!("{}/{name}", names::LARGE)),
                None => strange = Some(format!("{}/{name}", names::LARGE)),
            }
        }
        Ok(strange)
    }

    /// Says of each file what becomes of it.
    ///
    /// # Errors
    /// `Invalid`, naming it, if one is not what a backup of this store left there. As the system says.
    pub(super) fn judge(&self, store: &Store, disk: &dyn Disk, plan: &Plan) -> Result<Judged> {
        let (identity, mut judged) = (store.identity(), Judged::default());
        for id in &self.segments {
            let verdict = judge_segment(disk, plan, *id, identity)?;
            self.note(disk, names::segment(*id), verdict, &mut judged)?;
        }
        for id in &self.archives {
            let verdict = judge_archive(disk, plan, *id, identity)?;
            self.note(disk, names::archive(*id), verdict, &mut judged)?;
        }
        for id in &self.large {
            let name = names::large(*id);
            let len = len_if_there(disk, &name)?.unwrap_or_default();
            let verdict = match plan.large.contains(id) {
                false => Verdict::Replaced(len),
                true if len_if_there(&**store.disk(), &name)? == Some(len) => Verdict::Kept(len),
                true => Verdict::Strange("it has another length than in the store"),
            };
            self.note(disk, name, verdict, &mut judged)?;
        }
        Ok(judged)
    }

    fn note(&self, disk: &dyn Disk, name: String, verdict: Verdict, judged: &mut Judged) -> Result<()> {
        match verdict {
            Verdict::Kept(len) => judged.kept.push((name, len)),
            Verdict::Replaced(_) | Verdict::Strange(_) if self.pending.contains(&name) => judged.useless.push(name),
            Verdict::Replaced(len) => judged.replaced.push((name, len)),
            Verdict::Strange(what) => {
                let path = disk.path().join(name);
                let text = format!(
                    "{} is not what a backup of this store left there: {what}; choose an empty directory",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
        Ok(())
    }
}

fn judge_segment(disk: &dyn Disk, plan: &Plan, id: SegmentId, identity: &Identity) -> Result<Verdict> {
    let name = names::segment(id);
    let path = disk.path().join(&name).display().to_string();
    let file = disk.open(&name, Access::Read).map_err(failed(disk, "open", &name))?;
    let header = match read_header(&*file, &path) {
        Err(error) if error.kind() == ErrorKind::Corruption => return Ok(Verdict::Strange("its header is damaged")),
        header => header?,
    };
    if header.database != identity.database {
        return Ok(Verdict::Strange("it is of another store"));
    }
    let len = file.len().map_err(failed(disk, "read the length of", &name))?;
    let mut bytes = [0; FOOTER_LEN as usize];
    Source::Cache.read_exact(&*file, &path, &mut bytes, len.saturating_sub(FOOTER_LEN))?;
    let footer = Footer::decode(&bytes, header.salt());
    let used = footer.map_or(len, |footer| footer.end.saturating_add(FOOTER_LEN));
    let covered = plan.archives.values().any(|archive| archive.covers((id, id)));
    let Some(planned) = plan.segments.get(&id) else {
        return Ok(if covered { Verdict::Replaced(used) } else { Verdict::Strange("the store has no such segment") });
    };
    if header != planned.header || len != header.len {
        return Ok(Verdict::Strange("the store has another segment of this id"));
    }
    if footer != Some(planned.footer) {
        return Ok(Verdict::Strange("it ends elsewhere than in the store"));
    }
    Ok(Verdict::Kept(planned.bytes()))
}

fn judge_archive(disk: &dyn Disk, plan: &Plan, id: ArchiveId, identity: &Identity) -> Result<Verdict> {
    let archive = match Archive::open(disk, &names::archive(id), id, identity) {
        Err(error) if error.kind() == ErrorKind::Corruption => return Ok(Verdict::Strange("it is damaged")),
        archive => archive?,
    };
    Ok(match plan.archives.get(&id) {
        Some(planned) if planned.len == archive.len && planned.manifest == *archive.manifest() => {
            Verdict::Kept(archive.len)
        }
        Some(_) => Verdict::Strange("the store has another archive of this id"),
        None if plan.archives.range(id..).any(|(_, newer)| newer.covers(archive.covers)) => {
            Verdict::Replaced(archive.len)
        }
        None => Verdict::Strange("the store has no such archive, and none in its place"),
    })
}

/// The length of a file, if it is there.
///
/// # Errors
/// As the system says.
fn len_if_there(disk: &dyn Disk, name: &str) -> Result<Option<u64>> {
    match disk.open(name, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => {
            let len = file.and_then(|file| file.len());
            len.map(Some).map_err(failed(disk, "read the length of", name))
        }
    }
}
