//! Reverse-mode differentiation of tile programs.
//!
//! The gradient of a program is more nodes of the same program: every forward value is at hand by
//! name, and what the gradient does not need is dropped afterwards. One rule per operation, below;
//! the rules of single numbers stand beside their meaning in [`crate::tile::elementwise`].

use std::collections::HashMap;

use crate::tile::{
    Binary, Builder, Gather, Leaf, Node, Op, Past, Scan, Stream, Unary, Value, Versions,
};

/// What [`gradient`] found.
#[derive(Clone, Debug, Default)]
pub struct Gradient {
    /// For each requested value its gradient, `None` where it is zero.
    pub values: Vec<Option<Value>>,
    /// Gradients of streams at positions that a sum over the past binds.
    pub scatters: Vec<Scatter>,
}

/// For every position of a range, adds the term's value to the gradient of a stream there.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// The range, and the program of one term.
    pub past: Past,
    /// What the term captures.
    pub args: Vec<Value>,
    /// The stream.
    pub stream: Stream,
    /// The position, an expression over the bound one.
    pub at: crate::tile::Int,
}

/// Adds the nodes of the gradient of `Σ <seed, value>` over `seeds = [(value, seed)]` with respect
/// to `wrt`. A value in `wrt` is taken as independent: nothing flows through it.
pub fn gradient(b: &mut Builder, seeds: &[(Value, Value)], wrt: &[Value]) -> Gradient {
    let Some(last) = seeds.iter().map(|(value, _)| value.at()).max() else {
        return Gradient { values: vec![None; wrt.len()], scatters: Vec::new() };
    };
    let mut reverse =
        Reverse { live: depends(b, last, wrt), cotangents: HashMap::new(), scatters: Vec::new() };
    for &(value, seed) in seeds {
        reverse.give(b, value, seed);
    }
    let mut values = vec![None; wrt.len()];
    for at in (0..=last).rev() {
        let value = Value(at as u32);
        let Some(dy) = reverse.cotangents.remove(&value) else { continue };
        let mut independent = false;
        for (slot, _) in wrt.iter().enumerate().filter(|(_, w)| **w == value) {
            values[slot] = Some(dy);
            independent = true;
        }
        if !independent {
            let node = b.node(value).clone();
            b.span = node.span;
            reverse.step(b, value, &node, dy);
        }
    }
    Gradient { values, scatters: reverse.scatters }
}

/// Gradients of a program by its leaves.
#[derive(Clone, Debug)]
pub struct ByLeaves<T> {
    /// The gradients that are not zero.
    pub values: Vec<Value>,
    /// What each of them belongs to.
    pub targets: Vec<T>,
    /// As in [`Gradient`].
    pub scatters: Vec<Scatter>,
}

/// Differentiates `outputs = [(value, leaf)]` by the leaves that `wanted` picks; the gradient that
/// flows into each output becomes the leaf beside it.
pub fn by_leaves<T>(
    b: &mut Builder,
    outputs: impl IntoIterator<Item = (Value, Leaf)>,
    mut wanted: impl FnMut(&Leaf) -> Option<T>,
) -> ByLeaves<T> {
    let picked: Vec<(Value, T)> =
        b.program.leaves().filter_map(|(value, leaf, _)| Some((value, wanted(leaf)?))).collect();
    let mut seeds = Vec::new();
    for (value, leaf) in outputs {
        let shape = b.shape(value).to_vec();
        seeds.push((value, b.leaf(leaf, &shape)));
    }
    let wrt: Vec<Value> = picked.iter().map(|(value, _)| *value).collect();
    let found = gradient(b, &seeds, &wrt);
    let both = found.values.into_iter().zip(picked).filter_map(|(d, (_, t))| d.map(|d| (d, t)));
    let (values, targets) = both.unzip();
    ByLeaves { values, targets, scatters: found.scatters }
}

/// Which of the nodes up to `last` depend on the given values. Sums over the past depend on every
/// stream they read.
fn depends(b: &Builder, last: usize, wrt: &[Value]) -> Vec<bool> {
    let mut live = vec![false; last + 1];
    for at in 0..=last {
        let node = &b.program.nodes[at];
        live[at] = wrt.contains(&Value(at as u32))
            || node.args.iter().any(|arg| live[arg.at()])
            || matches!(&node.op, Op::Past(_));
    }
    live
}

struct Reverse {
    live: Vec<bool>,
    cotangents: HashMap<Value, Value>,
    scatters: Vec<Scatter>,
}

impl Reverse {
    /// Adds `dy`, summed over repeated axes, to the cotangent of a value.
    fn give(&mut self, b: &mut Builder, value: Value, dy: Value) {
        if !self.live[value.at()] {
            return;
        }
        let shape = b.shape(value).to_vec();
        let dy = b.sum_to(dy, &shape);
        let sum = match self.cotangents.get(&value) {
            Some(&old) => b.add(old, dy),
            None => dy,
        };
        self.cotangents.insert(value, sum);
    }

    fn step(&mut self, b: &mut Builder, value: Value, node: &Node, dy: Value) {
        let args = node.args.as_slice();
        match &node.op {
            Op::Leaf(_) | Op::Fill(_) | Op::Eye | Op::Below(_) => {}
            Op::Unary(op) => {
                if let Some(slope) = op.derivative(b, args[0], value) {
                    let dx = b.mul(dy, slope);
                    self.give(b, args[0], dx);
                }
            }
            Op::Binary(Binary::Sub) if within(b, args[1], args[0], NESTED_MAXIMA) => {
                if let Some(stays) = self.exceed(b, dy, args[1], args[0]) {
                    self.give(b, args[0], stays);
                }
            }
            Op::Binary(op) => {
                let both = op.vjp(b, [args[0], args[1], value], dy);
                for (arg, given) in args.iter().zip(both) {
                    if let Some(given) = given {
                        self.give(b, *arg, given);
                    }
                }
            }
            Op::MulSum(_) => self.product(b, [args[0], args[1]], dy),
            Op::Sum(_) => {
                let shape = b.shape(args[0]).to_vec();
                let dx = b.expand(dy, &shape);
                self.give(b, args[0], dx);
            }
            Op::LogSumExp(_) => {
                let weight = b.weight(args[0], value);
                let dx = b.mul(dy, weight);
                self.give(b, args[0], dx);
            }
            Op::Expand => self.give(b, args[0], dy),
            Op::Select => {
                let zero = vec![1; node.shape.len()];
                let zero = b.fill(0.0, &zero);
                let da = b.select(args[0], dy, zero);
                let db = b.select(args[0], zero, dy);
                self.give(b, args[1], da);
                self.give(b, args[2], db);
            }
            Op::Weight => {
                let da = b.mul(dy, value);
                let db = b.unary(Unary::Neg, da);
                self.give(b, args[0], da);
                self.give(b, args[1], db);
            }
            Op::Alias(_) => self.give(b, args[0], dy),
            Op::Past(past) => self.past(b, value, past, args, dy),
            Op::Concat(axis) => self.parts(b, *axis, args, dy),
            op => match moved_back(b, op, args, dy) {
                Some(dx) => self.give(b, args[0], dx),
                None => self.chunk(b, value, node, dy),
            },
        }
    }

    /// The cotangents of `x - max`, where `max` is the largest of `x` and others: gives what the others get, and
    /// returns what is left to `x`. Where `x` is the larger one, the difference is 0 whatever `x` is; by the rules of
    /// subtraction and maximum apart, `x` would get a number and its negative, with the rest of its gradient rounded away
    /// between them.
    fn exceed(&mut self, b: &mut Builder, dy: Value, max: Value, x: Value) -> Option<Value> {
        if max == x {
            return None;
        }
        let [first, second] = larger(b, max)?;
        let wins = b.binary(Binary::Ge, first, second);
        let of_first = b.mul(dy, wins);
        let of_second = b.sub(dy, of_first);
        let (mine, other) = if within(b, first, x, NESTED_MAXIMA) {
            ((first, of_first), (second, of_second))
        } else {
            ((second, of_second), (first, of_first))
        };
        let minus = b.unary(Unary::Neg, other.1);
        self.give(b, other.0, minus);
        let more = self.exceed(b, mine.1, mine.0, x);
        Some(more.map_or(other.1, |more| b.add(other.1, more)))
    }

    /// What flows into parts that were put one after the other.
    fn parts(&mut self, b: &mut Builder, axis: usize, parts: &[Value], dy: Value) {
        let mut start = 0;
        for &part in parts {
            let length = b.shape(part)[axis];
            let dx = b.slice(dy, axis, start, length);
            self.give(b, part, dx);
            start += length;
        }
    }

    /// Operations of chunk programs.
    fn chunk(&mut self, b: &mut Builder, value: Value, node: &Node, dy: Value) {
        let args = node.args.as_slice();
        let like = |b: &mut Builder, op: Op, args: Vec<Value>, shaped: Value| {
            let shape = b.shape(shaped).to_vec();
            b.raw(op, args, shape)
        };
        match &node.op {
            Op::CumulativeProduct(_) | Op::ReverseCumulativeProduct | Op::DecayMask(_) => {
                let op = match &node.op {
                    Op::CumulativeProduct(v) => Op::CumulativeProductGrad(v.clone()),
                    Op::DecayMask(v) => Op::DecayMaskGrad(v.clone()),
                    _ => Op::ReverseCumulativeProductGrad,
                };
                let da = like(b, op, vec![args[0], dy], args[0]);
                self.give(b, args[0], da);
            }
            Op::Gram(v) => {
                let (x, y, a) = (args[0], args[1], args[2]);
                let dx = like(b, Op::Apply(v.clone()), vec![dy, y, a], x);
                let d = like(b, Op::ApplyT(v.clone()), vec![dy, x, a], y);
                self.give(b, x, dx);
                self.give(b, y, d);
                self.gram_grad(b, v, [dy, x, y, a]);
            }
            Op::Apply(v) => {
                let (w, y, a) = (args[0], args[1], args[2]);
                let dw = like(b, Op::Gram(v.clone()), vec![dy, y, a], w);
                let d = like(b, Op::ApplyT(v.clone()), vec![w, dy, a], y);
                self.give(b, w, dw);
                self.give(b, y, d);
                self.gram_grad(b, v, [w, dy, y, a]);
            }
            Op::Solve(transposed) => {
                let (a, rhs) = (args[0], args[1]);
                let db = b.solve(a, dy, !transposed);
                self.give(b, rhs, db);
                let (left, right) = if *transposed { (value, db) } else { (db, value) };
                let product = b.matmul_t(left, right);
                let mask = b.below(&Versions::strict(), b.shape(a)[0]);
                let masked = b.mul(product, mask);
                let da = b.unary(Unary::Neg, masked);
                self.give(b, a, da);
            }
            Op::Largest(_) => {}
            Op::Scan(scan) => self.scan(b, value, *scan, [args[0], args[1], args[2]], dy),
            Op::LinearSolve(transposed) => {
                let (a, rhs) = (args[0], args[1]);
                let db = b.linear_solve(a, dy, !transposed);
                self.give(b, rhs, db);
                if self.live[a.at()] {
                    let (left, right) = if *transposed { (value, db) } else { (db, value) };
                    let outer = outer_sum(b, left, right);
                    let da = b.unary(Unary::Neg, outer);
                    self.give(b, a, da);
                }
            }
            other => unreachable!("{other} is made by gradients only"),
        }
    }

    fn product(&mut self, b: &mut Builder, [x, y]: [Value; 2], dy: Value) {
        // A square has one slope, twice as large.
        if x == y {
            let lacking = lacks(b, x, x, dy);
            let twice = b.scale(dy, 2.0);
            let d = b.mul_sum(twice, x, &lacking);
            return self.give(b, x, d);
        }
        for (mine, other) in [(x, y), (y, x)] {
            if self.live[mine.at()] {
                let lacking = lacks(b, mine, other, dy);
                let d = b.mul_sum(dy, other, &lacking);
                self.give(b, mine, d);
            }
        }
    }

    /// See [`Op::Scan`]; of a maximum the larger side takes the gradient.
    fn scan(
        &mut self,
        b: &mut Builder,
        value: Value,
        scan: Scan,
        [a, add, start]: [Value; 3],
        dy: Value,
    ) {
        let shape = b.shape(value).to_vec();
        let (m, s, n) = (shape[0], shape[1], shape[2]);
        let first = b.reshape(start, &[1, s, n]);
        let before = if m == 1 {
            first
        } else {
            let earlier = b.slice(value, 0, 0, m - 1);
            b.concat(&[first, earlier], 0)
        };
        let before = b.reshape(before, &[m, 1, s, n]);
        let through = match scan {
            Scan::Linear => a,
            Scan::Max { first } => {
                let sum = b.add(before, a);
                let other = b.reshape(add, &[m, 1, s, n]);
                if first {
                    b.binary(Binary::Ge, sum, other)
                } else {
                    let one = b.fill(1.0, &[m, 1, s, n]);
                    let rest = b.binary(Binary::Ge, other, sum);
                    b.sub(one, rest)
                }
            }
        };
        let d = b.raw(Op::ScanGrad, vec![through, dy], shape);
        let column = b.reshape(d, &[m, s, 1, n]);
        let (da, db) = match scan {
            Scan::Linear => (b.mul(column, before), d),
            Scan::Max { .. } => {
                let da = b.mul(through, column);
                let rest = b.reshape(da, &[m, s, n]);
                (da, b.sub(d, rest))
            }
        };
        self.give(b, a, da);
        self.give(b, add, db);
        let (a0, d0) = (b.slice(through, 0, 0, 1), b.slice(column, 0, 0, 1));
        let d0 = b.mul_sum(a0, d0, &[1]);
        let d0 = b.reshape(d0, &[s, n]);
        self.give(b, start, d0);
    }

    fn gram_grad(&mut self, b: &mut Builder, v: &Versions, [w, x, y, a]: [Value; 4]) {
        if self.live[a.at()] {
            let shape = b.shape(a).to_vec();
            let da = b.raw(Op::GramGrad(v.clone()), vec![w, x, y, a], shape);
            self.give(b, a, da);
        }
    }

    /// A sum over the past: each term is differentiated by itself. What the term captures gets a
    /// sum of gradients; streams that it reads get theirs where it read them.
    fn past(&mut self, b: &mut Builder, value: Value, past: &Past, args: &[Value], dy: Value) {
        let mut inner = Builder::extending(past.term.clone());
        let term = past.term.outputs[0];
        let mut captured = args.to_vec();
        let mut capture = |inner: &mut Builder, outside: Value, shape: &[usize]| {
            captured.push(outside);
            inner.leaf(Leaf::Outer(captured.len() - 1), shape)
        };
        let shape = b.shape(dy).to_vec();
        let dy_in = capture(&mut inner, dy, &shape);
        let seed = match past.gather {
            Gather::Sum => dy_in,
            Gather::LogSumExp => {
                let total = capture(&mut inner, value, &shape);
                let weight = inner.weight(term, total);
                inner.mul(dy_in, weight)
            }
        };
        let leaves: Vec<(Value, Leaf)> =
            past.term.leaves().map(|(value, leaf, _)| (value, leaf.clone())).collect();
        let wrt: Vec<Value> = leaves.iter().map(|(value, _)| *value).collect();
        let found = gradient(&mut inner, &[(term, seed)], &wrt);
        self.scatters.extend(nested(&found.scatters));
        for ((_, leaf), d) in leaves.iter().zip(found.values) {
            let Some(d) = d else { continue };
            let part = Past { gather: Gather::Sum, term: inner.finish(&[d]), ..past.clone() };
            match leaf {
                Leaf::Outer(k) => {
                    let shape = b.shape(args[*k]).to_vec();
                    let sum = b.raw(Op::Past(Box::new(part)), captured.clone(), shape);
                    self.give(b, args[*k], sum);
                }
                Leaf::Read(stream, at) => self.scatters.push(Scatter {
                    past: part,
                    args: captured.clone(),
                    stream: *stream,
                    at: at.clone(),
                }),
                _ => {}
            }
        }
    }
}

/// The sides of a maximum.
fn larger(b: &Builder, value: Value) -> Option<[Value; 2]> {
    let node = b.node(value);
    match node.op {
        Op::Alias(_) => larger(b, node.args[0]),
        Op::Binary(Binary::Max) => Some([node.args[0], node.args[1]]),
        _ => None,
    }
}

/// How deep [`within`] looks.
const NESTED_MAXIMA: usize = 6;

/// Whether a value is `x`, or the largest of `x` and others.
fn within(b: &Builder, value: Value, x: Value, depth: usize) -> bool {
    value == x
        || depth > 0
            && larger(b, value)
                .is_some_and(|sides| sides.iter().any(|side| within(b, *side, x, depth - 1)))
}

/// `left rightᵀ` of the last two axes.
fn outer_sum(b: &mut Builder, left: Value, right: Value) -> Value {
    let shape = b.shape(left).to_vec();
    let (lead, [n, m]) =
        (&shape[..shape.len() - 2], [shape[shape.len() - 2], shape[shape.len() - 1]]);
    let rows = b.reshape(left, &[lead, &[n, 1, m]].concat());
    let cols = b.reshape(right, &[lead, &[1, n, m]].concat());
    let sum = b.mul_sum(rows, cols, &[lead.len() + 2]);
    b.reshape(sum, &[lead, &[n, n]].concat())
}

/// Scatters of sums inside sums would need loops inside loops; the elaborator refuses such sums.
fn nested(scatters: &[Scatter]) -> Vec<Scatter> {
    debug_assert!(scatters.is_empty(), "nested sums over the past are refused earlier");
    scatters.to_vec()
}

/// The axes that `mine` has with size 1 while the product with `dy` has more.
fn lacks(b: &Builder, mine: Value, other: Value, dy: Value) -> Vec<usize> {
    let (mine, other, dy) = (b.shape(mine), b.shape(other), b.shape(dy));
    (0..mine.len()).filter(|&i| mine[i] == 1 && other[i].max(dy[i]) > 1).collect()
}

/// What flows into the argument of an operation that only moves its entries; `None` for all others.
fn moved_back(b: &mut Builder, op: &Op, args: &[Value], dy: Value) -> Option<Value> {
    let shape = b.shape(*args.first()?).to_vec();
    Some(match op {
        Op::Reshape => b.reshape(dy, &shape),
        Op::Permute(order) => {
            let mut back = vec![0; order.len()];
            for (i, &o) in order.iter().enumerate() {
                back[o] = i;
            }
            b.permute(dy, &back)
        }
        Op::Slice(axis, start) => b.pad(dy, *axis, *start, shape[*axis]),
        Op::Pad(axis, before) => b.slice(dy, *axis, *before, shape[*axis]),
        Op::Pick(int) => b.raw(Op::Place(int.clone()), vec![dy], shape),
        Op::Place(int) => b.raw(Op::Pick(int.clone()), vec![dy], shape),
        _ => return None,
    })
}
