//! What is declared of a recurrence's tensors: intervals, and vectors of length 1. The one judge of whether numbers keep it.

use lrc_compiler::elaborate::recurrence::Slot;

/// How far off numbers may be.
#[derive(Clone, Copy, Debug)]
pub struct Slack {
    /// Behind an end of an interval, of 1 or of the end.
    pub end: f64,
    /// Length of a vector above 1.
    pub longer: f64,
    /// Length of a vector below 1.
    pub shorter: f64,
    /// Whether what is no number breaks a promise: where it comes from elsewhere, it does not.
    pub nan: bool,
}

/// For tensors that a user gives: intervals as they stand, and of lengths what bf16 loses of the entries.
pub const GIVEN: Slack = Slack { end: 0.0, longer: 1e-2, shorter: 1e-2, nan: true };

/// For what a model computes in f32; shorter vectors do no harm.
pub const COMPUTED: Slack = Slack { end: 1e-3, longer: 1e-3, shorter: 1.0, nan: false };

/// A promise that a tensor breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// What is promised.
    pub promise: Promise,
    /// What breaks it first: where its numbers begin, and its value or length.
    pub first: (usize, f64),
    /// What lies farthest outside.
    pub worst: (usize, f64),
    /// How many values or vectors break it.
    pub count: usize,
    /// Of so many.
    pub of: usize,
}

/// What is promised of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Promise {
    /// Values lie between these.
    Between(f64, f64),
    /// Vectors along the last axis have length 1.
    Unit,
}

/// The promises that a tensor of a slot breaks.
pub fn breaches(slot: &Slot, data: &[f32], slack: Slack) -> Vec<Breach> {
    let mut found = Vec::new();
    if let Some((low, high)) = slot.interval {
        let room = |end: f64| if end.is_finite() { slack.end * end.abs().max(1.0) } else { 0.0 };
        let (least, most) = (low - room(low), high + room(high));
        let values = data.iter().map(|x| f64::from(*x));
        let outside = |x: f64| (least - x).max(x - most);
        found.extend(breach(Promise::Between(low, high), values, 1, outside, slack.nan));
    }
    let width = slot.one().last().copied().filter(|width| slot.unit && *width > 0);
    if let Some(width) = width {
        let square = |x: &f32| f64::from(*x).powi(2);
        let lengths =
            data.chunks_exact(width).map(|row| row.iter().map(square).sum::<f64>().sqrt());
        let outside = |x: f64| (x - 1.0 - slack.longer).max(1.0 - slack.shorter - x);
        found.extend(breach(Promise::Unit, lengths, width, outside, slack.nan));
    }
    found
}

/// Gathers what lies outside, each so many numbers wide; `outside` says by how much.
fn breach(
    promise: Promise,
    values: impl Iterator<Item = f64>,
    width: usize,
    outside: impl Fn(f64) -> f64,
    nan: bool,
) -> Option<Breach> {
    let (mut found, mut farthest, mut of): (Option<Breach>, f64, usize) = (None, 0.0, 0);
    for (at, x) in values.enumerate() {
        of += 1;
        let by = if x.is_nan() && nan { f64::INFINITY } else { outside(x) };
        let breaks = by > 0.0 && (nan || !x.is_nan());
        if !breaks {
            continue;
        }
        let here = (at * width, x);
        let breach =
            found.get_or_insert(Breach { promise, first: here, worst: here, count: 0, of: 0 });
        breach.count += 1;
        if by > farthest {
            (breach.worst, farthest) = (here, by);
        }
    }
    found.map(|breach| Breach { of, ..breach })
}
