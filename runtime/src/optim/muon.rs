//! Muon (Jordan et al. 2024) for matrices: the running mean of the gradient, made orthogonal by a few
//! steps of a Newton–Schulz iteration, scaled so that entries are as large as those of AdamW's updates
//! (Liu et al. 2025).

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};

use super::rule::{Rule, Step, step};
use super::{AdamW, CLIP, EPS, MOMENTUM, Settings, beta1, beta2, decay, lr};
use crate::device::backend::{Backend, Elementwise};
use crate::device::parameters::zeros;
use crate::device::store::Tensor;
use crate::fields::{Field, Given, Preset, Variant, variant};
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};

/// Coefficients of the iteration `X ← aX + (bA + cA²)X`, `A = XXᵀ` (Jordan et al. 2024): they drive
/// singular values from anywhere in (0, 1] to about 1.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Steps of the iteration.
const STEPS: usize = 5;

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Decay of the running mean, with Nesterov's look ahead.
    pub momentum: f64,
    /// AdamW, for everything but matrices of dense products.
    pub rest: AdamW,
}

impl Settings for Muon {
    const FIELDS: Variant = variant(
        "muon",
        &[
            lr(1e-3),
            beta1(0.9),
            beta2(0.95),
            EPS,
            Field { default: Preset::Number(0.95), ..MOMENTUM },
            decay(0.1),
            CLIP,
        ],
        "matrices of dense products by Muon, scaled like AdamW's updates (Liu et al. 2025), the rest by AdamW",
    );

    fn read(given: &mut dyn Given) -> Muon {
        Muon { momentum: given.number("momentum"), rest: AdamW::read(given) }
    }

    fn rule(&self) -> Box<dyn Rule> {
        self.rest.rule()
    }
}

/// The rule for matrices, ready to run.
#[derive(Clone, Copy, Debug)]
pub struct Orthogonal {
    /// Decay of the running mean, with Nesterov's look ahead.
    momentum: f32,
    /// The running mean, and where it goes next.
    mean: Elementwise,
    /// `x ← a x + y`.
    add: Elementwise,
    /// `y ← b x + c y`.
    mix: Elementwise,
    /// `x ← keep x - rate u`.
    step: Elementwise,
}

/// The numbers of one parameter: its matrices lie one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Matrices {
    /// The parameter.
    pub x: Tensor,
    /// Where the running mean of its gradient goes next.
    pub ahead: Tensor,
    /// Rows and columns.
    pub shape: [usize; 2],
}

/// The running mean `m`, and where it goes next.
#[derive(Clone)]
struct Mean;

impl Formula<2, 1, 3> for Mean {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [_, m]: [A::Number; 2],
        [g]: [A::Number; 1],
        [clip, b, c]: [A::Number; 3],
    ) -> [A::Number; 2] {
        let g = a.mul(g, clip);
        let m = a.mix([b, m], [c, g]);
        [a.mix([b, m], [c, g]), m]
    }
}

/// `x ← p x + y`
#[derive(Clone)]
struct ScaledSum;

impl Formula<1, 1, 1> for ScaledSum {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x]: [A::Number; 1],
        [y]: [A::Number; 1],
        [p]: [A::Number; 1],
    ) -> [A::Number; 1] {
        let scaled = a.mul(p, x);
        [a.add(scaled, y)]
    }
}

/// `y ← b x + c y`
#[derive(Clone)]
struct Mixed;

impl Formula<1, 1, 2> for Mixed {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [y]: [A::Number; 1],
        [x]: [A::Number; 1],
        [b, c]: [A::Number; 2],
    ) -> [A::Number; 1] {
        [a.mix([b, x], [c, y])]
    }
}

/// `x ← keep x - rate u`
#[derive(Clone)]
struct Stepped;

impl Formula<1, 1, 2> for Stepped {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [x]: [A::Number; 1],
        [u]: [A::Number; 1],
        [keep, rate]: [A::Number; 2],
    ) -> [A::Number; 1] {
        let update = a.mul(rate, u);
        [step(a, [x, keep], update)]
    }
}

impl Orthogonal {
    /// Makes the programs ready.
    pub fn new(momentum: f64, backend: &mut dyn Backend) -> Result<Orthogonal, Failure> {
        Ok(Orthogonal {
            momentum: momentum as f32,
            mean: backend.compile("muon_mean", InPlace::new(Mean))?,
            add: backend.compile("muon_add", InPlace::new(ScaledSum))?,
            mix: backend.compile("muon_mix", InPlace::new(Mixed))?,
            step: backend.compile("muon_step", InPlace::new(Stepped))?,
        })
    }

    /// Updates the running mean `m` of whole spans and writes where it goes next.
    pub fn mean(
        &self,
        backend: &mut dyn Backend,
        [ahead, m, g]: [Tensor; 3],
        step: &Step,
    ) -> Result<(), Failure> {
        let numbers = [step.clip, self.momentum, 1.0 - self.momentum];
        backend.elementwise(self.mean, &[ahead, m], &[g], &numbers)
    }

    /// Updates the matrices of a parameter.
    pub fn update(
        &self,
        backend: &mut dyn Backend,
        of: &Matrices,
        step: &Step,
    ) -> Result<(), Failure> {
        let [rows, columns] = of.shape;
        let one = rows * columns;
        // As large as an update of AdamW, whose entries are near 0.2 (Liu et al. 2025).
        let rate = step.lr as f32 * 0.2 * (rows.max(columns) as f32).sqrt();
        for start in (0..of.x.words).step_by(one) {
            let update = self.orthogonal(backend, of.ahead.part(start, one), of.shape)?;
            // What lies behind a matrix belongs to others: it is updated where it lies alone.
            let x = padded(backend, one)?;
            let own = of.x.part(start, one);
            backend.gather(x.part(0, one), own, &[0], one)?;
            backend.elementwise(self.step, &[x], &[update], &[step.keep, rate])?;
            backend.gather(own, x.part(0, one), &[0], one)?;
            backend.free(x);
            backend.free(update);
        }
        Ok(())
    }

    /// The nearest matrix with orthogonal rows or columns, roughly: singular values between 0.7 and 1.2.
    fn orthogonal(
        &self,
        backend: &mut dyn Backend,
        from: Tensor,
        [rows, columns]: [usize; 2],
    ) -> Result<Tensor, Failure> {
        let turned = rows > columns;
        let [short, long] = if turned { [columns, rows] } else { [rows, columns] };
        let one = rows * columns;
        let mut x = padded(backend, one)?;
        if turned {
            let other = backend.alloc("transposed", one)?;
            backend.transpose(other, from, [rows, columns])?;
            backend.unit(x.part(0, one), other)?;
            backend.free(other);
        } else {
            backend.unit(x.part(0, one), from)?;
        }
        self.iterate(backend, x, [short, long])?;
        if turned {
            let other = padded(backend, one)?;
            backend.transpose(other.part(0, one), x.part(0, one), [short, long])?;
            backend.free(std::mem::replace(&mut x, other));
        }
        Ok(x)
    }

    /// The iteration on a matrix with at most as many rows as columns.
    fn iterate(
        &self,
        backend: &mut dyn Backend,
        x: Tensor,
        [rows, columns]: [usize; 2],
    ) -> Result<(), Failure> {
        let [a, b, c] = COEFFICIENTS;
        let (one, gram) = (rows * columns, rows * rows);
        let [square, fourth] = [padded(backend, gram)?, padded(backend, gram)?];
        let next = padded(backend, one)?;
        let wide = Sizes { rows, groups: 1, shape: [columns, rows] };
        let narrow = Sizes { rows, groups: 1, shape: [rows, rows] };
        let part = |tensor: Tensor, words: usize| tensor.part(0, words);
        let (own, second, power) = (part(x, one), part(square, gram), part(fourth, gram));
        for _ in 0..STEPS {
            backend.dense(Dense::Forward, second, [own, own], wide)?;
            backend.dense(Dense::Forward, power, [second, second], narrow)?;
            backend.elementwise(self.mix, &[fourth], &[square], &[b, c])?;
            backend.dense(Dense::GradInput, part(next, one), [power, own], wide)?;
            backend.elementwise(self.add, &[x], &[next], &[a])?;
        }
        [square, fourth, next].into_iter().for_each(|tensor| backend.free(tensor));
        Ok(())
    }
}

/// Room for so many numbers, in whole pieces; what fills them up is 0.
fn padded(backend: &mut dyn Backend, words: usize) -> Result<Tensor, Failure> {
    let whole = words.next_multiple_of(backend.piece().unwrap_or(1));
    zeros(backend, "matrix", whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::ground::random::{Purpose, Stream};

    fn drawn(count: usize) -> Vec<f32> {
        let mut random = Stream::new(1, Purpose::Verify, 0);
        (0..count).map(|_| random.normal() as f32).collect()
    }

    #[test]
    fn rows_become_nearly_orthogonal() {
        for shape @ [rows, columns] in [[6, 10], [10, 6], [7, 7]] {
            let mut backend = Cpu::default();
            let muon = Orthogonal::new(0.95, &mut backend).unwrap();
            let x = drawn(rows * columns);
            let from = backend.alloc("x", x.len()).unwrap();
            backend.write(from, &x).unwrap();
            let made = muon.orthogonal(&mut backend, from, shape).unwrap();
            let o = backend.read(made).unwrap().into_owned();
            // It keeps the direction: the product with what came in is positive.
            assert!(x.iter().zip(&o).map(|(a, b)| a * b).sum::<f32>() > 0.0);
            let [n, m] = [rows.min(columns), rows.max(columns)];
            let at = |i: usize, k: usize| if rows > columns { o[k * n + i] } else { o[i * m + k] };
            for i in 0..n {
                for j in 0..n {
                    let dot: f32 = (0..m).map(|k| at(i, k) * at(j, k)).sum();
                    let near = if i == j { 0.45..1.5 } else { -0.4..0.4 };
                    assert!(near.contains(&dot), "{shape:?} {i} {j} {dot}");
                }
            }
        }
    }

    #[test]
    fn an_update_is_as_large_as_one_of_adamw() {
        let mut backend = Cpu::default();
        let muon = Orthogonal::new(0.95, &mut backend).unwrap();
        let g = drawn(32 * 64);
        let [x, m, ahead, grad] = [0; 4].map(|_| zeros(&mut backend, "numbers", g.len()).unwrap());
        backend.write(grad, &g).unwrap();
        let step = Step { lr: 1.0, keep: 1.0, clip: 1.0, number: 1 };
        muon.mean(&mut backend, [ahead, m, grad], &step).unwrap();
        muon.update(&mut backend, &Matrices { x, ahead, shape: [32, 64] }, &step).unwrap();
        let x = backend.read(x).unwrap();
        let size = (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
        assert!((0.1..0.3).contains(&size), "{size}");
    }
}
