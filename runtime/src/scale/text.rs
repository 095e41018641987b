//! Plans for people and programs, and what they assume.

use serde_json::{Value, json};

use super::fabric::{Fabric, HOP, REACHED};
use super::memory::BUCKET;
use super::traffic::Sent;
use super::{Job, Plan};
use crate::report::plot;

/// How the seconds of one GPU are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timed {
    /// From the kernels of the model, counted.
    Counted,
    /// As this share of the peak.
    Share(f64),
}

/// Gigabytes, as memory and links are sold.
const GB: f64 = 1e9;

/// Plans as a table, one line each; what does not fit says so.
pub fn table(plans: &[Plan], fabric: &Fabric) -> String {
    let heads = [
        "GPUs",
        "ZeRO",
        "sequences",
        "parts",
        "model GB",
        "all GB",
        "sent GB",
        "computes s",
        "sends s",
        "step s",
        "apart s",
        "tokens/s",
        "peak %",
        "hours",
        "GPU hours",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    for plan in plans {
        let sent = all(plan);
        let all = plan.memory.all() / GB;
        let full = if plan.memory.all() > fabric.memory { " (too much)" } else { "" };
        let hours =
            |at: usize| plan.hours.map_or("–".into(), |hours| format!("{:.4}", Short(hours[at])));
        rows.push(vec![
            plan.layout.gpus.to_string(),
            (plan.layout.zero as usize).to_string(),
            plan.local.batch.to_string(),
            plan.local.parts.to_string(),
            format!("{:.2}", plan.memory.held.all() / GB),
            format!("{all:.2}{full}"),
            format!("{:.3}", sent.bytes / GB),
            format!("{:.4}", Short(plan.computed.passes + plan.computed.update)),
            format!("{:.4}", Short(sent.seconds)),
            format!("{:.4}", Short(plan.seconds)),
            format!("{:.4}", Short(plan.apart)),
            format!("{:.4}", Short(plan.speed)),
            format!("{:.1}", 100.0 * plan.utilisation),
            hours(0),
            hours(1),
        ]);
    }
    plot::aligned(&rows)
}

/// A number in as many digits as a format's precision says.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(4) as i32;
        let before = if self.0 > 0.0 { self.0.log10().floor() as i32 + 1 } else { 1 };
        let after = (digits - before).clamp(0, 9) as usize;
        write!(f, "{:.after$}", self.0)
    }
}

/// Everything that a GPU sends in a step.
fn all(plan: &Plan) -> Sent {
    let each = [plan.traffic.reduce, plan.traffic.gather, plan.traffic.sequence];
    Sent {
        bytes: each.iter().map(|sent| sent.bytes).sum(),
        seconds: each.iter().map(|sent| sent.seconds).sum(),
    }
}

/// What the numbers rest on, and what they leave out.
pub fn assumptions(fabric: &Fabric, per_node: usize, timed: Timed) -> Vec<String> {
    let computed = match timed {
        Timed::Counted => "A GPU computes as `lrc profile` models it (counted kernels; a library's products at a share of the peak): expect totals to be off by a third.".to_string(),
        Timed::Share(share) => format!(
            "A GPU computes the published operations of its tokens (forward three times) at {}% of {:.0} TFLOP/s, whatever its part of the work is; the update is in that share.",
            100.0 * share,
            fabric.hardware.peak / 1e12
        ),
    };
    vec![
        format!("{}: {}.", fabric.hardware.name, fabric.source),
        computed,
        format!(
            "Nodes of {per_node} GPUs. Collectives reach {}% of what links carry in one direction, {:.0} GB/s within a node and {:.0} GB/s between nodes, all GPUs at once, as if switches never stood in the way; a hop takes {:.0} µs within and {:.0} µs between nodes (assumed, not stated by anybody).",
            100.0 * REACHED,
            REACHED * fabric.within / GB,
            REACHED * fabric.between / GB,
            HOP[0] * 1e6,
            HOP[1] * 1e6
        ),
        "Gradients are reduced in f32, beside the backward pass of the part that they are reduced with (`step s`); `apart s` is a step that does nothing beside anything. Parameters are gathered after the update, beside nothing.".into(),
        format!(
            "ZeRO 1 shares what the optimiser remembers with the master weights, ZeRO 2 gradients too, which are then reduced part by part in buckets of {:.0} MB (each part sends them).",
            BUCKET / 1e6
        ),
        "GPUs that share sequences send a summary of each segment (the state, and a transition counted as large as the state) and gather keys and values of attention, forward and backward.".into(),
        "Memory: what the model's graph holds. Not modelled: states that recurrences keep for their backward pass, workspaces of libraries, the runtime's own memory, fragments.".into(),
        "Not modelled: reading data, evaluation, checkpoints, failures and restarts, slow GPUs and links that others use, tensor and pipeline parallelism, ZeRO 3.".into(),
    ]
}

/// A plan for programs.
pub fn document(
    job: &Job,
    plans: &[Plan],
    fabric: &Fabric,
    per_node: usize,
    timed: Timed,
) -> Value {
    let sent = |sent: &Sent| json!({"bytes": sent.bytes, "seconds": sent.seconds});
    let one = |plan: &Plan| {
        json!({
            "gpus": plan.layout.gpus, "zero": plan.layout.zero as usize, "sequence_parallel": plan.layout.shared,
            "batch": plan.local.batch, "length": plan.local.length, "parts": plan.local.parts,
            "memory": {
                "parameters": plan.memory.held.parameters, "gradients": plan.memory.held.gradients,
                "optimiser": plan.memory.held.optimiser, "sums": plan.memory.sums,
                "activations": plan.memory.activations, "logits": plan.memory.logits,
                "all": plan.memory.all(), "fits": plan.memory.all() <= fabric.memory,
            },
            "reduce": sent(&plan.traffic.reduce), "gather": sent(&plan.traffic.gather),
            "sequence": sent(&plan.traffic.sequence),
            "seconds": {
                "passes": plan.computed.passes, "update": plan.computed.update,
                "step": plan.seconds, "apart": plan.apart,
            },
            "tokens_per_second": plan.speed, "utilisation": plan.utilisation,
            "hours": plan.hours.map(|hours| hours[0]), "gpu_hours": plan.hours.map(|hours| hours[1]),
        })
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"), "modelled": true,
        "hardware": fabric.hardware.name, "per_node": per_node,
        "step": {"sequences": job.sequences, "length": job.length, "operations_per_token": job.operations, "steps": job.steps},
        "plans": plans.iter().map(one).collect::<Vec<_>>(),
        "assumptions": assumptions(fabric, per_node, timed),
    })
}
