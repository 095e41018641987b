//! Kernels, their cache, and what they refuse.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use lrc_runtime::ground::tensors::{self, Data, Tensor, Tensors};
use serde_json::Value;

use crate::common::{empty, lrc, path, said};
use crate::input;

/// Kernels against the recurrent form in f64; the status says whether they are within the bar.
fn verified(file: &str) {
    let output = lrc(&["verify", file, "--device", "sim"]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{file}: {out}{}", said(&output));
}

fn written(name: &str, text: &str) -> String {
    let file = empty(name).join(format!("{name}.arch"));
    std::fs::write(&file, text).unwrap();
    path(&file).to_string()
}

/// X4: a quotient of sums that cancel keeps its digits, and so do the gradients around it.
#[test]
fn what_is_divided_by_a_sum_that_cancels() {
    verified("specs/recurrences/rebased.arch");
    let signed = "recurrence signed {
        in q, k : [11]
        in v    : [13]
        state S : [11, 13]
        state z : [11]
        S[t] = S[t-1] + k * v^T
        z[t] = z[t-1] + k
        out o = S[t]^T * q / (q^T * z[t])
    }";
    verified(&written("signed", signed));
}

/// Rows behind the end of a sequence once gave 0/0, which the gradients of keys summed up: right at
/// lengths that are no multiple of a block.
#[test]
fn rows_behind_the_end_of_attention_are_numbers() {
    verified(&input("arch/past_denominator.arch"));
    verified(&input("arch/sink_attn.arch"));
}

/// A tensor of f32.
fn f32s(shape: &[usize], mut at: impl FnMut(usize) -> f32) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor { shape: shape.to_vec(), data: Data::F32((0..count).map(&mut at).collect()) }
}

/// Inputs of the gated delta rule whose log decays are as given, and what flows in.
fn gated(tokens: usize, decay: impl Fn(usize) -> f32) -> Tensors {
    const D: usize = 16;
    let mut seed = 1_u32;
    let mut draw = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut tensors = Tensors::new();
    for name in ["q", "v", "do"] {
        tensors.insert(name.into(), f32s(&[1, tokens, 1, D], |_| draw()));
    }
    let mut keys: Vec<f32> = (0..tokens * D).map(|_| draw()).collect();
    for key in keys.chunks_exact_mut(D) {
        let norm = key.iter().map(|x| x * x).sum::<f32>().sqrt();
        key.iter_mut().for_each(|x| *x /= norm);
    }
    tensors.insert("k".into(), f32s(&[1, tokens, 1, D], |i| keys[i]));
    tensors.insert("beta".into(), f32s(&[1, tokens, 1], |_| 0.5 * (1.0 + draw()).min(1.9)));
    tensors.insert("g".into(), f32s(&[1, tokens, 1], decay));
    tensors
}

/// Strong decays and resets, by kernels as by the processor.
#[test]
fn decays_of_every_strength_on_sim() {
    const RESETS: [usize; 2] = [5, 64];
    let folder = empty("decays");
    let cases: [(&str, &dyn Fn(usize) -> f32); 4] = [
        ("strong", &|_| -5.6),
        ("stronger", &|_| -88.0),
        ("nothing_stays", &|_| f32::NEG_INFINITY),
        ("resets", &|t| if RESETS.contains(&t) { f32::NEG_INFINITY } else { -0.1 }),
    ];
    for (name, decay) in cases {
        let given = folder.join(format!("{name}.safetensors"));
        tensors::write(&given, &gated(70, decay)).unwrap();
        let run = |device: &str| {
            let file = "specs/recurrences/gated_delta_rule.arch";
            executed(file, "gated_delta_rule", &given, device)
        };
        let (want, got) = (run("cpu"), run("sim"));
        let differ = want.keys().map(|tensor| (tensor, difference(&got[tensor], &want[tensor])));
        for (tensor, [gap, size]) in differ {
            let bar = if tensor.starts_with('d') { 2e-2 } else { 1e-2 };
            let close = gap <= bar * size || gap <= 1e-6;
            assert!(close, "{name}: {tensor} differs by {}", gap / size);
        }
    }
}

/// `decay_that_comes_back`, by kernels: decays that no promise keeps below 1 may bring back what has faded.
#[test]
fn what_has_faded_may_come_back_on_sim() {
    const GOES: usize = 20;
    const BACK: usize = 28;
    const D: usize = 16;
    let folder = empty("comes_back");
    for (name, width) in [("scalar", None), ("channels", Some(D))] {
        let decay = if width.is_some() { "diag(exp(g))" } else { "exp(g)" };
        let ty = if width.is_some() { "[16]" } else { "scalar" };
        let text = format!(
            "recurrence back {{ in q, k : [16]; in v : [16]; in g : {ty}; state S : [16, 16]
             S[t] = {decay} * S[t-1] + k * v^T
             out o = S[t]^T * q }}"
        );
        let file = written(name, &text);
        let mut all = gated(70, |_| 0.0);
        all.remove("beta");
        let shape: Vec<usize> = [1, 70, 1].into_iter().chain(width).collect();
        let log = |t| {
            if t == GOES {
                -60.0
            } else if t == BACK {
                60.0
            } else {
                -0.1
            }
        };
        all.insert("g".into(), f32s(&shape, |i| log(i / width.unwrap_or(1))));
        // What is written meanwhile would drown what comes back.
        let Data::F32(v) = &mut all.get_mut("v").unwrap().data else { panic!("v is f32") };
        v[GOES * D..BACK * D].fill(0.0);
        let given = folder.join(format!("{name}.safetensors"));
        tensors::write(&given, &all).unwrap();
        let (want, got): (Tensors, Tensors) =
            ["cpu", "sim"].map(|device| executed(&file, "back", &given, device)).into();
        for tensor in ["o", "final_state", "dq", "dk", "dinitial_state"] {
            let [gap, size] = difference(&got[tensor], &want[tensor]);
            assert!(gap <= 1e-2 * size, "{name}: {tensor} {}", gap / size);
        }
    }
}

/// What a recurrence of a file gives, with its gradients.
fn executed(file: &str, name: &str, given: &Path, device: &str) -> Tensors {
    let out = given.with_extension(format!("{device}.out"));
    let mut args = vec!["exec", file, name, "--inputs", path(given)];
    args.extend(["--out", path(&out), "--backward", "--device", device]);
    let output = lrc(&args);
    assert_eq!(output.status.code(), Some(0), "{file}: {}", said(&output));
    tensors::read(&out).unwrap()
}

/// The norm of what a tensor differs by, and that of the one that is wanted.
fn difference(got: &Tensor, want: &Tensor) -> [f64; 2] {
    let (Data::F32(want), Data::F32(got)) = (&want.data, &got.data) else {
        panic!("tensors are f32")
    };
    let square = |x: f32| f64::from(x) * f64::from(x);
    let gap: f64 = got.iter().zip(want).map(|(g, w)| square(g - w)).sum();
    let size: f64 = want.iter().map(|w| square(*w)).sum();
    [gap.sqrt(), size.sqrt()]
}

/// Runs the binary with variables of its environment, in a folder.
fn with(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    command.args(args).current_dir(folder).envs(variables.iter().copied());
    command.output().unwrap()
}

const SMALL: &str = "recurrence small {
    in x    : [8]
    state h : [8]
    h[t] = 0.5 * h[t-1] + x
    out o = h[t]
}
recurrence wide {
    in x    : [24]
    state h : [24]
    h[t] = 0.5 * h[t-1] + x
    out o = h[t]
}";

/// `lrc compile FILE` makes kernels and says what its compiler says of them; without NVRTC it says
/// that they are left out.
#[test]
fn compile_compiles() {
    let folder = empty("compiles");
    std::fs::write(folder.join("s.arch"), SMALL).unwrap();
    let output = with(&folder, &[], &["compile", "s.arch", "--arch", "sm_80", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let said_in_json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kernels = said_in_json["kernels"].as_array().unwrap();
    assert_eq!(kernels.len(), 6, "two recurrences of three passes");
    for kernel in kernels {
        assert!(kernel["registers"].as_u64() > Some(0), "{kernel}");
        assert!(kernel["cubin_bytes"].as_u64() > Some(0), "{kernel}");
        for field in ["name", "region", "arch", "spill_bytes", "shared_bytes", "threads"] {
            assert!(!kernel[field].is_null(), "{kernel}");
        }
    }
    assert!(folder.join("compiled/small_forward.sm_80.cubin").exists());
    let left = std::fs::read_dir(folder.join("compiled")).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));

    let none = with(&folder, &[("LRC_NVRTC", "/nonexistent")], &["compile", "s.arch"]);
    assert_eq!(none.status.code(), Some(0));
    assert!(said(&none).contains("kernels are left out"), "{}", said(&none));
}

/// What a file says of a model is the contract of scripts; its launches are those of a real step.
#[test]
fn compile_says_what_a_step_starts() {
    let folder = empty("launches");
    std::fs::copy(input("break/m.arch"), folder.join("m.arch")).unwrap();
    let output =
        with(&folder, &[], &["compile", "m.arch", "--emit", "plan", "--arch", "sm_80", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(planned["model"], "tiny");
    assert!(
        planned["parameters"].as_u64() > Some(0) && planned["graph"]["nodes"].as_u64() > Some(0)
    );
    let spec = "model: {file: m.arch}\ntask: {mqar: {vocab: 64, length: 32, pairs: 4}}\nbatch: 1\n\
                length: 1 steps\neval: {every: 9 steps, sequences: 1}\n";
    std::fs::write(folder.join("s.yaml"), spec).unwrap();
    let args = ["train", "s.yaml", "--device", "sim", "--out", "r", "--json"];
    let output = with(&folder, &[], &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let started = ["kernels_per_step", "products_per_step"].map(|n| summary[n].as_u64().unwrap());
    assert_eq!(planned["graph"]["launches_per_step"].as_u64(), Some(started.iter().sum()));
}

/// X2, X6: models with experts and with long convolutions are planned whole; what has no kernels is said,
/// and is an error where nothing else was asked for.
#[test]
fn compile_says_what_has_no_kernels() {
    let folder = empty("without");
    let run = |file: &str, stage: &str| {
        lrc(&["compile", file, "--emit", stage, "--arch", "sm_80", "--out", path(&folder)])
    };
    for (file, model) in
        [("specs/models/jamba.arch", "jamba"), ("specs/models/hyena_model.arch", "hyena_model")]
    {
        let output = run(file, "plan");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!said(&output).contains("no kernels"), "{}", said(&output));
        let plan = folder.join(format!("{model}.rows_head_norm_forward.sm_80.plan"));
        assert!(plan.exists(), "{}", plan.display());
    }
    // What is stored depends on all that was stored, each weighed by what is to be.
    let text = "recurrence recalled { in q, k, v : [8]; state U : [8]\n\
        p = softmax(q^T * k[u] for u < t)\n U[t] = v - sum(p[u] * U[u] for u < t)\n out o = U[t] }\n";
    let file = folder.join("recalled.arch");
    std::fs::write(&file, text).unwrap();
    let output = run(path(&file), "cuda");
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("`recalled` has no kernels"), "{}", said(&output));
    assert!(said(&output).contains("each weighed by this one"), "{}", said(&output));
}

/// A model of one layer, a line of the mixer each.
fn of_layer(lines: &str) -> String {
    format!(
        "use \"recurrences/softmax_attn.arch\"
        recurrence large {{ in q, k : [dk]; in v : [dv]
            state S : [dk, dv]
            S[t] = 0.5 * S[t-1] + k * v^T
            out o = S[t]^T * q }}
        recurrence turning {{ in x : [d]
            state S : [d, d]
            S[t] = tanh(S[t-1]) + x * x^T
            out y = S[t] * x }}
        mixer m(d = 8) {{ a : [1, d] = linear(x)
            {lines}
            out y = linear(o) }}
        model big(width = 64) {{ vocab 64
            residual x + f(rmsnorm(x))
            m(d = SIZE)
            head rmsnorm(x), tied }}"
    )
}

/// What exceeds the machine is refused by the place where it stands and its size; what fits is not.
#[test]
fn what_is_too_large_for_the_machine_is_named() {
    let folder = empty("too_large");
    for (lines, size, node, said_size) in [
        ("o = large(a, a, a)", 32768, "`large` in layers.0.m.o", "[32768, 32768]"),
        ("o = turning(a)", 32768, "`turning` in layers.0.m.o", "[32768, 32768]"),
        ("o = softmax_attn(a, a, a)", 65536, "`softmax_attn` in layers.0.m.o", "[65536]"),
        ("o = softmax(a)", 1 << 29, "layers.0.m.", "bytes of workspace"),
    ] {
        for (size, fits) in [(size, false), (16, true)] {
            let file = folder.join("big.arch");
            std::fs::write(&file, of_layer(lines).replace("SIZE", &size.to_string())).unwrap();
            let out = folder.join("out");
            let emit = ["--emit", "plan,cuda", "--arch", "sm_80,sm_90a", "--out", path(&out)];
            let output = lrc(&[&["compile", path(&file)], &emit[..]].concat());
            let said = said(&output);
            assert_eq!(output.status.code(), Some(if fits { 0 } else { 3 }), "{lines}: {said}");
            assert!(fits || said.contains(node) && said.contains(said_size), "{lines}: {said}");
        }
    }
}

/// Every shipped model at the sizes of its file has a whole schedule: each line of it says what runs. Its kernels compile, which
/// takes minutes: those of one model here, those of all in `./test --long`.
#[test]
fn every_model_has_a_whole_schedule() {
    let folder = empty("schedules");
    let models = std::fs::read_dir("specs/models").unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<_> = models.collect();
    let files = models.iter().map(|file| path(file));
    let emit = ["--emit", "plan,cuda", "--arch", "sm_80,sm_90a", "--out", path(&folder)];
    let args: Vec<&str> = ["compile"].into_iter().chain(files).chain(emit).collect();
    let output = lrc(&args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("no kernels"), "{}", said(&output));
    let long = std::env::var_os("LRC_EVERY_PTX").is_some();
    let compiled = models.iter().filter(|file| long || file.ends_with("quickstart.arch"));
    let out = empty("ptx");
    for file in compiled {
        let emit = ["--emit", "ptx", "--arch", "sm_80,sm_90a", "--out", path(&out)];
        let output = lrc(&[&["compile", path(file)], &emit[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}: {}", file.display(), said(&output));
    }
    for arch in ["sm_80", "sm_90a"] {
        for model in &models {
            let text = std::fs::read_to_string(model).unwrap();
            let declared = text.lines().filter_map(|line| line.strip_prefix("model "));
            for name in declared.map(|rest| rest.split(['(', ' ']).next().unwrap()) {
                let plan = folder.join(format!("{name}.{arch}.plan"));
                let plan = std::fs::read_to_string(&plan).unwrap_or_else(|e| panic!("{name}: {e}"));
                let nodes = plan.lines().skip(3).filter(|line| *line != "backward");
                for (at, line) in nodes.enumerate() {
                    let runs = line.split_once(": ").unwrap().1;
                    assert!(line.trim().starts_with(&at.to_string()), "{name}: {line}");
                    assert!(!runs.starts_with(' ') && !runs.contains("by  ("), "{name}: {line}");
                }
            }
        }
    }
}

/// J1: entries of the cache that change places are compiled anew.
#[test]
fn the_cache_knows_an_entry_by_its_name() {
    let folder = empty("exchanged");
    std::fs::write(folder.join("s.arch"), SMALL).unwrap();
    let cache = folder.join("cache");
    let compile = |out: &str| {
        let variables = [("LRC_CACHE_DIR", path(&cache))];
        let args = ["compile", "s.arch", "--emit", "ptx", "--arch", "sm_80", "--out", out];
        let output = with(&folder, &variables, &args);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        std::fs::read(folder.join(out).join("small_forward.sm_80.ptx")).unwrap()
    };
    let first = compile("a");
    let entries = std::fs::read_dir(cache.join("kernels")).unwrap();
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 6);
    let texts: Vec<_> = entries.iter().map(|entry| std::fs::read(entry).unwrap()).collect();
    for (at, entry) in entries.iter().enumerate() {
        std::fs::write(entry, &texts[(at + 1) % texts.len()]).unwrap();
    }
    assert_eq!(compile("b"), first);
}

/// J2: what NVRTC makes does not depend on the working folder. J3: an empty variable is none.
#[test]
fn kernels_do_not_depend_on_where_they_are_made() {
    let (one, other) = (empty("made_here"), empty("made_there"));
    let compile = |folder: &Path| {
        std::fs::write(folder.join("s.arch"), SMALL).unwrap();
        let variables = [("LRC_CACHE_DIR", ""), ("XDG_CACHE_HOME", ""), ("HOME", path(folder))];
        let args = ["compile", "s.arch", "--emit", "ptx,cubin", "--arch", "sm_80"];
        let output = with(folder, &variables, &args);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!folder.join("kernels").exists(), "J3");
        assert!(folder.join(".cache/lrc/kernels").exists(), "J3");
        ["ptx", "cubin"].map(|stage| {
            std::fs::read(folder.join(format!("compiled/small_forward.sm_80.{stage}"))).unwrap()
        })
    };
    assert!(compile(&one) == compile(&other), "J2");
}

const SPEC: &str = "model: {file: m.arch}
task: {mqar: {vocab: 64, length: 32, pairs: 4}}
batch: 2
length: 2 steps
";

const EVERYTHING: &str = "dropout: 0.1
z_loss: 1e-4
precision: {matrices: bf16}
micro_batch: 32 tokens
optimizer: {muon: {lr: 1e-3}, groups: {slow: {match: head, lr: 0.5}}}
policies: [{on: norm_growth > 2, do: warn}, {on: entropy < 1, do: warn}]
";

/// Everything that a spec may ask for besides its model trains by kernels too.
#[test]
fn kernels_train_what_a_spec_asks_for() {
    let folder = empty("everything");
    std::fs::copy(input("break/m.arch"), folder.join("m.arch")).unwrap();
    std::fs::write(folder.join("s.yaml"), format!("{SPEC}{EVERYTHING}")).unwrap();
    let output = with(&folder, &[], &["train", "s.yaml", "--device", "sim", "--out", "r"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// X5, X6: training, a dry run and `check` refuse what kernels lack in the same words.
#[test]
fn what_kernels_lack_is_known_before_a_run() {
    let folder = empty("lacking");
    let arch = "recurrence two(scale = 1) { in q, k, v : [d]
            state U : [d]
            p = softmax(scale * q^T * k[u] for u < t)
            U[t] = v - sum(p[u] * U[u] for u < t)
            out o = U[t] }
        mixer recalling(heads = 2, d = 8) {
            q, k, v : [3, heads, d] = linear(x)
            o = two(q, k, v)
            out y = linear(o) }
        model tiny(width = 16) { vocab 64; residual x + f(rmsnorm(x))
            recalling()
            head rmsnorm(x), untied }";
    std::fs::write(folder.join("m.arch"), arch).unwrap();
    std::fs::write(folder.join("s.yaml"), SPEC).unwrap();
    let mut told: BTreeSet<Vec<String>> = BTreeSet::new();
    for command in
        [&["check", "s.yaml"][..], &["train", "s.yaml", "--dry-run"], &["train", "s.yaml"]]
    {
        let output = with(&folder, &[], &[command, &["--device", "sim"]].concat());
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        let text = said(&output);
        let errors = text.lines().filter(|line| line.starts_with("error")).map(String::from);
        told.insert(errors.collect());
        let other = with(&folder, &[], &[command, &["--device", "cpu"]].concat());
        assert_eq!(other.status.code(), Some(0), "{}", said(&other));
    }
    assert_eq!(told.len(), 1, "{told:#?}");
    let all = told.first().unwrap().join("\n");
    assert!(all.contains("`two`") && all.contains("no kernels"), "{all}");
    let asked = |file: &str| lrc(&["check", file, "--device", "sim"]);
    assert_eq!(asked("specs/recurrences/gla.arch").status.code(), Some(0));
    assert_eq!(asked("specs/models/hyena_model.arch").status.code(), Some(0));
}

/// Each kind of GPU has its own files, and so has the processor.
#[test]
fn files_are_written_for_each_target() {
    let folder = empty("targets");
    std::fs::write(folder.join("s.arch"), SMALL).unwrap();
    let stages = "normal,chunk,grad,plan,cuda";
    let args = ["compile", "s.arch", "--emit", stages, "--arch", "sm_80,sm_90a", "--out", "o"];
    let output = with(&folder, &[], &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let mut wanted = vec!["small.normal".to_string()];
    for target in ["cpu", "sm_80", "sm_90a"] {
        wanted.extend(["chunk", "grad"].map(|stage| format!("small.{target}.{stage}")));
    }
    for arch in ["sm_80", "sm_90a"] {
        for pass in ["forward", "backward", "decode"] {
            wanted.extend(["plan", "cu"].map(|stage| format!("small_{pass}.{arch}.{stage}")));
        }
    }
    for file in wanted {
        let text = std::fs::read_to_string(folder.join("o").join(&file));
        assert!(text.is_ok_and(|text| !text.is_empty()), "{file}");
    }
}

/// What no GPU can hold is refused by its name and size.
#[test]
fn what_exceeds_every_gpu_is_named() {
    let folder = empty("exceeds");
    let text = "recurrence huge { in q, k : [100000]; in v : [100000]; state S : [100000, 100000]; S[t] = S[t-1] + k * v^T; out o = S[t]^T * q }";
    std::fs::write(folder.join("h.arch"), text).unwrap();
    let args = ["compile", "h.arch", "--emit", "plan", "--arch", "sm_80", "--out", "o"];
    let output = with(&folder, &[], &args);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("`S` is [100000, 100000]"), "{said}");
}
