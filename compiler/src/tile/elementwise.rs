//! Operations on single numbers: name, meaning, derivative and documentation, a row each.

use super::build::Builder;
use super::{Bits, Value};
use crate::num::Real;

/// One number in, one number out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`
    Neg,
    /// `e^x`
    Exp,
    /// natural logarithm
    Log,
    /// square root
    Sqrt,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `log(sigmoid(x))`
    LogSigmoid,
    /// `log(1 + e^x)`
    Softplus,
    /// `x sigmoid(x)`
    Silu,
    /// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, the tanh form of GELU
    Gelu,
    /// `max(x, 0)`
    Relu,
    /// `x` where `x > 0`, else `e^x - 1`
    Elu,
    /// hyperbolic tangent
    Tanh,
    /// `|x|`
    Abs,
    /// -1, 0 or 1
    Sign,
    /// 1 where `x > 0`, else 0
    Step,
    /// sine
    Sin,
    /// cosine
    Cos,
    /// `x^c` for a constant `c`
    Pow(Bits),
}

const GELU_A: f64 = 0.797_884_560_802_865_4;
const GELU_B: f64 = 0.044_715;

impl Unary {
    /// Every operation, for tests and reference tables; `Pow` with a sample exponent.
    pub fn all() -> Vec<Unary> {
        use Unary::*;
        vec![
            Neg,
            Exp,
            Log,
            Sqrt,
            Sigmoid,
            LogSigmoid,
            Softplus,
            Silu,
            Gelu,
            Relu,
            Elu,
            Tanh,
            Abs,
            Sign,
            Step,
            Sin,
            Cos,
            Pow(Bits::of(1.5)),
        ]
    }

    /// The name in printed programs.
    pub fn name(self) -> String {
        match self {
            Unary::Pow(c) => format!("pow{}", c.value()),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// The meaning: every device must agree with it.
    #[inline(always)]
    pub fn eval<R: Real>(self, x: R) -> R {
        match self {
            Unary::Neg => -x,
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Sigmoid => x.sigmoid(),
            Unary::LogSigmoid => -(-x).softplus(),
            Unary::Softplus => x.softplus(),
            Unary::Silu => x * x.sigmoid(),
            Unary::Gelu => {
                let inner = R::of(GELU_A) * (x + R::of(GELU_B) * x * x * x);
                R::of(0.5) * x * (R::ONE + inner.tanh())
            }
            Unary::Relu => x.max(R::ZERO),
            Unary::Elu => x.max(R::ZERO) + (x.min(R::ZERO).exp() - R::ONE),
            Unary::Tanh => x.tanh(),
            Unary::Abs => x.abs(),
            Unary::Sign => R::of((x > R::ZERO) as u8 as f64 - (x < R::ZERO) as u8 as f64),
            Unary::Step => R::of((x > R::ZERO) as u8 as f64),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Pow(c) => x.powf(R::of(c.value())),
        }
    }

    /// The derivative `dy/dx` as nodes, from the input `x` and the output `y`; `None` where it is
    /// zero. Where it would be infinite, at the end of what the function is defined for, it is 0: what
    /// lies behind such a place has no part in a gradient, and 0 times infinity is no number.
    pub fn derivative(self, b: &mut Builder, x: Value, y: Value) -> Option<Value> {
        let shape = b.shape(x).to_vec();
        let one = b.fill(1.0, &shape);
        Some(match self {
            Unary::Neg => b.fill(-1.0, &shape),
            Unary::Exp => y,
            Unary::Log => {
                let slope = b.div(one, x);
                unless_zero(b, x, slope)
            }
            Unary::Sqrt => {
                let half = b.fill(0.5, &shape);
                let slope = b.div(half, y);
                unless_zero(b, y, slope)
            }
            Unary::Sigmoid => {
                let rest = b.sub(one, y);
                b.mul(y, rest)
            }
            Unary::LogSigmoid => {
                let minus = b.unary(Unary::Neg, x);
                b.unary(Unary::Sigmoid, minus)
            }
            Unary::Softplus => b.unary(Unary::Sigmoid, x),
            Unary::Silu => {
                // s + x s (1 - s) = s (1 + x - y)
                let s = b.unary(Unary::Sigmoid, x);
                let sum = b.add(one, x);
                let rest = b.sub(sum, y);
                b.mul(s, rest)
            }
            Unary::Gelu => {
                let square = b.mul(x, x);
                let three = b.fill(3.0 * GELU_A * GELU_B, &shape);
                let first = b.fill(GELU_A, &shape);
                let bend = b.mul(three, square);
                let slope = b.add(first, bend);
                let third = b.fill(GELU_A * GELU_B, &shape);
                let cubic = b.mul(third, square);
                let factor = b.add(first, cubic);
                let inner = b.mul(x, factor);
                let tanh = b.unary(Unary::Tanh, inner);
                let tanh2 = b.mul(tanh, tanh);
                let rest = b.sub(one, tanh2);
                let left = b.add(one, tanh);
                let half = b.fill(0.5, &shape);
                let curve = b.mul(x, rest);
                let right = b.mul(curve, slope);
                let sum = b.add(left, right);
                b.mul(half, sum)
            }
            Unary::Relu => b.unary(Unary::Step, x),
            Unary::Elu => {
                // e^x = y + 1 below 0; above, y + 1 > 1.
                let more = b.add(y, one);
                b.binary(Binary::Min, more, one)
            }
            Unary::Tanh => {
                let square = b.mul(y, y);
                b.sub(one, square)
            }
            Unary::Abs => b.unary(Unary::Sign, x),
            Unary::Sign | Unary::Step => return None,
            Unary::Sin => b.unary(Unary::Cos, x),
            Unary::Cos => {
                let sine = b.unary(Unary::Sin, x);
                b.unary(Unary::Neg, sine)
            }
            Unary::Pow(c) => {
                let factor = b.fill(c.value(), &shape);
                let power = b.unary(Unary::Pow(Bits::of(c.value() - 1.0)), x);
                let slope = b.mul(factor, power);
                if c.value() < 1.0 { unless_zero(b, x, slope) } else { slope }
            }
        })
    }
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
    /// the larger one
    Max,
    /// the smaller one
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
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
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
