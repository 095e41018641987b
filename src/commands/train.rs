//! `lrc train`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lrc_compiler::graph::Model;
use lrc_compiler::graph::account::account;
use lrc_dsl::Sources;
use lrc_runtime::config::Spec;
use lrc_runtime::config::open::{Opened, open};
use lrc_runtime::device::Device;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::terminal::silence;
use lrc_runtime::ops::dense;
use lrc_runtime::parallel::{self, Launched, Place};
use lrc_runtime::report::record::Summary;
use lrc_runtime::schedule::Amount;
use lrc_runtime::train::checkpoint::Checkpoint;
use lrc_runtime::train::estimate::{Estimate, advice};
use lrc_runtime::train::ready::{Conditions, Data, Ready, ready_under};
use lrc_runtime::{tell, train as runtime};

use crate::args;
use crate::commands::check::note_missing;
use crate::commands::declared::pairs;
use crate::terminal::{self, say};

/// Arguments of `lrc train`.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// The spec.
    pub spec: PathBuf,
    /// Override a value of the spec: `--set optimizer.adamw.lr=1e-3`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// The run's folder [default: runs/NAME].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on from the newest checkpoint of the folder, or begin where there is none.
    #[arg(long)]
    pub resume: bool,
    /// With --resume: go on from the checkpoint after so many steps instead of the newest one; newer ones are removed.
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub from_step: Option<u64>,
    /// With --resume: go on also where data, batch, seed or model are not those the run was begun with. The folder keeps
    /// the new ones, and the run goes on as if it had been of them from its first step on.
    #[arg(long, requires = "resume")]
    pub allow_changes: bool,
    /// Begin with the parameters of another run: its folder, or a checkpoint such as runs/NAME/checkpoints/step-00002000.
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
    /// With --from: go on where that run stood, and let the learning rate decay over this amount (`2B tokens`, `500
    /// steps`) to the end.
    #[arg(long, value_name = "AMOUNT", requires = "from")]
    pub decay_now: Option<String>,
    /// Where to run.
    #[arg(long, default_value = "auto")]
    pub device: args::Device,
    /// Check what training checks before its first step, print what would be trained and what it takes, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Try out the spec's policies: put a fault into the run, `nan@100`, `spike@100` or `growth@100`, counted in
    /// computed gradients.
    #[arg(long, value_name = "FAULT@STEP", value_delimiter = ',')]
    pub inject: Vec<String>,
    /// Save and stop after this many steps, as a signal would.
    #[arg(long, hide = true)]
    pub stop_after: Option<u64>,
}

/// How long others than the first of several processes wait with what went wrong: where it went wrong for the first one too,
/// that one says so for all, and the launcher ends them.
const PATIENCE: Duration = Duration::from_secs(2);

/// `lrc train`, by one process or by several that a launcher has started.
pub fn train(args: &Train, sources: &mut Sources) -> Result<(), Failure> {
    let Some(launched) = parallel::launched()? else { return train_in(args, sources, None) };
    let Place { rank, size, .. } = launched.place;
    silence(rank > 0);
    let done = train_in(args, sources, Some(launched));
    match done {
        Ok(()) | Err(Failure::Stopped(_)) => done,
        Err(failure) if rank == 0 => Err(failure),
        Err(failure) => {
            std::thread::sleep(PATIENCE);
            silence(false);
            Err(failure.of(&format!("process {rank} of {size}")))
        }
    }
}

/// Trains, together with the other processes where there are some.
fn run(
    spec: &Spec,
    model: Model,
    arch: &str,
    options: &mut runtime::Options,
    launched: Option<Launched>,
) -> Result<Summary, Failure> {
    let group = launched.map(|launched| launched.meet(&options.folder)).transpose()?;
    options.group = group.map(Arc::new);
    let done = runtime::train(spec, model, arch, options);
    if let (Err(failure), Some(group)) = (&done, &options.group)
        && !matches!(failure, Failure::Stopped(_))
    {
        // Its end would wait for processes that know nothing of this.
        std::mem::forget(Arc::clone(group));
    }
    done
}

fn train_in(
    args: &Train,
    sources: &mut Sources,
    launched: Option<Launched>,
) -> Result<(), Failure> {
    let first = launched.is_none_or(|launched| launched.place.rank == 0);
    let mut overrides = pairs(&args.set)?;
    if let (Some(from), Some(text)) = (&args.from, &args.decay_now) {
        let amount = Amount::parse(text).ok_or_else(|| {
            Failure::Usage(format!("--decay-now {text}: expected an amount, such as `30B tokens`"))
        })?;
        overrides.extend(runtime::decay_now(from, amount)?);
    }
    let Opened { spec, model, arch, warnings } = open(&args.spec, &overrides, sources)?;
    terminal::show(sources, &warnings);
    tell!(
        "{}: {}, task {}, {} sequences of {} tokens a step",
        model.name,
        numbers(&spec, &model)?,
        spec.task.name(),
        spec.shaping.batch.size.sequences(spec.task.length()),
        spec.task.length()
    );
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&spec.name));
    let inject: Option<Vec<(u64, runtime::Fault)>> =
        args.inject.iter().map(|text| runtime::Fault::parse(text)).collect();
    let inject = inject.ok_or_else(|| {
        Failure::Usage("--inject: expected nan@STEP, spike@STEP or growth@STEP".into())
    })?;
    let mut options = runtime::Options {
        folder: folder.clone(),
        resume: args.resume,
        from_step: args.from_step,
        allow_changes: args.allow_changes,
        from: args
            .from
            .clone()
            .map(|checkpoint| runtime::From { checkpoint, goes_on: args.decay_now.is_some() }),
        device: args.device.into(),
        progress: first && std::io::stderr().is_terminal(),
        quiet: false,
        again: "--resume goes",
        stop_after: args.stop_after,
        pause: None,
        inject,
        group: None,
    };
    if let Some(launched) = launched {
        launched.place.holds(spec.segments)?;
    }
    if args.dry_run {
        return if first { dry_run(&spec, &model, &options, launched) } else { Ok(()) };
    }
    let summary = run(&spec, model, &arch, &mut options, launched)?;
    if args.json && first {
        let mut said = serde_json::to_value(&summary).map_err(|e| Failure::World(e.to_string()))?;
        said["folder"] = folder.display().to_string().into();
        say!("{said}");
    }
    tell_end(&summary, &folder);
    Ok(())
}

/// How many parameters there are, and how many of them are trained.
fn numbers(spec: &Spec, model: &Model) -> Result<String, Failure> {
    let (all, trained) = (account(model).parameters, spec.optimizer.trained(model)?);
    let those = if trained < all { format!(", {trained} of them trained") } else { String::new() };
    Ok(format!("{all} parameters{those}"))
}

/// What a run came to.
fn tell_end(summary: &Summary, folder: &Path) {
    if let (Some(kernels), Some(products)) = (summary.kernels_per_step, summary.products_per_step) {
        tell!("{kernels} kernels and {products} dense products a step");
    }
    let share = summary.utilisation.map(|share| format!(", MFU {:.0} %", 100.0 * share));
    tell!(
        "{} steps, {} tokens in {:.1} s ({:.0} tokens/s, {:.2} GFLOP/s of the model{}); report: {}",
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.tokens_per_second,
        summary.model_flops_per_second / 1e9,
        share.unwrap_or_default(),
        folder.join("report.html").display()
    );
}

/// A time in the unit that suits it.
fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.2} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Layers that are listed.
const LAYERS: usize = 12;

/// What all processes of this machine need.
fn beside(needs: Estimate, launched: Option<Launched>, segments: usize) -> Estimate {
    let Some(Launched { place, .. }) = launched else { return needs };
    say!("{} processes, {} on this machine: their memory together", place.size, place.beside);
    needs.beside(place, segments)
}

/// Checks what training checks, and says what a run would need.
fn dry_run(
    spec: &Spec,
    model: &Model,
    options: &runtime::Options,
    launched: Option<Launched>,
) -> Result<(), Failure> {
    note_missing(spec);
    let start = options.start(spec)?;
    let under = Conditions {
        device: options.device,
        data: Data::Elsewhere,
        tuned: spec.tuned.as_deref(),
        segments: launched.map_or(1, |_| spec.segments),
        start: start.as_ref(),
    };
    let Ready { run_schedule, needs, .. } = ready_under(spec, model, &under)?;
    let needs = beside(needs, launched, spec.segments);
    if let Some(runtime::From { checkpoint, goes_on: true }) = &options.from {
        let checkpoint = Checkpoint::open(checkpoint)?;
        checkpoint.state()?;
        checkpoint.model(&model.graph.params)?;
    }
    for line in model.layout.iter().take(LAYERS) {
        say!("{line}");
    }
    if model.layout.len() > LAYERS {
        say!("and {} layers more", model.layout.len() - LAYERS);
    }
    if let (Some(steps), Some(tokens)) = (needs.steps, needs.tokens) {
        say!("{steps} steps, {tokens:.3e} tokens");
    }
    say_needs(&needs);
    let rate = dense::speed(model.width);
    let seconds = needs.flops / rate;
    let run =
        needs.steps.map_or(String::new(), |n| format!(", the run {}", lasting(seconds * n as f64)));
    say!(
        "operations: {:.3e} a step; dense products run at {:.0} GFLOP/s here, so a step takes {} at best{run}",
        needs.flops,
        rate / 1e9,
        lasting(seconds)
    );
    note_memory(&needs, options.device);
    for advice in advice(spec, model, &run_schedule) {
        tell!("advice: {advice}");
    }
    Ok(())
}

/// The first step, and the memory of the longest.
fn say_needs(needs: &Estimate) {
    let [sequences, length] = needs.first;
    say!(
        "first step: {sequences} sequences of {length} tokens; longest steps in {} parts of {} tokens",
        needs.parts,
        needs.part
    );
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    let parts = [
        ("parameters", needs.parameters),
        ("gradients", needs.gradients),
        ("optimiser", needs.optimizer),
        ("activations", needs.activations),
        ("logits", needs.logits),
    ];
    let said: Vec<String> = parts.iter().map(|(n, x)| format!("{n} {:.2}", gib(*x))).collect();
    let whole: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    say!(
        "memory in GiB, in f32, without what recurrences keep: {}; {:.2} in all",
        said.join(", "),
        gib(whole)
    );
}

/// Says that this machine has too little memory. A run may be planned here and trained elsewhere.
pub fn note_memory(needs: &Estimate, device: Device) {
    if let Err(failure) = needs.fits(device) {
        tell!("note: it cannot be trained on this machine: {failure}");
    }
}
