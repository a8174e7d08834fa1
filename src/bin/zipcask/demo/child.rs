//! The child that the demo kills: writes the batches it is told, and acknowledges each.
//!
//! Floor 7. Imports nothing.

use std::io::{self, BufReader};
use std::path::PathBuf;

use clap::Args;

use crate::demo::plan;
use crate::failure::{Failure, Outcome};
use crate::opened;
use crate::out::Out;

/// Write the batches told on stdin, and count the records acknowledged on stdout
#[derive(Args)]
pub(crate) struct DemoLoad {
    /// The store's directory
    dir: PathBuf,
}

impl DemoLoad {
    pub(crate) fn run(self) -> Outcome {
        let db = opened::or_made(&self.dir)?;
        let mut stdin = BufReader::with_capacity(1 << 20, io::stdin().lock());
        let (mut out, mut acked) = (Out::new(), 0);
        while let Some(records) = plan::hear(&mut stdin).map_err(|error| Failure::io("cannot read stdin", &error))? {
            plan::commit(&db, &records)?;
            acked += records.len();
            out.now(format_args!("{acked}"))?;
        }
        Ok(db.close()?)
    }
}
