//! Complex values: pairs of real ones. Everything below the elaborator is real.

use lrc_dsl::Diag;
use lrc_dsl::ast::{Arg, BinaryOp, Name};

use super::eval::{Elaborator, Operation};
use super::value::{Tensor, Val};
use crate::tile::Unary;

/// Real and imaginary part.
type Parts = [Tensor; 2];

fn complex(re: Tensor, im: Tensor) -> Val {
    Val::Complex(Box::new([re, im]))
}

impl Elaborator<'_> {
    /// `complex(re, im)`.
    pub(super) fn complex(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        let mut values = self.only(name, args, 2)?;
        let (im, re) = (values.pop()?, values.pop()?);
        let words = format!("{} and {}", re.words(), im.words());
        let (Some(re), Some(im)) = (self.as_tensor(re), self.as_tensor(im)) else {
            let message = "`complex` takes a real and an imaginary part";
            return self.fail(Diag::error("E0202", name.span, message).label(words));
        };
        let sizes = |t: &Tensor| t.dims.iter().map(|d| d.size).collect::<Vec<_>>();
        if sizes(&re) != sizes(&im) || re.row != im.row {
            let message = format!("shapes {} and {} differ", re.text(), im.text());
            return self.fail(Diag::error("E0202", name.span, message).label(words));
        }
        Some(complex(re, im))
    }

    /// `real(z)` and `imag(z)`.
    pub(super) fn part(&mut self, name: &Name, args: &[Arg]) -> Option<Val> {
        match self.only(name, args, 1)?.remove(0) {
            Val::Complex(parts) => {
                let [re, im] = *parts;
                Some(Val::Tensor(if name.text == "real" { re } else { im }))
            }
            other => {
                let message = format!("`{}` is for complex values", name.text);
                self.fail(Diag::error("E0202", args[0].value.span, message).label(other.words()))
            }
        }
    }

    /// `exp(x + iy) = exp(x) (cos y + i sin y)`.
    pub(super) fn complex_exp(&mut self, [re, im]: Parts) -> Option<Val> {
        let length = self.b.unary(Unary::Exp, re.value);
        let [x, y] = [Unary::Cos, Unary::Sin].map(|turn| {
            let turned = self.b.unary(turn, im.value);
            self.b.mul(length, turned)
        });
        Some(complex(Tensor { value: x, ..re }, Tensor { value: y, ..im }))
    }

    /// The sum of a vector's entries.
    pub(super) fn complex_sum(&mut self, parts: &Parts) -> Option<Val> {
        let [re, im] = [&parts[0], &parts[1]].map(|t| {
            let sum = self.b.sum(t.value, &[0]);
            let value = self.b.reshape(sum, &[]);
            Tensor { value, dims: vec![], row: false }
        });
        Some(complex(re, im))
    }

    /// Applies an operation of real values to both parts.
    pub(super) fn both_parts(
        &mut self,
        parts: Parts,
        mut of: impl FnMut(&mut Self, Val) -> Option<Val>,
    ) -> Option<Val> {
        let [re, im] = parts;
        match (of(self, Val::Tensor(re))?, of(self, Val::Tensor(im))?) {
            (Val::Tensor(re), Val::Tensor(im)) => Some(complex(re, im)),
            _ => None,
        }
    }

    /// Arithmetic where one side is complex at least.
    pub(super) fn complex_algebra(&mut self, place: Operation, a: Val, b: Val) -> Option<Val> {
        match (place.op, a, b) {
            (BinaryOp::Add | BinaryOp::Sub, a, b) => {
                let ([a, b], [c, d]) = (self.parts(place, a)?, self.parts(place, b)?);
                let re = self.real(place, place.op, &a, &c)?;
                let im = self.real(place, place.op, &b, &d)?;
                Some(complex(re, im))
            }
            (BinaryOp::Mul | BinaryOp::Each, Val::Complex(x), Val::Complex(y)) => {
                let ([a, b], [c, d]) = (*x, *y);
                self.complex_product(place, place.op, [a, b], [c, d])
            }
            (BinaryOp::Mul | BinaryOp::Each | BinaryOp::Div, Val::Complex(x), real)
                if !matches!(real, Val::Complex(_)) =>
            {
                let y = self.as_real(place, real)?;
                self.both_parts(*x, |e, part| {
                    let Val::Tensor(part) = part else { return None };
                    e.real(place, place.op, &part, &y).map(Val::Tensor)
                })
            }
            (BinaryOp::Mul | BinaryOp::Each, real, Val::Complex(y)) => {
                let x = self.as_real(place, real)?;
                self.both_parts(*y, |e, part| {
                    let Val::Tensor(part) = part else { return None };
                    e.real(place, place.op, &x, &part).map(Val::Tensor)
                })
            }
            // x / y = x conj(y) / |y|².
            (BinaryOp::Div, a, Val::Complex(y)) => {
                let x = self.parts(place, a)?;
                let [c, d] = *y;
                let cc = self.real(place, BinaryOp::Each, &c, &c)?;
                let dd = self.real(place, BinaryOp::Each, &d, &d)?;
                let square = self.real(place, BinaryOp::Add, &cc, &dd)?;
                let conjugate = Tensor { value: self.b.unary(Unary::Neg, d.value), ..d };
                let product = self.complex_product(place, BinaryOp::Each, x, [c, conjugate])?;
                let Val::Complex(parts) = product else { return None };
                self.both_parts(*parts, |e, part| {
                    let Val::Tensor(part) = part else { return None };
                    e.real(place, BinaryOp::Div, &part, &square).map(Val::Tensor)
                })
            }
            (op, a, b) => {
                let message = format!("`{}` is not for complex values", op.text());
                let diag = Diag::error("E0202", place.span, message);
                self.fail(diag.label(format!("{} and {}", a.words(), b.words())))
            }
        }
    }

    /// `(a + ib)(c + id)`.
    fn complex_product(
        &mut self,
        place: Operation,
        op: BinaryOp,
        [a, b]: Parts,
        [c, d]: Parts,
    ) -> Option<Val> {
        let [ac, bd] = [self.real(place, op, &a, &c)?, self.real(place, op, &b, &d)?];
        let [ad, bc] = [self.real(place, op, &a, &d)?, self.real(place, op, &b, &c)?];
        let re = self.real(place, BinaryOp::Sub, &ac, &bd)?;
        let im = self.real(place, BinaryOp::Add, &ad, &bc)?;
        Some(complex(re, im))
    }

    /// Arithmetic of parts.
    fn real(&mut self, place: Operation, op: BinaryOp, x: &Tensor, y: &Tensor) -> Option<Tensor> {
        let place = Operation { op, ..place };
        match self.algebra(place, Val::Tensor(x.clone()), Val::Tensor(y.clone()))? {
            Val::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// A value that is no complex one, as a tensor.
    fn as_real(&mut self, place: Operation, value: Val) -> Option<Tensor> {
        let words = value.words();
        let tensor = self.as_tensor(value);
        if tensor.is_none() {
            let message = format!("`{}` does not work here", place.op.text());
            self.diags.push(Diag::error("E0202", place.span, message).label(words));
        }
        tensor
    }

    /// A value as a complex one.
    fn parts(&mut self, place: Operation, value: Val) -> Option<Parts> {
        if let Val::Complex(parts) = value {
            return Some(*parts);
        }
        let re = self.as_real(place, value)?;
        let im = Tensor { value: self.b.scale(re.value, 0.0), ..re.clone() };
        Some([re, im])
    }
}
