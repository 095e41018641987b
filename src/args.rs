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
    /// Say how each recurrence is understood and why, or what a diagnostic means.
    Explain(Explain),
    /// Write the stages of compilation as readable files.
    Compile(Compile),
    /// Compare the forms of each recurrence, and its gradients with differences.
    Verify(Verify),
    /// Measure a trained run on unseen data.
    Eval(Eval),
    /// Go on from a prompt with a trained run.
    Generate(Generate),
    /// Time recurrences, and a training step, on this machine.
    Bench(Bench),
    /// Say what this machine has.
    Doctor {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Count parameters, states and operations of a model.
    Params(Params),
    /// Run one declared recurrence on the tensors of a file.
    Exec(Exec),
    /// Train the model of a spec.
    Train(Train),
    /// Train variations of a spec over several seeds; one table and one figure for all of them.
    Experiment(Experiment),
}

/// Arguments of `lrc experiment`.
#[derive(Debug, clap::Args)]
pub struct Experiment {
    /// What is varied and measured (YAML).
    pub file: PathBuf,
    /// The experiment's folder, `runs/NAME` by default. Runs that it holds already are used again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
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

/// Arguments of `lrc explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// A `.arch` file, or a code such as `E0203`.
    pub file: PathBuf,
    /// A recurrence or model of the file.
    pub name: Option<String>,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `lrc compile`.
#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The `.arch` files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Stages: normal, chunk, grad, graph, plan, cuda, ptx, cubin.
    #[arg(long, default_value = "normal,chunk,grad,graph")]
    pub emit: String,
    /// Kinds of GPU for which kernels are planned and compiled.
    #[arg(long, default_value = "sm_80")]
    pub arch: String,
    /// The folder of the files.
    #[arg(long, default_value = "compiled")]
    pub out: PathBuf,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The `.arch` file.
    pub file: PathBuf,
    /// A recurrence of the file.
    pub name: Option<String>,
    /// Where to run: `sim` runs the kernels for GPUs against the step form.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `lrc eval`.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// A run's folder.
    pub run: PathBuf,
    /// Tokens of a sequence [default: as trained].
    #[arg(long)]
    pub length: Option<usize>,
    /// Unseen sequences.
    #[arg(long, default_value_t = 512)]
    pub sequences: usize,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc generate`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// A run's folder.
    pub run: PathBuf,
    /// Text for a model of text, else token numbers: "3 17 4".
    #[arg(long)]
    pub prompt: String,
    /// How many tokens to add.
    #[arg(long, default_value_t = 256)]
    pub tokens: usize,
    /// Logits are divided by this; 0 takes the likeliest token.
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Only so many of the likeliest tokens.
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability.
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Of what is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// A `.arch` file [default: the standard measurements].
    pub file: Option<PathBuf>,
    /// A recurrence or model of the file [default: each of them].
    pub name: Option<String>,
    /// Sequences.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Tokens of a sequence.
    #[arg(long, default_value_t = 4096)]
    pub length: usize,
    /// Heads.
    #[arg(long, default_value_t = 4)]
    pub heads: usize,
    /// How to run.
    #[arg(long, default_value = "auto")]
    pub form: Form,
    /// Where to run.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Tokens of a chunk.
    #[arg(long)]
    pub chunk: Option<usize>,
    /// Seconds to go on repeating one measurement.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Override a parameter or size: `--set dk=128`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc params`.
#[derive(Debug, clap::Args)]
pub struct Params {
    /// The `.arch` file.
    pub file: PathBuf,
    /// The model; needed if the file has several.
    pub name: Option<String>,
    /// Override a parameter of the model.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Sequence length for operations and caches.
    #[arg(long, default_value_t = 2048)]
    pub context: usize,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc train`.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec: `--set optimizer.adamw.lr=1e-3`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// The run's folder [default: runs/NAME].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on from the newest checkpoint of the folder.
    #[arg(long)]
    pub resume: bool,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Check everything, print what would be trained, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Save and stop after this many steps, as a signal would.
    #[arg(long, hide = true)]
    pub stop_after: Option<u64>,
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

impl From<Device> for lrc_runtime::device::Device {
    /// `auto` is the processor: it runs everything.
    fn from(device: Device) -> Self {
        match device {
            Device::Auto | Device::Cpu => Self::Cpu,
            Device::Sim => Self::Sim,
            Device::Cuda => Self::Cuda,
        }
    }
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
