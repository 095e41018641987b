//! Folders of runs: checkpoints, resuming, locks, signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{empty, lrc, path, said};
use crate::input;

fn folder(name: &str) -> PathBuf {
    empty(&format!("runs-{name}"))
}

/// Trains the small spec of these tests, its values overridden.
fn train(run: &Path, set: &[&str], more: &[&str]) -> Output {
    let spec = input("break/s.yaml");
    let mut args = vec!["train", &spec, "--out", path(run)];
    for set in set {
        args.extend(["--set", set]);
    }
    args.extend(more);
    lrc(&args)
}

/// A run of 40 steps whose newest checkpoint but one is of step 30.
fn run(name: &str, set: &[&str]) -> PathBuf {
    let run = folder(name);
    let output = train(&run, &[&["length=40 steps"], set].concat(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    run
}

fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}"))
}

/// Flips one bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

#[track_caller]
fn fails(output: &Output, status: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

/// R1, R12, R13: every read compares a checkpoint with its checksums, and names an older one that is sound.
#[test]
fn a_damaged_checkpoint_is_named_and_not_used() {
    let run = run("damaged", &[]);
    let weights = |step| std::fs::read(checkpoint(&run, step).join("model.safetensors")).unwrap();
    let end = weights(40);
    let newest = checkpoint(&run, 40);
    let resume = |more: &[&str]| train(&run, &["length=40 steps"], &[&["--resume"], more].concat());
    for file in ["model.safetensors", "optimizer.safetensors", "state.json", "DONE"] {
        let sound = std::fs::read(newest.join(file)).unwrap();
        flip(&newest.join(file));
        fails(&resume(&[]), 3, &[file, "damaged", "step-00000030 is sound", "--from-step 30"]);
        if file == "model.safetensors" {
            fails(&lrc(&["eval", path(&run)]), 3, &["damaged", "--from-step 30"]);
            let generate = ["generate", path(&run), "--prompt", "3 17 4", "--tokens", "2"];
            fails(&lrc(&generate), 3, &["damaged", "--from-step 30"]);
            let from = ["--from", path(&newest), "--out"];
            fails(&train(&folder("branch"), &[], &from[..2]), 3, &["damaged"]);
            let output = lrc(&["eval", path(&run), "--from-step", "30", "--sequences", "8"]);
            assert!(output.status.success(), "{}", said(&output));
        }
        std::fs::write(newest.join(file), sound).unwrap();
    }
    std::fs::write(newest.join("model.safetensors"), "").unwrap();
    fails(&resume(&[]), 3, &["model.safetensors", "damaged", "--from-step 30"]);
    fails(&resume(&["--from-step", "31"]), 2, &["--from-step 31", "30, 40"]);
    let output = resume(&["--from-step", "30"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(weights(40) == end, "the run ended differently");
}

/// R12: what a state says of the data is compared with itself, also where nothing has a checksum.
#[test]
fn checkpoints_of_earlier_versions_are_read_and_states_must_be_possible() {
    let run = run("earlier", &["checkpoint.keep=1"]);
    let newest = checkpoint(&run, 40);
    std::fs::write(newest.join("DONE"), "").unwrap();
    let resume = || train(&run, &["length=40 steps", "checkpoint.keep=1"], &["--resume"]);
    let output = resume();
    fails(&output, 0, &["carries no checksums"]);
    let state = std::fs::read_to_string(newest.join("state.json")).unwrap();
    assert!(state.contains("\"stretches\":[[0,40]]") && state.contains("\"step\":40"), "{state}");
    for wrong in ["[]", "[[40,0]]", "[[5,40]]", "[[0,1000000000000]]", "[[0,30],[31,40]]"] {
        let wrong = state.replace("[[0,40]]", wrong);
        std::fs::write(newest.join("state.json"), wrong).unwrap();
        fails(&resume(), 3, &["state.json is damaged", "no older checkpoint"]);
    }
    for wrong in ["\"step\":41", "\"step\":18446744073709551615"] {
        let wrong = state.replace("\"step\":40", wrong);
        std::fs::write(newest.join("state.json"), wrong).unwrap();
        fails(&resume(), 3, &["state.json is damaged"]);
    }
}

/// R4: parameters that are no numbers are never saved over sound ones.
#[test]
fn parameters_that_are_no_numbers_are_not_saved() {
    let run = folder("nan");
    let spec = input("break/nan_checkpoint.yaml");
    let output = lrc(&["train", &spec, "--out", path(&run)]);
    fails(&output, 6, &["the checkpoint of step 5"]);
    assert!(checkpoint(&run, 5).join("DONE").exists());
    let output = lrc(&["eval", path(&run), "--sequences", "8", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["loss"].as_f64().is_some_and(f64::is_finite), "{found}");
}

/// R16, and `step-best` beside the steps: only `step-<digits>` is a step, and steps are numbers.
#[test]
fn checkpoints_are_of_steps_compared_as_numbers() {
    let run = run("names", &[]);
    let (at, from) = (run.join("checkpoints"), checkpoint(&run, 30));
    let copy = |name: &str| {
        std::fs::create_dir_all(at.join(name)).unwrap();
        for file in ["model.safetensors", "optimizer.safetensors", "state.json", "DONE"] {
            std::fs::copy(from.join(file), at.join(name).join(file)).unwrap();
        }
    };
    copy("step-best");
    // By text it stands behind step 40.
    std::fs::rename(checkpoint(&run, 30), at.join("step-9")).unwrap();
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let output = train(&run, &["length=40 steps"], &["--resume"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(at.join("step-best/DONE").exists(), "it was pruned");
    assert!(
        std::fs::read(run.join("metrics.jsonl")).unwrap() == before,
        "it went on before step 40"
    );
}

/// A run that lasts until it is stopped, once it has begun to train.
fn endless(run: &Path) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_lrc"))
        .args(["train", &input("break/s.yaml"), "--out", path(run)])
        .args(["--set", "length=100000 steps", "--set", "eval.every=100000 steps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !checkpoint(run, 10).join("DONE").exists() && !checkpoint(run, 20).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// R7: one process trains in a folder, and a process that was killed holds nothing.
#[test]
fn a_folder_is_of_one_process_at_a_time() {
    let run = folder("lock");
    let mut child = endless(&run);
    let who = format!("process {} is training in", child.id());
    let set = ["length=100000 steps", "eval.every=100000 steps"];
    fails(&train(&run, &set, &["--resume"]), 2, &[&who]);
    fails(&train(&run, &set, &[]), 2, &[&who]);
    child.kill().unwrap();
    child.wait().unwrap();
    let steps = std::fs::read_dir(run.join("checkpoints")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let done = entry.path().join("DONE").exists();
        done.then(|| entry.file_name().to_str()?.strip_prefix("step-")?.parse::<u64>().ok())?
    });
    let next = (steps.max().unwrap() + 1).to_string();
    fails(&train(&run, &set, &["--resume", "--stop-after", &next]), 130, &[]);
}

/// R8: lines that a crash of the machine took are missed.
#[test]
fn lost_lines_of_the_record_are_said() {
    let run = run("lines", &[]);
    let metrics = run.join("metrics.jsonl");
    let whole = std::fs::read_to_string(&metrics).unwrap();
    let count = whole.lines().count();
    let (first, _) = whole.split_at(whole.lines().take(3).map(|line| line.len() + 1).sum());
    for (cut, kept) in [(String::new(), 0), (first.to_string(), 3), (format!("{first}\0\0\n"), 3)] {
        std::fs::write(&metrics, &cut).unwrap();
        let from = ["--resume", "--from-step", "40"];
        let output = train(&run, &["length=40 steps"], &from);
        fails(&output, 0, &[&format!("has lost {} of its {count} lines", count - kept)]);
    }
}
