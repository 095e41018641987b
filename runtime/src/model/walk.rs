//! Walks a model's graph: what every node does to tensors, for every place that models run in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use lrc_compiler::form::{Operand, Problem};
use lrc_compiler::graph::buffers::Room;
use lrc_compiler::graph::kernels;
use lrc_compiler::graph::{Kind, Model, Node, ParamId, Prepared, Recur, ValueId};

use lrc_compiler::tile::Number;

use super::between::Outside;
use super::measure::{self, Measured};
use super::segments::Segments;
use super::stability::Seen;
use super::text::Text;
use crate::device::Device;
use crate::device::accelerator::Accelerator;
use crate::device::backend::{Backend, Call, Drop, Flows, Part, Pointwise};
use crate::device::cpu::Cpu;
use crate::device::parameters::{Parameters, Storage};
use crate::device::store::{Machine, Tensor};
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::loss::Predictions;
use crate::ops::segment::Segment;

/// A model ready to run.
pub struct Walk {
    pub(super) prepared: Prepared,
    pub(super) nodes: Vec<Arc<Node>>,
    /// Where it runs, and its parameters there.
    pub parameters: Parameters,
    /// Memory of the values between nodes; what a batch needs of it follows from its rows.
    slots: Vec<Tensor>,
    /// Where layers are measured while they run; nothing is measured without it.
    pub watch: Option<Measured>,
    /// Where a diagnosis looks at residual streams and at recurrences; nothing is kept without it.
    pub seen: Option<Seen>,
    /// The weight of `ln²Z` in the loss: see [`crate::ops::loss::gradient`].
    pub z_loss: f32,
    /// What dropout draws from; another number for each step and part of one.
    pub draws: u64,
    /// Kernels and dense products that the last training step has started.
    pub(super) started: Option<[u64; 2]>,
    /// Where several processes hold a segment each of every batch.
    pub segments: Option<Segments>,
}

/// A batch on its way through the graph.
pub(super) struct Pass<'b> {
    pub tokens: &'b [u32],
    pub targets: &'b [u32],
    pub bounds: &'b [usize],
    /// The position of each row in its sequence.
    pub positions: Vec<u32>,
    /// The tensor of each value that is there.
    pub values: HashMap<ValueId, Tensor>,
    /// Whether the backward pass follows.
    pub training: bool,
    /// The text that the batch goes on.
    pub text: Option<&'b mut Text>,
    /// Which rows of a larger batch these are.
    pub segment: Option<&'b Segment>,
    /// What is computed around the graph by somebody else.
    pub outside: Outside,
}

impl Pass<'_> {
    pub(super) fn rows(&self) -> usize {
        self.tokens.len()
    }

    fn all(&self, values: &[ValueId]) -> Vec<Tensor> {
        values.iter().map(|value| self.values[value]).collect()
    }
}

impl Walk {
    /// A model of which nothing else is asked, on the processor.
    pub fn new(model: Model, params: &[Vec<f32>]) -> Result<Walk, Failure> {
        Walk::on_cpu(Prepared::plain(model), params)
    }

    /// A prepared model on the processor.
    pub fn on_cpu(prepared: Prepared, params: &[Vec<f32>]) -> Result<Walk, Failure> {
        Walk::on(None, prepared, params, &vec![0; params.len()])
    }

    /// A prepared model on a device, which is opened.
    pub fn of(device: Device, prepared: Prepared, params: &[Vec<f32>]) -> Result<Walk, Failure> {
        Walk::on(device.machine()?.as_ref(), prepared, params, &vec![0; params.len()])
    }

    /// A prepared model by kernels.
    pub fn by_kernels(
        prepared: Prepared,
        params: &[Vec<f32>],
        machine: &Machine,
    ) -> Result<Walk, Failure> {
        Walk::on(Some(machine), prepared, params, &vec![0; params.len()])
    }

    /// A prepared model on a machine, or on the processor; parameters of one group lie together.
    pub fn on(
        machine: Option<&Machine>,
        prepared: Prepared,
        params: &[Vec<f32>],
        groups: &[usize],
    ) -> Result<Walk, Failure> {
        let backend: Box<dyn Backend> = match machine {
            None => Box::new(Cpu::new(&prepared)),
            Some(machine) => {
                let planned = kernels::plan(&prepared, machine.kind());
                Box::new(Accelerator::new(&prepared, planned, machine)?)
            }
        };
        let nodes = prepared.model.graph.nodes.node_weights();
        let numbers = prepared.model.graph.params.iter().map(|param| param.number);
        let held = Storage { numbers: numbers.collect(), frozen: prepared.frozen.clone() };
        Ok(Walk {
            nodes: nodes.map(|node| Arc::new(node.clone())).collect(),
            prepared,
            parameters: Parameters::new(backend, params, groups, &held)?,
            slots: vec![],
            watch: None,
            seen: None,
            z_loss: 0.0,
            draws: 0,
            started: None,
            segments: None,
        })
    }

    /// The model, with its backward pass.
    pub fn model(&self) -> &Model {
        &self.prepared.model
    }

    /// What was prepared.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The learned numbers, per parameter.
    pub fn params(&self) -> Result<Vec<Vec<f32>>, Failure> {
        self.parameters.read()
    }

    /// Takes other learned numbers.
    pub fn set_params(&mut self, params: &[Vec<f32>]) -> Result<(), Failure> {
        self.parameters.write(params)
    }

    /// Gradients after [`Walk::train`].
    pub fn grads(&self) -> Result<Vec<Vec<f32>>, Failure> {
        self.parameters.read_grads()
    }

    /// What the model says at the asked rows of a batch.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Predictions, Failure> {
        let pass = self.forward(batch)?;
        self.loss(&pass, None)?;
        Ok(Predictions::of(&self.parameters.backend.said()?.rows))
    }

    /// The normalised hidden state of every row.
    pub fn hidden(&mut self, batch: &Batch) -> Result<Vec<f32>, Failure> {
        let pass = self.forward(batch)?;
        Ok(self.parameters.backend.read(pass.values[&self.model().hidden])?.into_owned())
    }

    fn forward<'b>(&mut self, batch: &'b Batch) -> Result<Pass<'b>, Failure> {
        let mut pass = self.begin(batch, false)?;
        self.towards_hidden(&mut pass)?;
        Ok(pass)
    }

    /// Runs the nodes that the hidden state needs.
    fn towards_hidden(&mut self, pass: &mut Pass) -> Result<(), Failure> {
        let needed = |at: &usize| self.prepared.needed[*at];
        let nodes: Vec<usize> = (0..self.model().graph.forward).filter(needed).collect();
        nodes.into_iter().try_for_each(|at| self.node(at, pass))
    }

    /// Appends the only sequence of a batch to a text. Gives the logits after its last token.
    pub(super) fn extend(&mut self, batch: &Batch, text: &mut Text) -> Result<Vec<f32>, Failure> {
        let mut pass = self.begin(batch, false)?;
        pass.positions.iter_mut().for_each(|position| *position += text.tokens as u32);
        pass.text = Some(&mut *text);
        self.towards_hidden(&mut pass)?;
        let hidden = pass.values[&self.model().hidden];
        text.tokens += batch.rows();
        let width = self.model().width;
        self.logits_at(hidden.part(hidden.words - width, width))
    }

    pub(super) fn begin<'b>(
        &mut self,
        batch: &'b Batch,
        training: bool,
    ) -> Result<Pass<'b>, Failure> {
        let Prepared { training: all, inference: forward, .. } = &self.prepared;
        let buffers = if training { all } else { forward };
        self.parameters.backend.begin();
        let rows = batch.rows();
        let wanted = buffers.rooms.iter().map(|Room { width, once, number }| {
            (if *once { *width } else { width * rows }, *number)
        });
        let wanted: Vec<(usize, Number)> = wanted.collect();
        self.parameters.backend.replace(&mut self.slots, "values between nodes", &wanted)?;
        let graph = &self.prepared.model.graph;
        let there = buffers.slot.iter().enumerate().filter(|(_, slot)| **slot != usize::MAX);
        let values = there.map(|(value, slot)| {
            let info = graph.value(ValueId(value));
            let words = info.width() * if info.once { 1 } else { rows };
            (ValueId(value), Tensor { words, ..self.slots[*slot] })
        });
        Ok(Pass {
            tokens: &batch.tokens,
            targets: &batch.targets,
            bounds: &batch.bounds,
            positions: batch.positions(),
            values: values.collect(),
            training,
            text: None,
            segment: batch.segment.as_ref(),
            outside: Outside::default(),
        })
    }

    pub(super) fn value(&self, param: ParamId) -> Tensor {
        self.parameters.value(param.0)
    }

    /// The gradient of a parameter that a node gives one to.
    pub(super) fn grad(&self, param: ParamId) -> Tensor {
        self.parameters.grad(param.0)
    }

    /// Width of one group's input and output.
    pub(super) fn shape_of(&self, param: ParamId) -> [usize; 2] {
        let shape = &self.model().graph.params[param.0].shape;
        let n = shape.len();
        [shape[n - 1], shape[n - 2]]
    }

    /// Rows of what a node reads first.
    fn rows_of(&self, node: &Node, pass: &Pass) -> usize {
        let once = |value: &ValueId| self.model().graph.value(*value).once;
        if node.inputs.first().is_some_and(once) { 1 } else { pass.rows() }
    }

    /// Numbers of a row.
    pub(super) fn width(&self, value: ValueId) -> usize {
        self.model().graph.value(value).width()
    }

    /// Runs a node.
    pub(super) fn node(&mut self, at: usize, pass: &mut Pass) -> Result<(), Failure> {
        let node = Arc::clone(&self.nodes[at]);
        let node = &*node;
        let outputs = pass.all(&node.outputs);
        for (value, output) in node.outputs.iter().zip(&outputs) {
            let name = || format!("%{} of {}", value.0, node.label);
            self.parameters.backend.forget(*output, &name)?;
        }
        let inputs = pass.all(&node.inputs);
        if self.outside(node, pass, &inputs, &outputs)?
            || self.elsewhere(at, node, pass, &inputs, &outputs)?
        {
            return Ok(());
        }
        let width = self.prepared.model.width;
        let rows = self.rows_of(node, pass);
        match &node.kind {
            Kind::Embed => {
                let table = self.value(node.params[0]);
                self.parameters.backend.gather(outputs[0], table, pass.tokens, width)
            }
            Kind::EmbedGrad => {
                let to = self.grad(node.gives[0]);
                self.parameters.backend.collect(to, inputs[0], pass.tokens, width)
            }
            Kind::Dense { groups } => {
                let (w, sizes) = self.product(node.params[0], *groups, rows);
                self.parameters.backend.dense(Dense::Forward, outputs[0], [inputs[0], w], sizes)
            }
            Kind::DenseGradInput { groups } => {
                let (w, sizes) = self.product(node.params[0], *groups, rows);
                self.parameters.backend.dense(Dense::GradInput, outputs[0], [inputs[0], w], sizes)
            }
            Kind::DenseGradWeight { groups } => {
                let (_, sizes) = self.product(node.gives[0], *groups, rows);
                let to = self.grad(node.gives[0]);
                self.parameters.backend.dense(Dense::GradWeight, to, [inputs[0], inputs[1]], sizes)
            }
            Kind::Rows(_) | Kind::RowsGrad(_) => self.pointwise(at, node, pass, &inputs, &outputs),
            Kind::Recur(recur) => self.recur(at, node, recur, pass, &inputs, &outputs),
            Kind::RecurGrad { of, outs } => {
                self.recur_grad(of.index(), outs, pass, &inputs, &outputs)
            }
            Kind::Loss => self.loss(pass, Some((outputs[0], !node.gives.is_empty()))),
            Kind::Drop { rate, .. } if *rate >= 1.0 => self.parameters.backend.clear(outputs[0]),
            Kind::Drop { rate, number } if pass.training => {
                let (width, draws) = (self.width(node.outputs[0]), self.draws);
                let first = pass.segment.map_or(0, |segment| segment.rows(segment.own).start);
                let drop = Drop { rate: *rate, number: *number, draws, width, first };
                self.parameters.backend.drop_out(outputs[0], inputs[0], drop)
            }
            Kind::Drop { .. } | Kind::Sum => self.parameters.backend.sum(outputs[0], &inputs),
            _ => self.across_rows(node, pass, &inputs, &outputs),
        }
    }

    /// Runs a node that reads rows which are not in the batch, of a text or of other segments; says whether it is one.
    fn elsewhere(
        &mut self,
        at: usize,
        node: &Node,
        pass: &mut Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<bool, Failure> {
        if let Some(text) = pass.text.take() {
            let grown = self.grow(at, node, pass, text, inputs, outputs);
            pass.text = Some(text);
            return grown;
        }
        match pass.segment {
            Some(segment) => self.in_segments(at, node, segment, pass, inputs, outputs),
            None => Ok(false),
        }
    }

    fn product(&self, weight: ParamId, groups: usize, rows: usize) -> (Tensor, Sizes) {
        let sizes = Sizes { rows, groups, shape: self.shape_of(weight) };
        (self.value(weight), sizes)
    }

    fn pointwise(
        &mut self,
        at: usize,
        node: &Node,
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let graph = &self.prepared.model.graph;
        let (own, flows) = node.inputs_and_flows();
        let count = own.len();
        let shaped = flows.first().copied().unwrap_or_else(|| node.outputs[0]);
        let once: Vec<bool> = own.iter().map(|value| graph.value(*value).once).collect();
        // What the output has a single row of was computed from single rows.
        let single = graph.value(shaped).once;
        let params: Vec<Tensor> = node.params.iter().map(|param| self.value(*param)).collect();
        let grads: Vec<Tensor> = node.gives.iter().map(|param| self.grad(*param)).collect();
        self.parameters.backend.pointwise(&Pointwise {
            at,
            rows: if single { 1 } else { pass.rows() },
            positions: if single { &[0] } else { &pass.positions },
            inputs: &inputs[..count],
            once: &once,
            params: &params,
            d_out: inputs.get(count).copied(),
            outputs,
            grads: &grads,
        })?;
        if node.is_residual() && count == inputs.len() {
            if let Some(measured) = &mut self.watch {
                measure::output(measured, &node.label, &self.parameters.backend.read(outputs[0])?);
            }
            if let Some(seen) = &mut self.seen {
                let stream = self.parameters.backend.read(outputs[0])?.into_owned();
                seen.streams.push((node.layer().to_string(), stream));
            }
        }
        Ok(())
    }

    fn recur(
        &mut self,
        at: usize,
        node: &Node,
        recur: &Recur,
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let initial = vec![None; recur.recurrence.states.len()];
        let call = Call {
            at,
            part: Part::Own,
            recur,
            bounds: pass.bounds,
            operands: inputs,
            initial: &initial,
        };
        let keep = pass.training && self.prepared.keeps[at];
        let finals = self.parameters.backend.recur(&call, outputs, keep)?;
        self.look(node, &call, &finals, 0)?;
        finals.into_iter().for_each(|state| self.parameters.backend.free(state));
        Ok(())
    }

    /// Lets measures and diagnoses look at a recurrence.
    pub(super) fn look(
        &mut self,
        node: &Node,
        call: &Call,
        finals: &[Tensor],
        first: usize,
    ) -> Result<(), Failure> {
        if self.watch.is_none() && self.seen.is_none() {
            return Ok(());
        }
        let read = |tensors: &[Tensor]| -> Result<Vec<Cow<'_, [f32]>>, Failure> {
            tensors.iter().map(|tensor| self.parameters.backend.read(*tensor)).collect()
        };
        let (operands, finals) = (read(call.operands)?, read(finals)?);
        let (recur, inputs) = (call.recur, call.recur.recurrence.inputs.len());
        let problem = Problem {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            sum: recur.sum,
            bounds: call.bounds.to_vec(),
            inputs: of(&operands[..inputs], &recur.input_heads),
            params: of(&operands[inputs..], &recur.param_heads),
            initial: vec![None; recur.recurrence.states.len()],
        };
        if let Some(measured) = &mut self.watch {
            measure::recurrence(measured, &node.label, &problem, &finals, first);
        }
        if let Some(seen) = &mut self.seen {
            seen.look(node, &problem);
        }
        Ok(())
    }

    fn recur_grad(
        &mut self,
        of: usize,
        outs: &[bool],
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let forward = Arc::clone(&self.nodes[of]);
        let recur = recurrence(&forward);
        let (operands, flows) = inputs.split_at(forward.inputs.len());
        let mut flows = flows.iter().copied();
        let d_outs: Vec<Option<Tensor>> =
            outs.iter().map(|has| if *has { flows.next() } else { None }).collect();
        let initial = vec![None; recur.recurrence.states.len()];
        let call = Call {
            at: of,
            part: Part::Own,
            recur,
            bounds: pass.bounds,
            operands,
            initial: &initial,
        };
        self.parameters.backend.recur_grad(&call, &Flows::of(&d_outs, outputs))
    }
}

/// The recurrence of a node that is one.
pub(super) fn recurrence(node: &Node) -> &Recur {
    match &node.kind {
        Kind::Recur(recur) => recur,
        _ => unreachable!("a recurrence's gradient belongs to a recurrence"),
    }
}

/// Operands that lie here.
fn of<'a>(data: &'a [Cow<'_, [f32]>], heads: &[usize]) -> Vec<Operand<'a, f32>> {
    let pairs = data.iter().zip(heads);
    pairs.map(|(data, heads)| Operand { data, heads: *heads }).collect()
}
