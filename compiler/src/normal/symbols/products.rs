//! Products of structured matrices, and of matrices with vectors, which become reads.

use super::{Core, Made, Matrix, Symbols, Term, Tried, refuse, term};
use crate::normal::Read;
use crate::tile::{Leaf, Op, Value};

impl Symbols<'_> {
    pub(super) fn product_of_entries(&mut self, args: &[Value]) -> Tried<Made> {
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
    pub(super) fn entrywise(&mut self, m: Matrix, p: Value) -> Tried<Matrix> {
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

    pub(super) fn entrywise_rows(&mut self, mut m: Matrix, left: Value) -> Matrix {
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

    pub(super) fn entrywise_columns(&mut self, m: Matrix, right: Value) -> Matrix {
        let turned = self.transposed(m);
        let weighed = self.entrywise_rows(turned, right);
        self.transposed(weighed)
    }

    pub(super) fn transposed(&mut self, m: Matrix) -> Matrix {
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

    pub(super) fn scaled(&mut self, mut m: Matrix, by: Value) -> Matrix {
        for t in &mut m.terms {
            t.scale = Some(match t.scale {
                Some(old) => self.b.mul(old, by),
                None => by,
            });
        }
        m
    }

    /// Sums over an axis: matrix times vector, or matrix times matrix.
    pub(super) fn contraction(
        &mut self,
        axes: &[usize],
        args: &[Value],
        shape: &[usize],
    ) -> Tried<Made> {
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
    pub(super) fn flat(&mut self, m: Matrix, shape: &[usize], arg: Value) -> Tried<Matrix> {
        if self.made[arg.at()].is_matrix() {
            return Ok(m);
        }
        let plain = self.plain(arg)?;
        let plain = self.b.reshape(plain, shape);
        Ok(self.as_matrix(plain))
    }

    pub(super) fn multiply(&mut self, a: &Matrix, c: &Matrix) -> Tried<Matrix> {
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
    pub(super) fn multiply_terms(
        &mut self,
        x: &Term,
        y: &Term,
        a: &Matrix,
        c: &Matrix,
    ) -> Tried<Term> {
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

    pub(super) fn joined(&mut self, a: Option<Value>, c: Option<Value>) -> Option<Value> {
        match (a, c) {
            (Some(a), Some(c)) => Some(self.b.mul(a, c)),
            (a, c) => a.or(c),
        }
    }

    /// A matrix times a vector; a state times a vector is a read.
    pub(super) fn apply(&mut self, m: &Matrix, p: Value) -> Tried<Value> {
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
    pub(super) fn read(&mut self, read: Read, rows: usize) -> Value {
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
    pub(super) fn materialise(&mut self, m: &Matrix, shape: &[usize]) -> Tried<Value> {
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
