//! What a plan is made of: schedules of kernels, what each block of threads does, step by step.

use super::Pass;
use super::buffer::{Access, Buffer, BufferId, Dim, Role};
use super::index::Ix;
use crate::chunk::attention::Range;
use crate::tile::{Binary, Bits, Int, Scan, Unary, Versions};

/// How a number is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Four bytes.
    F32,
    /// Two bytes, eight bits of precision: operands of matrix products.
    Bf16,
}

impl Number {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Number::F32 => 4,
            Number::Bf16 => 2,
        }
    }
}

/// Names a tile of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId(pub usize);

/// Where a tile lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At these bytes of the block's shared memory.
    Shared(usize),
    /// At these bytes of the block's part of the working memory.
    Working(usize),
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
    /// Bytes, with what pads it.
    pub bytes: usize,
    /// Whether it keeps its contents from one chunk to the next.
    pub lasting: bool,
    /// Where it lies, once placed.
    pub place: Option<Place>,
}

/// The value of one element, as an expression over the axes of the step that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(Bits),
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a buffer; zero at a position before the first token.
    Buffer(Element),
    /// A whole number at the token of a row and, where it is bound, of a key's row.
    Position(Int, [Ix; 2]),
    /// 1 where the query of a row reads the key of another, else 0.
    Allowed([Ix; 2]),
    /// The index of the head.
    Head,
    /// 1 where the row is a token of the sequence, else 0.
    Valid(Ix),
    /// What a product has accumulated at this element.
    Sum,
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
    /// `a` where the condition on the element's place holds, else `b`.
    Where(Condition, Box<[Expr; 2]>),
    /// `a` where the buffer was given, else `b`.
    Given(BufferId, Box<[Expr; 2]>),
}

/// A condition on whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `a < b`.
    Less(Ix, Ix),
    /// `a = b`.
    Equal(Ix, Ix),
    /// The block holds the first part of its head's values.
    FirstPart,
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

/// Where a step puts what it computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a buffer; rows past the sequence's end are left out.
    Buffer(Element),
}

/// Operand of a product: a bf16 tile `[rows, cols]`, or its transpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operand {
    /// The tile.
    pub tile: TileId,
    /// Whether rows and columns are exchanged.
    pub transposed: bool,
}

/// How terms of a [`Step::Reduce`] are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The largest.
    Largest,
}

/// An operation on whole tiles that runs along the chunk; see the op of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Chain {
    /// `Op::Prefix`.
    Prefix(Versions),
    /// `Op::PrefixGrad`.
    PrefixGrad(Versions),
    /// `Op::Suffix`.
    Suffix,
    /// `Op::SuffixGrad`.
    SuffixGrad,
    /// `Op::Pairs`.
    Pairs(Versions),
    /// `Op::PairsGrad`.
    PairsGrad(Versions),
    /// `Op::Gram`.
    Gram(Versions),
    /// `Op::Apply`.
    Apply(Versions),
    /// `Op::ApplyT`.
    ApplyT(Versions),
    /// `Op::GramGrad`.
    GramGrad(Versions),
    /// `Op::Scan`.
    Scan(Scan),
    /// `Op::ScanGrad`.
    ScanGrad,
}

/// What all threads of a block do together.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Each element of a loop by itself.
    Map {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// What to compute.
        value: Expr,
        /// Where to put it.
        to: Target,
        /// Add to what is there.
        add: bool,
    },
    /// Terms over some axes put together.
    Reduce {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// The axes that disappear.
        over: Vec<usize>,
        /// How.
        reduction: Reduction,
        /// One term.
        value: Expr,
        /// Where to put the result; its index does not mention the axes that disappear.
        to: Target,
    },
    /// `Σ a b` on the matrix units, and an expression of the result.
    Product {
        /// Sizes of the loop's axes.
        sizes: Vec<usize>,
        /// Which of them are the rows and the columns of the result; all others have size 1.
        axes: [usize; 2],
        /// Pairs of operands, and the length of the sum of each.
        terms: Vec<(Operand, Operand, usize)>,
        /// What to compute of the sum.
        value: Expr,
        /// Where to put it.
        to: Target,
        /// Add to what is there.
        add: bool,
    },
    /// Along the chunk.
    Chain {
        /// What.
        chain: Chain,
        /// Rows, micro-steps, width; of a scan rows, states, entries.
        sizes: [usize; 3],
        /// f32 tiles.
        from: Vec<TileId>,
        /// The result.
        to: TileId,
        /// Working memory, as the chain wants it.
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
    /// `a x = b` in place of `b`, which stands in `x`; `a` is used up.
    LinearSolve {
        /// `[.., n, n]`.
        a: TileId,
        /// `[.., n, cols]`.
        x: TileId,
    },
    /// Threads wait for each other.
    Barrier,
}

/// Steps that run one after the other, once or again and again.
#[derive(Clone, Debug)]
pub struct Section {
    /// Whether they run for each round of the kernel's loop; see [`Grid`].
    pub each: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Section {
    /// Steps that run once.
    pub fn once(steps: Vec<Step>) -> Section {
        Section { each: false, steps }
    }

    /// Steps that run for each round of the kernel's loop.
    pub fn each(steps: Vec<Step>) -> Section {
        Section { each: true, steps }
    }
}

/// Which of two kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those that read.
    Queries,
    /// Those that are read.
    Keys,
}

/// What one block of threads is there for, and what its loop runs over.
#[derive(Clone, Debug, PartialEq)]
pub enum Grid {
    /// A sequence, a head and a part of its values; the loop runs over chunks of tokens.
    Heads,
    /// A head and a block of tokens of one side; the loop runs over blocks of the other side.
    Pairs {
        /// The side of the block's own tokens.
        own: Side,
        /// Tokens of a block of the other side.
        other: usize,
        /// Which keys a query reads.
        range: Range,
    },
    /// Groups of rows of all sequences: the loop runs over every so many of them.
    Rows {
        /// Rows after its own that a block computes too.
        halo: usize,
    },
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
    /// Whether the rounds of its loop run from the last to the first.
    pub reverse: bool,
    /// Threads of a block.
    pub threads: usize,
    /// Tokens of a chunk, or of the block itself.
    pub chunk: usize,
    /// Blocks that share a head, each with a part of its values.
    pub parts: usize,
    /// Tiles.
    pub tiles: Vec<Tile>,
    /// What the block does, one section after the other.
    pub sections: Vec<Section>,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Bytes of working memory of a block.
    pub working: usize,
}

impl Schedule {
    /// A buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// Works out from the kernels what the buffers are to hold before and what is written to them.
    pub(super) fn finish(mut self) -> Schedule {
        let steps = || self.kernels.iter().flat_map(Kernel::steps);
        let written: Vec<BufferId> =
            steps().filter_map(|step| step.target()?.element()).map(|e| e.buffer).collect();
        let added: Vec<BufferId> = steps().filter_map(Step::adds_to).collect();
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            let id = BufferId(at);
            let write = written.contains(&id);
            buffer.access = if write { Access::Write } else { Access::Read };
            buffer.starts_at_zero = buffer.role == Role::Result && (!write || added.contains(&id));
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
            .map(|b| usize::from(b.terms(extent) > 1) + usize::from(share(b) > 1))
            .sum::<usize>();
        self.kernels.len() + sums
    }
}

impl Kernel {
    /// Columns of a product that one warp makes at a time, in eights: as many as give every warp
    /// work, since each of them reads the rows' operand once.
    pub fn strip(&self, rows: usize, cols: usize) -> usize {
        let (eights, warps) = (cols / 8, self.threads / 32);
        let fits: Vec<usize> = [8, 6, 4, 2].into_iter().filter(|n| eights % n == 0).collect();
        let busy = fits.iter().find(|n| rows / 16 * (eights / **n) >= warps);
        *busy.or(fits.last()).expect("columns are filled up to sixteens")
    }

    /// All steps.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.sections.iter().flat_map(|section| &section.steps)
    }

    /// A tile.
    pub fn tile(&self, id: TileId) -> &Tile {
        &self.tiles[id.0]
    }
}

impl Target {
    /// The element of a buffer, if it is one.
    pub fn element(&self) -> Option<&Element> {
        match self {
            Target::Buffer(element) => Some(element),
            Target::Tile(..) => None,
        }
    }
}

impl Expr {
    /// Calls `f` for every expression inside, outermost first.
    pub fn walk<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        f(self);
        match self {
            Expr::Unary(_, x) => x.walk(f),
            Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) => {
                of.iter().for_each(|x| x.walk(f));
            }
            Expr::Where(_, of) | Expr::Given(_, of) => of.iter().for_each(|x| x.walk(f)),
            Expr::Select(of) => of.iter().for_each(|x| x.walk(f)),
            _ => {}
        }
    }
}

impl Step {
    /// The expression that the step evaluates, if it has one.
    pub fn value(&self) -> Option<&Expr> {
        match self {
            Step::Map { value, .. } | Step::Reduce { value, .. } | Step::Product { value, .. } => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Where the step puts its results, if by an expression.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Step::Map { to, .. } | Step::Reduce { to, .. } | Step::Product { to, .. } => Some(to),
            _ => None,
        }
    }

    /// Tiles that the step reads, with repetitions.
    pub fn reads(&self) -> Vec<TileId> {
        let mut tiles = Vec::new();
        if let Some(value) = self.value() {
            value.walk(&mut |e| {
                if let Expr::Tile(tile, _) = e {
                    tiles.push(*tile);
                }
            });
        }
        match self {
            Step::Product { terms, .. } => {
                tiles.extend(terms.iter().flat_map(|(a, b, _)| [a.tile, b.tile]));
            }
            Step::Chain { from, .. } => tiles.extend(from),
            Step::Solve { a, x, .. } | Step::LinearSolve { a, x } => tiles.extend([a, x]),
            _ => {}
        }
        if let Step::Map { to: Target::Tile(tile, _), add: true, .. }
        | Step::Product { to: Target::Tile(tile, _), add: true, .. } = self
        {
            tiles.push(*tile);
        }
        tiles
    }

    /// Tiles that the step writes.
    pub fn writes(&self) -> Vec<TileId> {
        match self {
            Step::Chain { to, scratch, .. } => {
                [Some(*to), *scratch].into_iter().flatten().collect()
            }
            Step::Solve { x, .. } => vec![*x],
            Step::LinearSolve { a, x } => vec![*a, *x],
            Step::Barrier => vec![],
            step => match step.target() {
                Some(Target::Tile(tile, _)) => vec![*tile],
                _ => vec![],
            },
        }
    }

    /// The device's memory that the step adds to: two such steps must not meet.
    pub fn adds_to(&self) -> Option<BufferId> {
        match self {
            Step::Map { to: Target::Buffer(element), add: true, .. }
            | Step::Product { to: Target::Buffer(element), add: true, .. } => Some(element.buffer),
            _ => None,
        }
    }
}
