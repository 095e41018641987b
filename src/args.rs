//! Values that several commands take.

use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use lrc_compiler::elaborate::Recurrence;
use lrc_runtime::data::LONGEST;
use lrc_runtime::recurrence::draw::Sizes;
use lrc_runtime::schedule::run::MOST_STEPS;

/// The most sequences of a measurement.
pub const SEQUENCES: usize = 1 << 20;

/// A whole number from 1 to another.
pub fn count(most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most as u64)
}

/// The most heads of a call.
const HEADS: usize = 1 << 16;

/// Sequences, tokens of each and heads, as in `4,4096,8`.
pub fn shape(text: &str) -> Result<Sizes, String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    let wrong = "expected sequences, tokens and heads, as in 4,4096,8";
    let [batch, length, heads] = numbers.map_err(|_| wrong)?[..] else { return Err(wrong.into()) };
    for (name, n, most) in
        [("sequences", batch, SEQUENCES), ("tokens", length, LONGEST), ("heads", heads, HEADS)]
    {
        if !(1..=most).contains(&n) {
            return Err(format!("{n} {name}: expected 1 to {most}"));
        }
    }
    Ok(Sizes { batch, length, heads })
}

/// A number between two others.
fn number(text: &str, [low, high]: [f64; 2]) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if (low..=high).contains(&x) => Ok(x),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

/// What logits may be divided by.
pub fn temperature(text: &str) -> Result<f64, String> {
    number(text, [0.0, 1e6])
}

/// A probability that is not 0.
pub fn probability(text: &str) -> Result<f64, String> {
    number(text, [f64::MIN_POSITIVE, 1.0])
        .map_err(|_| "expected a number above 0, and at most 1".into())
}

/// A share above 0: `40%`, or `0.4`.
pub fn share(text: &str) -> Result<f64, String> {
    let of = |text: &str| text.trim().parse::<f64>().ok();
    let found = match text.strip_suffix('%') {
        Some(percent) => of(percent).map(|x| x / 100.0),
        None => of(text),
    };
    found.filter(|x| *x > 0.0 && *x <= 1.0).ok_or_else(|| "expected a share such as 40%".into())
}

/// Up to an hour.
pub fn seconds(text: &str) -> Result<f64, String> {
    number(text, [0.0, 3600.0])
}

/// Steps that a curve is smoothed over.
pub fn smoothing(text: &str) -> Result<f64, String> {
    number(text, [0.0, MOST_STEPS as f64])
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

impl Dtype {
    /// A recurrence whose inputs, outputs and their gradients kernels hold so.
    pub fn of(self, r: Recurrence) -> Recurrence {
        match self {
            Dtype::F32 => r,
            Dtype::Bf16 => r.in_bf16(),
        }
    }
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
