//! `induction`: what followed a special token.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, vocab};
use crate::fields::{Given, Variant, variant};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// The token that followed a special one, when that comes again (Olsson et al. 2022).
#[derive(Clone, Debug, PartialEq)]
pub struct Induction {
    /// Tokens; 0 is the special one.
    pub vocab: usize,
}

impl Named for Induction {
    const FIELDS: Variant = variant(
        "induction",
        &[LENGTH, EXAMPLES, vocab(16, 3)],
        "what followed a special token, when it comes again",
    );

    fn read(given: &mut dyn Given) -> Induction {
        Induction { vocab: given.size("vocab") }
    }
}

impl Generator for Induction {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn shortest(&self) -> usize {
        3
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        induction(random, length, self.vocab)
    }
}

/// Tokens `1..vocab`; a 0 somewhere, and at the end again: what followed it is asked.
pub fn induction(random: &mut Stream, length: usize, vocab: usize) -> Sequence {
    let mut tokens: Vec<u32> = (0..length).map(|_| 1 + random.below(vocab - 1) as u32).collect();
    let at = random.below(length - 2);
    tokens[at] = 0;
    tokens[length - 1] = 0;
    let mut targets = vec![NONE; length];
    targets[length - 1] = tokens[at + 1];
    (tokens, targets)
}
