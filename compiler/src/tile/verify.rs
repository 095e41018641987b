//! Promises of a tile program. If [`verify`] says `Ok`, interpreting and emitting cannot panic.
//!
//! 1. A node reads only earlier nodes.
//! 2. Every output names a node that exists.
//! 3. Operands have the number, axes and sizes that the operation needs, and the shape of the
//!    result follows from them.
//! 4. Regions keep the same promises, and capture arguments that exist.

use super::{Leaf, Op, Program, Scan, Versions, size};

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The node.
    pub at: usize,
    /// The number of the promise.
    pub promise: u8,
    /// What is wrong.
    pub why: String,
}

/// Reports every broken promise, not just the first one.
pub fn verify(program: &Program) -> Result<(), Vec<Broken>> {
    let mut broken = Vec::new();
    for (at, node) in program.nodes.iter().enumerate() {
        let late = node.args.iter().find(|arg| arg.at() >= at);
        if let Some(arg) = late {
            let why = format!("%{at} reads %{}, which does not exist yet", arg.0);
            broken.push(Broken { at, promise: 1, why });
            continue;
        }
        let shapes: Vec<&[usize]> = node.args.iter().map(|arg| program.shape(*arg)).collect();
        if !fits(&node.op, &shapes, &node.shape) {
            let why = format!("%{at}: {} does not take {shapes:?} to {:?}", node.op, node.shape);
            broken.push(Broken { at, promise: 3, why });
        }
        if let Op::Past(past) = &node.op {
            let captured = past.term.leaves().all(|(_, leaf, shape)| match leaf {
                Leaf::Outer(k) => shapes.get(*k) == Some(&shape),
                _ => true,
            });
            if !captured || verify(&past.term).is_err() {
                let why = format!("%{at}: its term is not sound");
                broken.push(Broken { at, promise: 4, why });
            }
        }
    }
    for output in program.outputs.iter().filter(|output| program.nodes.len() <= output.at()) {
        let why = format!("no node %{} to return", output.0);
        broken.push(Broken { at: output.at(), promise: 2, why });
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn joins(shapes: &[&[usize]], out: &[usize]) -> bool {
    shapes.iter().all(|s| s.len() == out.len())
        && (0..out.len()).all(|i| {
            shapes.iter().all(|s| s[i] == out[i] || s[i] == 1)
                && shapes.iter().any(|s| s[i] == out[i])
        })
}

fn with_ones(axes: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    for &axis in axes {
        if let Some(size) = shape.get_mut(axis) {
            *size = 1;
        }
    }
    shape
}

fn rows_fit(v: &Versions, rows: usize, steps: usize) -> bool {
    v.micro > 0 && !v.offsets.is_empty() && v.rows(steps) == rows && steps.is_multiple_of(v.micro)
}

#[expect(clippy::too_many_lines, reason = "a flat match: one line for each operation")]
fn fits(op: &Op, args: &[&[usize]], out: &[usize]) -> bool {
    match (op, args) {
        (Op::Leaf(_) | Op::Fill(_), []) => true,
        (Op::Eye, []) => out.len() == 2 && out[0] == out[1],
        (Op::Unary(_) | Op::Alias(_), [x]) => *x == out,
        (Op::Binary(_) | Op::Weight, [_, _]) => joins(args, out),
        (Op::MulSum(axes), [a, b]) => {
            axes.iter().all(|&i| a.get(i) == b.get(i) && out.get(i) == Some(&1))
                && joins(&[&with_ones(axes, a), &with_ones(axes, b)], out)
        }
        (Op::Sum(axes), [x]) => with_ones(axes, x) == out && axes.iter().all(|&i| i < x.len()),
        (Op::LogSumExp(axis), [x]) => *axis < x.len() && with_ones(&[*axis], x) == out,
        (Op::Select, [c, a, b]) => {
            joins(&[a, b], out)
                && c.len() == out.len()
                && c.iter().zip(out).all(|(c, o)| c == o || *c == 1)
        }
        (Op::Reshape, [x]) => size(x) == size(out),
        (Op::Permute(order), [x]) => {
            order.len() == x.len() && (0..out.len()).all(|i| x.get(order[i]) == out.get(i))
        }
        (Op::Slice(axis, start), [x]) => {
            *axis < x.len() && out.len() == x.len() && start + out[*axis] <= x[*axis]
        }
        (Op::Pad(axis, before), [x]) => {
            *axis < x.len() && out.len() == x.len() && before + x[*axis] <= out[*axis]
        }
        (Op::Concat(axis), parts) => {
            !parts.is_empty()
                && parts.iter().all(|p| p.len() == out.len())
                && parts.iter().map(|p| p[*axis]).sum::<usize>() == out[*axis]
        }
        (Op::Expand, [x]) => {
            x.len() == out.len() && x.iter().zip(out).all(|(x, o)| x == o || *x == 1)
        }
        (Op::Pick(_), [x]) => !x.is_empty() && out.last() == Some(&1),
        (Op::Place(_), [x]) => x.last() == Some(&1),
        (Op::Past(past), _) => {
            past.term.outputs.len() == 1 && past.term.shape(past.term.outputs[0]) == out
        }
        (Op::CumulativeProduct(v), [a]) => rows_fit(v, out[0], a[0]),
        (Op::CumulativeProductGrad(v), [a, dy]) => rows_fit(v, dy[0], a[0]) && *a == out,
        (Op::ReverseCumulativeProduct, [a]) => *a == out,
        (Op::ReverseCumulativeProductGrad, [a, dy]) => a == dy && *a == out,
        (Op::DecayMask(v), [a]) => a[1] == 1 && rows_fit(v, out[0], a[0]) && out[1] == a[0],
        (Op::DecayMaskGrad(v), [a, dy]) => rows_fit(v, dy[0], a[0]) && dy[1] == a[0] && *a == out,
        (Op::Below(v), []) => rows_fit(v, out[0], out[1]),
        (Op::Gram(v), [x, y, a]) => {
            y == a && x[1] == y[1] && rows_fit(v, x[0], y[0]) && out == [x[0], y[0]]
        }
        (Op::Apply(v), [w, y, a]) => {
            y == a && w[1] == y[0] && rows_fit(v, w[0], y[0]) && out == [w[0], y[1]]
        }
        (Op::ApplyT(v), [w, x, a]) => {
            x[1] == a[1] && w[0] == x[0] && w[1] == a[0] && rows_fit(v, x[0], a[0]) && out == *a
        }
        (Op::GramGrad(v), [w, x, y, a]) => {
            y == a && rows_fit(v, x[0], y[0]) && **w == [x[0], y[0]] && out == *a
        }
        (Op::Scan(scan), [a, b, start]) => {
            *b == out
                && out.len() == 3
                && **a == [out[0], out[1], out[1], out[2]]
                && **start == out[1..]
                && (*scan == Scan::Linear || out[1] == 1)
        }
        (Op::ScanGrad, [a, dy]) => {
            *dy == out && out.len() == 3 && **a == [out[0], out[1], out[1], out[2]]
        }
        (Op::Largest(count), [a]) => !a.is_empty() && *count > 0 && *a == out,
        (Op::LinearSolve(_), [a, b]) => {
            let lead = a.len().saturating_sub(2);
            a.len() >= 2
                && a.len() == b.len()
                && a[..lead] == b[..lead]
                && a[lead] == a[lead + 1]
                && a[lead] == b[lead]
                && *b == out
        }
        (Op::Solve(_), [a, b]) => a[0] == a[1] && a[1] == b[0] && *b == out,
        _ => false,
    }
}
