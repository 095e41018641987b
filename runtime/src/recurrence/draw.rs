//! Random tensors that keep what a recurrence's declaration promises.

use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::tile::size;

use crate::ground::random::Stream;

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
