//! Functions of mixers: dense products, convolution, norms, positions.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Arg, Decl, Kind as DeclKind, Name};
use lrc_dsl::{Diag, Span, print};

use super::{Bound, GraphBuilder, Scope, Tried};
use crate::elaborate::Dim;
use crate::elaborate::functions::{IN_MIXERS, OTHERS, entrywise, of_entries, softmax};
use crate::elaborate::signature::numbers_in;
use crate::graph::pointwise::{self, Named, Stretch};
use crate::graph::{Kind, Node};
use crate::tile::Binary;

/// A call in an equation.
#[derive(Clone, Copy)]
pub struct Call<'c> {
    /// What is called.
    pub name: &'c Name,
    /// With what.
    pub args: &'c [Arg],
    /// The axes written on the left.
    pub expected: Option<&'c [Dim]>,
    /// The mixer around it.
    pub scope: &'c Scope,
    /// The whole call.
    pub span: Span,
}

impl Call<'_> {
    /// The same call where what is written on the left says nothing about its argument.
    pub(super) fn alone(self) -> Self {
        Call { expected: None, ..self }
    }
}

/// Most entries of an axis that `rope` turns: each has an angle of its own in the program.
const MAX_TURNED: usize = 1 << 14;

/// Most turns of `dpfp`, each a part of the program.
const MAX_ROLLS: usize = 256;

/// Functions of mixers that recurrences have too, beside those of each entry.
const SHARED: [&str; 5] = ["softmax", "sum", "concat", "max", "min"];

impl GraphBuilder<'_> {
    /// A function, a recurrence or another mixer.
    pub(super) fn call(&mut self, call: &Call) -> Tried<Bound> {
        let name = call.name.text.as_str();
        self.arguments(call)?;
        if let Some(op) = of_entries(name) {
            let x = self.first(call)?;
            let value = self.b.unary(op, x.value);
            self.chosen_by(op, x.value, value);
            return Some(Bound::Tensor(Named { value, ..x }));
        }
        match name {
            "linear" => self.linear(call),
            "conv" => self.conv(call),
            "positions" => self.positions(call),
            "rope" => self.rope(call),
            "l2norm" | "l1norm" | "srmsnorm" => self.plain_norm(call),
            "softmax" => {
                let x = self.first(call)?;
                let last = self.last_axis(call, &x)?;
                let value = softmax(&mut self.b, x.value, last);
                Some(Bound::Tensor(Named { value, ..x }))
            }
            "dpfp" | "taylor" | "outer" => self.feature_map(call),
            "rmsnorm" | "layernorm" => self.norm(call),
            "sum" => self.sum(call),
            "concat" => self.concat(call),
            "max" | "min" => self.bounded(call),
            "long_conv" => self.long_conv(call),
            "top_k" => self.top_k(call),
            "average" => self.average(call),
            _ => self.declared(call),
        }
    }

    /// The norms without weights.
    fn plain_norm(&mut self, call: &Call) -> Tried<Bound> {
        let x = self.first(call)?;
        self.last_axis(call, &x)?;
        let eps = self.eps(call)?;
        let value = match call.name.text.as_str() {
            "l2norm" => {
                let value = pointwise::l2norm(&mut self.b, x.value, eps);
                self.units.insert(value);
                value
            }
            "l1norm" => pointwise::l1norm(&mut self.b, x.value, eps),
            _ => pointwise::rms(&mut self.b, x.value, eps),
        };
        Some(Bound::Tensor(Named { value, ..x }))
    }

    /// `eps = 1e-5`: what a norm adds where it divides.
    pub(super) fn eps(&mut self, call: &Call) -> Tried<f64> {
        let eps = self.number_arg(call, usize::MAX, "eps", 1e-6)?;
        if eps > 0.0 && eps <= 1.0 {
            return Some(eps);
        }
        let message = format!("`eps` of `{}` is {eps:?}", call.name.text);
        self.fail(
            Diag::error("E0213", call.span, message)
                .help("it keeps a quotient finite: a number above 0, at most 1"),
        )
    }

    /// A truth by name, false where it is not given.
    pub(super) fn truth_arg(&mut self, call: &Call, name: &str) -> Tried<bool> {
        let named = |arg: &&Arg| arg.name.as_ref().is_some_and(|n| n.text == name);
        match call.args.iter().find(named).map(|arg| call.scope.numbers.truth(&arg.value)) {
            None => Some(false),
            Some(Ok(x)) => Some(x),
            Some(Err(diag)) => self.fail(*diag),
        }
    }

    /// A recurrence or a mixer of the file.
    fn declared(&mut self, call: &Call) -> Tried<Bound> {
        let (name, namespace) = (call.name.text.as_str(), self.namespace);
        match namespace.get(name) {
            Some(decl) if decl.kind == DeclKind::Recurrence => {
                self.outside_experts(name, call.span)?;
                self.recurrence(decl, call)
            }
            Some(decl) if decl.kind == DeclKind::Mixer => self.inner_mixer(decl, call),
            Some(_) => {
                let message = format!("`{name}` is a model, and a mixer calls no models");
                self.fail(Diag::error("E0217", call.name.span, message))
            }
            None => self.unknown_function(call.name),
        }
    }

    fn unknown_function<T>(&mut self, called: &Name) -> Tried<T> {
        let (name, namespace) = (called.text.as_str(), self.namespace);
        let shipped = [DeclKind::Recurrence, DeclKind::Mixer]
            .into_iter()
            .find_map(|kind| namespace.shipped(kind, name));
        let diag = Diag::error("E0204", called.span, format!("unknown function `{name}`"));
        let diag = match shipped {
            Some(path) => diag.help(format!("write `use \"{path}\"`: it is in the library")),
            None if OTHERS.contains(&name) => diag.help("it stands in recurrences only"),
            None => {
                let known = namespace.decls.values().filter(|d| d.kind != DeclKind::Model);
                let known = known.map(|decl| decl.name.text.as_str());
                let entrywise = entrywise().map(|(n, _)| n);
                let all = known.chain(IN_MIXERS.iter().copied()).chain(SHARED).chain(entrywise);
                diag.help_nearest(name, "known", all)
            }
        };
        self.fail(diag)
    }

    /// `rope(x, base, fraction)`: nothing turns where the fraction is 0.
    fn rope(&mut self, call: &Call) -> Tried<Bound> {
        let x = self.first(call)?;
        let last = self.last_axis(call, &x)?;
        let base = self.number_arg(call, 1, "base", 10000.0)?;
        let fraction = self.number_arg(call, 2, "fraction", 1.0)?;
        if !(base > 0.0 && base.is_finite()) {
            let message = format!("the base of `rope` is {base:?}, not a positive number");
            return self.fail(Diag::error("E0213", call.span, message));
        }
        if !(0.0..=1.0).contains(&fraction) {
            let message = format!("`rope` cannot turn a share of {fraction:?} of the entries");
            return self.fail(
                Diag::error("E0213", call.span, message)
                    .help("`rope(x, base, fraction)`: the fraction is a number from 0 to 1"),
            );
        }
        let entries = x.axes[last].size as f64 * fraction;
        if entries > MAX_TURNED as f64 {
            let message =
                format!("`rope` would turn {entries} entries; it turns at most {MAX_TURNED}");
            return self.fail(
                Diag::error("E0213", call.span, message)
                    .help("cut the axis into heads: `[heads, width / heads]`"),
            );
        }
        let stretch = self.stretch(call)?;
        let value = pointwise::rope(&mut self.b, x.value, base, fraction, stretch);
        Some(Bound::Tensor(Named { value, ..x }))
    }

    /// `factor = 8, low = 1, high = 4, trained = 8192`: how positions are stretched.
    fn stretch(&mut self, call: &Call) -> Tried<Stretch> {
        let mut number = |name, default| self.number_arg(call, usize::MAX, name, default);
        let factor = number("factor", 1.0)?;
        let (low, high) = (number("low", 1.0)?, number("high", 4.0)?);
        let trained = number("trained", f64::INFINITY)?;
        let sound =
            factor >= 1.0 && factor.is_finite() && 0.0 < low && low < high && trained >= 1.0;
        if sound && high.is_finite() {
            return Some(Stretch { factor, low, high, trained });
        }
        let message = "`rope` cannot stretch positions so";
        self.fail(Diag::error("E0213", call.span, message).help(
            "`factor` is at least 1, `low` above 0 and below `high`, `trained` a number of tokens",
        ))
    }

    /// The first argument as a tensor.
    pub(super) fn first(&mut self, call: &Call) -> Tried<Named> {
        match call.args.first() {
            Some(arg) if arg.name.is_none() && arg.over.is_none() => {
                let bound = self.eval(&arg.value, call.expected, call.scope)?;
                self.tensor(bound, arg.value.span)
            }
            _ => {
                let message = format!("`{}` needs a value", call.name.text);
                self.fail(Diag::error("E0205", call.name.span, message))
            }
        }
    }

    /// The last axis of what a function works along.
    pub(super) fn last_axis(&mut self, call: &Call, x: &Named) -> Tried<usize> {
        match x.axes.len() - self.slot_axes(x) {
            0 => {
                let message = format!("`{}` works on vectors", call.name.text);
                self.fail(Diag::error("E0202", call.args[0].value.span, message).label("a number"))
            }
            _ => Some(x.axes.len() - 1),
        }
    }

    /// `max(x, 0.1)`, `min(x, y)` with a number on the right.
    fn bounded(&mut self, call: &Call) -> Tried<Bound> {
        let x = self.first(call)?;
        let right = &call.args[1].value;
        let bound = self.eval(right, call.expected, call.scope)?;
        let y = self.tensor(bound, right.span)?;
        if !y.axes.is_empty() {
            return self
                .fail(Diag::error("E0202", call.span, "a number is needed").label("not a number"));
        }
        let other = self.b.reshape(y.value, &vec![1; x.axes.len()]);
        let op = if call.name.text == "max" { Binary::Max } else { Binary::Min };
        let value = self.b.binary(op, x.value, other);
        Some(Bound::Tensor(Named { value, ..x }))
    }

    /// Feature maps that change the width of the last axis.
    fn feature_map(&mut self, call: &Call) -> Tried<Bound> {
        let x = self.first(&call.alone())?;
        let last = self.last_axis(call, &x)?;
        let d = x.axes[last].clone();
        let (value, text) = match call.name.text.as_str() {
            "dpfp" => {
                let nu = self.number_arg(call, 1, "nu", 1.0)?;
                let most = (2 * d.size - 1).min(MAX_ROLLS);
                if nu.fract() != 0.0 || nu < 1.0 || nu > most as f64 {
                    let message = format!("`nu` of `dpfp` is a whole number from 1 to {most}");
                    return self.fail(Diag::error("E0213", call.span, message));
                }
                self.room(&x, 2 * nu as usize, call)?;
                (
                    pointwise::dpfp(&mut self.b, x.value, nu as usize),
                    format!("dpfp({}, {nu})", d.text),
                )
            }
            "taylor" => {
                self.room(&x, 2 + d.size, call)?;
                (pointwise::taylor(&mut self.b, x.value), format!("taylor({})", d.text))
            }
            _ => {
                let Some(arg) = call.args.get(1) else {
                    let message = "`outer` needs two vectors";
                    return self.fail(Diag::error("E0205", call.span, message));
                };
                let bound = self.eval(&arg.value, None, call.scope)?;
                let y = self.tensor(bound, arg.value.span)?;
                let fits = y.axes.len() == x.axes.len()
                    && y.axes[..last]
                        .iter()
                        .zip(&x.axes)
                        .all(|(a, b)| a.text == b.text && a.size == b.size);
                if !fits {
                    let message = "the two sides of `outer` differ before the last axis";
                    return self.fail(Diag::error("E0202", call.span, message));
                }
                self.room(&x, y.axes[last].size, call)?;
                let text = format!("{} * {}", d.text, y.axes[last].text);
                (pointwise::outer(&mut self.b, x.value, y.value), text)
            }
        };
        let width = self.b.shape(value)[last];
        let mut axes = x.axes;
        axes[last] = Dim::new(width, text);
        Some(Bound::Tensor(Named { value, axes }))
    }

    /// Refuses a feature map that would make a value so many times as large as a tensor can be.
    fn room(&mut self, x: &Named, times: usize, call: &Call) -> Tried<()> {
        let shape = [x.shape().as_slice(), &[times]].concat();
        let what = format!("what `{}` makes", call.name.text);
        match numbers_in(&shape, &what, call.span) {
            Ok(_) => Some(()),
            Err(diag) => self.fail(*diag),
        }
    }

    /// A number by position or by name.
    pub(super) fn number_arg(
        &mut self,
        call: &Call,
        at: usize,
        name: &str,
        default: f64,
    ) -> Tried<f64> {
        let given = call
            .args
            .iter()
            .find(|arg| arg.name.as_ref().is_some_and(|n| n.text == name))
            .or_else(|| call.args.get(at).filter(|arg| arg.name.is_none()));
        match given.map(|arg| call.scope.numbers.number(&arg.value)) {
            None => Some(default),
            Some(Ok(x)) => Some(x),
            Some(Err(diag)) => self.fail(*diag),
        }
    }

    /// `long_conv(x, h)`: a causal convolution as long as the sequence, each channel by itself; tap
    /// `j` of the filter is the value of `h` at token `j`.
    fn long_conv(&mut self, call: &Call) -> Tried<Bound> {
        self.outside_experts("long_conv", call.span)?;
        let x = self.first(&call.alone())?;
        let Some(arg) = call.args.get(1) else {
            return self.fail(
                Diag::error("E0205", call.span, "`long_conv` needs a value and a filter")
                    .help("`long_conv(x, h)`, where `h` is made from the position `t`"),
            );
        };
        let bound = self.eval(&arg.value, None, call.scope)?;
        let h = self.tensor(bound, arg.value.span)?;
        let same = x.axes.len() == h.axes.len()
            && x.axes.iter().zip(&h.axes).all(|(a, b)| a.text == b.text && a.size == b.size);
        if !same {
            let message = "the filter needs the axes of what it filters";
            return self.fail(Diag::error("E0202", arg.value.span, message));
        }
        let label = call.scope.label();
        let inputs = vec![self.settle(x.value, &label, true), self.settle(h.value, &label, true)];
        let node = Node::plain(Kind::LongConv, label, inputs);
        let id = self.graph.add(node, &[(x.shape(), false)])[0];
        Some(Bound::Tensor(self.stream(id, x.axes)))
    }

    /// `sum(x)`, `sum(x, axis)`, or a sum over experts.
    fn sum(&mut self, call: &Call) -> Tried<Bound> {
        if let Some((arg, range)) = call.args.first().and_then(|a| Some((a, a.over.as_ref()?))) {
            return self.experts(arg, range, call);
        }
        let x = self.first(&call.alone())?;
        let Some(arg) = call.args.get(1) else {
            let lead = self.slot_axes(&x);
            let all: Vec<usize> = (lead..x.axes.len()).collect();
            let sum = self.b.sum(x.value, &all);
            let axes = x.axes[..lead].to_vec();
            let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
            return Some(Bound::Tensor(Named { value: self.b.reshape(sum, &shape), axes }));
        };
        let axis = print::expr(&arg.value);
        let Some(at) = x.axes.iter().position(|a| *a.text == *axis) else {
            let known: Vec<String> = x.axes.iter().map(|a| a.text.to_string()).collect();
            let message = format!("there is no axis `{axis}` to sum along");
            return self.fail(Diag::error("E0205", call.name.span, message).help_nearest(
                &axis,
                "axes",
                known.iter().map(String::as_str),
            ));
        };
        Some(Bound::Tensor(self.summed(&x, at)))
    }

    /// The sum along one axis, which goes.
    pub(super) fn summed(&mut self, x: &Named, at: usize) -> Named {
        let sum = self.b.sum(x.value, &[at]);
        let mut axes = x.axes.clone();
        axes.remove(at);
        let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
        Named { value: self.b.reshape(sum, &shape), axes }
    }

    fn concat(&mut self, call: &Call) -> Tried<Bound> {
        let Call { args, scope, .. } = *call;
        let mut parts = Vec::new();
        let mut texts = Vec::new();
        for arg in args {
            let bound = self.eval(&arg.value, None, scope)?;
            let named = self.tensor(bound, arg.value.span)?;
            self.outside_experts("concat", call.span)?;
            if named.axes.is_empty() {
                texts.push("1".into());
                parts.push(self.b.reshape(named.value, &[1]));
                continue;
            }
            if named.axes.len() != 1 {
                return self.fail(Diag::error(
                    "E0202",
                    arg.value.span,
                    "`concat` is for numbers and values with one axis",
                ));
            }
            texts.push(named.axes[0].text.to_string());
            parts.push(named.value);
        }
        let value = self.b.concat(&parts, 0);
        let size = self.b.shape(value)[0];
        Some(Bound::Tensor(Named { value, axes: vec![Dim::new(size, texts.join(" + "))] }))
    }

    fn inner_mixer(&mut self, decl: &Decl, call: &Call) -> Tried<Bound> {
        let Call { args, scope, span, .. } = *call;
        let x = self.first(&call.alone())?;
        let mut given = BTreeMap::new();
        for arg in &args[1..] {
            let Some(name) = &arg.name else {
                return self.fail(Diag::error(
                    "E0205",
                    arg.value.span,
                    "a mixer's parameters are passed by name",
                ));
            };
            given.insert(name.text.clone(), self.eval(&arg.value, None, scope)?);
        }
        let path = format!("{}.{}", scope.path, scope.target);
        let (y, _) = self.mixer(decl, x, given, &scope.numbers, path, span)?;
        Some(Bound::Tensor(y))
    }
}
