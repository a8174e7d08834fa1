//! Many words in order, and how to find one among them by a line or two of each of three lists.
//!
//! Floor 2. Imports `prefetch`.
//!
//! A binary search of a million words waits for memory some ten times. The highest of these lists is small enough to stay in the cache, and
//! it says where to look in the next.

use crate::prefetch::prefetch;

/// Words of which one is a sample, and samples of which one is a top: two lines of the cache.
const SAMPLED: usize = 16;
/// Words of a line of the cache.
const LINE: usize = 8;

/// How many steps `Words::prefetch_below` has.
pub(crate) const STEPS: usize = 2;

#[derive(Debug)]
pub(super) struct Words {
    all: Vec<u64>,
    samples: Vec<u64>,
    tops: Vec<u64>,
}

impl Words {
    pub(super) fn new(all: Vec<u64>) -> Words {
        let sample = |of: &[u64]| of.iter().copied().step_by(SAMPLED).collect();
        let samples: Vec<u64> = sample(&all);
        Words { tops: sample(&samples), samples, all }
    }

    #[inline]
    pub(super) fn all(&self) -> &[u64] {
        &self.all
    }

    /// How many are below this one.
    pub(super) fn below(&self, word: u64) -> usize {
        below_of(&self.all, below_of(&self.samples, below(&self.tops, word), word), word)
    }

    /// How many are below this one or the same, where so many are below.
    pub(super) fn up_to(&self, word: u64, below: usize) -> usize {
        // Mostly none or one: those far behind are not looked at.
        let (behind, mut end) = (&self.all[below..], 1);
        while behind.get(end - 1) == Some(&word) {
            end *= 2;
        }
        let (from, to) = (end / 2, end.min(behind.len()));
        below + from + behind[from..to].partition_point(|other| *other == word)
    }

    /// Asks for what `below` looks at: first of the samples, then of all, of which it says where.
    pub(super) fn prefetch_below(&self, word: u64, step: usize) -> Option<usize> {
        let tops = below(&self.tops, word);
        let (list, samples) =
            if step == 0 { (&self.samples, tops) } else { (&self.all, below_of(&self.samples, tops, word)) };
        let start = start_of(samples);
        for line in 0..SAMPLED / LINE {
            prefetch(list.as_ptr().wrapping_add(start + line * LINE));
        }
        (step > 0).then_some(start)
    }
}

fn below(words: &[u64], word: u64) -> usize {
    words.partition_point(|other| *other < word)
}

/// How many words are below this one, where that is so of as many samples of them.
fn below_of(words: &[u64], samples: usize, word: u64) -> usize {
    let (start, end) = (start_of(samples), words.len().min(samples * SAMPLED));
    start + below(&words[start..end], word)
}

/// Behind the last sample that is below a word.
fn start_of(samples: usize) -> usize {
    samples.saturating_sub(1) * SAMPLED
}

#[cfg(test)]
mod tests {
    use super::{SAMPLED, Words};

    #[test]
    fn words_are_found_where_a_search_of_all_finds_them() {
        let lens = [0, 1, 2, SAMPLED - 1, SAMPLED, SAMPLED + 1, SAMPLED * SAMPLED, SAMPLED * SAMPLED * 3 + 5];
        // Each once, and each so often that it fills more than a sample.
        for (len, same) in lens.iter().flat_map(|len| [1, 3, SAMPLED as u64 * 2 + 1].map(|same| (*len, same))) {
            let all: Vec<u64> = (0..len as u64).map(|at| 10 + at / same * 2).collect();
            let words = Words::new(all.clone());
            for word in (0..len as u64 * 2 + 14).chain([u64::MAX]) {
                let (below, up_to) =
                    (all.partition_point(|other| *other < word), all.partition_point(|other| *other <= word));
                assert_eq!(
                    (words.below(word), words.up_to(word, below)),
                    (below, up_to),
                    "{word} of {len}, {same} times each"
                );
            }
        }
    }
}
