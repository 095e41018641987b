//! The forms in which recurrences run on the processor.

use std::sync::Arc;

use lrc_compiler::form::{Form, FormKind, Operand, Problem};

use super::backend::Call;
use super::cpu::Cpu;
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
            _ => {
                // For single tokens there is nothing to gain from chunks.
                let single = longest == 1 && call.recur.recurrence.is_local();
                let kind = if single { FormKind::Recurrent } else { FormKind::Auto };
                let made = Form::new(problem, kind, call.recur.chosen.blocking);
                made.map(Arc::new).map_err(|refusal| Failure::World(refusal.why))
            }
        }
    }
}

/// Tokens of the longest sequence.
pub(super) fn longest(bounds: &[usize]) -> usize {
    bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
}
