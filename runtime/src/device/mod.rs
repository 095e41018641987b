//! Devices other than the CPU: [`cuda`] compiles kernels for GPUs, and [`sim`] executes the
//! compiled kernels on the CPU, with checks that no GPU makes. [`kernels`] runs a recurrence by
//! its kernels on either.

pub mod cache;
pub mod cuda;
pub mod jit;
pub mod kernels;
pub mod library;
pub mod sim;

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The kernels for GPUs, executed on the processor.
    Sim,
}
