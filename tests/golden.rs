//! The reference cases of an independent peer (tests/reference), through the same code as
//! `lrc exec --backward`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::form::FormKind;
use lrc_dsl::Sources;
use lrc_runtime::device::Device;
use lrc_runtime::ground::library;
use lrc_runtime::ground::tensors::{self, Data};
use lrc_runtime::recurrence::run::{Request, run_recurrence};

/// `‖got − want‖₂ / ‖want‖₂`; 0 where the largest difference is at most 1e-6.
fn error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let gaps = got.iter().zip(want).map(|(g, w)| f64::from(*g) - f64::from(*w));
    let worst = gaps
        .clone()
        .fold(0.0, |top: f64, gap| if gap.is_nan() { f64::INFINITY } else { top.max(gap.abs()) });
    if worst <= 1e-6 {
        return 0.0;
    }
    let norm = |sum: f64| sum.sqrt();
    let scale = norm(want.iter().map(|w| f64::from(*w).powi(2)).sum());
    let error = norm(gaps.map(|gap| gap * gap).sum()) / scale.max(1e-30);
    if error.is_nan() { f64::INFINITY } else { error }
}

struct Case {
    name: String,
    op: String,
    side: serde_json::Value,
    tensors: tensors::Tensors,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let side: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let op = side["op"].as_str().unwrap().to_string();
        let tensors = tensors::read(&path.with_extension("safetensors")).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        cases.push(Case { name, op, side, tensors });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 133, "the reference cases are part of the project");
    cases
}

fn settings(side: &serde_json::Value) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let scale =
        side.get("scale").filter(|s| !s.is_null()).map(|s| ("scale".to_string(), s.clone()));
    let params = side["params"].as_object().cloned().unwrap_or_default();
    for (name, value) in params.into_iter().chain(scale) {
        settings.insert(name, Setting::parse(&value.to_string()).unwrap());
    }
    settings
}

/// The errors of a system's worst case, forward and of gradients, by system.
type Worst = BTreeMap<String, [f64; 2]>;

/// Leaves a table for `./test` to print.
fn table(name: &str, form: impl Fn(&str) -> String, worst: &Worst) {
    let mut text = format!("{:<24} {:<10} {:>9} {:>9}\n", name, "form", "forward", "gradients");
    for (op, [forward, gradients]) in worst {
        text += &format!("{op:<24} {:<10} {forward:>9.1e} {gradients:>9.1e}\n", form(op));
    }
    let file = name.replace(' ', "-") + ".txt";
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), text).unwrap();
}

/// Runs a case and lists the tensors that miss their bar: on the CPU 2e-5 forward and 1e-4 for
/// gradients, by kernels 1e-2 and 2e-2, ten times that for a tensor of fewer than 16 numbers.
fn misses(
    case: &Case,
    form: FormKind,
    chunk: Option<usize>,
    device: Device,
    worst: &mut Worst,
) -> Vec<String> {
    let path = format!("recurrences/{}.arch", case.op);
    let loaded = library::load(&path, &mut Sources::default());
    let (namespace, diags) = loaded.expect("a shipped recurrence");
    assert!(diags.is_empty(), "{path}: {diags:?}");
    let request = Request {
        settings: settings(&case.side),
        backward: true,
        form,
        chunk,
        bf16: false,
        device,
    };
    let got = match run_recurrence(namespace.get(&case.op).unwrap(), &case.tensors, &request) {
        Ok(got) => got.tensors,
        Err(failure) => return vec![format!("{}: {failure:?}", case.name)],
    };
    let mut missed = Vec::new();
    let bars = if device == Device::Cpu { [2e-5, 1e-4] } else { [1e-2, 2e-2] };
    let worst = worst.entry(case.op.clone()).or_default();
    for (place, (group, bar)) in ["outputs", "gradients"].into_iter().zip(bars).enumerate() {
        for name in case.side[group].as_array().unwrap() {
            let name = name.as_str().unwrap();
            if name.ends_with("_m") {
                continue;
            }
            let (Data::F32(got), Data::F32(want)) = (&got[name].data, &case.tensors[name].data)
            else {
                panic!("{name} holds floats");
            };
            let error = error(got, want);
            worst[place] = worst[place].max(error);
            let few = device == Device::Sim && want.len() < 16;
            if error > if few { 10.0 * bar } else { bar } {
                missed
                    .push(format!("{} ({form:?}, chunk {chunk:?}): {name} {error:.1e}", case.name));
            }
        }
    }
    missed
}

#[test]
fn the_recurrent_form_reproduces_every_case() {
    let mut worst = Worst::new();
    let missed: Vec<String> = cases()
        .iter()
        .flat_map(|case| misses(case, FormKind::Recurrent, None, Device::Cpu, &mut worst))
        .collect();
    table("reference step", |_| "step".into(), &worst);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Recurrences that have a chunk or attention form.
const CHUNKED: &[&str] = &[
    "linear_attn",
    "linear_attn_norm",
    "retention",
    "simple_gla",
    "gla",
    "hgrn2",
    "mamba2_ssd",
    "delta_rule",
    "delta_rule_neg",
    "gated_delta_rule",
    "delta_product",
    "gated_delta_product",
    "kda",
    "dplr",
    "rwkv6",
    "rwkv7",
    "gsa",
    "based",
    "rebased",
    "softmax_attn",
    "sliding_window_attn",
    "forgetting_attn",
    "log_linear_attn",
];

#[test]
fn the_chunk_form_reproduces_every_case_at_every_length() {
    let all = cases();
    let (mut missed, mut worst) = (Vec::new(), Worst::new());
    for case in all.iter().filter(|case| CHUNKED.contains(&case.op.as_str())) {
        for chunk in [1, 16, 64, 300] {
            missed.extend(misses(case, FormKind::Chunk, Some(chunk), Device::Cpu, &mut worst));
        }
    }
    table("reference cpu", form, &worst);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Recurrences whose kernels go token by token.
const TOKEN: &[&str] =
    &["mlstm", "slstm", "titans_linear", "abc", "mesa_net", "ttt_linear", "ttt_mlp", "titans_fla"];

/// How a recurrence is computed, for the table.
fn form(op: &str) -> String {
    let known: [(&[&str], &str); 4] = [
        (TOKEN, "token"),
        (&["hgrn", "rglru", "s4d", "mamba1"], "scan"),
        (&["softmax_attn", "sliding_window_attn"], "attention"),
        (&["forgetting_attn", "log_linear_attn"], "halves"),
    ];
    let found = known.into_iter().find(|(ops, _)| ops.contains(&op));
    found.map_or("chunk", |(_, form)| form).to_string()
}

#[test]
fn kernels_reproduce_every_case() {
    let (mut missed, mut worst) = (Vec::new(), Worst::new());
    for case in &cases() {
        missed.extend(misses(case, FormKind::Auto, None, Device::Sim, &mut worst));
    }
    table("reference sim", form, &worst);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
