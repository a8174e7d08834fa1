//! Which of several lists has the least word at its head.
//!
//! Floor 3. Imports nothing.
//!
//! A tree of losers (Knuth, The Art of Computer Programming, volume 3, section 5.4.1): when the least word has been replaced, only those that
//! lost against it are asked, one for each doubling of the lists, and without a branch that could be mispredicted.

/// A list, and the word at its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) word: u64,
    pub(super) list: u32,
}

/// Of at least one list.
pub(super) struct Contest {
    /// Who won, and at each place of a tree with the lists as its leaves who lost there.
    heads: Vec<Head>,
}

impl Contest {
    /// Between these words, one for each list. Of two lists with the same word `is_before` says which comes first.
    pub(super) fn new(words: &[u64], is_before: impl Fn(u32, u32) -> bool) -> Contest {
        let lists = words.iter().zip(0..).map(|(word, list)| Head { word: *word, list });
        // Behind the places of the tree its leaves; the winners go up, and leave the losers where they met.
        let mut winners: Vec<Head> = lists.clone().chain(lists).collect();
        let mut heads = winners[..words.len()].to_vec();
        for at in (1..words.len()).rev() {
            let (a, b) = (winners[2 * at], winners[2 * at + 1]);
            (winners[at], heads[at]) = if comes_first(b, a, &is_before) { (b, a) } else { (a, b) };
        }
        heads[0] = winners[1];
        Contest { heads }
    }

    /// The least.
    #[inline]
    pub(super) fn first(&self) -> Head {
        self.heads[0]
    }

    /// The word of the one behind it, if there are two lists.
    #[inline]
    pub(super) fn second(&self) -> Option<u64> {
        let mut at = self.place_above_first();
        let mut least = self.heads.get(at).filter(|_| at > 0)?.word;
        while at > 1 {
            at /= 2;
            least = least.min(self.heads[at].word);
        }
        Some(least)
    }

    /// The list that was first has another word at its head.
    #[inline]
    pub(super) fn replace(&mut self, word: u64, is_before: impl Fn(u32, u32) -> bool) {
        let mut first = Head { word, list: self.heads[0].list };
        let mut at = self.place_above_first();
        while at > 0 {
            let other = self.heads[at];
            let (loser, winner) = if comes_first(other, first, &is_before) { (first, other) } else { (other, first) };
            (self.heads[at], first) = (loser, winner);
            at /= 2;
        }
        self.heads[0] = first;
    }

    /// Where the list that is first met its first opponent.
    #[inline]
    fn place_above_first(&self) -> usize {
        (self.heads.len() + self.heads[0].list as usize) / 2
    }
}

#[inline]
fn comes_first(a: Head, b: Head, is_before: &impl Fn(u32, u32) -> bool) -> bool {
    if a.word == b.word { is_before(a.list, b.list) } else { a.word < b.word }
}

#[cfg(test)]
mod tests {
    use super::{Contest, Head};

    #[test]
    fn heads_come_in_their_order_however_many_lists_there_are() {
        for lists in 1..40 {
            let mut words: Vec<u64> = (0..lists).map(|list| list * 7919 % 13).collect();
            let mut contest = Contest::new(&words, |a, b| a < b);
            for round in 0..200 {
                let mut sorted: Vec<(u64, u32)> = words.iter().copied().zip(0..).collect();
                sorted.sort_unstable();
                assert_eq!(
                    contest.first(),
                    Head { word: sorted[0].0, list: sorted[0].1 },
                    "{lists} lists, round {round}"
                );
                assert_eq!(contest.second(), sorted.get(1).map(|(word, _)| *word), "{lists} lists, round {round}");
                // Some stay first, and some come to be last, as those do that have ended.
                let word = if round % 11 == 0 { u64::MAX } else { sorted[0].0.saturating_add(round * 31 % 17) };
                words[sorted[0].1 as usize] = word;
                contest.replace(word, |a, b| a < b);
            }
        }
    }
}
