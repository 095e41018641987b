//! `report.html`: one self-contained page with the curves of a run.

use std::fmt::Write;
use std::path::Path;

use super::record;
use crate::atomic;
use crate::error::Failure;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;

/// One curve: its name, its colour, and its points.
struct Curve {
    name: String,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// Writes the report of a run's folder from what it holds.
pub fn write(folder: &Path) -> Result<(), Failure> {
    let (lines, evals) = record::read(folder)?;
    let name = folder.file_name().map_or("run".into(), |n| n.to_string_lossy().into_owned());
    let curve = |name: &str, colour, points| Curve { name: name.into(), colour, points };
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
        curve("training loss", "#9db4d6", loss),
        curve("smoothed", "#1f4e9c", smooth),
        curve("unseen", "#c0392b", metric("loss")),
    ];
    chart(&mut page, "Loss (nats)", &curves);
    let accuracy = [
        curve("in the batch", "#b9d8bf", step(|l| l.accuracy)),
        curve("unseen", "#1e7d3c", metric("accuracy")),
    ];
    chart(&mut page, "Accuracy", &accuracy);
    chart(
        &mut page,
        "Gradient norm",
        &[curve("before clipping", "#8e5aa8", step(|l| l.grad_norm))],
    );
    chart(&mut page, "Learning rate", &[curve("rate", "#b07d2b", step(|l| l.lr))]);
    page.push_str("</body></html>\n");
    atomic::write(&folder.join("report.html"), page.as_bytes())
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>lrc run</title>\
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:720px;margin:32px auto;padding:0 16px;color:#222}\
h1{font-size:22px}h2{font-size:16px;margin:28px 0 4px}table{border-collapse:collapse}\
td{padding:2px 18px 2px 0;vertical-align:top}td:first-child{color:#666}svg{width:100%;height:auto}\
.key{font-size:13px;color:#555}.key span{display:inline-block;width:18px;height:3px;margin:0 6px 3px 14px}\
</style></head><body>";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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

/// At most this many points of a curve are drawn.
const POINTS: usize = 800;

fn chart(page: &mut String, title: &str, curves: &[Curve]) {
    let all = || curves.iter().flat_map(|c| &c.points).filter(|p| p.1.is_finite());
    if all().next().is_none() {
        return;
    }
    let end = all().map(|p| p.0).fold(1.0, f64::max);
    let (low, high) =
        all().fold((0.0_f64, f64::MIN_POSITIVE), |(l, h), p| (l.min(p.1), h.max(p.1)));
    let x = |tokens: f64| LEFT + (WIDTH - LEFT - 8.0) * tokens / end;
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
    let _ = write!(
        page,
        "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    );
    for i in 0..=4 {
        let value = low + (high - low) * f64::from(i) / 4.0;
        let at = y(value);
        let _ = write!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\" fill=\"#666\">{}</text>",
            WIDTH - 8.0,
            LEFT - 6.0,
            at + 4.0,
            number(value)
        );
    }
    for i in 0..=4 {
        let tokens = end * f64::from(i) / 4.0;
        let anchor = if i == 4 { "end" } else { "middle" };
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" font-size=\"11\" text-anchor=\"{anchor}\" fill=\"#666\">{}{}</text>",
            x(tokens),
            HEIGHT - 8.0,
            number(tokens),
            if i == 4 { " tokens" } else { "" }
        );
    }
    for curve in curves {
        let step = curve.points.len().div_ceil(POINTS).max(1);
        let mut path = String::new();
        for (tokens, value) in curve.points.iter().step_by(step).filter(|p| p.1.is_finite()) {
            let _ = write!(path, "{:.1},{:.1} ", x(*tokens), y(*value));
        }
        let _ = write!(
            page,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" points=\"{}\"/>",
            curve.colour,
            path.trim_end()
        );
    }
    page.push_str("</svg><div class=\"key\">");
    for curve in curves.iter().filter(|c| !c.points.is_empty()) {
        let _ = write!(page, "<span style=\"background:{}\"></span>{}", curve.colour, curve.name);
    }
    page.push_str("</div>");
}

fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        a if a >= 1e6 => format!("{:.1}M", x / 1e6),
        a if a >= 1e4 => format!("{:.0}k", x / 1e3),
        a if a < 1e-2 => format!("{x:.1e}"),
        a if a < 10.0 => format!("{x:.2}"),
        _ => format!("{x:.0}"),
    }
}
