//! What a search shows: a table for the terminal, a document for programs, a page.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::Study;
use super::importance::{agreement, importance};
use super::journal::{State, StoredTrial};
use super::next::{Chooser, SUPERNET, folder, point};
use super::order::{order, pareto};
use super::space::{Domain, short};
use crate::ground::atomic;
use crate::ground::error::Failure;
use crate::report::plot::{self, COLOURS, Chart, Curve, HEAD, Point, escape};

/// Finished trials with their costs, in order.
fn complete<'t>(study: &Study, trials: &'t [StoredTrial]) -> Vec<(&'t StoredTrial, Vec<f64>)> {
    let costs = |trial: &StoredTrial| {
        let values = trial.values.as_ref().filter(|_| trial.state == State::Complete)?;
        Some(study.objectives.iter().zip(values).map(|(o, x)| o.cost(*x)).collect())
    };
    trials.iter().filter_map(|trial| Some((trial, costs(trial)?))).collect()
}

/// The trials that no other dominates, best first by the first objective.
pub fn best<'t>(study: &Study, trials: &'t [StoredTrial]) -> Vec<&'t StoredTrial> {
    let done = complete(study, trials);
    let costs: Vec<Vec<f64>> = done.iter().map(|(_, costs)| costs.clone()).collect();
    let mut front = pareto(&costs);
    front.sort_by(|a, b| costs[*a][0].total_cmp(&costs[*b][0]));
    // Of equal ones the first is enough.
    front.dedup_by(|a, b| costs[*a] == costs[*b]);
    front.into_iter().map(|at| done[at].0).collect()
}

/// A number that was noted of a trial.
fn noted(trial: &StoredTrial, key: &str) -> Option<f64> {
    trial.notes.get(key).and_then(Value::as_f64)
}

/// Trials from best to worst as rows, heads first; at most so many.
pub fn rows(
    study: &Study,
    chooser: &Chooser,
    trials: &[StoredTrial],
    most: usize,
) -> Vec<Vec<String>> {
    let seen = chooser.seen(trials);
    let shown: Vec<&StoredTrial> = trials
        .iter()
        .filter(|trial| !chooser.seen(std::slice::from_ref(*trial)).is_empty())
        .collect();
    let ranked: Vec<_> = seen.into_iter().map(|seen| seen.ranked).collect();
    let mut heads = vec!["trial".to_string(), "status".into()];
    heads.extend(study.objectives.iter().map(|o| o.metric.clone()));
    let wanted = |metric: &str| study.objectives.iter().any(|o| o.metric == metric);
    let mut costs = vec!["parameters", "state"];
    costs.extend(study.timed().then_some("time_per_token"));
    costs.retain(|of| !wanted(of));
    heads.extend(costs.iter().map(|name| (*name).to_string()));
    heads.extend(study.space.iter().map(|param| param.short().to_string()));
    let mut rows = vec![heads];
    for at in order(&ranked).into_iter().take(most) {
        let trial = shown[at];
        let mut row = vec![trial.number.to_string(), trial.state.word().to_string()];
        let last = trial.intermediate.values().last().map(|x| vec![*x]);
        let values = trial.values.clone().or(last).unwrap_or_default();
        row.extend(
            (0..study.objectives.len()).map(|i| values.get(i).map_or("–".into(), |x| short(*x))),
        );
        for name in &costs {
            let value = noted(trial, &format!("lrc:{name}"));
            let whole = |x: &f64| x.fract() == 0.0;
            row.push(
                value.map_or("–".into(), |x| if whole(&x) { format!("{x}") } else { short(x) }),
            );
        }
        let point = point(study, trial).unwrap_or_default();
        row.extend(study.space.iter().zip(&point).map(|(param, x)| param.said(*x)));
        rows.push(row);
    }
    rows
}

/// Everything as one JSON document.
pub fn document(study: &Study, trials: &[StoredTrial], out: &Path) -> Value {
    let one = |trial: &StoredTrial| {
        let params: serde_json::Map<String, Value> = study
            .space
            .iter()
            .zip(point(study, trial).unwrap_or_default())
            .map(|(param, x)| (param.name.clone(), param.domain.value(x)))
            .collect();
        json!({
            "number": trial.number, "state": trial.state.word(), "values": trial.values,
            "params": params, "rungs": trial.intermediate, "notes": trial.notes,
            "folder": folder(&out.join("trials"), trial.number).display().to_string(),
        })
    };
    json!({
        "study": study.name, "folder": out.display().to_string(),
        "objectives": study.objectives.iter().map(|o| json!({
            "metric": o.metric, "direction": if o.maximise { "maximise" } else { "minimise" },
        })).collect::<Vec<_>>(),
        "trials": trials.iter().map(one).collect::<Vec<_>>(),
        "best": best(study, trials).iter().map(|trial| trial.number).collect::<Vec<_>>(),
        "supernet": foretold(study, trials).map(|(trials, ranks)| json!({
            "trials": trials, "rank_correlation": ranks,
        })),
    })
}

/// How well a supernet foretold the first objective: finished trials that it ranked, and how the two orders go together.
fn foretold(study: &Study, trials: &[StoredTrial]) -> Option<(usize, f64)> {
    let done = complete(study, trials);
    let first = study.objectives.first()?;
    let pairs = done.iter().filter_map(|(trial, costs)| {
        let said = trial.notes.get(SUPERNET)?.get(0)?.as_f64()?;
        Some((first.cost(said), costs[0]))
    });
    let (said, own): (Vec<f64>, Vec<f64>) = pairs.unzip();
    Some((said.len(), agreement(&said, &own)?))
}

/// Writes `results.json` and `report.html`.
pub fn write(
    study: &Study,
    chooser: &Chooser,
    trials: &[StoredTrial],
    out: &Path,
) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(&document(study, trials, out));
    let json = json.map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&out.join("results.json"), json.as_bytes())?;
    atomic::write(&out.join("report.html"), page(study, chooser, trials).as_bytes())
}

/// Trials that the page lists.
const LISTED: usize = 30;

fn page(study: &Study, chooser: &Chooser, trials: &[StoredTrial]) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(page, "<h1>{}</h1>", escape(&study.title));
    let count = |state: State| trials.iter().filter(|trial| trial.state == state).count();
    let tokens: f64 = trials.iter().map(trained).sum();
    let _ = write!(
        page,
        "<p>{} of {} trials: {} complete, {} pruned, {} failed, {} open; {} tokens in all.</p>",
        trials.len(),
        study.trials,
        count(State::Complete),
        count(State::Pruned),
        count(State::Fail),
        count(State::Running) + count(State::Waiting),
        short(tokens)
    );
    if let Some((trials, ranks)) = foretold(study, trials) {
        let _ = write!(
            page,
            "<p>Over {trials} of them the order by the supernet's weights and that by their own go together by {ranks:.2} (correlation of ranks, from -1 to 1).</p>"
        );
    }
    page.push_str(&curves(study, trials));
    page.push_str(&slices(study, trials));
    page.push_str(&shares(study, trials));
    page.push_str("<h2>Trials, best first</h2>");
    page.push_str(&plot::table(&rows(study, chooser, trials, LISTED)));
    page.push_str(&winner(study, chooser, trials));
    page.push_str("</body></html>\n");
    page
}

/// Tokens that a trial has trained on.
fn trained(trial: &StoredTrial) -> f64 {
    let rung = trial.intermediate.keys().last().map_or(0.0, |tokens| *tokens as f64);
    noted(trial, "lrc:tokens").unwrap_or(0.0).max(rung)
}

/// The front of two objectives, or what the best one was after each trial; then each number against the first objective.
fn curves(study: &Study, trials: &[StoredTrial]) -> String {
    let done = complete(study, trials);
    let mut page = String::new();
    let first = &study.objectives[0];
    if let Some(second) = study.objectives.get(1) {
        let front: Vec<usize> = best(study, trials).iter().map(|trial| trial.number).collect();
        let at = |trial: &StoredTrial| {
            let values = trial.values.as_ref()?;
            Some((*values.get(1)?, *values.first()?))
        };
        let mut line: Vec<(f64, f64)> = done
            .iter()
            .filter(|(t, _)| front.contains(&t.number))
            .filter_map(|(t, _)| at(t))
            .collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        let others =
            done.iter().filter(|(t, _)| !front.contains(&t.number)).filter_map(|(t, _)| at(t));
        let mut all = vec![Curve::line("nobody is better in both", COLOURS[0], line)];
        all.extend(dots("others", COLOURS[1], others.map(Point::from).collect()));
        let title = format!("{} against {}", first.metric, second.metric);
        page += &Chart { title: &title, unit: &second.metric, curves: &all }.html_fitted();
    } else {
        let mut best = f64::INFINITY;
        let line = done.iter().map(|(trial, costs)| {
            best = best.min(costs[0]);
            (trial.number as f64, first.cost(best))
        });
        let mut all = vec![Curve::line("best so far", COLOURS[0], line.collect())];
        let points =
            done.iter().map(|(t, costs)| Point::from((t.number as f64, first.cost(costs[0]))));
        all.extend(dots("trials", COLOURS[1], points.collect()));
        let title = format!("{} by trial", first.metric);
        page += &Chart { title: &title, unit: "trial", curves: &all }.html_fitted();
    }
    page
}

/// A parameter as numbers: its values' own, where they are numbers.
fn numeric(domain: &Domain, x: f64) -> Option<f64> {
    match domain {
        Domain::Choices(choices) => choices.get(x as usize)?.label.as_f64(),
        _ => Some(x),
    }
}

/// Parameters of numbers that are drawn.
const DRAWN: usize = 4;

/// The first objective against each parameter of numbers, by the values of the first parameter of names.
fn slices(study: &Study, trials: &[StoredTrial]) -> String {
    let done = complete(study, trials);
    let points: Vec<(Vec<f64>, f64)> = done
        .iter()
        .filter_map(|(t, costs)| Some((point(study, t)?, study.objectives[0].cost(costs[0]))))
        .collect();
    let names = study.space.iter().position(|param| match &param.domain {
        Domain::Choices(all) => all.len() <= COLOURS.len() && all[0].label.as_f64().is_none(),
        _ => false,
    });
    let mut page = String::new();
    let numbers = study.space.iter().enumerate().filter(|(_, p)| numeric(&p.domain, 0.0).is_some());
    for (at, param) in numbers.take(DRAWN) {
        let all: Vec<f64> =
            points.iter().filter_map(|(p, _)| numeric(&param.domain, p[at])).collect();
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low >= high {
            continue;
        }
        // What is drawn evenly in its logarithm is shown so, and so is a range of more than a decade.
        let decades = low > 0.0 && (param.domain.log() || high > 10.0 * low);
        let place = |x: f64| if decades { x.log10() } else { x };
        let unit = match decades {
            true => format!("log10 of {}", param.name),
            false => param.name.clone(),
        };
        let groups: Vec<(String, f64)> = match names.map(|of| (&study.space[of].domain, of)) {
            Some((Domain::Choices(all), of)) => {
                (0..all.len()).map(|i| (study.space[of].said(i as f64), i as f64)).collect()
            }
            _ => vec![(String::from("trials"), 0.0)],
        };
        let mut curves = Vec::new();
        for (group, (name, value)) in groups.iter().enumerate() {
            let own = points.iter().filter(|(p, _)| names.is_none_or(|of| p[of] == *value));
            let mut line: Vec<(f64, f64)> = own
                .filter_map(|(p, y)| Some((place(numeric(&param.domain, p[at])?), *y)))
                .collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let colour = COLOURS[group % COLOURS.len()];
            // With more that differs a line would join what does not belong together.
            if study.space.len() <= 1 + usize::from(names.is_some()) {
                curves.push(Curve::line(name, colour, line));
            } else {
                curves.extend(dots(name, colour, line.into_iter().map(Point::from).collect()));
            }
        }
        let title = format!("{} against {}", study.objectives[0].metric, param.short());
        page += &Chart { title: &title, unit: &unit, curves: &curves }.html_fitted();
    }
    page
}

/// Points that no line joins.
fn dots(name: &str, colour: &'static str, points: Vec<Point>) -> Vec<Curve> {
    let one = |(at, point): (usize, Point)| Curve {
        name: if at == 0 { name.into() } else { String::new() },
        colour,
        dashed: false,
        points: vec![point],
    };
    points.into_iter().enumerate().map(one).collect()
}

/// How much goes with each parameter.
fn shares(study: &Study, trials: &[StoredTrial]) -> String {
    let done = complete(study, trials);
    let points: Vec<(Vec<f64>, f64)> =
        done.iter().filter_map(|(trial, costs)| Some((point(study, trial)?, costs[0]))).collect();
    let domains: Vec<Domain> = study.space.iter().map(|param| param.domain.clone()).collect();
    let values: Vec<&[f64]> = points.iter().map(|(point, _)| point.as_slice()).collect();
    let costs: Vec<f64> = points.iter().map(|(_, cost)| *cost).collect();
    let found = importance(&domains, &values, &costs);
    if found.is_empty() {
        return String::new();
    }
    let mut rows: Vec<(f64, &str)> = found
        .iter()
        .zip(&study.space)
        .map(|(share, param)| (*share, param.name.as_str()))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut page = format!(
        "<h2>What goes with {}</h2><p>The share of the variance of its ranks that lies between the values of each parameter alone (quarters of the range of a number), over {} trials; parameters that go together share it.</p><div class=\"wide\"><table>",
        escape(&study.objectives[0].metric),
        points.len()
    );
    for (share, name) in rows {
        let percent = 100.0 * share;
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{percent:.0} %</td><td style=\"width:120px\"><div style=\"background:{};height:10px;width:{percent:.0}%\"></div></td></tr>",
            escape(name),
            COLOURS[0]
        );
    }
    page + "</table></div>"
}

/// The best trial: what it sets, and its model.
fn winner(study: &Study, chooser: &Chooser, trials: &[StoredTrial]) -> String {
    let Some(trial) = best(study, trials).first().copied() else { return String::new() };
    let mut page = format!(
        "<h2>The best by {}: trial {}</h2>",
        escape(&study.objectives[0].metric),
        trial.number
    );
    let mut set = String::new();
    let point = point(study, trial).unwrap_or_default();
    for (path, value) in super::space::sets(&study.space, &point) {
        let _ = writeln!(set, "{path}: {value}");
    }
    let solved = trial.notes.get("lrc:solved").and_then(Value::as_object);
    for (path, value) in solved.into_iter().flatten() {
        let _ = writeln!(set, "{path}: {}   (solved)", value.as_str().unwrap_or_default());
    }
    let style = "overflow-x:auto;background:#f6f6f6;padding:8px;font-size:12px";
    let _ = write!(page, "<pre style=\"{style}\">{}</pre>", preformatted(&set));
    let arch = folder(&chooser.trials, trial.number).join("model.arch");
    if let Ok(text) = std::fs::read_to_string(arch) {
        let _ = write!(
            page,
            "<h2>Its model.arch</h2><pre style=\"{style}\">{}</pre>",
            preformatted(&text)
        );
    }
    page
}

/// Escaped line by line: line ends stay.
fn preformatted(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}
