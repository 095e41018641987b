//! What a run asks for that kernels lack: one list, which training, a dry run and `lrc check` share.

use lrc_compiler::graph::Prepared;
use lrc_dsl::Diag;

use crate::config::Spec;
use crate::device::Device;
use crate::ground::error::Failure;
use crate::model::device;
use crate::model::transforms::Transforms;
use crate::optim::{Method, Optimizer};

/// Fails with everything that a device lacks for a run of a spec.
pub fn lacks(spec: &Spec, prepared: &Prepared, on: Device) -> Result<(), Failure> {
    device::none(lacking(spec, prepared, on))
}

/// Everything that a device lacks for a run of a spec. The processor lacks nothing.
fn lacking(spec: &Spec, prepared: &Prepared, on: Device) -> Vec<Diag> {
    let Some(gpu) = on.kind() else { return vec![] };
    let mut lacking = of_training(&spec.optimizer, &spec.transforms);
    for policy in spec.monitor.policies.iter().filter(|policy| policy.on.of_layers()) {
        let why = format!("the policy on `{}` looks into layers, which kernels hide", policy.on);
        lacking.push(Diag::global("E0501", why).help("it runs with `--device cpu`"));
    }
    lacking.extend(device::lacks(prepared, gpu));
    lacking
}

/// What kernels lack of how a model is trained.
pub fn of_training(optimizer: &Optimizer, transforms: &Transforms) -> Vec<Diag> {
    let method = format!("the optimiser `{}`", optimizer.method.name());
    let asked = [
        (transforms.z_loss > 0.0, "`z_loss`"),
        (transforms.dropout > 0.0, "`dropout`"),
        (transforms.activations.is_some(), "computing layers again (`activations`)"),
        (!transforms.precision.is_empty(), "`precision`: what they round is fixed"),
        (!matches!(optimizer.method, Method::AdamW { .. }), method.as_str()),
        (!optimizer.groups.is_empty(), "groups of parameters"),
    ];
    let lacking = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, what)| {
        let diag = Diag::global("E0501", format!("there are no kernels for {what}"));
        diag.help("it runs with `--device cpu`")
    });
    lacking.collect()
}
