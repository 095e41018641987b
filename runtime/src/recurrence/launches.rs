//! What calls of a recurrence would start on a GPU, written down by the code that starts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Grid, Purpose, Schedule};
use lrc_compiler::tile::{Number, size};
use lrc_compiler::{emit, strategy};

use super::draw::Sizes;
use crate::device::kernels::{Call, Into as Gradients, Kernels, Unready};
use crate::device::recorder::{Given, Recorded, Text};
use crate::device::store::{Machine, Store, Tensor};
use crate::ground::error::Failure;

/// What a tensor is to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is given.
    Argument,
    /// It is asked for.
    Result,
    /// Forward leaves it for backward.
    Saved,
    /// One kernel leaves it for another.
    Temporary,
    /// It says where things lie.
    Table,
}

impl Role {
    /// As files name it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Argument => "argument",
            Role::Result => "result",
            Role::Saved => "saved",
            Role::Temporary => "temporary",
            Role::Table => "table",
        }
    }
}

/// What an argument is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor.
    Tensor {
        /// Which one: tensors of a phase are numbered.
        tensor: usize,
        /// Its bytes.
        bytes: usize,
        /// How its numbers are held.
        number: Number,
        /// What it is to the call.
        role: Role,
        /// The words of a table.
        words: Option<Vec<u32>>,
    },
    /// A null pointer.
    Null,
    /// A whole number.
    Number(i32),
    /// A float.
    Float(f32),
}

/// An argument of a kernel.
#[derive(Clone, Debug)]
pub struct Argument {
    /// As the kernel's text names it.
    pub name: String,
    /// The type of what it is or points to.
    pub held: &'static str,
    /// What it is.
    pub value: Value,
}

/// What the plan says of a kernel.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Tokens of a chunk.
    pub chunk: usize,
    /// Whether a block goes through a sequence chunk after chunk.
    pub serial: bool,
    /// Steps as people read them, each with the line of the text at which it begins.
    pub steps: Vec<(usize, String)>,
}

/// Something that a call would start: a kernel, or filling its one argument with zeros.
#[derive(Clone, Debug)]
pub struct Launched {
    /// The call: forward, saving (forward of training), backward, decode.
    pub phase: &'static str,
    /// The kernel's text; nothing where a tensor is filled with zeros.
    pub kernel: Option<Arc<Text>>,
    /// Blocks, threads of a block, bytes of shared memory.
    pub size: [usize; 3],
    /// Its arguments, in order.
    pub arguments: Vec<Argument>,
    /// What the plan says, of kernels that have one.
    pub planned: Option<Planned>,
}

/// What all calls of a recurrence start: forward, both passes of training, and one token of each sequence.
pub fn launches(r: &Recurrence, sizes: Sizes, gpu: Gpu) -> Result<Vec<Launched>, Unready> {
    let decode = strategy::of(r).decodes().then_some(Purpose::Decode);
    let mut all = Vec::new();
    for purpose in [Purpose::Forward, Purpose::Training].into_iter().chain(decode) {
        let kernels = Kernels::new(r, purpose, Chosen::default(), &Machine::Recorder(gpu))?;
        all.extend(calls(r, &kernels, sizes, purpose).map_err(Unready::Failed)?);
    }
    Ok(all)
}

/// The calls of one purpose.
fn calls(
    r: &Recurrence,
    kernels: &Kernels,
    sizes: Sizes,
    purpose: Purpose,
) -> Result<Vec<Launched>, Failure> {
    let mut store = Store::new(kernels.machine());
    let (decode, heads) = (purpose == Purpose::Decode, sizes.heads);
    let length = if decode { 1 } else { sizes.length };
    let rows = sizes.batch * length;
    let bounds: Vec<usize> = (0..=sizes.batch).map(|at| at * length).collect();
    let mut inputs = Vec::new();
    for slot in &r.inputs {
        let numbers = rows * heads * size(&slot.shape);
        inputs.push((store.take_as(&slot.name, numbers, slot.number)?, heads));
    }
    let mut params = Vec::new();
    for slot in &r.params {
        params.push((store.take(&slot.name, heads * size(&slot.shape))?, heads));
    }
    let mut initial = Vec::new();
    for state in &r.states {
        let words = sizes.batch * heads * size(&state.shape);
        initial.push(decode.then(|| store.take("initial state", words)).transpose()?);
    }
    let mut outs = Vec::new();
    for slot in &r.outs {
        let numbers = rows * heads * size(&slot.shape);
        outs.push(store.take_as(&slot.name, numbers, slot.number)?);
    }
    let call = Call { recurrence: r, heads, bounds: &bounds, inputs, params, initial };
    let (finals, left) = kernels.forward(&mut store, &call, &outs)?;
    let given = call.inputs.iter().chain(&call.params).map(|(tensor, _)| *tensor);
    let mut roles = Roles::default();
    roles.say(Role::Argument, given.chain(call.initial.iter().copied().flatten()));
    roles.say(Role::Result, outs.iter().chain(&finals).copied());
    roles.say(Role::Saved, left.tensors());
    let schedules = kernels.schedules();
    let phase = match purpose {
        Purpose::Forward => "forward",
        Purpose::Training => "saving",
        Purpose::Decode => "decode",
    };
    let mut all = told(phase, store.written_down(), schedules[0], &roles);
    if let [_, backward] = schedules[..] {
        let mut flows = Vec::new();
        for out in &outs {
            flows.push(Some(store.take_as("gradient given", out.words, out.number)?));
        }
        roles.say(Role::Argument, flows.iter().copied().flatten());
        // States before the first token are zeros: nobody asks for their gradients.
        let to = Gradients { initial: vec![], ..Gradients::new(&mut store, &call)? };
        roles.say(Role::Result, to.inputs.iter().chain(&to.params).copied());
        kernels.backward(&mut store, &call, &left, [&flows, &[]], &to)?;
        all.extend(told("backward", store.written_down(), backward, &roles));
    }
    Ok(all)
}

/// What tensors are to a call, by what they lie in; the others are temporary.
#[derive(Default)]
struct Roles(BTreeMap<usize, Role>);

impl Roles {
    fn say(&mut self, role: Role, tensors: impl Iterator<Item = Tensor>) {
        self.0.extend(tensors.map(|tensor| (tensor.slot, role)));
    }

    fn value(&self, tensor: Tensor, words: Option<Vec<u32>>) -> Value {
        let known = self.0.get(&tensor.slot).copied().unwrap_or(Role::Temporary);
        let role = if words.is_some() { Role::Table } else { known };
        let bytes = tensor.words * tensor.number.bytes();
        Value::Tensor { tensor: tensor.slot, bytes, number: tensor.number, role, words }
    }
}

fn told(
    phase: &'static str,
    recorded: Vec<Recorded>,
    schedule: &Schedule,
    roles: &Roles,
) -> Vec<Launched> {
    let one = |recorded| match recorded {
        Recorded::Clear(tensor) => {
            let value = roles.value(tensor, None);
            let arguments = vec![Argument { name: "to".into(), held: held("", &value), value }];
            Launched { phase, kernel: None, size: [0; 3], arguments, planned: None }
        }
        Recorded::Launch { kernel, size, arguments } => {
            let named = kernel.parameters().into_iter().zip(arguments);
            let arguments = named.map(|((declared, name), given)| {
                let value = match given {
                    Given::Tensor(tensor, words) => roles.value(tensor, words),
                    Given::Null => Value::Null,
                    Given::Number(x) => Value::Number(x),
                    Given::Float(x) => Value::Float(x),
                };
                Argument { name: name.into(), held: held(declared, &value), value }
            });
            let arguments = arguments.collect();
            let planned = planned(schedule, &kernel.name);
            Launched { phase, kernel: Some(kernel), size, arguments, planned }
        }
    };
    recorded.into_iter().map(one).collect()
}

/// The type of a tensor's numbers, or of what is declared so in C.
fn held(declared: &str, value: &Value) -> &'static str {
    match value {
        Value::Tensor { words: None, number, .. } if !declared.contains("char") => match number {
            Number::F32 => "float32",
            Number::Bf16 => "bfloat16",
        },
        Value::Float(_) => "float32",
        _ if declared.contains("char") => "uint8",
        _ if declared.contains("bf16") => "bfloat16",
        _ if declared.contains("float") => "float32",
        _ => "int32",
    }
}

fn planned(schedule: &Schedule, name: &str) -> Option<Planned> {
    let kernel = schedule.kernels.iter().find(|kernel| kernel.name == name)?;
    let serial = kernel.grid == Grid::Heads;
    Some(Planned { chunk: kernel.chunk, serial, steps: emit::steps(schedule, kernel) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::kernels::sent;
    use crate::device::sim::hardware::A100;
    use crate::ground::library;
    use crate::recurrence::draw::Drawn;
    use lrc_compiler::elaborate::{Setting, elaborate};

    fn recurrence(name: &str) -> Recurrence {
        let path = format!("recurrences/{name}.arch");
        let (namespace, _) = library::load(&path, &mut lrc_dsl::Sources::default()).unwrap();
        let given = ["dk", "dv"].map(|size| (size.to_string(), Setting::Number(16.0)));
        elaborate(namespace.get(name).unwrap(), &given.into(), &mut vec![]).unwrap()
    }

    /// What is written down is what the sim device is made to run: kernels, blocks, threads, memory.
    #[test]
    fn what_is_written_down_is_what_runs() {
        let sizes = Sizes { batch: 2, length: 70, heads: 3 };
        for name in ["gated_delta_rule", "hgrn", "softmax_attn", "titans_linear"] {
            let r = recurrence(name);
            let written = launches(&r, sizes, Machine::sim().kind()).unwrap();
            let kernels =
                Kernels::new(&r, Purpose::Training, Chosen::default(), &Machine::sim()).unwrap();
            let drawn = Drawn::new(&r, sizes);
            let problem = drawn.problem(&r);
            let mut store = Store::new(&Machine::sim());
            store.record(A100, 1);
            let (call, outs) = sent(&mut store, &problem).unwrap();
            let (_, left) = kernels.forward(&mut store, &call, &outs).unwrap();
            let mut ran = vec![("saving", store.recorded())];
            let flows = drawn.d_outs.iter().map(|d| store.holding("flow", d, Number::F32).unwrap());
            let flows: Vec<_> = flows.map(Some).collect();
            let to = Gradients { initial: vec![], ..Gradients::new(&mut store, &call).unwrap() };
            kernels.backward(&mut store, &call, &left, [&flows, &[]], &to).unwrap();
            ran.push(("backward", store.recorded()));
            for (phase, ran) in ran {
                let of_phase = written.iter().filter(|launched| launched.phase == phase);
                let told: Vec<_> = of_phase
                    .filter_map(|l| l.kernel.as_ref().map(|kernel| (kernel.name.as_str(), l.size)))
                    .collect();
                let size = |l: crate::device::sim::Launch| [l.blocks, l.threads, l.shared];
                let done: Vec<_> =
                    ran.iter().map(|one| (one.kernel.as_str(), size(one.launch))).collect();
                assert_eq!(told, done, "{name} {phase}");
            }
            for launched in written.iter().filter(|launched| launched.kernel.is_some()) {
                let kernel = launched.kernel.as_ref().unwrap();
                assert_eq!(launched.arguments.len(), kernel.parameters().len(), "{}", kernel.name);
            }
        }
    }
}
