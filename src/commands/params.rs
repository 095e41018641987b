//! `lrc params`: parameters, states and operations of a model.

use std::path::PathBuf;

use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::{Account, account};
use lrc_dsl::Sources;
use lrc_runtime::config::open::{choose, declarations};
use lrc_runtime::data::LONGEST;
use lrc_runtime::ground::error::Failure;

use crate::args::count;
use crate::commands::declared::{built, settings};
use crate::terminal::say;

/// Arguments of `lrc params`.
#[derive(Debug, clap::Args)]
pub struct Params {
    /// The `.arch` file.
    pub file: PathBuf,
    /// The model; needed if the file has several.
    pub name: Option<String>,
    /// Override a parameter of the model.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Sequence length for operations and caches.
    #[arg(long, default_value_t = 2048, value_parser = count(LONGEST))]
    pub context: usize,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `lrc params`
pub fn params(args: &Params, sources: &mut Sources) -> Result<(), Failure> {
    let namespace = declarations(&args.file, sources)?;
    let decl = choose(&namespace, args.name.as_deref(), &args.file)?;
    let model = built(&namespace, decl, &settings(&args.set)?)?;
    let account = account(&model);
    if args.json {
        say!("{}", json(&model, &account, args.context));
    } else {
        print(&model, &account, args.context);
    }
    Ok(())
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

fn print(model: &Model, account: &Account, context: usize) {
    say!("{}: {} parameters ({})", model.name, account.parameters, short(account.parameters));
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
