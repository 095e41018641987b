//! `lrc verify`: the forms of a recurrence against each other, its gradients against differences.
//!
//! Everything runs in f64, where the step form is the truth: a form that agrees to rounding is
//! derived correctly, and one that does not is wrong by far.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem};
use lrc_compiler::tile::size;

use crate::draw::tensor;
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
struct Drawn {
    inputs: Vec<Vec<f64>>,
    params: Vec<Vec<f64>>,
    initial: Vec<Option<Vec<f64>>>,
    d_outs: Vec<Vec<f64>>,
    d_finals: Vec<Vec<f64>>,
    bounds: Vec<usize>,
}

impl Drawn {
    fn new(r: &Recurrence, trial: &Trial) -> Drawn {
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
        let initial = r
            .states
            .iter()
            .map(|s| trial.initial.then(|| normal(sequences * heads * size(&s.shape))))
            .collect();
        Drawn {
            inputs: r.inputs.iter().map(|s| tensor(s, rows * heads, &mut random)).collect(),
            params: r.params.iter().map(|s| tensor(s, heads, &mut random)).collect(),
            initial,
            d_outs,
            d_finals,
            bounds,
        }
    }

    fn problem<'a>(&'a self, r: &'a Recurrence, heads: usize) -> Problem<'a, f64> {
        fn operands(all: &[Vec<f64>], heads: usize) -> Vec<Operand<'_, f64>> {
            all.iter().map(|data| Operand { data, heads }).collect()
        }
        Problem {
            recurrence: r,
            heads,
            bounds: self.bounds.clone(),
            inputs: operands(&self.inputs, heads),
            params: operands(&self.params, heads),
            initial: self.initial.iter().map(|i| i.as_deref()).collect(),
        }
    }

    fn cotangents(&self) -> Cotangents<'_, f64> {
        Cotangents {
            outs: self.d_outs.iter().map(|d| Some(d.as_slice())).collect(),
            finals: self.d_finals.iter().map(|d| Some(d.as_slice())).collect(),
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

/// `‖a − b‖ / ‖b‖`, at least over 1e-6 numbers of size 1; infinite where a number is not finite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let gap = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let norm = b.iter().map(|y| y * y).sum::<f64>().sqrt();
    let found = gap / norm.max(1e-6);
    if found.is_finite() { found } else { f64::INFINITY }
}

fn worst<'a>(pairs: impl Iterator<Item = (&'a Vec<f64>, &'a Vec<f64>)>) -> f64 {
    pairs.map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
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

/// Directions tried per tensor.
const DIRECTIONS: u64 = 3;

/// Gradients against central differences along random directions. A direction keeps promises only
/// to first order, which is all that a slope needs.
fn slope(
    r: &Recurrence,
    trial: &Trial,
    drawn: &Drawn,
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
            let h = 1e-5;
            let moved = |sign: f64| -> f64 {
                let mut copy = Drawn {
                    inputs: drawn.inputs.clone(),
                    params: drawn.params.clone(),
                    initial: drawn.initial.clone(),
                    d_outs: drawn.d_outs.clone(),
                    d_finals: drawn.d_finals.clone(),
                    bounds: drawn.bounds.clone(),
                };
                let target = match at.checked_sub(drawn.inputs.len()) {
                    None => &mut copy.inputs[at],
                    Some(param) => &mut copy.params[param],
                };
                target.iter_mut().zip(&along).for_each(|(x, d)| *x += sign * h * d);
                let problem = copy.problem(r, trial.heads);
                copy.loss(&form.forward(&problem, false).0)
            };
            let difference = (moved(1.0) - moved(-1.0)) / (2.0 * h);
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
