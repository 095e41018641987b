//! Causal convolutions as long as the sequence, by Fourier transforms.
//!
//! `y[t] = Σ_{s ≤ t} h[t - s] x[s]`, each channel by itself; `x`, `h`, `y` are `[rows, width]`, the
//! filter's tap `j` stands in the row of token `j`. A transform over twice the length keeps the end
//! from wrapping around to the beginning (Fu et al. 2023, section 3; Poli et al. 2023).

use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Up to this length the sum itself is faster.
const SHORT: usize = 24;
/// Channels that one task takes: a row of them is a line of the cache.
const CHANNELS: usize = 16;

/// Transforms of one length.
struct Transform {
    length: usize,
    there: Arc<dyn RealToComplex<f32>>,
    back: Arc<dyn ComplexToReal<f32>>,
}

impl Transform {
    fn new(tokens: usize) -> Transform {
        let length = (2 * tokens).next_power_of_two();
        let mut planner = RealFftPlanner::new();
        Transform {
            length,
            there: planner.plan_fft_forward(length),
            back: planner.plan_fft_inverse(length),
        }
    }

    fn spectrum(&self, values: &[f32]) -> Vec<Complex32> {
        let mut padded = self.there.make_input_vec();
        padded[..values.len()].copy_from_slice(values);
        let mut spectrum = self.there.make_output_vec();
        self.there.process(&mut padded, &mut spectrum).expect("buffers of the plan's own lengths");
        spectrum
    }

    /// The product of two spectra, the first one conjugated for correlations, as numbers.
    fn product(&self, a: &[Complex32], b: &[Complex32], conjugate: bool) -> Vec<f32> {
        let one = |(a, b): (&Complex32, &Complex32)| if conjugate { a.conj() * b } else { a * b };
        let mut spectrum: Vec<Complex32> = a.iter().zip(b).map(one).collect();
        // What is real by symmetry differs from that by rounding.
        spectrum[0].im = 0.0;
        if let Some(last) = spectrum.last_mut() {
            last.im = 0.0;
        }
        let mut values = self.back.make_output_vec();
        self.back.process(&mut spectrum, &mut values).expect("buffers of the plan's own lengths");
        let scale = 1.0 / self.length as f32;
        values.iter_mut().for_each(|x| *x *= scale);
        values
    }
}

/// One sequence's channels.
struct Columns<'d> {
    data: &'d [f32],
    width: usize,
}

impl Columns<'_> {
    fn get(&self, channel: usize) -> Vec<f32> {
        self.data.iter().skip(channel).step_by(self.width).copied().collect()
    }
}

/// Computes channel by channel what `each` gives from its number, in parallel over blocks of
/// channels, and writes the results in place of `outputs` rows.
fn by_channel<const N: usize>(
    mut outputs: [&mut [f32]; N],
    width: usize,
    each: impl Fn(usize) -> [Vec<f32>; N] + Sync,
) {
    let blocks: Vec<usize> = (0..width).step_by(CHANNELS).collect();
    let made: Vec<Vec<[Vec<f32>; N]>> = blocks
        .par_iter()
        .map(|first| (*first..(first + CHANNELS).min(width)).map(&each).collect())
        .collect();
    for (channel, columns) in made.into_iter().flatten().enumerate() {
        for (output, column) in outputs.iter_mut().zip(columns) {
            for (row, x) in output.chunks_exact_mut(width).zip(column) {
                row[channel] = x;
            }
        }
    }
}

/// Runs forward over sequences that start at `bounds`.
pub fn forward(y: &mut [f32], x: &[f32], h: &[f32], bounds: &[usize], width: usize) {
    for pair in bounds.windows(2) {
        let (rows, tokens) = (pair[0] * width..pair[1] * width, pair[1] - pair[0]);
        let (x, h) = (&x[rows.clone()], &h[rows.clone()]);
        let (columns_x, columns_h) = (Columns { data: x, width }, Columns { data: h, width });
        if tokens <= SHORT {
            last(&mut y[rows], x, h, width);
            continue;
        }
        let transform = Transform::new(tokens);
        by_channel([&mut y[rows]], width, |channel| {
            let x = transform.spectrum(&columns_x.get(channel));
            let h = transform.spectrum(&columns_h.get(channel));
            [transform.product(&x, &h, false)]
        });
    }
}

/// The last rows of `y`, as many as it has, by the sum itself; `x` and `h` hold all rows.
pub fn last(y: &mut [f32], x: &[f32], h: &[f32], width: usize) {
    y.fill(0.0);
    let before = (x.len() - y.len()) / width;
    y.par_chunks_exact_mut(width).enumerate().for_each(|(row, y)| {
        let t = before + row;
        for s in 0..=t {
            let (x, h) = (&x[s * width..][..width], &h[(t - s) * width..][..width]);
            for (y, (x, h)) in y.iter_mut().zip(x.iter().zip(h)) {
                *y += x * h;
            }
        }
    });
}

/// Gradients by `x` and by `h`.
pub fn backward(
    [dx, dh]: [&mut [f32]; 2],
    [x, h, dy]: [&[f32]; 3],
    bounds: &[usize],
    width: usize,
) {
    for pair in bounds.windows(2) {
        let rows = pair[0] * width..pair[1] * width;
        let column = |data| Columns { data, width };
        let (x, h, dy) =
            (column(&x[rows.clone()]), column(&h[rows.clone()]), column(&dy[rows.clone()]));
        let transform = Transform::new(pair[1] - pair[0]);
        by_channel([&mut dx[rows.clone()], &mut dh[rows]], width, |channel| {
            let d = transform.spectrum(&dy.get(channel));
            let x = transform.spectrum(&x.get(channel));
            let h = transform.spectrum(&h.get(channel));
            [transform.product(&h, &d, true), transform.product(&x, &d, true)]
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::{Purpose, Stream};

    /// Against the sum itself in f64, and gradients against what the sum's derivative is.
    #[test]
    fn transforms_agree_with_the_sum() {
        let mut random = Stream::new(1, Purpose::Verify, 0);
        let (width, bounds) = (19, [0, 1, 30, 31 + 24, 200, 1033]);
        let rows = *bounds.last().unwrap_or(&0);
        let mut draw =
            || -> Vec<f32> { (0..rows * width).map(|_| random.normal() as f32).collect() };
        let (x, h, dy) = (draw(), draw(), draw());
        let mut y = vec![f32::NAN; rows * width];
        forward(&mut y, &x, &h, &bounds, width);
        let (mut dx, mut dh) = (y.clone(), y.clone());
        backward([&mut dx, &mut dh], [&x, &h, &dy], &bounds, width);
        for pair in bounds.windows(2) {
            let at = |data: &[f32], t: usize, c: usize| f64::from(data[(pair[0] + t) * width + c]);
            let tokens = pair[1] - pair[0];
            for c in [0, 7, width - 1] {
                for t in (0..tokens).step_by(1 + tokens / 40) {
                    let [mut want_y, mut want_dx, mut want_dh] = [0.0; 3];
                    for s in 0..=t {
                        want_y += at(&h, t - s, c) * at(&x, s, c);
                    }
                    for later in t..tokens {
                        want_dx += at(&h, later - t, c) * at(&dy, later, c);
                        want_dh += at(&x, later - t, c) * at(&dy, later, c);
                    }
                    let bar = 2e-4 * (tokens as f64).sqrt();
                    assert!((at(&y, t, c) - want_y).abs() < bar);
                    assert!((at(&dx, t, c) - want_dx).abs() < bar);
                    assert!((at(&dh, t, c) - want_dh).abs() < bar);
                }
            }
        }
    }
}
