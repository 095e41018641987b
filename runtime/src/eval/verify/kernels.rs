//! The kernels of a recurrence against its recurrent form in f64.

use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Form, Gradients, Outputs, Problem};
use lrc_compiler::strategy;

use super::drawn::Drawn;
use super::slope::kinks;
use super::{Judged, Leak, Trial, Verdict, bad_token, leak};
use crate::device::kernels::{self, Unready, Wanted};
use crate::device::store::Machine;
use crate::ground::error::Failure;

/// The kernels of a recurrence that [`kernel_trial`] compares, made once for all lengths.
pub struct Kernels {
    training: kernels::Kernels,
    forward: kernels::Kernels,
    /// Where there is a state to decode from.
    decode: Option<kernels::Kernels>,
}

impl Kernels {
    /// Plans and compiles.
    pub fn new(r: &Recurrence, machine: &Machine) -> Result<Kernels, Unready> {
        Kernels::of(r, Chosen::default(), machine)
    }

    /// The same, where something has been chosen.
    pub fn of(r: &Recurrence, chosen: Chosen, machine: &Machine) -> Result<Kernels, Unready> {
        let one = |wanted| kernels::Kernels::new(r, wanted, chosen, machine);
        Ok(Kernels {
            training: one(Wanted::Training)?,
            forward: one(Wanted::Forward)?,
            decode: strategy::of(r).decodes().then(|| one(Wanted::Decode)).transpose()?,
        })
    }
}

/// How far kernels are from the truth, as a share of what is allowed: 1 is the bar.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelFound {
    /// Forward, with and without a way back.
    pub forward: f64,
    /// Gradients.
    pub backward: f64,
    /// A token at a time.
    pub decode: f64,
}

/// Allowed relative differences of results and of gradients: operands of products are bf16.
const KERNEL_BARS: [f64; 2] = [1e-2, 2e-2];
/// A tensor of fewer numbers may be ten times further off.
const FEW: usize = 16;

/// A tensor whose true numbers cancel to nearly nothing is measured against this share of the size
/// of the others.
const CANCELLED: f64 = 0.05;

/// The worst share of the bar of several tensors.
fn share_of<'a>(
    pairs: impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f64>)> + Clone,
    bar: f64,
) -> f64 {
    let square = |want: &[f64]| want.iter().map(|x| x * x).sum::<f64>();
    let (sum, count) = pairs.clone().fold((0.0, 0), |(s, n), (_, w)| (s + square(w), n + w.len()));
    let typical = (sum / count.max(1) as f64).sqrt();
    let one = |(got, want): (&Vec<f32>, &Vec<f64>)| {
        if got.len() != want.len() {
            return f64::INFINITY;
        }
        let gaps = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).powi(2));
        let floor = CANCELLED * typical * (want.len() as f64).sqrt();
        let found = gaps.sum::<f64>().sqrt() / square(want).sqrt().max(floor).max(1e-6);
        let found = found / if want.len() < FEW { 10.0 * bar } else { bar };
        if found.is_finite() { found } else { f64::INFINITY }
    };
    pairs.map(one).fold(0.0, f64::max)
}

/// Runs kernels against the recurrent form in f64.
pub fn kernel_trial(
    r: &Recurrence,
    trial: &Trial,
    kernels: &Kernels,
) -> Result<KernelFound, Failure> {
    // Kernels and the truth start from the same numbers.
    let narrow: Drawn<f32> = Drawn::new(r, trial).rounded();
    let drawn: Drawn<f64> = narrow.rounded();
    let problem = drawn.problem(r, trial.heads);
    let step = Form::recurrent(&problem);
    let (truth, kept) = step.forward(&problem, true);
    let slopes = step.backward(&problem, &kept, &drawn.cotangents());
    let problem = narrow.problem(r, trial.heads);
    let of_outputs = |got: &Outputs<f32>| {
        let pairs = got.outs.iter().zip(&truth.outs).chain(got.finals.iter().zip(&truth.finals));
        share_of(pairs, KERNEL_BARS[0])
    };
    let (kept, gradients) = kernels.training.train(&problem, &narrow.cotangents())?;
    let got = gradients.inputs.iter().chain(&gradients.params).chain(&gradients.initial);
    let want = slopes.inputs.iter().chain(&slopes.params).chain(&slopes.initial);
    Ok(KernelFound {
        forward: of_outputs(&kept).max(of_outputs(&kernels.forward.run(&problem)?)),
        backward: share_of(got.zip(want), KERNEL_BARS[1]),
        decode: match &kernels.decode {
            Some(decode) => of_outputs(&decode.run(&problem)?),
            None => 0.0,
        },
    })
}

/// Whether the equations give numbers in a trial, and its gradients are some.
pub fn well_posed(r: &Recurrence, trial: &Trial) -> bool {
    let (outputs, gradients) = truth(r, trial, &Drawn::new(r, trial));
    let all = gradients.inputs.iter().chain(&gradients.params).chain(&gradients.initial);
    bad_token(r, trial, &outputs).is_none() && all.flatten().all(|x| x.is_finite())
}

/// Where a token's outputs by kernels depend on later tokens, or hide that it, or one before it, is no number.
pub fn kernel_leak(
    r: &Recurrence,
    trial: &Trial,
    kernels: &Kernels,
) -> Result<Option<Leak>, Failure> {
    let truth = |problem: &Problem<f32>| Form::recurrent(problem).forward(problem, false).0;
    // What saves for a way back is planned by itself.
    for made in [&kernels.forward, &kernels.training] {
        let found = leak(r, trial, &|problem| made.run(problem), &truth)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The trials of kernels: lengths around the ends of chunks, packed, with and without states.
pub fn kernel_trials() -> Vec<Trial> {
    let one = |lengths: &[usize], initial, seed| Trial {
        lengths: lengths.to_vec(),
        heads: 2,
        chunk: 0,
        initial,
        seed,
        decays: &[],
    };
    vec![one(&[1], false, 1), one(&[7, 65], true, 2), one(&[200], false, 3)]
}

/// The one of packed sequences, in which tokens are changed.
const PACKED: usize = 1;

/// All trials of the kernels of a recurrence, and whether its tokens depend on later ones.
pub fn judge_kernels(r: &Recurrence, kernels: &Kernels) -> Result<Judged<KernelFound>, Failure> {
    let mut judged: Judged<KernelFound> = Judged::default();
    for trial in kernel_trials() {
        let drawn: Drawn<f64> = Drawn::new(r, &trial).rounded::<f32>().rounded();
        let (outputs, gradients) = truth(r, &trial, &drawn);
        if let Some(token) = bad_token(r, &trial, &outputs) {
            judged.ends_at(token);
            continue;
        }
        let found = kernel_trial(r, &trial, kernels)?;
        if found.worst() > 1.0 {
            let why = excuse(r, &trial, &drawn, (&outputs, &gradients), &found);
            let (verdict, why) = why.unwrap_or((Verdict::Wrong, "differs from the recurrent form"));
            judged.blame(verdict, || why.into());
        }
        judged.found.keep(found);
    }
    if judged.verdict < Verdict::NotFinite
        && let Some(leak) = kernel_leak(r, &kernel_trials()[PACKED], kernels)?
    {
        judged.blame(leak.verdict(), || leak.to_string());
    }
    Ok(judged)
}

impl KernelFound {
    /// The worst share.
    pub fn worst(&self) -> f64 {
        self.forward.max(self.backward).max(self.decode)
    }

    fn keep(&mut self, other: KernelFound) {
        self.forward = self.forward.max(other.forward);
        self.backward = self.backward.max(other.backward);
        self.decode = self.decode.max(other.decode);
    }
}

fn truth(r: &Recurrence, trial: &Trial, drawn: &Drawn<f64>) -> (Outputs<f64>, Gradients<f64>) {
    let problem = drawn.problem(r, trial.heads);
    let step = Form::recurrent(&problem);
    let (outputs, kept) = step.forward(&problem, true);
    let gradients = step.backward(&problem, &kept, &drawn.cotangents());
    (outputs, gradients)
}

/// What a unit in the last place of bf16 changes of a number, at most.
const BF16: f64 = 1.0 / 128.0;

/// Why kernels may be further off than is allowed, if the truth itself says so: it moves as far when
/// its inputs change in the last place of f32; or there are kinks, results are within what is allowed,
/// and the true gradients move as far when inputs change in the last place of the operands of products.
fn excuse(
    r: &Recurrence,
    trial: &Trial,
    drawn: &Drawn<f64>,
    (outputs, gradients): (&Outputs<f64>, &Gradients<f64>),
    found: &KernelFound,
) -> Option<(Verdict, &'static str)> {
    let moved = |seed: u64, share: f64| {
        let (by_nudge, slopes) = truth(r, trial, &drawn.nudged(seed, share));
        let narrow = |tensors: &[Vec<f64>]| -> Vec<Vec<f32>> {
            tensors.iter().map(|x| x.iter().map(|x| *x as f32).collect()).collect()
        };
        let by = |got: [&[Vec<f64>]; 3], want: [&[Vec<f64>]; 3], bar| {
            let got: Vec<Vec<f32>> = got.iter().flat_map(|x| narrow(x)).collect();
            share_of(got.iter().zip(want.into_iter().flatten()), bar)
        };
        let (a, b) = (&by_nudge, outputs);
        let forward = by([&a.outs, &a.finals, &[]], [&b.outs, &b.finals, &[]], KERNEL_BARS[0]);
        let (a, b) = (&slopes, gradients);
        let [got, want] = [a, b].map(|g| [&g.inputs[..], &g.params[..], &g.initial[..]]);
        [forward, by(got, want, KERNEL_BARS[1])]
    };
    let least = moved(trial.seed, f64::from(f32::EPSILON));
    if least[0] > 1.0 || found.forward.max(found.decode) <= 1.0 && least[1] > 1.0 {
        let why = "the recurrent form moves as far when inputs change in the last place of f32";
        return Some((Verdict::IllConditioned, why));
    }
    if !kinks(&r.token) || found.forward.max(found.decode) > 1.0 {
        return None;
    }
    let turned = (0..4).map(|seed| moved(seed, BF16)[1]).fold(0.0, f64::max);
    (turned > 1.0 && found.backward <= 2.0 * turned).then_some((
        Verdict::NoDerivative,
        "kinks lie within the rounding of bf16 operands: its true gradients turn as far there",
    ))
}
