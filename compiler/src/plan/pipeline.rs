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
//! of products as it stands is read by them where it lies. A kernel of single chunks starts copies too, a few
//! readers ahead: of all that it reads where there is room, else of such operands. What all steps take to be 0 where it is not
//! there, a copy fills with zeros.

use std::ptr;

use super::cut::zero;
use super::index::Ix;
use super::layout::are_apart;
use super::lower::{FRAGMENT, WARP, axes_of, new_tile};
use super::place::{place, place_tightly};
use super::step::each_step;
use super::target::Gpu;
use super::{
    Buffer, BufferId, Condition, Dim, Element, Expr, Grid, Kernel, Loop, Number, Over, PIECE, Role,
    Round, Step, Stmt, Target, Tile, TileId, Token, Transport,
};
use crate::tile::{Int, size};

/// What the rounds of a loop read of a buffer.
#[derive(Clone, Debug)]
struct Read {
    buffer: BufferId,
    split: Option<usize>,
    /// Numbers that steps read in a round.
    numbers: usize,
    /// Where there are numbers, over the axes of the copy, where all steps take zeros elsewhere.
    when: Vec<Condition>,
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

/// What of a kernel of single chunks is copied, and how many copies run at a time at most, in order of preference.
const TRIED: [(Copied, usize); 6] = [
    (Copied::All, 8),
    (Copied::All, 4),
    (Copied::All, 2),
    (Copied::Operands, 3),
    (Copied::Operands, 2),
    (Copied::Operands, 1),
];

/// What of a kernel of single chunks is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// All that it reads.
    All,
    /// What is an operand as it stands.
    Operands,
}

/// Lets a kernel of single chunks copy what it reads while it works on what it has copied before, and places all tiles:
/// of all that it reads where as many blocks have room as without, or as with copies of operands, else of operands. `false`
/// where not even the rest fits.
pub fn pipeline_once(
    kernel: &mut Kernel,
    buffers: &[Buffer],
    gpu: Gpu,
    place: fn(&mut Kernel, usize) -> bool,
) -> bool {
    let original = kernel.clone();
    let plain = place(kernel, gpu.shared);
    let blocks = |kernel: &Kernel| gpu.blocks(kernel.shared, kernel.threads);
    // The best, and what of all that it reads takes the place of blocks.
    let [mut best, mut large]: [Option<Kernel>; 2] = [None, None];
    let mut all = false;
    for (what, ahead) in TRIED {
        let mut tried = original.clone();
        let fits = schedule_once(&mut tried, buffers, what, ahead)
            && place(&mut tried, gpu.shared)
            && (!plain || tried.workspace <= kernel.workspace);
        let as_many = !plain || blocks(&tried) >= blocks(kernel);
        let to = if what == Copied::All && !as_many { &mut large } else { &mut best };
        let better = match (what, &to) {
            // More copies at a time are worth less than rows apart.
            (Copied::All, known) => known.as_ref().is_none_or(|_| are_apart(&tried)),
            (Copied::Operands, best) => {
                best.as_ref().is_none_or(|best| blocks(best) < blocks(&tried))
            }
        };
        if fits && better {
            *to = Some(tried);
            all = what == Copied::All;
        }
        if what == Copied::All && best.as_ref().is_some_and(are_apart) {
            break;
        }
    }
    if let (Some(found), Some(large)) = (&mut best, large)
        && blocks(found) <= blocks(&large)
    {
        (*found, all) = (large, true);
    }
    if let (Some(found), false) = (&mut best, all) {
        let enough =
            |tried: &Kernel| tried.workspace <= found.workspace && blocks(tried) >= blocks(found);
        let tight = [8, 4, 2].into_iter().find_map(|ahead| {
            let mut tried = original.clone();
            schedule_once(&mut tried, buffers, Copied::All, ahead);
            tightly(tried, gpu).filter(enough)
        });
        tight.into_iter().for_each(|tight| *found = tight);
    }
    let found = best.is_some();
    best.into_iter().for_each(|best| *kernel = best);
    plain || found
}

/// A kernel with its tiles where they take least room, if rows lie apart there.
fn tightly(mut kernel: Kernel, gpu: Gpu) -> Option<Kernel> {
    (place_tightly(&mut kernel, gpu.shared) && are_apart(&kernel)).then_some(kernel)
}

/// Lets steps read copies, so many of which run at a time. Whether there are any.
fn schedule_once(kernel: &mut Kernel, buffers: &[Buffer], what: Copied, ahead: usize) -> bool {
    let mut copies: Vec<(Step, TileId)> = Vec::new();
    let operands = what == Copied::Operands;
    for read in reads(kernel, buffers) {
        let buffer = &buffers[read.buffer.0];
        if operands && (buffer.number != Number::Bf16 || read.split.is_some()) {
            continue;
        }
        let to = copy_tile(&mut kernel.tiles, buffers, &read, kernel.parts, kernel.chunk);
        let shape = kernel.tiles[to.0].shape.clone();
        let (from, copy) = (copied(&read, buffer, &shape), Expr::Tile(to, axes_of(&shape)));
        if !operands {
            each_value(&mut kernel.body, &mut |value| instead(value, &read, to));
        }
        let whole = |value: &Expr| match what {
            Copied::All => *value == copy,
            Copied::Operands => read.takes(value) == Some(&from),
        };
        let mut taken = false;
        while let Some(operand) = take_operand(&mut kernel.body, &kernel.tiles, to, &whole) {
            rename(&mut kernel.body, operand, to);
            taken = true;
        }
        if taken || !operands {
            let (by, round) = (Transport::Async, Round::First(0));
            let piece = piece(buffer, read.split, kernel.parts);
            let copy =
                Step::Copy { by, from: from.clone(), when: read.when, to, round, piece, first: 0 };
            copies.push((copy, to));
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
        let numbers = step.elements();
        // The outermost expression of a read comes first, with all of its conditions.
        let mut all: Vec<(&Element, Vec<Condition>)> = Vec::new();
        step.values().for_each(|value| {
            value.walk(&mut |e| {
                let own = guarded(e)
                    .filter(|(own, _)| !all.iter().any(|(other, _)| ptr::eq(*own, *other)));
                all.extend(own);
            })
        });
        for (element, mut when) in all {
            let Element { buffer, split, .. } = *element;
            let of = &buffers[buffer.0];
            if !is_copied(of, element) || written.contains(&buffer) {
                continue;
            }
            if of.may_be_absent && !when.contains(&Condition::Given(buffer)) {
                when.clear();
            }
            match found.iter_mut().find(|read| read.buffer == buffer && read.split == split) {
                Some(read) => {
                    read.numbers += numbers;
                    if read.when != when {
                        read.when.clear();
                    }
                }
                None => found.push(Read { buffer, split, numbers, when }),
            }
        }
    }
    found.sort_by_key(|read| std::cmp::Reverse(read.numbers));
    found
}

/// The element of a buffer that an expression is, or 0 where it is not there: where the call lacks it, or the row is no
/// token. With these conditions, over the axes of a copy.
fn guarded(e: &Expr) -> Option<(&Element, Vec<Condition>)> {
    match e {
        Expr::Buffer(element) => Some((element, vec![])),
        Expr::Where(when, both) if both[1] == zero() => {
            let (element, mut all) = guarded(&both[0])?;
            let own = |row: &Ix| {
                element.row.as_ref().is_some_and(|token| token.at == Int::T && token.row == *row)
            };
            let when = match when {
                Condition::Given(id) if *id == element.buffer => when.clone(),
                Condition::Inside(side, row) if own(row) => Condition::Inside(*side, Ix::axis(0)),
                _ => return None,
            };
            all.insert(0, when);
            Some((element, all))
        }
        _ => None,
    }
}

impl Read {
    /// The element that an expression is, if a copy of what is read takes its place, zeros included.
    fn takes<'a>(&self, e: &'a Expr) -> Option<&'a Element> {
        let (element, when) = guarded(e)?;
        let own = element.buffer == self.buffer && element.split == self.split;
        (own && when == self.when).then_some(element)
    }
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
        let buffer = &buffers[read.buffer.0];
        let Some((body, tokens)) = rounds(&mut kernel.body) else { return };
        let to = copy_tile(&mut kernel.tiles, buffers, read, parts, tokens);
        let tile = &mut kernel.tiles[to.0];
        let shape = tile.shape.clone();
        (tile.stages, tile.carried) = (stages, true);
        each_value(body, &mut |value| instead(value, read, to));
        let whole = Expr::Tile(to, axes_of(&shape));
        while let Some(operand) = take_operand(body, &kernel.tiles, to, &|value| *value == whole) {
            rename(body, operand, to);
        }
        let from = copied(read, buffer, &shape);
        let (when, piece) = (read.when.clone(), piece(buffer, read.split, parts));
        let (by, round) = (Transport::Async, Round::First(0));
        copies.push(Step::Copy { by, from, when, to, round, piece, first: 0 });
    }
    side_by_side(&mut copies, &kernel.tiles, kernel.threads);
    expand(kernel, &copies, stages);
}

/// Lets other threads make each copy that needs a few of them only.
fn side_by_side(copies: &mut [Step], tiles: &[Tile], threads: usize) {
    let mut next = 0;
    for copy in copies {
        let Step::Copy { to, piece, first, .. } = copy else { continue };
        let tile = &tiles[to.0];
        let pieces = size(&tile.shape) * tile.number.bytes() / *piece;
        if pieces > threads / 2 {
            continue;
        }
        *first = if next + pieces <= threads { next } else { 0 };
        next = (*first + pieces).next_multiple_of(WARP);
    }
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
    is_whole: &dyn Fn(&Expr) -> bool,
) -> Option<TileId> {
    let from = &tiles[copy.0];
    let plain = from.number == Number::Bf16
        && from.shape.len() == 2
        && from.shape.iter().all(|n| n.is_multiple_of(FRAGMENT));
    let is_same = |stmt: &Stmt| match stmt {
        Stmt::Step(Step::Map { sizes, value, to: Target::Tile(to, at), add: false, .. }) => {
            let index = axes_of(&from.shape);
            let same = is_whole(value) && *at == index;
            let operand = &tiles[to.0];
            let fits = operand.number == Number::Bf16 && operand.shape == from.shape;
            (same && fits && *sizes == from.shape).then_some(*to)
        }
        _ => None,
    };
    // What products leave of an operand is computed from it.
    let alone = |tile: TileId| {
        let mut read = false;
        for value in body.iter().flat_map(Stmt::steps).flat_map(Step::values) {
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
pub(super) fn each_value(body: &mut [Stmt], f: &mut dyn FnMut(&mut Expr)) {
    each_step(body, &mut |step| {
        if let Step::Map { value, .. } | Step::Reduce { value, .. } | Step::Product { value, .. } =
            step
        {
            f(value);
        }
        if let Step::Product { also, .. } = step {
            also.iter_mut().for_each(|(value, _)| f(value));
        }
    });
}

/// Lets an expression read the tile of a copy instead of what it is a copy of.
fn instead(e: &mut Expr, read: &Read, tile: TileId) {
    if let Some(Element { row, index, .. }) = read.takes(e)
        && row.as_ref().is_none_or(|token| token.at == Int::T)
    {
        let row = row.iter().map(|token| token.row.clone());
        let index = row.chain(index.iter().cloned()).collect();
        *e = Expr::Tile(tile, index);
        return;
    }
    match e {
        Expr::Unary(_, x) => instead(x, read, tile),
        Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) | Expr::Where(_, of) => {
            of.iter_mut().for_each(|e| instead(e, read, tile));
        }
        Expr::Select(of) => of.iter_mut().for_each(|e| instead(e, read, tile)),
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
