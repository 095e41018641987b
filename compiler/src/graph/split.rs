//! Recurrences that sum over the past beside their states become two: one for the states, one for the sums.
//!
//! Problem: forgetting attention (`softmax(q k[u] + G[t] - G[u])` with a state `G`) has a state, so it is no
//! attention, and sums over the past, so it is no scan: it would run one token after the other.
//!
//! Idea: where no state depends on a sum over the past, the states are a recurrence of their own, whose
//! outputs are the states; the rest reads them as inputs and has no state. Each then runs as its kind does,
//! and gradients flow from one to the other as between any two nodes.

use std::collections::BTreeSet;

use super::{Kind, Model, Node, Recur, ValueId};
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::Update;
use crate::strategy::{self, Strategy};
use crate::tile::{Int, Leaf, Node as TileNode, Op, Past, Program, Stream, Value};

/// Runs the pass on the forward graph.
pub(super) fn states_beside_sums(model: &mut Model) {
    let halves = |node: &Node| match &node.kind {
        Kind::Recur(recur) if recur.sum == 1 => split(&recur.recurrence),
        _ => None,
    };
    if !model.graph.nodes.node_weights().any(|node| halves(node).is_some()) {
        return;
    }
    let mut graph = model.graph.emptied();
    for mut node in model.graph.nodes.node_weights().cloned() {
        let (Kind::Recur(recur), Some(halves)) = (&node.kind, halves(&node)) else {
            graph.place(node);
            continue;
        };
        let recur = recur.clone();
        let first = operands(&recur, &node.inputs, &halves.states, &[]);
        let outs = halves.states.recurrence.outs.iter();
        let shape = |shape: &[usize]| ([&[recur.heads], shape].concat(), false);
        let shapes: Vec<(Vec<usize>, bool)> = outs.map(|slot| shape(&slot.shape)).collect();
        let label = node.label.clone();
        let made = graph.add(Node::plain(first.kind, label, first.inputs), &shapes);
        let second = operands(&recur, &node.inputs, &halves.sums, &made);
        (node.kind, node.inputs) = (second.kind, second.inputs);
        graph.place(node);
    }
    graph.forward = graph.nodes.node_count();
    model.graph = graph;
}

/// A half of a recurrence, and which of the whole's inputs and parameters it reads, in order.
struct Half {
    recurrence: Recurrence,
    inputs: Vec<usize>,
    params: Vec<usize>,
}

struct Halves {
    states: Half,
    /// Its last inputs are the states.
    sums: Half,
}

/// A half as a node.
struct Operands {
    kind: Kind,
    inputs: Vec<ValueId>,
}

fn operands(recur: &Recur, values: &[ValueId], half: &Half, states: &[ValueId]) -> Operands {
    let (inputs, params) = values.split_at(recur.recurrence.inputs.len());
    let pick = |from: &[ValueId], which: &[usize]| -> Vec<ValueId> {
        which.iter().map(|at| from[*at]).collect()
    };
    let heads = |from: &[usize], which: &[usize]| -> Vec<usize> {
        which.iter().map(|at| from[*at]).collect()
    };
    let mut input_heads = heads(&recur.input_heads, &half.inputs);
    input_heads.extend(states.iter().map(|_| recur.heads));
    let kind = Kind::Recur(Box::new(Recur {
        recurrence: half.recurrence.clone(),
        heads: recur.heads,
        sum: 1,
        input_heads,
        param_heads: heads(&recur.param_heads, &half.params),
    }));
    let own = pick(inputs, &half.inputs).into_iter().chain(states.iter().copied());
    Operands { kind, inputs: own.chain(pick(params, &half.params)).collect() }
}

/// The halves of a recurrence, where it has both states and sums and can be split.
fn split(r: &Recurrence) -> Option<Halves> {
    let sums = r.token.nodes.iter().any(|node| matches!(node.op, Op::Past(_)));
    if r.states.is_empty() || !sums || !r.exports.is_empty() {
        return None;
    }
    let states = states(r)?;
    let sums = self::sums(r)?;
    let attention = matches!(strategy::of(&sums.recurrence), Strategy::Attention(_));
    attention.then_some(Halves { states, sums })
}

/// The recurrence of the states alone.
fn states(r: &Recurrence) -> Option<Half> {
    let finals = &r.token.outputs[r.outs.len()..r.outs.len() + r.states.len()];
    let versions = r.updates.iter().flat_map(|update| [update.value, update.version]);
    let roots: Vec<Value> = finals.iter().copied().chain(versions).collect();
    let (token, new) = pruned(&r.token, &roots);
    if token.nodes.iter().any(|node| matches!(node.op, Op::Past(_))) {
        return None;
    }
    let renamed = |value: &Value| new[value.at()];
    let updates = r.updates.iter().map(|update| {
        let (value, version) = (renamed(&update.value)?, renamed(&update.version)?);
        Some(Update { value, version, ..*update })
    });
    let outs: Vec<Value> = finals.iter().map(renamed).collect::<Option<_>>()?;
    let token = Program { outputs: [outs.as_slice(), &outs].concat(), ..token };
    let mut half = Recurrence {
        name: format!("{}_states", r.name),
        outs: r.states.clone(),
        updates: updates.collect::<Option<_>>()?,
        derivations: vec![],
        token,
        ..r.clone()
    };
    let (inputs, params) = used(&[&half.token, &half.init]);
    half.token = renumbered(&half.token, &inputs, &params);
    half.init = renumbered(&half.init, &inputs, &params);
    half.inputs = inputs.iter().map(|at| r.inputs[*at].clone()).collect();
    half.params = params.iter().map(|at| r.params[*at].clone()).collect();
    Some(Half { recurrence: half, inputs, params })
}

/// What is left: the states of all tokens are inputs.
fn sums(r: &Recurrence) -> Option<Half> {
    let mut token = read_states(&r.token, r.inputs.len(), true)?;
    let finals = token.outputs.split_off(r.outs.len());
    for (k, at) in finals.iter().take(r.states.len()).enumerate() {
        let node = &mut token.nodes[at.at()];
        let leaf = Leaf::Read(Stream::Input(r.inputs.len() + k), Int::T);
        *node = TileNode { op: Op::Leaf(leaf), args: vec![], ..node.clone() };
    }
    let outputs = token.outputs.clone();
    let (token, _) = pruned(&token, &outputs);
    // A state of the token before would be 0 before the first one, whatever the state begins with.
    let lagged = token.leaves().any(|(_, leaf, _)| match leaf {
        Leaf::Read(Stream::Input(i), at) => *i >= r.inputs.len() && *at != Int::T,
        _ => false,
    });
    if lagged {
        return None;
    }
    let (inputs, params) = used(&[&token]);
    let mut slots = r.inputs.clone();
    slots.extend(r.states.iter().cloned());
    let own: Vec<usize> = inputs.iter().copied().filter(|at| *at < r.inputs.len()).collect();
    // States are read in their order, all of them.
    let all: Vec<usize> = own.iter().copied().chain(r.inputs.len()..slots.len()).collect();
    let recurrence = Recurrence {
        inputs: all.iter().map(|at| slots[*at].clone()).collect(),
        params: params.iter().map(|at| r.params[*at].clone()).collect(),
        states: vec![],
        token: renumbered(&token, &all, &params),
        init: Program::default(),
        updates: vec![],
        derivations: vec![],
        ..r.clone()
    };
    Some(Half { recurrence, inputs: own, params })
}

/// The program with states read as inputs from number `first` on. Inside a sum a state is read where the
/// sum stands, and nowhere else.
fn read_states(program: &Program, first: usize, outside: bool) -> Option<Program> {
    let nodes = program.nodes.iter().map(|node| {
        let op = match &node.op {
            Op::Leaf(Leaf::Read(Stream::State(k), at)) => {
                if !outside && !matches!(at, Int::Bound(_)) {
                    return None;
                }
                Op::Leaf(Leaf::Read(Stream::Input(first + k), at.clone()))
            }
            Op::Past(past) => {
                let term = read_states(&past.term, first, false)?;
                Op::Past(Box::new(Past { term, ..(**past).clone() }))
            }
            op => op.clone(),
        };
        Some(TileNode { op, ..node.clone() })
    });
    Some(Program { nodes: nodes.collect::<Option<_>>()?, outputs: program.outputs.clone() })
}

/// The nodes that some values need, with these as results, and where each node went.
fn pruned(program: &Program, roots: &[Value]) -> (Program, Vec<Option<Value>>) {
    let mut needed = vec![false; program.nodes.len()];
    roots.iter().for_each(|root| needed[root.at()] = true);
    for at in (0..program.nodes.len()).rev() {
        if needed[at] {
            program.nodes[at].args.iter().for_each(|arg| needed[arg.at()] = true);
        }
    }
    let mut new: Vec<Option<Value>> = vec![None; needed.len()];
    let mut nodes = Vec::new();
    for (at, node) in program.nodes.iter().enumerate().filter(|(at, _)| needed[*at]) {
        new[at] = Some(Value(nodes.len() as u32));
        let args = node.args.iter().filter_map(|arg| new[arg.at()]).collect();
        nodes.push(TileNode { args, ..node.clone() });
    }
    let outputs = roots.iter().filter_map(|root| new[root.at()]).collect();
    (Program { nodes, outputs }, new)
}

/// Inputs and parameters that programs read, in order.
fn used(programs: &[&Program]) -> (Vec<usize>, Vec<usize>) {
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
fn renumbered(program: &Program, inputs: &[usize], params: &[usize]) -> Program {
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
