//! When kernels begin and end.

use std::time::Instant;

use super::cuda::gpu;
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
