//! A graph between other programs: rows come in from outside, hidden states go out, and the gradient of these comes back.
//!
//! A model is given tokens, and its head is computed by whoever asked for the hidden states. A mixer is given rows of
//! numbers: it stands in a model of its own, whose embedding is not looked at.

use std::collections::HashMap;

use lrc_compiler::graph::{Kind, Node, Prepared, ValueId};

use super::walk::{Pass, Walk};
use crate::device::Device;
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;

/// Tensors that a pass reads or writes instead of what stands around the graph.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside {
    /// Rows in place of the embeddings of tokens.
    x: Option<Tensor>,
    /// The gradient of these.
    d_x: Option<Tensor>,
    /// The gradient of the hidden states, in place of that of the loss.
    d_hidden: Option<Tensor>,
}

/// What a graph runs on.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Where sequences start; tokens, unless rows are given.
    pub batch: Batch,
    /// Rows in place of the embeddings of tokens.
    pub x: Option<Vec<f32>>,
}

/// A graph that others call. It remembers the last pass forward, for the way back.
pub struct Between {
    /// The graph and its parameters.
    pub walk: Walk,
    /// Passes so far; the number of the last.
    passes: u64,
    last: Option<Last>,
}

struct Last {
    rows: Rows,
    values: HashMap<ValueId, Tensor>,
    positions: Vec<u32>,
}

/// Gradients of the rows, where these were given, and of the parameters.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of the rows.
    pub x: Option<Vec<f32>>,
    /// Of each parameter.
    pub params: Vec<Vec<f32>>,
}

impl Between {
    /// A prepared model on a device.
    pub fn new(
        device: Device,
        prepared: Prepared,
        params: &[Vec<f32>],
    ) -> Result<Between, Failure> {
        if !prepared.model.losses.is_empty() {
            let why = "a layer adds to the loss (the balance of its experts), which is trained by `lrc train` only";
            return Err(Failure::Usage(why.into()));
        }
        Ok(Between { walk: Walk::of(device, prepared, params)?, passes: 0, last: None })
    }

    /// The hidden state of every row, and the number of the pass where the way back may follow.
    pub fn forward(&mut self, rows: Rows, training: bool) -> Result<(Vec<f32>, u64), Failure> {
        self.last = None;
        let walk = &mut self.walk;
        let mut pass = walk.begin(&rows.batch, training)?;
        pass.outside.x = walk.given("rows", rows.x.as_deref())?;
        let forward = walk.model().graph.forward;
        let needed = walk.prepared.needed.clone();
        for at in (0..forward).filter(|at| training || needed[*at]) {
            walk.node(at, &mut pass)?;
        }
        let hidden = pass.values[&walk.model().hidden];
        let hidden = walk.parameters.backend.read(hidden)?.into_owned();
        walk.forgets(pass.outside.x);
        self.passes += 1;
        let Pass { values, positions, .. } = pass;
        self.last = training.then_some(Last { rows, values, positions });
        Ok((hidden, self.passes))
    }

    /// The gradients of a pass, given that of its hidden states. Nothing where it is not the last one any more, or has
    /// gone back already: then it must run again.
    pub fn backward(&mut self, number: u64, d: &[f32]) -> Result<Option<Gradients>, Failure> {
        let Some(last) = self.last.take().filter(|_| number == self.passes) else {
            return Ok(None);
        };
        let walk = &mut self.walk;
        walk.parameters.clear_grads()?;
        let numbers = last.rows.x.as_ref().map(Vec::len);
        let room = |n: usize| walk.parameters.backend.alloc("gradient of rows", n);
        let outside = Outside {
            d_x: numbers.map(room).transpose()?,
            x: walk.given("rows", last.rows.x.as_deref())?,
            d_hidden: walk.given("gradient of hidden states", Some(d))?,
        };
        let mut pass = Pass {
            tokens: &last.rows.batch.tokens,
            targets: &last.rows.batch.targets,
            bounds: &last.rows.batch.bounds,
            positions: last.positions,
            values: last.values,
            training: true,
            text: None,
            segment: None,
            outside,
        };
        for at in walk.model().graph.forward..walk.nodes.len() {
            walk.node(at, &mut pass)?;
        }
        let read = |tensor: Tensor| walk.parameters.backend.read(tensor).map(|x| x.into_owned());
        let x = outside.d_x.map(read).transpose()?;
        let params = walk.grads()?;
        [outside.x, outside.d_x, outside.d_hidden].into_iter().for_each(|one| walk.forgets(one));
        Ok(Some(Gradients { x, params }))
    }
}

impl Walk {
    /// Numbers from outside where the graph's values are.
    fn given(&mut self, name: &str, numbers: Option<&[f32]>) -> Result<Option<Tensor>, Failure> {
        let Some(numbers) = numbers else { return Ok(None) };
        let tensor = self.parameters.backend.alloc(name, numbers.len())?;
        self.parameters.backend.write(tensor, numbers)?;
        Ok(Some(tensor))
    }

    fn forgets(&mut self, tensor: Option<Tensor>) {
        if let Some(tensor) = tensor {
            self.parameters.backend.free(tensor);
        }
    }

    /// Runs a node that stands around the graph, where somebody else does what it is for; says whether it is one.
    pub(super) fn outside(
        &mut self,
        node: &Node,
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<bool, Failure> {
        let Outside { x, d_x, d_hidden } = pass.outside;
        let (to, from) = match (&node.kind, x, d_x, d_hidden) {
            (Kind::Embed, Some(x), ..) => (outputs[0], x),
            (Kind::EmbedGrad, _, Some(d_x), _) => (d_x, inputs[0]),
            (Kind::Loss, _, _, Some(d_hidden)) => (outputs[0], d_hidden),
            _ => return Ok(false),
        };
        self.parameters.backend.sum(to, &[from])?;
        Ok(true)
    }
}
