//! Cross-entropy over the vocabulary, a block of rows at a time.
//!
//! All logits of a long text would not fit the memory, and rows at which nothing is asked need none.

use lrc_compiler::memory;
use lrc_compiler::num::Real;
use rayon::prelude::*;

use crate::ops::dense;

/// No target at this row.
pub const NONE: u32 = u32::MAX;

/// What the loss of a batch says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean cross-entropy over the target tokens, in nats.
    pub loss: f64,
    /// Target tokens: rows at which something was asked.
    pub targets: usize,
    /// Of these, how many the model's best guess got right.
    pub right: usize,
    /// What the model's mixers add to the loss in training, such as the balance of experts.
    pub auxiliary: f64,
    /// Mean of `ln²Z` over the target tokens, in a gradient.
    pub log_z: f64,
}

impl Score {
    /// Takes in what another batch says.
    pub fn add(&mut self, other: &Score) {
        let both = self.targets + other.targets;
        if both > 0 {
            let sum = self.loss * self.targets as f64 + other.loss * other.targets as f64;
            self.loss = sum / both as f64;
        }
        self.targets = both;
        self.right += other.right;
    }

    /// Share of target tokens that were right.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.targets.max(1) as f64
    }
}

/// What a model says at the target tokens of a batch, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Of all of them.
    pub score: Score,
    /// The best guess at each.
    pub guesses: Vec<u32>,
    /// The loss of each, in nats.
    pub losses: Vec<f32>,
}

/// The head of a model: logits are `weight · hidden`.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `[vocab, width]`.
    pub weight: &'a [f32],
    /// Numbers in a hidden state.
    pub width: usize,
    /// Logits of a row.
    pub vocab: usize,
}

/// Logits of a block at most, so that it stays near the processor.
const BLOCK_LOGITS: usize = 1 << 22;

impl Head<'_> {
    /// Logits of hidden states.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let mut logits = vec![0.0; hidden.len() / self.width * self.vocab];
        dense::forward(&mut logits, hidden, self.weight, 1, [self.width, self.vocab]);
        logits
    }

    /// What hidden states say of their targets.
    pub fn score(&self, hidden: &[f32], targets: &[u32]) -> Predictions {
        let (mut guesses, mut losses) = (Vec::new(), Vec::new());
        let score = self.blocks(hidden, targets, |at, _, logits| {
            let rows = logits.par_chunks_exact_mut(self.vocab).zip(at);
            let done: Vec<(Row, u32)> = rows
                .map(|(logits, row)| {
                    let top = top(logits);
                    let guess = logits.iter().position(|x| *x == top).unwrap_or(0);
                    (cross_entropy(logits, targets[*row] as usize), guess as u32)
                })
                .collect();
            guesses.extend(done.iter().map(|(_, guess)| guess));
            losses.extend(done.iter().map(|(row, _)| row.loss as f32));
            done.into_iter().map(|(row, _)| row).collect()
        });
        Predictions { score, guesses, losses }
    }

    /// The score of hidden states and the gradient of the loss: written to `d_hidden`, added to
    /// `d_weight`. With `z` above 0 the loss has `z ln²Z` more per row, where `Z` is what the
    /// exponentials of its logits add up to (z-loss; Chowdhery et al. 2022).
    pub fn gradient(
        &self,
        hidden: &[f32],
        targets: &[u32],
        d_hidden: &mut [f32],
        d_weight: &mut [f32],
        z: f32,
    ) -> Score {
        let (width, shape) = (self.width, [self.width, self.vocab]);
        let scale = 1.0 / targets.iter().filter(|t| **t != NONE).count().max(1) as f32;
        d_hidden.fill(0.0);
        self.blocks(hidden, targets, |at, x, logits| {
            let rows = logits.par_chunks_exact_mut(self.vocab).zip(at);
            let said = rows
                .map(|(logits, row)| {
                    let target = targets[*row] as usize;
                    let row = cross_entropy(logits, target);
                    if z > 0.0 {
                        let steeper = 1.0 + 2.0 * z * row.log_z as f32;
                        logits.iter_mut().for_each(|x| *x *= steeper);
                    }
                    logits[target] -= row.sum;
                    row
                })
                .collect::<Vec<Row>>();
            // The gradient by the logits of a row is what stands there times scale / sum. Rows of
            // hidden states are shorter than rows of logits, so these take the factor.
            let factors = || said.iter().map(|row| scale / row.sum);
            let mut d = memory::take(x.len());
            dense::grad_input(&mut d, logits, self.weight, 1, shape);
            for ((row, d), factor) in at.iter().zip(d.chunks_exact(width)).zip(factors()) {
                let to = d_hidden[row * width..][..width].iter_mut();
                to.zip(d).for_each(|(to, d)| *to = d * factor);
            }
            memory::give(d);
            for (x, factor) in x.chunks_exact_mut(width).zip(factors()) {
                x.iter_mut().for_each(|x| *x *= factor);
            }
            dense::grad_weight(d_weight, x, logits, 1, shape);
            said
        })
    }

    /// Calls `each` with the target tokens of a block, their hidden states and logits, both free to
    /// be overwritten.
    fn blocks(
        &self,
        hidden: &[f32],
        targets: &[u32],
        mut each: impl FnMut(&[usize], &mut [f32], &mut [f32]) -> Vec<Row>,
    ) -> Score {
        let asked: Vec<usize> = (0..targets.len()).filter(|r| targets[*r] != NONE).collect();
        let mut score = Score::default();
        for rows in asked.chunks((BLOCK_LOGITS / self.vocab).clamp(16, 1024)) {
            let mut x = Vec::with_capacity(rows.len() * self.width);
            rows.iter().for_each(|r| x.extend_from_slice(&hidden[r * self.width..][..self.width]));
            let mut logits = memory::take(rows.len() * self.vocab);
            dense::forward(&mut logits, &x, self.weight, 1, [self.width, self.vocab]);
            for row in each(rows, &mut x, &mut logits) {
                score.loss += row.loss;
                score.right += usize::from(row.right);
                score.log_z += row.log_z * row.log_z;
                score.targets += 1;
            }
            memory::give(logits);
        }
        score.loss /= score.targets.max(1) as f64;
        score.log_z /= score.targets.max(1) as f64;
        score
    }
}

/// What one row of logits says of its target.
struct Row {
    loss: f64,
    /// The logarithm of what the exponentials of the logits add up to.
    log_z: f64,
    right: bool,
    /// What the exponentials add up to.
    sum: f32,
}

/// Turns logits into their exponentials relative to the largest.
fn cross_entropy(logits: &mut [f32], target: usize) -> Row {
    let given = logits[target];
    let arch = pulp::Arch::new();
    let top = arch.dispatch(|| top(logits));
    // Of equal logits the first is the guess.
    let right = given == top && !logits[..target].contains(&given);
    let sum = arch.dispatch(Exponentials { logits, top });
    let log_z = f64::from(sum).ln() + f64::from(top);
    Row { loss: log_z - f64::from(given), log_z, right, sum }
}

/// Partial results side by side, so that the compiler uses vector registers.
const LANES: usize = 32;

/// The largest of some numbers.
#[inline(always)]
fn top(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}

/// Turns each number into `exp(x - top)`; gives their sum.
struct Exponentials<'a> {
    logits: &'a mut [f32],
    top: f32,
}

impl pulp::NullaryFnOnce for Exponentials<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let Exponentials { logits, top } = self;
        let mut lanes = [0.0; LANES];
        let mut chunks = logits.chunks_exact_mut(LANES);
        for chunk in &mut chunks {
            for i in 0..LANES {
                chunk[i] = Real::exp(chunk[i] - top);
                lanes[i] += chunk[i];
            }
        }
        let mut sum = lanes.iter().sum();
        for x in chunks.into_remainder() {
            *x = Real::exp(*x - top);
            sum += *x;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_gradient_by_hand() {
        // Two rows of width 1; the head gives logits x·(1, 2, 3) with 40 more of weight 0.
        let mut weight = vec![1.0, 2.0, 3.0];
        weight.resize(43, 0.0);
        let head = Head { weight: &weight, width: 1, vocab: 43 };
        let (hidden, targets) = ([0.5_f32, 7.0, -1.0], [2, NONE, 0]);
        let (mut d_hidden, mut d_weight) = ([9.0; 3], vec![0.0; 43]);
        let score = head.gradient(&hidden, &targets, &mut d_hidden, &mut d_weight, 0.0);
        let loss = |x: f64, target: usize| {
            let logits: Vec<f64> = weight.iter().map(|w| f64::from(*w) * x).collect();
            logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[target]
        };
        let want = (loss(0.5, 2) + loss(-1.0, 0)) / 2.0;
        assert!((score.loss - want).abs() < 1e-6, "{} {want}", score.loss);
        assert_eq!((score.targets, score.right), (2, 1));
        let slope = (loss(0.5 + 1e-5, 2) - loss(0.5 - 1e-5, 2)) / 2e-5 / 2.0;
        assert!((f64::from(d_hidden[0]) - slope).abs() < 1e-6);
        assert_eq!(d_hidden[1], 0.0);
        let again = head.score(&hidden, &targets);
        assert_eq!((again.score.right, again.guesses), (1, vec![2, 3]));
        assert!((again.score.loss - want).abs() < 1e-6);
        assert!((f64::from(again.losses[1]) - loss(-1.0, 0)).abs() < 1e-6);
        // With the square of the logarithm of the sum.
        let z = 0.05;
        let score = head.gradient(&hidden, &targets, &mut d_hidden, &mut d_weight, z as f32);
        let whole = |x: f64| loss(x, 2) + z * (loss(x, 2) + 3.0 * x).powi(2);
        let slope = (whole(0.5 + 1e-5) - whole(0.5 - 1e-5)) / 2e-5 / 2.0;
        assert!((f64::from(d_hidden[0]) - slope).abs() < 1e-6, "{} {slope}", d_hidden[0]);
        assert!((score.loss - want).abs() < 1e-6 && score.log_z > 0.0);
    }
}
