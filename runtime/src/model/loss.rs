//! Logits, and the loss of a walk: logits of the rows at which something is asked, a block at a time, and what flows back.

use super::walk::{Pass, Walk};
use crate::device::backend::{CrossEntropy, LossGradient};
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::loss::{self, NONE};

impl Walk {
    /// Logits of a hidden state.
    pub fn logits(&mut self, hidden: &[f32]) -> Result<Vec<f32>, Failure> {
        let x = self.parameters.backend.alloc("hidden states", hidden.len())?;
        self.parameters.backend.write(x, hidden)?;
        let logits = self.logits_at(x)?;
        self.parameters.backend.free(x);
        Ok(logits)
    }

    pub(super) fn logits_at(&mut self, hidden: Tensor) -> Result<Vec<f32>, Failure> {
        let (width, vocab) = (self.model().width, self.model().vocab);
        let head = self.value(self.model().head);
        let rows = hidden.words / width;
        let y = self.parameters.backend.alloc("logits", rows * vocab)?;
        let sizes = Sizes { rows, groups: 1, shape: [width, vocab] };
        self.parameters.backend.dense(Dense::Forward, y, [hidden, head], sizes)?;
        let mut logits = self.parameters.backend.read(y)?.into_owned();
        loss::capped(&mut logits, self.cap());
        self.parameters.backend.free(y);
        Ok(logits)
    }

    /// The soft cap of logits.
    fn cap(&self) -> Option<f32> {
        self.model().cap.map(|cap| cap as f32)
    }

    /// The loss of the asked rows; with a way `back` also the gradient by the hidden state, and by the
    /// head where that is said.
    pub(super) fn loss(
        &mut self,
        pass: &Pass,
        back: Option<(Tensor, bool)>,
    ) -> Result<(), Failure> {
        let d_hidden = back.map(|(d_hidden, _)| d_hidden);
        let d_head = back.filter(|(_, of_head)| *of_head).map(|_| self.grad(self.model().head));
        let targets = pass.targets;
        let asked: Vec<u32> =
            (0..targets.len() as u32).filter(|row| targets[*row as usize] != NONE).collect();
        if let Some(d_hidden) = d_hidden {
            self.parameters.backend.clear(d_hidden)?;
        }
        // Of the whole part, of which this may be a segment.
        let whole = pass.segment.as_ref().map_or(asked.len(), |segment| segment.asked);
        let scale = 1.0 / whole.max(1) as f32;
        let hidden = pass.values[&self.model().hidden];
        let block = self.parameters.backend.logits().rows(self.model().vocab);
        for rows in asked.chunks(block) {
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
            let on = CrossEntropy { logits, targets: &targets, vocab, cap: self.cap(), gradient };
            self.parameters.backend.cross_entropy(&on)?;
            if let (Some(d_hidden), Some(LossGradient { factors, .. })) = (d_hidden, gradient) {
                self.loss_grad(&block, rows, (d_hidden, d_head), factors)?;
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
        (d_hidden, d_head): (Tensor, Option<Tensor>),
        factors: Tensor,
    ) -> Result<(), Failure> {
        let Block { x, logits, head, width, sizes } = *block;
        let backend = &mut self.parameters.backend;
        let d = backend.alloc("gradient of asked rows", x.words)?;
        backend.dense(Dense::GradInput, d, [logits, head], sizes)?;
        backend.scale_rows(d, factors, width)?;
        backend.scatter(d_hidden, d, rows, width)?;
        backend.free(d);
        let Some(d_head) = d_head else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use lrc_compiler::elaborate::Setting;
    use lrc_compiler::graph::Prepared;
    use lrc_dsl::{Sources, load_text};

    use super::super::fresh;
    use super::Walk;
    use crate::device::Device;
    use crate::ground::library::LIBRARY;
    use crate::ops::batch::Batch;

    /// Few numbers beside its logits.
    const HEAD: &str = r#"
        mixer mix(d = 8) { v : [d] = linear(x)
            out y = linear(v) }
        model m(width = 8, v = 16) { vocab v
            residual x + f(rmsnorm(x))
            mix()
            head rmsnorm(x), tied }
    "#;

    fn prepared(vocab: usize) -> Prepared {
        let mut sources = Sources::default();
        let (namespace, mut diags) = load_text("m", HEAD.into(), None, LIBRARY, &mut sources);
        let sizes = [("v".to_string(), Setting::Number(vocab as f64))].into();
        let decl = &namespace.decls["m"];
        let built = lrc_compiler::graph::build(&namespace, decl, &sizes, &mut diags);
        Prepared::plain(
            built.unwrap_or_else(|| panic!("{}", lrc_dsl::render(&sources, &diags, false))),
        )
    }

    /// A training step and an evaluation whose logits are many blocks never hold more than one of them.
    #[test]
    fn all_logits_are_never_in_memory() {
        for (device, vocab, rows) in [(Device::Cpu, 3000, 5000), (Device::Sim, 200, 9000)] {
            let prepared = prepared(vocab);
            let params = fresh(&prepared.model.graph.params, 3);
            let learned: usize = params.iter().map(Vec::len).sum();
            let trained = prepared.per_row() * rows;
            let values = trained + prepared.inference.per_row() * rows;
            let mut walk = Walk::of(device, prepared, &params).unwrap();
            let mut batch = Batch::default();
            let tokens: Vec<u32> = (0..rows as u32).map(|i| i * 7 % vocab as u32).collect();
            let targets: Vec<u32> = (0..rows as u32).map(|i| i * 5 % vocab as u32).collect();
            batch.push(&tokens, &targets);
            let before = walk.parameters.backend.most_held();
            let asked = walk.train(&batch).unwrap().targets;
            let evaluated = walk.evaluate(&batch).unwrap().losses.len();
            assert_eq!((asked, evaluated), (rows, rows));
            let block = walk.parameters.backend.logits().numbers(rows, 8, vocab);
            // Beside it lie tables of the rows, and what each of them has said.
            let allowed = before + values + block + learned + 32 * rows;
            let all = rows * vocab;
            let most = walk.parameters.backend.most_held();
            assert!(most <= allowed, "{device:?}: {most} numbers, {allowed} are allowed");
            let noticed = before + trained + all > allowed;
            assert!(noticed, "{device:?}: {all} logits in memory would not be noticed");
        }
    }
}
