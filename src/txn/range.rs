//! Keys and values in order, as of a moment that stays open for as long.
//!
//! Floor 5. Imports `error`, `segment`, `store`, `sync`, `txn`.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::merge::Side;
use crate::store::range::{Bounds, RangePass};
use crate::store::space::Space;
use crate::sync::Arc;
use crate::txn::moment::Moment;

/// A scan, and the moment that it shows.
pub(crate) struct MomentRange {
    pass: RangePass,
    // After the pass: what that shows is kept until then.
    moment: Arc<Moment>,
    /// Whether it was said that this is a forked process.
    refused: bool,
}

impl MomentRange {
    /// As of now.
    ///
    /// # Errors
    /// As `Moment::now`; `Io`, `ResourceLimit` where segments are read by position.
    pub(crate) fn now(store: &Arc<Store>, space: &Arc<Space>, bounds: &Bounds) -> Result<MomentRange> {
        let changes = store.archives().changes();
        let moment = Arc::new(Moment::now(store)?);
        MomentRange::of(&moment, space, bounds, Some(changes))
    }

    /// As of a moment.
    ///
    /// # Errors
    /// `Forked`; `Io`, `ResourceLimit` where segments are read by position.
    pub(crate) fn at(moment: &Arc<Moment>, space: &Arc<Space>, bounds: &Bounds) -> Result<MomentRange> {
        MomentRange::of(moment, space, bounds, None)
    }

    fn of(moment: &Arc<Moment>, space: &Arc<Space>, bounds: &Bounds, changes: Option<u64>) -> Result<MomentRange> {
        let pass = moment.store()?.range_at(space, bounds, (moment.seqno(), moment.time_ms()), changes)?;
        Ok(MomentRange { pass, moment: Arc::clone(moment), refused: false })
    }

    /// Shows what is left to `each` from below, until it breaks.
    ///
    /// # Errors
    /// Those of the first record that cannot be read; `Forked`.
    pub(crate) fn visit(&mut self, each: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        self.pass.visit(self.moment.store()?, each)
    }

    /// The next from a side; nothing once both have met.
    pub(crate) fn next_pair(&mut self, side: Side) -> Option<Result<(Value, Value)>> {
        match self.moment.store() {
            Ok(store) => self.pass.next_pair(store, side),
            Err(_) if self.refused => None,
            Err(error) => {
                self.refused = true;
                Some(Err(error))
            }
        }
    }
}
