//! `lrc profile`: what kernels do and how long they would take on GPUs, without one.

use std::path::{Path, PathBuf};

use lrc_compiler::graph::{Model, Prepared};
use lrc_compiler::plan::target::GPUS;
use lrc_compiler::tile::size;
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Namespace, Sources};
use lrc_runtime::config::open::{Opened, declarations, open};
use lrc_runtime::device::Device;
use lrc_runtime::device::kernels::{Unready, without_kernels};
use lrc_runtime::device::sim::hardware::{HARDWARE, Hardware};
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::model::transforms::{Precision, Transforms};
use lrc_runtime::optim::{Class, Which, classes};
use lrc_runtime::profile::step::{self, Step, StepProfile};
use lrc_runtime::profile::{Profile as OfRecurrence, page, profile, text};
use lrc_runtime::recurrence::draw::Sizes;
use lrc_runtime::train::ready::{Data, ready};
use serde_json::{Value, json};

use crate::args::{Dtype, shape};
use crate::commands::declared::{built, chosen, elaborated, known, own, pairs, settings};
use crate::terminal::say;

/// Arguments of `lrc profile`.
#[derive(Debug, clap::Args)]
pub struct Profile {
    /// A `.arch` file, or a spec, whose training step is told.
    pub file: PathBuf,
    /// A recurrence or a model of the file [default: each of its recurrences; where it declares none, each of its models].
    pub name: Option<String>,
    /// Kinds of GPU: sm_80 is timed as an A100, sm_90a as an H100 [default: both].
    #[arg(long, value_name = "KINDS")]
    pub arch: Option<String>,
    /// Sequences, tokens of each, and heads; a model has its own heads [default: 4,4096,8; of a spec, its own].
    #[arg(long, value_name = "B,T,H", value_parser = shape)]
    pub shape: Option<Sizes>,
    /// Override a parameter or size, `--set dk=128`; of a spec, a setting: `--set model.layers=4`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How kernels of a recurrence hold its inputs, outputs and their gradients, and those of a model its parameters and what
    /// flows between its nodes; what has a promised range stays f32. A spec says it itself.
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// Of a model or spec, also print the steps of the kernels that take much of its training step.
    #[arg(long)]
    pub steps: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
    /// Also write a page with a picture.
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
}

/// Where nothing else is said.
const SHAPE: Sizes = Sizes { batch: 4, length: 4096, heads: 8 };
/// Bytes that AdamW remembers of a parameter: what a model is updated by where no spec says it.
const REMEMBERED: usize = 8;

/// What has been told.
#[derive(Default)]
struct Told {
    recurrences: Vec<OfRecurrence>,
    steps: Vec<StepProfile>,
}

/// `lrc profile`
pub fn run(args: &Profile, sources: &mut Sources) -> Result<(), Failure> {
    let hardware = kinds(args.arch.as_deref())?;
    if let Some(out) = &args.html {
        atomic::writable(out)?;
    }
    let mut told = Told::default();
    if args.file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        let (prepared, step) = of_spec(args, sources)?;
        told.step(args, &prepared, step, &hardware)?;
    } else {
        let namespace = declarations(&args.file, sources)?;
        let given = settings(&args.set)?;
        let decls = wanted(&namespace, args.name.as_deref(), &args.file)?;
        known(&given, decls.iter().copied())?;
        for decl in decls {
            let given = own(&given, decl);
            if decl.kind == Kind::Model {
                let model = built(&namespace, decl, &given)?;
                let Sizes { batch, length, .. } = args.shape.unwrap_or(SHAPE);
                let params = model.graph.params.iter().map(|param| size(&param.shape));
                let remembered = (REMEMBERED * params.sum::<usize>()) as f64;
                let step = Step { batch, length, parts: 1, remembered };
                told.step(args, &held(model, args.dtype)?, step, &hardware)?;
            } else {
                told.recurrence(args, decl, &given, &hardware)?;
            }
        }
    }
    if args.json {
        let profiles: Vec<Value> = told.recurrences.iter().map(text::document).collect();
        let steps: Vec<Value> = told.steps.iter().map(step::text::document).collect();
        let version = env!("CARGO_PKG_VERSION");
        say!("{}", json!({ "version": version, "profiles": profiles, "steps": steps }));
    } else {
        hardware.iter().for_each(|hardware| say!("{}", text::assumptions(hardware)));
    }
    if let Some(out) = &args.html {
        atomic::write(out, page::page(&told.recurrences, &told.steps).as_bytes())?;
    }
    Ok(())
}

impl Told {
    fn recurrence(
        &mut self,
        args: &Profile,
        decl: &Decl,
        given: &std::collections::BTreeMap<String, lrc_compiler::elaborate::Setting>,
        hardware: &[Hardware],
    ) -> Result<(), Failure> {
        let r = args.dtype.of(elaborated(decl, given)?);
        for hardware in hardware {
            let sizes = args.shape.unwrap_or(SHAPE);
            let made = profile(&r, sizes, *hardware).map_err(|why| match why {
                Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(&r, &refusal)]),
                Unready::Failed(failure) => failure,
            })?;
            if !args.json {
                say!("{}", text::text(&made));
            }
            self.recurrences.push(made);
        }
        Ok(())
    }

    fn step(
        &mut self,
        args: &Profile,
        prepared: &Prepared,
        step: Step,
        hardware: &[Hardware],
    ) -> Result<(), Failure> {
        for hardware in hardware {
            let made = step::step(prepared, step, *hardware)?;
            if !args.json {
                say!("{}", step::text::text(&made, args.steps));
            }
            self.steps.push(made);
        }
        Ok(())
    }
}

/// The named recurrence or model; else all recurrences of the file, or all its models where it has none.
fn wanted<'n>(
    namespace: &'n Namespace,
    name: Option<&str>,
    file: &Path,
) -> Result<Vec<&'n Decl>, Failure> {
    if let Some(name) = name {
        let wanted = |kind: &Kind| matches!(kind, Kind::Model | Kind::Recurrence);
        return match namespace.get(name).filter(|decl| wanted(&decl.kind)) {
            Some(decl) => Ok(vec![decl]),
            None => {
                let diag =
                    Diag::global("E0201", format!("there is no recurrence or model `{name}`"));
                let known = [Kind::Model, Kind::Recurrence].into_iter();
                let known = known.flat_map(|kind| namespace.names(kind));
                Err(Failure::Invalid(vec![diag.help_nearest(name, "there are", known)]))
            }
        };
    }
    for kind in [Kind::Recurrence, Kind::Model] {
        let decls = chosen(namespace, kind, None)?;
        if !decls.is_empty() {
            return Ok(decls);
        }
    }
    Err(Failure::Usage(format!("{} declares no recurrence and no model", file.display())))
}

/// A model whose matrices, and what flows between its nodes, are held so.
fn held(model: Model, dtype: Dtype) -> Result<Prepared, Failure> {
    let bf16 = dtype == Dtype::Bf16;
    let narrow = [Class::Matrices, Class::Embedding, Class::Head].into_iter().filter(|_| bf16);
    // A head that is the embedding has no parameter of its own.
    let there = classes(&model);
    let narrow = narrow.filter(|class| there.contains(class));
    let precision = narrow.map(|class| (Which::Class(class), Precision::Bf16)).collect();
    Transforms { precision, bf16_values: bf16, ..Transforms::default() }.prepare(model, 1, vec![])
}

/// The model of a spec, and its longest step.
fn of_spec(args: &Profile, sources: &mut Sources) -> Result<(Prepared, Step), Failure> {
    if args.name.is_some() || args.dtype != Dtype::F32 {
        let why = "a spec names its model, and its `precision` says how numbers are held: leave NAME and --dtype out";
        return Err(Failure::Usage(why.into()));
    }
    let Opened { spec, model, .. } = open(&args.file, &pairs(&args.set)?, sources)?;
    let made = ready(&spec, &model, Device::Sim, Data::Elsewhere)?;
    let own = made.longest_step(&spec);
    let [batch, length, parts] = args.shape.map_or(own, |s| [s.batch, s.length, 1]);
    let remembered = made.needs.optimizer;
    Ok((made.plan.prepared, Step { batch, length, parts, remembered }))
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
