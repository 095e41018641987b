//! `lrc plan`: a published model's numbers from its graph, layouts that cannot be, what is told.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// LLaMA 65B (Touvron et al. 2023, table 2), in bf16 beside f32, with steps of 4 M tokens.
const LLAMA: &str = "model:
  file: MODELS/transformer.arch
  set: {width: 8192, layers: 80, heads: 64, hidden: 22016, vocab: 32000}
data: {path: tokens, length: 2048}
batch: 2048
micro_batch: 2048 tokens
length: 333787 steps
precision: {matrices: bf16, embedding: bf16, head: bf16}
optimizer:
  adamw: {lr: 1.5e-4, beta2: 0.95, weight_decay: 0.1, clip: 1.0}
";

fn place(name: &str, spec: &str) -> Place {
    let folder = std::env::temp_dir().join(format!("lrc-plan-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/specs/models");
    std::fs::write(folder.join("spec.yaml"), spec.replace("MODELS", models)).unwrap();
    Place(folder)
}

fn planned(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    command.current_dir(folder).args(["plan", "spec.yaml"]).args(more).output().unwrap()
}

fn document(folder: &Path, more: &[&str]) -> Value {
    let out = planned(folder, &[&["--json"], more].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn near(found: &Value, published: f64) {
    let found = found.as_f64().unwrap();
    assert!((found / published - 1.0).abs() < 0.05, "{found}, published {published}");
}

/// 65.2 milliards of parameters, six operations of each and token and those of attention; hours at the speed that they tell, as
/// the share of the peak that it is.
#[test]
fn llama_is_planned_from_its_graph() {
    let place = place("llama", LLAMA);
    let share = 380.0 * 6.0 * 65.2e9 / 312e12;
    let share = format!("{share}");
    let args = ["--arch", "sm_80", "--gpus", "2048", "--utilisation", &share];
    let found = document(&place.0, &args);
    let operations = found["step"]["operations_per_token"].as_f64().unwrap();
    // Attention adds 3 · 2 · 2 · (2048 / 2) · 8192 of each of 80 layers.
    let attention = 12.0 * 1024.0 * 8192.0 * 80.0;
    near(&(operations - attention).into(), 6.0 * 65.2e9);
    let [plain, first, second] =
        [0, 1, 2].map(|at| found["plans"][at]["memory"].as_object().unwrap().clone());
    // Two bytes read, four of gradient, eight remembered and four of master weights; norms are f32.
    near(&plain["parameters"], 2.0 * 65.2e9);
    near(&plain["gradients"], 4.0 * 65.2e9);
    near(&plain["optimiser"], 12.0 * 65.2e9);
    near(&first["optimiser"], 12.0 * 65.2e9 / 2048.0);
    near(&second["gradients"], 4.0 * 65.2e9 / 2048.0);
    assert_eq!(plain["fits"], false);
    // Their share is of operations without those of attention.
    let plan = &found["plans"][1];
    let slower = operations / (6.0 * 65.2e9);
    let computed = plan["seconds"]["passes"].as_f64().unwrap() / slower;
    near(&(2048.0 * 2048.0 / computed / 2048.0).into(), 380.0);
    let days = 333_787.0 * computed / 86400.0;
    near(&days.into(), 21.0);
    near(&(days * 24.0 * 2048.0).into(), 1_022_362.0);
    assert!(plan["hours"].as_f64().unwrap() >= days * 24.0);
}

#[test]
fn layouts_that_cannot_be_say_what_to_type() {
    let small =
        LLAMA.replace("layers: 80", "layers: 1").replace("\nbatch: 2048\n", "\nbatch: 96\n");
    let place = place("layouts", &small);
    let share = ["--utilisation", "40%"];
    for (args, said) in [
        (&["--gpus", "128"][..], "128 GPUs: a step of 96 sequences has none for 32 of 128"),
        (&["--gpus", "96", "--sequence-parallel", "5"], "does not divide evenly"),
        (&["--arch", "sm_70"], "choose from sm_80, sm_90a"),
    ] {
        let out = planned(&place.0, &[args, &share].concat());
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && text.contains(said), "{args:?}: {text}");
    }
    // Those that can be are planned, the others told; shared sequences make room for more.
    let out = planned(&place.0, &[&["--gpus", "8,128"], &share[..]].concat());
    let (table, told) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && told.contains("--sequence-parallel 2"), "{told}");
    assert!(table.contains("Not modelled") && table.contains("InfiniBand"), "{table}");
    let more = ["--gpus", "128", "--sequence-parallel", "2", "--zero", "1"];
    let found = document(&place.0, &[&more, &share[..]].concat());
    let plan = &found["plans"][0];
    assert_eq!((&plan["length"], &plan["batch"]), (&1024.into(), &2.into()));
    assert!(plan["sequence"]["bytes"].as_f64().unwrap() > 0.0);
}
