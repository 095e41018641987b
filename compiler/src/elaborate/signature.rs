//! The declared names of a recurrence: roles, shapes, promises; and how sizes are bound.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Attr, BinaryOp, Decl, Expr, ExprKind, Item, Role, Shape};
use lrc_dsl::{Diag, Span, print};

use super::value::Setting;

/// One declared name.
#[derive(Clone, Debug)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Input, parameter or state.
    pub role: Role,
    /// How many per token (`in k[n_h]`), if declared.
    pub count: Option<Expr>,
    /// Its axes.
    pub shape: Shape,
    /// `in (low, high]`.
    pub interval: Option<(f64, f64)>,
    /// Vectors of length 1.
    pub unit: bool,
    /// Complex entries.
    pub complex: bool,
    /// The declared initial value.
    pub init: Option<Expr>,
}

/// The declared names of one recurrence and its settings.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Inputs, parameters and states in the order of the declaration.
    pub variables: Vec<Variable>,
    /// Settings with defaults, in order.
    pub settings: Vec<(String, Expr)>,
    /// Names used as sizes that nothing else declares, in order of appearance.
    pub sizes: Vec<String>,
}

/// Numbers that expressions of sizes and settings may use.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Sizes and settings by name.
    pub known: BTreeMap<String, Setting>,
}

impl Signature {
    /// Reads the declarations of a recurrence.
    pub fn of(decl: &Decl, diags: &mut Vec<Diag>) -> Signature {
        let settings: Vec<(String, Expr)> =
            decl.settings.iter().map(|(name, value)| (name.text.clone(), value.clone())).collect();
        let mut signature = Signature { variables: Vec::new(), settings, sizes: Vec::new() };
        for item in &decl.items {
            if let Item::Declare { role, names, shape, attrs, .. } = item {
                for (name, count) in names {
                    let mut variable = Variable {
                        name: name.text.clone(),
                        span: name.span,
                        role: *role,
                        count: count.clone(),
                        shape: shape.clone(),
                        interval: None,
                        unit: false,
                        complex: false,
                        init: None,
                    };
                    for (attr, span) in attrs {
                        variable.apply(attr, *span, diags);
                    }
                    signature.declare(variable, diags);
                }
            }
        }
        signature.find_sizes();
        signature
    }

    fn declare(&mut self, variable: Variable, diags: &mut Vec<Diag>) {
        if let Some(first) = self.variables.iter().find(|v| v.name == variable.name) {
            let message = format!("`{}` is declared twice", variable.name);
            diags.push(
                Diag::error("E0105", variable.span, message)
                    .label("declared again")
                    .other(first.span, "first declared here"),
            );
            return;
        }
        self.variables.push(variable);
    }

    fn find_sizes(&mut self) {
        let mut found = Vec::new();
        for variable in &self.variables {
            for axis in &variable.shape.axes {
                names_in(axis, &mut found);
            }
        }
        for name in found {
            let taken = self.settings.iter().any(|(setting, _)| *setting == name)
                || ["head", "heads", "layer", "layers", "width"].contains(&name.as_str());
            if !taken && !self.sizes.contains(&name) {
                self.sizes.push(name);
            }
        }
    }

    /// A variable by name.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|v| v.name == name)
    }
}

impl Variable {
    fn apply(&mut self, attr: &Attr, span: Span, diags: &mut Vec<Diag>) {
        match attr {
            Attr::Interval { low, high, .. } => {
                let ends = (constant(low), constant(high));
                match ends {
                    (Some(low), Some(high)) if low < high => self.interval = Some((low, high)),
                    _ => diags.push(
                        Diag::error(
                            "E0208",
                            span,
                            "an interval needs two numbers, the smaller first",
                        )
                        .help("for example `in (0, 1)` or `in (-inf, 0]`"),
                    ),
                }
            }
            Attr::Unit => self.unit = true,
            Attr::Complex => self.complex = true,
            Attr::Init(value) => self.init = Some(value.clone()),
            Attr::F32 | Attr::NoDecay => {
                let word = if matches!(attr, Attr::F32) { "f32" } else { "no decay" };
                diags.push(
                    Diag::error(
                        "E0212",
                        span,
                        format!("`{word}` belongs to a parameter of a mixer"),
                    )
                    .help("a recurrence's own parameters are passed by the mixer"),
                );
            }
        }
    }
}

fn names_in(expr: &Expr, out: &mut Vec<String>) {
    match &expr.kind {
        ExprKind::Name(name) if name != "inf" => out.push(name.clone()),
        ExprKind::Binary(_, a, b) => {
            names_in(a, out);
            names_in(b, out);
        }
        ExprKind::Negate(a) => names_in(a, out),
        _ => {}
    }
}

/// A number written out, `inf` included.
fn constant(expr: &Expr) -> Option<f64> {
    Numbers::default().number(expr).ok()
}

impl Numbers {
    /// The value of an expression over numbers; the error names the offending part.
    pub fn eval(&self, expr: &Expr) -> Result<Setting, Box<Diag>> {
        let number = |x: f64| Ok(Setting::Number(x));
        match &expr.kind {
            ExprKind::Number(x) => number(*x),
            ExprKind::Truth(x) => Ok(Setting::Truth(*x)),
            ExprKind::Name(name) if name == "inf" => number(f64::INFINITY),
            ExprKind::Name(name) => self.known.get(name).copied().ok_or_else(|| {
                let message = format!("`{name}` is not a number known before the run");
                Box::new(Diag::error("E0208", expr.span, message).help_nearest(
                    name,
                    "known here",
                    self.known.keys().map(String::as_str),
                ))
            }),
            ExprKind::Negate(inner) => number(-self.number(inner)?),
            ExprKind::Length(inner) => number(self.number(inner)?.abs()),
            ExprKind::Choice(c, a, b) => {
                if self.truth(c)? {
                    self.eval(a)
                } else {
                    self.eval(b)
                }
            }
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b),
            ExprKind::Call(name, args) => {
                if let Some(arg) = args.iter().find(|a| a.name.is_some() || a.over.is_some()) {
                    let message = format!("`{}` takes numbers only here", name.text);
                    return Err(Box::new(Diag::error("E0205", arg.value.span, message)));
                }
                let given: Result<Vec<f64>, _> =
                    args.iter().map(|arg| self.number(&arg.value)).collect();
                numeric_call(&name.text, &given?).map(Setting::Number).ok_or_else(|| {
                    let message = format!("`{}` cannot be computed before the run", name.text);
                    Box::new(Diag::error("E0208", expr.span, message))
                })
            }
            _ => Err(Box::new(
                Diag::error("E0208", expr.span, "this is not known before the run")
                    .label("a number is needed here"),
            )),
        }
    }

    fn binary(&self, op: BinaryOp, a: &Expr, b: &Expr) -> Result<Setting, Box<Diag>> {
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            let (a, b) = (self.truth(a)?, self.truth(b)?);
            return Ok(Setting::Truth(if op == BinaryOp::And { a && b } else { a || b }));
        }
        let (a, b) = match (self.eval(a)?, self.eval(b)?) {
            (Setting::Number(a), Setting::Number(b)) => (a, b),
            (Setting::Truth(a), Setting::Truth(b)) if op == BinaryOp::Eq => {
                return Ok(Setting::Truth(a == b));
            }
            _ => {
                let message = format!("`{}` is for numbers", op.text());
                return Err(Box::new(Diag::error("E0208", a.span.to(b.span), message)));
            }
        };
        Ok(arithmetic(op, a, b))
    }

    /// A number.
    pub fn number(&self, expr: &Expr) -> Result<f64, Box<Diag>> {
        match self.eval(expr)? {
            Setting::Number(x) => Ok(x),
            Setting::Truth(_) => Err(Box::new(
                Diag::error("E0208", expr.span, "a number is needed here").label("true or false"),
            )),
        }
    }

    /// A condition.
    pub fn truth(&self, expr: &Expr) -> Result<bool, Box<Diag>> {
        match self.eval(expr)? {
            Setting::Truth(x) => Ok(x),
            Setting::Number(_) => Err(Box::new(
                Diag::error("E0208", expr.span, "a condition is needed here")
                    .label("a number")
                    .help("compare it, as in `n > 0`"),
            )),
        }
    }

    /// A size: a positive whole number of at most [`LARGEST_SIZE`].
    pub fn size(&self, expr: &Expr) -> Result<usize, Box<Diag>> {
        sized(&print::expr(expr), self.number(expr)?, expr.span)
    }
}

/// The largest size of an axis.
pub const LARGEST_SIZE: usize = 1_000_000_000;

/// The most numbers of a tensor: sums over all tensors of a model stay far from overflowing.
pub const LARGEST_TENSOR: usize = 1 << 44;

/// A number as a size; `text` is how it was written.
pub fn sized(text: &str, x: f64, span: Span) -> Result<usize, Box<Diag>> {
    if x >= 1.0 && x.fract() == 0.0 && x <= LARGEST_SIZE as f64 {
        return Ok(x as usize);
    }
    let message = if x > LARGEST_SIZE as f64 {
        format!("the size `{text}` is {x:e}; the largest size is {LARGEST_SIZE}")
    } else {
        format!("the size `{text}` is {x}, not a positive whole number")
    };
    Err(Box::new(Diag::error("E0213", span, message)))
}

/// The numbers of a tensor of this shape; `what` names it in the error where there are too many.
pub fn numbers_in(shape: &[usize], what: &str, span: Span) -> Result<usize, Box<Diag>> {
    let count = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
    count.filter(|count| *count <= LARGEST_TENSOR).ok_or_else(|| {
        let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let message = format!(
            "{what} of shape [{}] is too large: a tensor holds at most {LARGEST_TENSOR} numbers",
            axes.join(", ")
        );
        Box::new(Diag::error("E0213", span, message))
    })
}

/// `a op b` for numbers.
pub fn arithmetic(op: BinaryOp, a: f64, b: f64) -> Setting {
    match op {
        BinaryOp::Le => Setting::Truth(a <= b),
        BinaryOp::Ge => Setting::Truth(a >= b),
        BinaryOp::Eq => Setting::Truth(a == b),
        BinaryOp::Ne => Setting::Truth(a != b),
        BinaryOp::Lt => Setting::Truth(a < b),
        BinaryOp::Gt => Setting::Truth(a > b),
        BinaryOp::Add => Setting::Number(a + b),
        BinaryOp::Sub => Setting::Number(a - b),
        BinaryOp::Each | BinaryOp::Mul => Setting::Number(a * b),
        BinaryOp::Div => Setting::Number(a / b),
        BinaryOp::Mod => Setting::Number(a.rem_euclid(b)),
        BinaryOp::Pow => Setting::Number(a.powf(b)),
        BinaryOp::And => Setting::Truth(a != 0.0 && b != 0.0),
        BinaryOp::Or => Setting::Truth(a != 0.0 || b != 0.0),
    }
}

/// Functions of numbers.
pub fn numeric_call(name: &str, args: &[f64]) -> Option<f64> {
    Some(match (name, args) {
        ("sqrt", [x]) => x.sqrt(),
        ("exp", [x]) => x.exp(),
        ("log", [x]) => x.ln(),
        ("abs", [x]) => x.abs(),
        ("sigmoid", [x]) => 1.0 / (1.0 + (-x).exp()),
        ("max", xs) if !xs.is_empty() => xs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ("min", xs) if !xs.is_empty() => xs.iter().copied().fold(f64::INFINITY, f64::min),
        _ => return None,
    })
}
