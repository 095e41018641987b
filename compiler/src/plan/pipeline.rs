//! Copies of what a chunk reads, started before it is its turn.
//!
//! Problem: a map that reads the device's memory waits for every number, and what several steps read is
//! read as often.
//!
//! Idea: what the rounds of a loop over chunks read becomes a tile that is copied as it stands, for a
//! later round while the present one is computed. First it is *scheduled*: which tiles, and where in the
//! round each copy may start; then the loop is *expanded*: the first copies stand before it, a wait at its
//! head, and the others where the schedule says. A tile with several stages is copied at the head of a
//! round into a stage that nobody reads; one with a single stage behind its last reader. A copy that is an operand
//! of products as it stands is read by them where it lies: such copies a kernel of single chunks starts too, a few
//! readers ahead.

use super::lower::{FRAGMENT, axes_of, new_tile};
use super::place::place;
use super::step::each_step;
use super::{
    Buffer, BufferId, Dim, Element, Expr, Grid, Kernel, Loop, Number, Over, PIECE, Role, Round,
    Step, Stmt, Target, Tile, TileId, Token, Transport,
};
use crate::tile::{Int, size};

/// What the rounds of a loop read of a buffer.
#[derive(Clone, Debug)]
struct Read {
    buffer: BufferId,
    split: Option<usize>,
    /// Numbers that steps read in a round.
    numbers: usize,
}

/// Lets as much of what a kernel reads be copied ahead as has room in shared memory, in so many `stages` if
/// all of it has, and places all tiles. `false` where not even the rest fits.
pub fn pipeline(kernel: &mut Kernel, buffers: &[Buffer], stages: usize, room: usize) -> bool {
    let reads = if stages > 0 { reads(kernel, buffers) } else { vec![] };
    let more = (2..=stages).rev().filter(|_| !reads.is_empty()).map(|n| (reads.len(), n));
    let tokens = rounds(&mut kernel.body).map_or(0, |(_, tokens)| tokens);
    let mut copies = Vec::new();
    for read in &reads {
        copy_tile(&mut copies, buffers, read, kernel.parts, tokens);
    }
    let stay = kernel.tiles.iter().filter(|tile| tile.carried && !tile.in_registers());
    let stay: usize = stay.map(Tile::all_bytes).sum();
    for (count, stages) in more.chain((0..=reads.len()).rev().map(|count| (count, 1))) {
        let copied: usize = copies[..count].iter().map(|tile| tile.bytes * stages).sum();
        if count > 0 && stay + copied > room {
            continue;
        }
        let mut tried = kernel.clone();
        schedule(&mut tried, buffers, &reads[..count], stages);
        let fits = place(&mut tried, room);
        if count == 0 || fits && tried.workspace == 0 {
            *kernel = tried;
            return fits;
        }
    }
    false
}

/// Copies that run at a time in a kernel of single chunks, at most.
const AHEAD: usize = 3;

/// Lets a kernel of single chunks copy what is an operand as it stands, while it works on what it has copied
/// before, as far as there is room, and places all tiles. `false` where not even the rest fits.
pub fn pipeline_once(kernel: &mut Kernel, buffers: &[Buffer], room: usize) -> bool {
    let original = kernel.clone();
    let plain = place(kernel, room);
    for ahead in (1..=AHEAD).rev() {
        let mut tried = original.clone();
        if !schedule_once(&mut tried, buffers, ahead) {
            break;
        }
        if place(&mut tried, room) && (!plain || tried.workspace <= kernel.workspace) {
            *kernel = tried;
            return true;
        }
    }
    plain
}

/// Lets products read copies instead of operands that are filled with nothing else, so many of which run at a
/// time. Whether there are any.
fn schedule_once(kernel: &mut Kernel, buffers: &[Buffer], ahead: usize) -> bool {
    let mut copies: Vec<(Step, TileId)> = Vec::new();
    for Read { buffer: id, split, .. } in reads(kernel, buffers) {
        let buffer = &buffers[id.0];
        if buffer.number != Number::Bf16 || split.is_some() {
            continue;
        }
        let read = Read { buffer: id, split, numbers: 0 };
        let to = copy_tile(&mut kernel.tiles, buffers, &read, kernel.parts, kernel.chunk);
        let from = copied(&read, buffer, &kernel.tiles[to.0].shape);
        let value = Expr::Buffer(from.clone());
        if let Some(operand) = take_operand(&mut kernel.body, &kernel.tiles, to, &value) {
            rename(&mut kernel.body, operand, to);
            let (by, round) = (Transport::Async, Round::First(0));
            let piece = piece(buffer, split, kernel.parts);
            copies.push((Step::Copy { by, from, to, round, piece }, to));
        }
    }
    let first = |body: &[Stmt], tile: TileId| {
        body.iter().position(|stmt| stmt.reads().contains(&tile)).unwrap_or(0)
    };
    copies.sort_by_key(|(_, tile)| first(&kernel.body, *tile));
    // From the last on, so that places before stay: a wait at the first reader, the copy at that of another.
    let readers: Vec<usize> = copies.iter().map(|(_, tile)| first(&kernel.body, *tile)).collect();
    let mut body: Vec<Stmt> = Vec::new();
    let start = |body: &mut Vec<Stmt>, n: usize| {
        body.extend(copies.get(n).map(|(copy, _)| Stmt::Step(copy.clone())));
    };
    (0..ahead).for_each(|n| start(&mut body, n));
    for (at, stmt) in std::mem::take(&mut kernel.body).into_iter().enumerate() {
        for (n, _) in readers.iter().enumerate().filter(|(_, reader)| **reader == at) {
            let pending = (copies.len() - n - 1).min(ahead - 1);
            body.push(Stmt::Step(Step::Wait { tiles: vec![copies[n].1], pending }));
            start(&mut body, n + ahead);
        }
        body.push(stmt);
    }
    kernel.body = body;
    !copies.is_empty()
}

/// The body of the loop over chunks.
fn rounds(body: &mut [Stmt]) -> Option<(&mut Vec<Stmt>, usize)> {
    body.iter_mut().find_map(|stmt| match stmt {
        Stmt::Loop(Loop { over: Over::Chunks { tokens, .. }, body }) => Some((body, *tokens)),
        _ => None,
    })
}

/// What could be copied, what is read most first.
fn reads(kernel: &mut Kernel, buffers: &[Buffer]) -> Vec<Read> {
    let written: Vec<BufferId> =
        kernel.steps().iter().filter_map(|s| Some(s.target()?.element()?.buffer)).collect();
    let single = kernel.grid == Grid::Chunks;
    let body = match rounds(&mut kernel.body) {
        Some((body, _)) => body,
        None if single => &mut kernel.body,
        None => return vec![],
    };
    let mut found: Vec<Read> = Vec::new();
    for step in body.iter().flat_map(Stmt::steps) {
        let Some(value) = step.value() else { continue };
        let numbers = step.elements();
        value.walk(&mut |e| {
            let Expr::Buffer(element) = e else { return };
            let Element { buffer, split, .. } = element.clone();
            if !is_copied(&buffers[buffer.0], element) || written.contains(&buffer) {
                return;
            }
            match found.iter_mut().find(|read| read.buffer == buffer && read.split == split) {
                Some(read) => read.numbers += numbers,
                None => found.push(Read { buffer, split, numbers }),
            }
        });
    }
    found.sort_by_key(|read| std::cmp::Reverse(read.numbers));
    found
}

/// Whether an element is one of a chunk's own: of its tokens, or of what there is one of per chunk.
fn is_copied(buffer: &Buffer, element: &Element) -> bool {
    let own = match &element.row {
        Some(token) => token.at == Int::T,
        None => buffer.dims.iter().any(|dim| matches!(dim, Dim::Chunks { .. })),
    };
    own && matches!(buffer.role, Role::Argument | Role::Temporary)
        && piece(buffer, element.split, 1) > 0
}

/// The largest piece of a buffer that lies in one row of it: 0 where none can be copied by itself.
fn piece(buffer: &Buffer, split: Option<usize>, parts: usize) -> usize {
    let lengths = buffer.value();
    let last = match buffer.dims.last() {
        Some(Dim::Number(n)) => *n,
        _ => 1,
    };
    let own = if split == lengths.len().checked_sub(1) { last / parts } else { last };
    let fits = |bytes: &usize| {
        [last, own].iter().all(|n| (n * buffer.number.bytes()).is_multiple_of(*bytes))
    };
    [PIECE, PIECE / 2, PIECE / 4].into_iter().find(fits).unwrap_or(0)
}

/// Adds the tile of a copy of what a round reads, of which each part of a head holds a piece.
fn copy_tile(
    tiles: &mut Vec<Tile>,
    buffers: &[Buffer],
    Read { buffer, split, .. }: &Read,
    parts: usize,
    tokens: usize,
) -> TileId {
    let buffer = &buffers[buffer.0];
    let mut shape = buffer.value();
    if let Some(n) = split.and_then(|axis| shape.get_mut(axis)) {
        *n /= parts;
    }
    if buffer.dims.contains(&Dim::Rows) {
        shape.insert(0, tokens);
    }
    new_tile(tiles, format!("copy of {}", buffer.name), buffer.number, &shape)
}

/// What a tile of this shape is a copy of.
fn copied(read: &Read, buffer: &Buffer, shape: &[usize]) -> Element {
    let mut index = axes_of(shape);
    let has_rows = buffer.dims.contains(&Dim::Rows);
    let row = has_rows.then(|| Token { at: Int::T, row: index.remove(0) });
    Element { buffer: read.buffer, row, index, split: read.split }
}

fn schedule(kernel: &mut Kernel, buffers: &[Buffer], reads: &[Read], stages: usize) {
    let parts = kernel.parts;
    let mut copies: Vec<Step> = Vec::new();
    for read in reads {
        let Read { buffer: id, split, .. } = read;
        let buffer = &buffers[id.0];
        let Some((body, tokens)) = rounds(&mut kernel.body) else { return };
        let to = copy_tile(&mut kernel.tiles, buffers, read, parts, tokens);
        let tile = &mut kernel.tiles[to.0];
        let shape = tile.shape.clone();
        (tile.stages, tile.carried) = (stages, true);
        each_value(body, &mut |value| instead(value, *id, *split, to));
        let whole = Expr::Tile(to, axes_of(&shape));
        while let Some(operand) = take_operand(body, &kernel.tiles, to, &whole) {
            rename(body, operand, to);
        }
        let from = copied(read, buffer, &shape);
        let piece = piece(buffer, *split, parts);
        copies.push(Step::Copy { by: Transport::Async, from, to, round: Round::First(0), piece });
    }
    expand(kernel, &copies, stages);
}

/// Puts copies before the loop, a wait at its head, and copies for later rounds into it.
fn expand(kernel: &mut Kernel, copies: &[Step], stages: usize) {
    let at = |copy: &Step, at: Round| {
        let mut copy = copy.clone();
        if let Step::Copy { round, .. } = &mut copy {
            *round = at;
        }
        Stmt::Step(copy)
    };
    let Some((body, _)) = rounds(&mut kernel.body).filter(|_| !copies.is_empty()) else { return };
    let tiles: Vec<TileId> = copies.iter().filter_map(Step::copies_to).collect();
    // So many rounds ahead of the present one a copy starts; with one stage, as soon as that is read.
    let ahead = stages.saturating_sub(1).max(1);
    for (copy, tile) in copies.iter().zip(&tiles).rev() {
        let last = body.iter().rposition(|stmt| stmt.reads().contains(tile));
        let behind = if stages > 1 { 0 } else { last.map_or(0, |last| last + 1) };
        body.insert(behind, at(copy, Round::Ahead(ahead)));
    }
    let pending = stages.saturating_sub(2) * copies.len();
    body.insert(0, Stmt::Step(Step::Wait { tiles, pending }));
    let before = kernel.body.iter().position(|stmt| matches!(stmt, Stmt::Loop(_))).unwrap_or(0);
    let first = (0..ahead).flat_map(|n| copies.iter().map(move |copy| at(copy, Round::First(n))));
    let first: Vec<Stmt> = first.collect();
    kernel.body.splice(before..before, first);
}

/// Takes a step out that fills an operand with what a copy holds, as it lies there.
fn take_operand(
    body: &mut Vec<Stmt>,
    tiles: &[Tile],
    copy: TileId,
    whole: &Expr,
) -> Option<TileId> {
    let from = &tiles[copy.0];
    let plain = from.number == Number::Bf16
        && from.shape.len() == 2
        && from.shape.iter().all(|n| n.is_multiple_of(FRAGMENT));
    let is_same = |stmt: &Stmt| match stmt {
        Stmt::Step(Step::Map { sizes, value, to: Target::Tile(to, at), add: false, .. }) => {
            let index = axes_of(&from.shape);
            let same = value == whole && *at == index;
            let operand = &tiles[to.0];
            let fits = operand.number == Number::Bf16 && operand.shape == from.shape;
            (same && fits && *sizes == from.shape).then_some(*to)
        }
        _ => None,
    };
    // What products leave of an operand is computed from it.
    let alone = |tile: TileId| {
        let mut read = false;
        for value in body.iter().flat_map(Stmt::steps).filter_map(Step::value) {
            value.walk(&mut |e| read |= matches!(e, Expr::Tile(id, _) if *id == tile));
        }
        let writes = body.iter().flat_map(Stmt::writes).filter(|written| *written == tile);
        !read && writes.count() == 1
    };
    let (at, operand) = body.iter().enumerate().find_map(|(at, stmt)| {
        let operand = is_same(stmt).filter(|_| plain)?;
        alone(operand).then_some((at, operand))
    })?;
    body.remove(at);
    Some(operand)
}

/// Lets steps read another tile instead of an operand.
fn rename(body: &mut [Stmt], operand: TileId, instead: TileId) {
    each_step(body, &mut |step| {
        let Step::Product { terms, .. } = step else { return };
        for side in terms.iter_mut().flat_map(|term| [&mut term.left, &mut term.right]) {
            if side.tile == operand {
                side.tile = instead;
            }
        }
    });
}

/// Calls `f` with the expression of every step.
fn each_value(body: &mut [Stmt], f: &mut dyn FnMut(&mut Expr)) {
    each_step(body, &mut |step| {
        if let Step::Map { value, .. } | Step::Reduce { value, .. } | Step::Product { value, .. } =
            step
        {
            f(value);
        }
    });
}

/// Lets an expression read a tile instead of the buffer that it is a copy of.
fn instead(e: &mut Expr, id: BufferId, split: Option<usize>, tile: TileId) {
    match e {
        Expr::Buffer(Element { buffer, row, index, split: own })
            if *buffer == id && *own == split =>
        {
            let own = row.as_ref().is_none_or(|token| token.at == Int::T);
            if own {
                let row = row.iter().map(|token| token.row.clone());
                let index = row.chain(index.iter().cloned()).collect();
                *e = Expr::Tile(tile, index);
            }
        }
        Expr::Unary(_, x) => instead(x, id, split, tile),
        Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) | Expr::Where(_, of) => {
            of.iter_mut().for_each(|e| instead(e, id, split, tile));
        }
        Expr::Select(of) => of.iter_mut().for_each(|e| instead(e, id, split, tile)),
        _ => {}
    }
}

impl Step {
    /// Elements over which the step goes, if it evaluates an expression.
    fn elements(&self) -> usize {
        match self {
            Step::Map { sizes, .. } | Step::Reduce { sizes, .. } | Step::Product { sizes, .. } => {
                size(sizes)
            }
            _ => 0,
        }
    }
}
