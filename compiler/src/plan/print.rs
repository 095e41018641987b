//! A plan as text, in which buffers have their names.

use std::fmt::{self, Display, Formatter};

use super::index::{Atom, Ix};
use super::{
    Buffer, BufferId, Condition, Dim, Element, Expr, Kernel, Place, Role, Schedule, Step, Target,
    Tile, TileId,
};

impl Display for Ix {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut parts: Vec<String> = self
            .terms
            .iter()
            .map(|(atom, c)| {
                let atom = match atom {
                    Atom::Axis(axis) => format!("i{axis}"),
                    Atom::Div(x, by) => format!("({x})/{by}"),
                    Atom::Mod(x, by) => format!("({x})%{by}"),
                    Atom::Entry(x, list) => format!("{list:?}[{x}]"),
                };
                if *c == 1 { atom } else { format!("{c}*{atom}") }
            })
            .collect();
        if self.constant != 0 || parts.is_empty() {
            parts.push(self.constant.to_string());
        }
        write!(f, "{}", parts.join("+"))
    }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Tile {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let place = match self.place {
            Some(Place::Shared(at)) => format!("shared {at}"),
            Some(Place::Working(at)) => format!("working {at}"),
            None => "unused".to_string(),
        };
        let lasting = if self.lasting { ", lasting" } else { "" };
        write!(
            f,
            "{:?} {:?} {place}, {} bytes{lasting}: {}",
            self.number, self.shape, self.bytes, self.name
        )
    }
}

/// A part of a schedule as text.
#[derive(Clone, Copy)]
pub struct Shown<'a, T> {
    of: &'a Schedule,
    part: &'a T,
}

impl Schedule {
    /// A part of the schedule as text.
    pub fn shown<'a, T>(&'a self, part: &'a T) -> Shown<'a, T> {
        Shown { of: self, part }
    }
}

impl<'a, T> Shown<'a, T> {
    fn with<U>(&self, part: &'a U) -> Shown<'a, U> {
        Shown { of: self.of, part }
    }

    fn name(&self, id: BufferId) -> &'a str {
        &self.of.buffer(id).name
    }
}

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Dim::Rows => write!(f, "rows"),
            Dim::Chunks { every } => write!(f, "chunks of {every}"),
            Dim::Sequences => write!(f, "sequences"),
            Dim::Heads => write!(f, "heads"),
            Dim::OwnHeads => write!(f, "own heads"),
            Dim::Parts(n) => write!(f, "{n} parts"),
            Dim::Jobs { kernel } => write!(f, "jobs of kernel {kernel}"),
            Dim::Number(n) => write!(f, "{n}"),
        }
    }
}

impl Display for Buffer {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let role = match self.role {
            Role::Argument => "argument",
            Role::Result => "result",
            Role::Saved => "saved",
            Role::Temporary => "temporary",
        };
        write!(f, "{} {role} [{}] {:?}", self.name, list(&self.dims), self.number)?;
        if self.partial > 0 {
            write!(f, ", added up over {}", list(&self.dims[..self.partial]))?;
        }
        write!(f, "{}", if self.may_be_absent { ", may be absent" } else { "" })?;
        write!(f, "{}", if self.starts_at_zero { ", starts at zero" } else { "" })
    }
}

impl Display for Shown<'_, Element> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}[", self.name(self.part.buffer))?;
        if let Some(token) = &self.part.row {
            let end = if self.part.index.is_empty() { "" } else { "; " };
            write!(f, "{} of row {}{end}", token.at, token.row)?;
        }
        write!(f, "{}]", list(&self.part.index))
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Condition::Less(a, b) => write!(f, "{a} < {b}"),
            Condition::Equal(a, b) => write!(f, "{a} == {b}"),
            Condition::FirstPart => write!(f, "first part"),
        }
    }
}

impl Display for Shown<'_, Expr> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let pair = |of: &'_ [Expr; 2], [before, between, after]: [&str; 3]| {
            let [a, b] = [self.of.shown(&of[0]), self.of.shown(&of[1])];
            format!("{before}{a}{between}{b}{after}")
        };
        let text = match self.part {
            Expr::Number(x) => x.value().to_string(),
            Expr::Tile(TileId(tile), index) => format!("tile{tile}[{}]", list(index)),
            Expr::Buffer(element) => self.with(element).to_string(),
            Expr::Position(at, [row, key]) if at.binds(0) => {
                format!("({at} of row {row} and key {key})")
            }
            Expr::Position(at, [row, _]) => format!("({at} of row {row})"),
            Expr::Allowed([row, key]) => format!("allowed[{row}, {key}]"),
            Expr::Head => "head".into(),
            Expr::Valid(row) => format!("valid[{row}]"),
            Expr::Sum => "sum".into(),
            Expr::Unary(op, x) => format!("{}({})", op.name(), self.with(&**x)),
            Expr::Binary(op, of) => pair(of, [&format!("{}(", op.name()), ", ", ")"]),
            Expr::Mul(of) => pair(of, ["(", " * ", ")"]),
            Expr::Weight(of) => pair(of, ["exp(", " - ", ")"]),
            Expr::Select(of) => {
                let [c, a, b] = [&of[0], &of[1], &of[2]].map(|x| self.with(x));
                format!("({c} ? {a} : {b})")
            }
            Expr::Where(condition, of) => pair(of, [&format!("({condition} ? "), " : ", ")"]),
            Expr::Given(id, of) => pair(of, [&format!("(given {} ? ", self.name(*id)), " : ", ")"]),
        };
        f.write_str(&text)
    }
}

impl Display for Shown<'_, Target> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.part {
            Target::Tile(TileId(tile), index) => write!(f, "tile{tile}[{}]", list(index)),
            Target::Buffer(element) => write!(f, "{}", self.with(element)),
        }
    }
}

impl Display for Shown<'_, Step> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let becomes = |add: &bool| if *add { "+=" } else { "=" };
        match self.part {
            Step::Map { sizes, value, to, add } => {
                let (value, to) = (self.with(value), self.with(to));
                write!(f, "map {sizes:?}: {to} {} {value}", becomes(add))
            }
            Step::Reduce { sizes, over, reduction, value, to } => {
                let (value, to) = (self.with(value), self.with(to));
                write!(f, "reduce {sizes:?} over {over:?}: {to} = {reduction:?} {value}")
            }
            Step::Product { sizes, terms, value, to, add, .. } => {
                let (value, to) = (self.with(value), self.with(to));
                let operand = |o: &super::Operand| {
                    format!("tile{}{}", o.tile.0, if o.transposed { "ᵀ" } else { "" })
                };
                let terms: Vec<String> = terms
                    .iter()
                    .map(|(a, b, n)| format!("{} {} over {n}", operand(a), operand(b)))
                    .collect();
                write!(
                    f,
                    "product {sizes:?} sum = {}: {to} {} {value}",
                    terms.join(" + "),
                    becomes(add)
                )
            }
            Step::Chain { chain, sizes, from, to, .. } => {
                let from: Vec<String> = from.iter().map(|t| format!("tile{}", t.0)).collect();
                write!(f, "chain {sizes:?}: tile{} = {chain:?} {}", to.0, from.join(" "))
            }
            Step::Solve { a, x, transposed } => {
                write!(f, "solve tile{}{}: tile{}", a.0, if *transposed { "ᵀ" } else { "" }, x.0)
            }
            Step::LinearSolve { a, x } => write!(f, "linear solve tile{}: tile{}", a.0, x.0),
            Step::Barrier => write!(f, "barrier"),
        }
    }
}

impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "schedule {}", self.name)?;
        self.buffers.iter().try_for_each(|buffer| writeln!(f, "  {buffer}"))?;
        self.kernels.iter().try_for_each(|kernel| write!(f, "{}", self.shown(kernel)))
    }
}

impl Display for Shown<'_, Kernel> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let kernel = self.part;
        writeln!(
            f,
            "kernel {}: {} threads, chunks of {}, {} parts, {} bytes shared, {} bytes working",
            kernel.name, kernel.threads, kernel.chunk, kernel.parts, kernel.shared, kernel.working
        )?;
        for (at, tile) in kernel.tiles.iter().enumerate() {
            writeln!(f, "  tile{at}: {tile}")?;
        }
        for section in &kernel.sections {
            writeln!(f, "{}:", if section.each { "each" } else { "once" })?;
            for step in &section.steps {
                writeln!(f, "  {}", self.with(step))?;
            }
        }
        Ok(())
    }
}
