//! What is said of a machine: `lrc verify --report`, the file that somebody with a GPU sends back, tried on the sim device; and
//! the speeds of `lrc bench`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{empty, lrc, path, said};
use serde_json::Value;

const RECURRENCE: &str = "specs/recurrences/simple_gla.arch";

/// The status, what was said and the report of a run.
fn reported(name: &str, args: &[&str]) -> (i32, String, Value) {
    let out = empty(&format!("acceptance-{name}")).join("report.json");
    let output = lrc(&[&["verify", "--report", path(&out)][..], args].concat());
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    let file = std::fs::read(&out).unwrap_or_else(|why| panic!("{why}: {text}"));
    (output.status.code().unwrap(), text, serde_json::from_slice(&file).unwrap())
}

#[test]
fn a_report_says_what_ran_where_and_how() {
    let (status, text, report) = reported("one", &["--device", "sim", RECURRENCE]);
    assert_eq!(status, 0, "{text}");
    for (field, want) in [("report", "lrc verify"), ("lrc", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(report[field], want);
    }
    assert_eq!([&report["device"]["kind"], &report["device"]["arch"]], ["sim", "sm_80"]);
    assert!(report["nvrtc"].as_str().unwrap().contains('.'));
    assert!(report["clock"].as_str().unwrap().starts_with("sim"));
    assert_eq!(report["complete"], true);
    let parts = report["parts"].as_array().unwrap();
    let of = |what: &str| parts.iter().find(|part| part["what"] == what).unwrap();
    let compared = of("compared");
    assert_eq!(compared["outcome"], "ok");
    for share in ["forward", "gradients", "decode"] {
        let share = compared["share_of_bar"][share].as_f64().unwrap();
        assert!(share > 0.0 && share <= 1.0, "{share}");
    }
    let launches = of("times")["launches"].as_array().unwrap();
    for pass in ["forward", "saving", "backward"] {
        assert!(launches.iter().any(|launch| launch["pass"] == pass), "{pass}");
    }
    for launch in launches {
        let [least, median, most] = ["least", "median", "most"].map(|x| launch["ms"][x].as_f64());
        assert!(least > Some(0.0) && least <= median && median <= most, "{launch}");
    }
    assert!(text.contains("1 compared, 0 wrong; 1 timed"), "{text}");
}

/// The script that people run, with a budget that ends at once.
#[test]
fn the_script_writes_the_report() {
    let out = empty("acceptance-script").join("report.json");
    let output = std::process::Command::new("bash")
        .args(["tests/gpu/report", env!("CARGO_BIN_EXE_lrc"), "sim", path(&out), "0"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(report["complete"], true);
    assert!(String::from_utf8_lossy(&output.stdout).contains("please send back"));
}

/// A budget is kept, and what it leaves out is named.
#[test]
fn what_a_budget_leaves_out_is_named() {
    let (status, text, report) = reported("budget", &["--device", "sim", "--budget", "0.5"]);
    assert_eq!(status, 0, "{text}");
    let parts = report["parts"].as_array().unwrap();
    let left = parts.iter().filter(|part| part["outcome"] == "not_reached").count();
    assert!(left > 60 && left < parts.len(), "{left} of {}", parts.len());
    assert!(report["seconds"].as_f64().unwrap() < 30.0);
    assert!(text.contains("not reached in the budget: ") && text.contains("titans_fla"), "{text}");
}

#[test]
fn what_cannot_be_reported_is_said() {
    let out = empty("acceptance-wrong").join("report.json");
    let nowhere = empty("acceptance-nowhere").join("a/b/report.json");
    for (status, args, words) in [
        (2, &["--report", path(&out)][..], "add `--device cuda`"),
        (2, &["--report", path(&out), "--device", "sim", "--json"], "--json"),
        (2, &["--report", path(&out), "--device", "sim", "--budget=-1"], "--budget"),
        (2, &[RECURRENCE, "--budget", "3"], "--report"),
        (2, &[], "FILE"),
        (3, &["--report", path(&out), "--device", "sim", "--set", "nothing=3"], "nothing"),
        (1, &["--report", path(&nowhere), "--device", "sim", RECURRENCE], "report.json"),
        (1, &["--report", path(&out), "--device", "sim", "none.arch"], "none.arch"),
    ] {
        let output = lrc(&[&["verify"][..], args].concat());
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
        assert!(!out.exists(), "{args:?}");
    }
}

/// The only row of a table of speeds.
fn speeds(args: &[&str]) -> Value {
    let output = lrc(&[&["bench", "--seconds", "0", "--json"][..], args].concat());
    assert!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["recurrences"][0].clone()
}

/// Operations are counted as papers count them: 6 H L D² for GLA, 8 H L D² for Gated DeltaNet, 2 H D L² for attention.
#[test]
fn speeds_are_by_the_counts_of_papers() {
    let (h, l, d) = (2.0, 64.0, 16.0);
    for (name, flops, decodes) in [
        ("gla", 6.0 * h * l * d * d, true),
        ("gated_delta_rule", 8.0 * h * l * d * d, true),
        ("softmax_attn", 2.0 * h * d * l * l, false),
    ] {
        let file = format!("specs/recurrences/{name}.arch");
        let sizes: &[&str] =
            if decodes { &["--set", "dk=16", "--set", "dv=16"] } else { &["--set", "d=16"] };
        let row = speeds(&[&[file.as_str(), "--length", "64", "--heads", "2"][..], sizes].concat());
        assert_eq!(row["forward_flops"].as_f64(), Some(flops), "{name}");
        let seconds = row["forward_ms"].as_f64().unwrap() * 1e-3;
        let rate = row["forward_tflops"].as_f64().unwrap() * 1e12;
        assert!((rate * seconds / flops - 1.0).abs() < 1e-9, "{name}");
        assert_eq!(row["decoded_tokens_per_second"].as_f64().is_some_and(|x| x > 0.0), decodes);
    }
    // What is no GPU has no speed.
    let file = "specs/recurrences/gla.arch";
    let row =
        speeds(&[file, "--device", "sim", "--length", "16", "--heads", "1", "--set", "dk=16"]);
    assert!(row["forward_tflops"].is_null() && row["decoded_tokens_per_second"].is_null());
}

#[test]
fn states_are_expanded_in_turn() {
    let sizes = ["width=32", "layers=1", "heads=1", "d=16", "hidden=32"];
    let sets = sizes.iter().flat_map(|size| ["--set", size]);
    let args = ["bench", "--expansion", "--json", "--length", "16", "--seconds", "0"];
    let output = lrc(&args.into_iter().chain(sets).collect::<Vec<&str>>());
    assert!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["training"].as_array().unwrap();
    let subheads: Vec<u64> = rows.iter().filter_map(|row| row["subheads"].as_u64()).collect();
    assert_eq!(subheads, [1, 2, 4, 8]);
    let speed = |row: &Value| row["tokens_per_second"].as_f64().unwrap();
    for row in rows {
        let share = row["share_of_first"].as_f64().unwrap();
        assert!((share * speed(&rows[0]) / speed(row) - 1.0).abs() < 1e-9, "{row}");
    }
}
