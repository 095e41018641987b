//! Gradients against differences.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Form, Gradients, Outputs};
use lrc_compiler::tile::{Binary, Op, Program};

use super::drawn::Drawn;
use super::{BARS, Trial};
use crate::ground::random::{Purpose, Stream};

/// Directions tried per tensor.
const DIRECTIONS: u64 = 3;

/// Distances along a direction; shorter ones tell a kink from a slope that is wrong.
const STEPS: [f64; 3] = [1e-5, 1e-6, 1e-7];

/// What differences say of the gradient along one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slope {
    /// They agree up to this, relative.
    Agrees(f64),
    /// The two sides disagree: a kink.
    Kink,
    /// They end at the end of what is promised, and agree beside it.
    Edge,
    /// They disagree by this, and nothing explains it.
    Differs(f64),
}

/// A place from which to go along directions.
pub(super) struct Around<'a> {
    r: &'a Recurrence,
    trial: &'a Trial,
    drawn: &'a Drawn<f64>,
    gradients: &'a Gradients<f64>,
    form: &'a Form,
    /// How far rounding may move the loss. Each of its terms is a sum over tokens, rounded at every one.
    rounding: f64,
}

impl<'a> Around<'a> {
    /// Around what a trial drew, with the recurrent form's outputs and gradients there.
    pub fn new(
        r: &'a Recurrence,
        trial: &'a Trial,
        drawn: &'a Drawn<f64>,
        truth: &Outputs<f64>,
        gradients: &'a Gradients<f64>,
        form: &'a Form,
    ) -> Around<'a> {
        let tokens = drawn.bounds.last().copied().unwrap_or(0) as f64;
        let rounding = tokens * f64::EPSILON * drawn.terms(truth);
        Around { r, trial, drawn, gradients, form, rounding }
    }

    /// The largest gap of central differences at the longest distance, as if there were no kinks.
    pub fn worst(&self) -> f64 {
        self.directions()
            .map(|(tensor, along)| self.gap(tensor, &along, STEPS[0]))
            .fold(0.0, f64::max)
    }

    /// What differences say, direction by direction, each with the tensor that it moves: inputs, then
    /// parameters.
    pub fn slopes(&self) -> impl Iterator<Item = (usize, Slope)> + '_ {
        self.directions().map(|(tensor, along)| (tensor, self.slope(tensor, &along)))
    }

    /// A direction keeps promises only to first order, which is all that a slope needs.
    fn directions(&self) -> impl Iterator<Item = (usize, Vec<f64>)> + '_ {
        let count = self.drawn.inputs.len() + self.drawn.params.len();
        (0..count).flat_map(move |tensor| {
            (0..DIRECTIONS).map(move |direction| {
                let item = 1 + tensor as u64 * DIRECTIONS + direction;
                let mut random = Stream::new(self.trial.seed, Purpose::Verify, item);
                // Large numbers move by a share of themselves, or the step would be lost in them.
                let along = |x: &f64| random.normal() * x.abs().max(1.0);
                (tensor, self.data(tensor).iter().map(along).collect())
            })
        })
    }

    /// What belongs to a tensor: inputs come before parameters.
    fn of<'v, T>(tensor: usize, inputs: &'v [T], params: &'v [T]) -> &'v T {
        inputs.get(tensor).unwrap_or_else(|| &params[tensor - inputs.len()])
    }

    fn data(&self, tensor: usize) -> &[f64] {
        Self::of::<Vec<f64>>(tensor, &self.drawn.inputs, &self.drawn.params)
    }

    fn slot(&self, tensor: usize) -> &Slot {
        Self::of(tensor, &self.r.inputs, &self.r.params)
    }

    fn gradient(&self, tensor: usize) -> &[f64] {
        Self::of::<Vec<f64>>(tensor, &self.gradients.inputs, &self.gradients.params)
    }

    /// The loss at a distance along a direction.
    fn moved(&self, tensor: usize, along: &[f64], step: f64) -> f64 {
        let mut copy = self.drawn.clone();
        let inputs = copy.inputs.len();
        let target = match tensor.checked_sub(inputs) {
            None => &mut copy.inputs[tensor],
            Some(param) => &mut copy.params[param],
        };
        target.iter_mut().zip(along).for_each(|(x, d)| *x += step * d);
        let problem = copy.problem(self.r, self.trial.heads);
        copy.loss(&self.form.forward(&problem, false).0)
    }

    /// The gradient along a direction, and the size that gaps are relative to.
    fn expected(&self, tensor: usize, along: &[f64]) -> (f64, f64) {
        let gradient = self.gradient(tensor);
        let dot: f64 = gradient.iter().zip(along).map(|(g, d)| g * d).sum();
        let weighed = gradient.iter().zip(self.data(tensor)).map(|(g, x)| g * x.abs().max(1.0));
        let size = weighed.map(|g| g * g).sum::<f64>().sqrt();
        (dot, size.max(dot.abs()).max(1e-3))
    }

    fn gap(&self, tensor: usize, along: &[f64], step: f64) -> f64 {
        let slope =
            |h: f64| (self.moved(tensor, along, h) - self.moved(tensor, along, -h)) / (2.0 * h);
        // Two differences together take out the curvature of a quotient near a pole.
        let difference = (4.0 * slope(step) - slope(2.0 * step)) / 3.0;
        let (dot, size) = self.expected(tensor, along);
        // Where outputs are large and a slope is small, a difference holds only rounding.
        let gap = (difference - dot).abs() - self.rounding / step;
        if gap.is_finite() { gap.max(0.0) / size } else { f64::INFINITY }
    }

    fn slope(&self, tensor: usize, along: &[f64]) -> Slope {
        let gap = self.gap(tensor, along, STEPS[0]);
        if gap < BARS.slope {
            return Slope::Agrees(gap);
        }
        let near = |along: &[f64]| {
            let gaps = STEPS[1..].iter().map(|step| self.gap(tensor, along, *step));
            gaps.fold(f64::INFINITY, f64::min)
        };
        let nearest = near(along);
        if nearest < BARS.slope {
            // A kink that a longer distance crosses.
            return if kinks(&self.r.token) { Slope::Kink } else { Slope::Agrees(nearest) };
        }
        let inside = self.inside(tensor, along);
        let edge = inside != along;
        if edge && near(&inside) < BARS.slope {
            return Slope::Edge;
        }
        if self.sides_disagree(tensor, &inside) { Slope::Kink } else { Slope::Differs(gap) }
    }

    /// The direction without the entries that stand at an end of what is promised.
    fn inside(&self, tensor: usize, along: &[f64]) -> Vec<f64> {
        let Some((low, high)) = self.slot(tensor).interval else { return along.to_vec() };
        let at_end = |x: f64| (x - low).abs() < 1e-4 || (x - high).abs() < 1e-4;
        let data = self.data(tensor).iter().zip(along);
        data.map(|(x, d)| if at_end(*x) { 0.0 } else { *d }).collect()
    }

    /// Whether one-sided differences keep a gap, however short the distance, that is as large as
    /// that to the gradient: of a smooth function it goes down with the distance.
    fn sides_disagree(&self, tensor: usize, along: &[f64]) -> bool {
        let here = self.moved(tensor, along, 0.0);
        let (dot, size) = self.expected(tensor, along);
        STEPS[1..].iter().all(|step| {
            let right = (self.moved(tensor, along, *step) - here) / step;
            let left = (here - self.moved(tensor, along, -step)) / step;
            let gap = ((right + left) / 2.0 - dot).abs();
            (right - left).abs() > BARS.slope * size && gap <= (right - left).abs()
        })
    }
}

/// Whether a program has a function with a kink.
pub(super) fn kinks(program: &Program) -> bool {
    program.nodes.iter().any(|node| match &node.op {
        Op::Unary(op) => op.has_kink(),
        Op::Binary(Binary::Max | Binary::Min | Binary::Ge) | Op::Largest(_) => true,
        Op::Past(past) => kinks(&past.term),
        _ => false,
    })
}
