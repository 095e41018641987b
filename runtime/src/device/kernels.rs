//! A recurrence by its kernels, on a GPU or on the sim device.

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::emit::is_shared;
use lrc_compiler::form::{Cotangents, Gradients, Outputs, Problem};
use lrc_compiler::normal::Refusal;
use lrc_compiler::plan::past::jobs;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Buffer, Family, Grid, Kernel, Pass};
use lrc_compiler::tile::size;
use lrc_dsl::Diag;

use super::fixed::Fixed;
use super::store::{Argument, Machine, Ready, Store, Tensor};
use crate::ground::error::Failure;

/// The kernels of a recurrence, ready to run.
#[derive(Clone, Debug)]
pub struct Kernels {
    machine: Machine,
    forward: Ready,
    backward: Vec<Ready>,
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

/// Why a recurrence lacks kernels on a kind of GPU: nothing where it has all of them.
pub fn lacks(r: &Recurrence, gpu: Gpu) -> Option<Diag> {
    let planned = Family::of(r).and_then(|family| {
        family.passes().iter().try_for_each(|pass| family.kernel(r, *pass, gpu, None).map(|_| ()))
    });
    planned.err().map(|refusal| without_kernels(r, &refusal))
}

/// Which kernels are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Forward.
    Forward,
    /// Forward, keeping what the way back needs, and backward.
    Training,
    /// Forward, a token at a time.
    Decode,
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
pub struct Left(Vec<(Buffer, Tensor)>);

impl Left {
    fn find(&self, buffer: Buffer) -> Option<Tensor> {
        self.0.iter().find(|(b, _)| *b == buffer).map(|(_, tensor)| *tensor)
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
        for (tensor, _) in &call.inputs {
            inputs.push(store.take("gradient of an input", tensor.words)?);
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

impl Call<'_> {
    fn rows(&self) -> usize {
        self.bounds.last().copied().unwrap_or(0)
    }

    fn sequences(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Numbers of an input's gradient if every head had its own.
    fn wide_input(&self, i: usize) -> usize {
        self.rows() * self.heads * size(&self.recurrence.inputs[i].shape)
    }

    fn wide_param(&self, i: usize) -> usize {
        self.heads * size(&self.recurrence.params[i].shape)
    }

    fn states(&self, k: usize) -> usize {
        self.sequences() * self.heads * size(&self.recurrence.states[k].shape)
    }
}

/// How a kernel goes over the sequences of a call.
struct Spread {
    /// What each block reads to know its place.
    table: Tensor,
    blocks: usize,
    /// Chunks of all sequences.
    chunks: usize,
    /// Partial sums of the gradient of a parameter.
    partials: usize,
}

impl Spread {
    fn new(store: &mut Store, kernel: &Kernel, call: &Call) -> Result<Spread, Failure> {
        let table = |store: &mut Store, all: &mut dyn Iterator<Item = usize>| {
            store.table(all.map(|x| x as u32).collect())
        };
        Ok(match &kernel.grid {
            Grid::Heads => {
                let mut chunks = vec![0];
                for w in call.bounds.windows(2) {
                    chunks.push(chunks[chunks.len() - 1] + (w[1] - w[0]).div_ceil(kernel.chunk));
                }
                Spread {
                    table: table(store, &mut chunks.iter().copied())?,
                    blocks: call.sequences() * call.heads * kernel.parts,
                    chunks: chunks[chunks.len() - 1],
                    partials: call.sequences(),
                }
            }
            Grid::Pairs { .. } => {
                let jobs = jobs(kernel, call.bounds);
                Spread {
                    table: table(store, &mut jobs.iter().flatten().copied())?,
                    blocks: jobs.len() * call.heads,
                    chunks: 0,
                    partials: jobs.len(),
                }
            }
            Grid::Rows { .. } => unreachable!("a recurrence has no kernels of rows"),
        })
    }
}

impl Kernels {
    /// Plans and compiles kernels, in chunks of `tokens` if given.
    pub fn new(
        r: &Recurrence,
        wanted: Wanted,
        tokens: Option<usize>,
        machine: &Machine,
    ) -> Result<Kernels, Unready> {
        let gpu = machine.kind();
        let family = Family::of(r).map_err(Unready::Refused)?;
        let plan = |pass, tokens| family.kernel(r, pass, gpu, tokens).map_err(Unready::Refused);
        let kernels = match (wanted, &family) {
            (Wanted::Forward, _) => vec![plan(Pass::Forward, tokens)?],
            (Wanted::Decode, _) => vec![plan(Pass::Decode, None)?],
            (Wanted::Training, Family::Scan | Family::Normal(_) | Family::Token) => {
                // The way back reads the states that entered its own chunks.
                let back = plan(Pass::Backward, tokens)?;
                vec![plan(Pass::Keeping, Some(back.chunk))?, back]
            }
            (Wanted::Training, Family::Past) => [Pass::Keeping, Pass::Backward, Pass::Keys]
                .into_iter()
                .map(|pass| plan(pass, tokens))
                .collect::<Result<Vec<Kernel>, Unready>>()?,
        };
        let mut ready = machine.ready(kernels).map_err(Unready::Failed)?;
        let backward = ready.split_off(1);
        let forward = ready.remove(0);
        Ok(Kernels { machine: machine.clone(), forward, backward })
    }

    /// Runs forward and writes the outputs. Gives the states after the last token, and what the way
    /// back needs.
    pub fn forward(
        &self,
        store: &mut Store,
        call: &Call,
        outs: &[Tensor],
    ) -> Result<(Vec<Tensor>, Left), Failure> {
        let (mut finals, mut left) = (vec![], Left::default());
        let spread = Spread::new(store, &self.forward.kernel, call)?;
        let mut given = Vec::new();
        for buffer in self.forward.kernel.buffers.clone() {
            let name = format!("{buffer:?} of {}", call.recurrence.name);
            let tensor = match buffer {
                Buffer::Out(k) => Some(outs[k]),
                Buffer::Final(k) => {
                    finals.push(store.take(&name, call.states(k))?);
                    finals.last().copied()
                }
                Buffer::Entered(_) | Buffer::Kept(_) => {
                    let words = left_words(&self.forward.kernel, buffer, call, &spread);
                    left.0.push((buffer, store.take(&name, words)?));
                    left.find(buffer)
                }
                other => operand(call, other),
            };
            given.push((buffer, tensor));
        }
        launch(store, &self.forward, call, &spread, &given)?;
        Ok((finals, left))
    }

    /// Runs backward after [`Kernels::forward`], given what flows into outputs and final states,
    /// and writes the gradients.
    pub fn backward(
        &self,
        store: &mut Store,
        fixed: &Fixed,
        call: &Call,
        left: &mut Left,
        [d_outs, d_finals]: [&[Option<Tensor>]; 2],
        to: &Into,
    ) -> Result<(), Failure> {
        let mut wide: Vec<(Buffer, Tensor, usize)> = Vec::new();
        for ready in &self.backward {
            let kernel = &ready.kernel;
            let spread = Spread::new(store, kernel, call)?;
            let mut given = Vec::new();
            for &buffer in &kernel.buffers {
                let flows = |all: &[Option<Tensor>], k: usize| all.get(k).copied().flatten();
                let tensor = match buffer {
                    Buffer::OutGrad(k) => flows(d_outs, k),
                    Buffer::FinalGrad(k) => flows(d_finals, k),
                    Buffer::Entered(_) | Buffer::Kept(_) => {
                        if left.find(buffer).is_none() {
                            let words = left_words(kernel, buffer, call, &spread);
                            let name = format!("{buffer:?} of {}", call.recurrence.name);
                            left.0.push((buffer, store.take(&name, words)?));
                        }
                        left.find(buffer)
                    }
                    Buffer::InputGrad(_) | Buffer::ParamGrad(_) | Buffer::InitialGrad(_) => {
                        Some(self.gradient(store, call, kernel, buffer, &spread, to, &mut wide)?)
                    }
                    other => operand(call, other),
                };
                given.push((buffer, tensor));
            }
            launch(store, ready, call, &spread, &given)?;
        }
        for (buffer, tensor, terms) in wide {
            fold(store, fixed, call, buffer, tensor, terms, to)?;
        }
        Ok(())
    }

    /// The tensor that a kernel writes a gradient to: its own place `[rows, count, own heads, one]`
    /// (of a parameter `[own heads, one]`), or a wider one `[terms][rows, count, heads, one]` that is
    /// folded afterwards.
    fn gradient(
        &self,
        store: &mut Store,
        call: &Call,
        kernel: &Kernel,
        buffer: Buffer,
        spread: &Spread,
        to: &Into,
        wide: &mut Vec<(Buffer, Tensor, usize)>,
    ) -> Result<Tensor, Failure> {
        let slabs = kernel.slabs(buffer);
        let (own, one, terms) = match buffer {
            Buffer::InputGrad(i) => (Some(to.inputs[i]), call.wide_input(i), slabs),
            Buffer::ParamGrad(i) => {
                (Some(to.params[i]), call.wide_param(i), slabs * spread.partials)
            }
            Buffer::InitialGrad(k) => (to.initial.get(k).copied(), call.states(k), slabs),
            other => unreachable!("{other:?} is no gradient"),
        };
        let zeros = kernel.starts_at_zero(buffer);
        if let Some((_, tensor, _)) = wide.iter().find(|(b, ..)| *b == buffer) {
            return Ok(*tensor);
        }
        let tensor = match own {
            Some(own)
                if terms == 1 && own.words == one.max(1) && !shared(&self.backward, buffer) =>
            {
                own
            }
            _ => {
                let name = format!("{buffer:?} of {}", call.recurrence.name);
                let tensor = store.take(&name, terms * one)?;
                wide.push((buffer, tensor, terms));
                tensor
            }
        };
        if zeros || terms * one == 0 {
            store.clear(tensor)?;
        }
        Ok(tensor)
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
        let (finals, mut left) = self.forward(&mut store, &call, &outs)?;
        let outputs = fetched(&store, &call, &outs, &finals)?;
        let mut flows = |all: &[Option<&[f32]>]| -> Result<Vec<Option<Tensor>>, Failure> {
            all.iter().map(|d| d.map(|d| store.holding("gradient given", d)).transpose()).collect()
        };
        let (d_outs, d_finals) = (flows(&cotangents.outs)?, flows(&cotangents.finals)?);
        let r = problem.recurrence;
        let to = Into::new(&mut store, &call)?;
        let fixed = Fixed::new(&self.machine)?;
        self.backward(&mut store, &fixed, &call, &mut left, [&d_outs, &d_finals], &to)?;
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

/// Numbers of a tensor that one kernel leaves for another.
fn left_words(kernel: &Kernel, buffer: Buffer, call: &Call, spread: &Spread) -> usize {
    match buffer {
        Buffer::Entered(k) => spread.chunks * call.heads * size(&call.recurrence.states[k].shape),
        other => call.rows() * call.heads * kernel.row_width(other),
    }
}

/// Adds up the partial sums of a gradient, and what heads that share something have.
fn fold(
    store: &mut Store,
    fixed: &Fixed,
    call: &Call,
    buffer: Buffer,
    tensor: Tensor,
    terms: usize,
    to: &Into,
) -> Result<(), Failure> {
    let r = call.recurrence;
    // Places that are shared, each by how many heads, and the numbers of one head there.
    let (own, outer, share, one) = match buffer {
        Buffer::InputGrad(i) => {
            let (heads, slot) = (call.inputs[i].1, &r.inputs[i]);
            let places = call.rows() * slot.count.unwrap_or(1) * heads;
            (Some(to.inputs[i]), places, call.heads / heads, size(slot.one()))
        }
        Buffer::ParamGrad(i) => {
            let heads = call.params[i].1;
            (Some(to.params[i]), heads, call.heads / heads, size(&r.params[i].shape))
        }
        Buffer::InitialGrad(k) => (to.initial.get(k).copied(), call.states(k), 1, 1),
        other => unreachable!("{other:?} is no gradient"),
    };
    if let Some(own) = own {
        let all = outer * share * one;
        if share == 1 {
            fixed.fold(store, own, tensor, [1, terms, all], false)?;
        } else if terms == 1 {
            fixed.fold(store, own, tensor, [outer, share, one], false)?;
        } else {
            let sum = store.take("sum over parts", all)?;
            fixed.fold(store, sum, tensor, [1, terms, all], false)?;
            fixed.fold(store, own, sum, [outer, share, one], false)?;
            store.give(sum);
        }
    }
    store.give(tensor);
    Ok(())
}

/// Whether several kernels write parts of a gradient.
fn shared(kernels: &[Ready], buffer: Buffer) -> bool {
    kernels.iter().filter(|ready| ready.kernel.buffers.contains(&buffer)).count() > 1
}

/// A tensor that the call itself has.
fn operand(call: &Call, buffer: Buffer) -> Option<Tensor> {
    match buffer {
        Buffer::Input(i) => Some(call.inputs[i].0),
        Buffer::Param(i) => Some(call.params[i].0),
        Buffer::Initial(k) => call.initial[k],
        other => unreachable!("{other:?} is not given"),
    }
}

fn launch(
    store: &mut Store,
    ready: &Ready,
    call: &Call,
    spread: &Spread,
    given: &[(Buffer, Option<Tensor>)],
) -> Result<(), Failure> {
    let kernel = &ready.kernel;
    let bounds = store.table(call.bounds.iter().map(|x| *x as u32).collect())?;
    let working = (kernel.working > 0)
        .then(|| store.take("working memory", spread.blocks * kernel.working / 4))
        .transpose()?;
    let mut arguments: Vec<Argument> = vec![
        bounds.into(),
        spread.table.into(),
        call.sequences().into(),
        call.heads.into(),
        Argument::Tensor(working),
    ];
    for (buffer, tensor) in given {
        arguments.push(Argument::Tensor(*tensor));
        if is_shared(*buffer) {
            arguments.push(match buffer {
                Buffer::Input(i) => call.inputs[*i].1.into(),
                Buffer::Param(i) => call.params[*i].1.into(),
                other => unreachable!("{other:?} belongs to every head"),
            });
        }
    }
    store.launch(&ready.loaded, [spread.blocks, kernel.threads, kernel.shared], &arguments)?;
    working.into_iter().for_each(|tensor| store.give(tensor));
    Ok(())
}

/// A problem's tensors in a store, and room for its outputs.
pub fn sent<'p>(
    store: &mut Store,
    problem: &'p Problem<f32>,
) -> Result<(Call<'p>, Vec<Tensor>), Failure> {
    let r = problem.recurrence;
    let mut inputs = Vec::new();
    for (operand, slot) in problem.inputs.iter().zip(&r.inputs) {
        inputs.push((store.holding(&slot.name, operand.data)?, operand.heads));
    }
    let mut params = Vec::new();
    for (operand, slot) in problem.params.iter().zip(&r.params) {
        params.push((store.holding(&slot.name, operand.data)?, operand.heads));
    }
    let given = problem.initial.iter();
    let initial = given
        .map(|data| data.map(|data| store.holding("initial state", data)).transpose())
        .collect::<Result<_, _>>()?;
    let (bounds, heads) = (problem.bounds.as_slice(), problem.heads);
    let call = Call { recurrence: r, heads, bounds, inputs, params, initial };
    let mut outs = Vec::new();
    for slot in &r.outs {
        outs.push(store.take(&slot.name, call.rows() * heads * size(&slot.shape))?);
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
