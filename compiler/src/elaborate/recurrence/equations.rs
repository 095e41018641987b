//! Equations of a recurrence: what they set, and whether they may.

use lrc_dsl::ast::{Expr, Item, Name, Range, Target};
use lrc_dsl::{Diag, Span};

use super::{RecurrenceBuilder, Slot, Update, shape_rank};
use crate::elaborate::eval::{Binding, Elaborator};
use crate::elaborate::value::{Setting, Tensor, Val, shape_text};
use crate::tile::{Number, Op, Value};

impl<'d> RecurrenceBuilder<'d> {
    pub(super) fn items(&mut self, items: &[Item], repeated: bool) {
        for item in items {
            match item {
                Item::Declare { span, .. } if repeated => {
                    self.e.diags.push(Diag::error(
                        "E0212",
                        *span,
                        "declarations stand outside `for`",
                    ));
                }
                Item::Declare { .. } => {}
                Item::Equation { out, targets, shape, value, .. } => {
                    let declared = shape.as_ref().map(|s| s.span);
                    self.equation(*out, targets, declared, value, repeated);
                }
                Item::Function { name, args, body, .. } => self.function(name, args, body),
                Item::Repeat { range, items, .. } => self.repeat(range, items),
                Item::Statement(expr) => self.e.diags.push(
                    Diag::error("E0212", expr.span, "this stands alone and has no effect").help(
                        "an equation is `name = expression`, an output `out name = expression`; or an operator is missing in front of it",
                    ),
                ),
                Item::Loss(e) | Item::Vocab(e) | Item::Embed(e) | Item::Residual(e) => {
                    self.misplaced(e.span);
                }
                Item::Head { value, .. } => self.misplaced(value.span),
                Item::Shared { span, .. } | Item::Spread { span, .. } => self.misplaced(*span),
            }
        }
    }

    pub(super) fn function(&mut self, name: &Name, args: &[Name], body: &Expr) {
        let diag = match self.e.lookup(&name.text) {
            Some(Binding::State(_) | Binding::ComplexState(_)) => {
                let message = format!("the state `{}` is no function", name.text);
                let help = format!("a state is set as `{}[t] = …`", name.text);
                Diag::error("E0209", name.span, message).help(help)
            }
            Some(Binding::Input(_) | Binding::Param(_) | Binding::Known(_)) => {
                let message = format!("`{}` has a value already", name.text);
                Diag::error("E0105", name.span, message).help("give the function another name")
            }
            _ => {
                let function = Binding::Function(args.to_vec(), body.clone());
                return self.e.bind(&name.text, function);
            }
        };
        self.e.diags.push(diag);
    }

    pub(super) fn misplaced(&mut self, span: Span) {
        self.e.diags.push(
            Diag::error("E0212", span, "this does not belong in a recurrence")
                .help("a recurrence holds declarations and equations"),
        );
    }

    pub(super) fn repeat(&mut self, range: &Range, items: &[Item]) {
        let Some((name, low, high)) = self.e.range(range) else { return };
        let (Val::Number(low), Val::Number(high)) = (low, high) else {
            self.e.diags.push(
                Diag::error(
                    "E0208",
                    range.span,
                    "how often this is repeated is not known before the run",
                )
                .help("a sum over tokens of the past is written `sum(… for u <= t)`"),
            );
            return;
        };
        if high - low >= 64.0 || high.is_nan() {
            self.e.diags.push(Diag::error("E0103", range.span, "more than 64 micro-steps"));
            return;
        }
        let mut j = low;
        while j <= high {
            let errors = self.e.diags.len();
            self.e.scope.push([(name.clone(), Binding::Known(Setting::Number(j)))].into());
            self.items(items, true);
            self.e.scope.pop();
            if self.e.diags.len() > errors {
                return;
            }
            j += 1.0;
        }
    }

    pub(super) fn equation(
        &mut self,
        out: bool,
        targets: &[Target],
        shape: Option<Span>,
        text: &Expr,
        repeated: bool,
    ) {
        if let Some(span) = shape {
            self.e.diags.push(
                Diag::error("E0212", span, "equations of a recurrence carry no shape")
                    .help("the shape follows from the right side"),
            );
        }
        let value = self.e.eval(text);
        if let [target] = targets {
            self.assign(out, target, value, text, repeated);
            return;
        }
        // `a, b = X` takes rows.
        let rows = value.and_then(|value| self.rows(value, targets, text));
        for (at, target) in targets.iter().enumerate() {
            let row = rows.as_ref().map(|rows| rows[at].clone());
            self.assign(out, target, row, text, repeated);
        }
    }

    pub(super) fn rows(&mut self, value: Val, targets: &[Target], text: &Expr) -> Option<Vec<Val>> {
        let t = self.e.need(value, text.span)?;
        if t.dims.first().map(|d| d.size) != Some(targets.len()) {
            return self.e.fail(
                Diag::error("E0202", text.span, format!("{} names need {0} rows", targets.len()))
                    .label(t.text()),
            );
        }
        if t.row {
            let help = "drop the `^T`";
            return self.e.fail(Diag::error("E0202", text.span, "a row has no rows").help(help));
        }
        let rest = t.dims[1..].to_vec();
        let shape: Vec<usize> = rest.iter().map(|d| d.size).collect();
        let row = |at: usize, e: &mut Elaborator<'d>| {
            let row = e.b.slice(t.value, 0, at, 1);
            let value = e.b.reshape(row, &shape);
            Val::Tensor(Tensor { value, dims: rest.clone(), row: false })
        };
        Some((0..targets.len()).map(|at| row(at, &mut self.e)).collect())
    }

    pub(super) fn assign(
        &mut self,
        out: bool,
        target: &Target,
        value: Option<Val>,
        text: &Expr,
        repeated: bool,
    ) {
        let name = &target.name;
        let binding = self.e.lookup(&name.text).cloned();
        if let Some(Binding::State(state)) = binding {
            return self.set_state(state, target, value, text, repeated, out);
        }
        if let Some(Binding::ComplexState(state)) = binding {
            let parts = match value {
                Some(Val::Complex(parts)) => parts.map(|part| Some(Val::Tensor(part))),
                Some(real) => [Some(real), Some(Val::Number(0.0))],
                None => [None, None],
            };
            for (part, value) in parts.into_iter().enumerate() {
                self.set_state(state + part, target, value, text, repeated, out);
            }
            return;
        }
        if target.now {
            let known: Vec<String> = self.states.iter().map(|s| s.name.clone()).collect();
            self.e.diags.push(
                Diag::error("E0209", name.span, format!("`{}` is no state", name.text))
                    .help_nearest(&name.text, "states", known.iter().map(String::as_str)),
            );
            return;
        }
        let taken = match binding {
            Some(Binding::Input(_) | Binding::Param(_)) => true,
            Some(Binding::Known(_)) => true,
            Some(Binding::Equation(..)) => !repeated,
            _ => false,
        };
        if taken {
            self.e.diags.push(
                Diag::error("E0105", name.span, format!("`{}` has a value already", name.text))
                    .help("give the new value another name"),
            );
            return;
        }
        let Some(value) = value else {
            self.e.bind(&name.text, Binding::Broken);
            return;
        };
        if out && repeated {
            let message = "an output stands outside `for`, where it is one value";
            self.e.diags.push(
                Diag::error("E0212", name.span, message)
                    .help("a sum over the range is written `sum(… for j < n)`"),
            );
        } else if out {
            self.set_out(target, value.clone(), text.span);
        }
        self.e.bind(&name.text, Binding::Equation(text.clone(), value));
    }

    pub(super) fn set_out(&mut self, target: &Target, value: Val, span: Span) {
        let (words, complex) = (value.words(), matches!(value, Val::Complex(_)));
        if matches!(value, Val::Number(x) if !x.is_finite()) {
            self.e.diags.push(Diag::error("E0223", span, "an output that is infinite"));
            return;
        }
        let Some(t) = self.e.as_tensor(value) else {
            let message = "an output is a scalar, vector or matrix";
            let mut diag = Diag::error("E0202", span, message).label(words);
            if complex {
                diag = diag.help("give out its parts: `real(…)` and `imag(…)`");
            }
            self.e.diags.push(diag);
            return;
        };
        let slot = Slot {
            name: target.name.text.clone(),
            count: None,
            shape: t.dims.iter().map(|d| d.size).collect(),
            text: shape_text(&t.dims),
            axes: t.dims.iter().map(|d| d.text.to_string()).collect(),
            interval: None,
            unit: false,
            complex: false,
            number: Number::F32,
            gradient: Number::F32,
            span: target.name.span,
        };
        self.outs.push((slot, t.value));
    }

    pub(super) fn set_state(
        &mut self,
        state: usize,
        target: &Target,
        value: Option<Val>,
        text: &Expr,
        repeated: bool,
        out: bool,
    ) {
        let name = &target.name.text;
        let first = self.e.states[state].1.is_none();
        if !target.now || out {
            self.e.diags.push(
                Diag::error(
                    "E0209",
                    target.name.span,
                    format!("a state is set as `{name}[t] = …`"),
                )
                .help(if out {
                    format!("give it out by a line of its own: `out o = {name}[t]`")
                } else {
                    format!("write `{name}[t]`")
                }),
            );
        } else if !first && !repeated {
            self.e.diags.push(
                Diag::error("E0209", target.name.span, format!("`{name}[t]` is set again"))
                    .help("only inside `for` a state is set again: a micro-step"),
            );
        }
        if self.e.gathered.contains(&state) && repeated {
            let message = format!("`{name}[t]` is set again below a sum that reads it up to `t`");
            let help = format!("let the sum end before this token, `u < t`, and add `{name}[t]`");
            self.e.diags.push(Diag::error("E0209", target.name.span, message).help(help));
        }
        let slot = &self.states[state];
        let (shape, slot_text) = (slot.shape.clone(), slot.text.clone());
        let Some(t) = value.and_then(|value| self.new_state(name, value, &shape, &slot_text, text))
        else {
            self.broken.push(state);
            let stand_in = self.e.b.fill(0.0, &shape);
            self.e.states[state].1 = Some(stand_in);
            return;
        };
        let id = self.updates.len() as u32;
        self.e.b.span = Some(text.span);
        let version = self.e.b.raw(Op::Alias(id), vec![t], shape);
        self.e.states[state].1 = Some(version);
        self.updates.push(Update { state, value: t, version, span: text.span });
    }

    /// The right side of a state's equation in the state's shape.
    pub(super) fn new_state(
        &mut self,
        name: &str,
        value: Val,
        shape: &[usize],
        declared: &str,
        text: &Expr,
    ) -> Option<Value> {
        if let (Val::Eye(scale), [m, n]) = (&value, shape)
            && m == n
        {
            return Some(self.e.eye(*scale, *n));
        }
        let words = value.words();
        let number = matches!(value, Val::Number(_));
        let Some(t) = self.e.as_tensor(value) else {
            return self.e.fail(
                Diag::error("E0203", text.span, format!("the state `{name}` has shape {declared}"))
                    .label(words),
            );
        };
        let got = self.e.b.shape(t.value).to_vec();
        if got == shape && !t.row {
            return Some(t.value);
        }
        if t.dims.is_empty() && (shape == [1] || number) {
            let ones = self.e.b.reshape(t.value, &vec![1; shape.len()]);
            return Some(self.e.b.expand(ones, shape));
        }
        self.wrong_state(name, &t, declared, text)
    }

    /// Blames the term of the right side that has the wrong shape.
    pub(super) fn wrong_state(
        &mut self,
        name: &str,
        t: &Tensor,
        declared: &str,
        text: &Expr,
    ) -> Option<Value> {
        let message = format!(
            "`{}` has shape {}, the state `{name}` has shape {declared}",
            lrc_dsl::print::expr(text),
            t.text()
        );
        let mut diag = Diag::error("E0203", text.span, message).label(t.text());
        if shape_rank(declared) == 2 {
            diag = diag.help(format!(
                "a write into `{name}` is a key times a value: `k * v^T`, of shape {declared}"
            ));
        }
        self.e.fail(diag)
    }
}
