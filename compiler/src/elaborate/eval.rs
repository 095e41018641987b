//! Expressions of recurrences: from syntax to nodes, with the shape rules of the language.

use std::collections::{BTreeMap, BTreeSet};

use lrc_dsl::ast::{BinaryOp, Expr, ExprKind, Name, Range};
use lrc_dsl::diag::MAX_SHOWN;
use lrc_dsl::{Diag, Span, print};

use super::position::At;
use super::signature::{LARGEST_TENSOR, arithmetic};
use super::value::{Dim, Setting, Tensor, Val};
use crate::tile::{Bounds, Builder, Int, IntOp, Leaf, Op, Stream, Unary, Value, size};

/// What a name is bound to.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A size, setting, or index of an unrolled loop.
    Known(Setting),
    /// A declared input, by its index.
    Input(usize),
    /// A declared parameter, by its index.
    Param(usize),
    /// A declared state, by its index.
    State(usize),
    /// A declared complex state: its real part by its index, the imaginary part follows.
    ComplexState(usize),
    /// A name set by an equation: its text, and its value.
    Equation(Expr, Val),
    /// A value without a text: an argument of a function, the symbol of a derivative.
    Value(Val),
    /// A position bound by a sum over the past.
    Position(u8),
    /// A function: argument names and body.
    Function(Vec<Name>, Expr),
    /// A name whose own equation is wrong; uses stay silent.
    Broken,
}

/// A declared tensor: how it looks to expressions.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its axes for one head and token; a count comes first.
    pub dims: Vec<Dim>,
}

/// Elaborates the expressions of one recurrence.
pub struct Elaborator<'d> {
    /// The program of one token.
    pub b: Builder,
    /// Names in scope; inner scopes shadow outer ones.
    pub scope: Vec<BTreeMap<String, Binding>>,
    /// Inputs.
    pub inputs: Vec<Declared>,
    /// Parameters.
    pub params: Vec<Declared>,
    /// States and, once set, their current value at this token.
    pub states: Vec<(Declared, Option<Value>)>,
    /// Named values that other tokens read.
    pub exports: Vec<(String, Value)>,
    /// Findings.
    pub diags: &'d mut Vec<Diag>,
    /// While a derivative by a name is taken, names are worked out anew.
    pub anew: bool,
    /// Depth of function calls and re-evaluations.
    pub depth: usize,
    /// Counts symbols of derivatives.
    pub symbols: u32,
    /// What `grad` has worked out.
    pub derivations: Vec<Derivation>,
    /// The positions of the sum over the past at hand.
    pub bounds: Option<Bounds>,
    /// States that a sum up to this token reads.
    pub gathered: BTreeSet<usize>,
    /// Names that have been looked at.
    pub used: BTreeSet<String>,
    /// Functions that are being worked out.
    pub calls: Vec<String>,
    /// Inside the branch that is not taken: its numbers need not make sense.
    pub aside: bool,
    /// Work done so far.
    pub work: usize,
}

impl<'d> Elaborator<'d> {
    /// An elaborator without any names.
    pub fn new(diags: &'d mut Vec<Diag>) -> Elaborator<'d> {
        Elaborator {
            b: Builder::new(),
            scope: vec![],
            inputs: vec![],
            params: vec![],
            states: vec![],
            exports: vec![],
            diags,
            anew: false,
            depth: 0,
            symbols: 0,
            derivations: Vec::new(),
            bounds: None,
            gathered: BTreeSet::new(),
            used: BTreeSet::new(),
            calls: Vec::new(),
            aside: false,
            work: 0,
        }
    }
}

/// A derivative that the compiler has taken, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    /// Of what.
    pub objective: Span,
    /// By what.
    pub by: Span,
    /// The result in the words of the declaration, a line for what is used more than once.
    pub formula: Vec<String>,
}

/// Symbols of derivatives are numbered from here; smaller ones are versions of states.
pub const FIRST_SYMBOL: u32 = 1 << 16;

/// Deepest nesting of function calls.
pub(super) const MAX_CALLS: usize = 40;
/// Most expressions that are worked out, a call or a term of a sum again and again.
const MAX_WORK: usize = 1 << 18;
/// Most operations of a token.
const MAX_NODES: usize = 1 << 14;
/// Most parts of a whole number.
const MAX_PARTS: usize = 256;

impl Elaborator<'_> {
    /// Reports and gives up on the expression.
    pub fn fail<T>(&mut self, diag: Diag) -> Option<T> {
        self.diags.push(diag);
        None
    }

    /// The binding of a name.
    pub fn lookup(&self, name: &str) -> Option<&Binding> {
        self.scope.iter().rev().find_map(|scope| scope.get(name))
    }

    /// Binds a name in the innermost scope.
    pub fn bind(&mut self, name: &str, binding: Binding) {
        self.scope.last_mut().expect("a scope is open").insert(name.to_string(), binding);
    }

    /// Elaborates an expression.
    pub fn eval(&mut self, expr: &Expr) -> Option<Val> {
        self.spend(1, expr.span)?;
        let outer = self.b.span.replace(expr.span);
        let value = self.eval_inner(expr);
        self.b.span = outer;
        self.sound(value?, expr)
    }

    /// Counts work; an error, said once, where it is too much.
    pub(super) fn spend(&mut self, work: usize, span: Span) -> Option<()> {
        if self.work > MAX_WORK {
            return None;
        }
        self.work += work;
        if self.work <= MAX_WORK && self.b.program.nodes.len() <= MAX_NODES {
            return Some(());
        }
        self.work = MAX_WORK + 1;
        let message = format!(
            "the recurrence works out to more than {MAX_NODES} operations, or {MAX_WORK} steps to find them"
        );
        self.fail(
            Diag::error("E0102", span, message)
                .label("too much by here")
                .help("functions of functions, sums of sums and derivatives of derivatives multiply: name their parts"),
        )
    }

    /// Refuses values that no run can have.
    fn sound(&mut self, value: Val, expr: &Expr) -> Option<Val> {
        match &value {
            Val::Number(x) if x.is_nan() && !self.aside => {
                let message = format!("`{}` is not a number", print::expr(expr));
                return self.fail(Diag::error("E0223", expr.span, message));
            }
            Val::Int { int, .. } if int.parts() > MAX_PARTS => {
                let message = format!("a whole number of more than {MAX_PARTS} parts");
                return self.fail(Diag::error("E0102", expr.span, message));
            }
            Val::Tensor(t) if size(self.b.shape(t.value)) > LARGEST_TENSOR => {
                let message = format!("a value of more than {LARGEST_TENSOR} numbers");
                return self.fail(Diag::error("E0213", expr.span, message).label(t.text()));
            }
            _ => {}
        }
        Some(value)
    }

    fn eval_inner(&mut self, expr: &Expr) -> Option<Val> {
        match &expr.kind {
            ExprKind::Number(x) => Some(Val::Number(*x)),
            ExprKind::Truth(x) => Some(Val::Truth(*x)),
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::Index(base, index) => self.index(base, index, expr.span),
            ExprKind::Transpose(inner) => {
                let value = self.eval(inner)?;
                self.transpose(value, expr.span)
            }
            ExprKind::Field(inner, name) => {
                let help = match name.text.as_str() {
                    "T" => format!("the transpose is `{}^T`", print::expr(inner)),
                    _ => "for an entry write `x[0]`".into(),
                };
                let message = "`.name` reads a sub-layer of a model";
                self.fail(Diag::error("E0212", name.span, message).help(help))
            }
            ExprKind::Call(name, args) => self.call(name, args, expr.span),
            ExprKind::Negate(inner) => {
                let value = self.eval(inner)?;
                self.negate(value, inner.span)
            }
            ExprKind::Binary(op, a, b) => self.binary_expr(*op, a, b, expr.span),
            ExprKind::Choice(condition, a, b) => {
                let (taken, other) = if self.condition(condition)? { (a, b) } else { (b, a) };
                self.look_at(other)?;
                self.eval(taken)
            }
            ExprKind::Length(inner) => {
                let value = self.eval(inner)?;
                self.length(value, inner.span)
            }
        }
    }

    /// Checks the branch that is not taken; nothing of it stays.
    fn look_at(&mut self, branch: &Expr) -> Option<()> {
        self.spend(self.b.program.nodes.len() / 16, branch.span)?;
        let kept = (self.b.clone(), self.exports.len(), self.derivations.len());
        let gathered = self.gathered.clone();
        let outer = std::mem::replace(&mut self.aside, true);
        self.eval(branch);
        self.aside = outer;
        self.gathered = gathered;
        self.exports.truncate(kept.1);
        self.derivations.truncate(kept.2);
        self.b = kept.0;
        Some(())
    }

    fn condition(&mut self, expr: &Expr) -> Option<bool> {
        match self.eval(expr)? {
            Val::Truth(x) => Some(x),
            other => self.fail(
                Diag::error("E0208", expr.span, "a condition must be known before the run")
                    .label(other.words())
                    .help("conditions compare parameters and sizes"),
            ),
        }
    }

    pub(super) fn name(&mut self, name: &str, span: Span) -> Option<Val> {
        self.used.insert(name.to_string());
        let binding = self.lookup(name).cloned();
        match binding {
            Some(Binding::Known(Setting::Number(x))) => Some(Val::Number(x)),
            Some(Binding::Known(Setting::Truth(x))) => Some(Val::Truth(x)),
            Some(Binding::Input(i)) => Some(self.read(Stream::Input(i), Int::T)),
            Some(Binding::Param(i)) => {
                let dims = self.params[i].dims.clone();
                let shape: Vec<usize> = dims.iter().map(|d| d.size).collect();
                let value = self.b.leaf(Leaf::Param(i), &shape);
                Some(self.tensor(value, dims))
            }
            Some(Binding::State(_) | Binding::ComplexState(_)) => self.fail(
                Diag::error(
                    "E0207",
                    span,
                    format!("the state `{name}` is written without a position"),
                )
                .label("before or after this token?")
                .help(format!("write `{name}[t-1]`, or below its equation `{name}[t]`")),
            ),
            Some(Binding::Equation(text, value)) => {
                if self.anew {
                    self.deeper(name, span)?;
                    let again = self.eval(&text);
                    self.depth -= 1;
                    return again;
                }
                Some(value)
            }
            Some(Binding::Value(value)) => Some(value),
            Some(Binding::Position(level)) => {
                Some(Val::Int { int: Int::Bound(level), position: true })
            }
            Some(Binding::Function(..)) => self.fail(
                Diag::error("E0204", span, format!("`{name}` is a function"))
                    .help(format!("call it: `{name}(…)`")),
            ),
            Some(Binding::Broken) => None,
            None => self.free_name(name, span),
        }
    }

    /// Goes into a name or function once more.
    pub(super) fn deeper(&mut self, name: &str, span: Span) -> Option<()> {
        if self.depth >= MAX_CALLS {
            let message = format!("`{name}` stands more than {MAX_CALLS} names or calls deep");
            return self.fail(Diag::error("E0102", span, message));
        }
        self.depth += 1;
        Some(())
    }

    pub(super) fn free_name(&mut self, name: &str, span: Span) -> Option<Val> {
        match name {
            "inf" => Some(Val::Number(f64::INFINITY)),
            "t" => Some(Val::Int { int: Int::T, position: true }),
            "I" => {
                let one = self.b.fill(1.0, &[]);
                Some(Val::Eye(one))
            }
            "head" => {
                let head = self.b.leaf(Leaf::Head, &[]);
                Some(self.tensor(head, vec![]))
            }
            _ => {
                let diag = Diag::error("E0201", span, format!("unknown name `{name}`"));
                // Names whose own equation is wrong are no help; thousands of findings need none.
                let known = self.scope.iter().flat_map(|scope| scope.iter());
                let known = known.filter(|(_, b)| !matches!(b, Binding::Broken)).map(|(n, _)| &**n);
                let diag = match self.diags.len() > MAX_SHOWN {
                    true => diag,
                    false => diag.help_nearest(name, "known here", known),
                };
                self.fail(diag)
            }
        }
    }

    /// A stream at a position.
    pub fn read(&mut self, stream: Stream, at: Int) -> Val {
        let dims = match stream {
            Stream::Input(i) => self.inputs[i].dims.clone(),
            Stream::State(i) => self.states[i].0.dims.clone(),
            Stream::Export(_) | Stream::Out(_) => unreachable!("read through their names"),
        };
        let shape: Vec<usize> = dims.iter().map(|d| d.size).collect();
        let value = self.b.leaf(Leaf::Read(stream, at), &shape);
        self.tensor(value, dims)
    }

    /// A value with its axes; an axis of one entry that is declared as `[1]` counts as a scalar.
    pub fn tensor(&mut self, value: Value, dims: Vec<Dim>) -> Val {
        if dims.len() == 1 && dims[0].size == 1 && &*dims[0].text == "1" {
            let value = self.b.reshape(value, &[]);
            return Val::Tensor(Tensor { value, dims: vec![], row: false });
        }
        Val::Tensor(Tensor { value, dims, row: false })
    }

    fn index(&mut self, base: &Expr, index: &Expr, span: Span) -> Option<Val> {
        let at = self.eval(index)?;
        if let (Val::Int { int, position: true }, Some(name)) = (&at, base.as_name()) {
            return self.token(name, base.span, int.clone(), At { text: index, span });
        }
        let value = self.eval(base)?;
        if let Val::Complex(parts) = value {
            return self.both_parts(*parts, |e, part| match part {
                Val::Tensor(tensor) => e.entry(tensor, at.clone(), base, index),
                _ => None,
            });
        }
        let Val::Tensor(tensor) = value else {
            let what = value.words();
            return self.fail(
                Diag::error("E0206", span, format!("`{}` cannot be indexed", print::expr(base)))
                    .label(what),
            );
        };
        self.entry(tensor, at, base, index)
    }

    /// `x[i]` for a number: an entry, or a row of a matrix.
    fn entry(&mut self, tensor: Tensor, at: Val, base: &Expr, index: &Expr) -> Option<Val> {
        let Some(first) = tensor.dims.first().cloned() else {
            return self.fail(
                Diag::error("E0206", base.span, format!("`{}` is a scalar", print::expr(base)))
                    .label("it has no entries"),
            );
        };
        match at {
            Val::Number(x) if x.fract() == 0.0 && x >= 0.0 && (x as usize) < first.size => {
                let row = self.b.slice(tensor.value, 0, x as usize, 1);
                let rest = tensor.dims[1..].to_vec();
                let shape: Vec<usize> = rest.iter().map(|d| d.size).collect();
                let value = self.b.reshape(row, &shape);
                Some(Val::Tensor(Tensor { value, dims: rest, row: false }))
            }
            Val::Number(x) => {
                self.fail(Diag::error("E0206", index.span, format!("there is no entry {x}")).label(
                    format!("`{}` has {} entries, counted from 0", print::expr(base), first.text),
                ))
            }
            Val::Int { int, position: false } if tensor.dims.len() == 1 => {
                let picked = self.b.pick(tensor.value, int);
                let value = self.b.reshape(picked, &[]);
                Some(Val::Tensor(Tensor { value, dims: vec![], row: false }))
            }
            other => self.fail(
                Diag::error("E0206", index.span, "an entry is chosen by a whole number")
                    .label(other.words()),
            ),
        }
    }

    fn transpose(&mut self, value: Val, span: Span) -> Option<Val> {
        match value {
            Val::Tensor(t) if t.dims.len() == 1 => Some(Val::Tensor(Tensor { row: !t.row, ..t })),
            Val::Tensor(t) if t.dims.len() == 2 => {
                let value = self.b.transpose(t.value);
                let dims = vec![t.dims[1].clone(), t.dims[0].clone()];
                Some(Val::Tensor(Tensor { value, dims, row: false }))
            }
            Val::Tensor(t) if t.dims.is_empty() => Some(Val::Tensor(t)),
            Val::Number(_) | Val::Eye(_) => Some(value),
            Val::Complex(parts) => self.both_parts(*parts, |e, part| e.transpose(part, span)),
            other => self.fail(
                Diag::error("E0202", span, "only vectors and matrices can be transposed")
                    .label(other.words()),
            ),
        }
    }

    fn negate(&mut self, value: Val, span: Span) -> Option<Val> {
        Some(match value {
            Val::Complex(parts) => {
                return self.both_parts(*parts, |e, part| e.negate(part, span));
            }
            Val::Number(x) => Val::Number(-x),
            Val::Tensor(t) => Val::Tensor(Tensor { value: self.b.unary(Unary::Neg, t.value), ..t }),
            Val::Eye(scale) => Val::Eye(self.b.unary(Unary::Neg, scale)),
            Val::Int { int, position: false } => {
                Val::Int { int: Int::op(IntOp::Sub, Int::Const(0), int), position: false }
            }
            other => {
                return self.fail(
                    Diag::error("E0202", span, "this cannot be negated").label(other.words()),
                );
            }
        })
    }

    /// `|x|`.
    fn length(&mut self, value: Val, span: Span) -> Option<Val> {
        match value {
            Val::Number(x) => Some(Val::Number(x.abs())),
            Val::Tensor(t) if t.dims.is_empty() => {
                let value = self.b.unary(Unary::Abs, t.value);
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            Val::Tensor(_) => {
                let square = self.squared_length(value, span)?;
                let Val::Tensor(t) = square else { return None };
                let value = self.b.unary(Unary::Sqrt, t.value);
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            other => self.fail(
                Diag::error("E0202", span, "`|x|` is for scalars and vectors").label(other.words()),
            ),
        }
    }

    /// `|x|^2` without the square root, whose slope at 0 is infinite.
    fn squared_length(&mut self, value: Val, span: Span) -> Option<Val> {
        let Val::Tensor(t) = value else {
            return self.length(value, span).and_then(|v| match v {
                Val::Number(x) => Some(Val::Number(x * x)),
                _ => None,
            });
        };
        let axes: Vec<usize> = (0..t.dims.len()).collect();
        let sum = self.b.mul_sum(t.value, t.value, &axes);
        let value = self.b.reshape(sum, &[]);
        Some(Val::Tensor(Tensor { value, dims: vec![], row: false }))
    }

    fn binary_expr(&mut self, op: BinaryOp, a: &Expr, b: &Expr, span: Span) -> Option<Val> {
        if op == BinaryOp::Pow
            && let ExprKind::Length(inner) = &a.kind
            && let Some(Val::Number(2.0)) = self.eval(b)
        {
            let value = self.eval(inner)?;
            return self.squared_length(value, inner.span);
        }
        // Both sides are looked at, so that mistakes on both are reported.
        let (left, right) = (self.eval(a), self.eval(b));
        let (left, right) = (left?, right?);
        let place = Place { op, span, a, b };
        match (&left, &right) {
            (Val::Number(x), Val::Number(y)) => Some(match arithmetic(op, *x, *y) {
                Setting::Number(x) => Val::Number(x),
                Setting::Truth(x) => Val::Truth(x),
            }),
            (Val::Truth(x), Val::Truth(y))
                if matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Eq) =>
            {
                Some(Val::Truth(match op {
                    BinaryOp::And => *x && *y,
                    BinaryOp::Or => *x || *y,
                    _ => x == y,
                }))
            }
            (Val::Int { .. }, Val::Int { .. } | Val::Number(_))
            | (Val::Number(_), Val::Int { .. })
                if self.whole(&left, &right) =>
            {
                self.int_binary(op, left, right, place)
            }
            _ if op.compares() || matches!(op, BinaryOp::And | BinaryOp::Or) => {
                let (bad, at) = match left {
                    Val::Number(_) | Val::Truth(_) => (right, b.span),
                    _ => (left, a.span),
                };
                self.fail(
                    Diag::error("E0208", at, "a condition must be known before the run")
                        .label(bad.words())
                        .help("conditions compare parameters and sizes"),
                )
            }
            _ => self.algebra(place, left, right),
        }
    }

    /// Whether arithmetic between positions and numbers stays whole.
    fn whole(&self, a: &Val, b: &Val) -> bool {
        [a, b].iter().all(|v| match v {
            Val::Number(x) => x.fract() == 0.0 || x.is_infinite(),
            _ => true,
        })
    }

    fn int_binary(&mut self, op: BinaryOp, a: Val, b: Val, place: Place) -> Option<Val> {
        if let (BinaryOp::Sub, Val::Int { .. }, Val::Number(x)) = (op, &a, &b)
            && x.is_infinite()
        {
            return Some(Val::Number(-x));
        }
        let part = |v: Val| match v {
            Val::Int { int, position } => (int, position as i32),
            Val::Number(x) => (Int::Const(x.clamp(-1e15, 1e15) as i64), 0),
            _ => unreachable!("only whole numbers come here"),
        };
        let ((x, px), (y, py)) = (part(a), part(b));
        if let (BinaryOp::Mod, Int::Const(..1)) | (BinaryOp::Div, Int::Const(0)) = (op, &y)
            && !self.aside
        {
            let message = format!("`{}` divides by {y} here", op.text());
            let diag = Diag::error("E0213", place.b.span, message);
            return self.fail(match op {
                BinaryOp::Mod => diag.help("the number behind `mod` is a positive whole number"),
                _ => diag,
            });
        }
        let (int_op, position) = match op {
            BinaryOp::Add => (IntOp::Add, px + py),
            BinaryOp::Sub => (IntOp::Sub, px - py),
            BinaryOp::Mul | BinaryOp::Each => (IntOp::Mul, 0),
            BinaryOp::Mod => (IntOp::Mod, 0),
            // A quotient of positions need not be whole: it is a value of the run.
            _ => {
                let left = Val::Int { int: x, position: px == 1 };
                let right = Val::Int { int: y, position: py == 1 };
                let (left, right) = (self.as_tensor(left)?, self.as_tensor(right)?);
                return self.algebra(place, Val::Tensor(left), Val::Tensor(right));
            }
        };
        if !(0..=1).contains(&position) {
            return self.fail(
                Diag::error("E0214", place.span, "positions can be subtracted, not added")
                    .help("a position plus or minus a number is a position"),
            );
        }
        Some(Val::Int { int: Int::op(int_op, x, y), position: position == 1 })
    }

    /// A number, whole number or tensor as a tensor.
    pub fn as_tensor(&mut self, value: Val) -> Option<Tensor> {
        let scalar = |value: Value| Some(Tensor { value, dims: vec![], row: false });
        match value {
            Val::Tensor(t) => Some(t),
            Val::Number(x) => scalar(self.b.fill(x, &[])),
            Val::Int { int, .. } => scalar(self.b.leaf(Leaf::Number(int), &[])),
            _ => None,
        }
    }

    /// The same where nothing else will do.
    pub(super) fn need(&mut self, value: Val, span: Span) -> Option<Tensor> {
        let words = value.words();
        match self.as_tensor(value) {
            Some(tensor) => Some(tensor),
            None => self.fail(Diag::error("E0202", span, "a tensor is needed").label(words)),
        }
    }

    pub(super) fn algebra(&mut self, place: Place, a: Val, b: Val) -> Option<Val> {
        self.finite(place, &a, &b)?;
        if let (Val::Complex(_), _) | (_, Val::Complex(_)) = (&a, &b) {
            return self.complex_algebra(place, a, b);
        }
        if let (Val::Eye(_), _) | (_, Val::Eye(_)) = (&a, &b) {
            return self.with_eye(place, a, b);
        }
        let words = (a.words(), b.words());
        let (Some(x), Some(y)) = (self.as_tensor(a), self.as_tensor(b)) else {
            let message = format!("`{}` does not work here", place.op.text());
            return self.fail(
                Diag::error("E0202", place.a.span, message)
                    .label(words.0)
                    .other(place.b.span, words.1),
            );
        };
        match place.op {
            BinaryOp::Mul => self.product(place, x, y),
            BinaryOp::Pow => self.power(place, x, y),
            BinaryOp::Div if y.dims.is_empty() => {
                let shape = vec![1; x.dims.len()];
                let divisor = self.b.reshape(y.value, &shape);
                let value = self.b.div(x.value, divisor);
                Some(Val::Tensor(Tensor { value, ..x }))
            }
            BinaryOp::Mod => self.fail(
                Diag::error("E0208", place.span, "`mod` is for whole numbers and positions")
                    .label(words.0),
            ),
            _ => self.each_entry(place, x, y),
        }
    }

    /// Refuses an infinite number in a sum or product with a value of the run, and division by 0.
    fn finite(&mut self, place: Place, a: &Val, b: &Val) -> Option<()> {
        let division = place.op == BinaryOp::Div;
        let wrong = match (a, b) {
            _ if self.aside => None,
            (Val::Number(x), _) if x.is_infinite() => Some((place.a, "is infinite")),
            (_, Val::Number(x)) if x.is_infinite() && !division => Some((place.b, "is infinite")),
            (_, Val::Number(x)) if *x == 0.0 && division => Some((place.b, "is 0")),
            _ => None,
        };
        let Some((at, what)) = wrong else { return Some(()) };
        let message = format!("`{}` {what}: the result is never finite", print::expr(at));
        self.fail(Diag::error("E0223", at.span, message))
    }

    /// `+ - .* /` between equal shapes, or with a scalar where that is allowed.
    fn each_entry(&mut self, place: Place, x: Tensor, y: Tensor) -> Option<Val> {
        let same = x.dims.len() == y.dims.len()
            && x.row == y.row
            && x.dims.iter().zip(&y.dims).all(|(a, b)| a.size == b.size);
        let scalar = x.dims.is_empty() || y.dims.is_empty();
        let adds = matches!(place.op, BinaryOp::Add | BinaryOp::Sub);
        let matrix = x.dims.len().max(y.dims.len()) >= 2;
        if !same && !(scalar && !(adds && matrix)) {
            return self.mismatch(place, &x, &y);
        }
        let wide = if x.dims.len() >= y.dims.len() { &x } else { &y };
        let rank = wide.dims.len();
        let (dims, row) = (wide.dims.clone(), wide.row);
        let fit = |e: &mut Self, t: &Tensor| {
            if t.dims.len() == rank { t.value } else { e.b.reshape(t.value, &vec![1; rank]) }
        };
        let (a, b) = (fit(self, &x), fit(self, &y));
        let value = match place.op {
            BinaryOp::Add => self.b.add(a, b),
            BinaryOp::Sub => self.b.sub(a, b),
            BinaryOp::Each => self.b.mul(a, b),
            _ => self.b.div(a, b),
        };
        Some(Val::Tensor(Tensor { value, dims, row }))
    }

    fn mismatch<T>(&mut self, place: Place, x: &Tensor, y: &Tensor) -> Option<T> {
        let message =
            format!("`{}` needs equal shapes, not {} and {}", place.op.text(), x.text(), y.text());
        let mut diag = Diag::error("E0202", place.a.span, message)
            .label(x.text())
            .other(place.b.span, y.text());
        let vectors = x.dims.len() <= 1 && y.dims.len() <= 1;
        if x.row != y.row && vectors {
            diag = diag.help("one side is transposed: drop the `^T`");
        } else if let Some(help) = self.instead(place, x, y) {
            diag = diag.help(help);
        } else if x.dims.is_empty() || y.dims.is_empty() {
            diag = diag.help(
                "a scalar is never spread over a matrix: for a write use `k * v^T`, a matrix",
            );
        } else {
            diag = diag.help("write a key times a value as `k * v^T`, a matrix of shape [dk, dv]");
        }
        self.fail(diag)
    }

    /// What to write for a vector that weighs a matrix, and for 1 where `I` is meant.
    fn instead(&self, place: Place, x: &Tensor, y: &Tensor) -> Option<String> {
        let (a, b) = (print::expr(place.a), print::expr(place.b));
        let tight = |text: &str| crate::tile::print::tight(text.to_string());
        let square = |t: &Tensor| t.dims.len() == 2 && t.dims[0].size == t.dims[1].size;
        let weighs = |v: &Tensor, m: &Tensor, axis: usize| {
            v.dims.len() == 1 && m.dims.len() == 2 && v.dims[0].size == m.dims[axis].size
        };
        match place.op {
            BinaryOp::Each | BinaryOp::Mul if weighs(x, y, 0) => {
                let row = format!("a row times a matrix is `{}^T * {}`", tight(&a), tight(&b));
                let diag =
                    format!("the rows of a matrix are weighed by `diag({a}) * {}`", tight(&b));
                let product = place.op == BinaryOp::Mul;
                Some(if product { format!("{diag}; {row}") } else { diag })
            }
            BinaryOp::Each if weighs(x, y, 1) => {
                Some(format!("the columns of a matrix are weighed by `{} * diag({a})`", tight(&b)))
            }
            BinaryOp::Each | BinaryOp::Div if weighs(y, x, 0) => {
                let by = if place.op == BinaryOp::Div { format!("1 / {}", tight(&b)) } else { b };
                Some(format!("the rows of a matrix are weighed by `diag({by}) * {}`", tight(&a)))
            }
            BinaryOp::Each | BinaryOp::Div if weighs(y, x, 1) => {
                let by = if place.op == BinaryOp::Div { format!("1 / {}", tight(&b)) } else { b };
                Some(format!("the columns of a matrix are weighed by `{} * diag({by})`", tight(&a)))
            }
            BinaryOp::Add | BinaryOp::Sub if x.dims.is_empty() && square(y) => {
                let eye = if a == "1" { "I".into() } else { format!("{} * I", tight(&a)) };
                Some(format!("the identity is `I`: `{eye} {} {b}`", place.op.text()))
            }
            BinaryOp::Add | BinaryOp::Sub if y.dims.is_empty() && square(x) => {
                let eye = if b == "1" { "I".into() } else { format!("{} * I", tight(&b)) };
                Some(format!("the identity is `I`: `{a} {} {eye}`", place.op.text()))
            }
            _ => None,
        }
    }

    /// Sums and products with the identity.
    fn with_eye(&mut self, place: Place, a: Val, b: Val) -> Option<Val> {
        match (place.op, a, b) {
            (BinaryOp::Add, Val::Eye(x), Val::Eye(y)) => Some(Val::Eye(self.b.add(x, y))),
            (BinaryOp::Sub, Val::Eye(x), Val::Eye(y)) => Some(Val::Eye(self.b.sub(x, y))),
            (BinaryOp::Mul, Val::Eye(x), Val::Eye(y)) => Some(Val::Eye(self.b.mul(x, y))),
            (BinaryOp::Mul, Val::Eye(x), other) | (BinaryOp::Mul, other, Val::Eye(x)) => {
                let scale = Tensor { value: x, dims: vec![], row: false };
                match other {
                    // A number times `I` stays a multiple of the identity.
                    Val::Number(c) => Some(Val::Eye(self.b.scale(x, c))),
                    Val::Tensor(t) if t.dims.is_empty() => Some(Val::Eye(self.b.mul(x, t.value))),
                    other => self.algebra(place, Val::Tensor(scale), other),
                }
            }
            (BinaryOp::Div, Val::Eye(x), other) => {
                let words = other.words();
                match self.as_tensor(other) {
                    Some(t) if t.dims.is_empty() => Some(Val::Eye(self.b.div(x, t.value))),
                    _ => self.fail(
                        Diag::error("E0202", place.b.span, "`I` is divided by a scalar only")
                            .label(words)
                            .help("for an inverse write `solve(A, b)`: the `x` with `A * x = b`"),
                    ),
                }
            }
            (BinaryOp::Add | BinaryOp::Sub, a, b) => {
                let left = matches!(a, Val::Eye(_));
                let (eye, other) = if left { (a, b) } else { (b, a) };
                let (Val::Eye(scale), Val::Tensor(t)) = (eye, other) else {
                    return self.fail(Diag::error(
                        "E0202",
                        place.span,
                        "only a matrix can be added to `I`",
                    ));
                };
                if t.dims.len() != 2 || t.dims[0].size != t.dims[1].size {
                    let at = if left { place.b.span } else { place.a.span };
                    return self.fail(
                        Diag::error("E0202", at, "only a square matrix can be added to `I`")
                            .label(t.text())
                            .help("for example `I - beta * k * k^T`"),
                    );
                }
                let eye = self.eye(scale, t.dims[0].size);
                let value = match (place.op, left) {
                    (BinaryOp::Add, _) => self.b.add(eye, t.value),
                    (_, true) => self.b.sub(eye, t.value),
                    (_, false) => self.b.sub(t.value, eye),
                };
                Some(Val::Tensor(Tensor { value, ..t }))
            }
            _ => self.fail(Diag::error(
                "E0202",
                place.span,
                format!("`{}` does not work with `I`", place.op.text()),
            )),
        }
    }

    /// A scalar times the identity as a matrix.
    pub fn eye(&mut self, scale: Value, n: usize) -> Value {
        let eye = self.b.raw(Op::Eye, vec![], vec![n, n]);
        let scale = self.b.reshape(scale, &[1, 1]);
        self.b.mul(eye, scale)
    }

    fn power(&mut self, place: Place, x: Tensor, y: Tensor) -> Option<Val> {
        let exponent = self.b.as_fill(y.value).filter(|_| y.dims.is_empty());
        let value = match exponent {
            Some(2.0) => self.b.mul(x.value, x.value),
            Some(1.0) => x.value,
            Some(0.5) => self.b.unary(Unary::Sqrt, x.value),
            Some(c) => self.b.unary(Unary::Pow(crate::tile::Bits::of(c)), x.value),
            None if x.dims.is_empty() && y.dims.is_empty() => {
                // b^e = exp(e log b), for a positive base.
                let log = self.b.unary(Unary::Log, x.value);
                let product = self.b.mul(log, y.value);
                self.b.unary(Unary::Exp, product)
            }
            None => {
                return self.fail(
                    Diag::error("E0202", place.b.span, "an exponent is a scalar").label(y.text()),
                );
            }
        };
        Some(Val::Tensor(Tensor { value, ..x }))
    }

    /// `*`: scaling, or contraction of the last axis on the left with the first on the right.
    fn product(&mut self, place: Place, x: Tensor, y: Tensor) -> Option<Val> {
        if x.dims.is_empty() || y.dims.is_empty() {
            let (scalar, other) = if x.dims.is_empty() { (x, y) } else { (y, x) };
            let ones = vec![1; other.dims.len()];
            let factor = self.b.reshape(scalar.value, &ones);
            let value = self.b.mul(factor, other.value);
            return Some(Val::Tensor(Tensor { value, ..other }));
        }
        let column = |t: &Tensor| t.dims.len() == 1 && !t.row;
        if column(&x) && y.row {
            return Some(self.outer(x, y));
        }
        // A column on the left has no axis to contract, nor has a row on the right.
        if column(&x) || y.row {
            return self.no_product(place, &x, &y);
        }
        let (last, first) = (&x.dims[x.dims.len() - 1], &y.dims[0]);
        if last.size != first.size {
            let message = format!(
                "`{}` and `{}` do not fit: the left side ends with {}, the right begins with {}",
                x.text(),
                y.text(),
                last.text,
                first.text
            );
            let mut diag = Diag::error("E0202", place.a.span, message)
                .label(x.text())
                .other(place.b.span, y.text());
            if x.dims.len() == 2 && x.dims[0].size == first.size {
                diag = diag.help("transpose the left side: `S^T * q`");
            }
            return self.fail(diag);
        }
        Some(self.contract(x, y))
    }

    fn outer(&mut self, x: Tensor, y: Tensor) -> Val {
        let (m, n) = (x.dims[0].size, y.dims[0].size);
        let left = self.b.reshape(x.value, &[m, 1]);
        let right = self.b.reshape(y.value, &[1, n]);
        let value = self.b.mul(left, right);
        let dims = vec![x.dims[0].clone(), y.dims[0].clone()];
        Val::Tensor(Tensor { value, dims, row: false })
    }

    fn contract(&mut self, x: Tensor, y: Tensor) -> Val {
        let (nx, ny) = (x.dims.len() - 1, y.dims.len() - 1);
        let left: Vec<usize> =
            x.dims.iter().map(|d| d.size).chain(std::iter::repeat_n(1, ny)).collect();
        let right: Vec<usize> =
            std::iter::repeat_n(1, nx).chain(y.dims.iter().map(|d| d.size)).collect();
        let a = self.b.reshape(x.value, &left);
        let b = self.b.reshape(y.value, &right);
        let sum = self.b.mul_sum(a, b, &[nx]);
        let dims: Vec<Dim> = x.dims[..nx].iter().chain(&y.dims[1..]).cloned().collect();
        let shape: Vec<usize> = dims.iter().map(|d| d.size).collect();
        let value = self.b.reshape(sum, &shape);
        // A row times a matrix is a row; times more axes it is what is left of them.
        let row = x.row && dims.len() == 1 && ny == 1;
        Val::Tensor(Tensor { value, dims, row })
    }

    fn no_product<T>(&mut self, place: Place, x: &Tensor, y: &Tensor) -> Option<T> {
        let message = format!("`*` does not work between {} and {}", x.text(), y.text());
        let diag = Diag::error("E0202", place.a.span, message)
            .label(x.text())
            .other(place.b.span, y.text());
        let vectors = x.dims.len() == 1 && y.dims.len() == 1;
        self.fail(if vectors {
            diag.help(
                "two vectors: `k^T * q` is a scalar, `k * v^T` a matrix, `k .* q` multiplies entry by entry",
            )
        } else if let Some(help) = self.instead(place, x, y) {
            diag.help(help)
        } else if y.row {
            diag.help("a transposed vector stands on the left of a matrix")
        } else {
            diag.help("a vector on the left of a matrix is transposed: `k^T * S`")
        })
    }

    /// The bound name of a range, and its ends.
    pub fn range(&mut self, range: &Range) -> Option<(String, Val, Val)> {
        let unbound: Vec<usize> = (0..range.terms.len())
            .filter(|&i| {
                range.terms[i]
                    .as_name()
                    .is_some_and(|n| self.lookup(n).is_none() && n != "t" && n != "inf")
            })
            .collect();
        let [at] = unbound[..] else {
            return self.fail(
                Diag::error("E0103", range.span, "a range binds exactly one new name")
                    .help("for example `j < n`, or `u <= t`"),
            );
        };
        let name = range.terms[at].as_name().unwrap_or_default().to_string();
        if at + 1 >= range.terms.len() || at > 1 {
            return self.fail(
                Diag::error(
                    "E0103",
                    range.span,
                    format!("the range has no upper end for `{name}`"),
                )
                .help(format!("for example `{name} < n`")),
            );
        }
        let one = |e: &mut Self, v: Val, by: f64| match v {
            Val::Number(x) => Some(Val::Number(x + by)),
            Val::Int { int, position } => {
                let int = Int::op(IntOp::Add, int, Int::Const(by as i64));
                Some(Val::Int { int, position })
            }
            other => e.fail(
                Diag::error("E0103", range.span, "a range needs whole numbers")
                    .label(other.words()),
            ),
        };
        let low = if at == 0 {
            Val::Number(0.0)
        } else {
            let low = self.eval(&range.terms[0])?;
            one(self, low, if range.ops[0] == BinaryOp::Lt { 1.0 } else { 0.0 })?
        };
        let high = self.eval(&range.terms[at + 1])?;
        let high = one(self, high, if range.ops[at] == BinaryOp::Lt { -1.0 } else { 0.0 })?;
        Some((name, low, high))
    }
}

/// An operator and its places.
#[derive(Clone, Copy)]
pub struct Place<'e> {
    /// The operator.
    pub op: BinaryOp,
    /// The whole expression.
    pub span: Span,
    /// The left side.
    pub a: &'e Expr,
    /// The right side.
    pub b: &'e Expr,
}
