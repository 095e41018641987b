//! Where kernels run, and kernels that are loaded there.

use std::sync::Arc;

use lrc_compiler::plan::target::{GPUS, Gpu as Kind};

use super::cuda::gpu::{Function, Gpu};
use super::cuda::nvrtc::Code;
use super::jit::{self, Source};
use super::recorder::Text;
use super::sim::{Entry, parse};
use crate::ground::error::Failure;

/// Where kernels run.
#[derive(Clone, Debug)]
pub enum Machine {
    /// On the processor, with checks, as kernels for this kind of GPU.
    Sim(Kind),
    /// On a GPU.
    Cuda(Gpu),
    /// Nowhere: what would be started on this kind of GPU is written down.
    Recorder(Kind),
}

impl Machine {
    /// On the processor, as kernels for the oldest kind of GPU.
    pub fn sim() -> Machine {
        Machine::Sim(GPUS[0])
    }

    /// The kind of GPU that kernels are planned for.
    pub fn kind(&self) -> Kind {
        match self {
            Machine::Sim(kind) | Machine::Recorder(kind) => *kind,
            Machine::Cuda(gpu) => gpu.kind,
        }
    }

    /// Compiles and loads kernels that want this much shared memory.
    pub fn load(&self, sources: &[Source], shared: &[usize]) -> Result<Vec<Loaded>, Failure> {
        match self {
            Machine::Sim(_) => jit::build(sources, Code::Ptx)?
                .iter()
                .map(|built| {
                    let entry = parse(&String::from_utf8_lossy(&built.code)).map_err(|why| {
                        let name = &built.name;
                        Failure::Compile(format!("the sim device cannot read {name}: {why}"))
                    })?;
                    Ok(Loaded::Sim(Arc::new(entry)))
                })
                .collect(),
            Machine::Cuda(gpu) => {
                let built = jit::build(sources, Code::Cubin)?;
                let load = |(built, shared): (&jit::Built, &usize)| {
                    let loaded = gpu.load(&built.code, &built.name, *shared)?;
                    Ok(Loaded::Cuda(Arc::new(loaded)))
                };
                built.iter().zip(shared).map(load).collect()
            }
            Machine::Recorder(_) => {
                let text =
                    |source: &Source| Text { name: source.name.clone(), text: source.text.clone() };
                Ok(sources.iter().map(|source| Loaded::Text(Arc::new(text(source)))).collect())
            }
        }
    }
}

/// A kernel where it runs.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// Its PTX.
    Sim(Arc<Entry>),
    /// Its machine code.
    Cuda(Arc<Function>),
    /// Its text, which nobody runs.
    Text(Arc<Text>),
}

/// The same one, not one that does the same.
impl PartialEq for Loaded {
    fn eq(&self, other: &Loaded) -> bool {
        match (self, other) {
            (Loaded::Sim(a), Loaded::Sim(b)) => Arc::ptr_eq(a, b),
            (Loaded::Cuda(a), Loaded::Cuda(b)) => Arc::ptr_eq(a, b),
            (Loaded::Text(a), Loaded::Text(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Loaded {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Loaded::Sim(entry) => &entry.name,
            Loaded::Cuda(function) => &function.name,
            Loaded::Text(text) => &text.name,
        }
    }
}
