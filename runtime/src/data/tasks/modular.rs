//! `modular`: chains of sums and products, or an expression with brackets.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, truth, variant, whole};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// A chain of additions, subtractions and multiplications modulo a number. Without brackets it
/// is worked out from left to right, and asked after every operand; with brackets it is one
/// expression, asked at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Modular {
    /// The modulus.
    pub modulus: usize,
    /// An expression with brackets.
    pub brackets: bool,
}

impl Named for Modular {
    const FIELDS: Variant = variant(
        "modular",
        &[
            LENGTH,
            EXAMPLES,
            whole("modulus", 5, [2, 64], "of the arithmetic"),
            truth("brackets", false, "one expression with brackets, asked at its end"),
        ],
        "chains of + - * from left to right, asked after each operand",
    );

    fn read(given: &mut dyn Given) -> Modular {
        Modular { modulus: given.size("modulus"), brackets: given.truth("brackets") }
    }
}

impl Generator for Modular {
    fn vocab(&self) -> usize {
        self.modulus + if self.brackets { 6 } else { 3 }
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        match self.brackets {
            true => brackets(random, length, self.modulus),
            false => modular(random, length, self.modulus),
        }
    }
}

/// Plus, minus, times, as tokens behind the digits.
fn apply(op: usize, a: usize, b: usize, modulus: usize) -> usize {
    match op {
        0 => (a + b) % modulus,
        1 => (a + modulus - b) % modulus,
        _ => a * b % modulus,
    }
}

/// Digits are `0..modulus`; then come plus, minus and times.
pub fn modular(random: &mut Stream, length: usize, modulus: usize) -> Sequence {
    let mut value = random.below(modulus);
    let mut tokens = vec![value as u32];
    let mut targets = vec![value as u32];
    while tokens.len() + 2 <= length {
        let (op, operand) = (random.below(3), random.below(modulus));
        value = apply(op, value, operand, modulus);
        tokens.extend([(modulus + op) as u32, operand as u32]);
        targets.extend([NONE, value as u32]);
    }
    while tokens.len() < length {
        tokens.push(modulus as u32);
        targets.push(NONE);
    }
    (tokens, targets)
}

/// An expression in which every operation has its brackets, then a sign that asks. Tokens: digits,
/// plus, minus, times, opening and closing bracket, the sign; signs also fill what is left in front.
pub fn brackets(random: &mut Stream, length: usize, modulus: usize) -> Sequence {
    let [open, close, asks] = [3, 4, 5].map(|at| (modulus + at) as u32);
    // An expression of n operations has 4 n + 1 tokens.
    let operations = (length - 2) / 4;
    let mut tokens = vec![asks; length - 1 - (4 * operations + 1)];
    enum Part {
        Of(usize),
        Token(u32),
    }
    // A stack of our own: expressions may be as deep as they are long.
    let mut to_do = vec![Part::Of(operations)];
    let mut values: Vec<usize> = Vec::new();
    let mut pending: Vec<usize> = Vec::new();
    while let Some(part) = to_do.pop() {
        match part {
            Part::Of(0) => {
                let digit = random.below(modulus);
                tokens.push(digit as u32);
                values.push(digit);
            }
            Part::Of(n) => {
                let left = random.below(n);
                let op = random.below(3);
                tokens.push(open);
                pending.push(op);
                to_do.push(Part::Token(close));
                to_do.push(Part::Of(n - 1 - left));
                to_do.push(Part::Token((modulus + op) as u32));
                to_do.push(Part::Of(left));
            }
            Part::Token(token) => {
                tokens.push(token);
                if token == close
                    && let (Some(b), Some(a), Some(op)) =
                        (values.pop(), values.pop(), pending.pop())
                {
                    values.push(apply(op, a, b, modulus));
                }
            }
        }
    }
    let mut targets = vec![NONE; tokens.len()];
    tokens.push(asks);
    targets.push(values.pop().unwrap_or(0) as u32);
    (tokens, targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn random(item: u64) -> Stream {
        Stream::new(1, Purpose::Eval, item)
    }

    #[test]
    fn modular_chains_are_worked_out_from_left_to_right() {
        let (tokens, targets) = modular(&mut random(4), 9, 5);
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

    /// Evaluates from the innermost bracket outwards, by rewriting.
    fn worked_out(tokens: &[u32], modulus: u32) -> u32 {
        let mut left: Vec<u32> = tokens.to_vec();
        while let Some(close) = left.iter().position(|t| *t == modulus + 4) {
            let [a, op, b] = [close - 3, close - 2, close - 1].map(|at| left[at]);
            assert_eq!(left[close - 4], modulus + 3);
            let value = match op - modulus {
                0 => a + b,
                1 => a + modulus - b,
                _ => a * b,
            } % modulus;
            left.splice(close - 4..=close, [value]);
        }
        left[0]
    }

    #[test]
    fn brackets_come_out_right() {
        for item in 0..200 {
            let length = 6 + item as usize;
            let (tokens, targets) = brackets(&mut random(item), length, 7);
            let expression: Vec<u32> = tokens.iter().copied().filter(|t| *t != 12).collect();
            assert_eq!(expression.len() % 4, 1);
            assert_eq!(targets[length - 1], worked_out(&expression, 7));
        }
        // Deep, and it must not end the program.
        assert_eq!(brackets(&mut random(0), 1 << 20, 7).0.len(), 1 << 20);
    }
}
