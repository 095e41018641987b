//! Kernels written by hand for nodes that see more than a row, and for what treats numbers one by one.

use super::accelerator::Accelerator;
use super::backend::{Call, Drop};
use super::fixed::{BLOCKS, Fixed, THREADS};
use super::store::{Argument, Loaded, Store, Tensor};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use lrc_compiler::tile::size;

/// A thread for every number, as far as these fill a device.
fn each(
    store: &mut Store,
    kernel: &Loaded,
    numbers: usize,
    arguments: &[Argument],
) -> Result<(), Failure> {
    store.launch(kernel, [numbers.div_ceil(THREADS).min(BLOCKS), THREADS, 0], arguments)
}

impl Accelerator {
    /// Where a recurrence's kernels write: its outputs, or, where subheads add up, room for each.
    pub(super) fn of_heads(
        &mut self,
        call: &Call,
        outs: &[Tensor],
    ) -> Result<Vec<Tensor>, Failure> {
        if call.recur.sum == 1 {
            return Ok(outs.to_vec());
        }
        let rows = call.bounds.last().copied().unwrap_or(0) * call.recur.heads;
        let slots = call.recur.recurrence.outs.iter();
        slots.map(|s| self.store.take("outputs of subheads", rows * size(&s.shape))).collect()
    }
}

impl Fixed {
    /// Each row times its factor.
    pub fn scale_rows(
        &mut self,
        store: &mut Store,
        rows: Tensor,
        factors: Tensor,
        width: usize,
    ) -> Result<(), Failure> {
        let arguments = [rows.into(), factors.into(), rows.words.into(), width.into()];
        each(store, self.typed("scale_rows", [rows, rows])?, rows.words, &arguments)
    }

    /// `to = from`, rounded as `to` holds numbers.
    pub fn convert(&mut self, store: &mut Store, to: Tensor, from: Tensor) -> Result<(), Failure> {
        let arguments = [to.into(), from.into(), to.words.into()];
        each(store, self.typed("convert", [to, from])?, to.words, &arguments)
    }

    /// `to[c, r] = from[r, c]`.
    pub fn transpose(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        [rows, columns]: [usize; 2],
    ) -> Result<(), Failure> {
        let arguments = [to.into(), from.into(), rows.into(), columns.into()];
        each(store, &self.transpose, rows * columns, &arguments)
    }

    /// Numbers become 0 with a probability; the same ones as on the processor.
    pub fn drop_out(
        &mut self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        drop: Drop,
    ) -> Result<(), Failure> {
        let [low, high] = Stream::key(drop.of_node(), Purpose::Dropout);
        let kept = (1.0 / (1.0 - drop.rate)) as f32;
        let key = store.send(&[low, high])?;
        let arguments = [
            to.into(),
            from.into(),
            key.into(),
            to.words.into(),
            drop.width.into(),
            Argument::Number(drop.least().cast_signed()),
            drop.first.into(),
            kept.into(),
        ];
        each(store, self.typed("drop_out", [to, from])?, to.words, &arguments)
    }

    /// See [`crate::ops::experts::route`].
    pub fn route(
        &self,
        store: &mut Store,
        [ids, kept]: [Tensor; 2],
        weights: Tensor,
        [experts, slots]: [usize; 2],
    ) -> Result<(), Failure> {
        let rows = weights.words / experts;
        let arguments =
            [ids.into(), kept.into(), weights.into(), rows.into(), experts.into(), slots.into()];
        each(store, &self.route, rows, &arguments)
    }

    /// The gradient of [`Fixed::route`] by the weights.
    pub fn route_grad(
        &self,
        store: &mut Store,
        to: Tensor,
        [ids, d]: [Tensor; 2],
        [experts, slots]: [usize; 2],
    ) -> Result<(), Failure> {
        let arguments =
            [to.into(), ids.into(), d.into(), to.words.into(), experts.into(), slots.into()];
        each(store, &self.route_grad, to.words, &arguments)
    }

    /// `y[t] = Σ_{s ≤ t} h[t - s] x[s]` per channel and sequence, by the sum itself.
    pub fn long_conv(
        &self,
        store: &mut Store,
        y: Tensor,
        [x, h]: [Tensor; 2],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        let starts = store.table(of_rows(bounds, |pair| pair[0]))?;
        let arguments = [y.into(), x.into(), h.into(), starts.into(), y.words.into(), width.into()];
        each(store, &self.long_conv, y.words, &arguments)
    }

    /// Its gradients by `x` and `h`.
    pub fn long_conv_grad(
        &self,
        store: &mut Store,
        [dx, dh]: [Tensor; 2],
        [x, h, dy]: [Tensor; 3],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        let starts = store.table(of_rows(bounds, |pair| pair[0]))?;
        let ends = store.table(of_rows(bounds, |pair| pair[1]))?;
        // Both are correlations: `dx` of `dy` with `h`, `dh` of `dy` with `x`.
        for (to, with) in [(dx, h), (dh, x)] {
            let arguments = [
                to.into(),
                with.into(),
                dy.into(),
                starts.into(),
                ends.into(),
                to.words.into(),
                width.into(),
            ];
            each(store, &self.long_conv_grad, to.words, &arguments)?;
        }
        Ok(())
    }

    /// The mean over rows.
    pub fn average(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        rows: usize,
    ) -> Result<(), Failure> {
        let arguments = [to.into(), from.into(), rows.into(), to.words.into()];
        each(store, &self.average, to.words, &arguments)
    }

    /// A share of `from` for every row.
    pub fn average_grad(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        rows: usize,
    ) -> Result<(), Failure> {
        let share = 1.0 / rows.max(1) as f32;
        let arguments = [to.into(), from.into(), to.words.into(), from.words.into(), share.into()];
        each(store, &self.average_grad, to.words, &arguments)
    }
}

/// A number of each row's sequence.
fn of_rows(bounds: &[usize], number: impl Fn(&[usize]) -> usize) -> Vec<u32> {
    let sequences = bounds.windows(2);
    sequences.flat_map(|pair| std::iter::repeat_n(number(pair) as u32, pair[1] - pair[0])).collect()
}
