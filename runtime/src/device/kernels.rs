//! A recurrence by its kernels, on a GPU or on the sim device.

use lrc_compiler::compile::{Choice, Chosen, Target, all_schedules, compile};
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Gradients, Outputs, Problem};
use lrc_compiler::normal::Refusal;
pub use lrc_compiler::plan::Purpose as Wanted;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Binding, Role, Schedule};
use lrc_compiler::tile::{Number, size};
use lrc_dsl::Diag;

use super::backend;
use super::launch::{Bound, Over, Ready, Run, ready};
use super::store::{Machine, Store, Tensor};
use crate::ground::error::Failure;

/// The kernels of a recurrence, ready to run.
#[derive(Clone, Debug)]
pub struct Kernels {
    machine: Machine,
    forward: Ready,
    backward: Option<Ready>,
}

/// Why a recurrence has no kernels.
#[derive(Debug)]
pub enum Unready {
    /// It has a form for which there are none, or no plan fits.
    Refused(Refusal),
    /// Its kernels cannot be compiled.
    Failed(Failure),
}

/// What is said of a recurrence without kernels.
pub fn without_kernels(r: &Recurrence, refusal: &Refusal) -> Diag {
    let message = format!("`{}` has no kernels", r.name);
    let diag = match refusal.span {
        Some(span) => Diag::error("E0501", span, message).label(refusal.why.clone()),
        None => Diag::global("E0501", format!("{message}: {}", refusal.why)),
    };
    diag.help("run it with `--device cpu`")
}

/// The same as a failure.
pub fn unready(r: &Recurrence, why: Unready) -> Failure {
    match why {
        Unready::Failed(failure) => failure,
        Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(r, &refusal)]),
    }
}

/// Why a recurrence lacks kernels on a kind of GPU: nothing where it has all of them.
pub fn lacks(r: &Recurrence, gpu: Gpu) -> Option<Diag> {
    all_schedules(r, gpu, Chosen::default()).err().map(|refusal| without_kernels(r, &refusal))
}

/// What a recurrence runs on: a [`Problem`] whose tensors lie in a store.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The recurrence at its sizes.
    pub recurrence: &'a Recurrence,
    /// The number of heads.
    pub heads: usize,
    /// Row at which each sequence starts, and the total.
    pub bounds: &'a [usize],
    /// Inputs, each with its own number of heads.
    pub inputs: Vec<(Tensor, usize)>,
    /// Parameters, each with its own number of heads.
    pub params: Vec<(Tensor, usize)>,
    /// States before the first token, where given.
    pub initial: Vec<Option<Tensor>>,
}

/// What kernels leave for those that come after them.
#[derive(Clone, Debug, Default)]
pub struct Left(Vec<(Binding, Tensor)>);

impl Left {
    fn find(&self, binding: Binding) -> Option<Tensor> {
        self.0.iter().find(|(b, _)| *b == binding).map(|(_, tensor)| *tensor)
    }

    /// All of it.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.0.iter().map(|(_, tensor)| *tensor)
    }

    /// Gives the memory back.
    pub fn release(self, store: &mut Store) {
        self.0.into_iter().for_each(|(_, tensor)| store.give(tensor));
    }
}

/// Where gradients go: one tensor each, shaped like what it belongs to.
#[derive(Clone, Debug)]
pub struct Into {
    /// Per input.
    pub inputs: Vec<Tensor>,
    /// Per parameter.
    pub params: Vec<Tensor>,
    /// Per state before the first token; nothing where nobody asks.
    pub initial: Vec<Tensor>,
}

impl Into {
    /// Room for all gradients of a call.
    pub fn new(store: &mut Store, call: &Call) -> Result<Into, Failure> {
        let (mut inputs, mut params) = (vec![], vec![]);
        for ((tensor, _), slot) in call.inputs.iter().zip(&call.recurrence.inputs) {
            inputs.push(store.take_as("gradient of an input", tensor.words, slot.gradient)?);
        }
        for (tensor, _) in &call.params {
            params.push(store.take("gradient of a parameter", tensor.words)?);
        }
        let states = 0..call.recurrence.states.len();
        let initial = states
            .map(|k| store.take("gradient of a state", call.states(k)))
            .collect::<Result<_, _>>()?;
        Ok(Into { inputs, params, initial })
    }
}

impl<'a> Call<'a> {
    /// What a back end is asked for.
    pub(super) fn of(call: &backend::Call<'a>) -> Call<'a> {
        let recur = call.recur;
        let (inputs, params) = call.operands.split_at(recur.recurrence.inputs.len());
        let pairs = |tensors: &[Tensor], heads: &[usize]| {
            tensors.iter().copied().zip(heads.iter().copied()).collect()
        };
        Call {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            bounds: call.bounds,
            inputs: pairs(inputs, &recur.input_heads),
            params: pairs(&params[..recur.recurrence.params.len()], &recur.param_heads),
            initial: call.initial.to_vec(),
        }
    }
}

impl Call<'_> {
    fn rows(&self) -> usize {
        self.bounds.last().copied().unwrap_or(0)
    }

    fn sequences(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    fn states(&self, k: usize) -> usize {
        self.sequences() * self.heads * size(&self.recurrence.states[k].shape)
    }

    fn over(&self) -> Over<'_> {
        Over::Sequences { bounds: self.bounds, heads: self.heads }
    }

    /// A tensor that the call itself has.
    fn bound(&self, binding: Binding) -> Option<Bound> {
        let own = |of: &[(Tensor, usize)], i: usize| {
            of.get(i).map(|(tensor, heads)| Bound::new(*tensor, *heads))
        };
        match binding {
            Binding::Input(i) => own(&self.inputs, i),
            Binding::Param(i) => own(&self.params, i),
            Binding::Initial(k) => self.whole(self.initial.get(k).copied().flatten()),
            _ => None,
        }
    }

    /// A tensor of which every head has its own share.
    fn whole(&self, tensor: Option<Tensor>) -> Option<Bound> {
        tensor.map(|tensor| Bound::new(tensor, self.heads))
    }
}

impl Kernels {
    /// Plans and compiles kernels, in plans that are chosen already as far as these go.
    pub fn new(
        r: &Recurrence,
        wanted: Wanted,
        chosen: Chosen,
        machine: &Machine,
    ) -> Result<Kernels, Unready> {
        let choice = Choice { purpose: wanted, chosen };
        let made = compile(r, Target::Gpu(machine.kind()), choice).map_err(Unready::Refused)?;
        let schedules = made.schedules;
        let mut made = ready(machine, schedules).map_err(Unready::Failed)?.into_iter();
        let forward = made.next().expect("one per schedule");
        Ok(Kernels { machine: machine.clone(), forward, backward: made.next() })
    }

    /// Where they run.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What they run: forward, and backward where they train.
    pub fn schedules(&self) -> Vec<&Schedule> {
        [Some(&self.forward), self.backward.as_ref()]
            .into_iter()
            .flatten()
            .map(|ready| &ready.schedule)
            .collect()
    }

    /// Runs forward and writes the outputs. Gives the states after the last token, and what the way
    /// back needs, if there is one.
    pub fn forward(
        &self,
        store: &mut Store,
        call: &Call,
        outs: &[Tensor],
    ) -> Result<(Vec<Tensor>, Left), Failure> {
        let run = Run::new(store, &self.forward, call.over())?;
        let (mut finals, mut left) = (vec![], Left::default());
        for buffer in &self.forward.schedule.buffers {
            let mut room = || {
                let name = format!("{} of {}", buffer.name, call.recurrence.name);
                store.take_as(&name, run.numbers(buffer), buffer.number)
            };
            match (buffer.binding, buffer.role) {
                (Binding::Final(_), Role::Result) => finals.push(room()?),
                (binding, Role::Saved) if self.backward.is_some() || !buffer.may_be_absent => {
                    left.0.push((binding, room()?));
                }
                _ => {}
            }
        }
        run.start(store, |binding| match binding {
            Binding::Out(k) => call.whole(outs.get(k).copied()),
            Binding::Final(k) => call.whole(finals.get(k).copied()),
            other => call.bound(other).or_else(|| call.whole(left.find(other))),
        })?;
        Ok((finals, left))
    }

    /// Runs backward after [`Kernels::forward`], given what flows into outputs and final states,
    /// and writes the gradients.
    pub fn backward(
        &self,
        store: &mut Store,
        call: &Call,
        left: &Left,
        [d_outs, d_finals]: [&[Option<Tensor>]; 2],
        to: &Into,
    ) -> Result<(), Failure> {
        let backward = self.backward.as_ref();
        let backward = backward.ok_or_else(|| Failure::no_forward("a recurrence"))?;
        Run::new(store, backward, call.over())?.start(store, |binding| match binding {
            Binding::OutGrad(k) => call.whole(d_outs.get(k).copied().flatten()),
            Binding::FinalGrad(k) => call.whole(d_finals.get(k).copied().flatten()),
            // A gradient has as many heads as what it belongs to.
            Binding::InputGrad(i) => Some(Bound::new(to.inputs[i], call.inputs[i].1)),
            Binding::ParamGrad(i) => Some(Bound::new(to.params[i], call.params[i].1)),
            Binding::InitialGrad(k) => call.whole(to.initial.get(k).copied()),
            other => call.bound(other).or_else(|| call.whole(left.find(other))),
        })
    }

    /// Runs forward on tensors of the processor.
    pub fn run(&self, problem: &Problem<f32>) -> Result<Outputs<f32>, Failure> {
        let mut store = Store::new(&self.machine);
        let (call, outs) = sent(&mut store, problem)?;
        let (finals, _) = self.forward(&mut store, &call, &outs)?;
        fetched(&store, &call, &outs, &finals)
    }

    /// Runs forward and backward on tensors of the processor.
    pub fn train(
        &self,
        problem: &Problem<f32>,
        cotangents: &Cotangents<f32>,
    ) -> Result<(Outputs<f32>, Gradients<f32>), Failure> {
        let mut store = Store::new(&self.machine);
        let (call, outs) = sent(&mut store, problem)?;
        let (finals, left) = self.forward(&mut store, &call, &outs)?;
        let outputs = fetched(&store, &call, &outs, &finals)?;
        let r = problem.recurrence;
        let mut flow = |d: Option<&[f32]>, number| -> Result<Option<Tensor>, Failure> {
            d.map(|d| store.holding("gradient given", d, number)).transpose()
        };
        let d_outs = cotangents.outs.iter().zip(&r.outs).map(|(d, slot)| flow(*d, slot.number));
        let d_outs = d_outs.collect::<Result<Vec<_>, _>>()?;
        let d_finals = cotangents.finals.iter().map(|d| flow(*d, Number::F32));
        let d_finals = d_finals.collect::<Result<Vec<_>, _>>()?;
        let to = Into::new(&mut store, &call)?;
        self.backward(&mut store, &call, &left, [&d_outs, &d_finals], &to)?;
        let get = |all: &[Tensor], lengths: Vec<usize>| -> Result<Vec<Vec<f32>>, Failure> {
            all.iter().zip(lengths).map(|(t, n)| store.get(t.part(0, n))).collect()
        };
        let gradients = Gradients {
            inputs: get(&to.inputs, problem.inputs.iter().map(|o| o.data.len()).collect())?,
            params: get(&to.params, problem.params.iter().map(|o| o.data.len()).collect())?,
            initial: get(&to.initial, (0..r.states.len()).map(|k| call.states(k)).collect())?,
        };
        Ok((outputs, gradients))
    }
}

/// A problem's tensors in a store, and room for its outputs.
pub fn sent<'p>(
    store: &mut Store,
    problem: &'p Problem<f32>,
) -> Result<(Call<'p>, Vec<Tensor>), Failure> {
    let r = problem.recurrence;
    let mut inputs = Vec::new();
    for (operand, slot) in problem.inputs.iter().zip(&r.inputs) {
        let tensor = store.holding(&slot.name, operand.data, slot.number)?;
        inputs.push((tensor, operand.heads));
    }
    let mut params = Vec::new();
    for (operand, slot) in problem.params.iter().zip(&r.params) {
        params.push((store.holding(&slot.name, operand.data, Number::F32)?, operand.heads));
    }
    let given = problem.initial.iter();
    let initial = given
        .map(|data| data.map(|data| store.holding("initial state", data, Number::F32)).transpose())
        .collect::<Result<_, _>>()?;
    let (bounds, heads) = (problem.bounds.as_slice(), problem.heads);
    let call = Call { recurrence: r, heads, bounds, inputs, params, initial };
    let mut outs = Vec::new();
    for slot in &r.outs {
        let numbers = call.rows() * heads * size(&slot.shape);
        outs.push(store.take_as(&slot.name, numbers, slot.number)?);
    }
    Ok((call, outs))
}

fn fetched(
    store: &Store,
    call: &Call,
    outs: &[Tensor],
    finals: &[Tensor],
) -> Result<Outputs<f32>, Failure> {
    let r = call.recurrence;
    let rows = call.rows() * call.heads;
    let outs =
        outs.iter().zip(&r.outs).map(|(t, slot)| store.get(t.part(0, rows * size(&slot.shape))));
    let finals = finals.iter().enumerate().map(|(k, t)| store.get(t.part(0, call.states(k))));
    Ok(Outputs { outs: outs.collect::<Result<_, _>>()?, finals: finals.collect::<Result<_, _>>()? })
}
