//! `lrc compile`: the stages of compilation as files, and what the compiler says of each kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use lrc_compiler::chunk::derive;
use lrc_compiler::chunk::gradient::gradient_program;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::emit::cuda;
use lrc_compiler::graph::backward::differentiate;
use lrc_compiler::graph::build;
use lrc_compiler::normal;
use lrc_compiler::normal::text::Shown;
use lrc_compiler::plan::target::{GPUS, Gpu};
use lrc_compiler::plan::{Family, Kernel};
use lrc_dsl::Sources;
use lrc_dsl::ast::Kind;
use lrc_runtime::atomic;
use lrc_runtime::device::cuda::nvrtc::Code;
use lrc_runtime::device::jit::{self, Built, Source};
use lrc_runtime::error::{Failure, at_path};
use lrc_runtime::execute::device::plans;
use lrc_runtime::spec::open::declarations;
use lrc_runtime::tell;

use super::recurrence::{SHOWN_CHUNK, chosen, elaborated};
use super::{known, own, settings};
use crate::args::Compile;
use crate::terminal::say;

/// What can be written.
const STAGES: [&str; 8] = ["normal", "chunk", "grad", "graph", "plan", "cuda", "ptx", "cubin"];

/// Those that are made of kernels.
const PLANNED: [&str; 4] = ["plan", "cuda", "ptx", "cubin"];

/// `lrc compile`
pub fn compile(args: &Compile, sources: &mut Sources) -> Result<(), Failure> {
    let given = settings(&args.set)?;
    let stages: Vec<&str> = args.emit.split(',').map(str::trim).collect();
    if let Some(other) = stages.iter().find(|stage| !STAGES.contains(stage)) {
        let known = STAGES.join(", ");
        return Err(Failure::Usage(format!("--emit {other}: choose from {known}")));
    }
    let gpus = gpus(&args.arch)?;
    std::fs::create_dir_all(&args.out).map_err(at_path("make", &args.out))?;
    let (mut written, mut kernels) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let read = args.files.iter().map(|file| declarations(file, sources));
    let namespaces = read.collect::<Result<Vec<_>, _>>()?;
    let all = namespaces.iter().flat_map(|n| n.own.iter().map(|name| &n.decls[name]));
    known(&given, all)?;
    for namespace in &namespaces {
        for decl in chosen(namespace, Kind::Recurrence, None)? {
            let r = elaborated(decl, &own(&given, decl))?;
            let texts = stage_texts(&r);
            for stage in stages.iter().filter(|stage| **stage != "graph") {
                let Some(text) = texts.get(stage) else { continue };
                written.push(emit(&args.out, &r.name, stage, text.as_bytes())?);
            }
            kernels.extend(compile_kernels(&r, &stages, &gpus, &args.out, &mut written)?);
        }
        for decl in chosen(namespace, Kind::Model, None)? {
            let mut diags = Vec::new();
            let mut model = build(namespace, decl, &own(&given, decl), &mut diags)
                .ok_or(Failure::Invalid(diags))?;
            differentiate(&mut model);
            if PLANNED.iter().any(|stage| stages.contains(stage)) {
                for gpu in &gpus {
                    let planned = plans(&model, *gpu)?;
                    let planned = planned.into_iter().map(|kernel| (kernel, gpu.arch)).collect();
                    kernels.extend(build_kernels(planned, &stages, &args.out, &mut written)?);
                }
            }
            if stages.contains(&"graph") {
                written.push(emit(
                    &args.out,
                    &model.name,
                    "graph",
                    model.graph.to_string().as_bytes(),
                )?);
            }
        }
    }
    if args.json {
        let hits = kernels.iter().flat_map(|(_, built)| built).filter(|b| b.cached).count();
        let kernels: Vec<serde_json::Value> = kernels.iter().map(in_json).collect();
        let seconds = start.elapsed().as_secs_f64();
        say!(
            "{}",
            serde_json::json!({
                "files": written, "kernels": kernels, "compile_seconds": seconds,
                "cache_hits": hits,
            })
        );
    } else {
        written.iter().for_each(|path| say!("{path}"));
        table(&kernels);
    }
    Ok(())
}

/// The text of each stage that the recurrence has.
fn stage_texts(r: &Recurrence) -> BTreeMap<&'static str, String> {
    let mut texts = BTreeMap::new();
    let normal = match normal::extract(r) {
        Ok(normal) => normal,
        Err(refusal) => {
            texts.insert("normal", format!("not in the normal form: {}\n", refusal.why));
            return texts;
        }
    };
    texts.insert("normal", Shown(&normal, r).to_string());
    if let Ok(chunk) = derive(r, &normal, SHOWN_CHUNK, false) {
        texts.insert("chunk", chunk.program.to_string());
        texts.insert("grad", gradient_program(r, &chunk).to_string());
    }
    texts
}

fn emit(folder: &Path, name: &str, stage: &str, text: &[u8]) -> Result<String, Failure> {
    let path = folder.join(format!("{name}.{stage}"));
    atomic::write(&path, text)?;
    Ok(path.display().to_string())
}

/// The kinds of GPU that a list names.
fn gpus(list: &str) -> Result<Vec<Gpu>, Failure> {
    list.split(',')
        .map(|arch| {
            Gpu::named(arch.trim()).ok_or_else(|| {
                let known: Vec<&str> = GPUS.iter().map(|gpu| gpu.arch).collect();
                let known = known.join(", ");
                Failure::Usage(format!("--arch {arch}: kernels are made for {known}"))
            })
        })
        .collect()
}

/// Plans and compiles a recurrence's kernels, and writes the wanted stages.
fn compile_kernels(
    r: &Recurrence,
    stages: &[&str],
    gpus: &[Gpu],
    folder: &Path,
    written: &mut Vec<String>,
) -> Result<Vec<(Kernel, Option<Built>)>, Failure> {
    let kernels_wanted = PLANNED.iter().any(|stage| stages.contains(stage));
    let Some(family) = Family::of(r).ok().filter(|_| kernels_wanted) else {
        return Ok(vec![]);
    };
    let mut kernels = Vec::new();
    for gpu in gpus {
        for pass in family.passes() {
            match family.kernel(r, pass, *gpu, None) {
                Ok(kernel) => kernels.push((kernel, gpu.arch)),
                Err(refusal) => {
                    let pass = pass.name();
                    tell!("warning: `{}` has no {pass} kernel: {}", r.name, refusal.why);
                }
            }
        }
    }
    build_kernels(kernels, stages, folder, written)
}

/// Compiles planned kernels and writes the wanted stages.
fn build_kernels(
    kernels: Vec<(Kernel, &str)>,
    stages: &[&str],
    folder: &Path,
    written: &mut Vec<String>,
) -> Result<Vec<(Kernel, Option<Built>)>, Failure> {
    let wants = |stage| stages.contains(&stage);
    for (kernel, arch) in &kernels {
        let name = format!("{}.{arch}", kernel.name);
        if wants("plan") {
            written.push(emit(folder, &name, "plan", kernel.to_string().as_bytes())?);
        }
        if wants("cuda") {
            written.push(emit(folder, &name, "cu", cuda(kernel).as_bytes())?);
        }
    }
    let mut built = vec![None; kernels.len()];
    for (stage, code) in [("ptx", Code::Ptx), ("cubin", Code::Cubin)] {
        if wants(stage) {
            let sources: Vec<Source> =
                kernels.iter().map(|(kernel, arch)| Source::of(kernel, arch)).collect();
            for (at, made) in jit::build(&sources, code)?.into_iter().enumerate() {
                let name = format!("{}.{}", made.name, made.arch);
                written.push(emit(folder, &name, stage, &made.code)?);
                built[at] = Some(made);
            }
        }
    }
    Ok(kernels.into_iter().map(|(kernel, _)| kernel).zip(built).collect())
}

fn in_json((kernel, built): &(Kernel, Option<Built>)) -> serde_json::Value {
    let built = built.as_ref();
    serde_json::json!({
        "name": kernel.name,
        "region": kernel.pass.name(),
        "arch": built.map(|b| &b.arch),
        "registers": built.map(|b| b.registers),
        "spill_bytes": built.map(|b| b.spill_bytes),
        "shared_bytes": kernel.shared,
        "working_bytes": kernel.working,
        "threads": kernel.threads,
        "chunk": kernel.chunk,
        "parts": kernel.parts,
        "cubin_bytes": built.map(|b| b.code.len()),
    })
}

/// What the compiler says of each kernel.
fn table(kernels: &[(Kernel, Option<Built>)]) {
    if kernels.is_empty() {
        return;
    }
    say!(
        "{:<36} {:<8} {:>5} {:>5} {:>7} {:>9} {:>6} {:>7} {:>8} {:>8}",
        "kernel",
        "arch",
        "chunk",
        "parts",
        "threads",
        "registers",
        "spills",
        "shared",
        "working",
        "bytes"
    );
    for (kernel, built) in kernels {
        let text = |get: fn(&Built) -> String| built.as_ref().map_or("-".to_string(), get);
        say!(
            "{:<36} {:<8} {:>5} {:>5} {:>7} {:>9} {:>6} {:>7} {:>8} {:>8}",
            kernel.name,
            text(|b| b.arch.clone()),
            kernel.chunk,
            kernel.parts,
            kernel.threads,
            text(|b| b.registers.to_string()),
            text(|b| b.spill_bytes.to_string()),
            kernel.shared,
            kernel.working,
            text(|b| b.code.len().to_string()),
        );
    }
}
