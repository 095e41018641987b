//! The program of a block of tokens by the strategy of its recurrence, and its gradient: what both the
//! processor and kernels run.

use std::fmt::{self, Display, Formatter};

use crate::chunk::attention::{self, pair_program};
use crate::chunk::gradient::{Gradient, Wrt, gradient};
use crate::chunk::token::of_token;
use crate::chunk::{Chunk, derive, scan};
use crate::elaborate::Recurrence;
use crate::normal::{Normal, Refusal};
use crate::strategy::Strategy;
use crate::tile::verify::verify;
use crate::tile::{Builder, Int, Node, Op, Program};

/// How the processor cuts a recurrence, as far as that is given; sizes decide the rest. It changes how sums
/// are grouped, and with that their last bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocking {
    /// Tokens of a block; of attention, queries and keys of one.
    pub tokens: Option<usize>,
    /// Heads that run together, at most, where states have no products: in scans, and token by token.
    pub heads: Option<usize>,
}

impl Display for Blocking {
    /// `64 tokens, 8 heads`.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match (self.tokens, self.heads) {
            (None, None) => f.write_str("of sizes of its own"),
            (Some(tokens), None) => write!(f, "{tokens} tokens"),
            (None, Some(heads)) => write!(f, "{heads} heads"),
            (Some(tokens), Some(heads)) => write!(f, "{tokens} tokens, {heads} heads"),
        }
    }
}

impl Blocking {
    /// In blocks of so many tokens, if that is given.
    pub fn of(tokens: Option<usize>) -> Blocking {
        Blocking { tokens, heads: None }
    }
}

/// A block of tokens.
#[derive(Clone, Debug)]
pub struct Block {
    /// Whether rows past the end of a sequence leave the states as they are.
    pub masked: bool,
    /// The program.
    pub chunk: Chunk,
    /// Its gradient.
    pub gradient: Gradient,
}

/// The program of a block of tokens; of attention that many queries against as many keys.
pub fn program(
    r: &Recurrence,
    strategy: &Strategy,
    tokens: usize,
    masked: bool,
) -> Result<Chunk, Refusal> {
    match strategy {
        Strategy::Scan => scan::derive(r, tokens, masked),
        Strategy::Chunk(normal) => derive(r, normal, tokens, masked),
        Strategy::Attention(_) => Ok(Chunk { tokens, program: pair_program(r, tokens, tokens)? }),
        Strategy::Recurrent(_) => of_token(r),
        Strategy::Halves(_) => {
            let why = "its states and its sums over the past have programs of their own";
            Err(Refusal { span: None, why: why.into() })
        }
    }
}

/// A block of tokens with its gradient. What `keep` picks is not computed again by the gradient.
pub fn block(
    r: &Recurrence,
    strategy: &Strategy,
    tokens: usize,
    masked: bool,
    keep: &dyn Fn(&Program, &Node) -> bool,
) -> Result<Block, Refusal> {
    let chunk = program(r, strategy, tokens, masked)?;
    let gradient = match strategy {
        Strategy::Attention(_) => of_pairs(&chunk.program),
        _ => gradient(r, &chunk, keep),
    };
    debug_assert_eq!(verify(&chunk.program), Ok(()), "{}", r.name);
    debug_assert_eq!(verify(&gradient.program), Ok(()), "gradient of {}", r.name);
    Ok(Block { masked, chunk, gradient })
}

/// What the processor runs: full blocks, and a masked one at the end of a sequence.
pub fn full_and_tail(
    r: &Recurrence,
    strategy: &Strategy,
    tokens: usize,
) -> Result<[Block; 2], Refusal> {
    let of = |masked| block(r, strategy, tokens, masked, &is_dear);
    Ok([of(false)?, of(true)?])
}

fn of_pairs(program: &Program) -> Gradient {
    let mut b = Builder::extending(program.clone());
    let found = attention::gradient(&mut b);
    let wrt = |target| match target {
        attention::Target::Query(i, at) => Wrt::Input(i, at),
        attention::Target::Key(i) => Wrt::Input(i, Int::Bound(0)),
        attention::Target::Param(i) => Wrt::Param(i),
    };
    let program = b.finish(&found.values);
    Gradient { program, wrt: found.targets.into_iter().map(wrt).collect(), kept: vec![] }
}

/// Micro-steps of a chunk of the normal form on the processor.
const MICRO_STEPS: usize = 64;
/// Queries of a block of attention on the processor.
const QUERIES: usize = 64;

/// Tokens of a block on the processor, unless a number is given: so many that its products, or the
/// rows of a scan, are work enough.
pub fn tokens(r: &Recurrence, strategy: &Strategy, given: Option<usize>) -> usize {
    match strategy {
        Strategy::Scan => scan::tokens(r, given),
        Strategy::Chunk(normal) => given.unwrap_or(tokens_of(normal)),
        Strategy::Attention(_) => given.unwrap_or(QUERIES),
        Strategy::Recurrent(_) | Strategy::Halves(_) => 1,
    }
}

/// Tokens of a chunk of the normal form on the processor.
pub fn tokens_of(normal: &Normal) -> usize {
    let updates = normal.states.iter().map(|s| s.updates.len()).max().unwrap_or(1);
    (MICRO_STEPS / updates).max(1)
}

/// Numbers that a sum must run over for its result to be dearer than the memory it takes.
const DEAR: usize = 16;

/// Whether the processor keeps a node's result for the backward pass rather than computing it again.
pub fn is_dear(program: &Program, node: &Node) -> bool {
    match &node.op {
        Op::Solve(_) | Op::Gram(_) | Op::Apply(_) | Op::ApplyT(_) | Op::Scan(_) => true,
        Op::MulSum(axes) => {
            let [a, b] = [program.shape(node.args[0]), program.shape(node.args[1])];
            axes.iter().map(|&i| a[i].max(b[i])).product::<usize>() >= DEAR
        }
        _ => false,
    }
}
