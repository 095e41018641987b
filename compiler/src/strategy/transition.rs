//! What a recurrence does to the states that it is handed, apart from what it writes: the summary of a segment of a sequence.
//!
//! Problem: a sequence whose segments lie with several processes needs, before each segment, the states that all segments before
//! it leave; handing them over one after the other would let one process wait for the other.
//!
//! Idea: where updates are affine in the states, a segment is `S -> A S + W`: what it leaves of zeros is `W`, and `A` is the
//! recurrence without what it writes (its [linear part](crate::tile::linear_part)), which is a recurrence like any other, run
//! on ones where entries of a state never meet, and on the identity where one axis of a matrix mixes and the other one does not: then
//! the columns of the state that it runs on are as many as the identity has. Summaries do not grow with the segment.

use super::halves::{renumbered, used};
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::{Slot, Update};
use crate::normal::Refusal;
use crate::tile::classes::Classes;
use crate::tile::linear_part::linear_part;
use crate::tile::split::depends;
use crate::tile::{Builder, Leaf, Program, Stream, Value};

/// How the transition of a state lies in the state that the identity becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    /// Entries never meet: a factor for each, which is what ones become.
    Entries,
    /// This axis of a matrix mixes, by one matrix for all of the other axis: what the identity becomes.
    Axis(usize),
}

/// The recurrence of a transition.
#[derive(Clone, Debug)]
pub struct Transition {
    /// What it does to states alone: without outputs, with as many columns as the identity has.
    pub recurrence: Recurrence,
    /// Which of the whole's inputs it reads, in order.
    pub inputs: Vec<usize>,
    /// Which of its parameters.
    pub params: Vec<usize>,
    /// Per state.
    pub mixing: Vec<Mixing>,
}

/// What axes of a transition's program belong to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tensor {
    Input(usize),
    Param(usize),
    State(usize),
}

fn tensor(leaf: &Leaf) -> Option<(Tensor, usize)> {
    Some(match leaf {
        Leaf::Read(Stream::Input(i), _) => (Tensor::Input(*i), 0),
        Leaf::Param(i) => (Tensor::Param(*i), 0),
        Leaf::Read(Stream::State(k), _) => (Tensor::State(*k), 0),
        _ => return None,
    })
}

fn state(leaf: &Leaf) -> bool {
    matches!(leaf, Leaf::Read(Stream::State(_), _))
}

/// The transition of a recurrence that needs nothing of earlier tokens but its states; or why there is none that is smaller than
/// running it.
pub fn transition(r: &Recurrence) -> Result<Transition, Refusal> {
    let refuse = |span, why: String| Refusal { span, why };
    let finals = &r.token.outputs[r.outs.len()..r.outs.len() + r.states.len()];
    let values = r.updates.iter().map(|update| update.value);
    let versions = r.updates.iter().map(|update| update.version);
    let wanted: Vec<Value> = finals.iter().copied().chain(values).chain(versions).collect();
    let mut token =
        linear_part(&r.token, &wanted, &state).map_err(|(span, why)| refuse(span, why))?;
    for (k, slot) in r.states.iter().enumerate() {
        let other = |leaf: &Leaf| matches!(leaf, Leaf::Read(Stream::State(j), _) if *j != k);
        if depends(&token, &other)[token.outputs[k].at()] {
            let why = format!("`{}` is carried on by another state", slot.name);
            return Err(refuse(Some(slot.span), why));
        }
    }
    let mut states = r.states.clone();
    let mut mixing = vec![];
    for k in 0..states.len() {
        let (found, resized) = mixes(&token, &states, k)
            .ok_or_else(|| refuse(Some(r.states[k].span), wide(&r.states[k])))?;
        if let (Mixing::Axis(axis), Some(resized)) = (found, resized) {
            token = resized;
            let n = states[k].shape[axis];
            states[k].shape[1 - axis] = n;
        }
        mixing.push(found);
    }
    Ok(finished(r, token, states, mixing))
}

fn wide(slot: &Slot) -> String {
    format!("the transition of `{}` is larger than a matrix for one of its axes", slot.name)
}

/// How a state mixes, and the program with as many columns as the identity has.
fn mixes(token: &Program, states: &[Slot], k: usize) -> Option<(Mixing, Option<Program>)> {
    let program = token.unshared();
    let mut classes = Classes::of(&program, &tensor);
    for (at, slot) in states.iter().enumerate() {
        classes.stands(program.outputs[at], slot.shape.len(), (Tensor::State(at), 0));
    }
    let shape = &states[k].shape;
    let free: Vec<Option<usize>> =
        (0..shape.len()).map(|axis| classes.class(Tensor::State(k), axis)).collect();
    // Axes of one class may have changed places.
    let twice = |at: usize| free[at].is_some() && free[..at].contains(&free[at]);
    if (0..free.len()).any(twice) {
        return None;
    }
    if free.iter().zip(shape).all(|(class, n)| class.is_some() || *n == 1) {
        return Some((Mixing::Entries, None));
    }
    let [first, second] = free[..] else { return None };
    let (axis, columns) = match (first, second) {
        (None, Some(columns)) => (0, columns),
        (Some(columns), None) => (1, columns),
        _ => return None,
    };
    // One matrix serves all columns where nothing but states knows them apart.
    let alone = classes.members(columns).all(|(tensor, _)| matches!(tensor, Tensor::State(_)));
    let (n, own) = (shape[axis], shape[1 - axis]);
    if !alone {
        return None;
    }
    if own == n {
        return Some((Mixing::Axis(axis), None));
    }
    let resized = classes.resized(&program, columns, |size| (size == own).then_some(n))?;
    Some((Mixing::Axis(axis), Some(resized)))
}

fn finished(r: &Recurrence, token: Program, states: Vec<Slot>, mixing: Vec<Mixing>) -> Transition {
    let (inputs, params) = used(&[&token]);
    let mut token = renumbered(&token, &inputs, &params);
    let (values, versions) = token.outputs[states.len()..].split_at(r.updates.len());
    let updates = r.updates.iter().zip(values).zip(versions);
    let updates = updates
        .map(|((old, value), version)| Update { value: *value, version: *version, ..*old })
        .collect();
    token.outputs.truncate(states.len());
    let mut zeros = Builder::new();
    let init: Vec<Value> = states.iter().map(|slot| zeros.fill(0.0, &slot.shape)).collect();
    let recurrence = Recurrence {
        name: format!("{}_transition", r.name),
        inputs: inputs.iter().map(|at| r.inputs[*at].clone()).collect(),
        params: params.iter().map(|at| r.params[*at].clone()).collect(),
        outs: vec![],
        exports: vec![],
        init: zeros.finish(&init),
        token,
        states,
        updates,
        derivations: vec![],
        ..r.clone()
    };
    Transition { recurrence, inputs, params, mixing }
}
