//! How much of the data a run may see, in the order of difficulty.

use super::{Amount, Progress};

/// A pace through data of rising difficulty: an easy part first, all of it later.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacing {
    /// The name of the scores.
    pub by: String,
    /// The share that the run begins with.
    pub start: f64,
    /// Until when it stays at that.
    pub hold: Amount,
    /// From when on all data is seen.
    pub full: Amount,
    /// The way between.
    pub growth: Growth,
    /// The largest scores come first, not the smallest.
    pub largest_first: bool,
}

/// How the share grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// In a straight line.
    Linear,
    /// Fast at first: its square grows in a straight line (Platanios et al. 2019).
    Root,
    /// Not until the end.
    Step,
}

impl Pacing {
    /// The share at a moment.
    pub fn share(&self, progress: &Progress) -> f64 {
        let since =
            |amount: Amount| if amount.number() > 0.0 { progress.since(amount) } else { 1.0 };
        let (held, done) = (since(self.hold), since(self.full));
        if done >= 1.0 {
            return 1.0;
        }
        if held < 1.0 {
            return self.start;
        }
        // Where the hold ends, as a share of the way to the end.
        let from = if self.hold.number() > 0.0 { done / held } else { 0.0 };
        let way = ((done - from) / (1.0 - from).max(1e-12)).clamp(0.0, 1.0);
        match self.growth {
            Growth::Linear => self.start + (1.0 - self.start) * way,
            Growth::Root => {
                let low = self.start * self.start;
                (low + (1.0 - low) * way).sqrt()
            }
            Growth::Step => self.start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Clock;
    use super::*;

    fn share(growth: Growth, at: f64) -> f64 {
        paced(growth, 0.2, at)
    }

    fn paced(growth: Growth, hold: f64, at: f64) -> f64 {
        let pacing = Pacing {
            by: "compression".into(),
            start: 0.5,
            hold: Amount::Share(hold),
            full: Amount::Share(0.4),
            growth,
            largest_first: false,
        };
        let clock = |steps| Clock { steps, tokens: 10.0 * steps, seconds: 0.0 };
        let length = Amount::Steps(1000.0);
        pacing.share(&Progress { done: clock(1000.0 * at), whole: clock(1000.0), length })
    }

    #[test]
    fn half_of_the_data_for_a_fifth_of_the_run_and_all_of_it_from_two_fifths_on() {
        for (at, want) in [(0.0, 0.5), (0.19, 0.5), (0.2, 0.5), (0.3, 0.75), (0.4, 1.0), (1.0, 1.0)]
        {
            assert!((share(Growth::Linear, at) - want).abs() < 1e-9, "{at}");
        }
        assert!((share(Growth::Root, 0.3) - (0.25_f64 + 0.75 * 0.5).sqrt()).abs() < 1e-9);
        assert_eq!((share(Growth::Step, 0.39), share(Growth::Step, 0.4)), (0.5, 1.0));
    }

    #[test]
    fn what_is_not_held_grows_at_once() {
        for (at, want) in [(0.0, 0.5), (0.1, 0.625), (0.2, 0.75), (0.4, 1.0)] {
            assert!((paced(Growth::Linear, 0.0, at) - want).abs() < 1e-9, "{at}");
        }
    }
}
