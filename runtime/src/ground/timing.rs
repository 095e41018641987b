//! How long things take: the median of several runs after one that warms up.

use std::time::{Duration, Instant};

use super::error::Failure;

/// How a measurement is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// At least so many timed runs.
    pub least: usize,
    /// More runs until so much time has passed.
    pub time: Duration,
}

/// The median time of a run in seconds; one run before is not timed.
pub fn median(repeat: Repeat, run: impl FnMut()) -> f64 {
    let times = times(repeat, run);
    times[times.len() / 2]
}

/// The times of runs in seconds, the shortest first; one run before is not timed.
pub fn times(repeat: Repeat, mut run: impl FnMut()) -> Vec<f64> {
    run();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < repeat.least.max(1) || start.elapsed() < repeat.time {
        let one = Instant::now();
        run();
        times.push(one.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times
}

/// The same for a run that may fail.
pub fn fallible(
    repeat: Repeat,
    mut run: impl FnMut() -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let mut failed = None;
    let seconds = median(repeat, || {
        if failed.is_none() {
            failed = run().err();
        }
    });
    failed.map_or(Ok(seconds), Err)
}
