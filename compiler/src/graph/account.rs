//! What a model costs, read off its graph: parameters, states, operations.

use std::collections::BTreeMap;

use super::{Kind, Model, Recur};
use crate::chunk::derive;
use crate::form::chunk_tokens;
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
        return Cost { state, flops_per_past, cache_per_past, ..Cost::default() };
    }
    let normal = normal::extract(r);
    // Vectors are updated entry by entry, without a chunk.
    let matrices = |normal: &&Normal| normal.states.iter().any(|state| state.v > 1);
    let chunk = normal.as_ref().ok().filter(matrices).and_then(|normal| {
        let tokens = chunk_tokens(normal, None);
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
    Cost { state, flops: flops * recur.heads, executed, flops_per_past: 0, cache_per_past: 0 }
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
            Kind::Dense { .. } => {
                account.dense_flops += 2 * size(&model.graph.params[node.params[0].0].shape);
            }
            // As the sum that it is, not as the transforms that compute it.
            Kind::LongConv => {
                let width = model.graph.value(node.outputs[0]).width();
                let (flops_per_past, cache_per_past) = (2 * width, 2 * width);
                let cost = Cost { flops_per_past, cache_per_past, ..Cost::default() };
                account.recurrences.push((node.label.clone(), cost));
            }
            Kind::Expert => {
                let shape = &model.graph.params[node.params[0].0].shape;
                let slots = model.graph.value(node.inputs[1]).width();
                account.dense_flops += 2 * slots * size(&shape[1..]);
            }
            Kind::Recur(recur) => account.recurrences.push((node.label.clone(), cost(recur))),
            _ => {}
        }
    }
    account.dense_flops += 2 * size(&model.graph.params[model.head.0].shape);
    account
}

impl Account {
    /// Operations per token, forward, at a sequence length.
    pub fn flops_per_token(&self, length: usize) -> usize {
        let past = length / 2;
        let own: usize =
            self.recurrences.iter().map(|(_, cost)| cost.flops + cost.flops_per_past * past).sum();
        self.dense_flops + own
    }

    /// The same as executed.
    pub fn executed_per_token(&self, length: usize) -> usize {
        let own: usize = self.recurrences.iter().map(|(_, c)| c.executed).sum::<usize>();
        let nominal: usize = self.recurrences.iter().map(|(_, c)| c.flops).sum();
        self.flops_per_token(length) - nominal + own
    }

    /// Numbers of all states of one sequence, caches at a length included.
    pub fn state(&self, length: usize) -> usize {
        self.recurrences.iter().map(|(_, c)| c.state + c.cache_per_past * length).sum()
    }
}
