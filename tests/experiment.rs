//! Experiments: every run once, found again, gone on with, and told apart from other ones.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use lrc_dsl::{Sources, render};
use lrc_runtime::device::Device;
use lrc_runtime::eval::experiment::{Outcome, Running, read, report, run};
use lrc_runtime::ground::error::Failure;

const SPEC: &str = "model: {file: tiny.arch}
task: {mqar: {vocab: 32, length: 16, pairs: 3, fewest: 1}}
batch: 4
length: 6 steps
checkpoint: {every: 2 steps, keep: 1}
";

const MODEL: &str = "use \"mixers/swiglu.arch\"
model tiny(width = 8, hidden = 8) { vocab 32; residual x + f(rmsnorm(x))
    swiglu(hidden = hidden)
    head rmsnorm(x), untied }
";

const EXPERIMENT: &str = "title: Widths
spec: spec.yaml
seeds: [3, 4]
sequences: 8
ask: {set: [task.mqar.pairs, task.mqar.fewest], to: [1, 2, 3], threshold: 0.5}
series:
  wide: {set: {model.set.width: 16}, vary: {model.set.hidden: [4, 8]}}
  plain: {}
";

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn place(name: &str) -> Place {
    let folder = std::env::temp_dir().join(format!("lrc-experiment-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in [("spec.yaml", SPEC), ("tiny.arch", MODEL), ("all.yaml", EXPERIMENT)] {
        fs::write(folder.join(file), text).unwrap();
    }
    Place(folder)
}

fn ran(folder: &Path) -> Result<Vec<Outcome>, String> {
    let path = folder.join("all.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let mut sources = Sources::default();
    let file = sources.add("all.yaml", text.as_str());
    let experiment = read(&path, file, &text).map_err(|diags| render(&sources, &diags, false))?;
    let running = Running { folder: folder.join("out"), device: Device::Cpu, progress: false };
    match run(&experiment, &running, &mut sources, &mut |_| {}) {
        Ok(outcomes) => {
            assert!(report::text(&experiment, &outcomes).contains("wide, hidden = 4"));
            Ok(outcomes)
        }
        Err(Failure::Invalid(diags)) => Err(render(&sources, &diags, false)),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Everything but how long it took.
fn numbers(outcomes: &[Outcome]) -> Vec<(String, u64, Vec<f64>, Vec<f64>)> {
    let one = |o: &Outcome| (o.case.clone(), o.seed, o.accuracy.clone(), o.loss.clone());
    outcomes.iter().map(one).collect()
}

#[test]
fn runs_are_found_again_and_gone_on_with() {
    let place = place("again");
    let first = ran(&place.0).unwrap();
    assert_eq!(first.len(), 6);
    assert!(first.iter().all(|o| o.accuracy.len() == 3 && o.parameters > 0 && o.state == 0));
    let out = place.0.join("out");
    for file in ["results.json", "report.html", "figure.svg"] {
        assert!(out.join(file).metadata().unwrap().len() > 100, "{file}");
    }
    let run = out.join("wide-hidden-4/seed-3");
    let trained = || fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let before = trained();
    assert_eq!(numbers(&ran(&place.0).unwrap()), numbers(&first));
    assert_eq!(trained(), before, "a finished run is not trained again");
    // Stopped between two checkpoints: only the summary is missing, and the newest checkpoint.
    fs::remove_file(run.join("summary.json")).unwrap();
    assert_eq!(numbers(&ran(&place.0).unwrap()), numbers(&first));
    // Stopped before the first checkpoint.
    fs::remove_file(run.join("summary.json")).unwrap();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    assert_eq!(numbers(&ran(&place.0).unwrap()), numbers(&first));
    // Another model under the same spec is not taken for the old one.
    fs::write(place.0.join("tiny.arch"), MODEL.replace("rmsnorm(x), untied", "x, untied")).unwrap();
    let why = ran(&place.0).unwrap_err();
    assert!(why.contains("model.arch") && why.contains("--out"), "{why}");
}

/// Two rows, each trained on both columns; the score is the mean over columns, seed by seed.
#[test]
fn series_are_trained_on_each_of_several_tasks() {
    let place = place("across");
    let across = "across:
  recall: {}
  parity: {task.mqar: null, task.parity.length: 16}
series: {wide: {vary: {model.set.hidden: [4, 8]}}}
";
    let head = EXPERIMENT.split("ask:").next().unwrap();
    fs::write(place.0.join("all.yaml"), format!("{head}{across}")).unwrap();
    let path = place.0.join("all.yaml");
    let found = ran(&place.0).unwrap();
    assert_eq!(found.len(), 8);
    assert!(place.0.join("out/wide-hidden-8-parity/seed-4/summary.json").exists());
    let text = fs::read_to_string(&path).unwrap();
    let mut sources = Sources::default();
    let file = sources.add("all.yaml", text.as_str());
    let experiment = read(&path, file, &text).unwrap();
    let table = report::text(&experiment, &found);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].contains("recall") && lines[0].ends_with("mean"), "{table}");
    let of = |case: &str| {
        let all = found.iter().filter(|o| o.case == format!("wide, hidden = 4, {case}"));
        all.map(|o| o.accuracy[0]).sum::<f64>() / 2.0
    };
    let score = (of("recall") + of("parity")) / 2.0;
    assert!(lines[1].contains(&format!("  {score:.3} [")), "{score}: {table}");
    // What one model is asked, and what several are trained on, are two questions.
    let both = EXPERIMENT.replace("series:", "across: {recall: {}}\nseries:");
    fs::write(&path, both).unwrap();
    let why = ran(&place.0).unwrap_err();
    assert!(why.contains("leave out `ask` or `across`"), "{why}");
}

#[test]
fn mistakes_are_told_before_the_first_run() {
    let place = place("mistakes");
    let cases = [
        ("model.set.width", "model.set.widht", "widht"),
        ("to: [1, 2, 3]", "to: [3, 2]", "rising numbers"),
        ("seeds: [3, 4]", "seeds: [one]", "`seeds: [1, 2, 3]`"),
        ("threshold: 0.5", "treshold: 0.5", "`threshold`"),
        ("to: [1, 2, 3]", "to: [1, 2, 30]", "30 pairs do not fit"),
        ("vary: {model.set.hidden: [4, 8]}", "vary: {model.set.hidden: 4}", "varies over a list"),
        ("seeds: [3, 4]", "seeds: [3, 3]", "stands twice"),
        ("plain: {}", "a b: {}\n  a-b: {}", "share a folder"),
        ("[task.mqar.pairs, task.mqar.fewest]", "model.set.width", "no part of the task"),
        (
            "[task.mqar.pairs, task.mqar.fewest], to: [1, 2, 3]",
            "task.mqar.vocab, to: [32, 64]",
            "the model's vocabulary 32",
        ),
        ("plain: {}", "plain: {set: 3}", "a mapping from paths"),
    ];
    for (right, wrong, said) in cases {
        fs::write(place.0.join("all.yaml"), EXPERIMENT.replace(right, wrong)).unwrap();
        let why = ran(&place.0).unwrap_err();
        assert!(why.contains(said), "{wrong}: {why}");
        assert!(!place.0.join("out").exists(), "{wrong}: something was trained");
    }
}
