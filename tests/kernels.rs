//! Kernels for GPUs, proven without one: every recurrence in the normal form on the sim device
//! against the recurrent form in f64, and planted faults that the sim device must find.
//!
//! NVRTC compiles them; `./test` installs it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::compile::{Chosen, all_schedules};
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::emit;
use lrc_compiler::plan::space::{Choice, Given, Split, Unit};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::verify::verify;
use lrc_compiler::plan::{Kernel, Plans};
use lrc_compiler::strategy;
use lrc_compiler::tile::{Binary, Number, Unary};
use lrc_dsl::Sources;
use lrc_runtime::device::cuda::nvrtc::{Code, Nvrtc};
use lrc_runtime::device::jit::{self, Built, Source};
use lrc_runtime::device::sim::memory::Memory;
use lrc_runtime::device::sim::{Argument, Fault, Launch, launch, parse};
use lrc_runtime::device::store::Machine;
use lrc_runtime::eval::verify::{KernelFound, Kernels, kernel_trial, kernel_trials};
use lrc_runtime::ground::library::{self, LIBRARY};

/// Recurrences in the normal form.
const NORMAL: &[&str] = &[
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
];

/// Sums over the past that have kernels.
const PAST: &[&str] = &["softmax_attn", "sliding_window_attn"];

/// Recurrences whose kernels run the program of one token.
const TOKEN: &[&str] =
    &["mlstm", "slstm", "titans_linear", "mesa_net", "ttt_linear", "ttt_mlp", "titans_fla"];

/// The same as texts: what a token reads of tokens before it is remembered in further states.
const REMEMBERED: &[&str] = &[
    // States of the token before the last, and of three tokens ago.
    "in a, b : scalar in (0, 0.4); in k, v : [6]
     state S : [6, 6]
     S[t] = a * S[t-1] - b * S[t-2] + a * b * S[t-3] + k * v^T
     out o = S[t]^T * k",
    // A named value of other tokens: 0 before the first one.
    "in x : [5]
     n = tanh(x) + 1
     state s : [5]
     s[t] = tanh(0.5 * s[t-1] + n[t-1] .* n - n[t-2])
     out o = s[t] + n[t-1]",
    // A few tokens, each seen by the state as it is now.
    "in k : [6] unit; in v : [4]; in eta : scalar in (0, 0.3)
     state S : [6, 4]
     S[t] = 0.9 * S[t-1] - eta * sum(k[u] * (S[t-1]^T * k[u] - v[u])^T for t - 4 < u <= t)
     out o = S[t]^T * k",
    // The state at the first token of a group, a running sum inside it, and one of all tokens.
    "in x : [5]
     state s : [5]
     g = t - t mod 5
     h = tanh(x + s[g-1])
     s[t] = s[g-1] + 0.2 * sum(h[u] .* x[u] for g <= u <= t)
     c = sum(h[u] for u < t)
     out o = s[t] .* sigmoid(c / (t + 1))",
];

/// Sums over the past beside states that depend on none of them: first the states, then the sums.
const HALVES: &[&str] = &[
    "in q, k, v : [16]; in g : scalar in (-1, 0]
     state G : scalar
     G[t] = G[t-1] + g
     p = softmax(q^T * k[u] / 4 + G[t] - G[u] for u <= t)
     out o = sum(p[u] * v[u] for u <= t)",
    // Both halves read k; the states go on, and what the sums read is made of a matrix of them.
    "in q, k, v : [8]; in w : [8] unit; in beta : scalar in (0, 0.9)
     param P0 : [8, 8]
     state P : [8, 8] init P0
     P[t] = (I - beta * w * w^T) * P[t-1] + 0.1 * k * w^T
     r = P[t]^T * k
     p = softmax((P[t]^T * q)^T * r[u] / 4 for u <= t)
     out o = sum(p[u] * v[u] for u <= t)",
    // An entry for each power of two of the distance.
    "in q, k, v : [12]; in w : [9]; in g : scalar in (-0.5, 0]
     state G : scalar
     G[t] = G[t-1] + g
     out o = sum(w[bits(xor(t, u))] * exp(G[t] - G[u]) * (q^T * k[u]) * v[u] for u <= t)",
];

/// Recurrences whose states go entry by entry.
const SCAN: &[&str] = &["hgrn", "rglru", "mamba1", "s4d", "rwkv4"];

/// The same as texts: a stabiliser, complex states, a gate of the states before, many numbers.
const SCAN_TEXTS: &[&str] = &[
    "in x : [24]; param w : [24] in (-inf, 0]
     state m : [24] init -inf; state s : [24]
     m[t] = max(m[t-1] + w, x)
     s[t] = exp(m[t-1] + w - m[t]) .* s[t-1] + exp(x - m[t])
     out o = m[t] + tanh(s[t])",
    "in x : [20]; param A_re : [20] in (-inf, 0]; param A_im : [20]
     state h : [20] complex
     h[t] = exp(complex(A_re, A_im)) .* h[t-1] + x
     out o = real(sum(h[t])) + imag(sum(h[t]))",
    "in x : scalar; in y : [12]
     state a : scalar; state b : [12]
     a[t] = 0.9 * a[t-1] + x * x[t-1]
     b[t] = sigmoid(a[t]) * b[t-1] + sigmoid(a[t-1]) * y
     out o = b[t] .* b[t-1]",
    "in x, g : [600]
     state h : [600]
     h[t] = (1 - sigmoid(g)) .* h[t-1] + sigmoid(g) .* x
     out o = h[t]",
];

fn recurrence(name: &str, sizes: &[(&str, f64)]) -> Recurrence {
    let path = format!("recurrences/{name}.arch");
    let loaded = library::load(&path, &mut Sources::default());
    let (namespace, _) = loaded.expect("a shipped recurrence");
    let given: BTreeMap<String, Setting> =
        sizes.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    let mut diags = Vec::new();
    let made = elaborate(namespace.get(name).unwrap(), &given, &mut diags);
    made.unwrap_or_else(|| panic!("{name}: {diags:?}"))
}

/// The recurrence of some lines.
fn of_text(body: &str) -> Recurrence {
    let text = format!("recurrence r {{\n {body}\n}}\n");
    let (names, _) = lrc_dsl::load_text("r", text, None, LIBRARY, &mut Sources::default());
    let mut diags = Vec::new();
    let r = elaborate(names.get("r").unwrap(), &BTreeMap::new(), &mut diags);
    r.unwrap_or_else(|| panic!("{body}: {diags:?}"))
}

/// The worst of all trials, as shares of the bars. The kernels are made once: they serve every
/// length, batch and packing.
fn worst(r: &Recurrence) -> KernelFound {
    worst_of(r, Chosen::default())
}

/// The same of plans of which something is chosen.
fn worst_of(r: &Recurrence, chosen: Chosen) -> KernelFound {
    let kernels = Kernels::of(r, chosen, &Machine::sim()).unwrap();
    let mut worst = KernelFound::default();
    for trial in kernel_trials() {
        let found =
            kernel_trial(r, &trial, &kernels).unwrap_or_else(|why| panic!("{}: {why}", r.name));
        worst.forward = worst.forward.max(found.forward);
        worst.backward = worst.backward.max(found.backward);
        worst.decode = worst.decode.max(found.decode);
    }
    worst
}

#[test]
fn kernels_agree_with_the_recurrent_form() {
    let mut missed = Vec::new();
    for name in NORMAL {
        // Neither a multiple of a fragment nor equal.
        let found = worst(&recurrence(name, &[("dk", 24.0), ("dv", 40.0)]));
        if found.forward.max(found.backward).max(found.decode) > 1.0 {
            missed.push(format!("{name}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "shares of the bars:\n{}", missed.join("\n"));
}

/// Tensors in bf16, some of which are operands as they lie in memory.
#[test]
fn kernels_on_bf16_agree_with_the_recurrent_form() {
    for name in ["gated_delta_rule", "simple_gla", "kda", "rwkv7", "mamba2_ssd", "retention"] {
        for size in [24.0, 32.0] {
            let r = recurrence(name, &[("dk", size), ("dv", 2.0 * size)]).in_bf16();
            assert!(r.inputs.iter().any(|slot| slot.number == Number::Bf16), "{name}");
            let found = worst(&r);
            let share = found.forward.max(found.backward).max(found.decode);
            assert!(share <= 1.0, "{name} {size}: {found:?}");
        }
    }
}

#[test]
fn kernels_of_attention_agree_with_the_recurrent_form() {
    for (name, window) in [("softmax_attn", None), ("sliding_window_attn", Some(9.0))] {
        for d in [24.0, 64.0] {
            let sizes: Vec<(&str, f64)> =
                [("d", d)].into_iter().chain(window.map(|w| ("window", w))).collect();
            let found = worst(&recurrence(name, &sizes));
            assert!(found.forward.max(found.backward) <= 1.0, "{name} {d}: {found:?}");
        }
    }
}

#[test]
fn kernels_of_one_token_agree_with_the_recurrent_form() {
    for name in TOKEN {
        let found = worst(&recurrence(name, &[]));
        // Nothing in them is rounded to 16 bits.
        let share = found.forward.max(found.backward).max(found.decode);
        assert!(share <= 0.01, "{name}: {found:?}");
    }
}

#[test]
fn kernels_that_remember_agree_with_the_recurrent_form() {
    for body in REMEMBERED {
        let r = of_text(body);
        assert_eq!(strategy::of(&r).name(), "recurrent", "{body}");
        let found = worst(&r);
        let share = found.forward.max(found.backward).max(found.decode);
        assert!(share <= 0.01, "{body}: {found:?}");
    }
}

#[test]
fn kernels_of_halves_agree_with_the_recurrent_form() {
    for body in HALVES {
        let r = of_text(body);
        assert_eq!(strategy::of(&r).name(), "halves", "{body}");
        let found = worst(&r);
        assert!(found.forward.max(found.backward) <= 1.0, "{body}: {found:?}");
    }
}

#[test]
fn kernels_of_scans_agree_with_the_recurrent_form() {
    let texts = SCAN_TEXTS.iter().map(|body| of_text(body));
    for r in SCAN.iter().map(|name| recurrence(name, &[])).chain(texts) {
        assert_eq!(strategy::of(&r).name(), "scan", "{}", r.name);
        let found = worst(&r);
        let share = found.forward.max(found.backward).max(found.decode);
        assert!(share <= 0.01, "{}: {found:?}\n{:?}", r.name, r.states);
    }
}

/// Inputs that are added share one gradient, which each of them must get; a sum over the past may
/// be empty at the first token.
#[test]
fn inputs_that_are_added_get_their_gradients() {
    let cases = [
        "in q, r, k, l, v : [16]\n p = softmax((q + r)^T * (k[u] + l[u]) / 4 for u <= t)\n out o = sum(p[u] * v[u] for u <= t)",
        "in q, k, v : [16]\n out o = sum((q^T * k[u]) * v[u] for t - 5 < u <= t)",
    ];
    for body in cases {
        let found = worst(&of_text(body));
        assert!(found.forward.max(found.backward) <= 1.0, "{body}: {found:?}");
    }
}

/// Values cut into parts, each run by a block of its own, must give the same.
#[test]
fn parts_of_a_head_agree_with_the_recurrent_form() {
    for name in ["gated_delta_rule", "gla", "dplr", "linear_attn_norm"] {
        let found = worst(&recurrence(name, &[("dk", 16.0), ("dv", 128.0)]));
        assert!(found.forward.max(found.backward).max(found.decode) <= 1.0, "{name}: {found:?}");
    }
}

/// Whichever way a pass is cut: one kernel, two, or three; in one part of the values, or two.
#[test]
fn every_cut_agrees_with_the_recurrent_form() {
    for name in ["gated_delta_rule", "simple_gla"] {
        let r = recurrence(name, &[("dk", 16.0), ("dv", 64.0)]).in_bf16();
        for (split, parts) in
            [(Split::Fused, 2), (Split::Carry, 1), (Split::Read, 1), (Split::Read, 2)]
        {
            let cut = |stages| {
                let (chunk, unit, warps) = (16, Unit::Mma, 4);
                Given::Whole(Choice { chunk, other: chunk, parts, warps, unit, stages, split })
            };
            let plans = Plans { forward: cut(2), saving: cut(2), backward: cut(1) };
            let found = worst_of(&r, Chosen { plans, ..Chosen::default() });
            let share = found.forward.max(found.backward);
            assert!(share <= 1.0, "{name} {split:?} {parts}: {found:?}");
        }
    }
}

/// Compiles the kernels of recurrences at a head dimension to machine code.
fn machine_code(names: &[&str], size: f64, arches: &[&str]) -> Vec<(Kernel, Built)> {
    let (mut kernels, mut sources) = (Vec::new(), Vec::new());
    for name in names {
        let sizes: &[&str] = if PAST.contains(name) { &["d"] } else { &["dk", "dv"] };
        let sizes: Vec<(&str, f64)> = sizes.iter().map(|axis| (*axis, size)).collect();
        let r = recurrence(name, &sizes);
        for arch in arches {
            let gpu = Gpu::named(arch).unwrap();
            for schedule in all_schedules(&r, gpu, Chosen::default()).unwrap() {
                let wrong = verify(&schedule, gpu.shared);
                assert!(wrong.is_empty(), "{} {size} {arch}: {wrong:?}", schedule.name);
                for kernel in &schedule.kernels {
                    sources.push(Source::of(&schedule, kernel, arch));
                    kernels.push(kernel.clone());
                }
            }
        }
    }
    let built = jit::build(&sources, Code::Cubin).unwrap();
    kernels.into_iter().zip(built).collect()
}

#[test]
fn every_kernel_compiles_for_real_gpus() {
    let all = [NORMAL, PAST].concat();
    for size in [64.0, 128.0] {
        for (kernel, built) in machine_code(&all, size, &["sm_80", "sm_90a"]) {
            let Built { arch, spill_bytes, registers, .. } = &built;
            assert_eq!(*spill_bytes, 0, "{} {size} {arch}: {registers} registers", kernel.name);
            assert!(*registers > 0, "{} {arch}: the compiler says nothing", kernel.name);
        }
    }
    machine_code(&all, 256.0, &["sm_80", "sm_90a"]);
    let families = ["gated_delta_rule", "delta_rule", "gla", "simple_gla"];
    machine_code(&families, 128.0, &["sm_100a", "sm_120"]);
}

/// Compiles a kernel and runs one block of 64 threads of it; its argument is a buffer of 64 floats.
fn run(body: &str) -> Result<Vec<f32>, Fault> {
    run_with("", body)
}

/// The same with text before the kernel.
fn run_with(before: &str, body: &str) -> Result<Vec<f32>, Fault> {
    let source = format!(
        "{before}extern \"C\" __global__ void planted(float* x) {{\n\
         extern __shared__ __align__(128) float shared[];\n\
         int i = threadIdx.x;\n\
         {body}\n}}"
    );
    let nvrtc = Nvrtc::load().unwrap();
    let compiled = nvrtc.compile(&source, "planted", "sm_80", Code::Ptx).unwrap();
    let entry = parse(&String::from_utf8(compiled.code).unwrap()).unwrap();
    let mut memory = Memory::default();
    let x = memory.reserve("x", 64 * 4);
    let start = Launch { blocks: 1, threads: 64, shared: 512 };
    launch(&entry, start, &[Argument::Address(x)], &memory)?;
    memory.floats(x, 64, 4).map_err(|what| Fault {
        kernel: "planted".into(),
        line: [0, 0],
        block: 0,
        thread: 0,
        what,
    })
}

const BARRIER: &str = "asm volatile(\"bar.sync 0;\" ::: \"memory\");";

/// What a function is on the CPU.
type Meaning = Box<dyn Fn(f64) -> f64>;

/// Every function of single numbers means on a device what it means on the CPU.
#[test]
fn functions_of_single_numbers_agree_with_the_cpu() {
    let x: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) * 0.35).collect();
    let calls: Vec<(String, Meaning)> = Unary::all()
        .into_iter()
        .map(|op| (emit::unary(op, "v"), Box::new(move |x: f64| op.eval(x)) as Meaning))
        .chain(Binary::ALL.into_iter().filter_map(|op| {
            let name = op.name();
            let f = move |x: f64| op.eval(x, 1.25);
            let text = match op {
                Binary::Add | Binary::Sub => return None,
                _ => format!("op_{name}(v, 1.25f)"),
            };
            Some((text, Box::new(f) as Meaning))
        }))
        .collect();
    let library = format!("#define THREADS 64\n{}", emit::TILE_LIBRARY);
    for (text, f) in calls {
        let body = format!("float v = (i - 31.5f) * 0.35f;\nx[i] = {text};");
        let got = run_with(&library, &body);
        let got = got.unwrap_or_else(|fault| panic!("{text}: {fault}"));
        for (x, got) in x.iter().zip(got) {
            let (want, got) = (f(f64::from(*x)), f64::from(got));
            let near =
                (got - want).abs() <= 2e-6 + 3e-6 * want.abs() || got.is_nan() && want.is_nan();
            assert!(near, "{text} of {x}: {got}, not {want}");
        }
    }
}

#[test]
fn a_sound_kernel_runs() {
    let body = format!("shared[i] = i;\n{BARRIER}\nx[i] = shared[63 - i];");
    let want: Vec<f32> = (0..64).map(|i| (63 - i) as f32).collect();
    assert_eq!(run(&body).unwrap(), want);
}

#[test]
fn a_store_out_of_bounds_is_found() {
    let fault = run("x[i + 1] = 1.f;").unwrap_err();
    assert_eq!((fault.kernel.as_str(), fault.line, fault.thread), ("planted", [4, 4], 63));
    assert!(fault.what.starts_with("out of bounds"), "{fault}");
    let fault = run("x[i] = 0.f;\nshared[2 * i + 2] = 1.f;").unwrap_err();
    assert_eq!((fault.line, fault.thread), ([5, 5], 63));
    assert!(fault.what.starts_with("out of bounds"), "{fault}");
}

#[test]
fn a_missing_barrier_is_found() {
    let body = format!("shared[i] = 0.f;\n{BARRIER}\nshared[i] = i;\nx[i] = shared[63 - i];");
    // The first warp reads before the second one writes.
    let fault = run(&body).unwrap_err();
    assert_eq!((fault.kernel.as_str(), fault.line, fault.thread), ("planted", [6, 6], 32));
    assert!(fault.what.starts_with("race"), "{fault}");
}

#[test]
fn lanes_wait_for_their_warp_before_they_exchange() {
    let exchange = |from: &str| {
        format!(
            "float y, z = i;\n{from}\n\
             asm volatile(\"shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;\" : \"=f\"(y) : \"f\"(z), \"r\"(i + 1));\n\
             x[i] = y;"
        )
    };
    let want: Vec<f32> = (0..64).map(|i| (i / 32 * 32 + (i + 1) % 32) as f32).collect();
    assert_eq!(run(&exchange("")).unwrap(), want);
    // Some lanes go around more often before they come to it.
    let slow =
        "for (int n = 0; n < i % 5; n++) { shared[i] = z; z = ((volatile float*)shared)[i]; }";
    assert_eq!(run(&exchange(slow)).unwrap(), want);
    let fault = run(&exchange("if (i == 40) return;")).unwrap_err();
    assert_eq!(fault.thread, 40);
    assert!(fault.what.starts_with("it is missing"), "{fault}");
}

#[test]
fn a_copy_that_nobody_waited_for_is_found() {
    let copy = "x[i] = i;\nunsigned long long to;\n\
        asm(\"cvta.to.shared.u64 %0, %1;\" : \"=l\"(to) : \"l\"(shared + i));\n\
        asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4;\" :: \"r\"((unsigned)to), \"l\"(x + i) : \"memory\");\n\
        asm volatile(\"cp.async.commit_group;\" ::: \"memory\");\n";
    let fault = run(&format!("{copy}x[i] = shared[i];")).unwrap_err();
    assert!(fault.what.contains("in flight"), "{fault}");
    assert_eq!((fault.kernel.as_str(), fault.line, fault.thread), ("planted", [9, 9], 0));
    let wait = "asm volatile(\"cp.async.wait_group 0;\" ::: \"memory\");\n";
    let want: Vec<f32> = (0..64).map(|i| i as f32).collect();
    assert_eq!(run(&format!("{copy}{wait}x[i] = shared[i];")).unwrap(), want);
}

#[test]
fn a_copy_of_nothing_fills_with_zeros() {
    // From an address where there is nothing.
    let copy = |from: &str, when: &str| {
        format!(
            "x[i] = i;\nunsigned long long to;\n\
             asm(\"cvta.to.shared.u64 %0, %1;\" : \"=l\"(to) : \"l\"(shared + i));\n\
             asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4, %2;\" :: \"r\"((unsigned)to), \"l\"({from}), \"r\"({when} ? 4 : 0) : \"memory\");\n\
             asm volatile(\"cp.async.commit_group;\" ::: \"memory\");\n\
             asm volatile(\"cp.async.wait_group 0;\" ::: \"memory\");\n\
             x[i] = shared[i];"
        )
    };
    let want: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { i as f32 } else { 0.0 }).collect();
    assert_eq!(run(&copy("i % 3 ? (float*)0 : x + i", "i % 3 == 0")).unwrap(), want);
    let fault = run(&copy("i % 3 ? (float*)0 : x + i", "i != 1")).unwrap_err();
    assert_eq!(fault.thread, 2);
}

#[test]
fn an_output_that_nobody_wrote_is_found() {
    let fault = run("if (i < 50) x[i] = 1.f;").unwrap_err();
    assert!(fault.what.contains("not written at element 50"), "{fault}");
    let fault = run("x[i] = shared[i];").unwrap_err();
    assert_eq!((fault.kernel.as_str(), fault.line, fault.thread), ("planted", [4, 4], 0));
    assert!(fault.what.contains("nobody has written it"), "{fault}");
}

#[test]
fn a_barrier_that_not_all_reach_is_found() {
    let fault = run(&format!("x[i] = 0.f;\nif (i < 40) {{ {BARRIER} }}")).unwrap_err();
    assert_eq!((fault.kernel.as_str(), fault.thread), ("planted", 40));
    assert!(fault.what.contains("does not reach the barrier"), "{fault}");
}

#[test]
fn a_kernel_that_does_not_compile_says_why() {
    let failure = Nvrtc::load().unwrap().compile("int x = ;", "broken", "sm_80", Code::Ptx);
    let failure = failure.unwrap_err();
    assert_eq!(failure.status(), 4);
    let text = failure.to_string();
    assert!(text.contains("broken.cu(1): error"), "{text}");
    let failure = Nvrtc::load().unwrap().compile("", "empty", "sm_31", Code::Cubin).unwrap_err();
    assert!(failure.to_string().contains("sm_31"), "{failure}");
}
