//! `parity`: of the bits so far.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, variant};
use crate::ground::random::Stream;

/// Parity of the ones so far, asked at every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Parity;

impl Named for Parity {
    const FIELDS: Variant =
        variant("parity", &[LENGTH, EXAMPLES], "parity of the bits so far, asked at every token");

    fn read(_: &mut dyn Given) -> Parity {
        Parity
    }
}

impl Generator for Parity {
    fn vocab(&self) -> usize {
        2
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        parity(random, length)
    }
}

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
