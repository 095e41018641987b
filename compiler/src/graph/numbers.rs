//! How the values between nodes are held: in bf16 where that is asked for, but for what must not be rounded.

use std::collections::HashSet;

use super::{Graph, Kind, Model, ValueId};
use crate::tile::Number;

/// Has the values of the forward pass held in bf16, but for what adds to the loss, who sits in which expert, taps of
/// long convolutions, what has a single row, and what a recurrence is promised a range of: decays near 1
/// and rates would lose what they are for. Gradients follow what they belong to (see [`super::backward`]).
pub fn narrow(model: &mut Model) {
    let kept = wide(&model.graph, &model.losses);
    for (at, value) in model.graph.values.iter_mut().enumerate() {
        if !value.once && !kept.contains(&ValueId(at)) {
            value.number = Number::Bf16;
        }
    }
    let Graph { nodes, values, .. } = &mut model.graph;
    for node in nodes.node_weights_mut() {
        let Kind::Recur(recur) = &mut node.kind else { continue };
        let inputs = recur.recurrence.inputs.iter_mut().zip(&recur.input_heads);
        for ((slot, heads), value) in inputs.zip(&node.inputs) {
            slot.number = values[value.0].number;
            // Heads that share an input add their gradients up before these are rounded.
            slot.gradient = if *heads == recur.heads { slot.number } else { Number::F32 };
        }
        // So do subheads their outputs.
        if recur.sum == 1 {
            for (slot, value) in recur.recurrence.outs.iter_mut().zip(&node.outputs) {
                slot.number = values[value.0].number;
            }
        }
    }
}

/// Values that stay in f32.
fn wide(graph: &Graph, losses: &[ValueId]) -> HashSet<ValueId> {
    let mut kept: HashSet<ValueId> = losses.iter().copied().collect();
    for node in graph.nodes.node_weights() {
        match &node.kind {
            Kind::Route { .. } | Kind::LongConv | Kind::Average => {
                kept.extend(node.inputs.iter().chain(&node.outputs));
            }
            // The numbers of experts.
            Kind::Expert => kept.extend(node.inputs.get(1)),
            Kind::Recur(recur) => {
                let inputs = recur.recurrence.inputs.iter().zip(&node.inputs);
                let promised = inputs.filter(|(slot, _)| !slot.rounds());
                kept.extend(promised.map(|(_, value)| *value));
            }
            _ => {}
        }
    }
    kept
}
