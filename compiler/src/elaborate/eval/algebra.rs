//! Sums, products and quotients of tensors: the shape rules of the language.

use lrc_dsl::ast::BinaryOp;
use lrc_dsl::{Diag, print};

use super::{Elaborator, Operation};
use crate::elaborate::value::{Dim, Tensor, Val};
use crate::tile::{Op, Unary, Value};

impl Elaborator<'_> {
    pub(in crate::elaborate) fn algebra(
        &mut self,
        place: Operation,
        a: Val,
        b: Val,
    ) -> Option<Val> {
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
    pub(super) fn finite(&mut self, place: Operation, a: &Val, b: &Val) -> Option<()> {
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
    pub(super) fn each_entry(&mut self, place: Operation, x: Tensor, y: Tensor) -> Option<Val> {
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

    pub(super) fn mismatch<T>(&mut self, place: Operation, x: &Tensor, y: &Tensor) -> Option<T> {
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
    pub(super) fn instead(&self, place: Operation, x: &Tensor, y: &Tensor) -> Option<String> {
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
    pub(super) fn with_eye(&mut self, place: Operation, a: Val, b: Val) -> Option<Val> {
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

    pub(super) fn power(&mut self, place: Operation, x: Tensor, y: Tensor) -> Option<Val> {
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
    pub(super) fn product(&mut self, place: Operation, x: Tensor, y: Tensor) -> Option<Val> {
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

    pub(super) fn outer(&mut self, x: Tensor, y: Tensor) -> Val {
        let (m, n) = (x.dims[0].size, y.dims[0].size);
        let left = self.b.reshape(x.value, &[m, 1]);
        let right = self.b.reshape(y.value, &[1, n]);
        let value = self.b.mul(left, right);
        let dims = vec![x.dims[0].clone(), y.dims[0].clone()];
        Val::Tensor(Tensor { value, dims, row: false })
    }

    pub(super) fn contract(&mut self, x: Tensor, y: Tensor) -> Val {
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

    pub(super) fn no_product<T>(&mut self, place: Operation, x: &Tensor, y: &Tensor) -> Option<T> {
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
}
