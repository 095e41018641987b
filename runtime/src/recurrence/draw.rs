//! Random tensors that keep what a recurrence's declaration promises.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Cotangents, Operand, Problem};
use lrc_compiler::tile::size;

use crate::ground::random::{Purpose, Stream};

/// The sizes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Heads.
    pub heads: usize,
}

/// The tensors of a call, and what flows into its outputs.
#[derive(Clone, Debug)]
pub struct Drawn {
    sizes: Sizes,
    inputs: Vec<Vec<f32>>,
    params: Vec<Vec<f32>>,
    /// Per output.
    pub d_outs: Vec<Vec<f32>>,
}

impl Drawn {
    /// Always the same ones.
    pub fn new(r: &Recurrence, sizes: Sizes) -> Drawn {
        let Sizes { batch, length, heads } = sizes;
        let rows = batch * length;
        let mut random = Stream::new(0, Purpose::Verify, 0);
        let narrow = |all: Vec<f64>| -> Vec<f32> { all.into_iter().map(|x| x as f32).collect() };
        let mut drawn = |slots: &[_], rows: usize| -> Vec<Vec<f32>> {
            slots.iter().map(|slot| narrow(tensor(slot, rows, &mut random))).collect()
        };
        let (inputs, params) = (drawn(&r.inputs, rows * heads), drawn(&r.params, heads));
        let mut normal = |n: usize| (0..n).map(|_| random.normal() as f32).collect();
        let d_outs = r.outs.iter().map(|out| normal(rows * heads * size(&out.shape))).collect();
        Drawn { sizes, inputs, params, d_outs }
    }

    /// The call.
    pub fn problem<'t>(&'t self, r: &'t Recurrence) -> Problem<'t, f32> {
        let Sizes { batch, length, heads } = self.sizes;
        Problem {
            recurrence: r,
            heads,
            sum: 1,
            bounds: (0..=batch).map(|at| at * length).collect(),
            inputs: self.inputs.iter().map(|data| Operand { data, heads }).collect(),
            params: self.params.iter().map(|data| Operand { data, heads }).collect(),
            initial: vec![None; r.states.len()],
        }
    }

    /// What flows into its outputs; nothing into its last states.
    pub fn cotangents(&self, r: &Recurrence) -> Cotangents<'_, f32> {
        Cotangents {
            outs: self.d_outs.iter().map(|d| Some(d.as_slice())).collect(),
            finals: vec![None; r.states.len()],
        }
    }
}

/// One value inside the promised interval. Open ends are kept at a distance; log decays include 0
/// and -8, rates their far end.
fn value(slot: &Slot, random: &mut Stream) -> f64 {
    match slot.interval {
        Some((low, high)) if low == f64::NEG_INFINITY && high <= 0.0 => {
            let kind = random.uniform();
            match kind {
                k if k < 0.1 => high,
                k if k < 0.2 => high - 8.0,
                k if k < 0.4 => high - 4.0 * random.uniform(),
                _ => high - 0.3 * random.uniform(),
            }
        }
        Some((low, high)) if low.is_finite() && high.is_finite() => {
            let edge = random.uniform();
            let x = if edge < 0.1 { 0.999 } else { random.uniform() };
            low + (high - low) * x
        }
        Some((low, _)) if low.is_finite() => low + 0.05 + random.uniform(),
        _ => random.normal(),
    }
}

/// `rows` tiles of a slot. Vectors without a promised interval have a norm near 1, unit vectors
/// exactly 1, and the first two rows of unit vectors are equal: the hard case for low-rank updates.
pub fn tensor(slot: &Slot, rows: usize, random: &mut Stream) -> Vec<f64> {
    let width = slot.one().last().copied().unwrap_or(1);
    let mut values: Vec<f64> = (0..rows * size(&slot.shape)).map(|_| value(slot, random)).collect();
    let scale = if slot.interval.is_none() { 1.0 / (width as f64).sqrt() } else { 1.0 };
    for vector in values.chunks_exact_mut(width) {
        vector.iter_mut().for_each(|x| *x *= scale);
        if slot.unit {
            let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|x| *x /= norm);
        }
    }
    if slot.unit && rows > 2 {
        let run = size(&slot.shape);
        values.copy_within(0..run, run);
    }
    values
}
