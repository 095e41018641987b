//! Searches: studies that are refused, trials that are found again, processes that share a study.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::study::{MODEL, STUDY, command, document, long, place, searched, trials};
use serde_json::Value;

/// Rungs of a run of two steps cannot all lie apart: each is a step behind the other, and the search ends.
#[test]
fn rungs_of_a_short_run_end() {
    let spec = "  length: 2 steps\n";
    let study = STUDY.replace("sampler: {random: }\n", "halving: {first: 5%, factor: 2}\n");
    let study = study.replace("space:", &format!("set:\n{spec}space:"));
    let place = place("rungs", &study);
    let done = document(&place.0, &[]);
    assert_eq!(trials(&done).len(), 6);
    let ended = trials(&done).iter().filter(|trial| trial["state"] == "complete");
    assert!(ended.count() > 0, "{done:#}");
    // What trials are compared by is the study's: the same journal does not serve another metric.
    fs::write(place.0.join("study.yaml"), study.replace("loss: min", "accuracy: min")).unwrap();
    let out = searched(&place.0, &["--resume"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.contains("its objectives are"), "{text}");
    // Trials without their journal, and a run that is no study, stay as they are.
    fs::write(place.0.join("study.yaml"), &study).unwrap();
    fs::remove_file(place.0.join("out/journal.log")).unwrap();
    let out = searched(&place.0, &["--resume"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.contains("put their journal back"), "{text}");
    let out = searched(&place.0, &["--out", "out/trials/00000"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && text.contains("holds a run"), "{text}");
}

#[test]
fn mistakes_are_told_where_the_study_makes_them_before_the_first_trial() {
    let place = place("mistakes", STUDY);
    let cases = [
        ("model.set.hidden:", "model.set.hiden:", "hiden", "no parameter `hiden`"),
        ("optimizer.adamw.lr:", "optimizer.adamw.rl:", "rl:", "unknown field `rl`"),
        (
            "\"attention(heads = 2)\"",
            "\"atention(heads = 2)\"",
            "atention",
            "did you mean `attention`",
        ),
        ("layers.0: [", "layers.3: [", "layers.3", "there is no sub-layer 3: the model has 1"),
        ("{most: 2k}", "{most: 20}", "most: 20", "at most 20 are allowed"),
        ("{most: 2k}", "{most: lots}", "lots", "a number such as `400k`"),
        ("parameters: {most", "params_: {most", "", "no measure `params_`"),
        ("loss: minimise", "los: minimise", "los", "did you mean `loss`"),
        ("loss: minimise", "loss: smaller", "smaller", "it is: maximise, minimise"),
        ("{int: [4, 64]}", "{int: [64, 4]}", "[64, 4]", "the smaller one first"),
        ("{int: [4, 64]}", "[]", "[]", "nothing to choose from"),
        ("{float: [1e-4, 1e-1], log: true}", "{float: [0, 1], log: true}", "[0, 1]", "above 0"),
        ("trials: 6", "trails: 6", "trails", "did you mean `trials`"),
        ("sampler: {random: }", "sampler: {rndom: }", "", "exactly one kind"),
        ("sampler: {random: }", "halving: {first: 10 steps}", "", "a share of the run"),
        (
            "objectives:",
            "  x: {either: {a: {model.set.hidden: 8}}}\nobjectives:",
            "x:",
            "twice in `space`",
        ),
        (
            "sampler:",
            "match: {parameters: {to: 900, by: model.set.hidden}}\nsampler:",
            "",
            "and in `space`",
        ),
        (
            "sampler:",
            "match: {parameters: {to: 900, by: model.set.hiden}}\nsampler:",
            "",
            "did you mean `hidden`",
        ),
    ];
    for (right, wrong, shown, said) in cases {
        assert!(STUDY.contains(right), "{right}");
        fs::write(place.0.join("study.yaml"), STUDY.replace(right, wrong)).unwrap();
        let out = searched(&place.0, &[]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(3), "{wrong}: {text}");
        assert!(text.contains(said) && text.contains(shown), "{wrong}: {text}");
        assert!(text.contains("study.yaml"), "the place stands in the study: {text}");
        assert!(!place.0.join("out").exists(), "{wrong}: something was tried");
    }
    // All at once.
    let two = STUDY.replace("loss: minimise", "los: minimise").replace("[4, 64]", "[64, 4]");
    fs::write(place.0.join("study.yaml"), two).unwrap();
    let text = String::from_utf8_lossy(&searched(&place.0, &[]).stderr).into_owned();
    assert!(text.contains("`los`") && text.contains("smaller one first"), "{text}");
    let empty = STUDY.split("space:").next().unwrap().to_string()
        + "space: {}\nobjectives: {loss: minimise}\n";
    fs::write(place.0.join("study.yaml"), empty).unwrap();
    let text = String::from_utf8_lossy(&searched(&place.0, &[]).stderr).into_owned();
    assert!(text.contains("the space is empty"), "{text}");
}

#[test]
fn trials_are_runs_and_are_not_trained_twice() {
    let place = place("again", STUDY);
    let first = document(&place.0, &[]);
    assert_eq!(trials(&first).len(), 6);
    assert!(trials(&first).iter().all(|trial| trial["state"] == "complete"));
    assert!(
        trials(&first)
            .iter()
            .all(|trial| trial["notes"]["lrc:parameters"].as_f64().unwrap() <= 2000.0)
    );
    assert!(!first["best"].as_array().unwrap().is_empty());
    let run = place.0.join("out/trials/00000");
    for file in ["spec.resolved.yaml", "model.arch", "metrics.jsonl", "summary.json"] {
        assert!(run.join(file).exists(), "{file}");
    }
    let page = fs::read_to_string(place.0.join("out/report.html")).unwrap();
    assert!(page.contains("model tiny") && page.contains("<svg") && !page.contains("http://127"));
    let out = searched(&place.0, &[]);
    assert_eq!(out.status.code(), Some(2), "trials are gone on with only by --resume");
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(document(&place.0, &["--resume"]), first);
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap(), text);
    // The same seed alone draws the same trials.
    fs::rename(place.0.join("out"), place.0.join("before")).unwrap();
    let params = |all: &Value| trials(all).iter().map(|t| t["params"].clone()).collect::<Vec<_>>();
    assert_eq!(params(&document(&place.0, &[])), params(&first));
    // The journal of another study.
    let storage = ["--resume", "--storage", "journal:before/journal.log"];
    for (right, wrong, said) in [
        ("[4, 64]", "[4, 32]", "`model.set.hidden` has other values"),
        ("loss: minimise", "loss: maximise", "directions"),
        ("trials: 6", "set: {batch: 8}", "its spec or its model was another one"),
    ] {
        fs::write(place.0.join("study.yaml"), STUDY.replace(right, wrong)).unwrap();
        let out = searched(&place.0, &storage);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && text.contains(said), "{wrong}: {text}");
    }
}

/// Without rungs the evaluations of a run are its trial's intermediate values; such a record can be searched again.
#[test]
fn what_runs_show_on_the_way_is_kept_and_replayed() {
    let study = STUDY
        .replace("loss: minimise, parameters: minimise", "loss: minimise")
        .replace("{int: [4, 64]}", "[4, 8, 16]")
        .replace("{float: [1e-4, 1e-1], log: true}", "[1e-3, 1e-2]")
        .replace("trials: 6", "trials: 6\nset: {eval.every: 25%}")
        .replace("  model.layers.0: [\"swiglu(hidden = hidden)\", \"attention(heads = 2)\"]\n", "");
    let place = place("record", &study);
    let found = document(&place.0, &[]);
    for trial in trials(&found) {
        let rungs = trial["rungs"].as_object().unwrap();
        assert_eq!(rungs.len(), 4, "{trial}");
        let last = rungs.iter().max_by_key(|(tokens, _)| tokens.parse::<u64>().unwrap()).unwrap();
        assert_eq!(*last.1, trial["values"][0]);
    }
    let compared = document(&place.0, &["--replay", "out/results.json", "--repeats", "3"]);
    assert_eq!(compared["recorded"], 6);
    let strategies = compared["compared"].as_array().unwrap();
    assert_eq!(strategies.len(), 15);
    // All six trials to the end find the best of the six, and so does random search.
    let all = strategies.iter().find(|c| c["strategy"] == "tpe" && c["trials"] == 6).unwrap();
    assert_eq!((&all["best"]["mean"], &all["gained"]["mean"]), (&compared["least"], &0.0.into()));
    // Another objective's record is none.
    fs::write(place.0.join("study.yaml"), study.replace("loss: min", "accuracy: max")).unwrap();
    let out = searched(&place.0, &["--replay", "out/results.json"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && text.contains("not `accuracy`"), "{text}");
}

/// A model whose loss is no number: every trial diverges, and the study says so.
#[test]
fn a_study_without_a_single_result_has_failed() {
    let study = STUDY
        .replace("trials: 6", "trials: 2")
        .replace("  model.set.hidden: {int: [4, 64]}\n", "")
        .replace("  model.layers.0: [\"swiglu(hidden = hidden)\", \"attention(heads = 2)\"]\n", "");
    let place = place("failed", &study);
    let wrong = MODEL.replace("swiglu(hidden = hidden)", "wrong()");
    let wrong = format!("mixer wrong() {{ out y = log(-abs(x)) }}\n{wrong}");
    fs::write(place.0.join("tiny.arch"), wrong).unwrap();
    let out = searched(&place.0, &[]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(6) && text.contains("all 2 trials failed"), "{text}");
}

/// The ends of a range are tried as its middle is.
#[test]
fn a_range_with_an_impossible_end_is_refused() {
    let study =
        STUDY.replace("model.set.hidden: {int: [4, 64]}", "model.set.layers: {int: [-1, 3]}");
    let place = place("ends", &study);
    let out = searched(&place.0, &["--dry-run"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(3) && text.contains("`model.set.layers`"), "{text}");
}

#[test]
fn a_space_that_is_used_up_ends_the_search() {
    let study = STUDY
        .replace("{int: [4, 64]}", "[4, 8]")
        .replace("  optimizer.adamw.lr: {float: [1e-4, 1e-1], log: true}\n", "");
    let place = place("small", &study);
    let found = document(&place.0, &[]);
    // With attention the other parameter changes nothing: 3 different trials of 4 points.
    assert_eq!(trials(&found).len(), 3);
    let hashes: BTreeSet<&str> =
        trials(&found).iter().map(|t| t["notes"]["lrc:hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), 3);
}

fn background(folder: &Path) -> Child {
    let mut command = command(folder, &["--resume"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn processes_share_a_study_and_go_on_where_one_was_killed() {
    let place = place("shared", &long());
    let (mut one, mut two) = (background(&place.0), background(&place.0));
    let journal = place.0.join("out/journal.log");
    let rungs =
        || fs::read_to_string(&journal).unwrap_or_default().matches("\"op_code\":7").count();
    let began = std::time::Instant::now();
    while rungs() < 3 && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Wherever it is: in a step, at a rung, or with the journal's lock.
    one.kill().unwrap();
    one.wait().unwrap();
    let found = document(&place.0, &["--resume"]);
    assert!(two.wait().unwrap().success());
    let all = trials(&found);
    assert_eq!(all.len(), 12);
    let hashes: BTreeSet<&str> =
        all.iter().map(|t| t["notes"]["lrc:hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), 12, "no trial twice");
    assert!(all.iter().all(|t| t["state"] == "complete" || t["state"] == "pruned"), "{found}");
    // Asynchronous: who comes early is promoted more easily, so at least a half of a half, and not all.
    let complete = all.iter().filter(|t| t["state"] == "complete").count();
    assert!((3..12).contains(&complete), "{complete}");
    for trial in all {
        let rungs = trial["rungs"].as_object().unwrap().len();
        assert_eq!(rungs == 3, trial["state"] == "complete", "{trial}");
        let parameters = trial["notes"]["lrc:parameters"].as_f64().unwrap();
        assert!((parameters - 1000.0).abs() <= 100.0, "{trial}");
    }
}

#[test]
fn the_shipped_studies_can_be_searched() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["placement", "features", "rates", "mixers", "mixers_all", "layouts"] {
        let study = format!("examples/search/{name}.yaml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
        let out = command.current_dir(root).args(["search", &study, "--dry-run"]).output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// The shipped record holds what 204 of 216 points show, and the document says what its replay prints.
#[test]
fn the_shipped_record_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    let args = ["search", "examples/search/mixers.yaml", "--replay", "examples/search/mixers.json"];
    let out = command.current_dir(root).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("204 recorded trials, "), "{text}");
    let page = fs::read_to_string(root.join("docs/search.md")).unwrap();
    for line in text.lines() {
        assert!(page.contains(line.trim_end()), "docs/search.md does not say: {line}");
    }
}

/// Sizes beside the one that was solved for are no nearer.
#[test]
fn params_solves_for_a_size() {
    let lrc = |more: &[&str]| {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/models/quickstart.arch");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
        let out = command.args(["params", model, "--json"]).args(more).output().unwrap();
        serde_json::from_slice::<Value>(&out.stdout).ok()
    };
    for (measure, to, by, key) in [
        ("params", 399_700.0, "layers", "parameters"),
        ("params", 150_000.0, "width", "parameters"),
        ("state", 9_000.0, "window", "state_numbers"),
        ("flops", 1e6, "width", "flops_per_token"),
    ] {
        let found = lrc(&["--match", &format!("{measure}={to}"), "--by", by]).unwrap();
        let size = found["match"]["size"].as_u64().unwrap();
        let value = found["match"]["value"].as_f64().unwrap();
        assert_eq!(found[key].as_f64(), Some(value));
        for other in (size.saturating_sub(8).max(1)..size + 9).filter(|other| *other != size) {
            let Some(beside) = lrc(&["--set", &format!("{by}={other}")]) else { continue };
            let off = (beside[key].as_f64().unwrap() - to).abs();
            assert!((value - to).abs() <= off, "{by} = {other} is nearer than {size}");
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/models/quickstart.arch");
    let out =
        command.args(["params", model, "--match", "params=1M", "--by", "widht"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(3) && text.contains("did you mean `width`"), "{text}");
    // The nearest of what lies far off is told, with a word about it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    let out =
        command.args(["params", model, "--match", "params=10", "--by", "width"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && text.contains("warning: no `width` brings"), "{text}");
}

/// Seconds of a training step per token as `lrc profile` tells them.
fn profiled(folder: &Path, hidden: &str) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    let set = format!("model.set.hidden={hidden}");
    let args = ["profile", "spec.yaml", "--arch", "sm_80", "--json", "--set", &set];
    let out = command.current_dir(folder).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    1.0 / told["steps"][0]["tokens_per_second"].as_f64().unwrap()
}

/// A bound on the modelled time takes the points that keep it, and no others; what it was is noted with the trial.
#[test]
fn a_bound_on_modelled_time_is_kept() {
    let study = |bound: &str| {
        STUDY
            .replace("{int: [4, 64]}", "[8, 2048]")
            .replace("  optimizer.adamw.lr: {float: [1e-4, 1e-1], log: true}\n", "")
            .replace(
                "  model.layers.0: [\"swiglu(hidden = hidden)\", \"attention(heads = 2)\"]\n",
                "",
            )
            .replace("parameters: minimise", "time_per_token: minimise")
            .replace("{parameters: {most: 2k}}", bound)
            + "gpu: sm_80\n"
    };
    let place = place("time", "");
    let [near, far] = ["8", "2048"].map(|hidden| profiled(&place.0, hidden));
    assert!(1.05 * near < far, "{near} {far}");
    let between = format!("{{time_per_token: {{most: {:.3} ns}}}}", 1e9 * (near * far).sqrt());
    fs::write(place.0.join("study.yaml"), study(&between)).unwrap();
    let found = document(&place.0, &[]);
    assert_eq!(trials(&found).len(), 1, "{found:#}");
    let trial = &trials(&found)[0];
    assert_eq!(trial["params"]["model.set.hidden"], 8);
    let noted = trial["notes"]["lrc:time_per_token"].as_f64().unwrap();
    assert!((noted - near).abs() <= 1e-9 * near, "{noted} {near}");
    assert_eq!(trial["values"][1], noted);
    // A bound that nothing keeps, one that is no time, nothing to model with.
    let cases = [
        ("{time_per_token: {most: 1 ns}}", None, 3, "at most 1.000e-9 are allowed"),
        ("{time_per_token: {most: 400k}}", None, 3, "a time such as `3 us`"),
        (&*between, Some("/nowhere"), 4, "cannot load /nowhere"),
    ];
    for (bound, nvrtc, status, said) in cases {
        fs::write(place.0.join("study.yaml"), study(bound)).unwrap();
        let mut command = command(&place.0, &["--out", "other"]);
        nvrtc.map(|nvrtc| {
            command.env("LRC_NVRTC", nvrtc).env("LRC_CACHE_DIR", place.0.join("cache"))
        });
        let out = command.output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(status) && text.contains(said), "{bound}: {text}");
        assert!(!place.0.join("other").exists());
    }
}
