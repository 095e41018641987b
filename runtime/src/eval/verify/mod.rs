//! `lrc verify`: the forms of a recurrence against each other, its gradients against differences.
//!
//! Everything runs in f64, where the recurrent form is the truth: a form that agrees to rounding is
//! derived correctly, and one that does not is wrong by far. What no form can get right, because the
//! equations give no number or no derivative there, is told apart from what is wrong: see [`Verdict`].

mod apart;
mod causal;
mod drawn;
mod kernels;
mod slope;

use std::convert::Infallible;

use lrc_compiler::block::Blocking;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Outputs, Problem};
use lrc_compiler::tile::size;

pub use apart::{Both, apart, handed_over};
pub use causal::{Forward, Leak, leak};
use drawn::Drawn;
pub use drawn::is_log_decay;
pub use kernels::{
    KernelFound, Kernels, judge_kernels, kernel_leak, kernel_trial, kernel_trials, well_posed,
};
use slope::{Around, Slope};

use crate::ground::error::Failure;

/// What is said of a recurrence; the later, the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All forms agree, and gradients with differences.
    #[default]
    Ok,
    /// The equations have no derivative at an input that was drawn: a kink, or an end of what is
    /// promised where the slope is infinite.
    NoDerivative,
    /// The recurrent form itself moves by more than is allowed when the inputs change by one unit in the
    /// last place of f32.
    IllConditioned,
    /// The equations give no number that f32 holds, from some token on.
    NotFinite,
    /// A token depends on later ones: a mistake of lrc.
    Acausal,
    /// Forms or gradients disagree: a mistake of lrc.
    Wrong,
}

impl Verdict {
    /// The name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::NoDerivative => "no_derivative",
            Verdict::IllConditioned => "ill_conditioned",
            Verdict::NotFinite => "not_finite",
            Verdict::Acausal => "acausal",
            Verdict::Wrong => "wrong",
        }
    }
}

/// What all trials of a recurrence found.
#[derive(Clone, Debug, Default)]
pub struct Judged<F = Found> {
    /// The largest differences where the equations give numbers.
    pub found: F,
    /// The worst verdict.
    pub verdict: Verdict,
    /// Why it is not ok.
    pub why: Option<String>,
    /// The first token without a number.
    pub token: Option<usize>,
}

impl<F> Judged<F> {
    /// Keeps a verdict if it is worse than what is known.
    fn blame(&mut self, verdict: Verdict, why: impl FnOnce() -> String) {
        if verdict > self.verdict {
            (self.verdict, self.why) = (verdict, Some(why()));
        }
    }

    /// From this token on there are no numbers.
    fn ends_at(&mut self, token: usize) {
        self.token = Some(self.token.map_or(token, |known| known.min(token)));
        let first = self.token.unwrap_or(token);
        if self.verdict <= Verdict::NotFinite {
            self.verdict = Verdict::NotFinite;
            self.why = Some(format!("not finite from token {first} on"));
        }
    }
}

/// Allowed relative differences in f64: of results and of gradients between forms, and of gradients
/// to differences.
struct Bars {
    forward: f64,
    backward: f64,
    slope: f64,
}

const BARS: Bars = Bars { forward: 1e-9, backward: 1e-8, slope: 1e-5 };

/// By how many times what a last place of f64 in the inputs moves, forms may differ: roundings of a sum of hundreds of terms
/// add up to some ten times that of one.
const ROUNDINGS: f64 = 64.0;

/// The last place of f32, as a share of a number.
const F32_PLACE: f64 = f32::EPSILON as f64;

/// What f32 may lose on the processor, results and gradients: a recurrence whose truth moves by more
/// when inputs change in their last place is ill-conditioned.
const F32_BARS: [f64; 2] = [2e-5, 1e-4];

/// Sizes of one trial.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Lengths of the sequences.
    pub lengths: Vec<usize>,
    /// Heads.
    pub heads: usize,
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Whether states are given.
    pub initial: bool,
    /// What is drawn.
    pub seed: u64,
    /// Log decays that stand in for some of those drawn, however strong.
    pub decays: &'static [f64],
}

/// What a trial found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Largest relative difference between the chunk form's and the recurrent form's results.
    pub forward: Option<f64>,
    /// The same of their gradients.
    pub backward: Option<f64>,
    /// Largest relative difference between a gradient and a central difference.
    pub slope: f64,
}

/// `‖a − b‖ / ‖b‖`, at least over 1e-6 numbers of size 1; infinite where a number is not finite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let gap = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let norm = b.iter().map(|y| y * y).sum::<f64>().sqrt();
    let found = gap / norm.max(1e-6);
    if found.is_finite() { found } else { f64::INFINITY }
}

/// The outputs of the recurrent form in f64 on the input that a trial draws.
pub fn outputs(r: &Recurrence, trial: &Trial) -> Vec<Vec<f64>> {
    let drawn = Drawn::<f64>::new(r, trial);
    let problem = drawn.problem(r, trial.heads);
    Form::recurrent(&problem).forward(&problem, false).0.outs
}

/// Relative differences, tensor by tensor.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// Of outputs, then states.
    pub forward: Vec<f64>,
    /// Of gradients by inputs, parameters, and states before the first token.
    pub backward: Vec<f64>,
}

impl Gaps {
    fn of(
        (outputs, gradients): (&Outputs<f64>, &Gradients<f64>),
        (true_outputs, true_gradients): (&Outputs<f64>, &Gradients<f64>),
    ) -> Gaps {
        let all = |a: &[Vec<f64>], b: &[Vec<f64>]| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| distance(a, b)).collect()
        };
        let (a, b) = (gradients, true_gradients);
        let outs = all(&outputs.outs, &true_outputs.outs);
        let params = [all(&a.inputs, &b.inputs), all(&a.params, &b.params)].concat();
        Gaps {
            forward: [outs, all(&outputs.finals, &true_outputs.finals)].concat(),
            backward: [params, all(&a.initial, &b.initial)].concat(),
        }
    }

    /// The largest of results and of gradients.
    pub fn worst(&self) -> [f64; 2] {
        [&self.forward, &self.backward].map(|gaps| gaps.iter().copied().fold(0.0, f64::max))
    }
}

/// One way to run a recurrence, forward and back in f64 and forward in f32.
pub struct Runner<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// Forward and back.
    pub both: Box<Both<'a>>,
    /// Forward.
    pub forward: Box<Forward<'a>>,
}

impl<'a> Runner<'a> {
    /// By a form.
    pub fn of(form: &'a Form) -> Runner<'a> {
        let both = move |problem: &Problem<f64>, cotangents: &Cotangents<f64>| {
            let (outputs, kept) = form.forward(problem, true);
            let gradients = form.backward(problem, &kept, cotangents);
            (outputs, gradients)
        };
        let forward = move |problem: &Problem<f32>| form.forward(problem, false).0;
        Runner { name: form.name(), both: Box::new(both), forward: Box::new(forward) }
    }
}

/// Most numbers that a trial holds, about: two gigabytes.
const MOST_NUMBERS: usize = 1 << 28;

/// Refuses sizes at which a trial's tensors fit no memory.
pub fn affordable(r: &Recurrence) -> Result<(), Failure> {
    let slots = r.inputs.iter().chain(&r.params).chain(&r.states).chain(&r.outs);
    let per_token = slots.map(|slot| size(&slot.shape)).fold(0, usize::saturating_add);
    let values = r.token.nodes.iter().map(|node| size(&node.shape));
    let numbers = values.fold(per_token.saturating_mul(64), usize::saturating_add);
    if numbers <= MOST_NUMBERS {
        return Ok(());
    }
    Err(Failure::Memory(format!(
        "a trial of {} holds about {numbers} numbers, of {MOST_NUMBERS} that are allowed: give smaller sizes with --set",
        r.name
    )))
}

/// Runs one trial.
pub fn trial(r: &Recurrence, trial: &Trial) -> Result<Found, String> {
    let drawn = Drawn::new(r, trial);
    let problem = drawn.problem(r, trial.heads);
    let form = Form::recurrent(&problem);
    let cotangents = drawn.cotangents();
    let (truth, gradients) = (Runner::of(&form).both)(&problem, &cotangents);
    let mut found = Found::default();
    if let Ok(chunk) = Form::new(&problem, FormKind::Chunk, Blocking::of(Some(trial.chunk))) {
        let (outputs, by_chunk) = (Runner::of(&chunk).both)(&problem, &cotangents);
        let [forward, backward] = Gaps::of((&outputs, &by_chunk), (&truth, &gradients)).worst();
        (found.forward, found.backward) = (Some(forward), Some(backward));
    }
    found.slope = Around::new(r, trial, &drawn, &truth, &gradients, &form).worst();
    Ok(found)
}

/// All trials of a recurrence, in every form it has.
pub fn judge(r: &Recurrence) -> Judged {
    let mut judged = Judged::default();
    for trial in trials() {
        let drawn = Drawn::new(r, &trial);
        let problem = drawn.problem(r, trial.heads);
        let forms = [
            Ok(Form::recurrent(&problem)),
            Form::new(&problem, FormKind::Chunk, Blocking::of(Some(trial.chunk))),
        ];
        let runners: Vec<Runner> = forms.iter().flatten().map(Runner::of).collect();
        examine(r, &trial, &runners, &mut judged);
    }
    judged
}

/// Examines some runners of a recurrence in one trial; the first is the recurrent form.
pub fn examine(r: &Recurrence, trial: &Trial, runners: &[Runner], judged: &mut Judged) {
    let drawn = Drawn::new(r, trial);
    let problem = drawn.problem(r, trial.heads);
    let form = Form::recurrent(&problem);
    let own = Runner::of(&form);
    for runner in runners {
        let run = |problem: &Problem<f32>| Ok::<_, Infallible>((runner.forward)(problem));
        let Ok(leak) = leak(r, trial, &run, &own.forward);
        if let Some(leak) = leak {
            judged.blame(leak.verdict(), || format!("{} form: {leak}", runner.name));
        }
    }
    let (truth, gradients) = (own.both)(&problem, &drawn.cotangents());
    if let Some(token) = bad_token(r, trial, &truth) {
        return judged.ends_at(token);
    }
    let moved = |share: f64| {
        let nudged = drawn.nudged(trial.seed, share);
        let other = nudged.problem(r, trial.heads);
        let (outputs, by_nudge) = (own.both)(&other, &nudged.cotangents());
        Gaps::of((&outputs, &by_nudge), (&truth, &gradients))
    };
    let single = || in_single(r, trial, &drawn, (&truth, &gradients));
    for runner in runners {
        let (outputs, by_way) = (runner.both)(&problem, &drawn.cotangents());
        let own = Gaps::of((&outputs, &by_way), (&truth, &gradients));
        if runner.name != form.name() {
            judged.found.keep(own.worst());
        }
        let apart = apart(r, trial, &runner.both);
        let handed = handed_over(r, trial, &runner.both).unwrap_or_default();
        let checks = [
            (own, "differs from the recurrent form"),
            (apart, "packed sequences differ from each by itself"),
            (handed, "one call differs from two with the states handed over"),
        ];
        for (gaps, what) in checks {
            judged.compare(&gaps, &moved, &single, &|| format!("{} form: {what}", runner.name));
        }
    }
    let around = Around::new(r, trial, &drawn, &truth, &gradients, &form);
    for (tensor, slope) in around.slopes() {
        judged.see_slope(tensor, slope, &moved, &single);
    }
}

/// How far the recurrent form in f32 is from the truth.
fn in_single(
    r: &Recurrence,
    trial: &Trial,
    drawn: &Drawn<f64>,
    truth: (&Outputs<f64>, &Gradients<f64>),
) -> Gaps {
    let single: Drawn<f32> = drawn.rounded();
    let problem = single.problem(r, trial.heads);
    let form = Form::recurrent(&problem);
    let (outputs, kept) = form.forward(&problem, true);
    let gradients = form.backward(&problem, &kept, &single.cotangents());
    let wide = |all: Vec<Vec<f32>>| -> Vec<Vec<f64>> {
        all.into_iter().map(|data| data.into_iter().map(f64::from).collect()).collect()
    };
    let outputs = Outputs { outs: wide(outputs.outs), finals: wide(outputs.finals) };
    let gradients = Gradients {
        inputs: wide(gradients.inputs),
        params: wide(gradients.params),
        initial: wide(gradients.initial),
    };
    Gaps::of((&outputs, &gradients), truth)
}

impl Found {
    /// Keeps the larger differences between forms.
    fn keep(&mut self, [forward, backward]: [f64; 2]) {
        self.forward = Some(self.forward.unwrap_or(0.0).max(forward));
        self.backward = Some(self.backward.unwrap_or(0.0).max(backward));
    }
}

impl Judged {
    /// Judges differences of results and of gradients; `moved` is how far the truth itself moves when
    /// inputs change in the last place of f32, `single` how far f32 is from it.
    fn compare(
        &mut self,
        gaps: &Gaps,
        moved: &dyn Fn(f64) -> Gaps,
        single: &dyn Fn() -> Gaps,
        what: &dyn Fn() -> String,
    ) {
        let pick: [fn(&Gaps) -> &[f64]; 2] = [|gaps| &gaps.forward, |gaps| &gaps.backward];
        for (k, (bar, name)) in
            [(BARS.forward, "results"), (BARS.backward, "gradients")].into_iter().enumerate()
        {
            let far = pick[k](gaps).iter().enumerate().filter(|(_, gap)| **gap >= bar);
            for (tensor, gap) in far {
                // What cancels is known only up to the rounding of its parts, in either form; a last place of f64 in the
                // inputs shows how much that is here.
                if *gap <= ROUNDINGS * pick[k](&moved(f64::EPSILON))[tensor]
                    || rounds_away(*gap, pick[k](&single())[tensor])
                {
                    continue;
                }
                // Forms differ in f64: by far less than what moves the truth, where that excuses them.
                let moved = pick[k](&moved(F32_PLACE))[tensor];
                let excused = moved > F32_BARS[k] && *gap <= moved;
                let verdict = if excused { Verdict::IllConditioned } else { Verdict::Wrong };
                self.blame(verdict, || format!("{}: {name} by {gap:.1e}", what()));
            }
        }
    }

    /// Judges what differences say of a gradient; `moved` as in [`Judged::compare`], `single` is how far f32 is from
    /// the truth.
    fn see_slope(
        &mut self,
        tensor: usize,
        slope: Slope,
        moved: &dyn Fn(f64) -> Gaps,
        single: &dyn Fn() -> Gaps,
    ) {
        match slope {
            Slope::Agrees(gap) => self.found.slope = self.found.slope.max(gap),
            Slope::Kink => self.blame(Verdict::NoDerivative, || {
                "a kink: differences on its two sides disagree".into()
            }),
            Slope::Edge => self.blame(Verdict::NoDerivative, || {
                "no derivative at an end of what is promised of an input".into()
            }),
            Slope::Differs(gap) => {
                if rounds_away(gap, single().backward[tensor]) {
                    return;
                }
                self.found.slope = self.found.slope.max(gap);
                let sensitive = moved(F32_PLACE).backward[tensor] > F32_BARS[1];
                let verdict = if sensitive { Verdict::IllConditioned } else { Verdict::Wrong };
                self.blame(verdict, || {
                    format!("the gradient differs from differences by {gap:.1e}")
                });
            }
        }
    }
}

/// Whether a difference in f64 is rounding. What rounds away there is far off in f32: the same parts cancel, rounded at a place
/// that stands so many bits higher. Changed inputs need not show it, where it follows from sizes alone.
fn rounds_away(gap: f64, single: f64) -> bool {
    let rounded = single * (f64::EPSILON / F32_PLACE);
    rounded.is_finite() && gap <= ROUNDINGS * rounded
}

/// The first token of a sequence with an output, or whose last state has an entry, that f32 cannot hold.
fn bad_token(r: &Recurrence, trial: &Trial, outputs: &Outputs<f64>) -> Option<usize> {
    let held = |x: &f64| x.abs() <= f64::from(f32::MAX);
    let mut first: Option<usize> = None;
    let mut start = 0;
    for (sequence, length) in trial.lengths.iter().enumerate() {
        let whole = |data: &[f64], shape: &[usize], row: usize| {
            let one = trial.heads * size(shape);
            data[row * one..][..one].iter().all(held)
        };
        let out = (0..*length).find(|token| {
            let mut outs = outputs.outs.iter().zip(&r.outs);
            !outs.all(|(data, slot)| whole(data, &slot.shape, start + token))
        });
        let mut finals = outputs.finals.iter().zip(&r.states);
        // A state that ends without a number may begin so: `init -inf` is one of an empty sequence.
        let ends = *length > 0
            && !finals.all(|(data, slot)| {
                let one = trial.heads * size(&slot.shape);
                data[sequence * one..][..one]
                    .iter()
                    .all(|x| !x.is_nan() && *x <= f64::from(f32::MAX))
            });
        let token = out.or(ends.then(|| length - 1));
        first = [first, token].into_iter().flatten().min();
        start += length;
    }
    first
}

/// The trials of `lrc verify`: odd lengths, packed sequences, given states, several chunks.
pub fn trials() -> Vec<Trial> {
    let one = |lengths: &[usize], heads, chunk, initial, seed| Trial {
        lengths: lengths.to_vec(),
        heads,
        chunk,
        initial,
        seed,
        decays: &[],
    };
    vec![
        one(&[1], 1, 16, false, 1),
        one(&[7], 2, 3, true, 2),
        one(&[33], 1, 16, true, 3),
        one(&[5, 1, 19], 2, 8, true, 4),
        one(&[40], 1, 64, false, 5),
        one(&[0, 4, 0], 2, 2, true, 6),
    ]
}
