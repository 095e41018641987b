//! `lrc check`: everything that is wrong with files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrc_compiler::graph::Prepared;
use lrc_compiler::plan::target::Gpu;
use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::device::{Device, kernels};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::schedule::lengths::Lengths;
use lrc_runtime::tell;
use lrc_runtime::train::ready::{Data, Ready, missing, ready};

use crate::commands::declared::{built, chosen, elaborated};
use crate::commands::train;
use crate::{args, terminal};

/// Arguments of `lrc check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// `.arch` files and specs.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where it is to run: what that lacks for a spec, or has no kernels for, is a mistake too.
    #[arg(long, default_value = "auto")]
    pub device: args::Device,
}

/// `lrc check`: everything that is wrong with any of the files.
pub fn check(Check { files, device }: &Check, sources: &mut Sources) -> Result<(), Failure> {
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
        return check_spec(path, device, sources);
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
    for decl in chosen(namespace, Kind::Recurrence, None)? {
        lacking.extend(kernels::lacks(&elaborated(decl, &given)?, gpu));
    }
    for decl in chosen(namespace, Kind::Model, None)? {
        let prepared = Prepared::plain(built(namespace, decl, &given)?);
        lacking.extend(lrc_compiler::graph::kernels::plan(&prepared, gpu).lacking);
    }
    Ok(lacking)
}

/// `lrc check SPEC.yaml`: what is to be said of the spec's model.
fn check_spec(path: &Path, device: Device, sources: &mut Sources) -> Result<Vec<Diag>, Failure> {
    let Opened { spec, model, warnings, .. } = open(path, &[], sources)?;
    note_missing(&spec);
    match ready(&spec, &model, device, Data::Elsewhere) {
        Ok(Ready { needs, .. }) => {
            train::note_memory(&needs, device);
            Ok(warnings)
        }
        Err(failure) => {
            terminal::show(sources, &warnings);
            Err(failure)
        }
    }
}

/// Says that data is not there, and what that means.
pub fn note_missing(spec: &Spec) {
    if let Some(path) = missing(&spec.task) {
        let assumed = match spec.shaping.lengths {
            Lengths::Buckets(_) => ", and equally much of every length is assumed",
            _ => "",
        };
        tell!("note: {} is not there{assumed}", path.display());
    }
}
