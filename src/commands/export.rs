//! `lrc export`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use lrc_dsl::Sources;
use lrc_runtime::config::{self, open::Opened};
use lrc_runtime::data::Task;
use lrc_runtime::exchange::hf::{self, Dtype};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::low_rank::merge;
use lrc_runtime::train::checkpoint;

use crate::commands::import::{Compare, as_json, same, told};
use crate::commands::onnx;
use crate::terminal::say;

/// What is written for whom.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// A folder that Hugging Face's transformers loads: of the class that a run was imported from, or with a modelling file of its own.
    Hf(ExportHf),
    /// A recurrence as a file of ONNX: its operation `LinearAttention` where that is what it is, else a scan over tokens.
    Onnx(onnx::Onnx),
}

/// Arguments of `lrc export hf`.
#[derive(Debug, clap::Args)]
pub struct ExportHf {
    /// A run's folder.
    pub run: PathBuf,
    /// The folder, which is made.
    #[arg(long)]
    pub out: PathBuf,
    /// Write a modelling file even where transformers has a class; always so where the run was not imported.
    #[arg(long)]
    pub own: bool,
    /// The type of all weights [default: as they came, f32 where the run was not imported].
    #[arg(long)]
    pub dtype: Option<Number>,
    /// Take the checkpoint after so many steps instead of the newest one.
    #[arg(long, value_name = "STEP")]
    pub from_step: Option<u64>,
    /// How the logits are compared.
    #[command(flatten)]
    pub compare: Compare,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Types of weights.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Number {
    /// 32 bits.
    F32,
    /// 16 bits with the exponents of f32.
    Bf16,
    /// 16 bits with more digits and fewer exponents.
    F16,
}

/// `lrc export`
pub fn export(args: &Export, sources: &mut Sources) -> Result<(), Failure> {
    match args {
        Export::Hf(args) => hf(args, sources),
        Export::Onnx(args) => onnx::export(args, sources),
    }
}

/// A run's model and its numbers without low-rank products: these are added into those that they stand beside.
fn merged(
    run: &Path,
    opened: Opened,
    mut params: Vec<Vec<f32>>,
    sources: &mut Sources,
) -> Result<(Opened, Vec<Vec<f32>>), Failure> {
    if opened.model.adapters.is_empty() {
        return Ok((opened, params));
    }
    merge(&opened.model, &mut params);
    let names = opened.model.graph.params.iter().map(|param| param.name.clone());
    let mut named: BTreeMap<String, Vec<f32>> = names.zip(params).collect();
    let plain = config::open::without_low_rank(run, sources)?;
    let own = plain.model.graph.params.iter();
    let params = own.map(|param| named.remove(&param.name).unwrap_or_default()).collect();
    Ok((plain, params))
}

fn hf(args: &ExportHf, sources: &mut Sources) -> Result<(), Failure> {
    let opened = config::open::of_run(&args.run, sources)?;
    let params = checkpoint::parameters(&args.run, args.from_step, &opened.model.graph.params)?;
    let (opened, params) = merged(&args.run, opened, params, sources)?;
    let model = &opened.model;
    let dtype = args.dtype.map(|number| match number {
        Number::F32 => Dtype::F32,
        Number::Bf16 => Dtype::BF16,
        Number::F16 => Dtype::F16,
    });
    let tokenizer = match &opened.spec.task {
        Task::Corpora(corpora) => corpora.tokenizer()?,
        _ => None,
    };
    let to = hf::Export { run: &args.run, folder: &args.out, dtype, tokenizer };
    let own = args.own || !hf::own::has_class(&args.run);
    let (tensors, speaks) = if own {
        let made = hf::own::export(&to, &opened, &params)?;
        (made.tensors, made.tokenizer)
    } else {
        (hf::export(&to, model, &params, sources)?, true)
    };
    let params = hf::rounded(params, dtype);
    let found = args.compare.with(&args.out, own, model, &params)?;
    if args.json {
        let json = serde_json::json!({
            "folder": args.out, "tensors": tensors, "own": own, "tokenizer": speaks, "logits": as_json(&found),
        });
        say!("{json}");
    } else {
        say!("{tensors} tensors in {}", args.out.display());
        if own {
            say!("modeling_lrc.py computes the model: load it with trust_remote_code=True");
        }
        if !speaks {
            say!("no tokenizer: the run's tokens stand for no text, or its data is gone");
        }
        say!("{}", told(&found));
    }
    same(&found)
}
