//! Which values share memory: a value's buffer is free again after its last reader.

use petgraph::graph::NodeIndex;

use super::{Graph, Kind, ValueId};
use crate::tile::Number;

/// A buffer for every value.
#[derive(Clone, Debug)]
pub struct Buffers {
    /// The buffer of each value.
    pub slot: Vec<usize>,
    /// What each buffer has room for.
    pub rooms: Vec<Room>,
    /// Values whose last reader is the node, by node.
    pub dies: Vec<Vec<ValueId>>,
}

/// What a buffer has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Numbers of a row.
    pub width: usize,
    /// A single row.
    pub once: bool,
    /// How numbers are held.
    pub number: Number,
}

/// Plans buffers for running the whole graph, or only its forward pass.
pub fn plan(graph: &Graph, forward_only: bool, keep: &[ValueId]) -> Buffers {
    let count = if forward_only { graph.forward } else { graph.nodes.node_count() };
    let mut last: Vec<usize> = graph.values.iter().map(|value| value.from.index()).collect();
    for at in 0..count {
        let node = &graph.nodes[NodeIndex::new(at)];
        for input in &node.inputs {
            last[input.0] = at;
        }
        // A recurrence's gradient reads its operands, which its inputs name already.
        debug_assert!(!matches!(node.kind, Kind::RecurGrad { .. }) || !node.inputs.is_empty());
    }
    for value in keep {
        last[value.0] = usize::MAX;
    }
    let mut buffers = Buffers {
        slot: vec![usize::MAX; graph.values.len()],
        rooms: vec![],
        dies: vec![vec![]; count],
    };
    let mut free: Vec<usize> = Vec::new();
    for at in 0..count {
        let node = &graph.nodes[NodeIndex::new(at)];
        for output in &node.outputs {
            let info = graph.value(*output);
            let size = Room { width: info.width(), once: info.once, number: info.number };
            let found = free.iter().position(|slot| buffers.rooms[*slot] == size);
            let slot = match found {
                Some(found) => free.swap_remove(found),
                None => {
                    buffers.rooms.push(size);
                    buffers.rooms.len() - 1
                }
            };
            buffers.slot[output.0] = slot;
        }
        let mut done: Vec<ValueId> = node.inputs.iter().chain(&node.outputs).copied().collect();
        done.sort_unstable();
        done.dedup();
        for value in done.into_iter().filter(|value| last[value.0] == at) {
            free.push(buffers.slot[value.0]);
            buffers.dies[at].push(value);
        }
    }
    buffers
}

impl Buffers {
    /// Numbers that all buffers hold per row, without those of a single row.
    pub fn per_row(&self) -> usize {
        self.of_rows().map(|room| room.width).sum()
    }

    /// Their bytes.
    pub fn bytes_per_row(&self) -> usize {
        self.of_rows().map(|room| room.width * room.number.bytes()).sum()
    }

    fn of_rows(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().filter(|room| !room.once)
    }
}
