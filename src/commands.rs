//! The commands, one function each.

mod bench;
mod compile;
mod data;
mod diagnose;
mod experiment;
mod machine;
mod model;
mod recurrence;
mod run;

use std::collections::BTreeMap;
use std::path::Path;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::form::FormKind;
use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Sources};
use lrc_runtime::error::Failure;
use lrc_runtime::library::LIBRARY;
use lrc_runtime::spec::open::{declarations, find};
use lrc_runtime::{exec, tensors};

use crate::args::{Args, Command, Dtype, Exec, Form};
use crate::terminal;

/// Runs a command and gives the exit status.
pub fn run(args: Args) -> u8 {
    let mut sources = Sources::default();
    let result = match &args.command {
        Command::Check { file } => check(file, &mut sources),
        Command::Explain(args) => recurrence::explain(args, &mut sources),
        Command::Compile(args) => compile::compile(args, &mut sources),
        Command::Verify(args) => recurrence::verify(args, &mut sources),
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

fn check(path: &Path, sources: &mut Sources) -> Result<(), Failure> {
    if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return model::check_spec(path, sources);
    }
    let (namespace, mut diags) =
        lrc_dsl::load(path, LIBRARY, sources).map_err(lrc_runtime::error::at_path("read", path))?;
    lrc_compiler::check::check(&namespace, &mut diags);
    if diags.iter().any(Diag::is_error) {
        return Err(Failure::Invalid(diags));
    }
    terminal::show(sources, &diags);
    Ok(())
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

fn form_kind(form: Form) -> FormKind {
    match form {
        Form::Auto => FormKind::Auto,
        Form::Step => FormKind::Step,
        Form::Chunk => FormKind::Chunk,
    }
}

fn exec_command(args: &Exec, sources: &mut Sources) -> Result<(), Failure> {
    if args.chunk == Some(0) {
        return Err(Failure::Usage("--chunk must be at least 1".into()));
    }
    let namespace = declarations(&args.file, sources)?;
    let decl = find(&namespace, Kind::Recurrence, &args.name)?;
    let request = exec::Request {
        settings: settings(&args.set)?,
        backward: args.backward,
        form: form_kind(args.form),
        chunk: args.chunk,
        bf16: args.dtype == Dtype::Bf16,
        device: args.device.into(),
    };
    let inputs = tensors::read(&args.inputs)?;
    let outputs = exec::exec(decl, &inputs, &request)?;
    tensors::write(&args.out, &outputs)
}
