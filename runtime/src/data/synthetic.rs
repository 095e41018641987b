//! Synthetic tasks, sequence by sequence.

use super::Task;
use crate::loss::NONE;
use crate::random::{Purpose, Stream};

/// Sequence `item` of a task: its tokens, and what is asked at each.
pub fn sequence(task: &Task, seed: u64, purpose: Purpose, item: u64) -> (Vec<u32>, Vec<u32>) {
    let mut random = Stream::new(seed, purpose, item);
    match task {
        Task::Mqar { vocab, length, pairs, fewest, power } => {
            let pairs =
                if fewest == pairs { *pairs } else { doubling(&mut random, *fewest, *pairs) };
            mqar(&mut random, *vocab, *length, pairs, *power)
        }
        Task::Parity { length } => parity(&mut random, *length),
        Task::Modular { length, modulus } => modular(&mut random, *length, *modulus),
        Task::Text { .. } | Task::Corpora(_) => unreachable!("text is not made up"),
    }
}

/// A whole number between two others, every doubling as likely as every other.
fn doubling(random: &mut Stream, low: usize, high: usize) -> usize {
    let (low_log, high_log) = ((low as f64).ln(), ((high + 1) as f64).ln());
    let drawn = (low_log + random.uniform() * (high_log - low_log)).exp();
    (drawn as usize).clamp(low, high)
}

/// Keys are `1..vocab/2`, values `vocab/2..vocab`; fillers are never a key of their sequence.
fn mqar(
    random: &mut Stream,
    vocab: usize,
    length: usize,
    pairs: usize,
    power: f64,
) -> (Vec<u32>, Vec<u32>) {
    let half = vocab / 2;
    let mut keys: Vec<u32> = Vec::with_capacity(pairs);
    while keys.len() < pairs {
        let key = 1 + random.below(half - 1) as u32;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let values: Vec<u32> = (0..pairs).map(|_| (half + random.below(vocab - half)) as u32).collect();
    let mut tokens = vec![0; length];
    let mut targets = vec![NONE; length];
    for (i, (key, value)) in keys.iter().zip(&values).enumerate() {
        tokens[2 * i] = *key;
        tokens[2 * i + 1] = *value;
    }
    // Places come in twos behind the pairs; each key takes one, small gaps more often than not.
    let places = (length - 2 * pairs) / 2;
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
        let row = 2 * pairs + 2 * free.remove(chosen);
        tokens[row] = *key;
        targets[row] = *value;
    }
    for row in 2 * pairs..length {
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

fn parity(random: &mut Stream, length: usize) -> (Vec<u32>, Vec<u32>) {
    let mut sum = 0;
    (0..length)
        .map(|_| {
            let bit = random.bits() & 1;
            sum ^= bit;
            (bit, sum)
        })
        .unzip()
}

/// Digits are `0..modulus`; then come plus, minus and times.
fn modular(random: &mut Stream, length: usize, modulus: usize) -> (Vec<u32>, Vec<u32>) {
    let mut value = random.below(modulus);
    let mut tokens = vec![value as u32];
    let mut targets = vec![value as u32];
    while tokens.len() + 2 <= length {
        let (op, operand) = (random.below(3), random.below(modulus));
        value = match op {
            0 => value + operand,
            1 => value + modulus - operand,
            _ => value * operand,
        } % modulus;
        tokens.extend([(modulus + op) as u32, operand as u32]);
        targets.extend([NONE, value as u32]);
    }
    while tokens.len() < length {
        tokens.push(modulus as u32);
        targets.push(NONE);
    }
    (tokens, targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqar_asks_for_the_value_of_each_key_once() {
        let task = Task::Mqar { vocab: 256, length: 64, pairs: 4, fewest: 4, power: 0.01 };
        for item in 0..200 {
            let (tokens, targets) = sequence(&task, 3, Purpose::Train, item);
            assert_eq!((tokens.len(), targets.len()), (64, 64));
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
    fn mqar_draws_every_number_of_pairs() {
        let task = Task::Mqar { vocab: 64, length: 32, pairs: 7, fewest: 2, power: 1.0 };
        let mut seen = [0; 9];
        for item in 0..600 {
            let (_, targets) = sequence(&task, 9, Purpose::Train, item);
            seen[targets.iter().filter(|target| **target != NONE).count()] += 1;
        }
        assert_eq!((seen[0], seen[1], seen[8]), (0, 0, 0));
        // From 2 to 3 and from 4 to 7 are one doubling each.
        let [low, high]: [usize; 2] = [seen[2..4].iter().sum(), seen[4..8].iter().sum()];
        assert!(low.abs_diff(high) < 80 && seen[2..8].iter().all(|n| *n > 30), "{seen:?}");
    }

    #[test]
    fn modular_chains_are_worked_out_from_left_to_right() {
        let task = Task::Modular { length: 9, modulus: 5 };
        let (tokens, targets) = sequence(&task, 1, Purpose::Eval, 4);
        let mut value = tokens[0];
        for at in (1..8).step_by(2) {
            let operand = tokens[at + 1];
            value = match tokens[at] {
                5 => value + operand,
                6 => value + 5 - operand,
                _ => value * operand,
            } % 5;
            assert_eq!(targets[at], NONE);
            assert_eq!(targets[at + 1], value);
        }
    }

    #[test]
    fn training_and_evaluation_share_no_sequence() {
        let task = Task::Mqar { vocab: 256, length: 64, pairs: 4, fewest: 4, power: 0.01 };
        let train: Vec<_> = (0..300).map(|i| sequence(&task, 1, Purpose::Train, i).0).collect();
        let eval: Vec<_> = (0..300).map(|i| sequence(&task, 1, Purpose::Eval, i).0).collect();
        assert!(eval.iter().all(|tokens| !train.contains(tokens)));
    }
}
