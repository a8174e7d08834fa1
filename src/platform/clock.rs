//! The machine's time.
//!
//! Floor 1. Imports `platform`.

use std::time::{Duration, Instant, SystemTime};

use crate::platform::Clock;

/// The machine's own clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time counts from this call.
    pub(crate) fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

/// What a time of day is for users.
pub(crate) type WallTime = SystemTime;

/// The time that is so many milliseconds after 1970; `None` if the system has no word for it.
pub(crate) fn time_of(wall_ms: u64) -> Option<WallTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(wall_ms))
}

/// The first millisecond, counted from 1970, that is not before `time`; 0 if that is before 1970. `None` if there are no such numbers.
pub(crate) fn ms_of(time: WallTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    ms_up(since)
}

/// So many milliseconds, rounded up. `None` if there are no such numbers.
pub(crate) fn ms_up(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).ok()
}

impl Clock for SystemClock {
    /// 0 on a machine whose clock stands before 1970.
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
