//! `permutations`: their product so far.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, variant, whole};
use crate::ground::random::Stream;

/// The product of permutations so far, asked at every token: state that no diagonal transition
/// tracks once there are five things to permute (Merrill et al. 2024).
#[derive(Clone, Debug, PartialEq)]
pub struct Permutations {
    /// Things to permute, up to five.
    pub of: usize,
}

impl Named for Permutations {
    const FIELDS: Variant = variant(
        "permutations",
        &[LENGTH, EXAMPLES, whole("of", 5, [2, 5], "things")],
        "the product of permutations so far, asked at every token",
    );

    fn read(given: &mut dyn Given) -> Permutations {
        Permutations { of: given.size("of") }
    }
}

impl Generator for Permutations {
    fn vocab(&self) -> usize {
        (1..=self.of).product()
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        permutations(random, length, self.of)
    }
}

/// Tokens are the permutations in the order of their digits (Lehmer codes); the state is the product.
pub fn permutations(random: &mut Stream, length: usize, of: usize) -> Sequence {
    let whole: usize = (1..=of).product();
    let mut state: Vec<usize> = (0..of).collect();
    (0..length)
        .map(|_| {
            let drawn = random.below(whole);
            let by = unrank(drawn, of);
            state = by.iter().map(|at| state[*at]).collect();
            (drawn as u32, rank(&state) as u32)
        })
        .unzip()
}

/// The permutation of a number.
fn unrank(mut number: usize, of: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..of).collect();
    (1..=of)
        .rev()
        .map(|n| {
            let block: usize = (1..n).product();
            let at = number / block;
            number %= block;
            left.remove(at)
        })
        .collect()
}

/// The number of a permutation.
fn rank(permutation: &[usize]) -> usize {
    let n = permutation.len();
    (0..n)
        .map(|i| {
            let smaller = permutation[i + 1..].iter().filter(|x| **x < permutation[i]).count();
            smaller * (1..n - i).product::<usize>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn random(item: u64) -> Stream {
        Stream::new(1, Purpose::Eval, item)
    }

    #[test]
    fn permutations_multiply() {
        for number in 0..120 {
            assert_eq!(rank(&unrank(number, 5)), number);
        }
        let (tokens, targets) = permutations(&mut random(2), 50, 5);
        let mut things: Vec<usize> = (0..5).collect();
        for (token, target) in tokens.iter().zip(targets) {
            let by = unrank(*token as usize, 5);
            things = (0..5).map(|i| things[by[i]]).collect();
            assert_eq!(unrank(target as usize, 5), things);
        }
    }
}
