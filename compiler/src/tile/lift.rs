//! From one token (or one head) to many: the same program with leading axes.
//!
//! Every operation acts on the trailing axes, so a program of one token becomes a program of a
//! whole chunk when its leaves get a leading axis of `chunk` rows, a program of all heads when they
//! get one of `heads` lanes, and attention when queries and keys get an axis each. A leaf that does
//! not vary keeps size 1 there and is never repeated in memory.

use super::{Binary, Builder, Gather, Int, Leaf, Op, Past, Program, Value};

/// Why a program cannot be lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The node.
    pub at: Value,
    /// What it does that differs from token to token.
    pub why: &'static str,
}

/// What the leading axes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// One axis of heads or sequences: all lanes are at the same token.
    Lanes,
    /// Axes of tokens: positions differ from row to row.
    Tokens,
}

/// Copies `program` into `b` with `lead` leading axes. `leaf` makes each leaf with its axes.
/// Gives the new value of every old one that the outputs need.
pub fn lift(
    b: &mut Builder,
    program: &Program,
    over: Over,
    lead: usize,
    leaf: &mut dyn FnMut(&mut Builder, &Leaf, &[usize]) -> Value,
) -> Result<Vec<Value>, Stuck> {
    let stuck = |at: usize, why: &'static str| Stuck { at: Value(at as u32), why };
    let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
    for (at, node) in program.nodes.iter().enumerate() {
        b.span = node.span;
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
        let value = match &node.op {
            Op::Leaf(source) => leaf(b, source, &node.shape),
            Op::Past(past) if over == Over::Lanes => {
                lift_past(b, past, &args, &node.shape, lead, leaf).map_err(|why| stuck(at, why))?
            }
            // An entry may be chosen by the token's position.
            op @ (Op::Pick(int) | Op::Place(int))
                if over == Over::Tokens && !matches!(int, Int::Const(_)) =>
            {
                let number = leaf(b, &Leaf::Number(int.clone()), &[]);
                chosen(b, op, args[0], &node.shape, number)
            }
            op => one(b, op, &args, &node.shape, over, lead).map_err(|why| stuck(at, why))?,
        };
        new.push(value);
    }
    Ok(new)
}

/// As [`lift`] over lanes, for programs of one token, in which every operation can be done for many heads.
pub fn lift_token(
    b: &mut Builder,
    program: &Program,
    leaf: &mut dyn FnMut(&mut Builder, &Leaf, &[usize]) -> Value,
) -> Vec<Value> {
    lift(b, program, Over::Lanes, 1, leaf)
        .expect("every operation of a token can be done for many heads")
}

/// The leading axes of a lifted value followed by other trailing ones.
fn with_lead(b: &Builder, value: Value, lead: usize, rest: &[usize]) -> Vec<usize> {
    [&b.shape(value)[..lead], rest].concat()
}

fn moved(axes: &[usize], lead: usize) -> Vec<usize> {
    axes.iter().map(|axis| axis + lead).collect()
}

/// Lifts one operation whose arguments are lifted, but for leaves, sums over the past and entries chosen by position; `shape` is the result's without
/// leading axes.
pub(crate) fn one(
    b: &mut Builder,
    op: &Op,
    args: &[Value],
    shape: &[usize],
    over: Over,
    lead: usize,
) -> Result<Value, &'static str> {
    let ones = vec![1; lead];
    Ok(match op {
        Op::Fill(x) => b.fill(x.value(), &[&ones, shape].concat()),
        Op::Eye => {
            let eye = b.raw(Op::Eye, vec![], shape.to_vec());
            b.reshape(eye, &[&ones, shape].concat())
        }
        Op::Below(versions) => {
            let below = b.raw(Op::Below(versions.clone()), vec![], shape.to_vec());
            b.reshape(below, &[&ones, shape].concat())
        }
        Op::Unary(op) => b.unary(*op, args[0]),
        Op::Binary(op) => b.binary(*op, args[0], args[1]),
        Op::MulSum(axes) => b.mul_sum(args[0], args[1], &moved(axes, lead)),
        Op::Sum(axes) => b.sum(args[0], &moved(axes, lead)),
        Op::LogSumExp(axis) => b.log_sum_exp(args[0], axis + lead),
        Op::Select => b.select(args[0], args[1], args[2]),
        Op::Weight => b.weight(args[0], args[1]),
        Op::Largest(count) => b.largest(args[0], *count),
        Op::LinearSolve(transposed) => b.linear_solve(args[0], args[1], *transposed),
        Op::Reshape => {
            let shape = with_lead(b, args[0], lead, shape);
            b.reshape(args[0], &shape)
        }
        Op::Permute(order) => {
            let order = [(0..lead).collect(), moved(order, lead)].concat();
            b.permute(args[0], &order)
        }
        Op::Slice(axis, start) => b.slice(args[0], axis + lead, *start, shape[*axis]),
        Op::Pad(axis, before) => b.pad(args[0], axis + lead, *before, shape[*axis]),
        Op::Concat(axis) => concat(b, args, axis + lead, lead),
        Op::Expand => {
            let shape = with_lead(b, args[0], lead, shape);
            b.expand(args[0], &shape)
        }
        Op::Alias(_) => args[0],
        Op::Pick(int) | Op::Place(int) if over == Over::Lanes || matches!(int, Int::Const(_)) => {
            let shape = with_lead(b, args[0], lead, shape);
            b.raw(op.clone(), args.to_vec(), shape)
        }
        Op::Pick(_) | Op::Place(_) => return Err("an entry is chosen by the token's position"),
        Op::Past(_) => return Err("a sum over the past"),
        _ => return Err("an operation of chunks"),
    })
}

/// Arguments one after the other, which may not have all leading axes.
fn concat(b: &mut Builder, args: &[Value], axis: usize, lead: usize) -> Value {
    let mut front = vec![1; lead];
    for &arg in args {
        for (i, size) in front.iter_mut().enumerate() {
            *size = (*size).max(b.shape(arg)[i]);
        }
    }
    let parts: Vec<Value> = args
        .iter()
        .map(|&arg| {
            let full = [&front, &b.shape(arg)[lead..]].concat();
            b.expand(arg, &full)
        })
        .collect();
    b.concat(&parts, axis)
}

/// [`Op::Pick`] or [`Op::Place`] where each row chooses its own entry: `number` has the leading axes, `shape`
/// is the result's without them.
pub(crate) fn chosen(b: &mut Builder, op: &Op, x: Value, shape: &[usize], number: Value) -> Value {
    let rank = b.shape(x).len();
    let pick = matches!(op, Op::Pick(_));
    let width = if pick { b.shape(x)[rank - 1] } else { shape.last().copied().unwrap_or(1) };
    let lead = b.shape(number).to_vec();
    let ones = vec![1; rank - lead.len()];
    let number = b.reshape(number, &[lead, ones].concat());
    let one = vec![1; rank];
    let (first, last) = (b.fill(0.0, &one), b.fill((width - 1) as f64, &one));
    let number = b.binary(Binary::Max, number, first);
    let number = b.binary(Binary::Min, number, last);
    let entries: Vec<Value> = (0..width).map(|at| b.fill(at as f64, &one)).collect();
    let entries = b.concat(&entries, rank - 1);
    let others = b.sub(number, entries);
    let (zero, unit) = (b.fill(0.0, &one), b.fill(1.0, &one));
    let here = b.select(others, zero, unit);
    let over: &[usize] = if pick { &[rank - 1] } else { &[] };
    b.mul_sum(x, here, over)
}

fn lift_past(
    b: &mut Builder,
    past: &Past,
    args: &[Value],
    shape: &[usize],
    lead: usize,
    leaf: &mut dyn FnMut(&mut Builder, &Leaf, &[usize]) -> Value,
) -> Result<Value, &'static str> {
    let mut inner = Builder::new();
    let outer: Vec<Vec<usize>> = args.iter().map(|&arg| b.shape(arg).to_vec()).collect();
    let mut region_leaf = |inner: &mut Builder, source: &Leaf, shape: &[usize]| match source {
        Leaf::Outer(k) => inner.leaf(source.clone(), &outer[*k]),
        other => leaf(inner, other, shape),
    };
    let new = lift(&mut inner, &past.term, Over::Lanes, lead, &mut region_leaf)
        .map_err(|stuck| stuck.why)?;
    let mut output = new[past.term.outputs[0].at()];
    // A term that is the same for all lanes still has one result per lane of the sum.
    if inner.shape(output)[..lead].contains(&1) && past.gather == Gather::Sum {
        let full = [&inner.shape(output)[..lead], shape].concat();
        output = inner.expand(output, &full);
    }
    let lifted = inner.shape(output).to_vec();
    let term = inner.finish(&[output]);
    let op = Op::Past(Box::new(Past { term, ..past.clone() }));
    Ok(b.raw(op, args.to_vec(), lifted))
}
