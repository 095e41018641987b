//! What can be typed. Nothing is decided here.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Write a sequence layer as mathematics; compile, verify and train it.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parse and check a file; report every mistake at once.
    Check {
        /// A `.arch` file.
        file: PathBuf,
    },
    /// Run one declared recurrence on the tensors of a file.
    Exec(Exec),
}

/// Arguments of `lrc exec`.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// The `.arch` file.
    pub file: PathBuf,
    /// The recurrence.
    pub name: String,
    /// Tensors by declared names, sequence first.
    #[arg(long)]
    pub inputs: PathBuf,
    /// Where the results go.
    #[arg(long)]
    pub out: PathBuf,
    /// Also compute gradients, from the cotangents `d` + output name.
    #[arg(long)]
    pub backward: bool,
    /// Where to run.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Precision of vector inputs, outputs and cotangents.
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// How to run.
    #[arg(long, default_value = "auto")]
    pub form: Form,
    /// Tokens of a chunk.
    #[arg(long)]
    pub chunk: Option<usize>,
    /// Override a parameter: `--set scale=1`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The best there is.
    Auto,
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// The GPU program, executed on the processor.
    Sim,
}

/// Precisions at the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them exponent.
    Bf16,
}

/// Forms of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The fastest one that fits.
    Auto,
    /// One token at a time.
    Step,
    /// Many tokens at a time.
    Chunk,
}
