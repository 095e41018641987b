//! Asynchronous successive halving (ASHA; Li et al. 2020): all trials train a little, and of those that came to a rung the best
//! go on to the next one. A rung is a share of the run's tokens; what a trial was worth there stands with the trial, so that
//! a restored search goes on with its rungs.

/// Who trains how far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halving {
    /// The first rung, as a share of the run.
    pub first: f64,
    /// One of so many is promoted, and trains so many times as long.
    pub factor: f64,
}

impl Halving {
    /// Shares of the run at which a trial pauses; the last one is the whole run.
    pub fn rungs(&self) -> Vec<f64> {
        let mut rungs = Vec::new();
        let mut share = self.first;
        while share < 1.0 - 1e-9 {
            rungs.push(share);
            share *= self.factor;
        }
        rungs.push(1.0);
        rungs
    }
}

/// Where a trial stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What it cost at each rung that it has come to.
    pub costs: Vec<f64>,
    /// The rung that it was sent to.
    pub sent: usize,
    /// Whether it can go on: it is not finished, and nobody trains it.
    pub paused: bool,
}

/// The trial that is promoted next, from the highest rung down; nothing where none is. `rungs` counts the whole run too.
pub fn promoted(all: &[Standing], factor: f64, rungs: usize) -> Option<usize> {
    (0..rungs.saturating_sub(1)).rev().find_map(|rung| {
        let mut here: Vec<(usize, f64)> = all
            .iter()
            .enumerate()
            .filter_map(|(at, trial)| Some((at, *trial.costs.get(rung)?)))
            .collect();
        here.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let best = (here.len() as f64 / factor) as usize;
        let waits = |at: &usize| {
            all[*at].paused && all[*at].sent == rung && all[*at].costs.len() == rung + 1
        };
        here.iter().take(best).filter(|(_, cost)| cost.is_finite()).map(|(at, _)| *at).find(waits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_with_the_run() {
        assert_eq!(Halving { first: 0.25, factor: 2.0 }.rungs(), [0.25, 0.5, 1.0]);
        assert_eq!(Halving { first: 0.25, factor: 3.0 }.rungs(), [0.25, 0.75, 1.0]);
        assert_eq!(Halving { first: 1.0, factor: 3.0 }.rungs(), [1.0]);
    }

    /// One search from its start, and the same broken off after each of its steps and taken up from what stands with the trials.
    #[test]
    fn a_restored_search_goes_on_with_its_rungs() {
        let worth = |trial: usize, rung: usize| ((trial * 7) % 9) as f64 + 0.1 * rung as f64;
        let step = |all: &mut Vec<Standing>| -> Option<(usize, usize)> {
            let at = match promoted(all, 3.0, 3) {
                Some(at) => {
                    all[at].sent += 1;
                    at
                }
                None if all.len() < 9 => {
                    all.push(Standing { costs: vec![], sent: 0, paused: true });
                    all.len() - 1
                }
                None => return None,
            };
            let rung = all[at].sent;
            all[at].costs.push(worth(at, rung));
            all[at].paused = rung < 2;
            Some((at, rung))
        };
        let mut all = Vec::new();
        let mut whole = Vec::new();
        let mut kept: Vec<Vec<Standing>> = vec![vec![]];
        while let Some(done) = step(&mut all) {
            whole.push(done);
            kept.push(all.clone());
        }
        // 9 at the first rung, 3 of them at the second, 1 of these to the end: the best one.
        assert_eq!(whole.len(), 13);
        assert_eq!(whole.last(), Some(&(0, 2)));
        for (broken, mut all) in kept.into_iter().enumerate() {
            let rest: Vec<(usize, usize)> = std::iter::from_fn(|| step(&mut all)).collect();
            assert_eq!(rest, whole[broken..], "broken off after {broken}");
        }
    }

    #[test]
    fn what_failed_is_not_promoted() {
        let one = |cost: f64| Standing { costs: vec![cost], sent: 0, paused: true };
        assert_eq!(promoted(&[one(f64::INFINITY), one(f64::INFINITY)], 2.0, 2), None);
        assert_eq!(promoted(&[one(f64::INFINITY), one(3.0)], 2.0, 2), Some(1));
        // Of three, one goes on at a factor of two; it is sent already.
        let sent = Standing { sent: 1, ..one(1.0) };
        assert_eq!(promoted(&[sent, one(2.0), one(3.0)], 2.0, 2), None);
    }
}
