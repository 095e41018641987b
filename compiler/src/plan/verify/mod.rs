//! Checks a schedule on its own: it trusts nothing that planning has worked out, least of all lives
//! of tiles and barriers.
//!
//! After planning, every schedule keeps these promises:
//!
//! * **P1** Every tile that is used has a place inside the memory that a block has; operands of
//!   products lie in shared memory.
//! * **P2** Tiles that hold something at the same time share no bytes.
//! * **P3** An index of a tile has as many axes as the tile, and lies inside it.
//! * **P4** So do indices of buffers; a row is named where the buffer has rows, and nowhere else.
//! * **P5** Between two barriers no step reads what another one writes, and none writes what another
//!   one reads or writes: in one round of a loop, and from one round to the next.
//! * **P6** Every result is written whole, or starts at zero.
//! * **P7** What one kernel leaves for another is written whole before a later kernel reads it.
//! * **P8** What a call may go without is touched only where the call has it, and so is what a copy brings of it, unless
//!   zeros come instead.
//! * **P9** A tile is written before it is read.
//! * **P10** Operands of a product are bf16 matrices as large as the product says, warps cover its
//!   result, and every sum that is read has terms.
//! * **P11** A step that reads the tile that it writes reads the element that it writes.
//! * **P12** Every buffer that a kernel touches is among its arguments, and its loops are those of its
//!   grid.
//! * **P13** A tile in registers is touched only by steps that go over the fragments that it is held in,
//!   at the element that the thread holds.
//! * **P14** What a copy brings is read in its own round, behind a wait for it and a barrier.
//! * **P15** A copy goes to no stage that another copy goes to or that is still read since a barrier.
//! * **P16** Swizzled tiles are matrices in shared memory whose rows are whole pieces that fill the banks
//!   evenly.
//! * **P17** A copy moves whole pieces, of the tile's own numbers, in order, into shared memory; its conditions hold for
//!   whole pieces, and there are threads for all of them.
//! * **P18** Scans and solves are of f32 tiles as they stand in memory; nothing is added to bf16 numbers; what rounding leaves
//!   lies as what it is left of.
//! * **P19** What a thread reads or writes at once for a group of neighbours lies side by side from a whole group on,
//!   within 16 bytes, and within what a thread holds of a fragment; conditions on writes, and on such reads, hold for a
//!   whole group. So do two pairs of a fragment that lanes exchange: they go to bf16 numbers of the device's memory.

mod bounds;
mod buffers;
mod copies;
mod groups;
mod memory;
mod order;
mod spaces;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use super::{Kernel, Schedule, Space};

/// A promise that a schedule does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its number.
    pub promise: u8,
    /// Where, and how.
    pub what: String,
}

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "P{}: {}", self.promise, self.what)
    }
}

/// What is wrong with a schedule on a GPU whose blocks may have `room` bytes of shared memory; nothing
/// if it is sound.
pub fn verify(schedule: &Schedule, room: usize) -> Vec<Broken> {
    let mut wrong = Wrong::default();
    for kernel in &schedule.kernels {
        wrong.place = kernel.name.clone();
        memory::check(kernel, room, &mut wrong);
        bounds::check(schedule, kernel, &mut wrong);
        order::check(schedule, kernel, &mut wrong);
        spaces::check(kernel, &mut wrong);
        copies::check(schedule, kernel, &mut wrong);
        groups::check(schedule, kernel, &mut wrong);
    }
    wrong.place = schedule.name.clone();
    buffers::check(schedule, &mut wrong);
    // Rounds of a loop break the same promises.
    let mut found: Vec<Broken> = Vec::new();
    for broken in wrong.found {
        if !found.contains(&broken) {
            found.push(broken);
        }
    }
    found
}

/// What has been found so far.
#[derive(Default)]
struct Wrong {
    place: String,
    found: Vec<Broken>,
}

impl Wrong {
    fn say(&mut self, promise: u8, what: impl Display) {
        let what = format!("{}: {what}", self.place);
        self.found.push(Broken { promise, what });
    }
}

/// The bytes of some stages of a tile, if it has a place: in shared memory or not, from, to.
fn bytes(kernel: &Kernel, tile: usize, stages: Range<usize>) -> Option<(bool, usize, usize)> {
    let tile = kernel.tiles.get(tile)?;
    let at = tile.at?;
    let inside = match tile.space {
        Space::Register(_) => return None,
        Space::Shared(_) => true,
        Space::Workspace => false,
    };
    Some((inside, at + stages.start * tile.bytes, at + stages.end * tile.bytes))
}

/// Whether two places have bytes in common.
fn overlap(a: (bool, usize, usize), b: (bool, usize, usize)) -> bool {
    a.0 == b.0 && a.1 < b.2 && b.1 < a.2
}
