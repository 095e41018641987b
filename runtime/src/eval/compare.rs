//! `lrc report`: several runs on one page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ground::error::{Failure, at_path};
use crate::ground::statistics::{Mean, mean_with};
use crate::report::plot::{COLOURS, Chart, Curve, HEAD, table};
use crate::report::record::{self, Summary, Written};
use crate::report::run::smoothed;

/// How runs are compared.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Points that a smoothed curve averages over.
    pub smooth: f64,
    /// How sure intervals are, such as 0.95.
    pub confidence: f64,
    /// Whether all intervals together are as sure as that (Bonferroni), not each by itself.
    pub together: bool,
}

/// A finished or unfinished run.
struct Run {
    name: String,
    written: Written,
    summary: Option<Summary>,
    /// What its spec says, without seed and name: runs that agree in it differ in nothing else.
    spec: Vec<String>,
    /// Its model.
    arch: String,
}

/// Runs that differ in their seed only.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// How it is called: what of its spec differs from the other groups, or its only run's name.
    pub name: String,
    /// Names of the runs.
    pub runs: Vec<String>,
    /// Last metrics by set and name: mean over the runs, and the interval of that mean.
    pub metrics: BTreeMap<String, Interval>,
    #[serde(skip)]
    members: Vec<usize>,
}

/// A mean and its interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Its bootstrap interval.
    pub interval: [f64; 2],
    /// Runs that have the number.
    pub runs: usize,
}

/// A comparison.
pub struct Comparison {
    runs: Vec<Run>,
    /// Groups in the order of their first runs.
    pub groups: Vec<Group>,
    options: Options,
}

/// Reads runs and sorts them into groups.
pub fn compare(folders: &[PathBuf], options: Options) -> Result<Comparison, Failure> {
    let runs: Vec<Run> =
        folders.iter().map(|folder| Run::open(folder)).collect::<Result<_, _>>()?;
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let same = |other: &Run| other.spec == run.spec && other.arch == run.arch;
        match groups.iter_mut().find(|group| same(&runs[group[0]])) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    let firsts: Vec<usize> = groups.iter().map(|group| group[0]).collect();
    let values: Vec<_> = groups.iter().map(|members| values(&runs, members)).collect();
    let intervals = values.iter().flat_map(BTreeMap::values).filter(|all| all.len() > 1).count();
    let together = if options.together { intervals.max(1) as f64 } else { 1.0 };
    let confidence = 1.0 - (1.0 - options.confidence) / together;
    let groups = groups
        .into_iter()
        .zip(values)
        .map(|(members, values)| Group {
            name: name(&runs, &members, &firsts),
            runs: members.iter().map(|at| runs[*at].name.clone()).collect(),
            metrics: metrics(values, confidence),
            members,
        })
        .collect();
    Ok(Comparison { runs, groups, options })
}

impl Run {
    fn open(folder: &Path) -> Result<Run, Failure> {
        let written = record::read(folder)?;
        let path = folder.join("spec.resolved.yaml");
        let spec = std::fs::read_to_string(&path).map_err(at_path("read", &path))?;
        let own = |line: &&str| !["seed:", "name:"].iter().any(|own| line.starts_with(own));
        let summary = std::fs::read_to_string(folder.join("summary.json")).unwrap_or_default();
        let name = folder.file_name().map_or("run".into(), |n| n.to_string_lossy().into_owned());
        let above = folder.parent().and_then(Path::file_name);
        Ok(Run {
            // A seed's folder is named by what is above it too.
            name: match above {
                Some(above) if name.starts_with("seed-") => {
                    format!("{}, {name}", above.to_string_lossy())
                }
                _ => name,
            },
            written,
            summary: serde_json::from_str(&summary).ok(),
            spec: spec.lines().filter(own).map(String::from).collect(),
            arch: std::fs::read_to_string(folder.join("model.arch")).unwrap_or_default(),
        })
    }
}

/// Characters of a group's name, at most.
const LONG: usize = 60;

/// The lines of a group's spec that not all groups have.
fn name(runs: &[Run], members: &[usize], firsts: &[usize]) -> String {
    let spec = &runs[members[0]].spec;
    let shared =
        |line: &&String| firsts.iter().all(|at| runs[*at].spec.iter().any(|own| own == *line));
    let own: Vec<&str> = spec
        .iter()
        .filter(|line| !shared(line))
        .map(|line| line.trim().trim_start_matches("- "))
        .collect();
    let name = own.join(", ");
    if !name.is_empty() && name.len() <= LONG {
        return name;
    }
    // Too much differs to say what: the folder's name, without its seed, says it best.
    let name = &runs[members[0]].name;
    name.split_once(", seed-").map_or(name.as_str(), |(name, _)| name).to_string()
}

/// The last metrics of the runs of a group.
fn values(runs: &[Run], members: &[usize]) -> BTreeMap<String, Vec<f64>> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for at in members {
        let run = &runs[*at];
        let evals = run.written.evals.last().map(|eval| &eval.eval);
        for (set, metrics) in evals.into_iter().flatten() {
            for (metric, x) in metrics {
                values.entry(format!("{set}: {}", metric.replace('_', " "))).or_default().push(*x);
            }
        }
        if let Some(line) = run.written.lines.last() {
            values.entry("training loss".into()).or_default().push(line.loss);
        }
        if let Some(summary) = &run.summary {
            let speed = values.entry("tokens per second".into()).or_default();
            speed.push(summary.tokens_per_second);
        }
    }
    values
}

fn metrics(values: BTreeMap<String, Vec<f64>>, confidence: f64) -> BTreeMap<String, Interval> {
    values
        .into_iter()
        .map(|(name, values)| {
            let Mean { mean, interval } = mean_with(&values, confidence);
            (name, Interval { mean, interval, runs: values.len() })
        })
        .collect()
}

impl Comparison {
    /// The table: a row per group, a column per metric.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let mut names: Vec<&String> = self.groups.iter().flat_map(|g| g.metrics.keys()).collect();
        names.sort();
        names.dedup();
        let head = |group: &Group| match group.runs.len() {
            1 => group.name.clone(),
            n => format!("{} ({n} runs)", group.name),
        };
        let mut rows = vec![
            std::iter::once(String::new())
                .chain(names.iter().map(|name| (*name).clone()))
                .collect(),
        ];
        for group in &self.groups {
            let cell = |name: &&String| match group.metrics.get(*name) {
                None => String::new(),
                Some(Interval { mean, runs: 1, .. }) => figure(*mean),
                Some(Interval { mean, interval: [low, high], .. }) => {
                    format!("{} [{}, {}]", figure(*mean), figure(*low), figure(*high))
                }
            };
            rows.push(std::iter::once(head(group)).chain(names.iter().map(cell)).collect());
        }
        rows
    }

    /// One self-contained page.
    pub fn page(&self) -> String {
        let mut page = String::from(HEAD);
        page.push_str("<h1>Runs side by side</h1>");
        let Options { smooth, confidence, together } = self.options;
        let _ = write!(
            page,
            "<p>{} runs in {} groups; runs of a group differ in their seed only. Brackets are {} % bootstrap intervals of the mean over seeds{}. Loss curves are smoothed over about {smooth} steps.</p>",
            self.runs.len(),
            self.groups.len(),
            confidence * 100.0,
            if together { ", all of them together (Bonferroni)" } else { "" }
        );
        page.push_str(&table(&self.rows()));
        self.charts(&mut page);
        page.push_str("<h2>Runs</h2>");
        page.push_str(&table(&self.list()));
        page.push_str("</body></html>\n");
        page
    }

    fn charts(&self, page: &mut String) {
        type Pick = fn(&record::Line) -> f64;
        let of_steps: [(&str, Pick, bool); 5] = [
            ("Training loss (nats)", |l| l.loss, true),
            ("Accuracy in the batch", |l| l.accuracy, true),
            ("Gradient norm", |l| l.grad_norm, true),
            ("Learning rate", |l| l.lr, false),
            ("Tokens of a sequence", |l| l.seq_len as f64, true),
        ];
        for (title, pick, smooth) in of_steps {
            let curves = self.curves(|run| {
                let all: Vec<(f64, f64)> =
                    run.written.lines.iter().map(|l| (l.tokens as f64, pick(l))).collect();
                if smooth { smoothed(&all, self.options.smooth) } else { all }
            });
            page.push_str(&Chart { title, unit: "tokens", curves: &curves }.html());
        }
        let mut sets: Vec<(&String, &String)> = self
            .runs
            .iter()
            .flat_map(|run| run.written.evals.iter().flat_map(|eval| &eval.eval))
            .flat_map(|(set, metrics)| metrics.keys().map(move |metric| (set, metric)))
            .collect();
        sets.sort();
        sets.dedup();
        for (set, metric) in sets {
            let curves = self.curves(|run| {
                let found = |eval: &record::Eval| {
                    Some((eval.tokens as f64, *eval.eval.get(set)?.get(metric)?))
                };
                run.written.evals.iter().filter_map(found).collect()
            });
            let title = format!("Unseen {set}: {}", metric.replace('_', " "));
            page.push_str(&Chart { title: &title, unit: "tokens", curves: &curves }.html());
        }
    }

    /// A curve per run; those of a group share a colour and the first one carries its name.
    fn curves(&self, points: impl Fn(&Run) -> Vec<(f64, f64)>) -> Vec<Curve> {
        let mut curves = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            for (number, member) in group.members.iter().enumerate() {
                let name = if number == 0 { group.name.as_str() } else { "" };
                let colour = COLOURS[at % COLOURS.len()];
                let mut curve = Curve::line(name, colour, points(&self.runs[*member]));
                curve.dashed = at >= COLOURS.len();
                curves.push(curve);
            }
        }
        curves
    }

    fn list(&self) -> Vec<Vec<String>> {
        let heads = ["run", "seed", "steps", "tokens", "seconds", "branched off", "state"];
        let mut rows = vec![heads.map(String::from).to_vec()];
        for run in &self.runs {
            let Some(summary) = &run.summary else {
                let steps = run.written.lines.last().map_or(0, |line| line.step);
                let mut row = vec![run.name.clone(), String::new(), steps.to_string()];
                row.resize(heads.len() - 1, String::new());
                row.push("not finished".into());
                rows.push(row);
                continue;
            };
            let from = summary.lineage.last();
            rows.push(vec![
                run.name.clone(),
                summary.seed.to_string(),
                summary.steps.to_string(),
                summary.tokens.to_string(),
                format!("{:.0}", summary.seconds),
                from.map_or(String::new(), |l| format!("{}, step {}", l.run, l.step)),
                if summary.finished { "finished" } else { "stopped" }.into(),
            ]);
        }
        rows
    }
}

/// A number with four digits behind the point, or none where it is large.
fn figure(x: f64) -> String {
    if x.abs() >= 1000.0 { format!("{x:.0}") } else { format!("{x:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_they_need() {
        assert_eq!((figure(0.12345), figure(12345.6)), ("0.1235".into(), "12346".into()));
    }
}
