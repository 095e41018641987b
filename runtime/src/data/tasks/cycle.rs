//! `cycle`: the place on a circle.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, variant, whole};
use crate::ground::random::Stream;

/// The place on a circle after steps forward, backward or none, asked at every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Cycle {
    /// Places.
    pub places: usize,
}

impl Named for Cycle {
    const FIELDS: Variant = variant(
        "cycle",
        &[LENGTH, EXAMPLES, whole("places", 5, [2, 1 << 12], "on the circle")],
        "the place on a circle after steps forward, backward or none",
    );

    fn read(given: &mut dyn Given) -> Cycle {
        Cycle { places: given.size("places") }
    }
}

impl Generator for Cycle {
    fn vocab(&self) -> usize {
        self.places.max(3)
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        cycle(random, length, self.places)
    }
}

/// Tokens: stay, forward, backward.
pub fn cycle(random: &mut Stream, length: usize, places: usize) -> Sequence {
    let mut at = 0;
    (0..length)
        .map(|_| {
            let step = random.below(3);
            at = (at + [0, 1, places - 1][step]) % places;
            (step as u32, at as u32)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn random(item: u64) -> Stream {
        Stream::new(1, Purpose::Eval, item)
    }

    #[test]
    fn cycles_go_round() {
        let (tokens, targets) = cycle(&mut random(2), 50, 5);
        let steps: i64 = tokens.iter().map(|t| [0, 1, -1][*t as usize]).sum();
        assert_eq!(i64::from(targets[49]), steps.rem_euclid(5));
    }
}
