//! What runs a model's nodes: the processor, or kernels on a device. The walk ([`crate::model::walk`]) says
//! what happens to which tensors, in one place; a back end is how.

use std::borrow::Cow;

use lrc_compiler::form::elementwise::InPlace;
use lrc_compiler::graph::Recur;
use lrc_compiler::tile::Number;

use super::collectives::Collectives;
use super::store::{Store, Tensor, Traffic};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ops::dense::{Dense, Sizes};
use crate::ops::experts;
use crate::ops::loss::{Blocks, SaidRow};

/// What a pointwise node runs on. Its gradient has `d_out`; `outputs` are then the gradients of the
/// wanted inputs, and gradients of parameters are added to `grads`.
#[derive(Clone, Debug)]
pub struct Pointwise<'a> {
    /// The node.
    pub at: usize,
    /// Rows; 1 where the output has a single one.
    pub rows: usize,
    /// The position of each row in its sequence.
    pub positions: &'a [u32],
    /// As many rows, or one.
    pub inputs: &'a [Tensor],
    /// Which inputs have a single row.
    pub once: &'a [bool],
    /// Parameters.
    pub params: &'a [Tensor],
    /// What flows into the output, on the way back.
    pub d_out: Option<Tensor>,
    /// What is written.
    pub outputs: &'a [Tensor],
    /// What is added to.
    pub grads: &'a [Tensor],
}

/// Which of a node's calls: there are several where sequences go on from one process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The only one, or that of the sequences that begin here.
    Own,
    /// Of the sequence that goes on here.
    Head,
    /// Of what a segment does to states.
    Transition,
}

/// What a recurrence runs on.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The forward node.
    pub at: usize,
    /// Which of its calls.
    pub part: Part,
    /// The recurrence.
    pub recur: &'a Recur,
    /// Row at which each sequence starts, and the total.
    pub bounds: &'a [usize],
    /// Inputs, then parameters.
    pub operands: &'a [Tensor],
    /// States before the first token, where given.
    pub initial: &'a [Option<Tensor>],
}

/// What flows into a recurrence from behind, and where its gradients go.
#[derive(Clone, Copy, Debug)]
pub struct Flows<'a> {
    /// Per output.
    pub outs: &'a [Option<Tensor>],
    /// Per state after the last token, where anything flows into states.
    pub finals: &'a [Tensor],
    /// The gradients of inputs, then of parameters.
    pub to: &'a [Tensor],
    /// Those of the states before the first token, where anybody asks.
    pub initial: &'a [Tensor],
    /// Nothing flows into the outputs of each sequence before this row of it.
    pub first: usize,
    /// Whether the same call comes again.
    pub again: bool,
}

impl<'a> Flows<'a> {
    /// Gradients of outputs alone, and of operands alone.
    pub fn of(outs: &'a [Option<Tensor>], to: &'a [Tensor]) -> Flows<'a> {
        Flows { outs, finals: &[], to, initial: &[], first: 0, again: false }
    }
}

/// A block of rows of logits and what they should say.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// `[rows, vocab]`.
    pub logits: Tensor,
    /// Of each row.
    pub targets: &'a [u32],
    /// Numbers of a row.
    pub vocab: usize,
    /// The soft cap of logits, if they have one.
    pub cap: Option<f32>,
    /// Where a gradient is wanted.
    pub gradient: Option<LossGradient>,
}

/// The gradient of a loss. It takes the place of the logits, but for a factor that each row is to be
/// multiplied by: rows of hidden states are shorter.
#[derive(Clone, Copy, Debug)]
pub struct LossGradient {
    /// The weight of a row.
    pub scale: f32,
    /// The weight of `ln²Z`: see [`crate::ops::loss::gradient`].
    pub z: f32,
    /// The factor of each row.
    pub factors: Tensor,
}

/// Numbers that become 0 with a probability: which ones follows from `draws`, `number`, row and column.
#[derive(Clone, Copy, Debug)]
pub struct Drop {
    /// The probability; below 1.
    pub rate: f64,
    /// Of the node.
    pub number: usize,
    /// Of the step and its part.
    pub draws: u64,
    /// Numbers of a row.
    pub width: usize,
    /// The number of the first row.
    pub first: usize,
}

impl Drop {
    /// Of 32 random bits, those below this drop a number.
    pub fn least(&self) -> u32 {
        (self.rate * 4_294_967_296.0) as u32
    }

    /// What the rows of the node draw from: row `r` the stream with this seed and the item `r`.
    pub fn of_node(&self) -> u64 {
        Stream::new(self.draws, Purpose::Dropout, self.number as u64).wide()
    }
}

/// What was remembered while a step ran, each in its order.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Of all asked rows.
    pub rows: Vec<SaidRow>,
    /// Single numbers.
    pub numbers: Vec<f32>,
    /// Norms.
    pub norms: Vec<f64>,
}

/// A formula that treats every number alone, made ready by [`Backend::compile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elementwise(pub usize);

/// What a place says that works with no other one.
fn alone() -> Failure {
    Failure::World("the devices of the processes have not met".into())
}

/// A place where models run.
pub trait Backend {
    /// A tensor with arbitrary contents, of numbers that are held so.
    fn alloc_as(&mut self, name: &str, count: usize, number: Number) -> Result<Tensor, Failure>;

    /// The same of f32.
    fn alloc(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        self.alloc_as(name, words, Number::F32)
    }

    /// A tensor that is kept from step to step.
    fn keep_as(&mut self, name: &str, count: usize, number: Number) -> Result<Tensor, Failure> {
        self.alloc_as(name, count, number)
    }

    /// Whether recurrences can read and write from where a part of a tensor begins.
    fn reaches(&self, _: Tensor) -> bool {
        true
    }

    /// Gives a whole tensor back, but none that is kept.
    fn free(&mut self, tensor: Tensor);

    /// Says that nobody has written what a tensor is to hold next, for places that check it.
    fn forget(&mut self, _: Tensor, _: &dyn Fn() -> String) -> Result<(), Failure> {
        Ok(())
    }

    /// Tensors of so many numbers, held so, instead of those whose contents nobody needs any more.
    fn replace(
        &mut self,
        slots: &mut Vec<Tensor>,
        name: &str,
        wanted: &[(usize, Number)],
    ) -> Result<(), Failure> {
        // All are given back before any is taken: what is taken does not depend on what was there.
        slots.drain(..).for_each(|slot| self.free(slot));
        for (words, number) in wanted {
            slots.push(self.alloc_as(name, *words, *number)?);
        }
        Ok(())
    }

    /// From here on, what is started is a list, as far as it can be started as a whole: see [`super::replay`].
    fn open(&mut self) {}

    /// The list ends; all of it is started.
    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Operations a second of dense products that the device's maker states, where that is known.
    fn stated_peak(&self) -> Option<f64> {
        None
    }

    /// What went between the host and the device so far, where there is one.
    fn traffic(&self) -> Option<Traffic> {
        None
    }

    /// Why lists could not be started as a whole, each reason once.
    fn refusals(&self) -> &[String] {
        &[]
    }

    /// Fills with zeros.
    fn clear(&mut self, tensor: Tensor) -> Result<(), Failure>;

    /// Writes numbers.
    fn write(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure>;

    /// The numbers, after everything before has run.
    fn read(&self, tensor: Tensor) -> Result<Cow<'_, [f32]>, Failure>;

    /// Numbers to which parameters are filled up, where all of one kind lie in one tensor.
    fn piece(&self) -> Option<usize>;

    /// The most memory that tensors have taken at a time, in numbers of four bytes.
    fn most_held(&self) -> usize;

    /// Kernels and dense products started so far, where there are kernels.
    fn started(&self) -> Option<[u64; 2]> {
        None
    }

    /// Begins a batch: nothing of the one before is in use any more.
    fn begin(&mut self) {}

    /// What of the logits is in memory at a time.
    fn logits(&self) -> Blocks;

    /// A dense product; see [`Dense`] for the shapes.
    fn dense(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        sizes: Sizes,
    ) -> Result<(), Failure>;

    /// `to[r] = table[which[r]]`, rows of `width` numbers.
    fn gather(
        &mut self,
        to: Tensor,
        table: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure>;

    /// `to[which[r]] = from[r]`; no row is named twice.
    fn scatter(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure>;

    /// `to[which[r]] += from[r]`; rows that are named more than once add up in their order.
    fn collect(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure>;

    /// `to = Σ from`.
    fn sum(&mut self, to: Tensor, from: &[Tensor]) -> Result<(), Failure>;

    /// Each row times its factor.
    fn scale_rows(&mut self, rows: Tensor, factors: Tensor, width: usize) -> Result<(), Failure>;

    /// A pointwise node or its gradient.
    fn pointwise(&mut self, on: &Pointwise) -> Result<(), Failure>;

    /// A recurrence. Gives the states after the last token; with `keep` what the way back needs stays.
    fn recur(&mut self, call: &Call, outs: &[Tensor], keep: bool) -> Result<Vec<Tensor>, Failure>;

    /// The outputs of a recurrence of one sequence for its rows from `from` on; rows before are read only. With `keep` what the
    /// way back needs stays.
    fn recur_last(
        &mut self,
        call: &Call,
        outs: &[Tensor],
        from: usize,
        keep: bool,
    ) -> Result<(), Failure> {
        let rows = call.bounds.last().copied().unwrap_or(0);
        let mut all = Vec::with_capacity(outs.len());
        for out in outs {
            let words = out.words / (rows - from) * rows;
            all.push(self.alloc_as("outputs of a text", words, out.number)?);
        }
        let finals = self.recur(call, &all, keep)?;
        for (to, all) in outs.iter().zip(&all) {
            self.sum(*to, &[all.part(all.words - to.words, to.words)])?;
        }
        finals.into_iter().chain(all).for_each(|tensor| self.free(tensor));
        Ok(())
    }

    /// The gradients of a recurrence's operands, from those of its outputs.
    fn recur_grad(&mut self, call: &Call, flows: &Flows) -> Result<(), Failure>;

    /// The loss of a block of rows, remembered until [`Backend::said`].
    fn cross_entropy(&mut self, on: &CrossEntropy) -> Result<(), Failure>;

    /// A number that is remembered likewise, whatever becomes of its tensor.
    fn keep(&mut self, number: Tensor) -> Result<(), Failure>;

    /// The norm of tensors, as one, that is remembered likewise.
    fn squares(&mut self, of: &[Tensor]) -> Result<(), Failure>;

    /// What was remembered since the last call, after everything before has run; on a device it is read at once.
    fn said(&mut self) -> Result<Said, Failure>;

    /// Sets numbers to 0, and makes the others larger so that their mean stays.
    fn drop_out(&mut self, to: Tensor, from: Tensor, drop: Drop) -> Result<(), Failure>;

    /// See [`experts::route`]: numbers and weights of the experts of each row.
    fn route(&mut self, to: [Tensor; 2], weights: Tensor, sizes: [usize; 2])
    -> Result<(), Failure>;

    /// The gradient of [`Backend::route`] by the weights, from the numbers and the gradients of those kept.
    fn route_grad(
        &mut self,
        to: Tensor,
        from: [Tensor; 2],
        sizes: [usize; 2],
    ) -> Result<(), Failure>;

    /// A product by expert: see [`experts::forward`], [`experts::grad_input`], [`experts::grad_weight`]
    /// for the operands, in their order without the numbers of the experts.
    fn expert(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        ids: Tensor,
        sizes: experts::Sizes,
    ) -> Result<(), Failure>;

    /// `y[t] = Σ_{s ≤ t} h[t - s] x[s]` per channel and sequence.
    fn long_conv(
        &mut self,
        y: Tensor,
        from: [Tensor; 2],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure>;

    /// The last rows of [`Backend::long_conv`] of one sequence, as many as `y` has.
    fn long_conv_last(
        &mut self,
        y: Tensor,
        from: [Tensor; 2],
        width: usize,
    ) -> Result<(), Failure> {
        let all = self.alloc("outputs of a text", from[0].words)?;
        self.long_conv(all, from, &[0, from[0].words / width], width)?;
        self.sum(y, &[all.part(all.words - y.words, y.words)])?;
        self.free(all);
        Ok(())
    }

    /// The gradients of [`Backend::long_conv`] by `x` and `h`, from these and that of `y`.
    fn long_conv_grad(
        &mut self,
        to: [Tensor; 2],
        from: [Tensor; 3],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure>;

    /// The mean over rows.
    fn average(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure>;

    /// A share of `from` for every row.
    fn average_grad(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure>;

    /// Makes a formula ready that treats every number alone.
    fn compile(&mut self, name: &str, formula: InPlace) -> Result<Elementwise, Failure>;

    /// Runs such a formula on tensors that it updates and others that it reads, all of one size.
    fn elementwise(
        &mut self,
        program: Elementwise,
        state: &[Tensor],
        given: &[Tensor],
        numbers: &[f32],
    ) -> Result<(), Failure>;

    /// Lets the devices of several processes work together from here on; the processor has none.
    fn join(&mut self, _: Box<dyn Collectives>) {}

    /// What they work together by, and the memory that they do it in.
    fn joined(&mut self) -> Option<(&mut dyn Collectives, &mut Store)> {
        None
    }

    /// See [`Collectives::reduce`].
    fn reduce(&mut self, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let (collectives, store) = self.joined().ok_or_else(alone)?;
        collectives.reduce(store, each)
    }

    /// See [`Collectives::broadcast`].
    fn broadcast(&mut self, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let (collectives, store) = self.joined().ok_or_else(alone)?;
        collectives.broadcast(store, each)
    }

    /// The norm of tensors, as one, where nothing else is remembered.
    fn norm(&mut self, of: &[Tensor]) -> Result<f64, Failure> {
        self.squares(of)?;
        Ok(self.said()?.norms.pop().unwrap_or(f64::NAN))
    }

    /// `to = from / ‖from‖`, all of one size; nothing is divided by less than 1e-7.
    fn unit(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure>;

    /// `to[c, r] = from[r, c]`.
    fn transpose(&mut self, to: Tensor, from: Tensor, shape: [usize; 2]) -> Result<(), Failure>;

    /// `to = from`, rounded as `to` holds numbers.
    fn convert(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure>;
}
