//! Given tensors against what is declared of them: intervals and vectors of length 1.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_dsl::Diag;

use crate::ground::promises::{Breach, GIVEN, Promise, breaches};
use crate::ground::tensors::{Data, Tensor, Tensors};

/// A warning for each tensor that breaks a promise: where it does first, and how often.
pub fn broken(r: &Recurrence, tensors: &Tensors) -> Vec<Diag> {
    let slots = r.inputs.iter().chain(&r.params);
    slots.filter_map(|slot| of_slot(slot, tensors.get(&slot.name)?)).flatten().collect()
}

fn of_slot(slot: &Slot, tensor: &Tensor) -> Option<Vec<Diag>> {
    let Data::F32(data) = &tensor.data else { return None };
    let said = breaches(slot, data, GIVEN).into_iter().map(|breach| {
        let Breach { promise, first: (at, x), count, of, .. } = breach;
        let (message, what) = match promise {
            Promise::Between(low, high) => {
                let place = place(&tensor.shape, at);
                let promise = format!("is promised to lie between {low} and {high}");
                let message =
                    format!("`{0}{place}` is {1}, but `{0}` {promise}", slot.name, x as f32);
                (message, "numbers")
            }
            Promise::Unit => {
                let width = slot.one().last().copied().unwrap_or(1);
                let vectors = &tensor.shape[..tensor.shape.len().saturating_sub(1)];
                let place = place(vectors, at / width);
                let message = format!(
                    "`{0}{place}` has length {x:.4}, but vectors of `{0}` are promised to have length 1",
                    slot.name
                );
                (message, "vectors")
            }
        };
        let label = format!("{count} of {of} {what} break this promise");
        Diag::warning("W0309", slot.span, message).label(label)
    });
    Some(said.collect())
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
