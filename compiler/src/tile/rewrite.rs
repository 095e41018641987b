//! Programs that are made anew, node by node, some of which become something else.

use std::collections::HashMap;

use super::{Node, Op, Program, Value};
use lrc_dsl::Span;

/// A program while it is made anew.
pub(super) struct Rewrite<'a> {
    /// What it is made of.
    pub(super) from: &'a Program,
    /// Of each node of the old program so far its value in the new one.
    pub(super) new: Vec<Value>,
    nodes: Vec<Node>,
    known: HashMap<(Op, Vec<Value>, Vec<usize>), Value>,
}

impl<'a> Rewrite<'a> {
    /// The same program, with values that `instead` gives in the place of others.
    pub(super) fn of(
        from: &'a Program,
        mut instead: impl FnMut(&mut Rewrite<'a>, Value, &'a Node) -> Option<Value>,
    ) -> Program {
        let mut made = Rewrite { from, new: vec![], nodes: vec![], known: HashMap::new() };
        for (at, node) in from.nodes.iter().enumerate() {
            let value = instead(&mut made, Value(at as u32), node).unwrap_or_else(|| {
                let args = node.args.iter().map(|arg| made.new[arg.at()]).collect();
                made.push(node.op.clone(), args, node.shape.clone(), node.span)
            });
            made.new.push(value);
        }
        let outputs = from.outputs.iter().map(|output| made.new[output.at()]).collect();
        Program { nodes: made.nodes, outputs }.pruned()
    }

    /// A new value; what is the same stays one value.
    pub(super) fn push(
        &mut self,
        op: Op,
        args: Vec<Value>,
        shape: Vec<usize>,
        span: Option<Span>,
    ) -> Value {
        let nodes = &mut self.nodes;
        *self.known.entry((op.clone(), args.clone(), shape.clone())).or_insert_with(|| {
            nodes.push(Node { op, args, shape, span });
            Value(nodes.len() as u32 - 1)
        })
    }

    /// A node of the new program.
    pub(super) fn node(&self, value: Value) -> &Node {
        &self.nodes[value.at()]
    }

    /// The shape of a value of the new program.
    pub(super) fn shape(&self, value: Value) -> Vec<usize> {
        self.nodes[value.at()].shape.clone()
    }
}
