//! The forms in which recurrences run on the processor.

use std::sync::Arc;

use lrc_compiler::block::Blocking;
use lrc_compiler::form::attention::Attention;
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Kept, Operand, Outputs, Problem};
use lrc_compiler::memory;
use lrc_compiler::num::Real;

use super::backend::{Call, Flows};
use super::cpu::Cpu;
use super::store::Tensor;
use crate::ground::error::Failure;

impl Cpu {
    /// A recurrence's operands.
    pub(super) fn problem<'a>(&'a self, call: &Call<'a>) -> Problem<'a, f32> {
        let recur = call.recur;
        let own = self.all(call.operands);
        let (first, rest) = own.split_at(recur.recurrence.inputs.len());
        let operands = |data: &[&'a [f32]], heads: &[usize]| -> Vec<Operand<'a, f32>> {
            data.iter().zip(heads).map(|(data, heads)| Operand { data, heads: *heads }).collect()
        };
        Problem {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            sum: recur.sum,
            bounds: call.bounds.to_vec(),
            inputs: operands(first, &recur.input_heads),
            params: operands(rest, &recur.param_heads),
            initial: call.initial.iter().map(|state| state.map(|s| self.get(s))).collect(),
        }
    }

    /// The form that a recurrence runs in.
    pub(super) fn form(&self, call: &Call, problem: &Problem<f32>) -> Result<Arc<Form>, Failure> {
        let longest = longest(call.bounds);
        match self.forms.get(&(call.at, call.part)) {
            Some((known, form)) if *known == longest => Ok(Arc::clone(form)),
            _ => fastest(problem, call.recur.chosen.blocking),
        }
    }

    /// See [`Backend::recur`].
    pub(super) fn forward(
        &mut self,
        call: &Call,
        outs: &[Tensor],
        keep: bool,
    ) -> Result<Vec<Tensor>, Failure> {
        let problem = self.problem(call);
        let form = self.form(call, &problem)?;
        let (Outputs { outs: made, finals }, kept) = form.forward(&problem, keep);
        drop(problem);
        self.forms.insert((call.at, call.part), (longest(call.bounds), form));
        outs.iter().zip(made).for_each(|(tensor, data)| self.put(*tensor, data));
        if keep {
            self.kept.insert((call.at, call.part), kept);
        }
        Ok(finals.into_iter().map(|state| self.hold(state)).collect())
    }

    /// See [`Backend::recur_last`].
    pub(super) fn forward_last(
        &mut self,
        call: &Call,
        outs: &[Tensor],
        from: usize,
        keep: bool,
    ) -> Result<(), Failure> {
        let problem = self.problem(call);
        let known = self.singles.get(&call.at).cloned();
        let made = || Attention::single(problem.recurrence).ok().map(Arc::new);
        let (single, mut wanted) = (known.unwrap_or_else(made), None);
        let (made, kept) = match &single {
            Some(single) if !keep && problem.rows() - from == 1 => {
                (single.forward_from(&problem, from), Kept::Attention)
            }
            _ => {
                let form = self.form(call, &problem)?;
                let done = form.forward_from(&problem, keep, from);
                wanted = keep.then_some(form);
                done
            }
        };
        let made = made.outs;
        drop(problem);
        if let Some(form) = wanted {
            self.forms.insert((call.at, call.part), (longest(call.bounds), form));
            self.kept.insert((call.at, call.part), kept);
        }
        self.singles.insert(call.at, single);
        outs.iter().zip(&made).try_for_each(|(to, made)| {
            self.with([*to], |_, [to]| to.copy_from_slice(&made[made.len() - to.len()..]))
        })
    }

    /// See [`Backend::recur_grad`].
    pub(super) fn backward(&mut self, call: &Call, flows: &Flows) -> Result<(), Failure> {
        for tensor in flows.to.iter().filter(|tensor| self.all_of(**tensor)).collect::<Vec<_>>() {
            memory::give(std::mem::take(&mut self.slots[tensor.slot]));
        }
        let key = (call.at, call.part);
        let kept = self.kept.remove(&key);
        let kept = kept.ok_or_else(|| Failure::no_forward(&call.recur.recurrence.name))?;
        let problem = self.problem(call);
        let form = self.form(call, &problem)?;
        let outs = flows.outs.iter().map(|d| d.map(|d| self.get(d))).collect();
        let finals = flows.finals.iter().map(|d| Some(self.get(*d))).collect();
        let cotangents = Cotangents { outs, finals };
        let gradients = form.backward_from(&problem, &kept, &cotangents, flows.first);
        drop((problem, cotangents));
        if flows.again {
            self.kept.insert(key, kept);
        }
        let Gradients { inputs, params, initial } = gradients;
        let to = flows.to.iter().zip(inputs.into_iter().chain(params));
        to.chain(flows.initial.iter().zip(initial)).for_each(|(to, data)| self.put(*to, data));
        Ok(())
    }
}

/// The form that a problem runs in.
pub fn fastest<R: Real>(problem: &Problem<R>, blocking: Blocking) -> Result<Arc<Form>, Failure> {
    // For single tokens there is nothing to gain from chunks.
    let single = longest(&problem.bounds) <= 1 && problem.recurrence.is_local();
    let kind = if single { FormKind::Recurrent } else { FormKind::Auto };
    let made = Form::new(problem, kind, blocking);
    made.map(Arc::new).map_err(|refusal| Failure::World(refusal.why))
}

/// Tokens of the longest sequence.
pub fn longest(bounds: &[usize]) -> usize {
    bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
}
