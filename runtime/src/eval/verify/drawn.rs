//! The tensors of a trial.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Cotangents, Operand, Outputs, Problem};
use lrc_compiler::num::Real;
use lrc_compiler::tile::{Number, size};

use super::Trial;
use crate::ground::random::{Purpose, Stream};
use crate::recurrence::draw::tensor;

/// The tensors of a trial.
#[derive(Clone)]
pub(super) struct Drawn<R> {
    pub inputs: Vec<Vec<R>>,
    pub params: Vec<Vec<R>>,
    pub initial: Vec<Option<Vec<R>>>,
    pub d_outs: Vec<Vec<R>>,
    pub d_finals: Vec<Vec<R>>,
    pub bounds: Vec<usize>,
}

/// Numbers of a slot, of which about a third are the trial's own log decays where they are such.
fn strengthened(slot: &Slot, mut numbers: Vec<f64>, trial: &Trial) -> Vec<f64> {
    let mut random = Stream::new(trial.seed, Purpose::Verify, 3);
    if is_log_decay(slot) && !trial.decays.is_empty() {
        for x in &mut numbers {
            if random.below(3) == 0 {
                *x = trial.decays[random.below(trial.decays.len())];
            }
        }
    }
    numbers
}

/// Numbers as a tensor holds them.
fn held(slot: &Slot, mut numbers: Vec<f64>) -> Vec<f64> {
    if slot.number == Number::Bf16 {
        numbers.iter_mut().for_each(|x| *x = half::bf16::from_f64(*x).to_f64());
    }
    numbers
}

/// Whether a slot's numbers are logarithms of decays, which may be as strong as they like.
pub fn is_log_decay(slot: &Slot) -> bool {
    slot.interval.is_some_and(|(low, high)| low == f64::NEG_INFINITY && high <= 0.0)
}

impl Drawn<f64> {
    pub fn new(r: &Recurrence, trial: &Trial) -> Drawn<f64> {
        let mut random = Stream::new(trial.seed, Purpose::Verify, 0);
        let mut bounds = vec![0];
        for length in &trial.lengths {
            bounds.push(bounds.last().copied().unwrap_or(0) + length);
        }
        let rows = bounds.last().copied().unwrap_or(0);
        let (heads, sequences) = (trial.heads, trial.lengths.len());
        let mut normal = |n: usize| -> Vec<f64> { (0..n).map(|_| random.normal()).collect() };
        let d_outs =
            r.outs.iter().map(|o| held(o, normal(rows * heads * size(&o.shape)))).collect();
        let d_finals =
            r.states.iter().map(|s| normal(sequences * heads * size(&s.shape))).collect();
        let mut state = |s: &Slot| match s.interval {
            Some(_) => {
                tensor(s, sequences * heads, &mut Stream::new(trial.seed, Purpose::Verify, 1))
            }
            None => normal(sequences * heads * size(&s.shape)),
        };
        let initial = r.states.iter().map(|s| trial.initial.then(|| state(s))).collect();
        let mut given = |slots: &[Slot], tiles: usize| -> Vec<Vec<f64>> {
            let mut one =
                |slot| held(slot, strengthened(slot, tensor(slot, tiles, &mut random), trial));
            slots.iter().map(&mut one).collect()
        };
        Drawn {
            inputs: given(&r.inputs, rows * heads),
            params: given(&r.params, heads),
            initial,
            d_outs,
            d_finals,
            bounds,
        }
    }

    /// Every given number changed by this share of itself, up or down.
    pub fn nudged(&self, seed: u64, share: f64) -> Drawn<f64> {
        let mut random = Stream::new(seed, Purpose::Verify, 2);
        let mut nudge = |x: &mut f64| *x *= 1.0 + if random.below(2) == 0 { share } else { -share };
        let mut copy = self.clone();
        let given = copy.inputs.iter_mut().chain(&mut copy.params);
        given.chain(copy.initial.iter_mut().flatten()).flatten().for_each(&mut nudge);
        copy
    }

    /// `Σ <output, cotangent>`.
    pub fn loss(&self, outputs: &Outputs<f64>) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let outs: f64 = outputs.outs.iter().zip(&self.d_outs).map(|(o, d)| dot(o, d)).sum();
        let finals: f64 = outputs.finals.iter().zip(&self.d_finals).map(|(o, d)| dot(o, d)).sum();
        outs + finals
    }

    /// `Σ |output · cotangent|`, which says how far rounding may move the loss.
    pub fn terms(&self, outputs: &Outputs<f64>) -> f64 {
        let dot = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum::<f64>()
        };
        let outs = outputs.outs.iter().zip(&self.d_outs);
        outs.chain(outputs.finals.iter().zip(&self.d_finals)).map(dot).sum()
    }
}

impl<R: Real> Drawn<R> {
    /// The same tensors, rounded to another type.
    pub fn rounded<S: Real>(&self) -> Drawn<S> {
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

    pub fn problem<'a>(&'a self, r: &'a Recurrence, heads: usize) -> Problem<'a, R> {
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

    pub fn cotangents(&self) -> Cotangents<'_, R> {
        Cotangents {
            outs: self.d_outs.iter().map(|d| Some(d.as_slice())).collect(),
            finals: self.d_finals.iter().map(|d| Some(d.as_slice())).collect(),
        }
    }

    /// Some tokens of one sequence by themselves.
    pub fn part(
        &self,
        r: &Recurrence,
        heads: usize,
        sequence: usize,
        tokens: std::ops::Range<usize>,
    ) -> Drawn<R> {
        let start = self.bounds[sequence];
        let rows = |data: &[R], slot: &Slot| -> Vec<R> {
            let row = heads * size(&slot.shape);
            data[(start + tokens.start) * row..(start + tokens.end) * row].to_vec()
        };
        let each = |all: &[Vec<R>], slots: &[Slot]| -> Vec<Vec<R>> {
            all.iter().zip(slots).map(|(data, slot)| rows(data, slot)).collect()
        };
        let state = |data: &[R], slot: &Slot| -> Vec<R> {
            let one = heads * size(&slot.shape);
            data[sequence * one..][..one].to_vec()
        };
        let finals = self.d_finals.iter().zip(&r.states);
        let initial = self.initial.iter().zip(&r.states);
        Drawn {
            inputs: each(&self.inputs, &r.inputs),
            params: self.params.clone(),
            initial: initial.map(|(x, slot)| x.as_ref().map(|x| state(x, slot))).collect(),
            d_outs: each(&self.d_outs, &r.outs),
            d_finals: finals.map(|(d, slot)| state(d, slot)).collect(),
            bounds: vec![0, tokens.len()],
        }
    }

    /// The longest sequence and its tokens.
    pub fn longest(&self) -> (usize, usize) {
        let lengths = self.bounds.windows(2).map(|w| w[1] - w[0]).enumerate();
        lengths.max_by_key(|(at, length)| (*length, usize::MAX - at)).unwrap_or((0, 0))
    }
}
