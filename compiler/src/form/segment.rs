//! Summaries of segments of a sequence: the states that a [`Transition`] starts from, and what it does to others.

use crate::num::Real;
use crate::strategy::transition::{Mixing, Transition};
use crate::tile::size;

impl Transition {
    /// The state before the first token, for one head: what it becomes is the transition.
    pub fn start<R: Real>(&self, state: usize) -> Vec<R> {
        let shape = &self.recurrence.states[state].shape;
        match self.mixing[state] {
            Mixing::Entries => vec![R::ONE; size(shape)],
            Mixing::Axis(_) => {
                let n = shape[0];
                (0..n * n).map(|at| if at % (n + 1) == 0 { R::ONE } else { R::ZERO }).collect()
            }
        }
    }

    /// Numbers of a transition, for one head.
    pub fn size(&self, state: usize) -> usize {
        size(&self.recurrence.states[state].shape)
    }

    /// Adds `A x` for one head, `Aᵀ x` where `turned`; `a` is what the start has become, `x` a state of the recurrence itself.
    pub fn apply<R: Real>(&self, state: usize, a: &[R], x: &[R], turned: bool, to: &mut [R]) {
        let Mixing::Axis(axis) = self.mixing[state] else {
            let both = a.iter().zip(x);
            return to.iter_mut().zip(both).for_each(|(to, (a, x))| *to += *a * *x);
        };
        let n = self.recurrence.states[state].shape[0];
        // What the identity becomes along the second axis is the transpose of the matrix.
        if axis == 0 {
            let rows = x.len() / n;
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let factor = if turned { a[j * n + i] } else { a[i * n + j] };
                add(&mut to[i * rows..][..rows], factor, &x[j * rows..][..rows]);
            }
        } else {
            for (to, x) in to.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                for (j, a) in a.chunks_exact(n).enumerate() {
                    if turned {
                        to[j] += a.iter().zip(x).fold(R::ZERO, |sum, (a, x)| sum + *a * *x);
                    } else {
                        add(to, x[j], a);
                    }
                }
            }
        }
    }
}

fn add<R: Real>(to: &mut [R], factor: R, x: &[R]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += factor * *x);
}
