//! `induction`: what followed a special token.

use super::Sequence;
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

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
