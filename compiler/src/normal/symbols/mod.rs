//! Interprets the program of one token with the states as symbols.

mod products;

use std::collections::HashMap;

use super::{Read, Refusal};
use crate::elaborate::Recurrence;
use crate::tile::{Binary, Builder, Int, Leaf, Op, Stream, Unary, Value};

/// What stands in the middle of a term.
#[derive(Clone, Debug)]
pub enum Core {
    /// A state after some of the token's updates, maybe transposed.
    State {
        /// The state.
        state: usize,
        /// Updates it has seen.
        version: usize,
        /// Whether its transpose is meant.
        transposed: bool,
    },
    /// `u wᵀ`.
    Outer(Value, Value),
    /// The identity.
    Eye,
    /// A matrix without states whose structure is not known.
    Dense(Value),
}

/// `scale · diag(left) · core · diag(right)`; an outer product has its diagonals folded in.
#[derive(Clone, Debug)]
pub struct Term {
    /// A factor, shape `[]`.
    pub scale: Option<Value>,
    /// A vector along the rows.
    pub left: Option<Value>,
    /// The middle.
    pub core: Core,
    /// A vector along the columns.
    pub right: Option<Value>,
}

/// A sum of terms. A vector state is a matrix of one column.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Declared as a vector.
    pub vector: bool,
    /// The terms.
    pub terms: Vec<Term>,
}

/// What a node of the token became.
#[derive(Clone, Debug)]
pub enum Made {
    /// A value without states, except through reads.
    Plain(Value),
    /// A structured matrix.
    Matrix(Matrix),
    /// Not expressible; only an error if something needs it.
    Refused(Refusal),
}

/// The interpreter and what it has made so far.
pub struct Symbols<'r> {
    r: &'r Recurrence,
    /// The state-free program.
    pub b: Builder,
    /// Reads in order of appearance.
    pub reads: Vec<Read>,
    made: Vec<Made>,
    versions: HashMap<Value, (usize, usize)>,
}

type Tried<T> = Result<T, Refusal>;

impl<'r> Symbols<'r> {
    /// An interpreter of a recurrence's token.
    pub fn new(r: &'r Recurrence) -> Symbols<'r> {
        let mut versions = HashMap::new();
        let mut count = vec![0; r.states.len()];
        for update in &r.updates {
            count[update.state] += 1;
            versions.insert(update.version, (update.state, count[update.state]));
        }
        Symbols { r, b: Builder::new(), reads: Vec::new(), made: Vec::new(), versions }
    }

    /// The name of a state.
    pub fn name(&self, state: usize) -> &str {
        &self.r.states[state].name
    }

    /// Translates every node in order. Only what cannot be skipped is an error.
    pub fn translate(&mut self) -> Tried<()> {
        for state in &self.r.states {
            if state.shape.is_empty() || state.shape.len() > 2 {
                let axes = state.shape.len();
                let why = format!("`{}` has {axes} axes: the form is for matrices", state.name);
                return Err(Refusal { span: Some(state.span), why });
            }
        }
        for at in 0..self.r.token.nodes.len() {
            self.b.span = self.r.token.nodes[at].span;
            let made = match self.node(Value(at as u32)) {
                Ok(made) => made,
                Err(refusal) => Made::Refused(Refusal {
                    span: refusal.span.or(self.r.token.nodes[at].span),
                    ..refusal
                }),
            };
            self.made.push(made);
        }
        Ok(())
    }

    /// A token's node as a value without states.
    pub fn plain(&mut self, value: Value) -> Tried<Value> {
        match self.made[value.at()].clone() {
            Made::Plain(value) => Ok(value),
            Made::Matrix(matrix) => {
                let shape = self.r.token.shape(value).to_vec();
                self.materialise(&matrix, &shape)
            }
            Made::Refused(refusal) => Err(refusal),
        }
    }

    /// A token's node as a matrix.
    pub fn matrix(&mut self, value: Value) -> Tried<Matrix> {
        match self.made[value.at()].clone() {
            Made::Matrix(matrix) => Ok(matrix),
            Made::Plain(plain) => Ok(self.as_matrix(plain)),
            Made::Refused(refusal) => Err(refusal),
        }
    }

    /// Whether a value depends on a read of a state.
    pub fn reads_state(&self, value: Value, state: usize) -> bool {
        let mut seen = vec![false; value.at() + 1];
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut seen[value.at()], true) {
                continue;
            }
            let node = self.b.node(value);
            if let Op::Leaf(Leaf::Outer(r)) = node.op {
                if self.reads[r].state == state {
                    return true;
                }
                // A read's vector may itself come from reads.
                let vector = self.reads[r].vector;
                if vector.at() < seen.len() {
                    open.push(vector);
                }
            }
            open.extend(&node.args);
        }
        false
    }

    fn as_matrix(&mut self, plain: Value) -> Matrix {
        let shape = self.b.shape(plain).to_vec();
        match shape[..] {
            [rows] => {
                let one = self.b.fill(1.0, &[1]);
                Matrix { rows, cols: 1, vector: true, terms: vec![term(Core::Outer(plain, one))] }
            }
            // A matrix of one row or column has rank one whatever it holds.
            [rows, cols] if rows == 1 || cols == 1 => {
                let one = self.b.fill(1.0, &[1]);
                let long = self.b.reshape(plain, &[rows * cols]);
                let core = if rows == 1 { Core::Outer(one, long) } else { Core::Outer(long, one) };
                Matrix { rows, cols, vector: false, terms: vec![term(core)] }
            }
            [rows, cols] => {
                Matrix { rows, cols, vector: false, terms: vec![term(Core::Dense(plain))] }
            }
            _ => Matrix { rows: 1, cols: 1, vector: false, terms: vec![term(Core::Dense(plain))] },
        }
    }

    fn state(&self, state: usize, version: usize) -> Made {
        let shape = &self.r.states[state].shape;
        let core = Core::State { state, version, transposed: false };
        Made::Matrix(Matrix {
            rows: shape[0],
            cols: shape.get(1).copied().unwrap_or(1),
            vector: shape.len() == 1,
            terms: vec![term(core)],
        })
    }

    fn node(&mut self, value: Value) -> Tried<Made> {
        let node = self.r.token.node(value).clone();
        if let Some(&(state, version)) = self.versions.get(&value) {
            return Ok(self.state(state, version));
        }
        match &node.op {
            Op::Leaf(Leaf::Read(Stream::State(state), at)) => {
                return if at.lag() == Some(1) {
                    Ok(self.state(*state, 0))
                } else {
                    Err(refuse(format!(
                        "`{}` is read at `{at}`, not at `t - 1`",
                        self.r.states[*state].name
                    )))
                };
            }
            Op::Leaf(Leaf::Read(Stream::Export(_), _)) => {
                return Err(refuse("a value that another token computes is read"));
            }
            Op::Leaf(Leaf::Read(Stream::Input(_), at)) if at.lag().is_none() => {
                return Err(refuse(format!(
                    "an input is read at `{at}`, which is no fixed distance back"
                )));
            }
            Op::Leaf(Leaf::Number(at)) if *at != Int::T => {
                return Err(refuse("a number that depends on the position of the token is used"));
            }
            Op::Past(_) => return Err(refuse("a sum over the past stands beside states")),
            Op::Eye => {
                let n = node.shape[0];
                let matrix =
                    Matrix { rows: n, cols: n, vector: false, terms: vec![term(Core::Eye)] };
                return Ok(Made::Matrix(matrix));
            }
            // The symbol of a derivative stands for its value.
            Op::Alias(_) => return Ok(self.made[node.args[0].at()].clone()),
            _ => {}
        }
        for arg in &node.args {
            if let Made::Refused(refusal) = &self.made[arg.at()] {
                return Err(refusal.clone());
            }
        }
        let structured = node.args.iter().any(|arg| self.made[arg.at()].is_matrix());
        if structured || self.is_outer(&node.op, &node.args) {
            return self.structured(&node.op, &node.args, &node.shape);
        }
        let args: Vec<Value> =
            node.args.iter().map(|arg| self.plain(*arg)).collect::<Tried<_>>()?;
        Ok(Made::Plain(self.rebuild(&node.op, &args, &node.shape)))
    }

    /// A column times a row: `[m, 1] ∘ [1, n]`.
    fn is_outer(&self, op: &Op, args: &[Value]) -> bool {
        let Op::MulSum(axes) = op else { return false };
        let shapes = (self.r.token.shape(args[0]), self.r.token.shape(args[1]));
        let column_row = |a: &[usize], b: &[usize]| a.len() == 2 && a[1] == 1 && b[0] == 1;
        axes.is_empty()
            && shapes.0.len() == 2
            && shapes.0.iter().product::<usize>() > 1
            && shapes.1.iter().product::<usize>() > 1
            && (column_row(shapes.0, shapes.1) || column_row(shapes.1, shapes.0))
    }

    /// Adds a node again, through the folding of the builder.
    fn rebuild(&mut self, op: &Op, args: &[Value], shape: &[usize]) -> Value {
        let b = &mut self.b;
        match op {
            Op::Unary(op) => b.unary(*op, args[0]),
            Op::Binary(op) => b.binary(*op, args[0], args[1]),
            Op::MulSum(axes) => b.mul_sum(args[0], args[1], axes),
            Op::Sum(axes) => b.sum(args[0], axes),
            Op::Reshape => b.reshape(args[0], shape),
            Op::Expand => b.expand(args[0], shape),
            op => b.raw(op.clone(), args.to_vec(), shape.to_vec()),
        }
    }

    fn structured(&mut self, op: &Op, args: &[Value], shape: &[usize]) -> Tried<Made> {
        match op {
            Op::Unary(Unary::Neg) => {
                let minus = self.b.fill(-1.0, &[]);
                let matrix = self.matrix(args[0])?;
                Ok(Made::Matrix(self.scaled(matrix, minus)))
            }
            Op::Binary(op @ (Binary::Add | Binary::Sub)) => {
                let mut a = self.matrix(args[0])?;
                let mut c = self.matrix(args[1])?;
                if (a.rows, a.cols) != (c.rows, c.cols) {
                    return Err(refuse("one number is added to every entry of the state"));
                }
                if *op == Binary::Sub {
                    let minus = self.b.fill(-1.0, &[]);
                    c = self.scaled(c, minus);
                }
                a.terms.append(&mut c.terms);
                Ok(Made::Matrix(a))
            }
            Op::Binary(Binary::Div) if !self.made[args[1].at()].is_matrix() => {
                let divisor = self.plain(args[1])?;
                let ones = vec![1; self.b.shape(divisor).len()];
                let one = self.b.fill(1.0, &ones);
                let factor = self.b.div(one, divisor);
                let matrix = self.matrix(args[0])?;
                self.entrywise(matrix, factor).map(Made::Matrix)
            }
            Op::MulSum(axes) if axes.is_empty() => self.product_of_entries(args),
            Op::MulSum(axes) => self.contraction(axes, args, shape),
            Op::Permute(order) if order[..] == [1, 0] => {
                let matrix = self.matrix(args[0])?;
                Ok(Made::Matrix(self.transposed(matrix)))
            }
            Op::Reshape => {
                let matrix = self.matrix(args[0])?;
                let plain = |s: &[usize]| s.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
                if plain(shape) == plain(self.r.token.shape(args[0])) && !matrix.vector {
                    if shape.len() > 1 {
                        return Ok(Made::Matrix(matrix));
                    }
                    // The only row or column of a matrix, as a vector: a read with 1.
                    let one = self.b.fill(1.0, &[1]);
                    let narrow = if matrix.rows == 1 { self.transposed(matrix) } else { matrix };
                    let read = self.apply(&narrow, one)?;
                    return Ok(Made::Plain(self.b.reshape(read, shape)));
                }
                self.whole(op, args, shape)
            }
            _ => self.whole(op, args, shape),
        }
    }

    /// An operation that needs its matrices whole: fine without states.
    fn whole(&mut self, op: &Op, args: &[Value], shape: &[usize]) -> Tried<Made> {
        let args: Vec<Value> = args
            .iter()
            .map(|arg| {
                let matrix = match &self.made[arg.at()] {
                    Made::Matrix(matrix) => Some(matrix.clone()),
                    _ => None,
                };
                self.plain(*arg).map_err(|r| match matrix.and_then(|m| self.inside(op, &m)) {
                    Some(why) => refuse(why),
                    None => r,
                })
            })
            .collect::<Tried<_>>()?;
        Ok(Made::Plain(self.rebuild(op, &args, shape)))
    }

    /// How an operation uses the state in a matrix, in words.
    fn inside(&self, op: &Op, matrix: &Matrix) -> Option<String> {
        let state = matrix.terms.iter().find_map(|term| match term.core {
            Core::State { state, .. } => Some(state),
            _ => None,
        })?;
        let name = &self.r.states[state].name;
        Some(match op {
            Op::Reshape | Op::Expand | Op::Slice(..) | Op::Concat(_) if matrix.vector => {
                format!(
                    "`{name}` makes keys, values or factors by itself, not by a product with a vector"
                )
            }
            Op::Reshape | Op::Slice(..) | Op::Permute(_) | Op::Pick(_) | Op::Concat(_) => {
                format!("`{name}` is taken apart into its entries")
            }
            Op::MulSum(_) => format!("products of the entries of `{name}` are added up"),
            op => format!("`{name}` stands inside {}", word(op)),
        })
    }
}

fn term(core: Core) -> Term {
    Term { scale: None, left: None, core, right: None }
}

/// An operation in the words of the language.
pub(crate) fn word(op: &Op) -> String {
    match op {
        Op::Unary(op) => format!("`{}(…)`", op.name()),
        Op::Binary(Binary::Add | Binary::Sub) => "a sum".into(),
        Op::Binary(Binary::Div) => "a quotient".into(),
        Op::Binary(op) => format!("`{}(…)`", op.name()),
        Op::LinearSolve(_) => "`solve(…)`".into(),
        Op::LogSumExp(_) | Op::Weight => "`softmax(…)`".into(),
        Op::Sum(_) => "`sum(…)`".into(),
        Op::MulSum(_) => "a product".into(),
        Op::Concat(_) => "`concat(…)`".into(),
        _ => "an expression of single entries".into(),
    }
}

fn refuse(why: impl Into<String>) -> Refusal {
    Refusal { span: None, why: why.into() }
}
