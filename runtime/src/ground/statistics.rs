//! Means over seeds, and how far they can be trusted.

use crate::ground::random::{Purpose, Stream};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// The mean of a few numbers and the bootstrap interval of that mean, 95 % unless another is asked (percentiles of the means
/// of resamples; Efron 1979). The same numbers give the same interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its interval.
    pub interval: [f64; 2],
}

/// The mean of numbers with its 95 % interval; not a number for none.
pub fn mean(values: &[f64]) -> Mean {
    mean_with(values, 0.95)
}

/// The mean of numbers with an interval that is as sure as `confidence` says.
pub fn mean_with(values: &[f64], confidence: f64) -> Mean {
    let n = values.len();
    let middle = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return Mean { mean: middle, interval: [middle; 2] };
    }
    let mut random = Stream::new(0, Purpose::Bootstrap, n as u64);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[random.below(n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    let half = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    Mean { mean: middle, interval: [at(half), at(1.0 - half)] }
}

/// The largest `x` at which a falling `y` still reaches a threshold, between points in a straight
/// line; 0 where even the first does not, the last `x` where all do.
pub fn reach(x: &[f64], y: &[f64], threshold: f64) -> f64 {
    let mut before = (0.0, 1.0);
    for (&x, &y) in x.iter().zip(y) {
        if y < threshold {
            let share = (before.1 - threshold) / (before.1 - y).max(1e-12);
            return if before.0 == 0.0 { 0.0 } else { before.0 + share * (x - before.0) };
        }
        before = (x, y);
    }
    before.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_mean_and_shrink_with_the_spread() {
        let wide = mean(&[0.1, 0.5, 0.9, 0.3, 0.7]);
        let tight = mean(&[0.49, 0.5, 0.51, 0.5, 0.5]);
        assert!((wide.mean - 0.5).abs() < 1e-12 && (tight.mean - 0.5).abs() < 1e-12);
        let width = |m: Mean| m.interval[1] - m.interval[0];
        assert!(wide.interval[0] < 0.5 && wide.interval[1] > 0.5);
        assert!(width(wide) > 0.3 && width(wide) < 0.6, "{wide:?}");
        assert!(width(tight) < 0.02);
        assert_eq!(mean(&[2.0]).interval, [2.0, 2.0]);
    }

    /// The normal theory's interval, where it holds.
    #[test]
    fn intervals_agree_with_theory_for_many_numbers() {
        let mut random = Stream::new(5, Purpose::Sample, 0);
        let values: Vec<f64> = (0..400).map(|_| random.normal()).collect();
        let found = mean(&values);
        let half = 1.96 / 20.0;
        assert!((found.interval[1] - found.interval[0] - 2.0 * half).abs() < 0.2 * half);
    }

    #[test]
    fn reach_lies_between_points() {
        let x = [4.0, 8.0, 16.0];
        assert_eq!(reach(&x, &[1.0, 1.0, 1.0], 0.9), 16.0);
        assert_eq!(reach(&x, &[0.2, 0.1, 0.0], 0.9), 0.0);
        assert!((reach(&x, &[1.0, 1.0, 0.8], 0.9) - 12.0).abs() < 1e-9);
    }
}
