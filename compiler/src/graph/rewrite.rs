//! Passes that put nodes between the nodes of a graph: the branches of layers are dropped, and what a
//! layer computed is computed again instead of kept.

use std::collections::{BTreeSet, HashMap};

use petgraph::graph::NodeIndex;

use super::{Graph, Kind, Model, Node, ValueId, buffers};

impl Graph {
    /// A graph of the same values and parameters without nodes, to be filled by [`Graph::place`].
    pub(super) fn emptied(&self) -> Graph {
        Graph { values: self.values.clone(), params: self.params.clone(), ..Graph::default() }
    }

    /// Adds a node that makes values which are there already.
    pub(super) fn place(&mut self, node: Node) -> NodeIndex {
        let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
        let index = self.nodes.add_node(node);
        for input in inputs {
            let from = self.values[input.0].from;
            self.nodes.add_edge(from, index, input);
        }
        outputs.iter().for_each(|output| self.values[output.0].from = index);
        index
    }

    /// The layers whose results are added to a residual stream, in their order.
    pub fn layers(&self) -> Vec<String> {
        let nodes = self.nodes.node_weights().filter(|node| node.is_residual());
        let mut layers: Vec<String> = nodes.map(|node| node.layer().to_string()).collect();
        layers.dedup();
        layers
    }
}

/// Drops what layers add to the residual stream: each number with the probability `rate` in training,
/// and always where the rate is 1. Gives the number of branches. Comes before the backward pass.
pub(super) fn drop_branches(model: &mut Model, pick: &dyn Fn(&str) -> bool, rate: f64) -> usize {
    let mut graph = model.graph.emptied();
    let mut number = 0;
    for index in model.graph.nodes.node_indices() {
        let mut node = model.graph.nodes[index].clone();
        if node.is_residual() && pick(node.layer()) {
            for at in 0..node.inputs.len() {
                let value = model.graph.value(node.inputs[at]);
                let from = &model.graph.nodes[value.from];
                let reads = from.is_residual() || from.label.ends_with(".input");
                if from.layer() != node.layer() || reads {
                    continue;
                }
                let kind = Kind::Drop { rate, number };
                let label = format!("{}.drop", node.layer());
                let shape = (value.shape.clone(), value.once);
                let dropped = Node::plain(kind, label, vec![node.inputs[at]]);
                node.inputs[at] = graph.add(dropped, &[shape])[0];
                number += 1;
            }
        }
        graph.place(node);
    }
    graph.forward = graph.nodes.node_count();
    model.graph = graph;
    number
}

/// Computes again what picked layers computed, right before their backward pass: in between nothing of
/// them is kept but the residual stream they read. Comes after the backward pass.
pub(super) fn recompute(model: &mut Model, pick: &dyn Fn(&str) -> bool) {
    let old = &model.graph;
    let inner = |index: NodeIndex| {
        let node = &old.nodes[index];
        index.index() < old.forward && !node.is_residual() && pick(node.layer())
    };
    let mut graph = old.emptied();
    let mut copies = Copies::default();
    for index in old.nodes.node_indices() {
        let mut node = old.nodes[index].clone();
        if index.index() >= old.forward {
            // A recurrence's gradient also reads what its forward node kept.
            let kept = match &node.kind {
                Kind::RecurGrad { of, .. } => Some(*of),
                _ => None,
            };
            let read = node.inputs.iter().map(|input| old.value(*input).from).chain(kept);
            let wanted = with_sources(old, read.filter(|from| inner(*from)), &inner);
            for from in wanted {
                copies.add(&mut graph, from, &old.nodes[from]);
            }
            node.inputs.iter_mut().for_each(|input| *input = copies.value(*input));
            if let Kind::RecurGrad { of, .. } = &mut node.kind {
                *of = copies.node(*of);
            }
        }
        copies.nodes.entry(index).or_insert(graph.place(node));
        if index.index() + 1 == old.forward {
            graph.forward = graph.nodes.node_count();
        }
    }
    model.graph = graph;
}

/// Some nodes and those inner ones that they need, in running order.
fn with_sources(
    graph: &Graph,
    nodes: impl Iterator<Item = NodeIndex>,
    inner: &dyn Fn(NodeIndex) -> bool,
) -> BTreeSet<NodeIndex> {
    let mut open: Vec<NodeIndex> = nodes.collect();
    let mut found = BTreeSet::new();
    while let Some(node) = open.pop() {
        if found.insert(node) {
            let sources = graph.nodes.neighbors_directed(node, petgraph::Incoming);
            open.extend(sources.filter(|source| inner(*source)));
        }
    }
    found
}

/// Second nodes and values of first ones.
#[derive(Default)]
struct Copies {
    /// Where each old node now is; its copy, where it has one.
    nodes: HashMap<NodeIndex, NodeIndex>,
    made: BTreeSet<NodeIndex>,
    values: HashMap<ValueId, ValueId>,
}

impl Copies {
    fn value(&self, value: ValueId) -> ValueId {
        self.values.get(&value).copied().unwrap_or(value)
    }

    fn node(&self, node: NodeIndex) -> NodeIndex {
        self.nodes.get(&node).copied().unwrap_or(node)
    }

    fn add(&mut self, graph: &mut Graph, from: NodeIndex, node: &Node) {
        if !self.made.insert(from) {
            return;
        }
        let mut copy = node.clone();
        copy.inputs.iter_mut().for_each(|input| *input = self.value(*input));
        for output in &mut copy.outputs {
            let info = graph.value(*output).clone();
            graph.values.push(info);
            let made = ValueId(graph.values.len() - 1);
            self.values.insert(*output, made);
            *output = made;
        }
        let index = graph.place(copy);
        self.nodes.insert(from, index);
    }
}

/// The first layers that have to be computed again so that the values between the nodes take `budget`
/// bytes per row at most, and what they take then. The deepest layers come last: their backward
/// pass begins at once, so that computing them again saves nothing. The model has its backward pass.
pub(super) fn fit(model: &Model, budget: usize) -> Result<(Vec<String>, usize), usize> {
    let mut layers = model.graph.layers();
    let mut best = usize::MAX;
    for count in 0..=layers.len() {
        let mut tried = model.clone();
        recompute(&mut tried, &|layer| layers[..count].iter().any(|one| one == layer));
        let size = buffers::plan(&tried.graph, false, &tried.losses).bytes_per_row();
        if size <= budget {
            layers.truncate(count);
            return Ok((layers, size));
        }
        best = best.min(size);
    }
    Err(best)
}
