//! The commands, one function each.

mod bench;
mod compile;
mod data;
mod diagnose;
mod experiment;
mod machine;
mod mixer;
mod model;
mod recurrence;
mod run;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lrc_compiler::elaborate::{Setting, accepted};
use lrc_compiler::form::FormKind;
use lrc_compiler::graph::Prepared;
use lrc_compiler::plan::target::Gpu;
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::open::{declarations, find};
use lrc_runtime::device::{Device, kernels};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::tensors;
use lrc_runtime::recurrence::run::{Request, run_recurrence};
use lrc_runtime::tell;

use crate::args::{Args, Check, Command, Dtype, Exec, Form};
use crate::terminal;

/// Runs a command and gives the exit status.
pub fn run(args: Args) -> u8 {
    let mut sources = Sources::default();
    let result = match &args.command {
        Command::Check(args) => check(args, &mut sources),
        Command::Explain(args) => recurrence::explain(args, &mut sources),
        Command::Compile(args) => compile::compile(args, &mut sources),
        Command::Verify(args) => verify::verify(args, &mut sources),
        Command::Eval(args) => run::eval(args, &mut sources),
        Command::Generate(args) => run::generate(args, &mut sources),
        Command::Bench(args) => bench::bench(args, &mut sources),
        Command::Doctor { json } => machine::doctor(*json),
        Command::Completions { shell } => machine::completions(*shell),
        Command::Params(args) => model::params(args, &mut sources),
        Command::Exec(args) => exec_command(args, &mut sources),
        Command::Train(args) => model::train(args, &mut sources),
        Command::Data(args) => data::data(args, &mut sources),
        Command::Diagnose(args) => diagnose::diagnose(args, &mut sources),
        Command::Report(args) => experiment::report(args),
        Command::Experiment(args) => experiment::experiment(args, &mut sources),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => terminal::fail(&sources, &failure),
    }
}

/// `lrc check`: everything that is wrong with any of the files.
fn check(Check { files, device }: &Check, sources: &mut Sources) -> Result<(), Failure> {
    let (mut findings, mut failed) = (Vec::new(), None);
    for path in files {
        match check_one(path, (*device).into(), sources) {
            Ok(diags) | Err(Failure::Invalid(diags)) => findings.extend(diags),
            Err(failure) => {
                // The last failure is said by the caller.
                if let Some(before) = failed.replace(failure) {
                    terminal::fail(sources, &before);
                }
            }
        }
    }
    let invalid = findings.iter().any(Diag::is_error);
    match failed {
        None if invalid => Err(Failure::Invalid(findings)),
        failed => {
            terminal::show(sources, &findings);
            failed.map_or(Ok(()), Err)
        }
    }
}

fn check_one(path: &Path, device: Device, sources: &mut Sources) -> Result<Vec<Diag>, Failure> {
    if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return model::check_spec(path, device, sources);
    }
    let (namespace, mut diags) = lrc_dsl::load(path, LIBRARY, sources)
        .map_err(lrc_runtime::ground::error::at_path("read", path))?;
    lrc_compiler::check::check(&namespace, &mut diags);
    if let Some(gpu) = device.kind()
        && !diags.iter().any(Diag::is_error)
    {
        diags.extend(kernels_lack(&namespace, gpu)?);
    }
    Ok(diags)
}

/// Everything in a file that has no kernels, at its declared sizes.
fn kernels_lack(namespace: &Namespace, gpu: Gpu) -> Result<Vec<Diag>, Failure> {
    let given = BTreeMap::new();
    let mut lacking = Vec::new();
    for decl in recurrence::chosen(namespace, Kind::Recurrence, None)? {
        lacking.extend(kernels::lacks(&recurrence::elaborated(decl, &given)?, gpu));
    }
    for decl in recurrence::chosen(namespace, Kind::Model, None)? {
        let prepared = Prepared::plain(model::built(namespace, decl, &given)?);
        lacking.extend(lrc_runtime::model::device::lacks(&prepared, gpu));
    }
    Ok(lacking)
}

/// Reads `name=value` pairs.
fn settings(pairs: &[String]) -> Result<BTreeMap<String, Setting>, Failure> {
    pairs
        .iter()
        .map(|pair| {
            let parsed = pair
                .split_once('=')
                .and_then(|(name, value)| Some((name.trim().to_string(), Setting::parse(value)?)));
            parsed.ok_or_else(|| {
                Failure::Usage(format!(
                    "--set {pair}: expected NAME=VALUE with a number, true or false"
                ))
            })
        })
        .collect()
}

/// Refuses what none of the declarations takes.
fn known<'d>(
    given: &BTreeMap<String, Setting>,
    decls: impl IntoIterator<Item = &'d Decl>,
) -> Result<(), Failure> {
    let decls: Vec<&Decl> = decls.into_iter().collect();
    let all: BTreeSet<String> = decls.iter().flat_map(|decl| accepted(decl)).collect();
    let strangers = given.keys().filter(|name| !all.contains(*name));
    let diags: Vec<Diag> = strangers
        .map(|name| {
            let message = match &decls[..] {
                [one] => format!("`{}` has no parameter `{name}`", one.name.text),
                _ => format!("nothing here has a parameter `{name}`"),
            };
            let known = all.iter().map(String::as_str);
            Diag::global("E0216", message).help_nearest(name, "there are", known)
        })
        .collect();
    if diags.is_empty() { Ok(()) } else { Err(Failure::Invalid(diags)) }
}

/// Those of the settings that a declaration takes.
fn own(given: &BTreeMap<String, Setting>, decl: &Decl) -> BTreeMap<String, Setting> {
    let names = accepted(decl);
    let taken = given.iter().filter(|(name, _)| names.contains(name));
    taken.map(|(name, x)| (name.clone(), *x)).collect()
}

fn form_kind(form: Form) -> FormKind {
    match form {
        Form::Auto => FormKind::Auto,
        Form::Step => FormKind::Recurrent,
        Form::Chunk => FormKind::Chunk,
    }
}

fn exec_command(args: &Exec, sources: &mut Sources) -> Result<(), Failure> {
    if args.chunk == Some(0) {
        return Err(Failure::Usage("--chunk must be at least 1".into()));
    }
    let namespace = declarations(&args.file, sources)?;
    let decl = find(&namespace, Kind::Recurrence, &args.name)?;
    let given = settings(&args.set)?;
    known(&given, [decl])?;
    let request = Request {
        settings: given,
        backward: args.backward,
        form: form_kind(args.form),
        chunk: args.chunk,
        bf16: args.dtype == Dtype::Bf16,
        device: args.device.into(),
    };
    let inputs = tensors::read(&args.inputs)?;
    let done = run_recurrence(decl, &inputs, &request)?;
    terminal::show(sources, &done.warnings);
    tell!("{}", done.sizes);
    tensors::write(&args.out, &done.tensors)
}
