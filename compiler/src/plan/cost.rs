//! What a kernel does, counted from its plan: by this plans can be compared without a GPU.

use std::fmt::{self, Display, Formatter};

use super::target::Gpu;
use super::{Expr, Kernel, Loop, Number, ScanSizes, Step, Stmt, Target};

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
pub fn cost(kernel: &Kernel, gpu: Gpu) -> Cost {
    let blocks = gpu.blocks(kernel.shared, kernel.threads);
    let mut cost = Cost { blocks, ..Cost::default() };
    for stmt in &kernel.body {
        let to = if matches!(stmt, Stmt::Loop(_)) { &mut cost.round } else { &mut cost.once };
        count(std::slice::from_ref(stmt), to);
    }
    cost
}

fn count(body: &[Stmt], to: &mut Work) {
    for stmt in body {
        match stmt {
            Stmt::Step(step) => to.add(of_step(step)),
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => count(body, to),
        }
    }
}

fn of_step(step: &Step) -> Work {
    let none = Work::default();
    let (sizes, value, to, add) = match step {
        Step::Map { sizes, value, to, add, .. } | Step::Product { sizes, value, to, add, .. } => {
            (sizes, value, to, *add)
        }
        Step::Reduce { sizes, value, to, .. } => (sizes, value, to, true),
        Step::Scan { sizes: ScanSizes { rows, steps, width }, .. } => {
            return Work { fma: rows * steps * width, ..none };
        }
        Step::Barrier => return Work { waits: 1, ..none },
        Step::Copy { .. } | Step::Wait { .. } | Step::Solve { .. } | Step::LinearSolve { .. } => {
            return none;
        }
    };
    let elements: usize = sizes.iter().product();
    let (mut reads, mut operations) = (0, usize::from(add));
    value.walk(&mut |e| match e {
        Expr::Buffer(_) => reads += Number::F32.bytes(),
        Expr::Unary(..) | Expr::Binary(..) | Expr::Mul(_) | Expr::Weight(_) => operations += 1,
        _ => {}
    });
    let writes = if matches!(to, Target::Buffer(..)) { Number::F32.bytes() } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::super::target::GPUS;
    use super::super::{BufferId, Element, Operand, Term, TileId, WarpTile};
    use super::*;
    use crate::tile::Unary;

    #[test]
    fn steps_cost_what_they_touch_and_compute() {
        let operand = Operand { tile: TileId(0), transposed: false };
        let product = Step::Product {
            sizes: vec![20, 16],
            axes: [0, 1],
            terms: vec![Term { left: operand, right: operand, length: 24 }],
            warp: WarpTile { rows: 16, cols: 16 },
            filled: false,
            value: Expr::Sum,
            to: Target::Tile(TileId(1), vec![]),
            add: false,
        };
        assert_eq!(of_step(&product), Work { mma: 2 * 32 * 16 * 32, ..Work::default() });
        let element = Element { buffer: BufferId(0), row: None, index: vec![], split: None };
        let read = Expr::Unary(Unary::Exp, Box::new(Expr::Buffer(element.clone())));
        let map = Step::map(&[10, 3], read, Target::Buffer(element, vec![]));
        assert_eq!(of_step(&map), Work { bytes: 30 * 8, fma: 30, ..Work::default() });
    }

    #[test]
    fn blocks_share_a_multiprocessor() {
        assert_eq!(GPUS[0].blocks(0, 256), 8);
        assert_eq!(GPUS[0].blocks(50 * 1024, 256), 3);
        assert_eq!(GPUS[0].blocks(GPUS[0].shared, 256), 1);
    }
}
