//! Walks a model's graph on the CPU: forward, loss, backward.

mod across;
pub mod device;
mod launches;
pub mod measure;
pub mod promises;
mod session;
pub mod stability;
pub mod transforms;

use std::collections::HashMap;
use std::sync::Arc;

use lrc_compiler::form::rows::{Rows, RowsBackward, RowsInput};
use lrc_compiler::form::{Cotangents, Form, FormKind, Kept, Operand, Outputs, Problem};
use lrc_compiler::graph::buffers::Buffers;
use lrc_compiler::graph::{Kind, Model, Node, Param, Prepared, Recur, ValueId};
use lrc_compiler::memory;
use lrc_compiler::tile::size;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use crate::ground::random::{Purpose, Stream};
use crate::ops::batch::Batch;
use crate::ops::dense;
use crate::ops::loss::{Head, Predictions, Score};
use measure::Measured;
pub use session::Session;
use stability::Seen;

/// Draws fresh parameters.
pub fn fresh(params: &[Param], seed: u64) -> Vec<Vec<f32>> {
    params
        .iter()
        .enumerate()
        .map(|(at, param)| {
            let mut stream = Stream::new(seed, Purpose::Init, at as u64);
            let width = param.shape.last().copied().unwrap_or(1);
            (0..size(&param.shape))
                .map(|i| param.init.draw(i % width, width, &mut || stream.uniform()) as f32)
                .collect()
        })
        .collect()
}

/// A model ready to run.
pub struct Executor {
    /// The model, with its backward pass.
    pub model: Model,
    /// The learned numbers, per parameter.
    pub params: Vec<Vec<f32>>,
    /// Their gradients after [`Executor::train`].
    pub grads: Vec<Vec<f32>>,
    nodes: Vec<Arc<Node>>,
    training: Arc<Buffers>,
    inference: Arc<Buffers>,
    /// Whether a node's values reach the hidden state.
    needed: Vec<bool>,
    positions: Vec<u32>,
    rows: HashMap<usize, Rows>,
    rows_grad: HashMap<usize, RowsBackward>,
    /// Whether a recurrence's gradient wants what the node keeps.
    keeps: Vec<bool>,
    forms: HashMap<usize, (usize, Arc<Form>)>,
    memory: Vec<Vec<f32>>,
    kept: HashMap<usize, Kept<f32>>,
    /// Where layers are measured while they run; nothing is measured without it.
    pub watch: Option<Measured>,
    /// Where a diagnosis looks at residual streams and at recurrences; nothing is kept without it.
    pub seen: Option<Seen>,
    /// The weight of `ln²Z` in the loss: see [`Head::gradient`].
    pub z_loss: f32,
    /// What dropout draws from; another number for each step and part of one.
    pub draws: u64,
}

impl Executor {
    /// A model of which nothing else is asked, with its parameters.
    pub fn new(model: Model, params: Vec<Vec<f32>>) -> Executor {
        Executor::of(Prepared::plain(model), params)
    }

    /// A prepared model with its parameters.
    pub fn of(prepared: Prepared, params: Vec<Vec<f32>>) -> Executor {
        let Prepared { model, training, inference, needed, keeps, .. } = prepared;
        let graph = &model.graph;
        let (mut rows, mut rows_grad) = (HashMap::new(), HashMap::new());
        for index in graph.nodes.node_indices() {
            let node = &graph.nodes[index];
            let once = |values: &[ValueId]| -> Vec<bool> {
                values.iter().map(|value| graph.value(*value).once).collect()
            };
            match &node.kind {
                Kind::Rows(program) => {
                    let output = graph.value(node.outputs[0]).once;
                    rows.insert(index.index(), Rows::new(program, &once(&node.inputs), output));
                }
                Kind::RowsGrad(grad) => {
                    let output = graph.value(node.inputs[grad.inputs]).once;
                    let inputs = once(&node.inputs[..grad.inputs]);
                    rows_grad.insert(index.index(), RowsBackward::new(grad, &inputs, output));
                }
                _ => {}
            }
        }
        let nodes = graph.nodes.node_weights().map(|node| Arc::new(node.clone())).collect();
        let grads = params.iter().map(|p| vec![0.0; p.len()]).collect();
        Executor {
            model,
            params,
            grads,
            nodes,
            training: Arc::new(training),
            inference: Arc::new(inference),
            needed,
            positions: Vec::new(),
            rows,
            rows_grad,
            keeps,
            forms: HashMap::new(),
            memory: Vec::new(),
            kept: HashMap::new(),
            watch: None,
            seen: None,
            z_loss: 0.0,
            draws: 0,
        }
    }

    /// Loss of a batch and the gradients of all parameters.
    pub fn train(&mut self, batch: &Batch) -> Score {
        self.grads.par_iter_mut().for_each(|g| g.fill(0.0));
        self.kept.clear();
        let buffers = Arc::clone(&self.training);
        self.prepare(&buffers, batch);
        let mut score = Score::default();
        for at in 0..self.model.graph.nodes.node_count() {
            if let Some(found) = self.run(at, batch, &buffers, true) {
                score = found;
            }
        }
        self.kept.clear();
        let losses = self.model.losses.iter();
        let added: f64 = losses.map(|value| f64::from(self.value(&buffers, *value)[0])).sum();
        score.auxiliary = added + f64::from(self.z_loss) * score.log_z;
        score
    }

    /// What the model says at the asked rows of a batch.
    pub fn evaluate(&mut self, batch: &Batch) -> Predictions {
        let hidden = self.hidden(batch);
        self.head().score(&hidden, &batch.targets)
    }

    /// The normalised hidden state of every row.
    pub fn hidden(&mut self, batch: &Batch) -> Vec<f32> {
        let buffers = Arc::clone(&self.inference);
        self.prepare(&buffers, batch);
        for at in (0..self.model.graph.forward).filter(|at| self.needed[*at]).collect::<Vec<_>>() {
            self.run(at, batch, &buffers, false);
        }
        self.memory[buffers.slot[self.model.hidden.0]].clone()
    }

    /// Logits of one hidden state.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        self.head().logits(hidden)
    }

    fn prepare(&mut self, buffers: &Buffers, batch: &Batch) {
        self.positions = batch.positions();
        self.memory.resize_with(buffers.width.len(), Vec::new);
        for (slot, (width, once)) in self.memory.iter_mut().zip(&buffers.width) {
            slot.resize(if *once { *width } else { width * batch.rows() }, 0.0);
        }
    }

    fn run(&mut self, at: usize, batch: &Batch, buffers: &Buffers, keep: bool) -> Option<Score> {
        let node = Arc::clone(&self.nodes[at]);
        let mut outputs: Vec<Vec<f32>> = node
            .outputs
            .iter()
            .map(|value| std::mem::take(&mut self.memory[buffers.slot[value.0]]))
            .collect();
        let mut score = None;
        match &node.kind {
            Kind::Embed => self.embed(&node, batch, &mut outputs[0]),
            Kind::Dense { groups } => {
                let x = self.value(buffers, node.inputs[0]);
                let w = &self.params[node.params[0].0];
                let shape = self.param_shape(node.params[0].0);
                dense::forward(&mut outputs[0], x, w, *groups, shape);
            }
            Kind::Rows(_) => {
                let info = self.model.graph.value(node.outputs[0]);
                let rows = if info.once { 1 } else { batch.rows() };
                let once = self.once(&node.inputs);
                let input =
                    self.rows_input(buffers, &node, &node.inputs, &once, &self.positions, rows);
                self.rows[&at].forward(&input, &mut outputs[0]);
                if let Some(measured) = self.watch.as_mut().filter(|_| node.is_residual()) {
                    measure::output(measured, &node.label, &outputs[0]);
                }
                if let Some(seen) = self.seen.as_mut().filter(|_| node.is_residual()) {
                    seen.streams.push((node.layer().to_string(), outputs[0].clone()));
                }
            }
            Kind::Recur(recur) => {
                let keep = keep && self.keeps[at];
                self.recur(at, recur, &node, batch, buffers, keep, &mut outputs);
            }
            Kind::Loss => score = Some(self.loss(batch, buffers, &mut outputs[0])),
            Kind::Drop { rate, number } => {
                outputs[0].copy_from_slice(self.value(buffers, node.inputs[0]));
                if keep || *rate >= 1.0 {
                    let width = self.model.graph.value(node.outputs[0]).width();
                    drop_out(&mut outputs[0], width, *rate, self.draws, *number);
                }
            }
            Kind::RowsGrad(grad) => {
                let info = self.model.graph.value(node.inputs[grad.inputs]);
                let rows = if info.once { 1 } else { batch.rows() };
                let inputs = &node.inputs[..grad.inputs];
                let once = self.once(inputs);
                let input = self.rows_input(buffers, &node, inputs, &once, &self.positions, rows);
                let dy = self.value(buffers, node.inputs[grad.inputs]);
                let params = self.rows_grad[&at].backward(&input, dy, &mut outputs);
                for (param, d) in node.gives.iter().zip(params) {
                    add(&mut self.grads[param.0], &d);
                }
            }
            Kind::RecurGrad { of, outs } => {
                outputs.drain(..).for_each(memory::give);
                outputs = self.recur_grad(*of, outs, &node, batch, buffers);
            }
            Kind::DenseGradInput { groups } => {
                let dy = self.value(buffers, node.inputs[0]);
                let w = &self.params[node.params[0].0];
                let [inner, outer] = self.param_shape(node.params[0].0);
                dense::grad_input(&mut outputs[0], dy, w, *groups, [inner, outer]);
            }
            Kind::DenseGradWeight { groups } => {
                let id = node.gives[0].0;
                let shape = self.param_shape(id);
                let mut grad = std::mem::take(&mut self.grads[id]);
                let x = self.value(buffers, node.inputs[0]);
                let dy = self.value(buffers, node.inputs[1]);
                dense::grad_weight(&mut grad, x, dy, *groups, shape);
                self.grads[id] = grad;
            }
            Kind::EmbedGrad => {
                let id = node.gives[0].0;
                let width = self.model.width;
                let mut grad = std::mem::take(&mut self.grads[id]);
                let dy = self.value(buffers, node.inputs[0]);
                for (token, d) in batch.tokens.iter().zip(dy.chunks_exact(width)) {
                    add(&mut grad[*token as usize * width..][..width], d);
                }
                self.grads[id] = grad;
            }
            Kind::Sum => {
                outputs[0].copy_from_slice(self.value(buffers, node.inputs[0]));
                for input in &node.inputs[1..] {
                    let from = self.value(buffers, *input).par_chunks(SHARE);
                    outputs[0].par_chunks_mut(SHARE).zip(from).for_each(|(to, d)| add(to, d));
                }
            }
            _ => self.across_rows(&node, batch, buffers, &mut outputs),
        }
        for (value, data) in node.outputs.iter().zip(outputs) {
            self.memory[buffers.slot[value.0]] = data;
        }
        score
    }

    fn value(&self, buffers: &Buffers, value: ValueId) -> &[f32] {
        &self.memory[buffers.slot[value.0]]
    }

    fn once(&self, values: &[ValueId]) -> Vec<bool> {
        values.iter().map(|value| self.model.graph.value(*value).once).collect()
    }

    fn rows_input<'a>(
        &'a self,
        buffers: &Buffers,
        node: &Node,
        inputs: &[ValueId],
        once: &'a [bool],
        positions: &'a [u32],
        rows: usize,
    ) -> RowsInput<'a> {
        RowsInput {
            inputs: inputs
                .iter()
                .map(|value| self.memory[buffers.slot[value.0]].as_slice())
                .collect(),
            once,
            params: node.params.iter().map(|param| self.params[param.0].as_slice()).collect(),
            positions,
            rows,
        }
    }

    /// Width of one group's input and output.
    fn param_shape(&self, param: usize) -> [usize; 2] {
        let shape = &self.model.graph.params[param].shape;
        let n = shape.len();
        [shape[n - 1], shape[n - 2]]
    }

    fn embed(&self, node: &Node, batch: &Batch, to: &mut [f32]) {
        let table = &self.params[node.params[0].0];
        let width = self.model.width;
        for (to, token) in to.chunks_exact_mut(width).zip(&batch.tokens) {
            to.copy_from_slice(&table[*token as usize * width..][..width]);
        }
    }

    /// A recurrence's operands, and the form it runs in.
    fn problem<'a>(
        &'a self,
        at: usize,
        recur: &'a Recur,
        inputs: &[ValueId],
        batch: &Batch,
        buffers: &Buffers,
    ) -> (Arc<Form>, Problem<'a, f32>) {
        let own: Vec<&[f32]> =
            inputs.iter().map(|value| self.memory[buffers.slot[value.0]].as_slice()).collect();
        let (first, rest) = own.split_at(recur.recurrence.inputs.len());
        let operands = |data: &[&'a [f32]], heads: &[usize]| -> Vec<Operand<'a, f32>> {
            data.iter().zip(heads).map(|(data, heads)| Operand { data, heads: *heads }).collect()
        };
        let problem = Problem {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            sum: recur.sum,
            bounds: batch.bounds.clone(),
            inputs: operands(first, &recur.input_heads),
            params: operands(rest, &recur.param_heads),
            initial: vec![None; recur.recurrence.states.len()],
        };
        let form = match self.forms.get(&at) {
            Some((known, form)) if *known == longest(batch) => Arc::clone(form),
            _ => Arc::new(
                Form::new(&problem, FormKind::Auto, None)
                    .expect("some form fits every recurrence when none is asked for"),
            ),
        };
        (form, problem)
    }

    /// A recurrence, forward.
    fn recur(
        &mut self,
        at: usize,
        recur: &Recur,
        node: &Node,
        batch: &Batch,
        buffers: &Buffers,
        keep: bool,
        outputs: &mut Vec<Vec<f32>>,
    ) {
        let mut watch = self.watch.take();
        let mut seen = self.seen.take();
        let (form, problem) = self.problem(at, recur, &node.inputs, batch, buffers);
        let (Outputs { outs, finals }, kept) = form.forward(&problem, keep);
        if let Some(measured) = &mut watch {
            measure::recurrence(measured, &node.label, &form, &problem, &finals);
        }
        if let Some(seen) = &mut seen {
            seen.broken.extend(promises::broken(&node.label, &problem));
            if let Some(radius) = stability::in_time(&problem) {
                seen.times.push((node.layer().to_string(), radius));
            }
        }
        finals.into_iter().for_each(memory::give);
        std::mem::replace(outputs, outs).into_iter().for_each(memory::give);
        drop(problem);
        (self.watch, self.seen) = (watch, seen);
        self.forms.insert(at, (longest(batch), form));
        if keep {
            self.kept.insert(at, kept);
        }
    }

    fn recur_grad(
        &mut self,
        of: NodeIndex,
        outs: &[bool],
        node: &Node,
        batch: &Batch,
        buffers: &Buffers,
    ) -> Vec<Vec<f32>> {
        let forward = Arc::clone(&self.nodes[of.index()]);
        let Kind::Recur(recur) = &forward.kind else {
            unreachable!("a recurrence's gradient belongs to a recurrence")
        };
        let kept = self.kept.remove(&of.index()).expect("the forward pass kept its states");
        let (form, problem) = self.problem(of.index(), recur, &forward.inputs, batch, buffers);
        let mut given = node.inputs[forward.inputs.len()..].iter();
        let cotangents = Cotangents {
            outs: outs
                .iter()
                .map(|has| {
                    has.then(|| {
                        let value = given.next().expect("one gradient per marked output");
                        self.memory[buffers.slot[value.0]].as_slice()
                    })
                })
                .collect(),
            finals: vec![],
        };
        let gradients = form.backward(&problem, &kept, &cotangents);
        gradients.inputs.into_iter().chain(gradients.params).collect()
    }

    /// The loss and its gradient by the hidden state and the head.
    fn loss(&mut self, batch: &Batch, buffers: &Buffers, d_hidden: &mut [f32]) -> Score {
        let head = self.model.head.0;
        let mut d_head = std::mem::take(&mut self.grads[head]);
        let hidden = self.value(buffers, self.model.hidden);
        let (targets, z) = (&batch.targets, self.z_loss);
        let score = self.head().gradient(hidden, targets, d_hidden, &mut d_head, z);
        self.grads[head] = d_head;
        score
    }

    fn head(&self) -> Head<'_> {
        Head {
            weight: &self.params[self.model.head.0],
            width: self.model.width,
            vocab: self.model.vocab,
        }
    }
}

/// Sets numbers to 0, each with the probability `rate`, and makes the others larger so that their
/// mean stays. What is dropped depends on `draws`, the number of the node, row and column alone, so
/// that the backward pass finds it again.
fn drop_out(data: &mut [f32], width: usize, rate: f64, draws: u64, number: usize) {
    if rate >= 1.0 {
        return data.fill(0.0);
    }
    let kept = (1.0 / (1.0 - rate)) as f32;
    let least = (rate * 4_294_967_296.0) as u32;
    let of_node = Stream::new(draws, Purpose::Dropout, number as u64).wide();
    data.par_chunks_exact_mut(width.max(1)).enumerate().for_each(|(row, data)| {
        let mut random = Stream::new(of_node, Purpose::Dropout, row as u64);
        for x in data {
            *x = if random.bits() < least { 0.0 } else { *x * kept };
        }
    });
}

fn longest(batch: &Batch) -> usize {
    batch.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
}

fn add(to: &mut [f32], d: &[f32]) {
    to.iter_mut().zip(d).for_each(|(x, &d)| *x += d);
}

/// Numbers that one thread adds at a time.
const SHARE: usize = 1 << 15;
