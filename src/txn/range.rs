//! Keys and values in order, as of a moment that stays open for as long.
//!
//! Floor 5. Imports `error`, `segment`, `store`, `sync`, `txn`.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::segment::value::Value;
use crate::store::Store;
use crate::store::merge::Side;
use crate::store::range::{Bounds, RangePass, Ready};
use crate::store::space::Space;
use crate::sync::Arc;
use crate::txn::moment::Moment;

/// A scan, and the moment that it shows.
pub(crate) struct MomentRange {
    pass: RangePass,
    // After the pass: what that shows is kept until then.
    moment: Arc<Moment>,
    /// Whether it was said that there is nothing to see: in a forked process, and of a log that is no more.
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
    /// `Forked`; `NotFound` of a log that is no more; `Io`, `ResourceLimit` where segments are read by position.
    pub(crate) fn at(moment: &Arc<Moment>, space: &Arc<Space>, bounds: &Bounds) -> Result<MomentRange> {
        MomentRange::of(moment, space, bounds, None)
    }

    fn of(moment: &Arc<Moment>, space: &Arc<Space>, bounds: &Bounds, changes: Option<u64>) -> Result<MomentRange> {
        let pass = moment.store()?.range_at(space, bounds, (moment.seqno(), moment.time_ms()), changes)?;
        moment.check_era()?;
        Ok(MomentRange { pass, moment: Arc::clone(moment), refused: false })
    }

    /// Shows what is left to `each` from below, until it breaks.
    ///
    /// # Errors
    /// Those of the first record that cannot be read; `Forked`; `NotFound` of a log that is no more.
    pub(crate) fn visit(&mut self, each: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let (moment, mut era) = (&self.moment, Ok(()));
        self.pass.visit(moment.store()?, &mut |key: &[u8], value: &[u8]| {
            era = moment.check_era();
            if era.is_ok() { each(key, value) } else { ControlFlow::Break(()) }
        })?;
        era.and_then(|()| moment.check_era())
    }

    /// The next from a side; nothing once both have met.
    #[inline]
    pub(crate) fn next_pair(&mut self, side: Side) -> Option<Result<(Value, Value)>> {
        // Said before key and value are put together: moved behind an error that is none, they would cost as much as finding them.
        match self.next_ready(side)? {
            Ok(ready) => Some(self.pass.pair(&ready)),
            Err(error) => Some(Err(error)),
        }
    }

    #[inline]
    fn next_ready(&mut self, side: Side) -> Option<Result<Ready>> {
        let store = match self.moment.store() {
            Ok(store) => store,
            Err(error) => return self.refuse(error),
        };
        let ready = self.pass.next_ready(store, side);
        match self.moment.check_era() {
            Ok(()) => ready,
            Err(error) => self.refuse(error),
        }
    }

    #[cold]
    fn refuse(&mut self, error: Error) -> Option<Result<Ready>> {
        (!std::mem::replace(&mut self.refused, true)).then_some(Err(error))
    }
}
