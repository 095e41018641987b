//! What `lrc explain` says of a mixer.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::account::cost;
use lrc_compiler::graph::{Graph, Kind, Recur, mixer_alone};
use lrc_compiler::tile::size;
use lrc_dsl::ast::Decl;
use lrc_dsl::{Namespace, Sources};
use lrc_runtime::ground::error::Failure;

use super::explain::explain_recurrence;
use crate::terminal::say;

/// Says what a mixer is made of, and how each of its recurrences is understood at the sizes it has there.
pub fn explain(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    sources: &Sources,
) -> Result<(), Failure> {
    let mut diags = Vec::new();
    let graph = mixer_alone(namespace, decl, given, &mut diags).ok_or(Failure::Invalid(diags))?;
    say!("mixer {}", decl.name.text);
    decl.docs.iter().for_each(|line| say!("  {line}"));
    let parameters: usize = graph.params.iter().map(|param| size(&param.shape)).sum();
    // The first node stands for the input.
    say!("  at width = {}: {parameters} parameters", width(&graph));
    let calls: Vec<(&str, &Recur)> = graph
        .nodes
        .node_weights()
        .filter_map(|node| match &node.kind {
            Kind::Recur(recur) => Some((node.label.as_str(), &**recur)),
            _ => None,
        })
        .collect();
    if calls.is_empty() {
        say!("  it calls no recurrence");
    }
    let own = format!("{}.", decl.name.text);
    for (label, recur) in &calls {
        let cost = cost(recur);
        let keeps = match (cost.state, cost.cache_per_past) {
            (0, each) => format!("a cache of {each} numbers per token"),
            (state, _) => format!("states of {state} numbers"),
        };
        let place = label.strip_prefix(&own).unwrap_or(label);
        say!("  {place}: {} with {} heads, {keeps}", recur.recurrence.name, recur.heads);
    }
    say!("");
    let mut told = Vec::new();
    for (_, recur) in calls {
        let r = &recur.recurrence;
        let key = (&r.name, &r.numbers);
        if !told.contains(&key)
            && let Some(decl) = namespace.get(&r.name)
        {
            told.push(key);
            explain_recurrence(r, decl, sources);
        }
    }
    Ok(())
}

fn width(graph: &Graph) -> usize {
    graph.values.first().map_or(0, |value| value.width())
}
