//! The functions of the language, as they stand in recurrences.

use std::collections::HashMap;

use lrc_dsl::ast::{Arg, Expr, ExprKind, Name, Range};
use lrc_dsl::{Diag, Span, print};

use super::advice;
use super::eval::{Binding, Derivation, Elaborator, FIRST_SYMBOL};
use super::value::{Dim, List, Setting, Tensor, Val};
use crate::grad::gradient;
use crate::tile::print::lines;
use crate::tile::{
    Binary, Bounds, Builder, Gather, Int, IntOp, Leaf, Op, Past, Program, Stream, Unary, Value,
};

/// Functions of each entry, by name.
pub const UNARY: &[(&str, Unary)] = &[
    ("exp", Unary::Exp),
    ("log", Unary::Log),
    ("sqrt", Unary::Sqrt),
    ("sigmoid", Unary::Sigmoid),
    ("logsigmoid", Unary::LogSigmoid),
    ("softplus", Unary::Softplus),
    ("silu", Unary::Silu),
    ("gelu", Unary::Gelu),
    ("elu", Unary::Elu),
    ("relu", Unary::Relu),
    ("tanh", Unary::Tanh),
    ("abs", Unary::Abs),
    ("sign", Unary::Sign),
    ("sin", Unary::Sin),
    ("cos", Unary::Cos),
];

/// The other functions, for suggestions.
pub const OTHERS: &[&str] = &[
    "max",
    "min",
    "clip",
    "logaddexp",
    "sum",
    "mean",
    "var",
    "softmax",
    "diag",
    "concat",
    "vec",
    "grad",
    "bits",
    "xor",
    "solve",
    "complex",
    "real",
    "imag",
];

/// Functions that stand in mixers only.
pub const IN_MIXERS: &[&str] = &[
    "linear",
    "conv",
    "long_conv",
    "rope",
    "l2norm",
    "l1norm",
    "srmsnorm",
    "rmsnorm",
    "layernorm",
    "dpfp",
    "taylor",
    "outer",
    "top_k",
    "average",
];

/// Most terms of a sum that is written out before the run.
const MAX_TERMS: f64 = 1024.0;

impl Elaborator<'_> {
    /// Elaborates a call.
    pub fn call(&mut self, name: &Name, args: &[Arg], span: Span) -> Option<Val> {
        self.ranges(name, args)?;
        if let Some(Binding::Function(names, body)) = self.lookup(&name.text).cloned() {
            return self.own_function(name, &names, &body, args);
        }
        if let Some(named) = args.iter().find_map(|arg| arg.name.as_ref()) {
            return self.fail(Diag::error(
                "E0205",
                named.span,
                format!("`{}` takes no named arguments", name.text),
            ));
        }
        if let Some((_, op)) = UNARY.iter().find(|(known, _)| *known == name.text) {
            let value = self.only(name, args, 1)?.remove(0);
            return self.apply(*op, value, args[0].value.span);
        }
        match name.text.as_str() {
            "sum" | "softmax" if args.len() == 1 && args[0].over.is_some() => {
                self.over_range(name, &args[0], span)
            }
            "max" | "min" | "logaddexp" | "clip" => self.several(name, args),
            "sum" | "mean" | "var" | "softmax" | "diag" | "vec" => self.of_vector(name, args),
            "concat" => self.concat(args),
            "grad" => self.grad(args, span),
            "bits" | "xor" => self.whole_call(name, args),
            "solve" => self.solve(name, args),
            "complex" => self.complex(name, args),
            "real" | "imag" => self.part(name, args),
            _ => self.unknown_function(name),
        }
    }

    /// Refuses ranges where none belong.
    fn ranges(&mut self, name: &Name, args: &[Arg]) -> Option<()> {
        let gathers = ["sum", "softmax"].contains(&name.text.as_str());
        let own = matches!(self.lookup(&name.text), Some(Binding::Function(..)));
        let mut built_in = UNARY.iter().map(|(known, _)| known).chain(OTHERS);
        let known = own || built_in.any(|known| *known == name.text);
        let range = args.iter().find_map(|arg| arg.over.as_ref());
        let Some(range) = range.filter(|_| known && !(gathers && args.len() == 1 && !own)) else {
            return Some(());
        };
        let help = match gathers {
            true => format!("`{}(… for u <= t)` has one term", name.text),
            false => advice::over_the_past(&name.text),
        };
        let message = format!("`{}` takes no range here", name.text);
        self.fail(Diag::error("E0205", range.span, message).help(help))
    }

    fn unknown_function(&mut self, name: &Name) -> Option<Val> {
        let of_mixers = IN_MIXERS.contains(&name.text.as_str());
        let message = match of_mixers {
            true => format!("`{}` belongs to mixers", name.text),
            false => format!("unknown function `{}`", name.text),
        };
        let diag = Diag::error("E0204", name.span, message);
        let own = self.scope.iter().flat_map(|s| s.iter());
        let own = own.filter(|(_, b)| matches!(b, Binding::Function(..))).map(|(n, _)| n.as_str());
        let known = UNARY.iter().map(|(n, _)| *n).chain(OTHERS.iter().copied()).chain(own);
        let diag = match advice::instead(&name.text) {
            Some(help) => diag.help(help),
            None if of_mixers => diag.help(
                "a recurrence is the mathematics of one head; the mixer around it projects and normalises",
            ),
            None => diag.help_nearest(&name.text, "functions", known),
        };
        self.fail(diag)
    }

    fn own_function(
        &mut self,
        name: &Name,
        names: &[Name],
        body: &Expr,
        args: &[Arg],
    ) -> Option<Val> {
        if self.calls.contains(&name.text) {
            let message = format!("`{}` calls itself", name.text);
            return self.fail(Diag::error("E0218", name.span, message));
        }
        let values = self.only(name, args, names.len())?;
        self.deeper(&name.text, name.span)?;
        let scope = names
            .iter()
            .zip(values)
            .map(|(name, value)| (name.text.clone(), Binding::Value(value)))
            .collect();
        self.scope.push(scope);
        self.calls.push(name.text.clone());
        let value = self.eval(body);
        self.calls.pop();
        self.depth -= 1;
        self.scope.pop();
        value
    }

    /// Elaborates exactly `count` plain arguments.
    pub(super) fn only(&mut self, name: &Name, args: &[Arg], count: usize) -> Option<Vec<Val>> {
        if args.len() != count || args.iter().any(|arg| arg.over.is_some()) {
            let plural = if count == 1 { "" } else { "s" };
            return self.fail(Diag::error(
                "E0205",
                name.span,
                format!("`{}` takes {count} argument{plural}, not {}", name.text, args.len()),
            ));
        }
        let values: Vec<Option<Val>> = args.iter().map(|arg| self.eval(&arg.value)).collect();
        values.into_iter().collect()
    }

    /// `solve(A, b)`: the vector or matrix `x` with `A x = b`.
    fn solve(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let mut values = self.only(name, args, 2)?;
        let (b, a) = (values.pop()?, values.pop()?);
        let words = [a.words(), b.words()];
        let (Some(a), Some(b)) = (self.as_tensor(a), self.as_tensor(b)) else {
            let message = "`solve` takes a matrix and a vector or matrix";
            return self.fail(Diag::error("E0202", name.span, message).label(words.join(" and ")));
        };
        let square = a.dims.len() == 2 && a.dims[0].size == a.dims[1].size;
        let fits =
            square && matches!(b.dims.len(), 1 | 2) && !b.row && b.dims[0].size == a.dims[0].size;
        if !fits {
            let message = format!("`solve` of {} and {}", a.text(), b.text());
            let diag = Diag::error("E0202", name.span, message);
            let diag = diag.label(format!("expected [n, n] and [n], not {}", words.join(" and ")));
            return self.fail(diag.help("`solve(A, b)` is the `x` with `A * x = b`"));
        }
        let rows = b.dims[0].size;
        let cols = b.dims.get(1).map_or(1, |dim| dim.size);
        let right = self.b.reshape(b.value, &[rows, cols]);
        let x = self.b.linear_solve(a.value, right, false);
        let shape: Vec<usize> = b.dims.iter().map(|dim| dim.size).collect();
        let value = self.b.reshape(x, &shape);
        Some(Val::Tensor(Tensor { value, ..b }))
    }

    fn apply(&mut self, op: Unary, value: Val, span: Span) -> Option<Val> {
        match value {
            Val::Complex(parts) if op == Unary::Exp => self.complex_exp(*parts),
            Val::Complex(_) => self.fail(
                Diag::error("E0202", span, format!("`{}` is not for complex values", op.name()))
                    .label(value.words())
                    .help("of functions of each entry, `exp` is"),
            ),
            Val::Number(x) => Some(Val::Number(op.eval(x))),
            Val::Eye(_) => self.fail(
                Diag::error("E0202", span, "a function of each entry does not work on `I`")
                    .help("apply it to the vector inside `diag(…)`"),
            ),
            value => {
                let t = self.need(value, span)?;
                Some(Val::Tensor(Tensor { value: self.b.unary(op, t.value), ..t }))
            }
        }
    }

    /// `max`, `min`, `logaddexp`, `clip`.
    fn several(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let count = if name.text == "clip" { 3 } else { 2 };
        let values = self.only(name, args, count)?;
        if let Some(numbers) = values
            .iter()
            .map(|v| if let Val::Number(x) = v { Some(*x) } else { None })
            .collect::<Option<Vec<f64>>>()
        {
            return Some(Val::Number(match name.text.as_str() {
                "max" => numbers[0].max(numbers[1]),
                "min" => numbers[0].min(numbers[1]),
                "clip" => numbers[0].max(numbers[1]).min(numbers[2]),
                _ => Binary::LogAddExp.eval(numbers[0], numbers[1]),
            }));
        }
        let mut tensors = Vec::new();
        for (value, arg) in values.into_iter().zip(args) {
            tensors.push(self.need(value, arg.value.span)?);
        }
        let ops: &[Binary] = match name.text.as_str() {
            "max" => &[Binary::Max],
            "min" => &[Binary::Min],
            "clip" => &[Binary::Max, Binary::Min],
            _ => &[Binary::LogAddExp],
        };
        let mut result = tensors.remove(0);
        for (op, (other, arg)) in ops.iter().zip(tensors.into_iter().zip(&args[1..])) {
            result = self.entrywise(*op, result, other, arg.value.span)?;
        }
        Some(Val::Tensor(result))
    }

    fn entrywise(&mut self, op: Binary, x: Tensor, y: Tensor, span: Span) -> Option<Tensor> {
        let same = x.dims.len() == y.dims.len()
            && x.dims.iter().zip(&y.dims).all(|(a, b)| a.size == b.size);
        if !same && !x.dims.is_empty() && !y.dims.is_empty() {
            return self.fail(
                Diag::error("E0202", span, format!("shapes {} and {} differ", x.text(), y.text()))
                    .label(y.text()),
            );
        }
        let rank = x.dims.len().max(y.dims.len());
        let wide = if x.dims.len() == rank { x.clone() } else { y.clone() };
        let mut fit = |t: &Tensor| {
            if t.dims.len() == rank { t.value } else { self.b.reshape(t.value, &vec![1; rank]) }
        };
        let (a, b) = (fit(&x), fit(&y));
        Some(Tensor { value: self.b.binary(op, a, b), ..wide })
    }

    /// Functions of one vector or matrix.
    fn of_vector(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let value = self.only(name, args, 1)?.remove(0);
        let span = args[0].value.span;
        let words = value.words();
        let rank = if name.text == "vec" { 2 } else { 1 };
        if let (Val::Complex(parts), "sum") = (&value, name.text.as_str())
            && parts[0].dims.len() == 1
        {
            return self.complex_sum(parts);
        }
        let t = match value {
            Val::Tensor(t) if t.dims.len() == rank => t,
            Val::Tensor(t) if t.dims.is_empty() && name.text == "sum" => {
                return Some(Val::Tensor(t));
            }
            _ => {
                let what = if rank == 2 { "a matrix" } else { "a vector" };
                let message = format!("`{}` is for {what}", name.text);
                let diag = Diag::error("E0202", span, message).label(words);
                let plain = print::expr(&args[0].value);
                return self.fail(match name.text.as_str() {
                    "diag" => diag.help(format!("only a vector needs `diag`: write `{plain} * …`")),
                    _ => diag,
                });
            }
        };
        let n = t.dims[0].size as f64;
        let scalar = |e: &mut Self, x: Value| {
            let value = e.b.reshape(x, &[]);
            Some(Val::Tensor(Tensor { value, dims: vec![], row: false }))
        };
        match name.text.as_str() {
            "sum" => {
                let sum = self.b.sum(t.value, &[0]);
                scalar(self, sum)
            }
            "mean" => {
                let sum = self.b.sum(t.value, &[0]);
                let mean = self.b.scale(sum, 1.0 / n);
                scalar(self, mean)
            }
            "var" => {
                let sum = self.b.sum(t.value, &[0]);
                let mean = self.b.scale(sum, 1.0 / n);
                let gap = self.b.sub(t.value, mean);
                let square = self.b.mul_sum(gap, gap, &[0]);
                let var = self.b.scale(square, 1.0 / n);
                scalar(self, var)
            }
            "softmax" => {
                let value = softmax(&mut self.b, t.value, 0);
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            "diag" => {
                let size = t.dims[0].size;
                let column = self.b.reshape(t.value, &[size, 1]);
                let eye = self.b.raw(Op::Eye, vec![], vec![size, size]);
                let value = self.b.mul(eye, column);
                let dims = vec![t.dims[0].clone(), t.dims[0].clone()];
                Some(Val::Tensor(Tensor { value, dims, row: false }))
            }
            _ => {
                let size = t.dims[0].size * t.dims[1].size;
                let value = self.b.reshape(t.value, &[size]);
                let text = format!("{} * {}", t.dims[0].text, t.dims[1].text);
                Some(Val::Tensor(Tensor { value, dims: vec![Dim::new(size, text)], row: false }))
            }
        }
    }

    fn concat(&mut self, args: &[Arg]) -> Option<Val> {
        let mut parts = Vec::new();
        let mut texts = Vec::new();
        for arg in args {
            let value = self.eval(&arg.value)?;
            let words = value.words();
            let part = match self.as_tensor(value) {
                Some(t) if t.dims.is_empty() => {
                    texts.push("1".to_string());
                    self.b.reshape(t.value, &[1])
                }
                Some(t) if t.dims.len() == 1 => {
                    texts.push(t.dims[0].text.to_string());
                    t.value
                }
                _ => {
                    return self.fail(
                        Diag::error("E0202", arg.value.span, "`concat` is for scalars and vectors")
                            .label(words),
                    );
                }
            };
            parts.push(part);
        }
        let value = self.b.concat(&parts, 0);
        let size = self.b.shape(value)[0];
        let dims = vec![Dim::new(size, texts.join(" + "))];
        Some(Val::Tensor(Tensor { value, dims, row: false }))
    }

    /// `bits(n)` and `xor(a, b)` of whole numbers.
    fn whole_call(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let values = self.only(name, args, if name.text == "bits" { 1 } else { 2 })?;
        let mut ints = Vec::new();
        for (value, arg) in values.into_iter().zip(args) {
            match value {
                Val::Int { int, .. } => ints.push(int),
                Val::Number(x) if x.fract() == 0.0 => ints.push(Int::Const(x as i64)),
                other => {
                    return self.fail(
                        Diag::error("E0205", arg.value.span, "a whole number is needed")
                            .label(other.words()),
                    );
                }
            }
        }
        let first = ints.remove(0);
        let int = match ints.pop() {
            Some(second) => Int::op(IntOp::Xor, first, second),
            None => Int::op(IntOp::Bits, first, Int::Const(0)),
        };
        Some(Val::Int { int, position: false })
    }

    /// `grad(L, X)`: the derivative of a scalar by a value. Through a name, the name becomes a
    /// symbol of its own, so that what it is made of stays out of the derivative.
    fn grad(&mut self, args: &[Arg], span: Span) -> Option<Val> {
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
            Some(name) => {
                let shape = self.b.shape(target.value).to_vec();
                self.symbols += 1;
                let id = FIRST_SYMBOL + self.symbols;
                let symbol = self.b.raw(Op::Alias(id), vec![target.value], shape);
                let value = Val::Tensor(Tensor { value: symbol, ..target.clone() });
                let scope = [(name.to_string(), Binding::Value(value))].into();
                self.scope.push(scope);
                let outer = std::mem::replace(&mut self.anew, true);
                let loss = self.eval(&objective.value);
                self.anew = outer;
                self.scope.pop();
                (symbol, loss?)
            }
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

    /// A value in the words of the declaration; what has a name is not written out.
    fn formula(&self, value: Value) -> Vec<String> {
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

    /// `sum(e for range)` and `softmax(e for range)`.
    fn over_range(&mut self, name: &Name, arg: &Arg, span: Span) -> Option<Val> {
        let range = arg.over.as_ref().expect("checked by the caller");
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
    fn nested(&mut self, arg: &Arg, range: &Range, bound: &str, span: Span) -> Option<Val> {
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

    fn position(&mut self, value: Val, range: &Range) -> Option<Int> {
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

    fn written_out(
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

    fn past(&mut self, name: &Name, body: Tensor, low: Int, high: Int, span: Span) -> Option<Val> {
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

/// The softmax along an axis.
pub fn softmax(b: &mut Builder, x: Value, axis: usize) -> Value {
    let total = b.log_sum_exp(x, axis);
    b.weight(x, total)
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
