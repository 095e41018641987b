//! `majority`: the most frequent token so far.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, variant, whole};
use crate::ground::random::Stream;

/// The token that came most often so far, of equal ones the smallest, asked at every token: counting.
#[derive(Clone, Debug, PartialEq)]
pub struct Majority {
    /// Tokens.
    pub symbols: usize,
}

impl Named for Majority {
    const FIELDS: Variant = variant(
        "majority",
        &[LENGTH, EXAMPLES, whole("symbols", 2, [2, 1 << 12], "tokens")],
        "the token that came most often so far, asked at every token",
    );

    fn read(given: &mut dyn Given) -> Majority {
        Majority { symbols: given.size("symbols") }
    }
}

impl Generator for Majority {
    fn vocab(&self) -> usize {
        self.symbols
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let mut seen = vec![0; self.symbols];
        let mut ahead = 0;
        (0..length)
            .map(|_| {
                let token = random.below(self.symbols);
                seen[token] += 1;
                if (seen[token], ahead) > (seen[ahead], token) {
                    ahead = token;
                }
                (token as u32, ahead as u32)
            })
            .unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    #[test]
    fn what_came_most_often_is_asked() {
        for item in 0..50 {
            let random = &mut Stream::new(3, Purpose::Train, item);
            let (tokens, targets) = Majority { symbols: 4 }.sequence(random, 40);
            for (at, target) in targets.iter().enumerate() {
                let count = |of: u32| tokens[..=at].iter().filter(|t| **t == of).count();
                let most = (0..4).rev().max_by_key(|of| count(*of)).unwrap();
                assert_eq!(*target, most, "{tokens:?} at {at}");
            }
        }
    }
}
