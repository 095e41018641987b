//! A declared recurrence at the sizes of given tensors, to be called again and again on numbers where they lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lrc_compiler::block::Blocking;
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::elaborate::signature::Numbers;
use lrc_compiler::elaborate::{Recurrence, Setting, Signature, elaborate};
use lrc_compiler::form::{Cotangents, Form, Gradients, Kept, Operand, Outputs, Problem};
use lrc_compiler::num::Real;
use lrc_compiler::strategy::{self, Strategy};
use lrc_compiler::tile::size;
use lrc_dsl::Diag;
use lrc_dsl::ast::{Decl, Expr, Role};

use super::bind::{Binder, numbers};
use crate::device::forms::{fastest, longest};
use crate::device::kernels::{Kernels, Wanted, unready};
use crate::device::store::Machine;
use crate::ground::error::Failure;

/// Shapes of tensors by their declared names: `[B, T, H, …]` of inputs, `[H, …]` of parameters; `H` may be left out.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// What the shapes say besides sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    pub head_axis: bool,
}

/// Forms that are remembered, for the longest sequence of a call each.
const FORMS: usize = 16;

/// The sizes that shapes say.
#[derive(Clone, Debug)]
pub struct Fit {
    given: BTreeMap<String, Setting>,
    pub(super) layout: Layout,
    /// What was bound, as text: `B=1 T=4 H=64 dk=16`.
    pub sizes: String,
    /// Own heads of each input, then of each parameter: 1 where a tensor has no axis of them.
    own: Vec<usize>,
}

/// A recurrence at its sizes, whatever the number of sequences and tokens.
#[derive(Debug)]
pub struct Fitted {
    /// The recurrence.
    pub recurrence: Recurrence,
    heads: usize,
    head_axis: bool,
    own: Vec<usize>,
    /// Whether a form is made for sequences of one length.
    by_length: bool,
    forms: Mutex<Vec<(usize, Arc<Form>)>>,
    kernels: Mutex<Vec<(Wanted, Kernels)>>,
}

/// The numbers of a call; see [`Problem`] for their layouts.
#[derive(Clone, Debug)]
pub struct Given<'a, R> {
    /// Row at which each sequence starts, and the total.
    pub bounds: Vec<usize>,
    /// In declared order.
    pub inputs: Vec<&'a [R]>,
    /// In declared order.
    pub params: Vec<&'a [R]>,
    /// States before the first token, where given.
    pub initial: Vec<Option<&'a [R]>>,
}

impl Fit {
    /// Binds the sizes of a recurrence to shapes. All that is wrong with them is said at once.
    pub fn new(
        decl: &Decl,
        shapes: &Shapes,
        settings: &BTreeMap<String, Setting>,
    ) -> Result<Fit, Failure> {
        let mut diags = Vec::new();
        let signature = Signature::of(decl, &mut diags);
        for name in settings.keys() {
            if !signature.settings.iter().any(|(known, _)| known == name) {
                let known = signature.settings.iter().map(|(name, _)| name.as_str());
                let message = format!("`{}` has no parameter `{name}`", decl.name.text);
                diags.push(Diag::global("E0216", message).help_nearest(name, "parameters", known));
            }
        }
        if diags.iter().any(Diag::is_error) {
            return Err(Failure::Invalid(diags));
        }
        let mut binder = Binder::new(decl, &signature, shapes, settings);
        binder.bind_all();
        let layout = Layout {
            batch: binder.batch.unwrap_or(1),
            tokens: binder.tokens.unwrap_or(0),
            heads: binder.heads.unwrap_or(1),
            head_axis: binder.heads.is_some(),
        };
        let broken = std::mem::take(&mut binder.diags);
        if !broken.is_empty() {
            return Err(Failure::Invalid(broken));
        }
        let sizes = sizes(&binder, &signature);
        let mut given = binder.given;
        given.insert("heads".into(), Setting::Number(layout.heads as f64));
        Ok(Fit { given, layout, sizes, own: own_heads(&signature, shapes) })
    }

    /// Tells apart what is to be elaborated: the same for every number of sequences and tokens.
    pub fn key(&self) -> String {
        format!("{:?} {:?} {}", self.given, self.own, self.layout.head_axis)
    }

    /// Sequences, and tokens of each.
    pub fn batch(&self) -> [usize; 2] {
        [self.layout.batch, self.layout.tokens]
    }
}

impl Fitted {
    /// A recurrence at the sizes that were found for it.
    pub fn new(decl: &Decl, fit: &Fit) -> Result<Fitted, Failure> {
        let mut diags = Vec::new();
        let Some(recurrence) = elaborate(decl, &fit.given, &mut diags) else {
            return Err(Failure::Invalid(diags));
        };
        let strategy = strategy::of(&recurrence);
        let by_length = matches!(strategy, Strategy::Attention(_) | Strategy::Halves(_));
        let Layout { heads, head_axis, .. } = fit.layout;
        let (own, forms, kernels) = (fit.own.clone(), Mutex::default(), Mutex::default());
        Ok(Fitted { recurrence, heads, head_axis, own, by_length, forms, kernels })
    }

    /// The axis of heads of outputs and states: none where no tensor has one.
    pub fn heads(&self) -> Option<usize> {
        self.head_axis.then_some(self.heads)
    }

    /// Runs forward on the processor. What is kept is for [`Fitted::backward`] on the same numbers.
    pub fn forward<R: Real>(
        &self,
        given: &Given<R>,
        keep: bool,
    ) -> Result<(Outputs<R>, Kept<R>), Failure> {
        let problem = self.problem(given)?;
        Ok(self.form(&problem)?.forward(&problem, keep))
    }

    /// The gradients of everything given, from what flows into outputs and states; forward runs again where nothing
    /// was kept.
    pub fn backward<R: Real>(
        &self,
        given: &Given<R>,
        kept: Option<&Kept<R>>,
        flows: &Cotangents<R>,
    ) -> Result<Gradients<R>, Failure> {
        let problem = self.problem(given)?;
        let form = self.form(&problem)?;
        Ok(match kept {
            Some(kept) => form.backward(&problem, kept, flows),
            None => {
                let (outputs, kept) = form.forward(&problem, true);
                outputs.recycle();
                form.backward(&problem, &kept, flows)
            }
        })
    }

    /// The outputs by kernels on a machine.
    pub fn forward_on(
        &self,
        machine: &Machine,
        given: &Given<f32>,
    ) -> Result<Outputs<f32>, Failure> {
        self.kernels(machine, Wanted::Forward)?.run(&self.problem(given)?)
    }

    /// The gradients by kernels on a machine, which runs forward again.
    pub fn backward_on(
        &self,
        machine: &Machine,
        given: &Given<f32>,
        flows: &Cotangents<f32>,
    ) -> Result<Gradients<f32>, Failure> {
        let kernels = self.kernels(machine, Wanted::Training)?;
        Ok(kernels.train(&self.problem(given)?, flows)?.1)
    }

    /// The kernels, made once.
    fn kernels(&self, machine: &Machine, wanted: Wanted) -> Result<Kernels, Failure> {
        let mut all = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kernels)) = all.iter().find(|(known, _)| *known == wanted) {
            return Ok(kernels.clone());
        }
        let r = &self.recurrence;
        let made = Kernels::new(r, wanted, Chosen::default(), machine);
        let made = made.map_err(|why| unready(r, why))?;
        all.push((wanted, made.clone()));
        Ok(made)
    }

    /// The problem of a call, if its numbers are as many as its bounds ask for.
    fn problem<'a, R: Real>(&'a self, given: &Given<'a, R>) -> Result<Problem<'a, R>, Failure> {
        let r = &self.recurrence;
        let rising = given.bounds.first() == Some(&0) && given.bounds.is_sorted();
        if !rising || given.inputs.len() != r.inputs.len() || given.params.len() != r.params.len() {
            return Err(Failure::invalid("E0305", "bounds rise from 0, and every tensor is given"));
        }
        let rows = given.bounds.last().copied().unwrap_or(0);
        let sequences = given.bounds.len() - 1;
        let (inputs, params) = self.own.split_at(r.inputs.len());
        let operand = |slot: &Slot, data: &'a [R], heads, rows| {
            let want = rows * slot.count.unwrap_or(1) * heads * size(slot.one());
            if data.len() != want {
                let message =
                    format!("`{}` has {} numbers, expected {want}", slot.name, data.len());
                return Err(Failure::invalid("E0302", message));
            }
            Ok(Operand { data, heads })
        };
        let each = |slots: &'a [_], data: &[&'a [R]], heads: &[usize], rows| {
            let all = slots.iter().zip(data).zip(heads);
            all.map(|((slot, data), heads)| operand(slot, data, *heads, rows)).collect()
        };
        for (slot, state) in r.states.iter().zip(&given.initial) {
            let want = sequences * self.heads * size(&slot.shape);
            if state.is_some_and(|state| state.len() != want) {
                let message = format!("the initial state `{}` must have {want} numbers", slot.name);
                return Err(Failure::invalid("E0302", message));
            }
        }
        let inputs: Result<Vec<_>, Failure> = each(&r.inputs, &given.inputs, inputs, rows);
        let params: Result<Vec<_>, Failure> = each(&r.params, &given.params, params, 1);
        let (bounds, initial) = (given.bounds.clone(), given.initial.clone());
        let heads = self.heads;
        Ok(Problem {
            recurrence: r,
            heads,
            sum: 1,
            bounds,
            inputs: inputs?,
            params: params?,
            initial,
        })
    }

    /// Whether a form is there already for such sequences; making one walks over programs, which takes a deep stack.
    pub fn planned(&self, bounds: &[usize]) -> bool {
        let forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        forms.iter().any(|(length, _)| *length == self.kind(bounds))
    }

    /// Sequences with the same number have the same form: single tokens and others, or those of one length.
    fn kind(&self, bounds: &[usize]) -> usize {
        let longest = longest(bounds);
        if self.by_length { longest } else { longest.min(2) }
    }

    /// The form for sequences as long as these.
    fn form<R: Real>(&self, problem: &Problem<R>) -> Result<Arc<Form>, Failure> {
        let number = self.kind(&problem.bounds);
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, form)) = forms.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(form));
        }
        let made = fastest(problem, Blocking::default())?;
        if forms.len() == FORMS {
            forms.remove(0);
        }
        forms.push((number, Arc::clone(&made)));
        Ok(made)
    }
}

/// Rows per token of each input, `n` of `in k[n]`, at the given settings.
pub fn counts(
    decl: &Decl,
    signature: &Signature,
    settings: &BTreeMap<String, Setting>,
) -> Vec<usize> {
    let numbers = Numbers { known: numbers(decl, settings) };
    let inputs = signature.variables.iter().filter(|variable| variable.role == Role::In);
    let count = |expr: Option<&Expr>| expr.and_then(|e| numbers.size(e).ok()).unwrap_or(1);
    inputs.map(|variable| count(variable.count.as_ref())).collect()
}

/// Own heads of inputs, then of parameters.
fn own_heads(signature: &Signature, shapes: &Shapes) -> Vec<usize> {
    let of = |role: Role, front: usize| {
        let variables = signature.variables.iter().filter(move |variable| variable.role == role);
        variables.map(move |variable| {
            let shape = &shapes[&variable.name];
            if shape.len() > front + variable.shape.axes.len() { shape[front] } else { 1 }
        })
    };
    of(Role::In, 2).chain(of(Role::Param, 0)).collect()
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
