//! Solutions of triangular systems and factors of products come apart without changing, in f64.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lrc_compiler::interpret::{Machine, Plan};
use lrc_compiler::tile::factors::factors_apart;
use lrc_compiler::tile::linear::{adjoint_apart, by_inverses, solve_apart};
use lrc_compiler::tile::split::depends;
use lrc_compiler::tile::verify::verify;
use lrc_compiler::tile::{Builder, Int, Leaf, Op, Program, Stream};

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
fn sums_over_rows_of_solutions_come_apart() {
    let flows = |leaf: &Leaf| matches!(leaf, Leaf::CarryCotangent(_));
    for turned in [false, true] {
        let mut b = Builder::new();
        let a = b.leaf(Leaf::Param(0), &[4, 4]);
        let m = b.leaf(Leaf::Param(1), &[4, 3]);
        let y = b.leaf(Leaf::CarryCotangent(0), &[4, 2]);
        let solved = b.solve(a, y, turned);
        let columns = b.reshape(solved, &[4, 1, 2]);
        let across = b.reshape(m, &[4, 3, 1]);
        let summed = b.mul_sum(across, columns, &[0]);
        let program = b.finish(&[summed, solved]);
        let apart = adjoint_apart(&program, &flows);
        let late = depends(&apart, &flows);
        let carried = Program { outputs: vec![apart.outputs[0]], ..apart.clone() }.pruned();
        let waits = depends(&carried, &flows);
        let solves = carried.nodes.iter().zip(waits).filter(|(n, _)| matches!(n.op, Op::Solve(_)));
        assert_eq!(solves.map(|(_, late)| late).collect::<Vec<_>>(), [false]);
        assert!(late[apart.outputs[1].at()], "the solution itself stays");
        for (x, y) in run(&program).concat().iter().zip(run(&apart).concat()) {
            assert!((x - y).abs() < 1e-12 * (1.0 + x.abs()), "{x} {y}");
        }
        // Where the other side waits as well, nothing is gained.
        let same = |leaf: &Leaf| flows(leaf) || matches!(leaf, Leaf::Param(1));
        assert_eq!(adjoint_apart(&program, &same), program);
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

/// `(s k) kᵀ`, `(s k)ᵀ u` of a computed `u`, and `(s q) S`, as chunks have them.
fn scaled() -> Program {
    let mut b = Builder::new();
    let mut input = |i: usize, shape: &[usize]| b.leaf(Leaf::Read(Stream::Input(i), Int::T), shape);
    let (k, q, rates) = (input(0, &[8, 4]), input(1, &[8, 4]), input(2, &[8]));
    let rates = b.reshape(rates, &[8, 1]);
    let state = b.leaf(Leaf::Carry(0), &[4, 4]);
    let (k_scaled, q_scaled) = (b.mul(k, rates), b.mul(rates, q));
    let turned = b.transpose(k);
    let gram = b.matmul(k_scaled, turned);
    let read = b.matmul(q_scaled, state);
    let written = b.matmul(gram, read);
    let turned = b.transpose(k_scaled);
    let next = b.matmul(turned, written);
    b.finish(&[gram, read, next])
}

#[test]
fn factors_leave_tensors_of_tokens() {
    let program = scaled();
    let apart = factors_apart(&program, &|_| true);
    for (x, y) in run(&program).concat().iter().zip(run(&apart).concat()) {
        assert!((x - y).abs() < 1e-12 * (1.0 + x.abs()), "{x} {y}");
    }
    // Products read keys and queries as they stand.
    let is_product = |op: &Op| matches!(op, Op::MulSum(over) if !over.is_empty());
    let behind_views = |mut value| {
        while matches!(apart.node(value).op, Op::Reshape | Op::Permute(_)) {
            value = apart.node(value).args[0];
        }
        value
    };
    let products = apart.nodes.iter().filter(|node| is_product(&node.op));
    let read: Vec<&Op> = products
        .flat_map(|node| &node.args)
        .map(|arg| &apart.node(behind_views(*arg)).op)
        .filter(|op| matches!(op, Op::Leaf(Leaf::Read(..))))
        .collect();
    assert_eq!(read.len(), 4, "keys three times, queries once");
}

#[test]
fn factors_stay_where_nothing_else_takes_them() {
    let mut b = Builder::new();
    let mut input = |i: usize, shape: &[usize]| b.leaf(Leaf::Read(Stream::Input(i), Int::T), shape);
    let (k, v, rates) = (input(0, &[8, 4]), input(1, &[8, 4]), input(2, &[8, 1]));
    let scaled = b.mul(k, rates);
    let turned = b.transpose(scaled);
    // Along the sum, beside another tensor.
    let sum = b.matmul(turned, v);
    let program = b.finish(&[sum]);
    assert_eq!(factors_apart(&program, &|_| true), program);
}
