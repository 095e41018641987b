//! Schedules as wholes: what follows from their kernels.

use super::buffer::{Access, Buffer, BufferId, Dim, Role};
use super::cost::cost;
use super::groups::groups;
use super::target::Gpu;
use super::verify::verify;
use super::{Argument, Grid, Kernel, Over, Schedule, Step, Stmt, Tile, TileId};

impl Schedule {
    /// A buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// Works out what kernels do with the buffers, what arguments they take and what they cost. Where debugging is on,
    /// the whole is checked.
    pub(super) fn finish(mut self, gpu: Gpu) -> Schedule {
        let steps: Vec<&Step> = self.kernels.iter().flat_map(Kernel::steps).collect();
        let written: Vec<BufferId> =
            steps.iter().filter_map(|step| step.target()?.element()).map(|e| e.buffer).collect();
        let added: Vec<BufferId> = steps.iter().filter_map(|step| step.adds_to()).collect();
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            let id = BufferId(at);
            let write = written.contains(&id);
            buffer.access = if write { Access::Write } else { Access::Read };
            let made = matches!(buffer.role, Role::Result | Role::Temporary);
            buffer.starts_at_zero = made && (!write || added.contains(&id));
        }
        for kernel in &mut self.kernels {
            kernel.arguments = kernel.places();
            groups(kernel, &self.buffers);
            kernel.cost = cost(kernel, &self.buffers, gpu);
            for (at, buffer) in self.buffers.iter().enumerate() {
                let id = BufferId(at);
                kernel.arguments.push(Argument::Buffer(id));
                kernel.arguments.extend(buffer.has_own_heads().then_some(Argument::OwnHeads(id)));
            }
        }
        if cfg!(debug_assertions) {
            let wrong = verify(&self, gpu.shared);
            assert!(wrong.is_empty(), "{self}{wrong:#?}");
        }
        self
    }

    /// Kernels that a call starts, with those that add up partial results afterwards: given the
    /// length of each axis, how many heads share what a buffer belongs to, and whether it is asked
    /// for.
    pub fn launches(
        &self,
        extent: &dyn Fn(&Dim) -> usize,
        share: &dyn Fn(&Buffer) -> usize,
        asked: &dyn Fn(&Buffer) -> bool,
    ) -> usize {
        let results = self.buffers.iter().filter(|b| b.role == Role::Result && asked(b));
        let sums = results
            .map(|b| {
                let (terms, share) = (b.terms(extent) > 1, share(b) > 1);
                usize::from(terms) + usize::from(share) + usize::from(b.adds && !terms && !share)
            })
            .sum::<usize>();
        self.kernels.len() + sums
    }
}

impl Kernel {
    /// The arguments by which a block knows its place.
    fn places(&self) -> Vec<Argument> {
        let mut all = match self.grid {
            Grid::Heads => vec![
                Argument::Bounds,
                Argument::Chunks { every: self.chunk },
                Argument::Sequences,
                Argument::Heads,
            ],
            Grid::Pairs { .. } | Grid::Chunks => {
                vec![Argument::Bounds, Argument::Jobs, Argument::Sequences, Argument::Heads]
            }
            Grid::Rows => vec![Argument::Positions, Argument::Rows],
        };
        all.extend((self.workspace > 0).then_some(Argument::Workspace));
        all
    }

    /// All steps.
    pub fn steps(&self) -> Vec<&Step> {
        self.body.iter().flat_map(Stmt::steps).collect()
    }

    /// What the rounds of its loop are, if it has one outside all others.
    pub fn rounds(&self) -> Option<Over> {
        self.body.iter().find_map(|stmt| match stmt {
            Stmt::Loop(inner) => Some(inner.over),
            _ => None,
        })
    }

    /// A tile.
    pub fn tile(&self, id: TileId) -> &Tile {
        &self.tiles[id.0]
    }
}
