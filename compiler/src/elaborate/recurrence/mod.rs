//! A whole recurrence at given sizes: the program of one token and what the algebra needs to know.

mod equations;

use std::collections::BTreeMap;

use lrc_dsl::ast::{Decl, Expr, Kind as DeclKind, Role};
use lrc_dsl::{Diag, Span};

use super::eval::{Binding, Declared, Derivation, Elaborator};
use super::signature::{LARGEST_SIZE, Numbers, Signature, Variable, numbers_in};
use super::value::{Dim, Setting, shape_text};
use crate::tile::interval::{ALL, Interval};
use crate::tile::{Int, Leaf, Number, Op, Program, Stream, Value, size};

/// A declared tensor of a recurrence, for one head (and one token).
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// How many per token, for `in k[n_h]`: the first axis of `shape`, in files `T * count` rows.
    pub count: Option<usize>,
    /// Its shape; a count is its first axis.
    pub shape: Vec<usize>,
    /// The shape as declared, for messages.
    pub text: String,
    /// The axes as declared.
    pub axes: Vec<String>,
    /// Promised ends of its values.
    pub interval: Option<(f64, f64)>,
    /// Whether vectors have length 1.
    pub unit: bool,
    /// Whether it is a part of a complex state, whose name then ends in `_re` or `_im`.
    pub complex: bool,
    /// How its numbers are held in memory.
    pub number: Number,
    /// How kernels hold its gradient.
    pub gradient: Number,
    /// Where it is declared.
    pub span: Span,
}

impl Slot {
    /// The shape without the count.
    pub fn one(&self) -> &[usize] {
        if self.count.is_some() { &self.shape[1..] } else { &self.shape }
    }

    /// Whether its numbers may be rounded to bf16: decays near 1 and rates, which have a promised range, would
    /// lose what they are for.
    pub fn rounds(&self) -> bool {
        self.interval.is_none()
    }
}

/// One setting of a state: at a token there is one per micro-step.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The state.
    pub state: usize,
    /// The new value.
    pub value: Value,
    /// The node by which later equations name it.
    pub version: Value,
    /// The right side.
    pub span: Span,
}

/// A recurrence at given sizes.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// Its name.
    pub name: String,
    /// Per-token inputs.
    pub inputs: Vec<Slot>,
    /// Per-head parameters.
    pub params: Vec<Slot>,
    /// States.
    pub states: Vec<Slot>,
    /// Outputs.
    pub outs: Vec<Slot>,
    /// Named values that other tokens read.
    pub exports: Vec<Slot>,
    /// The program of one token: its results are the outputs, the states, the exports.
    pub token: Program,
    /// The states before the first token, from the parameters.
    pub init: Program,
    /// Settings of states in order; values are nodes of `token`.
    pub updates: Vec<Update>,
    /// Every size and setting.
    pub numbers: BTreeMap<String, Setting>,
    /// What `grad` has worked out, in the order of the text.
    pub derivations: Vec<Derivation>,
}

impl Recurrence {
    /// The suffix of a state's name in files: none for a lone state and for `S`.
    pub fn state_suffix(&self, state: usize) -> String {
        let Slot { name, complex, .. } = &self.states[state];
        // Parts of a complex state count as one.
        let (name, part) = if *complex { name.split_at(name.len() - 3) } else { (&**name, "") };
        let count = self.states.len() - self.states.iter().filter(|s| s.complex).count() / 2;
        match name.strip_prefix("S_") {
            _ if count == 1 || name == "S" => part.to_string(),
            Some(rest) => format!("_{rest}{part}"),
            None => format!("_{name}{part}"),
        }
    }

    /// The same recurrence with inputs, outputs and their gradients in bf16, but for what must not be rounded: as
    /// a layer runs whose values between nodes are bf16.
    pub fn in_bf16(mut self) -> Recurrence {
        for slot in self.inputs.iter_mut().chain(&mut self.outs).filter(|slot| slot.rounds()) {
            (slot.number, slot.gradient) = (Number::Bf16, Number::Bf16);
        }
        self
    }

    /// Whether a token needs nothing of the tokens before it but the states.
    pub fn is_local(&self) -> bool {
        self.token.nodes.iter().all(|node| match &node.op {
            Op::Leaf(Leaf::Read(Stream::Input(_), at)) => at.lag() == Some(0),
            Op::Leaf(Leaf::Read(Stream::State(_), at)) => matches!(at.lag(), Some(0 | 1)),
            Op::Leaf(Leaf::Read(Stream::Export(_), _) | Leaf::Number(_)) | Op::Past(_) => false,
            Op::Pick(at) | Op::Place(at) => matches!(at, Int::Const(_)),
            _ => true,
        })
    }

    /// Between which ends the values of a leaf lie, by what is promised.
    pub fn promised(&self, leaf: &Leaf) -> Interval {
        let of = |slot: &Slot| slot.interval.unwrap_or(if slot.unit { (-1.0, 1.0) } else { ALL });
        match leaf {
            Leaf::Read(Stream::Input(i), Int::T) => of(&self.inputs[*i]),
            // Before the first token an input is 0.
            Leaf::Read(Stream::Input(i), _) => {
                let (low, high) = of(&self.inputs[*i]);
                (low.min(0.0), high.max(0.0))
            }
            Leaf::Param(i) => of(&self.params[*i]),
            Leaf::Head | Leaf::Number(Int::T) => (0.0, f64::INFINITY),
            _ => ALL,
        }
    }

    /// Values of one head's states.
    pub fn state_size(&self) -> usize {
        self.states.iter().map(|state| size(&state.shape)).sum()
    }
}

/// Elaborates a recurrence. `given` holds settings and sizes that replace defaults; sizes that are
/// not given get witness values.
pub fn elaborate(
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    diags: &mut Vec<Diag>,
) -> Option<Recurrence> {
    let before = diags.iter().filter(|d| d.is_error()).count();
    let signature = Signature::of(decl, diags);
    let known = settle(&signature, given, diags);
    let mut builder = RecurrenceBuilder::new(decl, &signature, known, diags)?;
    builder.items(&decl.items, false);
    let recurrence = builder.finish();
    let after = diags.iter().filter(|d| d.is_error()).count();
    if recurrence.is_none() && before == after {
        let message = format!("`{}` cannot be compiled, and lrc does not see why", decl.name.text);
        diags.push(Diag::error("E0215", decl.name.span, message));
    }
    recurrence.filter(|_| before == after)
}

/// Distinct primes for sizes that nobody gave: equal only when they are the same size.
fn witnesses() -> impl Iterator<Item = usize> {
    (11..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

/// Gives every size and setting a number: sizes first, since defaults may use them.
pub fn settle(
    signature: &Signature,
    given: &BTreeMap<String, Setting>,
    diags: &mut Vec<Diag>,
) -> BTreeMap<String, Setting> {
    let mut numbers = Numbers { known: given.clone() };
    counted(&mut numbers, diags);
    for (size, witness) in signature.sizes.iter().zip(witnesses()) {
        numbers.known.entry(size.clone()).or_insert(Setting::Number(witness as f64));
    }
    for name in ["heads", "layers"] {
        numbers.known.entry(name.into()).or_insert(Setting::Number(1.0));
    }
    numbers.known.entry("layer".into()).or_insert(Setting::Number(0.0));
    for (name, default) in &signature.settings {
        if numbers.known.contains_key(name) {
            continue;
        }
        match numbers.eval(default) {
            Ok(setting) => {
                numbers.known.insert(name.clone(), setting);
            }
            Err(diag) => diags.push(*diag),
        }
    }
    numbers.known
}

/// Refuses what cannot count heads or layers, which nothing declares; the default stands in for it.
fn counted(numbers: &mut Numbers, diags: &mut Vec<Diag>) {
    for (name, least) in [("heads", 1.0), ("layers", 1.0), ("layer", 0.0)] {
        let Some(given) = numbers.known.get(name) else { continue };
        let most = LARGEST_SIZE as f64;
        match given {
            Setting::Number(x) if x.fract() == 0.0 && (least..=most).contains(x) => {}
            other => {
                let message =
                    format!("`{name}` is {other}, not a whole number from {least} to {most}");
                diags.push(Diag::global("E0213", message));
                numbers.known.remove(name);
            }
        }
    }
}

/// The names that `--set` may give a declaration: its parameters, the sizes of a recurrence, the width
/// of a mixer, and where it stands.
pub fn accepted(decl: &Decl) -> Vec<String> {
    let mut names: Vec<String> = decl.settings.iter().map(|(name, _)| name.text.clone()).collect();
    match decl.kind {
        DeclKind::Recurrence => {
            names.extend(Signature::of(decl, &mut Vec::new()).sizes);
            names.extend(["heads", "layer", "layers"].map(String::from));
        }
        DeclKind::Mixer => names.extend(["width", "layer", "layers"].map(String::from)),
        DeclKind::Model => {}
    }
    names
}

struct RecurrenceBuilder<'d> {
    e: Elaborator<'d>,
    name: String,
    span: Span,
    inputs: Vec<Slot>,
    params: Vec<Slot>,
    states: Vec<Slot>,
    inits: Vec<Option<Expr>>,
    outs: Vec<(Slot, Value)>,
    updates: Vec<Update>,
    broken: Vec<usize>,
    numbers: BTreeMap<String, Setting>,
}

impl<'d> RecurrenceBuilder<'d> {
    fn new(
        decl: &Decl,
        signature: &Signature,
        known: BTreeMap<String, Setting>,
        diags: &'d mut Vec<Diag>,
    ) -> Option<RecurrenceBuilder<'d>> {
        let numbers = Numbers { known: known.clone() };
        let mut scope: BTreeMap<String, Binding> =
            known.iter().map(|(name, x)| (name.clone(), Binding::Known(*x))).collect();
        let mut builder = RecurrenceBuilder {
            e: Elaborator::new(diags),
            name: decl.name.text.clone(),
            span: decl.name.span,
            inputs: vec![],
            params: vec![],
            states: vec![],
            inits: vec![],
            outs: vec![],
            updates: vec![],
            broken: vec![],
            numbers: known,
        };
        for variable in &signature.variables {
            let binding = match builder.declared(variable, &numbers) {
                Some((slot, dims)) => builder.add(variable, slot, dims),
                None => Binding::Broken,
            };
            scope.insert(variable.name.clone(), binding);
        }
        builder.e.scope = vec![scope, BTreeMap::new()];
        Some(builder)
    }

    fn declared(&mut self, variable: &Variable, numbers: &Numbers) -> Option<(Slot, Vec<Dim>)> {
        let mut dims = Vec::new();
        let mut sound = true;
        let count = variable.count.as_ref().map(|count| numbers.size(count));
        let axes = variable.shape.axes.iter();
        let sizes = count
            .into_iter()
            .zip(variable.count.iter())
            .chain(axes.map(|axis| (numbers.size(axis), axis)));
        for (size, axis) in sizes {
            let counted = dims.is_empty() && variable.count.is_some();
            let per = if counted { " per token" } else { "" };
            match size {
                Ok(size) => dims.push(Dim::new(size, lrc_dsl::print::expr(axis) + per)),
                Err(diag) => {
                    self.e.diags.push(*diag);
                    sound = false;
                }
            }
        }
        let shape: Vec<usize> = dims.iter().map(|d| d.size).collect();
        let what = format!("`{}`", variable.name);
        if let Err(diag) = numbers_in(&shape, &what, variable.span) {
            self.e.diags.push(*diag);
            sound = false;
        }
        let slot = Slot {
            name: variable.name.clone(),
            count: variable.count.as_ref().and_then(|_| dims.first().map(|d| d.size)),
            shape,
            text: shape_text(&dims),
            axes: dims.iter().map(|d| d.text.to_string()).collect(),
            interval: variable.interval,
            unit: variable.unit,
            complex: variable.complex,
            number: Number::F32,
            gradient: Number::F32,
            span: variable.span,
        };
        sound.then_some((slot, dims))
    }

    fn add(&mut self, variable: &Variable, slot: Slot, dims: Vec<Dim>) -> Binding {
        let declared = Declared { dims };
        match variable.role {
            Role::In => {
                self.inputs.push(slot);
                self.e.inputs.push(declared);
                Binding::Input(self.inputs.len() - 1)
            }
            Role::Param => {
                self.params.push(slot);
                self.e.params.push(declared);
                Binding::Param(self.params.len() - 1)
            }
            Role::State => {
                let first = self.states.len();
                let parts: &[&str] = if variable.complex { &["_re", "_im"] } else { &[""] };
                for part in parts {
                    let name = format!("{}{part}", slot.name);
                    self.states.push(Slot { name, ..slot.clone() });
                    self.e.states.push((declared.clone(), None));
                    self.inits.push(variable.init.clone());
                }
                if variable.complex { Binding::ComplexState(first) } else { Binding::State(first) }
            }
        }
    }

    /// A named value that other tokens read.
    fn export(&self, (name, value): &(String, Value)) -> Slot {
        Slot {
            name: name.clone(),
            count: None,
            shape: self.e.b.shape(*value).to_vec(),
            text: String::new(),
            axes: Vec::new(),
            interval: None,
            unit: false,
            complex: false,
            number: Number::F32,
            gradient: Number::F32,
            span: self.span,
        }
    }

    fn finish(mut self) -> Option<Recurrence> {
        for (i, slot) in self.states.iter().enumerate() {
            if self.e.states[i].1.is_none() {
                let message = format!("the state `{}` has no equation", slot.name);
                self.e.diags.push(
                    Diag::error("E0210", slot.span, message)
                        .help(format!("add `{}[t] = …`", slot.name)),
                );
                self.broken.push(i);
            }
        }
        if self.outs.is_empty() && self.e.diags.iter().all(|d| !d.is_error()) {
            self.e.diags.push(
                Diag::error("E0211", self.span, format!("nothing comes out of `{}`", self.name))
                    .help("add a line such as `out o = S[t]^T * q`"),
            );
        }
        let init = self.init();
        self.unused();
        if !self.broken.is_empty() || self.outs.is_empty() {
            return None;
        }
        let exports = self.e.exports.iter().map(|export| self.export(export)).collect();
        let mut outputs: Vec<Value> = self.outs.iter().map(|(_, value)| *value).collect();
        outputs.extend(self.e.states.iter().filter_map(|(_, value)| *value));
        outputs.extend(self.e.exports.iter().map(|(_, value)| *value));
        // Values of updates are results too while the program is pruned, to keep their names.
        let results = outputs.len();
        outputs.extend(self.updates.iter().flat_map(|u| [u.value, u.version]));
        let mut token = self.e.b.finish(&outputs);
        for (update, pair) in self.updates.iter_mut().zip(token.outputs[results..].chunks(2)) {
            (update.value, update.version) = (pair[0], pair[1]);
        }
        token.outputs.truncate(results);
        Some(Recurrence {
            name: self.name,
            inputs: self.inputs,
            params: self.params,
            states: self.states,
            outs: self.outs.into_iter().map(|(slot, _)| slot).collect(),
            exports,
            token,
            init: init?,
            updates: self.updates,
            numbers: self.numbers,
            derivations: self.e.derivations,
        })
    }

    /// Warns of what is declared and never looked at.
    fn unused(&mut self) {
        if self.e.diags.iter().any(Diag::is_error) {
            return;
        }
        for (slots, what) in [(&self.inputs, "input"), (&self.params, "parameter")] {
            for slot in slots.iter().filter(|slot| !self.e.used.contains(&slot.name)) {
                let message = format!("the {what} `{}` is never used", slot.name);
                self.e.diags.push(
                    Diag::warning("W0111", slot.span, message)
                        .help("use it in an equation, or take the declaration out"),
                );
            }
        }
    }

    /// The program of initial values, from the parameters.
    fn init(&mut self) -> Option<Program> {
        let mut values = Vec::new();
        for (state, init) in self.inits.clone().into_iter().enumerate() {
            let shape = self.states[state].shape.clone();
            let value = match init {
                None => Some(self.e.b.fill(0.0, &shape)),
                Some(expr) => self.initial(&expr, &shape),
            };
            values.push(value);
        }
        let values: Option<Vec<Value>> = values.into_iter().collect();
        Some(self.e.b.finish(&values?))
    }

    fn initial(&mut self, expr: &Expr, shape: &[usize]) -> Option<Value> {
        // An output that is called `inf` does not hide the number.
        let infinite = Binding::Known(Setting::Number(f64::INFINITY));
        self.e.scope.push([("inf".to_string(), infinite)].into());
        let value = self.e.eval(expr);
        self.e.scope.pop();
        let value = value?;
        let words = value.words();
        let t = self.e.as_tensor(value);
        if let Some(t) = t {
            let program = self.e.b.finish(&[t.value]);
            let given = |op: &Op| match op {
                Op::Leaf(Leaf::Param(_) | Leaf::Head) => true,
                Op::Leaf(_) | Op::Past(_) | Op::Pick(_) => false,
                _ => true,
            };
            if !program.nodes.iter().all(|node| given(&node.op)) {
                let message = "an initial value is known before the first token";
                return self.e.fail(
                    Diag::error("E0208", expr.span, message)
                        .label("another value at every token")
                        .help("make it of numbers and of parameters, as `param h0 : [d]`"),
                );
            }
            if t.dims.is_empty() {
                let ones = self.e.b.reshape(t.value, &vec![1; shape.len()]);
                return Some(self.e.b.expand(ones, shape));
            }
            if self.e.b.shape(t.value) == shape {
                return Some(t.value);
            }
        }
        self.e.fail(
            Diag::error(
                "E0203",
                expr.span,
                "an initial value is a number or has the state's shape",
            )
            .label(words),
        )
    }
}

fn shape_rank(text: &str) -> usize {
    if text.starts_with('[') { text.matches(',').count() + 1 } else { 0 }
}
