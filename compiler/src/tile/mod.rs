//! The tile program: pure dataflow over small dense tiles of known shape.
//!
//! One set of operations carries everything that is not a large dense product: the declared
//! recurrence of one token, the derived program of one chunk, attention over a block of keys,
//! and the pointwise parts of a mixer. They are made by the [`Builder`], differentiated by
//! [`crate::grad`], checked by [`verify`], printed by [`print`] and run by
//! [`crate::interpret`]; the meaning of each operation is its CPU text there.
//!
//! Tiles are row-major and have any number of axes. Operands of one operation have the same
//! number of axes; an axis of size 1 is repeated as needed.

pub mod axes;
pub mod build;
pub mod classes;
pub mod elementwise;
pub mod factors;
pub mod int;
pub mod interval;
pub mod lift;
pub mod linear;
pub mod linear_part;
pub mod mask;
pub mod moves;
mod number;
pub mod print;
mod rewrite;
pub mod split;
pub(crate) mod union;
pub mod verify;
pub mod wanted;

pub use build::Builder;
pub use elementwise::{Binary, Unary};
pub use int::{Bounds, Int, IntOp};
use lrc_dsl::Span;
pub use number::Number;

/// Names one node of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

impl Value {
    /// The position in `Program::nodes`.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// A float that can be compared and hashed by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bits(u64);

impl Bits {
    /// Keeps the bits of a number; `-0.0` becomes `0.0`.
    pub fn of(x: f64) -> Bits {
        Bits((x + 0.0).to_bits())
    }

    /// The number.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A sequence of values, one per token, that leaves read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// A declared input.
    Input(usize),
    /// A declared state; at `t` it is the value after token `t`.
    State(usize),
    /// A named value that later tokens read.
    Export(usize),
    /// A declared output.
    Out(usize),
}

/// Where a leaf's value comes from. Loops fill leaves before they run a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A stream at a position: the rows of a chunk, or one token. Before the first token an input
    /// is zero and a state has its initial value.
    Read(Stream, Int),
    /// A parameter: the same for all tokens.
    Param(usize),
    /// A whole number as a value, shape `[]`.
    Number(Int),
    /// The index of the head, shape `[]`.
    Head,
    /// A value captured from the program around a region.
    Outer(usize),
    /// The gradient that flows into a stream at the current position.
    Cotangent(Stream),
    /// The state entering a chunk.
    Carry(usize),
    /// The gradient that flows into the state leaving a chunk.
    CarryCotangent(usize),
    /// A value that another piece of a program has computed; see [`split`].
    Kept(usize),
    /// 1 for rows of a chunk that are tokens, 0 for padding, shape `[chunk, 1]`.
    Valid,
    /// 1 where a query row may read a key row, else 0, shape `[queries, keys]`.
    Allowed,
}

/// Which micro-steps each row of a tile has seen.
///
/// A chunk holds `micro` micro-steps per token; with `p` offsets there are `p` rows per token, and
/// row `i` has seen the first `(i / p) * micro + offsets[i % p]` decays and writes of the chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Micro-steps per token.
    pub micro: usize,
    /// Per row of a token: how many of the token's own micro-steps it has seen.
    pub offsets: Vec<usize>,
}

impl Versions {
    /// How many micro-steps of the chunk row `i` has seen.
    #[inline]
    pub fn seen(&self, i: usize) -> usize {
        let p = self.offsets.len();
        (i / p) * self.micro + self.offsets[i % p]
    }

    /// Row `i` has seen micro-steps `0..i`: strictly below the diagonal.
    pub fn strict() -> Versions {
        Versions { micro: 1, offsets: vec![0] }
    }

    /// The number of rows for `steps` micro-steps.
    pub fn rows(&self, steps: usize) -> usize {
        steps / self.micro * self.offsets.len()
    }
}

/// How the terms of a [`Op::Past`] are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gather {
    /// Their sum; 0 for an empty range.
    Sum,
    /// `log Σ exp`; minus infinity for an empty range.
    LogSumExp,
}

/// How a row of a scan follows from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// `y_i = A_i y_{i-1} + b_i` with an `A_i` of states by states for every entry.
    Linear,
    /// `y_i = max(y_{i-1} + a_i, b_i)`, of one state. Of equal sides the first has the gradient.
    Max {
        /// Whether the state's side is the first.
        first: bool,
    },
}

/// A sum over positions of the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Past {
    /// Sum or log-sum-exp.
    pub gather: Gather,
    /// First position.
    pub low: Int,
    /// Last position, included.
    pub high: Int,
    /// The level of the bound position.
    pub level: u8,
    /// Computes one term; its single output has the shape of the result. `Leaf::Outer(k)` is the
    /// k-th argument of the node.
    pub term: Program,
}

/// One operation. Shapes are of the arguments in order; all state the shape of the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A value from outside. Gradient: collected by the caller.
    Leaf(Leaf),
    /// The same number everywhere.
    Fill(Bits),
    /// The identity matrix `[n, n]`.
    Eye,
    /// A function of each entry.
    Unary(Unary),
    /// A function of two entries; axes of size 1 are repeated.
    Binary(Binary),
    /// `Σ_axes a ∘ b`: product entry by entry with repetition, summed over `axes`, which stay with
    /// size 1. Every matrix product, dot product, outer product and scaling is one of these.
    /// Gradient: `da = Σ dy ∘ b` over the axes that `a` lacks; likewise for `b`.
    MulSum(Vec<usize>),
    /// Sum over axes, which stay with size 1. Gradient: repeats `dy`.
    Sum(Vec<usize>),
    /// `log Σ exp` along one axis, which stays with size 1; minus infinity where all entries are.
    /// Gradient: `dy · Weight(x, y)`.
    LogSumExp(usize),
    /// `[condition, a, b]`: `a` where the condition is not 0, else `b`; equal shapes but for
    /// repeated axes. Gradient: masked `dy` to `a`, the rest to `b`.
    Select,
    /// The same entries under another shape.
    Reshape,
    /// Axis `i` of the result is axis `order[i]` of the argument.
    Permute(Vec<usize>),
    /// Entries `start..start + size of the result` along an axis. Gradient: `Pad`.
    Slice(usize, usize),
    /// Zeros around the argument along an axis; the number is how many stand before it.
    Pad(usize, usize),
    /// Arguments one after the other along an axis. Gradient: slices.
    Concat(usize),
    /// Axes of size 1 repeated to the shape of the result. Gradient: sum.
    Expand,
    /// The entry of the last axis that a whole number selects; the axis stays with size 1.
    /// Gradient: `Place`.
    Pick(Int),
    /// The argument at one index of the last axis, zeros elsewhere.
    Place(Int),
    /// 1 for this many of the largest entries along the last axis, 0 for the others; of equal ones
    /// the first count. No gradient.
    Largest(usize),
    /// A value that the algebra treats as a symbol: a version of a state. Gradient: `dy`.
    Alias(u32),
    /// Terms over positions of the past; arguments are what the term captures.
    Past(Box<Past>),
    /// `exp(a - b)`: a weight of a softmax, `a` a score and `b` the log of the sum over the past.
    Weight,

    /// Products of decays before a row: `a: [m, d]` gives `[rows, d]`, `y_i = Π_{l < seen(i)} a_l`.
    CumulativeProduct(Versions),
    /// Gradient of `CumulativeProduct` by the decays: `a: [m, d]`, `dy: [rows, d]` give `[m, d]`.
    CumulativeProductGrad(Versions),
    /// Products of decays after a row: `y_j = Π_{l > j} a_l`, `[m, d]` to `[m, d]`.
    ReverseCumulativeProduct,
    /// Gradient of `ReverseCumulativeProduct` by the decays.
    ReverseCumulativeProductGrad,
    /// Products of decays between a write and a read: `a: [m, 1]` gives `[rows, m]`,
    /// `y_ij = Π_{j < l < seen(i)} a_l` where `j < seen(i)`, else 0.
    DecayMask(Versions),
    /// Gradient of `DecayMask` by the decays: `a: [m, 1]`, `dy: [rows, m]` give `[m, 1]`.
    DecayMaskGrad(Versions),
    /// 1 where `j < seen(i)`, else 0: no argument, shape `[rows, m]`.
    Below(Versions),
    /// Decay-weighted Gram: `x: [rows, d]`, `y: [m, d]`, `a: [m, d]` give `[rows, m]`,
    /// `z_ij = Σ_d x_id y_jd Π_{j < l < seen(i)} a_ld` where `j < seen(i)`, else 0.
    Gram(Versions),
    /// Decay-weighted apply: `w: [rows, m]`, `y: [m, d]`, `a: [m, d]` give `[rows, d]`,
    /// `z_id = Σ_{j < seen(i)} w_ij y_jd Π_{j < l < seen(i)} a_ld`.
    Apply(Versions),
    /// The transpose of `Apply`: `w: [rows, m]`, `x: [rows, d]`, `a: [m, d]` give `[m, d]`.
    ApplyT(Versions),
    /// Gradient by the decays of `Σ_ij w_ij Gram_ij`: `w, x, y, a` give `[m, d]`.
    GramGrad(Versions),
    /// `x` with `(I + a) x = b`; of `a: [m, m]` only what stands below the diagonal is read;
    /// `true` solves with the transpose. Gradient: `db` by the other solve,
    /// `da = -below(db xᵀ)`.
    Solve(bool),
    /// `x` with `a x = b`: `a: [.., n, n]`, `b: [.., n, m]`; `true` solves with the transpose.
    /// Gradient: `db` by the other solve, `da = -db xᵀ`.
    LinearSolve(bool),
    /// States entry by entry, row after row: `a: [m, s, s, n]`, `b: [m, s, n]` and the start
    /// `[s, n]` give `[m, s, n]`. Gradient: `ScanGrad`, then `da_i = d_i y_{i-1}ᵀ`, `db = d`.
    Scan(Scan),
    /// What reaches the rows of a linear scan: `a: [m, s, s, n]`, `dy: [m, s, n]` give
    /// `d_i = dy_i + A_{i+1}ᵀ d_{i+1}`.
    ScanGrad,
}

/// One node of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// From which values.
    pub args: Vec<Value>,
    /// The shape of the result.
    pub shape: Vec<usize>,
    /// Where in the user's text it comes from.
    pub span: Option<Span>,
}

/// A list of nodes, each reading earlier ones, and which of them are results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// The nodes in an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// The results.
    pub outputs: Vec<Value>,
}

impl Program {
    /// A node.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.at()]
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.nodes[value.at()].shape
    }

    /// Leaves in order, with their nodes.
    pub fn leaves(&self) -> impl Iterator<Item = (Value, &Leaf, &[usize])> {
        self.nodes.iter().enumerate().filter_map(|(at, node)| match &node.op {
            Op::Leaf(leaf) => Some((Value(at as u32), leaf, node.shape.as_slice())),
            _ => None,
        })
    }

    /// The same program with a bound position replaced.
    pub fn at_position(&self, level: u8, with: &Int) -> Program {
        let mut program = self.clone();
        for node in &mut program.nodes {
            match &mut node.op {
                Op::Leaf(Leaf::Read(_, at) | Leaf::Number(at)) | Op::Pick(at) | Op::Place(at) => {
                    *at = at.replace(level, with);
                }
                _ => {}
            }
        }
        program
    }

    /// Drops every node that no output needs and renumbers the rest.
    pub fn pruned(&self) -> Program {
        let mut needed = vec![false; self.nodes.len()];
        for output in &self.outputs {
            needed[output.at()] = true;
        }
        for at in (0..self.nodes.len()).rev() {
            if needed[at] {
                for arg in &self.nodes[at].args {
                    needed[arg.at()] = true;
                }
            }
        }
        let mut new = vec![Value(0); self.nodes.len()];
        let mut nodes = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| needed[*at]) {
            new[at] = Value(nodes.len() as u32);
            let args = node.args.iter().map(|arg| new[arg.at()]).collect();
            nodes.push(Node { args, ..node.clone() });
        }
        let outputs = self.outputs.iter().map(|output| new[output.at()]).collect();
        Program { nodes, outputs }
    }

    /// The same program with a constant of its own for every use: equal constants of two uses are no
    /// reason to treat the axes of both alike.
    pub(crate) fn unshared(&self) -> Program {
        let mut nodes: Vec<Node> = Vec::new();
        let mut new: Vec<Value> = Vec::new();
        for node in &self.nodes {
            let args = node.args.iter().map(|arg| {
                let constant = self.node(*arg);
                if !matches!(constant.op, Op::Fill(_)) {
                    return new[arg.at()];
                }
                nodes.push(constant.clone());
                Value(nodes.len() as u32 - 1)
            });
            let args = args.collect();
            new.push(Value(nodes.len() as u32));
            nodes.push(Node { args, ..node.clone() });
        }
        let outputs = self.outputs.iter().map(|output| new[output.at()]).collect();
        Program { nodes, outputs }.pruned()
    }
}

/// The number of entries of a shape; the largest number where there are more.
pub fn size(shape: &[usize]) -> usize {
    shape.iter().fold(1, |size, axis| size.saturating_mul(*axis))
}
