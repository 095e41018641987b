//! Pointwise expressions of mixers: values with named axes in one growing program.

use lrc_dsl::ast::BinaryOp;

use crate::elaborate::Dim;
use crate::tile::{Binary, Bits, Builder, Int, Leaf, Unary, Value};

/// A value per token with named axes; a node of the mixer's program.
#[derive(Clone, Debug)]
pub struct Named {
    /// The node.
    pub value: Value,
    /// Its axes.
    pub axes: Vec<Dim>,
}

impl Named {
    /// Sizes of the axes.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|a| a.size).collect()
    }
}

/// All axes of two values: those of the first, with what only the second has put where it stands
/// among the second's.
fn union(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let has = |axes: &[Dim], axis: &Dim| axes.iter().any(|x| x.text == axis.text);
    if a.iter().all(|x| has(b, x)) {
        return b.to_vec();
    }
    let mut all = a.to_vec();
    for (at, axis) in b.iter().enumerate().filter(|(_, axis)| !has(a, axis)) {
        let after = b[..at].iter().rev().find_map(|x| all.iter().position(|y| y.text == x.text));
        all.insert(after.map_or(0, |i| i + 1), axis.clone());
    }
    all
}

/// Gives a value the axes of `all`, with size 1 where it lacks one.
fn spread(b: &mut Builder, x: &Named, all: &[Dim]) -> Value {
    let order: Vec<usize> =
        all.iter().filter_map(|axis| x.axes.iter().position(|y| y.text == axis.text)).collect();
    let moved = b.permute(x.value, &order);
    let shape: Vec<usize> = all
        .iter()
        .map(|axis| if x.axes.iter().any(|y| y.text == axis.text) { axis.size } else { 1 })
        .collect();
    b.reshape(moved, &shape)
}

/// `+ - .* /` with axes matched by name. `None` where sizes of one name differ.
pub fn binary(b: &mut Builder, op: BinaryOp, x: &Named, y: &Named) -> Option<Named> {
    let all = union(&x.axes, &y.axes);
    let agrees =
        |n: &Named| n.axes.iter().all(|a| all.iter().any(|c| c.text == a.text && c.size == a.size));
    if !agrees(x) || !agrees(y) {
        return None;
    }
    let (l, r) = (spread(b, x, &all), spread(b, y, &all));
    let value = match op {
        BinaryOp::Add => b.add(l, r),
        BinaryOp::Sub => b.sub(l, r),
        BinaryOp::Div => b.div(l, r),
        _ => b.mul(l, r),
    };
    Some(Named { value, axes: all })
}

/// `x / sqrt(Σ x² + eps)` along the last axis.
pub fn l2norm(b: &mut Builder, x: Value, eps: f64) -> Value {
    let last = b.shape(x).len() - 1;
    let square = b.mul_sum(x, x, &[last]);
    let eps = b.fill(eps, &vec![1; last + 1]);
    let sum = b.add(square, eps);
    let factor = b.unary(Unary::Pow(Bits::of(-0.5)), sum);
    b.mul(x, factor)
}

/// `x / (Σ |x| + eps)` along the last axis.
pub fn l1norm(b: &mut Builder, x: Value, eps: f64) -> Value {
    let last = b.shape(x).len() - 1;
    let size = b.unary(Unary::Abs, x);
    let sum = b.sum(size, &[last]);
    let eps = b.fill(eps, &vec![1; last + 1]);
    let sum = b.add(sum, eps);
    b.div(x, sum)
}

/// `x_i y_j` along the last axes, row by row (the learned feature map of AGaLiTe when `x` and `y`
/// are projections).
pub fn outer(b: &mut Builder, x: Value, y: Value) -> Value {
    let (mut wide, mut tall) = (b.shape(x).to_vec(), b.shape(y).to_vec());
    let last = wide.len() - 1;
    let width = wide[last] * tall[last];
    wide.push(1);
    tall.insert(last, 1);
    let (x, y) = (b.reshape(x, &wide), b.reshape(y, &tall));
    let product = b.mul(x, y);
    wide.truncate(last);
    wide.push(width);
    b.reshape(product, &wide)
}

/// `1, x, x xᵀ / √2`: the second-order Taylor map of `exp(q·k)` (Arora et al. 2024, Based).
pub fn taylor(b: &mut Builder, x: Value) -> Value {
    let mut shape = b.shape(x).to_vec();
    let last = shape.len() - 1;
    let square = outer(b, x, x);
    let square = b.scale(square, std::f64::consts::FRAC_1_SQRT_2);
    shape[last] = 1;
    let one = b.fill(1.0, &shape);
    b.concat(&[one, x, square], last)
}

/// Deterministic parameter-free projection (Schlag, Irie, Schmidhuber 2021): with
/// `z = relu([x, -x])`, the products of `z` and of `z` rolled by 1 to `nu` places.
pub fn dpfp(b: &mut Builder, x: Value, nu: usize) -> Value {
    let last = b.shape(x).len() - 1;
    let minus = b.unary(Unary::Neg, x);
    let both = b.concat(&[x, minus], last);
    let z = b.unary(Unary::Relu, both);
    let width = b.shape(z)[last];
    let parts: Vec<Value> = (1..=nu)
        .map(|roll| {
            let end = b.slice(z, last, width - roll, roll);
            let start = b.slice(z, last, 0, width - roll);
            let rolled = b.concat(&[end, start], last);
            b.mul(z, rolled)
        })
        .collect();
    b.concat(&parts, last)
}

/// `x / sqrt(mean(x²) + eps)` along the last axis.
pub fn rms(b: &mut Builder, x: Value, eps: f64) -> Value {
    let last = b.shape(x).len() - 1;
    let n = b.shape(x)[last] as f64;
    let square = b.mul_sum(x, x, &[last]);
    let mean = b.scale(square, 1.0 / n);
    let ones = vec![1; last + 1];
    let eps = b.fill(eps, &ones);
    let sum = b.add(mean, eps);
    let factor = b.unary(Unary::Pow(Bits::of(-0.5)), sum);
    b.mul(x, factor)
}

/// `x - mean(x)` along the last axis.
pub fn centred(b: &mut Builder, x: Value) -> Value {
    let last = b.shape(x).len() - 1;
    let n = b.shape(x)[last] as f64;
    let sum = b.sum(x, &[last]);
    let mean = b.scale(sum, 1.0 / n);
    b.sub(x, mean)
}

/// How rotary positions are stretched for texts longer than a model has seen.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Turns that take long become so many times slower.
    pub factor: f64,
    /// Those that come round at most so often in `trained` tokens.
    pub low: f64,
    /// Those that come round more often than this stay as they are; those in between are blended.
    pub high: f64,
    /// Tokens of the texts that were seen; all turns become slower where it is not known.
    pub trained: f64,
}

impl Stretch {
    /// The rate of a pair (Llama 3.1; with `factor` alone Chen et al. 2023).
    fn rate(&self, rate: f64) -> f64 {
        let rounds = self.trained * rate / std::f64::consts::TAU;
        if self.trained.is_infinite() || rounds < self.low {
            return rate / self.factor;
        }
        if rounds > self.high {
            return rate;
        }
        let share = (rounds - self.low) / (self.high - self.low);
        (1.0 - share) * rate / self.factor + share * rate
    }
}

/// Rotary positions (Su et al. 2021): pairs `(i, i + n/2)` of the first `n = fraction · d` entries
/// turn by `t · base^(-2i/n)`, or slower where positions are stretched.
pub fn rope(b: &mut Builder, x: Value, base: f64, fraction: f64, stretch: Stretch) -> Value {
    let shape = b.shape(x).to_vec();
    let last = shape.len() - 1;
    let d = shape[last];
    let n = ((d as f64 * fraction) as usize) / 2 * 2;
    if n == 0 {
        return x;
    }
    let half = n / 2;
    let ones = vec![1; shape.len()];
    let rates: Vec<Value> = (0..half)
        .map(|i| b.fill(stretch.rate(base.powf(-2.0 * i as f64 / n as f64)), &ones))
        .collect();
    let rates = b.concat(&rates, last);
    let t = b.leaf(Leaf::Number(Int::T), &[]);
    let t = b.reshape(t, &ones);
    let angle = b.mul(t, rates);
    let (cos, sin) = (b.unary(Unary::Cos, angle), b.unary(Unary::Sin, angle));
    let first = b.slice(x, last, 0, half);
    let second = b.slice(x, last, half, half);
    let rest = (n < d).then(|| b.slice(x, last, n, d - n));
    let (fc, ss) = (b.mul(first, cos), b.mul(second, sin));
    let (sc, fs) = (b.mul(second, cos), b.mul(first, sin));
    let turned_first = b.binary(Binary::Sub, fc, ss);
    let turned_second = b.add(sc, fs);
    let mut parts = vec![turned_first, turned_second];
    parts.extend(rest);
    b.concat(&parts, last)
}
