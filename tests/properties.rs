//! Random recurrences, written in the language, against the truth: the chunk form equals the step
//! form, and gradients equal central differences, all in f64.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::chunk::derive;
use lrc_compiler::chunk::gradient::gradient;
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::normal::extract;
use lrc_compiler::strategy;
use lrc_compiler::tile::{Binary, Op, Program};
use lrc_dsl::{Sources, parse, render};
use lrc_runtime::eval::verify::{Trial, outputs, trial};
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};

/// Writes a random recurrence of the normal-form family.
fn invent(random: &mut Stream) -> String {
    let mut text = String::from("recurrence r(scale = 0.7) {\n    in q : [dk]; in v : [dv]\n");
    let mut pick = |n: usize| random.below(n);
    let turned = pick(3) == 0;
    let steps = 1 + pick(3);
    let rank = pick(3);
    text += &format!("    in k[{steps}] : [dk] unit; in w[{steps}] : [dv]\n");
    text += &format!("    in beta[{steps}] : scalar in (0, 2); in a, b : [dk] unit\n");
    text += "    in g : scalar in (-inf, 0]; in gv : [dk] in (-inf, 0]; in s : scalar in (-1, 1)\n";
    text += "    in p : [dk] in (-1, 1); in tiny : scalar in (0, 0.000001)\n";
    text += "    state S : [dk, dv]\n";
    let decay = [
        "",
        "exp(g) * ",
        "diag(exp(gv)) * ",
        "0.9 * ",
        "s * ",
        "diag(p) * ",
        "-1 * ",
        "0 * ",
        "tiny * ",
    ][pick(9)];
    if pick(3) == 0 {
        text += "    out early = S[t-1]^T * (scale * q)\n";
    }
    text += &update(steps, rank, decay, &mut pick);
    text += match pick(4) {
        0 => "    out o = S[t]^T * (scale * q)\n",
        1 => "    out o = S[t]^T * (scale * q) + tanh(S[t]^T * a) .* v\n",
        2 => "    out o = (S[t] + (a .* q) * v^T)^T * (scale * q)\n",
        _ => "    out o = S[t]^T * (scale * q); out c = S[t] * v\n",
    };
    text += "}\n";
    if turned { transpose(&text) } else { text }
}

/// The equation of the state.
fn update(steps: usize, rank: usize, decay: &str, pick: &mut impl FnMut(usize) -> usize) -> String {
    let delta = rank > 0;
    let mut text = String::new();
    if steps > 1 {
        text += &format!("    S[t] = {decay}S[t-1]\n");
        text += &format!("    for j < {steps} {{\n");
        text += match (delta, pick(2)) {
            (true, 0) => "        S[t] = S[t] + beta[j] * k[j] * (w[j] - S[t]^T * k[j])^T\n",
            (true, _) => "        S[t] = (I - beta[j] * k[j] * k[j]^T) * S[t] + k[j] * w[j]^T\n",
            (false, 0) => "        S[t] = 0.8 * S[t] + beta[j] * k[j] * w[j]^T\n",
            (false, _) => "        S[t] = S[t] - k[j] * w[j]^T\n",
        };
        text += "    }\n";
    } else {
        let write = ["k[0] * w[0]^T", "beta[0] * k[0] * v^T", "(1 - exp(gv)) * v^T"][pick(3)];
        text += &match (rank, pick(3)) {
            (0, _) => format!("    S[t] = {decay}S[t-1] + {write}\n"),
            (1, 0) => {
                format!("    S[t] = {decay}(I - beta[0] * k[0] * k[0]^T) * S[t-1] + {write}\n")
            }
            (1, 1) => {
                format!("    S[t] = (I - beta[0] * k[0] * k[0]^T) * {decay}S[t-1] + {write}\n")
            }
            (1, _) => {
                format!(
                    "    Sd = {decay}S[t-1]\n    S[t] = Sd - beta[0] * grad(|Sd^T * k[0] - v|^2 / 2, Sd)\n"
                )
            }
            (_, 0) => format!("    S[t] = {decay}S[t-1] - 0.5 * a * (S[t-1]^T * b)^T + {write}\n"),
            (_, 1) => format!(
                "    S[t] = {decay}S[t-1] - 0.3 * a * (b^T * S[t-1]) - 0.4 * k[0] * (k[0]^T * S[t-1]) + {write}\n"
            ),
            (_, _) => {
                format!("    P = I - 0.6 * a * b^T\n    S[t] = P * {decay}S[t-1] + {write}\n")
            }
        };
    }
    text
}

/// The same recurrence with the state the other way round: `S` becomes `S^T` everywhere.
fn transpose(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.contains("state S") {
            out += "    state Z : [dv, dk]\n    // the transposed orientation\n";
            continue;
        }
        let line = match line.find("S[t] = ") {
            Some(at) => {
                let (front, rest) = line.split_at(at);
                format!("{front}Z[t] = ({})^T", &rest["S[t] = ".len()..])
            }
            None => line.to_string(),
        };
        out += &line.replace("S[t-1]", "Z[t-1]^T").replace("S[t]", "Z[t]^T").replace("^T^T", "");
        out.push('\n');
    }
    out
}

#[test]
fn random_recurrences_agree_with_the_truth() {
    let (mut chunked, mut failures, mut refused) = (0, Vec::new(), Vec::new());
    for item in 0..360_u64 {
        let mut random = Stream::new(11, Purpose::Verify, item);
        let text = invent(&mut random);
        let mut sources = Sources::default();
        let file = sources.add("invented", text.as_str());
        let (tree, mut diags) = parse(file, &text);
        assert!(diags.is_empty(), "{text}\n{}", render(&sources, &diags, false));
        let (dk, dv) = (1 + random.below(7), 2 + random.below(6));
        let given: BTreeMap<String, Setting> = [("dk", dk), ("dv", dv)]
            .map(|(n, x)| (n.to_string(), Setting::Number(x as f64)))
            .into();
        let recurrence = elaborate(&tree.decls[0], &given, &mut diags);
        let Some(recurrence) = recurrence else {
            panic!("{text}\n{}", render(&sources, &diags, false));
        };
        let lengths = match random.below(3) {
            0 => vec![1 + random.below(40)],
            1 => vec![1 + random.below(9), 1, 1 + random.below(20)],
            _ => vec![1 + random.below(12); 2],
        };
        let shape = Trial {
            lengths,
            heads: 1 + random.below(2),
            chunk: [1, 2, 5, 16, 64][random.below(5)],
            initial: random.below(2) == 0,
            seed: item,
            decays: &[],
        };
        let found = trial(&recurrence, &shape).unwrap();
        chunked += u32::from(found.forward.is_some());
        if let Err(refusal) = extract(&recurrence) {
            refused.push(format!("{}\n{text}", refusal.why));
        }
        let (forward, backward) = (found.forward.unwrap_or(0.0), found.backward.unwrap_or(0.0));
        if forward > 1e-11 || backward > 1e-10 || found.slope > 1e-5 {
            failures.push(format!("{item}: {found:?}\n{shape:?} dk {dk} dv {dv}\n{text}"));
        }
    }
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n"));
    assert!(chunked >= 300, "only {chunked} of 360 have a chunk form\n{}", refused.join("\n"));
}

/// A program as one text that does not depend on the order in which its nodes were made.
fn canonical(program: &Program) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for node in &program.nodes {
        let mut args: Vec<String> = node.args.iter().map(|arg| texts[arg.at()].clone()).collect();
        if matches!(node.op, Op::MulSum(_) | Op::Binary(Binary::Add)) {
            args.sort();
        }
        // Shared parts would make the text as long as the program has paths.
        let text = format!("{}({}):{:?}", node.op, args.join(","), node.shape);
        texts.push(format!("{:x}", short(&text)));
    }
    program.outputs.iter().map(|output| texts[output.at()].clone()).collect()
}

/// A short name of a text.
fn short(text: &str) -> u128 {
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// A recurrence of the library, or of a text.
fn of_library(name: &str) -> Recurrence {
    let (names, _) =
        library::load(&format!("recurrences/{name}.arch"), &mut Sources::default()).unwrap();
    elaborate(names.get(name).unwrap(), &BTreeMap::new(), &mut Vec::new()).unwrap()
}

fn of_text(text: &str) -> Recurrence {
    let (parsed, found) = parse(Sources::default().add("explicit", text), text);
    assert!(found.is_empty(), "{found:?}");
    let mut diags = Vec::new();
    elaborate(&parsed.decls[0], &BTreeMap::new(), &mut diags).unwrap_or_else(|| panic!("{diags:?}"))
}

/// The delta rule declared as an equation and by its objective are one program, forward and back.
#[test]
fn an_objective_compiles_to_the_same_program_as_its_equation() {
    let [equation, objective] = ["delta_rule", "delta_objective"].map(|name| {
        let r = of_library(name);
        let chunk = derive(&r, &extract(&r).unwrap(), 16, true).unwrap();
        let mut back = canonical(&gradient(&r, &chunk, &|_, _| false).program);
        back.sort();
        (canonical(&chunk.program), back)
    });
    assert_eq!(equation, objective);
}

/// So are Titans, whose momentum keeps them out of the normal form: one program of a token.
#[test]
fn momentum_by_its_objective_is_the_same_program_too() {
    let explicit = of_text(
        "recurrence titans_linear(scale = 1) {
            in q : [dk]; in k : [dk] unit; in v : [dv]
            in theta, alpha, eta : scalar in (0, 1)
            state S, momentum : [dk, dv]
            slope = (k * ((S[t-1]^T * k - v) * 2)^T)
            momentum[t] = eta * momentum[t-1] - theta * slope
            S[t] = (1 - alpha) * S[t-1] + momentum[t]
            out o = S[t]^T * (scale * q)
        }",
    );
    assert_eq!(canonical(&of_library("titans_linear").token), canonical(&explicit.token));
}

/// TTT's step through a layer norm, written out by hand (the formula of its paper's appendix for
/// the backward pass of a norm), gives the numbers that the objective gives.
#[test]
fn a_nonlinear_objective_gives_the_numbers_of_its_hand_written_step() {
    let explicit = of_text(
        "recurrence ttt_linear(mini_batch = 16, scale = 1, eps = 1e-6) {
            in q, v : [d]; in k : [d] unit; in eta : scalar in (0, inf); param w, b : [d]
            state S : [d, d]; state bias : [d]
            ln(x) = (x - mean(x)) / sqrt(var(x) + eps) .* w + b
            s = t - t mod mini_batch
            z = S[s-1]^T * k + bias[s-1]
            x = (z - mean(z)) / sqrt(var(z) + eps)
            e = w .* (ln(z) - (v - k))
            n = (e - mean(e) - x * mean(e .* x)) / sqrt(var(z) + eps)
            S[t] = S[s-1] - eta * sum(k[u] * n[u]^T for s <= u <= t)
            bias[t] = bias[s-1] - eta * sum(n[u] for s <= u <= t)
            y = S[t]^T * (scale * q) + bias[t]
            out o = y + ln(y)
        }",
    );
    let trial =
        Trial { lengths: vec![37, 5], heads: 2, chunk: 16, initial: true, seed: 8, decays: &[] };
    let [objective, explicit] =
        [of_library("ttt_linear"), explicit].map(|r| outputs(&r, &trial).concat());
    for (a, b) in objective.iter().zip(&explicit) {
        assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{a} for {b}");
    }
}

/// States that are updated entry by entry, in every way that a scan knows.
const SCANS: &[&str] = &[
    "in x : scalar; in g : scalar in (-inf, 0]
     state h : scalar
     h[t] = exp(g) * h[t-1] + x
     out o = tanh(h[t]) + h[t-1]",
    "in x : [n]; in a : [n] in (-1, 1); in c : [n]; param w : [n]
     state h : [n]
     h[t] = -(a .* (h[t-1] - x) / 2) + (w .* x + h[t-1]) / 3
     out o = c^T * h[t] + x[0]",
    "in x : [n]; param w : [n] in (-inf, 0]
     state m : [n] init -inf; state s : [n]
     m[t] = max(m[t-1] + w, x)
     s[t] = exp(m[t-1] + w - m[t]) .* s[t-1] + exp(x - m[t])
     out o = m[t] + tanh(s[t])",
    "in x : [n]; param a, b : [n]
     state p, q : [n]
     u = p[t-1] - b .* q[t-1]
     p[t] = 0.5 * u + x
     q[t] = a .* p[t-1] + 0.7 * q[t-1] - x
     out o = p[t] .* q[t]",
    "in x : [n]; param A_re : [n] in (-inf, 0]; param A_im : [n]
     state h : [n] complex
     h[t] = exp(complex(A_re, A_im)) .* h[t-1] + x
     out o = real(sum(h[t])) + imag(sum(h[t]))",
    "in x : scalar; in y : [n]
     state a : scalar; state b : [n]
     a[t] = 0.9 * a[t-1] + x * x[t-1]
     b[t] = a[t] * b[t-1] + sigmoid(a[t-1]) * y
     out o = b[t] .* b[t-1]",
];

#[test]
fn scans_agree_with_the_truth() {
    let trial_of = |r: &Recurrence, t: &Trial| trial(r, t).unwrap_or_else(|why| panic!("{why}"));
    let mut failures = Vec::new();
    for (at, body) in SCANS.iter().enumerate() {
        let text = format!("recurrence r {{\n{body}\n}}");
        let r = of_text(&text);
        assert_eq!(strategy::of(&r).name(), "scan", "{text}");
        for (lengths, heads, chunk) in
            [(vec![70, 1, 5], 6, 16), (vec![33], 1, 1), (vec![40, 64], 12, 64), (vec![7], 7, 3)]
        {
            for initial in [false, true] {
                let lengths = lengths.clone();
                let seed = at as u64;
                let trial = Trial { lengths, heads, chunk, initial, seed, decays: &[] };
                let found = trial_of(&r, &trial);
                let good = |x: Option<f64>| x.is_some_and(|x| x < 1e-11);
                // Differences across a change of the larger side say nothing.
                let slope = if at == 2 { f64::INFINITY } else { 1e-6 };
                if !good(found.forward) || !good(found.backward) || found.slope > slope {
                    failures.push(format!("{found:?} {trial:?}\n{text}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
