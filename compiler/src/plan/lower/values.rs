//! Which values of a program become tiles.

use std::collections::BTreeSet;

use super::scan::scan;
use crate::tile::{Binary, Leaf, Op, Program, Unary, Value, size};

/// The work of evaluating an expression again, above which a value becomes a tile.
const MATERIALISE: usize = 6;

/// How many times the expression of each value stands in steps that make `results`, where `kept` values are
/// tiles; `products` share the copies of their operands.
pub(super) fn multiplicity(
    program: &Program,
    results: &[Value],
    kept: &[bool],
    products: &[bool],
) -> Vec<usize> {
    let mut operands = BTreeSet::new();
    let mut uses = vec![0_usize; program.nodes.len()];
    results.iter().for_each(|result| uses[result.at()] += 1);
    for (at, node) in program.nodes.iter().enumerate().rev() {
        let alone = kept[at] || heavy(program, Value(at as u32));
        let times = if alone { 1 } else { uses[at] };
        for arg in &node.args {
            if !products[at] || operands.insert(behind_views(program, *arg)) {
                uses[arg.at()] = uses[arg.at()].saturating_add(times);
            }
        }
    }
    uses
}

/// Which light values become tiles: those that several steps, or many elements of one step, would
/// compute again.
pub(super) fn materialised(program: &Program, results: &[Value], products: &[bool]) -> Vec<bool> {
    let nodes = &program.nodes;
    let none = vec![false; nodes.len()];
    let uses = multiplicity(program, results, &none, products);
    let spread = spread(program);
    let mut cost = vec![0; nodes.len()];
    let (mut kept, mut wide) = (none.clone(), none);
    for (at, node) in nodes.iter().enumerate() {
        if heavy(program, Value(at as u32)) {
            cost[at] = 1;
            continue;
        }
        cost[at] = own_cost(&node.op) + node.args.iter().map(|a| cost[a.at()]).sum::<usize>();
        let again = uses[at] > 1 && cost[at] > MATERIALISE;
        wide[at] = spread[at] > size(&node.shape) && cost[at] >= MATERIALISE;
        if !is_view(&node.op) && (again || wide[at]) {
            kept[at] = true;
            cost[at] = 1;
        }
    }
    // What only one that is kept itself reads is computed once all the same.
    let uses = multiplicity(program, results, &kept, products);
    (0..nodes.len()).map(|at| kept[at] && (wide[at] || uses[at] > 1)).collect()
}

/// The most elements that a value is read for, by steps that compute it where they read it.
fn spread(program: &Program) -> Vec<usize> {
    let nodes = &program.nodes;
    let mut spread: Vec<usize> = nodes.iter().map(|node| size(&node.shape)).collect();
    for at in (0..nodes.len()).rev() {
        if !heavy(program, Value(at as u32)) {
            for arg in &nodes[at].args {
                spread[arg.at()] = spread[arg.at()].max(spread[at]);
            }
        }
    }
    spread
}

/// Whether a value is computed by a step of its own.
pub fn heavy(program: &Program, value: Value) -> bool {
    match &program.node(value).op {
        Op::MulSum(axes) => !axes.is_empty(),
        Op::Sum(_) | Op::LogSumExp(_) | Op::Solve(_) | Op::LinearSolve(_) => true,
        op => scan(op).is_some(),
    }
}

/// What a value shows, if it is a view.
pub fn behind_views(program: &Program, mut value: Value) -> Value {
    while is_view(&program.node(value).op) {
        value = program.node(value).args[0];
    }
    value
}

/// Whether a value is another one's numbers in other places.
pub fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape | Op::Permute(_) | Op::Slice(..) | Op::Expand | Op::Alias(_) | Op::Pick(_)
    )
}

/// What one evaluation costs, in additions.
fn own_cost(op: &Op) -> usize {
    match op {
        Op::Leaf(Leaf::Carry(_) | Leaf::CarryCotangent(_)) => 1,
        Op::Leaf(_) => 3,
        Op::Unary(Unary::Neg | Unary::Abs | Unary::Relu | Unary::Step | Unary::Sign) => 1,
        Op::Unary(Unary::Exp | Unary::Sqrt) => 4,
        Op::Unary(_) => 8,
        Op::Binary(Binary::Div) => 4,
        Op::Binary(Binary::LogAddExp) => 16,
        Op::Binary(_) | Op::MulSum(_) | Op::Select | Op::Pad(..) | Op::Concat(_) => 1,
        Op::Weight => 5,
        _ => 0,
    }
}
