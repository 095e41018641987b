//! Expressions of recurrences: from syntax to nodes, with the shape rules of the language.

mod algebra;
mod operators;

use std::collections::{BTreeMap, BTreeSet};

use lrc_dsl::ast::{BinaryOp, Expr, ExprKind, Name, Range};
use lrc_dsl::diag::MAX_SHOWN;
use lrc_dsl::{Diag, Span, print};

use super::position::At;
use super::signature::LARGEST_TENSOR;
use super::value::{Dim, Setting, Tensor, Val};
use crate::tile::{Bounds, Builder, Int, IntOp, Leaf, Stream, Value, size};

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
        match self.scope.last_mut() {
            Some(innermost) => {
                innermost.insert(name.to_string(), binding);
            }
            None => self.scope.push([(name.to_string(), binding)].into()),
        }
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
            Some(Binding::Input(i)) => {
                Some(self.read(Stream::Input(i), self.inputs[i].dims.clone(), Int::T))
            }
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

    /// A stream with the given axes at a position.
    pub fn read(&mut self, stream: Stream, dims: Vec<Dim>, at: Int) -> Val {
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
pub struct Operation<'e> {
    /// The operator.
    pub op: BinaryOp,
    /// The whole expression.
    pub span: Span,
    /// The left side.
    pub a: &'e Expr,
    /// The right side.
    pub b: &'e Expr,
}
