//! Levels of a synthetic task, easier and harder, and which of them a step draws from. What decides
//! is how many unseen sequences of each level a model answers wholly right; it is asked in every
//! evaluation.

use serde::{Deserialize, Serialize};

/// Levels of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// What of the task they differ in.
    pub of: String,
    /// The easiest first.
    pub values: Vec<usize>,
    /// How a run goes through them.
    pub pace: Pace,
}

/// How a run goes through levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// One after the other: a level is left when it is mastered.
    Staged {
        /// Share of sequences that must be right.
        reach: f64,
        /// So many levels at a time at most, even if those between are mastered too.
        jump: usize,
        /// Share of sequences that come from the levels before.
        review: f64,
    },
    /// A level comes as often as the answers to it vary: those that are always right or always
    /// wrong teach little. With `k` of `G` right the variance is `k (G - k) / (G (G - 1))`, and its
    /// share of the largest possible one is the level's weight (VCRL, arXiv 2509.19803, exactly,
    /// with the unseen sequences of an evaluation as the rollouts).
    Variance {
        /// The least weight, so that no level is lost from sight.
        floor: f64,
    },
}

/// Where a run stands among its levels; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The hardest level so far.
    pub level: usize,
    /// How likely each level is.
    pub odds: Vec<f64>,
}

impl Levels {
    /// Where a run begins: with the easiest level, or with all of them alike.
    pub fn start(&self) -> Stage {
        let odds = match self.pace {
            Pace::Staged { review, .. } => self.staged(0, review),
            Pace::Variance { .. } => vec![1.0; self.values.len()],
        };
        Stage { level: 0, odds }
    }

    fn staged(&self, level: usize, review: f64) -> Vec<f64> {
        let mut odds = vec![0.0; self.values.len()];
        odds[..level].fill(review / level.max(1) as f64);
        odds[level] = if level == 0 { 1.0 } else { 1.0 - review };
        odds
    }

    /// Where it goes on after an evaluation with so many sequences right, of so many, per level.
    pub fn after(&self, stage: &Stage, right: &[[usize; 2]]) -> Stage {
        match self.pace {
            Pace::Staged { reach, jump, review } => {
                let mastered = |at: usize| {
                    let [right, of] = right[at];
                    right as f64 >= reach * of.max(1) as f64
                };
                let last = self.values.len() - 1;
                let mut level = stage.level;
                while level < last.min(stage.level + jump) && mastered(level) {
                    level += 1;
                }
                Stage { level, odds: self.staged(level, review) }
            }
            Pace::Variance { floor } => {
                let odds: Vec<f64> =
                    right.iter().map(|[right, of]| variance(*right, *of).max(floor)).collect();
                let level = (0..odds.len()).rev().find(|at| right[*at][0] > 0).unwrap_or(0);
                Stage { level, odds }
            }
        }
    }
}

/// The variance of answers that are right or wrong, as a share of the largest possible one.
fn variance(right: usize, of: usize) -> f64 {
    let at = |k: f64| k * (of as f64 - k);
    at(right as f64) / at((of / 2) as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(pace: Pace) -> Levels {
        Levels { of: "pairs".into(), values: vec![2, 4, 8, 16], pace }
    }

    #[test]
    fn stages_come_one_after_the_other_and_no_faster_than_allowed() {
        let staged = |jump| levels(Pace::Staged { reach: 0.9, jump, review: 0.2 });
        let all = [[100, 100]; 4];
        assert_eq!(staged(1).start().odds, [1.0, 0.0, 0.0, 0.0]);
        let one = staged(1).after(&staged(1).start(), &all);
        assert_eq!((one.level, &one.odds[..]), (1, &[0.2, 0.8, 0.0, 0.0][..]));
        assert_eq!(staged(2).after(&one, &all).level, 3);
        assert_eq!(staged(9).after(&one, &all).level, 3);
        // What is not mastered is not left, and nothing falls back.
        assert_eq!(staged(9).after(&one, &[[1, 100], [89, 100], [0, 1], [0, 1]]).level, 1);
        assert_eq!(staged(9).after(&one, &[[1, 100], [90, 100], [0, 1], [0, 1]]).level, 2);
    }

    #[test]
    fn what_varies_comes_more_often() {
        let levels = levels(Pace::Variance { floor: 0.05 });
        let stage = levels.after(&levels.start(), &[[8, 8], [6, 8], [4, 8], [0, 8]]);
        // k (G - k) for G = 8: 0, 12, 16 (the largest), 0.
        assert_eq!(stage.odds, [0.05, 0.75, 1.0, 0.05]);
        assert_eq!(stage.level, 2);
    }
}
