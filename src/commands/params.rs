//! `lrc params`: parameters, states and operations of a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::{Account, account};
use lrc_dsl::ast::{Decl, ExprKind};
use lrc_dsl::{Namespace, Sources};
use lrc_runtime::config::open::{choose, declarations, of_run, open};
use lrc_runtime::data::LONGEST;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::search::measure::{ALL, Costs, Measure, quantity};
use lrc_runtime::search::solve::{Solved, solve};
use lrc_runtime::tell;

use crate::args::count;
use crate::commands::declared::{built, pairs, settings};
use crate::terminal::say;

/// Arguments of `lrc params`.
#[derive(Debug, clap::Args)]
pub struct Params {
    /// The `.arch` file; or a spec or a run's folder, which say besides what is trained.
    pub file: PathBuf,
    /// The model; needed if the file has several.
    pub name: Option<String>,
    /// Override a parameter of the model, or a value of a spec.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Sequence length for operations and caches.
    #[arg(long, default_value_t = 2048, value_parser = count(LONGEST))]
    pub context: usize,
    /// Solve for a size: a measure (`params`, `state`, `state_bytes`, `flops`) and the number that it is to come nearest.
    #[arg(long, value_name = "MEASURE=NUMBER", requires = "by", value_parser = wanted)]
    pub r#match: Option<Wanted>,
    /// The parameter of the model that is solved for, a whole number.
    #[arg(long, value_name = "NAME", requires = "match")]
    pub by: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// A measure and the number that it is to come near.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    measure: Measure,
    to: f64,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    let (name, number) =
        text.split_once('=').ok_or("expected MEASURE=NUMBER, as in params=400M")?;
    let measure = Measure::named(name.trim()).filter(|of| of.of_model()).ok_or_else(|| {
        let known: Vec<&str> =
            ALL.iter().filter(|(_, of)| of.of_model()).map(|(name, _)| *name).collect();
        format!("there is no measure `{name}`; there are {}", known.join(", "))
    })?;
    let to = quantity(number).ok_or_else(|| format!("`{number}` is no number such as 399.7M"))?;
    Ok(Wanted { measure, to })
}

/// The size that was solved for.
struct Found {
    name: String,
    wanted: Wanted,
    solved: Solved,
}

/// `lrc params`
pub fn params(args: &Params, sources: &mut Sources) -> Result<(), Failure> {
    if args.file.is_dir() || args.file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return of_spec(args, sources);
    }
    let namespace = declarations(&args.file, sources)?;
    let decl = choose(&namespace, args.name.as_deref(), &args.file)?;
    let mut given = settings(&args.set)?;
    let found = match (&args.r#match, &args.by) {
        (Some(wanted), Some(name)) => {
            Some(matched(args, &namespace, decl, &mut given, (*wanted, name))?)
        }
        _ => None,
    };
    let model = built(&namespace, decl, &given)?;
    let account = account(&model);
    if args.json {
        let mut json = json(&model, &account, args.context);
        json["trained"] = account.parameters.into();
        if let Some(Found { name, wanted, solved }) = &found {
            json["match"] = serde_json::json!({
                "measure": wanted.measure.name(), "to": wanted.to,
                "by": name, "size": solved.size, "value": solved.value,
            });
        }
        say!("{json}");
        return Ok(());
    }
    if let Some(Found { name, wanted: Wanted { measure, to }, solved }) = &found {
        let off = 100.0 * (solved.value - to) / to.max(1.0);
        say!(
            "{name} = {}: {} {} ({off:+.3} % off {to})",
            solved.size,
            measure.name(),
            solved.value
        );
    }
    print(&model, &account, args.context, account.parameters);
    Ok(())
}

/// Of the model of a spec or of a run, with what is trained of it.
fn of_spec(args: &Params, sources: &mut Sources) -> Result<(), Failure> {
    let run = args.file.is_dir();
    if args.name.is_some() || args.r#match.is_some() || (run && !args.set.is_empty()) {
        let why = "a spec and a run name their model and its sizes: leave NAME and --match out, for a run --set too";
        return Err(Failure::Usage(why.into()));
    }
    let opened = match run {
        true => of_run(&args.file, sources)?,
        false => open(&args.file, &pairs(&args.set)?, sources)?,
    };
    let (model, trained) = (&opened.model, opened.spec.optimizer.trained(&opened.model)?);
    let account = account(model);
    if args.json {
        let mut json = json(model, &account, args.context);
        json["trained"] = trained.into();
        say!("{json}");
    } else {
        print(model, &account, args.context, trained);
    }
    Ok(())
}

/// How far off, as a share, a measure may lie that was solved for without a word about it.
const FAR: f64 = 0.05;

/// Solves for a parameter, and sets it.
fn matched(
    args: &Params,
    namespace: &Namespace,
    decl: &Decl,
    given: &mut BTreeMap<String, Setting>,
    (wanted, name): (Wanted, &str),
) -> Result<Found, Failure> {
    let declared = decl.settings.iter().find(|(known, _)| known.text == name);
    let start = match (given.get(name), declared.map(|(_, value)| &value.kind)) {
        (Some(Setting::Number(x)), _) | (None, Some(ExprKind::Number(x))) if *x >= 1.0 => *x as u64,
        // Names that the model does not have are told as for `--set`.
        (_, None) => 1,
        _ => 16,
    };
    let mut measure = |size: u64| {
        let mut given = given.clone();
        given.insert(name.to_string(), Setting::Number(size as f64));
        let model = built(namespace, decl, &given)?;
        Ok(Costs::of(&model, args.context).get(wanted.measure))
    };
    let what = format!("--match {} --by {name}", wanted.measure.name());
    let solved = solve(wanted.to, start, &mut measure).map_err(|failure| match failure {
        Failure::Usage(why) => Failure::Usage(format!("{what}: {why}")),
        other => other,
    })?;
    given.insert(name.to_string(), Setting::Number(solved.size as f64));
    if (solved.value - wanted.to).abs() > FAR * wanted.to {
        let (measure, off) =
            (wanted.measure.name(), 100.0 * (solved.value / wanted.to - 1.0).abs());
        tell!(
            "warning: no `{name}` brings `{measure}` near {}: at the nearest, {}, it is {}, {off:.0} % off",
            wanted.to,
            solved.size,
            solved.value
        );
    }
    Ok(Found { name: name.to_string(), wanted, solved })
}

fn json(model: &Model, account: &Account, context: usize) -> serde_json::Value {
    let states: Vec<serde_json::Value> = account
        .recurrences
        .iter()
        .map(|(place, cost)| {
            let past = cost.past_flops(context);
            serde_json::json!({
                "layer": place, "state": cost.state_at(context),
                "cache_per_token": cost.cache_per_past, "window": cost.window,
                "flops_per_token": cost.flops.saturating_add(past),
                "executed_flops_per_token": cost.executed.saturating_add(past),
            })
        })
        .collect();
    serde_json::json!({
        "model": model.name,
        "parameters": account.parameters,
        "groups": account.groups,
        "states": states,
        "context": context,
        "flops_per_token": account.flops_per_token(context),
        "executed_flops_per_token": account.executed_per_token(context),
        "state_numbers": account.state(context),
        "parameter_bytes": account.parameters * 4,
    })
}

fn print(model: &Model, account: &Account, context: usize, trained: usize) {
    let share = 100.0 * trained as f64 / account.parameters.max(1) as f64;
    let trained = match trained < account.parameters {
        true => format!(", {trained} of them trained ({share:.2} %)"),
        false => String::new(),
    };
    say!(
        "{}: {} parameters ({}){trained}",
        model.name,
        account.parameters,
        short(account.parameters)
    );
    for (group, count) in &account.groups {
        say!("  {group:<28} {count:>14}");
    }
    say!("states, numbers per sequence (context {context})");
    for (place, cost) in &account.recurrences {
        let more = match (cost.cache_per_past, cost.window) {
            (0, _) => String::new(),
            (each, None) => format!("  (a cache of {each} per token)"),
            (each, Some(window)) => format!("  (a cache of {each} for each of {window} tokens)"),
        };
        say!("  {place:<28} {:>14}{more}", cost.state_at(context));
    }
    say!("nominal FLOPs per token, forward: {}", account.flops_per_token(context));
    say!("executed FLOPs per token, forward: {}", account.executed_per_token(context));
    say!("parameters in f32: {:.1} MiB", account.parameters as f64 * 4.0 / 1048576.0);
}

fn short(count: usize) -> String {
    if count >= 1_000_000_000 {
        format!("{:.3}B", count as f64 / 1e9)
    } else {
        format!("{:.1}M", count as f64 / 1e6)
    }
}
