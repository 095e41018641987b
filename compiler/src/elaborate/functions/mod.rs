//! The functions of the language, as they stand in recurrences.

mod derivative;
mod range;

use lrc_dsl::ast::{Arg, Expr, Name};
use lrc_dsl::{Diag, Span, print};

use super::advice;
use super::eval::{Binding, Elaborator};
use super::value::{Dim, Tensor, Val};
use crate::tile::{Binary, Builder, Int, IntOp, Op, Unary, Value};

/// Functions of each entry, by name: those of the tile language, but for negation, which has a sign, and steps, which are slopes.
pub fn entrywise() -> impl Iterator<Item = (&'static str, Unary)> {
    Unary::NAMED.iter().copied().filter(|(_, op)| !matches!(op, Unary::Neg | Unary::Step))
}

/// The function of each entry with a name.
pub fn of_entries(name: &str) -> Option<Unary> {
    entrywise().find(|(known, _)| *known == name).map(|(_, op)| op)
}

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
    "positions",
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
        if let Some(op) = of_entries(&name.text) {
            let value = self.only(name, args, 1)?.remove(0);
            return self.apply(op, value, args[0].value.span);
        }
        if let ("sum" | "softmax", [arg @ Arg { over: Some(range), .. }]) =
            (name.text.as_str(), args)
        {
            return self.over_range(name, arg, range, span);
        }
        match name.text.as_str() {
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
        let built_in = of_entries(&name.text).is_some() || OTHERS.contains(&name.text.as_str());
        let known = own || built_in;
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
        let known = entrywise().map(|(n, _)| n).chain(OTHERS.iter().copied()).chain(own);
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

    /// The mean of a vector's entries.
    fn mean(&mut self, x: Value) -> Value {
        let (sum, n) = (self.b.sum(x, &[0]), self.b.shape(x)[0]);
        self.b.scale(sum, 1.0 / n as f64)
    }

    /// Functions of one vector or matrix.
    fn of_vector(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let value = self.only(name, args, 1)?.remove(0);
        if let (Val::Complex(parts), "sum") = (&value, name.text.as_str())
            && parts[0].dims.len() == 1
        {
            return self.complex_sum(parts);
        }
        let t = match value {
            Val::Tensor(t) if t.dims.is_empty() && name.text == "sum" => {
                return Some(Val::Tensor(t));
            }
            value => self.of_rank(name, &args[0], value)?,
        };
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
                let mean = self.mean(t.value);
                scalar(self, mean)
            }
            "var" => {
                let mean = self.mean(t.value);
                let gap = self.b.sub(t.value, mean);
                let square = self.b.mul_sum(gap, gap, &[0]);
                let var = self.b.scale(square, 1.0 / t.dims[0].size as f64);
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

    /// The argument of such a function: a matrix for `vec`, a vector for the others.
    fn of_rank(&mut self, name: &Name, arg: &Arg, value: Val) -> Option<Tensor> {
        let (rank, what) = if name.text == "vec" { (2, "a matrix") } else { (1, "a vector") };
        let words = value.words();
        match value {
            Val::Tensor(t) if t.dims.len() == rank => Some(t),
            _ => {
                let message = format!("`{}` is for {what}", name.text);
                let diag = Diag::error("E0202", arg.value.span, message).label(words);
                let plain = print::expr(&arg.value);
                self.fail(match name.text.as_str() {
                    "diag" => diag.help(format!("only a vector needs `diag`: write `{plain} * …`")),
                    _ => diag,
                })
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
}

/// The softmax along an axis.
pub fn softmax(b: &mut Builder, x: Value, axis: usize) -> Value {
    let total = b.log_sum_exp(x, axis);
    b.weight(x, total)
}
