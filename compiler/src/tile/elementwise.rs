//! Operations on single numbers, a row each: name, meaning, derivative, where its values lie.

use super::build::Builder;
use super::interval::{Interval, dips, power, rising};
use super::{Bits, Leaf, Op, Value};
use crate::num::Real;

/// The functions of one number, a row each, handed to a macro: documentation, variant, name in texts; the meaning, which every device
/// must agree with; the derivative `dy/dx` as nodes, from the input `x` and the output `y`, `None` where it is zero; and the interval
/// in which values of an interval lie. Where a derivative would be infinite, at the end of what the function is defined for, it is 0:
/// what lies behind such a place has no part in a gradient, and 0 times infinity is no number.
///
/// A new function is a row here and `op_NAME` in `templates/tile/numbers.cuh`.
macro_rules! unary_functions {
    ($then:ident) => {
        $then! {
            /// `-x`
            Neg "neg" {
                value |x| -x,
                slope |b, x, _| Some(constant(b, x, -1.0)),
                within |x| (-x.1, -x.0),
            }

            /// `e^x`
            Exp "exp" {
                value |x| x.exp(),
                slope |_, _, y| Some(y),
                within |x| rising(Unary::Exp, x, (0.0, f64::INFINITY)),
            }

            /// `e^x - 1`, with all digits near 0
            Expm1 "expm1" {
                value |x| (x * R::of(0.5)).tanh() * (x.exp() + R::ONE),
                slope |b, x, _| Some(b.unary(Unary::Exp, x)),
                within |x| rising(Unary::Expm1, x, (-1.0, f64::INFINITY)),
            }

            /// natural logarithm
            Log "log" {
                value |x| x.ln(),
                slope |b, x, _| {
                    let one = constant(b, x, 1.0);
                    let slope = b.div(one, x);
                    Some(unless_zero(b, x, slope))
                },
                within |x| (if x.0 > 0.0 { x.0.ln() } else { f64::NEG_INFINITY }, x.1.max(0.0).ln()),
            }

            /// square root
            Sqrt "sqrt" {
                value |x| x.sqrt(),
                slope |b, x, y| {
                    let half = constant(b, x, 0.5);
                    let slope = b.div(half, y);
                    Some(unless_zero(b, y, slope))
                },
                within |x| (x.0.max(0.0).sqrt(), x.1.max(0.0).sqrt()),
            }

            /// `1 / (1 + e^-x)`
            Sigmoid "sigmoid" {
                value |x| x.sigmoid(),
                slope |b, x, y| {
                    let one = constant(b, x, 1.0);
                    let rest = b.sub(one, y);
                    Some(b.mul(y, rest))
                },
                within |x| rising(Unary::Sigmoid, x, (0.0, 1.0)),
            }

            /// `log(sigmoid(x))`
            LogSigmoid "logsigmoid" {
                value |x| -(-x).softplus(),
                slope |b, x, _| {
                    let minus = b.unary(Unary::Neg, x);
                    Some(b.unary(Unary::Sigmoid, minus))
                },
                within |x| rising(Unary::LogSigmoid, x, (f64::NEG_INFINITY, 0.0)),
            }

            /// `log(1 + e^x)`
            Softplus "softplus" {
                value |x| x.softplus(),
                slope |b, x, _| Some(b.unary(Unary::Sigmoid, x)),
                within |x| rising(Unary::Softplus, x, (0.0, f64::INFINITY)),
            }

            /// `x sigmoid(x)`
            Silu "silu" {
                value |x| x * x.sigmoid(),
                slope |b, x, y| {
                    // s + x s (1 - s) = s (1 + x - y)
                    let s = b.unary(Unary::Sigmoid, x);
                    let one = constant(b, x, 1.0);
                    let sum = b.add(one, x);
                    let rest = b.sub(sum, y);
                    Some(b.mul(s, rest))
                },
                within |x| dips(x, -0.2785),
            }

            /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, the tanh form of GELU
            Gelu "gelu" {
                value |x| gelu(x),
                slope |b, x, _| Some(gelu_slope(b, x)),
                within |x| dips(x, -0.1701),
            }

            /// `max(x, 0)`
            Relu "relu" {
                value |x| maximum(x, R::ZERO),
                slope |b, x, _| Some(b.unary(Unary::Step, x)),
                within |x| rising(Unary::Relu, x, (0.0, f64::INFINITY)),
            }

            /// `x` where `x > 0`, else `e^x - 1`
            Elu "elu" {
                value |x| maximum(x, R::ZERO) + (minimum(x, R::ZERO).exp() - R::ONE),
                slope |b, x, y| {
                    // e^x = y + 1 below 0; above, y + 1 > 1.
                    let one = constant(b, x, 1.0);
                    let more = b.add(y, one);
                    Some(b.binary(Binary::Min, more, one))
                },
                within |x| rising(Unary::Elu, x, (-1.0, f64::INFINITY)),
            }

            /// hyperbolic tangent
            Tanh "tanh" {
                value |x| x.tanh(),
                slope |b, x, y| {
                    let one = constant(b, x, 1.0);
                    let square = b.mul(y, y);
                    Some(b.sub(one, square))
                },
                within |x| (x.0.tanh(), x.1.tanh()),
            }

            /// `|x|`
            Abs "abs" {
                value |x| x.abs(),
                slope |b, x, _| Some(b.unary(Unary::Sign, x)),
                within |x| (x.0.max(-x.1).max(0.0), x.1.max(-x.0)),
            }

            /// -1, 0 or 1
            Sign "sign" {
                value |x| R::of((x > R::ZERO) as u8 as f64 - (x < R::ZERO) as u8 as f64),
                slope |_, _, _| None,
                within |x| (if x.0 >= 0.0 { 0.0 } else { -1.0 }, if x.1 <= 0.0 { 0.0 } else { 1.0 }),
            }

            /// 1 where `x > 0`, else 0
            Step "step" {
                value |x| R::of((x > R::ZERO) as u8 as f64),
                slope |_, _, _| None,
                within |_| (0.0, 1.0),
            }

            /// sine
            Sin "sin" {
                value |x| x.sin(),
                slope |b, x, _| Some(b.unary(Unary::Cos, x)),
                within |_| (-1.0, 1.0),
            }

            /// cosine
            Cos "cos" {
                value |x| x.cos(),
                slope |b, x, _| {
                    let sine = b.unary(Unary::Sin, x);
                    Some(b.unary(Unary::Neg, sine))
                },
                within |_| (-1.0, 1.0),
            }
        }
    };
}
pub(crate) use unary_functions;

/// The type of functions of one number, from its rows.
macro_rules! define {
    ($($(#[$doc:meta])* $op:ident $name:literal {
        value |$z:pat_param| $value:expr,
        slope |$b:pat_param, $x:pat_param, $y:pat_param| $slope:expr,
        within |$ends:pat_param| $within:expr,
    })*) => {
        /// One number in, one number out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unary {
            $($(#[$doc])* $op,)*
            /// `x^c` for a constant `c`
            Pow(Bits),
        }

        impl Unary {
            /// Every function without a constant, by its name.
            pub const NAMED: &[(&str, Unary)] = &[$(($name, Unary::$op)),*];

            /// The name in printed programs.
            pub fn name(self) -> String {
                match self {
                    $(Unary::$op => $name.into(),)*
                    Unary::Pow(c) => format!("pow{}", c.value()),
                }
            }

            /// The meaning: every device must agree with it.
            #[inline(always)]
            pub fn eval<R: Real>(self, x: R) -> R {
                match self {
                    $(Unary::$op => {
                        let $z = x;
                        $value
                    })*
                    Unary::Pow(c) => x.powf(R::of(c.value())),
                }
            }

            /// The derivative `dy/dx` as nodes, from the input `x` and the output `y`; `None` where it is zero.
            pub fn derivative(self, b: &mut Builder, x: Value, y: Value) -> Option<Value> {
                match self {
                    $(Unary::$op => {
                        let ($b, $x, $y) = (b, x, y);
                        $slope
                    })*
                    Unary::Pow(c) => Some(power_slope(b, x, c.value())),
                }
            }

            /// Where its values of an interval lie.
            pub fn interval(self, x: Interval) -> Interval {
                match self {
                    $(Unary::$op => {
                        let $ends = x;
                        $within
                    })*
                    Unary::Pow(c) => power(x, c.value()),
                }
            }
        }
    };
}
unary_functions!(define);

impl Unary {
    /// Every operation, for tests and reference tables; `Pow` with a sample exponent.
    pub fn all() -> Vec<Unary> {
        let named = Unary::NAMED.iter().map(|(_, op)| *op);
        named.chain([Unary::Pow(Bits::of(1.5))]).collect()
    }

    /// Whether the slope jumps somewhere: it is a step itself, or there is none because the function jumps.
    pub fn has_kink(self) -> bool {
        let mut b = Builder::new();
        let (x, y) = (b.leaf(Leaf::Param(0), &[1]), b.leaf(Leaf::Param(1), &[1]));
        self.derivative(&mut b, x, y).is_none_or(|slope| {
            matches!(
                b.node(slope).op,
                Op::Unary(Unary::Step | Unary::Sign) | Op::Binary(Binary::Ge)
            )
        })
    }
}

/// The larger one. A comparison with what is no number is false, which gives the second one.
#[inline(always)]
fn maximum<R: Real>(a: R, b: R) -> R {
    if nan(a) { a } else { a.max(b) }
}

/// The smaller one.
#[inline(always)]
fn minimum<R: Real>(a: R, b: R) -> R {
    if nan(a) { a } else { a.min(b) }
}

/// Whether it is no number.
#[inline(always)]
#[expect(clippy::eq_op, reason = "what is no number is not even itself")]
fn nan<R: Real>(x: R) -> bool {
    x != x
}

const GELU_A: f64 = 0.797_884_560_802_865_4;
const GELU_B: f64 = 0.044_715;

fn gelu<R: Real>(x: R) -> R {
    let inner = R::of(GELU_A) * (x + R::of(GELU_B) * x * x * x);
    R::of(0.5) * x * (R::ONE + inner.tanh())
}

fn gelu_slope(b: &mut Builder, x: Value) -> Value {
    let one = constant(b, x, 1.0);
    let square = b.mul(x, x);
    let three = constant(b, x, 3.0 * GELU_A * GELU_B);
    let first = constant(b, x, GELU_A);
    let bend = b.mul(three, square);
    let slope = b.add(first, bend);
    let third = constant(b, x, GELU_A * GELU_B);
    let cubic = b.mul(third, square);
    let factor = b.add(first, cubic);
    let inner = b.mul(x, factor);
    let tanh = b.unary(Unary::Tanh, inner);
    let tanh2 = b.mul(tanh, tanh);
    let rest = b.sub(one, tanh2);
    let left = b.add(one, tanh);
    let half = constant(b, x, 0.5);
    let curve = b.mul(x, rest);
    let right = b.mul(curve, slope);
    let sum = b.add(left, right);
    b.mul(half, sum)
}

/// The slope of `x^c`.
fn power_slope(b: &mut Builder, x: Value, c: f64) -> Value {
    let factor = constant(b, x, c);
    let power = b.unary(Unary::Pow(Bits::of(c - 1.0)), x);
    let slope = b.mul(factor, power);
    if c < 1.0 { unless_zero(b, x, slope) } else { slope }
}

/// A number in the shape of a value.
fn constant(b: &mut Builder, like: Value, c: f64) -> Value {
    let shape = b.shape(like).to_vec();
    b.fill(c, &shape)
}

/// A slope where `x` is not 0, else 0.
fn unless_zero(b: &mut Builder, x: Value, slope: Value) -> Value {
    let none = b.fill(0.0, &vec![1; b.shape(x).len()]);
    b.select(x, slope, none)
}

/// Two numbers in, one number out; axes of size 1 are repeated. Products are `Op::MulSum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a / b`
    Div,
    /// the larger one; no number where one of them is none
    Max,
    /// the smaller one; no number where one of them is none
    Min,
    /// `log(e^a + e^b)`
    LogAddExp,
    /// 1 where `a >= b`, else 0
    Ge,
}

impl Binary {
    /// Every operation, for tests and reference tables.
    pub const ALL: [Binary; 7] = [
        Binary::Add,
        Binary::Sub,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::LogAddExp,
        Binary::Ge,
    ];

    /// The name in printed programs.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The meaning: every device must agree with it.
    #[inline(always)]
    pub fn eval<R: Real>(self, a: R, b: R) -> R {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Div => a / b,
            Binary::Max => maximum(a, b),
            Binary::Min => minimum(a, b),
            Binary::LogAddExp => {
                let top = a.max(b);
                if top == R::of(f64::NEG_INFINITY) {
                    return top;
                }
                top + (-(a - b).abs()).exp().ln_1p()
            }
            Binary::Ge => R::of((a >= b) as u8 as f64),
        }
    }

    /// Cotangents of both operands before they are summed over repeated axes.
    pub fn vjp(
        self,
        builder: &mut Builder,
        [a, b, y]: [Value; 3],
        dy: Value,
    ) -> [Option<Value>; 2] {
        match self {
            Binary::Add => [Some(dy), Some(dy)],
            Binary::Sub => {
                let minus = builder.unary(Unary::Neg, dy);
                [Some(dy), Some(minus)]
            }
            Binary::Div => {
                let da = builder.div(dy, b);
                let product = builder.mul(da, y);
                let db = builder.unary(Unary::Neg, product);
                [Some(da), Some(db)]
            }
            Binary::Max | Binary::Min => {
                let (first, second) = if self == Binary::Max { (a, b) } else { (b, a) };
                let wins = builder.binary(Binary::Ge, first, second);
                let da = builder.mul(dy, wins);
                let db = builder.sub(dy, da);
                [Some(da), Some(db)]
            }
            Binary::LogAddExp => {
                let gap = builder.sub(a, b);
                let share = builder.unary(Unary::Sigmoid, gap);
                let da = builder.mul(dy, share);
                let db = builder.sub(dy, da);
                [Some(da), Some(db)]
            }
            Binary::Ge => [None, None],
        }
    }
}
