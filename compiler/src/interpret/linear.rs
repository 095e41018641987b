//! Systems of linear equations.

use crate::num::Real;

/// `x` with `a x = b` for each matrix `[n, n]` and right sides `[n, m]`, `b` standing in `x`: Gaussian
/// elimination, the largest entry of each column first.
pub fn solve<R: Real>(a: &[R], x: &mut [R], work: &mut [R], [n, m]: [usize; 2], transposed: bool) {
    for (a, x) in a.chunks_exact(n * n).zip(x.chunks_exact_mut(n * m)) {
        let work = &mut work[..n * n];
        work.copy_from_slice(a);
        if transposed {
            for i in 0..n {
                (0..i).for_each(|j| work.swap(i * n + j, j * n + i));
            }
        }
        for k in 0..n {
            eliminate(work, x, [n, m], k);
        }
        for k in (0..n).rev() {
            let pivot = work[k * n + k];
            x[k * m..][..m].iter_mut().for_each(|x| *x = *x / pivot);
            let (above, row) = x.split_at_mut(k * m);
            for i in 0..k {
                subtract(&mut above[i * m..][..m], &row[..m], work[i * n + k]);
            }
        }
    }
}

/// Takes column `k` out of the rows below row `k`.
fn eliminate<R: Real>(a: &mut [R], x: &mut [R], [n, m]: [usize; 2], k: usize) {
    let size = |v: R| if v < R::ZERO { -v } else { v };
    let largest =
        (k..n).fold(k, |best, i| if size(a[i * n + k]) > size(a[best * n + k]) { i } else { best });
    if largest != k {
        (0..n).for_each(|j| a.swap(k * n + j, largest * n + j));
        (0..m).for_each(|j| x.swap(k * m + j, largest * m + j));
    }
    let (above, below) = a.split_at_mut((k + 1) * n);
    let (x_above, x_below) = x.split_at_mut((k + 1) * m);
    let (row, x_row) = (&above[k * n..], &x_above[k * m..]);
    for (a, x) in below.chunks_exact_mut(n).zip(x_below.chunks_exact_mut(m)) {
        let factor = a[k] / row[k];
        subtract(&mut a[k..], &row[k..], factor);
        subtract(x, x_row, factor);
    }
}

/// `to -= from · factor`.
fn subtract<R: Real>(to: &mut [R], from: &[R], factor: R) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to -= *from * factor);
}
