//! What a model costs, read off its graph: parameters, states, operations.

use std::collections::BTreeMap;

use super::{Kind, Model, Node, Prepared, Recur};
use crate::block::tokens_of;
use crate::chunk::attention::{Range, SAMPLES};
use crate::chunk::derive;
use crate::compile::Chosen;
use crate::elaborate::Recurrence;
use crate::normal::{self, Normal};
use crate::tile::size;

/// Sizes and costs of a model.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Learned numbers; a tied head counts once.
    pub parameters: usize,
    /// Learned numbers by group: `embedding`, `head`, and each kind of sub-layer.
    pub groups: BTreeMap<String, usize>,
    /// For each recurrence its place, its state's numbers, and its nominal operations per token at
    /// sequence length 1 without attention (see [`Cost`]).
    pub recurrences: Vec<(String, Cost)>,
    /// Operations of dense products per token, forward; a multiply-add is two.
    pub dense_flops: usize,
}

/// What one recurrence costs per token, all heads together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Numbers of its states.
    pub state: usize,
    /// Operations that do not grow with the sequence.
    pub flops: usize,
    /// What the chunk form executes instead, at the chunk length that it takes: products inside a
    /// chunk are squares of which half is masked. The same number where there is no chunk form.
    pub executed: usize,
    /// Operations per token of the past that is read (causal attention: half the length on average).
    pub flops_per_past: usize,
    /// Numbers kept per token of the past: a cache.
    pub cache_per_past: usize,
    /// Tokens of the past that a token reads at most, itself included; nothing where it reads all.
    pub window: Option<usize>,
}

impl Cost {
    /// Tokens of the past that are kept at a length.
    fn kept(&self, length: usize) -> usize {
        self.window.map_or(length, |window| window.min(length))
    }

    /// Numbers of its states and its cache, of one sequence at a length.
    pub fn state_at(&self, length: usize) -> usize {
        self.state.saturating_add(self.cache_per_past.saturating_mul(self.kept(length)))
    }

    /// Operations on the past, for a token on average: as many tokens as stand before it, as far as
    /// the window reaches.
    pub fn past_flops(&self, length: usize) -> usize {
        let (kept, length) = (self.kept(length) as u128, (length.max(1)) as u128);
        let twice = kept * (2 * length - kept) / length;
        let flops = (self.flops_per_past as u128).saturating_mul(twice) / 2;
        usize::try_from(flops).unwrap_or(usize::MAX)
    }
}

/// How many tokens a recurrence's sums over the past read at most, if there is a bound.
fn window(r: &Recurrence) -> Option<usize> {
    let range = Range::of(r).ok()?;
    let reads = |t: usize| t - range.at(t).0 + 1;
    if let Some(lag) = range.low.lag() {
        return usize::try_from(lag).ok()?.checked_add(1);
    }
    // Sampled as where the range is declared; what still grows there has no bound.
    let most = (0..SAMPLES as usize).map(reads).max()?;
    (most <= SAMPLES as usize / 2).then_some(most)
}

/// What one head of a recurrence costs by itself.
pub fn alone(r: &Recurrence) -> Cost {
    cost(&Recur {
        recurrence: r.clone(),
        heads: 1,
        sum: 1,
        input_heads: vec![1; r.inputs.len()],
        param_heads: vec![1; r.params.len()],
        chosen: Chosen::default(),
    })
}

/// Nominal operations as papers count them (math.md, section 6): `2 K V` for each state read, write
/// and low-rank read, and one more for what happens inside a chunk.
pub fn cost(recur: &Recur) -> Cost {
    let r = &recur.recurrence;
    let state = r.state_size() * recur.heads;
    if r.states.is_empty() {
        let width: usize = r.inputs.iter().skip(1).map(|slot| size(&slot.shape)).sum();
        let cache = r.inputs.iter().zip(&recur.input_heads).skip(1);
        let cache_per_past = cache.map(|(slot, heads)| size(&slot.shape) * heads).sum();
        let flops_per_past = 2 * width * recur.heads;
        let window = window(r);
        return Cost { state, flops_per_past, cache_per_past, window, ..Cost::default() };
    }
    let normal = normal::extract(r);
    // Vectors are updated entry by entry, without a chunk.
    let matrices = |normal: &&Normal| normal.states.iter().any(|state| state.v > 1);
    let chunk = normal.as_ref().ok().filter(matrices).and_then(|normal| {
        let tokens = tokens_of(normal);
        derive(r, normal, tokens, false).ok()
    });
    let flops = match &normal {
        Ok(normal) => normal
            .states
            .iter()
            .map(|form| {
                let writes: usize = form.updates.iter().map(|u| u.writes.len()).sum();
                let low: usize =
                    form.updates.iter().flat_map(|u| &u.writes).map(|w| w.reads.len()).sum();
                2 * form.k * form.v * (writes + low + 2)
            })
            .sum::<usize>(),
        // Outside the normal form: every operation of the token counts.
        Err(_) => r.token.nodes.iter().map(|node| size(&node.shape)).sum(),
    };
    let executed = chunk.map_or(flops, |chunk| chunk.flops() / chunk.tokens) * recur.heads;
    Cost { state, flops: flops * recur.heads, executed, ..Cost::default() }
}

/// The group of a parameter: its sub-layer's mixer, or the first part of its name.
fn group(name: &str) -> String {
    let mut parts = name.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("layers"), Some(_), Some(mixer)) => mixer.to_string(),
        (Some("shared"), Some(block), _) => format!("shared {block}"),
        (Some(first), _, _) => first.to_string(),
        _ => name.to_string(),
    }
}

/// Measures a model.
pub fn account(model: &Model) -> Account {
    let mut account = Account::default();
    for param in &model.graph.params {
        let count = size(&param.shape);
        account.parameters += count;
        *account.groups.entry(group(&param.name)).or_default() += count;
    }
    for index in model.graph.nodes.node_indices().take(model.graph.forward) {
        let node = &model.graph.nodes[index];
        match &node.kind {
            Kind::Dense { .. } | Kind::Expert => account.dense_flops += product(model, node),
            Kind::LongConv => {
                let width = model.graph.value(node.outputs[0]).width();
                account.recurrences.push((node.label.clone(), long_conv(width)));
            }
            Kind::Recur(recur) => account.recurrences.push((node.label.clone(), cost(recur))),
            _ => {}
        }
    }
    account.dense_flops += head(model);
    account
}

/// Operations of the product with the head, per token.
fn head(model: &Model) -> usize {
    2 * size(&model.graph.params[model.head.0].shape)
}

/// As the sum that it is, not as the transforms that compute it.
fn long_conv(width: usize) -> Cost {
    Cost { flops_per_past: 2 * width, cache_per_past: 2 * width, ..Cost::default() }
}

/// Operations per token of a product, or of one of its gradients.
fn product(model: &Model, node: &Node) -> usize {
    let Some(weight) = node.params.first().or(node.gives.first()) else { return 0 };
    let shape = &model.graph.params[weight.0].shape;
    match &node.kind {
        // The numbers of experts, one for each slot, come last.
        Kind::Expert | Kind::ExpertGradInput | Kind::ExpertGradWeight => {
            let slots = node.inputs.last().map_or(1, |ids| model.graph.value(*ids).width());
            2 * slots * size(&shape[1..])
        }
        _ => 2 * size(shape),
    }
}

/// What the backward pass of a prepared model costs, without what is computed again: as much as the forward pass for each
/// gradient of a product, and twice as much for a recurrence. What is frozen has no gradient.
pub fn backward(prepared: &Prepared) -> Account {
    let model = &prepared.model;
    let mut account = Account::default();
    for node in model.graph.nodes.node_weights().skip(model.graph.forward) {
        match &node.kind {
            Kind::DenseGradInput { .. }
            | Kind::DenseGradWeight { .. }
            | Kind::ExpertGradInput
            | Kind::ExpertGradWeight => account.dense_flops += product(model, node),
            Kind::Loss => account.dense_flops += head(model) * (1 + node.gives.len()),
            Kind::RecurGrad { of, .. } => {
                if let Kind::Recur(recur) = &model.graph.nodes[*of].kind {
                    let cost = cost(recur);
                    account
                        .recurrences
                        .extend([(node.label.clone(), cost), (node.label.clone(), cost)]);
                }
            }
            Kind::LongConvGrad => {
                let cost = long_conv(model.graph.value(node.outputs[0]).width());
                account
                    .recurrences
                    .extend([(node.label.clone(), cost), (node.label.clone(), cost)]);
            }
            _ => {}
        }
    }
    account
}

impl Account {
    /// Operations per token, forward, at a sequence length.
    pub fn flops_per_token(&self, length: usize) -> usize {
        let all =
            self.recurrences.iter().map(|(_, c)| c.flops.saturating_add(c.past_flops(length)));
        all.fold(self.dense_flops, usize::saturating_add)
    }

    /// The same as executed.
    pub fn executed_per_token(&self, length: usize) -> usize {
        let all =
            self.recurrences.iter().map(|(_, c)| c.executed.saturating_add(c.past_flops(length)));
        all.fold(self.dense_flops, usize::saturating_add)
    }

    /// Numbers of all states of one sequence, caches at a length included.
    pub fn state(&self, length: usize) -> usize {
        self.recurrences.iter().map(|(_, c)| c.state_at(length)).fold(0, usize::saturating_add)
    }
}
