//! What states begin with: the parameters that declared initial states are made of.

use super::{Kind, Model, ValueId};
use crate::tile::Leaf;

/// Which parameters a state of a recurrence begins with.
pub fn starts(model: &Model) -> Vec<bool> {
    let graph = &model.graph;
    let mut starts = vec![false; graph.params.len()];
    let mut open: Vec<ValueId> = Vec::new();
    for node in graph.nodes.node_weights() {
        let Kind::Recur(recur) = &node.kind else { continue };
        let (inputs, init) = (recur.recurrence.inputs.len(), &recur.recurrence.init);
        let read = init.leaves().filter_map(|(_, leaf, _)| match leaf {
            Leaf::Param(slot) => Some(node.inputs[inputs + slot]),
            _ => None,
        });
        open.extend(read);
    }
    let mut seen = vec![false; graph.values.len()];
    while let Some(value) = open.pop() {
        if !std::mem::replace(&mut seen[value.0], true) {
            let node = &graph.nodes[graph.value(value).from];
            node.params.iter().for_each(|param| starts[param.0] = true);
            open.extend(&node.inputs);
        }
    }
    starts
}
