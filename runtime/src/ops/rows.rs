//! Rows of numbers moved and added up.

use super::norm::norm;

/// Adds entry by entry.
pub fn add(to: &mut [f32], d: &[f32]) {
    to.iter_mut().zip(d).for_each(|(x, &d)| *x += d);
}

/// `to[r] = table[which[r]]`, rows of `width` numbers.
pub fn gather(to: &mut [f32], table: &[f32], which: &[u32], width: usize) {
    for (to, row) in to.chunks_exact_mut(width).zip(which) {
        to.copy_from_slice(&table[*row as usize * width..][..width]);
    }
}

/// `to[which[r]] = from[r]`.
pub fn scatter(to: &mut [f32], from: &[f32], which: &[u32], width: usize) {
    for (from, row) in from.chunks_exact(width).zip(which) {
        to[*row as usize * width..][..width].copy_from_slice(from);
    }
}

/// `to[which[r]] += from[r]`, in order.
pub fn collect(to: &mut [f32], from: &[f32], which: &[u32], width: usize) {
    for (from, row) in from.chunks_exact(width).zip(which) {
        add(&mut to[*row as usize * width..][..width], from);
    }
}

/// The mean of so many rows.
pub fn average(to: &mut [f32], from: &[f32], rows: usize) {
    let mut sum = vec![0.0; to.len()];
    for row in from.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(to, x)| *to += f64::from(*x));
    }
    to.iter_mut().zip(sum).for_each(|(to, x)| *to = (x / rows.max(1) as f64) as f32);
}

/// `to[c, r] = from[r, c]`, `columns` of them.
pub fn transpose(to: &mut [f32], from: &[f32], columns: usize) {
    let rows = from.len() / columns;
    for (row, line) in from.chunks_exact(columns).enumerate() {
        for (column, value) in line.iter().enumerate() {
            to[column * rows + row] = *value;
        }
    }
}

/// Each row times its factor.
pub fn scale(rows: &mut [f32], factors: &[f32], width: usize) {
    for (row, factor) in rows.chunks_exact_mut(width).zip(factors) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

/// A share of `from` for every row of `to`.
pub fn spread(to: &mut [f32], from: &[f32], share: f32) {
    let d: Vec<f32> = from.iter().map(|d| share * d).collect();
    to.chunks_exact_mut(d.len()).for_each(|row| row.copy_from_slice(&d));
}

/// `to = x / ‖x‖`; nothing is divided by less than 1e-7.
pub fn unit(to: &mut [f32], x: &[f32]) {
    let norm = norm(&[x]) + 1e-7;
    to.iter_mut().zip(x).for_each(|(to, x)| *to = (f64::from(*x) / norm) as f32);
}
