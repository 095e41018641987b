//! `lrc plan`: memory, traffic and time of a training step on many GPUs, before there are any.

use std::path::PathBuf;

use lrc_compiler::graph::Prepared;
use lrc_compiler::graph::account::account;
use lrc_compiler::tile::{Number, size};
use lrc_dsl::Sources;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::profile::step::{self, Part, Step};
use lrc_runtime::scale::fabric::{FABRICS, Fabric};
use lrc_runtime::scale::memory::{Held, Zero};
use lrc_runtime::scale::text::{self, Timed, assumptions, document};
use lrc_runtime::scale::{Computed, Job, Layout, Local, Plan as OfStep, Refused, plan};
use lrc_runtime::tell;
use lrc_runtime::train::estimate::{Estimate, longest, of_backward, operations};
use lrc_runtime::train::ready::{Data, ready};

use crate::args::{count, share};
use crate::commands::declared::pairs;
use crate::terminal::say;

/// Arguments of `lrc plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The spec (YAML) whose training is planned.
    pub spec: PathBuf,
    /// Numbers of GPUs.
    #[arg(long, value_delimiter = ',', default_value = "8,64,512,4096", value_parser = count(MOST))]
    pub gpus: Vec<usize>,
    /// The kind of GPU: sm_80 is an A100, sm_90a an H100.
    #[arg(long, default_value = "sm_90a")]
    pub arch: String,
    /// GPUs of a node.
    #[arg(long, default_value_t = 8, value_parser = count(1024))]
    pub per_node: usize,
    /// Stages of ZeRO: 0 shares nothing, 1 what the optimiser remembers, 2 gradients too.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub zero: Vec<u8>,
    /// GPUs that share each sequence.
    #[arg(long, default_value_t = 1, value_parser = count(MOST))]
    pub sequence_parallel: usize,
    /// Take a GPU to compute at this share of its peak, as in `40%`, instead of counting its kernels (which needs NVRTC, and
    /// takes a minute or more for each number of sequences).
    #[arg(long, value_parser = share)]
    pub utilisation: Option<f64>,
    /// Override a setting, `--set batch=1024`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// The most GPUs that are planned for.
const MOST: usize = 1 << 20;

/// `lrc plan`
pub fn run(args: &Plan, sources: &mut Sources) -> Result<(), Failure> {
    let fabric = Fabric::of(&args.arch).ok_or_else(|| {
        let known = FABRICS.map(|fabric| fabric.hardware.arch).join(", ");
        Failure::Usage(format!(
            "--arch {}: nothing is stated of it; choose from {known}",
            args.arch
        ))
    })?;
    let Opened { spec, model, .. } = open(&args.spec, &pairs(&args.set)?, sources)?;
    let made = ready(&spec, &model, Device::Sim, Data::Elsewhere)?;
    let length = longest(&spec, &made.run_schedule);
    let micro = spec.micro.map_or(made.needs.whole, |tokens| tokens as usize);
    let job = job(&made.plan.prepared, &made.needs, length, micro);
    let plans = plans(args, &job, &made.plan.prepared, made.needs.optimizer, &fabric)?;
    let timed = args.utilisation.map_or(Timed::Counted, Timed::Share);
    if args.json {
        say!("{}", document(&job, &plans, &fabric, args.per_node, timed));
        return Ok(());
    }
    let numbers = account(&model);
    say!(
        "{}: {} parameters, {} sequences of {length} tokens a step, {:.4e} operations a token, forward and backward",
        model.name,
        numbers.parameters,
        job.sequences,
        job.operations
    );
    say!("\n{}", text::table(&plans, &fabric));
    assumptions(&fabric, args.per_node, timed).iter().for_each(|line| say!("* {line}"));
    Ok(())
}

/// A step of the spec as one process would do it.
fn job(prepared: &Prepared, needs: &Estimate, length: usize, micro: usize) -> Job {
    let numbers = account(&prepared.model);
    let params = &prepared.model.graph.params;
    let read = params.iter().map(|p| (size(&p.shape) * p.number.bytes()) as f64).sum();
    let f32 = |count: usize| (count * Number::F32.bytes()) as f64;
    let costs = || numbers.recurrences.iter().map(|(_, cost)| cost);
    Job {
        held: Held {
            parameters: read,
            gradients: needs.gradients / if needs.parts > 1 { 2.0 } else { 1.0 },
            // What is updated, where it is not what is read.
            optimiser: needs.optimizer + needs.parameters - read,
        },
        sequences: needs.whole.div_ceil(length),
        length,
        micro,
        activations: needs.activations / needs.part as f64,
        logits: needs.logits,
        operations: operations(&numbers, of_backward(prepared).as_ref(), |account| {
            account.flops_per_token(length)
        }),
        states: f32(costs().map(|cost| cost.state).sum()),
        gathered: f32(costs().map(|cost| cost.cache_per_past).sum()),
        steps: needs.steps,
    }
}

/// Every layout that is asked for; one that cannot be is told, and is an error where no other can.
fn plans(
    args: &Plan,
    job: &Job,
    prepared: &Prepared,
    remembered: f64,
    fabric: &Fabric,
) -> Result<Vec<OfStep>, Failure> {
    let mut plans = Vec::new();
    let mut known: Vec<(Local, Computed)> = Vec::new();
    let mut refusals: Vec<String> = Vec::new();
    for gpus in &args.gpus {
        for zero in &args.zero {
            let zero = Zero::STAGES[usize::from(*zero)];
            let shared = args.sequence_parallel;
            let layout = Layout { gpus: *gpus, per_node: args.per_node, zero, shared };
            let local = match job.local(&layout) {
                Ok(local) => local,
                Err(refused) => {
                    refusals.push(said(job, &layout, &refused));
                    break;
                }
            };
            let computed = match (known.iter().find(|(of, _)| *of == local), args.utilisation) {
                (Some((_, computed)), _) => *computed,
                (None, Some(share)) => Computed::by_share(job, &local, fabric.hardware.peak, share),
                (None, None) => counted(prepared, &local, remembered, fabric)?,
            };
            known.push((local, computed));
            plans.push(plan(job, layout, local, fabric, computed));
        }
    }
    if plans.is_empty() {
        return Err(Failure::Usage(refusals.join("\n")));
    }
    refusals.iter().for_each(|why| tell!("{why}"));
    Ok(plans)
}

/// What the kernels of a step take that one GPU does.
fn counted(
    prepared: &Prepared,
    local: &Local,
    remembered: f64,
    fabric: &Fabric,
) -> Result<Computed, Failure> {
    let Local { batch, length, parts } = *local;
    let told = step::step(prepared, Step { batch, length, parts, remembered }, fabric.hardware)?;
    let of = |part: Part| told.seconds(|work| work.part == part);
    Ok(Computed {
        passes: of(Part::Forward) + of(Part::Backward),
        beside: of(Part::Backward) / parts as f64,
        update: of(Part::Update),
    })
}

/// Why a layout cannot be, and what to type.
fn said(job: &Job, layout: &Layout, refused: &Refused) -> String {
    let Layout { gpus, shared, .. } = layout;
    match refused {
        Refused::Idle { sequences, groups } => format!(
            "{gpus} GPUs: a step of {sequences} sequences has none for {} of {groups}: make `batch` larger, or let GPUs share sequences, `--sequence-parallel {}`",
            groups - sequences,
            shared * groups.div_ceil(*sequences).next_power_of_two()
        ),
        Refused::Uneven => format!(
            "{gpus} GPUs, {shared} to a sequence of {} tokens: that does not divide evenly; choose a `--sequence-parallel` that divides both",
            job.length
        ),
    }
}
