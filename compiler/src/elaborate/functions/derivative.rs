//! `grad(…)`: the derivative of an objective by a state, as a program.

use lrc_dsl::ast::{Arg, Expr};
use lrc_dsl::{Diag, Span};

use crate::elaborate::eval::{Binding, Derivation, Elaborator, FIRST_SYMBOL};
use crate::elaborate::value::{Tensor, Val};
use crate::grad::gradient;
use crate::tile::print::lines;
use crate::tile::{Int, Leaf, Op, Stream, Value};

impl Elaborator<'_> {
    /// `grad(L, X)`: the derivative of a scalar by a value. Through a name, the name becomes a
    /// symbol of its own, so that what it is made of stays out of the derivative.
    pub(super) fn grad(&mut self, args: &[Arg], span: Span) -> Option<Val> {
        let [objective, by] = args else {
            return self.fail(
                Diag::error(
                    "E0205",
                    span,
                    "`grad` takes an objective and what to differentiate by",
                )
                .help("`grad(|S[t-1]^T * k - v|^2 / 2, S[t-1])`"),
            );
        };
        let target = self.eval(&by.value)?;
        let Val::Tensor(target) = target else {
            let words = target.words();
            return self.fail(
                Diag::error("E0205", by.value.span, "this cannot be differentiated by")
                    .label(words),
            );
        };
        let named = by
            .value
            .as_name()
            .filter(|name| matches!(self.lookup(name), Some(Binding::Equation(..))));
        let (symbol, loss) = match named {
            Some(name) => self.by_symbol(name, &target, &objective.value)?,
            None => (target.value, self.eval(&objective.value)?),
        };
        let loss = match loss {
            Val::Tensor(t) if t.dims.is_empty() => t.value,
            other => {
                return self.fail(
                    Diag::error("E0205", objective.value.span, "an objective is a scalar")
                        .label(other.words()),
                );
            }
        };
        let one = self.b.fill(1.0, &[]);
        // A scalar kept as `[1]` in files is seen through its reshape: differentiate by the leaf.
        let found = gradient(&mut self.b, &[(loss, one)], &[symbol]);
        let shape = self.b.shape(symbol).to_vec();
        let value = found.values[0].unwrap_or_else(|| self.b.fill(0.0, &shape));
        let formula = self.formula(value);
        self.derivations.push(Derivation {
            objective: objective.value.span,
            by: by.value.span,
            formula,
        });
        Some(Val::Tensor(Tensor { value, ..target }))
    }

    /// A symbol in the place of a named value, and an objective in which the name stands for it.
    fn by_symbol(&mut self, name: &str, of: &Tensor, objective: &Expr) -> Option<(Value, Val)> {
        let shape = self.b.shape(of.value).to_vec();
        self.symbols += 1;
        let id = FIRST_SYMBOL + self.symbols;
        let symbol = self.b.raw(Op::Alias(id), vec![of.value], shape);
        let value = Val::Tensor(Tensor { value: symbol, ..of.clone() });
        self.scope.push([(name.to_string(), Binding::Value(value))].into());
        let outer = std::mem::replace(&mut self.anew, true);
        let loss = self.eval(objective);
        self.anew = outer;
        self.scope.pop();
        Some((symbol, loss?))
    }

    /// A value in the words of the declaration; what has a name is not written out.
    pub(super) fn formula(&self, value: Value) -> Vec<String> {
        let all = || self.scope.iter().flat_map(|scope| scope.iter());
        let called = |wanted: &dyn Fn(&Binding) -> bool| {
            all().find(|(_, binding)| wanted(binding)).map(|(name, _)| name.clone())
        };
        let at = |name: Option<String>, at: &Int| match (name, at.lag()) {
            (Some(name), Some(0)) => name,
            (Some(name), _) => format!("{name}[{at}]"),
            (None, _) => format!("…[{at}]"),
        };
        let leaf = |leaf: &Leaf| match leaf {
            Leaf::Read(Stream::Input(i), t) => {
                at(called(&|b| matches!(b, Binding::Input(j) if j == i)), t)
            }
            Leaf::Read(Stream::State(i), t) => {
                at(called(&|b| matches!(b, Binding::State(j) if j == i)), t)
            }
            Leaf::Read(Stream::Export(i), t) => {
                at(self.exports.get(*i).map(|(name, _)| name.clone()), t)
            }
            Leaf::Param(i) => called(&|b| matches!(b, Binding::Param(j) if j == i))
                .unwrap_or_else(|| leaf.to_string()),
            other => other.to_string(),
        };
        let known = |found: Value| {
            let is = |binding: &Binding| matches!(binding, Binding::Equation(_, Val::Tensor(t)) if t.value == found);
            called(&is).filter(|_| found != value)
        };
        lines(self.b.nodes(), value, &leaf, &known, "derivative")
    }
}
