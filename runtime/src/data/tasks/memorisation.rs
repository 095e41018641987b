//! `memorisation`: facts that stand in no sequence.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, vocab};
use crate::fields::{Given, Variant, variant, whole};
use crate::ground::random::{Purpose, Stream};
use crate::ops::loss::NONE;

/// Memorisation of MAD (Poli et al. 2024): a key, then a token that asks for its value, and so on. Which value a key has is the same
/// in all sequences, and no sequence shows it: only training tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Memorisation {
    /// Tokens: keys, as many values, and the last one, which asks.
    pub vocab: usize,
    /// The number of the mapping: another one is another mapping.
    pub facts: u64,
    /// The value of each key.
    values: Vec<u32>,
}

impl Memorisation {
    /// Draws the mapping.
    pub fn new(vocab: usize, facts: u64) -> Memorisation {
        let keys = (vocab - 1) / 2;
        let mut values: Vec<u32> = (keys..2 * keys).map(|value| value as u32).collect();
        Stream::new(facts, Purpose::Facts, 0).shuffle(&mut values);
        Memorisation { vocab, facts, values }
    }
}

impl Named for Memorisation {
    const FIELDS: Variant = variant(
        "memorisation",
        &[
            LENGTH,
            EXAMPLES,
            vocab(256, 5),
            whole(
                "facts",
                1,
                [0, u32::MAX as u64],
                "the number of the mapping; the seed does not change it",
            ),
        ],
        "memorisation of MAD (Poli et al. 2024): the value of each key, which is the same in all sequences and shown in none",
    );

    fn read(given: &mut dyn Given) -> Memorisation {
        Memorisation::new(given.size("vocab"), given.size("facts") as u64)
    }
}

impl Generator for Memorisation {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let asks = (self.vocab - 1) as u32;
        let mut key = 0;
        (0..length)
            .map(|at| {
                if at % 2 == 1 {
                    return (asks, self.values[key]);
                }
                key = random.below(self.values.len());
                (key as u32, NONE)
            })
            .unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_value_everywhere_and_no_sequence_shows_it() {
        let task = Memorisation::new(17, 1);
        let mut known = [None; 8];
        for (seed, purpose) in [(1, Purpose::Train), (2, Purpose::Eval)] {
            for item in 0..50 {
                let (tokens, targets) = task.sequence(&mut Stream::new(seed, purpose, item), 20);
                for at in (0..20).step_by(2) {
                    let (key, value) = (tokens[at] as usize, targets[at + 1]);
                    assert!(key < 8 && (8..16).contains(&value));
                    assert_eq!((targets[at], tokens[at + 1]), (NONE, 16));
                    assert_eq!(*known[key].get_or_insert(value), value);
                }
            }
        }
        let mut values: Vec<u32> = known.into_iter().flatten().collect();
        values.sort_unstable();
        assert!(values.into_iter().eq(8..16), "each value belongs to one key");
        assert_ne!(Memorisation::new(256, 1).values, Memorisation::new(256, 2).values);
    }
}
