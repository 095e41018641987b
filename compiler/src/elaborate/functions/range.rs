//! Sums and softmax over a range: over the past, or written out.

use std::collections::HashMap;

use lrc_dsl::ast::{Arg, Expr, ExprKind, Name, Range};
use lrc_dsl::{Diag, Span};

use super::MAX_TERMS;
use crate::elaborate::eval::{Binding, Elaborator};
use crate::elaborate::value::{List, Setting, Tensor, Val};
use crate::tile::{Binary, Bounds, Builder, Gather, Int, Leaf, Op, Past, Program, Value};

impl Elaborator<'_> {
    /// `sum(e for range)` and `softmax(e for range)`.
    pub(super) fn over_range(
        &mut self,
        name: &Name,
        arg: &Arg,
        range: &Range,
        span: Span,
    ) -> Option<Val> {
        let (bound, low, high) = self.range(range)?;
        match (low, high) {
            (Val::Number(low), Val::Number(high)) => {
                self.written_out(name, arg, &bound, low, high, range)
            }
            (low, high) => {
                let low = self.position(low, range)?;
                let high = self.position(high, range)?;
                if self.bounds.is_some() {
                    return self.nested(arg, range, &bound, span);
                }
                if high.beyond(None).is_none_or(|beyond| beyond > 0) {
                    let last = range.terms.last().unwrap_or(&arg.value);
                    return self.future(&high, last, range.span);
                }
                self.scope.push([(bound, Binding::Position(0))].into());
                self.bounds = Some(Bounds { low: low.clone(), high: high.clone() });
                let body = self.eval(&arg.value);
                self.bounds = None;
                self.scope.pop();
                let body = body?;
                let body = self.need(body, arg.value.span)?;
                self.past(name, body, low, high, arg.value.span)
            }
        }
    }

    /// Refuses a sum over the past inside another; says what can be written for it.
    pub(super) fn nested(
        &mut self,
        arg: &Arg,
        range: &Range,
        bound: &str,
        span: Span,
    ) -> Option<Val> {
        let positions = self.scope.iter().flat_map(|scope| scope.iter());
        let mut positions = positions.filter(|(_, b)| matches!(b, Binding::Position(_)));
        let outer = positions.next().map_or("u", |(name, _)| name).to_string();
        let mut here = Vec::new();
        names_at_this_token(&arg.value, bound, &mut here);
        let mut ends = Vec::new();
        range.terms.iter().for_each(|term| names_at_this_token(term, "", &mut ends));
        let mentions = |names: &[String]| names.contains(&outer);
        let varies = |name: &String| {
            use Binding::{ComplexState, Equation, Input, State};
            let binding = self.lookup(name);
            matches!(binding, Some(Input(_) | State(_) | ComplexState(_) | Equation(..)))
                || name == "t"
        };
        let diag =
            Diag::error("E0215", span, "a sum over the past inside another is not supported");
        let help = if !mentions(&here) && !mentions(&ends) {
            "give the inner sum a name of its own, so that it becomes a value per token".into()
        } else if !here.iter().any(|name| name == &outer || varies(name)) {
            format!(
                "its terms belong to one token each: add them up in a state, `c[t] = c[t-1] + …`; the sum over `{outer} < {bound} <= t` is `c[t] - c[{outer}]`"
            )
        } else {
            format!(
                "it is another sum for every pair of `t` and `{outer}`, which no form can run; where its terms read `{bound}` only, a state adds them up, `c[t] = c[t-1] + …`, and the sum over `{outer} < {bound} <= t` is `c[t] - c[{outer}]`"
            )
        };
        self.fail(diag.help(help))
    }

    pub(super) fn position(&mut self, value: Val, range: &Range) -> Option<Int> {
        match value {
            Val::Int { int, .. } => Some(int),
            Val::Number(x) if x.is_infinite() && x < 0.0 => Some(Int::Const(0)),
            Val::Number(x) if x.fract() == 0.0 => Some(Int::Const(x as i64)),
            other => self.fail(
                Diag::error("E0103", range.span, "a range needs whole numbers")
                    .label(other.words()),
            ),
        }
    }

    pub(super) fn written_out(
        &mut self,
        name: &Name,
        arg: &Arg,
        bound: &str,
        low: f64,
        high: f64,
        range: &Range,
    ) -> Option<Val> {
        if name.text != "sum" {
            return self.fail(
                Diag::error("E0215", range.span, "`softmax(… for …)` is over tokens of the past")
                    .help("over the entries of a vector write `softmax(x)`"),
            );
        }
        if high - low >= MAX_TERMS || high.is_nan() {
            return self.fail(Diag::error("E0103", range.span, "the range is too long"));
        }
        let mut total: Option<Tensor> = None;
        let mut j = low;
        while j <= high {
            self.scope.push([(bound.to_string(), Binding::Known(Setting::Number(j)))].into());
            let term = self.eval(&arg.value);
            self.scope.pop();
            let term = self.need(term?, arg.value.span)?;
            total = Some(match total {
                None => term,
                Some(sum) => self.entrywise(Binary::Add, sum, term, arg.value.span)?,
            });
            j += 1.0;
        }
        Some(match total {
            Some(t) => Val::Tensor(t),
            None => Val::Number(0.0),
        })
    }

    pub(super) fn past(
        &mut self,
        name: &Name,
        body: Tensor,
        low: Int,
        high: Int,
        span: Span,
    ) -> Option<Val> {
        // A range is sampled, not proved: every range of the sources shows itself within a few tokens.
        if (0..64).any(|t| low.eval(t, &[]) > high.eval(t, &[]) && high == Int::T) {
            return self.fail(
                Diag::error("E0103", span, "the range over the past is empty at some tokens")
                    .help("the current token belongs to it: `u <= t`"),
            );
        }
        if name.text == "sum" {
            let value = gather(&mut self.b, Gather::Sum, low, high, body.value);
            return Some(Val::Tensor(Tensor { value, ..body }));
        }
        if !body.dims.is_empty() {
            return self.fail(
                Diag::error("E0202", span, "the scores of a softmax over the past are scalars")
                    .label(body.text()),
            );
        }
        let bounds = Bounds { low: low.clone(), high: high.clone() };
        let total = gather(&mut self.b, Gather::LogSumExp, low, high, body.value);
        let value = self.b.weight(body.value, total);
        Some(Val::List(Box::new(List { body: Tensor { value, ..body }, bounds })))
    }
}

/// Names that stand in an expression without the position `bound`.
fn names_at_this_token(expr: &Expr, bound: &str, out: &mut Vec<String>) {
    match &expr.kind {
        ExprKind::Name(name) if name != bound => out.push(name.clone()),
        ExprKind::Index(_, index) if index.as_name() == Some(bound) => {}
        ExprKind::Index(a, b) | ExprKind::Binary(_, a, b) => {
            names_at_this_token(a, bound, out);
            names_at_this_token(b, bound, out);
        }
        ExprKind::Choice(c, a, b) => {
            [c, a, b].iter().for_each(|part| names_at_this_token(part, bound, out));
        }
        ExprKind::Transpose(a) | ExprKind::Negate(a) | ExprKind::Length(a) => {
            names_at_this_token(a, bound, out);
        }
        ExprKind::Call(_, args) => {
            args.iter().for_each(|arg| names_at_this_token(&arg.value, bound, out));
        }
        _ => {}
    }
}

/// A sum over the past of a body that is built in `b`: what depends on the bound position becomes
/// the term, the rest is captured.
fn gather(b: &mut Builder, gather: Gather, low: Int, high: Int, body: Value) -> Value {
    let (term, captured) = cut(&b.program, body);
    let shape = b.shape(body).to_vec();
    let past = Past { gather, low, high, level: 0, term };
    b.raw(Op::Past(Box::new(past)), captured, shape)
}

fn binds(op: &Op) -> bool {
    match op {
        Op::Leaf(Leaf::Read(_, at)) | Op::Leaf(Leaf::Number(at)) => at.binds(0),
        Op::Pick(at) | Op::Place(at) => at.binds(0),
        _ => false,
    }
}

/// The part of a program below `body` that depends on the bound position.
fn cut(program: &Program, body: Value) -> (Program, Vec<Value>) {
    let mut depends = vec![false; body.at() + 1];
    for at in 0..=body.at() {
        let node = &program.nodes[at];
        depends[at] = binds(&node.op) || node.args.iter().any(|arg| depends[arg.at()]);
    }
    let mut inner = Builder::new();
    let mut captured = Vec::new();
    let mut new: HashMap<Value, Value> = HashMap::new();
    let output = copy(program, body, &depends, &mut inner, &mut captured, &mut new);
    (inner.finish(&[output]), captured)
}

fn copy(
    program: &Program,
    value: Value,
    depends: &[bool],
    inner: &mut Builder,
    captured: &mut Vec<Value>,
    new: &mut HashMap<Value, Value>,
) -> Value {
    if let Some(&done) = new.get(&value) {
        return done;
    }
    let node = program.node(value);
    let made = if depends[value.at()] {
        let args: Vec<Value> = node
            .args
            .iter()
            .map(|&arg| copy(program, arg, depends, inner, captured, new))
            .collect();
        inner.span = node.span;
        inner.raw(node.op.clone(), args, node.shape.clone())
    } else if let Op::Fill(_) = node.op {
        inner.raw(node.op.clone(), vec![], node.shape.clone())
    } else {
        captured.push(value);
        inner.leaf(Leaf::Outer(captured.len() - 1), &node.shape)
    };
    new.insert(value, made);
    made
}
