//! What a model remembers of a text that grows, and the nodes that need it.
//!
//! Every node of the graph keeps what it needs and no more: a recurrence that looks back through its
//! states only keeps those, shifted rows keep as many rows as they are shifted by, and what reads the
//! past itself, such as attention, keeps its inputs. All of it lies where the model runs.

use std::collections::HashMap;

use lrc_compiler::graph::{Kind, Node, Recur};
use lrc_compiler::tile::{Leaf, Program, Stream};

use super::walk::{Pass, Walk};
use crate::device::backend::{Call, Part, Pointwise};
use crate::device::store::Tensor;
use crate::ground::error::Failure;

/// What a node keeps of the tokens so far.
pub(super) enum Memory {
    /// The last rows of each input, as many as are read back; nothing of inputs of a single row.
    Rows(Vec<Option<Tensor>>),
    /// The states after the last token.
    States(Vec<Tensor>),
    /// All rows of each input, and room for more.
    Past(Vec<Tensor>),
}

/// A text that grows.
#[derive(Default)]
pub(super) struct Text {
    /// Tokens so far.
    pub tokens: usize,
    /// By node.
    memory: HashMap<usize, Memory>,
}

/// How many rows back a pointwise program reads.
pub(super) fn reach(program: &Program) -> usize {
    let lags = program.leaves().filter_map(|(_, leaf, _)| match leaf {
        Leaf::Read(Stream::Input(_), at) => at.lag(),
        _ => None,
    });
    lags.max().unwrap_or(0) as usize
}

/// Positions of rows from before, so many, and of own ones. Those from before count from 0, so that they read nothing before
/// themselves; what they give is not used.
pub(super) fn positions(before: usize, own: &[u32]) -> Vec<u32> {
    (0..before as u32).chain(own.iter().copied()).collect()
}

impl Text {
    /// The tensors that are remembered.
    pub fn tensors(self) -> Vec<Tensor> {
        let tensors = self.memory.into_values().flat_map(|memory| match memory {
            Memory::Rows(rows) => rows.into_iter().flatten().collect(),
            Memory::States(all) | Memory::Past(all) => all,
        });
        tensors.collect()
    }
}

impl Walk {
    /// Runs a node that depends on the tokens before those of this pass; says whether it is one.
    pub(super) fn grow(
        &mut self,
        at: usize,
        node: &Node,
        pass: &Pass,
        text: &mut Text,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<bool, Failure> {
        match &node.kind {
            Kind::Rows(program) => {
                let back = reach(program);
                if back == 0 || self.model().graph.value(node.outputs[0]).once {
                    return Ok(false);
                }
                self.grow_rows(at, node, back, pass, text, inputs, outputs[0])?;
            }
            Kind::Recur(recur) if recur.recurrence.is_local() => {
                self.grow_states(at, recur, pass, text, inputs, outputs)?;
            }
            Kind::Recur(recur) => {
                let (new, params) = inputs.split_at(recur.recurrence.inputs.len());
                let past = self.past(at, pass, text, new)?;
                let operands = [past.as_slice(), params].concat();
                let bounds = [0, text.tokens + pass.rows()];
                let initial = vec![None; recur.recurrence.states.len()];
                let call = Call {
                    at,
                    part: Part::Own,
                    recur,
                    bounds: &bounds,
                    operands: &operands,
                    initial: &initial,
                };
                self.parameters.backend.recur_last(&call, outputs, text.tokens, false)?;
            }
            Kind::LongConv => {
                let past = self.past(at, pass, text, inputs)?;
                let (from, width) = ([past[0], past[1]], self.width(node.outputs[0]));
                self.parameters.backend.long_conv_last(outputs[0], from, width)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs a pointwise node on the rows it keeps and the new ones.
    fn grow_rows(
        &mut self,
        at: usize,
        node: &Node,
        back: usize,
        pass: &Pass,
        text: &mut Text,
        inputs: &[Tensor],
        output: Tensor,
    ) -> Result<(), Failure> {
        let (count, before) = (pass.rows(), back.min(text.tokens));
        let graph = &self.prepared().model.graph;
        let once: Vec<bool> = node.inputs.iter().map(|value| graph.value(*value).once).collect();
        let kept = match text.memory.remove(&at) {
            Some(Memory::Rows(rows)) => rows,
            _ => vec![None; inputs.len()],
        };
        let (keep, mut joined, mut last) = (back.min(text.tokens + count), vec![], vec![]);
        let backend = &mut *self.parameters.backend;
        for ((new, kept), once) in inputs.iter().zip(kept).zip(&once) {
            if *once {
                joined.push(*new);
                last.push(None);
                continue;
            }
            let width = new.words / count;
            let all = backend.alloc_as("rows of a text", (before + count) * width, new.number)?;
            if let Some(kept) = kept {
                backend.sum(all.part(0, kept.words), &[kept])?;
                backend.free(kept);
            }
            backend.sum(all.part(before * width, new.words), &[*new])?;
            let end = backend.alloc_as("last rows of a text", keep * width, new.number)?;
            backend.sum(end, &[all.part(all.words - end.words, end.words)])?;
            joined.push(all);
            last.push(Some(end));
        }
        self.behind(at, node, before, &pass.positions, &joined, output)?;
        let made = joined.into_iter().zip(&once).filter(|(_, once)| !**once);
        made.for_each(|(all, _)| self.parameters.backend.free(all));
        text.memory.insert(at, Memory::Rows(last));
        Ok(())
    }

    /// Runs a pointwise node on rows that lie before a batch, so many, and on its own ones; only what it gives of these is used.
    pub(super) fn behind(
        &mut self,
        at: usize,
        node: &Node,
        before: usize,
        own: &[u32],
        inputs: &[Tensor],
        output: Tensor,
    ) -> Result<(), Failure> {
        let graph = &self.prepared().model.graph;
        let once: Vec<bool> = node.inputs.iter().map(|value| graph.value(*value).once).collect();
        let params: Vec<Tensor> = node.params.iter().map(|param| self.value(*param)).collect();
        let positions = positions(before, own);
        let (rows, words) = (positions.len(), output.words / own.len() * positions.len());
        let backend = &mut *self.parameters.backend;
        let wide = backend.alloc_as("rows of a text", words, output.number)?;
        backend.pointwise(&Pointwise {
            at,
            rows,
            positions: &positions,
            inputs,
            once: &once,
            params: &params,
            d_out: None,
            outputs: &[wide],
            grads: &[],
        })?;
        backend.sum(output, &[wide.part(words - output.words, output.words)])?;
        backend.free(wide);
        Ok(())
    }

    /// Runs a recurrence from the states that it keeps.
    fn grow_states(
        &mut self,
        at: usize,
        recur: &Recur,
        pass: &Pass,
        text: &mut Text,
        operands: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let kept = match text.memory.remove(&at) {
            Some(Memory::States(states)) => states,
            _ => vec![],
        };
        let states = 0..recur.recurrence.states.len();
        let initial: Vec<Option<Tensor>> = states.map(|k| kept.get(k).copied()).collect();
        let call =
            Call { at, part: Part::Own, recur, bounds: pass.bounds, operands, initial: &initial };
        let finals = self.parameters.backend.recur(&call, outputs, false)?;
        kept.into_iter().for_each(|state| self.parameters.backend.free(state));
        text.memory.insert(at, Memory::States(finals));
        Ok(())
    }

    /// All rows of a node's inputs, with the new ones.
    fn past(
        &mut self,
        at: usize,
        pass: &Pass,
        text: &mut Text,
        new: &[Tensor],
    ) -> Result<Vec<Tensor>, Failure> {
        let kept = match text.memory.remove(&at) {
            Some(Memory::Past(kept)) => kept,
            _ => vec![],
        };
        let (mut room, mut all) = (vec![], vec![]);
        for (i, new) in new.iter().enumerate() {
            let width = new.words / pass.rows();
            let (old, words) = (text.tokens * width, text.tokens * width + new.words);
            let own = self.room(kept.get(i).copied(), old, Tensor { words, ..*new })?;
            self.parameters.backend.sum(own.part(old, new.words), &[*new])?;
            room.push(own);
            all.push(own.part(0, words));
        }
        text.memory.insert(at, Memory::Past(room));
        Ok(all)
    }

    /// A tensor with room for as many numbers as one has, and the first ones of another, which is the same one
    /// where that is large enough; else it has room for as many again, so that growing costs little.
    fn room(
        &mut self,
        own: Option<Tensor>,
        old: usize,
        Tensor { words, number, .. }: Tensor,
    ) -> Result<Tensor, Failure> {
        let backend = &mut *self.parameters.backend;
        match own {
            Some(own) if own.words >= words => Ok(own),
            Some(own) => {
                let larger = backend.alloc_as("rows of a text", 2 * words, number)?;
                backend.sum(larger.part(0, old), &[own.part(0, old)])?;
                backend.free(own);
                Ok(larger)
            }
            None => backend.alloc_as("rows of a text", words, number),
        }
    }
}
