//! `lrc compile`: the stages of compilation as files, and what the compiler says of each kernel.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lrc_compiler::compile::{self, Artifact, Choice, Target};
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::graph::account::account;
use lrc_compiler::graph::{Model, Prepared};
use lrc_compiler::plan::target::{GPUS, Gpu};
use lrc_compiler::plan::{Kernel, Pass, Purpose, Schedule};
use lrc_compiler::strategy;
use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Sources};
use lrc_runtime::config::open::declarations;
use lrc_runtime::device::cuda::gpu::Gpu as Cuda;
use lrc_runtime::device::cuda::nvrtc::{Code, Nvrtc};
use lrc_runtime::device::jit::{self, Built, Source};
use lrc_runtime::device::kernels::{Unready, without_kernels};
use lrc_runtime::device::recorder::Text;
use lrc_runtime::ground::atomic::Folder;
use lrc_runtime::ground::error::{Failure, at_path};
use lrc_runtime::model::plans::plans;
use lrc_runtime::recurrence::draw::Sizes;
use lrc_runtime::recurrence::launches::launches;
use lrc_runtime::tell;
use serde_json::{Value, json};

use crate::args::{Dtype, shape};
use crate::commands::declared::{built, chosen, elaborated, known, own, settings};
use crate::commands::launches::Launches;
use crate::terminal::{say, show};

/// Arguments of `lrc compile`.
#[derive(Debug, clap::Args)]
pub struct Compile {
    /// The `.arch` files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Stages: normal, chunk, grad, graph, plan, cuda, ptx, cubin, launch [default: normal, chunk, grad,
    /// graph, and cubin where NVRTC is installed].
    #[arg(long, value_name = "STAGES")]
    pub emit: Option<String>,
    /// Kinds of GPU for which kernels are planned and compiled [default: that of the GPU here, else
    /// sm_80,sm_90a].
    #[arg(long, value_name = "KINDS")]
    pub arch: Option<String>,
    /// Sequences, tokens of each, and heads: what `launch` writes the launches of.
    #[arg(long, value_name = "B,T,H", value_parser = shape)]
    pub shape: Option<Sizes>,
    /// The folder of the files.
    #[arg(long, default_value = "compiled")]
    pub out: PathBuf,
    /// Override a parameter or size.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How kernels of a recurrence hold its inputs, outputs and their gradients; what has a promised range stays f32.
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// What can be written.
const STAGES: [&str; 9] =
    ["normal", "chunk", "grad", "graph", "plan", "cuda", "ptx", "cubin", "launch"];

/// Those that are made of kernels.
const PLANNED: [&str; 5] = ["plan", "cuda", "ptx", "cubin", "launch"];

/// What is written where nothing else is asked for; without NVRTC, all but the last.
const USUAL: [&str; 5] = ["normal", "chunk", "grad", "graph", "cubin"];

/// For which kinds of GPU, where there is none here.
const ARCHS: [&str; 2] = ["sm_80", "sm_90a"];

/// `lrc compile`
pub fn compile(args: &Compile, sources: &mut Sources) -> Result<(), Failure> {
    let given = settings(&args.set)?;
    let mut left_out = None;
    let stages = match &args.emit {
        Some(list) => stages(list)?,
        None => match Nvrtc::load() {
            Ok(_) => USUAL.to_vec(),
            Err(why) => {
                left_out = Some(why);
                USUAL[..USUAL.len() - 1].to_vec()
            }
        },
    };
    let shape = shaped(&stages, args.shape)?;
    let gpus = gpus(args.arch.as_deref())?;
    std::fs::create_dir_all(&args.out).map_err(at_path("make", &args.out))?;
    let start = Instant::now();
    let read = args.files.iter().map(|file| declarations(file, sources));
    let namespaces = read.collect::<Result<Vec<_>, _>>()?;
    let all = namespaces.iter().flat_map(|n| n.own.iter().map(|name| &n.decls[name]));
    known(&given, all)?;
    let mut work = Work::new(stages, gpus, shape, &args.out);
    for namespace in &namespaces {
        for decl in chosen(namespace, Kind::Recurrence, None)? {
            work.recurrence(&args.dtype.of(elaborated(decl, &own(&given, decl))?))?;
        }
        for decl in chosen(namespace, Kind::Model, None)? {
            work.model(built(namespace, decl, &own(&given, decl))?)?;
        }
    }
    work.write_launches()?;
    let Work { files, kernels, lacking, models, incomplete, stages, .. } = work;
    files.done()?;
    if args.json {
        say!("{}", document(&files.written, &kernels, &models, start.elapsed().as_secs_f64()));
    } else {
        files.written.iter().for_each(|path| say!("{path}"));
        table(&kernels);
    }
    if let Some(why) = left_out {
        tell!("kernels are left out: {why}");
    }
    // Who asked for kernels alone is not served by a warning.
    let planned = stages.iter().all(|stage| PLANNED.contains(stage));
    let asked = args.emit.is_some() && (files.written.is_empty() || planned && incomplete);
    if asked && lacking.iter().any(Diag::is_error) {
        return Err(Failure::Invalid(lacking));
    }
    show(sources, &lacking.into_iter().map(Diag::as_warning).collect::<Vec<_>>());
    Ok(())
}

/// The stages that a list names.
fn stages(list: &str) -> Result<Vec<&'static str>, Failure> {
    list.split(',')
        .map(|name| {
            let known = STAGES.into_iter().find(|stage| *stage == name.trim());
            known.ok_or_else(|| {
                let known = STAGES.join(", ");
                Failure::Usage(format!("--emit {name}: choose from {known}"))
            })
        })
        .collect()
}

/// The sizes of the calls whose launches are written, where they are wanted.
fn shaped(stages: &[&str], shape: Option<Sizes>) -> Result<Option<Sizes>, Failure> {
    let wants = |stage| stages.contains(&stage);
    let why = match (wants("launch"), wants("cubin"), shape) {
        (true, true, Some(_)) | (false, _, None) => return Ok(shape),
        (true, _, None) => "--emit launch: say of what sizes, as in `--shape 4,4096,8`",
        (true, false, _) => "--emit launch: launches name CUBINs, so write `--emit cubin,launch`",
        (false, _, Some(_)) => "--shape is of launches: write `--emit cubin,launch`",
    };
    Err(Failure::Usage(why.into()))
}

/// The kinds of GPU that a list names; without one, that of the GPU here, or the usual ones.
fn gpus(list: Option<&str>) -> Result<Vec<Gpu>, Failure> {
    let Some(list) = list else {
        let usual = || ARCHS.iter().filter_map(|arch| Gpu::named(arch)).collect();
        return Ok(Cuda::open().map_or_else(|_| usual(), |gpu| vec![gpu.kind]));
    };
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

/// A kernel, and what its compiler says of it.
struct Row {
    kernel: Kernel,
    pass: Pass,
    arch: &'static str,
    /// As PTX or machine code, whichever was made last.
    built: Option<(Code, Built)>,
}

/// What `--json` says of a model.
struct Summary {
    model: String,
    parameters: usize,
    nodes: usize,
    /// Kernels and dense products of a training step, as planned for the first kind of GPU; nothing
    /// where parts of the model have no kernels.
    launches: Option<usize>,
}

/// The stages of everything, as they come.
struct Work {
    stages: Vec<&'static str>,
    gpus: Vec<Gpu>,
    files: Files,
    kernels: Vec<Row>,
    lacking: Vec<Diag>,
    models: Vec<Summary>,
    /// Whether a model has no schedule as a whole.
    incomplete: bool,
    /// The sizes of the calls whose launches are written.
    shape: Option<Sizes>,
    launches: Launches,
}

impl Work {
    fn new(stages: Vec<&'static str>, gpus: Vec<Gpu>, shape: Option<Sizes>, folder: &Path) -> Work {
        let files = Files { folder: Folder::new(folder), written: vec![] };
        let (kernels, lacking, models) = (vec![], vec![], vec![]);
        let launches = Launches::default();
        let incomplete = false;
        Work { stages, gpus, files, kernels, lacking, models, incomplete, shape, launches }
    }

    fn wants(&self, stage: &str) -> bool {
        self.stages.contains(&stage)
    }

    /// Every kind of GPU may lack the same.
    fn lack(&mut self, diags: impl IntoIterator<Item = Diag>) {
        for diag in diags {
            if !self.lacking.iter().any(|known| known.message == diag.message) {
                self.lacking.push(diag);
            }
        }
    }

    fn wants_kernels(&self) -> bool {
        PLANNED.iter().any(|stage| self.wants(stage))
    }

    /// Stages of the processor, and of every kind of GPU: what trains, and what decodes.
    fn recurrence(&mut self, r: &Recurrence) -> Result<(), Failure> {
        let training = Choice::of(Purpose::Training);
        match compile::compile(r, Target::Processor, training) {
            Ok(artifact) => self.programs(r, &artifact, "cpu")?,
            Err(refusal) => self.lack([without_kernels(r, &refusal)]),
        }
        if !self.wants_kernels() {
            return Ok(());
        }
        let mut schedules = Vec::new();
        for gpu in self.gpus.clone() {
            let decode = strategy::of(r).decodes().then_some(Purpose::Decode);
            for purpose in [Purpose::Training].into_iter().chain(decode) {
                let choice = Choice::of(purpose);
                let artifact = match compile::compile(r, Target::Gpu(gpu), choice) {
                    Ok(artifact) => artifact,
                    Err(refusal) => {
                        self.lack([without_kernels(r, &refusal)]);
                        continue;
                    }
                };
                if purpose == Purpose::Training {
                    self.programs(r, &artifact, gpu.arch)?;
                }
                schedules.extend(artifact.schedules.into_iter().map(|s| (s, gpu.arch)));
            }
        }
        self.build(schedules, "")?;
        self.launches(r)
    }

    /// What calls of a recurrence start, and the CUBINs of it that are not written yet.
    fn launches(&mut self, r: &Recurrence) -> Result<(), Failure> {
        let Some(shape) = self.shape else { return Ok(()) };
        for gpu in self.gpus.clone() {
            let launched = match launches(r, shape, gpu) {
                Ok(launched) => launched,
                // Of which kernels there are none has been said.
                Err(Unready::Refused(_)) => continue,
                Err(Unready::Failed(why)) => return Err(why),
            };
            let new = self.launches.add(&r.name, gpu.arch, &launched);
            let source = |kernel: &Text| Source {
                name: kernel.name.clone(),
                text: kernel.text.clone(),
                arch: gpu.arch,
            };
            let sources: Vec<Source> = new.iter().map(|(_, kernel)| source(kernel)).collect();
            let built = jit::build(&sources, Code::Cubin)?;
            for ((name, _), made) in new.iter().zip(built) {
                if !self.files.has(name, "cubin") {
                    self.files.emit(name, "cubin", &made.code)?;
                }
            }
        }
        Ok(())
    }

    fn write_launches(&mut self) -> Result<(), Failure> {
        match self.shape {
            Some(_) => self.files.emit("launches", "json", self.launches.text().as_bytes()),
            None => Ok(()),
        }
    }

    /// Writes the programs of an artifact, as far as they are wanted.
    fn programs(&mut self, r: &Recurrence, made: &Artifact, target: &str) -> Result<(), Failure> {
        let name = format!("{}.{target}", r.name);
        if self.wants("normal") && target == "cpu" {
            self.files.emit(&r.name, "normal", made.normal_text().as_bytes())?;
        }
        for (stage, text) in [("chunk", made.chunk_text()), ("grad", made.grad_text())] {
            if self.wants(stage) && !text.is_empty() {
                self.files.emit(&name, stage, text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn model(&mut self, model: Model) -> Result<(), Failure> {
        if self.shape.is_some() {
            let name = model.name;
            return Err(Failure::Usage(format!(
                "--emit launch: `{name}` is a model, and only launches of recurrences are written"
            )));
        }
        let parameters = account(&model).parameters;
        let prepared = Prepared::plain(model);
        let (mut launches, mut schedules) = (None, Vec::new());
        if self.wants_kernels() {
            for gpu in self.gpus.clone() {
                let planned = plans(&prepared, gpu);
                launches = launches.or(planned.launches);
                self.incomplete |= !planned.lacking.is_empty();
                if self.wants("plan") && planned.lacking.is_empty() {
                    let name = format!("{}.{}", prepared.model.name, gpu.arch);
                    self.files.emit(&name, "plan", planned.order.as_bytes())?;
                }
                schedules
                    .extend(planned.schedules.into_iter().map(|schedule| (schedule, gpu.arch)));
                self.lack(planned.lacking);
            }
        }
        let model = prepared.model;
        self.build(schedules, &format!("{}.", model.name))?;
        if self.wants("graph") {
            let text = model.graph.to_string();
            self.files.emit(&model.name, "graph", text.as_bytes())?;
        }
        let nodes = model.graph.nodes.node_count();
        self.models.push(Summary { model: model.name, parameters, nodes, launches });
        Ok(())
    }

    /// Compiles the kernels of schedules and writes the wanted stages; `before` stands before names.
    fn build(
        &mut self,
        schedules: Vec<(Schedule, &'static str)>,
        before: &str,
    ) -> Result<(), Failure> {
        let named = |name: &str, arch: &str| format!("{before}{name}.{arch}");
        let first = self.kernels.len();
        let mut sources = Vec::new();
        for (schedule, arch) in schedules {
            if self.wants("plan") {
                let name = named(&schedule.name, arch);
                self.files.emit(&name, "plan", schedule.to_string().as_bytes())?;
            }
            for kernel in &schedule.kernels {
                let source = Source::of(&schedule, kernel, arch);
                if self.wants("cuda") {
                    self.files.emit(&named(&kernel.name, arch), "cu", source.text.as_bytes())?;
                }
                sources.push(source);
                let (kernel, pass) = (kernel.clone(), schedule.pass);
                self.kernels.push(Row { kernel, pass, arch, built: None });
            }
        }
        for (stage, code) in [("ptx", Code::Ptx), ("cubin", Code::Cubin)] {
            if self.wants(stage) {
                for (at, made) in jit::build(&sources, code)?.into_iter().enumerate() {
                    self.files.emit(&named(&made.name, &made.arch), stage, &made.code)?;
                    self.kernels[first + at].built = Some((code, made));
                }
            }
        }
        Ok(())
    }
}

/// The files that are written.
struct Files {
    folder: Folder,
    written: Vec<String>,
}

impl Files {
    fn has(&self, name: &str, stage: &str) -> bool {
        let path = self.folder.path(&format!("{name}.{stage}"));
        self.written.contains(&path.display().to_string())
    }

    fn emit(&mut self, name: &str, stage: &str, text: &[u8]) -> Result<(), Failure> {
        let name = format!("{name}.{stage}");
        let path = self.folder.path(&name).display().to_string();
        if self.written.contains(&path) {
            return Err(Failure::Usage(format!(
                "two declarations of one name would both be {path}: compile them one by one, each with its own --out"
            )));
        }
        self.folder.write(&name, text)?;
        self.written.push(path);
        Ok(())
    }

    fn done(&self) -> Result<(), Failure> {
        self.folder.done()
    }
}

/// What `--json` prints. A file of one model says its own at the top.
fn document(files: &[String], kernels: &[Row], models: &[Summary], seconds: f64) -> Value {
    let only = if let [only] = models { Some(only) } else { None };
    let built = || kernels.iter().filter_map(|row| row.built.as_ref());
    let graph =
        |model: &Summary| json!({ "nodes": model.nodes, "launches_per_step": model.launches });
    let all: Vec<Value> = models
        .iter()
        .map(|m| json!({ "model": m.model, "parameters": m.parameters, "graph": graph(m) }))
        .collect();
    json!({
        "model": only.map(|m| &m.model),
        "parameters": only.map(|m| m.parameters),
        "graph": only.map(graph),
        "models": all,
        "files": files,
        "kernels": kernels.iter().map(in_json).collect::<Vec<Value>>(),
        "compile_seconds": seconds,
        "cache_hits": built().filter(|(_, built)| built.cached).count(),
    })
}

fn in_json(Row { kernel, pass, arch, built }: &Row) -> Value {
    // Only an assembler knows of registers.
    let cubin = built.as_ref().filter(|(code, _)| *code == Code::Cubin).map(|(_, built)| built);
    json!({
        "name": kernel.name,
        "region": pass.name(),
        "arch": arch,
        "registers": cubin.map(|b| b.registers),
        "spill_bytes": cubin.map(|b| b.spill_bytes),
        "shared_bytes": kernel.shared,
        "working_bytes": kernel.workspace,
        "threads": kernel.threads,
        "chunk": kernel.chunk,
        "parts": kernel.parts,
        "cubin_bytes": cubin.map(|b| b.code.len()),
    })
}

/// What the compiler says of each kernel.
fn table(kernels: &[Row]) {
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
    for Row { kernel, arch, built, .. } in kernels {
        let text = |get: fn(&Built) -> usize, only: Option<Code>| {
            let known = built.as_ref().filter(|(code, _)| only.is_none_or(|only| *code == only));
            known.map_or("-".to_string(), |(_, built)| get(built).to_string())
        };
        say!(
            "{:<36} {:<8} {:>5} {:>5} {:>7} {:>9} {:>6} {:>7} {:>8} {:>8}",
            kernel.name,
            arch,
            kernel.chunk,
            kernel.parts,
            kernel.threads,
            text(|b| b.registers, Some(Code::Cubin)),
            text(|b| b.spill_bytes, Some(Code::Cubin)),
            kernel.shared,
            kernel.workspace,
            text(|b| b.code.len(), None),
        );
    }
}
