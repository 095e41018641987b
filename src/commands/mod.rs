//! The commands, a file each.

mod acceptance;
mod bench;
mod check;
mod compile;
mod completions;
mod data;
mod declared;
mod diagnose;
mod doctor;
mod eval;
mod exec;
mod experiment;
mod explain;
mod export;
mod generate;
mod import;
mod launches;
mod library;
mod man;
mod mixer;
mod onnx;
mod params;
mod plan;
mod profile;
mod report;
mod search;
mod spec;
mod train;
mod trained;
mod tune;
mod verify;

use clap::{Parser, Subcommand};
use lrc_dsl::Sources;

use crate::terminal;

/// Write a sequence layer as mathematics; compile, verify and train it.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parse and check files; report every mistake at once.
    Check(check::Check),
    /// Say how each recurrence is understood and why, or what a diagnostic means.
    Explain(explain::Explain),
    /// Write the stages of compilation as readable files.
    Compile(compile::Compile),
    /// Compare the forms of each recurrence, and its gradients with differences.
    Verify(verify::Verify),
    /// Measure a trained run on unseen data.
    Eval(eval::Eval),
    /// Go on from a prompt with a trained run.
    Generate(generate::Generate),
    /// Time recurrences, and a training step, on this machine.
    Bench(bench::Bench),
    /// Say what this machine has.
    Doctor {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command.
    Man {
        /// The folder, which is made.
        #[arg(long)]
        out: std::path::PathBuf,
    },
    /// Print the fields of a spec: their values, defaults and meaning.
    Spec(spec::Spec),
    /// List or print the recurrences, mixers and models that are shipped inside the program.
    Library(library::Library),
    /// Count parameters, states and operations of a model.
    Params(params::Params),
    /// Say what kernels do and how long they would take on GPUs, without one.
    Profile(profile::Profile),
    /// Say what a training step takes on many GPUs: memory of each, what they send each other, seconds.
    Plan(plan::Plan),
    /// Find which choices are fastest, by a clock or by a model, and write them down.
    Tune(tune::Tune),
    /// Run one declared recurrence on the tensors of a file.
    Exec(exec::Exec),
    /// Train the model of a spec.
    Train(train::Train),
    /// Turn text into tokens, look at them, and see what a run will make of them.
    #[command(subcommand)]
    Data(data::Data),
    /// Measure a model before or behind its training: first gradients, stability, precision.
    #[command(subcommand)]
    Diagnose(diagnose::Diagnose),
    /// Compare runs on one page: tables with intervals over seeds, curves side by side. Each run's own report is written
    /// anew too.
    Report(report::Report),
    /// Train variations of a spec over several seeds; one table and one figure for all of them.
    Experiment(experiment::Experiment),
    /// Make a run of a model that another program has written.
    #[command(subcommand)]
    Import(import::Import),
    /// Write a run as another program reads it.
    #[command(subcommand)]
    Export(export::Export),
    /// Search a space of models and settings: many trials, chosen by what those before them showed.
    Search(search::Search),
}

/// Runs a command and gives the exit status.
pub fn run(args: Args) -> u8 {
    let mut sources = Sources::default();
    let result = match &args.command {
        Command::Check(args) => check::check(args, &mut sources),
        Command::Explain(args) => explain::explain(args, &mut sources),
        Command::Compile(args) => compile::compile(args, &mut sources),
        Command::Verify(args) => verify::verify(args, &mut sources),
        Command::Eval(args) => eval::eval(args, &mut sources),
        Command::Generate(args) => generate::generate(args, &mut sources),
        Command::Bench(args) => bench::bench(args, &mut sources),
        Command::Doctor { json } => doctor::doctor(*json),
        Command::Completions { shell } => completions::completions(*shell),
        Command::Man { out } => man::man(out),
        Command::Spec(args) => spec::spec(args),
        Command::Library(args) => library::library(args),
        Command::Params(args) => params::params(args, &mut sources),
        Command::Profile(args) => profile::run(args, &mut sources),
        Command::Plan(args) => plan::run(args, &mut sources),
        Command::Tune(args) => tune::run(args, &mut sources),
        Command::Exec(args) => exec::exec(args, &mut sources),
        Command::Train(args) => train::train(args, &mut sources),
        Command::Data(args) => data::data(args, &mut sources),
        Command::Diagnose(args) => diagnose::diagnose(args, &mut sources),
        Command::Report(args) => report::report(args),
        Command::Experiment(args) => experiment::experiment(args, &mut sources),
        Command::Import(args) => import::import(args, &mut sources),
        Command::Export(args) => export::export(args, &mut sources),
        Command::Search(args) => search::search(args, &mut sources),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => terminal::fail(&sources, &failure),
    }
}
