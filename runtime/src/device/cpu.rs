//! The processor as a back end: loops, products and forms over vectors.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use half::bf16;
use lrc_compiler::form::attention::Attention;
use lrc_compiler::form::elementwise::InPlace;
use lrc_compiler::form::rows::{Rows, RowsBackward, RowsInput};
use lrc_compiler::form::{Form, Kept};
use lrc_compiler::graph::{Kind, Prepared, ValueId};
use lrc_compiler::memory;
use lrc_compiler::tile::Number;
use rayon::prelude::*;

use super::backend::{
    Backend, Call, CrossEntropy, Drop, Elementwise, Flows, LossGradient, Part, Pointwise, Said,
};
use super::store::Tensor;
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ops::dense::{self, Dense, Sizes};
use crate::ops::loss::{self, Blocks, SaidRow};
use crate::ops::norm::norm;
use crate::ops::rows::{self, add};
use crate::ops::{experts, longconv};

/// Numbers that one thread adds at a time.
const SHARE: usize = 1 << 15;

/// The processor.
#[derive(Default)]
pub struct Cpu {
    pub(super) slots: Vec<Vec<f32>>,
    free: Vec<usize>,
    rows: HashMap<usize, Rows>,
    rows_grad: HashMap<usize, RowsBackward>,
    /// The form of each recurrence, for the longest sequence that it was made for.
    pub(super) forms: HashMap<(usize, Part), (usize, Arc<Form>)>,
    /// The form of a recurrence for one token at the end of a text, where it reads the past itself.
    pub(super) singles: HashMap<usize, Option<Arc<Attention>>>,
    pub(super) kept: HashMap<(usize, Part), Kept<f32>>,
    said: Said,
    formulas: Vec<InPlace>,
    /// Numbers of all tensors now, and at most so far.
    held: [usize; 2],
}

impl Cpu {
    /// Plans what a model's nodes do.
    pub fn new(prepared: &Prepared) -> Cpu {
        let graph = &prepared.model.graph;
        let once = |values: &[ValueId]| -> Vec<bool> {
            values.iter().map(|value| graph.value(*value).once).collect()
        };
        let mut cpu = Cpu::default();
        for (at, node) in graph.nodes.node_weights().enumerate() {
            match &node.kind {
                Kind::Rows(program) => {
                    let output = graph.value(node.outputs[0]).once;
                    cpu.rows.insert(at, Rows::new(program, &once(&node.inputs), output));
                }
                Kind::RowsGrad(grad) => {
                    let output = graph.value(node.inputs[grad.inputs]).once;
                    let inputs = once(&node.inputs[..grad.inputs]);
                    cpu.rows_grad.insert(at, RowsBackward::new(grad, &inputs, output));
                }
                _ => {}
            }
        }
        cpu
    }

    pub(super) fn get(&self, tensor: Tensor) -> &[f32] {
        &self.slots[tensor.slot][tensor.start..tensor.start + tensor.words]
    }

    pub(super) fn all(&self, tensors: &[Tensor]) -> Vec<&[f32]> {
        tensors.iter().map(|tensor| self.get(*tensor)).collect()
    }

    /// Lets `run` write tensors while it reads others.
    pub(super) fn with<const N: usize>(
        &mut self,
        to: [Tensor; N],
        run: impl FnOnce(&Cpu, [&mut [f32]; N]),
    ) -> Result<(), Failure> {
        let mut own = to.map(|tensor| std::mem::take(&mut self.slots[tensor.slot]));
        let mut parts = to.iter();
        let slices = own.each_mut().map(|data| match parts.next() {
            Some(part) => &mut data[part.start..part.start + part.words],
            None => &mut [][..],
        });
        run(self, slices);
        for (tensor, data) in to.into_iter().zip(own) {
            self.slots[tensor.slot] = data;
            self.round(tensor);
        }
        Ok(())
    }

    /// Rounds what was written into a tensor that stands for one of bf16; the processor holds f32.
    pub(super) fn round(&mut self, tensor: Tensor) {
        if tensor.number == Number::Bf16 {
            let data = &mut self.slots[tensor.slot][tensor.start..tensor.start + tensor.words];
            data.par_chunks_mut(SHARE).flatten().for_each(|x| *x = bf16::from_f32(*x).to_f32());
        }
    }

    pub(super) fn hold(&mut self, data: Vec<f32>) -> Tensor {
        let words = data.len();
        self.holds([0, words]);
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(data);
        } else {
            self.slots[slot] = data;
        }
        Tensor { slot, start: 0, words, number: Number::F32 }
    }

    /// Whether a tensor is all that its slot holds.
    pub(super) fn all_of(&self, tensor: Tensor) -> bool {
        tensor.start == 0 && self.slots[tensor.slot].len() <= tensor.words
    }

    /// Puts what was computed where it belongs.
    pub(super) fn put(&mut self, tensor: Tensor, data: Vec<f32>) {
        let whole = self.all_of(tensor);
        let slot = &mut self.slots[tensor.slot];
        if whole {
            memory::give(std::mem::replace(slot, data));
        } else {
            slot[tensor.start..tensor.start + tensor.words].copy_from_slice(&data);
            memory::give(data);
        }
        self.round(tensor);
    }

    /// Counts numbers that came in place of others.
    fn holds(&mut self, [before, now]: [usize; 2]) {
        let [held, most] = &mut self.held;
        *held = (*held + now).saturating_sub(before);
        *most = (*most).max(*held);
    }
}

impl Backend for Cpu {
    fn alloc_as(&mut self, _: &str, count: usize, number: Number) -> Result<Tensor, Failure> {
        Ok(Tensor { number, ..self.hold(memory::take(count)) })
    }

    fn free(&mut self, tensor: Tensor) {
        memory::give(std::mem::take(&mut self.slots[tensor.slot]));
        self.free.push(tensor.slot);
        self.holds([tensor.words, 0]);
    }

    fn replace(
        &mut self,
        slots: &mut Vec<Tensor>,
        name: &str,
        wanted: &[(usize, Number)],
    ) -> Result<(), Failure> {
        for (at, (words, number)) in wanted.iter().enumerate() {
            match slots.get_mut(at) {
                Some(slot) => {
                    self.slots[slot.slot].resize(*words, 0.0);
                    self.holds([slot.words, *words]);
                    *slot = Tensor { words: *words, number: *number, ..*slot };
                }
                None => slots.push(self.alloc_as(name, *words, *number)?),
            }
        }
        Ok(())
    }

    fn clear(&mut self, tensor: Tensor) -> Result<(), Failure> {
        self.with([tensor], |_, [to]| to.par_chunks_mut(SHARE).for_each(|part| part.fill(0.0)))
    }

    fn write(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure> {
        self.with([tensor], |_, [to]| to[..data.len()].copy_from_slice(data))
    }

    fn read(&self, tensor: Tensor) -> Result<Cow<'_, [f32]>, Failure> {
        Ok(Cow::Borrowed(self.get(tensor)))
    }

    fn piece(&self) -> Option<usize> {
        None
    }

    fn most_held(&self) -> usize {
        let [_, most] = self.held;
        most
    }

    fn begin(&mut self) {
        self.kept.clear();
    }

    fn logits(&self) -> Blocks {
        Blocks::NEAR
    }

    fn dense(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        sizes: Sizes,
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| dense::run(kind, to, from.map(|f| cpu.get(f)), sizes))
    }

    fn gather(
        &mut self,
        to: Tensor,
        table: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::gather(to, cpu.get(table), which, width))
    }

    fn scatter(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::scatter(to, cpu.get(from), which, width))
    }

    fn collect(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::collect(to, cpu.get(from), which, width))
    }

    fn sum(&mut self, to: Tensor, from: &[Tensor]) -> Result<(), Failure> {
        let Some((first, rest)) = from.split_first() else { return self.clear(to) };
        self.with([to], |cpu, [to]| {
            to.copy_from_slice(cpu.get(*first));
            for from in rest {
                let from = cpu.get(*from).par_chunks(SHARE);
                to.par_chunks_mut(SHARE).zip(from).for_each(|(to, d)| add(to, d));
            }
        })
    }

    fn scale_rows(&mut self, rows: Tensor, factors: Tensor, width: usize) -> Result<(), Failure> {
        self.with([rows], |cpu, [rows]| rows::scale(rows, cpu.get(factors), width))
    }

    fn pointwise(&mut self, on: &Pointwise) -> Result<(), Failure> {
        let own = on.outputs.iter().map(|t| std::mem::take(&mut self.slots[t.slot]));
        let mut outputs: Vec<Vec<f32>> = own.collect();
        let input = RowsInput {
            inputs: self.all(on.inputs),
            once: on.once,
            params: self.all(on.params),
            positions: on.positions,
            rows: on.rows,
        };
        let grads = match on.d_out {
            None => {
                self.rows[&on.at].forward(&input, &mut outputs[0]);
                vec![]
            }
            Some(d) => self.rows_grad[&on.at].backward(&input, self.get(d), &mut outputs),
        };
        for (tensor, data) in on.outputs.iter().zip(outputs) {
            self.slots[tensor.slot] = data;
            self.round(*tensor);
        }
        on.grads.iter().zip(grads).try_for_each(|(to, d)| self.with([*to], |_, [to]| add(to, &d)))
    }

    fn recur(&mut self, call: &Call, outs: &[Tensor], keep: bool) -> Result<Vec<Tensor>, Failure> {
        self.forward(call, outs, keep)
    }

    fn recur_last(
        &mut self,
        call: &Call,
        outs: &[Tensor],
        from: usize,
        keep: bool,
    ) -> Result<(), Failure> {
        self.forward_last(call, outs, from, keep)
    }

    fn recur_grad(&mut self, call: &Call, flows: &Flows) -> Result<(), Failure> {
        self.backward(call, flows)
    }

    fn cross_entropy(&mut self, on: &CrossEntropy) -> Result<(), Failure> {
        let (vocab, targets) = (on.vocab, on.targets);
        let mut made: Vec<(SaidRow, f32)> = Vec::new();
        self.with([on.logits], |_, [logits]| {
            let rows = logits.par_chunks_exact_mut(vocab).zip(targets);
            let one = |(logits, target): (&mut [f32], &u32)| {
                loss::capped(logits, on.cap);
                match on.gradient {
                    Some(LossGradient { z, .. }) => loss::gradient(logits, *target, z, on.cap),
                    None => (loss::said(logits, *target), 1.0),
                }
            };
            made = rows.map(one).collect();
        })?;
        if let Some(LossGradient { scale, factors, .. }) = on.gradient {
            self.with([factors], |_, [factors]| {
                factors.iter_mut().zip(&made).for_each(|(to, (_, sum))| *to = scale / sum);
            })?;
        }
        self.said.rows.extend(made.into_iter().map(|(row, _)| row));
        Ok(())
    }

    fn keep(&mut self, number: Tensor) -> Result<(), Failure> {
        let number = self.get(number)[0];
        self.said.numbers.push(number);
        Ok(())
    }

    fn squares(&mut self, of: &[Tensor]) -> Result<(), Failure> {
        let norm = norm(&self.all(of));
        self.said.norms.push(norm);
        Ok(())
    }

    fn said(&mut self) -> Result<Said, Failure> {
        Ok(std::mem::take(&mut self.said))
    }

    fn drop_out(&mut self, to: Tensor, from: Tensor, drop: Drop) -> Result<(), Failure> {
        let kept = (1.0 / (1.0 - drop.rate)) as f32;
        let (least, node) = (drop.least(), drop.of_node());
        self.with([to], |cpu, [to]| {
            to.copy_from_slice(cpu.get(from));
            to.par_chunks_exact_mut(drop.width.max(1)).enumerate().for_each(|(row, data)| {
                let mut random = Stream::new(node, Purpose::Dropout, (drop.first + row) as u64);
                for x in data {
                    *x = if random.bits() < least { 0.0 } else { *x * kept };
                }
            });
        })
    }

    fn route(
        &mut self,
        to: [Tensor; 2],
        weights: Tensor,
        [count, slots]: [usize; 2],
    ) -> Result<(), Failure> {
        self.with(to, |cpu, [ids, kept]| {
            experts::route(cpu.get(weights), count, slots, ids, kept);
        })
    }

    fn route_grad(
        &mut self,
        to: Tensor,
        [ids, d]: [Tensor; 2],
        [count, slots]: [usize; 2],
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| {
            experts::route_grad(cpu.get(ids), cpu.get(d), count, slots, to);
        })
    }

    fn expert(
        &mut self,
        kind: Dense,
        to: Tensor,
        [a, b]: [Tensor; 2],
        ids: Tensor,
        sizes: experts::Sizes,
    ) -> Result<(), Failure> {
        let run = match kind {
            Dense::Forward => experts::forward,
            Dense::GradInput => experts::grad_input,
            Dense::GradWeight => experts::grad_weight,
        };
        self.with([to], |cpu, [to]| run(to, cpu.get(a), cpu.get(b), cpu.get(ids), sizes))
    }

    fn long_conv(
        &mut self,
        y: Tensor,
        [x, h]: [Tensor; 2],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        self.with([y], |cpu, [y]| longconv::forward(y, cpu.get(x), cpu.get(h), bounds, width))
    }

    fn long_conv_last(
        &mut self,
        y: Tensor,
        [x, h]: [Tensor; 2],
        width: usize,
    ) -> Result<(), Failure> {
        // A whole text is faster by Fourier transforms.
        if y.words == x.words {
            return self.long_conv(y, [x, h], &[0, x.words / width], width);
        }
        self.with([y], |cpu, [y]| longconv::last(y, cpu.get(x), cpu.get(h), width))
    }

    fn long_conv_grad(
        &mut self,
        to: [Tensor; 2],
        from: [Tensor; 3],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        self.with(to, |cpu, to| longconv::backward(to, from.map(|t| cpu.get(t)), bounds, width))
    }

    fn average(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::average(to, cpu.get(from), rows))
    }

    fn average_grad(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure> {
        let share = 1.0 / rows.max(1) as f32;
        self.with([to], |cpu, [to]| rows::spread(to, cpu.get(from), share))
    }

    fn compile(&mut self, _: &str, formula: InPlace) -> Result<Elementwise, Failure> {
        self.formulas.push(formula);
        Ok(Elementwise(self.formulas.len() - 1))
    }

    fn elementwise(
        &mut self,
        formula: Elementwise,
        state: &[Tensor],
        given: &[Tensor],
        numbers: &[f32],
    ) -> Result<(), Failure> {
        let own = state.iter().map(|t| std::mem::take(&mut self.slots[t.slot]));
        let mut own: Vec<Vec<f32>> = own.collect();
        let slices = own.iter_mut().zip(state);
        let slices = slices.map(|(data, t)| &mut data[t.start..t.start + t.words]);
        self.formulas[formula.0].run(slices.collect(), &self.all(given), numbers);
        for (tensor, data) in state.iter().zip(own) {
            self.slots[tensor.slot] = data;
        }
        Ok(())
    }

    fn norm(&mut self, of: &[Tensor]) -> Result<f64, Failure> {
        Ok(norm(&self.all(of)))
    }

    fn unit(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::unit(to, cpu.get(from)))
    }

    fn transpose(
        &mut self,
        to: Tensor,
        from: Tensor,
        [_, columns]: [usize; 2],
    ) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| rows::transpose(to, cpu.get(from), columns))
    }

    fn convert(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure> {
        self.with([to], |cpu, [to]| to.copy_from_slice(cpu.get(from)))
    }
}
