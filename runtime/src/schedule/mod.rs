//! What happens when: amounts of training, the learning rate over a run, and the run schedule.

pub mod lengths;
pub mod levels;
pub mod pacing;
pub mod run;
pub mod warmup;

use std::f64::consts::PI;

/// An amount of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Optimiser steps.
    Steps(f64),
    /// Tokens.
    Tokens(f64),
    /// A share of the whole run.
    Share(f64),
    /// Seconds.
    Time(f64),
}

impl Amount {
    /// Reads `5%`, `200 steps`, `1.5M tokens`, `30 min`, or a plain number of tokens.
    pub fn parse(text: &str) -> Option<Amount> {
        let text = text.trim();
        if let Some(share) = text.strip_suffix('%') {
            return share.trim().parse().ok().map(|x: f64| Amount::Share(x / 100.0));
        }
        let (number, unit) = match text.split_once(' ') {
            Some((number, unit)) => (number, unit.trim()),
            None => (text, "tokens"),
        };
        let (number, factor) = match number.chars().last()? {
            'k' | 'K' => (&number[..number.len() - 1], 1e3),
            'M' => (&number[..number.len() - 1], 1e6),
            'B' => (&number[..number.len() - 1], 1e9),
            'T' => (&number[..number.len() - 1], 1e12),
            _ => (number, 1.0),
        };
        let x = number.replace('_', "").parse::<f64>().ok()? * factor;
        match unit {
            "step" | "steps" => Some(Amount::Steps(x)),
            "token" | "tokens" | "tok" => Some(Amount::Tokens(x)),
            "s" | "sec" | "second" | "seconds" => Some(Amount::Time(x)),
            "min" | "minute" | "minutes" => Some(Amount::Time(60.0 * x)),
            "h" | "hour" | "hours" => Some(Amount::Time(3600.0 * x)),
            _ => None,
        }
    }

    /// The number, whatever it counts.
    pub fn number(self) -> f64 {
        let (Amount::Steps(x) | Amount::Tokens(x) | Amount::Share(x) | Amount::Time(x)) = self;
        x
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Amount::Steps(x) => write!(f, "{x} steps"),
            Amount::Tokens(x) => write!(f, "{x} tokens"),
            Amount::Share(x) => write!(f, "{}%", x * 100.0),
            Amount::Time(x) => write!(f, "{x} s"),
        }
    }
}

/// How much was done, in every unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clock {
    /// Optimiser steps.
    pub steps: f64,
    /// Tokens.
    pub tokens: f64,
    /// Seconds of all processes that worked on the run.
    pub seconds: f64,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// How much was done.
    pub done: Clock,
    /// How much there is to do; infinite in a unit in which that is not known.
    pub whole: Clock,
    /// The unit that the length of the run is given in.
    pub length: Amount,
}

impl Progress {
    fn of(&self, clock: &Clock, unit: Amount) -> f64 {
        match unit {
            Amount::Steps(_) => clock.steps,
            Amount::Tokens(_) => clock.tokens,
            Amount::Time(_) => clock.seconds,
            Amount::Share(_) => self.of(clock, self.length),
        }
    }

    /// The same moment on another reading of the clock.
    pub fn at(&self, seconds: f64) -> Progress {
        Progress { done: Clock { seconds, ..self.done }, ..*self }
    }

    /// The share of the run that is done.
    pub fn share(&self) -> f64 {
        self.of(&self.done, self.length) / self.length.number()
    }

    /// What is done, as a multiple of an amount.
    pub fn since(&self, amount: Amount) -> f64 {
        match amount {
            Amount::Share(share) => self.share() / share,
            _ => self.of(&self.done, amount) / amount.number(),
        }
    }

    /// How often an amount has gone by.
    pub fn times(&self, amount: Amount) -> f64 {
        whole(self.since(amount))
    }

    /// What is left to do, as a multiple of an amount.
    pub fn left(&self, amount: Amount) -> f64 {
        match amount {
            Amount::Share(share) => (1.0 - self.share()) / share,
            _ => (self.of(&self.whole, amount) - self.of(&self.done, amount)) / amount.number(),
        }
    }

    /// Whether nothing is left.
    pub fn ended(&self) -> bool {
        self.share() >= 1.0
    }
}

/// The whole number below a quotient of amounts. Shares of a run are rounded, so that what is whole may come out a little
/// smaller: three of twenty steps are 2.9999999999999996 times 5 %.
pub fn whole(x: f64) -> f64 {
    let near = x.round();
    if (x - near).abs() <= 1e-9 * near.max(1.0) { near } else { x.floor() }
}

/// The learning rate over the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The shape after warmup.
    pub shape: Shape,
    /// The rise at the start.
    pub warmup: Amount,
    /// How it rises.
    pub rise: WarmupCurve,
    /// Share of the peak at the end.
    pub floor: f64,
}

/// How a rate rises to its peak, as a function of the share of the warmup that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WarmupCurve {
    /// In a line.
    Linear,
    /// As the square.
    Quadratic,
    /// By the same factor at every step, from a hundredth.
    Exponential,
}

/// Shapes of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Flat.
    Constant,
    /// To the floor along a curve.
    Falling(DecayCurve),
    /// One over the root of what is done, 1 at the end of the warmup.
    InverseRoot,
    /// Flat, then to the floor over the last part (warmup, stable, decay).
    Wsd {
        /// How long the last part is.
        decay: Amount,
        /// Its curve.
        curve: DecayCurve,
    },
}

/// Curves from 1 to 0 over the share `d` that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecayCurve {
    /// `1 - d`
    Linear,
    /// `(1 + cos(π d)) / 2`
    Cosine,
    /// `1 - √d` (Hägele et al. 2024)
    Root,
}

impl DecayCurve {
    /// The height at a share of the way.
    pub fn at(self, done: f64) -> f64 {
        let done = done.clamp(0.0, 1.0);
        match self {
            DecayCurve::Linear => 1.0 - done,
            DecayCurve::Cosine => 0.5 * (1.0 + (PI * done).cos()),
            DecayCurve::Root => 1.0 - done.sqrt(),
        }
    }
}

impl Schedule {
    /// The factor on the peak rate in a step that lies between two moments. It depends on nothing
    /// else, so that resuming is exact.
    pub fn lr_scale(&self, before: &Progress, after: &Progress) -> f64 {
        let risen = if self.warmup.number() > 0.0 { after.since(self.warmup) } else { 1.0 };
        // A step that only begins inside the warmup belongs to it.
        let rising = self.warmup.number() > 0.0 && before.since(self.warmup) < 1.0;
        if rising {
            let u = risen.min(1.0);
            return match self.rise {
                WarmupCurve::Linear => u,
                WarmupCurve::Quadratic => u * u,
                WarmupCurve::Exponential => 0.01_f64.powf(1.0 - u),
            };
        }
        let down = |height: f64| self.floor + (1.0 - self.floor) * height;
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Falling(curve) => {
                let share = before.share();
                let warm = share / before.since(self.warmup).max(f64::MIN_POSITIVE);
                let warm = if self.warmup.number() > 0.0 && warm.is_finite() { warm } else { 0.0 };
                down(curve.at((share - warm) / (1.0 - warm).max(f64::MIN_POSITIVE)))
            }
            Shape::InverseRoot => before.since(self.warmup).max(1.0).sqrt().recip(),
            Shape::Wsd { decay, .. } if decay.number() <= 0.0 => 1.0,
            Shape::Wsd { decay, curve } => down(curve.at(1.0 - before.left(decay))),
        }
    }
}

/// A number that changes along the run: lines between points, flat outside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Line(pub Vec<(Amount, f64)>);

impl Line {
    /// The same number all along.
    pub fn flat(x: f64) -> Line {
        Line(vec![(Amount::Share(0.0), x)])
    }

    /// The number at a moment.
    pub fn at(&self, progress: &Progress) -> f64 {
        // How far past a point the run is, in the unit of the point.
        let past = |amount: Amount| match amount {
            Amount::Share(share) => progress.share() - share,
            _ => progress.of(&progress.done, amount) - amount.number(),
        };
        let after = self.0.iter().position(|(amount, _)| past(*amount) < 0.0);
        match after {
            Some(0) => self.0[0].1,
            None => self.0.last().map_or(0.0, |(_, x)| *x),
            Some(next) => {
                let ((from, low), (to, high)) = (self.0[next - 1], self.0[next]);
                let (behind, ahead) = (past(from), -past(to));
                low + (high - low) * behind / (behind + ahead).max(f64::MIN_POSITIVE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(step: f64, length: Amount) -> Progress {
        let clock = |steps: f64| Clock { steps, tokens: 50.0 * steps, seconds: 0.0 };
        Progress { done: clock(step), whole: clock(1000.0), length }
    }

    fn factors(schedule: Schedule, length: Amount) -> Vec<f64> {
        (0..1000)
            .map(|s| {
                let at = f64::from(s);
                schedule.lr_scale(&progress(at, length), &progress(at + 1.0, length))
            })
            .collect()
    }

    #[test]
    fn amounts_in_any_unit_mean_the_same() {
        let wsd = |warmup, decay| Schedule {
            shape: Shape::Wsd { decay, curve: DecayCurve::Linear },
            warmup,
            rise: WarmupCurve::Linear,
            floor: 0.1,
        };
        let length = Amount::Steps(1000.0);
        let want = factors(wsd(Amount::Steps(100.0), Amount::Steps(200.0)), length);
        for (warmup, decay, length) in [
            (Amount::Share(0.1), Amount::Share(0.2), length),
            (Amount::Tokens(5000.0), Amount::Tokens(10_000.0), length),
            (Amount::Share(0.1), Amount::Steps(200.0), Amount::Tokens(50_000.0)),
        ] {
            let got = factors(wsd(warmup, decay), length);
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-9));
        }
        assert_eq!((want[0], want[99], want[100], want[799]), (0.01, 1.0, 1.0, 1.0));
        assert!((want[900] - 0.55).abs() < 1e-9, "{}", want[900]);
    }

    #[test]
    fn shares_go_by_as_often_as_they_should() {
        for (steps, percent) in [(20.0, 5), (2000.0, 10), (100.0, 7), (1_000_000.0, 1)] {
            let clock = |steps| Clock { steps, tokens: 50.0 * steps, seconds: 0.0 };
            let share = f64::from(percent) / 100.0;
            let times = |step| {
                let length = Amount::Steps(steps);
                Progress { done: clock(step), whole: clock(steps), length }
                    .times(Amount::Share(share))
            };
            for k in 1..=100 / percent {
                let due = f64::from(k * percent) * steps / 100.0;
                assert_eq!((times(due), times(due - 1.0)), (f64::from(k), f64::from(k - 1)));
            }
        }
    }

    #[test]
    fn shapes_by_hand() {
        let at = |shape, rise, step: usize| {
            let schedule = Schedule { shape, warmup: Amount::Steps(100.0), rise, floor: 0.2 };
            factors(schedule, Amount::Steps(1000.0))[step]
        };
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} {want}");
        near(at(Shape::Falling(DecayCurve::Cosine), WarmupCurve::Linear, 550), 0.6);
        near(at(Shape::Falling(DecayCurve::Linear), WarmupCurve::Linear, 325), 0.8);
        near(at(Shape::InverseRoot, WarmupCurve::Linear, 400), 0.5);
        near(at(Shape::Constant, WarmupCurve::Quadratic, 49), 0.25);
        near(at(Shape::Constant, WarmupCurve::Exponential, 49), 0.1);
        let root = Shape::Wsd { decay: Amount::Share(0.4), curve: DecayCurve::Root };
        near(at(root, WarmupCurve::Linear, 700), 0.2 + 0.8 * 0.5);
        near(at(root, WarmupCurve::Linear, 599), 1.0);
    }

    #[test]
    fn amounts_are_read() {
        assert_eq!(Amount::parse("30B tok"), Some(Amount::Tokens(3e10)));
        assert_eq!(Amount::parse("2.5 min"), Some(Amount::Time(150.0)));
        assert_eq!(Amount::parse("5%"), Some(Amount::Share(0.05)));
        assert_eq!(Amount::parse("10 parsecs"), None);
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let line = Line(vec![(Amount::Share(0.2), 1.0), (Amount::Share(0.6), 3.0)]);
        let at = |step| line.at(&progress(step, Amount::Steps(1000.0)));
        assert_eq!(
            (at(0.0), at(200.0), at(400.0), at(600.0), at(1000.0)),
            (1.0, 1.0, 2.0, 3.0, 3.0)
        );
    }
}
