//! Where kernels run, and kernels that are loaded there.

use lrc_compiler::plan::target::{GPUS, Gpu as Kind};

use super::cuda::gpu::{Function, Gpu};
use super::cuda::nvrtc::Code;
use super::jit::{self, Source};
use super::sim::{Entry, parse};
use crate::ground::error::Failure;

/// Where kernels run.
#[derive(Clone, Debug)]
pub enum Machine {
    /// On the processor, with checks, as kernels for this kind of GPU.
    Sim(Kind),
    /// On a GPU.
    Cuda(Gpu),
}

impl Machine {
    /// On the processor, as kernels for the oldest kind of GPU.
    pub fn sim() -> Machine {
        Machine::Sim(GPUS[0])
    }

    /// The kind of GPU that kernels are planned for.
    pub fn kind(&self) -> Kind {
        match self {
            Machine::Sim(kind) => *kind,
            Machine::Cuda(gpu) => gpu.kind,
        }
    }

    /// Compiles and loads kernels that want this much shared memory.
    pub fn load(&self, sources: &[Source], shared: &[usize]) -> Result<Vec<Loaded>, Failure> {
        let code = if matches!(self, Machine::Sim(_)) { Code::Ptx } else { Code::Cubin };
        let built = jit::build(sources, code)?;
        let both = built.iter().zip(shared);
        both.map(|(built, shared)| match self {
            Machine::Sim(_) => {
                let entry = parse(&String::from_utf8_lossy(&built.code)).map_err(|why| {
                    let name = &built.name;
                    Failure::Compile(format!("the sim device cannot read {name}: {why}"))
                })?;
                Ok(Loaded::Sim(entry))
            }
            Machine::Cuda(gpu) => Ok(Loaded::Cuda(gpu.load(&built.code, &built.name, *shared)?)),
        })
        .collect()
    }
}

/// A kernel where it runs.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// Its PTX.
    Sim(Entry),
    /// Its machine code.
    Cuda(Function),
}
