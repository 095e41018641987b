//! Recurrences that sum over the past beside their states are two: one of the states, and one of the sums.
//!
//! Problem: forgetting attention (`softmax(q k[u] + G[t] - G[u])` with a state `G`) has a state, so it is no
//! attention, and sums over the past, so it is no scan: it would run one token after the other.
//!
//! Idea: where no state depends on a sum over the past, the states are a recurrence of their own, whose
//! outputs are the states, and named values made of them, that the sums read; the rest reads these as inputs
//! and has no state. Each then runs as its kind does, and gradients flow from the second to the first.

use std::collections::BTreeSet;

use super::{Strategy, of};
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::{Slot, Update};
use crate::tile::split::piece;
use crate::tile::{Int, Leaf, Node as TileNode, Op, Past, Program, Stream, Value};

/// A half of a recurrence, and which of the whole's inputs and parameters it reads, in order.
#[derive(Clone, Debug)]
pub struct Half {
    /// The recurrence that it is.
    pub recurrence: Recurrence,
    /// How it is computed.
    pub strategy: Strategy,
    /// Numbers of the whole's inputs; those of the sums are followed by what the states' half gives.
    pub inputs: Vec<usize>,
    /// Numbers of the whole's parameters.
    pub params: Vec<usize>,
}

/// A recurrence as two that run one after the other.
#[derive(Clone, Debug)]
pub struct Halves {
    /// The states; its outputs are what the sums read of them.
    pub states: Half,
    /// The sums over the past; it has no states.
    pub sums: Half,
}

/// The halves of a recurrence, where it has both states and sums and can be cut so.
pub fn halves(r: &Recurrence) -> Option<Halves> {
    let sums = r.token.nodes.iter().any(|node| matches!(node.op, Op::Past(_)));
    if r.states.is_empty() || !sums {
        return None;
    }
    let between = between(r);
    let sums = self::sums(r, &between)?;
    let states = states(r, &between, &sums)?;
    // What a solve has made large and a product is to make small again loses its digits in products of bf16.
    let solves =
        states.recurrence.token.nodes.iter().any(|node| matches!(node.op, Op::LinearSolve(_)));
    if solves {
        return None;
    }
    matches!(sums.strategy, Strategy::Attention(_)).then_some(Halves { states, sums })
}

/// The node of the token's program that is a stream's value after the token.
fn value_of(r: &Recurrence, stream: Stream) -> Option<Value> {
    let at = match stream {
        Stream::State(k) => r.outs.len() + k,
        Stream::Export(k) => r.outs.len() + r.states.len() + k,
        Stream::Input(_) | Stream::Out(_) => return None,
    };
    r.token.outputs.get(at).copied()
}

/// All states and named values: those that the sums may read.
fn between(r: &Recurrence) -> Vec<Stream> {
    let states = (0..r.states.len()).map(Stream::State);
    states.chain((0..r.exports.len()).map(Stream::Export)).collect()
}

/// What is read at this token or at one that a sum binds becomes an input: those of the whole come first.
fn sums(r: &Recurrence, between: &[Stream]) -> Option<Half> {
    let first = r.inputs.len();
    let mut token = read_as_inputs(&r.token, between, first, true)?;
    for (k, stream) in between.iter().enumerate() {
        let node = &mut token.nodes[value_of(r, *stream)?.at()];
        let leaf = Leaf::Read(Stream::Input(first + k), Int::T);
        *node = TileNode { op: Op::Leaf(leaf), args: vec![], ..node.clone() };
    }
    let token = piece(&token, &token.outputs[..r.outs.len()], &|_| false).program;
    // A state of the token before would be 0 before the first one, whatever the state begins with.
    let lagged = token.leaves().any(|(_, leaf, _)| match leaf {
        Leaf::Read(Stream::Input(i), at) => *i >= first && *at != Int::T,
        _ => false,
    });
    if lagged {
        return None;
    }
    let (inputs, params) = used(&[&token]);
    let slot = |i: &usize| match i.checked_sub(first) {
        None => r.inputs[*i].clone(),
        Some(k) => slot_of(r, between[k]),
    };
    let recurrence = Recurrence {
        inputs: inputs.iter().map(slot).collect(),
        params: params.iter().map(|at| r.params[*at].clone()).collect(),
        states: vec![],
        exports: vec![],
        token: renumbered(&token, &inputs, &params),
        init: Program::default(),
        updates: vec![],
        derivations: vec![],
        ..r.clone()
    };
    Some(Half { strategy: of(&recurrence), recurrence, inputs, params })
}

fn slot_of(r: &Recurrence, stream: Stream) -> Slot {
    match stream {
        Stream::Export(k) => r.exports[k].clone(),
        Stream::State(k) | Stream::Input(k) | Stream::Out(k) => r.states[k].clone(),
    }
}

/// The recurrence of the states alone, which gives what the sums read. It also takes what nobody reads.
fn states(r: &Recurrence, between: &[Stream], sums: &Half) -> Option<Half> {
    let first = r.inputs.len();
    let given: Vec<Stream> =
        sums.inputs.iter().filter_map(|i| i.checked_sub(first)).map(|k| between[k]).collect();
    let outs: Vec<Value> =
        given.iter().map(|stream| value_of(r, *stream)).collect::<Option<_>>()?;
    let finals = &r.token.outputs[r.outs.len()..r.outs.len() + r.states.len()];
    let versions = r.updates.iter().flat_map(|update| [update.value, update.version]);
    let roots: Vec<Value> = outs.iter().chain(finals).copied().chain(versions).collect();
    let cut = piece(&r.token, &roots, &|_| false);
    let outside = |op: &Op| matches!(op, Op::Past(_) | Op::Leaf(Leaf::Read(Stream::Export(_), _)));
    if cut.program.nodes.iter().any(|node| outside(&node.op)) {
        return None;
    }
    let renamed = |value: Value| cut.of.binary_search(&value).ok().map(|at| Value(at as u32));
    let updates = r.updates.iter().map(|update| {
        let (value, version) = (renamed(update.value)?, renamed(update.version)?);
        Some(Update { value, version, ..*update })
    });
    let updates = updates.collect::<Option<_>>()?;
    let mut token = cut.program;
    token.outputs.truncate(outs.len() + r.states.len());
    let (mut inputs, mut params) = used(&[&token, &r.init]);
    let unread = |all: usize, own: &[usize], others: &[usize]| -> Vec<usize> {
        (0..all).filter(|at| own.contains(at) || !others.contains(at)).collect()
    };
    inputs = unread(r.inputs.len(), &inputs, &sums.inputs);
    params = unread(r.params.len(), &params, &sums.params);
    let recurrence = Recurrence {
        name: format!("{}_states", r.name),
        inputs: inputs.iter().map(|at| r.inputs[*at].clone()).collect(),
        params: params.iter().map(|at| r.params[*at].clone()).collect(),
        outs: given.iter().map(|stream| slot_of(r, *stream)).collect(),
        exports: vec![],
        token: renumbered(&token, &inputs, &params),
        init: renumbered(&r.init, &inputs, &params),
        updates,
        derivations: vec![],
        ..r.clone()
    };
    Some(Half { strategy: of(&recurrence), recurrence, inputs, params })
}

/// The program with streams read as inputs from number `first` on. Inside a sum they are read where the
/// sum stands, and nowhere else.
fn read_as_inputs(
    program: &Program,
    between: &[Stream],
    first: usize,
    outside: bool,
) -> Option<Program> {
    let nodes = program.nodes.iter().map(|node| {
        let op = match &node.op {
            Op::Leaf(Leaf::Read(stream @ (Stream::State(_) | Stream::Export(_)), at)) => {
                if !outside && !matches!(at, Int::Bound(_)) {
                    return None;
                }
                let k = between.iter().position(|other| other == stream)?;
                Op::Leaf(Leaf::Read(Stream::Input(first + k), at.clone()))
            }
            Op::Past(past) => {
                let term = read_as_inputs(&past.term, between, first, false)?;
                Op::Past(Box::new(Past { term, ..(**past).clone() }))
            }
            op => op.clone(),
        };
        Some(TileNode { op, ..node.clone() })
    });
    Some(Program { nodes: nodes.collect::<Option<_>>()?, outputs: program.outputs.clone() })
}

/// Inputs and parameters that programs read, in order.
pub(super) fn used(programs: &[&Program]) -> (Vec<usize>, Vec<usize>) {
    let (mut inputs, mut params) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<&Program> = programs.to_vec();
    while let Some(program) = open.pop() {
        for node in &program.nodes {
            match &node.op {
                Op::Leaf(Leaf::Read(Stream::Input(i), _)) => {
                    inputs.insert(*i);
                }
                Op::Leaf(Leaf::Param(i)) => {
                    params.insert(*i);
                }
                Op::Past(past) => open.push(&past.term),
                _ => {}
            }
        }
    }
    (inputs.into_iter().collect(), params.into_iter().collect())
}

/// The program with inputs and parameters numbered by their places in lists.
pub(super) fn renumbered(program: &Program, inputs: &[usize], params: &[usize]) -> Program {
    let place = |list: &[usize], i: usize| list.iter().position(|at| *at == i).unwrap_or(i);
    let nodes = program.nodes.iter().map(|node| {
        let op = match &node.op {
            Op::Leaf(Leaf::Read(Stream::Input(i), at)) => {
                Op::Leaf(Leaf::Read(Stream::Input(place(inputs, *i)), at.clone()))
            }
            Op::Leaf(Leaf::Param(i)) => Op::Leaf(Leaf::Param(place(params, *i))),
            Op::Past(past) => {
                let term = renumbered(&past.term, inputs, params);
                Op::Past(Box::new(Past { term, ..(**past).clone() }))
            }
            op => op.clone(),
        };
        TileNode { op, ..node.clone() }
    });
    Program { nodes: nodes.collect(), outputs: program.outputs.clone() }
}
