//! Commands about whole models.

use std::io::IsTerminal;
use std::path::Path;

use lrc_compiler::graph::account::{Account, account};
use lrc_compiler::graph::{Model, build};
use lrc_dsl::ast::Decl;
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, choose, declarations, open};
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ops::dense;
use lrc_runtime::schedule::Amount;
use lrc_runtime::train::checkpoint::Checkpoint;
use lrc_runtime::train::estimate::{Estimate, advice};
use lrc_runtime::train::ready::{Data, Ready, ready};
use lrc_runtime::{tell, train};

use super::data::note_missing;
use super::settings;
use crate::args::{Params, Train};
use crate::terminal::{self, say};

/// A model at the given parameters.
pub fn built(
    namespace: &Namespace,
    decl: &Decl,
    given: &std::collections::BTreeMap<String, lrc_compiler::elaborate::Setting>,
) -> Result<Model, Failure> {
    let mut diags = Vec::new();
    build(namespace, decl, given, &mut diags).ok_or(Failure::Invalid(diags))
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

/// `lrc train`
pub fn train(args: &Train, sources: &mut Sources) -> Result<(), Failure> {
    let mut overrides = pairs(&args.set)?;
    if let (Some(from), Some(text)) = (&args.from, &args.decay_now) {
        let amount = Amount::parse(text).ok_or_else(|| {
            Failure::Usage(format!("--decay-now {text}: expected an amount, such as `30B tokens`"))
        })?;
        overrides.extend(train::decay_now(from, amount)?);
    }
    let Opened { spec, model, arch, warnings } = open(&args.spec, &overrides, sources)?;
    terminal::show(sources, &warnings);
    let account = account(&model);
    tell!(
        "{}: {} parameters, task {}, {} sequences of {} tokens a step",
        model.name,
        account.parameters,
        spec.task.name(),
        spec.shaping.batch.size.sequences(spec.task.length()),
        spec.task.length()
    );
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&spec.name));
    let inject: Option<Vec<(u64, train::Fault)>> =
        args.inject.iter().map(|text| train::Fault::parse(text)).collect();
    let inject = inject.ok_or_else(|| {
        Failure::Usage("--inject: expected nan@STEP, spike@STEP or growth@STEP".into())
    })?;
    let options = train::Options {
        folder: folder.clone(),
        resume: args.resume,
        from_step: args.from_step,
        allow_changes: args.allow_changes,
        from: args
            .from
            .clone()
            .map(|checkpoint| train::From { checkpoint, goes_on: args.decay_now.is_some() }),
        device: args.device.into(),
        progress: std::io::stderr().is_terminal(),
        quiet: false,
        stop_after: args.stop_after,
        inject,
    };
    if args.dry_run {
        return dry_run(&spec, &model, &options);
    }
    let summary = train::train(&spec, model, &arch, &options)?;
    if args.json {
        let text = serde_json::to_string(&summary).map_err(|e| Failure::World(e.to_string()))?;
        say!("{text}");
    }
    if let (Some(kernels), Some(products)) = (summary.kernels_per_step, summary.products_per_step) {
        tell!("{kernels} kernels and {products} dense products a step");
    }
    tell!(
        "{} steps, {} tokens in {:.1} s ({:.0} tokens/s); report: {}",
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.tokens_per_second,
        folder.join("report.html").display()
    );
    Ok(())
}

/// A time in the unit that suits it.
fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.2} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Layers that are listed.
const LAYERS: usize = 12;

/// Checks what training checks, and says what a run would need.
fn dry_run(spec: &Spec, model: &Model, options: &train::Options) -> Result<(), Failure> {
    note_missing(spec);
    let Ready { course, needs, .. } = ready(spec, model, options.device, Data::Elsewhere)?;
    if let Some(train::From { checkpoint, .. }) = &options.from {
        let checkpoint = Checkpoint::open(checkpoint)?;
        checkpoint.state()?;
        checkpoint.model(&model.graph.params)?;
    }
    for line in model.layout.iter().take(LAYERS) {
        say!("{line}");
    }
    if model.layout.len() > LAYERS {
        say!("and {} layers more", model.layout.len() - LAYERS);
    }
    if let (Some(steps), Some(tokens)) = (needs.steps, needs.tokens) {
        say!("{steps} steps, {tokens:.3e} tokens");
    }
    let [sequences, length] = needs.first;
    say!(
        "first step: {sequences} sequences of {length} tokens; longest steps in {} parts of {} tokens",
        needs.parts,
        needs.part
    );
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    let parts = [
        ("parameters", needs.parameters),
        ("gradients", needs.gradients),
        ("optimiser", needs.optimizer),
        ("activations", needs.activations),
    ];
    let said: Vec<String> = parts.iter().map(|(n, x)| format!("{n} {:.2}", gib(*x))).collect();
    let whole: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    say!(
        "memory in GiB, in f32, without what recurrences keep: {}; {:.2} in all",
        said.join(", "),
        gib(whole)
    );
    let rate = dense::speed(model.width);
    let seconds = needs.flops / rate;
    let run =
        needs.steps.map_or(String::new(), |n| format!(", the run {}", lasting(seconds * n as f64)));
    say!(
        "operations: {:.3e} a step; dense products run at {:.0} GFLOP/s here, so a step takes {} at best{run}",
        needs.flops,
        rate / 1e9,
        lasting(seconds)
    );
    note_memory(&needs, options.device);
    for advice in advice(spec, model, &course) {
        tell!("advice: {advice}");
    }
    Ok(())
}

/// Says that this machine has too little memory. A run may be planned here and trained elsewhere.
fn note_memory(needs: &Estimate, device: Device) {
    if let Err(failure) = needs.fits(device) {
        tell!("note: it cannot be trained on this machine: {failure}");
    }
}

/// Reads `path=value` pairs.
pub fn pairs(set: &[String]) -> Result<Vec<(String, String)>, Failure> {
    set.iter()
        .map(|pair| match pair.split_once('=') {
            Some((path, value)) => Ok((path.trim().to_string(), value.trim().to_string())),
            None => Err(Failure::Usage(format!("--set {pair}: expected PATH=VALUE"))),
        })
        .collect()
}

/// `lrc check SPEC.yaml`: what is to be said of the spec's model.
pub fn check_spec(
    path: &Path,
    device: Device,
    sources: &mut Sources,
) -> Result<Vec<Diag>, Failure> {
    let Opened { spec, model, warnings, .. } = open(path, &[], sources)?;
    note_missing(&spec);
    match ready(&spec, &model, device, Data::Elsewhere) {
        Ok(Ready { needs, .. }) => {
            note_memory(&needs, device);
            Ok(warnings)
        }
        Err(failure) => {
            terminal::show(sources, &warnings);
            Err(failure)
        }
    }
}
