//! What a training step of a model takes on a kind of GPU, without one.
//!
//! Each kind of work once, as often as a step does it. Kernels that are planned for the model are counted on the sim
//! device: recurrences as [`super`] does it, pointwise nodes in [`pointwise`]. Dense products are a library's: their
//! operations and bytes are known, and a share of the peak is assumed. What kernels written by hand do is told by the
//! bytes that they move.

mod moves;
mod pointwise;
pub mod text;

use std::collections::HashMap;

use lrc_compiler::compile::Chosen;
use lrc_compiler::graph::account::account;
use lrc_compiler::graph::kernels::{Planned, plan};
use lrc_compiler::graph::{Kind, Prepared, Recur, layer};
use lrc_compiler::plan::Purpose;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::tile::size;

use super::{OfKernel, OfSchedule, of_purpose};
use crate::device::kernels::{Unready, without_kernels};
use crate::device::sim::hardware::Hardware;
use crate::ground::error::Failure;
use crate::recurrence::draw::Sizes;
use moves::Moves;

/// A part of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// From tokens to the loss, with what the gradient needs.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// From gradients to parameters.
    Update,
}

/// What a work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A dense product of a library: a share of the peak, or its bytes.
    Product,
    /// A recurrence's kernels, counted.
    Recurrence,
    /// Attention's kernels, counted.
    Attention,
    /// A pointwise node's kernel, counted.
    Pointwise,
    /// A kernel written by hand: its bytes.
    Moves,
}

/// A work of a step.
#[derive(Clone, Debug)]
pub struct Work {
    /// When it is done.
    pub part: Part,
    /// What it is.
    pub sort: Sort,
    /// The node, without the numbers of layers.
    pub name: String,
    /// What does it: kernels, or the sizes of a product.
    pub by: String,
    /// How often a step does it.
    pub times: usize,
    /// Seconds of one of them, with the starts of its kernels.
    pub seconds: f64,
    /// Kernels that one starts.
    pub launches: usize,
    /// Operations of one on matrix units.
    pub operations: f64,
    /// Bytes that one moves.
    pub moved: f64,
    /// Bytes that one must move: what it reads and writes, once each, as it is held.
    pub must: f64,
    /// The kernels that were counted, with their steps.
    pub kernels: Vec<OfKernel>,
}

impl Work {
    /// Seconds of all of them.
    pub fn all(&self) -> f64 {
        self.seconds * self.times as f64
    }
}

/// The sizes of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Sequences that run through the model at a time.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// How often they do in a step.
    pub parts: usize,
    /// Bytes that the optimiser remembers.
    pub remembered: f64,
}

impl Step {
    /// Tokens of a step.
    pub fn tokens(&self) -> usize {
        self.batch * self.length * self.parts
    }
}

/// A training step of a model on a kind of GPU.
#[derive(Clone, Debug)]
pub struct StepProfile {
    /// The model.
    pub name: String,
    /// What it is timed as.
    pub hardware: Hardware,
    /// The sizes of the step.
    pub step: Step,
    /// Learned numbers.
    pub parameters: usize,
    /// Operations of a token, forward and backward, as papers count them.
    pub operations: f64,
    /// All that it does, the longest first.
    pub works: Vec<Work>,
}

impl StepProfile {
    /// Seconds of the works that are asked for.
    pub fn seconds(&self, which: impl Fn(&Work) -> bool) -> f64 {
        self.works.iter().filter(|work| which(work)).map(Work::all).sum()
    }

    /// Tokens of a second.
    pub fn speed(&self) -> f64 {
        self.step.tokens() as f64 / self.seconds(|_| true)
    }

    /// The share of the peak that the published operations of its tokens are.
    pub fn utilisation(&self) -> f64 {
        self.speed() * self.operations / self.hardware.peak
    }
}

/// Tells a training step of a prepared model.
pub fn step(prepared: &Prepared, step: Step, hardware: Hardware) -> Result<StepProfile, Failure> {
    let gpu = Gpu::named(hardware.arch)
        .ok_or_else(|| Failure::Usage(format!("no kernels are made for {}", hardware.arch)))?;
    let planned = plan(prepared, gpu);
    if !planned.lacking.is_empty() {
        return Err(Failure::Invalid(planned.lacking));
    }
    let model = &prepared.model;
    let told = Teller { prepared, planned, step, hardware, gpu, known: HashMap::new() };
    let accounts = account(model);
    Ok(StepProfile {
        name: model.name.clone(),
        hardware,
        step,
        parameters: accounts.parameters,
        operations: 3.0 * accounts.flops_per_token(step.length) as f64,
        works: told.works()?,
    })
}

/// What one of a kind of work takes.
#[derive(Clone, Debug)]
struct Cost {
    sort: Sort,
    by: String,
    seconds: f64,
    launches: usize,
    operations: f64,
    moved: f64,
    must: f64,
    kernels: Vec<OfKernel>,
}

/// Tells the nodes of a model, each kind once.
struct Teller<'p> {
    prepared: &'p Prepared,
    planned: Planned,
    step: Step,
    hardware: Hardware,
    gpu: Gpu,
    /// Passes of recurrences that have been counted, by their texts and heads.
    known: HashMap<String, Vec<OfSchedule>>,
}

impl Teller<'_> {
    fn works(mut self) -> Result<Vec<Work>, Failure> {
        let graph = &self.prepared.model.graph;
        let mut rows: HashMap<(usize, usize), Cost> = HashMap::new();
        let mut works: Vec<Work> = vec![];
        for (at, node) in graph.nodes.node_weights().enumerate() {
            let part = if at < graph.forward { Part::Forward } else { Part::Backward };
            let costs = match &node.kind {
                Kind::Rows(_) | Kind::RowsGrad(_) => {
                    // What is told of one is told of all that share its kernel and its number of rows.
                    let on = pointwise::On::new(graph, node, self.rows());
                    let key = (self.planned.of_node[&at], on.rows);
                    let cost = match rows.get(&key) {
                        Some(known) => known.clone(),
                        None => self.pointwise(at, &on)?,
                    };
                    rows.insert(key, cost.clone());
                    vec![cost]
                }
                Kind::Recur(recur) => self.recurrence(recur, 0)?,
                Kind::RecurGrad { of, .. } => {
                    let Kind::Recur(recur) = &graph.nodes[*of].kind else { continue };
                    self.recurrence(recur, 1)?
                }
                _ => moves::node(&self.moves(), graph, node),
            };
            for cost in costs {
                add(&mut works, part, &plain(&node.label), cost, self.step.parts);
            }
        }
        for cost in moves::update(&self.moves(), graph) {
            add(&mut works, Part::Update, "all parameters", cost, 1);
        }
        works.sort_by(|a, b| b.all().total_cmp(&a.all()));
        Ok(works)
    }

    fn rows(&self) -> usize {
        self.step.batch * self.step.length
    }

    fn moves(&self) -> Moves<'_> {
        Moves { model: &self.prepared.model, step: self.step, hardware: self.hardware }
    }

    fn pointwise(&self, at: usize, on: &pointwise::On) -> Result<Cost, Failure> {
        let schedule = &self.planned.pointwise[self.planned.of_node[&at]];
        pointwise::cost(schedule, on, self.hardware, self.gpu)
    }

    /// A pass of a recurrence, 0 forward and 1 backward, and what goes on around it.
    fn recurrence(&mut self, recur: &Recur, pass: usize) -> Result<Vec<Cost>, Failure> {
        let r = &recur.recurrence;
        let key = format!("{} {r:?} {:?}", recur.heads, recur.chosen);
        if !self.known.contains_key(&key) {
            let Step { batch, length, .. } = self.step;
            let sizes = Sizes { batch, length, heads: recur.heads };
            let chosen: Chosen = recur.chosen;
            let told = of_purpose(r, sizes, self.hardware, Purpose::Training, chosen);
            let (schedules, _) = told.map_err(|why| match why {
                Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(r, &refusal)]),
                Unready::Failed(failure) => failure,
            })?;
            self.known.insert(key.clone(), schedules);
        }
        let Some(schedule) = self.known[&key].get(pass) else { return Ok(vec![]) };
        let names: Vec<&str> = schedule.kernels.iter().map(|k| k.name.as_str()).collect();
        let cost = Cost {
            sort: if r.states.is_empty() { Sort::Attention } else { Sort::Recurrence },
            by: names.join(", "),
            seconds: schedule.seconds(&self.hardware),
            launches: names.len(),
            operations: schedule.kernels.iter().map(|k| k.counts.all().operations[1]).sum(),
            moved: schedule.moved(),
            must: schedule.held(),
            kernels: schedule.kernels.clone(),
        };
        let around = moves::around(&self.moves(), recur, pass);
        Ok([cost].into_iter().chain(around).collect())
    }
}

/// Adds a work to those that are the same.
fn add(works: &mut Vec<Work>, part: Part, name: &str, cost: Cost, times: usize) {
    let same = |work: &&mut Work| work.part == part && work.name == name && work.by == cost.by;
    if let Some(known) = works.iter_mut().find(same) {
        known.times += times;
        return;
    }
    let Cost { sort, by, seconds, launches, operations, moved, must, kernels } = cost;
    works.push(Work {
        part,
        sort,
        name: name.to_string(),
        by,
        times,
        seconds,
        launches,
        operations,
        moved,
        must,
        kernels,
    });
}

/// A label without the number of its layer.
fn plain(label: &str) -> String {
    let at = layer(label);
    let mut parts: Vec<&str> = label.split('.').collect();
    if at.starts_with("layers.") && parts.len() > 2 {
        parts.drain(..2);
    }
    parts.join(".")
}

/// Bytes of numbers of a shape for each of so many rows.
fn bytes(shape: &[usize], each: usize, rows: usize) -> f64 {
    (size(shape) * each * rows) as f64
}
