//! From counts at short lengths to those at any length.

use lrc_compiler::plan::Schedule;

use super::reach;
use crate::device::sim::Launch;
use crate::device::sim::count::Counts;
use crate::device::store::Counted;
use crate::ground::error::Failure;

/// The furthest that a window is looked for.
pub const FURTHEST: usize = 1 << 13;

/// Lengths are multiples of this, so that kernels with a thread for each number have whole blocks.
const ROWS: usize = 256;

/// A launch at the sizes that are asked for.
pub struct Launches {
    /// The kernel.
    pub kernel: String,
    /// How a block is.
    pub launch: Launch,
    /// Blocks.
    pub blocks: f64,
    /// What all of them did.
    pub counts: Counts,
}

/// The lengths at which to run: whole blocks of every kernel, more than a window, and three of them unless the one
/// that is asked for is short.
pub fn lengths(schedules: &[&Schedule], length: usize) -> Vec<usize> {
    let [tokens, window] = reach(schedules);
    let unit = (2 * tokens).max(window + tokens).next_multiple_of(ROWS.max(tokens));
    if length <= 3 * unit { vec![length] } else { vec![unit, 2 * unit, 3 * unit] }
}

/// How much of the counts at each length make those at another: Lagrange's polynomials.
pub fn weights(lengths: &[usize], length: usize) -> Vec<f64> {
    let x = |n: usize| n as f64;
    let weight = |at: usize| {
        let others = lengths.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, n)| (x(length) - x(*n)) / (x(lengths[at]) - x(*n))).product()
    };
    (0..lengths.len()).map(weight).collect()
}

/// A pass at another length, `times` as often, given what its launches did at several lengths.
pub fn at(counted: &[&[Counted]], weights: &[f64], times: f64) -> Result<Vec<Launches>, Failure> {
    let first = counted[0];
    if counted.iter().any(|other| other.len() != first.len()) {
        let why = "kernels are launched more often for longer sequences: their counts cannot be told from short ones";
        return Err(Failure::World(why.into()));
    }
    let one = |launch: usize| {
        let mut all = Launches {
            kernel: first[launch].kernel.clone(),
            launch: first[launch].launch,
            blocks: 0.0,
            counts: Counts::default(),
        };
        for (ran, weight) in counted.iter().zip(weights) {
            all.blocks += weight * times * ran[launch].launch.blocks as f64;
            all.counts.add(&ran[launch].counts, weight * times);
        }
        all.blocks = all.blocks.round();
        all.counts.longest /= times;
        all
    };
    Ok((0..first.len()).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_met() {
        let weights = weights(&[64, 128, 192], 4096);
        let of = |n: f64| 3.0 + 2.0 * n + 0.5 * n * n;
        let told: f64 = weights.iter().zip([64.0, 128.0, 192.0]).map(|(w, n)| w * of(n)).sum();
        assert!((told / of(4096.0) - 1.0).abs() < 1e-12);
        assert_eq!(super::weights(&[100], 100), [1.0]);
    }
}
