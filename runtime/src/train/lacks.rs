//! What a model asks for that kernels lack, as a failure: training, a dry run and `lrc check` share it.

use lrc_compiler::graph::{Prepared, kernels};

use crate::device::Device;
use crate::ground::error::Failure;

/// Fails with everything that a device lacks for a model. The processor lacks nothing.
pub fn lacks(prepared: &Prepared, on: Device) -> Result<(), Failure> {
    let Some(gpu) = on.kind() else { return Ok(()) };
    let lacking = kernels::plan(prepared, gpu).lacking;
    if lacking.is_empty() { Ok(()) } else { Err(Failure::Invalid(lacking)) }
}
