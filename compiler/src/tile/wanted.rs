//! Which entries of a value anybody reads.
//!
//! Problem: half of a Gram of a chunk is masked away as soon as it is made, and the gradient of a masked
//! matrix meets the same mask: half of their products are computed for nothing.
//!
//! Idea: what a mask excludes ([`super::mask`]) is read by nobody if all who read it multiply it with
//! something that is 0 there, or are operations that look at so many columns only. That goes backwards
//! through a program, from readers to what they read; results are wanted as the caller says.

use super::mask::Mask;
use super::moves::axis_after;
use super::{Node, Op, Program, Value, Versions};

/// A mask, and on which axes of a value its rows and columns lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// The mask.
    pub mask: Mask,
    /// Of rows, and of columns.
    pub axes: [usize; 2],
}

impl Plane {
    /// The plane of a value that is masked, or that is a masked one with its axes moved.
    pub fn of(program: &Program, masks: &[Option<Mask>], value: Value) -> Option<Plane> {
        if let Some(mask) = &masks[value.at()] {
            return Some(Plane { mask: mask.clone(), axes: [0, 1] });
        }
        let node = program.node(value);
        let arg = *node.args.first()?;
        let moved = |axis: usize| match &node.op {
            Op::Reshape => axis_after(program.shape(arg), &node.shape, axis),
            Op::Permute(order) => order.iter().position(|from| *from == axis),
            _ => None,
        };
        if !matches!(node.op, Op::Reshape | Op::Permute(_)) {
            return None;
        }
        let Plane { mask, axes: [rows, columns] } = Plane::of(program, masks, arg)?;
        Some(Plane { mask, axes: [moved(rows)?, moved(columns)?] })
    }

    /// Whether a value of this shape has an entry for each of the plane's, as a node of that shape has.
    fn in_both(&self, shape: &[usize], node: &[usize]) -> bool {
        self.axes.iter().all(|&axis| shape.get(axis) == node.get(axis) && node.get(axis).is_some())
    }
}

/// Which entries of a value are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Those that a mask includes.
    Within(Plane),
    /// All, as far as is known.
    All,
}

impl Wanted {
    /// What either of two readers reads.
    fn or(self, other: Wanted) -> Wanted {
        match (self, other) {
            (Wanted::Nothing, wanted) | (wanted, Wanted::Nothing) => wanted,
            (Wanted::Within(a), Wanted::Within(b)) if a.axes == b.axes => {
                let both = a.mask.or(&b.mask);
                both.map_or(Wanted::All, |mask| Wanted::Within(Plane { mask, ..a }))
            }
            _ => Wanted::All,
        }
    }
}

/// What is read of each node, given the mask of each, and what is read of each result.
pub fn wanted(
    program: &Program,
    masks: &[Option<Mask>],
    results: &dyn Fn(usize) -> Wanted,
) -> Vec<Wanted> {
    let mut found = vec![Wanted::Nothing; program.nodes.len()];
    let add = |found: &mut Vec<Wanted>, value: Value, more: Wanted| {
        let old = std::mem::replace(&mut found[value.at()], Wanted::Nothing);
        found[value.at()] = old.or(more);
    };
    for (k, output) in program.outputs.iter().enumerate() {
        add(&mut found, *output, results(k));
    }
    for at in (0..program.nodes.len()).rev() {
        let node = &program.nodes[at];
        for (slot, arg) in node.args.iter().enumerate() {
            let more = of_argument(program, masks, node, &found[at], slot);
            add(&mut found, *arg, more);
        }
    }
    found
}

/// What a node, of which `of_node` is read, reads of an argument.
fn of_argument(
    program: &Program,
    masks: &[Option<Mask>],
    node: &Node,
    of_node: &Wanted,
    slot: usize,
) -> Wanted {
    let shape = program.shape(node.args[slot]);
    let within = |axes: [Option<usize>; 2], mask: &Mask| match axes {
        [Some(rows), Some(columns)] => {
            Wanted::Within(Plane { mask: mask.clone(), axes: [rows, columns] })
        }
        _ => Wanted::All,
    };
    match (&node.op, of_node) {
        (_, Wanted::Nothing) => Wanted::Nothing,
        (Op::Reshape, Wanted::Within(Plane { mask, axes })) => {
            within(axes.map(|axis| axis_after(&node.shape, shape, axis)), mask)
        }
        (Op::Permute(order), Wanted::Within(Plane { mask, axes })) => {
            within(axes.map(|axis| order.get(axis).copied()), mask)
        }
        (
            Op::Expand | Op::Alias(_) | Op::Unary(_) | Op::Binary(_) | Op::MulSum(_),
            Wanted::Within(plane),
        ) if plane.in_both(shape, &node.shape) => of_node.clone(),
        (Op::MulSum(_), _) => {
            let other = node.args[1 - slot];
            match Plane::of(program, masks, other) {
                Some(plane) if plane.in_both(shape, program.shape(other)) => Wanted::Within(plane),
                _ => Wanted::All,
            }
        }
        (Op::Apply(v) | Op::ApplyT(v) | Op::GramGrad(v), _) if slot == 0 => seen(v.clone()),
        (Op::DecayMaskGrad(v), _) if slot == 1 => seen(v.clone()),
        (Op::Solve(_), _) if slot == 0 => seen(Versions::strict()),
        _ => Wanted::All,
    }
}

fn seen(versions: Versions) -> Wanted {
    Wanted::Within(Plane { mask: Mask::Seen(versions), axes: [0, 1] })
}
