//! What kernels do and how long they would take, without a GPU: the sim device counts them.
//!
//! Kernels run on one sequence of one head, at three short lengths. Their counts are polynomials of the length of degree
//! one (recurrences) or two (attention), so the counts at the length that is asked for follow; those of all sequences
//! and heads are as many times that. Sequences as short as the longest of the three run as they are.

mod fit;
pub mod measures;
pub mod page;
pub mod step;
pub mod text;
pub mod time;

use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::emit;
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Binding, Buffer, Dim, Grid, Kernel, Pass, Purpose, Role, Schedule};

use crate::device::cuda::nvrtc::Code;
use crate::device::jit::{self, Source};
use crate::device::kernels::{Into as Gradients, Kernels, Unready, sent};
use crate::device::sim::count::{Counts, Tally};
use crate::device::sim::hardware::Hardware;
use crate::device::store::{Counted, Machine, Store};
use crate::ground::error::Failure;
use crate::recurrence::draw::{Drawn, Sizes};

/// A step of a kernel's plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does, as the plan says it.
    pub text: String,
    /// The first of its lines in the kernel's text.
    pub line: usize,
    /// What it did in all blocks.
    pub tally: Tally,
}

/// What is known of a kernel that NVRTC's assembler made.
#[derive(Clone, Copy, Debug)]
pub struct Assembled {
    /// Registers of a thread.
    pub registers: usize,
    /// Bytes of registers that went to memory.
    pub spill_bytes: usize,
}

/// A kernel of a schedule, or one that adds up partial results behind it.
#[derive(Clone, Debug)]
pub struct OfKernel {
    /// Its name.
    pub name: String,
    /// Blocks.
    pub blocks: f64,
    /// Threads of a block.
    pub threads: usize,
    /// Bytes of shared memory of a block.
    pub shared: usize,
    /// What the assembler says, of kernels of the schedule.
    pub assembled: Option<Assembled>,
    /// Blocks that a multiprocessor holds at a time.
    pub resident: usize,
    /// What all blocks did.
    pub counts: Counts,
    /// Steps of its plan, in order; before them what belongs to none.
    pub steps: Vec<Step>,
    /// Seconds that it takes.
    pub seconds: f64,
}

/// A tensor that must be moved in any case.
#[derive(Clone, Debug)]
pub struct Compulsory {
    /// The tensor.
    pub name: String,
    /// Bytes, at two a number.
    pub bytes: f64,
    /// Bytes by which its numbers are held.
    pub held: f64,
}

/// One pass.
#[derive(Clone, Debug)]
pub struct OfSchedule {
    /// Its name.
    pub name: String,
    /// Whether it saves what the gradient needs.
    pub saves: bool,
    /// Its kernels, in order.
    pub kernels: Vec<OfKernel>,
    /// Inputs, outputs and what is saved for the way back, once each, in bf16.
    pub compulsory: Vec<Compulsory>,
}

impl OfSchedule {
    /// Seconds from the first kernel's start to the last one's end.
    pub fn seconds(&self, hardware: &Hardware) -> f64 {
        self.kernels.iter().map(|kernel| kernel.seconds + hardware.launch).sum()
    }

    /// Bytes of device memory that kernels move.
    pub fn moved(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.counts.all().moved.iter().sum::<f64>()).sum()
    }

    /// Bytes that must be moved in any case.
    pub fn compulsory(&self) -> f64 {
        self.compulsory.iter().map(|part| part.bytes).sum()
    }

    /// The same as these numbers are held.
    pub fn held(&self) -> f64 {
        self.compulsory.iter().map(|part| part.held).sum()
    }
}

/// A recurrence on a kind of GPU.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The recurrence.
    pub name: String,
    /// What its kernels were timed as.
    pub hardware: Hardware,
    /// The sizes of the call.
    pub sizes: Sizes,
    /// Lengths at which kernels ran.
    pub lengths: Vec<usize>,
    /// Forward alone; then, for training, forward with what is saved, and backward.
    pub schedules: Vec<OfSchedule>,
}

/// What is run for a profile.
const PURPOSES: [Purpose; 2] = [Purpose::Forward, Purpose::Training];

/// Counts a recurrence's kernels on a kind of GPU.
pub fn profile(r: &Recurrence, sizes: Sizes, hardware: Hardware) -> Result<Profile, Unready> {
    let mut all =
        Profile { name: r.name.clone(), hardware, sizes, lengths: vec![], schedules: vec![] };
    for purpose in PURPOSES {
        let (schedules, lengths) = of_purpose(r, sizes, hardware, purpose, Chosen::default())?;
        all.schedules.extend(schedules);
        all.lengths = lengths;
    }
    Ok(all)
}

/// What is run for a purpose, as far as that is chosen already, and the lengths at which kernels ran.
pub fn of_purpose(
    r: &Recurrence,
    sizes: Sizes,
    hardware: Hardware,
    purpose: Purpose,
    chosen: Chosen,
) -> Result<(Vec<OfSchedule>, Vec<usize>), Unready> {
    let gpu = Gpu::named(hardware.arch).ok_or_else(|| {
        Unready::Failed(Failure::Usage(format!("no kernels are made for {}", hardware.arch)))
    })?;
    let kernels = Kernels::new(r, purpose, chosen, &Machine::Sim(gpu))?;
    let schedules = kernels.schedules();
    let lengths = fit::lengths(&schedules, sizes.length);
    let ran = lengths
        .iter()
        .map(|length| ran(r, &kernels, *length, (hardware, sizes.batch * sizes.heads)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Unready::Failed)?;
    let passes = (0..schedules.len()).map(|at| ran.iter().map(|all| all[at].as_slice()).collect());
    let passes: Vec<Vec<&[Counted]>> = passes.collect();
    let weights = fit::weights(&lengths, sizes.length);
    let mut all = vec![];
    for (schedule, counted) in schedules.into_iter().zip(passes) {
        let launches = fit::at(&counted, &weights, (sizes.batch * sizes.heads) as f64)
            .map_err(Unready::Failed)?;
        let kernels = of_kernels(schedule, launches, hardware, gpu).map_err(Unready::Failed)?;
        let saves = purpose == Purpose::Training && schedule.pass == Pass::Forward;
        let compulsory = compulsory(schedule, sizes, saves);
        all.push(OfSchedule { name: schedule.name.clone(), saves, kernels, compulsory });
    }
    Ok((all, lengths))
}

/// Runs a pass, or two, on one sequence of one head, of so many; what each launch of each pass did.
fn ran(
    r: &Recurrence,
    kernels: &Kernels,
    length: usize,
    (hardware, calls): (Hardware, usize),
) -> Result<Vec<Vec<Counted>>, Failure> {
    let mut store = Store::new(kernels.machine());
    store.record(hardware, calls);
    let tensors = Drawn::new(r, Sizes { batch: 1, length, heads: 1 });
    let problem = tensors.problem(r);
    let (call, outs) = sent(&mut store, &problem)?;
    let (_, left) = kernels.forward(&mut store, &call, &outs)?;
    let mut passes = vec![store.recorded()];
    if kernels.schedules().len() > 1 {
        let flows = tensors.d_outs.iter().zip(&r.outs);
        let d_outs = flows
            .map(|(d, slot)| store.holding("gradient given", d, slot.number).map(Some))
            .collect::<Result<Vec<_>, _>>()?;
        let to = Gradients::new(&mut store, &call)?;
        kernels.backward(&mut store, &call, &left, [&d_outs, &[]], &to)?;
        passes.push(store.recorded());
    }
    Ok(passes)
}

/// What launches of a schedule are: its kernels, and behind them those that add up.
fn of_kernels(
    schedule: &Schedule,
    launches: Vec<fit::Launches>,
    hardware: Hardware,
    gpu: Gpu,
) -> Result<Vec<OfKernel>, Failure> {
    let sources: Vec<Source> =
        schedule.kernels.iter().map(|kernel| Source::of(schedule, kernel, gpu.arch)).collect();
    let built = jit::build(&sources, Code::Cubin)?;
    let own = |name: &str| schedule.kernels.iter().position(|kernel| kernel.name == name);
    let one = |fit::Launches { kernel: name, launch, blocks, counts }| {
        let at = own(&name);
        let assembled = at.map(|at| {
            let made: &jit::Built = &built[at];
            Assembled { registers: made.registers, spill_bytes: made.spill_bytes }
        });
        let resident = time::resident(gpu, launch, assembled);
        let seconds = time::seconds(&hardware, resident, blocks, &counts);
        let steps = at.map(|at| steps(schedule, &schedule.kernels[at], &counts));
        OfKernel {
            name,
            blocks,
            threads: launch.threads,
            shared: launch.shared,
            assembled,
            resident,
            counts,
            steps: steps.unwrap_or_default(),
            seconds,
        }
    };
    Ok(launches.into_iter().map(one).collect())
}

/// Lines of a kernel's text put together step by step.
fn steps(schedule: &Schedule, kernel: &Kernel, counts: &Counts) -> Vec<Step> {
    let place = Step { text: "outside of steps".into(), line: 0, tally: Tally::default() };
    let begins = emit::steps(schedule, kernel).into_iter();
    let mut steps: Vec<Step> = [place]
        .into_iter()
        .chain(begins.map(|(line, text)| Step { text, line, tally: Tally::default() }))
        .collect();
    for (line, tally) in counts.lines.iter().enumerate() {
        // The last step that begins at or before the line.
        let at = steps.partition_point(|step| step.line <= line).saturating_sub(1);
        steps[at].tally.add(tally, 1.0);
    }
    steps
}

/// The tensors that a pass must move: those that the call has, each once, two bytes a number.
fn compulsory(schedule: &Schedule, sizes: Sizes, saves: bool) -> Vec<Compulsory> {
    let given = |buffer: &&Buffer| {
        let absent = matches!(buffer.binding, Binding::Initial(_) | Binding::FinalGrad(_));
        match buffer.role {
            Role::Temporary => false,
            Role::Saved => saves,
            Role::Argument | Role::Result => !absent,
        }
    };
    let extent = |dim: &Dim| match dim {
        Dim::Rows => sizes.batch * sizes.length,
        Dim::Chunks { every } => sizes.batch * sizes.length.div_ceil(*every),
        Dim::Sequences => sizes.batch,
        Dim::Heads | Dim::OwnHeads => sizes.heads,
        Dim::Number(n) => *n,
        // Partial results are no part of what must be moved.
        Dim::Parts(_) | Dim::Jobs { .. } => 1,
    };
    let numbers =
        |buffer: &Buffer| -> usize { buffer.dims[buffer.partial..].iter().map(extent).product() };
    let buffers = schedule.buffers.iter().filter(given);
    buffers
        .map(|buffer| {
            let (name, count) = (buffer.name.clone(), numbers(buffer) as f64);
            Compulsory { name, bytes: 2.0 * count, held: buffer.number.bytes() as f64 * count }
        })
        .collect()
}

/// The most tokens of a block of any kernel, and how far back a token reads where that is limited.
fn reach(schedules: &[&Schedule]) -> [usize; 2] {
    let kernels = || schedules.iter().flat_map(|schedule| &schedule.kernels);
    let tokens = kernels().map(|kernel| kernel.chunk).max().unwrap_or(1);
    let window = |kernel: &Kernel| match &kernel.grid {
        Grid::Pairs { range, .. } => (1..fit::FURTHEST).find(|t| range.at(*t).0 > 0),
        _ => None,
    };
    [tokens, kernels().filter_map(window).max().unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::sim::hardware::A100;
    use crate::ground::library;
    use lrc_compiler::compile::{Choice, Target, compile};
    use lrc_compiler::elaborate::{Setting, elaborate};

    fn recurrence(name: &str) -> Recurrence {
        let path = format!("recurrences/{name}.arch");
        let (namespace, _) = library::load(&path, &mut lrc_dsl::Sources::default()).unwrap();
        let given = ["dk", "dv"].map(|size| (size.to_string(), Setting::Number(16.0)));
        elaborate(namespace.get(name).unwrap(), &given.into(), &mut vec![]).unwrap()
    }

    /// Counts at a length, told from those of shorter sequences, are those of running it.
    #[test]
    fn counts_of_long_sequences_follow_from_short_ones() {
        for name in ["gated_delta_rule", "softmax_attn"] {
            let r = recurrence(name);
            let kernels =
                Kernels::new(&r, Purpose::Training, Chosen::default(), &Machine::sim()).unwrap();
            let lengths = [256, 512, 768];
            let short: Vec<_> = lengths.map(|n| ran(&r, &kernels, n, (A100, 1)).unwrap()).into();
            let long = ran(&r, &kernels, 1024, (A100, 1)).unwrap();
            for (pass, long) in long.iter().enumerate() {
                let short: Vec<&[Counted]> = short.iter().map(|all| all[pass].as_slice()).collect();
                let told = fit::at(&short, &fit::weights(&lengths, 1024), 1.0).unwrap();
                assert_eq!(told.len(), long.len());
                for (told, ran) in told.iter().zip(long) {
                    assert_eq!(told.blocks, ran.launch.blocks as f64, "{}", told.kernel);
                    let (a, b) = (told.counts.all(), ran.counts.all());
                    for (a, b) in a.instructions.iter().zip(b.instructions) {
                        assert!((a - b).abs() < 1e-6 * b.max(1.0), "{}: {a} {b}", told.kernel);
                    }
                    assert!((a.time() / b.time() - 1.0).abs() < 0.02, "{} {}", a.time(), b.time());
                }
            }
        }
    }

    /// Operations on the matrix units are those of the plan, and reads of inputs at least the inputs.
    #[test]
    fn counts_are_those_of_the_plan() {
        let r = recurrence("gated_delta_rule");
        let sizes = Sizes { batch: 2, length: 1024, heads: 3 };
        let made = profile(&r, sizes, A100).unwrap();
        let gpu = Gpu::named(A100.arch).unwrap();
        let choice = Choice::of(Purpose::Forward);
        let planned = compile(&r, Target::Gpu(gpu), choice).unwrap().schedules.remove(0);
        let of_plan: f64 = planned
            .kernels
            .iter()
            .map(|kernel| {
                let rounds = (sizes.length / kernel.chunk) as f64;
                let blocks = (sizes.batch * sizes.heads * kernel.parts) as f64;
                let once = if kernel.grid == Grid::Chunks { rounds } else { 1.0 };
                let (all, round) = (kernel.cost.once.mma as f64, kernel.cost.round.mma as f64);
                blocks * (once * all + rounds * round)
            })
            .sum();
        let forward = &made.schedules[0];
        let counted: f64 = forward.kernels.iter().map(|k| k.counts.all().operations[1]).sum();
        assert_eq!(counted, of_plan);
        assert!(forward.moved() >= 2.0 * forward.compulsory(), "tensors are f32 in memory");
        assert!(forward.kernels.iter().all(|kernel| {
            let of_steps: f64 = kernel.steps.iter().map(|step| step.tally.time()).sum();
            (of_steps / kernel.counts.all().time() - 1.0).abs() < 1e-9
        }));
    }
}
