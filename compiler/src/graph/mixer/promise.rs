//! Promises of a recurrence's inputs, compared with what a mixer passes.
//!
//! A declared interval or `unit` is what the form of the recurrence relies on. Whether a value keeps it
//! follows from the functions it went through: `sigmoid` stays in (0, 1) whatever reaches it, a `linear`
//! may give anything.

use lrc_dsl::ast::{Attr, Decl, Item};
use lrc_dsl::{Diag, Span, print};

use super::GraphBuilder;
use crate::elaborate::Variable;
use crate::tile::{Op, Unary, Value};

impl GraphBuilder<'_> {
    /// Warns where a value may leave what its input promises.
    pub(super) fn promise(&mut self, decl: &Decl, variable: &Variable, value: Value, span: Span) {
        if let Some((low, high)) = variable.interval {
            let (least, most) = self.intervals.of(&self.b.program, value);
            if least < low || most > high {
                let help = inside(low, high);
                self.breaks(
                    decl,
                    variable,
                    &|attr| matches!(attr, Attr::Interval { .. }),
                    help,
                    span,
                );
            }
        }
        if variable.unit && !self.unit(value) {
            let help = "`l2norm(…)` gives vectors of length 1".to_string();
            self.breaks(decl, variable, &|attr| matches!(attr, Attr::Unit), help, span);
        }
    }

    fn breaks(
        &mut self,
        decl: &Decl,
        variable: &Variable,
        which: &dyn Fn(&Attr) -> bool,
        help: String,
        span: Span,
    ) {
        let mut declared = decl.items.iter().filter_map(|item| match item {
            Item::Declare { names, attrs, .. } => {
                let own = names.iter().any(|(name, _)| name.text == variable.name);
                own.then(|| attrs.iter().find(|(attr, _)| which(attr))).flatten()
            }
            _ => None,
        });
        let Some((attr, at)) = declared.next() else { return };
        let message = format!(
            "`{}` of `{}` is promised `{}`, and what is passed may break that",
            variable.name,
            decl.name.text,
            print::attr_text(attr)
        );
        self.diags.push(
            Diag::warning("W0221", span, message)
                .label("this may leave what is promised")
                .other(*at, "promised here")
                .help(help),
        );
    }

    /// Whether vectors along the last axis have length 1.
    fn unit(&self, value: Value) -> bool {
        if self.units.contains(&value) {
            return true;
        }
        let node = self.b.node(value);
        let Some(first) = node.args.first() else { return false };
        let last = |value: Value| self.b.shape(value).last().copied();
        let kept = match &node.op {
            Op::Reshape | Op::Expand => last(*first) == last(value),
            Op::Permute(order) => order.last() == Some(&(order.len() - 1)),
            Op::Slice(axis, _) | Op::Concat(axis) => axis + 1 < node.shape.len(),
            Op::Unary(Unary::Neg) => true,
            _ => false,
        };
        kept && node.args.iter().all(|arg| self.unit(*arg))
    }
}

/// How a value is made that stays in an interval.
fn inside(low: f64, high: f64) -> String {
    let write = match (low, high) {
        (f64::NEG_INFINITY, 0.0) => {
            "`logsigmoid(…)`, `-softplus(…)` and `-exp(…)` stay".to_string()
        }
        (0.0, f64::INFINITY) => "`softplus(…)` and `exp(…)` stay".to_string(),
        (0.0, 1.0) => "`sigmoid(…)` stays".to_string(),
        (0.0, high) if high.is_finite() => format!("`{high} * sigmoid(…)` stays"),
        (low, high) if low == -high => match high {
            1.0 => "`tanh(…)` stays".to_string(),
            high => format!("`{high} * tanh(…)` stays"),
        },
        _ => "a function whose values lie there stays".to_string(),
    };
    format!("{write} inside")
}
