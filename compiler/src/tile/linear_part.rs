//! What is linear in some leaves: of `f(x) = A x + b`, the program of `A x`.
//!
//! Every value that depends on the leaves is walked forward as what it adds to the result of one of them alone; values that do
//! not depend on them are copied as they are. Where a value depends on the leaves in another way than as a sum of such parts,
//! there is none.

use super::split::depends;
use super::{Binary, Builder, Leaf, Node, Op, Program, Unary, Value};
use lrc_dsl::Span;

/// What a value does that is not linear, and where.
pub type NotLinear = (Option<Span>, String);

/// The parts of values that are linear in the leaves that `on` picks, in a program of their own; zeros where there is none.
pub fn linear_part(
    program: &Program,
    values: &[Value],
    on: &dyn Fn(&Leaf) -> bool,
) -> Result<Program, NotLinear> {
    let mut walk = Walk { program, late: depends(program, on), b: Builder::new(), new: vec![] };
    let mut needed = vec![false; program.nodes.len()];
    values.iter().for_each(|value| needed[value.at()] = true);
    for at in (0..needed.len()).rev() {
        if needed[at] {
            program.nodes[at].args.iter().for_each(|arg| needed[arg.at()] = true);
        }
    }
    for (at, node) in program.nodes.iter().enumerate() {
        let value = if needed[at] { walk.node(at, node)? } else { None };
        walk.new.push(value);
    }
    let parts: Vec<Value> = values
        .iter()
        .map(|value| {
            let part = walk.new[value.at()].filter(|_| walk.late[value.at()]);
            part.unwrap_or_else(|| walk.b.fill(0.0, program.shape(*value)))
        })
        .collect();
    Ok(walk.b.finish(&parts))
}

struct Walk<'p> {
    program: &'p Program,
    late: Vec<bool>,
    b: Builder,
    /// Of each value its linear part where it depends on the leaves, itself where it does not; nothing for zero.
    new: Vec<Option<Value>>,
}

impl Walk<'_> {
    fn node(&mut self, at: usize, node: &Node) -> Result<Option<Value>, NotLinear> {
        self.b.span = node.span;
        let (args, shape) = (node.args.as_slice(), node.shape.as_slice());
        let made: Vec<Option<Value>> = args.iter().map(|arg| self.new[arg.at()]).collect();
        if !self.late[at] {
            let args: Option<Vec<Value>> = made.into_iter().collect();
            return Ok(args.map(|args| self.b.raw(node.op.clone(), args, shape.to_vec())));
        }
        let late: Vec<bool> = args.iter().map(|arg| self.late[arg.at()]).collect();
        // Constants add nothing to a linear part.
        let part = |k: usize| made[k].filter(|_| late[k]);
        let b = &mut self.b;
        Ok(match &node.op {
            Op::Leaf(leaf) => Some(b.leaf(leaf.clone(), shape)),
            Op::Binary(op @ (Binary::Add | Binary::Sub)) => sum(b, *op, part(0), part(1), shape),
            Op::Binary(Binary::Div) if !late[1] => both(part(0), made[1]).map(|[x, y]| b.div(x, y)),
            Op::MulSum(axes) if !(late[0] && late[1]) => both(made[0], made[1]).map(|[x, y]| {
                let product = b.mul_sum(x, y, axes);
                b.expand(product, shape)
            }),
            Op::Select if !late[0] => {
                let zero = vec![1; shape.len()];
                let sides = [1, 2].map(|k| part(k).unwrap_or_else(|| b.fill(0.0, &zero)));
                made[0].map(|condition| b.select(condition, sides[0], sides[1]))
            }
            Op::Concat(_) => {
                let mut parts = vec![];
                for (k, arg) in args.iter().enumerate() {
                    parts.push(match part(k) {
                        Some(x) => x,
                        None => b.fill(0.0, self.program.shape(*arg)),
                    });
                }
                Some(b.raw(node.op.clone(), parts, shape.to_vec()))
            }
            Op::Solve(_) | Op::LinearSolve(_) if !late[0] => both(made[0], part(1))
                .map(|both| b.raw(node.op.clone(), both.to_vec(), shape.to_vec())),
            op if moves(op) => part(0).map(|x| b.raw(op.clone(), vec![x], shape.to_vec())),
            op => return Err((node.span, format!("{op} of a state is not linear"))),
        })
    }
}

fn both(x: Option<Value>, y: Option<Value>) -> Option<[Value; 2]> {
    Some([x?, y?])
}

/// Operations of one argument that are linear.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(Unary::Neg)
            | Op::Sum(_)
            | Op::Reshape
            | Op::Permute(_)
            | Op::Slice(..)
            | Op::Pad(..)
            | Op::Expand
            | Op::Pick(_)
            | Op::Place(_)
            | Op::Alias(_)
    )
}

/// A sum or a difference of what there is.
fn sum(
    b: &mut Builder,
    op: Binary,
    x: Option<Value>,
    y: Option<Value>,
    shape: &[usize],
) -> Option<Value> {
    let one = match (x, y) {
        (Some(x), Some(y)) => b.binary(op, x, y),
        (None, Some(y)) if op == Binary::Sub => b.unary(Unary::Neg, y),
        (x, y) => x.or(y)?,
    };
    Some(b.expand(one, shape))
}
