//! How long things take: recurrences forward and backward, training steps.
//!
//! Every time is the median of several runs after one that warms up, on random tensors that keep
//! the declaration's promises.

use std::time::{Duration, Instant};

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Form, FormKind, Operand, Problem};
use lrc_compiler::graph::Model;
use lrc_compiler::normal::Refusal;
use lrc_compiler::tile::size;

use crate::draw;
use crate::execute::{Batch, Executor, fresh};
use crate::random::{Purpose, Stream};
use crate::spec::AdamW;
use crate::train::adamw::{self, Moments};

/// How a measurement is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// At least so many timed runs.
    pub least: usize,
    /// More runs until so much time has passed.
    pub time: Duration,
}

/// The median time of a run in seconds; one run before is not timed.
fn median(repeat: Repeat, mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < repeat.least.max(1) || start.elapsed() < repeat.time {
        let one = Instant::now();
        run();
        times.push(one.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The sizes that a recurrence is timed at.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Heads.
    pub heads: usize,
}

/// The times of a recurrence, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The form that ran.
    pub form: &'static str,
    /// Forward alone.
    pub forward: f64,
    /// Forward, keeping what the gradient needs, then backward.
    pub both: f64,
}

/// Times a recurrence in f32. The error says why it cannot run in the form that was asked for.
pub fn recurrence(
    r: &Recurrence,
    sizes: Sizes,
    kind: FormKind,
    chunk: Option<usize>,
    repeat: Repeat,
) -> Result<Times, Refusal> {
    let Sizes { batch, length, heads } = sizes;
    let rows = batch * length;
    let mut random = Stream::new(0, Purpose::Verify, 0);
    let narrow = |all: Vec<f64>| -> Vec<f32> { all.into_iter().map(|x| x as f32).collect() };
    let mut drawn = |slots: &[_], rows: usize| -> Vec<Vec<f32>> {
        slots.iter().map(|slot| narrow(draw::tensor(slot, rows, &mut random))).collect()
    };
    let inputs = drawn(&r.inputs, rows * heads);
    let params = drawn(&r.params, heads);
    let d_outs: Vec<Vec<f32>> = r
        .outs
        .iter()
        .map(|out| (0..rows * heads * size(&out.shape)).map(|_| random.normal() as f32).collect())
        .collect();
    let problem = Problem {
        recurrence: r,
        heads,
        bounds: (0..=batch).map(|at| at * length).collect(),
        inputs: inputs.iter().map(|data| Operand { data, heads }).collect(),
        params: params.iter().map(|data| Operand { data, heads }).collect(),
        initial: vec![None; r.states.len()],
    };
    let cotangents = Cotangents {
        outs: d_outs.iter().map(|d| Some(d.as_slice())).collect(),
        finals: vec![None; r.states.len()],
    };
    let form = Form::new(&problem, kind, chunk)?;
    let forward = median(repeat, || {
        form.forward(&problem, false).0.recycle();
    });
    let both = median(repeat, || {
        let (outputs, kept) = form.forward(&problem, true);
        form.backward(&problem, &kept, &cotangents).recycle();
        outputs.recycle();
    });
    Ok(Times { form: form.name(), forward, both })
}

/// Tokens per second of training steps: forward, backward and AdamW on random tokens.
pub fn training(model: Model, batch: usize, length: usize, repeat: Repeat) -> f64 {
    let params = fresh(&model.graph.params, 0);
    let mut random = Stream::new(1, Purpose::Verify, 0);
    let mut tokens = Batch::default();
    for _ in 0..batch {
        let drawn: Vec<u32> =
            (0..=length).map(|_| (random.uniform() * model.vocab as f64) as u32).collect();
        tokens.push(&drawn[..length], &drawn[1..]);
    }
    let mut moments = Moments::new(&params);
    let mut executor = Executor::new(model, params);
    let adamw =
        AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let mut step = 0;
    let seconds = median(repeat, || {
        executor.train(&tokens);
        step += 1;
        let Executor { model, params, grads, .. } = &mut executor;
        adamw::step(&adamw, adamw.lr, step, &model.graph.params, params, grads, &mut moments);
    });
    (batch * length) as f64 / seconds
}
