//! The model of a run, as it was trained.

use std::path::Path;

use lrc_compiler::graph::{Model, Prepared};
use lrc_dsl::Sources;
use lrc_runtime::config::{self, Spec};
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::train::checkpoint;
use lrc_runtime::train::engine::Engine;

/// The spec and the model of a run.
pub fn open(run: &Path, sources: &mut Sources) -> Result<(Spec, Model), Failure> {
    let opened = config::open::of_run(run, sources)?;
    Ok((opened.spec, opened.model))
}

/// The model of a run as its newest checkpoint has it.
pub fn trained(run: &Path, sources: &mut Sources) -> Result<Engine, Failure> {
    let (_, model) = open(run, sources)?;
    let params = checkpoint::parameters(run, None, &model.graph.params)?;
    Engine::asked(Prepared::plain(model), &params, Device::Cpu)
}
