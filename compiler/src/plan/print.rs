//! A plan as text, in which buffers have their names.

use std::fmt::{self, Display, Formatter};

use super::cost::Cost;
use super::index::{Atom, Ix};
use super::{
    Buffer, BufferId, Condition, Dim, Element, Expr, Fragment, Kernel, Loop, Operand, Over, Role,
    Round, ScanSizes, Schedule, Side, Space, Step, Stmt, Swizzle, Target, Term, Tile, TileId,
    Token, Transport,
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
        let place = match (self.space, self.at) {
            (Space::Register(Fragment { warp, axes }), _) => {
                let turned = if axes == [0, 1] { "" } else { " turned" };
                format!("registers in {}x{}{turned}", warp.rows, warp.cols)
            }
            (Space::Shared(Swizzle::None), Some(at)) => format!("shared {at}"),
            (Space::Shared(Swizzle::Rows), Some(at)) => format!("shared {at} swizzled"),
            (Space::Workspace, Some(at)) => format!("workspace {at}"),
            (_, None) => "unused".to_string(),
        };
        let stages =
            if self.stages > 1 { format!(" {} times", self.stages) } else { String::new() };
        let place = format!("{place}{stages}");
        let carried = if self.carried { ", carried" } else { "" };
        write!(
            f,
            "{:?} {:?} {place}, {} bytes{carried}: {}",
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

    /// Of a buffer that is not there, which only a faulty schedule names, its number.
    fn name(&self, id: BufferId) -> String {
        let buffer = self.of.buffers.get(id.0);
        buffer.map_or_else(|| format!("buffer {}", id.0), |buffer| buffer.name.clone())
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

impl Display for Token {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} of row {}", self.at, self.row)
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Side::Queries => "queries",
            Side::Keys => "keys",
        })
    }
}

impl Display for Shown<'_, Element> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}[", self.name(self.part.buffer))?;
        if let Some(token) = &self.part.row {
            write!(f, "{token}{}", if self.part.index.is_empty() { "" } else { "; " })?;
        }
        write!(f, "{}]", list(&self.part.index))
    }
}

impl Display for Shown<'_, Condition> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.part {
            Condition::Less(a, b) => write!(f, "{a} < {b}"),
            Condition::Equal(a, b) => write!(f, "{a} == {b}"),
            Condition::FirstPart => write!(f, "first part"),
            Condition::Inside(side, row) => write!(f, "row {row} is among the {side}"),
            Condition::Reached(token) => write!(f, "{token} >= 0"),
            Condition::Given(buffer) => write!(f, "given {}", self.name(*buffer)),
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
            Expr::Allowed { rows: [row, key], .. } => format!("allowed[{row}, {key}]"),
            Expr::Head => "head".into(),
            Expr::Sum(0) => "sum".into(),
            Expr::Sum(n) => format!("sum{n}"),
            Expr::Unary(op, x) => format!("{}({})", op.name(), self.with(&**x)),
            Expr::Binary(op, of) => pair(of, [&format!("{}(", op.name()), ", ", ")"]),
            Expr::Mul(of) => pair(of, ["(", " * ", ")"]),
            Expr::Weight(of) => pair(of, ["exp(", " - ", ")"]),
            Expr::Select(of) => {
                let [c, a, b] = [&of[0], &of[1], &of[2]].map(|x| self.with(x));
                format!("({c} ? {a} : {b})")
            }
            Expr::Where(when, of) => pair(of, [&format!("({} ? ", self.with(when)), " : ", ")"]),
        };
        f.write_str(&text)
    }
}

impl Display for Shown<'_, Target> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.part {
            Target::Tile(TileId(tile), index) => write!(f, "tile{tile}[{}]", list(index)),
            Target::Buffer(element, when) => {
                write!(f, "{}", self.with(element))?;
                let when: Vec<String> =
                    when.iter().map(|when| self.with(when).to_string()).collect();
                if when.is_empty() { Ok(()) } else { write!(f, " where {}", list(&when)) }
            }
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "tile{}{}", self.tile.0, if self.transposed { "ᵀ" } else { "" })
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} {} over {}", self.left, self.right, self.length)?;
        write!(f, "{}", if self.sees.is_some() { ", kept apart" } else { "" })
    }
}

impl Display for Over {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Over::Chunks { tokens, reverse: false } => write!(f, "chunks of {tokens}"),
            Over::Chunks { tokens, .. } => write!(f, "chunks of {tokens}, from the last"),
            Over::Blocks { side, tokens } => write!(f, "blocks of {tokens} {side}"),
            Over::Groups { rows, halo: 0 } => write!(f, "groups of {rows} rows"),
            Over::Groups { rows, halo } => write!(f, "groups of {rows} rows and {halo} more"),
        }
    }
}

impl Shown<'_, Kernel> {
    /// Statements, each on lines of its own.
    fn body(&self, f: &mut Formatter, body: &[Stmt], depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        for stmt in body {
            match stmt {
                Stmt::Step(step) => writeln!(f, "{indent}{}", self.of.shown(step))?,
                Stmt::Given(buffer, body) => {
                    writeln!(f, "{indent}where {} is given:", self.name(*buffer))?;
                    self.body(f, body, depth + 1)?;
                }
                Stmt::Loop(Loop { over, body }) => {
                    writeln!(f, "{indent}for {over}:")?;
                    self.body(f, body, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// How many neighbours a thread makes together, and stores at once if those are more.
fn grouped(group: usize, exchanged: usize) -> String {
    let stored = match exchanged {
        1 => String::new(),
        pairs => format!(", stored by {}", pairs * group),
    };
    if group > 1 { format!(" in groups of {group}{stored}") } else { String::new() }
}

impl Shown<'_, Step> {
    /// An element where all conditions hold, else 0.
    fn or_zeros(&self, when: &[Condition], from: &Element) -> String {
        let from = self.with(from).to_string();
        let when: Vec<String> = when.iter().map(|when| self.with(when).to_string()).collect();
        if when.is_empty() { from } else { format!("({} ? {from} : 0)", list(&when)) }
    }

    fn product(&self, f: &mut Formatter) -> fmt::Result {
        let Step::Product { sizes, terms, warp, filled, group, exchanged, .. } = self.part else {
            return Ok(());
        };
        let filled = if *filled { ", filled" } else { "" };
        let filled = format!("{filled}{}", grouped(*group, *exchanged));
        write!(f, "product {sizes:?} in {}x{}{filled}:", warp.rows, warp.cols)?;
        for sum in 0..Term::sums(terms) {
            let own = terms.iter().filter(|term| term.sum == sum);
            let own: Vec<String> = own.map(ToString::to_string).collect();
            write!(f, " {} = {};", self.with(&Expr::Sum(sum)), own.join(" + "))?;
        }
        let adds = matches!(self.part, Step::Product { add: true, .. });
        for (n, (value, to)) in self.part.values().zip(self.part.targets()).enumerate() {
            let start = if n == 0 { "" } else { ";" };
            write!(
                f,
                "{start} {} {} {}",
                self.with(to),
                becomes(adds && n == 0),
                self.with(value)
            )?;
        }
        Ok(())
    }
}

/// How a result is written: added, or instead of what is there.
fn becomes(add: bool) -> &'static str {
    if add { "+=" } else { "=" }
}

impl Display for Shown<'_, Step> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.part {
            Step::Map { sizes, filled, value, to, rest, add, fragment, group, exchanged } => {
                let (value, to) = (self.with(value), beside(self.with(to), *rest));
                let filled =
                    if filled == sizes { String::new() } else { format!(" filled to {filled:?}") };
                let by = if fragment.is_some() { " by fragments" } else { "" };
                let by = format!("{by}{}", grouped(*group, *exchanged));
                write!(f, "map {sizes:?}{filled}{by}: {to} {} {value}", becomes(*add))
            }
            Step::Reduce { sizes, over, reduction, lanes, group, value, to } => {
                let (value, to) = (self.with(value), self.with(to));
                let by = if *lanes == 1 { "" } else { " by warps" };
                let by = format!("{by}{}", grouped(*group, 1));
                write!(f, "reduce {sizes:?} over {over:?}{by}: {to} = {reduction:?} {value}")
            }
            Step::Product { .. } => self.product(f),
            Step::Scan { op, sizes: ScanSizes { rows, steps, width }, from, to, .. } => {
                let from: Vec<String> = from.iter().map(|t| format!("tile{}", t.0)).collect();
                let sizes = format!("{rows} rows, {steps} steps, {width} wide");
                write!(f, "scan of {sizes}: tile{} = {op:?} {}", to.0, from.join(" "))
            }
            Step::Solve { a, x, transposed: false } => write!(f, "solve tile{}: tile{}", a.0, x.0),
            Step::Solve { a, x, .. } => write!(f, "solve tile{}ᵀ: tile{}", a.0, x.0),
            Step::Invert { a, x } => write!(f, "invert tile{}: tile{}", a.0, x.0),
            Step::LinearSolve { a, x } => write!(f, "linear solve tile{}: tile{}", a.0, x.0),
            Step::Copy { by, from, when, to, round, piece, first } => {
                let by = match by {
                    Transport::Plain => "plain",
                    Transport::Async => "async",
                    Transport::Bulk => "bulk",
                };
                let round = match round {
                    Round::First(at) => format!("of round {at}"),
                    Round::Ahead(at) => format!("of {at} ahead"),
                };
                let from = self.or_zeros(when, from);
                let threads =
                    if *first > 0 { format!(" from thread {first} on") } else { String::new() };
                write!(f, "copy {by} by {piece} bytes{threads}: tile{} = {from} {round}", to.0)
            }
            Step::Wait { tiles, pending } => {
                let tiles: Vec<String> = tiles.iter().map(|t| format!("tile{}", t.0)).collect();
                write!(f, "wait for {}, {pending} copies pending", tiles.join(" "))
            }
            Step::Barrier => write!(f, "barrier"),
        }
    }
}

/// A target, and the tile of what rounding leaves.
fn beside(to: impl Display, rest: Option<TileId>) -> String {
    rest.map_or_else(|| to.to_string(), |rest| format!("{to} and the rest tile{}", rest.0))
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
        let Kernel { name, threads, chunk, parts, shared, workspace, .. } = self.part;
        write!(f, "kernel {name}: {threads} threads, chunks of {chunk}, {parts} parts, ")?;
        writeln!(f, "{shared} bytes shared, {workspace} bytes workspace")?;
        let Cost { once, round, blocks } = self.part.cost;
        writeln!(f, "  once {once}; each round {round}; {blocks} blocks at a time")?;
        for (at, tile) in self.part.tiles.iter().enumerate() {
            writeln!(f, "  tile{at}: {tile}")?;
        }
        self.body(f, &self.part.body, 1)
    }
}
