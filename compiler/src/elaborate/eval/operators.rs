//! Operators: on whole numbers, on settings, and by `algebra` on tensors.

use lrc_dsl::ast::{BinaryOp, Expr, ExprKind};
use lrc_dsl::{Diag, Span};

use super::{Elaborator, Operation};
use crate::elaborate::signature::arithmetic;
use crate::elaborate::value::{Setting, Tensor, Val};
use crate::tile::{Int, IntOp, Unary};

/// A value as a whole number.
struct Whole {
    int: Int,
    /// 1 for a position, 0 for a number.
    position: i32,
    /// What it is where it has no end: `int` then is a number far away.
    infinite: Option<f64>,
}

impl Whole {
    fn of(value: &Val) -> Option<Whole> {
        match value {
            Val::Int { int, position } => {
                Some(Whole { int: int.clone(), position: i32::from(*position), infinite: None })
            }
            Val::Number(x) if x.fract() == 0.0 || x.is_infinite() => Some(Whole {
                int: Int::Const(x.clamp(-1e15, 1e15) as i64),
                position: 0,
                infinite: x.is_infinite().then_some(*x),
            }),
            _ => None,
        }
    }
}

impl Elaborator<'_> {
    pub(super) fn transpose(&mut self, value: Val, span: Span) -> Option<Val> {
        match value {
            Val::Tensor(t) if t.dims.len() == 1 => Some(Val::Tensor(Tensor { row: !t.row, ..t })),
            Val::Tensor(t) if t.dims.len() == 2 => {
                let value = self.b.transpose(t.value);
                let dims = vec![t.dims[1].clone(), t.dims[0].clone()];
                Some(Val::Tensor(Tensor { value, dims, row: false }))
            }
            Val::Tensor(t) if t.dims.is_empty() => Some(Val::Tensor(t)),
            Val::Number(_) | Val::Eye(_) => Some(value),
            Val::Complex(parts) => self.both_parts(*parts, |e, part| e.transpose(part, span)),
            other => self.fail(
                Diag::error("E0202", span, "only vectors and matrices can be transposed")
                    .label(other.words()),
            ),
        }
    }

    pub(super) fn negate(&mut self, value: Val, span: Span) -> Option<Val> {
        Some(match value {
            Val::Complex(parts) => {
                return self.both_parts(*parts, |e, part| e.negate(part, span));
            }
            Val::Number(x) => Val::Number(-x),
            Val::Tensor(t) => Val::Tensor(Tensor { value: self.b.unary(Unary::Neg, t.value), ..t }),
            Val::Eye(scale) => Val::Eye(self.b.unary(Unary::Neg, scale)),
            Val::Int { int, position: false } => {
                Val::Int { int: Int::op(IntOp::Sub, Int::Const(0), int), position: false }
            }
            other => {
                return self.fail(
                    Diag::error("E0202", span, "this cannot be negated").label(other.words()),
                );
            }
        })
    }

    /// `|x|`.
    pub(super) fn length(&mut self, value: Val, span: Span) -> Option<Val> {
        match value {
            Val::Number(x) => Some(Val::Number(x.abs())),
            Val::Tensor(t) if t.dims.is_empty() => {
                let value = self.b.unary(Unary::Abs, t.value);
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            Val::Tensor(_) => {
                let square = self.squared_length(value, span)?;
                let Val::Tensor(t) = square else { return None };
                let value = self.b.unary(Unary::Sqrt, t.value);
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            other => self.fail(
                Diag::error("E0202", span, "`|x|` is for scalars and vectors").label(other.words()),
            ),
        }
    }

    /// `|x|^2` without the square root, whose slope at 0 is infinite.
    pub(super) fn squared_length(&mut self, value: Val, span: Span) -> Option<Val> {
        let Val::Tensor(t) = value else {
            return self.length(value, span).and_then(|v| match v {
                Val::Number(x) => Some(Val::Number(x * x)),
                _ => None,
            });
        };
        let axes: Vec<usize> = (0..t.dims.len()).collect();
        let sum = self.b.mul_sum(t.value, t.value, &axes);
        let value = self.b.reshape(sum, &[]);
        Some(Val::Tensor(Tensor { value, dims: vec![], row: false }))
    }

    pub(super) fn binary_expr(
        &mut self,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        span: Span,
    ) -> Option<Val> {
        if op == BinaryOp::Pow
            && let ExprKind::Length(inner) = &a.kind
            && let Some(Val::Number(2.0)) = self.eval(b)
        {
            let value = self.eval(inner)?;
            return self.squared_length(value, inner.span);
        }
        // Both sides are looked at, so that mistakes on both are reported.
        let (left, right) = (self.eval(a), self.eval(b));
        let (left, right) = (left?, right?);
        let place = Operation { op, span, a, b };
        if [&left, &right].iter().any(|side| matches!(side, Val::Int { .. }))
            && let (Some(x), Some(y)) = (Whole::of(&left), Whole::of(&right))
        {
            return self.int_binary(op, x, y, place);
        }
        match (&left, &right) {
            (Val::Number(x), Val::Number(y)) => Some(match arithmetic(op, *x, *y) {
                Setting::Number(x) => Val::Number(x),
                Setting::Truth(x) => Val::Truth(x),
            }),
            (Val::Truth(x), Val::Truth(y))
                if matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Eq) =>
            {
                Some(Val::Truth(match op {
                    BinaryOp::And => *x && *y,
                    BinaryOp::Or => *x || *y,
                    _ => x == y,
                }))
            }
            _ if op.compares() || matches!(op, BinaryOp::And | BinaryOp::Or) => {
                let (bad, at) = match left {
                    Val::Number(_) | Val::Truth(_) => (right, b.span),
                    _ => (left, a.span),
                };
                self.fail(
                    Diag::error("E0208", at, "a condition must be known before the run")
                        .label(bad.words())
                        .help("conditions compare parameters and sizes"),
                )
            }
            _ => self.algebra(place, left, right),
        }
    }

    /// Arithmetic between positions and whole numbers.
    fn int_binary(&mut self, op: BinaryOp, a: Whole, b: Whole, place: Operation) -> Option<Val> {
        if let (BinaryOp::Sub, Some(x)) = (op, b.infinite) {
            return Some(Val::Number(-x));
        }
        let ((x, px), (y, py)) = ((a.int, a.position), (b.int, b.position));
        if let (BinaryOp::Mod, Int::Const(..1)) | (BinaryOp::Div, Int::Const(0)) = (op, &y)
            && !self.aside
        {
            let message = format!("`{}` divides by {y} here", op.text());
            let diag = Diag::error("E0213", place.b.span, message);
            return self.fail(match op {
                BinaryOp::Mod => diag.help("the number behind `mod` is a positive whole number"),
                _ => diag,
            });
        }
        let (int_op, position) = match op {
            BinaryOp::Add => (IntOp::Add, px + py),
            BinaryOp::Sub => (IntOp::Sub, px - py),
            BinaryOp::Mul | BinaryOp::Each => (IntOp::Mul, 0),
            BinaryOp::Mod => (IntOp::Mod, 0),
            // A quotient of positions need not be whole: it is a value of the run.
            _ => {
                let left = Val::Int { int: x, position: px == 1 };
                let right = Val::Int { int: y, position: py == 1 };
                let (left, right) = (self.as_tensor(left)?, self.as_tensor(right)?);
                return self.algebra(place, Val::Tensor(left), Val::Tensor(right));
            }
        };
        if !(0..=1).contains(&position) {
            return self.fail(
                Diag::error("E0214", place.span, "positions can be subtracted, not added")
                    .help("a position plus or minus a number is a position"),
            );
        }
        Some(Val::Int { int: Int::op(int_op, x, y), position: position == 1 })
    }
}
