//! `zipcask cursors`.
//!
//! Floor 7. Imports nothing.

use std::path::PathBuf;

use clap::Args;
use zipcask::CursorStats;

use crate::coding::shown;
use crate::failure::{Code, Failure, Outcome};
use crate::opened;
use crate::out::Out;

/// List the cursors of the change feed, a line each: name, first write to come, bytes held, parted by tabs
///
/// One whose consumer has lost something, because a write to come is not kept any more, is followed by a tab and "lost".
#[derive(Args)]
pub(crate) struct Cursors {
    /// The store's directory
    dir: PathBuf,
    /// Remove this one instead: nothing is held for it any more
    #[arg(long, value_name = "NAME")]
    drop: Option<String>,
}

impl Cursors {
    pub(crate) fn run(self) -> Outcome {
        let Some(name) = self.drop else {
            let (db, mut out) = (opened::to_read(&self.dir)?, Out::new());
            for CursorStats { name, position, held_bytes, lost, .. } in db.stats().cursors {
                let lost = if lost { "\tlost" } else { "" };
                out.line(format_args!("{}\t{position}\t{held_bytes}{lost}", shown(name.as_bytes())))?;
            }
            return out.done();
        };
        let db = opened::existing(&self.dir)?;
        let was_there = db.drop_cursor(&name)?;
        db.close()?;
        if !was_there {
            let text = format!("there is no cursor \"{}\"", shown(name.as_bytes()));
            return Err(Failure::new(Code::NotFound, text));
        }
        Out::new().now(format_args!("removed {}", shown(name.as_bytes())))
    }
}
