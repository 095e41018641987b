//! Sequences packed against each by itself, and one long call against two with the states handed over.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Gradients, Outputs, Problem};

use super::drawn::Drawn;
use super::{Gaps, Trial};

/// Runs a problem forward and back.
pub type Both<'a> = dyn Fn(&Problem<f64>, &Cotangents<f64>) -> (Outputs<f64>, Gradients<f64>) + 'a;

type Results = (Outputs<f64>, Gradients<f64>);

/// How far results of sequences packed together are from those of each by itself, relative: outputs and
/// states, then gradients.
pub fn apart(r: &Recurrence, trial: &Trial, run: &Both) -> Gaps {
    let drawn = Drawn::new(r, trial);
    let whole = of(&drawn, r, trial, run);
    let parts: Vec<Results> = trial
        .lengths
        .iter()
        .enumerate()
        .map(|(sequence, length)| {
            of(&drawn.part(r, trial.heads, sequence, 0..*length), r, trial, run)
        })
        .collect();
    let pieces = |pick: &dyn Fn(&Results) -> &[Vec<f64>]| joined(parts.iter().map(pick));
    let outputs = Outputs { outs: pieces(&|p| &p.0.outs), finals: pieces(&|p| &p.0.finals) };
    let gradients = Gradients {
        inputs: pieces(&|p| &p.1.inputs),
        params: added(parts.iter().map(|p| p.1.params.as_slice())),
        initial: pieces(&|p| &p.1.initial),
    };
    Gaps::of((&whole.0, &whole.1), (&outputs, &gradients))
}

/// How far results of one long call are from those of two, the second of which starts from the states
/// that the first leaves; `None` where a token needs more of the tokens before it than the states.
pub fn handed_over(r: &Recurrence, trial: &Trial, run: &Both) -> Option<Gaps> {
    let drawn = Drawn::new(r, trial);
    let (sequence, tokens) = drawn.longest();
    if !r.is_local() || tokens < 2 {
        return None;
    }
    let part = |range| drawn.part(r, trial.heads, sequence, range);
    let whole = of(&part(0..tokens), r, trial, run);
    let (mut first, mut second) = (part(0..tokens / 2), part(tokens / 2..tokens));
    let left = of(&first, r, trial, run).0.finals;
    second.initial = left.into_iter().map(Some).collect();
    let (behind, d_behind) = of(&second, r, trial, run);
    first.d_finals = d_behind.initial;
    let (before, d_before) = of(&first, r, trial, run);
    let outputs = Outputs {
        outs: joined([&before.outs[..], &behind.outs[..]].into_iter()),
        finals: behind.finals,
    };
    let gradients = Gradients {
        inputs: joined([&d_before.inputs[..], &d_behind.inputs[..]].into_iter()),
        params: added([&d_before.params[..], &d_behind.params[..]].into_iter()),
        initial: d_before.initial,
    };
    Some(Gaps::of((&whole.0, &whole.1), (&outputs, &gradients)))
}

fn of(drawn: &Drawn<f64>, r: &Recurrence, trial: &Trial, run: &Both) -> Results {
    run(&drawn.problem(r, trial.heads), &drawn.cotangents())
}

/// Tensors one after the other.
fn joined<'p>(parts: impl Iterator<Item = &'p [Vec<f64>]>) -> Vec<Vec<f64>> {
    parts.fold(Vec::new(), |mut all: Vec<Vec<f64>>, part| {
        all.resize(part.len(), Vec::new());
        all.iter_mut().zip(part).for_each(|(all, part)| all.extend_from_slice(part));
        all
    })
}

/// Tensors added up.
fn added<'p>(parts: impl Iterator<Item = &'p [Vec<f64>]>) -> Vec<Vec<f64>> {
    parts.fold(Vec::new(), |mut all: Vec<Vec<f64>>, part| {
        if all.is_empty() {
            return part.to_vec();
        }
        let both = all.iter_mut().flatten().zip(part.iter().flatten());
        both.for_each(|(sum, x)| *sum += x);
        all
    })
}
