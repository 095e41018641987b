//! Sums that take a product in: it is added to the other argument's memory, and never stored by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{View, reshaped};
use crate::tile::{Binary, Op, Program, Value};

/// A sum `base + product` whose product is used nowhere else: it is added to the base, and never
/// stored by itself.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The node of the product.
    pub product: usize,
    /// The axes that it sums over.
    pub axes: Vec<usize>,
    /// The other argument.
    pub base: Value,
    /// Distances between entries of the product in the sum's memory.
    pub strides: Vec<usize>,
    /// Whether the base's memory becomes the sum's.
    pub in_place: bool,
}

/// Sums of a value and a product, and the nodes that they make unnecessary.
pub fn fused_sums(program: &Program) -> (BTreeMap<usize, Fused>, BTreeSet<usize>) {
    let mut users = vec![0; program.nodes.len()];
    let args = program.nodes.iter().flat_map(|node| &node.args);
    args.chain(&program.outputs).for_each(|value| users[value.at()] += 1);
    let (mut fused, mut skipped) = (BTreeMap::new(), BTreeSet::new());
    for (at, node) in program.nodes.iter().enumerate() {
        let [a, b] = node.args[..] else { continue };
        let same = |value: Value| program.shape(value) == node.shape;
        if node.op != Op::Binary(Binary::Add) || !same(a) || !same(b) || a == b {
            continue;
        }
        for (base, term) in [(a, b), (b, a)] {
            let view = View::dense(0, program.shape(term));
            if let Some(Behind { chain, product, axes, strides }) =
                product_behind(program, term, view)
                && chain.iter().all(|at| users[*at] == 1 && !skipped.contains(at))
            {
                skipped.extend(chain);
                fused.insert(at, Fused { product, axes, base, strides, in_place: false });
                break;
            }
        }
    }
    (fused, skipped)
}

/// A product behind a term.
pub struct Behind {
    /// The nodes from the term to the product.
    chain: Vec<usize>,
    product: usize,
    /// The axes that it sums over.
    axes: Vec<usize>,
    /// The distances of its axes in the term's memory.
    pub strides: Vec<usize>,
}

/// The nodes from a term back to the product whose entries it holds in another order, and the distances of
/// the product's axes in the term's memory, which lies as `view` says.
pub fn product_behind(program: &Program, term: Value, mut view: View) -> Option<Behind> {
    let mut chain = vec![];
    let mut at = term.at();
    loop {
        chain.push(at);
        let node = &program.nodes[at];
        match &node.op {
            Op::MulSum(axes) if !axes.is_empty() => {
                let (axes, strides) = (axes.clone(), view.strides);
                return Some(Behind { chain, product: at, axes, strides });
            }
            Op::Reshape => {
                let shape = program.shape(node.args[0]);
                view.strides = reshaped(&view, shape)?;
                view.shape = shape.to_vec();
            }
            Op::Permute(order) => {
                let (mut strides, mut shape) = (view.strides.clone(), view.shape.clone());
                for (i, &from) in order.iter().enumerate() {
                    (strides[from], shape[from]) = (view.strides[i], view.shape[i]);
                }
                (view.strides, view.shape) = (strides, shape);
            }
            _ => return None,
        }
        at = node.args[0].at();
    }
}
