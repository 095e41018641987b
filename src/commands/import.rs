//! `lrc import`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use lrc_compiler::graph::Model;
use lrc_dsl::Sources;
use lrc_runtime::exchange::hf::{self, Compared, TOLERANCE};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::tell;

use crate::terminal::say;

/// Where models come from.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// From a folder that Hugging Face's transformers has written.
    Hf(ImportHf),
}

/// Arguments of `lrc import hf`.
#[derive(Debug, clap::Args)]
pub struct ImportHf {
    /// The folder, with config.json and model.safetensors or shards of it.
    pub folder: PathBuf,
    /// The run's folder, which is made.
    #[arg(long)]
    pub out: PathBuf,
    /// How the class is written as `.arch`, and where its weights have their places [default: the shipped map of the class].
    #[arg(long, value_name = "FILE.map")]
    pub map: Option<PathBuf>,
    /// Data that `lrc eval` measures the run on: a folder of `lrc data tokenize` with the model's tokenizer.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// How the logits are compared.
    #[command(flatten)]
    pub compare: Compare,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How logits are compared with those of the class in transformers.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// A Python that has transformers and torch: its class runs on the folder, and status 7 says that its logits differ.
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<PathBuf>,
    /// Fail where the logits were not compared.
    #[arg(long, requires = "python")]
    pub require_compare: bool,
}

impl Compare {
    /// Compares a folder, of our `own` making or not, with a model where a Python is named; gives what was found, or why nothing was.
    pub fn with(
        &self,
        folder: &Path,
        own: bool,
        model: &Model,
        params: &[Vec<f32>],
    ) -> Result<Result<Compared, String>, Failure> {
        let Some(python) = &self.python else {
            return Ok(Err("--python names no Python with transformers".into()));
        };
        match hf::against(python, folder, own, model, params) {
            Ok(compared) => Ok(Ok(compared)),
            Err(Failure::World(why)) if !self.require_compare => Ok(Err(why)),
            Err(failure) => Err(failure),
        }
    }
}

/// What a comparison came to, in words.
pub fn told(found: &Result<Compared, String>) -> String {
    match found {
        Ok(Compared { difference, largest }) => format!(
            "logits differ from the class's by at most {difference:.2e}, the largest being {largest:.3}"
        ),
        Err(why) => format!("NOT COMPARED with the class of transformers: {why}"),
    }
}

/// What a comparison came to, for scripts.
pub fn as_json(found: &Result<Compared, String>) -> serde_json::Value {
    match found {
        Ok(found @ Compared { difference, largest }) => serde_json::json!({
            "compared": if found.same() { "SAME" } else { "DIFFERENT" },
            "largest_difference": difference, "largest_logit": largest,
        }),
        Err(why) => serde_json::json!({ "compared": "NOT COMPARED", "why": why }),
    }
}

/// Refuses logits that differ.
pub fn same(found: &Result<Compared, String>) -> Result<(), Failure> {
    match found {
        Ok(found) if !found.same() => Err(Failure::Verification(format!(
            "the logits differ by {:.3e}, more than {TOLERANCE:.0e} of the largest, {:.3}: model and class do not compute the same",
            found.difference, found.largest
        ))),
        _ => Ok(()),
    }
}

/// `lrc import`
pub fn import(args: &Import, sources: &mut Sources) -> Result<(), Failure> {
    let Import::Hf(args) = args;
    let from = hf::Import {
        folder: &args.folder,
        run: &args.out,
        map: args.map.as_deref(),
        data: args.data.as_deref(),
    };
    let made = hf::import(&from, sources)?;
    let found = args.compare.with(&args.folder, false, &made.model, &made.params)?;
    let parameters: usize = made.params.iter().map(Vec::len).sum();
    if args.json {
        let json = serde_json::json!({
            "run": args.out, "class": made.class, "map": made.map, "parameters": parameters,
            "tensors": made.tensors, "taken_along": made.others, "logits": as_json(&found),
        });
        say!("{json}");
    } else {
        say!(
            "{} ({}.map): {} tensors, {} parameters, in {}",
            made.class,
            made.map,
            made.tensors,
            parameters,
            args.out.display()
        );
        if made.others > 0 {
            say!("{} more tensors are taken along as they are", made.others);
        }
        say!("{}", told(&found));
    }
    same(&found)?;
    tell!("go on with `lrc generate {}`, or train with `--from`", args.out.display());
    Ok(())
}
