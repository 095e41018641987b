//! A recurrence that is two, of states and of sums over the past, becomes two nodes: each keeps what it needs
//! when a text grows, and heads of the second may add up.

use super::{Kind, Model, Node, Recur, ValueId};
use crate::strategy::{Half, Halves, Strategy, of};

/// Runs the pass on the forward graph.
pub(super) fn states_beside_sums(model: &mut Model) {
    let halves = |node: &Node| -> Option<Box<Halves>> {
        match &node.kind {
            Kind::Recur(recur) if recur.sum == 1 => match of(&recur.recurrence) {
                Strategy::Halves(halves) => Some(halves),
                _ => None,
            },
            _ => None,
        }
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

/// A half as a node.
struct Operands {
    kind: Kind,
    inputs: Vec<ValueId>,
}

/// `between` is what the states' half gives.
fn operands(recur: &Recur, values: &[ValueId], half: &Half, between: &[ValueId]) -> Operands {
    let (inputs, params) = values.split_at(recur.recurrence.inputs.len());
    let own = || half.inputs.iter().filter(|at| **at < inputs.len());
    let heads = own().map(|at| recur.input_heads[*at]);
    let input_heads = heads.chain(between.iter().map(|_| recur.heads)).collect();
    let param_heads = half.params.iter().map(|at| recur.param_heads[*at]).collect();
    let kind = Kind::Recur(Box::new(Recur {
        recurrence: half.recurrence.clone(),
        heads: recur.heads,
        sum: 1,
        input_heads,
        param_heads,
        chosen: recur.chosen,
    }));
    let own = own().map(|at| inputs[*at]).chain(between.iter().copied());
    Operands { kind, inputs: own.chain(half.params.iter().map(|at| params[*at])).collect() }
}
