//! The loss of a walk: logits of the rows at which something is asked, a block at a time, and what flows back.

use super::walk::{Pass, Walk};
use crate::device::backend::{CrossEntropy, LossGradient};
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::loss::NONE;

impl Walk {
    /// The loss of the asked rows; with `d_hidden` also the gradients by the hidden state and the head.
    pub(super) fn loss(&mut self, pass: &Pass, d_hidden: Option<Tensor>) -> Result<(), Failure> {
        let targets = pass.targets;
        let asked: Vec<u32> =
            (0..targets.len() as u32).filter(|row| targets[*row as usize] != NONE).collect();
        if let Some(d_hidden) = d_hidden {
            self.parameters.backend.clear(d_hidden)?;
        }
        let scale = 1.0 / asked.len().max(1) as f32;
        let hidden = pass.values[&self.model().hidden];
        for rows in asked.chunks(self.parameters.backend.rows_of_logits(self.model().vocab)) {
            let block = Block::new(self, rows)?;
            self.parameters.backend.gather(block.x, hidden, rows, block.width)?;
            self.parameters.backend.dense(
                Dense::Forward,
                block.logits,
                [block.x, block.head],
                block.sizes,
            )?;
            let targets: Vec<u32> = rows.iter().map(|row| targets[*row as usize]).collect();
            let (logits, vocab) = (block.logits, block.sizes.shape[1]);
            let gradient = match d_hidden {
                Some(_) => {
                    let factors = self.parameters.backend.alloc("factors of rows", rows.len())?;
                    Some(LossGradient { scale, z: self.z_loss, factors })
                }
                None => None,
            };
            let on = CrossEntropy { logits, targets: &targets, vocab, gradient };
            self.parameters.backend.cross_entropy(&on)?;
            if let (Some(d_hidden), Some(LossGradient { factors, .. })) = (d_hidden, gradient) {
                self.loss_grad(&block, rows, d_hidden, factors)?;
                self.parameters.backend.free(factors);
            }
            self.parameters.backend.free(block.logits);
            self.parameters.backend.free(block.x);
        }
        Ok(())
    }

    /// Turns the gradient by a block's logits into those by the hidden states and the head.
    fn loss_grad(
        &mut self,
        block: &Block,
        rows: &[u32],
        d_hidden: Tensor,
        factors: Tensor,
    ) -> Result<(), Failure> {
        let Block { x, logits, head, width, sizes } = *block;
        let d_head = self.grad(self.model().head);
        let backend = &mut self.parameters.backend;
        let d = backend.alloc("gradient of asked rows", x.words)?;
        backend.dense(Dense::GradInput, d, [logits, head], sizes)?;
        backend.scale_rows(d, factors, width)?;
        backend.scatter(d_hidden, d, rows, width)?;
        backend.free(d);
        backend.scale_rows(x, factors, width)?;
        backend.dense(Dense::GradWeight, d_head, [x, logits], sizes)
    }
}

/// Asked rows whose logits are in memory.
struct Block {
    /// Their hidden states.
    x: Tensor,
    logits: Tensor,
    head: Tensor,
    width: usize,
    sizes: Sizes,
}

impl Block {
    fn new(walk: &mut Walk, rows: &[u32]) -> Result<Block, Failure> {
        let (width, vocab) = (walk.model().width, walk.model().vocab);
        let head = walk.value(walk.model().head);
        Ok(Block {
            x: walk.parameters.backend.alloc("asked rows", rows.len() * width)?,
            logits: walk.parameters.backend.alloc("logits", rows.len() * vocab)?,
            head,
            width,
            sizes: Sizes { rows: rows.len(), groups: 1, shape: [width, vocab] },
        })
    }
}
