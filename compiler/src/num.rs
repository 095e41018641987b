//! The numbers that programs compute with: f32 for speed, f64 for the truth.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// A floating-point number that the interpreter can run on.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// A product of decays below this is zero: far below rounding beside anything that has not
    /// decayed, and so far above the smallest normal number that what it multiplies stays normal.
    /// Processors are up to a hundred times slower on numbers that are not.
    const FADED: Self;
    /// Rounds an f64 to this type.
    fn of(x: f64) -> Self;
    /// Widens to f64.
    fn wide(self) -> f64;
    /// `e^x`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)`, exact for small `x`.
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// `x^y`.
    fn powf(self, y: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger one.
    fn max(self, other: Self) -> Self;
    /// The smaller one.
    fn min(self, other: Self) -> Self;

    /// `1 / (1 + e^-x)`, without overflow for any `x`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let e = (-self.abs()).exp();
        let small = e / (Self::ONE + e);
        if self >= Self::ZERO { Self::ONE - small } else { small }
    }

    /// The product of decays, zero once it is below `least`: [`Real::FADED`], or 0 where it may grow
    /// again.
    #[inline(always)]
    fn fade(self, decay: Self, least: Self) -> Self {
        let product = self * decay;
        if product.abs() < least { Self::ZERO } else { product }
    }

    /// Whether it is a number and no infinity.
    #[inline(always)]
    fn is_finite(self) -> bool {
        // What is neither gives no 0 here.
        self * Self::ZERO == Self::ZERO
    }

    /// `ln(1 + e^x)`, without overflow for any `x`.
    #[inline(always)]
    fn softplus(self) -> Self {
        self.max(Self::ZERO) + (-self.abs()).exp().ln_1p()
    }

    /// The blocks of memory that are not in use, for [`crate::memory`].
    fn pool<T>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> T) -> T;

    /// As [`Real::gemm`] on all threads of the current rayon pool, for rows of `c` that lie one
    /// after the other (`c.row >= n`, `c.col == 1`). The same bits on any number of threads.
    ///
    /// Each thread takes a band of rows: a tenth faster on two threads than the library's own split.
    fn gemm_shared(
        [m, k, n]: [usize; 3],
        c: MatMut<'_, Self>,
        a: Mat<'_, Self>,
        b: Mat<'_, Self>,
        add: bool,
    ) {
        assert!(c.col == 1 && c.row >= n, "rows of the result overlap");
        let work = m.saturating_mul(k).saturating_mul(n);
        let bands = rayon::current_num_threads().min(m / BAND_ROWS).min(work / BAND_WORK).max(1);
        let rows = m.div_ceil(bands).max(1);
        let bands = c.data.par_chunks_mut((rows * c.row).max(1)).enumerate();
        bands.take(m.div_ceil(rows)).for_each(|(band, data)| {
            let first = band * rows;
            let a = Mat { data: a.data.get(first * a.row..).unwrap_or_default(), ..a };
            let c = MatMut { data, row: c.row, col: 1 };
            Self::gemm([rows.min(m - first), k, n], c, a, b, add);
        });
    }

    /// `c = a b`, or `c += a b` with `add`, for strided matrices: `c: [m, n]`, `a: [m, k]`, `b: [k, n]`.
    fn gemm(shape: [usize; 3], c: MatMut<'_, Self>, a: Mat<'_, Self>, b: Mat<'_, Self>, add: bool);
}

/// A strided matrix that is read.
#[derive(Clone, Copy)]
pub struct Mat<'a, R> {
    /// The elements; index `i * row + j * col` must stay inside for every row and column used.
    pub data: &'a [R],
    /// Distance between rows, in elements.
    pub row: usize,
    /// Distance between columns, in elements.
    pub col: usize,
}

/// A strided matrix that is written.
pub struct MatMut<'a, R> {
    /// The elements, as in [`Mat`].
    pub data: &'a mut [R],
    /// Distance between rows, in elements.
    pub row: usize,
    /// Distance between columns, in elements.
    pub col: usize,
}

/// Rows of a band of a shared product at least.
const BAND_ROWS: usize = 16;
/// Multiplications in a band of a shared product at least; waking a thread costs some microseconds.
const BAND_WORK: usize = 1 << 18;

/// Whether a strided matrix stays inside `length` elements, with distances that gemm can count.
fn inside(rows: usize, cols: usize, [row, col]: [usize; 2], length: usize) -> bool {
    if rows == 0 || cols == 0 {
        return true;
    }
    let last = || {
        let down = (rows - 1).checked_mul(row)?;
        let along = (cols - 1).checked_mul(col)?;
        down.checked_add(along)
    };
    let countable = |distance: usize| isize::try_from(distance).is_ok();
    last().is_some_and(|last| last < length) && countable(row) && countable(col)
}

/// Functions in f32 without calls and without branches, so that loops over them use vector
/// registers. All are polynomials of the Cephes library with its reductions of the argument.
mod f32_functions {
    /// Adding and taking away this rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;

    /// `2^n` for `n` in -126..=127.
    #[inline(always)]
    fn power(n: i32) -> f32 {
        f32::from_bits(((n + 127) << 23) as u32)
    }

    /// `e^x`: `2^n e^r` with `n` the nearest whole number to `x / ln 2`. Within 1.5 units in the
    /// last place; results below the smallest normal number are 0.
    #[inline(always)]
    pub fn exp(x: f32) -> f32 {
        let bounded = if x > 88.72 { 88.72 } else { x };
        let bounded = if bounded < -87.33 { -87.33 } else { bounded };
        let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = bounded - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4_f32;
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p * r + c;
        }
        let y = p * r * r + r + 1.0;
        // Two factors, since 2^128 is no f32.
        let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        let half = n >> 1;
        let y = y * power(half) * power(n - half);
        let y = if x < -87.33 { 0.0 } else { y };
        let y = if x > 88.72 { f32::INFINITY } else { y };
        if x.is_nan() { x } else { y }
    }

    /// `ln x` for normal positive `x`: `ln m + n ln 2` with `m` in `√½..√2`. Zero gives minus
    /// infinity, less than zero gives no number.
    #[inline(always)]
    pub fn ln(x: f32) -> f32 {
        let bits = x.to_bits() as i32;
        // The exponent of x / √½, so that the rest lies around 1. What is no positive number may wrap: it is told apart
        // at the end.
        let n = bits.wrapping_sub(0x3f35_04f3) >> 23;
        let m = f32::from_bits(bits.wrapping_sub(n << 23) as u32) - 1.0;
        let mut p = 7.037_683_6e-2_f32;
        for c in [
            -1.151_461e-1,
            1.167_699_84e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_4e-1,
            -2.499_999_4e-1,
            0.333_333_3,
        ] {
            p = p * m + c;
        }
        let n = n as f32;
        let square = m * m;
        let y = p * m * square + n * -2.121_944_4e-4 - 0.5 * square + m + n * 0.693_359_4;
        let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
        let y = if x == f32::INFINITY { x } else { y };
        if x < 0.0 || x.is_nan() { f32::NAN } else { y }
    }

    /// `ln(1 + x)`: what rounding takes from `1 + x` is put back to first order.
    #[inline(always)]
    pub fn ln_1p(x: f32) -> f32 {
        let one_more = 1.0 + x;
        let lost = x - (one_more - 1.0);
        let y = ln(one_more) + lost / one_more;
        if one_more == f32::INFINITY { one_more } else { y }
    }

    /// Hyperbolic tangent: a polynomial near 0, elsewhere by `e^2x`.
    #[inline(always)]
    pub fn tanh(x: f32) -> f32 {
        let square = x * x;
        let mut p = -5.704_988_7e-3_f32;
        for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -0.333_332_8] {
            p = p * square + c;
        }
        let near = p * square * x + x;
        let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
        if x.abs() < 0.625 { near } else { far.copysign(x) }
    }
}

/// The standard library's functions.
mod f64_functions {
    pub fn exp(x: f64) -> f64 {
        x.exp()
    }
    pub fn ln(x: f64) -> f64 {
        x.ln()
    }
    pub fn ln_1p(x: f64) -> f64 {
        x.ln_1p()
    }
    pub fn tanh(x: f64) -> f64 {
        x.tanh()
    }
}

macro_rules! real {
    ($t:ty, $product:ident, $functions:ident, $faded:expr) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const FADED: Self = $faded;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $functions::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $functions::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $functions::ln_1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $functions::tanh(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                <$t>::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                <$t>::cos(self)
            }
            #[inline(always)]
            fn powf(self, y: Self) -> Self {
                <$t>::powf(self, y)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self >= other { self } else { other }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self <= other { self } else { other }
            }

            fn pool<T>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> T) -> T {
                static POOL: Mutex<Vec<Vec<$t>>> = Mutex::new(Vec::new());
                f(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
            }

            fn gemm(
                shape: [usize; 3],
                c: MatMut<'_, Self>,
                a: Mat<'_, Self>,
                b: Mat<'_, Self>,
                add: bool,
            ) {
                $product(shape, c, a, b, add);
            }
        }

        #[expect(unsafe_code, reason = "the one wrapper around the gemm crate")]
        fn $product(
            [m, k, n]: [usize; 3],
            c: MatMut<'_, $t>,
            a: Mat<'_, $t>,
            b: Mat<'_, $t>,
            add: bool,
        ) {
            assert!(inside(m, n, [c.row, c.col], c.data.len()), "product outside its result");
            assert!(inside(m, k, [a.row, a.col], a.data.len()), "product outside its left side");
            assert!(inside(k, n, [b.row, b.col], b.data.len()), "product outside its right side");
            assert!(m <= 1 || n <= 1 || c.row != 0 && c.col != 0, "overlapping result");
            // SAFETY: every element that gemm touches lies at `i * row + j * col` with indices
            // below the given sizes; the asserts above keep the largest of them inside each slice,
            // computed without wrapping, and every distance within an `isize`.
            // `c` is borrowed mutably, so it overlaps neither input.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    c.data.as_mut_ptr(),
                    c.col as isize,
                    c.row as isize,
                    add,
                    a.data.as_ptr(),
                    a.col as isize,
                    a.row as isize,
                    b.data.as_ptr(),
                    b.col as isize,
                    b.row as isize,
                    if add { 1.0 } else { 0.0 },
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    };
}
// 2^-80 and 2^-900.
real!(f32, product_f32, f32_functions, 8.271_806e-25);
real!(f64, product_f64, f64_functions, 1.183_085_8e-271);

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over evenly spaced arguments.
    fn worst(f: fn(f32) -> f32, truth: fn(f64) -> f64, from: f64, to: f64) -> f64 {
        (0..=1_000_000)
            .map(|i| (from + (to - from) * f64::from(i) * 1e-6) as f32)
            .map(|x| {
                let want = truth(f64::from(x));
                let gap = (f64::from(f(x)) - want).abs();
                if want == 0.0 { gap } else { gap / want.abs() }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn functions_agree_with_the_library() {
        assert!(worst(Real::exp, f64::exp, -87.0, 88.7) < 2e-7);
        assert!(worst(Real::ln, f64::ln, 1e-30, 1e-3) < 2e-7);
        assert!(worst(Real::ln, f64::ln, 0.001, 0.9) < 2e-7);
        assert!(worst(Real::ln, f64::ln, 1.1, 1e6) < 2e-7);
        assert!(worst(Real::ln_1p, f64::ln_1p, -0.5, 1e-3) < 4e-7);
        assert!(worst(Real::ln_1p, f64::ln_1p, 1e-9, 10.0) < 4e-7);
        assert!(worst(Real::tanh, f64::tanh, -20.0, 20.0) < 3e-7);
        assert!(
            worst(Real::softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), -80.0, 80.0) < 1e-6
        );
    }

    #[test]
    fn products_refuse_distances_that_wrap() {
        let refused = |row: usize| {
            let data = [1.0_f32; 8];
            let mut to = [0.0_f32; 4];
            let (a, b) = (Mat { data: &data, row, col: 1 }, Mat { data: &data, row: 2, col: 1 });
            let c = MatMut { data: &mut to, row: 2, col: 1 };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                f32::gemm([2, 2, 2], c, a, b, false);
            }))
            .is_err()
        };
        assert!(!refused(2) && refused(7) && refused(usize::MAX) && refused(usize::MAX / 2 + 2));
        // Three rows at this distance wrap around to the first elements.
        assert!(!inside(3, 1, [usize::MAX / 2 + 1, 1], 8));
        assert!(inside(0, 3, [usize::MAX, 1], 0) && inside(1, 8, [usize::MAX / 4, 1], 8));
    }

    #[test]
    fn functions_at_their_ends() {
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp(-200.0_f32), 0.0);
        assert_eq!(Real::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(Real::exp(0.0_f32), 1.0);
        assert!(Real::exp(f32::NAN).is_nan());
        assert_eq!(Real::ln(1.0_f32), 0.0);
        assert_eq!(Real::ln(0.0_f32), f32::NEG_INFINITY);
        assert_eq!(Real::ln(f32::INFINITY), f32::INFINITY);
        assert!(Real::ln(-1.0_f32).is_nan() && Real::ln(f32::NAN).is_nan());
        assert_eq!(Real::ln_1p(0.0_f32), 0.0);
        assert_eq!(Real::ln_1p(f32::INFINITY), f32::INFINITY);
        assert_eq!((Real::tanh(100.0_f32), Real::tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert!(Real::tanh(f32::NAN).is_nan());
    }
}
