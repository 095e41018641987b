//! Walks a model's graph by kernels: every tensor lies in a device's memory, and a step sends only
//! tokens and tables to it.

use std::collections::HashMap;
use std::rc::Rc;

use lrc_compiler::form::rows::RowsGrad;
use lrc_compiler::graph::buffers::Buffers;
use lrc_compiler::graph::kernels;
use lrc_compiler::graph::{Kind, Model, Node, Prepared, Recur, ValueId};
use lrc_compiler::plan::Schedule;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::tile::size;
use lrc_dsl::Diag;
use petgraph::graph::NodeIndex;

use super::launches::launches;
use crate::device::fixed::{Fixed, PIECE, Update};
use crate::device::kernels::{
    Call, Into as Gradients, Kernels, Left, Unready, Wanted, without_kernels,
};
use crate::device::launch::ready;
use crate::device::rows::{On, RowKernel};
use crate::device::store::{Machine, Store, Tensor};
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::loss::{NONE, Predictions, Score};

/// Logits that are in memory at a time.
const BLOCK_LOGITS: usize = 1 << 26;
/// Rows of them at most.
const BLOCK_ROWS: usize = 4096;

/// All numbers of one kind for all parameters, one parameter after the other, each filled up to
/// whole pieces with zeros.
struct Flat {
    values: Tensor,
    grads: Tensor,
    first: Tensor,
    second: Tensor,
    /// Whether the weights of each piece decay.
    decays: Tensor,
    /// Where each parameter starts, and its numbers.
    places: Vec<(usize, usize)>,
}

/// The kernels of a recurrence, made when they are wanted.
struct Recurring {
    training: Rc<Kernels>,
    forward: Option<Rc<Kernels>>,
}

/// A model ready to run by kernels.
pub struct OnDevice {
    /// The model, with its backward pass.
    pub model: Model,
    machine: Machine,
    store: Store,
    fixed: Fixed,
    flat: Flat,
    nodes: Vec<Rc<Node>>,
    training: Rc<Buffers>,
    inference: Rc<Buffers>,
    rows: HashMap<usize, Rc<RowKernel>>,
    recurring: HashMap<usize, Recurring>,
    slots: Vec<Tensor>,
    left: HashMap<usize, Left>,
    /// Kernels and dense products of the last training step, with its update.
    pub started: [u64; 2],
    /// Asked rows of all parts of the step.
    asked: usize,
    /// The square of the gradient's norm, on the device.
    square: Option<Tensor>,
}

/// A batch as kernels see it.
struct Given<'b> {
    batch: &'b Batch,
    rows: usize,
    positions: Tensor,
    /// The position of the only row of what has one.
    origin: Tensor,
    buffers: Rc<Buffers>,
}

/// What a model has no kernels for on a kind of GPU.
pub fn lacks(prepared: &Prepared, gpu: Gpu) -> Vec<Diag> {
    kernels::plan(prepared, gpu).lacking
}

impl OnDevice {
    /// Compiles a model's kernels and sends its parameters.
    pub fn new(
        prepared: Prepared,
        params: &[Vec<f32>],
        machine: &Machine,
    ) -> Result<OnDevice, Failure> {
        let planned = kernels::plan(&prepared, machine.kind());
        none(planned.lacking)?;
        let Prepared { model, training, inference, .. } = prepared;
        let mut store = Store::new(machine);
        let flat = Flat::new(&model, params, &mut store)?;
        let nodes: Vec<Rc<Node>> =
            model.graph.nodes.node_weights().map(|node| Rc::new(node.clone())).collect();
        let ready = ready(machine, planned.pointwise)?.into_iter().map(RowKernel).map(Rc::new);
        let ready: Vec<Rc<RowKernel>> = ready.collect();
        let of_node = planned.of_node.into_iter();
        let rows = of_node.map(|(at, found)| (at, Rc::clone(&ready[found]))).collect();
        let recurring = recurring(&nodes, machine)?;
        Ok(OnDevice {
            machine: machine.clone(),
            fixed: Fixed::new(machine)?,
            model,
            store,
            flat,
            nodes,
            training: Rc::new(training),
            inference: Rc::new(inference),
            rows,
            recurring,
            slots: vec![],
            left: HashMap::new(),
            started: [0; 2],
            asked: 0,
            square: None,
        })
    }

    /// Loss of a part of a step, and its share of the gradients of all parameters, which stay on
    /// the device. `asked` rows are asked in all parts; the first one clears the gradients.
    pub fn train(&mut self, batch: &Batch, asked: usize, first: bool) -> Result<Score, Failure> {
        let before = [self.store.launches, self.store.products];
        if first {
            self.started = [0; 2];
            self.store.clear(self.flat.grads)?;
        }
        self.asked = asked;
        let given = self.begin(batch, &Rc::clone(&self.training))?;
        let mut said = None;
        for at in 0..self.nodes.len() {
            let node = Rc::clone(&self.nodes[at]);
            self.node(at, &node, &given, true, &mut said)?;
        }
        self.end();
        self.started[0] += self.store.launches - before[0];
        self.started[1] += self.store.products - before[1];
        let said = said.expect("a loss ends the forward pass");
        Ok(self.score(&batch.targets, said)?.score)
    }

    /// The norm of the whole gradient before clipping.
    pub fn norm(&mut self) -> Result<f64, Failure> {
        let before = self.store.launches;
        let grads = self.flat.grads;
        let square = match self.square {
            Some(square) => square,
            None => *self.square.insert(self.store.take("square of the gradient", 1)?),
        };
        let parts = self.store.take("squares of pieces", grads.words / PIECE)?;
        self.fixed.squares(&mut self.store, square, parts, grads)?;
        self.store.give(parts);
        self.started[0] += self.store.launches - before;
        Ok(f64::from(self.store.get(square)?[0]).sqrt())
    }

    /// A step of AdamW, clipped by the norm that [`OnDevice::norm`] found last.
    pub fn update(&mut self, update: Update) -> Result<(), Failure> {
        let before = self.store.launches;
        let Flat { values, grads, first, second, decays, .. } = self.flat;
        let square = self.square.expect("the norm is found before the update");
        let state = [values, grads, first, second];
        self.fixed.adamw(&mut self.store, state, decays, square, update)?;
        self.started[0] += self.store.launches - before;
        Ok(())
    }

    /// Loss of a batch, and the best guess at each asked row, in order.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Predictions, Failure> {
        let given = self.begin(batch, &Rc::clone(&self.inference))?;
        for at in 0..self.model.graph.forward {
            let node = Rc::clone(&self.nodes[at]);
            self.node(at, &node, &given, false, &mut None)?;
        }
        let said = self.loss(&given, None)?;
        self.end();
        self.score(&batch.targets, said)
    }

    /// What a step says, from the loss and the guess of each asked row.
    fn score(&mut self, targets: &[u32], said: Tensor) -> Result<Predictions, Failure> {
        let asked: Vec<u32> = targets.iter().copied().filter(|target| *target != NONE).collect();
        let pairs = self.store.get(said.part(0, 2 * asked.len()))?;
        self.store.give(said);
        let mut score = Score { targets: asked.len(), ..Score::default() };
        let (mut guesses, mut losses) = (Vec::with_capacity(asked.len()), Vec::new());
        for (pair, target) in pairs.chunks_exact(2).zip(&asked) {
            let guess = pair[1] as u32;
            score.loss += f64::from(pair[0]);
            score.right += usize::from(guess == *target);
            guesses.push(guess);
            losses.push(pair[0]);
        }
        score.loss /= asked.len().max(1) as f64;
        Ok(Predictions { score, guesses, losses })
    }

    /// Parameters and both running means.
    pub fn state(&self) -> Result<[Vec<Vec<f32>>; 3], Failure> {
        let Flat { values, first, second, .. } = self.flat;
        let [a, b, c] = [values, first, second].map(|flat| self.flat.read(&self.store, flat));
        Ok([a?, b?, c?])
    }

    /// Gradients after [`OnDevice::train`].
    pub fn grads(&self) -> Result<Vec<Vec<f32>>, Failure> {
        self.flat.read(&self.store, self.flat.grads)
    }

    /// Takes parameters and both running means.
    pub fn restore(&mut self, state: [&[Vec<f32>]; 3]) -> Result<(), Failure> {
        let Flat { values, first, second, .. } = self.flat;
        for (to, data) in [values, first, second].into_iter().zip(state) {
            self.flat.write(&mut self.store, to, data)?;
        }
        Ok(())
    }

    fn begin<'b>(&mut self, batch: &'b Batch, buffers: &Rc<Buffers>) -> Result<Given<'b>, Failure> {
        // Nothing of the step before is in use any more.
        self.store.trim_tables();
        let rows = batch.rows();
        let positions = self.store.table(batch.positions())?;
        let origin = self.store.table(vec![0])?;
        for (at, (width, once)) in buffers.width.iter().enumerate() {
            let words = if *once { *width } else { width * rows };
            self.slots.push(self.store.take(&format!("buffer {at}"), words)?);
        }
        Ok(Given { batch, rows, positions, origin, buffers: Rc::clone(buffers) })
    }

    fn end(&mut self) {
        for slot in self.slots.drain(..) {
            self.store.give(slot);
        }
    }

    /// A value's numbers.
    fn value(&self, given: &Given, value: ValueId) -> Tensor {
        let info = self.model.graph.value(value);
        let rows = if info.once { 1 } else { given.rows };
        self.slots[given.buffers.slot[value.0]].part(0, info.width() * rows)
    }

    fn values(&self, given: &Given, values: &[ValueId]) -> Vec<Tensor> {
        values.iter().map(|value| self.value(given, *value)).collect()
    }

    fn node(
        &mut self,
        at: usize,
        node: &Rc<Node>,
        given: &Given,
        keep: bool,
        said: &mut Option<Tensor>,
    ) -> Result<(), Failure> {
        let outputs = self.values(given, &node.outputs);
        for (value, output) in node.outputs.iter().zip(&outputs) {
            self.store.forget(*output, &format!("%{} of {}", value.0, node.label));
        }
        let inputs = self.values(given, &node.inputs);
        match &node.kind {
            Kind::Embed => {
                let (table, width) = (self.param(node.params[0].0), self.model.width);
                let tokens = &given.batch.tokens;
                self.fixed.gather(&mut self.store, outputs[0], table, tokens, width)
            }
            Kind::Dense { groups } => {
                let w = node.params[0].0;
                let from = [inputs[0], self.param(w)];
                self.dense(Dense::Forward, outputs[0], from, *groups, w, given)
            }
            Kind::DenseGradInput { groups } => {
                let w = node.params[0].0;
                let from = [inputs[0], self.param(w)];
                self.dense(Dense::GradInput, outputs[0], from, *groups, w, given)
            }
            Kind::DenseGradWeight { groups } => {
                let w = node.gives[0].0;
                let to = self.grad(w);
                self.dense(Dense::GradWeight, to, [inputs[0], inputs[1]], *groups, w, given)
            }
            Kind::Rows(_) => self.pointwise(at, node, given, &inputs, None, &outputs),
            Kind::RowsGrad(grad) => self.pointwise(at, node, given, &inputs, Some(grad), &outputs),
            Kind::Recur(recur) => self.recur(at, recur, given, &inputs, &outputs, keep),
            Kind::RecurGrad { of, outs } => self.recur_grad(*of, outs, given, &inputs, outputs),
            Kind::Loss => {
                *said = Some(self.loss(given, Some(outputs[0]))?);
                Ok(())
            }
            Kind::LongConv
            | Kind::LongConvGrad
            | Kind::Drop { .. }
            | Kind::Route { .. }
            | Kind::RouteGrad
            | Kind::Expert
            | Kind::ExpertGradInput
            | Kind::ExpertGradWeight
            | Kind::Average
            | Kind::AverageGrad => unreachable!("refused when the model came"),
            Kind::EmbedGrad => {
                let (to, width) = (self.grad(node.gives[0].0), self.model.width);
                let tokens = &given.batch.tokens;
                self.fixed.collect(&mut self.store, to, inputs[0], tokens, width)
            }
            Kind::Sum => {
                self.fixed.add(&mut self.store, outputs[0], [inputs[0], inputs[1]])?;
                inputs[2..].iter().try_for_each(|input| {
                    self.fixed.add(&mut self.store, outputs[0], [outputs[0], *input])
                })
            }
        }
    }

    fn param(&self, at: usize) -> Tensor {
        self.flat.part(self.flat.values, at)
    }

    fn grad(&self, at: usize) -> Tensor {
        self.flat.part(self.flat.grads, at)
    }

    fn dense(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        groups: usize,
        weight: usize,
        given: &Given,
    ) -> Result<(), Failure> {
        let shape = &self.model.graph.params[weight].shape;
        let [outer, inner] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        let sizes = Sizes { rows: given.rows, groups, shape: [inner, outer] };
        self.store.dense(kind, to, from, sizes)
    }

    /// A pointwise node, or its gradient.
    fn pointwise(
        &mut self,
        at: usize,
        node: &Node,
        given: &Given,
        inputs: &[Tensor],
        grad: Option<&RowsGrad>,
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        // What the output has a single row of was computed from single rows.
        let shaped = grad.map_or(node.outputs.first(), |grad| node.inputs.get(grad.inputs));
        let once = shaped.is_some_and(|value| self.model.graph.value(*value).once);
        let (rows, positions) =
            if once { (1, given.origin) } else { (given.rows, given.positions) };
        let node_params = node.params.iter().map(|param| self.param(param.0)).collect();
        let grads: Vec<Tensor> = node.gives.iter().map(|param| self.grad(param.0)).collect();
        let (inputs, d_out) = inputs.split_at(grad.map_or(inputs.len(), |grad| grad.inputs));
        let on = On { rows, positions, inputs, params: node_params, d_out: d_out.first().copied() };
        let kernel = Rc::clone(&self.rows[&at]);
        kernel.run(&mut self.store, &on, outputs, &grads)
    }

    fn call<'c>(recur: &'c Recur, given: &Given<'c>, operands: &[Tensor]) -> Call<'c> {
        let (inputs, params) = operands.split_at(recur.recurrence.inputs.len());
        let pairs = |tensors: &[Tensor], heads: &[usize]| {
            tensors.iter().copied().zip(heads.iter().copied()).collect()
        };
        Call {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            bounds: &given.batch.bounds,
            inputs: pairs(inputs, &recur.input_heads),
            params: pairs(&params[..recur.recurrence.params.len()], &recur.param_heads),
            initial: vec![None; recur.recurrence.states.len()],
        }
    }

    fn recur(
        &mut self,
        at: usize,
        recur: &Recur,
        given: &Given,
        inputs: &[Tensor],
        outputs: &[Tensor],
        keep: bool,
    ) -> Result<(), Failure> {
        let kernels = self.kernels(at, recur, keep)?;
        let call = OnDevice::call(recur, given, inputs);
        let outs = self.of_heads(recur, given, outputs)?;
        let (finals, left) = kernels.forward(&mut self.store, &call, &outs)?;
        finals.into_iter().for_each(|tensor| self.store.give(tensor));
        if recur.sum > 1 {
            for ((own, to), slot) in outs.into_iter().zip(outputs).zip(&recur.recurrence.outs) {
                let one = size(&slot.shape);
                let sums = [to.words / one, recur.sum, one];
                self.fixed.fold(&mut self.store, *to, own, sums, false)?;
                self.store.give(own);
            }
        }
        if keep {
            self.left.insert(at, left);
        } else {
            left.release(&mut self.store);
        }
        Ok(())
    }

    fn kernels(&mut self, at: usize, recur: &Recur, keep: bool) -> Result<Rc<Kernels>, Failure> {
        let known = self.recurring.get_mut(&at).expect("made with the executor");
        if keep {
            return Ok(Rc::clone(&known.training));
        }
        if known.forward.is_none() {
            let made = made(recur, Wanted::Forward, &self.machine)?;
            known.forward = Some(Rc::new(made));
        }
        Ok(Rc::clone(known.forward.as_ref().expect("just made")))
    }

    fn recur_grad(
        &mut self,
        of: NodeIndex,
        outs: &[bool],
        given: &Given,
        inputs: &[Tensor],
        outputs: Vec<Tensor>,
    ) -> Result<(), Failure> {
        let forward = Rc::clone(&self.nodes[of.index()]);
        let Kind::Recur(recur) = &forward.kind else {
            unreachable!("a recurrence's gradient belongs to a recurrence")
        };
        let (operands, mut flows) =
            (&inputs[..forward.inputs.len()], &inputs[forward.inputs.len()..]);
        let mut d_outs: Vec<Option<Tensor>> = outs
            .iter()
            .map(|has| {
                let (first, rest) = flows.split_first().filter(|_| *has)?;
                flows = rest;
                Some(*first)
            })
            .collect();
        if recur.sum > 1 {
            // Heads that add up get the same rows.
            for (d, slot) in d_outs.iter_mut().zip(&recur.recurrence.outs) {
                let Some(sum) = *d else { continue };
                let one = size(&slot.shape);
                let count = sum.words / one * recur.sum;
                let own = self.store.take("gradient of subheads", count * one)?;
                let which: Vec<u32> = (0..count).map(|row| (row / recur.sum) as u32).collect();
                self.fixed.gather(&mut self.store, own, sum, &which, one)?;
                *d = Some(own);
            }
        }
        let call = OnDevice::call(recur, given, operands);
        let kernels = self.kernels(of.index(), recur, true)?;
        let left = self.left.remove(&of.index()).expect("the forward pass left its states");
        let mut to = Gradients { inputs: outputs, params: vec![], initial: vec![] };
        to.params = to.inputs.split_off(recur.recurrence.inputs.len());
        kernels.backward(&mut self.store, &call, &left, [&d_outs, &[]], &to)?;
        left.release(&mut self.store);
        if recur.sum > 1 {
            d_outs.into_iter().flatten().for_each(|own| self.store.give(own));
        }
        Ok(())
    }

    /// Where a recurrence's kernels write: its outputs, or, where subheads add up, room for each.
    fn of_heads(
        &mut self,
        recur: &Recur,
        given: &Given,
        outputs: &[Tensor],
    ) -> Result<Vec<Tensor>, Failure> {
        if recur.sum == 1 {
            return Ok(outputs.to_vec());
        }
        let words = |shape: &[usize]| given.rows * recur.heads * size(shape);
        let outs = recur.recurrence.outs.iter();
        outs.map(|slot| self.store.take("outputs of subheads", words(&slot.shape))).collect()
    }

    /// Loss and guess of each asked row, `[asked, 2]`; with `d_hidden` also the gradients by the
    /// hidden state and the head.
    fn loss(&mut self, given: &Given, d_hidden: Option<Tensor>) -> Result<Tensor, Failure> {
        let (width, vocab) = (self.model.width, self.model.vocab);
        let targets = &given.batch.targets;
        let asked: Vec<u32> =
            (0..targets.len() as u32).filter(|r| targets[*r as usize] != NONE).collect();
        let (head, d_head) = (self.param(self.model.head.0), self.grad(self.model.head.0));
        let hidden = self.value(given, self.model.hidden);
        let said = self.store.take("losses and guesses", 2 * asked.len())?;
        if let Some(d_hidden) = d_hidden {
            self.store.clear(d_hidden)?;
        }
        let scale = if d_hidden.is_some() { 1.0 / self.asked.max(1) as f32 } else { 0.0 };
        let block = (BLOCK_LOGITS / vocab).clamp(16, BLOCK_ROWS);
        for (at, rows) in asked.chunks(block).enumerate() {
            let x = self.store.take("asked rows", rows.len() * width)?;
            let logits = self.store.take("logits", rows.len() * vocab)?;
            self.fixed.gather(&mut self.store, x, hidden, rows, width)?;
            let sizes = Sizes { rows: rows.len(), groups: 1, shape: [width, vocab] };
            self.store.dense(Dense::Forward, logits, [x, head], sizes)?;
            let wanted: Vec<u32> = rows.iter().map(|r| targets[*r as usize]).collect();
            let here = said.part(2 * at * block, 2 * rows.len());
            self.fixed.cross_entropy(&mut self.store, logits, &wanted, here, vocab, scale)?;
            if let Some(d_hidden) = d_hidden {
                self.store.dense(Dense::GradWeight, d_head, [x, logits], sizes)?;
                self.store.dense(Dense::GradInput, x, [logits, head], sizes)?;
                self.fixed.scatter(&mut self.store, d_hidden, x, rows, width)?;
            }
            self.store.give(x);
            self.store.give(logits);
        }
        Ok(said)
    }
}

impl Flat {
    fn new(model: &Model, params: &[Vec<f32>], store: &mut Store) -> Result<Flat, Failure> {
        let (mut places, mut decays) = (Vec::new(), Vec::new());
        for (declared, data) in model.graph.params.iter().zip(params) {
            places.push((decays.len() * PIECE, data.len()));
            decays.resize(decays.len() + data.len().div_ceil(PIECE), u32::from(declared.decay));
        }
        let words = decays.len() * PIECE;
        let mut zeros = |name: &str| store.zeros(name, words);
        let [values, grads] = [zeros("parameters")?, zeros("gradients")?];
        let [first, second] = [zeros("first moments")?, zeros("second moments")?];
        let pieces = store.take("which pieces decay", decays.len())?;
        store.put_words(pieces, &decays)?;
        let decays = pieces;
        let flat = Flat { values, grads, first, second, decays, places };
        flat.write(store, values, params)?;
        Ok(flat)
    }

    fn part(&self, of: Tensor, at: usize) -> Tensor {
        let (start, words) = self.places[at];
        of.part(start, words)
    }

    fn read(&self, store: &Store, from: Tensor) -> Result<Vec<Vec<f32>>, Failure> {
        (0..self.places.len()).map(|at| store.get(self.part(from, at))).collect()
    }

    fn write(&self, store: &mut Store, to: Tensor, data: &[Vec<f32>]) -> Result<(), Failure> {
        (0..data.len()).try_for_each(|at| store.put(self.part(to, at), &data[at]))
    }
}

/// What is planned for the training of a model.
#[derive(Debug)]
pub struct Plans {
    /// The schedules, each once.
    pub schedules: Vec<Schedule>,
    /// What has none.
    pub lacking: Vec<Diag>,
    /// Kernels and dense products that a step of one sequence and one part starts, with its update;
    /// nothing where something has no kernels.
    pub launches: Option<usize>,
}

/// The plans of a model's kernels for training on a kind of GPU.
pub fn plans(prepared: &Prepared, gpu: Gpu) -> Plans {
    let kernels::Planned { pointwise, of_node, recurrences, lacking } =
        kernels::plan(prepared, gpu);
    let nodes: Vec<&Node> = prepared.model.graph.nodes.node_weights().collect();
    let of_rows = |at: usize| of_node.get(&at).map(|found| &pointwise[*found]);
    let launches = if lacking.is_empty() { launches(&nodes, gpu, of_rows) } else { None };
    Plans { schedules: pointwise.into_iter().chain(recurrences).collect(), lacking, launches }
}

/// The kernels of all recurrences; layers that do the same share them.
fn recurring(nodes: &[Rc<Node>], machine: &Machine) -> Result<HashMap<usize, Recurring>, Failure> {
    let mut known: HashMap<String, Rc<Kernels>> = HashMap::new();
    let mut all = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let Kind::Recur(recur) = &node.kind else { continue };
        let key = format!("{:?}", recur.recurrence);
        let training = match known.get(&key) {
            Some(training) => Rc::clone(training),
            None => {
                let made = Rc::new(made(recur, Wanted::Training, machine)?);
                known.insert(key, Rc::clone(&made));
                made
            }
        };
        all.insert(at, Recurring { training, forward: None });
    }
    Ok(all)
}

fn made(recur: &Recur, wanted: Wanted, machine: &Machine) -> Result<Kernels, Failure> {
    Kernels::new(&recur.recurrence, wanted, None, machine).map_err(|why| match why {
        Unready::Failed(failure) => failure,
        Unready::Refused(refusal) => {
            Failure::Invalid(vec![without_kernels(&recur.recurrence, &refusal)])
        }
    })
}

/// Fails where something has no kernels.
pub fn none(lacking: Vec<Diag>) -> Result<(), Failure> {
    if lacking.is_empty() { Ok(()) } else { Err(Failure::Invalid(lacking)) }
}
