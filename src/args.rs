//! What can be typed. Nothing is decided here.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use lrc_runtime::data::LONGEST;
use lrc_runtime::schedule::course::MOST_STEPS;

/// The most sequences of a measurement.
const SEQUENCES: usize = 1 << 20;

/// A whole number from 1 to another.
fn count(most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most as u64)
}

/// A number between two others.
fn number(text: &str, [low, high]: [f64; 2]) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if (low..=high).contains(&x) => Ok(x),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

/// What logits may be divided by.
fn temperature(text: &str) -> Result<f64, String> {
    number(text, [0.0, 1e6])
}

/// A probability that is not 0.
fn probability(text: &str) -> Result<f64, String> {
    number(text, [f64::MIN_POSITIVE, 1.0])
        .map_err(|_| "expected a number above 0, and at most 1".into())
}

/// Up to an hour.
fn seconds(text: &str) -> Result<f64, String> {
    number(text, [0.0, 3600.0])
}

/// Steps that a curve is smoothed over.
fn smoothing(text: &str) -> Result<f64, String> {
    number(text, [0.0, MOST_STEPS as f64])
}

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
    /// Parse and check files; report every mistake at once.
    Check(Check),
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
    /// Turn text into tokens, look at them, and see what a run will make of them.
    #[command(subcommand)]
    Data(Data),
    /// Measure a model before or behind its training: first gradients, stability, precision.
    #[command(subcommand)]
    Diagnose(Diagnose),
    /// Compare runs on one page: tables with intervals over seeds, curves side by side. Each run's own report is written
    /// anew too.
    Report(Report),
    /// Train variations of a spec over several seeds; one table and one figure for all of them.
    Experiment(Experiment),
}

/// Commands about data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Tokenise text into a folder of shards.
    Tokenize(Tokenize),
    /// Learn a tokenizer from text (byte-pair encoding over bytes).
    Tokenizer(LearnTokenizer),
    /// Check a data folder or shard, and say what is in it.
    Inspect(Inspect),
    /// Write the documents of a data folder as files of text.
    Text(WriteTexts),
    /// Count the pieces of single documents by length; write them with --out.
    Bucketize(Bucketize),
    /// Score the training documents of a data folder, for a curriculum of difficulty.
    Score(ScoreDocuments),
    /// Draw lengths, batch, learning rate and mixture of a spec's run over time.
    Plan(Plan),
}

/// Files of text.
#[derive(Debug, clap::Args)]
pub struct Texts {
    /// Files and folders: .jsonl, .parquet, text; each also as .gz and .zst.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// The field or column that holds a document's text.
    #[arg(long, default_value = "text")]
    pub field: String,
    /// Pass over lines and files without a text, and count them.
    #[arg(long)]
    pub skip_bad: bool,
    /// Of folders, only files with these endings: `rs,md`.
    #[arg(long, value_delimiter = ',')]
    pub ending: Vec<String>,
    /// Leave out texts of more bytes.
    #[arg(long, value_name = "BYTES")]
    pub largest: Option<usize>,
    /// Leave out texts that say that a program wrote them ("@generated", "do not edit").
    #[arg(long)]
    pub no_generated: bool,
}

/// Arguments of `lrc data tokenize`.
#[derive(Debug, clap::Args)]
pub struct Tokenize {
    /// What is read.
    #[command(flatten)]
    pub texts: Texts,
    /// The folder of the shards.
    #[arg(long)]
    pub out: PathBuf,
    /// A `tokenizer.json`, or `bytes`.
    #[arg(long, default_value = "bytes")]
    pub tokenizer: PathBuf,
    /// The token that ends a document [default: the usual names are tried].
    #[arg(long)]
    pub end: Option<String>,
    /// Share of documents that training never sees.
    #[arg(long, default_value = "1%")]
    pub held_out: String,
    /// Tokens of a shard.
    #[arg(long, default_value = "100M")]
    pub shard: String,
    /// Leave out documents that came before, word by word.
    #[arg(long)]
    pub unique: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc data tokenizer`.
#[derive(Debug, clap::Args)]
pub struct LearnTokenizer {
    /// What is read.
    #[command(flatten)]
    pub texts: Texts,
    /// Tokens to learn.
    #[arg(long, default_value_t = 4096)]
    pub vocab: usize,
    /// The file to write.
    #[arg(long, default_value = "tokenizer.json")]
    pub out: PathBuf,
}

/// Arguments of `lrc data inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A data folder, or a shard.
    pub path: PathBuf,
    /// The shard has no header, as nanoGPT writes them.
    #[arg(long)]
    pub nanogpt: bool,
    /// The token that begins a document, for a shard outside a data folder.
    #[arg(long)]
    pub end: Option<u32>,
    /// Show the beginnings of so many documents.
    #[arg(long, default_value_t = 0)]
    pub show: usize,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc data text`.
#[derive(Debug, clap::Args)]
pub struct WriteTexts {
    /// A data folder.
    pub path: PathBuf,
    /// Those that training never sees, instead of those it learns from.
    #[arg(long)]
    pub held_out: bool,
    /// The folder of the files, 000000.txt and so on.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `lrc data bucketize`.
#[derive(Debug, clap::Args)]
pub struct Bucketize {
    /// A data folder.
    pub path: PathBuf,
    /// The shortest length.
    #[arg(long, default_value_t = 256)]
    pub shortest: usize,
    /// The longest length.
    #[arg(long, default_value_t = 8192)]
    pub longest: usize,
    /// A folder for a data folder of each length.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Arguments of `lrc data score`.
#[derive(Debug, clap::Args)]
pub struct ScoreDocuments {
    /// A data folder.
    pub path: PathBuf,
    /// `compression` (compressed bytes per byte) or `diversity` (MTLD of the words); larger is harder.
    #[arg(long)]
    pub metric: Option<String>,
    /// The loss per token of a trained run on each document.
    #[arg(long, value_name = "RUN")]
    pub teacher: Option<PathBuf>,
    /// Tokens of a document that the teacher reads, at most.
    #[arg(long, default_value_t = 2048, value_parser = count(LONGEST))]
    pub longest: usize,
    /// Scores from elsewhere: a JSON object per training document, in their order.
    #[arg(long, value_name = "FILE.jsonl")]
    pub import: Option<PathBuf>,
    /// The field of them.
    #[arg(long, default_value = "score")]
    pub field: String,
    /// The name of the scores [default: the metric's, `teacher`, or the field's].
    #[arg(long)]
    pub name: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc data plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Parts that are summed up in a line each.
    #[arg(long, default_value_t = 8, value_parser = count(10_000))]
    pub parts: usize,
    /// Only the first cycle of a curriculum.
    #[arg(long)]
    pub cycle: bool,
    /// Tokens of each bucket, instead of the data's: `386M,654M,814M`.
    #[arg(long)]
    pub tokens: Option<String>,
    /// A page with the curves.
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc experiment`.
#[derive(Debug, clap::Args)]
pub struct Experiment {
    /// What is varied and measured (YAML).
    pub file: PathBuf,
    /// The experiment's folder, `runs/NAME` by default. Runs that it holds already are used again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Check everything, list the cases, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Diagnoses.
#[derive(Debug, Subcommand)]
pub enum Diagnose {
    /// How much larger the first gradients are than later ones without warmup, and what warmup that suggests (a rule
    /// of thumb).
    Spike(Spike),
    /// How far a disturbance goes in time and in depth, layer by layer (Local Stability Condition).
    Lsc(Lsc),
    /// Which classes of a trained run's parameters mind being rounded to bf16.
    Precision(Precision),
}

/// Arguments of `lrc diagnose spike`.
#[derive(Debug, clap::Args)]
pub struct Spike {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Steps of the probe.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(2..=MOST_STEPS))]
    pub steps: u64,
    /// The step from which on the mean is taken that the largest is compared with [default: a third of the steps].
    #[arg(long)]
    pub from: Option<u64>,
    /// Seeds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc diagnose lsc`.
#[derive(Debug, clap::Args)]
pub struct Lsc {
    /// A spec, for its model as it begins, or a run's folder.
    pub spec: PathBuf,
    /// Override a value of the spec.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc diagnose precision`.
#[derive(Debug, clap::Args)]
pub struct Precision {
    /// A run's folder.
    pub run: PathBuf,
    /// Unseen sequences.
    #[arg(long, default_value_t = 256, value_parser = count(SEQUENCES))]
    pub sequences: usize,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Folders of runs, or folders that hold such folders.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The page [default: comparison.html].
    #[arg(long, default_value = "comparison.html")]
    pub out: PathBuf,
    /// Steps that a smoothed curve averages over.
    #[arg(long, default_value_t = 50.0, value_parser = smoothing)]
    pub smooth: f64,
    /// How sure intervals are.
    #[arg(long, default_value_t = 0.95)]
    pub confidence: f64,
    /// Make all intervals together as sure as that (Bonferroni).
    #[arg(long)]
    pub together: bool,
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
    /// A recurrence, mixer or model of the file.
    pub name: Option<String>,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `lrc check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// `.arch` files and specs.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where it is to run: what that lacks for a spec, or has no kernels for, is a mistake too.
    #[arg(long, default_value = "auto")]
    pub device: Device,
}

/// Arguments of `lrc compile`.
#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The `.arch` files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Stages: normal, chunk, grad, graph, plan, cuda, ptx, cubin [default: normal, chunk, grad,
    /// graph, and cubin where NVRTC is installed].
    #[arg(long, value_name = "STAGES")]
    pub emit: Option<String>,
    /// Kinds of GPU for which kernels are planned and compiled [default: that of the GPU here, else
    /// sm_80,sm_90a].
    #[arg(long, value_name = "KINDS")]
    pub arch: Option<String>,
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
    /// A recurrence of the file, or a mixer or model: what it calls [default: all of them].
    pub name: Option<String>,
    /// Where to run: `sim` runs the kernels for GPUs against the recurrent form.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lrc eval`.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// A run's folder.
    pub run: PathBuf,
    /// Tokens of a sequence, or several: `256,1024` [default: as the spec says].
    #[arg(long, value_delimiter = ',')]
    pub length: Vec<usize>,
    /// Also say the loss by place in the sequence.
    #[arg(long)]
    pub places: bool,
    /// Without what these layers add: names of mixers, `attention`, or single layers, `layers.4.attention`.
    #[arg(long, value_name = "LAYERS")]
    pub ablate: Option<String>,
    /// Ask the questions of a file instead, one JSON object per line: a `prompt` with `choices` and the number of the
    /// right one in `answer`, or with the text of the right `answer`.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["length", "places"])]
    pub questions: Option<PathBuf>,
    /// Unseen sequences.
    #[arg(long, default_value_t = 512, value_parser = count(SEQUENCES))]
    pub sequences: usize,
    /// All unseen sequences of a corpus.
    #[arg(long, conflicts_with = "sequences")]
    pub all: bool,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
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
    #[arg(long, default_value_t = 256, value_parser = count(LONGEST))]
    pub tokens: usize,
    /// Logits are divided by this; 0 takes the likeliest token.
    #[arg(long, default_value_t = 1.0, value_parser = temperature)]
    pub temperature: f64,
    /// Only so many of the likeliest tokens.
    #[arg(long, value_parser = count(LONGEST))]
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability.
    #[arg(long, default_value_t = 1.0, value_parser = probability)]
    pub top_p: f64,
    /// Of what is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
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
    #[arg(long, default_value_t = 1, value_parser = count(SEQUENCES))]
    pub batch: usize,
    /// Tokens of a sequence.
    #[arg(long, default_value_t = 4096, value_parser = count(LONGEST))]
    pub length: usize,
    /// Heads.
    #[arg(long, default_value_t = 4, value_parser = count(1 << 16))]
    pub heads: usize,
    /// How to run.
    #[arg(long, default_value = "auto")]
    pub form: Form,
    /// Where to run.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Tokens of a chunk.
    #[arg(long, value_parser = count(LONGEST))]
    pub chunk: Option<usize>,
    /// Seconds to go on repeating one measurement.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
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
    #[arg(long, default_value_t = 2048, value_parser = count(LONGEST))]
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
    /// Go on from the newest checkpoint of the folder, or begin where there is none.
    #[arg(long)]
    pub resume: bool,
    /// With --resume: go on from the checkpoint after so many steps instead of the newest one; newer ones are removed.
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub from_step: Option<u64>,
    /// With --resume: go on also where data, batch, seed or model are not those the run was begun with. The folder keeps
    /// the new ones, and the run goes on as if it had been of them from its first step on.
    #[arg(long, requires = "resume")]
    pub allow_changes: bool,
    /// Begin with the parameters of another run: a folder such as runs/NAME/checkpoints/step-00002000.
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
    /// With --from: go on where that run stood, and let the learning rate decay over this amount (`2B tokens`, `500
    /// steps`) to the end.
    #[arg(long, value_name = "AMOUNT", requires = "from")]
    pub decay_now: Option<String>,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Check what training checks before its first step, print what would be trained and what it takes, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Try out the spec's policies: put a fault into the run, `nan@100`, `spike@100` or `growth@100`, counted in
    /// computed gradients.
    #[arg(long, value_name = "FAULT@STEP", value_delimiter = ',')]
    pub inject: Vec<String>,
    /// Save and stop after this many steps, as a signal would.
    #[arg(long, hide = true)]
    pub stop_after: Option<u64>,
}

/// Devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// Today the processor, which runs everything: kernels have met no real GPU yet.
    Auto,
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// The kernels for GPUs, executed on the processor.
    Sim,
}

impl From<Device> for lrc_runtime::device::Device {
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
    /// One token at a time: the recurrent form.
    #[value(alias = "recurrent")]
    Step,
    /// Many tokens at a time.
    Chunk,
}
