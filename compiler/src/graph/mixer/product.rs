//! Dense products, and the low-rank ones beside them (LoRA; Hu et al. 2021): `W x + (alpha / rank) B (A x)`.
//!
//! A and B are products like any other, so that whatever runs, differentiates, updates or saves a product does so here. A is
//! drawn as the matrix of a product is, and B is 0: before the first step the model is the one without them.

use lrc_dsl::Span;

use super::{GraphBuilder, Tried};
use crate::elaborate::Dim;
use crate::graph::pointwise::Named;
use crate::graph::{Adapter, Init, Kind, Node, Param, ParamId, ValueId};
use crate::tile::Number;

/// Which products get a low-rank one beside them.
#[derive(Clone, Copy)]
pub struct LowRank<'p> {
    /// Numbers between A and B.
    pub rank: usize,
    /// What the update is multiplied with, before it is divided by the rank.
    pub alpha: f64,
    /// By the name of their matrix.
    pub picks: &'p dyn Fn(&str) -> bool,
}

/// A product with learned matrices.
pub(super) struct Product {
    /// What its parameters are called, such as `layers.0.attention.q`.
    pub name: String,
    /// Dense, or by the expert in each slot.
    pub kind: Kind,
    /// Its matrices, where there are several, with the first axis of the result.
    pub several: Option<(usize, Dim)>,
    /// Numbers that a matrix reads.
    pub inner: usize,
    /// Numbers that a matrix makes.
    pub outer: usize,
    /// What it reads: rows, then what else its kind reads.
    pub inputs: Vec<ValueId>,
    /// The axes of the result.
    pub axes: Vec<Dim>,
    /// Where it stands.
    pub span: Span,
}

impl GraphBuilder<'_> {
    /// A product, and the low-rank one beside it where that is asked for.
    pub(super) fn product(&mut self, of: &Product, label: &str) -> Tried<Named> {
        let drawn = Init::Normal(0.0, 1.0 / (of.inner as f64).sqrt());
        let weight = self.matrix(of, "weight", [of.outer, of.inner], drawn.clone())?;
        let made = self.multiplied(of, weight, of.inputs[0], &of.axes, label);
        let made = self.stream(made, of.axes.clone());
        let name = format!("{}.weight", of.name);
        let Some(low) = self.low_rank.filter(|low| (low.picks)(&name)) else { return Some(made) };
        let a = self.matrix(of, "lora_a.weight", [low.rank, of.inner], drawn)?;
        let b = self.matrix(of, "lora_b.weight", [of.outer, low.rank], Init::Number(0.0))?;
        let rank = Dim::new(low.rank, format!("rank of {}", of.name));
        let between: Vec<Dim> =
            of.several.iter().map(|(_, axis)| axis.clone()).chain([rank]).collect();
        let between = self.multiplied(of, a, of.inputs[0], &between, label);
        let update = self.multiplied(of, b, between, &of.axes, label);
        let update = self.stream(update, of.axes.clone());
        let adapter = Adapter { weight, a, b, scale: low.alpha / low.rank as f64 };
        // What a shared block has once is used again.
        if !self.adapters.contains(&adapter) {
            self.adapters.push(adapter);
        }
        let update = self.b.scale(update.value, adapter.scale);
        Some(Named { value: self.b.add(made.value, update), axes: of.axes.clone() })
    }

    /// A matrix, or one for each of several.
    fn matrix(
        &mut self,
        of: &Product,
        what: &str,
        [rows, columns]: [usize; 2],
        init: Init,
    ) -> Tried<ParamId> {
        let several = of.several.iter().map(|(count, _)| *count);
        let param = Param {
            name: format!("{}.{what}", of.name),
            shape: several.chain([rows, columns]).collect(),
            init,
            decay: true,
            f32: false,
            number: Number::F32,
        };
        self.param(param, of.span)
    }

    fn multiplied(
        &mut self,
        of: &Product,
        weight: ParamId,
        x: ValueId,
        axes: &[Dim],
        label: &str,
    ) -> ValueId {
        let inputs = [x].into_iter().chain(of.inputs[1..].iter().copied()).collect();
        let node = Node { params: vec![weight], ..Node::plain(of.kind.clone(), label, inputs) };
        let shape = axes.iter().map(|axis| axis.size).collect();
        self.graph.add(node, &[(shape, false)])[0]
    }
}
