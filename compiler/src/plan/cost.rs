//! What a kernel does, counted from its plan: by this plans can be compared without a GPU.

use std::fmt::{self, Display, Formatter};

use super::target::Gpu;
use super::{
    Buffer, Expr, Grid, Kernel, Loop, Number, Pass, ScanOp, ScanSizes, Schedule, Space, Step, Stmt,
    Target, TileId,
};

/// What a block does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of device memory that are read or written, each as often as a step names it.
    pub bytes: usize,
    /// Operations of products on the matrix units, with what fills their fragments.
    pub mma: usize,
    /// Operations on the ordinary units, a function of a number being one.
    pub fma: usize,
    /// Times that all threads wait for each other.
    pub waits: usize,
}

/// What a kernel does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Once for each block.
    pub once: Work,
    /// In each round of its loops, all of them together.
    pub round: Work,
    /// Blocks that a multiprocessor holds at a time.
    pub blocks: usize,
}

impl Work {
    fn add(&mut self, other: Work) {
        self.bytes += other.bytes;
        self.mma += other.mma;
        self.fma += other.fma;
        self.waits += other.waits;
    }
}

impl Display for Work {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Work { bytes, mma, fma, waits } = self;
        write!(f, "{bytes} bytes, {mma} matrix operations, {fma} others, {waits} barriers")
    }
}

/// Counts a kernel whose tiles are placed.
pub fn cost(kernel: &Kernel, buffers: &[Buffer], gpu: Gpu) -> Cost {
    let blocks = gpu.blocks(kernel.shared, kernel.threads);
    let mut cost = Cost { blocks, ..Cost::default() };
    for stmt in &kernel.body {
        let to = if matches!(stmt, Stmt::Loop(_)) { &mut cost.round } else { &mut cost.once };
        count(kernel, buffers, std::slice::from_ref(stmt), to);
    }
    cost
}

fn count(kernel: &Kernel, buffers: &[Buffer], body: &[Stmt], to: &mut Work) {
    for stmt in body {
        match stmt {
            Stmt::Step(step) => to.add(of_step(kernel, buffers, step)),
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => {
                count(kernel, buffers, body, to);
            }
        }
    }
}

fn of_step(kernel: &Kernel, buffers: &[Buffer], step: &Step) -> Work {
    let none = Work::default();
    let (sizes, add) = match step {
        Step::Map { sizes, add, .. } | Step::Product { sizes, add, .. } => (sizes, *add),
        Step::Reduce { sizes, .. } => (sizes, true),
        Step::Scan { sizes: ScanSizes { rows, steps, width }, .. } => {
            return Work { fma: rows * steps * width, ..none };
        }
        Step::Barrier => return Work { waits: 1, ..none },
        Step::Copy { to, .. } => return Work { bytes: kernel.tile(*to).bytes, ..none },
        Step::Wait { .. } | Step::Solve { .. } | Step::Invert { .. } | Step::LinearSolve { .. } => {
            return none;
        }
    };
    let elements: usize = sizes.iter().product();
    let (mut reads, mut operations) = (0, usize::from(add));
    let mut count = |e: &Expr| match e {
        Expr::Buffer(element) => reads += buffers[element.buffer.0].number.bytes(),
        Expr::Tile(id, _) if in_workspace(kernel, *id) => reads += Number::F32.bytes(),
        Expr::Unary(..) | Expr::Binary(..) | Expr::Mul(_) | Expr::Weight(_) => operations += 1,
        _ => {}
    };
    step.values().for_each(|value| value.walk(&mut count));
    let written = |to: &Target| match to {
        Target::Buffer(element, _) => buffers[element.buffer.0].number.bytes(),
        Target::Tile(id, _) if in_workspace(kernel, *id) => Number::F32.bytes(),
        Target::Tile(..) => 0,
    };
    let writes: usize = step.targets().map(written).sum();
    let mma = match step {
        Step::Product { axes: [p, q], terms, warp, .. } => {
            let result =
                sizes[*p].next_multiple_of(warp.rows) * sizes[*q].next_multiple_of(warp.cols);
            terms.iter().map(|term| 2 * result * term.length.next_multiple_of(warp.rows)).sum()
        }
        _ => 0,
    };
    // A sum's result is written once.
    let results = match step {
        Step::Reduce { over, .. } => elements / over.iter().map(|a| sizes[*a]).product::<usize>(),
        _ => elements,
    };
    let bytes = elements * reads + results * writes;
    Work { bytes, mma, fma: elements * operations, ..none }
}

fn in_workspace(kernel: &Kernel, id: TileId) -> bool {
    kernel.tiles.get(id.0).is_some_and(|tile| tile.space == Space::Workspace)
}

/// The call by which plans are compared: sequences, tokens of each, heads.
const SEQUENCES: usize = 4;
const TOKENS: usize = 4096;
const HEADS: usize = 8;
/// Cycles of starting a kernel, behind the one before it.
const LAUNCH: usize = 4000;
/// Cycles until a load of device memory is there, and until all threads have met at a barrier.
const LOAD: usize = 500;
const WAIT: usize = 40;
/// Loads of a thread that are in flight at a time.
const FLIGHT: usize = 4;
/// Bytes that a multiprocessor takes in a cycle at most.
const PORT: usize = 64;
/// Cycles of a step of a chain of multiplications in shared memory.
const LINK: usize = 30;
/// Instructions that a multiprocessor starts in a cycle, by lanes, and operations of its matrix units, of which
/// address arithmetic and loads of operands leave a part.
const LANES: usize = 96;
/// Warps of a scheduler of which one has an instruction to start.
const SHARED: usize = 4;
const MATRIX: usize = 1536;
/// Instructions around an element of a loop, several of which have one index and one address, around one of the result of
/// a product, and around a piece of a copy.
const AROUND: usize = 1;
const AROUND_RESULT: usize = 2;
const AROUND_PIECE: usize = 12;

/// About how many cycles a schedule takes on a GPU, for ranking: every kernel as long as its blocks wait for
/// themselves in waves, as long as all instructions take, or as long as its bytes do, whichever is most.
pub fn cycles(schedule: &Schedule, gpu: Gpu) -> usize {
    let Schedule { kernels, buffers, pass, .. } = schedule;
    let tokens = if *pass == Pass::Decode { 1 } else { TOKENS };
    kernels.iter().map(|kernel| LAUNCH + cycles_of(kernel, buffers, tokens, gpu)).sum()
}

fn cycles_of(kernel: &Kernel, buffers: &[Buffer], tokens: usize, gpu: Gpu) -> usize {
    let rounds = tokens.div_ceil(kernel.chunk);
    let [blocks, rounds] = match kernel.grid {
        Grid::Heads => [SEQUENCES * HEADS * kernel.parts, rounds],
        Grid::Chunks | Grid::Pairs { .. } => [SEQUENCES * HEADS * rounds, 1],
        Grid::Rows => [gpu.multiprocessors, rounds],
    };
    let resident = gpu.blocks(kernel.shared, kernel.threads).max(1);
    let [mut alone, mut issue] = [0; 2];
    for stmt in &kernel.body {
        let times = if matches!(stmt, Stmt::Loop(_)) { rounds } else { 1 };
        for step in stmt.steps() {
            let [own, all] = time(kernel, buffers, step);
            (alone, issue) = (alone + times * own, issue + times * all);
        }
    }
    let Cost { once, round, .. } = cost(kernel, buffers, gpu);
    // Each multiprocessor has its share of the bandwidth, a larger one where some have nothing to do.
    let bytes = (once.bytes + rounds * round.bytes) * blocks.div_ceil(gpu.multiprocessors);
    let share = gpu.bandwidth * gpu.multiprocessors / blocks.clamp(1, gpu.multiprocessors);
    let waves = blocks.div_ceil(gpu.multiprocessors * resident);
    let all = issue * blocks.div_ceil(gpu.multiprocessors);
    (waves * alone).max(all).max(bytes / share.min(PORT))
}

/// Cycles of a step for a block that has a multiprocessor to itself, and of those the ones in which it starts
/// instructions.
fn time(kernel: &Kernel, buffers: &[Buffer], step: &Step) -> [usize; 2] {
    // A scheduler with a single warp waits for most of its results.
    let lanes = (kernel.threads / SHARED).clamp(1, LANES);
    let even = |instructions: usize| instructions.div_ceil(LANES);
    let both = |instructions: usize| [instructions.div_ceil(lanes), even(instructions)];
    match step {
        Step::Barrier | Step::Wait { .. } => [WAIT, 1],
        Step::Copy { to, piece, .. } => both(kernel.tile(*to).bytes / piece * AROUND_PIECE),
        Step::Map { sizes, value, .. } | Step::Reduce { sizes, value, .. } => {
            let elements: usize = sizes.iter().product();
            let (mut operations, mut loads) = (AROUND, false);
            value.walk(&mut |e| {
                operations += 1;
                loads |= match e {
                    Expr::Buffer(_) => true,
                    Expr::Tile(id, _) => in_workspace(kernel, *id),
                    _ => false,
                };
            });
            let busy = match step {
                Step::Reduce { over, lanes, .. } => {
                    let terms: usize = over.iter().map(|axis| sizes[*axis]).product();
                    (elements / terms.max(1) * lanes).clamp(1, kernel.threads)
                }
                _ => kernel.threads,
            };
            let rounds = elements.div_ceil(busy);
            let issue = (elements * operations).div_ceil(busy.min(lanes));
            let waits = if loads { rounds.div_ceil(FLIGHT) * LOAD } else { 0 };
            [issue + waits, even(elements * operations)]
        }
        Step::Product { sizes, .. } => {
            let elements: usize = sizes.iter().product();
            let units = of_step(kernel, buffers, step).mma / MATRIX;
            both(elements * AROUND_RESULT).map(|issue| units + issue)
        }
        Step::Scan { op, sizes: ScanSizes { rows, steps, width }, .. } => {
            let (rows, steps, width) = (*rows, *steps, *width);
            match op {
                ScanOp::Gram(_) | ScanOp::Apply(_) | ScanOp::ApplyT(_) => {
                    both(rows * steps * width * steps / 2)
                }
                ScanOp::GramGrad(_) => both(rows * steps * width * steps),
                ScanOp::DecayMaskGrad(_) => both(rows * steps * LINK * 2),
                _ => [
                    rows.max(steps) * LINK * width.div_ceil(kernel.threads),
                    even(rows.max(steps) * width),
                ],
            }
        }
        Step::Invert { x, .. } => {
            let rows = kernel.tile(*x).shape[0];
            // Rows wait for those before them, sixteen at a time for all of them.
            let [alone, issue] = both(rows * rows * rows / 2);
            [alone + rows * LINK, issue]
        }
        Step::Solve { x, .. } | Step::LinearSolve { x, .. } => {
            let shape = &kernel.tile(*x).shape;
            let (rows, all) = (shape[shape.len() - 2], shape.iter().product::<usize>());
            // Each row waits for those before it.
            let [alone, issue] = both(2 * rows * all);
            [alone + 2 * rows * LINK, issue]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::GPUS;
    use super::super::{Binding, BufferId, Element, Operand, Role, Term, TileId, WarpTile};
    use super::*;
    use crate::tile::Unary;

    #[test]
    fn steps_cost_what_they_touch_and_compute() {
        let kernel = Kernel {
            grid: Grid::Heads,
            name: String::new(),
            arguments: vec![],
            threads: 128,
            chunk: 16,
            parts: 1,
            tiles: vec![],
            body: vec![],
            shared: 0,
            workspace: 0,
            cost: Cost::default(),
        };
        let operand = Operand { tile: TileId(0), transposed: false };
        let product = Step::Product {
            sizes: vec![20, 16],
            axes: [0, 1],
            terms: vec![Term { left: operand, right: operand, length: 24, sum: 0, sees: None }],
            warp: WarpTile { rows: 16, cols: 16 },
            filled: false,
            group: 1,
            exchanged: 1,
            value: Expr::Sum(0),
            to: Target::Tile(TileId(1), vec![]),
            add: false,
            also: vec![],
        };
        assert_eq!(
            of_step(&kernel, &[], &product),
            Work { mma: 2 * 32 * 16 * 32, ..Work::default() }
        );
        let element = Element { buffer: BufferId(0), row: None, index: vec![], split: None };
        let read = Expr::Unary(Unary::Exp, Box::new(Expr::Buffer(element.clone())));
        let map = Step::map(&[10, 3], read, Target::Buffer(element, vec![]));
        let buffer = Buffer::new("x", Binding::Input(0), Role::Result, vec![]);
        assert_eq!(
            of_step(&kernel, &[buffer], &map),
            Work { bytes: 30 * 8, fma: 30, ..Work::default() }
        );
    }

    #[test]
    fn blocks_share_a_multiprocessor() {
        assert_eq!(GPUS[0].blocks(0, 256), 8);
        assert_eq!(GPUS[0].blocks(50 * 1024, 256), 3);
        assert_eq!(GPUS[0].blocks(GPUS[0].shared, 256), 1);
    }
}
