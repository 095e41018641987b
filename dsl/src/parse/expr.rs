//! Expressions: operands, what follows them, and how tight operators bind.

use super::items::{Found, Read, Reader, first_expr, last, next, promised};
use super::{MAX_CHAIN, Rule};
use crate::ast::*;
use crate::diag::Diag;
use crate::span::Span;

impl Reader {
    pub(super) fn expr(&self, pair: Found) -> Read<Expr> {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let first = self.operand(next(&mut parts))?;
        let mut rest = Vec::new();
        while let Some(op) = parts.next() {
            rest.push((binary_op(op.as_rule()), self.operand(next(&mut parts))?));
        }
        if rest.len() > MAX_CHAIN {
            return Err(Box::new(
                Diag::error(
                    "E0102",
                    span,
                    format!("more than {MAX_CHAIN} operators in one expression"),
                )
                .help("name parts of it"),
            ));
        }
        Ok(build(first, rest))
    }

    /// An operand: how many minus signs stand before it, and the value.
    fn operand(&self, pair: Found) -> Read<Operand> {
        let mut minuses = Vec::new();
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::minus => minuses.push(self.span(&part)),
                Rule::primary => value = Some(self.primary(last(part.into_inner()))?),
                _ => {
                    let base = promised(value.take());
                    value = Some(self.postfix(base, last(part.into_inner()))?);
                }
            }
        }
        Ok(Operand { minuses, value: promised(value) })
    }

    fn postfix(&self, base: Expr, pair: Found) -> Read<Expr> {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let kind = match pair.as_rule() {
            Rule::transpose => ExprKind::Transpose(base),
            Rule::index => ExprKind::Index(base, Box::new(self.expr(first_expr(pair))?)),
            _ => ExprKind::Field(base, self.name(&last(pair.into_inner()))),
        };
        Ok(Expr { kind, span })
    }

    fn primary(&self, pair: Found) -> Read<Expr> {
        let span = self.span(&pair);
        let inner_expr = |pair: Found| self.expr(first_expr(pair));
        let kind = match pair.as_rule() {
            Rule::number => {
                let text = pair.as_str().replace('_', "");
                ExprKind::Number(text.parse().unwrap_or(f64::INFINITY))
            }
            Rule::truth => ExprKind::Truth(pair.as_str() == "true"),
            Rule::name => ExprKind::Name(pair.as_str().to_string()),
            Rule::group => return Ok(Expr { span, ..inner_expr(pair)? }),
            Rule::length => ExprKind::Length(Box::new(inner_expr(pair)?)),
            Rule::choice => {
                let parts: Read<Vec<Expr>> = pair
                    .into_inner()
                    .filter(|p| p.as_rule() == Rule::expr)
                    .map(|p| self.expr(p))
                    .collect();
                let mut parts = parts?.into_iter().map(Box::new);
                let mut next = || promised(parts.next());
                ExprKind::Choice(next(), next(), next())
            }
            _ => {
                let mut inner = pair.into_inner();
                let name = self.name(&next(&mut inner));
                let args = inner.filter(|p| p.as_rule() == Rule::arg);
                ExprKind::Call(name, args.map(|arg| self.arg(arg)).collect::<Read<_>>()?)
            }
        };
        Ok(Expr { kind, span })
    }

    fn arg(&self, pair: Found) -> Read<Arg> {
        let mut name = None;
        let mut value = None;
        let mut over = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::expr => value = Some(self.expr(part)?),
                Rule::over => over = Some(self.range(last(part.into_inner()))?),
                _ => {}
            }
        }
        Ok(Arg { name, value: promised(value), over })
    }
}

struct Operand {
    minuses: Vec<Span>,
    value: Expr,
}

/// What waits for its right side.
enum Pending {
    Minus(Span),
    Binary(BinaryOp, Expr),
}

/// Precedence climbing over a flat list: tightest binding first, `^` to the right.
fn build(first: Operand, rest: Vec<(BinaryOp, Operand)>) -> Expr {
    let mut pending: Vec<Pending> = first.minuses.into_iter().map(Pending::Minus).collect();
    let mut value = first.value;
    for (op, operand) in rest {
        value = reduce(value, &mut pending, op.strength(), op == BinaryOp::Pow);
        pending.push(Pending::Binary(op, value));
        pending.extend(operand.minuses.into_iter().map(Pending::Minus));
        value = operand.value;
    }
    reduce(value, &mut pending, 0, false)
}

/// Closes every pending operator that binds tighter than `strength` (or as tight, unless the
/// coming operator groups to the right).
fn reduce(mut value: Expr, pending: &mut Vec<Pending>, strength: u8, right: bool) -> Expr {
    while let Some(top) = pending.pop() {
        let top_strength = match &top {
            Pending::Minus(_) => NEGATE_STRENGTH,
            Pending::Binary(op, _) => op.strength(),
        };
        if top_strength < strength || (top_strength == strength && right) {
            pending.push(top);
            break;
        }
        value = match top {
            Pending::Minus(minus) => {
                let span = minus.to(value.span);
                Expr { kind: ExprKind::Negate(Box::new(value)), span }
            }
            Pending::Binary(op, left) => {
                let span = left.span.to(value.span);
                Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(value)), span }
            }
        };
    }
    value
}

fn binary_op(rule: Rule) -> BinaryOp {
    match rule {
        Rule::op_or => BinaryOp::Or,
        Rule::op_and => BinaryOp::And,
        Rule::op_le => BinaryOp::Le,
        Rule::op_ge => BinaryOp::Ge,
        Rule::op_eq => BinaryOp::Eq,
        Rule::op_ne => BinaryOp::Ne,
        Rule::op_lt => BinaryOp::Lt,
        Rule::op_gt => BinaryOp::Gt,
        Rule::op_add => BinaryOp::Add,
        Rule::op_sub => BinaryOp::Sub,
        Rule::op_each => BinaryOp::Each,
        Rule::op_mul => BinaryOp::Mul,
        Rule::op_div => BinaryOp::Div,
        Rule::op_mod => BinaryOp::Mod,
        _ => BinaryOp::Pow,
    }
}
