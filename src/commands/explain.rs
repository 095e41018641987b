//! `lrc explain`: how a recurrence, mixer or model is understood, or what a diagnostic means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lrc_compiler::compile::{Choice, Target, compile};
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::elaborate::{Recurrence, Setting};
use lrc_compiler::graph::account;
use lrc_compiler::normal::Refusal;
use lrc_compiler::plan::Purpose;
use lrc_compiler::strategy;
use lrc_compiler::strategy::transition::{Mixing, transition};
use lrc_compiler::tile::{Op, Program};
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Namespace, Sources};
use lrc_runtime::config::open::declarations;
use lrc_runtime::ground::error::Failure;
use serde_json::{Value, json};

use crate::commands::declared::{built, elaborated, known, named, own, settings};
use crate::commands::mixer;
use crate::terminal::say;

/// Arguments of `lrc explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// A `.arch` file, or a code such as `E0203`.
    pub file: PathBuf,
    /// A recurrence, mixer or model of the file.
    pub name: Option<String>,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// One JSON document of the recurrences on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `lrc explain`
pub fn explain(args: &Explain, sources: &mut Sources) -> Result<(), Failure> {
    let what = args.file.to_string_lossy();
    if let Some((title, text)) = lrc_dsl::codes::explain(&what) {
        say!("{what}: {title}\n\n{text}");
        return Ok(());
    }
    if is_code(&what) && !args.file.exists() {
        let codes = lrc_dsl::codes::CODES.iter().map(|row| row.0);
        let near = lrc_dsl::nearest(&what.to_uppercase(), codes);
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Failure::Usage(format!("no message has the code {what}{near}")));
    }
    let namespace = declarations(&args.file, sources)?;
    let given = settings(&args.set)?;
    let decls = match args.name.as_deref() {
        Some(name) => vec![named(&namespace, name)?],
        None => namespace.own.iter().map(|name| &namespace.decls[name]).collect(),
    };
    if decls.is_empty() {
        let names: Vec<&str> = namespace.decls.keys().map(String::as_str).collect();
        say!("{what} declares nothing itself; what it uses declares: {}", names.join(", "));
    }
    known(&given, decls.iter().copied())?;
    if args.json {
        return explain_in_json(&decls, &given, sources);
    }
    for kind in [Kind::Recurrence, Kind::Mixer, Kind::Model] {
        for decl in decls.iter().filter(|decl| decl.kind == kind) {
            let given = own(&given, decl);
            match kind {
                Kind::Recurrence => explain_recurrence(&elaborated(decl, &given)?, decl, sources),
                Kind::Mixer => mixer::explain(&namespace, decl, &given, sources)?,
                Kind::Model => explain_model(&namespace, decl, &given)?,
            }
        }
    }
    Ok(())
}

/// One document of all recurrences: how each is computed, and why not faster.
fn explain_in_json(
    decls: &[&Decl],
    given: &BTreeMap<String, Setting>,
    sources: &Sources,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for decl in decls.iter().filter(|decl| decl.kind == Kind::Recurrence) {
        let r = elaborated(decl, &own(given, decl))?;
        all.push(in_json(&r, sources));
    }
    say!("{}", json!({ "recurrences": all }));
    Ok(())
}

/// What `--json` says of a recurrence.
fn in_json(r: &Recurrence, sources: &Sources) -> Value {
    let strategy = strategy::of(r);
    let hindrance = strategy.hindrance();
    json!({
        "name": r.name,
        "strategy": strategy.name(),
        "why": hindrance.map(|refusal| &refusal.why),
        "at": hindrance.and_then(|refusal| refusal.span).map(|span| sources.place(span).to_string()),
        "state": r.state_size(),
    })
}

/// Whether a word looks like a code: a letter and digits.
fn is_code(word: &str) -> bool {
    let mut letters = word.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
    first && word.len() > 1 && letters.all(|c| c.is_ascii_digit())
}

fn explain_model(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
) -> Result<(), Failure> {
    let model = built(namespace, decl, given)?;
    say!("model {}: {} sub-layers", model.name, model.layout.len());
    for (at, line) in model.layout.iter().enumerate() {
        say!("  {at:>4}  {line}");
    }
    Ok(())
}

/// Says how a recurrence is understood.
pub fn explain_recurrence(r: &Recurrence, decl: &Decl, sources: &Sources) {
    say!("recurrence {}", r.name);
    decl.docs.iter().for_each(|line| say!("  {line}"));
    let cost = account::alone(r);
    let sizes: Vec<String> = r.numbers.iter().map(|(name, x)| format!("{name} = {x}")).collect();
    say!("  at {}", sizes.join(", "));
    say!(
        "  state {} numbers per head; {} nominal and {} executed FLOPs per token and head, {} per token of the past",
        cost.state,
        cost.flops,
        cost.executed,
        cost.flops_per_past
    );
    for derivation in &r.derivations {
        let said = |span| sources.slice(span).split_whitespace().collect::<Vec<_>>().join(" ");
        let (objective, by) = (said(derivation.objective), said(derivation.by));
        say!("derivative of {objective} by {by}");
        derivation.formula.iter().for_each(|line| say!("  {line}"));
    }
    let strategy = strategy::of(r);
    say!("strategy: {} ({})", strategy.name(), strategy.meaning());
    if let Some(why) = strategy.hindrance() {
        explain_hindrance(why, sources);
    }
    let choice = Choice::of(Purpose::Training);
    if let Ok(artifact) = compile(r, Target::Processor, choice) {
        // The strategy has been said, and what stands in the way of others.
        if strategy.hindrance().is_none() {
            artifact.normal_text().lines().skip(1).for_each(|line| say!("  {line}"));
        }
        if let Some(block) = artifact.blocks.first() {
            say!("block of {} tokens: {}", block.chunk.tokens, census(&block.chunk.program));
        }
    }
    if let Some(text) = over_processes(r) {
        say!("over several processes: {text}");
    }
    say!("");
}

/// What a process says of its segment of a sequence where several hold one; nothing where tokens do not depend on each other.
fn over_processes(r: &Recurrence) -> Option<String> {
    if !r.is_local() {
        return Some("rows of earlier segments are fetched from those who hold them".into());
    }
    if r.states.is_empty() {
        return None;
    }
    let found = match transition(r) {
        Ok(found) => found,
        Err(why) => return Some(format!("states go from segment to segment: {}", why.why)),
    };
    let one = |(slot, mixing): (&Slot, &Mixing)| match mixing {
        Mixing::Entries => format!("a factor per entry of {}", slot.name),
        Mixing::Axis(_) => format!("a matrix {0} x {0} for {1}", slot.shape[0], slot.name),
    };
    let all: Vec<String> = found.recurrence.states.iter().zip(&found.mixing).map(one).collect();
    Some(format!("a segment says {} per head, and what it writes", all.join(", ")))
}

fn explain_hindrance(refusal: &Refusal, sources: &Sources) {
    let place = refusal.span.map(|span| {
        let text: String = sources.slice(span).split_whitespace().collect::<Vec<_>>().join(" ");
        format!(", at {}: `{text}`", sources.place(span))
    });
    say!("  no faster strategy: {}{}", refusal.why, place.unwrap_or_default());
}

/// How many of each kind of operation that costs something.
fn census(program: &Program) -> String {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &program.nodes {
        let kind = match &node.op {
            Op::MulSum(axes) if !axes.is_empty() => "matrix products",
            Op::Gram(_) | Op::Apply(_) | Op::ApplyT(_) => "decay-weighted products",
            Op::Solve(_) => "triangular solves",
            Op::Scan(_) => "scans",
            Op::DecayMask(_) | Op::CumulativeProduct(_) | Op::ReverseCumulativeProduct => {
                "products of decays"
            }
            Op::Unary(_) | Op::Binary(_) | Op::MulSum(_) | Op::Select => "elementwise",
            _ => continue,
        };
        *count.entry(kind).or_default() += 1;
    }
    count.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
}
