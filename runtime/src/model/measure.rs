//! Looks into the layers of a model while it runs: how large their outputs, states, queries and keys
//! are, how much of a state is used, how wide attention looks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lrc_compiler::block::Blocking;
use lrc_compiler::form::{Form, FormKind, Operand, Problem};
use lrc_compiler::graph::{Param, layer};
use lrc_compiler::tile::size;

use crate::ground::random::{Purpose, Stream};

/// Measures by layer and name.
pub type Measured = BTreeMap<String, BTreeMap<String, f64>>;

fn note(measured: &mut Measured, layer: &str, name: &str, x: f64) {
    let known = measured.entry(layer.to_string()).or_default().entry(name.to_string());
    // A layer with several recurrences shows its largest.
    known.and_modify(|known| *known = known.max(x)).or_insert(x);
}

fn root_mean_square(data: &[f32]) -> f64 {
    let sum: f64 = data.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (sum / data.len().max(1) as f64).sqrt()
}

/// The size of the residual stream behind a layer: the root of its mean square.
pub fn output(measured: &mut Measured, label: &str, data: &[f32]) {
    note(measured, layer(label), "output", root_mean_square(data));
}

/// A recurrence: its states at the end of the sequences, its queries and keys, and how wide it looks from row `first` of each
/// sequence on.
pub fn recurrence(
    measured: &mut Measured,
    label: &str,
    problem: &Problem<f32>,
    finals: &[Cow<'_, [f32]>],
    first: usize,
) {
    let at = layer(label);
    let r = problem.recurrence;
    for (state, data) in r.states.iter().zip(finals) {
        let one = size(&state.shape);
        let norms = data.chunks_exact(one).map(|s| root_mean_square(s) * (one as f64).sqrt());
        note(measured, at, "state", norms.fold(0.0, f64::max));
        if let [rows, columns] = state.shape[..]
            && rows > 1
            && columns > 1
        {
            let ranks: Vec<f64> = data.chunks_exact(one).filter_map(|s| rank(s, columns)).collect();
            if !ranks.is_empty() {
                let mean = ranks.iter().sum::<f64>() / ranks.len() as f64;
                note(measured, at, "state_rank", mean);
            }
        }
    }
    for name in ["q", "k"] {
        if let Some(i) = r.inputs.iter().position(|slot| slot.name == name) {
            let one = size(&r.inputs[i].shape);
            let vectors = problem.inputs[i].data.chunks_exact(one.max(1));
            let norms = vectors.map(|v| root_mean_square(v) * (one as f64).sqrt());
            note(measured, at, name, norms.fold(0.0, f64::max));
        }
    }
    if r.states.is_empty()
        && let Some(entropy) = entropy(problem, first)
    {
        note(measured, at, "entropy", entropy);
    }
}

/// How many directions of a state carry it: `(Σσ²)² / Σσ⁴` of its singular values, the participation
/// ratio. It needs no singular values: `Σσ² = ‖S‖²`, `Σσ⁴ = ‖SSᵀ‖²`.
fn rank(state: &[f32], columns: usize) -> Option<f64> {
    let rows: Vec<&[f32]> = state.chunks_exact(columns).collect();
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let (mut second, mut fourth) = (0.0, 0.0);
    for (i, a) in rows.iter().enumerate() {
        second += dot(a, a);
        for b in &rows[..i] {
            fourth += 2.0 * dot(a, b).powi(2);
        }
        fourth += dot(a, a).powi(2);
    }
    (fourth > 0.0).then(|| second * second / fourth)
}

/// Rényi's entropy of order 2, in nats, of the weights that attention gives to the past, averaged
/// inside the logarithm: `-ln E Σp²`. With values that are random signs, the mean square of an
/// output is `Σp²` in expectation, whatever makes the weights.
fn entropy(problem: &Problem<f32>, first: usize) -> Option<f64> {
    let form = Form::new(problem, FormKind::Auto, Blocking::default()).ok()?;
    let v = problem.recurrence.inputs.iter().position(|slot| slot.name == "v")?;
    let mut random = Stream::new(0, Purpose::Verify, 0);
    let signs: Vec<f32> = (0..problem.inputs[v].data.len())
        .map(|_| if random.bits() & 1 == 0 { 1.0 } else { -1.0 })
        .collect();
    let mut asked = problem.clone();
    asked.inputs[v] = Operand { data: &signs, heads: problem.inputs[v].heads };
    let (outputs, _) = form.forward_from(&asked, false, first);
    let (out, width) = (outputs.outs.first()?, outputs.outs[0].len() / problem.rows().max(1));
    let rows = problem.bounds.windows(2).map(|w| (w[0] + first).min(w[1]) * width..w[1] * width);
    let own: Vec<f32> = rows.flat_map(|rows| out[rows].iter().copied()).collect();
    let square = root_mean_square(&own).powi(2);
    outputs.recycle();
    (square > 0.0).then(|| -square.ln())
}

/// Norms of the gradients of each layer's parameters.
pub fn gradients(measured: &mut Measured, declared: &[Param], grads: &[Vec<f32>]) {
    let mut squares: BTreeMap<String, f64> = BTreeMap::new();
    for (param, grad) in declared.iter().zip(grads) {
        let square = root_mean_square(grad).powi(2) * grad.len() as f64;
        *squares.entry(layer(&param.name).to_string()).or_default() += square;
    }
    for (at, square) in squares {
        note(measured, &at, "gradient", square.sqrt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_of_a_state_by_hand() {
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-6, "{a:?} {b}");
        near(rank(&[1.0, 0.0, 0.0, 1.0], 2), 2.0);
        near(rank(&[1.0, 2.0, 2.0, 4.0], 2), 1.0);
        // Singular values 3 and 1.
        near(rank(&[3.0, 0.0, 0.0, 0.0, 1.0, 0.0], 3), 100.0 / 82.0);
        assert_eq!(rank(&[0.0; 4], 2), None);
    }
}
