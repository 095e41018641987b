//! When kernels begin and end.

use std::time::Instant;

use super::cuda::gpu;
use super::store::Store;
use crate::ground::error::Failure;

/// A moment between two launches.
#[derive(Debug)]
pub enum Mark {
    /// On the processor's clock.
    Here(Instant),
    /// On the GPU's.
    There(gpu::Mark),
}

/// A kernel between two moments.
#[derive(Debug)]
pub struct Timed {
    /// Its name.
    pub kernel: String,
    /// When it began, and when it had ended.
    pub marks: [Mark; 2],
}

impl Timed {
    /// The seconds that it took, after it has ended.
    pub fn seconds(&self) -> Result<f64, Failure> {
        match &self.marks {
            [Mark::Here(a), Mark::Here(b)] => Ok((*b - *a).as_secs_f64()),
            [Mark::There(a), Mark::There(b)] => a.until(b),
            _ => Err(Failure::World("a mistake of lrc: one kernel on two clocks".into())),
        }
    }
}

impl Store {
    /// From now on, kernels are timed.
    pub fn time(&mut self) {
        self.timed = Some(vec![]);
    }

    /// The kernels since the last call, with the seconds that each took.
    pub fn timed(&mut self) -> Result<Vec<(String, f64)>, Failure> {
        let all = self.timed.as_mut().map(std::mem::take).unwrap_or_default();
        all.into_iter().map(|one| one.seconds().map(|seconds| (one.kernel, seconds))).collect()
    }

    /// The moment when everything so far has run.
    pub(super) fn mark(&self) -> Result<Mark, Failure> {
        match self.gpu() {
            Some(gpu) => gpu.mark().map(Mark::There),
            None => Ok(Mark::Here(Instant::now())),
        }
    }
}
