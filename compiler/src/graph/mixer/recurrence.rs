//! Calls of recurrences: their arguments, and the heads they run for.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Decl, Expr, Name, Role};
use lrc_dsl::{Diag, Span, print};

use super::functions::Call;
use super::{Bound, GraphBuilder, Scope, Tried};
use crate::compile::Chosen;
use crate::elaborate::signature::{Signature, numbers_in};
use crate::elaborate::{Dim, Recurrence, Setting, Variable, elaborate};
use crate::graph::pointwise::Named;
use crate::graph::{Kind, Node, Recur, ValueId};
use crate::tile::Value;

impl GraphBuilder<'_> {
    /// A call of a recurrence: run for every entry of the axes in front of the declared shapes.
    pub(super) fn recurrence(&mut self, decl: &Decl, call: &Call) -> Tried<Bound> {
        let mut found = Vec::new();
        let signature = Signature::of(decl, &mut found);
        let slots: Vec<_> =
            signature.variables.iter().filter(|v| v.role != Role::State).cloned().collect();
        let (settings, operands) = self.sorted(decl, &signature, &slots, call)?;
        let lacks: Vec<String> = slots
            .iter()
            .zip(&operands)
            .filter(|(_, operand)| operand.is_none())
            .map(|(variable, _)| format!("`{}`", variable.name))
            .collect();
        if !lacks.is_empty() {
            let all: Vec<&str> = slots.iter().map(|v| v.name.as_str()).collect();
            let message = format!("`{}` needs {}", decl.name.text, listed(&lacks));
            return self.fail(Diag::error("E0205", call.span, message).help(format!(
                "its values in order: `{}({})`",
                decl.name.text,
                all.join(", ")
            )));
        }
        let given = operands.into_iter().flatten().collect();
        let call_of = RecurrenceCall { builder: self, decl, signature: &signature, slots, given };
        call_of.run(settings, call.scope)
    }

    /// The arguments of a call: settings by name, and what is given of the declared inputs and parameters, in their order.
    fn sorted(
        &mut self,
        decl: &Decl,
        signature: &Signature,
        slots: &[Variable],
        call: &Call,
    ) -> Tried<(Settings, Vec<Option<Operand>>)> {
        let mut settings = Settings::new();
        let mut operands: Vec<Option<Operand>> = vec![None; slots.len()];
        let mut position = 0;
        for arg in call.args {
            let slot = match &arg.name {
                None => {
                    position += 1;
                    Some(position - 1)
                }
                Some(name) => slots.iter().position(|v| v.name == name.text),
            };
            if let (None, Some(name)) = (slot, &arg.name) {
                let value = self.setting(decl, signature, slots, name, &arg.value, call.scope)?;
                settings.insert(name.text.clone(), value);
                continue;
            }
            let Some(slot) = slot.filter(|slot| *slot < operands.len()) else {
                let message = format!("`{}` takes {} values", decl.name.text, slots.len());
                let names: Vec<&str> = slots.iter().map(|v| v.name.as_str()).collect();
                return self.fail(
                    Diag::error("E0205", arg.value.span, message)
                        .help(format!("in this order: {}", names.join(", "))),
                );
            };
            if operands[slot].is_some() {
                let message = format!("`{}` is given twice", slots[slot].name);
                return self.fail(Diag::error("E0205", arg.value.span, message));
            }
            let bound = self.eval(&arg.value, None, call.scope)?;
            let named = self.tensor(bound, arg.value.span)?;
            operands[slot] = Some((named, arg.value.span));
        }
        Some((settings, operands))
    }

    /// A setting of a recurrence, given by its name.
    fn setting(
        &mut self,
        decl: &Decl,
        signature: &Signature,
        slots: &[Variable],
        name: &Name,
        value: &Expr,
        scope: &Scope,
    ) -> Tried<Setting> {
        if !signature.settings.iter().any(|(known, _)| *known == name.text) {
            let settings = signature.settings.iter().map(|(n, _)| n.as_str());
            let known = settings.chain(slots.iter().map(|v| v.name.as_str()));
            let message = format!("`{}` has no parameter `{}`", decl.name.text, name.text);
            return self.fail(
                Diag::error("E0216", name.span, message).help_nearest(&name.text, "it has", known),
            );
        }
        match self.eval(value, None, scope)? {
            Bound::Known(value) => Some(value),
            _ => self.fail(Diag::error(
                "E0208",
                value.span,
                "a parameter is a number known before the run",
            )),
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Settings by name.
type Settings = BTreeMap<String, Setting>;

/// An argument, and where it stands.
type Operand = (Named, Span);

/// One call of a recurrence with its arguments in declared order.
struct RecurrenceCall<'c, 'n> {
    builder: &'c mut GraphBuilder<'n>,
    decl: &'c Decl,
    signature: &'c Signature,
    /// What it declares beside its states.
    slots: Vec<Variable>,
    given: Vec<Operand>,
}

/// Axes behind the heads that an argument for a variable has.
fn own_axes(variable: &Variable) -> usize {
    variable.shape.axes.len() + usize::from(variable.count.is_some())
}

impl RecurrenceCall<'_, '_> {
    fn run(mut self, settings: Settings, scope: &Scope) -> Tried<Bound> {
        let (front, sizes) = self.axes()?;
        self.memories(&front, &sizes);
        let recurrence = self.elaborated(settings, &front, &sizes, scope)?;
        let heads = front.iter().map(|a| a.size).product();
        let mut recur = Recur {
            heads,
            sum: 1,
            input_heads: vec![],
            param_heads: vec![],
            recurrence,
            chosen: Chosen::default(),
        };
        let inputs = self.operands(&front, &mut recur, scope)?;
        let out = recur.recurrence.outs[0].clone();
        let shapes: Vec<(Vec<usize>, bool)> = recur
            .recurrence
            .outs
            .iter()
            .map(|o| ([&[heads], o.shape.as_slice()].concat(), false))
            .collect();
        let node = Node::plain(Kind::Recur(Box::new(recur)), scope.label(), inputs);
        let id = self.builder.graph.add(node, &shapes)[0];
        let own = out.axes.iter().zip(&out.shape).map(|(text, n)| {
            let dim = sizes.get(text).cloned().unwrap_or_else(|| Dim::new(*n, text.as_str()));
            // An axis of the heads may have this name too.
            let clashes = front.iter().any(|axis| axis.text == dim.text);
            if clashes {
                let text = format!("{} of {}", dim.text, self.decl.name.text);
                return Dim::new(dim.size, text);
            }
            dim
        });
        let own: Vec<Dim> = own.collect();
        let axes: Vec<Dim> = front.into_iter().chain(own).collect();
        Some(Bound::Tensor(self.builder.stream(id, axes)))
    }

    /// The axes of the heads, the longest that an argument has, and what the arguments say of declared sizes.
    fn axes(&mut self) -> Tried<(Vec<Dim>, BTreeMap<String, Dim>)> {
        let mut sizes: BTreeMap<String, Dim> = BTreeMap::new();
        let mut front: Vec<Dim> = Vec::new();
        for (variable, (named, span)) in self.slots.clone().iter().zip(&self.given.clone()) {
            let own = own_axes(variable);
            if named.axes.len() < own {
                let want: Vec<String> = variable.shape.axes.iter().map(print::expr).collect();
                let message = format!(
                    "`{}` of `{}` has axes [{}] behind the heads",
                    variable.name,
                    self.decl.name.text,
                    want.join(", ")
                );
                return self.builder.fail(Diag::error("E0202", *span, message));
            }
            let (heads, rest) = named.axes.split_at(named.axes.len() - own);
            if heads.len() > front.len() {
                front = heads.to_vec();
            }
            let rest = &rest[own - variable.shape.axes.len()..];
            for (axis, dim) in variable.shape.axes.iter().zip(rest) {
                self.bind(axis, dim, &mut sizes, *span)?;
            }
        }
        Some((front, sizes))
    }

    /// The recurrence at the sizes of this call.
    fn elaborated(
        &mut self,
        mut given: Settings,
        front: &[Dim],
        sizes: &BTreeMap<String, Dim>,
        scope: &Scope,
    ) -> Tried<Recurrence> {
        for (name, dim) in sizes {
            given.insert(name.clone(), Setting::Number(dim.size as f64));
        }
        let sizes_in_front: Vec<usize> = front.iter().map(|a| a.size).collect();
        let heads: usize = sizes_in_front.iter().product();
        given.insert("heads".into(), Setting::Number(heads as f64));
        for name in ["layer", "layers"] {
            if let Some(x) = scope.numbers.known.get(name) {
                given.insert(name.into(), *x);
            }
        }
        let mut found = Vec::new();
        let Some(recurrence) = elaborate(self.decl, &given, &mut found) else {
            self.builder.diags.extend(found);
            return None;
        };
        for state in &recurrence.states {
            let shape = [sizes_in_front.as_slice(), &state.shape].concat();
            let what = format!("the state `{}` of all heads", state.name);
            if let Err(diag) = numbers_in(&shape, &what, self.decl.name.span) {
                return self.builder.fail(*diag);
            }
        }
        Some(recurrence)
    }

    /// The values that the node reads: inputs, then parameters.
    fn operands(&mut self, front: &[Dim], recur: &mut Recur, scope: &Scope) -> Tried<Vec<ValueId>> {
        let mut inputs = Vec::new();
        let mut params = Vec::new();
        for (variable, (named, span)) in
            std::mem::take(&mut self.slots).iter().zip(std::mem::take(&mut self.given))
        {
            self.builder.promise(self.decl, variable, named.value, span);
            let (value, own) = self.operand(front, named, span, own_axes(variable))?;
            if variable.role == Role::In {
                inputs.push(self.builder.settle(value, &scope.label(), true));
                recur.input_heads.push(own);
            } else {
                let id = self.builder.settle(value, &scope.label(), false);
                if !self.builder.graph.value(id).once {
                    return self.builder.fail(Diag::error(
                        "E0205",
                        span,
                        format!(
                            "`{}` is a parameter: it must be the same for all tokens",
                            variable.name
                        ),
                    ));
                }
                params.push(id);
                recur.param_heads.push(own);
            }
        }
        inputs.extend(params);
        Some(inputs)
    }

    /// Warns where an argument has an axis too many, which is also an axis of the state: the call
    /// then runs, and keeps a state, for each of its entries.
    fn memories(&mut self, front: &[Dim], sizes: &BTreeMap<String, Dim>) {
        let inner = |axis: &&Dim| sizes.values().any(|dim| dim.text == axis.text);
        let Some(axis) = front.iter().find(inner) else { return };
        let mut given = self.slots.iter().zip(&self.given);
        let found = given.find(|(variable, (named, _))| {
            let own = own_axes(variable);
            named.axes[..named.axes.len() - own].iter().any(|a| a.text == axis.text)
        });
        let Some((variable, (_, span))) = found else { return };
        let (name, own) = (&self.decl.name.text, &variable.shape.axes);
        let own: Vec<String> = own.iter().map(print::expr).collect();
        let shape =
            if own.is_empty() { "a scalar".into() } else { format!("[{}]", own.join(", ")) };
        let message = format!(
            "`{name}` keeps a memory for each entry of `{0}`: the state {0} = {1} times",
            axis.text, axis.size
        );
        self.builder.diags.push(
            Diag::warning("W0222", *span, message)
                .label(format!(
                    "`{}` is {shape} per head, and this has an axis `{}` more",
                    variable.name, axis.text
                ))
                .help(format!(
                    "give `{}` without the axis `{}`, or take a recurrence with a gate per channel",
                    variable.name, axis.text
                )),
        );
    }

    fn bind(
        &mut self,
        axis: &Expr,
        dim: &Dim,
        sizes: &mut BTreeMap<String, Dim>,
        span: Span,
    ) -> Tried<()> {
        let Some(name) = axis.as_name().filter(|n| self.signature.sizes.iter().any(|s| s == n))
        else {
            return Some(());
        };
        match sizes.get(name) {
            Some(known) if known.size != dim.size => {
                let message = format!(
                    "`{name}` of `{}` is {} ({}) here and {} ({}) elsewhere",
                    self.decl.name.text, dim.size, dim.text, known.size, known.text
                );
                self.builder.fail(Diag::error("E0202", span, message))
            }
            Some(_) => Some(()),
            None => {
                sizes.insert(name.to_string(), dim.clone());
                Some(())
            }
        }
    }

    /// An argument whose heads are the first axes of the call, and how many there are.
    fn operand(
        &mut self,
        front: &[Dim],
        named: Named,
        span: Span,
        own: usize,
    ) -> Tried<(Value, usize)> {
        let (heads, rest) = named.axes.split_at(named.axes.len() - own);
        let prefix = heads.iter().zip(front).all(|(a, b)| a.text == b.text && a.size == b.size);
        if prefix {
            return Some((named.value, heads.iter().map(|a| a.size).product()));
        }
        // Heads that are not the first axes are repeated along the others.
        let sound =
            heads.iter().all(|a| front.iter().any(|b| a.text == b.text && a.size == b.size));
        if !sound {
            let texts: Vec<String> =
                front.iter().map(|a| format!("{} = {}", a.text, a.size)).collect();
            return self.builder.fail(
                Diag::error(
                    "E0202",
                    span,
                    format!("the heads of this call are [{}]", texts.join(", ")),
                )
                .label(format!(
                    "has [{}]",
                    heads
                        .iter()
                        .map(|a| format!("{} = {}", a.text, a.size))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            );
        }
        let shape: Vec<usize> = front
            .iter()
            .map(|b| if heads.iter().any(|a| a.text == b.text) { b.size } else { 1 })
            .chain(rest.iter().map(|a| a.size))
            .collect();
        let full: Vec<usize> = front.iter().chain(rest).map(|a| a.size).collect();
        let value = self.builder.b.reshape(named.value, &shape);
        let value = self.builder.b.expand(value, &full);
        Some((value, front.iter().map(|a| a.size).product()))
    }
}
