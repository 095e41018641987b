//! Takes solutions of triangular systems apart, so that what does not wait for a state is solved without it.
//!
//! Problem: the writes of a chunk solve a system whose right side reads the entering state. Solved as one, each
//! chunk waits for the one before it with all of that work.
//!
//! Idea: a solution is linear in the right side: `solve(A, x + y) = solve(A, x) + solve(A, y)`, and where `y` is a
//! product `M S`, `solve(A, M S) = solve(A, M) S`. What is left to do once `S` is known is a product. Where several
//! right sides have one matrix, its inverse is solved for once, and each solution is a product too.

use super::split::depends;
use super::{Binary, Leaf, Node, Op, Program, Value, size};
use lrc_dsl::Span;

/// The same program, with solutions taken apart where only a part of the right side depends on leaves that
/// `on` picks, or where that part is products.
pub fn solve_apart(program: &Program, on: &dyn Fn(&Leaf) -> bool) -> Program {
    let late = depends(program, on);
    let mut made = Rewrite { from: program, late, nodes: vec![], new: vec![] };
    for (at, node) in program.nodes.iter().enumerate() {
        let apart = match &node.op {
            Op::Solve(turned) if made.late[at] => made.apart(node, *turned),
            _ => None,
        };
        let value = apart.unwrap_or_else(|| {
            let args = node.args.iter().map(|arg| made.new[arg.at()]).collect();
            made.push(node.op.clone(), args, node.shape.clone(), node.span)
        });
        made.new.push(value);
    }
    let outputs = program.outputs.iter().map(|output| made.new[output.at()]).collect();
    Program { nodes: made.nodes, outputs }.pruned()
}

/// The same program, with the inverse of a matrix of triangular systems in place of their solutions, where
/// these have more columns together than the matrix itself.
pub fn by_inverses(program: &Program) -> Program {
    let systems = |of: Value| {
        let solves = program.nodes.iter().filter(|node| matches!(node.op, Op::Solve(_)));
        solves.filter(move |node| node.args[0] == of)
    };
    let worth =
        |a: Value| systems(a).map(|node| node.shape[1]).sum::<usize>() > program.shape(a)[0];
    let late = vec![false; program.nodes.len()];
    let mut made = Rewrite { from: program, late, nodes: vec![], new: vec![] };
    let mut inverses: Vec<(Value, Value)> = Vec::new();
    for node in &program.nodes {
        let args = node.args.iter().map(|arg| made.new[arg.at()]).collect();
        let value = match node.op {
            Op::Solve(turned) if worth(node.args[0]) => {
                let known = inverses.iter().find(|(a, _)| *a == node.args[0]);
                let inverse = known.map(|(_, inverse)| *inverse).unwrap_or_else(|| {
                    let inverse = made.inverse(node.args[0], node.span);
                    inverses.push((node.args[0], inverse));
                    inverse
                });
                made.applied(inverse, turned, node)
            }
            _ => made.push(node.op.clone(), args, node.shape.clone(), node.span),
        };
        made.new.push(value);
    }
    let outputs = program.outputs.iter().map(|output| made.new[output.at()]).collect();
    Program { nodes: made.nodes, outputs }.pruned()
}

struct Rewrite<'a> {
    from: &'a Program,
    late: Vec<bool>,
    nodes: Vec<Node>,
    /// Of each node of the old program its value in the new one.
    new: Vec<Value>,
}

impl Rewrite<'_> {
    fn push(&mut self, op: Op, args: Vec<Value>, shape: Vec<usize>, span: Option<Span>) -> Value {
        self.nodes.push(Node { op, args, shape, span });
        Value(self.nodes.len() as u32 - 1)
    }

    /// A solution as a sum of what is early and of products; nothing where it has other terms.
    fn apart(&mut self, node: &Node, turned: bool) -> Option<Value> {
        let [a, b] = [node.args[0], node.args[1]];
        if self.late[a.at()] {
            return None;
        }
        let (mut early, mut products) = (Vec::new(), Vec::new());
        self.terms(b, &node.shape, &mut early, &mut products).then_some(())?;
        let a = self.new[a.at()];
        let span = node.span;
        let shape = || node.shape.clone();
        let mut parts = Vec::new();
        let sides: Vec<Value> = early.iter().map(|x| self.new[x.at()]).collect();
        if let Some(x) = self.sum(sides, node) {
            parts.push(self.push(Op::Solve(turned), vec![a, x], shape(), span));
        }
        for product in products {
            let inner = self.from.node(product).clone();
            let at = inner.args.iter().position(|arg| !self.late[arg.at()])?;
            let factor = self.from.shape(inner.args[at]).to_vec();
            let matrix = vec![factor[0], size(&factor[1..])];
            let flat = self.new[inner.args[at].at()];
            let flat = self.push(Op::Reshape, vec![flat], matrix.clone(), span);
            let solved = self.push(Op::Solve(turned), vec![a, flat], matrix, span);
            let mut args: Vec<Value> = inner.args.iter().map(|arg| self.new[arg.at()]).collect();
            args[at] = self.push(Op::Reshape, vec![solved], factor, span);
            let product = self.push(inner.op, args, inner.shape, inner.span);
            parts.push(self.push(Op::Reshape, vec![product], shape(), span));
        }
        self.sum(parts, node)
    }

    fn sum(&mut self, parts: Vec<Value>, node: &Node) -> Option<Value> {
        parts.into_iter().reduce(|a, b| {
            self.push(Op::Binary(Binary::Add), vec![a, b], node.shape.clone(), node.span)
        })
    }

    /// The inverse of the matrix of a triangular system.
    fn inverse(&mut self, a: Value, span: Option<Span>) -> Value {
        let shape = self.from.shape(a).to_vec();
        let one = self.push(Op::Eye, vec![], shape.clone(), span);
        self.push(Op::Solve(false), vec![self.new[a.at()], one], shape, span)
    }

    /// The solution of a system by the inverse of its matrix.
    fn applied(&mut self, inverse: Value, turned: bool, solve: &Node) -> Value {
        let (span, [n, cols]) = (solve.span, [solve.shape[0], solve.shape[1]]);
        let mut left = inverse;
        if turned {
            left = self.push(Op::Permute(vec![1, 0]), vec![left], vec![n, n], span);
        }
        let left = self.push(Op::Reshape, vec![left], vec![n, n, 1], span);
        let right = self.new[solve.args[1].at()];
        let right = self.push(Op::Reshape, vec![right], vec![1, n, cols], span);
        let product = self.push(Op::MulSum(vec![1]), vec![left, right], vec![n, 1, cols], span);
        self.push(Op::Reshape, vec![product], solve.shape.clone(), span)
    }

    /// Collects the terms of a right side: those that are early, and products of something early, whose rows
    /// are the system's, with something late. Whether there are no others.
    fn terms(
        &self,
        value: Value,
        shape: &[usize],
        early: &mut Vec<Value>,
        products: &mut Vec<Value>,
    ) -> bool {
        let node = self.from.node(value);
        let whole = node.shape == shape;
        if whole && !self.late[value.at()] {
            early.push(value);
            return true;
        }
        if whole && node.op == Op::Binary(Binary::Add) {
            return node.args.iter().all(|arg| self.terms(*arg, shape, early, products));
        }
        let mut inner = value;
        while self.from.node(inner).op == Op::Reshape {
            inner = self.from.node(inner).args[0];
        }
        let product = self.from.node(inner);
        let Op::MulSum(over) = &product.op else { return false };
        let rows = shape[0];
        let [x, y] = [product.args[0], product.args[1]];
        let (factor, other) = if self.late[x.at()] { (y, x) } else { (x, y) };
        let (factor_shape, other_shape) = (self.from.shape(factor), self.from.shape(other));
        let fits = size(&node.shape) == size(shape)
            && !self.late[factor.at()]
            && !over.contains(&0)
            && product.shape.first() == Some(&rows)
            && factor_shape.first() == Some(&rows)
            && other_shape.first() == Some(&1);
        if fits {
            products.push(inner);
        }
        fits
    }
}
