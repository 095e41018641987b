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

/// The positions that a sum binds: first and last, included.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// First position; what lies before token 0 is left out.
    pub low: Int,
    /// Last position.
    pub high: Int,
}

impl Bounds {
    /// Whether the positions are seen to be among those of another range at every token.
    pub fn inside(&self, other: &Bounds) -> bool {
        let below = |a: &Int, b: &Int| {
            let mut gap = Linear::default();
            gap.add(a, 1);
            gap.add(b, -1);
            gap.highest().is_some_and(|gap| gap <= 0)
        };
        let all = other.low.limits().1.is_some_and(|low| low <= 0);
        (all || below(&other.low, &self.low)) && below(&self.high, &other.high)
    }
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

    /// The most that the value can lie beyond the current token, over all tokens and all positions
    /// of `bounds`: 0 for `t`, -1 for `t - 1`. `None` where no limit is seen; a limit that is given
    /// holds, but need not be reached.
    pub fn beyond(&self, bounds: Option<&Bounds>) -> Option<i64> {
        let mut sum = Linear::default();
        sum.add(self, 1);
        sum.add(&Int::T, -1);
        if let Some(bounds) = bounds {
            sum.bind(bounds);
        }
        let first = sum.highest();
        // What is left of a division is no more than what was divided.
        let mut whole = Linear { constant: sum.constant, ..Linear::default() };
        for (x, factor) in &sum.terms {
            match x {
                Int::Op(IntOp::Mod, x, _) if *factor > 0 && x.is_natural() => {
                    whole.add(x, *factor);
                }
                other => whole.add(other, *factor),
            }
        }
        match (first, whole.highest()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The most that the value can lie before the current token, where a limit is seen: 0 for `t`, 4 for `max(t - 4, 0)`.
    pub fn behind(&self) -> Option<i64> {
        match self {
            Int::T => Some(0),
            Int::Op(IntOp::Sub, a, b) => match **b {
                Int::Const(c) => Some(a.behind()? + c),
                _ => None,
            },
            Int::Op(IntOp::Add, a, b) => match **b {
                Int::Const(c) => Some(a.behind()? - c),
                _ => None,
            },
            Int::Op(IntOp::Max, a, b) => match (a.behind(), b.behind()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            _ => None,
        }
    }

    /// Whether it is how far two positions lie apart: the same wherever a sequence is counted from.
    pub fn is_distance(&self) -> bool {
        let position = |x: &Int| matches!(x, Int::T | Int::Bound(_));
        match self {
            Int::Const(_) => true,
            Int::Op(IntOp::Sub, a, b) => position(a) && position(b),
            _ => false,
        }
    }

    /// How many parts the expression has.
    pub fn parts(&self) -> usize {
        match self {
            Int::Op(_, a, b) => 1 + a.parts() + b.parts(),
            _ => 1,
        }
    }

    fn is_natural(&self) -> bool {
        self.limits().0.is_some_and(|low| low >= 0)
    }

    /// The smallest and the largest value over all tokens, where limits are seen.
    fn limits(&self) -> (Option<i64>, Option<i64>) {
        match self {
            Int::T | Int::Bound(_) => (Some(0), None),
            Int::Const(c) => (Some(*c), Some(*c)),
            Int::Op(IntOp::Add | IntOp::Sub, ..) => {
                let mut sum = Linear::default();
                sum.add(self, 1);
                (sum.lowest(), sum.highest())
            }
            Int::Op(IntOp::Mod, _, n) => match **n {
                Int::Const(n) => (Some(0), Some(n.saturating_abs().saturating_sub(1).max(0))),
                _ => (Some(0), None),
            },
            Int::Op(IntOp::Bits, ..) => (Some(0), Some(64)),
            Int::Op(IntOp::Max, a, b) => {
                let ((a, high_a), (b, high_b)) = (a.limits(), b.limits());
                (a.max(b), high_a.zip(high_b).map(|(a, b)| a.max(b)))
            }
            Int::Op(_, a, b) => ((a.is_natural() && b.is_natural()).then_some(0), None),
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

/// A sum of expressions that are no sums themselves, each with its factor; equal ones are one.
#[derive(Clone, Debug, Default)]
struct Linear {
    terms: Vec<(Int, i64)>,
    constant: i64,
}

impl Linear {
    fn add(&mut self, x: &Int, factor: i64) {
        match x {
            Int::Const(c) => {
                self.constant = self.constant.saturating_add(c.saturating_mul(factor));
            }
            Int::Op(IntOp::Add, a, b) => {
                self.add(a, factor);
                self.add(b, factor);
            }
            Int::Op(IntOp::Sub, a, b) => {
                self.add(a, factor);
                self.add(b, factor.saturating_neg());
            }
            Int::Op(IntOp::Mul, a, b) => match (&**a, &**b) {
                (Int::Const(c), x) | (x, Int::Const(c)) => self.add(x, factor.saturating_mul(*c)),
                _ => self.term(x, factor),
            },
            other => self.term(other, factor),
        }
    }

    fn term(&mut self, x: &Int, factor: i64) {
        match self.terms.iter_mut().find(|(known, _)| known == x) {
            Some((_, sum)) => *sum = sum.saturating_add(factor),
            None => self.terms.push((x.clone(), factor)),
        }
    }

    /// Replaces the bound position by the end of its range that makes the sum larger.
    fn bind(&mut self, bounds: &Bounds) {
        let Some(at) = self.terms.iter().position(|(x, _)| *x == Int::Bound(0)) else { return };
        let (_, factor) = self.terms.remove(at);
        if factor >= 0 {
            self.add(&bounds.high, factor);
        } else if bounds.low.is_natural() {
            self.add(&bounds.low, factor);
        }
    }

    fn highest(&self) -> Option<i64> {
        self.terms.iter().try_fold(self.constant, |sum, (x, factor)| {
            let (low, high) = x.limits();
            let most = match factor {
                0 => Some(0),
                factor if *factor > 0 => high.map(|high| high.saturating_mul(*factor)),
                factor => low.map(|low| low.saturating_mul(*factor)),
            };
            Some(sum.saturating_add(most?))
        })
    }

    fn lowest(&self) -> Option<i64> {
        let terms = self.terms.iter().map(|(x, factor)| (x.clone(), factor.saturating_neg()));
        let turned = Linear { terms: terms.collect(), constant: self.constant.saturating_neg() };
        turned.highest().map(i64::saturating_neg)
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
