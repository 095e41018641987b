//! Interprets the program of one token with the states as symbols.

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

    fn product_of_entries(&mut self, args: &[Value]) -> Tried<Made> {
        let (a, c) = (self.made[args[0].at()].clone(), self.made[args[1].at()].clone());
        match (a, c) {
            (Made::Plain(a), Made::Plain(c)) => {
                let (u, w) = if self.b.shape(a)[1] == 1 { (a, c) } else { (c, a) };
                let (rows, cols) = (self.b.shape(u)[0], self.b.shape(w)[1]);
                let u = self.b.reshape(u, &[rows]);
                let w = self.b.reshape(w, &[cols]);
                let terms = vec![term(Core::Outer(u, w))];
                Ok(Made::Matrix(Matrix { rows, cols, vector: false, terms }))
            }
            (Made::Matrix(m), Made::Plain(p)) | (Made::Plain(p), Made::Matrix(m)) => {
                self.entrywise(m, p).map(Made::Matrix)
            }
            (Made::Matrix(m), Made::Matrix(n)) => {
                for (one, other) in [(&m, &n), (&n, &m)] {
                    if let [Term { scale, core: Core::Outer(u, w), .. }] = &one.terms[..] {
                        let rows = self.entrywise_rows(other.clone(), *u);
                        let mut both = self.entrywise_columns(rows, *w);
                        if let Some(scale) = scale {
                            both = self.scaled(both, *scale);
                        }
                        return Ok(Made::Matrix(both));
                    }
                }
                for (one, other) in [(&m, &n), (&n, &m)] {
                    let stateless = one.terms.iter().all(|t| !matches!(t.core, Core::State { .. }));
                    if one.rows * one.cols == 1 && stateless {
                        let scalar = self.materialise(one, &[])?;
                        return Ok(Made::Matrix(self.scaled(other.clone(), scalar)));
                    }
                }
                Err(refuse(
                    "every entry of the state has a factor of its own: the form has one per row or column",
                ))
            }
            (Made::Refused(r), _) | (_, Made::Refused(r)) => Err(r),
        }
    }

    /// A matrix times a scalar, column, row, or for vectors a vector, entry by entry.
    fn entrywise(&mut self, m: Matrix, p: Value) -> Tried<Matrix> {
        let shape = self.b.shape(p).to_vec();
        if shape.iter().all(|n| *n == 1) {
            let scalar = self.b.reshape(p, &[]);
            return Ok(self.scaled(m, scalar));
        }
        match shape[..] {
            [n] if m.vector && n == m.rows => Ok(self.entrywise_rows(m, p)),
            [rows, 1] if rows == m.rows => {
                let left = self.b.reshape(p, &[rows]);
                Ok(self.entrywise_rows(m, left))
            }
            [1, cols] if cols == m.cols => {
                let right = self.b.reshape(p, &[cols]);
                Ok(self.entrywise_columns(m, right))
            }
            _ => Err(refuse(
                "every entry of the state has a factor of its own: the form has one per row or column",
            )),
        }
    }

    fn entrywise_rows(&mut self, mut m: Matrix, left: Value) -> Matrix {
        for t in &mut m.terms {
            match &mut t.core {
                Core::Outer(u, _) => *u = self.b.mul(*u, left),
                _ => {
                    t.left = Some(match t.left {
                        Some(old) => self.b.mul(old, left),
                        None => left,
                    })
                }
            }
        }
        m
    }

    fn entrywise_columns(&mut self, m: Matrix, right: Value) -> Matrix {
        let turned = self.transposed(m);
        let weighed = self.entrywise_rows(turned, right);
        self.transposed(weighed)
    }

    fn transposed(&mut self, m: Matrix) -> Matrix {
        let (rows, cols) = (m.rows, m.cols);
        let turn = |t: Term| Term {
            scale: t.scale,
            left: t.right,
            right: t.left,
            core: match t.core {
                Core::State { state, version, transposed } => {
                    Core::State { state, version, transposed: !transposed }
                }
                Core::Outer(u, w) => Core::Outer(w, u),
                Core::Dense(d) => {
                    let full = self.b.reshape(d, &[rows, cols]);
                    Core::Dense(self.b.transpose(full))
                }
                Core::Eye => Core::Eye,
            },
        };
        let terms = m.terms.into_iter().map(turn).collect();
        Matrix { rows: cols, cols: rows, vector: false, terms }
    }

    fn scaled(&mut self, mut m: Matrix, by: Value) -> Matrix {
        for t in &mut m.terms {
            t.scale = Some(match t.scale {
                Some(old) => self.b.mul(old, by),
                None => by,
            });
        }
        m
    }

    /// Sums over an axis: matrix times vector, or matrix times matrix.
    fn contraction(&mut self, axes: &[usize], args: &[Value], shape: &[usize]) -> Tried<Made> {
        let [axis] = axes else { return self.whole(&Op::MulSum(axes.to_vec()), args, shape) };
        let rank = shape.len();
        let token = &self.r.token;
        let shapes = [token.shape(args[0]), token.shape(args[1])];
        match (rank, axis) {
            // [m, k, 1] x [1, k, n]
            (3, 1) => {
                let (l, r) = if shapes[0][2] == 1 && shapes[1][0] == 1 { (0, 1) } else { (1, 0) };
                let (left, right) = (self.matrix(args[l])?, self.matrix(args[r])?);
                let left = self.flat(left, &shapes[l][..2], args[l])?;
                let right = self.flat(right, &shapes[r][1..], args[r])?;
                self.multiply(&left, &right).map(Made::Matrix)
            }
            (2, _) => {
                // The matrix is the one with two real axes; the other is a vector along `axis`.
                let matrix_first = self.made[args[0].at()].is_matrix();
                let (m, p) = if matrix_first { (args[0], args[1]) } else { (args[1], args[0]) };
                let matrix = self.matrix(m)?;
                let p = self.plain(p)?;
                let length = self.b.shape(p).iter().product();
                let p = self.b.reshape(p, &[length]);
                let turned = if *axis == 0 { self.transposed(matrix) } else { matrix };
                if turned.cols != length {
                    return Err(refuse("the state is multiplied by a value of another size"));
                }
                let y = self.apply(&turned, p)?;
                Ok(Made::Plain(self.b.reshape(y, shape)))
            }
            (1, _) => {
                let matrix_first = self.made[args[0].at()].is_matrix();
                let (m, p) = if matrix_first { (args[0], args[1]) } else { (args[1], args[0]) };
                let matrix = self.matrix(m)?;
                let matrix = self.transposed(matrix);
                let p = self.plain(p).map_err(|_| refuse("the state is multiplied by itself"))?;
                let y = self.apply(&matrix, p)?;
                Ok(Made::Plain(self.b.reshape(y, shape)))
            }
            _ => self.whole(&Op::MulSum(axes.to_vec()), args, shape),
        }
    }

    /// A three-axis view of a plain matrix as two axes again.
    fn flat(&mut self, m: Matrix, shape: &[usize], arg: Value) -> Tried<Matrix> {
        if self.made[arg.at()].is_matrix() {
            return Ok(m);
        }
        let plain = self.plain(arg)?;
        let plain = self.b.reshape(plain, shape);
        Ok(self.as_matrix(plain))
    }

    fn multiply(&mut self, a: &Matrix, c: &Matrix) -> Tried<Matrix> {
        let mut terms = Vec::new();
        for x in &a.terms {
            for y in &c.terms {
                let mut made = self.multiply_terms(x, y, a, c)?;
                for factor in [x.scale, y.scale].into_iter().flatten() {
                    made.scale = Some(match made.scale {
                        Some(old) => self.b.mul(old, factor),
                        None => factor,
                    });
                }
                terms.push(made);
            }
        }
        Ok(Matrix { rows: a.rows, cols: c.cols, vector: false, terms })
    }

    /// A product without the scales of its factors.
    fn multiply_terms(&mut self, x: &Term, y: &Term, a: &Matrix, c: &Matrix) -> Tried<Term> {
        let single = |t: &Term, m: &Matrix| Matrix {
            terms: vec![Term { scale: None, ..t.clone() }],
            ..m.clone()
        };
        match (&x.core, &y.core) {
            (_, Core::Outer(u, w)) => {
                let u = self.apply(&single(x, a), *u)?;
                Ok(term(Core::Outer(u, *w)))
            }
            (Core::Outer(u, w), _) => {
                let turned = self.transposed(single(y, c));
                let w = self.apply(&turned, *w)?;
                Ok(term(Core::Outer(*u, w)))
            }
            (Core::Eye, core) => {
                let diagonal = self.joined(x.left, x.right);
                let left = self.joined(diagonal, y.left);
                Ok(Term { scale: None, left, core: core.clone(), right: y.right })
            }
            (core, Core::Eye) => {
                let diagonal = self.joined(y.left, y.right);
                let right = self.joined(x.right, diagonal);
                Ok(Term { scale: None, left: x.left, core: core.clone(), right })
            }
            (Core::State { .. }, Core::State { .. }) => Err(refuse("two states are multiplied")),
            (Core::Dense(_), Core::Dense(_)) => {
                let shape_a = [a.rows, a.cols];
                let shape_c = [c.rows, c.cols];
                let left = self.materialise(&single(x, a), &shape_a)?;
                let right = self.materialise(&single(y, c), &shape_c)?;
                let product = self.b.matmul(left, right);
                Ok(term(Core::Dense(product)))
            }
            _ => Err(refuse(
                "the state is multiplied by a full matrix: vector by vector it can be read",
            )),
        }
    }

    fn joined(&mut self, a: Option<Value>, c: Option<Value>) -> Option<Value> {
        match (a, c) {
            (Some(a), Some(c)) => Some(self.b.mul(a, c)),
            (a, c) => a.or(c),
        }
    }

    /// A matrix times a vector; a state times a vector is a read.
    fn apply(&mut self, m: &Matrix, p: Value) -> Tried<Value> {
        let mut sum: Option<Value> = None;
        for t in &m.terms {
            let inner = match t.right {
                Some(right) => self.b.mul(p, right),
                None => p,
            };
            let mut y = match &t.core {
                Core::Eye => inner,
                Core::Outer(u, w) => {
                    let dot = self.b.mul_sum(*w, inner, &[0]);
                    self.b.mul(*u, dot)
                }
                Core::Dense(d) => {
                    let row = self.b.reshape(inner, &[1, m.cols]);
                    let product = self.b.mul_sum(*d, row, &[1]);
                    self.b.reshape(product, &[m.rows])
                }
                Core::State { state, version, transposed } => self.read(
                    Read { state: *state, version: *version, vector: inner, column: !transposed },
                    m.rows,
                ),
            };
            if let Some(left) = t.left {
                y = self.b.mul(y, left);
            }
            if let Some(scale) = t.scale {
                let scale = self.b.reshape(scale, &[1]);
                y = self.b.mul(y, scale);
            }
            sum = Some(match sum {
                Some(sum) => self.b.add(sum, y),
                None => y,
            });
        }
        Ok(sum.unwrap_or_else(|| self.b.fill(0.0, &[m.rows])))
    }

    /// The leaf of a read. Scalar factors leave the vector, so that reads with one vector are one.
    fn read(&mut self, read: Read, rows: usize) -> Value {
        let at = match self.reads.iter().position(|known| *known == read) {
            Some(at) => at,
            None => {
                self.reads.push(read);
                self.reads.len() - 1
            }
        };
        self.b.leaf(Leaf::Outer(at), &[rows])
    }

    /// A matrix without states as a plain value.
    fn materialise(&mut self, m: &Matrix, shape: &[usize]) -> Tried<Value> {
        let full = [m.rows, m.cols];
        let mut sum = self.b.fill(0.0, &full);
        for t in &m.terms {
            let mut x = match &t.core {
                Core::State { state, .. } => {
                    let name = &self.r.states[*state].name;
                    return Err(refuse(format!(
                        "`{name}` enters whole, not by a product with a vector"
                    )));
                }
                Core::Eye => self.b.raw(Op::Eye, vec![], full.to_vec()),
                Core::Dense(d) => self.b.reshape(*d, &full),
                Core::Outer(u, w) => {
                    let u = self.b.reshape(*u, &[m.rows, 1]);
                    let w = self.b.reshape(*w, &[1, m.cols]);
                    self.b.mul(u, w)
                }
            };
            for (side, place) in [(t.left, [m.rows, 1]), (t.right, [1, m.cols])] {
                if let Some(side) = side {
                    let side = self.b.reshape(side, &place);
                    x = self.b.mul(x, side);
                }
            }
            if let Some(scale) = t.scale {
                let scale = self.b.reshape(scale, &[1, 1]);
                x = self.b.mul(x, scale);
            }
            sum = self.b.add(sum, x);
        }
        Ok(self.b.reshape(sum, shape))
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
