//! `report.html`: one self-contained page with the curves of a run.

use std::fmt::Write;
use std::path::Path;

use super::record;
use crate::atomic;
use crate::error::Failure;
use crate::plot::{COLOURS, Chart, Curve, HEAD, escape};

/// Writes the report of a run's folder from what it holds.
pub fn write(folder: &Path) -> Result<(), Failure> {
    let record::Written { lines, evals, layers, events } = record::read(folder)?;
    let name = folder.file_name().map_or("run".into(), |n| n.to_string_lossy().into_owned());
    let step = |pick: fn(&record::Line) -> f64| -> Vec<(f64, f64)> {
        lines.iter().map(|line| (line.tokens as f64, pick(line))).collect()
    };
    let metric = |metric: &str| -> Vec<(f64, f64)> {
        let all = evals.iter().flat_map(|e| e.eval.values().map(|m| (e.tokens as f64, m)));
        all.filter_map(|(tokens, m)| m.get(metric).map(|x| (tokens, *x))).collect()
    };
    let loss = step(|l| l.loss);
    let mut page = String::from(HEAD);
    let _ = write!(page, "<h1>{}</h1>", escape(&name));
    summary(&mut page, folder);
    let smooth = smoothed(&loss);
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
    measures(&mut page, &layers);
    if !events.is_empty() {
        page.push_str("<h2>Events</h2><table>");
        for record::Happened { step, event, .. } in &events {
            let (what, did) = (escape(&event.what), escape(&event.did));
            let _ = write!(page, "<tr><td>step {step}</td><td>{what}</td><td>{did}</td></tr>");
        }
        page.push_str("</table>");
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
    for (task, metrics) in &summary.eval {
        let all: Vec<String> = metrics.iter().map(|(n, x)| format!("{n} {x:.4}")).collect();
        rows.push(("unseen", format!("{task}: {}", all.join(", "))));
    }
    page.push_str("<table>");
    for (name, value) in rows {
        let _ = write!(page, "<tr><td>{name}</td><td>{}</td></tr>", escape(&value));
    }
    page.push_str("</table>");
}

/// A chart of each measure with a curve per layer.
fn measures(page: &mut String, layers: &[record::Layers]) {
    const TITLES: [(&str, &str); 7] = [
        ("output", "Size of the residual stream behind each layer"),
        ("gradient", "Norm of the gradient of each layer's parameters"),
        ("state", "Largest norm of a state"),
        ("state_rank", "Directions that carry a state (participation ratio)"),
        ("q", "Largest norm of a query"),
        ("k", "Largest norm of a key"),
        ("entropy", "Entropy of attention (order 2, nats)"),
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

/// An exponential mean over about fifty points.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut mean = None;
    points
        .iter()
        .map(|&(x, y)| {
            let now = mean.map_or(y, |m: f64| 0.96 * m + 0.04 * y);
            mean = Some(now);
            (x, now)
        })
        .collect()
}
