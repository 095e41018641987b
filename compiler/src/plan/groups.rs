//! Neighbouring elements that a thread makes together.
//!
//! Problem: a thread that makes one number at a time spends most of its instructions on finding out where the
//! number is.
//!
//! Idea: along the last axis of a step's loop, what it reads and writes mostly lies side by side, or stays the
//! same. Where it begins at a whole group, a thread finds its place once, and reads and writes all of the group
//! at once. What lies elsewhere is read element by element.
//!
//! Of a fragment a lane holds pairs, and four lanes a row of eight numbers: in bf16 half of the 32 bytes that the
//! device's memory moves at once. There lanes exchange the pairs of two or four such rows, so that each stores up to 16
//! bytes.

use super::index::Ix;
use super::lower::WARP;
use super::step::each_step;
use super::{
    Buffer, Condition, Dim, Element, Expr, Fragment, Kernel, Number, PIECE, Space, Step, Swizzle,
    Target, Tile, TileId,
};

/// Sizes of groups, the largest first.
const SIZES: [usize; 3] = [8, 4, 2];
/// What a thread of a product holds side by side.
const PAIR: usize = 2;
/// Pairs that lanes may exchange so that each stores so many at once, the most first.
const EXCHANGED: [usize; 2] = [4, 2];

/// Lets the steps of a kernel whose tiles are placed go over groups where they can.
pub fn groups(kernel: &mut Kernel, buffers: &[Buffer]) {
    let mut body = std::mem::take(&mut kernel.body);
    each_step(&mut body, &mut |step| {
        let size = size(kernel, buffers, step);
        let fits = |pairs: &usize| size == PAIR && stores_pairs(kernel, buffers, step, *pairs);
        let pairs = EXCHANGED.into_iter().find(fits).unwrap_or(1);
        if let Step::Map { exchanged, .. } | Step::Product { exchanged, .. } = step {
            *exchanged = pairs;
        }
        if let Step::Map { group, .. } | Step::Reduce { group, .. } | Step::Product { group, .. } =
            step
        {
            *group = size;
        }
    });
    kernel.body = body;
}

/// How many elements of a step's loop a thread makes together: as many as leave the fewest reads that are made one by
/// one.
fn size(kernel: &Kernel, buffers: &[Buffer], step: &Step) -> usize {
    let Some(axis) = axis(step) else { return 1 };
    let alone = |size: usize| {
        let along = Along { kernel, buffers, axis, size };
        let fits = fills(kernel, step, axis, size) && along.step(step);
        fits.then(|| step.values().map(|value| along.one_by_one(value)).sum::<usize>())
    };
    let sizes = SIZES.into_iter().filter_map(|size| Some((alone(size)?, size)));
    // The first of equals is the largest.
    sizes.min_by_key(|(alone, _)| *alone).map_or(1, |(_, size)| size)
}

/// Whether a step stores pairs of bf16 numbers from fragments to the device's memory, so many of which lie side by side.
fn stores_pairs(kernel: &Kernel, buffers: &[Buffer], step: &Step, pairs: usize) -> bool {
    let (Step::Map { sizes, fragment: Some(Fragment { axes, warp }), to, add: false, .. }
    | Step::Product { sizes, axes, warp, to, add: false, .. }) = step
    else {
        return false;
    };
    let along = Along { kernel, buffers, axis: axes[1], size: pairs * PAIR };
    let rows_of_eight = warp.cols / (4 * PAIR);
    let narrow = |element: &Element| buffers[element.buffer.0].number == Number::Bf16;
    let whole = sizes[axes[1]].is_multiple_of(pairs * PAIR) && rows_of_eight.is_multiple_of(pairs);
    whole && to.element().is_some_and(narrow) && along.target(to)
}

/// The axis along which a step's groups would lie: the last one that is an axis at all.
pub fn axis(step: &Step) -> Option<usize> {
    match step {
        Step::Map { filled, fragment: None, .. } => filled.iter().rposition(|n| *n > 1),
        Step::Map { fragment: Some(fragment), .. } => Some(fragment.axes[1]),
        // Warps share terms, threads make results.
        Step::Reduce { sizes, over, lanes, .. } => {
            let of_terms = |axis: &usize| over.last() == Some(axis);
            let last = sizes.iter().rposition(|n| *n > 1);
            last.filter(|axis| if *lanes == 1 { !over.contains(axis) } else { of_terms(axis) })
        }
        Step::Product { axes, .. } => Some(axes[1]),
        _ => None,
    }
}

/// Whether groups of this size make up the loop, and leave enough of them for all threads.
fn fills(kernel: &Kernel, step: &Step, axis: usize, size: usize) -> bool {
    match step {
        Step::Map { sizes, filled, fragment: None, .. } => {
            let groups = filled.iter().product::<usize>() / size;
            let whole = [sizes, filled].iter().all(|sizes| sizes[axis].is_multiple_of(size));
            whole && 2 * groups >= kernel.threads
        }
        Step::Map { sizes, .. } | Step::Product { sizes, .. } => {
            size == PAIR && sizes[axis].is_multiple_of(size)
        }
        Step::Reduce { sizes, over, lanes: 1, .. } => {
            let kept = (0..sizes.len()).filter(|axis| !over.contains(axis));
            let results: usize = kept.map(|axis| sizes[axis]).product();
            sizes[axis].is_multiple_of(size) && 2 * results >= kernel.threads * size
        }
        Step::Reduce { sizes, over, lanes, .. } => {
            let terms: usize = over.iter().map(|axis| sizes[*axis]).product();
            sizes[axis].is_multiple_of(size) && terms.is_multiple_of(lanes * size) && *lanes == WARP
        }
        _ => false,
    }
}

/// Whether a read moves on with the elements of a group, or stays; nothing where each element has its own place.
pub fn moves(kernel: &Kernel, buffers: &[Buffer], step: &Step, e: &Expr) -> Option<bool> {
    along(kernel, buffers, step).map_or(Some(false), |along| along.read(e))
}

/// Whether a condition holds for a whole group of a step's elements, or for none of it.
pub fn is_shared(kernel: &Kernel, buffers: &[Buffer], step: &Step, when: &Condition) -> bool {
    along(kernel, buffers, step).is_none_or(|along| along.same(when))
}

fn along<'a>(kernel: &'a Kernel, buffers: &'a [Buffer], step: &Step) -> Option<Along<'a>> {
    let (Step::Map { group, .. } | Step::Reduce { group, .. } | Step::Product { group, .. }) = step
    else {
        return None;
    };
    let axis = axis(step).filter(|_| *group > 1)?;
    Some(Along { kernel, buffers, axis, size: *group })
}

/// Groups of a size along an axis.
struct Along<'a> {
    kernel: &'a Kernel,
    buffers: &'a [Buffer],
    axis: usize,
    size: usize,
}

impl Along<'_> {
    /// Whether what a step writes lies side by side, where all of a group is written or none; of a sum, whether any
    /// terms do.
    fn step(&self, step: &Step) -> bool {
        if let Step::Reduce { value, over, .. } = step
            && over.contains(&self.axis)
        {
            let mut found = false;
            value.walk(&mut |e| found |= self.read(e) == Some(true));
            return found;
        }
        step.target().is_some() && step.targets().all(|to| self.target(to))
    }

    fn target(&self, to: &Target) -> bool {
        match to {
            Target::Tile(id, index) => self.tile(*id, index) == Some(true),
            Target::Buffer(element, when) => {
                self.element(element) == Some(true) && when.iter().all(|when| self.same(when))
            }
        }
    }

    /// How many reads of an expression have a place of their own for each element.
    fn one_by_one(&self, value: &Expr) -> usize {
        let mut found = 0;
        value.walk(&mut |e| found += usize::from(self.read(e).is_none()));
        found
    }

    /// See [`moves`].
    fn read(&self, e: &Expr) -> Option<bool> {
        match e {
            Expr::Tile(id, _) if self.kernel.tile(*id).in_registers() => Some(false),
            Expr::Tile(id, index) => self.tile(*id, index),
            Expr::Buffer(element) => self.element(element),
            _ => Some(false),
        }
    }

    fn constant(&self, i: &Ix) -> bool {
        i.moves(self.axis, self.size as i64) == Some(false)
    }

    fn same(&self, when: &Condition) -> bool {
        when.indices().iter().all(|i| self.constant(i))
    }

    /// Whether an element of a tile moves on with those of a group, or stays; nothing where it does neither.
    fn tile(&self, id: TileId, index: &[Ix]) -> Option<bool> {
        let tile = self.kernel.tile(id);
        if tile.in_registers() {
            return Some(true);
        }
        let place = tile.place(index);
        if let Some(false) = place.moves(self.axis, self.size as i64) {
            return Some(false);
        }
        if self.size * tile.number.bytes() > PIECE || !begins_whole(tile, self.size) {
            return None;
        }
        if tile.space == Space::Shared(Swizzle::Rows) {
            // Pieces of a row are exchanged, not what is inside them.
            let (col, rows) = index.split_last()?;
            let moves = col.moves(self.axis, self.size as i64)?;
            return (rows.iter().all(|i| self.constant(i))).then_some(moves);
        }
        place.moves(self.axis, self.size as i64)
    }

    fn element(&self, element: &Element) -> Option<bool> {
        let buffer = &self.buffers[element.buffer.0];
        if !element.row.iter().all(|token| self.constant(&token.row)) {
            return None;
        }
        let (before, inner, size) = buffer.inner(element);
        let moves = inner.moves(self.axis, self.size as i64)?;
        if !before.iter().all(|i| self.constant(i)) {
            return None;
        }
        let part = buffer.part(element, self.kernel.parts);
        let whole = self.size * buffer.number.bytes() <= PIECE
            && (size.is_multiple_of(self.size) || before.is_empty() && all_numbers(buffer))
            && part.is_multiple_of(self.size);
        (!moves || whole).then_some(moves)
    }
}

fn all_numbers(buffer: &Buffer) -> bool {
    buffer.dims.iter().all(|dim| matches!(dim, Dim::Number(_)))
}

/// Whether all of a tile's stages begin where a group of numbers can.
fn begins_whole(tile: &Tile, size: usize) -> bool {
    let bytes = size * tile.number.bytes();
    let stages = if tile.stages > 1 { tile.bytes } else { 0 };
    tile.at.is_some_and(|at| at.is_multiple_of(bytes)) && stages.is_multiple_of(bytes)
}

impl Tile {
    /// Where an element lies among the tile's numbers, before pieces of rows are exchanged.
    pub fn place(&self, index: &[Ix]) -> Ix {
        let places = index.iter().zip(&self.strides);
        places.fold(Ix::default(), |at, (i, stride)| at.plus(&i.times(*stride as i64)))
    }
}
