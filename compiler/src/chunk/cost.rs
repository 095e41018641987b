//! What a chunk costs.

use super::Chunk;
use crate::tile::{Node, Op, size};

impl Chunk {
    /// Operations of its products and solves; a multiply-add is two.
    pub fn flops(&self) -> usize {
        let program = &self.program;
        let of = |node: &Node| {
            let shape = |k: usize| program.shape(node.args[k]);
            match &node.op {
                Op::MulSum(axes) if !axes.is_empty() => {
                    let both = shape(0).iter().zip(shape(1));
                    2 * both.map(|(a, b)| *a.max(b)).product::<usize>()
                }
                Op::Gram(_) => 2 * size(&node.shape) * shape(0)[1],
                Op::Apply(_) | Op::ApplyT(_) => 2 * size(shape(0)) * node.shape[1],
                // Half of the matrix is zero.
                Op::Solve(_) => node.shape[0] * size(&node.shape),
                _ => 0,
            }
        };
        program.nodes.iter().map(of).sum()
    }
}
