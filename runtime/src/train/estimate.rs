//! What a run will need, before it begins.

use lrc_compiler::graph::account::{Account, account, backward};
use lrc_compiler::graph::{Kind, Model, Prepared};
use lrc_compiler::normal;
use lrc_compiler::tile::{Number, Op, Program, Unary, size};
use serde::Serialize;

use crate::config::Spec;
use crate::device::Device;
use crate::ground::error::Failure;
use crate::ops::loss::Blocks;
use crate::optim::{Optimizer, ParamGroup};
use crate::schedule::Amount;
use crate::schedule::lengths::{Cut, Lengths};
use crate::schedule::run::{RunSchedule, StepPlan};

use crate::model::transforms::bytes;

/// Needs of a run. Memory is in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Steps; nothing for a run of given time.
    pub steps: Option<u64>,
    /// Tokens likewise.
    pub tokens: Option<f64>,
    /// Sequences of the first step, and the length of each.
    pub first: [usize; 2],
    /// Parts in which the model sees a step of the longest sequences.
    pub parts: usize,
    /// Tokens of such a part.
    pub part: usize,
    /// Tokens of such a step.
    pub whole: usize,
    /// Learned numbers, and master weights beside what is read in bf16.
    pub parameters: f64,
    /// Their gradients, twice where parts add up.
    pub gradients: f64,
    /// What the optimiser remembers.
    pub optimizer: f64,
    /// Values between the nodes of the graph, forward and backward, without what recurrences keep
    /// of their states.
    pub activations: f64,
    /// The block of logits that the loss has in memory at a time, with the hidden states that it is made of.
    pub logits: f64,
    /// Layers whose values are computed again in the backward pass.
    pub recomputed: usize,
    /// Operations of a step, forward and backward.
    pub flops: f64,
}

/// Works out the needs of a run of a model and its prepared graph.
pub fn estimate(
    spec: &Spec,
    model: &Model,
    prepared: &Prepared,
    run_schedule: &RunSchedule,
    device: Device,
) -> Result<Estimate, Failure> {
    let mut walk = run_schedule.clone();
    let first = walk.next(0.0).ok_or_else(|| Failure::World("the run has no step".into()))?;
    let (part, whole) = part(spec, run_schedule);
    let numbers = account(model);
    let of_numbers = |count: f64| 4.0 * count;
    let parts = whole.div_ceil(part);
    // The processor holds everything in f32.
    let activations = match device {
        Device::Cpu => bytes(prepared.per_row(), 1),
        _ => prepared.bytes_per_row() as f64,
    };
    let blocks = if device == Device::Cpu { Blocks::NEAR } else { Blocks::LARGE };
    let logits = blocks.numbers(part, model.width, model.vocab);
    let params = prepared.model.graph.params.iter().enumerate();
    let bytes = |at: usize, number: Number| held(number, device, changes(prepared, at));
    let parameters = params.map(|(at, param)| size(&param.shape) as f64 * bytes(at, param.number));
    let longest = longest(spec, run_schedule);
    let executed = |account: &Account| account.executed_per_token(longest);
    Ok(Estimate {
        steps: run_schedule.whole().steps.is_finite().then(|| run_schedule.whole().steps as u64),
        tokens: run_schedule.whole().tokens.is_finite().then(|| run_schedule.whole().tokens),
        first: [first.sequences, first.length],
        parts,
        part,
        whole,
        parameters: parameters.sum(),
        gradients: of_numbers(trained(prepared)) * if parts > 1 { 2.0 } else { 1.0 },
        optimizer: of_numbers(remembered(&spec.optimizer, model)?),
        activations: activations * part as f64,
        logits: of_numbers(logits as f64),
        recomputed: prepared.recomputed.len(),
        flops: operations(&numbers, of_backward(prepared).as_ref(), executed) * whole as f64,
    })
}

/// What the backward pass costs where something is frozen. It takes twice what the forward pass takes elsewhere.
pub fn of_backward(prepared: &Prepared) -> Option<Account> {
    prepared.frozen.contains(&true).then(|| backward(prepared))
}

/// Operations per token of a step, forward and backward, by one way to count them.
pub fn operations(
    forward: &Account,
    backward: Option<&Account>,
    of: impl Fn(&Account) -> usize,
) -> f64 {
    let ahead = of(forward) as f64;
    ahead + backward.map_or(2.0 * ahead, |backward| of(backward) as f64)
}

/// Bytes of a learned number: what the model reads, and beside it what is updated where that is something else. The
/// processor holds everything in f32.
fn held(number: Number, device: Device, changes: bool) -> f64 {
    let read = if device == Device::Cpu { Number::F32 } else { number };
    let updated = if number == Number::F32 || !changes { 0 } else { Number::F32.bytes() };
    (read.bytes() + updated) as f64
}

/// Learned numbers that training changes.
fn trained(prepared: &Prepared) -> f64 {
    let params = prepared.model.graph.params.iter().enumerate();
    let each = params.filter(|(at, _)| changes(prepared, *at));
    each.map(|(_, param)| size(&param.shape) as f64).sum()
}

/// Whether training changes a parameter.
fn changes(prepared: &Prepared, at: usize) -> bool {
    !prepared.frozen.get(at).copied().unwrap_or(false)
}

/// Numbers that an optimiser remembers.
fn remembered(optimizer: &Optimizer, model: &Model) -> Result<f64, Failure> {
    let param_groups = optimizer.param_groups(model)?;
    let each = model.graph.params.iter().zip(&param_groups);
    let means = |group: &ParamGroup| group.remembered().map(f64::from).iter().sum::<f64>();
    let numbers = each.map(|(param, group)| size(&param.shape) as f64 * means(group));
    Ok(numbers.sum())
}

/// Tokens of the largest part in which the model sees a step, and of the largest step; parts are whole
/// sequences.
fn part(spec: &Spec, run_schedule: &RunSchedule) -> (usize, usize) {
    let (mut part, mut whole) = (1, 1);
    each(spec, run_schedule, &mut |next| {
        let step = next.tokens() as usize;
        let micro = spec.micro.map_or(step, |tokens| tokens as usize);
        part = part.max(step.min((micro / next.length).max(1) * next.length));
        whole = whole.max(step);
    });
    (part, whole)
}

/// Tokens that run through the model at a time, at most.
pub fn rows(spec: &Spec, run_schedule: &RunSchedule) -> usize {
    part(spec, run_schedule).0
}

/// Calls `see` with every step of a run; with the first one of a run whose steps are all alike, as those of a run of given
/// time are.
fn each(spec: &Spec, run_schedule: &RunSchedule, see: &mut dyn FnMut(&StepPlan)) {
    let mut walk = run_schedule.clone();
    while let Some(next) = walk.next(0.0) {
        see(&next);
        if matches!(spec.shaping.length, Amount::Time(_)) || spec.shaping.even() {
            break;
        }
    }
}

/// Tokens of the smallest step.
pub fn smallest(spec: &Spec, run_schedule: &RunSchedule) -> usize {
    let mut smallest = usize::MAX;
    each(spec, run_schedule, &mut |next| smallest = smallest.min(next.tokens() as usize));
    smallest
}

/// Tokens of the longest sequences.
pub fn longest(spec: &Spec, run_schedule: &RunSchedule) -> usize {
    let mut longest = 1;
    each(spec, run_schedule, &mut |next| longest = longest.max(next.length));
    longest
}

/// Known mistakes that a spec may well make on purpose.
pub fn advice(spec: &Spec, model: &Model, run_schedule: &RunSchedule) -> Vec<String> {
    let mut advice = Vec::new();
    let shaping = &spec.shaping;
    let truncates = matches!(shaping.lengths, Lengths::Growing { cut: Cut::Truncate, .. });
    let varies = shaping.batch.ramp.is_some()
        || truncates
        || shaping.phases.iter().any(|phase| phase.batch.is_some());
    let in_steps = |amount: Amount| matches!(amount, Amount::Steps(x) if x > 0.0);
    let decays = match shaping.schedule.shape {
        crate::schedule::Shape::Wsd { decay, .. } => in_steps(decay),
        _ => false,
    };
    if varies && (in_steps(shaping.length) || decays) {
        advice.push(
            "steps have different numbers of tokens, and the run or its decay is measured in steps: measure it in tokens".into(),
        );
    }
    if spec.auto_warmup {
        let (warmup, [size, architecture]) = crate::schedule::warmup::auto(model);
        advice.push(format!("`warmup: auto` is {warmup}; {size}; {architecture}"));
    }
    let layers = unnormalised(model);
    if let Some(first) = layers.first() {
        let others = layers.len() - 1;
        let others = if others > 0 { format!(" and {others} layers more") } else { String::new() };
        advice.push(format!(
            "the keys of `{first}`{others} are not normalised, and states are written along them again and again: such a state grows without bound (try `k = l2norm(…)`)"
        ));
    }
    let vanished = if shaping.even() { None } else { vanishing(run_schedule) };
    if let Some(length) = vanished {
        advice.push(format!(
            "sequences of {length} tokens do not occur in the last eighth of the run: what only they teach may fade"
        ));
    }
    if let Some(count) = clustered(model) {
        advice.push(format!(
            "{count} layers of attention stand side by side among others: hybrids do better with them spread out"
        ));
    }
    advice
}

/// A length that occurs, but no more towards the end.
fn vanishing(run_schedule: &RunSchedule) -> Option<usize> {
    let steps = run_schedule.whole().steps;
    if !steps.is_finite() {
        return None;
    }
    let mut walk = run_schedule.clone();
    let (mut early, mut late) = (std::collections::BTreeMap::new(), Vec::new());
    while let Some(next) = walk.next(0.0) {
        if (next.step as f64) < steps * 0.875 {
            *early.entry(next.length).or_insert(0_u64) += 1;
        } else {
            late.push(next.length);
        }
    }
    // The last eighth of a short run says nothing: it has no room for every length.
    if late.len() < early.len() {
        return None;
    }
    let much = |n: &u64| *n as f64 > 0.05 * steps;
    early
        .into_iter()
        .find(|(length, n)| much(n) && !late.contains(length))
        .map(|(length, _)| length)
}

/// Layers with a delta rule (what is written depends on what is read) whose keys have any length.
fn unnormalised(model: &Model) -> Vec<String> {
    let graph = &model.graph;
    // What bounds a vector: roots of norms, sums of sizes, functions that end somewhere.
    let bounded = |program: &Program| {
        program.nodes.iter().any(|node| match &node.op {
            Op::Unary(f) => {
                matches!(f, Unary::Sqrt | Unary::Pow(_) | Unary::Abs | Unary::Sigmoid | Unary::Tanh)
            }
            Op::LogSumExp(_) => true,
            _ => false,
        })
    };
    let mut found = Vec::new();
    for node in graph.nodes.node_weights() {
        let Kind::Recur(recur) = &node.kind else { continue };
        let Ok(normal) = normal::extract(&recur.recurrence) else { continue };
        let writes = normal.states.iter().flat_map(|s| &s.updates).flat_map(|u| &u.writes);
        let delta = writes.into_iter().any(|write| !write.reads.is_empty());
        let key = recur.recurrence.inputs.iter().position(|slot| slot.name == "k");
        let Some(key) = key.filter(|_| delta && !bounded(&normal.program)) else { continue };
        let maker = &graph.nodes[graph.value(node.inputs[key]).from];
        if !matches!(&maker.kind, Kind::Rows(program) if bounded(program)) {
            found.push(node.layer().to_string());
        }
    }
    found.dedup();
    found
}

/// How many layers of attention stand together in a model that has more of other layers.
fn clustered(model: &Model) -> Option<usize> {
    let mut layers: Vec<(&str, bool)> = Vec::new();
    for node in model.graph.nodes.node_weights() {
        if let Kind::Recur(recur) = &node.kind
            && layers.last().is_none_or(|(last, _)| *last != node.layer())
        {
            layers.push((node.layer(), recur.recurrence.states.is_empty()));
        }
    }
    let attention = layers.iter().filter(|(_, past)| *past).count();
    if 2 * attention > layers.len() {
        return None;
    }
    let runs = layers.split(|(_, past)| !past).map(<[_]>::len);
    runs.max().filter(|longest| *longest > 1)
}
