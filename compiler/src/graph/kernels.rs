//! The kernels of a model, and the one table of what has none.
//!
//! `lrc check --device`, `lrc compile`, `lrc train --dry-run` and training itself all ask here, so that
//! they refuse the same models in the same words.

use std::collections::HashMap;

use lrc_dsl::Diag;

use super::prepare::Prepared;
use super::{Graph, Kind, Node, ValueId};
use crate::compile::{all_schedules, too_large};
use crate::form::rows::RowsGrad;
use crate::normal::Refusal;
use crate::plan::ranks::ranked;
use crate::plan::rows::Pointwise;
use crate::plan::target::Gpu;
use crate::plan::{Binding, Number, Schedule};
use crate::tile::axes::together;

/// A kind of node without kernels, and what is said of it.
struct Lack {
    is: fn(&Kind) -> bool,
    why: &'static str,
}

/// What kernels lack: a row for each thing. Delete the row of what gets some.
const LACKS: &[Lack] = &[];

/// Whether a node runs by kernels of a kind of GPU, at its sizes. The error says what it lacks.
pub fn supports(graph: &Graph, node: &Node, gpu: Gpu) -> Result<(), Refusal> {
    kernels(graph, node, gpu).map(|_| ())
}

/// The planned schedules of a node: none for what kernels that are written by hand do.
fn kernels(graph: &Graph, node: &Node, gpu: Gpu) -> Result<Vec<Schedule>, Refusal> {
    if let Some(lack) = LACKS.iter().find(|lack| (lack.is)(&node.kind)) {
        let why = format!("{}, for which there are no kernels", lack.why);
        return Err(Refusal { span: None, why });
    }
    let no_kernels =
        |refusal: Refusal| Refusal { why: format!("has no kernels: {}", refusal.why), ..refusal };
    match &node.kind {
        Kind::Rows(_) | Kind::RowsGrad(_) => {
            let made =
                pointwise(graph, node, gpu).and_then(|schedule| match too_large(&schedule) {
                    Some(why) => Err(Refusal { span: None, why }),
                    None => Ok(vec![schedule]),
                });
            made.map_err(no_kernels)
        }
        Kind::Recur(recur) => {
            all_schedules(&recur.recurrence, gpu, recur.chosen).map_err(no_kernels)
        }
        _ => Ok(vec![]),
    }
}

/// The schedule of a pointwise node, or of its gradient.
fn pointwise(graph: &Graph, node: &Node, gpu: Gpu) -> Result<Schedule, Refusal> {
    let once = |values: &[ValueId]| -> Vec<bool> {
        values.iter().map(|value| graph.value(*value).once).collect()
    };
    let numbers = numbers(graph, node);
    // Layers that do the same share a kernel, and so a name.
    let label: String = node.label.chars().filter(|c| !c.is_ascii_digit()).collect();
    match &node.kind {
        Kind::Rows(program) => Pointwise {
            label: &label,
            program: &together(&ranked(program)),
            once: &once(&node.inputs),
            output_once: graph.value(node.outputs[0]).once,
            numbers: &numbers,
            in_place: false,
        }
        .forward(gpu),
        Kind::RowsGrad(grad) => {
            let grad = RowsGrad { program: together(&ranked(&grad.program)), ..(**grad).clone() };
            Pointwise {
                label: &label,
                program: &grad.program,
                once: &once(&node.inputs[..grad.inputs]),
                output_once: graph.value(node.inputs[grad.inputs]).once,
                numbers: &numbers,
                in_place: false,
            }
            .backward(&grad, gpu)
        }
        _ => Err(Refusal { span: None, why: "it is no pointwise node".into() }),
    }
}

/// How the tensors of a pointwise node, or of its gradient, are held.
fn numbers(graph: &Graph, node: &Node) -> Vec<(Binding, Number)> {
    let params =
        (0..).map(Binding::Param).zip(node.params.iter().map(|p| graph.params[p.0].number));
    let held = |value: &ValueId| graph.value(*value).number;
    let (inputs, flows) = node.inputs_and_flows();
    let backward = !flows.is_empty();
    let inputs = (0..).map(Binding::Input).zip(inputs.iter().map(held));
    let flows = (0..).map(Binding::OutGrad).zip(flows.iter().map(held));
    let output: fn(usize) -> Binding = if backward { Binding::InputGrad } else { Binding::Out };
    let outputs = (0..).map(output).zip(node.outputs.iter().map(held));
    params.chain(inputs).chain(outputs).chain(flows).collect()
}

/// What has no kernels: each reason once, with the first part that it holds for, where that stands, and how many more.
#[derive(Debug, Default)]
struct Lacking(Vec<(String, String, String, Vec<String>)>);

impl Lacking {
    fn add(&mut self, part: &str, place: String, why: String) {
        match self.0.iter_mut().find(|(_, _, known, _)| *known == why) {
            Some((first, _, _, more)) if first != part && !more.iter().any(|m| m == part) => {
                more.push(part.to_string());
            }
            Some(_) => {}
            None => self.0.push((part.to_string(), place, why, vec![])),
        }
    }

    fn diags(&self) -> Vec<Diag> {
        let said = self.0.iter().map(|(part, place, why, more)| {
            let more = match more.len() {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            let diag = Diag::global("E0501", format!("`{part}`{place}{more} {why}"));
            diag.help("it runs with `--device cpu`")
        });
        said.collect()
    }
}

/// The kernels of a model.
#[derive(Debug)]
pub struct Planned {
    /// The schedules of pointwise nodes and their gradients, each once.
    pub pointwise: Vec<Schedule>,
    /// Which of them a node has.
    pub of_node: HashMap<usize, usize>,
    /// The schedules of recurrences, each once.
    pub recurrences: Vec<Schedule>,
    /// Which of them a node has.
    pub of_recurrence: HashMap<usize, Vec<usize>>,
    /// What has none.
    pub lacking: Vec<Diag>,
}

/// Plans the kernels of a model for a kind of GPU.
pub fn plan(prepared: &Prepared, gpu: Gpu) -> Planned {
    let model = &prepared.model;
    let mut lacking = Lacking::default();
    let mut planned = Planned {
        pointwise: vec![],
        of_node: HashMap::new(),
        recurrences: vec![],
        of_recurrence: HashMap::new(),
        lacking: vec![],
    };
    let mut rows: HashMap<String, usize> = HashMap::new();
    let mut known: HashMap<String, Vec<usize>> = HashMap::new();
    let mut distinct: HashMap<String, usize> = HashMap::new();
    for (at, node) in model.graph.nodes.node_weights().enumerate() {
        // Layers that do the same share their kernels.
        let recurrence = match &node.kind {
            Kind::Recur(recur) => Some(format!("{:?}", recur.recurrence)),
            _ => None,
        };
        if let Some(found) = recurrence.as_ref().and_then(|text| known.get(text)) {
            planned.of_recurrence.insert(at, found.clone());
            continue;
        }
        let made = match kernels(&model.graph, node, gpu) {
            Ok(made) => made,
            Err(refusal) => {
                let (part, place) = match &node.kind {
                    Kind::Recur(recur) => (&recur.recurrence.name, format!(" in {}", node.label)),
                    _ => (&node.label, String::new()),
                };
                lacking.add(part, place, refusal.why);
                continue;
            }
        };
        if let Some(text) = recurrence {
            // Layers may differ in what no kernel of theirs reads.
            let own = made.into_iter().map(|schedule| {
                *distinct.entry(format!("{schedule:?}")).or_insert_with(|| {
                    planned.recurrences.push(schedule);
                    planned.recurrences.len() - 1
                })
            });
            let own: Vec<usize> = own.collect();
            planned.of_recurrence.insert(at, own.clone());
            known.insert(text, own);
            continue;
        }
        for schedule in made {
            let text = format!("{schedule:?}");
            let next = planned.pointwise.len();
            let found = *rows.entry(text).or_insert(next);
            if found == next {
                planned.pointwise.push(schedule);
            }
            planned.of_node.insert(at, found);
        }
    }
    name_apart(planned.pointwise.iter_mut().chain(&mut planned.recurrences));
    planned.lacking = lacking.diags();
    planned
}

/// Gives schedules that would have the same name different ones.
fn name_apart<'s>(schedules: impl Iterator<Item = &'s mut Schedule>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for schedule in schedules {
        let count = seen.entry(schedule.name.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            let kernels = schedule.kernels.iter_mut().map(|kernel| &mut kernel.name);
            let names = kernels.chain([&mut schedule.name]);
            names.for_each(|name| *name = format!("{name}_{count}"));
        }
    }
}
