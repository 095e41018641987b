//! The kernel plan: what a GPU block does, step by step, before any text is printed.
//!
//! Problem: a tile program says what to compute, not where a tile lives, which thread makes which
//! element, or when threads must wait for each other.
//!
//! Idea: one block of threads runs one head of one sequence (and a part of its values), chunk after
//! chunk. Every step is done by all threads of the block together; tiles lie in shared memory, or in
//! a working memory of the block where that is full. Elementwise operations and views never get a
//! step of their own: they are expressions inside the step that needs them. Matrix products read
//! bf16 copies of their operands and accumulate in f32; around quotients a second copy holds what the
//! first leaves.
//!
//! Phases: [`narrow`] cuts the value axis so that several blocks share a head; [`lower`] turns a
//! program into steps; [`place`] gives tiles their memory and inserts barriers; [`chunk`] puts the
//! kernels of a recurrence together and chooses among plans; [`verify`] checks a plan on its own;
//! [`print`] shows it. `emit` prints it as CUDA C++.

pub mod chunk;
pub mod index;
pub(crate) mod lower;
mod narrow;
pub mod past;
mod place;
pub mod print;
pub mod rows;
pub mod target;
pub mod verify;

use crate::chunk::attention::Range;
use crate::chunk::token::of_token;
use crate::elaborate::Recurrence;
use crate::normal::{Normal, Refusal};
use crate::strategy::{self, Strategy};
use crate::tile::{Binary, Bits, Int, Scan, Unary, Versions};
use chunk::Body;
use index::Ix;

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

/// A tensor in the device's memory that a kernel reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Buffer {
    /// A declared input, `[rows, count, heads, one]`.
    Input(usize),
    /// A declared parameter, `[heads, …]`.
    Param(usize),
    /// A state before the first token, `[sequences, heads, …]`; may be absent.
    Initial(usize),
    /// A declared output, `[rows, heads, …]`.
    Out(usize),
    /// A state after the last token, `[sequences, heads, …]`.
    Final(usize),
    /// The states that entered each chunk, `[chunks, heads, …]`.
    Entered(usize),
    /// The gradient that flows into an output; may be absent.
    OutGrad(usize),
    /// The gradient that flows into a final state; may be absent.
    FinalGrad(usize),
    /// The gradient of an input for every head, `[parts, rows, count, heads, one]`.
    InputGrad(usize),
    /// The gradient of a parameter, `[parts, sequences, heads, …]`.
    ParamGrad(usize),
    /// The gradient of a state before the first token, `[parts, sequences, heads, …]`.
    InitialGrad(usize),
    /// A value per token and head that one kernel leaves for another, `[rows, heads, …]`.
    Kept(usize),
}

/// The value of one element, as an expression over the axes of the step that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(Bits),
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a token's row: of an input, or of the gradient of an output.
    Row(Row),
    /// An element of a head's tensor.
    Part(Part),
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
    Given(Buffer, Box<[Expr; 2]>),
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

/// An element of a tensor `[rows, count, heads, one]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The tensor.
    pub buffer: Buffer,
    /// Which token, given the token `t` of the row.
    pub at: Int,
    /// Row of the chunk.
    pub row: Ix,
    /// Which of the `count` values of a token.
    pub slot: Ix,
    /// Place in the value.
    pub inner: Ix,
    /// Values per token.
    pub count: usize,
    /// Numbers of a value.
    pub one: usize,
    /// Numbers by which the parts of a head lie apart inside a value; 0 where parts do not cut it.
    pub part: usize,
}

/// An element of a tensor `[outer, heads, size]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The tensor.
    pub buffer: Buffer,
    /// Place in a head's values.
    pub inner: Ix,
    /// Numbers of a head's values.
    pub size: usize,
    /// As in [`Row`].
    pub part: usize,
}

/// Where a step puts what it computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An element of a tile.
    Tile(TileId, Vec<Ix>),
    /// An element of a token's row; rows past the sequence's end are left out.
    Row(Row),
    /// An element of a head's tensor.
    Part(Part),
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

/// Which pass of a recurrence a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Forward, chunk by chunk.
    Forward,
    /// Forward, and the states that enter each chunk are kept.
    Keeping,
    /// Backward, chunk by chunk from the last.
    Backward,
    /// Backward, what keys get from the queries that read them.
    Keys,
    /// Forward, one token at a time: the same program for chunks of one token.
    Decode,
}

impl Pass {
    /// The name in texts and symbols.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Keeping => "keeping",
            Pass::Backward => "backward",
            Pass::Keys => "keys",
            Pass::Decode => "decode",
        }
    }
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

/// What one block of threads does.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it is there for.
    pub grid: Grid,
    /// The symbol.
    pub name: String,
    /// Which pass.
    pub pass: Pass,
    /// Threads of a block.
    pub threads: usize,
    /// Tokens of a chunk, or of the block itself.
    pub chunk: usize,
    /// Blocks that share a head, each with a part of its values.
    pub parts: usize,
    /// Tensors, in the order of the kernel's arguments.
    pub buffers: Vec<Buffer>,
    /// Tiles.
    pub tiles: Vec<Tile>,
    /// What the block does, one section after the other.
    pub sections: Vec<Section>,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Bytes of working memory of a block.
    pub working: usize,
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

    /// Whether the kernel reads a buffer only.
    pub fn reads_only(&self, buffer: Buffer) -> bool {
        match buffer {
            Buffer::Input(_) | Buffer::Param(_) | Buffer::Initial(_) => true,
            Buffer::OutGrad(_) | Buffer::FinalGrad(_) => true,
            Buffer::Entered(_) | Buffer::Kept(_) => self.targets(buffer).next().is_none(),
            _ => false,
        }
    }

    /// Targets in the device's memory.
    fn targets(&self, buffer: Buffer) -> impl Iterator<Item = (usize, bool)> {
        self.steps().filter_map(move |step| match step.target()? {
            Target::Row(row) if row.buffer == buffer => {
                Some((row.part, step.adds_to() == Some(buffer)))
            }
            Target::Part(part) if part.buffer == buffer => Some((part.part, false)),
            _ => None,
        })
    }

    /// How many partial gradients a buffer holds one after the other: one from each part of a
    /// head, unless the parts write different elements.
    pub fn slabs(&self, buffer: Buffer) -> usize {
        let grad =
            matches!(buffer, Buffer::InputGrad(_) | Buffer::ParamGrad(_) | Buffer::InitialGrad(_));
        if grad && self.targets(buffer).any(|(part, _)| part == 0) { self.parts } else { 1 }
    }

    /// Whether a buffer must hold zeros before the kernel runs: it is added to, or never written.
    pub fn starts_at_zero(&self, buffer: Buffer) -> bool {
        let mut targets = self.targets(buffer).peekable();
        targets.peek().is_none() || targets.any(|(_, adds)| adds)
    }

    /// Numbers of a row of a tensor of tokens, as far as the kernel touches it.
    pub fn row_width(&self, buffer: Buffer) -> usize {
        let mut width = 0;
        let mut see = |row: &Row| {
            if row.buffer == buffer {
                width = row.count * row.one;
            }
        };
        for step in self.steps() {
            if let Some(Target::Row(row)) = step.target() {
                see(row);
            }
            if let Some(value) = step.value() {
                value.walk(&mut |e| {
                    if let Expr::Row(row) = e {
                        see(row);
                    }
                });
            }
        }
        width
    }

    /// A tile.
    pub fn tile(&self, id: TileId) -> &Tile {
        &self.tiles[id.0]
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
    pub fn adds_to(&self) -> Option<Buffer> {
        match self {
            Step::Map { to: Target::Row(row), add: true, .. }
            | Step::Product { to: Target::Row(row), add: true, .. } => Some(row.buffer),
            _ => None,
        }
    }
}

/// Which kernels a recurrence has.
#[derive(Clone, Debug)]
pub enum Family {
    /// Those of states entry by entry, chunk by chunk.
    Scan,
    /// Those of the normal form, chunk by chunk.
    Normal(Box<Normal>),
    /// Those of sums over the past, block by block.
    Past,
    /// Those of the program of one token, token by token.
    Token,
}

impl Family {
    /// The kernels that fit a recurrence; the error says why there are none.
    pub fn of(r: &Recurrence) -> Result<Family, Refusal> {
        match strategy::of(r) {
            Strategy::Scan => Ok(Family::Scan),
            Strategy::Chunk(normal) => Ok(Family::Normal(normal)),
            Strategy::Attention(_) => Ok(Family::Past),
            Strategy::Recurrent(_) => of_token(r).map(|_| Family::Token),
        }
    }

    /// Its passes.
    pub fn passes(&self) -> [Pass; 4] {
        match self {
            Family::Scan | Family::Normal(_) | Family::Token => {
                [Pass::Forward, Pass::Keeping, Pass::Backward, Pass::Decode]
            }
            Family::Past => [Pass::Forward, Pass::Keeping, Pass::Backward, Pass::Keys],
        }
    }

    /// The kernel of a pass, in chunks or blocks of `tokens` if given. The error names what is too
    /// large.
    pub fn kernel(
        &self,
        r: &Recurrence,
        pass: Pass,
        gpu: target::Gpu,
        tokens: Option<usize>,
    ) -> Result<Kernel, Refusal> {
        match self {
            Family::Normal(normal) => chunk::kernel(r, Body::Normal(normal), pass, gpu, tokens),
            Family::Scan => chunk::kernel(r, Body::Scan, pass, gpu, tokens),
            Family::Token => chunk::kernel(r, Body::Token, pass, gpu, tokens),
            Family::Past => past::kernel(r, pass, gpu, tokens),
        }
    }
}
