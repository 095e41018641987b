//! The micro-steps of a token: what is done to a state one after the other, and what side by side.
//!
//! Writes of one update have the same decays before and behind them. If at most one of them contains reads, they are one
//! micro-step: what the others write is known, so that the system to be solved has rows for the one alone, and scans
//! along the chunk go over updates, not over writes. Else each write is a micro-step, all but the first without a decay.

use super::ChunkBuilder;
use crate::normal::{Decay, Update};
use crate::tile::Value;

/// One micro-step in the algebra: a decay, then writes that do not see each other.
#[derive(Clone, Debug)]
pub(super) struct Micro {
    pub(super) decay: Decay,
    /// Only the first contains reads.
    pub(super) writes: Vec<Write>,
}

/// A write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Value,
    pub(super) value: Option<Value>,
    /// Coefficients, and rows that read the state.
    pub(super) reads: Vec<(Value, Row)>,
}

/// A row that reads a state: its vector with decays folded in, and what it has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) read: usize,
    /// How many of the token's own micro-steps.
    pub(super) seen: usize,
    /// The update whose decay is folded into the vector.
    pub(super) folded: Option<usize>,
}

/// Whether writes of an update can be made side by side.
fn beside(update: &Update) -> bool {
    update.writes.iter().filter(|write| !write.reads.is_empty()).count() <= 1
}

impl ChunkBuilder<'_> {
    /// Splits updates into micro-steps. A decay without a write moves to the next update's first micro-step; reads in
    /// between have it folded into their vector.
    pub(super) fn micro_steps(&self, state: usize) -> Vec<Micro> {
        let updates = &self.n.states[state].updates;
        let mut steps: Vec<Micro> = Vec::new();
        for (at, update) in updates.iter().enumerate().filter(|(at, _)| !self.merges(state, *at)) {
            let folded = at.checked_sub(1).filter(|before| self.merges(state, *before));
            let decay = folded.map_or(update.decay, |before| updates[before].decay);
            let mut writes: Vec<Write> = update
                .writes
                .iter()
                .map(|write| {
                    let reads = write.reads.iter().map(|(c, r)| (*c, self.row(*r))).collect();
                    Write { key: write.key, value: write.value, reads }
                })
                .collect();
            if beside(update) {
                // A decay alone has a micro-step of its own, with nothing written.
                writes.sort_by_key(|write| write.reads.is_empty());
                steps.push(Micro { decay, writes });
                continue;
            }
            for (w, write) in writes.into_iter().enumerate() {
                let decay = if w == 0 { decay } else { Decay::None };
                steps.push(Micro { decay, writes: vec![write] });
            }
        }
        steps
    }

    /// Whether update `at` is a decay alone whose successor writes.
    fn merges(&self, state: usize, at: usize) -> bool {
        let updates = &self.n.states[state].updates;
        updates[at].writes.is_empty()
            && updates
                .get(at + 1)
                .is_some_and(|next| !next.writes.is_empty() && next.decay == Decay::None)
    }

    /// Micro-steps before update `at`.
    fn seen_before(&self, state: usize, at: usize) -> usize {
        let steps = |(at, update): (usize, &Update)| match update {
            _ if self.merges(state, at) => 0,
            update if beside(update) => 1,
            update => update.writes.len(),
        };
        self.n.states[state].updates[..at].iter().enumerate().map(steps).sum()
    }

    pub(super) fn row(&self, read: usize) -> Row {
        let r = &self.n.reads[read];
        let seen = self.seen_before(r.state, r.version);
        let folded = r.version.checked_sub(1).filter(|at| self.merges(r.state, *at));
        Row { read, seen, folded }
    }
}
