//! How long a trial's model would take on a GPU, without one.

use crate::config::open::Opened;
use crate::device::Device;
use crate::device::sim::hardware::Hardware;
use crate::ground::error::Failure;
use crate::profile::step::{Step, step};
use crate::train::ready::{Data, ready};

/// Seconds of a training step per token, as `lrc profile SPEC` models the longest step. Needs NVRTC.
pub fn per_token(opened: &Opened, hardware: Hardware) -> Result<f64, Failure> {
    let made = ready(&opened.spec, &opened.model, Device::Sim, Data::Elsewhere)?;
    let [batch, length, parts] = made.longest_step(&opened.spec);
    let of = Step { batch, length, parts, remembered: made.needs.optimizer };
    Ok(1.0 / step(&made.plan.prepared, of, hardware)?.speed())
}
