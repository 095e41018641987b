//! `lrc profile`: what kernels do and how long they would take on GPUs, without one.

use std::path::PathBuf;

use lrc_compiler::plan::target::GPUS;
use lrc_dsl::Sources;
use lrc_dsl::ast::Kind;
use lrc_runtime::config::open::declarations;
use lrc_runtime::device::kernels::{Unready, without_kernels};
use lrc_runtime::device::sim::hardware::{HARDWARE, Hardware};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::profile::{page, profile, text};
use lrc_runtime::recurrence::draw::Sizes;
use serde_json::{Value, json};

use crate::args::{Dtype, shape};
use crate::commands::declared::{chosen, elaborated, known, own, settings};
use crate::terminal::say;

/// Arguments of `lrc profile`.
#[derive(Debug, clap::Args)]
pub struct Profile {
    /// A `.arch` file.
    pub file: PathBuf,
    /// A recurrence of the file [default: each of them].
    pub name: Option<String>,
    /// Kinds of GPU: sm_80 is timed as an A100, sm_90a as an H100 [default: both].
    #[arg(long, value_name = "KINDS")]
    pub arch: Option<String>,
    /// Sequences, tokens of each, and heads.
    #[arg(long, value_name = "B,T,H", default_value = "4,4096,8", value_parser = shape)]
    pub shape: Sizes,
    /// Override a parameter or size: `--set dk=128`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How kernels of a recurrence hold its inputs, outputs and their gradients; what has a promised range stays f32.
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// Also write a page with a picture.
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
}

/// `lrc profile`
pub fn run(args: &Profile, sources: &mut Sources) -> Result<(), Failure> {
    let hardware = kinds(args.arch.as_deref())?;
    let namespace = declarations(&args.file, sources)?;
    let given = settings(&args.set)?;
    let decls = chosen(&namespace, Kind::Recurrence, args.name.as_deref())?;
    known(&given, decls.iter().copied())?;
    if decls.is_empty() {
        let file = args.file.display();
        return Err(Failure::Usage(format!("{file} declares no recurrence")));
    }
    let mut all = Vec::new();
    for decl in decls {
        let r = args.dtype.of(elaborated(decl, &own(&given, decl))?);
        for hardware in &hardware {
            let made = profile(&r, args.shape, *hardware).map_err(|why| match why {
                Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(&r, &refusal)]),
                Unready::Failed(failure) => failure,
            })?;
            if !args.json {
                say!("{}", text::text(&made));
            }
            all.push(made);
        }
    }
    if args.json {
        let profiles: Vec<Value> = all.iter().map(text::document).collect();
        say!("{}", json!({ "version": env!("CARGO_PKG_VERSION"), "profiles": profiles }));
    } else {
        hardware.iter().for_each(|hardware| say!("{}", text::assumptions(hardware)));
    }
    if let Some(out) = &args.html {
        atomic::write(out, page::page(&all).as_bytes())?;
    }
    Ok(())
}

/// The kinds of GPU that a list names.
fn kinds(list: Option<&str>) -> Result<Vec<Hardware>, Failure> {
    let Some(list) = list else { return Ok(HARDWARE.to_vec()) };
    let known = || HARDWARE.map(|hardware| hardware.arch).join(", ");
    let one = |arch: &str| {
        Hardware::of(arch.trim()).ok_or_else(|| {
            let made = GPUS.iter().any(|gpu| gpu.arch == arch.trim());
            let why = if made { "it has no table of costs" } else { "no kernels are made for it" };
            Failure::Usage(format!("--arch {arch}: {why}; choose from {}", known()))
        })
    };
    list.split(',').map(one).collect()
}
