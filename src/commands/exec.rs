//! `lrc exec`: one recurrence on the tensors of a file.

use std::path::PathBuf;

use lrc_dsl::Sources;
use lrc_dsl::ast::Kind;
use lrc_runtime::config::open::{declarations, find};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::tensors;
use lrc_runtime::recurrence::run::{Request, run_recurrence};
use lrc_runtime::tell;

use crate::args::{Device, Dtype, Form};
use crate::commands::declared::{form_kind, known, settings};
use crate::terminal;

/// Arguments of `lrc exec`.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// The `.arch` file.
    pub file: PathBuf,
    /// The recurrence.
    pub name: String,
    /// Tensors by declared names, sequence first.
    #[arg(long)]
    pub inputs: PathBuf,
    /// Where the results go.
    #[arg(long)]
    pub out: PathBuf,
    /// Also compute gradients, from the cotangents `d` + output name.
    #[arg(long)]
    pub backward: bool,
    /// Where to run.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Precision of vector inputs, outputs and cotangents.
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// How to run.
    #[arg(long, default_value = "auto")]
    pub form: Form,
    /// Tokens of a chunk.
    #[arg(long)]
    pub chunk: Option<usize>,
    /// Override a parameter: `--set scale=1`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

pub fn exec(args: &Exec, sources: &mut Sources) -> Result<(), Failure> {
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
