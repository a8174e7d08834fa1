//! All ways to read one key.

use zipcask::{Db, Reader};

/// What a check says: what it is about, or what is wrong.
pub(crate) type Checked<T> = Result<T, String>;

/// Says an error of the store in words.
pub(crate) fn told<T>(outcome: zipcask::Result<T>) -> Checked<T> {
    outcome.map_err(|error| format!("the store says {:?}: {error}", error.kind()))
}

/// Ways that show the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Get,
    GetWith,
    Reader,
    ReaderMany,
}

impl Way {
    pub(crate) const ALL: [Way; 4] = [Way::Get, Way::GetWith, Way::Reader, Way::ReaderMany];

    /// Shows the value of `key` to `look`.
    pub(crate) fn read<T>(
        self,
        db: &Db,
        reader: &Reader,
        key: &[u8],
        look: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Checked<T> {
        match self {
            Way::Get => Ok(look(told(db.get(key))?.as_deref())),
            Way::GetWith => {
                let mut look = Some(look);
                let shown = told(db.get_with(key, |value| (look.take().expect("it is called once"))(Some(value))))?;
                match (shown, look) {
                    (Some(looked), _) => Ok(looked),
                    (None, Some(look)) => Ok(look(None)),
                    (None, None) => Err("get_with called, and returned None".into()),
                }
            }
            Way::Reader => Ok(look(told(reader.get(key))?)),
            Way::ReaderMany => {
                let (mut look, mut looked) = (Some(look), None);
                reader.get_many(&[key], |at, value| {
                    let look = look.take().filter(|_| at == 0);
                    looked = Some(look.ok_or("get_many calls for no key".into()).and_then(|f| Ok(f(told(value)?))));
                });
                looked.unwrap_or_else(|| Err("get_many never calls".into()))
            }
        }
    }
}
