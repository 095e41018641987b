//! Expressions of mixers: names, entry-by-entry arithmetic, the token shift.

use lrc_dsl::ast::{BinaryOp, Expr, ExprKind};
use lrc_dsl::{Diag, Span};

use super::functions::Call;
use super::{Bound, GraphBuilder, Scope, Tried};
use crate::elaborate::{Dim, Setting};
use crate::graph::pointwise::{self, Named};
use crate::tile::{Int, Leaf, Stream, Unary, size};

/// Farthest token back that a mixer reads: what runs a row computes those before it too.
const MAX_LAG: f64 = 4096.0;

impl GraphBuilder<'_> {
    /// Gives a value the axes written on the left, where the sizes allow it.
    pub(super) fn annotated(
        &mut self,
        bound: Bound,
        axes: Option<&[Dim]>,
        span: Span,
    ) -> Tried<Bound> {
        let Some(axes) = axes else { return Some(bound) };
        let named = match &bound {
            Bound::Tensor(named) => named,
            // A number fills the shape.
            Bound::Known(Setting::Number(x)) => {
                let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
                let value = self.b.fill(*x, &shape);
                return Some(Bound::Tensor(Named { value, axes: axes.to_vec() }));
            }
            _ => return self.tensor(bound, span).map(Bound::Tensor),
        };
        let slot = self.experts.as_ref().map(|experts| experts.slot.clone());
        let slot = slot.filter(|slot| named.axes.first().is_some_and(|a| a.text == slot.text));
        let axes: Vec<Dim> = slot.into_iter().chain(axes.iter().cloned()).collect();
        let same = named.axes.len() == axes.len()
            && named.axes.iter().zip(&axes).all(|(a, b)| a.text == b.text && a.size == b.size);
        if same {
            return Some(bound);
        }
        let total: usize = axes.iter().map(|a| a.size).product();
        if size(&named.shape()) == total {
            let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
            let value = self.b.reshape(named.value, &shape);
            return Some(Bound::Tensor(Named { value, axes }));
        }
        let text = |axes: &[Dim]| {
            let texts: Vec<String> =
                axes.iter().map(|a| format!("{} = {}", a.text, a.size)).collect();
            format!("[{}]", texts.join(", "))
        };
        let message = format!("the value has axes {}, not {}", text(&named.axes), text(&axes));
        self.fail(Diag::error("E0202", span, message).label(text(&named.axes)))
    }

    /// Elaborates an expression; `expected` are the axes written on the left.
    pub fn eval(&mut self, expr: &Expr, expected: Option<&[Dim]>, scope: &Scope) -> Tried<Bound> {
        let outer = self.b.span.replace(expr.span);
        let value = self.eval_inner(expr, expected, scope);
        self.b.span = outer;
        if let Some(Bound::Tensor(named)) = &value {
            self.sound(&named.axes, expr.span)?;
        }
        value
    }

    fn eval_inner(&mut self, expr: &Expr, expected: Option<&[Dim]>, scope: &Scope) -> Tried<Bound> {
        match &expr.kind {
            ExprKind::Number(x) => Some(Bound::Known(Setting::Number(*x))),
            ExprKind::Truth(x) => Some(Bound::Known(Setting::Truth(*x))),
            ExprKind::Name(name) => self.name(name, scope, expr.span),
            ExprKind::Negate(inner) => match self.eval(inner, expected, scope)? {
                Bound::Known(Setting::Number(x)) => Some(Bound::Known(Setting::Number(-x))),
                bound => {
                    let named = self.tensor(bound, inner.span)?;
                    let value = self.b.unary(Unary::Neg, named.value);
                    Some(Bound::Tensor(Named { value, ..named }))
                }
            },
            ExprKind::Binary(op, a, c) => self.binary(*op, a, c, expected, scope, expr.span),
            ExprKind::Choice(c, a, d) => match scope.numbers.truth(c) {
                Ok(true) => self.eval(a, expected, scope),
                Ok(false) => self.eval(d, expected, scope),
                Err(diag) => self.fail(*diag),
            },
            ExprKind::Index(base, index)
                if index
                    .as_name()
                    .is_some_and(|name| matches!(scope.names.get(name), Some(Bound::Slot))) =>
            {
                self.expert_weight(base, expr.span)
            }
            ExprKind::Index(base, index) => self.shift(base, index, scope, expr.span),
            ExprKind::Call(name, args) => {
                self.call(&Call { name, args, expected, scope, span: expr.span })
            }
            ExprKind::Field(base, name) => {
                let Some(first) = base.as_name() else {
                    let message = "`.name` follows a sub-layer's name";
                    return self.fail(Diag::error("E0201", expr.span, message));
                };
                let full = format!("{first}.{}", name.text);
                let message = format!("unknown name `{full}`");
                let bound = scope.names.get(&full).cloned();
                bound.or_else(|| self.fail(Diag::error("E0201", expr.span, message)))
            }
            ExprKind::Transpose(_) | ExprKind::Length(_) => self.fail(
                Diag::error("E0212", expr.span, "matrix algebra belongs in a recurrence")
                    .help("a mixer works on named axes"),
            ),
        }
    }

    /// What a name stands for.
    fn name(&mut self, name: &str, scope: &Scope, span: Span) -> Tried<Bound> {
        match scope.names.get(name) {
            Some(Bound::Broken) => None,
            Some(Bound::Absent) => self.fail(
                Diag::error("E0205", span, format!("the input `{name}` is not given"))
                    .label("used here")
                    .help(format!("pass it by name where the mixer is called: `{name} = …`")),
            ),
            Some(bound) => Some(bound.clone()),
            // The position in the sequence, as a number.
            None if name == "t" => {
                let value = self.b.leaf(Leaf::Number(Int::T), &[]);
                Some(Bound::Tensor(Named { value, axes: vec![] }))
            }
            None if name == "inf" => Some(Bound::Known(Setting::Number(f64::INFINITY))),
            None => {
                let known: Vec<String> = scope.names.keys().cloned().collect();
                self.fail(
                    Diag::error("E0201", span, format!("unknown name `{name}`")).help_nearest(
                        name,
                        "known here",
                        known.iter().map(String::as_str),
                    ),
                )
            }
        }
    }

    /// A value as a tensor; numbers become scalars.
    pub fn tensor(&mut self, bound: Bound, span: Span) -> Tried<Named> {
        match bound {
            Bound::Tensor(named) => Some(named),
            Bound::Known(Setting::Number(x)) => {
                Some(Named { value: self.b.fill(x, &[]), axes: vec![] })
            }
            Bound::Known(Setting::Truth(_)) => {
                self.fail(Diag::error("E0202", span, "a tensor is needed").label("true or false"))
            }
            Bound::Slot => self.fail(
                Diag::error("E0215", span, "the index of an expert is no number here")
                    .help("it stands in brackets behind the weights: `w[j]`"),
            ),
            Bound::Absent | Bound::Broken => None,
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        a: &Expr,
        c: &Expr,
        expected: Option<&[Dim]>,
        scope: &Scope,
        span: Span,
    ) -> Tried<Bound> {
        let (left, right) = (self.eval(a, expected, scope), self.eval(c, expected, scope));
        let (left, right) = (left?, right?);
        if let (Bound::Known(Setting::Number(x)), Bound::Known(Setting::Number(y))) =
            (&left, &right)
        {
            return Some(Bound::Known(crate::elaborate::signature::arithmetic(op, *x, *y)));
        }
        let (x, y) = (self.tensor(left, a.span)?, self.tensor(right, c.span)?);
        let entrywise =
            matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Each | BinaryOp::Div);
        if op == BinaryOp::Pow
            && let Some(c) = self.b.as_fill(y.value)
        {
            let value = match c {
                2.0 => self.b.mul(x.value, x.value),
                c => self.b.unary(Unary::Pow(crate::tile::Bits::of(c)), x.value),
            };
            return Some(Bound::Tensor(Named { value, ..x }));
        }
        let number = |named: &Named| named.axes.is_empty() || self.is_slots(named);
        if !entrywise && !(op == BinaryOp::Mul && (number(&x) || number(&y))) {
            return self.fail(
                Diag::error("E0202", span, format!("`{}` does not work between these", op.text()))
                    .help("entry by entry it is written `.*`; products belong in a recurrence or `linear`"),
            );
        }
        match pointwise::binary(&mut self.b, op, &x, &y) {
            Some(named) => {
                self.still_chosen(op, &x, &y, named.value);
                Some(Bound::Tensor(self.slots_first(named)))
            }
            None => {
                self.fail(Diag::error("E0202", span, "axes of one name have different sizes here"))
            }
        }
    }

    /// `x[t-1]`: the token shift; before the first token it is 0.
    fn shift(&mut self, base: &Expr, index: &Expr, scope: &Scope, span: Span) -> Tried<Bound> {
        let lag = match &index.kind {
            ExprKind::Binary(BinaryOp::Sub, t, n) if t.as_name() == Some("t") => {
                scope.numbers.number(n).ok().filter(|n| n.fract() == 0.0 && *n >= 0.0)
            }
            _ => None,
        };
        let Some(lag) = lag.filter(|lag| *lag <= MAX_LAG) else {
            let message = "a mixer reads earlier tokens as `x[t-1]`";
            return self.fail(
                Diag::error("E0206", span, message)
                    .help(format!("the number is known before the run, at most {MAX_LAG}")),
            );
        };
        self.outside_experts("x[t-1]", span)?;
        let bound = self.eval(base, None, scope)?;
        let named = self.tensor(bound, base.span)?;
        Some(Bound::Tensor(self.lagged(&named, lag as i64, &scope.label())))
    }

    /// Moves the axis of slots to the front, where it has its place.
    fn slots_first(&mut self, named: Named) -> Named {
        let slot = self.experts.as_ref().map(|experts| experts.slot.text.clone());
        match slot.and_then(|slot| named.axes.iter().position(|a| a.text == slot)) {
            None | Some(0) => named,
            Some(at) => {
                let others = (0..named.axes.len()).filter(|i| *i != at);
                let order: Vec<usize> = std::iter::once(at).chain(others).collect();
                let axes = order.iter().map(|i| named.axes[*i].clone()).collect();
                Named { value: self.b.permute(named.value, &order), axes }
            }
        }
    }

    /// Axes in front that are slots of experts: one or none.
    pub(super) fn slot_axes(&self, named: &Named) -> usize {
        let slot = self.experts.as_ref().map(|experts| &experts.slot.text);
        usize::from(named.axes.first().is_some_and(|axis| Some(&axis.text) == slot))
    }

    /// Whether a value is one number per slot of experts.
    fn is_slots(&self, named: &Named) -> bool {
        named.axes.len() == 1 && self.slot_axes(named) == 1
    }

    /// A value some tokens back.
    pub(super) fn lagged(&mut self, named: &Named, lag: i64, label: &str) -> Named {
        let id = self.settle(named.value, label, true);
        let at = Int::op(crate::tile::IntOp::Sub, Int::T, Int::Const(lag));
        let value = self.b.leaf(Leaf::Read(Stream::Input(id.0), at), &named.shape());
        Named { value, axes: named.axes.clone() }
    }
}
