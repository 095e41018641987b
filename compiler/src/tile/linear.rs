//! Takes solutions of triangular systems apart, so that what does not wait for a state is solved without it.
//!
//! Problem: the writes of a chunk solve a system whose right side reads the entering state. Solved as one, each
//! chunk waits for the one before it with all of that work.
//!
//! Idea: a solution is linear in the right side: `solve(A, x + y) = solve(A, x) + solve(A, y)`, and where `y` is a
//! product `M S`, `solve(A, M S) = solve(A, M) S`. What is left to do once `S` is known is a product. Where several
//! right sides have one matrix, its inverse is solved for once, and each solution is a product too.
//!
//! On the way back solutions are summed over their rows: `Mᵀ solve(Aᵀ, Y) = solve(A, M)ᵀ Y`, where again `M` waits
//! for nothing. Gradients of the system itself read the one solution `E = solve(Aᵀ, Y)`: `dA = -E Xᵀ` of the
//! forward solution `X`, two products less than by the gradients of its parts.

use super::rewrite::Rewrite;
use super::split::depends;
use super::{Binary, Leaf, Node, Op, Program, Value, size};
use lrc_dsl::Span;

/// The same program, with solutions taken apart where only a part of the right side depends on leaves that
/// `on` picks, or where that part is products.
pub fn solve_apart(program: &Program, on: &dyn Fn(&Leaf) -> bool) -> Program {
    let late = depends(program, on);
    Rewrite::of(program, |made, value, node| match &node.op {
        Op::Solve(turned) if late[value.at()] => {
            Apart { made, late: &late }.solution(node, *turned)
        }
        _ => None,
    })
}

/// The same program, with `solve(A, M)ᵀ Y` in place of products `Mᵀ solve(Aᵀ, Y)` where `Y` depends on leaves that
/// `on` picks, and `A` and `M` do not.
pub fn adjoint_apart(program: &Program, on: &dyn Fn(&Leaf) -> bool) -> Program {
    let late = depends(program, on);
    Rewrite::of(program, |made, _, node| match &node.op {
        Op::MulSum(over) if over[..] == [0] => Apart { made, late: &late }.adjoint(node),
        _ => None,
    })
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
    Rewrite::of(program, |made, _, node| match node.op {
        Op::Solve(turned) if worth(node.args[0]) => {
            let inverse = made.inverse(node.args[0], node.span);
            Some(made.applied(inverse, turned, node))
        }
        _ => None,
    })
}

/// Takes solutions apart.
struct Apart<'m, 'a> {
    made: &'m mut Rewrite<'a>,
    /// Which values of the old program depend on what is picked.
    late: &'m [bool],
}

impl Apart<'_, '_> {
    /// A solution as a sum of what is early and of products; nothing where it has other terms.
    fn solution(&mut self, node: &Node, turned: bool) -> Option<Value> {
        let [a, b] = [node.args[0], node.args[1]];
        if self.late[a.at()] {
            return None;
        }
        let (mut early, mut products) = (Vec::new(), Vec::new());
        self.terms(b, &node.shape, &mut early, &mut products).then_some(())?;
        let (late, made) = (self.late, &mut *self.made);
        let (a, span) = (made.new[a.at()], node.span);
        let shape = || node.shape.clone();
        let mut parts = Vec::new();
        let sides: Vec<Value> = early.iter().map(|x| made.new[x.at()]).collect();
        if let Some(x) = made.sum(sides, node) {
            parts.push(made.push(Op::Solve(turned), vec![a, x], shape(), span));
        }
        for product in products {
            let inner = made.from.node(product).clone();
            let at = inner.args.iter().position(|arg| !late[arg.at()])?;
            let factor = made.from.shape(inner.args[at]).to_vec();
            let matrix = vec![factor[0], size(&factor[1..])];
            let flat = made.new[inner.args[at].at()];
            let flat = made.push(Op::Reshape, vec![flat], matrix.clone(), span);
            let solved = made.push(Op::Solve(turned), vec![a, flat], matrix, span);
            let mut args: Vec<Value> = inner.args.iter().map(|arg| made.new[arg.at()]).collect();
            args[at] = made.push(Op::Reshape, vec![solved], factor, span);
            let product = made.push(inner.op, args, inner.shape, inner.span);
            parts.push(made.push(Op::Reshape, vec![product], shape(), span));
        }
        made.sum(parts, node)
    }

    /// A sum over the rows of something early and of a solution, by the solution of the former; nothing where it
    /// is none.
    fn adjoint(&mut self, node: &Node) -> Option<Value> {
        let (late, made) = (self.late, &mut *self.made);
        let at = node.args.iter().position(|arg| late[arg.at()])?;
        let (solution, factor) = (node.args[at], node.args[1 - at]);
        let mut solve = made.from.node(solution);
        while solve.op == Op::Reshape {
            solve = made.from.node(solve.args[0]);
        }
        let Op::Solve(turned) = solve.op else { return None };
        let [a, y] = [solve.args[0], solve.args[1]];
        let (sides, shape) = (made.from.shape(factor).to_vec(), made.from.shape(solution).to_vec());
        let rows = solve.shape[0];
        let outer = sides.iter().zip(&shape).skip(1).all(|(x, y)| *x == 1 || *y == 1);
        let fits = sides[0] == rows && shape[0] == rows && outer;
        if !fits || late[a.at()] || late[factor.at()] {
            return None;
        }
        let (span, matrix) = (node.span, vec![rows, size(&sides[1..])]);
        let flat = made.push(Op::Reshape, vec![made.new[factor.at()]], matrix.clone(), span);
        let solved = vec![made.new[a.at()], flat];
        let solved = made.push(Op::Solve(!turned), solved, matrix, solve.span);
        let mut args = [made.push(Op::Reshape, vec![made.new[y.at()]], shape, span); 2];
        args[1 - at] = made.push(Op::Reshape, vec![solved], sides, span);
        Some(made.push(node.op.clone(), args.to_vec(), node.shape.clone(), span))
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
        let node = self.made.from.node(value);
        let whole = node.shape == shape;
        if whole && !self.late[value.at()] {
            early.push(value);
            return true;
        }
        if whole && node.op == Op::Binary(Binary::Add) {
            return node.args.iter().all(|arg| self.terms(*arg, shape, early, products));
        }
        let mut inner = value;
        while self.made.from.node(inner).op == Op::Reshape {
            inner = self.made.from.node(inner).args[0];
        }
        let product = self.made.from.node(inner);
        let Op::MulSum(over) = &product.op else { return false };
        let rows = shape[0];
        let [x, y] = [product.args[0], product.args[1]];
        let (factor, other) = if self.late[x.at()] { (y, x) } else { (x, y) };
        let (factor_shape, other_shape) =
            (self.made.from.shape(factor), self.made.from.shape(other));
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

impl Rewrite<'_> {
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
}
