//! What the processor trains, kernels train: optimisers, what training does to a model, and nodes that see
//! more than a row, on the sim device against the processor.
//!
//! NVRTC compiles the kernels; `./test` installs it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{
    Amended, Init, LowRank, Model, Options, Prepared, Recompute, build, build_with, prepare,
};
use lrc_compiler::tile::Number;
use lrc_dsl::{Sources, load_text};
use lrc_runtime::device::Device;
use lrc_runtime::device::store::Machine;
use lrc_runtime::fields::{Given, Preset, Variant};
use lrc_runtime::ground::library::{self, LIBRARY};
use lrc_runtime::model::transforms::{Precision, Transforms};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;
use lrc_runtime::optim::state::{Grouping, State};
use lrc_runtime::optim::{Class, Frozen, Group, METHODS, Method, Optimizer, Rates, Which};
use lrc_runtime::train::engine::{Engine, Training};

const VOCAB: usize = 24;

fn shipped(name: &str, sizes: &[(&str, f64)]) -> Model {
    let path = format!("models/{name}.arch");
    let (names, _) = library::load(&path, &mut Sources::default()).unwrap();
    let given: BTreeMap<String, Setting> =
        sizes.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    build(&names, names.get(name).unwrap(), &given, &mut vec![]).unwrap()
}

fn written(text: &str) -> Model {
    let mut sources = Sources::default();
    let (names, mut diags) = load_text("m", text.into(), None, LIBRARY, &mut sources);
    build(&names, &names.decls["m"], &BTreeMap::new(), &mut diags)
        .unwrap_or_else(|| panic!("{}", lrc_dsl::render(&sources, &diags, false)))
}

fn small() -> Model {
    let sizes = [("width", 16.0), ("layers", 2.0), ("vocab", VOCAB as f64), ("heads", 2.0)];
    shipped("quickstart", &sizes)
}

struct Drawn(u32);

impl Drawn {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % n
    }
}

fn batch() -> Batch {
    let (mut batch, mut drawn) = (Batch::default(), Drawn(3));
    for length in [19, 1, 30] {
        let mut draw = |_| drawn.below(VOCAB as u32);
        let tokens: Vec<u32> = (0..length).map(&mut draw).collect();
        let targets = (0..length).map(|i| if i % 4 == 3 { NONE } else { draw(i) });
        batch.push(&tokens, &targets.collect::<Vec<u32>>());
    }
    batch
}

/// `‖got − want‖ / ‖want‖` of all numbers.
fn gap(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    let pairs = || got.iter().flatten().zip(want.iter().flatten());
    let square = |x: f64| x * x;
    let gaps: f64 = pairs().map(|(g, w)| square(f64::from(g - w))).sum();
    let whole: f64 = pairs().map(|(_, w)| square(f64::from(*w))).sum();
    (gaps / whole.max(1e-30)).sqrt()
}

/// What a spec says that gives none of a method's fields, but for truths: these are true.
struct Usual(&'static Variant);

impl Given for Usual {
    fn number(&mut self, name: &'static str) -> f64 {
        let Preset::Number(x) = self.0.table.field(name).unwrap().default else { panic!("{name}") };
        x
    }

    fn size(&mut self, name: &'static str) -> usize {
        self.number(name) as usize
    }

    fn size_up_to(&mut self, _: &'static str, default: usize, _: usize) -> usize {
        default
    }

    fn word(&mut self, _: &'static str) -> usize {
        0
    }

    fn has(&mut self, _: &'static str) -> bool {
        false
    }

    fn truth(&mut self, _: &'static str) -> bool {
        true
    }
}

/// Three updates by the same gradients move the parameters alike, whatever the rule and its groups.
#[test]
fn optimisers_update_alike() {
    let methods =
        METHODS.iter().map(|method| Method::read(method.key, &mut Usual(method)).unwrap());
    let group = |name: &str, which, lr_scale, weight_decay| Group {
        name: name.into(),
        which,
        lr_scale,
        weight_decay,
    };
    let groups = vec![
        group("vectors", Which::Class(Class::Vectors), 0.5, Some(0.0)),
        group("head", Which::Class(Class::Head), 2.0, None),
    ];
    for method in methods {
        let optimizer =
            Optimizer { method, lr: 1e-2, groups: groups.clone(), ..Optimizer::adamw(1e-2) };
        let model = small();
        let params = fresh(&model.graph.params, 3);
        let mut moved = Vec::new();
        for machine in [None, Some(Machine::sim())] {
            let param_groups = optimizer.param_groups(&model).unwrap();
            let grouping = Grouping::new(&param_groups, &vec![Number::F32; params.len()]);
            let prepared = Prepared::plain(model.clone());
            let mut walk = Walk::on(machine.as_ref(), prepared, &params, &grouping.of).unwrap();
            let own = &mut walk.parameters;
            let pieces = own.layout.whole();
            let mut state =
                State::new(&optimizer, param_groups, grouping, own, pieces, &params).unwrap();
            let mut drawn = Drawn(9);
            for step in 1..=3 {
                let one = |p: &Vec<f32>| -> Vec<f32> {
                    p.iter().map(|_| drawn.below(2001) as f32 / 1000.0 - 1.0).collect()
                };
                let grads: Vec<Vec<f32>> = params.iter().map(one).collect();
                let own = &mut walk.parameters;
                own.layout.write(&mut *own.backend, &own.grads, &grads).unwrap();
                let norm = own.backend.norm(&own.grads).unwrap();
                state.step(own, &Rates { lr: 1e-2, clip: 1.0, step }, norm).unwrap();
            }
            let own = &walk.parameters;
            let (after, _) = state.numbers(own, &|what| state.held(own, what)).unwrap();
            let by = after.iter().zip(&params);
            let by = by.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect());
            moved.push(by.collect::<Vec<Vec<f32>>>());
        }
        // Muon's products round their operands to bf16 on a device.
        let bar = if matches!(method, Method::Muon(_)) { 3e-2 } else { 1e-4 };
        let found = gap(&moved[1], &moved[0]);
        assert!(found < bar, "{}: {found:.1e}", method.name());
    }
}

/// Losses of three steps on a device, in parts of so many tokens.
fn losses(device: Device, transforms: &Transforms, rows: usize) -> Vec<f64> {
    let optimizer = Optimizer::adamw(1e-3);
    let training = Training { optimizer: &optimizer, transforms, rows, seed: 2, segments: 1 };
    let model = small();
    let params = fresh(&model.graph.params, 3);
    let mut engine = Engine::new(model, params, device, &training).unwrap();
    engine.watch();
    let steps = (1..=3).map(|step| {
        let stepped = engine.gradient(&batch().parts(rows), step).unwrap();
        engine.update(&Rates { lr: 1e-3, clip: 1.0, step }, stepped.norm).unwrap();
        stepped.score.loss + stepped.score.auxiliary
    });
    let losses = steps.collect();
    let measured = engine.measured().unwrap().unwrap();
    assert!(measured.values().any(|layer| layer.contains_key("output")));
    assert!(measured.values().any(|layer| layer.contains_key("gradient")));
    assert_eq!(engine.noise().is_some(), rows < batch().rows());
    losses
}

#[test]
fn treatments_train_alike() {
    let none = Transforms::default();
    let precision = vec![(Which::Class(Class::Matrices), Precision::Bf16)];
    let cases = [
        ("nothing, in parts", none.clone(), 20),
        ("dropout", Transforms { dropout: 0.3, ..none.clone() }, 64),
        ("z-loss", Transforms { z_loss: 0.01, ..none.clone() }, 64),
        ("bf16", Transforms { precision, ..none.clone() }, 64),
        ("bf16 values", Transforms { bf16_values: true, ..none.clone() }, 20),
        ("activations", Transforms { activations: Some(1.5e5), ..none }, 64),
    ];
    for (name, transforms, rows) in cases {
        let [want, got] =
            [Device::Cpu, Device::Sim].map(|device| losses(device, &transforms, rows));
        for (want, got) in want.iter().zip(&got) {
            assert!((want - got).abs() < 8e-3 * want, "{name}: {got} for {want}");
        }
    }
}

/// Parameters as bf16 holds them.
fn rounded(params: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let round = |x: &f32| f32::from_bits((x.to_bits() + 0x8000) & 0xffff_0000);
    params.iter().map(|p| p.iter().map(round).collect()).collect()
}

/// Loss and gradients of a model by kernels and on the processor. What bf16 makes of the parameters alone is
/// the noise that kernels may make several times: products round their operands.
fn agrees(name: &str, prepared: &Prepared) {
    let params = fresh(&prepared.model.graph.params, 5);
    let rounded = rounded(&params);
    let batch = batch();
    let mut cpu = Walk::on_cpu(prepared.clone(), &params).unwrap();
    let mut noisy = Walk::on_cpu(prepared.clone(), &rounded).unwrap();
    let mut sim = Walk::by_kernels(prepared.clone(), &params, &Machine::sim()).unwrap();
    for walk in [&mut cpu, &mut noisy, &mut sim] {
        walk.draws = 7;
    }
    let [want, noise, got] =
        [&mut cpu, &mut noisy, &mut sim].map(|walk| walk.train(&batch).unwrap());
    let may = |want: f64, noise: f64| 4e-3 * want.abs() + 4.0 * (noise - want).abs() + 1e-6;
    let gap_of = |want: f64, got: f64| (want - got).abs();
    assert!(gap_of(want.loss, got.loss) < may(want.loss, noise.loss), "{name}: {got:?} {want:?}");
    let [a, b, c] = [want, noise, got].map(|score| score.auxiliary);
    assert!(gap_of(a, c) < may(a, b), "{name}: {c} for {a}");
    let [want, noise, got] = [&cpu, &noisy, &sim].map(|walk| walk.grads().unwrap());
    let (found, noise) = (gap(&got, &want), gap(&noise, &want));
    assert!(found < 1e-2 + 4.0 * noise, "{name}: gradients {found:.1e}, noise {noise:.1e}");
    let [want, noise, got] =
        [&mut cpu, &mut noisy, &mut sim].map(|walk| walk.evaluate(&batch).unwrap().score.loss);
    assert!(gap_of(want, got) < may(want, noise), "{name}: asked {got} for {want}");
}

#[test]
fn graphs_with_something_in_between_agree() {
    let model = small();
    let layers = model.graph.layers();
    let frozen = (0..model.graph.params.len()).map(|at| at % 3 != 1).collect();
    let frozen = Options { frozen, ..Options::default() };
    let dropout = Options { dropout: 0.4, ..Options::default() };
    let ablate = Options { ablate: layers[..1].to_vec(), ..Options::default() };
    let recompute = Options { recompute: Recompute::Layers(layers), ..Options::default() };
    let all =
        [("dropout", dropout), ("ablate", ablate), ("recompute", recompute), ("frozen", frozen)];
    for (name, mut options) in all {
        agrees(name, &prepare(model.clone(), &options).unwrap());
        options.bf16_values = true;
        agrees(name, &prepare(model.clone(), &options).unwrap());
    }
}

/// What is frozen keeps its bits on either device, beside what is trained alike and decays; the rest moves.
#[test]
fn what_is_frozen_stays_beside_what_decays() {
    let model = small();
    let first = Which::Name("layers.0.*".into());
    let frozen = Frozen { freeze: vec![first], only: None };
    let optimizer = Optimizer { frozen, ..Optimizer::adamw(1e-2) };
    let of_groups = optimizer.param_groups(&model).unwrap();
    let kept: Vec<bool> = of_groups.iter().map(|group| group.frozen()).collect();
    assert!(kept.contains(&true) && kept.contains(&false));
    let none = Transforms::default();
    let training =
        Training { optimizer: &optimizer, transforms: &none, rows: 64, seed: 2, segments: 1 };
    let params = fresh(&model.graph.params, 3);
    for device in [Device::Cpu, Device::Sim] {
        let mut engine = Engine::new(model.clone(), params.clone(), device, &training).unwrap();
        for step in 1..=2 {
            engine.step(&batch(), &Rates { lr: 1e-2, clip: 1.0, step }).unwrap();
        }
        let after = engine.numbers().unwrap().params;
        for (at, (before, after)) in params.iter().zip(&after).enumerate() {
            assert_eq!(before == after, kept[at], "{device:?} {}", model.graph.params[at].name);
        }
    }
}

/// A soft cap that logits run into.
#[test]
fn capped_logits_agree() {
    let layer = text("swiglu(hidden = 24)", "swiglu");
    let capped = layer.replace("head rmsnorm(x), untied", "head 8 * rmsnorm(x), untied, cap 2");
    assert_ne!(layer, capped);
    let [plain, capped] = [layer, capped].map(|text| Prepared::plain(written(&text)));
    agrees("cap", &capped);
    let loss = |prepared: &Prepared| {
        let params = fresh(&prepared.model.graph.params, 5);
        Walk::on_cpu(prepared.clone(), &params).unwrap().evaluate(&batch()).unwrap().score.loss
    };
    // No token is likelier than where all others lie as far below as they can.
    let least = (1.0 + (VOCAB as f64 - 1.0) * (-4.0_f64).exp()).ln();
    assert!(loss(&capped) > least && loss(&capped) != loss(&plain));
}

/// Low-rank products beside dense ones and beside those of experts, all else frozen.
#[test]
fn low_rank_products_agree() {
    let text = text("attention(heads = 2)\n moe(experts = 4, top = 2, hidden = 24)", "moe");
    let text = format!("use \"mixers/attention.arch\"\n{text}");
    let (names, mut diags) = load_text("m", text, None, LIBRARY, &mut Sources::default());
    let low_rank = Some(LowRank { rank: 3, alpha: 6.0, picks: &|_| true });
    let amended = Amended { low_rank, ..Amended::default() };
    let made = build_with(&names, &names.decls["m"], &BTreeMap::new(), &amended, &mut diags);
    let mut model = made.unwrap();
    assert!(model.adapters.len() > 3);
    let mut frozen = vec![true; model.graph.params.len()];
    for one in model.adapters.clone() {
        model.graph.params[one.b.0].init = Init::Normal(0.0, 0.3);
        (frozen[one.a.0], frozen[one.b.0]) = (false, false);
    }
    let options = Options { frozen, ..Options::default() };
    agrees("low rank", &prepare(model, &options).unwrap());
}

/// A model of one layer, and what it uses of the library.
fn text(layer: &str, use_: &str) -> String {
    format!(
        "use \"mixers/{use_}.arch\"
        model m(width = 16) {{ vocab {VOCAB}
            residual x + f(rmsnorm(x))
            {layer}
            head rmsnorm(x), untied }}"
    )
}

#[test]
fn nodes_that_see_more_than_a_row_agree() {
    let moe = text("moe(experts = 4, top = 2, hidden = 24)", "moe");
    let two = "recurrence two(scale = 0.5) { in q, k, v : [d]
            in g : scalar in (-inf, 0]
            state G : scalar
            G[t] = G[t-1] + g
            p = softmax(scale * q^T * k[u] + G[t] - G[u] for u <= t)
            out o = sum(p[u] * v[u] for u <= t) }
        mixer forgetting(heads = 2, d = 8) {
            q, k, v : [3, heads, d] = linear(x)
            g : [heads] = -softplus(linear(x))
            o = two(q, k, v, g)
            out y = linear(o) }
        model m(width = 16) { vocab 24; residual x + f(rmsnorm(x))
            forgetting()
            head rmsnorm(x), untied }";
    agrees("states beside sums", &Prepared::plain(written(two)));
    agrees("moe", &Prepared::plain(written(&moe)));
    let hyena = text("hyena(filter = 8, span = 64)", "hyena");
    agrees("hyena", &Prepared::plain(written(&hyena)));
}

/// Values in bf16 take half of the memory, but for what must not be rounded, and are rounded alike wherever the model runs:
/// shared keys and values, decays, experts, long convolutions, subheads that add up.
#[test]
fn values_in_bf16_agree() {
    let layers = [
        ("attention", "attention(heads = 4, kv_heads = 2)"),
        ("gated_deltanet", "gated_deltanet(heads = 2, dk = 8, dv = 8)"),
        ("mamba2", "mamba2(heads = 2, dim = 8, n = 4)"),
        ("moe", "moe(experts = 4, top = 2, hidden = 24)"),
        ("hyena", "hyena(filter = 8, span = 64)"),
    ];
    let options = Options { bf16_values: true, ..Options::default() };
    for (name, layer) in layers {
        let prepared = prepare(written(&text(layer, name)), &options).unwrap();
        let share = prepared.bytes_per_row() as f64 / (4 * prepared.per_row()) as f64;
        assert!(share < 0.8, "{name}: {share}");
        agrees(name, &prepared);
    }
}

/// A text that grows by kernels has the logits of the whole, and those of the processor: states, windows and all of the
/// past, shifted rows, long convolutions and experts.
#[test]
fn texts_grow_alike() {
    let text = format!(
        "use \"mixers/attention.arch\"
        use \"mixers/gated_deltanet.arch\"
        use \"mixers/hyena.arch\"
        use \"mixers/mamba2.arch\"
        use \"mixers/moe.arch\"
        model m(width = 16) {{ vocab {VOCAB}
            residual x + f(rmsnorm(x))
            gated_deltanet(heads = 2, dk = 8, dv = 8)
            attention(heads = 2, window = 5)
            attention(heads = 2)
            mamba2(heads = 2, dim = 8, n = 4)
            hyena(filter = 8, span = 64)
            moe(experts = 4, top = 2, hidden = 24)
            head rmsnorm(x), untied }}"
    );
    let prepared = Prepared::plain(written(&text));
    let params = fresh(&prepared.model.graph.params, 5);
    let mut drawn = Drawn(4);
    let tokens: Vec<u32> = (0..83).map(|_| drawn.below(VOCAB as u32)).collect();
    let mut batch = Batch::default();
    batch.push(&tokens, &vec![NONE; tokens.len()]);
    let width = prepared.model.width;
    let grown = |mut walk: Walk| -> [Vec<Vec<f32>>; 2] {
        let hidden = walk.hidden(&batch).unwrap();
        let (mut pieces, mut whole, mut ends) = (vec![], vec![], vec![]);
        let mut session = walk.session();
        for count in [1, 2, 70, 1, 1, 1, 4, 3] {
            let from = session.tokens();
            pieces.push(session.feed(&tokens[from..from + count]).unwrap());
            ends.push(session.tokens());
        }
        drop(session);
        for end in ends {
            whole.push(walk.logits(&hidden[(end - 1) * width..end * width]).unwrap());
        }
        [pieces, whole]
    };
    let [cpu, whole] = grown(Walk::on_cpu(prepared.clone(), &params).unwrap());
    assert!(gap(&cpu, &whole) < 1e-5, "{:.1e}", gap(&cpu, &whole));
    let [sim, whole] = grown(Walk::by_kernels(prepared.clone(), &params, &Machine::sim()).unwrap());
    let [noisy, _] = grown(Walk::on_cpu(prepared, &rounded(&params)).unwrap());
    let (found, noise) = (gap(&sim, &cpu), gap(&noisy, &cpu));
    // Both round operands to bf16, at other places: a state that is lost is a gap near 1.
    let apart = gap(&sim, &whole);
    assert!(apart < 0.5 * noise, "{apart:.1e}, noise {noise:.1e}");
    assert!(found < 1e-2 + 4.0 * noise, "{found:.1e}, noise {noise:.1e}");
}

/// What is read in bf16 lies so in the memory of a device, beside what is updated.
#[test]
fn parameters_in_bf16_take_half() {
    let transforms = Transforms {
        precision: vec![(Which::Class(Class::Matrices), Precision::Bf16)],
        ..Transforms::default()
    };
    let model = small();
    let params = fresh(&model.graph.params, 3);
    let prepared = transforms.prepare(model, 64, vec![]).unwrap();
    let held: Vec<Number> = prepared.model.graph.params.iter().map(|p| p.number).collect();
    assert!(held.contains(&Number::Bf16) && held.contains(&Number::F32));
    let [cpu, sim] = [None, Some(Machine::sim())].map(|machine| {
        let mut walk =
            Walk::on(machine.as_ref(), prepared.clone(), &params, &vec![0; params.len()]).unwrap();
        for (at, number) in held.iter().enumerate() {
            assert_eq!(walk.parameters.value(at).number, *number);
        }
        (walk.params().unwrap(), walk.train(&batch()).unwrap().loss)
    });
    assert_eq!(cpu.0, sim.0, "both read the same numbers");
    assert!((cpu.1 - sim.1).abs() < 8e-3 * cpu.1, "{} for {}", sim.1, cpu.1);
    for (at, number) in held.iter().enumerate() {
        let want = if *number == Number::Bf16 { &rounded(&params)[at] } else { &params[at] };
        assert_eq!(&sim.0[at], want);
    }
}
