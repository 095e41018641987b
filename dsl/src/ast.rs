//! The syntax tree of an `.arch` file: what was written, nothing decided yet.

use crate::span::Span;

/// A name and where it stands.
#[derive(Clone, Debug)]
pub struct Name {
    /// The characters.
    pub text: String,
    /// Their place.
    pub span: Span,
}

/// One parsed file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// `lrc 1`: the version of the language that it is written in, where it says so.
    pub version: Option<u32>,
    /// `use "path"` lines: the path and where it stands.
    pub uses: Vec<Name>,
    /// Declarations in the order of the file.
    pub decls: Vec<Decl>,
}

impl File {
    /// A file of nothing but declarations.
    pub fn of(decls: Vec<Decl>) -> File {
        File { decls, ..File::default() }
    }
}

/// What a declaration declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The mathematics of one head and one token.
    Recurrence,
    /// The layer around a recurrence.
    Mixer,
    /// A layout of sub-layers.
    Model,
}

impl Kind {
    /// The keyword.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Recurrence => "recurrence",
            Kind::Mixer => "mixer",
            Kind::Model => "model",
        }
    }
}

/// `recurrence name(setting = default, …) { items }`, or a mixer or model.
#[derive(Clone, Debug)]
pub struct Decl {
    /// `///` lines above it, without the slashes.
    pub docs: Vec<String>,
    /// Recurrence, mixer or model.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Parameters with their defaults: what `--set` and call sites override.
    pub settings: Vec<(Name, Expr)>,
    /// Everything between the braces.
    pub items: Vec<Item>,
    /// From the keyword to the closing brace.
    pub span: Span,
}

/// The role of a declared name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One value per token and head (in a mixer: a second input).
    In,
    /// One value per head, the same for all tokens (in a mixer: a learned tensor).
    Param,
    /// Carried from token to token.
    State,
}

impl Role {
    /// The keyword.
    pub fn word(self) -> &'static str {
        match self {
            Role::In => "in",
            Role::Param => "param",
            Role::State => "state",
        }
    }
}

/// A declared shape: the axes, none for `scalar`.
#[derive(Clone, Debug)]
pub struct Shape {
    /// One size per axis.
    pub axes: Vec<Expr>,
    /// Its place.
    pub span: Span,
}

/// A promise or property written after a shape.
#[derive(Clone, Debug)]
pub enum Attr {
    /// `in (low, high]`: values stay inside; the flags say whether an end is included.
    Interval {
        /// Lower end.
        low: Expr,
        /// Whether the lower end is included.
        low_closed: bool,
        /// Upper end.
        high: Expr,
        /// Whether the upper end is included.
        high_closed: bool,
    },
    /// `unit`: vectors of length 1.
    Unit,
    /// `complex`: complex entries.
    Complex,
    /// `init expr`: the value before the first token, or of a fresh parameter.
    Init(Expr),
    /// `f32`: kept in 32 bits whatever the precision of the rest.
    F32,
    /// `no decay`: exempt from weight decay.
    NoDecay,
}

/// The left side of an equation.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name that gets the value.
    pub name: Name,
    /// Whether `[t]` was written: a state.
    pub now: bool,
}

/// One item of a declaration.
#[derive(Clone, Debug)]
pub enum Item {
    /// `in q, k : [dk] unit`.
    Declare {
        /// Input, parameter or state.
        role: Role,
        /// Names; the second part is a count such as `[n_h]`: so many per token.
        names: Vec<(Name, Option<Expr>)>,
        /// Their common shape.
        shape: Shape,
        /// Promises and properties.
        attrs: Vec<(Attr, Span)>,
        /// The whole line.
        span: Span,
    },
    /// `[out] a, b : [shape] = value`.
    Equation {
        /// Whether `out` was written.
        out: bool,
        /// One name, or several that take the rows of the value.
        targets: Vec<Target>,
        /// The annotated shape.
        shape: Option<Shape>,
        /// The right side.
        value: Expr,
        /// The whole line.
        span: Span,
    },
    /// `name(args) = body`.
    Function {
        /// Its name.
        name: Name,
        /// Names of its arguments.
        args: Vec<Name>,
        /// What it stands for.
        body: Expr,
        /// The whole line.
        span: Span,
    },
    /// `for range { items }`.
    Repeat {
        /// The range, such as `j < n`.
        range: Range,
        /// What is repeated.
        items: Vec<Item>,
        /// The whole block.
        span: Span,
    },
    /// `loss expr`: an auxiliary loss of a mixer.
    Loss(Expr),
    /// `vocab expr` of a model.
    Vocab(Expr),
    /// `embed e`: what becomes of a row of the embedding, `x`, before the first sub-layer.
    Embed(Expr),
    /// `residual expr` of a model, over `x` and `f`.
    Residual(Expr),
    /// `head expr, tied|untied, cap expr` of a model.
    Head {
        /// The final normalisation, over `x`.
        value: Expr,
        /// `tied` or `untied`.
        tied: Name,
        /// Between which logits lie: the soft cap.
        cap: Option<Expr>,
    },
    /// `shared name { items }`: one set of parameters, callable many times.
    Shared {
        /// Its name.
        name: Name,
        /// The sub-layers.
        items: Vec<Item>,
        /// The whole block.
        span: Span,
    },
    /// `spread n { p% call … }`.
    Spread {
        /// How many sub-layers.
        count: Expr,
        /// Percentages and calls.
        portions: Vec<(Expr, Expr)>,
        /// The whole block.
        span: Span,
    },
    /// An expression by itself: a sub-layer of a model.
    Statement(Expr),
}

/// A chain of comparisons such as `s <= u <= t` or `j < n`.
#[derive(Clone, Debug)]
pub struct Range {
    /// The compared terms, one more than the operators.
    pub terms: Vec<Expr>,
    /// `<` or `<=` between neighbours.
    pub ops: Vec<BinaryOp>,
    /// Its place.
    pub span: Span,
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `1e-6`.
    Number(f64),
    /// `true`, `false`.
    Truth(bool),
    /// `beta`.
    Name(String),
    /// `x[i]`: a token or an entry.
    Index(Box<Expr>, Box<Expr>),
    /// `x^T`.
    Transpose(Box<Expr>),
    /// `first.v`.
    Field(Box<Expr>, Name),
    /// `f(a, b for u <= t, name = c)`.
    Call(Name, Vec<Arg>),
    /// `-x`.
    Negate(Box<Expr>),
    /// `a * b` and the like.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `if c then a else b`.
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `|x|`.
    Length(Box<Expr>),
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Arg {
    /// Set for `name = value`.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
    /// Set for `value for range`.
    pub over: Option<Range>,
}

/// Operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `<=`
    Le,
    /// `>=`
    Ge,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `>`
    Gt,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `.*`, entry by entry
    Each,
    /// `*`, scaling or contraction
    Mul,
    /// `/`
    Div,
    /// `mod`
    Mod,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// How the operator is written.
    pub fn text(self) -> &'static str {
        use BinaryOp::*;
        match self {
            Or => "or",
            And => "and",
            Le => "<=",
            Ge => ">=",
            Eq => "==",
            Ne => "!=",
            Lt => "<",
            Gt => ">",
            Add => "+",
            Sub => "-",
            Each => ".*",
            Mul => "*",
            Div => "/",
            Mod => "mod",
            Pow => "^",
        }
    }

    /// Binding strength; a larger number binds tighter.
    pub fn strength(self) -> u8 {
        use BinaryOp::*;
        match self {
            Or => 1,
            And => 2,
            Le | Ge | Eq | Ne | Lt | Gt => 3,
            Add | Sub => 4,
            Each | Mul | Div | Mod => 5,
            Pow => 7,
        }
    }

    /// Whether it compares.
    pub fn compares(self) -> bool {
        self.strength() == 3
    }
}

/// Binding strength of the unary minus: looser than `^`, tighter than `*`.
pub const NEGATE_STRENGTH: u8 = 6;

impl Expr {
    /// The name, if the expression is one.
    pub fn as_name(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Name(text) => Some(text),
            _ => None,
        }
    }
}
