//! `mqar`: the values of keys that came before.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, distinct, doubling, vocab};
use crate::fields::{Given, Kind, Preset, Variant, field, number, variant, whole};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// Multi-query associative recall (Arora et al. 2024): key-value pairs, then the keys again at
/// gaps drawn from a power law; the value is asked at each repeated key.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqar {
    /// Tokens: keys from the lower half (without 0), values from the upper half.
    pub vocab: usize,
    /// Key-value pairs.
    pub pairs: usize,
    /// The fewest pairs: where it is less than `pairs`, each sequence draws its own number.
    pub fewest: usize,
    /// So many keys get a new value behind the pairs; the newest one is asked.
    pub updates: usize,
    /// Exponent of the gaps: `p ∝ a x^(a-1)`.
    pub power: f64,
}

impl Named for Mqar {
    const FIELDS: Variant = variant(
        "mqar",
        &[
            LENGTH,
            EXAMPLES,
            whole("pairs", 4, [1, 1 << 20], "of key and value"),
            vocab(8192, 8),
            field(
                "fewest",
                Kind::Whole([1, 1 << 20]),
                Preset::Words("`pairs`"),
                "each sequence draws its number of pairs from here to `pairs`, every doubling equally likely",
            ),
            whole(
                "updates",
                0,
                [0, 1 << 20],
                "keys that get a new value behind the pairs; the newest one is asked",
            ),
            number("power", 0.01, [1e-4, 10.0], "gaps are from this power law"),
        ],
        "associative recall (Arora et al. 2024); keys from the lower half of the vocabulary, values from the upper; fillers never a key of their sequence",
    );

    fn read(given: &mut dyn Given) -> Mqar {
        let pairs = given.size("pairs");
        Mqar {
            vocab: given.size("vocab"),
            pairs,
            fewest: given.size_up_to("fewest", pairs, pairs),
            updates: given.size("updates"),
            power: given.number("power"),
        }
    }
}

impl Generator for Mqar {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn shortest(&self) -> usize {
        4 * self.pairs + 2 * self.updates
    }

    fn wrong(&self, length: usize) -> Option<(String, &'static str)> {
        let Mqar { vocab, pairs, updates, .. } = self;
        if length >= self.shortest() && vocab / 2 > pairs + 1 && updates <= pairs {
            return None;
        }
        let more = if *updates > 0 { format!(" and {updates} updates") } else { String::new() };
        Some((
            format!("{pairs} pairs{more} do not fit {length} tokens and a vocabulary of {vocab}"),
            "a sequence needs 4 tokens per pair and 2 per update, half the vocabulary more keys than pairs; no key is updated twice",
        ))
    }

    fn level(&mut self, what: &str) -> Option<&mut usize> {
        (what == "pairs").then_some(&mut self.pairs)
    }

    fn levelled(&mut self) {
        self.fewest = self.pairs;
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let Mqar { fewest, pairs, updates, .. } = *self;
        let pairs = if fewest == pairs { pairs } else { doubling(random, fewest, pairs) };
        mqar(random, length, self.vocab, [pairs, updates.min(pairs)], self.power)
    }
}

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

#[cfg(test)]
mod tests {
    use super::super::{Kind, Synthetic};
    use super::*;
    use crate::ground::random::Purpose;

    fn task(kind: Kind, length: usize) -> impl Fn(u64) -> Sequence {
        move |item| {
            Synthetic { kind: kind.clone(), length, examples: None }.sequence(
                3,
                Purpose::Train,
                item,
            )
        }
    }

    fn pairs(pairs: usize, fewest: usize, updates: usize) -> Kind {
        Kind::Mqar(Mqar { vocab: 256, pairs, fewest, updates, power: 0.01 })
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
            task(Kind::Mqar(Mqar { vocab: 64, pairs: 7, fewest: 2, updates: 0, power: 1.0 }), 32);
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
}
