//! Makes programs. Equal nodes are shared and trivial ones folded as they are added, so every
//! later stage sees a small program.

use std::collections::HashMap;

use lrc_dsl::Span;

use super::{Binary, Bits, Int, Leaf, Node, Op, Program, Unary, Value, Versions};

/// Adds nodes to a growing program.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// The nodes so far.
    pub program: Program,
    /// The place given to new nodes.
    pub span: Option<Span>,
    known: HashMap<(Op, Vec<Value>, Vec<usize>), Value>,
}

impl Builder {
    /// An empty builder.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Goes on with an existing program.
    pub fn extending(program: Program) -> Builder {
        let known = program
            .nodes
            .iter()
            .enumerate()
            .map(|(at, n)| ((n.op.clone(), n.args.clone(), n.shape.clone()), Value(at as u32)))
            .collect();
        Builder { program, span: None, known }
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        self.program.shape(value)
    }

    /// The node of a value.
    pub fn node(&self, value: Value) -> &Node {
        self.program.node(value)
    }

    pub(super) fn rank(&self, value: Value) -> usize {
        self.shape(value).len()
    }

    /// Adds a node as it is, or finds an equal one.
    pub fn raw(&mut self, op: Op, args: Vec<Value>, shape: Vec<usize>) -> Value {
        let key = (op, args, shape);
        if let Some(&value) = self.known.get(&key) {
            return value;
        }
        let value = Value(self.program.nodes.len() as u32);
        let (op, args, shape) = key.clone();
        self.program.nodes.push(Node { op, args, shape, span: self.span });
        self.known.insert(key, value);
        value
    }

    /// A value from outside.
    pub fn leaf(&mut self, leaf: Leaf, shape: &[usize]) -> Value {
        self.raw(Op::Leaf(leaf), vec![], shape.to_vec())
    }

    /// The same number everywhere.
    pub fn fill(&mut self, x: f64, shape: &[usize]) -> Value {
        self.raw(Op::Fill(Bits::of(x)), vec![], shape.to_vec())
    }

    /// The number a value is filled with, if it is a constant.
    pub fn as_fill(&self, value: Value) -> Option<f64> {
        let node = self.node(value);
        match &node.op {
            Op::Fill(x) => Some(x.value()),
            Op::Expand | Op::Reshape | Op::Permute(_) => self.as_fill(node.args[0]),
            _ => None,
        }
    }

    /// The shape of two operands put together.
    pub fn joined(&self, a: Value, b: Value) -> Vec<usize> {
        let (a, b) = (self.shape(a), self.shape(b));
        assert_eq!(a.len(), b.len(), "operands of one operation have the same number of axes");
        let join = |(&x, &y): (&usize, &usize)| {
            assert!(x == y || x == 1 || y == 1, "axes {a:?} and {b:?} do not fit");
            if x == 1 { y } else { x }
        };
        a.iter().zip(b).map(join).collect()
    }

    /// A function of each entry.
    pub fn unary(&mut self, op: Unary, x: Value) -> Value {
        let shape = self.shape(x).to_vec();
        if let Some(c) = self.as_fill(x) {
            return self.fill(op.eval(c), &shape);
        }
        if op == Unary::Neg && self.node(x).op == Op::Unary(Unary::Neg) {
            return self.node(x).args[0];
        }
        self.raw(Op::Unary(op), vec![x], shape)
    }

    /// A function of two entries.
    pub fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        let shape = self.joined(a, b);
        match (op, self.as_fill(a), self.as_fill(b)) {
            (_, Some(x), Some(y)) => return self.fill(op.eval(x, y), &shape),
            (Binary::Add, Some(0.0), _) => return self.expand(b, &shape),
            (Binary::Add | Binary::Sub, _, Some(0.0)) => return self.expand(a, &shape),
            (Binary::Div, _, Some(1.0)) => return self.expand(a, &shape),
            (Binary::Sub, Some(0.0), _) => {
                let minus = self.unary(Unary::Neg, b);
                return self.expand(minus, &shape);
            }
            _ => {}
        }
        self.raw(Op::Binary(op), vec![a, b], shape)
    }

    /// `a + b`.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    /// `a - b`.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Sub, a, b)
    }

    /// `a / b`.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Div, a, b)
    }

    /// `a ∘ b`.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.mul_sum(a, b, &[])
    }

    /// `c a` for a constant `c`.
    pub fn scale(&mut self, a: Value, c: f64) -> Value {
        let shape = vec![1; self.rank(a)];
        let c = self.fill(c, &shape);
        self.mul(a, c)
    }

    /// `Σ_axes a ∘ b`; see [`Op::MulSum`].
    pub fn mul_sum(&mut self, a: Value, b: Value, axes: &[usize]) -> Value {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        let (mut a, mut b) = (a, b);
        // What only one side has is summed before the product.
        let lone = |builder: &Builder, x: Value, y: Value| -> Vec<usize> {
            let (x, y) = (builder.shape(x), builder.shape(y));
            axes.iter().copied().filter(|&i| x[i] > 1 && y[i] == 1).collect()
        };
        let (of_a, of_b) = (lone(self, a, b), lone(self, b, a));
        if !of_a.is_empty() {
            a = self.sum(a, &of_a);
        }
        if !of_b.is_empty() {
            b = self.sum(b, &of_b);
        }
        axes.retain(|&i| self.shape(a)[i] > 1 && self.shape(b)[i] > 1);
        let mut shape = self.joined(a, b);
        for &axis in &axes {
            shape[axis] = 1;
        }
        for (x, y) in [(a, b), (b, a)] {
            match self.as_fill(x) {
                Some(0.0) => return self.fill(0.0, &shape),
                Some(c) if !axes.is_empty() => {
                    let sum = self.sum(y, &axes);
                    let scaled = self.scale(sum, c);
                    return self.expand(scaled, &shape);
                }
                Some(1.0) => return self.expand(y, &shape),
                Some(-1.0) => {
                    let minus = self.unary(Unary::Neg, y);
                    return self.expand(minus, &shape);
                }
                Some(c) => {
                    if let Some(d) = self.as_fill(y) {
                        return self.fill(c * d, &shape);
                    }
                }
                None => {}
            }
        }
        if self.is_negated(a) && self.is_negated(b) {
            (a, b) = (self.without_sign(a), self.without_sign(b));
        }
        if b < a {
            std::mem::swap(&mut a, &mut b);
        }
        self.raw(Op::MulSum(axes), vec![a, b], shape)
    }

    /// Whether a value is `-x`, perhaps under another shape.
    fn is_negated(&self, x: Value) -> bool {
        let node = self.node(x);
        match node.op {
            Op::Unary(Unary::Neg) => true,
            Op::Reshape => self.is_negated(node.args[0]),
            _ => false,
        }
    }

    /// The `x` of such a value.
    fn without_sign(&mut self, x: Value) -> Value {
        let node = self.node(x).clone();
        if node.op != Op::Reshape {
            return node.args[0];
        }
        let inside = self.without_sign(node.args[0]);
        self.reshape(inside, &node.shape)
    }

    /// Sum over axes, which stay with size 1.
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Value {
        let mut shape = self.shape(x).to_vec();
        let axes: Vec<usize> = axes.iter().copied().filter(|&i| shape[i] > 1).collect();
        if axes.is_empty() {
            return x;
        }
        let count: usize = axes.iter().map(|&i| shape[i]).product();
        for &axis in &axes {
            shape[axis] = 1;
        }
        if let Some(c) = self.as_fill(x) {
            return self.fill(c * count as f64, &shape);
        }
        let node = self.node(x).clone();
        match &node.op {
            Op::MulSum(inner) if inner.is_empty() => {
                return self.mul_sum(node.args[0], node.args[1], &axes);
            }
            Op::Expand => {
                // Repeated entries: sum what is there, count the rest.
                let from = self.shape(node.args[0]).to_vec();
                let repeated: usize =
                    axes.iter().filter(|&&i| from[i] == 1).map(|&i| node.shape[i]).product();
                let inner = self.sum(node.args[0], &axes);
                let scaled = self.scale(inner, repeated as f64);
                return self.expand(scaled, &shape);
            }
            _ => {}
        }
        self.raw(Op::Sum(axes), vec![x], shape)
    }

    /// Sums repeated axes so that the result has the given shape.
    pub fn sum_to(&mut self, x: Value, shape: &[usize]) -> Value {
        let have = self.shape(x).to_vec();
        let axes: Vec<usize> =
            (0..shape.len()).filter(|&i| shape[i] == 1 && have[i] != 1).collect();
        let summed = self.sum(x, &axes);
        self.expand(summed, shape)
    }

    /// `log Σ exp` along an axis.
    pub fn log_sum_exp(&mut self, x: Value, axis: usize) -> Value {
        let mut shape = self.shape(x).to_vec();
        shape[axis] = 1;
        self.raw(Op::LogSumExp(axis), vec![x], shape)
    }

    /// `exp(score - total)`: a weight of a softmax.
    pub fn weight(&mut self, score: Value, total: Value) -> Value {
        let shape = self.joined(score, total);
        self.raw(Op::Weight, vec![score, total], shape)
    }

    /// `a` where the condition is not 0, else `b`.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        if a == b {
            return a;
        }
        // Constants may have lost axes that the condition has.
        let wide = self.joined(condition, a);
        let a = self.expand(a, &wide);
        let shape = self.joined(a, b);
        self.raw(Op::Select, vec![condition, a, b], shape)
    }

    /// A matrix product `[m, k] x [k, n]`, as a sum over the middle of three axes.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        let (m, k) = (self.shape(a)[0], self.shape(a)[1]);
        let n = self.shape(b)[1];
        let left = self.reshape(a, &[m, k, 1]);
        let right = self.reshape(b, &[1, k, n]);
        let product = self.mul_sum(left, right, &[1]);
        self.reshape(product, &[m, n])
    }

    /// `a bᵀ` for `a: [m, k]`, `b: [n, k]`.
    pub fn matmul_t(&mut self, a: Value, b: Value) -> Value {
        let bt = self.transpose(b);
        self.matmul(a, bt)
    }

    /// The entry of the last axis that a whole number selects.
    pub fn pick(&mut self, x: Value, index: Int) -> Value {
        let mut shape = self.shape(x).to_vec();
        if let Some(last) = shape.last_mut() {
            *last = 1;
        }
        self.raw(Op::Pick(index), vec![x], shape)
    }

    /// `(I + a) x = b`, or with the transpose.
    pub fn solve(&mut self, a: Value, b: Value, transposed: bool) -> Value {
        let shape = self.shape(b).to_vec();
        self.raw(Op::Solve(transposed), vec![a, b], shape)
    }

    /// `x` with `a x = b`, or with the transpose of `a`: `[.., n, n]` and `[.., n, m]`.
    pub fn linear_solve(&mut self, a: Value, b: Value, transposed: bool) -> Value {
        let (of_a, of_b) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        let lead = of_a.len() - 2;
        let both: Vec<usize> = (0..lead).map(|axis| of_a[axis].max(of_b[axis])).collect();
        let a = self.expand(a, &[&both, &of_a[lead..]].concat());
        let b = self.expand(b, &[&both, &of_b[lead..]].concat());
        let shape = self.shape(b).to_vec();
        self.raw(Op::LinearSolve(transposed), vec![a, b], shape)
    }

    /// 1 for the `count` largest entries of the last axis, 0 for the others.
    pub fn largest(&mut self, x: Value, count: usize) -> Value {
        let shape = self.shape(x).to_vec();
        self.raw(Op::Largest(count), vec![x], shape)
    }

    /// 1 where a write is seen by a read.
    pub fn below(&mut self, versions: &Versions, steps: usize) -> Value {
        let shape = vec![versions.rows(steps), steps];
        self.raw(Op::Below(versions.clone()), vec![], shape)
    }

    /// The program so far.
    pub fn nodes(&self) -> &Program {
        &self.program
    }

    /// The program so far with the given results, pruned.
    pub fn finish(&self, outputs: &[Value]) -> Program {
        Program { nodes: self.program.nodes.clone(), outputs: outputs.to_vec() }.pruned()
    }

    /// Copies a program's nodes into this one; leaves are made by `leaf`. Gives the new value of
    /// every old one.
    pub fn inline(
        &mut self,
        program: &Program,
        mut leaf: impl FnMut(&mut Builder, &Leaf, &[usize]) -> Value,
    ) -> Vec<Value> {
        let mut new: Vec<Value> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let value = match &node.op {
                Op::Leaf(source) => leaf(self, source, &node.shape),
                op => {
                    let args = node.args.iter().map(|arg| new[arg.at()]).collect();
                    self.span = node.span;
                    self.raw(op.clone(), args, node.shape.clone())
                }
            };
            new.push(value);
        }
        new
    }
}
