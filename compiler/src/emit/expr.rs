//! Expressions, conditions and places of elements as C.

use crate::plan::index::{Atom, Ix};
use crate::plan::{
    Buffer, Condition, Dim, Element, Expr, Kernel, Number, PIECE, Schedule, Side, Space, Swizzle,
    TileId, Token,
};
use crate::tile::{Binary, Int, IntOp, Unary, Versions};

/// An element of a tile as C.
pub(super) fn element(k: &Kernel, id: TileId, index: &[Ix]) -> String {
    let tile = k.tile(id);
    let strides = &tile.strides;
    match (tile.space, tile.swizzled(), index) {
        // What a thread holds is numbered by its warp tiles.
        (Space::Register(fragment), ..) => {
            return format!("tile{}[slot * {} + held]", id.0, fragment.numbers());
        }
        (Space::Shared(Swizzle::Rows), Some((pieces, _)), [row, col]) => {
            let (row, col) = (ix(row), ix(col));
            let per = PIECE / tile.number.bytes();
            let place = format!("swizzled<{}, {pieces}, {per}>({row}, {col})", strides[0]);
            return format!("tile{}[{place}]", id.0);
        }
        _ => {}
    }
    let at = index
        .iter()
        .zip(strides)
        .fold(Ix::default(), |at, (i, stride)| at.plus(&i.times(*stride as i64)));
    format!("tile{}[{}]", id.0, ix(&at))
}

/// An index as C.
pub(super) fn ix(x: &Ix) -> String {
    let mut text = String::new();
    for (atom, c) in &x.terms {
        let atom = match atom {
            Atom::Axis(axis) => format!("i{axis}"),
            Atom::Div(x, by) => format!("({}) / {by}", ix(x)),
            Atom::Mod(x, by) => format!("({}) % {by}", ix(x)),
            Atom::Entry(x, list) => format!("({})", entry(&ix(x), list)),
        };
        let plus = if text.is_empty() { "" } else { " + " };
        text += &match c {
            1 => format!("{plus}{atom}"),
            c => format!("{plus}{c} * ({atom})"),
        };
    }
    match (x.constant, text.is_empty()) {
        (c, true) => c.to_string(),
        (0, false) => text,
        (c, false) => format!("{text} + {c}"),
    }
}

/// The entry of a list, by questions: lists are as long as a token has micro-steps.
fn entry(at: &str, list: &[i64]) -> String {
    let last = list.len().saturating_sub(1);
    let each = list.iter().enumerate().map(|(i, x)| match i {
        i if i == last => x.to_string(),
        i => format!("{at} == {i} ? {x} : "),
    });
    each.collect()
}

/// How many micro-steps row `i` has seen, as C.
pub(super) fn seen(v: &Versions) -> String {
    let p = v.offsets.len();
    let offsets: Vec<i64> = v.offsets.iter().map(|o| *o as i64).collect();
    let sizes = [usize::MAX >> 8];
    let i = Ix::axis(0);
    let all = i.div(p, &sizes).times(v.micro as i64).plus(&i.rem(p, &sizes).entry(&offsets));
    ix(&all).replace("i0", "i")
}

/// A position of the language as C, given the rows of the token and of the key that it binds.
fn position(at: &Int, rows: [&Ix; 2]) -> String {
    match at {
        Int::T => format!("token(at, {})", ix(rows[0])),
        Int::Bound(_) => format!("key(at, {})", ix(rows[1])),
        Int::Const(c) => c.to_string(),
        Int::Op(op, a, b) => {
            let (a, b) = (position(a, rows), position(b, rows));
            match op {
                IntOp::Add => format!("({a} + {b})"),
                IntOp::Sub => format!("({a} - {b})"),
                IntOp::Mul => format!("({a} * {b})"),
                IntOp::Div => format!("floor_div({a}, {b})"),
                IntOp::Mod => format!("floor_mod({a}, {b})"),
                IntOp::Xor => format!("({a} ^ {b})"),
                IntOp::Bits => format!("digits({a})"),
                IntOp::Max => format!("max({a}, {b})"),
            }
        }
    }
}

/// The row of all sequences that a token is.
fn row_of(token: &Token) -> String {
    let i = ix(&token.row);
    match &token.at {
        Int::T => format!("at.start + inside(at, {i})"),
        Int::Bound(_) => format!("at.start + key(at, {i})"),
        at => format!("row_at(at, {i}, {})", position(at, [&token.row, &token.row])),
    }
}

/// Where an element lies in its buffer, given its row. The axes of a value stand last and are
/// counted in ints.
fn place(buffer: &Buffer, element: &Element, row: &str, parts: usize) -> String {
    let is_value = |dim: &Dim| matches!(dim, Dim::Number(_));
    let outer = buffer.dims.iter().rposition(|dim| !is_value(dim)).map_or(0, |last| last + 1);
    let mut text = String::new();
    let mut counts = element.index.iter();
    for dim in &buffer.dims[..outer] {
        let (length, here) = match dim {
            Dim::Number(n) => (n.to_string(), counts.next().map_or(String::new(), ix)),
            Dim::Rows => ("at.rows".to_string(), row.to_string()),
            Dim::Chunks { .. } => ("chunks[sequences]".to_string(), "at.chunk".to_string()),
            Dim::Sequences => ("sequences".to_string(), "at.sequence".to_string()),
            Dim::Heads => ("heads".to_string(), "at.head".to_string()),
            Dim::OwnHeads => (format!("heads_{}", buffer.name), format!("own_{}", buffer.name)),
            Dim::Parts(n) => (n.to_string(), "at.part".to_string()),
            Dim::Jobs { .. } => ("(gridDim.x / heads)".to_string(), "at.job".to_string()),
        };
        text = if text.is_empty() {
            format!("(long long)({here})")
        } else {
            format!("({text} * {length} + {here})")
        };
    }
    let (_, inner, size) = buffer.inner(element);
    let part = buffer.part(element, parts);
    let part = if part > 0 { format!("at.part * {part} + ") } else { String::new() };
    let inner = format!("{part}{}", ix(&inner));
    if text.is_empty() { inner } else { format!("{text} * {size} + {inner}") }
}

/// Where an element of a buffer lies, with its own row.
pub(super) fn placed(k: &Kernel, buffer: &Buffer, element: &Element) -> String {
    let row = element.row.as_ref().map_or(String::new(), row_of);
    format!("{}[{}]", buffer.name, place(buffer, element, &row, k.parts))
}

/// Where an element of a buffer of rows lies, in the row that a text names.
pub(super) fn placed_in(k: &Kernel, buffer: &Buffer, element: &Element, row: &str) -> String {
    format!("{}[{}]", buffer.name, place(buffer, element, row, k.parts))
}

fn number(x: f64) -> String {
    let x = x as f32;
    if x.is_nan() {
        "bits(0x7fc00000u)".into()
    } else if x.is_infinite() {
        format!("{}bits(0x7f800000u)", if x < 0.0 { "-" } else { "" })
    } else {
        format!("{x:?}f")
    }
}

/// The value of an element as C, given what has been read already.
pub(super) fn expr(of: &Schedule, k: &Kernel, e: &Expr, read: &[(Expr, String)]) -> String {
    if let Some((_, name)) = read.iter().find(|(have, _)| have == e) {
        return name.clone();
    }
    let expr = |e: &Expr| expr(of, k, e, read);
    match e {
        Expr::Number(x) => number(x.value()),
        Expr::Tile(id, index) => match k.tile(*id).number {
            Number::F32 => element(k, *id, index),
            Number::Bf16 => format!("widen({})", element(k, *id, index)),
        },
        Expr::Buffer(element) => {
            let buffer = of.buffer(element.buffer);
            match buffer.number {
                Number::F32 => placed(k, buffer, element),
                Number::Bf16 => format!("widen({})", placed(k, buffer, element)),
            }
        }
        Expr::Position(at, [row, key]) => format!("(float)({})", position(at, [row, key])),
        Expr::Allowed { rows: [row, key], range } => {
            let [low, high] = [&range.low, &range.high].map(|at| position(at, [row, key]));
            format!("allowed(at, {}, {}, {low}, {high})", ix(row), ix(key))
        }
        Expr::Head => "(float)at.head".into(),
        Expr::Sum(0) => "sum".into(),
        Expr::Sum(n) => format!("sum{n}"),
        Expr::Unary(op, x) => unary(*op, &expr(x)),
        Expr::Binary(op, both) => {
            let (a, b) = (expr(&both[0]), expr(&both[1]));
            match op {
                Binary::Add => format!("({a} + {b})"),
                Binary::Sub => format!("({a} - {b})"),
                op => format!("op_{}({a}, {b})", op.name()),
            }
        }
        Expr::Mul(both) => format!("{} * {}", expr(&both[0]), expr(&both[1])),
        Expr::Weight(both) => format!("op_exp({} - {})", expr(&both[0]), expr(&both[1])),
        Expr::Select(both) => {
            let [c, a, b] = [&both[0], &both[1], &both[2]].map(expr);
            format!("({c} != 0.f ? {a} : {b})")
        }
        Expr::Where(when, both) => {
            format!("({} ? {} : {})", condition(of, when), expr(&both[0]), expr(&both[1]))
        }
    }
}

/// A condition as C.
pub(super) fn condition(of: &Schedule, when: &Condition) -> String {
    match when {
        Condition::Less(a, b) => format!("{} < {}", ix(a), ix(b)),
        Condition::Equal(a, b) => format!("{} == {}", ix(a), ix(b)),
        Condition::FirstPart => "at.part == 0".into(),
        Condition::Inside(Side::Queries, row) => format!("{} < at.valid", ix(row)),
        Condition::Inside(Side::Keys, row) => format!("{} < at.valid_keys", ix(row)),
        Condition::Reached(token) => format!("{} >= 0", row_of(token)),
        Condition::Given(buffer) => format!("{} != 0", of.buffer(*buffer).name),
    }
}

/// A function of one number as C.
pub fn unary(op: Unary, x: &str) -> String {
    let Unary::Pow(c) = op else { return format!("op_{}({x})", op.name()) };
    let c = c.value();
    // Whole powers hold for negative numbers too.
    match c {
        -1.0 => format!("divide(1.f, {x})"),
        -0.5 => format!("divide(1.f, root({x}))"),
        0.5 => format!("root({x})"),
        c if c.fract() == 0.0 && (1.0..=8.0).contains(&c) => {
            let whole = vec!["y"; c as usize].join(" * ");
            format!("[](float y) {{ return {whole}; }}({x})")
        }
        c => format!("op_pow({x}, {})", number(c)),
    }
}
