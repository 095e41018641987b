//! A pointwise node by its kernel.

use lrc_compiler::emit::is_shared;
use lrc_compiler::plan::{Buffer, Target};

use super::fixed::Fixed;
use super::store::{Argument, Ready, Store, Tensor};
use crate::ground::error::Failure;

/// Blocks at most: enough to fill a GPU, and few partial sums.
const BLOCKS: usize = 512;

/// The kernel of a pointwise node, forward or backward.
#[derive(Clone, Debug)]
pub struct RowKernel(pub Ready);

/// What a pointwise node runs on.
#[derive(Clone, Debug)]
pub struct On<'a> {
    /// Rows; 1 where the output has a single one.
    pub rows: usize,
    /// The position of each row in its sequence.
    pub positions: Tensor,
    /// Inputs: as many rows, or one.
    pub inputs: &'a [Tensor],
    /// Parameters.
    pub params: Vec<Tensor>,
    /// What flows into the output, on the way back.
    pub d_out: Option<Tensor>,
}

impl RowKernel {
    /// Runs the kernel: writes the output, or the gradients of wanted inputs, and adds to the
    /// gradients of parameters.
    pub fn run(
        &self,
        store: &mut Store,
        fixed: &Fixed,
        on: &On,
        outputs: &[Tensor],
        grads: &[Tensor],
    ) -> Result<(), Failure> {
        let kernel = &self.0.kernel;
        let blocks = on.rows.div_ceil(kernel.chunk).min(BLOCKS);
        let working = (kernel.working > 0)
            .then(|| store.take("working memory", blocks * kernel.working / 4))
            .transpose()?;
        let nothing = Argument::Tensor(None);
        let mut arguments: Vec<Argument> =
            vec![on.positions.into(), nothing, on.rows.into(), 1.into(), Argument::Tensor(working)];
        let mut partial = Vec::new();
        for &buffer in &kernel.buffers {
            let mut sums = |own: Tensor, add: bool| -> Result<Tensor, Failure> {
                let sums = store.take("partial sums", blocks * own.words)?;
                partial.push((own, sums, add));
                Ok(sums)
            };
            let tensor = match buffer {
                Buffer::Input(i) => Some(on.inputs[i]),
                Buffer::Param(i) => Some(on.params[i]),
                Buffer::Out(k) => Some(outputs[k]),
                Buffer::OutGrad(_) => on.d_out,
                Buffer::InputGrad(place) if self.is_partial(buffer) => {
                    Some(sums(outputs[place], false)?)
                }
                Buffer::InputGrad(place) => Some(outputs[place]),
                Buffer::ParamGrad(place) => Some(sums(grads[place], true)?),
                other => unreachable!("{other:?} belongs to no pointwise node"),
            };
            arguments.push(Argument::Tensor(tensor));
            if is_shared(buffer) {
                arguments.push(1.into());
            }
        }
        store.launch(&self.0.loaded, [blocks, kernel.threads, kernel.shared], &arguments)?;
        for (own, sums, add) in partial {
            fixed.fold(store, own, sums, [1, blocks, own.words], add)?;
            store.give(sums);
        }
        working.into_iter().for_each(|tensor| store.give(tensor));
        if on.d_out.is_some() {
            // Inputs on which the output does not depend.
            let unwritten = |place: &usize| !kernel.buffers.contains(&Buffer::InputGrad(*place));
            for place in (0..outputs.len()).filter(unwritten) {
                store.clear(outputs[place])?;
            }
        }
        Ok(())
    }

    /// Whether each block writes a partial sum of a gradient.
    fn is_partial(&self, buffer: Buffer) -> bool {
        let mut targets = self.0.kernel.steps().filter_map(|step| step.target());
        targets.any(|to| matches!(to, Target::Part(part) if part.buffer == buffer))
    }
}
