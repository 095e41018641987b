//! `warmup: auto`: two rules of the sources, which disagree. Both are shown, one is used.

use lrc_compiler::graph::account::account;
use lrc_compiler::graph::{Kind, Model};

use super::Amount;

/// From this many parameters on, the number of steps by size is used; the table begins there.
const TABLE: usize = 100_000_000;

/// The warmup of a model, and what both rules say.
pub fn auto(model: &Model) -> (Amount, [String; 2]) {
    let parameters = account(model).parameters;
    let steps = match parameters {
        ..500_000_000 => 750.0,
        500_000_000..2_400_000_000 => 2500.0,
        _ => 4000.0,
    };
    let share = match attention(model) {
        [0, _] => 0.005,
        [attention, others] if others > 0 && attention > 0 => 0.025,
        _ => 0.065,
    };
    let said = [
        format!("by size ({:.0}M parameters): {steps} steps", parameters as f64 / 1e6),
        format!(
            "by architecture: {:.1} % of the run (0.5 without attention, 2 to 3 for hybrids, 5 to 8 for attention alone)",
            100.0 * share
        ),
    ];
    if parameters < TABLE { (Amount::Share(share), said) } else { (Amount::Steps(steps), said) }
}

/// Recurrences that attend to the past, and the others.
fn attention(model: &Model) -> [usize; 2] {
    let mut counts = [0; 2];
    for node in model.graph.nodes.node_weights() {
        if let Kind::Recur(recur) = &node.kind {
            counts[usize::from(!recur.recurrence.states.is_empty())] += 1;
        }
    }
    counts
}
