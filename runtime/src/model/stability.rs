//! How far a disturbance goes: in time, through the states of recurrences, and in depth, through the
//! layers.
//!
//! The Local Stability Condition (Herranz-Celotti and Rouat 2023) wants the radius of both ways
//! together to be 1 at most, so one half each: a model with radius 1 in time and in depth sums up ever
//! more paths the longer and deeper it is.

use lrc_compiler::form::{Form, Operand, Problem};
use lrc_compiler::graph::{Model, Node};
use lrc_compiler::tile::size;
use serde::Serialize;

use super::promises::{self, Broken};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::model::Walk;
use crate::ops::batch::Batch;

/// Radii of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// By which factor a disturbance of its state shrinks per token (geometric mean over a few
    /// tokens); nothing for layers without a state, or one that forgets at once.
    pub time: Option<f64>,
    /// By which factor a disturbance of the residual stream grows in it.
    pub depth: f64,
}

/// What is seen of a model while it runs.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The residual stream behind each layer.
    pub streams: Vec<(String, Vec<f32>)>,
    /// Radii in time.
    pub times: Vec<(String, f64)>,
    /// Promises of recurrences that are broken.
    pub broken: Vec<Broken>,
}

impl Seen {
    /// Looks at a recurrence with its operands.
    pub(super) fn look(&mut self, node: &Node, problem: &Problem<f32>) {
        self.broken.extend(promises::broken(&node.label, problem));
        if let Some(radius) = in_time(problem) {
            self.times.push((node.layer().to_string(), radius));
        }
    }
}

/// Tokens over which a state is followed.
const TOKENS: [usize; 4] = [8, 4, 2, 1];
/// Size of a disturbance, relative to what is disturbed.
const SMALL: f64 = 1e-3;

/// Measures a model on a batch: the embedding is disturbed for depth, states for time.
pub fn stability(model: &Model, params: &[Vec<f32>], batch: &Batch) -> Result<Vec<Layer>, Failure> {
    let mut walk = Walk::new(model.clone(), params)?;
    walk.seen = Some(Seen::default());
    walk.hidden(batch)?;
    let plain = walk.seen.take().unwrap_or_default();
    let embedding = model
        .graph
        .nodes
        .node_weights()
        .find(|node| matches!(node.kind, lrc_compiler::graph::Kind::Embed))
        .map(|node| node.params[0].0);
    let mut moved = params.to_vec();
    if let Some(table) = embedding {
        disturb(&mut moved[table], SMALL, 1);
        walk.parameters.write(&moved)?;
    }
    walk.seen = Some(Seen::default());
    walk.hidden(batch)?;
    let disturbed = walk.seen.take().unwrap_or_default();
    let width = model.width;
    let rows = |param: &[f32]| -> Vec<f32> {
        let each = batch.tokens.iter().map(|token| &param[*token as usize * width..][..width]);
        each.flatten().copied().collect()
    };
    let mut before =
        embedding.map_or(0.0, |table| difference(&rows(&params[table]), &rows(&moved[table])));
    let mut layers = Vec::new();
    for ((name, a), (_, b)) in plain.streams.iter().zip(&disturbed.streams) {
        let after = difference(a, b);
        let time = plain.times.iter().find(|(layer, _)| layer == name).map(|(_, x)| *x);
        layers.push(Layer { name: name.clone(), time, depth: after / before.max(1e-30) });
        before = after;
    }
    Ok(layers)
}

/// The radius of a recurrence in time: two runs over the same inputs from states that differ a little,
/// and how much their last states differ then. Nothing where no difference is left to see.
pub fn in_time(problem: &Problem<f32>) -> Option<f64> {
    if problem.recurrence.states.is_empty() {
        return None;
    }
    // As many tokens as leave something to see: behind more, a state that forgets has forgotten.
    TOKENS.iter().find_map(|tokens| over(problem, (*tokens).min(problem.bounds[1])))
}

/// The radius over the first tokens of the first sequence.
fn over(problem: &Problem<f32>, rows: usize) -> Option<f64> {
    let mut problem = problem.clone();
    problem.bounds = vec![0, rows];
    let whole = problem.inputs.iter().zip(&problem.recurrence.inputs);
    let cut: Vec<Operand<f32>> = whole
        .map(|(operand, slot)| {
            let one = operand.heads.max(1) * size(&slot.shape);
            Operand { data: &operand.data[..rows * one], heads: operand.heads }
        })
        .collect();
    problem.inputs = cut;
    let count = |at: usize| size(&problem.recurrence.states[at].shape) * problem.heads;
    let states = 0..problem.recurrence.states.len();
    let start: Vec<Vec<f32>> = states.clone().map(|at| noise(count(at), 2 + at as u64)).collect();
    let other: Vec<Vec<f32>> = states
        .map(|at| {
            let mut state = start[at].clone();
            disturb(&mut state, SMALL, 20 + at as u64);
            state
        })
        .collect();
    let run = |initial: &[Vec<f32>]| -> Option<Vec<Vec<f32>>> {
        let mut problem = problem.clone();
        problem.initial = initial.iter().map(|state| Some(state.as_slice())).collect();
        let form = Form::recurrent(&problem);
        Some(form.forward(&problem, false).0.finals)
    };
    let (a, b) = (run(&start)?, run(&other)?);
    let norm = |a: &[Vec<f32>], b: Option<&[Vec<f32>]>| -> f64 {
        let each = a.iter().enumerate().map(|(at, a)| match b {
            Some(b) => difference(a, &b[at]).powi(2),
            None => a.iter().map(|x| f64::from(*x).powi(2)).sum(),
        });
        each.sum::<f64>().sqrt()
    };
    let (before, after) = (norm(&start, Some(&other)), norm(&a, Some(&b)));
    // What is left must be more than rounding.
    let seen = after > 16.0 * f64::from(f32::EPSILON) * norm(&a, None);
    seen.then(|| (after / before).powf(1.0 / rows as f64))
}

fn noise(count: usize, item: u64) -> Vec<f32> {
    let mut random = Stream::new(0, Purpose::Diagnosis, item);
    (0..count).map(|_| random.normal() as f32).collect()
}

/// Adds random numbers of a relative size.
fn disturb(data: &mut [f32], share: f64, item: u64) {
    let norm = data.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let scale = share * norm.max(1e-12) / (data.len().max(1) as f64).sqrt();
    let noise = noise(data.len(), item);
    data.iter_mut().zip(noise).for_each(|(x, n)| *x += scale as f32 * n);
}

fn difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lrc_compiler::elaborate::{Setting, elaborate};
    use lrc_dsl::Sources;

    use super::*;

    /// A state that fades by a known factor has that radius.
    #[test]
    fn the_radius_of_a_decay_is_the_decay() {
        let (names, diags) =
            crate::ground::library::load("recurrences/simple_gla.arch", &mut Sources::default())
                .unwrap();
        assert!(diags.is_empty());
        let sizes = [("dk", 3.0), ("dv", 2.0)];
        let given: BTreeMap<String, Setting> =
            sizes.map(|(name, n)| (name.to_string(), Setting::Number(n))).into();
        let decl = names.get("simple_gla").unwrap();
        let recurrence = elaborate(decl, &given, &mut vec![]).unwrap();
        let rows = 40;
        for decay in [0.9_f32, 0.5, 0.1] {
            let data: Vec<Vec<f32>> = recurrence
                .inputs
                .iter()
                .map(|slot| match slot.name.as_str() {
                    "g" => vec![decay.ln(); rows],
                    _ => noise(rows * size(&slot.shape), 7),
                })
                .collect();
            let problem = Problem {
                recurrence: &recurrence,
                heads: 1,
                sum: 1,
                bounds: vec![0, rows],
                inputs: data.iter().map(|data| Operand { data, heads: 1 }).collect(),
                params: vec![],
                initial: vec![None],
            };
            let radius = in_time(&problem).unwrap();
            assert!((radius - f64::from(decay)).abs() < 0.01, "{decay} {radius}");
        }
    }
}
