//! The text of a training step by kernels: what runs, in the order of the walk, with shapes and bytes.

use std::fmt::Write;

use super::kernels::Planned;
use super::{Graph, Kind, Node, Param, ParamId, Prepared, ValueId};
use crate::plan::target::Gpu;
use crate::plan::{Pass, Schedule};
use crate::tile::size;

/// What a training step runs on a kind of GPU, a line for each node: what it is, the kernels or products that do it, the values it
/// reads, and those that it writes with their shapes, the buffers they lie in, and bytes of a row.
pub fn text(prepared: &Prepared, planned: &Planned, gpu: Gpu) -> String {
    let (model, buffers) = (&prepared.model, &prepared.training);
    let graph = &model.graph;
    let mut out = String::new();
    let count = graph.nodes.node_count();
    let params: usize = graph.params.iter().map(|param| size(&param.shape)).sum();
    let of = |param: &Param| size(&param.shape) * param.number.bytes();
    let held: usize = graph.params.iter().map(of).sum();
    let once = buffers.rooms.iter().filter(|room| room.once);
    let once: usize = once.map(|room| room.width * room.number.bytes()).sum();
    let per_row = buffers.bytes_per_row();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "step of `{}` on {}: {} nodes forward, {} backward\n\
         {params} parameters: {held} bytes, and as many numbers for their gradients\n\
         {} buffers between the nodes: {per_row} bytes for each token of a step, {once} bytes once",
        model.name,
        gpu.arch,
        graph.forward,
        count - graph.forward,
        buffers.rooms.len(),
    );
    for (at, node) in graph.nodes.node_weights().enumerate() {
        if at == graph.forward {
            out += "backward\n";
        }
        let reads: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        let writes: Vec<String> = node.outputs.iter().map(|v| value(prepared, *v)).collect();
        let arrow = if writes.is_empty() { "" } else { " -> " };
        let _ = writeln!(
            out,
            "{at:>5}  {}: {}  ({}){arrow}{}",
            node.label,
            runs(graph, planned, at, node),
            reads.join(", "),
            writes.join(", "),
        );
    }
    out
}

/// A value with its shape and where it lies.
fn value(prepared: &Prepared, id: ValueId) -> String {
    let info = prepared.model.graph.value(id);
    let rows = if info.once { "once" } else { "a token" };
    let buffer = prepared.training.slot[id.0];
    let bytes = info.width() * info.number.bytes();
    format!("{id} {:?}, {bytes} bytes {rows} in buffer {buffer}", info.shape)
}

/// What does the work of a node.
fn runs(graph: &Graph, planned: &Planned, at: usize, node: &Node) -> String {
    let of = |params: &[ParamId]| {
        let named = params.iter().map(|id| &graph.params[id.0]);
        named.map(|p| format!("{} {:?}", p.name, p.shape)).collect::<Vec<_>>().join(", ")
    };
    let recurrence = |at: usize, pass: Pass| {
        let all = planned.of_recurrence.get(&at).into_iter().flatten();
        let own = all.map(|found| &planned.recurrences[*found]).filter(|s| s.pass == pass);
        own.map(kernels).collect::<Vec<_>>().join(", ")
    };
    let word = node.kind.word();
    match &node.kind {
        Kind::Rows(_) | Kind::RowsGrad(_) => planned
            .of_node
            .get(&at)
            .map_or(word.into(), |found| kernels(&planned.pointwise[*found])),
        Kind::Recur(recur) => format!("{} heads by {}", recur.heads, recurrence(at, Pass::Forward)),
        Kind::RecurGrad { of, .. } => recurrence(of.index(), Pass::Backward),
        _ if !node.gives.is_empty() => format!("{word} of {}", of(&node.gives)),
        _ if !node.params.is_empty() => format!("{word} by {}", of(&node.params)),
        _ => word.into(),
    }
}

/// The kernels of a schedule, with their workspace.
fn kernels(schedule: &Schedule) -> String {
    let one = schedule.kernels.iter().map(|kernel| match kernel.workspace {
        0 => format!("`{}`", kernel.name),
        bytes => format!("`{}` with {bytes} bytes of workspace a block", kernel.name),
    });
    one.collect::<Vec<_>>().join(", ")
}
