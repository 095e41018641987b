//! Gives tiles their memory, and puts barriers where threads must wait.

use super::{BufferId, Kernel, Number, Place, Section, Step, Target, Tile, TileId};

/// Bytes to whose multiples tiles are aligned: what a copy of a matrix fragment needs, and more.
const ALIGN: usize = 128;

/// Which sections a tile is used in, and between which of their steps.
#[derive(Clone, Copy, Debug)]
struct Life {
    section: usize,
    from: usize,
    to: usize,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.section == other.section && self.from <= other.to && other.from <= self.to
    }
}

/// Keeps the plan that needs less working memory; says whether it needs none, so that no better one
/// can come.
pub fn keep_better<T>(best: &mut Option<T>, made: T, working: impl Fn(&T) -> usize) -> bool {
    if best.as_ref().is_none_or(|best| working(&made) < working(best)) {
        *best = Some(made);
    }
    best.as_ref().is_some_and(|best| working(best) == 0)
}

/// Places all tiles, in shared memory as long as there is `room`, and inserts barriers. `false`
/// where operands of matrix products do not fit. Where not all tiles have room, copies of what stays
/// anyway are made as late as can be.
pub fn place(kernel: &mut Kernel, room: usize) -> bool {
    let mut late = kernel.clone();
    let fits = place_in_order(kernel, room);
    if fits && kernel.working == 0 {
        return true;
    }
    let Kernel { sections, tiles, .. } = &mut late;
    sections.iter_mut().for_each(|section| put_off(&mut section.steps, tiles));
    let late_fits = place_in_order(&mut late, room);
    if late_fits && (!fits || late.working < kernel.working) {
        *kernel = late;
    }
    fits || late_fits
}

/// Moves steps that make a tile from nothing but what stays, states and tensors, to just before the
/// tile's first reader.
fn put_off(steps: &mut [Step], tiles: &[Tile]) {
    for at in (0..steps.len()).rev() {
        let Step::Map { to: Target::Tile(made, _), add: false, .. } = &steps[at] else { continue };
        let (made, reads) = (*made, steps[at].reads());
        let later = &steps[at + 1..];
        let alone = steps.iter().filter(|step| step.writes().contains(&made)).count() == 1;
        let stays = |tile: &TileId| tiles[tile.0].lasting;
        if !alone || stays(&made) || !reads.iter().all(stays) {
            continue;
        }
        let Some(first) = later.iter().position(|step| step.reads().contains(&made)) else {
            continue;
        };
        let changed = |step: &Step| step.writes().iter().any(|tile| reads.contains(tile));
        let until = later[..first].iter().position(changed).unwrap_or(first);
        steps[at..=at + until].rotate_left(1);
    }
}

fn place_in_order(kernel: &mut Kernel, room: usize) -> bool {
    let lives: Vec<Option<Life>> = (0..kernel.tiles.len()).map(|at| life(kernel, at)).collect();
    // Matrix units read shared memory only; what lasts is used most.
    let mut order: Vec<usize> = (0..kernel.tiles.len()).collect();
    order.sort_by_key(|&at| {
        let tile = &kernel.tiles[at];
        let urgent = match (tile.number, tile.lasting) {
            (Number::Bf16, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        (urgent, lives[at].map_or(0, |life| life.from))
    });
    let (mut shared, mut working) = (Vec::new(), Vec::new());
    for at in order {
        let tile = &kernel.tiles[at];
        if lives[at].is_none() && !tile.lasting {
            continue;
        }
        let inside = fit(&kernel.tiles, &lives, &shared, at);
        let place = if inside + tile.bytes <= room {
            shared.push((at, inside));
            kernel.shared = kernel.shared.max(inside + tile.bytes);
            Place::Shared(inside)
        } else {
            if tile.number == Number::Bf16 {
                return false;
            }
            let outside = fit(&kernel.tiles, &lives, &working, at);
            working.push((at, outside));
            kernel.working = kernel.working.max(outside + tile.bytes);
            Place::Working(outside)
        };
        kernel.tiles[at].place = Some(place);
    }
    kernel.working = kernel.working.next_multiple_of(ALIGN);
    for section in 0..kernel.sections.len() {
        barriers(kernel, section);
    }
    true
}

fn life(kernel: &Kernel, tile: usize) -> Option<Life> {
    let id = TileId(tile);
    let mut life: Option<Life> = None;
    for (section, Section { steps, .. }) in kernel.sections.iter().enumerate() {
        for (at, step) in steps.iter().enumerate() {
            if step.reads().contains(&id) || step.writes().contains(&id) {
                life.get_or_insert(Life { section, from: at, to: at }).to = at;
            }
        }
    }
    life
}

/// The lowest place at which a tile meets no other.
fn fit(tiles: &[Tile], lives: &[Option<Life>], placed: &[(usize, usize)], at: usize) -> usize {
    let meets = |other: usize| {
        tiles[at].lasting
            || tiles[other].lasting
            || lives[at].zip(lives[other]).is_some_and(|(a, b)| a.meets(&b))
    };
    let taken: Vec<(usize, usize)> = placed
        .iter()
        .filter(|(other, _)| meets(*other))
        .map(|(other, start)| (*start, start + tiles[*other].bytes))
        .collect();
    let mut starts: Vec<usize> =
        taken.iter().map(|(_, end)| end.next_multiple_of(ALIGN)).chain([0]).collect();
    starts.sort_unstable();
    let free = |start: usize| {
        taken.iter().all(|(from, to)| start + tiles[at].bytes <= *from || *to <= start)
    };
    starts.into_iter().find(|start| free(*start)).expect("the end of all others is free")
}

/// Memory that a step touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Region {
    /// Bytes of shared memory.
    Shared(usize, usize),
    /// Bytes of working memory.
    Working(usize, usize),
    /// A tensor that is added to.
    Whole(BufferId),
}

impl Region {
    /// Whether two steps that touch these must not run at the same time.
    pub fn meets(&self, other: &Region) -> bool {
        match (self, other) {
            (Region::Shared(a, b), Region::Shared(c, d))
            | (Region::Working(a, b), Region::Working(c, d)) => a < d && c < b,
            (Region::Whole(a), Region::Whole(b)) => a == b,
            _ => false,
        }
    }
}

/// What a step reads and writes.
pub fn touched(tiles: &[Tile], step: &Step) -> (Vec<Region>, Vec<Region>) {
    let region = |id: &TileId| {
        let tile = &tiles[id.0];
        match tile.place {
            Some(Place::Shared(at)) => Some(Region::Shared(at, at + tile.bytes)),
            Some(Place::Working(at)) => Some(Region::Working(at, at + tile.bytes)),
            None => None,
        }
    };
    let reads = step.reads().iter().filter_map(region).collect();
    let mut writes: Vec<Region> = step.writes().iter().filter_map(region).collect();
    writes.extend(step.adds_to().map(Region::Whole));
    (reads, writes)
}

/// Puts a barrier before each step that meets what others have touched since the last one, and one
/// at the end: the next chunk begins with the same steps.
fn barriers(kernel: &mut Kernel, section: usize) {
    let last = section + 1 == kernel.sections.len();
    let Section { each, steps } = &mut kernel.sections[section];
    let (each, steps) = (*each, std::mem::take(steps));
    let (mut read, mut written): (Vec<Region>, Vec<Region>) = (vec![], vec![]);
    let mut done = Vec::with_capacity(steps.len() * 2);
    for step in steps {
        let (reads, writes) = touched(&kernel.tiles, &step);
        let meets = |a: &[Region], b: &[Region]| a.iter().any(|x| b.iter().any(|y| x.meets(y)));
        if meets(&reads, &written) || meets(&writes, &written) || meets(&writes, &read) {
            done.push(Step::Barrier);
            (read, written) = (vec![], vec![]);
        }
        read.extend(reads);
        written.extend(writes);
        done.push(step);
    }
    if (each || !last) && !(read.is_empty() && written.is_empty()) {
        done.push(Step::Barrier);
    }
    kernel.sections[section].steps = done;
}
