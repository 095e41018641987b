//! `report.html`: one self-contained page with the curves of a run.

use std::fmt::Write;
use std::path::Path;

use super::record;
use super::record::Lineage;
use crate::ground::atomic;
use crate::ground::error::Failure;
use crate::report::plot::{COLOURS, Chart, Curve, HEAD, escape, table};

/// Writes the report of a run's folder from what it holds.
pub fn write(folder: &Path) -> Result<(), Failure> {
    let record::Written { lines, evals, layers, events } = record::read(folder)?;
    let name = folder.file_name().map_or("run".into(), |n| n.to_string_lossy().into_owned());
    let step = |pick: fn(&record::Line) -> f64| -> Vec<(f64, f64)> {
        lines.iter().map(|line| (line.tokens as f64, pick(line))).collect()
    };
    let metric = |metric: &str| -> Vec<(f64, f64)> {
        let first = evals.iter().filter_map(|e| Some((e.tokens as f64, e.eval.values().next()?)));
        first.filter_map(|(tokens, m)| m.get(metric).map(|x| (tokens, *x))).collect()
    };
    let loss = step(|l| l.loss);
    let mut page = String::from(HEAD);
    let _ = write!(page, "<h1>{}</h1>", escape(&name));
    summary(&mut page, folder);
    // Over a tenth of a short run.
    let smooth = smoothed(&loss, (loss.len() as f64 / 10.0).min(50.0));
    let curves = [
        Curve::line("training loss", "#9db4d6", loss),
        Curve::line("smoothed", "#1f4e9c", smooth),
        Curve::line("unseen", "#c0392b", metric("loss")),
    ];
    chart(&mut page, "Loss (nats)", &curves);
    let accuracy = [
        Curve::line("in the batch", "#b9d8bf", step(|l| l.accuracy)),
        Curve::line("unseen", "#1e7d3c", metric("accuracy")),
    ];
    chart(&mut page, "Accuracy", &accuracy);
    chart(
        &mut page,
        "Gradient norm",
        &[Curve::line("before clipping", "#8e5aa8", step(|l| l.grad_norm))],
    );
    chart(&mut page, "Learning rate", &[Curve::line("rate", "#b07d2b", step(|l| l.lr))]);
    timeline(&mut page, &lines);
    others(&mut page, &evals);
    measures(&mut page, &layers);
    if !events.is_empty() {
        page.push_str("<h2>Events</h2>");
        let heads = ["step", "what", "what was done"].map(String::from).to_vec();
        let rows = events.iter().map(|record::Happened { step, event, .. }| {
            vec![step.to_string(), event.what.clone(), event.did.clone()]
        });
        page.push_str(&table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>()));
    }
    page.push_str("</body></html>\n");
    atomic::write(&folder.join("report.html"), page.as_bytes())
}

fn summary(page: &mut String, folder: &Path) {
    let Ok(text) = std::fs::read_to_string(folder.join("summary.json")) else { return };
    let Ok(summary) = serde_json::from_str::<record::Summary>(&text) else { return };
    let mut rows = vec![
        ("steps", summary.steps.to_string()),
        ("tokens", summary.tokens.to_string()),
        ("seconds", format!("{:.1}", summary.seconds)),
        ("tokens per second", format!("{:.0}", summary.tokens_per_second)),
        ("device, seed", format!("{}, {}", summary.device, summary.seed)),
    ];
    if let Some(loss) = summary.final_loss {
        rows.push(("final loss", format!("{loss:.4}")));
    }
    rows.push(("GFLOP/s of the model", format!("{:.1}", summary.model_flops_per_second / 1e9)));
    if let Some(share) = summary.utilisation {
        rows.push(("MFU", format!("{:.0} % of what dense products reach here", 100.0 * share)));
    }
    for Lineage { run, step, .. } in &summary.lineage {
        rows.push(("branched off", format!("{run}, step {step}")));
    }
    page.push_str("<table>");
    for (name, value) in rows {
        let _ = write!(page, "<tr><td>{name}</td><td>{}</td></tr>", escape(&value));
    }
    page.push_str("</table>");
    let mut names: Vec<&String> = summary.eval.values().flat_map(|m| m.keys()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return;
    }
    let heads = names.iter().map(|name| name.replace('_', " "));
    let mut rows: Vec<Vec<String>> =
        vec![std::iter::once("unseen".to_string()).chain(heads).collect()];
    for (set, metrics) in &summary.eval {
        let cell = |name: &&String| metrics.get(*name).map_or(String::new(), |x| format!("{x:.4}"));
        rows.push(std::iter::once(set.clone()).chain(names.iter().map(cell)).collect());
    }
    page.push_str(&table(&rows));
}

/// Parts of a run in its timeline.
const PARTS: usize = 80;

/// The curriculum as it was: shares of the lengths of sequences over the run, or their mean.
fn timeline(page: &mut String, lines: &[record::Line]) {
    let mut lengths: Vec<usize> = lines.iter().map(|line| line.seq_len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.len() < 2 {
        return;
    }
    let parts: Vec<&[record::Line]> = lines.chunks(lines.len().div_ceil(PARTS)).collect();
    let over = |name: &str, at: usize, pick: &dyn Fn(&record::Line) -> f64| {
        let mean = |part: &&[record::Line]| {
            let sum: f64 = part.iter().map(pick).sum();
            (part[0].tokens as f64, sum / part.len() as f64)
        };
        Curve::line(name, COLOURS[at % COLOURS.len()], parts.iter().map(mean).collect())
    };
    if lengths.len() > COLOURS.len() {
        let mean = over("tokens", 0, &|line| line.seq_len as f64);
        return chart(page, "Mean length of a sequence", &[mean]);
    }
    let shares: Vec<Curve> = lengths
        .iter()
        .enumerate()
        .map(|(at, length)| {
            over(&format!("{length} tokens"), at, &|line| f64::from(line.seq_len == *length))
        })
        .collect();
    chart(page, "Share of steps by length of their sequences", &shares);
}

/// Accuracy on sets besides the first, such as other lengths and levels.
fn others(page: &mut String, evals: &[record::Eval]) {
    let Some(last) = evals.last().filter(|eval| eval.eval.len() > 1) else { return };
    for metric in ["loss", "accuracy"] {
        let curves: Vec<Curve> = last
            .eval
            .keys()
            .enumerate()
            .map(|(at, set)| {
                let found = |eval: &record::Eval| {
                    Some((eval.tokens as f64, *eval.eval.get(set)?.get(metric)?))
                };
                let mut curve = Curve::line(
                    set,
                    COLOURS[at % COLOURS.len()],
                    evals.iter().filter_map(found).collect(),
                );
                curve.dashed = at >= COLOURS.len();
                curve
            })
            .collect();
        chart(page, &format!("Unseen, set by set: {metric}"), &curves);
    }
}

/// A chart of each measure with a curve per layer.
fn measures(page: &mut String, layers: &[record::Layers]) {
    const TITLES: [(&str, &str); 8] = [
        ("output", "Size of the residual stream behind each layer"),
        ("gradient", "Norm of the gradient of each layer's parameters"),
        ("state", "Largest norm of a state"),
        ("state_rank", "Directions that carry a state (participation ratio)"),
        ("q", "Largest norm of a query"),
        ("k", "Largest norm of a key"),
        ("entropy", "Entropy of attention (order 2, nats)"),
        (
            "noise_scale",
            "Gradient noise scale: the batch, in asked tokens, beyond which more help little",
        ),
    ];
    for (measure, title) in TITLES {
        let mut names: Vec<&String> = layers
            .iter()
            .flat_map(|at| &at.layers)
            .filter(|(_, found)| found.contains_key(measure))
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names.dedup();
        let curves: Vec<Curve> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let points = layers.iter().filter_map(|here| {
                    Some((here.tokens as f64, *here.layers.get(*name)?.get(measure)?))
                });
                Curve::line(name, COLOURS[at % COLOURS.len()], points.collect())
            })
            .collect();
        chart(page, title, &curves);
    }
}

fn chart(page: &mut String, title: &str, curves: &[Curve]) {
    page.push_str(&Chart { title, unit: "tokens", curves }.html());
}

/// An exponential mean over about `over` points.
pub fn smoothed(points: &[(f64, f64)], over: f64) -> Vec<(f64, f64)> {
    let mut mean = None;
    let new = 2.0 / (over.max(1.0) + 1.0);
    points
        .iter()
        .map(|&(x, y)| {
            // What is no number leaves the mean alone.
            let y = if y.is_finite() { y } else { mean.unwrap_or(y) };
            let now = mean.map_or(y, |m: f64| (1.0 - new) * m + new * y);
            mean = Some(now);
            (x, now)
        })
        .collect()
}
