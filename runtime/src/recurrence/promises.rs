//! Given tensors against what is declared of them: intervals and vectors of length 1.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_dsl::Diag;

use crate::ground::tensors::{Data, Tensor, Tensors};

/// How far the length of a vector may be from 1: what bf16 loses of its entries.
const LENGTH: f64 = 1e-2;

/// A warning for each tensor that breaks a promise: where it does first, and how often.
pub fn broken(r: &Recurrence, tensors: &Tensors) -> Vec<Diag> {
    let slots = r.inputs.iter().chain(&r.params);
    slots.filter_map(|slot| of_slot(slot, tensors.get(&slot.name)?)).flatten().collect()
}

fn of_slot(slot: &Slot, tensor: &Tensor) -> Option<Vec<Diag>> {
    let Data::F32(data) = &tensor.data else { return None };
    let mut found = Vec::new();
    if let Some((low, high)) = slot.interval {
        let outside = |x: &f32| !(low..=high).contains(&f64::from(*x));
        if let Some(first) = data.iter().position(outside) {
            let count = data.iter().filter(|x| outside(x)).count();
            let place = place(&tensor.shape, first);
            let message = format!(
                "`{0}{place}` is {1}, but `{0}` is promised to lie between {low} and {high}",
                slot.name, data[first]
            );
            found.push(warning(slot, message, count, data.len(), "numbers"));
        }
    }
    let width = slot.one().last().copied().filter(|_| slot.unit);
    if let Some(width) = width.filter(|width| *width > 0) {
        let length =
            |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let lengths: Vec<f64> = data.chunks_exact(width).map(length).collect();
        let off = |length: &f64| !(1.0 - LENGTH..=1.0 + LENGTH).contains(length);
        if let Some(first) = lengths.iter().position(off) {
            let count = lengths.iter().filter(|length| off(length)).count();
            let vectors = &tensor.shape[..tensor.shape.len().saturating_sub(1)];
            let message = format!(
                "`{0}{1}` has length {2:.4}, but vectors of `{0}` are promised to have length 1",
                slot.name,
                place(vectors, first),
                lengths[first]
            );
            found.push(warning(slot, message, count, lengths.len(), "vectors"));
        }
    }
    Some(found)
}

fn warning(slot: &Slot, message: String, count: usize, all: usize, what: &str) -> Diag {
    let label = format!("{count} of {all} {what} break this promise");
    Diag::warning("W0309", slot.span, message).label(label)
}

/// The index of an entry, as `[0, 3, 1]`; nothing for a lone one.
fn place(shape: &[usize], at: usize) -> String {
    if shape.is_empty() {
        return String::new();
    }
    let mut rest = at;
    let mut index: Vec<String> = shape
        .iter()
        .rev()
        .map(|size| {
            let here = rest % size.max(&1);
            rest /= size.max(&1);
            here.to_string()
        })
        .collect();
    index.reverse();
    format!("[{}]", index.join(", "))
}
