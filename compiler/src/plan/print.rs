//! A plan as text.

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

impl Display for BufferId {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "buffer{}", self.0)
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

impl Display for Element {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}[", self.buffer)?;
        if let Some(token) = &self.row {
            write!(f, "{} of row {}; ", token.at, token.row)?;
        }
        write!(f, "{}]", list(&self.index))
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

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Expr::Number(x) => write!(f, "{}", x.value()),
            Expr::Tile(TileId(tile), index) => write!(f, "tile{tile}[{}]", list(index)),
            Expr::Buffer(element) => write!(f, "{element}"),
            Expr::Position(at, [row, key]) if at.binds(0) => {
                write!(f, "({at} of row {row} and key {key})")
            }
            Expr::Position(at, [row, _]) => write!(f, "({at} of row {row})"),
            Expr::Allowed([row, key]) => write!(f, "allowed[{row}, {key}]"),
            Expr::Head => write!(f, "head"),
            Expr::Valid(row) => write!(f, "valid[{row}]"),
            Expr::Sum => write!(f, "sum"),
            Expr::Unary(op, x) => write!(f, "{}({x})", op.name()),
            Expr::Binary(op, of) => write!(f, "{}({}, {})", op.name(), of[0], of[1]),
            Expr::Mul(of) => write!(f, "({} * {})", of[0], of[1]),
            Expr::Weight(of) => write!(f, "exp({} - {})", of[0], of[1]),
            Expr::Select(of) => write!(f, "({} ? {} : {})", of[0], of[1], of[2]),
            Expr::Where(condition, of) => write!(f, "({condition} ? {} : {})", of[0], of[1]),
            Expr::Given(buffer, of) => write!(f, "(given {buffer} ? {} : {})", of[0], of[1]),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Target::Tile(TileId(tile), index) => write!(f, "tile{tile}[{}]", list(index)),
            Target::Buffer(element) => write!(f, "{element}"),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let becomes = |add: &bool| if *add { "+=" } else { "=" };
        match self {
            Step::Map { sizes, value, to, add } => {
                write!(f, "map {sizes:?}: {to} {} {value}", becomes(add))
            }
            Step::Reduce { sizes, over, reduction, value, to } => {
                write!(f, "reduce {sizes:?} over {over:?}: {to} = {reduction:?} {value}")
            }
            Step::Product { sizes, terms, value, to, add, .. } => {
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
        for (at, buffer) in self.buffers.iter().enumerate() {
            writeln!(f, "  buffer{at}: {buffer}")?;
        }
        self.kernels.iter().try_for_each(|kernel| write!(f, "{kernel}"))
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(
            f,
            "kernel {}: {} threads, chunks of {}, {} parts, {} bytes shared, {} bytes working",
            self.name, self.threads, self.chunk, self.parts, self.shared, self.working
        )?;
        for (at, tile) in self.tiles.iter().enumerate() {
            writeln!(f, "  tile{at}: {tile}")?;
        }
        for section in &self.sections {
            writeln!(f, "{}:", if section.each { "each" } else { "once" })?;
            for step in &section.steps {
                writeln!(f, "  {step}")?;
            }
        }
        Ok(())
    }
}
