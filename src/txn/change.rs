//! Changing a key to something that depends on what it was, without a lock while the caller thinks.
//!
//! Floor 5. Imports `commit`, `error`, `segment`, `store`, `txn`.

use crate::commit::batch::{Condition, Records, To};
use crate::commit::group::Done;
use crate::commit::large;
use crate::error::Result;
use crate::segment::value::Value;
use crate::store::space::Space;
use crate::txn::Writing;

/// What becomes of a key.
pub(crate) enum Change {
    /// It stays as it is.
    Nothing,
    Put(Vec<u8>),
    Delete,
}

/// Makes of the key what `f` says, which is asked again whenever somebody else was faster; the last answer is the one that counts.
///
/// # Errors
/// Those of `f`, of a get and of a put; nothing was changed.
pub(crate) fn change(
    to: Writing<'_>,
    space: &Space,
    key: &[u8],
    mut f: impl FnMut(Option<&[u8]>) -> Result<Change>,
) -> Result<Option<Value>> {
    let hash = to.store.hash(key);
    loop {
        let (value, version) = to.store.get_versioned(space, hash, key)?;
        let (mut records, mut new) = (Records::new(), None);
        match f(value.as_deref())? {
            Change::Nothing => return to.rest().map(|()| value),
            Change::Delete if value.is_none() => return to.rest().map(|()| None),
            Change::Delete => records.delete(space.id(), hash, key)?,
            Change::Put(put) => {
                // A key that is there lasts as long as it did before, for ever included. One whose time has come is not there.
                let expiry = match version {
                    Some(version) if value.is_some() => version.expiry,
                    _ => to.store.default_expiry(space),
                };
                large::put(to.store, &mut records, To { keyspace: space.id(), expiry }, key, &put)?;
                new = Some(put);
            }
        }
        records.require(Condition::Same {
            keyspace: space.id(),
            hash,
            key: key.into(),
            seqno: version.map(|version| version.seqno),
        });
        if to.commit(records)? != Done::Conflict {
            return Ok(new.map(|new| Value::copied_to(&new, space.align())));
        }
    }
}
