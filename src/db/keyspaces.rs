//! Several keyspaces in one store.
//!
//! Floor 6. Imports `commit`, `db`, `error`, `format`, `platform`, `store`, `sync`.

use std::time::Duration;

use crate::commit::batch::{Records, Rule};
use crate::commit::durability::Durability;
use crate::db::Db;
use crate::db::keyspace::Keyspace;
use crate::error::{Error, ErrorKind, Result};
use crate::format::catalogue::{CatalogueRecord, KeyspaceCreate, NAME_LEN_MAX};
use crate::platform::clock::ms_up;
use crate::store::DEFAULT_NAME;
use crate::store::space::SpaceOptions;
use crate::sync::Arc;

/// What a keyspace is made with. It is kept in the store, for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyspaceOptions {
    ordered: bool,
    value_align: usize,
    default_ttl: Option<Duration>,
}

impl Default for KeyspaceOptions {
    fn default() -> Self {
        KeyspaceOptions::of(&SpaceOptions::default())
    }
}

impl KeyspaceOptions {
    /// Keys in no order, values at multiples of 8 bytes, nothing expires by itself.
    pub fn new() -> Self {
        KeyspaceOptions::default()
    }

    /// Whether keys are kept in order, so that there are ranges of them.
    pub fn ordered(mut self, yes: bool) -> Self {
        self.ordered = yes;
        self
    }

    /// What the address of each [`Value`](crate::Value) is a multiple of: a power of two from 1 to 4096. Default: 8, which is the least. One that does not
    /// lie so in its file is copied.
    ///
    /// What a [`Reader`](crate::Reader) and [`Range::visit`](crate::Range::visit) only lend lies where it lies, at a multiple of 8. So does the value of an [`Archive`](crate::archive::Archive) that is read without a store, and what the feed shows
    /// of a keyspace that was dropped since. A part of a value ([`Keyspace::get_range`]) lies anywhere.
    pub fn value_align(mut self, bytes: usize) -> Self {
        self.value_align = bytes;
        self
    }

    /// How long keys live that are put without a time of their own: from a millisecond to 500 million years, rounded up to milliseconds. A key
    /// whose time would come more than 500 million years after 1970 stays.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// As they were kept.
    pub(crate) fn of(kept: &SpaceOptions) -> KeyspaceOptions {
        KeyspaceOptions {
            ordered: kept.ordered,
            value_align: kept.value_align.into(),
            default_ttl: kept.default_ttl_ms.map(Duration::from_millis),
        }
    }

    /// # Errors
    /// `Invalid` if one of them is out of range.
    pub(crate) fn checked(self) -> Result<SpaceOptions> {
        let align = self.value_align;
        if !align.is_power_of_two() || align > 4096 {
            let text = format!("value_align is {align}; it must be a power of two from 1 to 4096");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let default_ttl_ms = self.default_ttl.map(ms_up);
        if let Some(Some(0) | None) = default_ttl_ms {
            let text = format!(
                "default_ttl is {:?}; it must be more than nothing and at most 500 million years",
                self.default_ttl.unwrap_or_default()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let default_ttl_ms = default_ttl_ms.flatten();
        Ok(SpaceOptions { ordered: self.ordered, value_align: align.max(8) as u16, default_ttl_ms })
    }
}

impl Db {
    /// The keyspace of this name, with whatever options it has. If there is none it is made with default options, so in no order, and keeps these until it
    /// is dropped: [`Db::keyspace_with`] makes others. `"default"` is what the store itself is.
    ///
    /// Making one is durable when this returns. There may be 65,535 besides the default one.
    ///
    /// # Errors
    /// `Invalid` for an empty name, or one of more than 65,535 bytes; `ResourceLimit` if there are too many. `NotFound` if it is not there
    /// and the store is open for reading only. As [`Keyspace::put`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.keyspace_of(name, None)
    }

    /// The keyspace of this name, made with these options if there is none.
    ///
    /// ```
    /// # fn main() -> zipcask::Result<()> {
    /// use zipcask::{KeyspaceOptions, Options};
    ///
    /// let db = Options::new().open_in_memory()?;
    /// let users = db.keyspace_with("users", KeyspaceOptions::new().value_align(16))?;
    /// users.put("ada", "first")?;
    /// assert!(!db.contains_key("ada")?);
    /// assert_eq!(db.keyspaces(), ["default", "users"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Db::keyspace`], and `Invalid` if it has other options.
    pub fn keyspace_with(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        self.keyspace_of(name, Some(options))
    }

    /// What the keyspaces are called, in order, the default one among them.
    pub fn keyspaces(&self) -> Vec<String> {
        let named =
            |store: &crate::store::Store| store.spaces().all().iter().map(|space| space.name().to_owned()).collect();
        let mut names: Vec<_> = self.default.shared.figure(Vec::new(), named);
        names.sort();
        names
    }

    /// Removes a keyspace with all that is in it, durably, whatever its size, and says whether it was there. The space that it took up comes back by
    /// compaction. Handles of it find nothing any more.
    ///
    /// # Errors
    /// `Invalid` for the default keyspace: [`Keyspace::clear`] empties it. As [`Keyspace::put`].
    pub fn drop_keyspace(&self, name: &str) -> Result<bool> {
        let shared = &self.default.shared;
        let store = shared.writable_store()?;
        if name == DEFAULT_NAME {
            let text = "the default keyspace stays as long as the store; clear it instead";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let _naming = store.spaces().naming();
        let Some(space) = store.spaces().named(name) else { return Ok(false) };
        let mut records = Records::new();
        records.say(&CatalogueRecord::Drop(space.id()))?;
        shared.commit(records, Rule::Always, Durability::Sync).map(|_| true)
    }

    fn keyspace_of(&self, name: &str, options: Option<KeyspaceOptions>) -> Result<Keyspace> {
        let shared = &self.default.shared;
        let (store, options) = (shared.open_store()?, options.map(KeyspaceOptions::checked).transpose()?);
        if name.is_empty() || name.len() > NAME_LEN_MAX {
            let text = format!("the name of a keyspace has from 1 to {NAME_LEN_MAX} bytes, this one {}", name.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if let Some(found) = self.found(name, options)? {
            return Ok(found);
        }
        if store.is_read_only() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no keyspace {name:?}")));
        }
        let _naming = store.spaces().naming();
        if let Some(found) = self.found(name, options)? {
            return Ok(found);
        }
        let Some(id) = store.spaces().free_id() else {
            let text =
                format!("there is no room for the keyspace {name:?}: a store has at most 65535; drop another first");
            return Err(Error::new(ErrorKind::ResourceLimit, text));
        };
        self.make(id, name, options.unwrap_or_default())?;
        match self.found(name, options)? {
            Some(made) => Ok(made),
            None => unreachable!("nobody drops it while the right to name is held"),
        }
    }

    /// Has the default keyspace have these options, if the store is new.
    ///
    /// # Errors
    /// `Invalid` if it is not, and they are others.
    pub(crate) fn with_default(self, options: Option<KeyspaceOptions>) -> Result<Db> {
        let Some(options) = options.map(KeyspaceOptions::checked).transpose()? else { return Ok(self) };
        let store = &self.default.shared.store;
        let is_new = store.watermark().visible() == 0.into() && !store.is_read_only();
        if is_new && options != SpaceOptions::default() {
            self.make(self.default.space.id(), DEFAULT_NAME, options)?;
        }
        self.found(DEFAULT_NAME, Some(options)).map(|_| self)
    }

    fn make(&self, id: u16, name: &str, options: SpaceOptions) -> Result<()> {
        let SpaceOptions { ordered, value_align, default_ttl_ms } = options;
        let mut records = Records::new();
        records.say(&CatalogueRecord::Create(KeyspaceCreate { id, name, ordered, value_align, default_ttl_ms }))?;
        self.default.shared.commit(records, Rule::Always, Durability::Sync).map(drop)
    }

    /// The keyspace of this name, if there is one.
    ///
    /// # Errors
    /// `Invalid` if it has other options than these.
    fn found(&self, name: &str, options: Option<SpaceOptions>) -> Result<Option<Keyspace>> {
        let shared = &self.default.shared;
        let Some(space) = shared.store.spaces().named(name) else { return Ok(None) };
        if let Some(asked) = options.filter(|options| *options != space.options()) {
            return Err(others(name, &space.options(), &asked));
        }
        Ok(Some(Keyspace { shared: Arc::clone(shared), space }))
    }
}

/// It `has` options that are not those `asked` for: which.
#[cold]
fn others(name: &str, has: &SpaceOptions, asked: &SpaceOptions) -> Error {
    let told = |options: &SpaceOptions| {
        let ttl = options.default_ttl_ms.map(Duration::from_millis);
        [options.ordered.to_string(), options.value_align.to_string(), format!("{ttl:?}")]
    };
    let (has, asked) = (told(has), told(asked));
    let differ = ["ordered", "value_align", "default_ttl"].iter().zip(has.iter().zip(&asked));
    let differ: Vec<_> = differ
        .filter(|(_, (has, asked))| has != asked)
        .map(|(option, (has, asked))| format!("{option} is {has}, not {asked}"))
        .collect();
    let remedy = if name == DEFAULT_NAME { "use another keyspace" } else { "drop it, or use another" };
    let text =
        format!("the keyspace {name:?} was made with other options: {}; it keeps these: {remedy}", differ.join(", "));
    Error::new(ErrorKind::Invalid, text)
}
