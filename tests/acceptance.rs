//! `lrc verify --report`: the file that somebody with a GPU sends back, tried on the sim device.

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
