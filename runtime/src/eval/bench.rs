//! How long things take: recurrences forward and backward, training steps.
//!
//! Every time is the median of several runs after one that warms up, on random tensors that keep
//! the declaration's promises.

use lrc_compiler::block::Blocking;
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::{Form, FormKind, Problem};
use lrc_compiler::graph::Model;
use lrc_compiler::normal::Refusal;
use lrc_compiler::strategy;
use lrc_compiler::tile::size;

use crate::device::Device;
use crate::device::kernels::{Into as Gradients, Kernels, Unready, Wanted, sent};
use crate::device::store::{Machine, Store};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::ground::timing::{Repeat, fallible, median};
use crate::model::fresh;
use crate::ops::batch::Batch;
use crate::optim::{Optimizer, Rates};
use crate::recurrence::draw::{Drawn, Sizes};
use crate::train::engine::{Engine, Training};

/// The times of a recurrence, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The form that ran.
    pub form: &'static str,
    /// Forward alone.
    pub forward: f64,
    /// Forward, keeping what the gradient needs, then backward.
    pub both: f64,
    /// One token of each sequence, from states that are given; nothing where there are none.
    pub decode: Option<f64>,
}

/// The states that a token starts from.
fn states(r: &Recurrence, sizes: Sizes) -> Vec<Vec<f32>> {
    let one = |state: &Slot| vec![0.0; sizes.batch * sizes.heads * size(&state.shape)];
    r.states.iter().map(one).collect()
}

/// A token of each sequence behind those states.
fn token<'t>(r: &'t Recurrence, tensors: &'t Drawn, states: &'t [Vec<f32>]) -> Problem<'t, f32> {
    let initial = states.iter().map(|state| Some(state.as_slice())).collect();
    Problem { initial, ..tensors.problem(r) }
}

/// Times a recurrence in f32. The error says why it cannot run in the form that was asked for.
pub fn recurrence(
    r: &Recurrence,
    sizes: Sizes,
    kind: FormKind,
    blocking: Blocking,
    repeat: Repeat,
) -> Result<Times, Refusal> {
    let tensors = Drawn::new(r, sizes);
    let problem = tensors.problem(r);
    let cotangents = tensors.cotangents(r);
    let form = Form::new(&problem, kind, blocking)?;
    let forward = median(repeat, || {
        form.forward(&problem, false).0.recycle();
    });
    let both = median(repeat, || {
        let (outputs, kept) = form.forward(&problem, true);
        form.backward(&problem, &kept, &cotangents).recycle();
        outputs.recycle();
    });
    let decode = strategy::of(r).decodes().then(|| {
        let (tensors, states) = (Drawn::new(r, Sizes { length: 1, ..sizes }), states(r, sizes));
        let problem = token(r, &tensors, &states);
        let form = Form::recurrent(&problem);
        median(repeat, || {
            form.forward(&problem, false).0.recycle();
        })
    });
    Ok(Times { form: form.name(), forward, both, decode })
}

/// Times a recurrence by its kernels, on tensors that lie in the device's memory.
pub fn kernels(
    r: &Recurrence,
    sizes: Sizes,
    chosen: Chosen,
    repeat: Repeat,
    machine: &Machine,
) -> Result<Times, Unready> {
    let forward = Kernels::new(r, Wanted::Forward, chosen, machine)?;
    let training = Kernels::new(r, Wanted::Training, chosen, machine)?;
    let timed = || -> Result<Times, Failure> {
        let mut store = Store::new(machine);
        let tensors = Drawn::new(r, sizes);
        let problem = tensors.problem(r);
        let (call, outs) = sent(&mut store, &problem)?;
        let mut d_outs = Vec::new();
        for (d, slot) in tensors.d_outs.iter().zip(&r.outs) {
            d_outs.push(Some(store.holding("gradient given", d, slot.number)?));
        }
        let to = Gradients::new(&mut store, &call)?;
        let alone = fallible(repeat, || {
            let (finals, left) = forward.forward(&mut store, &call, &outs)?;
            finals.into_iter().for_each(|tensor| store.give(tensor));
            left.release(&mut store);
            store.wait()
        })?;
        let both = fallible(repeat, || {
            let (finals, left) = training.forward(&mut store, &call, &outs)?;
            training.backward(&mut store, &call, &left, [&d_outs, &[]], &to)?;
            finals.into_iter().for_each(|tensor| store.give(tensor));
            left.release(&mut store);
            store.wait()
        })?;
        Ok(Times { form: "kernel", forward: alone, both, decode: None })
    };
    let times = timed().map_err(Unready::Failed)?;
    let decode = strategy::of(r).decodes().then(|| decoding(r, sizes, chosen, repeat, machine));
    Ok(Times { decode: decode.transpose()?, ..times })
}

/// The seconds of a token of each sequence by kernels.
fn decoding(
    r: &Recurrence,
    sizes: Sizes,
    chosen: Chosen,
    repeat: Repeat,
    machine: &Machine,
) -> Result<f64, Unready> {
    let kernels = Kernels::new(r, Wanted::Decode, chosen, machine)?;
    let (tensors, states) = (Drawn::new(r, Sizes { length: 1, ..sizes }), states(r, sizes));
    let problem = token(r, &tensors, &states);
    let mut store = Store::new(machine);
    let (call, outs) = sent(&mut store, &problem).map_err(Unready::Failed)?;
    let seconds = fallible(repeat, || {
        let (finals, left) = kernels.forward(&mut store, &call, &outs)?;
        finals.into_iter().for_each(|tensor| store.give(tensor));
        left.release(&mut store);
        store.wait()
    });
    seconds.map_err(Unready::Failed)
}

/// Tokens per second of training steps: forward, backward and AdamW on random tokens.
pub fn training(
    model: Model,
    batch: usize,
    length: usize,
    repeat: Repeat,
    device: Device,
) -> Result<f64, Failure> {
    let params = fresh(&model.graph.params, 0);
    let mut random = Stream::new(1, Purpose::Verify, 0);
    let mut tokens = Batch::default();
    for _ in 0..batch {
        let drawn: Vec<u32> =
            (0..=length).map(|_| (random.uniform() * model.vocab as f64) as u32).collect();
        tokens.push(&drawn[..length], &drawn[1..]);
    }
    let optimizer = Optimizer::adamw(1e-3);
    let mut engine = Engine::new(model, params, device, &Training::plain(&optimizer))?;
    let mut step = 0;
    let seconds = fallible(repeat, || {
        step += 1;
        let rates = Rates { lr: optimizer.lr, clip: optimizer.clip, step };
        engine.step(&tokens, &rates).map(|_| ())
    })?;
    Ok((batch * length) as f64 / seconds)
}
