//! `lrc bench`: how long recurrences and training steps take on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lrc_compiler::block::Blocking;
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::{Recurrence, Setting};
use lrc_compiler::graph::{Model, Prepared, account};
use lrc_compiler::normal::Refusal;
use lrc_compiler::tile::size;
use lrc_dsl::ast::{Decl, Kind};
use lrc_dsl::{Diag, Sources};
use lrc_runtime::config::open::{declarations, find};
use lrc_runtime::data::LONGEST;
use lrc_runtime::device::Device;
use lrc_runtime::device::kernels::Unready;
use lrc_runtime::device::store::Machine;
use lrc_runtime::eval::bench::{self as measured, Times};
use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::memory;
use lrc_runtime::ground::timing::Repeat;
use lrc_runtime::model::transforms::bytes;
use lrc_runtime::recurrence::draw::Sizes;
use serde_json::{Value, json};

use crate::args::{self, Form, SEQUENCES, count, seconds};
use crate::commands::declared::{built, chosen, elaborated, form_kind, known, own, settings};
use crate::terminal::say;

/// Arguments of `lrc bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// A `.arch` file [default: the standard measurements].
    pub file: Option<PathBuf>,
    /// A recurrence or model of the file [default: each of them].
    pub name: Option<String>,
    /// Sequences.
    #[arg(long, default_value_t = 1, value_parser = count(SEQUENCES))]
    pub batch: usize,
    /// Tokens of a sequence.
    #[arg(long, default_value_t = 4096, value_parser = count(LONGEST))]
    pub length: usize,
    /// Heads.
    #[arg(long, default_value_t = 4, value_parser = count(1 << 16))]
    pub heads: usize,
    /// How to run.
    #[arg(long, default_value = "auto")]
    pub form: Form,
    /// Where to run.
    #[arg(long, default_value = "cpu")]
    pub device: args::Device,
    /// Tokens of a chunk.
    #[arg(long, value_parser = count(LONGEST))]
    pub chunk: Option<usize>,
    /// Seconds to go on repeating one measurement.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Override a parameter or size: `--set dk=128`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Instead, train models whose states are expanded to 1, 2, 4 and 8 subheads, and compare their speeds.
    #[arg(long, conflicts_with = "file")]
    pub expansion: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Subheads of the models of `--expansion`, and the sizes of these where none are given.
const SUBHEADS: [usize; 4] = [1, 2, 4, 8];
const EXPANDED: [(&str, f64); 5] =
    [("width", 256.0), ("layers", 4.0), ("heads", 4.0), ("d", 64.0), ("hidden", 704.0)];

/// What is timed when no file is named: a recurrence that every peer has, and a model of it.
const STANDARD: &str = "use \"recurrences/gated_delta_rule.arch\"\nuse \"models/plain_gdn.arch\"\n";

/// Head dimension, heads and tokens of the standard measurements.
const STANDARD_SIZES: [(f64, usize, usize); 4] =
    [(128.0, 8, 4096), (64.0, 4, 1024), (64.0, 4, 8192), (64.0, 4, 65536)];

/// The longest of these.
const STANDARD_LONGEST: usize = 65536;

/// Sequences and tokens of the standard training step.
const STANDARD_BATCH: (usize, usize) = (8, 256);

/// Numbers that every declaration knows and none declares.
const BUILT_IN: [&str; 3] = ["heads", "layer", "layers"];

/// Refuses inputs, outputs and gradients of them that no memory holds.
fn room(r: &Recurrence, Sizes { batch, length, heads }: Sizes) -> Result<(), Failure> {
    let inputs = r.inputs.iter().map(|slot| size(&slot.shape));
    let each: usize = inputs.chain(r.outs.iter().map(|out| size(&out.shape))).sum();
    let numbers = 2.0 * each as f64 * (batch * length) as f64 * heads as f64;
    memory::room(4.0 * numbers, &format!("timing {}", r.name))
}

/// What was measured: lines for people as they come, or one document at the end.
struct Table {
    repeat: Repeat,
    device: Device,
    /// Where kernels run, unless it is the processor.
    machine: Option<Machine>,
    quiet: bool,
    recurrences: Vec<Value>,
    training: Vec<Value>,
    /// The speed that others are compared with.
    first: Option<f64>,
}

impl Table {
    fn recurrence(
        &mut self,
        decl: &Decl,
        given: &BTreeMap<String, Setting>,
        sizes: Sizes,
        args: &Bench,
    ) -> Result<(), Failure> {
        let r = elaborated(decl, given)?;
        room(&r, sizes)?;
        let refused = |refusal: Refusal| Failure::Usage(format!("{}: {}", r.name, refusal.why));
        let times = match &self.machine {
            None => measured::recurrence(
                &r,
                sizes,
                form_kind(args.form),
                Blocking::of(args.chunk),
                self.repeat,
            )
            .map_err(refused)?,
            Some(machine) => {
                measured::kernels(&r, sizes, Chosen::of(args.chunk), self.repeat, machine).map_err(
                    |why| match why {
                        Unready::Refused(refusal) => refused(refusal),
                        Unready::Failed(failure) => failure,
                    },
                )?
            }
        };
        self.keep(&r, sizes, times);
        Ok(())
    }

    /// Shows the times of a recurrence, and what they come to.
    fn keep(&mut self, r: &Recurrence, sizes: Sizes, times: Times) {
        let dims: BTreeMap<&str, String> = r
            .numbers
            .iter()
            .filter(|(name, _)| !BUILT_IN.contains(&name.as_str()))
            .map(|(name, x)| (name.as_str(), x.to_string()))
            .collect();
        let tokens = (sizes.batch * sizes.length) as f64;
        let cost = account::alone(r);
        let per_head = cost.flops.saturating_add(cost.past_flops(sizes.length));
        let flops = per_head as f64 * sizes.heads as f64 * tokens;
        // What the sim device takes says nothing about a GPU.
        let real = self.device != Device::Sim;
        let decoded = times.decode.filter(|_| real).map(|seconds| sizes.batch as f64 / seconds);
        let rate = real.then_some(flops / times.forward * 1e-12);
        if self.recurrences.is_empty() && !self.quiet {
            say!(
                "{:<22} {:>20} {:<6} {:>10} {:>11} {:>9} {:>9} {:>12}  sizes",
                "recurrence",
                "batch·tokens·heads",
                "form",
                "forward ms",
                "+ backward",
                "ns/token",
                "TFLOP/s",
                "decoded/s"
            );
        }
        if !self.quiet {
            say!(
                "{:<22} {:>20} {:<6} {:>10.2} {:>11.2} {:>9.1} {:>9} {:>12}  {}",
                r.name,
                format!("{}·{}·{}", sizes.batch, sizes.length, sizes.heads),
                times.form,
                times.forward * 1e3,
                times.both * 1e3,
                times.both * 1e9 / tokens,
                rate.map_or("-".into(), |rate| format!("{rate:.4}")),
                decoded.map_or("-".into(), |speed| format!("{speed:.0}")),
                dims.iter().map(|(name, x)| format!("{name}={x}")).collect::<Vec<_>>().join(" ")
            );
        }
        self.recurrences.push(json!({
            "name": r.name, "batch": sizes.batch, "length": sizes.length, "heads": sizes.heads,
            "sizes": dims, "form": times.form,
            "forward_ms": times.forward * 1e3, "forward_backward_ms": times.both * 1e3,
            "forward_flops": flops, "forward_tflops": rate,
            "decoded_tokens_per_second": decoded,
        }));
    }

    fn standard(&mut self, args: &Bench, sources: &mut Sources) -> Result<(), Failure> {
        let (namespace, diags) =
            lrc_dsl::load_text("standard", STANDARD.into(), None, LIBRARY, sources);
        if diags.iter().any(Diag::is_error) {
            return Err(Failure::Invalid(diags));
        }
        let rule = find(&namespace, Kind::Recurrence, "gated_delta_rule")?;
        for (d, heads, length) in STANDARD_SIZES {
            let given = ["dk", "dv"].map(|name| (name.to_string(), Setting::Number(d))).into_iter();
            self.recurrence(rule, &given.collect(), Sizes { batch: 1, length, heads }, args)?;
        }
        let decl = find(&namespace, Kind::Model, "plain_gdn")?;
        let (batch, length) = STANDARD_BATCH;
        self.train(built(&namespace, decl, &BTreeMap::new())?, batch, length).map(|_| ())
    }

    /// Training steps of one model with more and more state, and each speed as a share of the first.
    fn expansion(&mut self, args: &Bench, sources: &mut Sources) -> Result<(), Failure> {
        let text = "use \"models/gdn.arch\"\n".to_string();
        let (namespace, diags) = lrc_dsl::load_text("expansion", text, None, LIBRARY, sources);
        if diags.iter().any(Diag::is_error) {
            return Err(Failure::Invalid(diags));
        }
        let decl = find(&namespace, Kind::Model, "gdn_e")?;
        let mut sizes: BTreeMap<String, Setting> =
            EXPANDED.map(|(name, x)| (name.to_string(), Setting::Number(x))).into();
        let given = settings(&args.set)?;
        known(&given, [decl])?;
        sizes.extend(given);
        for e in SUBHEADS {
            sizes.insert("e".into(), Setting::Number(e as f64));
            let model = built(&namespace, decl, &own(&sizes, decl))?;
            let speed = self.train(model, args.batch, args.length)?;
            let first = *self.first.get_or_insert(speed);
            if !self.quiet {
                say!("    {e} subheads: {:.3} of the speed of one", speed / first);
            }
            if let Some(Value::Object(last)) = self.training.last_mut() {
                last.insert("subheads".into(), json!(e));
                last.insert("share_of_first".into(), json!(speed / first));
            }
        }
        Ok(())
    }

    fn train(&mut self, model: Model, batch: usize, length: usize) -> Result<f64, Failure> {
        let name = model.name.clone();
        let per_row = Prepared::plain(model.clone()).per_row();
        memory::room(bytes(per_row, batch * length), &format!("training {name}"))?;
        let forward = account::account(&model).flops_per_token(length) as f64;
        let speed = measured::training(model, batch, length, self.repeat, self.device)?;
        // What the sim device takes says nothing about a GPU.
        let rate = (self.device != Device::Sim).then_some(3.0 * forward * speed);
        let peak = memory::peak();
        if !self.quiet {
            let memory = peak.map_or(String::new(), |bytes| {
                format!("; at most {:.0} MiB of memory so far", bytes as f64 / 1_048_576.0)
            });
            say!(
                "training {name}, {batch} sequences of {length} tokens: {speed:.0} tokens/s{}{memory}",
                rate.map_or(String::new(), |rate| format!(", {:.4} TFLOP/s", rate * 1e-12))
            );
        }
        self.training.push(json!({
            "name": name, "batch": batch, "length": length, "tokens_per_second": speed,
            "model_flops_per_second": rate, "peak_memory_bytes": peak,
        }));
        Ok(speed)
    }
}

/// `lrc bench`
pub fn bench(args: &Bench, sources: &mut Sources) -> Result<(), Failure> {
    let longest = if args.file.is_some() { args.length } else { STANDARD_LONGEST };
    if let Some(chunk) = args.chunk.filter(|chunk| *chunk > longest) {
        let why = format!("--chunk {chunk}: sequences have {longest} tokens");
        return Err(Failure::Usage(why));
    }
    let time = Duration::from_secs_f64(args.seconds);
    let device: Device = args.device.into();
    let mut table = Table {
        repeat: Repeat { least: 3, time },
        device,
        machine: device.machine()?,
        quiet: args.json,
        recurrences: Vec::new(),
        training: Vec::new(),
        first: None,
    };
    match &args.file {
        None if args.expansion => table.expansion(args, sources)?,
        None => table.standard(args, sources)?,
        Some(file) => {
            let namespace = declarations(file, sources)?;
            let given = settings(&args.set)?;
            let decls: Vec<&Decl> = match args.name.as_deref() {
                Some(name) => namespace.get(name).into_iter().collect(),
                None => namespace.own.iter().map(|name| &namespace.decls[name]).collect(),
            };
            if !decls.is_empty() {
                known(&given, decls)?;
            }
            let sizes = Sizes { batch: args.batch, length: args.length, heads: args.heads };
            let kind = args.name.as_deref().and_then(|name| namespace.get(name)).map(|d| d.kind);
            if kind != Some(Kind::Model) {
                for decl in chosen(&namespace, Kind::Recurrence, args.name.as_deref())? {
                    table.recurrence(decl, &own(&given, decl), sizes, args)?;
                }
            }
            if kind.is_none_or(|kind| kind == Kind::Model) {
                for decl in chosen(&namespace, Kind::Model, args.name.as_deref())? {
                    table.train(
                        built(&namespace, decl, &own(&given, decl))?,
                        args.batch,
                        args.length,
                    )?;
                }
            }
        }
    }
    if args.json {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"), "device": device.name(), "dtype": "f32",
            "threads": threads, "recurrences": table.recurrences, "training": table.training,
        });
        say!("{document}");
    }
    Ok(())
}
