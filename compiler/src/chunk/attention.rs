//! The program of a block of queries and the keys that they read, for sums over the past.
//!
//! The program of one token gets two leading axes, queries and keys. What depends on the current
//! token only keeps size 1 along the keys and the other way round, so a score `qᵀ k[u]` becomes one
//! matrix product, and a weighted sum `Σ p[u] v[u]` another. Positions outside the declared range
//! are masked: `-inf` for scores, 0 for terms.

use crate::elaborate::Recurrence;
use crate::grad::{ByLeaves, by_leaves};
use crate::normal::Refusal;
use crate::tile::lift::{Over, chosen, one};
use crate::tile::split::piece;
use crate::tile::{Builder, Gather, Int, Leaf, Op, Past, Program, Stream, Unary, Value};

/// Tokens at which a range is looked at.
pub const SAMPLES: i64 = 4096;

/// Which positions the sums of a recurrence read; some at every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// First position, at each token.
    pub low: Int,
    /// Last position, included.
    pub high: Int,
}

impl Range {
    /// The range that all sums of a recurrence have in common.
    pub fn of(r: &Recurrence) -> Result<Range, Refusal> {
        let refuse = |span, why: &str| Refusal { span, why: why.into() };
        if !r.states.is_empty() {
            return Err(refuse(None, "it has states beside sums over the past"));
        }
        let mut pasts = r.token.nodes.iter().filter_map(|node| match &node.op {
            Op::Past(past) => Some((&**past, node.span)),
            _ => None,
        });
        let none = || refuse(None, "it has no state and reads no past by `sum` or `softmax`");
        let (first, span) = pasts.next().ok_or_else(none)?;
        if let Some((_, span)) = pasts.find(|(p, _)| p.low != first.low || p.high != first.high) {
            return Err(refuse(span, "its sums over the past have different ranges"));
        }
        // Sampled, as where ranges are declared: every range of the sources shows itself early.
        let empty = |t: i64| first.low.eval(t, &[]).max(0) > first.high.eval(t, &[]);
        if (0..SAMPLES).any(empty) {
            let why =
                "its range over the past holds no token at some tokens, such as the first one";
            return Err(refuse(span, why));
        }
        Ok(Range { low: first.low.clone(), high: first.high.clone() })
    }

    /// First and last position that a token reads.
    pub fn at(&self, t: usize) -> (usize, usize) {
        let within = |at: &Int| at.eval(t as i64, &[]).clamp(0, t as i64) as usize;
        (within(&self.low), within(&self.high))
    }

    /// First and last position that some of the tokens read.
    pub fn of_rows(&self, tokens: std::ops::Range<usize>) -> (usize, usize) {
        let low = tokens.clone().map(|t| self.at(t).0).min().unwrap_or(0);
        (low, tokens.map(|t| self.at(t).1).max().unwrap_or(0))
    }
}

/// What a gradient belongs to: an input read by queries or by keys, or a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Query(usize, Int),
    Key(usize),
    Param(usize),
}

/// The program of a block of queries and a block of keys.
pub(crate) fn pair_program(
    r: &Recurrence,
    queries: usize,
    keys: usize,
) -> Result<Program, Refusal> {
    let mut b = Builder::new();
    let mut maker = Pair { r, b: &mut b, queries, keys };
    let new = maker.lift(&r.token, &[])?;
    let mut outputs = Vec::new();
    for (slot, output) in r.outs.iter().zip(&r.token.outputs) {
        let full = [&[queries, 1], slot.shape.as_slice()].concat();
        let value = b.expand(new[output.at()], &full);
        outputs.push(b.reshape(value, &[&[queries], slot.shape.as_slice()].concat()));
    }
    Ok(b.finish(&outputs))
}

const COMPUTED: &str =
    "a value that another token computes is read, and it is made of more than that token's inputs";

struct Pair<'b> {
    r: &'b Recurrence,
    b: &'b mut Builder,
    queries: usize,
    keys: usize,
}

impl Pair<'_> {
    fn lift(&mut self, program: &Program, outer: &[Value]) -> Result<Vec<Value>, Refusal> {
        let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            self.b.span = node.span;
            let refuse = |why: &str| Refusal { span: node.span, why: why.into() };
            let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
            let value = match &node.op {
                Op::Leaf(Leaf::Outer(k)) => outer[*k],
                Op::Leaf(Leaf::Read(Stream::Export(k), Int::Bound(0))) => {
                    self.named(*k).ok_or_else(|| refuse(COMPUTED))?
                }
                Op::Leaf(leaf) => self.leaf(leaf, &node.shape).map_err(refuse)?,
                Op::Past(past) => self.past(past, &args)?,
                // A softmax over entries knows no positions that it may not read.
                Op::Weight if !matches!(program.node(node.args[1]).op, Op::LogSumExp(_)) => {
                    let score = self.masked(args[0], f64::NEG_INFINITY);
                    self.b.weight(score, args[1])
                }
                // Where a query may not read, a difference of decays may be anything, and infinity times
                // the 0 that it is left out with is no number.
                Op::Unary(Unary::Exp) if self.of_pairs(args[0]) => {
                    let exponent = self.masked(args[0], 0.0);
                    self.b.unary(Unary::Exp, exponent)
                }
                Op::Pick(at) | Op::Place(at) if !matches!(at, Int::Const(_)) => {
                    let number = self.leaf(&Leaf::Number(at.clone()), &[]).map_err(refuse)?;
                    chosen(self.b, &node.op, args[0], &node.shape, number)
                }
                op => one(self.b, op, &args, &node.shape, Over::Tokens, 2).map_err(refuse)?,
            };
            new.push(value);
        }
        Ok(new)
    }

    /// A named value of the keys' tokens, written out, if it is made of their inputs alone.
    fn named(&mut self, export: usize) -> Option<Value> {
        let at = self.r.outs.len() + self.r.states.len() + export;
        let mut made = piece(&self.r.token, &[*self.r.token.outputs.get(at)?], &|_| false).program;
        for node in &mut made.nodes {
            match &mut node.op {
                Op::Leaf(Leaf::Read(Stream::Input(_), at)) if *at == Int::T => *at = Int::Bound(0),
                Op::Leaf(Leaf::Param(_) | Leaf::Head) => {}
                Op::Leaf(_) | Op::Past(_) => return None,
                _ => {}
            }
        }
        let new = self.lift(&made, &[]).ok()?;
        Some(new[made.outputs[0].at()])
    }

    fn leaf(&mut self, leaf: &Leaf, shape: &[usize]) -> Result<Value, &'static str> {
        let (queries, keys) = match leaf {
            Leaf::Read(Stream::Input(_), at) | Leaf::Number(at) => {
                match (at.binds(0), *at == Int::T) {
                    (true, _) if *at == Int::Bound(0) => (1, self.keys),
                    (true, _) if matches!(leaf, Leaf::Number(_)) => (self.queries, self.keys),
                    (false, true) => (self.queries, 1),
                    (false, _) if at.lag().is_some() => (self.queries, 1),
                    _ => {
                        return Err(
                            "attention reads inputs at the bound position itself, as `k[u]`, and this is another",
                        );
                    }
                }
            }
            Leaf::Param(_) | Leaf::Head => (1, 1),
            _ => {
                return Err(COMPUTED);
            }
        };
        let front: Vec<usize> = match leaf {
            Leaf::Param(_) | Leaf::Head => vec![],
            _ if queries > 1 && keys > 1 => vec![queries, keys],
            _ => vec![queries.max(keys)],
        };
        let value = self.b.leaf(leaf.clone(), &[front.as_slice(), shape].concat());
        Ok(self.b.reshape(value, &[&[queries, keys], shape].concat()))
    }

    /// Whether a value differs both by query and by key.
    fn of_pairs(&self, value: Value) -> bool {
        self.b.shape(value)[..2].iter().all(|n| *n > 1)
    }

    /// The value where a query may read a key, else a constant.
    fn masked(&mut self, value: Value, other: f64) -> Value {
        let rank = self.b.shape(value).len();
        let mut shape = vec![1; rank];
        (shape[0], shape[1]) = (self.queries, self.keys);
        let allowed = self.b.leaf(Leaf::Allowed, &[self.queries, self.keys]);
        let allowed = self.b.reshape(allowed, &shape);
        let full = [&[self.queries, self.keys], &self.b.shape(value)[2..]].concat();
        let value = self.b.expand(value, &full);
        let other = self.b.fill(other, &vec![1; rank]);
        self.b.select(allowed, value, other)
    }

    fn past(&mut self, past: &Past, args: &[Value]) -> Result<Value, Refusal> {
        let new = self.lift(&past.term, args)?;
        let term = new[past.term.outputs[0].at()];
        match past.gather {
            Gather::Sum => {
                let term = if vanishes(self.b, term) { term } else { self.masked(term, 0.0) };
                let full = [&[self.queries, self.keys], &self.b.shape(term)[2..]].concat();
                let term =
                    if self.b.shape(term)[1] == 1 { self.b.expand(term, &full) } else { term };
                Ok(self.b.sum(term, &[1]))
            }
            Gather::LogSumExp => {
                let score = self.masked(term, f64::NEG_INFINITY);
                Ok(self.b.log_sum_exp(score, 1))
            }
        }
    }
}

/// Whether a term is 0 wherever a weight is.
fn vanishes(b: &Builder, value: Value) -> bool {
    let node = b.node(value);
    match &node.op {
        Op::Weight => matches!(b.node(node.args[0]).op, Op::Select),
        Op::MulSum(_) => node.args.iter().any(|arg| vanishes(b, *arg)),
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Unary(Unary::Neg) => {
            vanishes(b, node.args[0])
        }
        _ => false,
    }
}

/// Adds the gradient of the outputs.
pub(crate) fn gradient(b: &mut Builder) -> ByLeaves<Target> {
    let outputs = b.program.outputs.clone().into_iter().enumerate();
    let seeds = outputs.map(|(k, output)| (output, Leaf::Cotangent(Stream::Out(k))));
    by_leaves(b, seeds, |leaf| match leaf {
        Leaf::Read(Stream::Input(i), at) if at.binds(0) => Some(Target::Key(*i)),
        Leaf::Read(Stream::Input(i), at) => Some(Target::Query(*i, at.clone())),
        Leaf::Param(i) => Some(Target::Param(*i)),
        _ => None,
    })
}
