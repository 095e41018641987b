//! What the training of a model has kernels for, and how many it starts.

use lrc_compiler::graph::{Node, Prepared, kernels, order};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Pass, Schedule};
use lrc_dsl::Diag;

use super::launches::launches;

/// What is planned for the training of a model.
#[derive(Debug)]
pub struct Plans {
    /// The schedules, each once.
    pub schedules: Vec<Schedule>,
    /// The whole step as a text: see [`order::text`].
    pub order: String,
    /// What has none.
    pub lacking: Vec<Diag>,
    /// Kernels and dense products that a step of one sequence and one part starts, with its update;
    /// nothing where something has no kernels.
    pub launches: Option<usize>,
}

/// The plans of a model's kernels for training on a kind of GPU.
pub fn plans(prepared: &Prepared, gpu: Gpu) -> Plans {
    let planned = kernels::plan(prepared, gpu);
    let order = order::text(prepared, &planned, gpu);
    let kernels::Planned { pointwise, of_node, recurrences, of_recurrence, lacking } = planned;
    let nodes: Vec<&Node> = prepared.model.graph.nodes.node_weights().collect();
    // What decays, and what does not.
    let params = &prepared.model.graph.params;
    let decays = |wanted: bool| params.iter().any(|param| param.decay == wanted);
    let groups = usize::from(decays(true)) + usize::from(decays(false));
    let of_rows = |at: usize| of_node.get(&at).map(|found| &pointwise[*found]);
    let of_pass = |at: usize, pass: Pass| {
        let mut own = of_recurrence.get(&at)?.iter().map(|found| &recurrences[*found]);
        own.find(|schedule| schedule.pass == pass)
    };
    let losses = prepared.model.losses.len();
    let all = lacking.is_empty();
    let launches = all.then(|| launches(&nodes, [groups, losses], of_rows, of_pass)).flatten();
    let schedules = pointwise.into_iter().chain(recurrences).collect();
    Plans { schedules, order, lacking, launches }
}
