//! `parity`: of the bits so far.

use super::Sequence;
use crate::ground::random::Stream;

/// Zeros and ones.
pub fn parity(random: &mut Stream, length: usize) -> Sequence {
    let mut sum = 0;
    (0..length)
        .map(|_| {
            let bit = random.bits() & 1;
            sum ^= bit;
            (bit, sum)
        })
        .unzip()
}
