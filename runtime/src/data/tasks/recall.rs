//! What stood earlier in the sequence.

use super::{Sequence, distinct};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// Keys are `1..vocab/2`, values `vocab/2..vocab`; fillers are never a key of their sequence. The
/// first `updates` keys, in an order of their own, get a new value behind the pairs.
pub fn mqar(
    random: &mut Stream,
    length: usize,
    vocab: usize,
    [pairs, updates]: [usize; 2],
    power: f64,
) -> Sequence {
    let half = vocab / 2;
    let keys: Vec<u32> =
        distinct(random, half - 1, pairs).into_iter().map(|key| 1 + key as u32).collect();
    let mut value = || (half + random.below(vocab - half)) as u32;
    let mut values: Vec<u32> = (0..pairs).map(|_| value()).collect();
    let mut tokens = Vec::with_capacity(length);
    keys.iter().zip(&values).for_each(|(key, value)| tokens.extend([*key, *value]));
    for renewed in values.iter_mut().take(updates) {
        *renewed = value();
    }
    let mut order: Vec<usize> = (0..updates).collect();
    random.shuffle(&mut order);
    order.into_iter().for_each(|at| tokens.extend([keys[at], values[at]]));
    let told = tokens.len();
    tokens.resize(length, 0);
    let mut targets = vec![NONE; length];
    // Places come in twos behind what is told; each key takes one, small gaps more often than not.
    let places = (length - told) / 2;
    let weights: Vec<f64> = (1..=places).map(|x| power * (x as f64).powf(power - 1.0)).collect();
    let mut free: Vec<usize> = (0..places).collect();
    for (key, value) in keys.iter().zip(&values) {
        let total: f64 = free.iter().map(|place| weights[*place]).sum();
        let mut left = random.uniform() * total;
        let mut chosen = free.len() - 1;
        for (at, place) in free.iter().enumerate() {
            left -= weights[*place];
            if left <= 0.0 {
                chosen = at;
                break;
            }
        }
        let row = told + 2 * free.remove(chosen);
        tokens[row] = *key;
        targets[row] = *value;
    }
    for row in told..length {
        if targets[row] == NONE {
            tokens[row] = loop {
                let filler = random.below(vocab) as u32;
                if !keys.contains(&filler) {
                    break filler;
                }
            };
        }
    }
    (tokens, targets)
}

/// Tokens `1..vocab`, a 0, and the same tokens again; a 0 more in front where the length is odd.
pub fn copy(random: &mut Stream, length: usize, vocab: usize) -> Sequence {
    let half = length / 2;
    let mut tokens = vec![0; length % 2];
    let text: Vec<u32> = (0..half).map(|_| 1 + random.below(vocab - 1) as u32).collect();
    tokens.extend(&text);
    repeat(tokens, 0, &text)
}

/// Tokens `2..vocab` in random places among zeros, a 1, and the tokens without the zeros.
pub fn selective_copy(random: &mut Stream, length: usize, vocab: usize, marked: usize) -> Sequence {
    let text: Vec<u32> = (0..marked).map(|_| 2 + random.below(vocab - 2) as u32).collect();
    let mut tokens = vec![0; length - marked];
    let mut places = distinct(random, tokens.len(), marked);
    places.sort_unstable();
    places.into_iter().zip(&text).for_each(|(at, token)| tokens[at] = *token);
    repeat(tokens, 1, &text)
}

/// Behind what was told comes a token that asks, then the text, each token asked one before.
fn repeat(mut tokens: Vec<u32>, asks: u32, text: &[u32]) -> Sequence {
    let mut targets = vec![NONE; tokens.len()];
    tokens.push(asks);
    tokens.extend(&text[..text.len() - 1]);
    targets.extend(text);
    (tokens, targets)
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

#[cfg(test)]
mod tests {
    use super::super::{Kind, Synthetic};
    use super::*;
    use crate::ground::random::Purpose;

    fn task(kind: Kind, length: usize) -> impl Fn(u64) -> Sequence {
        move |item| Synthetic { kind: kind.clone(), length }.sequence(3, Purpose::Train, item)
    }

    fn pairs(pairs: usize, fewest: usize, updates: usize) -> Kind {
        Kind::Mqar { vocab: 256, pairs, fewest, updates, power: 0.01 }
    }

    #[test]
    fn mqar_asks_for_the_value_of_each_key_once() {
        let sequence = task(pairs(4, 4, 0), 64);
        for item in 0..200 {
            let (tokens, targets) = sequence(item);
            let keys: Vec<u32> = (0..4).map(|i| tokens[2 * i]).collect();
            let asked: Vec<usize> = (0..64).filter(|row| targets[*row] != NONE).collect();
            assert_eq!(asked.len(), 4);
            for row in 8..64 {
                match keys.iter().position(|key| *key == tokens[row]) {
                    Some(pair) => assert_eq!(targets[row], tokens[2 * pair + 1]),
                    None => assert_eq!(targets[row], NONE, "a filler is no key"),
                }
            }
            assert!(keys.iter().all(|key| (1..128).contains(key)));
            assert!(asked.iter().all(|row| targets[*row] >= 128));
        }
    }

    #[test]
    fn mqar_asks_for_the_newest_value() {
        let sequence = task(pairs(4, 4, 3), 64);
        for item in 0..200 {
            let (tokens, targets) = sequence(item);
            let told =
                |key: u32| (0..7).rev().find(|i| tokens[2 * i] == key).map(|i| tokens[2 * i + 1]);
            let renewed = (4..7).filter(|i| (0..4).any(|j| tokens[2 * j] == tokens[2 * i]));
            assert_eq!(renewed.count(), 3);
            let asked: Vec<usize> = (14..64).filter(|row| targets[*row] != NONE).collect();
            assert_eq!(asked.len(), 4);
            assert!(asked.iter().all(|row| told(tokens[*row]) == Some(targets[*row])));
        }
    }

    #[test]
    fn mqar_draws_every_number_of_pairs() {
        let sequence =
            task(Kind::Mqar { vocab: 64, pairs: 7, fewest: 2, updates: 0, power: 1.0 }, 32);
        let mut seen = [0; 9];
        for item in 0..600 {
            let (_, targets) = sequence(item);
            seen[targets.iter().filter(|target| **target != NONE).count()] += 1;
        }
        assert_eq!((seen[0], seen[1], seen[8]), (0, 0, 0));
        // From 2 to 3 and from 4 to 7 are one doubling each.
        let [low, high]: [usize; 2] = [seen[2..4].iter().sum(), seen[4..8].iter().sum()];
        assert!(low.abs_diff(high) < 80 && seen[2..8].iter().all(|n| *n > 30), "{seen:?}");
    }

    #[test]
    fn copies_are_those_of_the_text() {
        let (tokens, targets) = task(Kind::Copy { vocab: 9 }, 11)(5);
        assert_eq!((tokens[0], tokens[6]), (0, 0));
        assert_eq!(targets[6..], tokens[1..6]);
        assert_eq!(tokens[7..], targets[6..10]);
        let (tokens, targets) = task(Kind::SelectiveCopy { vocab: 9, marked: 4 }, 20)(5);
        let text: Vec<u32> = tokens[..16].iter().copied().filter(|t| *t > 0).collect();
        assert_eq!((text.len(), tokens[16], &targets[16..]), (4, 1, &text[..]));
        for item in 0..100 {
            let (tokens, targets) = task(Kind::Induction { vocab: 9 }, 12)(item);
            let at = tokens.iter().position(|t| *t == 0).unwrap();
            assert_eq!(targets[11], tokens[at + 1]);
        }
    }
}
