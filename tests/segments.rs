//! Segments of a sequence: their summaries, and one sequence over several processes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lrc_compiler::block::Blocking;
use lrc_compiler::elaborate::{Recurrence, elaborate};
use lrc_compiler::form::{Form, FormKind, Operand, Problem};
use lrc_compiler::strategy::transition::{Transition, transition};
use lrc_compiler::tile::size;
use lrc_dsl::Sources;
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
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
        let mut all = |slots: &[_], rows| {
            slots.iter().map(|slot| tensor(slot, rows, &mut random)).collect()
        };
        Tensors { inputs: all(&r.inputs, TOKENS * HEADS), params: all(&r.params, HEADS) }
    }

    /// What a recurrence that reads some of them leaves of given states.
    fn finals(&self, r: &Recurrence, own: [&[usize]; 2], from: &[Vec<f64>], kind: FormKind) -> Vec<Vec<f64>> {
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
    let mut said = String::new();
    for r in recurrences().iter().filter(|r| r.is_local() && !r.states.is_empty()) {
        let t = match transition(r) {
            Ok(t) => t,
            Err(why) => {
                said += &format!("{}: {}\n", r.name, why.why);
                continue;
            }
        };
        said += &format!("{}: {:?}\n", r.name, t.mixing);
        let tensors = Tensors::new(r);
        let mut random = Stream::new(6, Purpose::Verify, 2);
        let mut states = |draw: bool| -> Vec<Vec<f64>> {
            let mut one = |n: usize| (0..n * HEADS).map(|_| if draw { random.normal() } else { 0.0 }).collect();
            r.states.iter().map(|slot| one(size(&slot.shape))).collect()
        };
        let all: [Vec<usize>; 2] = [(0..r.inputs.len()).collect(), (0..r.params.len()).collect()];
        let all = [all[0].as_slice(), all[1].as_slice()];
        let (x, zero) = (states(true), states(false));
        let wanted = tensors.finals(r, all, &x, FormKind::Recurrent);
        let w = tensors.finals(r, all, &zero, FormKind::Auto);
        let start: Vec<Vec<f64>> = (0..r.states.len()).map(|k| t.start::<f64>(k).repeat(HEADS)).collect();
        for kind in [FormKind::Recurrent, FormKind::Auto] {
            let a = tensors.finals(&t.recurrence, [&t.inputs, &t.params], &start, kind);
            let made = summed(&t, &a, &w, &x);
            for (made, wanted) in made.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((made - wanted).abs() < 1e-9 * (1.0 + wanted.abs()), "{}: {made} is not {wanted}", r.name);
            }
        }
    }
    println!("{said}");
    assert!(said.lines().count() > 20);
}
