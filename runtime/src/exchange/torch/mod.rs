//! Models as PyTorch: one file of Python that computes what the graph says, and that transformers loads as a model.
//!
//! What is the same for all models stands in `templates/hf/modeling_lrc.py`. Behind it come the model's own programs, each a
//! function with a line for each operation, and its graph, a line for each node.

mod program;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::form::recurrent::peel;
use lrc_compiler::graph::{Kind, Model, Node, Recur, ValueId, layer};
use lrc_compiler::tile::Program;

use lrc_dsl::ast::Decl;
use lrc_dsl::print::print;
use lrc_dsl::{Sources, ast};
use program::{number, tuple};

/// What all models share.
const SHARED: &str = include_str!("../../../../templates/hf/modeling_lrc.py");

/// The class in the file that transformers calls, and that of its configuration.
pub const CLASS: &str = "LrcForCausalLM";
/// See [`CLASS`].
pub const CONFIG: &str = "LrcConfig";

/// The text of the file; `arch` is the model's own text. The error says what has no counterpart.
pub fn write(model: &Model, arch: &str) -> Result<String, String> {
    let mut file = File::default();
    let lines = file.graph(model)?;
    let mut text = String::new();
    let quoted = needed(arch, &model.name).replace('\\', "\\\\").replace("'''", "\\'\\'\\'");
    text += &format!(
        "\"\"\"The model `{}` as plain PyTorch, written by lrc {}; to be loaded with `trust_remote_code=True`.\n\n\
         `TEXT` declares the model. Its programs, of one token each, and its graph stand at the end; what stands between is the\n\
         same for all models.\n\"\"\"\n\n",
        model.name,
        env!("CARGO_PKG_VERSION")
    );
    text += IMPORTS;
    let _ = write!(text, "\nTEXT = '''\n{quoted}'''\n\n\n{SHARED}\n\n");
    for definition in &file.definitions {
        text += definition;
        text += "\n\n";
    }
    let _ = write!(text, "RECURRENCES = [{}]\n\n", file.recurrences.join(", "));
    text += "# Every parameter with its shape; the one that gives logits.\nPARAMETERS = {\n";
    for param in &model.graph.params {
        let _ = writeln!(text, "    \"{}\": {},", param.name, tuple(&param.shape));
    }
    let head = &model.graph.params[model.head.0].name;
    let cap = model.cap.map_or("None".into(), number);
    let _ =
        write!(text, "}}\nHEAD = \"{head}\"\n# The soft cap of logits.\nCAP = {cap}\n\n\n{lines}");
    Ok(text)
}

/// The declarations of a text that one of them needs, by the names that stand in it.
fn needed(arch: &str, model: &str) -> String {
    let id = Sources::default().add("model.arch", arch);
    let decls = lrc_dsl::parse(id, arch).0.decls;
    let text = |decl: &Decl| print(&ast::File::of(vec![decl.clone()]));
    let mut open = vec![model.to_string()];
    let mut kept: HashSet<String> = HashSet::new();
    while let Some(name) = open.pop() {
        let Some(decl) = decls.iter().find(|decl| decl.name.text == name) else { continue };
        if kept.insert(name) {
            let text = text(decl);
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            open.extend(words.map(str::to_string));
        }
    }
    let kept = decls.into_iter().filter(|decl| kept.contains(&decl.name.text)).collect();
    print(&ast::File::of(kept))
}

const IMPORTS: &str = "\
import copy
import math

import torch
from torch.nn import functional
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

try:
    import lrc
except ImportError:
    lrc = None
";

/// The parts of a file that are the model's own.
#[derive(Default)]
struct File {
    /// Functions and recurrences in their order.
    definitions: Vec<String>,
    /// The name of each, by what it says.
    known: HashMap<String, String>,
    /// Names of recurrences.
    recurrences: Vec<String>,
}

impl File {
    /// The name of a definition, which is written unless there is one that says the same. `wanted` is its name where that is
    /// free.
    fn define(
        &mut self,
        wanted: &str,
        text: String,
        definition: impl Fn(&str) -> String,
    ) -> String {
        if let Some(name) = self.known.get(&text) {
            return name.clone();
        }
        let taken = |name: &String| self.known.values().any(|known| known == name);
        let mut names = (1..).map(|at| match at {
            1 => wanted.to_string(),
            at => format!("{wanted}_{at}"),
        });
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        self.definitions.push(definition(&name));
        self.known.insert(text, name.clone());
        name
    }

    fn function(&mut self, wanted: &str, program: &Program, list: bool) -> Result<String, String> {
        let body = program::body(program, list)?;
        Ok(self.define(wanted, body.clone(), |name| format!("def {name}(s):\n{body}")))
    }

    /// A recurrence at its sizes.
    fn recurrence(&mut self, recur: &Recur) -> Result<String, String> {
        let r = &recur.recurrence;
        let token = peel(r);
        let name = identifier(&r.name);
        let token_name = self.function(&format!("{name}_token"), &token, true)?;
        let begin = self.function(&format!("{name}_begin"), &r.init, true)?;
        let shapes = |slots: &[Slot]| {
            let shapes: Vec<String> = slots.iter().map(|slot| tuple(&slot.shape)).collect();
            format!("[{}]", shapes.join(", "))
        };
        let inputs = r.inputs.iter().zip(&recur.input_heads).map(|(slot, heads)| {
            let count = slot.count.map_or("None".into(), |count| count.to_string());
            format!("({heads}, {count}, {})", tuple(&slot.shape))
        });
        let params = r.params.iter().zip(&recur.param_heads);
        let params = params.map(|(slot, heads)| format!("({heads}, {})", tuple(&slot.shape)));
        let settings = r.numbers.iter().map(|(name, setting)| match setting {
            Setting::Number(x) => format!("\"{name}\": {}", number(*x)),
            Setting::Truth(true) => format!("\"{name}\": True"),
            Setting::Truth(false) => format!("\"{name}\": False"),
        });
        let truth = |is: bool| if is { "True" } else { "False" };
        let text = format!(
            "Recurrence(\n    \"{}\", {token_name}, {begin}, heads={},\n    inputs=[{}], params=[{}],\n    outs={}, states={}, exports={},\n    \
             settings={{{}}},\n    reach={}, history={}, local={},\n)\n",
            r.name,
            recur.heads,
            inputs.collect::<Vec<String>>().join(", "),
            params.collect::<Vec<String>>().join(", "),
            shapes(&r.outs),
            shapes(&r.states),
            shapes(&r.exports),
            settings.collect::<Vec<String>>().join(", "),
            program::reach(&token).map_or("None".into(), |reach| reach.to_string()),
            truth(program::reads_history(&token)),
            truth(r.is_local()),
        );
        let made = self
            .define(&format!("{name}_recurrence"), text.clone(), |name| format!("{name} = {text}"));
        if !self.recurrences.contains(&made) {
            self.recurrences.push(made.clone());
        }
        Ok(made)
    }

    /// The function that walks over the graph to the hidden state.
    fn graph(&mut self, model: &Model) -> Result<String, String> {
        let graph = &model.graph;
        let needed = graph.needed(model.hidden);
        let nodes: Vec<(usize, &Node)> = graph
            .nodes
            .node_weights()
            .enumerate()
            .filter(|(at, _)| needed.get(*at) == Some(&true))
            .collect();
        let mut last = HashMap::new();
        for (place, (_, node)) in nodes.iter().enumerate() {
            for value in node.inputs.iter().chain(&node.outputs) {
                last.insert(*value, place);
            }
        }
        last.remove(&model.hidden);
        let mut lines = String::from(
            "def graph(m):\n    \"\"\"The hidden state of each token, as the head reads it.\"\"\"\n",
        );
        let mut gone: Vec<ValueId> = vec![];
        for (place, (at, node)) in nodes.iter().enumerate() {
            let line = self.node(model, *at, node)?;
            let outputs: Vec<String> = node.outputs.iter().map(name).collect();
            let outputs = match node.kind {
                Kind::Recur(_) => format!("[{}]", outputs.join(", ")),
                _ => outputs.join(", "),
            };
            let _ = writeln!(lines, "    {outputs} = {line}");
            let mut over: Vec<ValueId> =
                last.iter().filter(|(_, at)| **at == place).map(|(value, _)| *value).collect();
            over.sort_unstable();
            gone.extend(over);
            let ends = nodes.get(place + 1).is_none_or(|next| next.1.layer() != node.layer());
            if ends && !gone.is_empty() {
                let names: Vec<String> = gone.drain(..).map(|value| name(&value)).collect();
                let _ = writeln!(lines, "    del {}", names.join(", "));
            }
        }
        let _ = writeln!(lines, "    return {}", name(&model.hidden));
        Ok(lines)
    }

    /// The call that a node is.
    fn node(&mut self, model: &Model, at: usize, node: &Node) -> Result<String, String> {
        let graph = &model.graph;
        let all: Vec<String> = node.inputs.iter().map(name).collect();
        let params: Vec<String> =
            node.params.iter().map(|param| format!("\"{}\"", graph.params[param.0].name)).collect();
        Ok(match &node.kind {
            Kind::Embed => format!("m.embed({})", params[0]),
            Kind::Place => format!("m.positions({})", params[0]),
            Kind::Dense { groups } => format!("m.dense({}, {}, {groups})", all[0], params[0]),
            Kind::Rows(program) => {
                let wanted = identifier(layer(&node.label).rsplit('.').next().unwrap_or("rows"));
                let function = self.function(&format!("{wanted}_rows"), program, false)?;
                let reach = program::reach(program).filter(|reach| *reach > 0);
                let reach = reach.map_or(String::new(), |reach| format!(", reach={reach}"));
                let once = graph.value(node.outputs[0]).once;
                format!(
                    "m.rows({at}, {function}, [{}], [{}], {}{reach}{})",
                    all.join(", "),
                    params.join(", "),
                    tuple(program.shape(program.outputs[0])),
                    if once { ", once=True" } else { "" }
                )
            }
            Kind::Recur(recur) => {
                let recurrence = self.recurrence(recur)?;
                let (inputs, params) = all.split_at(recur.recurrence.inputs.len());
                format!(
                    "m.recur({at}, {recurrence}, [{}], [{}])",
                    inputs.join(", "),
                    params.join(", ")
                )
            }
            Kind::Route { slots } => format!("m.route({}, {slots})", all[0]),
            Kind::Expert => format!("m.experts({}, {}, {})", all[0], all[1], params[0]),
            Kind::LongConv => format!("m.long_conv({at}, {}, {})", all[0], all[1]),
            Kind::Sum => all.join(" + "),
            other => return Err(format!("{other:?} is no node that a trained model needs")),
        })
    }
}

fn name(value: &ValueId) -> String {
    format!("x{}", value.0)
}

/// A name that Python takes for one of its own.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
