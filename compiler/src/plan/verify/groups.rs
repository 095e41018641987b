//! P19: what a thread reads or writes at once lies side by side.

use super::Wrong;
use crate::plan::index::{Ix, flat};
use crate::plan::{
    Condition, Dim, Element, Expr, Kernel, Number, PIECE, Schedule, Space, Step, Swizzle, Target,
    TileId, groups,
};

/// What a thread holds side by side of a fragment.
const PAIR: usize = 2;
/// Groups of a step that are looked at, spread over its loop.
const LOOKED_AT: usize = 12;

pub fn check(schedule: &Schedule, kernel: &Kernel, wrong: &mut Wrong) {
    for (at, step) in kernel.steps().into_iter().enumerate() {
        let (sizes, axis, group) = match step {
            Step::Map { filled, fragment: None, group, .. } => (filled, last(filled), *group),
            Step::Map { sizes, fragment: Some(fragment), group, .. } => {
                (sizes, Some(fragment.axes[1]), *group)
            }
            Step::Reduce { sizes, group, .. } => (sizes, last(sizes), *group),
            Step::Product { sizes, axes, group, .. } => (sizes, Some(axes[1]), *group),
            _ => continue,
        };
        let by_fragments =
            matches!(step, Step::Product { .. } | Step::Map { fragment: Some(_), .. });
        let pairs = match step {
            Step::Map { exchanged, .. } | Step::Product { exchanged, .. } => *exchanged,
            _ => 1,
        };
        let exchanged = pairs != 1;
        if exchanged && !(by_fragments && group == PAIR) {
            wrong.say(19, format!("step {at}: no pairs of fragments are exchanged"));
        }
        let Some(axis) = axis.filter(|_| group > 1) else { continue };
        if !sizes[axis].is_multiple_of(group) {
            wrong.say(19, format!("step {at}: {} elements in groups of {group}", sizes[axis]));
            continue;
        }
        if by_fragments && group != PAIR {
            wrong.say(19, format!("step {at}: threads hold pairs, no groups of {group}"));
        }
        let groups =
            Groups { schedule, kernel, axis, size: group, places: starts(sizes, axis, group) };
        if let Some(what) = groups.step(step) {
            wrong.say(19, format!("step {at}: {what} in groups of {group}"));
        }
        if exchanged && let Some(what) = stored(schedule, kernel, step, (sizes, axis), pairs) {
            wrong.say(19, format!("step {at}: {what} by exchanged pairs"));
        }
    }
}

/// What is wrong with where a step stores pairs that lanes exchange: bf16 numbers of the device's memory, two or four
/// pairs side by side of as many rows of eight, to which nothing is added.
fn stored(
    schedule: &Schedule,
    kernel: &Kernel,
    step: &Step,
    (sizes, axis): (&[usize], usize),
    pairs: usize,
) -> Option<String> {
    let size = pairs * PAIR;
    let cols = match step {
        Step::Map { fragment: Some(fragment), .. } => fragment.warp.cols,
        Step::Product { warp, .. } => warp.cols,
        _ => 0,
    };
    if ![2, 4].contains(&pairs) || !cols.is_multiple_of(pairs * 8) {
        return Some(format!("{pairs} of {cols} columns"));
    }
    let Some(Target::Buffer(element, when)) = step.target() else {
        return Some("a tile is stored".into());
    };
    let buffer = schedule.buffers.get(element.buffer.0)?;
    let adds = matches!(step, Step::Map { add: true, .. } | Step::Product { add: true, .. });
    if adds || buffer.number != Number::Bf16 || !sizes[axis].is_multiple_of(size) {
        return Some(format!("{} is stored", buffer.name));
    }
    let groups = Groups { schedule, kernel, axis, size, places: starts(sizes, axis, size) };
    groups.element(element).or_else(|| when.iter().find_map(|when| groups.varies(when)))
}

fn last(sizes: &[usize]) -> Option<usize> {
    sizes.iter().rposition(|n| *n > 1)
}

/// The first elements of some groups.
fn starts(sizes: &[usize], axis: usize, group: usize) -> Vec<Vec<usize>> {
    let mut counts = sizes.to_vec();
    counts[axis] /= group;
    let all: usize = counts.iter().product();
    let every = all.div_ceil(LOOKED_AT).max(1);
    (0..all)
        .step_by(every)
        .chain([all - 1])
        .map(|place| {
            let mut rest = place;
            let mut at = vec![0; counts.len()];
            for (i, n) in counts.iter().enumerate().rev() {
                at[i] = rest % n;
                rest /= n;
            }
            at[axis] *= group;
            at
        })
        .collect()
}

struct Groups<'a> {
    schedule: &'a Schedule,
    kernel: &'a Kernel,
    axis: usize,
    size: usize,
    places: Vec<Vec<usize>>,
}

impl Groups<'_> {
    /// What of a step is not as it must be.
    fn step(&self, step: &Step) -> Option<String> {
        let to = step.targets().find_map(|to| match to {
            // A sum over them has one result for all.
            _ if matches!(step, Step::Reduce { over, .. } if over.contains(&self.axis)) => None,
            Target::Tile(id, index) => self.tile(*id, index),
            Target::Buffer(element, when) => {
                self.element(element).or_else(|| when.iter().find_map(|w| self.varies(w)))
            }
        });
        let mut wrong = None;
        for value in step.values() {
            value.walk(&mut |e| wrong = wrong.take().or_else(|| self.read(step, e)));
        }
        to.or(wrong)
    }

    /// What is wrong with a read that is made for all of a group, or with a condition that is asked for all of it.
    fn read(&self, step: &Step, e: &Expr) -> Option<String> {
        let buffers = &self.schedule.buffers;
        match e {
            Expr::Where(when, _) if groups::is_shared(self.kernel, buffers, step, when) => {
                self.varies(when)
            }
            Expr::Tile(..) | Expr::Buffer(_)
                if groups::moves(self.kernel, buffers, step, e) != Some(true) =>
            {
                None
            }
            Expr::Tile(id, index) => self.tile(*id, index),
            Expr::Buffer(element) => self.element(element),
            _ => None,
        }
    }

    /// The values of a function at the elements of each group.
    fn each(&self, f: impl Fn(&[usize]) -> i64) -> Vec<Vec<i64>> {
        let of = |start: &Vec<usize>| {
            let mut at = start.clone();
            let mut value = |l: usize| {
                at[self.axis] = start[self.axis] + l;
                f(&at)
            };
            (0..self.size).map(&mut value).collect()
        };
        self.places.iter().map(of).collect()
    }

    fn same(&self, i: &Ix) -> bool {
        self.each(|at| i.eval(at)).iter().all(|of| of.iter().all(|x| *x == of[0]))
    }

    /// Whether numbers lie side by side from a whole group on.
    fn together(&self, places: &[Vec<i64>]) -> bool {
        let next = |of: &Vec<i64>| of.windows(2).all(|pair| pair[1] == pair[0] + 1);
        places.iter().all(|of| of[0] % self.size as i64 == 0 && next(of))
    }

    fn tile(&self, id: TileId, index: &[Ix]) -> Option<String> {
        let tile = self.kernel.tiles.get(id.0).filter(|tile| !tile.in_registers())?;
        let per = PIECE / tile.number.bytes();
        let place = |at: &[usize]| {
            let index: Vec<i64> = index.iter().map(|i| i.eval(at)).collect();
            let plain: i64 =
                index.iter().zip(&tile.strides).map(|(i, stride)| i * *stride as i64).sum();
            match (tile.space, tile.swizzled(), index.as_slice()) {
                (Space::Shared(Swizzle::Rows), Some((pieces, rows)), [row, col]) => {
                    let turn = row / rows as i64 % pieces as i64;
                    let piece = (col / per as i64) ^ turn;
                    row * tile.strides[0] as i64 + piece * per as i64 + col % per as i64
                }
                _ => plain,
            }
        };
        let places = self.each(place);
        let bytes = self.size * tile.number.bytes();
        let begins = tile.at.is_some_and(|at| at.is_multiple_of(bytes))
            && (tile.stages == 1 || tile.bytes.is_multiple_of(bytes));
        let whole = bytes <= PIECE && begins;
        (!whole || !self.together(&places)).then(|| format!("tile{} is touched", id.0))
    }

    fn element(&self, element: &Element) -> Option<String> {
        let buffer = self.schedule.buffers.get(element.buffer.0)?;
        let counts: Vec<(usize, &Dim)> = buffer.dims.iter().enumerate().collect();
        let outer = counts.iter().rev().find(|(_, dim)| !matches!(dim, Dim::Number(_)));
        let outer = outer.map_or(0, |(at, _)| at + 1);
        let lengths = |dims: &[Dim]| -> Vec<usize> {
            let number = |dim: &Dim| if let Dim::Number(n) = dim { Some(*n) } else { None };
            dims.iter().filter_map(number).collect()
        };
        let (before, own) = (lengths(&buffer.dims[..outer]), lengths(&buffer.dims[outer..]));
        let (far, near) = element.index.split_at(before.len().min(element.index.len()));
        let row = element.row.iter().map(|token| &token.row);
        let stays = row.chain(far).all(|i| self.same(i));
        let inner = flat(near, &own);
        let places = self.each(|at| inner.eval(at));
        let part = element.split.filter(|axis| *axis >= before.len()).map_or(0, |axis| {
            let at = axis - before.len();
            own[at] / self.kernel.parts * own[at + 1..].iter().product::<usize>()
        });
        let bytes = self.size * buffer.number.bytes();
        let whole = bytes <= PIECE
            && (outer == 0 || own.iter().product::<usize>().is_multiple_of(self.size))
            && part.is_multiple_of(self.size);
        let sound = stays && whole && self.together(&places);
        (!sound).then(|| format!("{} is touched", buffer.name))
    }

    fn varies(&self, when: &Condition) -> Option<String> {
        let same = when.indices().iter().all(|i| self.same(i));
        (!same).then(|| "a condition differs".to_string())
    }
}
