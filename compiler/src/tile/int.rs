//! Whole-number expressions over token positions.

use std::fmt;

/// An expression over `t`, the bound position `u` and constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Int {
    /// The current token's position in its sequence, from 0.
    T,
    /// The position bound by the `level`-th enclosing sum, from 0 outside.
    Bound(u8),
    /// A number.
    Const(i64),
    /// Two expressions and an operation.
    Op(IntOp, Box<Int>, Box<Int>),
}

/// Whole-number operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`, rounded down
    Div,
    /// the rest of the division, never negative
    Mod,
    /// bitwise exclusive or
    Xor,
    /// how many binary digits `a` has; `b` is ignored
    Bits,
    /// the larger one
    Max,
}

impl Int {
    /// Applies an operation, folding constants.
    pub fn op(op: IntOp, a: Int, b: Int) -> Int {
        match (op, &a, &b) {
            (_, Int::Const(x), Int::Const(y)) => Int::Const(apply(op, *x, *y)),
            (IntOp::Add | IntOp::Sub, _, Int::Const(0)) => a,
            (IntOp::Add, Int::Const(0), _) => b,
            (IntOp::Sub, _, _) if a == b => Int::Const(0),
            // (x ± c) ± d
            (
                IntOp::Add | IntOp::Sub,
                Int::Op(inner @ (IntOp::Add | IntOp::Sub), x, c),
                Int::Const(d),
            ) => {
                if let Int::Const(c) = **c {
                    let c = if *inner == IntOp::Add { c } else { -c };
                    let d = if op == IntOp::Add { *d } else { -d };
                    return shifted((**x).clone(), c.saturating_add(d));
                }
                Int::Op(op, Box::new(a), Box::new(b))
            }
            _ => Int::Op(op, Box::new(a), Box::new(b)),
        }
    }

    /// The value at token `t` with bound positions `bound`.
    pub fn eval(&self, t: i64, bound: &[i64]) -> i64 {
        match self {
            Int::T => t,
            Int::Bound(level) => bound.get(*level as usize).copied().unwrap_or(0),
            Int::Const(c) => *c,
            Int::Op(op, a, b) => apply(*op, a.eval(t, bound), b.eval(t, bound)),
        }
    }

    /// Whether the value depends on a bound position of at least this level.
    pub fn binds(&self, level: u8) -> bool {
        match self {
            Int::T | Int::Const(_) => false,
            Int::Bound(at) => *at >= level,
            Int::Op(_, a, b) => a.binds(level) || b.binds(level),
        }
    }

    /// `t - n` as the number `n`, if the expression is one.
    pub fn lag(&self) -> Option<i64> {
        match self {
            Int::T => Some(0),
            Int::Op(IntOp::Sub, a, b) => match (&**a, &**b) {
                (Int::T, Int::Const(c)) => Some(*c),
                _ => None,
            },
            Int::Op(IntOp::Add, a, b) => match (&**a, &**b) {
                (Int::T, Int::Const(c)) => Some(-*c),
                _ => None,
            },
            _ => None,
        }
    }

    /// The same expression with the bound position of `level` replaced.
    pub fn replace(&self, level: u8, with: &Int) -> Int {
        match self {
            Int::Bound(at) if *at == level => with.clone(),
            Int::Op(op, a, b) => Int::op(*op, a.replace(level, with), b.replace(level, with)),
            other => other.clone(),
        }
    }
}

fn shifted(x: Int, by: i64) -> Int {
    match by {
        0 => x,
        by if by > 0 => Int::Op(IntOp::Add, Box::new(x), Box::new(Int::Const(by))),
        by => Int::Op(IntOp::Sub, Box::new(x), Box::new(Int::Const(-by))),
    }
}

fn apply(op: IntOp, a: i64, b: i64) -> i64 {
    match op {
        IntOp::Add => a.saturating_add(b),
        IntOp::Sub => a.saturating_sub(b),
        IntOp::Mul => a.saturating_mul(b),
        IntOp::Div => a.checked_div_euclid(b).unwrap_or(0),
        IntOp::Mod => a.checked_rem_euclid(b).unwrap_or(0),
        IntOp::Xor => a ^ b,
        IntOp::Bits => i64::from(64 - a.max(0).leading_zeros()),
        IntOp::Max => a.max(b),
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Int::T => write!(f, "t"),
            Int::Bound(0) => write!(f, "u"),
            Int::Bound(level) => write!(f, "u{level}"),
            Int::Const(c) => write!(f, "{c}"),
            Int::Op(IntOp::Bits, a, _) => write!(f, "bits({a})"),
            Int::Op(op, a, b) => {
                let sign = match op {
                    IntOp::Add => "+",
                    IntOp::Sub => "-",
                    IntOp::Mul => "*",
                    IntOp::Div => "/",
                    IntOp::Mod => "mod",
                    IntOp::Xor => "xor",
                    IntOp::Max | IntOp::Bits => "max",
                };
                let nested = |x: &Int| matches!(x, Int::Op(..));
                let wrap = |x: &Int| if nested(x) { format!("({x})") } else { format!("{x}") };
                write!(f, "{} {sign} {}", wrap(a), wrap(b))
            }
        }
    }
}
