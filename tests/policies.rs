//! What a run does about faults, through the real binary: the declared policy or a clear error, and the same
//! again when it is taken up in between.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{empty, said};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    empty(&format!("policies-{name}"))
}

const SPEC: &str = "
model: {file: MODEL, name: quickstart, set: {width: 16, vocab: 32}}
task: {mqar: {vocab: 32, length: 16, pairs: 2}}
batch: 8
length: 60 steps
optimizer: {adamw: {lr: 1e-2}}
eval: {every: 30 steps, sequences: 8}
checkpoint: {every: 10 steps, keep: 10}
monitor: {every: 5 steps, window: 40, deviations: 5}
";

/// Trains in a folder with policies; `more` are further arguments.
fn train(at: &Path, policies: &str, more: &[&str]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    let spec = at.join("spec.yaml");
    let text = SPEC.replace("MODEL", &format!("{root}/specs/models/quickstart.arch"));
    std::fs::write(&spec, format!("{text}policies: {policies}\n")).unwrap();
    let run = at.join("run");
    let args = ["train", spec.to_str().unwrap(), "--out", run.to_str().unwrap()];
    Command::new(env!("CARGO_BIN_EXE_lrc")).args(args).args(more).output().unwrap()
}

fn lines(at: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(at.join("run/metrics.jsonl")).unwrap();
    let each = text.lines().map(|line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("tokens_per_second");
        value
    });
    each.collect()
}

fn events(at: &Path) -> Vec<(u64, String)> {
    let all = lines(at);
    let of = |line: &Value| {
        Some((line["step"].as_u64()?, line.get("event")?["did"].as_str()?.to_string()))
    };
    all.iter().filter_map(of).collect()
}

fn weights(at: &Path) -> Vec<u8> {
    std::fs::read(at.join("run/checkpoints/step-00000060/model.safetensors")).unwrap()
}

#[test]
fn a_batch_that_gives_no_number_is_left_out() {
    let at = folder("nan");
    let output = train(&at, "[{when: nan, do: skip}]", &["--inject", "nan@20,nan@21"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(events(&at), [20, 21].map(|step| (step, "the batch is left out".to_string())));
    let skipped: Vec<u64> = lines(&at)
        .iter()
        .filter(|line| line.get("skipped").is_some())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(skipped, [21, 22]);
    let report = std::fs::read_to_string(at.join("run/report.html")).unwrap();
    assert!(report.contains("the batch is left out"));
}

#[test]
fn without_a_policy_such_a_batch_ends_the_run_and_nothing_is_lost() {
    let at = folder("stop");
    let output = train(&at, "[]", &["--inject", "nan@25"]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(
        said(&output).contains("at step 26; lower the learning rate and go on with --resume from the checkpoint of step 20"),
        "{}",
        said(&output)
    );
    let output = train(&at, "[]", &["--resume"]);
    assert!(output.status.success(), "{}", said(&output));
    let whole = folder("stop-whole");
    assert!(train(&whole, "[]", &[]).status.success());
    assert!(weights(&at) == weights(&whole));
}

#[test]
fn a_spike_takes_the_run_back_and_its_data_stays_used_up() {
    let policy = "[{on: spike, do: back}]";
    let (at, broken) = (folder("spike"), folder("spike-broken"));
    let inject = ["--inject", "spike@45"];
    let output = train(&at, policy, &inject);
    assert!(output.status.success(), "{}", said(&output));
    let (step, did) = events(&at).remove(0);
    assert_eq!((step, did.starts_with("back")), (45, true));
    // Steps 41 to 45 are done twice, the second time on other data.
    let losses = |step: u64| -> Vec<f64> {
        let all = lines(&at);
        let these = all.iter().filter(|line| line["step"] == step && line.get("loss").is_some());
        these.map(|line| line["loss"].as_f64().unwrap()).collect()
    };
    assert_eq!((losses(40).len(), losses(41).len(), losses(46).len()), (1, 2, 1));
    assert_ne!(losses(41)[0], losses(41)[1]);
    let state = std::fs::read_to_string(at.join("run/checkpoints/step-00000060/state.json"));
    let state: Value = serde_json::from_str(&state.unwrap()).unwrap();
    assert_eq!(state["stretches"], serde_json::json!([[0, 46], [40, 60]]));
    // Stopped and taken up in the second attempt: the same.
    let stopped = [&inject[..], &["--stop-after", "52"]].concat();
    assert_eq!(train(&broken, policy, &stopped).status.code(), Some(130));
    let output = train(&broken, policy, &[&inject[..], &["--resume"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert!(weights(&at) == weights(&broken) && lines(&at) == lines(&broken));
}

#[test]
fn growing_norms_lower_the_rate_and_the_clip() {
    let at = folder("growth");
    let policy = "[{when: norm_growth > 1.5, do: {lr_scale: 0.5, clip: 0.25}}]";
    let output = train(&at, policy, &["--inject", "growth@33"]);
    assert!(output.status.success(), "{}", said(&output));
    // Losses that jump are said, too, though no policy is for them.
    let changed = (35, "learning rate x 0.5, gradients clipped to 0.25".to_string());
    assert_eq!(events(&at).iter().filter(|event| **event == changed).count(), 1);
    let all = lines(&at);
    let rate = |step: u64| -> f64 {
        let line = all.iter().find(|line| line["step"] == step && line.get("lr").is_some());
        line.unwrap()["lr"].as_f64().unwrap()
    };
    assert!((rate(36) / rate(35) - 0.5).abs() < 1e-9, "{} {}", rate(35), rate(36));
    // Every five steps each layer says how it is.
    let layers: Vec<&Value> = all.iter().filter_map(|line| line.get("layers")).collect();
    assert_eq!(layers.len(), 12);
    let one = layers[11];
    for measure in ["output", "state", "state_rank", "q", "k", "gradient"] {
        assert!(one["layers.0.gated_deltanet"][measure].as_f64().unwrap() > 0.0, "{measure}");
    }
    let entropy = one["layers.2.attention"]["entropy"].as_f64().unwrap();
    assert!((0.0..16.0_f64.ln()).contains(&entropy), "{entropy}");
}

#[test]
fn a_policy_that_acts_too_often_ends_the_run() {
    let at = folder("often");
    let policy = "[{on: nan, do: skip, at_most: 2}]";
    let output = train(&at, policy, &["--inject", "nan@20,nan@21,nan@22"]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("has acted 2 times"), "{}", said(&output));
    let policy = "[{on: grad_norm > 0, do: stop}]";
    let output = train(&folder("bound"), policy, &[]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("a policy ends the run"), "{}", said(&output));
}
