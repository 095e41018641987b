//! Rules that treat every number alone.

/// The sum of squares, in f64.
pub struct Squares<'a>(pub &'a [f32]);

impl pulp::NullaryFnOnce for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let mut lanes = [0.0; 8];
        let chunks = self.0.chunks_exact(8);
        let rest: f64 = chunks.remainder().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        for chunk in chunks {
            for i in 0..8 {
                lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
            }
        }
        lanes.iter().sum::<f64>() + rest
    }
}

/// A rule and its numbers of the step.
#[derive(Clone, Copy, Debug)]
pub enum UpdateRule {
    /// Running means of gradients and of their squares.
    AdamW {
        /// Decay of the first.
        b1: f32,
        /// Decay of the second.
        b2: f32,
        /// The learning rate over the correction of the first.
        rate: f32,
        /// One over the root of the correction of the second.
        root: f32,
        /// Added to the root of the second.
        eps: f32,
    },
    /// The sign of a mean.
    Lion {
        /// Weight of the running mean in the update.
        b1: f32,
        /// Its decay.
        b2: f32,
        /// The learning rate.
        rate: f32,
    },
    /// A running sum.
    Sgd {
        /// Its decay.
        momentum: f32,
        /// Look ahead.
        nesterov: bool,
        /// The learning rate.
        rate: f32,
    },
}

/// Part of a parameter with its gradient and running means, and the numbers of the step.
pub struct Part<'a> {
    /// The parameter.
    pub x: &'a mut [f32],
    /// Its gradient.
    pub g: &'a [f32],
    /// The first mean.
    pub m: &'a mut [f32],
    /// The second mean, where the rule has one.
    pub v: &'a mut [f32],
    /// What is left of it after weight decay.
    pub keep: f32,
    /// Factor on the gradient.
    pub clip: f32,
    /// The rule.
    pub rule: UpdateRule,
}

impl pulp::NullaryFnOnce for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Part { x, g, m, v, keep, clip, rule } = self;
        match rule {
            UpdateRule::AdamW { b1, b2, rate, root, eps } => {
                for ((x, g), (m, v)) in x.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
                    let g = g * clip;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *x = *x * keep - rate * *m / (v.sqrt() * root + eps);
                }
            }
            UpdateRule::Lion { b1, b2, rate } => {
                for ((x, g), m) in x.iter_mut().zip(g).zip(m) {
                    let g = g * clip;
                    let update = b1 * *m + (1.0 - b1) * g;
                    let sign = f32::from(i8::from(update > 0.0) - i8::from(update < 0.0));
                    *x = *x * keep - rate * sign;
                    *m = b2 * *m + (1.0 - b2) * g;
                }
            }
            UpdateRule::Sgd { momentum, nesterov, rate } => {
                for ((x, g), m) in x.iter_mut().zip(g).zip(m) {
                    let g = g * clip;
                    *m = momentum * *m + g;
                    let update = if nesterov { g + momentum * *m } else { *m };
                    *x = *x * keep - rate * update;
                }
            }
        }
    }
}
