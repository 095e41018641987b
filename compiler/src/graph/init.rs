//! How fresh parameters are drawn: the `init` expressions of mixers.

use lrc_dsl::Diag;
use lrc_dsl::ast::{BinaryOp, Expr, ExprKind};

use crate::elaborate::signature::Numbers;

/// A recipe for one entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// The same everywhere.
    Number(f64),
    /// Uniform between two numbers.
    Uniform(f64, f64),
    /// Normal with mean and standard deviation.
    Normal(f64, f64),
    /// From the first to the second number, evenly along the last axis.
    Range(f64, f64),
    /// A function of another recipe.
    Apply(Function, Box<Init>),
    /// Two recipes and an operator.
    Binary(BinaryOp, Box<Init>, Box<Init>),
}

/// Functions in `init`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `-x`
    Negate,
    /// `log(x)`
    Log,
    /// `exp(x)`
    Exp,
    /// `sqrt(x)`
    Sqrt,
    /// `log(e^x - 1)`
    InverseSoftplus,
}

impl Init {
    /// Reads an `init` expression.
    pub fn parse(expr: &Expr, numbers: &Numbers) -> Result<Init, Box<Diag>> {
        if let Ok(x) = numbers.number(expr) {
            if !x.is_finite() {
                let message = format!("{x} cannot be an initial value");
                return Err(Box::new(Diag::error("E0208", expr.span, message)));
            }
            return Ok(Init::Number(x));
        }
        let unknown = || {
            Box::new(
                Diag::error("E0208", expr.span, "this cannot be an initial value").help(
                    "use numbers, `uniform(a, b)`, `normal(m, s)`, `range(a, b)`, `log`, `exp`, `sqrt`, `inverse_softplus`",
                ),
            )
        };
        match &expr.kind {
            ExprKind::Negate(inner) => {
                Ok(Init::Apply(Function::Negate, Box::new(Init::parse(inner, numbers)?)))
            }
            ExprKind::Binary(op, a, b) if !op.compares() => Ok(Init::Binary(
                *op,
                Box::new(Init::parse(a, numbers)?),
                Box::new(Init::parse(b, numbers)?),
            )),
            ExprKind::Call(name, args) => {
                let takes = match name.text.as_str() {
                    "uniform" | "normal" | "range" => 2,
                    _ => 1,
                };
                if args.len() != takes || args.iter().any(|a| a.name.is_some() || a.over.is_some())
                {
                    return Err(unknown());
                }
                let number = |i: usize| -> Result<f64, Box<Diag>> {
                    numbers.number(&args.get(i).ok_or_else(unknown)?.value)
                };
                let apply = |function| -> Result<Init, Box<Diag>> {
                    let inner = &args.first().ok_or_else(unknown)?.value;
                    Ok(Init::Apply(function, Box::new(Init::parse(inner, numbers)?)))
                };
                match name.text.as_str() {
                    "uniform" => Ok(Init::Uniform(number(0)?, number(1)?)),
                    "normal" => Ok(Init::Normal(number(0)?, number(1)?)),
                    "range" => Ok(Init::Range(number(0)?, number(1)?)),
                    "log" => apply(Function::Log),
                    "exp" => apply(Function::Exp),
                    "sqrt" => apply(Function::Sqrt),
                    "inverse_softplus" => apply(Function::InverseSoftplus),
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }

    /// One entry: `at` of `width` along the last axis; `uniform` gives numbers in (0, 1).
    pub fn draw(&self, at: usize, width: usize, uniform: &mut dyn FnMut() -> f64) -> f64 {
        match self {
            Init::Number(x) => *x,
            Init::Uniform(a, b) => a + (b - a) * uniform(),
            Init::Normal(mean, deviation) => {
                // Box and Muller.
                let radius = (-2.0 * uniform().ln()).sqrt();
                mean + deviation * radius * (std::f64::consts::TAU * uniform()).cos()
            }
            Init::Range(a, b) => a + (b - a) * at as f64 / (width.saturating_sub(1)).max(1) as f64,
            Init::Apply(function, inner) => {
                let x = inner.draw(at, width, uniform);
                match function {
                    Function::Negate => -x,
                    Function::Log => x.ln(),
                    Function::Exp => x.exp(),
                    Function::Sqrt => x.sqrt(),
                    // Exact for large x too, where e^x would overflow.
                    Function::InverseSoftplus => x + (-(-x).exp()).ln_1p(),
                }
            }
            Init::Binary(op, a, b) => {
                let (a, b) = (a.draw(at, width, uniform), b.draw(at, width, uniform));
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Div => a / b,
                    BinaryOp::Pow => a.powf(b),
                    _ => a * b,
                }
            }
        }
    }
}
