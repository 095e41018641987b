//! Where models run: [`backend`] is what a place can do, [`cpu`] the processor, [`accelerator`] kernels.
//! [`cuda`] compiles and runs these on GPUs, and [`sim`] executes them on the processor, with checks that
//! no GPU makes. [`kernels`] runs a recurrence by its kernels on either; [`recorder`] writes down what they would start,
//! and `replay.rs` what a step starts, to start it as a whole when it comes again.

pub mod accelerator;
mod across;
mod answers;
mod argument;
pub mod backend;
pub mod cache;
pub mod collectives;
pub mod cpu;
pub mod cuda;
pub mod fixed;
pub mod forms;
mod grouped;
pub mod jit;
pub mod kernels;
pub mod launch;
pub mod library;
pub mod machine;
pub mod parameters;
mod peak;
pub mod recorder;
mod replay;
pub mod rows;
mod sent;
pub mod sim;
mod slots;
pub mod store;
mod timed;
pub mod tuned;

use lrc_compiler::plan::target::Gpu;

use crate::ground::error::Failure;

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The kernels for GPUs, executed on the processor.
    Sim,
    /// A GPU.
    Cuda,
}

impl Device {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Sim => "sim",
            Device::Cuda => "cuda",
        }
    }

    /// The kind of GPU that kernels are planned for; `None` for the processor itself. Where there
    /// is no GPU that it could ask, the kind that `sim` executes.
    pub fn kind(self) -> Option<Gpu> {
        match self {
            Device::Cpu => None,
            Device::Sim => Some(store::Machine::sim().kind()),
            Device::Cuda => {
                Some(cuda::gpu::Gpu::open().map_or(store::Machine::sim().kind(), |gpu| gpu.kind))
            }
        }
    }

    /// Where kernels run on this device; `None` for the processor itself. Opens the GPU.
    pub fn machine(self) -> Result<Option<store::Machine>, Failure> {
        Ok(match self {
            Device::Cpu => None,
            Device::Sim => Some(store::Machine::sim()),
            Device::Cuda => Some(store::Machine::Cuda(cuda::gpu::Gpu::open()?)),
        })
    }
}
