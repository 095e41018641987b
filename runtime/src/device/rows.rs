//! A pointwise node by its kernel.

use lrc_compiler::plan::Binding;

use super::launch::{Bound, Over, ROW_BLOCKS, Ready, Run};
use super::store::{Store, Tensor};
use crate::ground::error::Failure;

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
        on: &On,
        outputs: &[Tensor],
        grads: &[Tensor],
    ) -> Result<(), Failure> {
        self.in_blocks(store, ROW_BLOCKS, on, (outputs, grads))
    }

    /// The same by so many blocks at most.
    pub fn in_blocks(
        &self,
        store: &mut Store,
        blocks: usize,
        on: &On,
        (outputs, grads): (&[Tensor], &[Tensor]),
    ) -> Result<(), Failure> {
        let over = Over::Rows { rows: on.rows, positions: on.positions, blocks };
        Run::new(store, &self.0, over)?.start(store, |binding| {
            let (tensor, add) = match binding {
                Binding::Input(i) => (on.inputs.get(i), false),
                Binding::Param(i) => (on.params.get(i), false),
                Binding::Out(k) | Binding::InputGrad(k) => (outputs.get(k), false),
                Binding::OutGrad(_) => (on.d_out.as_ref(), false),
                Binding::ParamGrad(place) => (grads.get(place), true),
                _ => (None, false),
            };
            tensor.map(|tensor| Bound { tensor: *tensor, heads: 1, add })
        })
    }
}
