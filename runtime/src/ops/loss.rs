//! Cross-entropy over the vocabulary, a block of rows at a time.
//!
//! All logits of a long text would not fit the memory, and rows at which nothing is asked need none.

use lrc_compiler::num::Real;

/// No target at this row.
pub const NONE: u32 = u32::MAX;

/// What the loss of a batch says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean cross-entropy over the asked rows, in nats.
    pub loss: f64,
    /// Rows at which something was asked.
    pub targets: usize,
    /// Of these, how many the model's best guess got right.
    pub right: usize,
    /// What the model's mixers add to the loss in training, such as the balance of experts.
    pub auxiliary: f64,
    /// Mean of `ln²Z` over the asked rows, in a gradient.
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

    /// Share of asked rows that were right.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.targets.max(1) as f64
    }
}

/// What a model says at the asked rows of a batch, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Of all of them.
    pub score: Score,
    /// The best guess at each.
    pub guesses: Vec<u32>,
    /// The loss of each, in nats.
    pub losses: Vec<f32>,
}

/// What a row of logits says of its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaidRow {
    /// In nats.
    pub loss: f64,
    /// The logarithm of what the exponentials of the logits add up to.
    pub log_z: f64,
    /// Whether the best guess is the target; of equal logits the first is the guess.
    pub right: bool,
    /// The best guess; [`NONE`] where it is wrong and only that was asked, in a gradient.
    pub guess: u32,
}

impl Predictions {
    /// Of all rows.
    pub fn of(rows: &[SaidRow]) -> Predictions {
        let mut score = Score { targets: rows.len(), ..Score::default() };
        for row in rows {
            score.loss += row.loss;
            score.right += usize::from(row.right);
            score.log_z += row.log_z * row.log_z;
        }
        score.loss /= rows.len().max(1) as f64;
        score.log_z /= rows.len().max(1) as f64;
        Predictions {
            score,
            guesses: rows.iter().map(|row| row.guess).collect(),
            losses: rows.iter().map(|row| row.loss as f32).collect(),
        }
    }
}

/// What of the logits is in memory at a time: a block of rows.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Logits of a block, as far as its rows go.
    logits: usize,
    /// Rows of a block at most.
    rows: usize,
}

impl Blocks {
    /// Blocks for the processor: the gradient of the head is read and written once for each, so that few rows cost time.
    pub const NEAR: Blocks = Blocks { logits: 1 << 24, rows: 1024 };
    /// Blocks that fill a device.
    pub const LARGE: Blocks = Blocks { logits: 1 << 26, rows: 4096 };

    /// Rows of a block.
    pub fn rows(self, vocab: usize) -> usize {
        (self.logits / vocab).clamp(16, self.rows)
    }

    /// Numbers that a block of so many asked rows takes at most: hidden states, logits, factors, and the gradient of
    /// the hidden states.
    pub fn numbers(self, asked: usize, width: usize, vocab: usize) -> usize {
        self.rows(vocab).min(asked) * (vocab + 2 * width + 1)
    }
}

/// What a row of logits says of its target; they become their exponentials.
pub fn said(logits: &mut [f32], target: u32) -> SaidRow {
    let top = top(logits);
    let guess = logits.iter().position(|x| *x == top).unwrap_or(0);
    SaidRow { guess: guess as u32, ..cross_entropy(logits, target).0 }
}

/// Puts logits below their soft cap: `x` becomes `cap tanh(x / cap)`.
pub fn capped(logits: &mut [f32], cap: Option<f32>) {
    if let Some(cap) = cap {
        pulp::Arch::new()
            .dispatch(|| logits.iter_mut().for_each(|x| *x = cap * Real::tanh(*x / cap)));
    }
}

/// The same as [`said`], and the gradient by the logits in their place, but for the factor of one over the number
/// that comes with it. With `z` above 0 the loss has `z ln²Z` more, where `Z` is what the exponentials
/// of the logits add up to (z-loss; Chowdhery et al. 2022). Logits with a cap are given capped, and the gradient is by what
/// they were before.
pub fn gradient(logits: &mut [f32], target: u32, z: f32, cap: Option<f32>) -> (SaidRow, f32) {
    let slope = |y: &f32, cap: f32| 1.0 - (y / cap) * (y / cap);
    let slopes: Option<Vec<f32>> = cap.map(|cap| logits.iter().map(|y| slope(y, cap)).collect());
    let (row, sum) = cross_entropy(logits, target);
    if z > 0.0 {
        let steeper = 1.0 + 2.0 * z * row.log_z as f32;
        logits.iter_mut().for_each(|x| *x *= steeper);
    }
    logits[target as usize] -= sum;
    if let Some(slopes) = slopes {
        logits.iter_mut().zip(slopes).for_each(|(d, slope)| *d *= slope);
    }
    (row, sum)
}

/// Turns logits into their exponentials relative to the largest; also gives what these add up to.
fn cross_entropy(logits: &mut [f32], target: u32) -> (SaidRow, f32) {
    let at = target as usize;
    let given = logits[at];
    let arch = pulp::Arch::new();
    let top = arch.dispatch(|| top(logits));
    let right = given == top && !logits[..at].contains(&given);
    let sum = arch.dispatch(Exponentials { logits, top });
    let log_z = f64::from(sum).ln() + f64::from(top);
    let guess = if right { target } else { NONE };
    (SaidRow { loss: log_z - f64::from(given), log_z, right, guess }, sum)
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
        let logits: Vec<f32> = (0..43).map(|i| [0.5, 1.0, 1.5][i.min(2)] * 0.5).collect();
        let (target, z) = (1_u32, 0.05);
        let loss = |logits: &[f32], z: f64| {
            let sum = logits.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            sum - f64::from(logits[target as usize]) + z * sum * sum
        };
        for z in [0.0, z] {
            let mut d = logits.clone();
            let (row, sum) = gradient(&mut d, target, z as f32, None);
            assert!((row.loss - loss(&logits, 0.0)).abs() < 1e-6 && !row.right);
            for at in [0, 1, 40] {
                let moved = |by: f32| {
                    let mut moved = logits.clone();
                    moved[at] += by;
                    loss(&moved, z)
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((f64::from(d[at] / sum) - slope).abs() < 1e-4, "{at} {z}");
            }
        }
        // Capped at 2: the same gradient, by what comes in.
        let cap = Some(2.0);
        let inner = |logits: &[f32]| {
            let mut capped_logits = logits.to_vec();
            capped(&mut capped_logits, cap);
            loss(&capped_logits, z)
        };
        let mut d = logits.clone();
        capped(&mut d, cap);
        let (_, sum) = gradient(&mut d, target, z as f32, cap);
        for at in [0, 1, 40] {
            let moved = |by: f32| {
                let mut moved = logits.clone();
                moved[at] += by;
                inner(&moved)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((f64::from(d[at] / sum) - slope).abs() < 1e-4, "{at}, capped");
        }
        let all = Predictions::of(&[said(&mut logits.clone(), 1), said(&mut logits.clone(), 2)]);
        assert_eq!((all.score.targets, all.score.right, all.guesses), (2, 1, vec![2, 2]));
        assert!((f64::from(all.losses[0]) - loss(&logits, 0.0)).abs() < 1e-6);
    }
}
