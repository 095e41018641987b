//! How long the sequences of each step are: curricula of lengths.
//!
//! Sequences of one step have one length, and steps have the same number of tokens, so that a
//! bucket of short sequences has more of them (Pouransari et al. 2024, "Dataset Decomposition").

use lrc_compiler::apportion::apportion;

use super::{Amount, Progress};

/// A curriculum of lengths.
#[derive(Clone, Debug, PartialEq)]
pub enum Lengths {
    /// All sequences have the length of the task or of the data.
    Same,
    /// Buckets of lengths that are powers of two.
    Buckets(Buckets),
    /// Sequences grow from short to full over the first part (Li, Zhang and He 2022).
    Growing {
        /// The first length.
        from: usize,
        /// Until when.
        over: Amount,
        /// Lengths are multiples of this.
        step: usize,
        /// What becomes of the rest of a sequence.
        cut: Cut,
    },
}

/// What becomes of a sequence that is longer than the length of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Its first part is used; steps have fewer tokens.
    Truncate,
    /// It becomes several sequences; steps keep their tokens.
    Split,
}

/// Buckets, and how one is chosen for each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// The length of each, rising.
    pub lengths: Vec<usize>,
    /// How likely each is; see [`Reading`].
    pub odds: Vec<f64>,
    /// The data is dealt out anew so often.
    pub cycles: usize,
    /// What odds mean.
    pub reading: Reading,
    /// The first step takes the longest, so that a lack of memory shows at once.
    pub longest_first: bool,
}

/// What the odds of buckets mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Without replacement: a cycle has a fixed number of steps of each bucket, its share of the
    /// data; a bucket comes as often as that number times its odds, until it is used up. So the
    /// authors' training script does it.
    Fixed,
    /// A cycle falls into as many parts as there are buckets, and odds rotate from part to part:
    /// bucket `i` of `n` has exponents (or weights) `n-i, n-i+1, …, n`, then falling below `n-i`.
    /// So OLMo-core does it.
    Rotating,
    /// A bucket comes as often as its odds, all along.
    Stationary,
    /// Buckets come by their share of the data; odds are not used.
    Natural,
}

/// Whether two numbers can be the shortest and the longest of lengths that double.
pub fn powers(low: usize, high: usize) -> bool {
    let power = |x: usize| (2..=1 << 24).contains(&x) && x.is_power_of_two();
    low <= high && power(low) && power(high)
}

/// Lengths from the shortest to the longest, each twice the one before.
pub fn doubling(low: usize, high: usize) -> Vec<usize> {
    std::iter::successors(Some(low), |length| Some(2 * length))
        .take_while(|length| *length <= high)
        .collect()
}

/// Odds by name, from the shortest bucket to the longest of `n`.
pub fn odds(name: &str, n: usize) -> Option<Vec<f64>> {
    let rank = |i: usize| (n - 1 - i) as f64;
    Some(match name {
        "grow_p2" => (0..n).map(|i| 2_f64.powf(rank(i))).collect(),
        "grow_linear" => (0..n).map(|i| rank(i) + 1.0).collect(),
        "grow_p100" => (0..n).map(|i| 100_f64.powf(rank(i))).collect(),
        "shrink_p100" => (0..n).map(|i| 100_f64.powf(i as f64)).collect(),
        "natural" | "uniform" => vec![1.0; n],
        _ => return None,
    })
}

/// Chooses buckets step by step. Buckets are dealt out evenly rather than drawn: each gains credit
/// by its weight, the richest one comes and pays. So every stretch of steps has the shares it should
/// have, to within a step or two.
#[derive(Clone, Debug)]
pub struct Chooser {
    buckets: Buckets,
    /// Steps of each bucket in the whole run.
    steps: Vec<u64>,
    /// Cycles begun.
    cycle: usize,
    /// Parts of the cycle begun.
    part: usize,
    /// Steps of each bucket that are left in this cycle, or part of one.
    left: Vec<u64>,
    /// How often each comes while it lasts.
    weights: Vec<f64>,
    credit: Vec<f64>,
}

impl Chooser {
    /// A chooser for a run of `steps` steps over data with so many tokens of each bucket.
    pub fn new(buckets: &Buckets, available: &[f64], steps: u64) -> Chooser {
        Chooser {
            buckets: buckets.clone(),
            steps: apportion(available, steps),
            cycle: 0,
            part: 0,
            left: vec![],
            weights: vec![],
            credit: vec![0.0; available.len()],
        }
    }

    /// The bucket of the next step; `first` says that it is the first of all.
    pub fn next(&mut self, first: bool) -> usize {
        // A part may be empty; a run of no steps at all has one bucket as good as another.
        let mut tries = 0;
        while self.left.iter().sum::<u64>() == 0 && tries < 4 * self.buckets.lengths.len() + 4 {
            self.deal();
            tries += 1;
        }
        let there = self.left.iter().zip(&self.weights);
        let weights: Vec<f64> = there.map(|(n, w)| if *n > 0 { *w } else { 0.0 }).collect();
        let whole: f64 = weights.iter().sum();
        for (credit, weight) in self.credit.iter_mut().zip(&weights) {
            *credit += weight / whole.max(f64::MIN_POSITIVE);
        }
        let longest = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
        let richest = (0..weights.len())
            .filter(|at| weights[*at] > 0.0)
            // Of equals the shortest comes first.
            .max_by(|a, b| self.credit[*a].total_cmp(&self.credit[*b]).then(b.cmp(a)));
        let chosen = match richest {
            Some(_) if first && self.buckets.longest_first => longest,
            Some(richest) => richest,
            None => 0,
        };
        self.credit[chosen] -= 1.0;
        if self.buckets.reading != Reading::Stationary {
            self.left[chosen] = self.left[chosen].saturating_sub(1);
        }
        chosen
    }

    /// Begins a cycle, or the next part of one.
    fn deal(&mut self) {
        let cycles = self.buckets.cycles.max(1) as u64;
        let cycle = self.cycle as u64 % cycles;
        // The cycles of a bucket differ by one step at most, and add up to its steps.
        let share: Vec<u64> =
            self.steps.iter().map(|n| n * (cycle + 1) / cycles - n * cycle / cycles).collect();
        let n = share.len();
        let odds = &self.buckets.odds;
        self.credit.fill(0.0);
        if self.buckets.reading != Reading::Rotating {
            let each = share.iter().zip(odds);
            self.weights = match self.buckets.reading {
                Reading::Fixed => each.map(|(n, odds)| *n as f64 * odds).collect(),
                Reading::Stationary => odds.clone(),
                _ => share.iter().map(|n| *n as f64).collect(),
            };
            self.left = share;
            self.cycle += 1;
            return;
        }
        let part = self.part;
        self.left = (0..n).map(|at| apportion(&rotated(odds, at), share[at])[part]).collect();
        self.weights = self.left.iter().map(|n| *n as f64).collect();
        self.part += 1;
        if self.part == n {
            self.part = 0;
            self.cycle += 1;
        }
    }
}

/// The weights of a bucket in the parts of a cycle. `odds` falls from the first bucket to the last;
/// its sorted values are the ladder that a bucket climbs from its own place, then descends below it.
fn rotated(odds: &[f64], bucket: usize) -> Vec<f64> {
    let mut ladder = odds.to_vec();
    ladder.sort_by(f64::total_cmp);
    let own = ladder.len() - 1 - bucket;
    (own..ladder.len()).chain((0..own).rev()).map(|at| ladder[at]).collect()
}

/// The place that `u` in (0, 1) falls on.
pub fn draw(weights: &[f64], u: f64) -> usize {
    let mut left = u * weights.iter().sum::<f64>();
    let mut last = 0;
    for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = at;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

impl Lengths {
    /// The length of a step of a growing curriculum.
    pub fn grown(&self, full: usize, progress: &Progress) -> usize {
        let Lengths::Growing { from, over, step, .. } = self else { return full };
        let done = if over.number() > 0.0 { progress.since(*over).min(1.0) } else { 1.0 };
        if done >= 1.0 {
            return full;
        }
        let at = *from as f64 + (full as f64 - *from as f64) * done;
        let rounded = (at / *step as f64).floor() as usize * step;
        rounded.clamp((*from).min(full), full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(name: &str, cycles: usize, reading: Reading) -> Buckets {
        Buckets {
            lengths: (8..14).map(|e| 1 << e).collect(),
            odds: odds(name, 6).unwrap(),
            cycles,
            reading,
            longest_first: false,
        }
    }

    /// Tokens per bucket of the published example, in millions.
    const PUBLISHED: [f64; 6] = [385.9, 654.3, 813.7, 687.9, 562.0, 503.3];

    /// Shares of the buckets in each eighth of the first cycle.
    fn eighths(buckets: &Buckets, available: &[f64], steps: u64) -> Vec<Vec<f64>> {
        let mut chooser = Chooser::new(buckets, available, steps * buckets.cycles as u64);
        let mut counts = vec![vec![0.0; 6]; 8];
        for step in 0..steps {
            let chosen = chooser.next(step == 0);
            counts[(8 * step / steps) as usize][chosen] += 8.0 / steps as f64;
        }
        counts
    }

    #[test]
    fn grow_p2_without_replacement_has_the_published_shares() {
        let shares = eighths(&buckets("grow_p2", 8, Reading::Fixed), &PUBLISHED, 6880);
        let near = |got: &[f64], want: [f64; 6]| {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 0.02), "{got:?} {want:?}");
        };
        near(&shares[0], [0.36, 0.32, 0.19, 0.09, 0.03, 0.01]);
        near(&shares[7], [0.0, 0.0, 0.0, 0.0, 0.32, 0.68]);
    }

    #[test]
    fn rotating_odds_are_those_of_the_other_implementation() {
        // 63 steps of each bucket, so that each part has a power of two of them.
        let mut chooser =
            Chooser::new(&buckets("grow_p2", 1, Reading::Rotating), &[1.0; 6], 63 * 6);
        let rows = [
            [32, 16, 8, 4, 2, 1],
            [16, 32, 8, 4, 2, 1],
            [8, 16, 32, 4, 2, 1],
            [4, 8, 16, 32, 2, 1],
            [2, 4, 8, 16, 32, 1],
            [1, 2, 4, 8, 16, 32],
        ];
        for part in 0..6 {
            let mut counts = [0; 6];
            for _ in 0..rows.iter().map(|row| row[part]).sum() {
                counts[chooser.next(false)] += 1;
            }
            let want: Vec<i32> = rows.iter().map(|row| row[part]).collect();
            assert_eq!(counts.to_vec(), want, "part {part}");
        }
    }

    #[test]
    fn every_cycle_uses_all_its_data() {
        for reading in [Reading::Fixed, Reading::Rotating, Reading::Natural] {
            for name in ["grow_p2", "grow_linear", "grow_p100"] {
                let mut chooser = Chooser::new(&buckets(name, 4, reading), &PUBLISHED, 1000);
                let mut counts = vec![0; 6];
                (0..1000).for_each(|_| counts[chooser.next(false)] += 1);
                assert_eq!(counts, apportion(&PUBLISHED, 1000), "{name} {reading:?}");
            }
        }
    }

    #[test]
    fn stationary_odds_hold_all_along() {
        let shares = eighths(&buckets("grow_linear", 1, Reading::Stationary), &[1.0; 6], 840);
        for part in shares {
            let want = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0].map(|x| x / 21.0);
            assert!(part.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.02), "{part:?}");
        }
    }
}
