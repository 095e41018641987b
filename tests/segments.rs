//! Segments of a sequence: their summaries, and one sequence over several processes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lrc_compiler::block::Blocking;
use lrc_compiler::elaborate::{Recurrence, elaborate};
use lrc_compiler::form::{Form, FormKind, Operand, Problem};
use lrc_compiler::graph::{Model, Prepared, build};
use lrc_compiler::strategy::transition::{Transition, transition};
use lrc_compiler::tile::size;
use lrc_dsl::Sources;
use lrc_runtime::device::Device;
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::segments::Segments;
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;
use lrc_runtime::parallel::Group;
use lrc_runtime::parallel::threads::groups;
use lrc_runtime::recurrence::draw::tensor;

/// Every recurrence of the library, at sizes of which no two are equal where it has two.
fn recurrences() -> Vec<Recurrence> {
    let files = library::LIBRARY.iter().map(|(path, _)| *path);
    let read = |path: &str| {
        let name = path.strip_prefix("recurrences/")?.strip_suffix(".arch")?;
        let (names, _) = library::load(path, &mut Sources::default())?;
        elaborate(names.get(name)?, &Default::default(), &mut vec![])
    };
    files.filter_map(read).collect()
}

const HEADS: usize = 2;
const TOKENS: usize = 11;

/// The tensors of one sequence.
struct Tensors {
    inputs: Vec<Vec<f64>>,
    params: Vec<Vec<f64>>,
}

impl Tensors {
    fn new(r: &Recurrence) -> Tensors {
        let mut random = Stream::new(5, Purpose::Verify, 1);
        let mut all =
            |slots: &[_], rows| slots.iter().map(|slot| tensor(slot, rows, &mut random)).collect();
        Tensors { inputs: all(&r.inputs, TOKENS * HEADS), params: all(&r.params, HEADS) }
    }

    /// What a recurrence that reads some of them leaves of given states.
    fn finals(
        &self,
        r: &Recurrence,
        own: [&[usize]; 2],
        from: &[Vec<f64>],
        kind: FormKind,
    ) -> Vec<Vec<f64>> {
        let pick = |all: &'_ [Vec<f64>], own: &[usize]| -> Vec<_> {
            own.iter().map(|at| all[*at].clone()).collect()
        };
        let (inputs, params) = (pick(&self.inputs, own[0]), pick(&self.params, own[1]));
        let problem = Problem {
            recurrence: r,
            heads: HEADS,
            sum: 1,
            bounds: vec![0, TOKENS],
            inputs: inputs.iter().map(|data| Operand { data, heads: HEADS }).collect(),
            params: params.iter().map(|data| Operand { data, heads: HEADS }).collect(),
            initial: from.iter().map(|state| Some(state.as_slice())).collect(),
        };
        let form = Form::new(&problem, kind, Blocking::default()).unwrap();
        form.forward(&problem, false).0.finals
    }
}

/// What the summary of a segment makes of states.
fn summed(t: &Transition, a: &[Vec<f64>], w: &[Vec<f64>], x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut made = w.to_vec();
    for (k, to) in made.iter_mut().enumerate() {
        let (n, one) = (t.size(k), to.len() / HEADS);
        for head in 0..HEADS {
            let (a, x) = (&a[k][head * n..][..n], &x[k][head * one..][..one]);
            t.apply(k, a, x, false, &mut to[head * one..][..one]);
        }
    }
    made
}

#[test]
fn a_summary_says_what_a_segment_does_to_any_state() {
    let mut without = vec![];
    let all = recurrences();
    for r in all.iter().filter(|r| r.is_local() && !r.states.is_empty()) {
        let Ok(t) = transition(r) else {
            without.push(r.name.as_str());
            continue;
        };
        let tensors = Tensors::new(r);
        let mut random = Stream::new(6, Purpose::Verify, 2);
        let mut states = |draw: bool| -> Vec<Vec<f64>> {
            let mut one = |n: usize| {
                (0..n * HEADS).map(|_| if draw { random.normal() } else { 0.0 }).collect()
            };
            r.states.iter().map(|slot| one(size(&slot.shape))).collect()
        };
        let all: [Vec<usize>; 2] = [(0..r.inputs.len()).collect(), (0..r.params.len()).collect()];
        let all = [all[0].as_slice(), all[1].as_slice()];
        let (x, zero) = (states(true), states(false));
        let wanted = tensors.finals(r, all, &x, FormKind::Recurrent);
        let w = tensors.finals(r, all, &zero, FormKind::Auto);
        let start: Vec<Vec<f64>> =
            (0..r.states.len()).map(|k| t.start::<f64>(k).repeat(HEADS)).collect();
        for kind in [FormKind::Recurrent, FormKind::Auto] {
            let a = tensors.finals(&t.recurrence, [&t.inputs, &t.params], &start, kind);
            let made = summed(&t, &a, &w, &x);
            for (made, wanted) in made.iter().flatten().zip(wanted.iter().flatten()) {
                assert!(
                    (made - wanted).abs() < 1e-9 * (1.0 + wanted.abs()),
                    "{}: {made} is not {wanted}",
                    r.name
                );
            }
        }
    }
    // States that bend, that are carried on by others, or whose entries mix by matrices of their own.
    let known = [
        "abc",
        "longhorn",
        "mlstm",
        "residual_linear_attn",
        "rwkv4",
        "s4d",
        "slstm",
        "titans_linear",
    ];
    assert_eq!(without, known);
}

/// Layers, each of which looks across rows in its own way.
const LAYERS: &[(&str, &str)] = &[
    ("gated_deltanet", "gated_deltanet(heads = 2, dk = 8, dv = 12)"),
    ("deltanet", "deltanet(heads = 2, dk = 12, dv = 8)"),
    ("gla_expanded", "gla_expanded(heads = 2, expand = 2, dk = 8, dv = 8, rank = 4)"),
    ("mamba2", "mamba2(heads = 4, groups = 2, dim = 8, n = 8)"),
    ("mamba", "mamba(e = 16, n = 4, rank = 2)"),
    ("rwkv7_time", "rwkv7_time(heads = 2, rank = 4, first = true)"),
    ("rwkv6_time", "rwkv6_time(heads = 2, rank = 4, decay_rank = 4)"),
    ("griffin", "griffin(e = 16, blocks = 2)"),
    ("h3", "h3(n = 4)"),
    ("attention", "attention(heads = 2)"),
    ("attention", "attention(heads = 2, window = 5)"),
    ("gated_attention", "gated_attention(heads = 4, kv_heads = 2, dim = 8)"),
    ("hyena", "hyena(filter = 8, span = 64)"),
    ("short_conv", "short_conv(e = 16)"),
    ("moe", "moe(experts = 4, hidden = 12, balance = 0.3)"),
];

/// Recurrences that nothing smaller than themselves says what they do to states; and one that reads single rows of the past.
const OTHERS: &str = "
    recurrence counts { in x : [d]
        state s : [d]
        s[t] = s[t-1] * t / (t + 1) + x
        out y = s[t] + x[t-2] }
    recurrence learns { in x : [d]; in g : scalar in (-inf, 0]; in z : [d]
        state s : [d]
        s[t] = exp(g) * s[t-1] + x[t-1] .* z
        out y = s[t] .* x }
    recurrence bends { in x : [d]; param a : [d]
        state s : [d] init a
        s[t] = tanh(s[t-1] + x)
        out y = s[t] }
    recurrence begins { in x : [d]; in g : scalar in (-inf, 0]; param a : [d]
        state s : [d] init a
        s[t] = exp(g) * s[t-1] + x
        out y = s[t] * s[t-1]^T * x }
    mixer slow(d = 8) { v : [1, d] = linear(x)
        o = counts(v)
        out y = linear(o) }
    mixer learned(d = 8) { v, z : [2, d] = linear(x)
        g : [2] = -softplus(linear(x))
        o = learns(v, g, z)
        out y = linear(o) }
    mixer bent(d = 8) { v : [2, d] = linear(x)
        param a : [2, d] init uniform(-1, 1)
        o = bends(v, a)
        out y = linear(o) }
    mixer begun(d = 8) { v : [2, d] = linear(x)
        param a : [2, d] init uniform(-1, 1)
        g : [2] = -softplus(linear(x))
        o = begins(v, g, a)
        out y = linear(o) }
";

fn model_of(mixer: &str, layer: &str) -> Model {
    let uses =
        if mixer.is_empty() { String::new() } else { format!("use \"mixers/{mixer}.arch\"\n") };
    built(format!(
        "{uses}{OTHERS}\nmodel m(width = 16) {{ vocab 16\n residual x + f(rmsnorm(x))\n {layer}\n {layer}\n head rmsnorm(x), untied }}"
    ))
}

fn built(text: String) -> Model {
    let mut sources = Sources::default();
    let (names, mut diags) = lrc_dsl::load_text("m", text, None, library::LIBRARY, &mut sources);
    let built = build(&names, names.get("m").unwrap(), &Default::default(), &mut diags);
    built.unwrap_or_else(|| panic!("{}", lrc_dsl::render(&sources, &diags, false)))
}

/// Parameters of which none is 0: what is divided by a norm of zeros has no digits.
fn drawn(model: &Model) -> Vec<Vec<f32>> {
    let mut random = Stream::new(7, Purpose::Verify, 3);
    let mut params = fresh(&model.graph.params, 7);
    params.iter_mut().flatten().for_each(|x| *x += 0.05 * random.normal() as f32);
    params
}

/// Packed sequences.
fn batch_of(lengths: &[usize]) -> Batch {
    let mut random = Stream::new(4, Purpose::Train, 0);
    let mut batch = Batch::default();
    for length in lengths {
        let tokens: Vec<u32> = (0..*length).map(|_| random.below(16) as u32).collect();
        let targets: Vec<u32> = (0..*length)
            .map(|at| if at % 5 == 3 { NONE } else { random.below(16) as u32 })
            .collect();
        batch.push(&tokens, &targets);
    }
    batch
}

/// Hidden states, gradients, and the words that a process has sent at most for each node.
struct Found {
    hidden: Vec<f32>,
    grads: Vec<Vec<f32>>,
    loss: f64,
    sent: BTreeMap<usize, u64>,
}

fn alone(model: &Model, params: &[Vec<f32>], batch: &Batch, on: Device) -> Found {
    let mut walk = Walk::of(on, Prepared::plain(model.clone()), params).unwrap();
    let score = walk.train(batch).unwrap();
    let grads = walk.grads().unwrap();
    Found { hidden: walk.hidden(batch).unwrap(), grads, loss: score.loss, sent: BTreeMap::new() }
}

/// The same by threads that stand for processes, each with a segment.
fn in_segments(
    model: &Model,
    params: &[Vec<f32>],
    batch: &Batch,
    count: usize,
    on: Device,
) -> Found {
    let one = |group: Group, batch: Batch| {
        let mut walk = Walk::of(on, Prepared::plain(model.clone()), params).unwrap();
        walk.segments = Some(Segments::new(Arc::new(group), count));
        let score = walk.train(&batch).unwrap();
        let grads = walk.grads().unwrap();
        let sent = std::mem::take(&mut walk.segments.as_mut().unwrap().sent);
        let share = batch.asked() as f64 / batch.weight() as f64;
        Found { hidden: walk.hidden(&batch).unwrap(), grads, loss: score.loss * share, sent }
    };
    let one = &one;
    let parts: Vec<Found> = std::thread::scope(|scope| {
        let each = groups(count).unwrap().into_iter().zip(batch.segments(count));
        let all: Vec<_> =
            each.map(|(group, batch)| scope.spawn(move || one(group, batch))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    parts
        .into_iter()
        .reduce(|mut sum, part| {
            sum.hidden.extend(part.hidden);
            sum.loss += part.loss;
            for (sum, part) in sum.grads.iter_mut().flatten().zip(part.grads.iter().flatten()) {
                *sum += part;
            }
            for (node, words) in part.sent {
                let most = sum.sent.entry(node).or_default();
                *most = words.max(*most);
            }
            sum
        })
        .unwrap()
}

/// The norm of the difference of two lists, as a share of the norm of the first.
fn gap(wanted: &[f32], found: &[f32]) -> f64 {
    let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    let of_wanted = norm(&mut wanted.iter().map(|x| f64::from(*x)));
    let gaps = &mut wanted.iter().zip(found).map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(gaps) / of_wanted.max(1e-3)
}

/// A state whose axes change places is no product of entries.
#[test]
fn states_that_turn_have_no_summary() {
    let text = "recurrence turns { in k, v : [4]; in g : scalar in (-inf, 0]
        state S : [4, 4]
        S[t] = exp(g) * S[t-1]^T + k * v^T
        out o = S[t] * k }";
    let mut sources = Sources::default();
    let (names, mut diags) =
        lrc_dsl::load_text("t", text.into(), None, library::LIBRARY, &mut sources);
    let turns = elaborate(names.get("turns").unwrap(), &Default::default(), &mut diags);
    let turns = turns.unwrap_or_else(|| panic!("{}", lrc_dsl::render(&sources, &diags, false)));
    assert!(turns.is_local() && transition(&turns).is_err());
}

#[test]
fn segments_give_what_one_process_gives() {
    let others = [("", "slow()"), ("", "learned()"), ("", "bent()"), ("", "begun()")];
    for (mixer, layer) in LAYERS.iter().chain(&others) {
        let model = model_of(mixer, layer);
        let params = drawn(&model);
        for lengths in [&[70][..], &[3, 41, 1, 2, 23], &[9, 9]] {
            let batch = batch_of(lengths);
            let wanted = alone(&model, &params, &batch, Device::Cpu);
            // What a last bit of the parameters makes of it: where gradients are ill-conditioned, as through the norms of small
            // vectors, nobody has more digits.
            let nudge = |x: &f32| f32::from_bits(x.to_bits() ^ 1);
            let nudged: Vec<Vec<f32>> =
                params.iter().map(|param| param.iter().map(nudge).collect()).collect();
            let rounded = alone(&model, &nudged, &batch, Device::Cpu);
            let bar = |a: &[f32], b: &[f32]| gap(a, b).max(1e-5);
            for count in [2, 4] {
                let found = in_segments(&model, &params, &batch, count, Device::Cpu);
                let who = format!("{layer}, {lengths:?} in {count}");
                let hidden = gap(&wanted.hidden, &found.hidden);
                assert!(hidden < bar(&wanted.hidden, &rounded.hidden), "{who}: {hidden}");
                assert!((wanted.loss - found.loss).abs() < 1e-5, "{who}: {}", found.loss);
                for (at, param) in model.graph.params.iter().enumerate() {
                    let (a, b) = (&wanted.grads[at], &found.grads[at]);
                    let (gap, bar) = (gap(a, b), bar(a, &rounded.grads[at]));
                    assert!(gap < 2.0 * bar, "{who}: {gap}, not {bar}, of {}", param.name);
                }
            }
        }
    }
}

/// Four recurrences with nothing around them that takes digits away, such as norms of small outputs.
const FOUR: &str = r#"
    use "recurrences/gated_delta_rule.arch"
    use "recurrences/gla.arch"
    use "recurrences/rwkv7.arch"
    use "recurrences/mamba2_ssd.arch"
    mixer by_gated_delta_rule() { q : [2, 12] = linear(x)
        k : [2, 12] = linear(x)
        v : [2, 12] = linear(x)
        g : [2] = linear(x)
        beta : [2] = linear(x)
        o = gated_delta_rule(q, l2norm(k), v, -softplus(g), sigmoid(beta))
        out y = linear(o) }
    mixer by_gla() { q : [2, 12] = linear(x)
        k : [2, 12] = linear(x)
        v : [2, 12] = linear(x)
        g : [2, 12] = linear(x)
        o = gla(q, k, v, -softplus(g))
        out y = linear(o) }
    mixer by_rwkv7() { r : [2, 12] = linear(x)
        k : [2, 12] = linear(x)
        kk : [2, 12] = linear(x)
        w : [2, 12] = linear(x)
        a : [2, 12] = linear(x)
        v : [2, 12] = linear(x)
        o = rwkv7(r, k, l2norm(kk), -softplus(w), sigmoid(a), v)
        out y = linear(o) }
    mixer by_mamba2() { u : [2, 12] = linear(x)
        B : [2, 12] = linear(x)
        C : [2, 12] = linear(x)
        dt : [2] = softplus(linear(x))
        param A : [2] init uniform(1, 2)
        param D : [2] init uniform(1, 2)
        o = mamba2_ssd(u, dt, -A, B, C, D)
        out y = linear(o) }
"#;

#[test]
fn four_recurrences_agree_to_five_digits() {
    for layer in ["by_gated_delta_rule()", "by_gla()", "by_rwkv7()", "by_mamba2()"] {
        let text = format!(
            "{FOUR}\nmodel m(width = 16) {{ vocab 16\n residual x + f(x)\n {layer}\n {layer}\n head x, untied }}"
        );
        let model = built(text);
        let params = drawn(&model);
        for lengths in [&[130][..], &[33, 64, 1, 50]] {
            let batch = batch_of(lengths);
            let wanted = alone(&model, &params, &batch, Device::Cpu);
            for count in [2, 4] {
                let found = in_segments(&model, &params, &batch, count, Device::Cpu);
                let who = format!("{layer}, {lengths:?} in {count}");
                let gaps = wanted.grads.iter().zip(&found.grads).map(|(a, b)| gap(a, b));
                let most = gaps.fold(gap(&wanted.hidden, &found.hidden), f64::max);
                assert!(most < 1e-5, "{who}: {most}");
            }
        }
    }
}

/// What a recurrence sends does not grow with the sequence; what attention sends does.
#[test]
fn what_a_recurrence_says_does_not_grow_with_the_sequence() {
    for (mixer, layer) in LAYERS {
        let grows = ["attention(heads = 2)", "gated_attention", "hyena"];
        let grows = grows.iter().any(|name| layer.starts_with(name));
        let model = model_of(mixer, layer);
        let params = drawn(&model);
        let sent =
            |length: usize| in_segments(&model, &params, &batch_of(&[length]), 4, Device::Cpu).sent;
        let (short, long) = (sent(64), sent(256));
        assert!(!short.is_empty() && short.values().sum::<u64>() > 0, "{layer}");
        assert_eq!(short != long, grows, "{layer}: {short:?} {long:?}");
    }
}

/// The same by kernels, which the sim device executes: they multiply in bf16, whoever holds the rows.
#[test]
fn kernels_in_segments_give_what_those_of_one_process_give() {
    let layers = [
        LAYERS[0],
        LAYERS[3],
        LAYERS[5],
        LAYERS[9],
        LAYERS[10],
        LAYERS[12],
        LAYERS[14],
        ("", "bent()"),
    ];
    for (mixer, layer) in layers {
        let model = model_of(mixer, layer);
        let params = drawn(&model);
        let batch = batch_of(&[3, 20, 7]);
        let truth = alone(&model, &params, &batch, Device::Cpu);
        let whole = alone(&model, &params, &batch, Device::Sim);
        let found = in_segments(&model, &params, &batch, 2, Device::Sim);
        // Products of bf16 are as far from the truth, whoever holds the rows.
        let near = |truth: &[f32], whole: &[f32], found: &[f32], of: &str| {
            let [whole, found] = [whole, found].map(|one| gap(truth, one));
            assert!(found < 1e-2 + 2.0 * whole, "{layer}: {found}, not {whole}, of {of}");
        };
        near(&truth.hidden, &whole.hidden, &found.hidden, "hidden states");
        for (at, param) in model.graph.params.iter().enumerate() {
            near(&truth.grads[at], &whole.grads[at], &found.grads[at], &param.name);
        }
    }
}
