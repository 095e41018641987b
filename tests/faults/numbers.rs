//! What recurrences compute: forms, gradients, and what `verify` says of them.

use std::collections::BTreeMap;
use std::path::Path;

use lrc_compiler::block::Blocking;
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Outputs, Problem};
use lrc_dsl::{Sources, parse};
use lrc_runtime::device::Device;
use lrc_runtime::eval::verify::{Judged, Runner, Trial, Verdict, examine};
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::ground::tensors::{self, Data, Tensor, Tensors};
use lrc_runtime::recurrence::run::{Request, run_recurrence};

use super::common::{empty, lrc, path, said};
use super::input;

/// Runs a recurrence of the library, or of a text, on tensors.
fn run(text: &str, tensors: &Tensors, form: FormKind, chunk: Option<usize>, back: bool) -> Tensors {
    let mut sources = Sources::default();
    let decl = if text.contains('{') {
        let (tree, diags) = parse(sources.add("fault", text), text);
        assert!(diags.is_empty(), "{diags:?}");
        tree.decls[0].clone()
    } else {
        let loaded = library::load(&format!("recurrences/{text}.arch"), &mut sources);
        loaded.unwrap().0.get(text).unwrap().clone()
    };
    let (settings, device) = (BTreeMap::new(), Device::Cpu);
    let request = Request { settings, backward: back, form, chunk, bf16: false, device };
    run_recurrence(&decl, tensors, &request).unwrap().tensors
}

fn numbers(tensor: &Tensor) -> &[f32] {
    match &tensor.data {
        Data::F32(data) => data,
        Data::I64(_) => panic!("floats"),
    }
}

/// Every way to run on the processor.
const WAYS: [(FormKind, Option<usize>); 5] = [
    (FormKind::Recurrent, None),
    (FormKind::Auto, None),
    (FormKind::Chunk, Some(1)),
    (FormKind::Chunk, Some(13)),
    (FormKind::Chunk, Some(300)),
];

/// Tensors of a recurrence with keys, values, decays per token or per key, and cotangents.
fn drawn(tokens: usize, vector: bool) -> Tensors {
    let (heads, d) = (2, 8);
    let mut random = Stream::new(7, Purpose::Verify, 0);
    let mut normal = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
    let mut all = Tensors::new();
    for name in ["q", "k", "v", "do"] {
        let mut data = normal(tokens * heads * d);
        if name == "k" {
            for key in data.chunks_exact_mut(d) {
                let length = key.iter().map(|x| x * x).sum::<f32>().sqrt();
                key.iter_mut().for_each(|x| *x /= length);
            }
        }
        all.insert(name.into(), Tensor::f32(vec![1, tokens, heads, d], data));
    }
    let each = if vector { d } else { 1 };
    let decays = normal(tokens * heads * each).iter().map(|x| -x.exp().ln_1p()).collect();
    let shape = if vector { vec![1, tokens, heads, d] } else { vec![1, tokens, heads] };
    all.insert("g".into(), Tensor::f32(shape, decays));
    let betas = normal(tokens * heads).iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
    all.insert("beta".into(), Tensor::f32(vec![1, tokens, heads], betas));
    all
}

fn only(mut tensors: Tensors, names: &[&str]) -> Tensors {
    tensors.retain(|name, _| names.contains(&name.as_str()));
    tensors
}

fn fill(tensor: &mut Tensor, rows: std::ops::Range<usize>, change: impl Fn(f32) -> f32) {
    let row: usize = tensor.shape[2..].iter().product();
    let Data::F32(data) = &mut tensor.data else { panic!("floats") };
    data[rows.start * row..rows.end * row].iter_mut().for_each(|x| *x = change(*x));
}

/// `future_*`: what later tokens hold does not reach earlier ones, whatever it is, in any form.
#[test]
fn earlier_tokens_keep_their_bits() {
    const TOKENS: usize = 90;
    const CUT: usize = 50;
    let cases: [(&str, bool, &[&str]); 6] = [
        ("gated_delta_rule", false, &["q", "k", "v", "g", "beta"]),
        ("kda", true, &["q", "k", "v", "g", "beta"]),
        ("simple_gla", false, &["q", "k", "v", "g"]),
        ("linear_attn_norm", false, &["q", "k", "v"]),
        ("softmax_attn", false, &["q", "k", "v"]),
        // A scan.
        (
            "recurrence r { in g, v : [d]; state h : [d]; h[t] = exp(-exp(g)) .* h[t-1] + v; out o = h[t] }",
            true,
            &["g", "v"],
        ),
    ];
    for (name, vector, names) in cases {
        let sound = only(drawn(TOKENS, vector), names);
        for (form, chunk) in WAYS {
            let before = |tensors: &Tensors| -> Vec<u32> {
                let got = run(name, tensors, form, chunk, false);
                let bits = numbers(&got["o"])[..CUT * 16].iter().map(|x| x.to_bits());
                bits.collect()
            };
            let want = before(&sound);
            assert!(want.iter().all(|x| f32::from_bits(*x).is_finite()), "{name}");
            for (what, value, last) in [
                ("other", 0.5, TOKENS),
                ("huge", 1e30, TOKENS),
                ("nan", f32::NAN, TOKENS),
                ("infinite", f32::INFINITY, TOKENS),
                ("one nan", f32::NAN, CUT + 1),
            ] {
                let mut changed = sound.clone();
                for tensor in changed.values_mut() {
                    fill(tensor, CUT..last, |x| if what == "other" { -value * x } else { value });
                }
                assert_eq!(before(&changed), want, "{name}: {what}, {form:?} {chunk:?}");
                if value.is_nan() {
                    let got = run(name, &changed, form, chunk, false);
                    let later = &numbers(&got["o"])[CUT * 16..];
                    assert!(later.iter().all(|x| !x.is_finite()), "{name}: {form:?} {chunk:?}");
                }
            }
        }
    }
}

/// `zero_query`: a slope that is infinite where something else takes over has no part in a gradient.
#[test]
fn what_a_floor_hides_has_no_infinite_slope() {
    let read = |o: &str| {
        format!(
            "recurrence r {{ in q, k : [dk]; in v : [dv]; state S : [dk, dv]
             S[t] = S[t-1] + k * v^T
             out o = {o} }}"
        )
    };
    let mut tensors = only(drawn(40, false), &["q", "k", "v", "do"]);
    fill(tensors.get_mut("q").unwrap(), 7..8, |_| 0.0);
    for o in [
        "S[t]^T * q / max(|q|, 0.001)",
        "S[t]^T * q / max(sqrt(sum(q .* q)), 0.001)",
        "S[t]^T * q / max(sum(q .* q)^0.5, 0.001)",
        "S[t]^T * q * max(log(sum(q .* q)), -3)",
        "S[t]^T * q * max(log(max(sum(q .* q), 0)), -3)",
        "S[t]^T * q * |q|",
        "S[t]^T * max(sqrt(max(q, 0)), 0.1)",
    ] {
        let text = read(o);
        let step = run(&text, &tensors, FormKind::Recurrent, None, true);
        let chunk = run(&text, &tensors, FormKind::Chunk, Some(13), true);
        for (name, want) in &step {
            assert!(numbers(want).iter().all(|x| x.is_finite()), "{o}: {name}");
            let gap = distance(numbers(&chunk[name]), numbers(want));
            assert!(gap < 1e-4, "{o}: {name} {gap}");
        }
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let gap: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    gap.sqrt() / norm.sqrt().max(1e-6)
}

/// `decay_that_comes_back`: decays that no promise keeps below 1 may bring back what has faded.
#[test]
fn what_has_faded_may_come_back() {
    for (decay, vector) in [("exp(g)", false), ("diag(exp(g))", true)] {
        let g = if vector { "[dk]" } else { "scalar" };
        let text = format!(
            "recurrence r {{ in q, k : [dk]; in v : [dv]; in g : {g}; state S : [dk, dv]
             S[t] = {decay} * S[t-1] + k * v^T
             out o = S[t]^T * q }}"
        );
        let mut tensors = only(drawn(65, vector), &["q", "k", "v", "g", "do"]);
        for t in 0..65 {
            let value = if t % 2 == 0 { -60.0 } else { 60.0 };
            fill(tensors.get_mut("g").unwrap(), t..t + 1, |_| value);
        }
        let step = run(&text, &tensors, FormKind::Recurrent, None, true);
        for chunk in [1, 13, 64, 65] {
            let got = run(&text, &tensors, FormKind::Chunk, Some(chunk), true);
            for name in ["o", "final_state", "dq", "dk", "dv", "dinitial_state"] {
                let gap = distance(numbers(&got[name]), numbers(&step[name]));
                assert!(gap < 2e-5, "{text} {chunk}: {name} {gap}");
            }
        }
    }
}

/// `decay_*`, `hard_resets`: decays down to nothing.
#[test]
fn decays_down_to_nothing_give_what_the_recurrent_form_gives() {
    for (name, vector) in [("gated_delta_rule", false), ("kda", true)] {
        let sound = drawn(129, vector);
        let resets: &[usize] = &[5, 64, 127];
        for value in [-5.6, -20.0, -88.0, f32::NEG_INFINITY] {
            for places in [None, Some(resets)] {
                let mut tensors = sound.clone();
                let g = tensors.get_mut("g").unwrap();
                match places {
                    None => fill(g, 0..129, |_| value),
                    Some(places) => places.iter().for_each(|t| fill(g, *t..t + 1, |_| value)),
                }
                let step = run(name, &tensors, FormKind::Recurrent, None, true);
                let got = run(name, &tensors, FormKind::Auto, None, true);
                for (tensor, want) in &step {
                    assert!(
                        numbers(want).iter().all(|x| x.is_finite()),
                        "{name} {value}: {tensor}"
                    );
                    let gap = distance(numbers(&got[tensor]), numbers(want));
                    assert!(gap < 1e-4, "{name} {value}: {tensor} {gap}");
                }
            }
        }
    }
}

/// The exit status of `lrc verify`, what it prints, and what it says.
fn verified(args: &[&str]) -> (i32, String, String) {
    let output = lrc(&[&["verify"], args].concat());
    let status = output.status.code().unwrap();
    let told = said(&output);
    assert!(!told.contains("panicked"), "{args:?}: {told}");
    (status, String::from_utf8(output.stdout).unwrap(), told)
}

/// Writes a text and verifies it.
fn verified_text(name: &str, text: &str) -> (i32, String, String) {
    let file = empty(&format!("verify-{name}")).join("r.arch");
    std::fs::write(&file, text).unwrap();
    verified(&[path(&file)])
}

/// `diverges`, A18: where the truth is no number, nobody is at fault but the text.
#[test]
fn a_truth_without_numbers_is_not_finite() {
    let (status, table, told) = verified(&[&input("arch/diverges.arch")]);
    assert_eq!(status, 3, "{told}");
    assert!(table.contains("not_finite: not finite from token 5 on"), "{table}");
    assert!(told.contains("E0308") && !told.contains("mistake of lrc"), "{told}");
    let delta = |scale: &str| {
        format!(
            "recurrence r(scale = {scale}) {{ in q, k, v : [d]; in beta : scalar in (0, 1e18)
             state S : [d, d]
             S[t] = S[t-1] - beta * k * (S[t-1]^T * k - v)^T
             out o = S[t]^T * (scale * q) }}"
        )
    };
    let power = "recurrence r { in x : scalar; state h : scalar
                 h[t] = h[t-1]^10000000 * 0.5 + x
                 out o = h[t] }";
    let (status, table, told) = verified_text("inf", &delta("inf"));
    assert_eq!(status, 3, "{table}{told}");
    for (name, text) in [("large", &*delta("1")), ("power", power)] {
        let (status, table, told) = verified_text(name, text);
        assert_eq!(status, 3, "{table}{told}");
        assert!(table.contains(" not_finite: not finite from token "), "{table}");
    }
    // Large numbers that f32 holds are as good as others.
    let large = "recurrence r { in x : scalar in (0, 1e18); in y : scalar; out o = x * y }";
    assert_eq!(verified_text("held", large).0, 0);
}

/// `sqrt_normaliser`, `tropical3`: no derivative at an input that was drawn.
#[test]
fn a_kink_is_no_mistake() {
    for (name, why) in [
        ("sqrt_normaliser", "no derivative at an end of what is promised"),
        ("tropical3", "a kink: differences on its two sides disagree"),
    ] {
        let (status, table, told) = verified(&[&input(&format!("arch/{name}.arch"))]);
        assert_eq!(status, 0, "{told}");
        assert!(table.contains(&format!("no_derivative: {why}")), "{table}");
        assert!(told.contains("warning: ") && told.contains(why), "{told}");
    }
}

/// `output_named_inf`: `inf` is a number where an output has that name.
#[test]
fn an_output_named_inf_is_verified() {
    let (status, table, told) = verified(&[&input("arch/output_named_inf.arch")]);
    assert_eq!(status, 0, "{table}{told}");
}

/// `relu_scores`: bf16 turns the sign of a score that is nearly 0.
#[test]
fn a_kink_within_the_rounding_of_operands_is_no_mistake() {
    let (status, table, told) = verified(&[&input("arch/relu_scores.arch"), "--device", "sim"]);
    assert_eq!(status, 0, "{table}{told}");
    assert!(table.contains("no_derivative: kinks lie within the rounding of bf16"), "{table}");
}

/// Chaos: no form can have more digits than the inputs leave.
#[test]
fn a_truth_that_a_last_place_moves_is_ill_conditioned() {
    let (status, table, told) = verified_text(
        "chaos",
        "recurrence r { in x : scalar in (0, 1); state h : scalar
         h[t] = sin(6 * h[t-1]) + 0.1 * x
         out o = h[t] }",
    );
    assert_eq!(status, 0, "{table}{told}");
    assert!(table.contains(" ill_conditioned: "), "{table}");
    assert!(told.contains("warning: `r`"), "{told}");
}

/// A file of models verifies what it calls; one that calls nothing has nothing to verify.
#[test]
fn verify_goes_through_what_models_call() {
    let (status, table, told) = verified(&["specs/models/gdn.arch"]);
    assert_eq!(status, 0, "{told}");
    assert!(table.contains("\ngated_delta_rule "), "{table}");
    let last = table.lines().last().unwrap();
    assert!(last.ends_with(" verified") && !last.starts_with('0'), "{table}");
    let (status, _, told) = verified_text("nothing", "mixer m { out y = linear(x) }");
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("nothing to verify"), "{told}");
}

/// The same in a document.
#[test]
fn verdicts_stand_in_the_document() {
    let (status, text, _) = verified(&[&input("arch/diverges.arch"), "--json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let one = &document["recurrences"][0];
    assert_eq!(
        (status, one["verdict"].as_str().unwrap(), one["token"].as_u64()),
        (3, "not_finite", Some(5))
    );
    let (status, text, _) = verified(&["specs/recurrences/kda.arch", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let one = &document["recurrences"][0];
    assert_eq!(
        (status, one["verdict"].as_str().unwrap(), &document["verified"]),
        (0, "ok", &1.into())
    );
}

/// A recurrence of a text at small sizes.
fn of_text(text: &str) -> Recurrence {
    let (tree, diags) = parse(Sources::default().add("planted", text), text);
    assert!(diags.is_empty(), "{diags:?}");
    let sizes = [("dk", 4.0), ("dv", 3.0)].map(|(name, x)| (name.into(), Setting::Number(x)));
    let mut diags = Vec::new();
    elaborate(&tree.decls[0], &sizes.into(), &mut diags).unwrap_or_else(|| panic!("{diags:?}"))
}

fn gated() -> Recurrence {
    of_text(
        "recurrence r { in q, k : [dk]; in v : [dv]; in g : scalar in (-inf, 0]
         param w : [dv]; state S : [dk, dv]
         S[t] = exp(g) * S[t-1] + k * v^T
         out o = w .* (S[t]^T * q) }",
    )
}

fn packed() -> Trial {
    Trial { lengths: vec![9, 0, 1, 6], heads: 2, chunk: 4, initial: false, seed: 3, decays: &[] }
}

type Done = (Outputs<f64>, Gradients<f64>);

/// What is said of the chunk form where something is done to its results.
fn planted(
    spoil: impl Fn(&Problem<f64>, &mut Done),
    spoil_forward: impl Fn(&Problem<f32>, &mut Outputs<f32>),
) -> Judged {
    let r = gated();
    let mut judged = Judged::default();
    let form = |heads: usize| {
        let one = lrc_compiler::form::Operand { data: &[][..], heads };
        let problem = Problem::<f64> {
            recurrence: &r,
            heads,
            sum: 1,
            bounds: vec![0],
            inputs: vec![one; r.inputs.len()],
            params: vec![one; r.params.len()],
            initial: vec![None; r.states.len()],
        };
        Form::new(&problem, FormKind::Chunk, Blocking::of(Some(4))).unwrap()
    };
    let chunk = form(2);
    let sound = Runner::of(&chunk);
    let both = |problem: &Problem<f64>, cotangents: &Cotangents<f64>| {
        let mut done = (sound.both)(problem, cotangents);
        spoil(problem, &mut done);
        done
    };
    let forward = |problem: &Problem<f32>| {
        let mut done = (sound.forward)(problem);
        spoil_forward(problem, &mut done);
        done
    };
    let runner = Runner { name: "planted", both: Box::new(both), forward: Box::new(forward) };
    examine(&r, &packed(), &[runner], &mut judged);
    judged
}

/// Every new check finds what it is for; without a fault all of them are content.
#[test]
fn planted_faults_are_found() {
    let nothing = |_: &Problem<f64>, _: &mut Done| {};
    let silent = |_: &Problem<f32>, _: &mut Outputs<f32>| {};
    let sound = planted(nothing, silent);
    assert_eq!(sound.verdict, Verdict::Ok, "{:?}", sound.why);

    // A token that a later one of its sequence reaches, also through 0 times what it holds.
    let row = |problem: &Problem<f32>| 2 * 3 * (problem.bounds[1].max(1) - 1);
    for share in [0.0, 1e-3] {
        let leaks = planted(nothing, |problem, done| {
            let x = problem.inputs[2].data[row(problem)];
            done.outs[0].iter_mut().take(3).for_each(|o| *o += share * x);
        });
        assert_eq!(leaks.verdict, Verdict::Acausal, "{:?}", leaks.why);
        assert!(leaks.why.unwrap().contains("token 0 changes with the tokens from "));
    }
    let hides = planted(nothing, |_, done| {
        let bad = |x: &&mut f32| !x.is_finite();
        done.outs[0].iter_mut().filter(bad).for_each(|x| *x = 0.0);
    });
    assert_eq!(hides.verdict, Verdict::Wrong);
    assert!(hides.why.unwrap().contains("hides that token"));

    // Packed sequences that touch each other, in results and in the gradient of a parameter.
    let touching = |problem: &Problem<f64>| if problem.sequences() > 1 { 1.0 + 1e-6 } else { 1.0 };
    let results =
        planted(|p, done| done.0.finals[0].iter_mut().for_each(|x| *x *= touching(p)), silent);
    let slopes =
        planted(|p, done| done.1.params[0].iter_mut().for_each(|x| *x *= touching(p)), silent);
    for judged in [results, slopes] {
        assert_eq!(judged.verdict, Verdict::Wrong, "{:?}", judged.why);
    }

    // States that are handed over and not taken: only the second of two calls has any.
    let given =
        |problem: &Problem<f64>| if problem.initial[0].is_some() { 1.0 + 1e-6 } else { 1.0 };
    let handed = planted(|p, done| done.0.outs[0].iter_mut().for_each(|x| *x *= given(p)), silent);
    assert_eq!(handed.verdict, Verdict::Wrong);
    assert!(handed.why.unwrap().contains("two with the states handed over"));

    // Small mistakes everywhere: the bars hold, and no other verdict takes them.
    for share in [1e-8, 1e-4, 0.5] {
        let results =
            planted(|_, done| done.0.outs[0].iter_mut().for_each(|x| *x *= 1.0 + share), silent);
        let slopes = planted(
            |_, done| done.1.inputs[1].iter_mut().for_each(|x| *x *= 1.0 + 10.0 * share),
            silent,
        );
        for judged in [results, slopes] {
            assert_eq!(judged.verdict, Verdict::Wrong, "{:?}", judged.why);
        }
    }
}

/// Writes tensors and runs `lrc exec` on them.
fn executed(name: &str, arch: &str, tensors: &Tensors, more: &[&str]) -> (i32, String) {
    let folder = empty(&format!("exec-{name}"));
    let (given, out) = (folder.join("in.safetensors"), folder.join("out.safetensors"));
    tensors::write(&given, tensors).unwrap();
    let op = Path::new(arch).file_stem().unwrap().to_str().unwrap();
    let files = ["exec", arch, op, "--inputs", path(&given), "--out", path(&out)];
    let output = lrc(&[&files[..], more].concat());
    let told = said(&output);
    assert!(!told.contains("panicked"), "{told}");
    (output.status.code().unwrap(), told)
}

const DELTA: &str = "specs/recurrences/gated_delta_rule.arch";

/// Given tensors against declared promises, and the sizes that they bind.
#[test]
fn broken_promises_and_bound_sizes_are_said() {
    let mut tensors = only(drawn(4, false), &["q", "k", "v", "g", "beta"]);
    let (status, told) = executed("kept", DELTA, &tensors, &["--set", "scale=1"]);
    assert_eq!((status, told.trim()), (0, "B=1 T=4 H=2 dk=8 dv=8"));
    fill(tensors.get_mut("g").unwrap(), 2..3, |_| 0.5);
    fill(tensors.get_mut("k").unwrap(), 1..2, |x| 7.0 * x);
    fill(tensors.get_mut("beta").unwrap(), 3..4, |_| 3.0);
    let (status, told) = executed("broken", DELTA, &tensors, &["--set", "scale=1"]);
    assert_eq!(status, 0, "{told}");
    for want in [
        "`g[0, 2, 0]` is 0.5, but `g` is promised to lie between -inf and 0",
        "2 of 8 numbers break this promise",
        "`k[0, 1, 0]` has length 7.0000",
        "2 of 8 vectors break this promise",
        "`beta[0, 3, 0]` is 3, but",
        "warning[W0309]",
        "B=1 T=4 H=2 dk=8 dv=8",
    ] {
        assert!(told.contains(want), "{want}: {told}");
    }
}

/// S1: a chunk is no longer than the longest sequence.
#[test]
fn a_chunk_ends_with_the_longest_sequence() {
    let tensors = only(drawn(10, false), &["q", "k", "v", "g", "beta"]);
    for chunk in ["1000000000", "18446744073709551615"] {
        let more = ["--set", "scale=1", "--form", "chunk", "--chunk", chunk];
        let (status, told) = executed("long", DELTA, &tensors, &more);
        assert_eq!(status, 0, "{told}");
    }
}

/// S6: gradients of nothing.
#[test]
fn gradients_need_a_cotangent() {
    let tensors = only(drawn(4, false), &["q", "k", "v", "g", "beta"]);
    let (status, told) = executed("nothing", DELTA, &tensors, &["--set", "scale=1", "--backward"]);
    assert_eq!(status, 3, "{told}");
    assert!(told.contains("`do`, `dfinal_state`"), "{told}");
}

/// S5: a message stays short, whatever the names and however many.
#[test]
fn messages_about_tensors_stay_short() {
    let sound = only(drawn(4, false), &["q", "k", "v", "g", "beta"]);
    let one = Tensor::f32(vec![1], vec![0.0]);
    let mut long = sound.clone();
    long.insert("x".repeat(1 << 20), one.clone());
    let mut many = sound;
    many.extend((0..20_000).map(|i| (format!("layer.{i}.weight"), one.clone())));
    for (name, mut tensors) in [("long", long), ("many", many)] {
        let more = ["--set", "scale=1"];
        let (status, told) = executed(&format!("strangers-{name}"), DELTA, &tensors, &more);
        assert_eq!(status, 3);
        assert!(told.len() < 10_000 && told.contains("E0304"), "{}", told.len());
        tensors.remove("v");
        let (status, told) = executed(&format!("missing-{name}"), DELTA, &tensors, &more);
        assert_eq!(status, 3);
        assert!(told.len() < 10_000 && told.contains("E0301"), "{}", told.len());
    }
}

/// What the library promises of decays keeps them below 1, so that what has faded may be 0, which keeps
/// the chunk form fast.
#[test]
fn decays_of_the_library_fade() {
    let mut grow = Vec::new();
    for entry in std::fs::read_dir("specs/recurrences").unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string();
        let file = format!("recurrences/{name}.arch");
        let (names, _) = library::load(&file, &mut Sources::default()).unwrap();
        let Some(decl) = names.get(&name) else { continue };
        let r = elaborate(decl, &BTreeMap::new(), &mut Vec::new()).unwrap();
        let normal = lrc_compiler::normal::extract(&r).ok();
        let normal = normal.filter(|_| lrc_compiler::strategy::of(&r).name() == "chunk");
        if normal.is_some_and(|normal| !normal.fades(&r)) {
            grow.push(name);
        }
    }
    assert!(grow.is_empty(), "{grow:?}");
}

/// A logarithm of what is not positive is no number, and no panic where overflow is watched for.
#[test]
fn logarithms_of_what_is_not_positive_are_not_finite() {
    let text = std::fs::read_to_string("specs/recurrences/gated_delta_rule.arch").unwrap();
    let file = empty("faults-logarithm").join("r.arch");
    std::fs::write(&file, text.replace("exp(g)", "log(g)")).unwrap();
    let output = lrc(&["verify", path(&file)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("not finite"), "{}", said(&output));
}

/// Gradients that cancel are known up to the rounding of their parts, in every form: no mistake of lrc.
#[test]
fn what_cancels_is_not_called_wrong() {
    let text = std::fs::read_to_string("specs/recurrences/rebased.arch").unwrap();
    let file = empty("faults-cancels").join("r.arch");
    std::fs::write(&file, text.replace("phi(scale * q)", "phi(scale / q)")).unwrap();
    let output = lrc(&["verify", path(&file)]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Where the outputs are large and a slope is small, differences hold only rounding: no mistake of lrc.
#[test]
fn what_grows_is_not_called_wrong() {
    let text = std::fs::read_to_string("specs/recurrences/mamba1.arch").unwrap();
    let grown = text.replace("param A : [n] in (-inf, 0)", "param A : [n] in (-inf, 7)");
    assert_ne!(text, grown);
    let file = empty("faults-grown").join("mamba1.arch");
    std::fs::write(&file, grown).unwrap();
    let output = lrc(&["verify", path(&file)]);
    assert!(output.status.success(), "{}", said(&output));
}

/// What a stabiliser takes away leaves the rest of a gradient as it is, however steep its other side: by the rules of
/// subtraction and maximum apart, `x` would get 1e20, -1e20 and 1, of which rounding leaves 0.
#[test]
fn a_difference_from_a_maximum_cancels_nothing() {
    for max in ["max(y, x)", "max(x, y)", "max(max(y, x), y - 1)", "max(y - 1, max(x, y))"] {
        let text = format!(
            "recurrence r {{ in x, y : [d]
             m = {max}
             out o = 1e20 * (x - m) + x }}"
        );
        let one = |x: f32| Tensor::f32(vec![1, 3, 1, 1], vec![x, 0.0, -x]);
        let tensors = Tensors::from([
            ("x".to_owned(), one(2.0)),
            ("y".to_owned(), one(1.0)),
            ("do".to_owned(), Tensor::f32(vec![1, 3, 1, 1], vec![1.0; 3])),
        ]);
        let found = run(&text, &tensors, FormKind::Recurrent, None, true);
        let (dx, dy) = (numbers(&found["dx"]), numbers(&found["dy"]));
        assert_eq!((dx[0], dy[0]), (1.0, 0.0), "{max}");
        // At -2 and -1 the other side is the larger one.
        assert_eq!((dx[2], dy[2]), (1e20, -1e20), "{max}");
    }
    let text = std::fs::read_to_string("specs/recurrences/slstm.arch").unwrap();
    let tanh = text.replace("exp(i - m[t])", "tanh(i - m[t])");
    assert_ne!(text, tanh);
    let (status, table, told) = verified_text("stabiliser", &tanh);
    assert_eq!(status, 3, "{table}{told}");
}

/// `S^0` has no slope, and a constant that lost its axes is chosen entry by entry all the same.
#[test]
fn a_power_of_nothing_is_verified() {
    let text = "recurrence r { in k, v : [d]; state S : [d, d]
        S[t] = S[t-1] - grad(|S[t-1]^T * k - v|^0 / 2, S[t-1]) + k * v^T
        out o = S[t]^T * k }";
    let (status, table, told) = verified_text("power-of-nothing", text);
    assert_eq!(status, 0, "{table}{told}");
}

/// A softmax of scores near 1e9 knows its weights to 1e-7, and a gradient by scores that are all the same is what this leaves
/// of 0, times 1e9: no mistake of lrc.
#[test]
fn what_a_large_scale_makes_of_rounding_is_not_called_wrong() {
    let text = std::fs::read_to_string("specs/recurrences/abc.arch").unwrap();
    let large = text.replace("scale = 1/sqrt(dk)", "scale = 1e9/sqrt(dk)");
    assert_ne!(text, large);
    let (status, table, told) = verified_text("large-scale", &large);
    assert_eq!(status, 0, "{table}{told}");
}
