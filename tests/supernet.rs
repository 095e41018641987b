//! Supernets: one model of all layouts, whose order a search follows.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::study::{STUDY, command, document, place, searched, trials};
use serde_json::Value;

/// Places that may have attention, and how the supernet is trained.
fn layouts(places: &str, sampler: &str) -> String {
    let (before, rest) = STUDY.split_once("space:").unwrap();
    let (_, behind) = rest.split_once("constraints:").unwrap();
    let (_, behind) = behind.split_once("sampler:").unwrap();
    let behind = behind.split_once('\n').unwrap().1;
    format!("{before}space:\n{places}objectives: {{loss: minimise}}\nsampler: {sampler}\n{behind}")
}

const PLACES: &str = "  model.layers.0: [\"swiglu(hidden = 16)\", \"attention(heads = 2)\"]
  model.layers.1: [\"swiglu(hidden = 16)\", \"attention(heads = 2)\"]
";

fn ranking(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("out/supernet/ranking.json")).unwrap())
        .unwrap()
}

/// The newest checkpoint's weights of a run.
fn weights(run: &Path) -> Vec<u8> {
    let all = fs::read_dir(run.join("checkpoints")).unwrap();
    let newest = all.map(|entry| entry.unwrap().path()).max().unwrap();
    fs::read(newest.join("model.safetensors")).unwrap()
}

/// Waits until the supernet has a checkpoint behind so many steps, or is done.
fn came_to(folder: &Path, steps: u64) {
    let net = folder.join("out/supernet");
    let newest = || {
        let all = fs::read_dir(net.join("checkpoints")).ok()?;
        let names = all.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
    };
    let began = Instant::now();
    while newest().is_none_or(|step: u64| step < steps) && !net.join("ranking.json").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the supernet does not come on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A supernet that has one path is an ordinary run: the same weights, the same answers, to the last bit.
#[test]
fn a_supernet_of_one_path_is_an_ordinary_run() {
    let one = "  model.layers.0: [\"attention(heads = 2)\"]\n";
    let place = place("one-path", &layouts(one, "{supernet: {times: 1}}"));
    let found = document(&place.0, &[]);
    assert_eq!(trials(&found).len(), 1);
    let trial = &trials(&found)[0];
    assert_eq!(trial["values"], trial["notes"]["lrc:supernet"]);
    let [net, run] = ["supernet", "trials/00000"].map(|of| weights(&place.0.join("out").join(of)));
    assert!(net == run, "the weights differ");
}

/// Trials come in the order of the supernet, whoever was interrupted or helped while it was trained.
#[test]
fn trials_follow_the_supernet_which_goes_on_where_it_was_killed() {
    let study = layouts(PLACES, "{supernet: {times: 20}}")
        .replace("trials: 6", "trials: 3\nset: {model.set.layers: 2}");
    let whole = place("net-whole", &study);
    let found = document(&whole.0, &[]);
    let all = ranking(&whole.0);
    let said = all["said"].as_array().unwrap();
    assert_eq!((said.len(), &all["steps"]), (4, &240.into()));
    let losses: Vec<f64> = said.iter().map(|one| one["values"][0].as_f64().unwrap()).collect();
    assert!(losses.windows(2).all(|pair| pair[0] <= pair[1]), "{losses:?}");
    assert_eq!(trials(&found).len(), 3);
    for (trial, said) in trials(&found).iter().zip(said) {
        assert_eq!(trial["notes"]["lrc:supernet"], said["values"]);
    }
    assert_eq!(found["supernet"]["trials"], 3);
    // The same, interrupted, killed on its way, and then taken up by two processes.
    let again = place("net-killed", &study);
    let begun = || {
        let mut command = command(&again.0, &["--resume"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = begun();
    came_to(&again.0, 4);
    assert!(
        Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap().success()
    );
    let out = first.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(130) && text.contains("the supernet is saved"), "{text}");
    let mut second = begun();
    came_to(&again.0, 80);
    second.kill().unwrap();
    second.wait().unwrap();
    let helper = begun();
    document(&again.0, &["--resume"]);
    assert!(helper.wait_with_output().unwrap().status.success());
    let again_all = ranking(&again.0);
    for key in ["said", "steps", "tokens", "paths"] {
        assert_eq!(again_all[key], all[key], "{key}");
    }
    assert!(weights(&again.0.join("out/supernet")) == weights(&whole.0.join("out/supernet")));
}

/// What one place knows of the tokens before it is worth more than what another can make of one token: the supernet sees it.
#[test]
fn a_supernet_finds_where_attention_pays() {
    let study = layouts(PLACES, "{supernet: {times: 30}}").replace(
        "trials: 6",
        "trials: 1\nset: {model.set.layers: 2, model.set.width: 32, batch: 16, optimizer.adamw.lr: 1e-2, checkpoint.every: 50%}",
    );
    let place = place("net-planted", &study);
    document(&place.0, &[]);
    let all = ranking(&place.0);
    let said = all["said"].as_array().unwrap();
    // The first value of each place has no attention.
    let attended = |at: usize| {
        let point = said[at]["point"].as_array().unwrap();
        point.iter().filter(|x| x.as_f64() == Some(1.0)).count()
    };
    assert!(attended(0) > 0 && attended(3) == 0, "{said:#?}");
}

#[test]
fn what_a_supernet_cannot_share_is_told_before_it_is_trained() {
    let sampler = "{supernet: }";
    let cases = [
        ("  optimizer.adamw.lr: [1e-3, 1e-2]\n", "loss: minimise", "is no part of the model"),
        ("  model.set.hidden: {float: [4, 64]}\n", "loss: minimise", "too many"),
        (PLACES, "seconds: minimise", "has no `seconds`"),
    ];
    let place = place("net-refused", "");
    for (places, objective, said) in cases {
        let study = layouts(places, sampler).replace("loss: minimise", objective);
        fs::write(place.0.join("study.yaml"), study).unwrap();
        let out = searched(&place.0, &["--dry-run"]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(3) && text.contains(said), "{said}: {text}");
    }
    // What was trained for another study is not taken for this one's.
    let study = layouts(PLACES, "{supernet: {times: 1}}")
        .replace("trials: 6", "trials: 1\nset: {model.set.layers: 2}");
    fs::write(place.0.join("study.yaml"), &study).unwrap();
    document(&place.0, &[]);
    fs::write(place.0.join("study.yaml"), study.replace("times: 1", "times: 2")).unwrap();
    let out = searched(&place.0, &["--resume"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && text.contains("another supernet"), "{text}");
}
