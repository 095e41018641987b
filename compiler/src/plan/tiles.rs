//! Tiles: what a block of threads holds while it works, and where.

pub use crate::tile::Number;

/// Names a tile of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId(pub usize);

/// The piece of a product's result that a warp makes at a time, in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarpTile {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// How the threads of a block hold a matrix: as products on the matrix units leave it, warp tile after
/// warp tile, each with the same warp every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What a warp holds at a time.
    pub warp: WarpTile,
    /// Which axes of the matrix are the rows and the columns of warp tiles.
    pub axes: [usize; 2],
}

impl Fragment {
    /// Warp tiles of a matrix of these sizes, and how many of them lie side by side.
    pub fn jobs(&self, sizes: &[usize]) -> (usize, usize) {
        let across = sizes[self.axes[1]].div_ceil(self.warp.cols);
        (sizes[self.axes[0]].div_ceil(self.warp.rows) * across, across)
    }

    /// Numbers that a thread holds of one warp tile.
    pub fn numbers(&self) -> usize {
        self.warp.rows * self.warp.cols / 32
    }
}

/// The order of pieces of 16 bytes within rows of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// As they stand.
    None,
    /// Exchanged by the row's number, so that the same piece of neighbouring rows lies in different banks.
    Rows,
}

/// Bytes of a piece that swizzling leaves whole, and that a thread copies at once.
pub const PIECE: usize = 16;
/// Pieces that all banks of shared memory hold.
const BANKS: usize = 8;

/// Where a tile lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// In the registers of the threads that make it.
    Register(Fragment),
    /// In the block's shared memory; [`Tile::strides`] is the layout before swizzling.
    Shared(Swizzle),
    /// In the block's part of the workspace.
    Workspace,
}

/// A tile of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// What it holds, for people.
    pub name: String,
    /// Its numbers.
    pub number: Number,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Distance between neighbours along each axis, in numbers.
    pub strides: Vec<usize>,
    /// Bytes of one stage, with what pads it.
    pub bytes: usize,
    /// How many contents it holds side by side, one for each round of its loop in turn.
    pub stages: usize,
    /// Whether it keeps its contents from one round of a loop to the next, or from one loop to another.
    pub carried: bool,
    /// Where it lies.
    pub space: Space,
    /// At which byte of that memory, once placed; nothing in registers.
    pub at: Option<usize>,
}

impl Tile {
    /// Bytes of all its stages.
    pub fn all_bytes(&self) -> usize {
        self.bytes * self.stages
    }

    /// Whether it lies in registers.
    pub fn in_registers(&self) -> bool {
        matches!(self.space, Space::Register(_))
    }

    /// Among how many pieces of a row swizzling exchanges, and after how many rows the order changes.
    /// Nothing where rows are no whole number of pieces that fills the banks evenly.
    pub fn swizzled(&self) -> Option<(usize, usize)> {
        let row = self.strides.first()? * self.number.bytes();
        let pieces = row / PIECE;
        let even = pieces.is_power_of_two() || pieces.is_multiple_of(BANKS);
        let whole = self.shape.len() == 2 && self.strides[1] == 1 && row.is_multiple_of(PIECE);
        (whole && pieces > 1 && even).then(|| (pieces.min(BANKS), BANKS / pieces.min(BANKS)))
    }
}
