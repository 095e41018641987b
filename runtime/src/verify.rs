//! `lrc verify`: the forms of a recurrence against each other, its gradients against differences.
//!
//! Everything runs in f64, where the step form is the truth: a form that agrees to rounding is
//! derived correctly, and one that does not is wrong by far.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem};
use lrc_compiler::num::Real;
use lrc_compiler::tile::size;

use crate::device::kernels::{self, Unready, Wanted};
use crate::device::store::Machine;
use crate::draw::tensor;
use crate::error::Failure;
use crate::random::{Purpose, Stream};

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
}

/// What a trial found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Largest relative difference between the chunk form's and the step form's results.
    pub forward: Option<f64>,
    /// The same of their gradients.
    pub backward: Option<f64>,
    /// Largest relative difference between a gradient and a central difference.
    pub slope: f64,
}

/// The tensors of a trial.
#[derive(Clone)]
struct Drawn<R> {
    inputs: Vec<Vec<R>>,
    params: Vec<Vec<R>>,
    initial: Vec<Option<Vec<R>>>,
    d_outs: Vec<Vec<R>>,
    d_finals: Vec<Vec<R>>,
    bounds: Vec<usize>,
}

impl Drawn<f64> {
    fn new(r: &Recurrence, trial: &Trial) -> Drawn<f64> {
        let mut random = Stream::new(trial.seed, Purpose::Verify, 0);
        let mut bounds = vec![0];
        for length in &trial.lengths {
            bounds.push(bounds.last().copied().unwrap_or(0) + length);
        }
        let rows = bounds.last().copied().unwrap_or(0);
        let (heads, sequences) = (trial.heads, trial.lengths.len());
        let mut normal = |n: usize| -> Vec<f64> { (0..n).map(|_| random.normal()).collect() };
        let d_outs = r.outs.iter().map(|o| normal(rows * heads * size(&o.shape))).collect();
        let d_finals =
            r.states.iter().map(|s| normal(sequences * heads * size(&s.shape))).collect();
        let mut state = |s: &Slot| match s.interval {
            Some(_) => {
                tensor(s, sequences * heads, &mut Stream::new(trial.seed, Purpose::Verify, 1))
            }
            None => normal(sequences * heads * size(&s.shape)),
        };
        let initial = r.states.iter().map(|s| trial.initial.then(|| state(s))).collect();
        Drawn {
            inputs: r.inputs.iter().map(|s| tensor(s, rows * heads, &mut random)).collect(),
            params: r.params.iter().map(|s| tensor(s, heads, &mut random)).collect(),
            initial,
            d_outs,
            d_finals,
            bounds,
        }
    }

    /// `Σ <output, cotangent>`.
    fn loss(&self, outputs: &Outputs<f64>) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let outs: f64 = outputs.outs.iter().zip(&self.d_outs).map(|(o, d)| dot(o, d)).sum();
        let finals: f64 = outputs.finals.iter().zip(&self.d_finals).map(|(o, d)| dot(o, d)).sum();
        outs + finals
    }
}

impl<R: Real> Drawn<R> {
    /// The same tensors, rounded to another type.
    fn rounded<S: Real>(&self) -> Drawn<S> {
        let one = |data: &Vec<R>| -> Vec<S> { data.iter().map(|x| S::of(x.wide())).collect() };
        let all = |data: &[Vec<R>]| data.iter().map(one).collect();
        Drawn {
            inputs: all(&self.inputs),
            params: all(&self.params),
            initial: self.initial.iter().map(|state| state.as_ref().map(one)).collect(),
            d_outs: all(&self.d_outs),
            d_finals: all(&self.d_finals),
            bounds: self.bounds.clone(),
        }
    }

    fn problem<'a>(&'a self, r: &'a Recurrence, heads: usize) -> Problem<'a, R> {
        fn operands<R>(all: &[Vec<R>], heads: usize) -> Vec<Operand<'_, R>> {
            all.iter().map(|data| Operand { data, heads }).collect()
        }
        Problem {
            recurrence: r,
            heads,
            sum: 1,
            bounds: self.bounds.clone(),
            inputs: operands(&self.inputs, heads),
            params: operands(&self.params, heads),
            initial: self.initial.iter().map(|i| i.as_deref()).collect(),
        }
    }

    fn cotangents(&self) -> Cotangents<'_, R> {
        Cotangents {
            outs: self.d_outs.iter().map(|d| Some(d.as_slice())).collect(),
            finals: self.d_finals.iter().map(|d| Some(d.as_slice())).collect(),
        }
    }
}

/// `‖a − b‖ / ‖b‖`, at least over 1e-6 numbers of size 1; infinite where a number is not finite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let gap = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let norm = b.iter().map(|y| y * y).sum::<f64>().sqrt();
    let found = gap / norm.max(1e-6);
    if found.is_finite() { found } else { f64::INFINITY }
}

/// The outputs of the step form in f64 on the input that a trial draws.
pub fn outputs(r: &Recurrence, trial: &Trial) -> Vec<Vec<f64>> {
    let drawn = Drawn::<f64>::new(r, trial);
    let problem = drawn.problem(r, trial.heads);
    let form = Form::new(&problem, FormKind::Step, None).expect("every recurrence has a step form");
    form.forward(&problem, false).0.outs
}

fn worst<'a>(pairs: impl Iterator<Item = (&'a Vec<f64>, &'a Vec<f64>)>) -> f64 {
    pairs.map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
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
    let step = Form::new(&problem, FormKind::Step, None).map_err(|refusal| refusal.why)?;
    let (truth, kept) = step.forward(&problem, true);
    let slopes = step.backward(&problem, &kept, &drawn.cotangents());
    let mut found = Found::default();
    if let Ok(chunk) = Form::new(&problem, FormKind::Chunk, Some(trial.chunk)) {
        let (outputs, kept) = chunk.forward(&problem, true);
        let gradients = chunk.backward(&problem, &kept, &drawn.cotangents());
        let outs = outputs.outs.iter().zip(&truth.outs);
        found.forward = Some(worst(outs.chain(outputs.finals.iter().zip(&truth.finals))));
        let g = |g: &Gradients<f64>| -> Vec<Vec<f64>> {
            g.inputs.iter().chain(&g.params).chain(&g.initial).cloned().collect()
        };
        found.backward = Some(worst(g(&gradients).iter().zip(&g(&slopes))));
    }
    found.slope = slope(r, trial, &drawn, &slopes, &step);
    Ok(found)
}

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
        let one = |wanted| kernels::Kernels::new(r, wanted, None, machine);
        Ok(Kernels {
            training: one(Wanted::Training)?,
            forward: one(Wanted::Forward)?,
            decode: (!r.states.is_empty()).then(|| one(Wanted::Decode)).transpose()?,
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
fn share<'a>(pairs: impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f64>)> + Clone, bar: f64) -> f64 {
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

/// Runs kernels against the step form in f64.
pub fn kernel_trial(
    r: &Recurrence,
    trial: &Trial,
    kernels: &Kernels,
) -> Result<KernelFound, Failure> {
    // Kernels and the truth start from the same numbers.
    let narrow: Drawn<f32> = Drawn::new(r, trial).rounded();
    let drawn: Drawn<f64> = narrow.rounded();
    let problem = drawn.problem(r, trial.heads);
    let step = Form::new(&problem, FormKind::Step, None)
        .map_err(|refusal| Failure::Verification(refusal.why))?;
    let (truth, kept) = step.forward(&problem, true);
    let slopes = step.backward(&problem, &kept, &drawn.cotangents());
    let problem = narrow.problem(r, trial.heads);
    let of_outputs = |got: &Outputs<f32>| {
        let pairs = got.outs.iter().zip(&truth.outs).chain(got.finals.iter().zip(&truth.finals));
        share(pairs, KERNEL_BARS[0])
    };
    let (kept, gradients) = kernels.training.train(&problem, &narrow.cotangents())?;
    let got = gradients.inputs.iter().chain(&gradients.params).chain(&gradients.initial);
    let want = slopes.inputs.iter().chain(&slopes.params).chain(&slopes.initial);
    Ok(KernelFound {
        forward: of_outputs(&kept).max(of_outputs(&kernels.forward.run(&problem)?)),
        backward: share(got.zip(want), KERNEL_BARS[1]),
        decode: match &kernels.decode {
            Some(decode) => of_outputs(&decode.run(&problem)?),
            None => 0.0,
        },
    })
}

/// The trials of kernels: lengths around the ends of chunks, packed, with and without states.
pub fn kernel_trials() -> Vec<Trial> {
    let one = |lengths: &[usize], initial, seed| Trial {
        lengths: lengths.to_vec(),
        heads: 2,
        chunk: 0,
        initial,
        seed,
    };
    vec![one(&[1], false, 1), one(&[7, 65], true, 2), one(&[200], false, 3)]
}

/// Directions tried per tensor.
const DIRECTIONS: u64 = 3;

/// Gradients against central differences along random directions. A direction keeps promises only
/// to first order, which is all that a slope needs.
fn slope(
    r: &Recurrence,
    trial: &Trial,
    drawn: &Drawn<f64>,
    gradients: &Gradients<f64>,
    form: &Form,
) -> f64 {
    let mut worst: f64 = 0.0;
    let count = drawn.inputs.len() + drawn.params.len();
    for at in 0..count {
        for direction in 0..DIRECTIONS {
            let item = 1 + at as u64 * DIRECTIONS + direction;
            let mut random = Stream::new(trial.seed, Purpose::Verify, item);
            let (data, gradient) = match at.checked_sub(drawn.inputs.len()) {
                None => (&drawn.inputs[at], &gradients.inputs[at]),
                Some(param) => (&drawn.params[param], &gradients.params[param]),
            };
            let along: Vec<f64> = data.iter().map(|_| random.normal()).collect();
            let moved = |step: f64| -> f64 {
                let mut copy = drawn.clone();
                let target = match at.checked_sub(drawn.inputs.len()) {
                    None => &mut copy.inputs[at],
                    Some(param) => &mut copy.params[param],
                };
                target.iter_mut().zip(&along).for_each(|(x, d)| *x += step * d);
                let problem = copy.problem(r, trial.heads);
                copy.loss(&form.forward(&problem, false).0)
            };
            let slope = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
            // Two differences together take out the curvature of a quotient near a pole.
            let difference = (4.0 * slope(1e-5) - slope(2e-5)) / 3.0;
            let dot: f64 = gradient.iter().zip(&along).map(|(g, d)| g * d).sum();
            let size = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let gap = (difference - dot).abs() / size.max(dot.abs()).max(1e-3);
            worst = worst.max(if gap.is_finite() { gap } else { f64::INFINITY });
        }
    }
    worst
}

/// The trials of `lrc verify`: odd lengths, packed sequences, given states, several chunks.
pub fn trials() -> Vec<Trial> {
    let one = |lengths: &[usize], heads, chunk, initial, seed| Trial {
        lengths: lengths.to_vec(),
        heads,
        chunk,
        initial,
        seed,
    };
    vec![
        one(&[1], 1, 16, false, 1),
        one(&[7], 2, 3, true, 2),
        one(&[33], 1, 16, true, 3),
        one(&[5, 1, 19], 2, 8, true, 4),
        one(&[40], 1, 64, false, 5),
    ]
}
