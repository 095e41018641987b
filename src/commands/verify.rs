//! `lrc verify`: what is said of each recurrence, and what the worst of it means for the exit status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::elaborate::{Recurrence, Setting};
use lrc_compiler::graph::{Graph, Kind as Node, mixer_alone};
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::open::declarations;
use lrc_runtime::device::kernels::Unready;
use lrc_runtime::device::store::Machine;
use lrc_runtime::eval::verify::{Judged, Kernels, Verdict, affordable, judge, judge_kernels};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::tell;
use serde_json::{Value, json};

use crate::args::{Device, seconds};
use crate::commands::acceptance;
use crate::commands::declared::{built, elaborated, known, named, own, settings};
use crate::terminal::say;

/// Arguments of `lrc verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The `.arch` file [default with --report: the recurrences inside the program].
    #[arg(required_unless_present = "report")]
    pub file: Option<PathBuf>,
    /// A recurrence of the file, or a mixer or model: what it calls [default: all of them].
    pub name: Option<String>,
    /// Where to run: `sim` runs the kernels for GPUs against the recurrent form.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long, conflicts_with = "report")]
    pub json: bool,
    /// Write what kernels do on this machine, and how long each takes, into one file that can be sent back.
    #[arg(long, value_name = "OUT")]
    pub report: Option<PathBuf>,
    /// Seconds that a report may take: what is not reached is named.
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, value_parser = seconds, requires = "report")]
    pub budget: f64,
}

/// What is said of one recurrence.
struct Line {
    name: String,
    /// `None` where there are no kernels.
    verdict: Option<Verdict>,
    why: Option<String>,
    token: Option<usize>,
    /// The numbers of its row: names for documents, and texts.
    numbers: Vec<(&'static str, Option<f64>)>,
}

/// `lrc verify`
pub fn verify(args: &Verify, sources: &mut Sources) -> Result<(), Failure> {
    if let Some(out) = &args.report {
        return acceptance::report(args, out, sources);
    }
    let file = args.file.as_ref().ok_or_else(|| Failure::Usage("which file?".into()))?;
    let given = settings(&args.set)?;
    let recurrences = declared(args, file, &given, &given, sources)?;
    let device: lrc_runtime::device::Device = args.device.into();
    let machine = device.machine()?;
    if !args.json {
        header(machine.is_some());
    }
    let mut lines = Vec::new();
    for r in &recurrences {
        affordable(r)?;
        let line = match &machine {
            None => on_processor(r),
            Some(machine) => by_kernels(r, machine)?,
        };
        if !args.json {
            line.say(machine.is_some());
        }
        lines.push(line);
    }
    let without: Vec<&str> =
        lines.iter().filter(|line| line.verdict.is_none()).map(|line| &*line.name).collect();
    let verified = lines.iter().filter(|line| line.status() == Some(0)).count();
    if args.json {
        let recurrences: Vec<Value> = lines.iter().map(Line::in_json).collect();
        let document =
            json!({ "recurrences": recurrences, "verified": verified, "without_kernels": without });
        say!("{document}");
    } else {
        say!("{}", summary(lines.len(), verified, &without));
    }
    outcome(&lines)
}

/// The recurrences of a file that are to be verified, at sizes that hold where they know them.
pub(super) fn declared(
    args: &Verify,
    file: &Path,
    given: &BTreeMap<String, Setting>,
    sizes: &BTreeMap<String, Setting>,
    sources: &mut Sources,
) -> Result<Vec<Recurrence>, Failure> {
    let namespace = declarations(file, sources)?;
    let decls = to_verify(&namespace, args, file, given)?;
    known(given, decls.iter().copied())?;
    decls.into_iter().map(|decl| elaborated(decl, &own(sizes, decl))).collect()
}

/// The last line of the table.
fn summary(count: usize, verified: usize, without: &[&str]) -> String {
    let noun = if count == 1 { "recurrence" } else { "recurrences" };
    let mut text = format!("{count} {noun}, {verified} verified");
    if !without.is_empty() {
        text += &format!(", {} without kernels: {}", without.len(), without.join(", "));
    }
    text
}

/// The named recurrence, or all of the file's own, or those that its mixers and models call.
fn to_verify<'n>(
    namespace: &'n Namespace,
    args: &Verify,
    file: &Path,
    given: &BTreeMap<String, Setting>,
) -> Result<Vec<&'n Decl>, Failure> {
    let decls: Vec<&Decl> = match &args.name {
        Some(name) => vec![named(namespace, name)?],
        None => namespace.own.iter().map(|name| &namespace.decls[name]).collect(),
    };
    let mut found: Vec<&Decl> =
        decls.iter().copied().filter(|decl| decl.kind == Kind::Recurrence).collect();
    if found.is_empty() {
        for decl in &decls {
            for name in called(namespace, decl, &own(given, decl))? {
                let recurrence = namespace.get(&name).filter(|d| d.kind == Kind::Recurrence);
                found.extend(
                    recurrence.filter(|d| found.iter().all(|f| f.name.text != d.name.text)),
                );
            }
        }
    }
    if found.is_empty() {
        let what = file.display();
        return Err(Failure::Usage(format!(
            "{what} neither declares a recurrence nor calls one: there is nothing to verify"
        )));
    }
    Ok(found)
}

/// The recurrences that a mixer or a model calls, in order.
fn called(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
) -> Result<Vec<String>, Failure> {
    let of = |graph: &Graph| -> Vec<String> {
        let nodes = graph.nodes.node_weights();
        let names = nodes.filter_map(|node| match &node.kind {
            Node::Recur(recur) => Some(recur.recurrence.name.clone()),
            _ => None,
        });
        names.collect()
    };
    match decl.kind {
        Kind::Recurrence => Ok(vec![decl.name.text.clone()]),
        Kind::Mixer => {
            let mut diags: Vec<Diag> = Vec::new();
            let graph = mixer_alone(namespace, decl, given, &mut diags);
            graph.map(|graph| of(&graph)).ok_or(Failure::Invalid(diags))
        }
        Kind::Model => Ok(of(&built(namespace, decl, given)?.graph)),
    }
}

fn header(kernels: bool) {
    if kernels {
        say!(
            "the largest difference from the recurrent form in f64, as a share of what bf16 operands allow"
        );
        say!(
            "{:<24} {:>10} {:>10} {:>10}  verdict",
            "recurrence",
            "forward",
            "gradients",
            "decode"
        );
    } else {
        let names = ["recurrence", "chunk", "its gradient", "slopes"];
        say!("{:<24} {:>12} {:>12} {:>12}  verdict", names[0], names[1], names[2], names[3]);
    }
}

fn on_processor(r: &Recurrence) -> Line {
    let judged = judge(r);
    let found = judged.found;
    let numbers = vec![
        ("forward", found.forward),
        ("backward", found.backward),
        ("slope", Some(found.slope)),
    ];
    Line::new(r, judged, numbers)
}

fn by_kernels(r: &Recurrence, machine: &Machine) -> Result<Line, Failure> {
    let kernels = match Kernels::new(r, machine) {
        Ok(kernels) => kernels,
        Err(Unready::Refused(refusal)) => {
            let why = Some(refusal.why);
            let name = r.name.clone();
            return Ok(Line { name, verdict: None, why, token: None, numbers: Vec::new() });
        }
        Err(Unready::Failed(failure)) => return Err(failure),
    };
    let judged = judge_kernels(r, &kernels)?;
    let found = judged.found;
    let of = |name, share| (name, Some(share));
    let numbers = vec![
        of("forward", found.forward),
        of("backward", found.backward),
        of("decode", found.decode),
    ];
    Ok(Line::new(r, judged, numbers))
}

impl Line {
    fn new<F>(
        r: &Recurrence,
        judged: Judged<F>,
        numbers: Vec<(&'static str, Option<f64>)>,
    ) -> Line {
        let Judged { verdict, why, token, .. } = judged;
        Line { name: r.name.clone(), verdict: Some(verdict), why, token, numbers }
    }

    fn say(&self, kernels: bool) {
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let Some(verdict) = self.verdict else {
            return say!("{:<24} no kernels{why}", self.name);
        };
        let text = |x: Option<f64>| match x {
            None => "-".to_string(),
            Some(x) if kernels => format!("{x:.3}"),
            Some(x) => format!("{x:.1e}"),
        };
        let width = if kernels { 10 } else { 12 };
        let cells: Vec<String> =
            self.numbers.iter().map(|(_, x)| format!("{:>width$}", text(*x))).collect();
        say!("{:<24} {}  {}{why}", self.name, cells.join(" "), verdict.name());
    }

    fn in_json(&self) -> Value {
        let verdict = self.verdict.map_or("no_kernels", Verdict::name);
        let mut line = json!({ "name": self.name, "verdict": verdict, "why": self.why });
        if let (Value::Object(fields), Some(token)) = (&mut line, self.token) {
            fields.insert("token".into(), json!(token));
        }
        if let Value::Object(fields) = &mut line {
            fields.extend(self.numbers.iter().map(|(name, x)| ((*name).to_string(), json!(x))));
        }
        line
    }

    /// The exit status that it asks for by itself.
    fn status(&self) -> Option<u8> {
        self.verdict.map(|verdict| match verdict {
            Verdict::Ok | Verdict::NoDerivative | Verdict::IllConditioned => 0,
            Verdict::NotFinite => 3,
            Verdict::Acausal | Verdict::Wrong => 7,
        })
    }
}

/// The worst verdict decides.
fn outcome(lines: &[Line]) -> Result<(), Failure> {
    let of = |verdict: Verdict| -> Vec<&Line> {
        lines.iter().filter(|line| line.verdict == Some(verdict)).collect()
    };
    let names = |lines: &[&Line]| {
        lines.iter().map(|line| format!("`{}`", line.name)).collect::<Vec<_>>().join(", ")
    };
    for verdict in [Verdict::NoDerivative, Verdict::IllConditioned] {
        for line in of(verdict) {
            tell!("warning: `{}`: {}", line.name, line.why.as_deref().unwrap_or_default());
        }
    }
    let mistakes = [of(Verdict::Wrong), of(Verdict::Acausal)].concat();
    if !mistakes.is_empty() {
        let names = names(&mistakes);
        return Err(Failure::Verification(format!(
            "what lrc makes of {names} is not what the text says: this is a mistake of lrc"
        )));
    }
    let endless: Vec<Diag> = of(Verdict::NotFinite)
        .into_iter()
        .map(|line| {
            let why = line.why.as_deref().unwrap_or_default();
            let message = format!("`{}` is {why}, on inputs that keep its promises", line.name);
            Diag::global("E0308", message).help(
                "promise what keeps its values within the range of f32: `in x : scalar in (-1, 1)`",
            )
        })
        .collect();
    if endless.is_empty() { Ok(()) } else { Err(Failure::Invalid(endless)) }
}
