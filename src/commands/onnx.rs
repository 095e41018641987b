//! `lrc export onnx`: a recurrence as a file of ONNX.

use std::path::PathBuf;

use lrc_compiler::elaborate::Setting;
use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Sources};
use lrc_runtime::config::open::{declarations, find};
use lrc_runtime::exchange::onnx::{Written, write};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;

use crate::args::count;
use crate::commands::declared::{elaborated, known, settings};
use crate::terminal::say;

/// Arguments of `lrc export onnx`.
#[derive(Debug, clap::Args)]
pub struct Onnx {
    /// The `.arch` file.
    pub file: PathBuf,
    /// The recurrence.
    pub name: String,
    /// The file that is written.
    #[arg(long)]
    pub out: PathBuf,
    /// Heads.
    #[arg(long, default_value_t = 1, value_parser = count(65_536))]
    pub heads: usize,
    /// A size or a parameter: `--set dk=128`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A scan over tokens, also where there is an operation: for programs that do not know it (opset 27).
    #[arg(long)]
    pub scan: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `lrc export onnx`
pub fn export(args: &Onnx, sources: &mut Sources) -> Result<(), Failure> {
    let namespace = declarations(&args.file, sources)?;
    let decl = find(&namespace, Kind::Recurrence, &args.name)?;
    let mut given = settings(&args.set)?;
    known(&given, [decl])?;
    given.insert("heads".into(), Setting::Number(args.heads as f64));
    let r = elaborated(decl, &given)?;
    let (bytes, written) = write(&r, args.heads, args.scan).map_err(|refusal| {
        let message = format!("`{}` cannot be written for ONNX", r.name);
        let diag = match refusal.span {
            Some(span) => Diag::error("E0502", span, message).label(refusal.why),
            None => Diag::global("E0502", format!("{message}: {}", refusal.why)),
        };
        Failure::Invalid(vec![diag])
    })?;
    atomic::write(&args.out, &bytes)?;
    let (operation, scale) = match &written {
        Written::Operation(known) => (Some(known.rule), Some(known.scale)),
        Written::Scan => (None, None),
    };
    if args.json {
        let file = args.out.display().to_string();
        let (bytes, opset) = (bytes.len(), if operation.is_some() { 27 } else { 21 });
        let form = operation.map_or("Scan", |_| "LinearAttention");
        say!(
            "{}",
            serde_json::json!({ "file": file, "bytes": bytes, "form": form, "rule": operation, "scale": scale, "opset": opset })
        );
        return Ok(());
    }
    let what = match operation {
        Some(rule) => format!("LinearAttention, rule `{rule}` (opset 27)"),
        None => "Scan over tokens (opset 21)".to_string(),
    };
    say!("{}: {what}, {} bytes", args.out.display(), bytes.len());
    Ok(())
}
