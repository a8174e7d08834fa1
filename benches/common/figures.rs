//! Medians and spreads.

/// Median and the 5th and 95th percentile of some rounds.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) p5: f64,
    pub(crate) median: f64,
    pub(crate) p95: f64,
}

impl Figures {
    /// # Panics
    /// If there are none.
    pub(crate) fn of(rounds: &[f64]) -> Figures {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let at = |part: f64| sorted[(part * last as f64).round() as usize];
        Figures { p5: at(0.05), median: at(0.5), p95: at(0.95) }
    }
}
