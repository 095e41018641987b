//! `lrc tune`: real searches on the processor, estimates of kernels, tables, and what runs make of them.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{empty, path, said};
use serde_json::Value;

const DELTA: &str = "specs/recurrences/gated_delta_rule.arch";
const SMALL: [&str; 6] = ["--set", "dk=16", "--set", "dv=16", "--shape", "1,256,4"];

/// `lrc tune` with trials in a folder of its own.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    command
        .arg("tune")
        .args(args)
        .env("LRC_CACHE_DIR", folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn tune(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(lines: &[Value], round: &str) -> usize {
    lines.iter().filter(|line| line["round"] == round).count()
}

/// Searches end in their budget, hold every choice against the truth, are not slower than the usual choice in turns with
/// it, and take up what earlier ones have found.
#[test]
fn choices_of_the_processor_are_measured() {
    let folder = empty("tune-cpu");
    let scan = ["specs/recurrences/hgrn.arch", "--shape", "1,256,4"];
    for (args, work) in [([&[DELTA][..], &SMALL].concat(), "training"), (scan.to_vec(), "training")]
    {
        let args = [&args[..], &["--budget", "4s", "--json"]].concat();
        let found = document(&tune(&folder, &args));
        let tuned = &found["tuned"][0];
        assert_eq!(tuned["work"], work);
        assert!(tuned["seconds"].as_f64() <= tuned["usual_seconds"].as_f64(), "{tuned}");
        let trials = tuned["trials"].as_array().unwrap();
        assert!(trials.len() > 3 && trials[0]["choice"] == "as usual", "{tuned}");
        for trial in trials.iter().filter(|trial| trial["round"] == "first") {
            assert!(trial["error"].as_f64() < Some(1e-4), "{trial}");
        }
        let before = lines(&folder);
        document(&tune(&folder, &args));
        let after = lines(&folder);
        // What was tried is not tried again; what there was no time for may be.
        let left_out = tuned["left_out"].as_u64().unwrap() as usize;
        assert!(count(&after, "first") - count(&before, "first") <= left_out);
        assert!(count(&after, "turns") > count(&before, "turns"));
    }
}

/// Kernels are ranked without a GPU, for recurrences of several strategies.
#[test]
fn kernels_are_ranked_by_a_model() {
    let folder = empty("tune-static");
    for file in [DELTA, "specs/recurrences/hgrn.arch", "specs/recurrences/simple_gla.arch"] {
        let all = ["--set", "dk=16", "--set", "dv=16"];
        let sizes: &[&str] = if file.contains("hgrn") { &[] } else { &all };
        let args =
            [&[file, "--static", "--shape", "1,512,2", "--budget", "6s", "--json"], sizes].concat();
        let found = document(&tune(&folder, &args));
        let tuned = found["tuned"].as_array().unwrap();
        assert_eq!(tuned.len(), 2, "{found}");
        for one in tuned {
            assert!(one["seconds"].as_f64() <= one["usual_seconds"].as_f64(), "{one}");
        }
        assert!(found["place"]["device"].as_str().unwrap().contains("modelled"));
    }
}

/// A line of a file of trials.
fn trial(choice: &str, round: &str, ms: f64, fingerprint: &str) -> String {
    format!(
        "{{\"kernel\":\"r\",\"fingerprint\":\"{fingerprint}\",\"work\":\"training\",\"choice\":\"{choice}\",\
         \"device\":\"a machine\",\"lrc\":\"1\",\"shape\":[1,2,3],\"how\":\"measured\",\"round\":\"{round}\",\
         \"seconds\":{},\"spread\":{}}}\n",
        ms / 1e3,
        0.2 / 1e3
    )
}

/// A search is gone through again from its lines, also where one is torn or unknown: what wins does so in turns, and
/// beyond the noise.
#[test]
fn a_search_is_replayed() {
    let folder = empty("tune-replay");
    let found =
        document(&tune(&folder, &[&[DELTA, "--budget", "1s", "--json"][..], &SMALL].concat()));
    let print = found["tuned"][0]["fingerprint"].as_str().unwrap().to_string();
    let file = folder.join("given.jsonl");
    let first = [("as usual", 10.0), ("32 tokens", 7.0), ("48 tokens", 8.0), ("16 tokens", 30.0)];
    for (in_turns, choice) in [([9.0, 9.5, 7.0], "48 tokens"), ([9.0, 8.9, 8.95], "as usual")] {
        let mut text: String = first.iter().map(|(c, ms)| trial(c, "first", *ms, &print)).collect();
        for (c, ms) in ["as usual", "32 tokens", "48 tokens"].iter().zip(in_turns) {
            text += &trial(c, "turns", ms, &print);
        }
        text += &trial("16 tokens", "turns", 30.0, &print);
        text += "{\"of\": \"a later version\"}\n";
        text += &trial("64 tokens", "first", 1.0, &print)[..90];
        std::fs::write(&file, text).unwrap();
        let args = [&[DELTA, "--simulate", path(&file), "--json"][..], &SMALL].concat();
        let found = document(&tune(&folder, &args));
        assert_eq!(found["tuned"][0]["choice"], choice, "{found}");
    }
    let none = tune(&folder, &[&[DELTA, "--simulate", "nowhere.jsonl"][..], &SMALL].concat());
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
}

/// Processes that write at the same time lose no line, and a torn one stays alone.
#[test]
fn processes_write_side_by_side() {
    let folder = empty("tune-both");
    std::fs::write(folder.join("trials.jsonl"), "{\"kernel\": \"torn").unwrap();
    let args = [&[DELTA, "--budget", "2s"][..], &SMALL].concat();
    let mut both: Vec<_> =
        (0..3).map(|_| command(&folder, &args).stdout(Stdio::null()).spawn().unwrap()).collect();
    assert!(both.iter_mut().all(|child| child.wait().unwrap().success()));
    let text = std::fs::read_to_string(folder.join("trials.jsonl")).unwrap();
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"kernel\": \"torn");
    assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{rest}");
    let won = rest.lines().filter(|line| line.contains("\"round\":\"won\"")).count();
    assert_eq!(won, 3);
}

fn spec(folder: &Path) -> PathBuf {
    let text = "model: {file: specs/models/quickstart.arch}\n\
                task: {mqar: {vocab: 64, length: 32, pairs: 4}}\nbatch: 2\nlength: 3 steps\n\
                eval: {every: 0 steps, sequences: 1}\ntuned: table.json\n";
    let model = path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models/quickstart.arch"))
        .to_string();
    let file = folder.join("s.yaml");
    std::fs::write(&file, text.replace("specs/models/quickstart.arch", &model)).unwrap();
    file
}

fn lrc(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lrc")).args(args).current_dir(folder).output().unwrap()
}

/// A run trains by a table, keeps a copy and goes on with it; a table of another place, another version's choices or
/// what is no table is refused alike by all that read specs.
#[test]
fn runs_use_tables_and_keep_them() {
    let folder = empty("tune-runs");
    let spec = spec(&folder);
    let table = folder.join("table.json");
    std::fs::write(&table, "{\"place\": {\"device\": \"\", \"lrc\": \"\"}, \"choices\": []}")
        .unwrap();
    let args = [path(&spec), "--budget", "3s", "--shape", "1,64,2", "--export", path(&table)];
    let output = tune(&folder, &args);
    assert!(output.status.success(), "{}", said(&output));
    let mut made: Value = serde_json::from_slice(&std::fs::read(&table).unwrap()).unwrap();
    // Whatever has won here: the table decides.
    made["choices"][0]["choice"] = "8 tokens".into();
    std::fs::write(&table, made.to_string()).unwrap();
    let train = |out: &str, more: &[&str]| {
        lrc(&folder, &[&["train", path(&spec), "--out", out][..], more].concat())
    };
    let output = train("a", &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(folder.join("a/tuned.json")).unwrap(), std::fs::read(&table).unwrap());
    // Other blocks, other last bits, the same losses.
    let loss = |run: &str| -> f64 {
        let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
        let last: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        last.iter().rev().find_map(|line| line["loss"].as_f64()).unwrap()
    };
    let plain = std::fs::read_to_string(&spec).unwrap().replace("tuned: table.json\n", "");
    std::fs::write(folder.join("p.yaml"), plain).unwrap();
    let output = lrc(&folder, &["train", "p.yaml", "--out", "p"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!((loss("a") - loss("p")).abs() < 1e-4, "{} {}", loss("a"), loss("p"));

    let spoiled = |change: &dyn Fn(&mut Value)| {
        let mut table: Value =
            serde_json::from_slice(&std::fs::read(folder.join("a/tuned.json")).unwrap()).unwrap();
        change(&mut table);
        table.to_string()
    };
    for (text, words) in [
        (spoiled(&|t| t["place"]["device"] = "another".into()), "was measured on another"),
        (spoiled(&|t| t["choices"][0]["choice"] = "7 knots".into()), "`7 knots` is no choice"),
        ("not json".into(), "no table of `lrc tune --export`"),
    ] {
        std::fs::write(&table, text).unwrap();
        for args in [
            &["check", path(&spec)][..],
            &["train", path(&spec), "--dry-run"],
            &["train", path(&spec), "--out", "b"],
        ] {
            let output = lrc(&folder, args);
            assert_eq!(output.status.code(), Some(3), "{}", said(&output));
            assert!(said(&output).contains(words), "{}", said(&output));
        }
        // The run has its own.
        let output = train("a", &["--resume", "--set", "length=4 steps"]);
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn what_cannot_be_tuned_is_said() {
    let folder = empty("tune-refusals");
    let foreign = folder.join("foreign.json");
    std::fs::write(
        &foreign,
        "{\"place\": {\"device\": \"a GPU\", \"lrc\": \"0\"}, \"choices\": []}",
    )
    .unwrap();
    for (args, status, words) in [
        (&[DELTA, "--device", "sim"][..], 2, "--static estimates"),
        (&[DELTA, "--budget", "5 steps"], 2, "as in 30s or 5min"),
        (&[DELTA, "--arch", "sm_80"], 2, "--static"),
        (&[DELTA, "--static", "--arch", "sm_89"], 2, "choose from sm_80, sm_90a"),
        (&["specs/models/quickstart.arch", "nobody"], 3, "nobody"),
        (&[DELTA, "--import", path(&foreign)], 3, "was measured on a GPU"),
    ] {
        let output = tune(&folder, args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
}
