//! Programs whose neighbouring axes became one compute the same numbers.

use lrc_compiler::interpret::{Machine, Plan};
use lrc_compiler::tile::axes::together;
use lrc_compiler::tile::{Builder, Int, IntOp, Leaf, Program, Stream, Value, verify::verify};

/// What a program gives for inputs and parameters that are drawn from their numbers.
fn run(program: &Program) -> Vec<f64> {
    let plan = Plan::new(program);
    let mut machine = Machine::<f64>::new(&plan);
    plan.run(&mut machine, 0, &[], &mut |_, _, to| {
        to.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0);
    });
    (0..program.outputs.len()).flat_map(|k| plan.output(&machine, k).to_vec()).collect()
}

/// Checks that a program stays one, and the same; gives the shape of its first result.
fn joined(program: &Program) -> Vec<usize> {
    let made = together(program);
    assert_eq!(verify(&made), Ok(()));
    assert_eq!(run(&made), run(program));
    made.shape(made.outputs[0]).to_vec()
}

fn input(b: &mut Builder, i: usize, lag: i64, shape: &[usize]) -> Value {
    b.leaf(Leaf::Read(Stream::Input(i), Int::op(IntOp::Sub, Int::T, Int::Const(lag))), shape)
}

/// Two taps of a convolution over heads and subheads of 4.
fn convolution(b: &mut Builder) -> Value {
    let weights = b.leaf(Leaf::Param(0), &[2, 2, 3, 4]);
    let terms = [0, 1].map(|tap| {
        let x = input(b, 0, tap as i64, &[2, 3, 4]);
        let row = b.slice(weights, 0, tap, 1);
        let row = b.reshape(row, &[2, 3, 4]);
        b.mul(x, row)
    });
    b.add(terms[0], terms[1])
}

#[test]
fn heads_and_subheads_become_one_axis() {
    let mut b = Builder::new();
    let sum = convolution(&mut b);
    // A norm within each subhead, and a gain that all share.
    let square = b.mul_sum(sum, sum, &[2]);
    let normed = b.div(sum, square);
    let gain = b.leaf(Leaf::Param(1), &[4]);
    let gain = b.reshape(gain, &[1, 1, 4]);
    let out = b.mul(normed, gain);
    assert_eq!(joined(&b.finish(&[out])), [6, 4]);
}

#[test]
fn all_axes_become_one_where_nothing_is_within_them() {
    let mut b = Builder::new();
    let out = convolution(&mut b);
    assert_eq!(joined(&b.finish(&[out])), [24]);
}

#[test]
fn axes_stay_that_are_told_apart() {
    let mut b = Builder::new();
    let x = convolution(&mut b);
    let within = b.sum(x, &[1]);
    assert_eq!(joined(&b.finish(&[within])), [2, 1, 4]);
    // Of one head each, exchanged, cut, and given as one axis of 6.
    let head = input(&mut b, 1, 0, &[2, 1, 1]);
    let scaled = b.mul(x, head);
    assert_eq!(joined(&b.finish(&[scaled])), [2, 12]);
    let turned = b.permute(x, &[1, 0, 2]);
    assert_eq!(joined(&b.finish(&[turned])), [3, 2, 4]);
    let part = b.slice(x, 1, 1, 2);
    assert_eq!(joined(&b.finish(&[part])), [2, 2, 4]);
    let flat = b.reshape(x, &[6, 4]);
    let within = b.sum(flat, &[1]);
    assert_eq!(joined(&b.finish(&[within])), [6, 1]);
}

#[test]
fn all_leaves_of_a_tensor_have_the_same_axes() {
    let mut b = Builder::new();
    let (x, other) = (input(&mut b, 0, 0, &[2, 3, 4]), input(&mut b, 0, 1, &[2, 3, 4]));
    let within = b.sum(other, &[1]);
    let within = b.expand(within, &[2, 3, 4]);
    let doubled = b.add(x, x);
    assert_eq!(joined(&b.finish(&[doubled, within])), [2, 3, 4]);
}
