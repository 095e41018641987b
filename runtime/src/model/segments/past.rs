//! Nodes that read rows of earlier segments as they are: rows a few tokens back, keys, what a long filter runs over.

use lrc_compiler::form::rows::RowsGrad;
use lrc_compiler::graph::Recur;
use lrc_compiler::tile::Number;

use super::super::text::positions;
use super::super::walk::recurrence;
use super::{On, reads_back};
use crate::device::backend::{Call, Flows, Part, Pointwise};
use crate::device::store::Tensor;
use crate::ground::error::Failure;

impl On<'_, '_, '_> {
    /// Which rows of the whole a segment reads of another one, `reach` back or all that there are.
    fn wanted(&self, by: usize, of: usize, reach: Option<usize>) -> std::ops::Range<usize> {
        let (first, rows) = (self.segment.rows(by).start, self.segment.rows(of));
        let from = first - self.segment.before_of(by, reach);
        if of < by { from.max(rows.start)..rows.end.max(from) } else { first..first }
    }

    /// Rows before this segment that it reads.
    fn before(&self, reach: Option<usize>) -> usize {
        self.segment.before_of(self.segment.own, reach)
    }

    /// Fetches what earlier segments hold of the rows before this one; per tensor.
    fn fetch(&mut self, of: &[Tensor], reach: Option<usize>) -> Result<Vec<Vec<f32>>, Failure> {
        let (own, count) = (self.segment.own, self.segment.count());
        let start = self.segment.rows(own).start;
        let widths: Vec<usize> = of.iter().map(|tensor| self.width(*tensor)).collect();
        let (mut to, mut lengths) = (vec![], vec![]);
        for other in 0..count {
            let rows = self.wanted(other, own, reach);
            let mut words = vec![];
            for tensor in of.iter().filter(|_| !rows.is_empty()) {
                words.extend(self.read(self.some(*tensor, rows.start - start..rows.end - start))?);
            }
            to.push(words);
            lengths.push(self.wanted(own, other, reach).len() * widths.iter().sum::<usize>());
        }
        let said = self.exchange(to, &lengths)?;
        let mut all = vec![vec![]; of.len()];
        for (other, words) in said.iter().enumerate().take(own) {
            let (rows, mut rest) = (self.wanted(own, other, reach).len(), words.as_slice());
            for (width, all) in widths.iter().zip(&mut all) {
                let (mine, others) = rest.split_at(rows * width);
                all.extend_from_slice(mine);
                rest = others;
            }
        }
        Ok(all)
    }

    /// The same for those of some inputs that are picked.
    fn fetched(
        &mut self,
        inputs: &[Tensor],
        picked: &[bool],
        reach: Option<usize>,
    ) -> Result<Vec<Option<Vec<f32>>>, Failure> {
        let some = inputs.iter().zip(picked).filter(|(_, picked)| **picked);
        let some: Vec<Tensor> = some.map(|(input, _)| *input).collect();
        let mut fetched = self.fetch(&some, reach)?.into_iter();
        Ok(picked.iter().map(|picked| if *picked { fetched.next() } else { None }).collect())
    }

    /// Gives gradients of rows before this segment to those who hold these rows, and adds what others give to the own ones.
    fn give(
        &mut self,
        to: &[Tensor],
        given: &[Vec<f32>],
        reach: Option<usize>,
    ) -> Result<(), Failure> {
        let (own, count) = (self.segment.own, self.segment.count());
        let rows = self.segment.rows(own);
        let from = rows.start - self.segment.before_of(own, reach);
        let widths: Vec<usize> = to.iter().map(|tensor| self.width(*tensor)).collect();
        let (mut words, mut lengths) = (vec![], vec![]);
        for other in 0..count {
            let theirs = self.wanted(own, other, reach);
            let mut own_words = vec![];
            for (given, width) in given.iter().zip(&widths).filter(|_| !theirs.is_empty()) {
                let some = (theirs.start - from) * width..(theirs.end - from) * width;
                own_words.extend_from_slice(&given[some]);
            }
            words.push(own_words);
            lengths.push(self.wanted(other, own, reach).len() * widths.iter().sum::<usize>());
        }
        let said = self.exchange(words, &lengths)?;
        for (other, words) in said.iter().enumerate().skip(own + 1) {
            let (mine, mut rest) = (self.wanted(other, own, reach), words.as_slice());
            for (tensor, width) in to.iter().zip(&widths).filter(|_| !mine.is_empty()) {
                let (given, others) = rest.split_at(mine.len() * width);
                let part = self.some(*tensor, mine.start - rows.start..mine.end - rows.start);
                self.add(part, given)?;
                rest = others;
            }
        }
        Ok(())
    }

    /// Rows from before, then own ones, as one tensor.
    fn joined(&mut self, before: &[f32], own: Tensor) -> Result<Tensor, Failure> {
        let backend = &mut self.walk.parameters.backend;
        let words = before.len() + own.words;
        let all = backend.alloc_as("rows of a sequence", words, own.number)?;
        backend.write(all.part(0, before.len()), before)?;
        backend.sum(all.part(before.len(), own.words), &[own])?;
        Ok(all)
    }

    /// Which inputs of a node have a single row.
    fn once(&self, count: usize) -> Vec<bool> {
        let graph = &self.walk.model().graph;
        self.node.inputs[..count].iter().map(|value| graph.value(*value).once).collect()
    }

    /// Inputs with the rows before this segment, but for those of a single row.
    fn wide(
        &mut self,
        inputs: &[Tensor],
        once: &[bool],
        reach: Option<usize>,
    ) -> Result<Vec<Tensor>, Failure> {
        let several: Vec<bool> = once.iter().map(|once| !once).collect();
        let mut all = vec![];
        for (input, before) in inputs.iter().zip(self.fetched(inputs, &several, reach)?) {
            all.push(match before {
                Some(before) => self.joined(&before, *input)?,
                None => *input,
            });
        }
        Ok(all)
    }

    /// A pointwise node.
    pub(super) fn rows(
        &mut self,
        reach: usize,
        inputs: &[Tensor],
        output: Tensor,
    ) -> Result<(), Failure> {
        let once = self.once(inputs.len());
        let before = self.before(Some(reach));
        let all = self.wide(inputs, &once, Some(reach))?;
        self.walk.behind(self.at, self.node, before, &self.pass.positions, &all, output)?;
        let several = all.into_iter().zip(&once).filter(|(_, once)| !**once);
        self.free(several.map(|(all, _)| all));
        Ok(())
    }

    /// The gradient of a pointwise node.
    pub(super) fn rows_grad(
        &mut self,
        grad: &RowsGrad,
        reach: usize,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let count = grad.inputs;
        let once = self.once(count);
        let before = self.before(Some(reach));
        let all = self.wide(&inputs[..count], &once, Some(reach))?;
        let d_width = self.width(inputs[count]);
        // Nothing flows into rows that others hold.
        let d = self.joined(&vec![0.0; before * d_width], inputs[count])?;
        let params: Vec<Tensor> =
            self.node.params.iter().map(|param| self.walk.value(*param)).collect();
        let grads: Vec<Tensor> =
            self.node.gives.iter().map(|param| self.walk.grad(*param)).collect();
        let (rows, positions) =
            (before + self.pass.rows(), positions(before, &self.pass.positions));
        let mut made = vec![];
        for (input, to) in grad.wanted.iter().zip(outputs) {
            let words = if once[*input] { to.words } else { self.width(*to) * rows };
            let backend = &mut self.walk.parameters.backend;
            made.push(backend.alloc_as("gradients of rows", words, to.number)?);
        }
        self.walk.parameters.backend.pointwise(&Pointwise {
            at: self.at,
            rows,
            positions: &positions,
            inputs: &all,
            once: &once,
            params: &params,
            d_out: Some(d),
            outputs: &made,
            grads: &grads,
        })?;
        let (mut several, mut given) = (vec![], vec![]);
        for ((input, to), made) in grad.wanted.iter().zip(outputs).zip(&made) {
            let own = made.part(made.words - to.words, to.words);
            self.walk.parameters.backend.sum(*to, &[own])?;
            if !once[*input] {
                several.push(*to);
                given.push(self.read(made.part(0, made.words - to.words))?);
            }
        }
        self.give(&several, &given, Some(reach))?;
        let wide = all.into_iter().zip(&once).filter(|(_, once)| !**once).map(|(all, _)| all);
        self.free(wide.chain(made).chain([d]));
        Ok(())
    }

    /// Inputs of a recurrence for the sequence that goes on here: all rows of what is read back, zeros before the own ones of the
    /// others.
    fn sequence(
        &mut self,
        inputs: &[Tensor],
        back: &[bool],
        reach: Option<usize>,
    ) -> Result<Vec<Tensor>, Failure> {
        let fetched = self.fetched(inputs, back, reach)?;
        let (before, head) = (self.before(reach), self.split().0);
        let mut all = vec![];
        for (input, rows) in inputs.iter().zip(fetched).filter(|_| head > 0) {
            let rows = rows.unwrap_or_else(|| vec![0.0; before * self.width(*input)]);
            all.push(self.joined(&rows, self.some(*input, 0..head))?);
        }
        Ok(all)
    }

    /// The rows of this segment that go on with a sequence, and the bounds of the sequences that begin here.
    pub(super) fn split(&self) -> (usize, Vec<usize>) {
        let head = self.segment.head(self.segment.own);
        let begins = self.pass.bounds.iter().filter(|bound| **bound >= head);
        (head, begins.map(|bound| bound - head).collect())
    }

    /// A recurrence that reads the past itself.
    pub(super) fn gathered(
        &mut self,
        recur: &Recur,
        reach: Option<usize>,
        operands: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let keep = self.pass.training && self.walk.prepared.keeps[self.at];
        let ((head, bounds), rows) = (self.split(), self.pass.rows());
        let (inputs, params) = operands.split_at(recur.recurrence.inputs.len());
        let all = self.sequence(inputs, &reads_back(&recur.recurrence), reach)?;
        let initial = vec![None; recur.recurrence.states.len()];
        if head > 0 {
            let (before, own) = (self.before(reach), [all.as_slice(), params].concat());
            let to: Vec<Tensor> = outputs.iter().map(|out| self.some(*out, 0..head)).collect();
            let bounds = [0, before + head];
            let call = Call {
                at: self.at,
                part: Part::Head,
                recur,
                bounds: &bounds,
                operands: &own,
                initial: &initial,
            };
            self.walk.parameters.backend.recur_last(&call, &to, before, keep)?;
            self.walk.look(self.node, &call, &[], before)?;
        }
        if head < rows {
            let own = self.lend_all(inputs, &(head..rows))?;
            let own = [own.as_slice(), params].concat();
            let to = self.take_all(outputs, &(head..rows))?;
            let call = Call {
                at: self.at,
                part: Part::Own,
                recur,
                bounds: &bounds,
                operands: &own,
                initial: &initial,
            };
            let finals = self.walk.parameters.backend.recur(&call, &to, keep)?;
            self.walk.look(self.node, &call, &finals, 0)?;
            self.free(finals);
            self.settle()?;
        }
        self.free(all);
        Ok(())
    }

    /// The gradient of a recurrence that reads the past itself.
    pub(super) fn gathered_grad(
        &mut self,
        (of, outs): (usize, &[bool]),
        reach: Option<usize>,
        values: &[Tensor],
        to: &[Tensor],
    ) -> Result<(), Failure> {
        let forward = std::sync::Arc::clone(&self.walk.nodes[of]);
        let recur = recurrence(&forward);
        let (operands, flows) = values.split_at(forward.inputs.len());
        let d_outs = given(outs, flows);
        let ((head, bounds), rows) = (self.split(), self.pass.rows());
        let (inputs, params) = operands.split_at(recur.recurrence.inputs.len());
        let (to_inputs, to_params) = to.split_at(inputs.len());
        let back = reads_back(&recur.recurrence);
        let all = self.sequence(inputs, &back, reach)?;
        let initial = vec![None; recur.recurrence.states.len()];
        let mut before = vec![vec![]; back.iter().filter(|back| **back).count()];
        if head > 0 {
            before = self.gathered_head((of, recur), reach, [&all, params], &d_outs, to)?;
        }
        if head < rows {
            let own = [self.lend_all(inputs, &(head..rows))?.as_slice(), params].concat();
            let d = self.lend_some(&d_outs, &(head..rows))?;
            let call = Call {
                at: of,
                part: Part::Own,
                recur,
                bounds: &bounds,
                operands: &own,
                initial: &initial,
            };
            let rows = self.take_all(to_inputs, &(head..rows))?;
            self.beside(to_params, head > 0, |on, params| {
                let to = [rows.as_slice(), params].concat();
                on.walk.parameters.backend.recur_grad(&call, &Flows::of(&d, &to))
            })?;
            self.settle()?;
        }
        let given: Vec<Tensor> =
            to_inputs.iter().zip(&back).filter(|(_, back)| **back).map(|(to, _)| *to).collect();
        self.give(&given, &before, reach)?;
        self.free(all);
        Ok(())
    }

    /// The same for the sequence that goes on here; gives the gradients of the rows that others hold, of inputs that are read
    /// back.
    fn gathered_head(
        &mut self,
        (of, recur): (usize, &Recur),
        reach: Option<usize>,
        [all, params]: [&[Tensor]; 2],
        d_outs: &[Option<Tensor>],
        to: &[Tensor],
    ) -> Result<Vec<Vec<f32>>, Failure> {
        let (before, head) = (self.before(reach), self.split().0);
        let (to_inputs, to_params) = to.split_at(all.len());
        let mut d = vec![];
        for given in d_outs {
            d.push(match given {
                Some(given) => {
                    let zeros = vec![0.0; before * self.width(*given)];
                    Some(self.joined(&zeros, self.some(*given, 0..head))?)
                }
                None => None,
            });
        }
        let backend = &mut self.walk.parameters.backend;
        let mut made = vec![];
        for (all, to) in all.iter().zip(to_inputs) {
            made.push(backend.alloc_as("gradients of a sequence", all.words, to.number)?);
        }
        let operands = [all, params].concat();
        let initial = vec![None; recur.recurrence.states.len()];
        let bounds = [0, before + head];
        let call = Call {
            at: of,
            part: Part::Head,
            recur,
            bounds: &bounds,
            operands: &operands,
            initial: &initial,
        };
        let into = [made.as_slice(), to_params].concat();
        let flows = Flows { first: before, ..Flows::of(&d, &into) };
        backend.recur_grad(&call, &flows)?;
        let mut given = vec![];
        for ((made, to), back) in made.iter().zip(to_inputs).zip(reads_back(&recur.recurrence)) {
            let own = self.some(*to, 0..head);
            let backend = &mut self.walk.parameters.backend;
            backend.sum(own, &[made.part(made.words - own.words, own.words)])?;
            if back {
                given.push(self.read(made.part(0, made.words - own.words))?);
            }
        }
        self.free(made.into_iter().chain(d.into_iter().flatten()));
        Ok(given)
    }

    /// Writes gradients of parameters; where there are some already, these are added to them.
    pub(super) fn beside(
        &mut self,
        to: &[Tensor],
        more: bool,
        run: impl FnOnce(&mut Self, &[Tensor]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !more {
            return run(self, to);
        }
        let mut own = vec![];
        for to in to {
            let backend = &mut self.walk.parameters.backend;
            own.push(backend.alloc("gradients of parameters", to.words)?);
        }
        run(self, &own)?;
        for (to, own) in to.iter().zip(&own) {
            let more = self.read(*own)?;
            self.add(*to, &more)?;
        }
        self.free(own);
        Ok(())
    }

    /// A convolution as long as the sequence.
    pub(super) fn long_conv(&mut self, inputs: &[Tensor], output: Tensor) -> Result<(), Failure> {
        let ((head, bounds), rows) = (self.split(), self.pass.rows());
        let width = self.width(output);
        let all = self.sequence(inputs, &[true, true], None)?;
        if head > 0 {
            let to = self.some(output, 0..head);
            self.walk.parameters.backend.long_conv_last(to, [all[0], all[1]], width)?;
        }
        if head < rows {
            let from = self.lend_all(inputs, &(head..rows))?;
            let y = self.take_all(&[output], &(head..rows))?[0];
            self.walk.parameters.backend.long_conv(y, [from[0], from[1]], &bounds, width)?;
            self.settle()?;
        }
        self.free(all);
        Ok(())
    }

    /// Its gradient.
    pub(super) fn long_conv_grad(
        &mut self,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let ((head, bounds), rows) = (self.split(), self.pass.rows());
        let width = self.width(outputs[0]);
        let before = self.segment.before();
        let all = self.sequence(&inputs[..2], &[true, true], None)?;
        let mut given = vec![vec![]; 2];
        if head > 0 {
            let zeros = vec![0.0; before * width];
            let d = self.joined(&zeros, self.some(inputs[2], 0..head))?;
            let backend = &mut self.walk.parameters.backend;
            let made = [
                backend.alloc_as("gradients of a sequence", d.words, Number::F32)?,
                backend.alloc_as("gradients of a sequence", d.words, Number::F32)?,
            ];
            backend.long_conv_grad(made, [all[0], all[1], d], &[0, before + head], width)?;
            for (k, made) in made.iter().enumerate() {
                let own = self.some(outputs[k], 0..head);
                let backend = &mut self.walk.parameters.backend;
                backend.sum(own, &[made.part(made.words - own.words, own.words)])?;
                given[k] = self.read(made.part(0, made.words - own.words))?;
            }
            self.free(made.into_iter().chain([d]));
        }
        if head < rows {
            let from = self.lend_all(&inputs[..3], &(head..rows))?;
            let to = self.take_all(&outputs[..2], &(head..rows))?;
            let (to, from) = ([to[0], to[1]], [from[0], from[1], from[2]]);
            self.walk.parameters.backend.long_conv_grad(to, from, &bounds, width)?;
            self.settle()?;
        }
        self.give(&outputs[..2], &given, None)?;
        self.free(all);
        Ok(())
    }
}

/// Gradients of outputs, where there are any.
pub(super) fn given(outs: &[bool], flows: &[Tensor]) -> Vec<Option<Tensor>> {
    let mut flows = flows.iter().copied();
    outs.iter().map(|has| if *has { flows.next() } else { None }).collect()
}
