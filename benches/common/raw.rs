//! The floor of dependent gets: the two cache misses that no index in memory over a log can do without.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use fastrand::Rng;
use memmap2::Mmap;

/// As much memory as an index, on the heap, and a mapped file as long as a log, tied together to one round trip in random
/// order: the word of the index names the place of a record, the record's first word the next word of the index.
///
/// A step is these two loads, each from a cache line that nothing foretells, each address read by the load before. Nothing
/// is hashed, compared or counted, no key is made, and of a record one line is read.
pub(crate) struct TwoMisses {
    index: Vec<u64>,
    log: Mmap,
    /// For each step of the round trip the word of the index that it begins with.
    starts: Vec<u64>,
}

impl TwoMisses {
    /// `index_bytes` and `log_bytes` are rounded down to what is even, and are at least two words a record.
    pub(crate) fn new(path: &Path, records: u64, index_bytes: u64, log_bytes: u64) -> TwoMisses {
        let (words, stride) = ((index_bytes / 8).max(records), (log_bytes / records / 8).max(2));
        let mut rng = Rng::with_seed(1);
        let order = |rng: &mut Rng, count: u64| {
            let mut order: Vec<u64> = (0..count).collect();
            rng.shuffle(&mut order);
            order
        };
        let (places, mut starts) = (order(&mut rng, records), order(&mut rng, words));
        starts.truncate(places.len());
        let (mut index, mut log) = (vec![0; words as usize], vec![0_u64; (records * stride) as usize]);
        for (at, (&start, &place)) in starts.iter().zip(&places).enumerate() {
            index[start as usize] = place * stride;
            log[(place * stride) as usize..][..2].copy_from_slice(&[starts[(at + 1) % starts.len()], at as u64]);
        }
        write(path, &log).expect("the floor's file is written");
        let file = File::open(path).expect("the floor's file opens");
        // SAFETY: the file is in a directory of our own, and nobody writes or shortens it after this.
        let mapped = unsafe { Mmap::map(&file) }.expect("the floor's file is mapped");
        assert!(log.iter().zip(mapped.chunks_exact(8)).all(|(word, bytes)| bytes == word.to_le_bytes()));
        TwoMisses { index, log: mapped, starts }
    }

    /// Takes `steps` steps of the round trip, from a place that `seed` chooses.
    ///
    /// # Panics
    /// If it does not end where it must.
    pub(crate) fn follow(&self, seed: u64, steps: usize) {
        let start = (seed % self.starts.len() as u64) as usize;
        let (mut word, mut record) = (self.starts[start], 0);
        for _ in 0..steps {
            record = self.index[word as usize];
            word = self.log_word(record);
        }
        assert_eq!(
            self.log_word(record + 1),
            ((start + steps - 1) % self.starts.len()) as u64,
            "another way was taken"
        );
    }

    #[inline]
    fn log_word(&self, at: u64) -> u64 {
        let bytes = &self.log[8 * at as usize..][..8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }
}

fn write(path: &Path, words: &[u64]) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    words.iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))?;
    file.flush()
}
