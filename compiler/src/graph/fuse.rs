//! Sums over subheads move into the recurrence that makes them.
//!
//! Problem: state expansion runs a head as many subheads and adds up their outputs; kept one by one
//! they take the memory of the whole expansion for every token, forward and backward.
//!
//! Idea: where a recurrence's output goes into one pointwise node only, and there only into a sum
//! over its last axis of heads, the recurrence adds neighbouring heads up itself, and its gradient
//! gives all of them the same rows.

use petgraph::graph::NodeIndex;

use super::{Graph, Kind, Model};
use crate::normal;
use crate::tile::{Builder, Int, Leaf, Op, Program, Stream, Value, size};

/// Runs the pass on the forward graph.
pub fn sums_of_heads(model: &mut Model) {
    for at in 0..model.graph.forward {
        let Some(found) = summed(model, at) else { continue };
        let graph = &mut model.graph;
        let recur = graph.values[found.value].from;
        if let Kind::Recur(recur) = &mut graph.nodes[recur].kind {
            recur.sum = found.share;
            let one = recur.recurrence.outs[0].shape.clone();
            graph.values[found.value].shape =
                [&[recur.heads / found.share], one.as_slice()].concat();
        }
        graph.nodes[NodeIndex::new(at)].kind = Kind::Rows(Box::new(found.program));
    }
}

/// A pointwise node that does nothing with a recurrence's output but add up its subheads.
struct Summed {
    value: usize,
    share: usize,
    program: Program,
}

fn summed(model: &Model, at: usize) -> Option<Summed> {
    let graph = &model.graph;
    let node = &graph.nodes[NodeIndex::new(at)];
    let Kind::Rows(program) = &node.kind else { return None };
    node.inputs.iter().enumerate().find_map(|(slot, value)| {
        let Kind::Recur(recur) = &graph.nodes[graph.value(*value).from].kind else { return None };
        let [out] = &recur.recurrence.outs[..] else { return None };
        let alone = readers(graph, value.0) == 1 && *value != model.hidden && recur.sum == 1;
        let chunked =
            || normal::extract(&recur.recurrence).is_ok_and(|n| n.states.iter().all(|s| s.v > 1));
        if !alone || !chunked() {
            return None;
        }
        let (share, program) = without_sum(program, slot, size(&out.shape))?;
        Some(Summed { value: value.0, share, program })
    })
}

fn readers(graph: &Graph, value: usize) -> usize {
    let reads =
        |at: &usize| graph.nodes[NodeIndex::new(*at)].inputs.iter().any(|input| input.0 == value);
    (0..graph.forward).filter(reads).count()
}

/// The program with its sums over the last axis of heads of an input taken out, and how many heads
/// they added; `one` numbers make a head. `None` where the input is used in another way.
fn without_sum(program: &Program, slot: usize, one: usize) -> Option<(usize, Program)> {
    let is_input = |value: Value| match &program.node(value).op {
        Op::Leaf(Leaf::Read(Stream::Input(i), at)) => *i == slot && at.lag() == Some(0),
        _ => false,
    };
    let mut share = None;
    for (value, leaf, _) in program.leaves() {
        let Leaf::Read(Stream::Input(i), _) = leaf else { continue };
        if *i == slot && (!is_input(value) || program.outputs.contains(&value)) {
            return None;
        }
    }
    for node in &program.nodes {
        for arg in node.args.iter().filter(|arg| is_input(**arg)) {
            let shape = program.shape(*arg);
            let Op::Sum(axes) = &node.op else { return None };
            let [axis] = axes[..] else { return None };
            let fits = size(&shape[axis + 1..]) == one && shape[axis] > 1;
            if !fits || share.is_some_and(|known| known != shape[axis]) {
                return None;
            }
            share = Some(shape[axis]);
        }
    }
    let mut b = Builder::new();
    let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        b.span = node.span;
        let made = match &node.op {
            Op::Sum(_) if is_input(node.args[0]) => {
                b.leaf(Leaf::Read(Stream::Input(slot), Int::T), &node.shape)
            }
            Op::Leaf(leaf) => b.leaf(leaf.clone(), &node.shape),
            op => {
                let args = node.args.iter().map(|arg| new[arg.at()]).collect();
                b.raw(op.clone(), args, node.shape.clone())
            }
        };
        new.push(made);
    }
    let outputs: Vec<Value> = program.outputs.iter().map(|output| new[output.at()]).collect();
    Some((share?, b.finish(&outputs)))
}
