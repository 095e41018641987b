//! `lrc exec`: one declared recurrence on the tensors of a file.

use std::collections::BTreeMap;

use lrc_compiler::block::Blocking;
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::{Recurrence, Setting};
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem};
use lrc_compiler::normal::Refusal;
use lrc_dsl::Diag;
use lrc_dsl::ast::Decl;

use super::fitted::{Fit, Fitted, Layout};
use super::io::Io;
use crate::device::Device;
use crate::device::kernels::{Kernels, Wanted, unready};
use crate::device::store::Machine;
use crate::ground::error::Failure;
use crate::ground::tensors::{Tensor, Tensors};
use crate::recurrence::promises;

/// What `lrc exec` was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Settings by name.
    pub settings: BTreeMap<String, Setting>,
    /// Whether gradients are wanted.
    pub backward: bool,
    /// Which form to run.
    pub form: FormKind,
    /// Tokens of a chunk, where one is wanted.
    pub chunk: Option<usize>,
    /// Round vector inputs, outputs and cotangents to bf16.
    pub bf16: bool,
    /// Where to run.
    pub device: Device,
}

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Outputs, states and gradients by name.
    pub tensors: Tensors,
    /// The sizes that were bound: `B=1 T=4 H=64 dk=16`.
    pub sizes: String,
    /// Warnings of tensors that break declared promises.
    pub warnings: Vec<Diag>,
}

/// Runs a recurrence on tensors by its declared names.
pub fn run_recurrence(
    decl: &Decl,
    tensors: &Tensors,
    request: &Request,
) -> Result<Executed, Failure> {
    let shapes =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let fit = Fit::new(decl, &shapes, &request.settings)?;
    let recurrence = Fitted::new(decl, &fit)?.recurrence;
    let warnings = promises::broken(&recurrence, tensors);
    let tensors = run(&recurrence, tensors, request, fit.layout)?;
    Ok(Executed { tensors, sizes: fit.sizes, warnings })
}

fn run(
    r: &Recurrence,
    tensors: &Tensors,
    request: &Request,
    layout: Layout,
) -> Result<Tensors, Failure> {
    let mut io = Io { r, tensors, request, layout, bounds: Vec::new(), diags: Vec::new() };
    io.bounds = io.read_bounds();
    io.refuse_strangers();
    let inputs: Vec<(Vec<f32>, usize)> =
        r.inputs.iter().map(|slot| io.operand(&slot.name, slot.one(), 2)).collect();
    let params: Vec<(Vec<f32>, usize)> =
        r.params.iter().map(|slot| io.operand(&slot.name, &slot.shape, 0)).collect();
    let initial: Vec<Option<Vec<f32>>> = (0..r.states.len())
        .map(|k| io.state(&format!("initial_state{}", r.state_suffix(k)), k))
        .collect();
    let d_outs: Vec<Option<Vec<f32>>> = (0..r.outs.len()).map(|k| io.d_out(k)).collect();
    let d_finals: Vec<Option<Vec<f32>>> = (0..r.states.len())
        .map(|k| io.state(&format!("dfinal_state{}", r.state_suffix(k)), k))
        .collect();
    let sound = io.diags.is_empty();
    if sound && request.backward && d_outs.iter().chain(&d_finals).all(Option::is_none) {
        io.ask_for_cotangents();
    }
    if !io.diags.is_empty() {
        return Err(Failure::Invalid(io.diags));
    }
    fn operand((data, heads): &(Vec<f32>, usize)) -> Operand<'_, f32> {
        Operand { data, heads: *heads }
    }
    let problem = Problem {
        recurrence: r,
        heads: layout.heads,
        sum: 1,
        bounds: io.bounds.clone(),
        inputs: inputs.iter().map(operand).collect(),
        params: params.iter().map(operand).collect(),
        initial: initial.iter().map(|i| i.as_deref()).collect(),
    };
    let cotangents = Cotangents {
        outs: d_outs.iter().map(|d| d.as_deref()).collect(),
        finals: d_finals.iter().map(|d| d.as_deref()).collect(),
    };
    let (outputs, gradients) = match request.device.machine()? {
        None => on_cpu(&problem, request, &cotangents)?,
        Some(machine) => by_kernels(&problem, request, &cotangents, &machine)?,
    };
    let mut result = Tensors::new();
    for (slot, data) in r.outs.iter().zip(outputs.outs) {
        result.insert(slot.name.clone(), io.out(&slot.shape, data));
    }
    for (k, data) in outputs.finals.into_iter().enumerate() {
        result.insert(format!("final_state{}", r.state_suffix(k)), io.state_tensor(k, data));
    }
    if let Some(gradients) = gradients {
        let names = r.inputs.iter().chain(&r.params).map(|slot| &slot.name);
        for (name, data) in names.zip(gradients.inputs.into_iter().chain(gradients.params)) {
            let shape = tensors[name].shape.clone();
            result.insert(format!("d{name}"), io.rounded(Tensor::f32(shape, data)));
        }
        for (k, data) in gradients.initial.into_iter().enumerate() {
            let name = format!("dinitial_state{}", r.state_suffix(k));
            result.insert(name, io.state_tensor(k, data));
        }
    }
    Ok(result)
}

/// Outputs, and gradients where they are wanted.
type Ran = (Outputs<f32>, Option<Gradients<f32>>);

fn on_cpu(
    problem: &Problem<f32>,
    request: &Request,
    cotangents: &Cotangents<f32>,
) -> Result<Ran, Failure> {
    // A longer chunk than the longest sequence would only be padding.
    let longest = problem.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(1).max(1);
    let chunk = request.chunk.map(|tokens| tokens.min(longest));
    let form = Form::new(problem, request.form, Blocking::of(chunk))
        .map_err(|refusal| refused(problem.recurrence, refusal))?;
    let (outputs, kept) = form.forward(problem, request.backward);
    let gradients = request.backward.then(|| form.backward(problem, &kept, cotangents));
    Ok((outputs, gradients))
}

/// By the kernels for GPUs. `--form step` asks for the kernel that runs a token at a time.
fn by_kernels(
    problem: &Problem<f32>,
    request: &Request,
    cotangents: &Cotangents<f32>,
    machine: &Machine,
) -> Result<Ran, Failure> {
    let r = problem.recurrence;
    let decode = request.form == FormKind::Recurrent;
    if decode && request.backward {
        let why = "the kernel that runs a token at a time has no gradient: leave out `--form step`";
        return Err(Failure::Usage(why.into()));
    }
    let wanted = match (request.backward, decode) {
        (true, _) => Wanted::Training,
        (false, true) => Wanted::Decode,
        (false, false) => Wanted::Forward,
    };
    let kernels = Kernels::new(r, wanted, Chosen::of(request.chunk), machine);
    let kernels = kernels.map_err(|why| unready(r, why))?;
    if !request.backward {
        return Ok((kernels.run(problem)?, None));
    }
    let (outputs, gradients) = kernels.train(problem, cotangents)?;
    Ok((outputs, Some(gradients)))
}

/// The chunk form was asked for and does not exist.
fn refused(r: &Recurrence, refusal: Refusal) -> Failure {
    let message = format!("`{}` has no chunk form", r.name);
    let diag = match refusal.span {
        Some(span) => Diag::error("E0306", span, message).label(refusal.why),
        None => Diag::global("E0306", format!("{message}: {}", refusal.why)),
    };
    Failure::Invalid(vec![diag.help("run it with `--form step`")])
}
