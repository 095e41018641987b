//! The norm of many numbers.

use rayon::prelude::*;

/// Numbers that one thread handles at a time.
pub const SHARE: usize = 1 << 15;

/// The norm of numbers, as one: sums of parts of a fixed size, added in order, so that it is the same
/// on any number of threads.
pub fn norm(of: &[&[f32]]) -> f64 {
    let parts: Vec<&[f32]> = of.iter().flat_map(|numbers| numbers.chunks(SHARE)).collect();
    let squares: Vec<f64> =
        parts.into_par_iter().map(|part| pulp::Arch::new().dispatch(Squares(part))).collect();
    squares.iter().sum::<f64>().sqrt()
}

/// The sums of squares that [`norm`] adds up, of each part by itself.
pub fn squares(of: &[f32]) -> Vec<f64> {
    of.par_chunks(SHARE).map(|part| pulp::Arch::new().dispatch(Squares(part))).collect()
}

/// The sum of squares, in f64.
struct Squares<'a>(&'a [f32]);

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
