//! What a plan is made of: schedules of kernels, what each block of threads does, step by step.

use super::Pass;
use super::buffer::{Buffer, BufferId};
use super::cost::Cost;
use super::index::Ix;
use super::tiles::{Fragment, Tile, TileId, WarpTile};
use crate::chunk::attention::Range;
use crate::tile::{Binary, Bits, Int, Unary, Versions};

/// The value of one element, as an expression over the axes of the step that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(Bits),
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a buffer.
    Buffer(Element),
    /// A whole number at the token of a row and, where it is bound, of a key's row.
    Position(Int, [Ix; 2]),
    /// 1 where the query of a row reads the key of another, else 0.
    Allowed {
        /// Rows of the query and of the key.
        rows: [Ix; 2],
        /// Which keys the query reads.
        range: Range,
    },
    /// The index of the head.
    Head,
    /// What a product has accumulated at this element, in one of its sums.
    Sum(usize),
    /// A function of one number.
    Unary(Unary, Box<Expr>),
    /// A function of two numbers.
    Binary(Binary, Box<[Expr; 2]>),
    /// A product.
    Mul(Box<[Expr; 2]>),
    /// `exp(a - b)`.
    Weight(Box<[Expr; 2]>),
    /// `a` where the first number is not 0, else `b`.
    Select(Box<[Expr; 3]>),
    /// `a` where the condition holds, else `b`; what is not taken is not read.
    Where(Condition, Box<[Expr; 2]>),
}

/// A condition on where an element is, or on the call.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `a < b`.
    Less(Ix, Ix),
    /// `a = b`.
    Equal(Ix, Ix),
    /// The block holds the first part of its head's values.
    FirstPart,
    /// The row is a token of the sequence, not what fills up the last chunk.
    Inside(Side, Ix),
    /// The position is not before the first token.
    Reached(Token),
    /// The call has the buffer.
    Given(BufferId),
}

/// An element of a buffer: at the block's own place along the dims that a call makes large, and at an
/// index along the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The buffer.
    pub buffer: BufferId,
    /// Which token, where the buffer has rows.
    pub row: Option<Token>,
    /// Place along each axis of a value.
    pub index: Vec<Ix>,
    /// The axis of which each of a head's parts holds a piece.
    pub split: Option<usize>,
}

/// A token that a row of the chunk names.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Which one, given the token `t` of the row, or that of a key.
    pub at: Int,
    /// Row of the chunk, or of the block of keys.
    pub row: Ix,
}

impl Token {
    /// Whether it lies in the sequence for certain.
    pub fn is_certain(&self) -> bool {
        matches!(self.at, Int::T | Int::Bound(_))
    }
}

/// Where a step puts what it computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a buffer, where all conditions hold.
    Buffer(Element, Vec<Condition>),
}

/// Operand of a product: a bf16 tile `[rows, cols]`, or its transpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operand {
    /// The tile.
    pub tile: TileId,
    /// Whether rows and columns are exchanged.
    pub transposed: bool,
}

/// A product of two operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// `[rows, length]`.
    pub left: Operand,
    /// `[length, cols]`.
    pub right: Operand,
    /// The length of the sum.
    pub length: usize,
    /// In which of the step's sums it is added up.
    pub sum: usize,
    /// What of the sum is left out where it is no number.
    pub sees: Option<Sees>,
}

impl Term {
    /// How many sums terms are added up in.
    pub fn sums(terms: &[Term]) -> usize {
        terms.iter().map(|term| term.sum + 1).max().unwrap_or(0)
    }
}

/// Which terms of a product's sum there are for a row, or for a column: 0 times another is left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sees {
    /// Not 0 where there is a term; over the row or column, and the place in the sum.
    pub mask: Expr,
    /// Whether columns, of the right operand, differ in it.
    pub columns: bool,
}

/// How terms of a [`Step::Reduce`] are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The largest.
    Largest,
}

/// An operation on whole tiles that runs along the chunk; see the operation of the tile program.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanOp {
    /// `Op::CumulativeProduct`.
    CumulativeProduct(Versions),
    /// `Op::CumulativeProductGrad`.
    CumulativeProductGrad(Versions),
    /// `Op::ReverseCumulativeProduct`.
    ReverseCumulativeProduct,
    /// `Op::ReverseCumulativeProductGrad`.
    ReverseCumulativeProductGrad,
    /// `Op::DecayMask`.
    DecayMask(Versions),
    /// `Op::DecayMaskGrad`.
    DecayMaskGrad(Versions),
    /// `Op::Gram`.
    Gram(Versions),
    /// `Op::GramGrad`.
    GramGrad(Versions),
    /// `Op::Apply`.
    Apply(Versions),
    /// `Op::ApplyT`.
    ApplyT(Versions),
    /// `Op::Scan` of a linear state.
    Linear,
    /// `Op::ScanGrad`.
    LinearGrad,
    /// `Op::Scan` of a running maximum.
    Max,
}

/// How large a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanSizes {
    /// Rows of the chunk.
    pub rows: usize,
    /// Micro-steps of the chunk; of a linear scan or a maximum the states that meet.
    pub steps: usize,
    /// What is done side by side.
    pub width: usize,
}

/// What all threads of a block do together.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Each element of a loop by itself.
    Map {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// Sizes up to which the target is filled with zeros.
        filled: Vec<usize>,
        /// What to compute.
        value: Expr,
        /// Where to put it.
        to: Target,
        /// A tile that lies as that of the target does, for what rounding to bf16 leaves.
        rest: Option<TileId>,
        /// Add to what is there.
        add: bool,
        /// The fragments over which warps go, where tiles in registers are touched; else threads share
        /// the elements group by group.
        fragment: Option<Fragment>,
        /// Neighbours along the last axis that a thread makes together; see [`super::groups`].
        group: usize,
        /// Pairs of a fragment that a lane stores at once, behind an exchange with others: 1, 2 or 4.
        exchanged: usize,
    },
    /// Terms over some axes put together.
    Reduce {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// The axes that disappear.
        over: Vec<usize>,
        /// How.
        reduction: Reduction,
        /// Neighbouring threads that share the terms of a result: 1 or a warp.
        lanes: usize,
        /// Neighbouring terms that a thread reads together.
        group: usize,
        /// One term.
        value: Expr,
        /// Where to put the result; its index does not mention the axes that disappear.
        to: Target,
    },
    /// `Σ a b` on the matrix units, or a few such sums, and an expression of the results.
    Product {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// Which of them are the rows and the columns of the result; all others have size 1.
        axes: [usize; 2],
        /// What is added up.
        terms: Vec<Term>,
        /// What a warp makes at a time; whole such tiles cover the result.
        warp: WarpTile,
        /// Whether what the tiles hold beyond the result is filled with zeros.
        filled: bool,
        /// Neighbours in a row of the result that a thread makes together.
        group: usize,
        /// Such pairs that a lane stores at once, behind an exchange with others: 1, 2 or 4.
        exchanged: usize,
        /// What to compute of the sum.
        value: Expr,
        /// Where to put it.
        to: Target,
        /// Add to what is there.
        add: bool,
        /// What else to compute of the sum, and the tiles to put it in.
        also: Vec<(Expr, Target)>,
    },
    /// Along the chunk.
    Scan {
        /// What.
        op: ScanOp,
        /// How large.
        sizes: ScanSizes,
        /// f32 tiles.
        from: Vec<TileId>,
        /// The result.
        to: TileId,
        /// Scratch memory, as the scan wants it.
        scratch: Option<TileId>,
    },
    /// `(I + a) x = b` in place of `b`, which stands in `x`.
    Solve {
        /// `[n, n]`, of which what stands below the diagonal is read.
        a: TileId,
        /// `[n, cols]`.
        x: TileId,
        /// By the transpose.
        transposed: bool,
    },
    /// `x = (I + a)⁻¹`, of what stands below the diagonal of `a`: all of `x` is written.
    Invert {
        /// `[n, n]`
        a: TileId,
        /// `[n, n]`
        x: TileId,
    },
    /// `a x = b` in place of `b`, which stands in `x`; `a` is used up.
    LinearSolve {
        /// `[.., n, n]`.
        a: TileId,
        /// `[.., n, cols]`.
        x: TileId,
    },
    /// Numbers of a buffer, as they are, into a tile in shared memory; nothing where there is no such
    /// round, or the call lacks the buffer, unless it is a condition that it has it.
    Copy {
        /// What copies.
        by: Transport,
        /// The numbers: at each index of the tile, in the places of the round.
        from: Element,
        /// Where there are numbers: zeros come from elsewhere.
        when: Vec<Condition>,
        /// Where they go: into the stage of the round.
        to: TileId,
        /// For which round of the loop around it, or behind it.
        round: Round,
        /// Bytes at a time.
        piece: usize,
        /// The first thread that copies: not 0 only where those behind it are enough for all pieces.
        first: usize,
    },
    /// Each thread waits for its own copies, but for some that started last.
    Wait {
        /// The tiles whose copies are waited for.
        tiles: Vec<TileId>,
        /// How many copies may go on.
        pending: usize,
    },
    /// Threads wait for each other.
    Barrier,
}

/// What copies from the device's memory to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Threads, by their registers: what follows in a thread's text waits for it.
    Plain,
    /// `cp.async`: threads start it and go on.
    Async,
    /// A unit of the multiprocessor, for whole tiles.
    Bulk,
}

/// A round of a loop, as a copy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// So many rounds behind the first: before the loop.
    First(usize),
    /// So many rounds behind the present one: in the loop.
    Ahead(usize),
}

/// What a block does: steps, and loops around them.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all statements are steps")]
pub enum Stmt {
    /// Something that all threads do once.
    Step(Step),
    /// Again and again.
    Loop(Loop),
    /// Only where the call has a buffer.
    Given(BufferId, Vec<Stmt>),
}

/// Statements that run once for each round.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// What the rounds are.
    pub over: Over,
    /// The statements.
    pub body: Vec<Stmt>,
}

/// The tokens of the rounds of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Chunks of the block's sequence.
    Chunks {
        /// Tokens of a chunk.
        tokens: usize,
        /// Whether they run from the last to the first.
        reverse: bool,
    },
    /// Those blocks of tokens of a side that the block's job names.
    Blocks {
        /// The side.
        side: Side,
        /// Tokens of a block.
        tokens: usize,
    },
    /// Groups of rows: every so many of them, as there are blocks of threads.
    Groups {
        /// Rows of a group.
        rows: usize,
        /// Rows after them that are computed too.
        halo: usize,
    },
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Row at which each sequence starts, and the total.
    Bounds,
    /// The number of chunks before each sequence.
    Chunks {
        /// Tokens of a chunk.
        every: usize,
    },
    /// What each block does; see [`super::attention::jobs`].
    Jobs,
    /// The position of each row in its sequence.
    Positions,
    /// How many sequences there are.
    Sequences,
    /// How many rows there are.
    Rows,
    /// How many heads there are.
    Heads,
    /// Memory of all blocks for what has no room on chip.
    Workspace,
    /// A tensor.
    Buffer(BufferId),
    /// How many heads a tensor has of its own.
    OwnHeads(BufferId),
}

/// Which of two kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those that read.
    Queries,
    /// Those that are read.
    Keys,
}

/// What one block of threads is there for.
#[derive(Clone, Debug, PartialEq)]
pub enum Grid {
    /// A sequence, a head and a part of its values.
    Heads,
    /// A head and a block of tokens of one side, with those of the other side that they meet.
    Pairs {
        /// The side of the block's own tokens.
        own: Side,
        /// Which keys a query reads.
        range: Range,
    },
    /// A head and a chunk of any sequence.
    Chunks,
    /// Rows of any sequences.
    Rows,
}

/// What one pass of a recurrence is, or of a group of rows: kernels that run one after the other on
/// the same buffers.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it is called in texts; names of kernels begin with it.
    pub name: String,
    /// Which pass.
    pub pass: Pass,
    /// Tensors, in the order of every kernel's arguments.
    pub buffers: Vec<Buffer>,
    /// The kernels, in order.
    pub kernels: Vec<Kernel>,
}

/// What one block of threads does.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it is there for.
    pub grid: Grid,
    /// The symbol.
    pub name: String,
    /// Its arguments, in order.
    pub arguments: Vec<Argument>,
    /// Threads of a block.
    pub threads: usize,
    /// Tokens of a chunk, or of the block itself.
    pub chunk: usize,
    /// Blocks that share a head, each with a part of its values.
    pub parts: usize,
    /// Tiles.
    pub tiles: Vec<Tile>,
    /// What the block does.
    pub body: Vec<Stmt>,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Bytes of the workspace of a block.
    pub workspace: usize,
    /// What it does, counted.
    pub cost: Cost,
}
