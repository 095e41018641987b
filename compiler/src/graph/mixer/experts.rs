//! Mixtures of experts: `sum(w[j] * swiglu(x) for j < experts)`.
//!
//! Per token, only experts whose weight is not 0 run. A token has as many *slots* as `top_k` lets
//! through, and everything inside the sum has the slots as its first axis: products take the matrix
//! of the expert that sits in the slot, all else is entry by entry as anywhere.

use lrc_dsl::ast::{Arg, BinaryOp, Expr, ExprKind, Range};
use lrc_dsl::{Diag, Span, print};

use super::functions::Call;
use super::product::Product;
use super::{Bound, GraphBuilder, Scope, Tried};
use crate::elaborate::Dim;
use crate::graph::pointwise::Named;
use crate::graph::{Kind, Node, ValueId};
use crate::tile::{Unary, Value, size};

/// The experts of the sum at hand.
#[derive(Clone, Debug)]
pub struct Experts {
    /// How many there are.
    count: usize,
    /// The axis of slots.
    pub slot: Dim,
    /// The text of the value that weighs them, such as `w`.
    router: String,
    /// The weight of the expert in each slot.
    pub weights: Named,
    /// Who sits in each slot.
    ids: ValueId,
}

/// An index of a sum that stands for the expert in a slot.
fn expert_index(range: &Range) -> Option<(&str, &Expr)> {
    match (&range.terms[..], &range.ops[..]) {
        ([name, high], [BinaryOp::Lt]) => Some((name.as_name()?, high)),
        _ => None,
    }
}

/// The first value that an expression indexes by `j`.
fn router<'e>(expr: &'e Expr, j: &str) -> Option<&'e Expr> {
    match &expr.kind {
        ExprKind::Index(base, index) if index.as_name() == Some(j) => Some(base),
        ExprKind::Index(a, b) | ExprKind::Binary(_, a, b) => router(a, j).or_else(|| router(b, j)),
        ExprKind::Negate(a) | ExprKind::Transpose(a) | ExprKind::Length(a) => router(a, j),
        ExprKind::Call(_, args) => args.iter().find_map(|arg| router(&arg.value, j)),
        ExprKind::Choice(_, a, b) => router(a, j).or_else(|| router(b, j)),
        _ => None,
    }
}

impl GraphBuilder<'_> {
    /// `sum(w[j] * f(x) for j < experts)`.
    pub(super) fn experts(&mut self, arg: &Arg, range: &Range, call: &Call) -> Tried<Bound> {
        let written = || {
            Diag::error("E0215", call.span, "a sum in a mixer runs over experts")
                .help("`sum(w[j] * swiglu(x) for j < experts)`, where `w` has an entry per expert")
        };
        let Some((j, high)) = expert_index(range) else { return self.fail(written()) };
        let Some(weights) = router(&arg.value, j) else { return self.fail(written()) };
        if self.experts.is_some() {
            let message = "a sum over experts inside another is not supported";
            return self.fail(Diag::error("E0215", call.span, message));
        }
        let count = match call.scope.numbers.size(high) {
            Ok(count) => count,
            Err(diag) => return self.fail(*diag),
        };
        let bound = self.eval(weights, None, call.scope)?;
        let w = self.tensor(bound, weights.span)?;
        if w.axes.len() != 1 || w.axes[0].size != count {
            let message = format!("`{}` needs one axis of {count}", print::expr(weights));
            return self.fail(Diag::error("E0202", weights.span, message));
        }
        let slots = self.chosen.get(&w.value).copied().unwrap_or(count).min(count);
        let input = self.settle(w.value, &call.scope.label(), true);
        let node = Node::plain(Kind::Route { slots }, call.scope.label(), vec![input]);
        let made = self.graph.add(node, &[(vec![slots], false), (vec![slots], false)]);
        let slot = Dim::new(slots, format!("slots of {}", print::expr(weights)));
        let weights = Experts {
            count,
            weights: self.stream(made[1], vec![slot.clone()]),
            slot,
            router: print::expr(weights),
            ids: made[0],
        };
        let axis = weights.slot.clone();
        self.experts = Some(weights);
        let mut scope = call.scope.clone();
        scope.names.insert(j.to_string(), Bound::Slot);
        let bound = self.eval(&arg.value, call.expected, &scope);
        self.experts = None;
        let terms = self.tensor(bound?, arg.value.span)?;
        let Some(at) = terms.axes.iter().position(|a| a.text == axis.text) else {
            return self.fail(written());
        };
        Some(Bound::Tensor(self.summed(&terms, at)))
    }

    /// `w[j]`: the weight of the expert in each slot.
    pub(super) fn expert_weight(&mut self, base: &Expr, span: Span) -> Tried<Bound> {
        match &self.experts {
            Some(experts) if print::expr(base) == experts.router => {
                Some(Bound::Tensor(experts.weights.clone()))
            }
            _ => self.fail(
                Diag::error("E0215", span, "only one value chooses among the experts of a sum")
                    .help("multiply the weights before the sum: `w = u .* v`"),
            ),
        }
    }

    /// Refuses what would need parameters or a past of its own for each expert.
    pub(super) fn outside_experts(&mut self, what: &str, span: Span) -> Tried<()> {
        if self.experts.is_none() {
            return Some(());
        }
        self.fail(
            Diag::error("E0215", span, format!("`{what}` cannot stand inside a sum over experts"))
                .help("an expert is made of `linear` and of functions without parameters"),
        )
    }

    /// A product with the matrix of the expert in each slot.
    pub(super) fn expert_linear(&mut self, call: &Call, x: &Named, out: &[Dim]) -> Tried<Bound> {
        let experts = self.experts.clone()?;
        let scope = call.scope;
        if self.each(call).is_some() {
            return self.outside_experts("each", call.span).and(None);
        }
        if self.truth_arg(call, "bias")? {
            return self.outside_experts("bias = true", call.span).and(None);
        }
        let own = x.axes.first().is_some_and(|axis| axis.text == experts.slot.text);
        let slots = if own { 1 } else { 0 };
        let label = scope.label();
        let of = Product {
            name: label.clone(),
            kind: Kind::Expert,
            several: Some((experts.count, experts.slot.clone())),
            inner: x.axes[slots..].iter().map(|a| a.size).product(),
            outer: out.iter().map(|a| a.size).product(),
            inputs: vec![self.settle(x.value, &label, true), experts.ids],
            axes: [experts.slot].into_iter().chain(out.iter().cloned()).collect(),
            span: call.span,
        };
        Some(Bound::Tensor(self.product(&of, &label)?))
    }

    /// `top_k(r, k)`: all but the `k` largest become 0.
    pub(super) fn top_k(&mut self, call: &Call) -> Tried<Bound> {
        let x = self.first(call)?;
        let last = self.last_axis(call, &x)?;
        let most = x.axes[last].size;
        let k = self.number_arg(call, 1, "k", 1.0)?;
        if k.fract() != 0.0 || k < 1.0 || k > most as f64 {
            let message = format!("{k} of {most} entries cannot be kept");
            return self.fail(Diag::error("E0213", call.span, message));
        }
        let mask = self.b.largest(x.value, k as usize);
        let value = self.b.mul(x.value, mask);
        self.chosen.insert(value, k as usize);
        Some(Bound::Tensor(Named { value, ..x }))
    }

    /// What `top_k` made 0 stays 0 where it is multiplied or divided, and where a function of each entry keeps 0.
    pub(super) fn still_chosen(&mut self, op: BinaryOp, x: &Named, y: &Named, made: Value) {
        let left = self.chosen.get(&x.value).copied();
        let kept = match op {
            BinaryOp::Each | BinaryOp::Mul => left.or_else(|| self.chosen.get(&y.value).copied()),
            BinaryOp::Div => left,
            _ => None,
        };
        if let Some(entries) = kept {
            self.chosen.insert(made, entries);
        }
    }

    /// The same of a function that keeps 0.
    pub(super) fn chosen_by(&mut self, op: Unary, x: Value, made: Value) {
        if matches!(op, Unary::Abs | Unary::Sign | Unary::Relu)
            && let Some(&entries) = self.chosen.get(&x)
        {
            self.chosen.insert(made, entries);
        }
    }

    /// `average(x)`: the mean over all tokens of the batch.
    pub(super) fn average(&mut self, call: &Call) -> Tried<Bound> {
        self.outside_experts("average", call.span)?;
        let x = self.first(call)?;
        let input = self.settle(x.value, &call.scope.label(), true);
        let node = Node::plain(Kind::Average, call.scope.label(), vec![input]);
        let id = self.graph.add(node, &[(x.shape(), true)])[0];
        Some(Bound::Tensor(self.stream(id, x.axes)))
    }

    /// `loss e`: added to what training makes small.
    pub(super) fn loss(&mut self, expr: &Expr, scope: &Scope) -> Tried<()> {
        let bound = self.eval(expr, None, scope)?;
        let named = self.tensor(bound, expr.span)?;
        if size(&named.shape()) != 1 {
            return self.fail(
                Diag::error("E0202", expr.span, "a loss is a single number")
                    .help("`sum(x)` adds the entries up"),
            );
        }
        let id = self.settle(named.value, &format!("{}.loss", scope.path), false);
        if !self.graph.value(id).once {
            return self.fail(
                Diag::error("E0202", expr.span, "a loss is one number for the whole batch")
                    .help("`average(x)` is the mean over all tokens"),
            );
        }
        self.losses.push(id);
        Some(())
    }
}
