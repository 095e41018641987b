//! Walks the table of operations: every derivative is the slope of its meaning.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lrc_compiler::grad::gradient;
use lrc_compiler::interpret::{Machine, Plan};
use lrc_compiler::tile::verify::verify;
use lrc_compiler::tile::{Binary, Builder, Leaf, Op, Unary, Value, Versions};

/// Runs a program whose leaves are the numbered parameters, in f64.
fn run(b: &Builder, outputs: &[Value], leaves: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let program = b.finish(outputs);
    verify(&program).unwrap();
    let plan = Plan::new(&program);
    let mut machine = Machine::<f64>::new(&plan);
    plan.run(&mut machine, 0, &[], &mut |leaf, _, to| match leaf {
        Leaf::Param(i) => to.copy_from_slice(&leaves[*i]),
        other => panic!("no leaf {other}"),
    });
    (0..outputs.len()).map(|k| plan.output(&machine, k).to_vec()).collect()
}

/// A repeatable number in (0.2, 1.2) for an index.
fn wave(i: usize) -> f64 {
    0.7 + 0.5 * ((i * i) as f64 * 1.7 + i as f64).sin()
}

/// Checks every gradient of `make` against central differences. Leaves have the given shapes.
fn check(name: &str, shapes: &[&[usize]], make: impl Fn(&mut Builder, &[Value]) -> Value) {
    let mut b = Builder::new();
    let leaves: Vec<Value> =
        shapes.iter().enumerate().map(|(i, s)| b.leaf(Leaf::Param(i), s)).collect();
    let y = make(&mut b, &leaves);
    let shape = b.shape(y).to_vec();
    let seed = b.leaf(Leaf::Param(shapes.len()), &shape);
    let found = gradient(&mut b, &[(y, seed)], &leaves);
    let size = |s: &[usize]| s.iter().product::<usize>();
    let mut data: Vec<Vec<f64>> = shapes
        .iter()
        .enumerate()
        .map(|(k, s)| (0..size(s)).map(|i| wave(i + 31 * k)).collect())
        .collect();
    data.push((0..size(&shape)).map(|i| wave(i + 7) - 0.6).collect());
    let loss = |data: &[Vec<f64>]| -> f64 {
        let y = run(&b, &[y], data).remove(0);
        y.iter().zip(&data[shapes.len()]).map(|(y, d)| y * d).sum()
    };
    for (k, d) in found.values.iter().enumerate() {
        let gradient = match d {
            Some(d) => run(&b, &[*d], &data).remove(0),
            None => vec![0.0; data[k].len()],
        };
        for i in 0..data[k].len() {
            let h = 1e-6;
            let mut moved = data.clone();
            moved[k][i] += h;
            let up = loss(&moved);
            moved[k][i] -= 2.0 * h;
            let slope = (up - loss(&moved)) / (2.0 * h);
            let gap = (slope - gradient[i]).abs();
            assert!(
                gap < 1e-6 * (1.0 + slope.abs()),
                "{name}: argument {k} at {i}: slope {slope}, gradient {}",
                gradient[i]
            );
        }
    }
}

#[test]
fn functions_of_one_number() {
    for op in Unary::all() {
        check(&op.name(), &[&[5]], |b, x| b.unary(op, x[0]));
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for op in [Unary::Relu, Unary::Elu, Unary::Silu, Unary::Expm1] {
        assert!(op.eval(f64::NAN).is_nan(), "{op:?}");
    }
    for op in [Binary::Max, Binary::Min, Binary::LogAddExp] {
        assert!(op.eval(f64::NAN, 1.0).is_nan(), "{op:?}");
        assert!(op.eval(1.0, f64::NAN).is_nan(), "{op:?}");
    }
}

#[test]
fn functions_of_two_numbers_with_repeated_axes() {
    for op in Binary::ALL {
        check(&op.name(), &[&[3, 4], &[3, 4]], |b, x| b.binary(op, x[0], x[1]));
        check(&op.name(), &[&[3, 1], &[1, 4]], |b, x| b.binary(op, x[0], x[1]));
    }
}

#[test]
fn products_sums_and_moves() {
    check("matmul", &[&[3, 4], &[4, 2]], |b, x| b.matmul(x[0], x[1]));
    check("matmul_t", &[&[3, 4], &[2, 4]], |b, x| b.matmul_t(x[0], x[1]));
    check("batched", &[&[2, 3, 4, 1], &[2, 1, 4, 5]], |b, x| b.mul_sum(x[0], x[1], &[2]));
    check("square", &[&[3, 4]], |b, x| b.mul_sum(x[0], x[0], &[1]));
    check("sum", &[&[3, 4]], |b, x| b.sum(x[0], &[0]));
    check("permute", &[&[2, 3, 4]], |b, x| b.permute(x[0], &[2, 0, 1]));
    check("slice", &[&[5, 3]], |b, x| b.slice(x[0], 0, 1, 3));
    check("pad", &[&[2, 3]], |b, x| b.pad(x[0], 1, 2, 7));
    check("expand", &[&[2, 1]], |b, x| b.expand(x[0], &[2, 6]));
    check("concat", &[&[2, 3], &[2, 2]], |b, x| b.concat(&[x[0], x[1]], 1));
    check("reshape of a permuted tile", &[&[3, 4]], |b, x| {
        let turned = b.transpose(x[0]);
        let flat = b.reshape(turned, &[12]);
        b.mul(flat, flat)
    });
    check("select", &[&[2, 3], &[2, 3]], |b, x| {
        let mask = b.below(&Versions { micro: 1, offsets: vec![1] }, 2);
        let mask = b.slice(mask, 1, 0, 1);
        b.select(mask, x[0], x[1])
    });
}

/// Versions of a chunk of 6 micro-steps: before and after the update, and in the middle of a token.
fn versions() -> Vec<Versions> {
    vec![
        Versions { micro: 1, offsets: vec![0] },
        Versions { micro: 1, offsets: vec![1] },
        Versions { micro: 2, offsets: vec![2] },
        Versions { micro: 3, offsets: vec![0, 2] },
    ]
}

#[test]
fn products_of_decays() {
    for v in versions() {
        let rows = v.rows(6);
        check("prefix", &[&[6, 3]], |b, x| {
            b.raw(Op::CumulativeProduct(v.clone()), vec![x[0]], vec![rows, 3])
        });
        check("pairs", &[&[6, 1]], |b, x| {
            b.raw(Op::DecayMask(v.clone()), vec![x[0]], vec![rows, 6])
        });
        check("gram", &[&[rows, 3], &[6, 3], &[6, 3]], |b, x| {
            b.raw(Op::Gram(v.clone()), x.to_vec(), vec![rows, 6])
        });
        check("apply", &[&[rows, 6], &[6, 3], &[6, 3]], |b, x| {
            b.raw(Op::Apply(v.clone()), x.to_vec(), vec![rows, 3])
        });
    }
    check("suffix", &[&[6, 3]], |b, x| b.raw(Op::ReverseCumulativeProduct, vec![x[0]], vec![6, 3]));
}

#[test]
fn triangular_solves_of_every_size() {
    for m in [1, 5, 16, 17, 40] {
        for transposed in [false, true] {
            check("solve", &[&[m, m], &[m, 2]], |b, x| {
                // Small entries keep the solution tame.
                let small = b.scale(x[0], 0.3);
                b.solve(small, x[1], transposed)
            });
        }
    }
}

#[test]
fn systems_of_equations() {
    for transposed in [false, true] {
        check("linear solve", &[&[2, 4, 4], &[1, 4, 3]], |b, x| {
            let eye = b.raw(Op::Eye, vec![], vec![4, 4]);
            let eye = b.reshape(eye, &[1, 4, 4]);
            let eye = b.scale(eye, 4.0);
            let sound = b.add(x[0], eye);
            b.linear_solve(sound, x[1], transposed)
        });
    }
    // No pivot where the diagonal begins with 0.
    let mut b = Builder::new();
    let (a, rhs) = (b.leaf(Leaf::Param(0), &[2, 2]), b.leaf(Leaf::Param(1), &[2, 1]));
    let x = b.linear_solve(a, rhs, false);
    assert_eq!(run(&b, &[x], &[vec![0.0, 2.0, 1.0, 3.0], vec![4.0, 7.0]]).remove(0), [1.0, 2.0]);
}

#[test]
fn a_decay_of_zero_needs_no_special_case() {
    let mut b = Builder::new();
    let a = b.leaf(Leaf::Param(0), &[4, 1]);
    let pairs = b.raw(Op::DecayMask(Versions { micro: 1, offsets: vec![1] }), vec![a], vec![4, 4]);
    let got = run(&b, &[pairs], &[vec![0.5, 0.0, -2.0, 3.0]]).remove(0);
    let want = [1., 0., 0., 0., 0., 1., 0., 0., 0., -2., 1., 0., 0., -6., 3., 1.];
    assert_eq!(got, want);
}
