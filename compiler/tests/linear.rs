//! Solutions of triangular systems come apart without changing, in f64.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lrc_compiler::interpret::{Machine, Plan};
use lrc_compiler::tile::linear::{by_inverses, solve_apart};
use lrc_compiler::tile::split::depends;
use lrc_compiler::tile::verify::verify;
use lrc_compiler::tile::{Builder, Leaf, Op, Program};

/// Runs a program in f64, with numbers that follow from the leaves.
fn run(program: &Program) -> Vec<Vec<f64>> {
    verify(program).unwrap();
    let plan = Plan::new(program);
    let mut machine = Machine::<f64>::new(&plan);
    plan.run(&mut machine, 0, &[], &mut |leaf, _, to| {
        let first = leaf.to_string().bytes().map(usize::from).sum::<usize>();
        for (i, x) in to.iter_mut().enumerate() {
            *x = (((first + i) * (first + i + 3)) as f64 * 0.37).sin();
        }
    });
    (0..program.outputs.len()).map(|k| plan.output(&machine, k).to_vec()).collect()
}

#[test]
fn solutions_come_apart() {
    let carry = |leaf: &Leaf| matches!(leaf, Leaf::Carry(_));
    for turned in [false, true] {
        let mut b = Builder::new();
        let a = b.leaf(Leaf::Param(0), &[4, 4]);
        let m = b.leaf(Leaf::Param(1), &[4, 3]);
        let x = b.leaf(Leaf::Param(2), &[4, 2]);
        let s = b.leaf(Leaf::Carry(0), &[3, 2]);
        let read = b.matmul(m, s);
        let right = b.add(x, read);
        let solved = b.solve(a, right, turned);
        let program = b.finish(&[solved]);
        let apart = solve_apart(&program, &carry);
        let late = depends(&apart, &carry);
        let solves = apart.nodes.iter().zip(late).filter(|(n, _)| matches!(n.op, Op::Solve(_)));
        assert_eq!(solves.map(|(_, late)| late).collect::<Vec<_>>(), [false, false]);
        for (x, y) in run(&program)[0].iter().zip(&run(&apart)[0]) {
            assert!((x - y).abs() < 1e-12 * (1.0 + x.abs()), "{x} {y}");
        }
    }
}

#[test]
fn solutions_of_one_matrix_share_its_inverse() {
    let mut b = Builder::new();
    let a = b.leaf(Leaf::Param(0), &[4, 4]);
    let x = b.leaf(Leaf::Param(1), &[4, 3]);
    let y = b.leaf(Leaf::Param(2), &[4, 2]);
    let (first, turned) = (b.solve(a, x, false), b.solve(a, y, true));
    let program = b.finish(&[first, turned]);
    let products = by_inverses(&program);
    let solves = products.nodes.iter().filter(|node| matches!(node.op, Op::Solve(_)));
    assert_eq!(solves.count(), 1);
    for (x, y) in run(&program).concat().iter().zip(run(&products).concat()) {
        assert!((x - y).abs() < 1e-12 * (1.0 + x.abs()), "{x} {y}");
    }
    // A single one with few columns is solved as it is.
    let alone = Program { outputs: vec![program.outputs[0]], ..program }.pruned();
    assert_eq!(by_inverses(&alone), alone);
}

#[test]
fn other_terms_stay_as_they_are() {
    let mut b = Builder::new();
    let a = b.leaf(Leaf::Param(0), &[4, 4]);
    let s = b.leaf(Leaf::Carry(0), &[4, 2]);
    let bent = b.mul(s, s);
    let solved = b.solve(a, bent, false);
    let program = b.finish(&[solved]);
    assert_eq!(solve_apart(&program, &|leaf| matches!(leaf, Leaf::Carry(_))), program);
}
