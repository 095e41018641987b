//! A recurrence that is two, of states and of sums over the past that read them: one after the other.

use super::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem, add};
use crate::block::Blocking;
use crate::normal::Refusal;
use crate::num::Real;
use crate::strategy::{Half, Halves};

/// The forms of both halves.
#[derive(Clone, Debug)]
pub struct Both {
    halves: Halves,
    states: Form,
    sums: Form,
}

/// What the backward pass needs: what the states gave, and what each half keeps.
#[derive(Clone, Debug)]
pub struct Kept<R: Real> {
    between: Vec<Vec<R>>,
    states: super::Kept<R>,
    sums: super::Kept<R>,
}

/// The problem of a half, given what the states give the sums.
fn problem<'a, R: Real>(
    whole: &Problem<'a, R>,
    half: &'a Half,
    between: &'a [Vec<R>],
) -> Problem<'a, R> {
    let given = |i: usize| i.checked_sub(half.inputs.len().saturating_sub(between.len()));
    let input = |(at, i): (usize, &usize)| match whole.inputs.get(*i) {
        Some(own) => *own,
        None => {
            let data = given(at).and_then(|k| between.get(k)).map_or(&[][..], Vec::as_slice);
            Operand { data, heads: whole.heads }
        }
    };
    let has_states = !half.recurrence.states.is_empty();
    Problem {
        recurrence: &half.recurrence,
        heads: whole.heads,
        sum: if has_states { 1 } else { whole.sum },
        bounds: whole.bounds.clone(),
        inputs: half.inputs.iter().enumerate().map(input).collect(),
        params: half.params.iter().map(|i| whole.params[*i]).collect(),
        initial: if has_states { whole.initial.clone() } else { vec![] },
    }
}

impl Both {
    /// Prepares both forms.
    pub fn new<R: Real>(
        whole: &Problem<R>,
        halves: Halves,
        blocking: Blocking,
    ) -> Result<Both, Refusal> {
        let states = Form::new(&problem(whole, &halves.states, &[]), FormKind::Auto, blocking)?;
        let sums = Form::new(&problem(whole, &halves.sums, &[]), FormKind::Auto, blocking)?;
        Ok(Both { halves, states, sums })
    }

    /// Runs forward.
    pub fn forward<R: Real>(&self, whole: &Problem<R>, keep: bool) -> (Outputs<R>, Kept<R>) {
        let (given, states) = self.states.forward(&problem(whole, &self.halves.states, &[]), keep);
        let between = given.outs;
        let (made, sums) = self.sums.forward(&problem(whole, &self.halves.sums, &between), keep);
        let outputs = Outputs { outs: made.outs, finals: given.finals };
        (outputs, Kept { between, states, sums })
    }

    /// Runs backward: the sums first.
    pub fn backward<R: Real>(
        &self,
        whole: &Problem<R>,
        kept: &Kept<R>,
        cotangents: &Cotangents<R>,
    ) -> Gradients<R> {
        let mut gradients = Gradients {
            inputs: whole.inputs.iter().map(|_| vec![]).collect(),
            params: whole.params.iter().map(|_| vec![]).collect(),
            initial: vec![],
        };
        let flows = Cotangents { outs: cotangents.outs.clone(), finals: vec![] };
        let at = problem(whole, &self.halves.sums, &kept.between);
        let sums = self.sums.backward(&at, &kept.sums, &flows);
        let flows = collect(&mut gradients, &self.halves.sums, sums);
        let outs = flows.iter().map(|d| Some(d.as_slice())).collect();
        let flows = Cotangents { outs, finals: cotangents.finals.clone() };
        let at = problem(whole, &self.halves.states, &[]);
        let mut states = self.states.backward(&at, &kept.states, &flows);
        gradients.initial = std::mem::take(&mut states.initial);
        collect(&mut gradients, &self.halves.states, states);
        gradients
    }
}

/// Adds a half's gradients to the whole's; gives those of what is none of the whole's inputs.
fn collect<R: Real>(to: &mut Gradients<R>, half: &Half, from: Gradients<R>) -> Vec<Vec<R>> {
    let mut others = Vec::new();
    let give = |to: &mut Vec<R>, d: Vec<R>| {
        if to.is_empty() {
            *to = d;
        } else {
            add(to, &d);
        }
    };
    for (i, d) in half.inputs.iter().zip(from.inputs) {
        match to.inputs.get_mut(*i) {
            Some(to) => give(to, d),
            None => others.push(d),
        }
    }
    for (i, d) in half.params.iter().zip(from.params) {
        give(&mut to.params[*i], d);
    }
    others
}
