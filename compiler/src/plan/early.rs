//! Steps that free memory, as soon as what they read is there.
//!
//! Problem: steps are made in the order of the results that ask for them. What one result has computed waits in memory
//! for another that only writes it down, or adds it up to a few numbers, and blocks of threads that hold more than
//! half of a multiprocessor's memory run alone.
//!
//! Idea: a step that takes no more memory than it frees runs at once; all others keep their order.

use std::collections::BTreeSet;

use super::{BufferId, Expr, Step, Target, Tile, TileId};

/// What a step touches.
pub(super) struct Touches {
    pub(super) reads: BTreeSet<TileId>,
    pub(super) writes: BTreeSet<TileId>,
    from: BTreeSet<BufferId>,
    pub(super) to: Option<BufferId>,
}

impl Touches {
    pub(super) fn of(step: &Step) -> Touches {
        let mut from = BTreeSet::new();
        if let Some(value) = step.value() {
            value.walk(&mut |e| {
                if let Expr::Buffer(element) = e {
                    from.insert(element.buffer);
                }
            });
        }
        Touches {
            reads: step.reads().into_iter().collect(),
            writes: step.writes().into_iter().collect(),
            from,
            to: step.target().and_then(Target::element).map(|element| element.buffer),
        }
    }

    /// Whether this one must stay before another.
    pub(super) fn before(&self, later: &Touches) -> bool {
        let meets = |a: &BTreeSet<TileId>, b: &BTreeSet<TileId>| !a.is_disjoint(b);
        meets(&self.writes, &later.reads)
            || meets(&self.writes, &later.writes)
            || meets(&self.reads, &later.writes)
            || self.to.is_some_and(|to| later.to == Some(to) || later.from.contains(&to))
            || later.to.is_some_and(|to| self.from.contains(&to))
    }
}

/// The same steps, those that free memory as early as they can.
pub(super) fn early(steps: Vec<Step>, tiles: &[Tile]) -> Vec<Step> {
    let touches: Vec<Touches> = steps.iter().map(Touches::of).collect();
    let waits: Vec<Vec<usize>> = (0..steps.len())
        .map(|at| (0..at).filter(|earlier| touches[*earlier].before(&touches[at])).collect())
        .collect();
    let mut left: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut held: BTreeSet<TileId> = BTreeSet::new();
    let mut order = Vec::with_capacity(left.len());
    loop {
        let open: Vec<usize> = (0..left.len()).filter(|at| left[*at].is_some()).collect();
        let ready = |at: usize| waits[at].iter().all(|before| left[*before].is_none());
        let bytes = |tile: &TileId| if tiles[tile.0].carried { 0 } else { tiles[tile.0].bytes };
        let frees = |at: usize| {
            let touched = touches[at].reads.union(&touches[at].writes);
            let last = |tile: &&TileId| {
                !open.iter().any(|other| *other != at && touches[*other].reads.contains(tile))
            };
            let takes = touches[at].writes.iter().filter(|tile| !held.contains(tile));
            takes.map(bytes).sum::<usize>() <= touched.filter(last).map(bytes).sum()
        };
        let first = open.iter().copied().find(|at| ready(*at) && frees(*at));
        let Some(next) = first.or(open.first().copied()) else { return order };
        held.extend(&touches[next].writes);
        order.extend(left[next].take());
    }
}
