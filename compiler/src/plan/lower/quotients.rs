//! Products around quotients, which need more digits than operands have.

use super::product::is_matrix;
use super::values::{behind_views, heavy};
use crate::tile::{Binary, Op, Program, Unary, Value};

/// Which products lose too much with operands of 8 bits: those around a quotient whose divisor is a sum
/// that may cancel to nearly nothing.
///
/// A divisor that comes of a product, and what it divides, have an error relative to the operands of
/// the product, not to the divisor, which may be as much smaller as terms cancel; the quotient
/// multiplies it by as much. So all products that such a quotient depends on are marked. Its gradient
/// gives each term of both sums the difference of what flows by the numerator and by the divisor,
/// nearly equal where one term weighs most: products that read the quotient are marked where they are
/// added to something else that depends on it.
pub fn around_quotients(program: &Program) -> Vec<bool> {
    let is_product = |at: usize| is_matrix(program, Value(at as u32));
    let mut marked = vec![false; program.nodes.len()];
    // What depends on a quotient: directly, and at all.
    let (mut near, mut depends) = (marked.clone(), marked.clone());
    for (at, node) in program.nodes.iter().enumerate() {
        let of = |which: &[bool]| node.args.iter().any(|arg| which[arg.at()]);
        near[at] = of(&near) && !heavy(program, Value(at as u32));
        depends[at] = of(&depends);
        let divisor = match &node.op {
            Op::Binary(Binary::Div) => node.args[1],
            Op::Unary(Unary::Pow(c)) if c.value() < 0.0 => node.args[0],
            Op::Binary(Binary::Add | Binary::Sub) => {
                if node.args.iter().all(|arg| depends[arg.at()]) {
                    let light = |at: usize| !heavy(program, Value(at as u32));
                    let added = behind(program, &node.args, &light);
                    let reads = |at: usize| program.nodes[at].args.iter().any(|a| near[a.at()]);
                    (0..at).filter(|at| added[*at] && is_product(*at) && reads(*at)).for_each(
                        |at| {
                            marked[at] = true;
                        },
                    );
                }
                continue;
            }
            _ => continue,
        };
        let cancels = |at: usize| !bounded(&program.nodes[at].op);
        let of_divisor = behind(program, &[divisor], &cancels);
        if (0..at).any(|at| of_divisor[at] && is_product(at)) {
            (near[at], depends[at]) = (true, true);
            let of_both = behind(program, &node.args, &cancels);
            of_both.iter().zip(&mut marked).for_each(|(found, mark)| *mark |= found);
        }
    }
    marked
}

/// Products that read two pieces of each operand: around quotients, and with the inverse of a matrix.
pub fn whole(program: &Program) -> Vec<bool> {
    let mut marked = around_quotients(program);
    let with_inverses = products_of(program, &|value| is_inverse(program, value));
    marked.iter_mut().zip(with_inverses).for_each(|(marked, with)| *marked |= with);
    marked
}

/// Whether a value is the inverse of a matrix, perhaps scaled. The terms of its products cancel.
pub fn is_inverse(program: &Program, value: Value) -> bool {
    let node = program.node(value);
    let of_one = |arg: &Value| program.node(*arg).op == Op::Eye;
    let scaled = |arg: &Value| is_inverse(program, behind_views(program, *arg));
    match &node.op {
        Op::Solve(_) => node.args.get(1).is_some_and(of_one),
        Op::MulSum(over) if over.is_empty() => node.args.iter().any(scaled),
        _ => false,
    }
}

/// Products with values that `with` picks.
pub fn products_of(program: &Program, with: &dyn Fn(Value) -> bool) -> Vec<bool> {
    let product = |at: usize| {
        let args = &program.nodes[at].args;
        is_matrix(program, Value(at as u32))
            && args.iter().any(|arg| with(behind_views(program, *arg)))
    };
    (0..program.nodes.len()).map(product).collect()
}

/// What some values depend on, as far as nodes let through.
fn behind(program: &Program, ends: &[Value], through: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut found = vec![false; program.nodes.len()];
    ends.iter().for_each(|end| found[end.at()] = true);
    for (at, node) in program.nodes.iter().enumerate().rev() {
        if found[at] && through(at) {
            node.args.iter().for_each(|arg| found[arg.at()] = true);
        }
    }
    found
}

/// Operations whose result has a relative error no larger than the absolute one of its argument, which
/// is small: nothing that cancels inside is lost outside.
fn bounded(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(Unary::Exp | Unary::Sigmoid | Unary::Softplus | Unary::LogSigmoid)
            | Op::LogSumExp(_)
            | Op::Weight
    )
}
