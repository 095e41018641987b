//! `lrc exec`: one declared recurrence on the tensors of a file.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::{Recurrence, Setting, Signature, elaborate};
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem};
use lrc_compiler::normal::Refusal;
use lrc_compiler::tile::size;
use lrc_dsl::Diag;
use lrc_dsl::ast::{Decl, Expr, Role};

use crate::device::Device;
use crate::device::kernels::{Kernels, Unready, Wanted, without_kernels};
use crate::device::store::Machine;
use crate::ground::error::Failure;
use crate::ground::tensors::{Data, Tensor, Tensors};
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
    let mut diags = Vec::new();
    let signature = Signature::of(decl, &mut diags);
    for name in request.settings.keys() {
        if !signature.settings.iter().any(|(known, _)| known == name) {
            let known = signature.settings.iter().map(|(name, _)| name.as_str());
            let message = format!("`{}` has no parameter `{name}`", decl.name.text);
            diags.push(Diag::global("E0216", message).help_nearest(name, "parameters", known));
        }
    }
    if diags.iter().any(Diag::is_error) {
        return Err(Failure::Invalid(diags));
    }
    let mut binder = Binder::new(decl, &signature, tensors, request);
    binder.bind_all();
    let (b, t) = (binder.batch.unwrap_or(1), binder.tokens.unwrap_or(0));
    let heads = binder.heads.unwrap_or(1);
    let mut given = binder.given.clone();
    given.insert("heads".into(), Setting::Number(heads as f64));
    let broken = std::mem::take(&mut binder.diags);
    if !broken.is_empty() {
        return Err(Failure::Invalid(broken));
    }
    let Some(recurrence) = elaborate(decl, &given, &mut diags) else {
        return Err(Failure::Invalid(diags));
    };
    let sizes = sizes(&binder, &signature);
    let layout = Layout { batch: b, tokens: t, heads, head_axis: binder.heads.is_some() };
    let warnings = promises::broken(&recurrence, tensors);
    let tensors = run(&recurrence, tensors, request, layout)?;
    Ok(Executed { tensors, sizes, warnings })
}

/// The sizes that the tensors have bound, as text.
fn sizes(binder: &Binder, signature: &Signature) -> String {
    let axes = [("B", binder.batch), ("T", binder.tokens), ("H", binder.heads)];
    let axes = axes.into_iter().filter_map(|(name, size)| Some(format!("{name}={}", size?)));
    let named = signature
        .sizes
        .iter()
        .filter_map(|name| binder.given.get(name).map(|size| format!("{name}={size}")));
    axes.chain(named).collect::<Vec<_>>().join(" ")
}

/// Binds sizes, batch, tokens and heads from the shapes of the tensors.
struct Binder<'a> {
    signature: &'a Signature,
    tensors: &'a Tensors,
    given: BTreeMap<String, Setting>,
    counts: BTreeMap<String, Setting>,
    batch: Option<usize>,
    tokens: Option<usize>,
    heads: Option<usize>,
    diags: Vec<Diag>,
}

impl<'a> Binder<'a> {
    fn new(decl: &Decl, signature: &'a Signature, tensors: &'a Tensors, request: &Request) -> Self {
        let mut counts = BTreeMap::new();
        let numbers = lrc_compiler::elaborate::signature::Numbers::default();
        for (name, default) in &decl.settings {
            if let Ok(setting) = numbers.eval(default) {
                counts.insert(name.text.clone(), setting);
            }
        }
        counts.extend(request.settings.clone());
        Binder {
            signature,
            tensors,
            given: request.settings.clone(),
            counts,
            batch: None,
            tokens: None,
            heads: None,
            diags: Vec::new(),
        }
    }

    fn bind_all(&mut self) {
        for variable in self.signature.variables.iter().filter(|v| v.role != Role::State) {
            let Some(tensor) = self.tensors.get(&variable.name) else {
                let known = self.tensors.keys().map(String::as_str).filter(|n| n.len() <= NAME);
                let message = format!("the tensor `{}` is missing", variable.name);
                self.diags.push(Diag::global("E0301", message).help_nearest(
                    &variable.name,
                    "the file has",
                    known,
                ));
                continue;
            };
            let front = if variable.role == Role::In { 2 } else { 0 };
            let axes = &variable.shape.axes;
            let rank = tensor.shape.len();
            if rank != front + axes.len() && rank != front + axes.len() + 1 {
                self.wrong_rank(&variable.name, variable.role, axes, tensor);
                continue;
            }
            let shape = tensor.shape.clone();
            if variable.role == Role::In {
                let count = variable.count.as_ref().map_or(1, |c| self.count(c));
                self.same("sequences", &variable.name, shape[0], |s| &mut s.batch);
                if shape[1] % count != 0 {
                    let message = format!(
                        "`{}` has {} rows, which {count} per token does not divide",
                        variable.name, shape[1]
                    );
                    self.diags.push(Diag::global("E0302", message));
                }
                self.same("tokens", &variable.name, shape[1] / count, |s| &mut s.tokens);
            }
            if rank == front + axes.len() + 1 {
                self.head(shape[front]);
            }
            for (axis, size) in axes.iter().zip(&shape[rank - axes.len()..]) {
                self.axis(&variable.name, axis, *size);
            }
        }
        self.check_heads();
    }

    fn count(&self, expr: &Expr) -> usize {
        let numbers = lrc_compiler::elaborate::signature::Numbers { known: self.counts.clone() };
        numbers.size(expr).unwrap_or(1)
    }

    fn same(
        &mut self,
        what: &str,
        name: &str,
        got: usize,
        slot: impl Fn(&mut Self) -> &mut Option<usize>,
    ) {
        let want = *slot(self).get_or_insert(got);
        if want != got {
            let message = format!("`{name}` has {got} {what}, tensors before it have {want}");
            let diag = Diag::global("E0302", message);
            self.diags.push(diag.help("inputs are [B, T, H, …]: all share B and T"));
        }
    }

    fn head(&mut self, got: usize) {
        self.heads = Some(self.heads.map_or(got, |h| h.max(got)));
    }

    fn check_heads(&mut self) {
        let heads = self.heads.unwrap_or(1);
        for variable in self.signature.variables.iter().filter(|v| v.role != Role::State) {
            let Some(tensor) = self.tensors.get(&variable.name) else { continue };
            let front = if variable.role == Role::In { 2 } else { 0 };
            if tensor.shape.len() == front + variable.shape.axes.len() + 1 {
                let own = tensor.shape[front];
                if own == 0 || !heads.is_multiple_of(own) {
                    let message = format!(
                        "`{}` has {own} heads, which does not divide the {heads} of other tensors",
                        variable.name
                    );
                    self.diags.push(Diag::global("E0302", message));
                }
            }
        }
    }

    fn axis(&mut self, name: &str, axis: &Expr, got: usize) {
        let Some(size) = axis.as_name() else { return };
        if !self.signature.sizes.iter().any(|s| s == size) {
            return;
        }
        match self.given.get(size) {
            Some(Setting::Number(want)) if *want != got as f64 => {
                let message =
                    format!("`{name}` has {got} entries along `{size}`, which is {want} elsewhere");
                self.diags.push(Diag::global("E0302", message));
            }
            _ => {
                self.given.insert(size.to_string(), Setting::Number(got as f64));
            }
        }
    }

    fn wrong_rank(&mut self, name: &str, role: Role, axes: &[Expr], tensor: &Tensor) {
        let mut want: Vec<String> = Vec::new();
        if role == Role::In {
            want.extend(["B".into(), "T".into()]);
        }
        want.push("H".into());
        want.extend(axes.iter().map(lrc_dsl::print::expr));
        let message = format!(
            "`{name}` has shape {:?}, expected [{}] (H may be left out)",
            tensor.shape,
            want.join(", ")
        );
        self.diags.push(Diag::global("E0302", message));
    }
}

#[derive(Clone, Copy)]
struct Layout {
    batch: usize,
    tokens: usize,
    heads: usize,
    head_axis: bool,
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
    let form = Form::new(problem, request.form, chunk)
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
    let kernels = Kernels::new(r, wanted, request.chunk, machine).map_err(|why| match why {
        Unready::Failed(failure) => failure,
        Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(r, &refusal)]),
    })?;
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

/// Tensors without a declaration that are named one by one.
const STRANGERS: usize = 20;

/// Characters of a name that messages quote.
const NAME: usize = 80;

/// Whole numbers as messages quote them.
fn listed(values: &[i64]) -> String {
    match values.get(..STRANGERS) {
        Some(first) if values.len() > STRANGERS => {
            let first: Vec<String> = first.iter().map(i64::to_string).collect();
            format!("[{}, …] ({} numbers)", first.join(", "), values.len())
        }
        _ => format!("{values:?}"),
    }
}

/// A name as messages quote it.
fn short(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
        None => name.to_string(),
    }
}

/// Reads and writes tensors by the layouts of the interface.
struct Io<'a> {
    r: &'a Recurrence,
    tensors: &'a Tensors,
    request: &'a Request,
    layout: Layout,
    bounds: Vec<usize>,
    diags: Vec<Diag>,
}

impl Io<'_> {
    fn read_bounds(&mut self) -> Vec<usize> {
        let Layout { batch, tokens, .. } = self.layout;
        let even: Vec<usize> = (0..=batch).map(|i| i * tokens).collect();
        let Some(tensor) = self.tensors.get("cu_seqlens") else { return even };
        let Data::I64(values) = &tensor.data else {
            let diag = Diag::global("E0303", "`cu_seqlens` holds floats, expected i32 or i64");
            self.diags.push(diag.help("it says where each sequence starts: `[0, 3, 7]`"));
            return even;
        };
        let sound = batch == 1
            && values.first() == Some(&0)
            && values.last() == Some(&(tokens as i64))
            && values.windows(2).all(|w| w[0] <= w[1]);
        if !sound {
            let message = format!(
                "`cu_seqlens` is {}: it must rise from 0 to the {tokens} tokens, with batch size 1",
                listed(values)
            );
            self.diags.push(Diag::global("E0305", message));
            return even;
        }
        values.iter().map(|&x| x as usize).collect()
    }

    /// Gradients of nothing were asked for.
    fn ask_for_cotangents(&mut self) {
        let outs = self.r.outs.iter().map(|slot| format!("`d{}`", slot.name));
        let states = 0..self.r.states.len();
        let finals = states.map(|k| format!("`dfinal_state{}`", self.r.state_suffix(k)));
        let names: Vec<String> = outs.chain(finals).collect();
        let message = "the file has no cotangent, so there is nothing to take gradients of";
        let known = format!("give one or more of {}, or leave out `--backward`", names.join(", "));
        self.diags.push(Diag::global("E0301", message).help(known));
    }

    /// Tensors that are neither read nor an expected result point to a misspelt name.
    fn refuse_strangers(&mut self) {
        let r = self.r;
        let mut known: Vec<String> = vec!["cu_seqlens".into()];
        for slot in r.inputs.iter().chain(&r.params).chain(&r.outs) {
            known.extend([slot.name.clone(), format!("d{}", slot.name)]);
        }
        for k in 0..r.states.len() {
            for name in ["initial_state", "final_state"] {
                let name = format!("{name}{}", r.state_suffix(k));
                known.extend([format!("d{name}"), name]);
            }
        }
        for (at, name) in known.iter().enumerate() {
            let gradient = name.starts_with('d') && !self.request.backward;
            if known[..at].contains(name) && !gradient {
                let message = format!("`{name}` of `{}` is the name of two tensors", r.name);
                let help = "in files an output `o` has the cotangent `do`, an input `x` the gradient `dx`; rename one declaration";
                self.diags.push(Diag::global("E0105", message).help(help));
            }
        }
        let strangers: Vec<&String> =
            self.tensors.keys().filter(|name| !known.contains(name)).collect();
        if strangers.len() > STRANGERS {
            let message = format!(
                "`{}` declares none of {} tensors of the file; here are the first {STRANGERS}",
                r.name,
                strangers.len()
            );
            self.diags.push(Diag::global("E0304", message));
        }
        for name in strangers.into_iter().take(STRANGERS) {
            let message = format!("`{}` declares no tensor `{}`", r.name, short(name));
            self.diags.push(Diag::global("E0304", message).help_nearest(
                &short(name),
                "it knows",
                known.iter().map(String::as_str),
            ));
        }
    }

    fn floats(&mut self, name: &str) -> Option<(&[usize], &[f32])> {
        let tensor = self.tensors.get(name)?;
        match &tensor.data {
            Data::F32(data) => Some((&tensor.shape, data)),
            Data::I64(_) => {
                let message = format!("`{name}` holds whole numbers, expected floats");
                let diag = Diag::global("E0303", message);
                self.diags.push(diag.help("store it as f32, f64, f16 or bf16"));
                None
            }
        }
    }

    fn expect_shape(&mut self, name: &str, got: &[usize], want: &[usize]) -> bool {
        if got == want {
            return true;
        }
        let message = format!("`{name}` has shape {got:?}, expected {want:?}");
        self.diags.push(Diag::global("E0302", message));
        false
    }

    /// An input (`front` = 2) or parameter (`front` = 0): its values and its number of heads.
    fn operand(&mut self, name: &str, one: &[usize], front: usize) -> (Vec<f32>, usize) {
        let bf16 = self.request.bf16 && !one.is_empty() && front == 2;
        let Some((shape, data)) = self.floats(name) else { return (Vec::new(), 1) };
        let (shape, mut data) = (shape.to_vec(), data.to_vec());
        let grouped = shape.len() == front + one.len() + 1;
        let heads = if grouped { shape[front] } else { 1 };
        let want: Vec<usize> =
            [&shape[..front], if grouped { &shape[front..=front] } else { &[] }, one].concat();
        self.expect_shape(name, &shape, &want);
        if bf16 {
            data.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
        }
        (data, heads)
    }

    fn heads(&self) -> Vec<usize> {
        if self.layout.head_axis { vec![self.layout.heads] } else { vec![] }
    }

    fn state_shape(&self, k: usize) -> Vec<usize> {
        let sequences = self.bounds.len() - 1;
        [&[sequences], self.heads().as_slice(), &self.r.states[k].shape].concat()
    }

    fn state(&mut self, name: &str, k: usize) -> Option<Vec<f32>> {
        let want = self.state_shape(k);
        let (shape, data) = self.floats(name)?;
        let (shape, data) = (shape.to_vec(), data.to_vec());
        self.expect_shape(name, &shape, &want).then_some(data)
    }

    fn state_tensor(&self, k: usize, data: Vec<f32>) -> Tensor {
        Tensor::f32(self.state_shape(k), data)
    }

    fn out_shape(&self, one: &[usize]) -> Vec<usize> {
        [&[self.layout.batch, self.layout.tokens], self.heads().as_slice(), one].concat()
    }

    fn out(&self, one: &[usize], data: Vec<f32>) -> Tensor {
        debug_assert_eq!(size(&self.out_shape(one)), data.len());
        self.rounded(Tensor::f32(self.out_shape(one), data))
    }

    fn rounded(&self, mut tensor: Tensor) -> Tensor {
        if let (true, Data::F32(values)) = (self.request.bf16, &mut tensor.data) {
            values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
        }
        tensor
    }

    fn d_out(&mut self, k: usize) -> Option<Vec<f32>> {
        let name = format!("d{}", self.r.outs[k].name);
        let want = self.out_shape(&self.r.outs[k].shape.clone());
        let (shape, data) = self.floats(&name)?;
        let tensor = Tensor::f32(shape.to_vec(), data.to_vec());
        if !self.expect_shape(&name, &tensor.shape.clone(), &want) {
            return None;
        }
        match self.rounded(tensor).data {
            Data::F32(data) => Some(data),
            Data::I64(_) => None,
        }
    }
}
