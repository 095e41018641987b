//! What an experiment shows: a table for the terminal, a page with the figures.

use std::fmt::Write;
use std::path::Path;

use super::{Ask, Experiment, Outcome, by_case};
use crate::ground::atomic;
use crate::ground::error::Failure;
use crate::ground::statistics::{mean, reach};
use crate::report::plot::{self, COLOURS, Chart, Curve, HEAD, Point, escape};

/// A table: heads, then rows of a name and what it measured.
struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn cell(values: &[f64], digits: usize) -> String {
    let found = mean(values);
    if values.len() < 2 {
        return format!("{:.digits$}", found.mean);
    }
    let [low, high] = found.interval;
    format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", found.mean)
}

/// The number of a column, and what its seeds measured.
type Column<'o> = (usize, Vec<&'o Outcome>);

/// A row per series, a column per thing that it was trained on, and the mean of all of them, seed by seed: a score.
fn across(experiment: &Experiment, outcomes: &[Outcome]) -> Table {
    let mut heads = vec![String::new(), "parameters".into(), "state".into()];
    heads.extend(experiment.across.iter().cloned());
    heads.push("mean".into());
    let mut rows: Vec<(&str, Vec<Column>)> = Vec::new();
    for (case, seeds) in by_case(experiment, outcomes) {
        match rows.iter_mut().find(|(row, _)| *row == case.row) {
            Some((_, columns)) => columns.push((case.column, seeds)),
            None => rows.push((&case.row, vec![(case.column, seeds)])),
        }
    }
    let rows = rows.into_iter().map(|(name, columns)| {
        let all = || columns.iter().flat_map(|(_, seeds)| seeds);
        let mut row =
            vec![name.to_string(), span(all().map(|o| o.parameters)), span(all().map(|o| o.state))];
        row.extend((0..experiment.across.len()).map(|at| {
            let seeds = columns.iter().find(|(column, _)| *column == at);
            seeds.map_or("–".into(), |(_, seeds)| {
                cell(&seeds.iter().map(|o| o.accuracy[0]).collect::<Vec<f64>>(), 3)
            })
        }));
        let scores: Vec<f64> = experiment
            .seeds
            .iter()
            .filter_map(|seed| {
                let of = |o: &&&Outcome| o.seed == *seed;
                let found: Vec<f64> = columns
                    .iter()
                    .filter_map(|(_, seeds)| Some(seeds.iter().find(of)?.accuracy[0]))
                    .collect();
                (found.len() == experiment.across.len()).then(|| mean(&found).mean)
            })
            .collect();
        row.push(if scores.is_empty() { "–".into() } else { cell(&scores, 3) });
        row
    });
    Table { rows: rows.collect(), heads }
}

/// The least and the most of some numbers, or the one that they all are.
fn span(all: impl Iterator<Item = usize> + Clone) -> String {
    let (low, high) = (all.clone().min().unwrap_or(0), all.max().unwrap_or(0));
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}

fn table(experiment: &Experiment, outcomes: &[Outcome]) -> Table {
    if !experiment.across.is_empty() {
        return across(experiment, outcomes);
    }
    let mut heads = vec![String::new(), "parameters".into(), "state".into()];
    match &experiment.ask {
        None => heads.extend(["accuracy".into(), "loss".into()]),
        Some(ask) => {
            heads.extend(ask.to.iter().map(|x| format!("{} {x}", ask.name)));
            heads.extend(ask.thresholds.iter().map(|at| format!("{} at {at}", ask.name)));
        }
    }
    let rows = by_case(experiment, outcomes).into_iter().map(|(case, seeds)| {
        let mut row =
            vec![case.name.clone(), seeds[0].parameters.to_string(), seeds[0].state.to_string()];
        let at = |at: usize| seeds.iter().map(|o| o.accuracy[at]).collect::<Vec<f64>>();
        match &experiment.ask {
            None => {
                row.push(cell(&at(0), 4));
                row.push(cell(&seeds.iter().map(|o| o.loss[0]).collect::<Vec<f64>>(), 4));
            }
            Some(ask) => {
                row.extend((0..ask.to.len()).map(|i| cell(&at(i), 3)));
                row.extend(ask.thresholds.iter().map(|at| cell(&reaches(ask, *at, &seeds), 1)));
            }
        }
        row
    });
    Table { rows: rows.collect(), heads }
}

/// What each seed reached.
fn reaches(ask: &Ask, threshold: f64, seeds: &[&Outcome]) -> Vec<f64> {
    seeds.iter().map(|o| reach(&ask.to, &o.accuracy, threshold)).collect()
}

/// The table as text, columns aligned.
pub fn text(experiment: &Experiment, outcomes: &[Outcome]) -> String {
    let Table { heads, rows } = table(experiment, outcomes);
    plot::aligned(&std::iter::once(heads).chain(rows).collect::<Vec<_>>())
}

/// Writes `results.json`, `report.html`, and where something was asked `figure.svg` with what was
/// answered and `reach.svg` with what was reached.
pub fn write(experiment: &Experiment, outcomes: &[Outcome], folder: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(outcomes).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&folder.join("results.json"), json.as_bytes())?;
    let mut page = String::from(HEAD);
    let _ = write!(page, "<h1>{}</h1>", escape(&experiment.title));
    let _ = write!(
        page,
        "<p>Mean over {} seeds and the 95 % bootstrap interval of that mean; measured on {} unseen sequences.</p>",
        experiment.seeds.len(),
        experiment.sequences
    );
    let whole = experiment.cases.len() * experiment.seeds.len();
    if outcomes.len() < whole {
        let _ = write!(page, "<p>So far {} of {whole} runs.</p>", outcomes.len());
    }
    let Table { heads, rows } = table(experiment, outcomes);
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    page.push_str(&plot::table(&lines));
    if let Some(ask) = &experiment.ask {
        let curves = asked(experiment, ask, outcomes);
        let title = format!("Accuracy against {}", ask.name);
        let chart = Chart { title: &title, unit: &ask.name, curves: &curves };
        page.push_str(&chart.html());
        if let Some(svg) = chart.picture() {
            atomic::write(&folder.join("figure.svg"), svg.as_bytes())?;
        }
        let mut all = Vec::new();
        for threshold in &ask.thresholds {
            let curves = reached(experiment, ask, *threshold, outcomes);
            let title =
                format!("Most {} at accuracy {threshold} against numbers of state", ask.name);
            let chart = Chart { title: &title, unit: "numbers", curves: &curves };
            page.push_str(&chart.html());
            all.extend(curves.into_iter().map(|curve| {
                let name = format!("{} at {threshold}", curve.name);
                Curve { name, ..curve }
            }));
        }
        for (at, curve) in all.iter_mut().enumerate() {
            (curve.colour, curve.dashed) = (COLOURS[at % COLOURS.len()], at >= COLOURS.len());
        }
        let title = format!("Most {} against numbers of state", ask.name);
        if let Some(svg) = (Chart { title: &title, unit: "numbers", curves: &all }).picture() {
            atomic::write(&folder.join("reach.svg"), svg.as_bytes())?;
        }
    }
    page.push_str("</body></html>\n");
    atomic::write(&folder.join("report.html"), page.as_bytes())
}

/// Accuracy against what is asked, a curve per case.
fn asked(experiment: &Experiment, ask: &Ask, outcomes: &[Outcome]) -> Vec<Curve> {
    let cases = by_case(experiment, outcomes);
    cases
        .into_iter()
        .enumerate()
        .map(|(at, (case, seeds))| Curve {
            name: case.name.clone(),
            colour: COLOURS[at % COLOURS.len()],
            dashed: at >= COLOURS.len(),
            points: ask
                .to
                .iter()
                .enumerate()
                .map(|(i, x)| {
                    let values: Vec<f64> = seeds.iter().map(|o| o.accuracy[i]).collect();
                    point(*x, &values)
                })
                .collect(),
        })
        .collect()
}

/// What is reached against the size of the state, a curve per series of several cases.
fn reached(experiment: &Experiment, ask: &Ask, threshold: f64, outcomes: &[Outcome]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for (case, seeds) in by_case(experiment, outcomes) {
        let many = experiment.cases.iter().filter(|c| c.series == case.series).count() > 1;
        if !many {
            continue;
        }
        let next = COLOURS[curves.len() % COLOURS.len()];
        let at = curves.iter().position(|c| c.name == case.series).unwrap_or_else(|| {
            curves.push(Curve::line(&case.series, next, vec![]));
            curves.len() - 1
        });
        curves[at].points.push(point(seeds[0].state as f64, &reaches(ask, threshold, &seeds)));
    }
    curves
}

fn point(x: f64, values: &[f64]) -> Point {
    let found = mean(values);
    Point { x, y: found.mean, interval: (values.len() > 1).then_some(found.interval) }
}
