//! Choosing the next token from logits.

use crate::ground::random::Stream;

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only so many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: f64,
}

impl Sampling {
    /// Draws a token.
    pub fn draw(&self, logits: &[f32], random: &mut Stream) -> u32 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // Of equal logits the first comes first, so that a draw does not depend on the sort.
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        let Some(&best) = order.first() else { return 0 };
        if self.temperature <= 0.0 {
            return best as u32;
        }
        order.truncate(self.top_k.unwrap_or(usize::MAX).max(1));
        let top = f64::from(logits[best]);
        let weight = |at: &usize| ((f64::from(logits[*at]) - top) / self.temperature).exp();
        let whole: f64 = order.iter().map(weight).sum();
        let mut kept = 0.0;
        let count = order
            .iter()
            .take_while(|at| {
                let wanted = kept < self.top_p * whole;
                kept += if wanted { weight(at) } else { 0.0 };
                wanted
            })
            .count();
        order.truncate(count.max(1));
        let mut left = random.uniform() * order.iter().map(weight).sum::<f64>();
        for at in &order {
            left -= weight(at);
            if left < 0.0 {
                return *at as u32;
            }
        }
        best as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn shares(sampling: Sampling) -> Vec<f64> {
        let logits = [0.0, 2.0_f32.ln(), 5.0_f32.ln(), f32::NEG_INFINITY];
        let mut random = Stream::new(1, Purpose::Sample, 0);
        let mut counts = vec![0.0; 4];
        for _ in 0..20_000 {
            counts[sampling.draw(&logits, &mut random) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_have_their_shares() {
        let near = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.02), "{got:?} {want:?}");
        };
        let plain = Sampling { temperature: 1.0, top_k: None, top_p: 1.0 };
        near(shares(plain), [0.125, 0.25, 0.625, 0.0]);
        near(
            shares(Sampling { temperature: 0.5, ..plain }),
            [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0, 0.0],
        );
        near(shares(Sampling { temperature: 0.0, ..plain }), [0.0, 0.0, 1.0, 0.0]);
        near(shares(Sampling { top_k: Some(2), ..plain }), [0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0]);
        near(shares(Sampling { top_p: 0.6, ..plain }), [0.0, 0.0, 1.0, 0.0]);
        near(shares(Sampling { top_p: 0.7, ..plain }), [0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0]);
    }
}
