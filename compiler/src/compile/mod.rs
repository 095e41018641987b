//! The pipeline: from a recurrence at its sizes to what runs, in one function.
//!
//! ```text
//! program of one token ──strategy──▶ scan │ chunk │ attention │ recurrent │ halves: two of these
//!                                      │
//!                                      ├──plan──▶ schedules of kernels, for a GPU; they choose the tokens of a block
//!                                      ├──block─▶ program of a block of tokens, and its gradient
//!                                      └──emit──▶ CUDA C++
//! ```
//!
//! Commands that print a stage, the forms of the processor, the kernels of devices and tests take parts of
//! what is made here, so that what is printed is what runs. In debug builds each stage is verified.

mod text;

use crate::block::{self, Block, Blocking};
use crate::chunk::remember::remembered;
use crate::elaborate::Recurrence;
use crate::emit::supports;
use crate::normal::Refusal;
use crate::plan::target::Gpu;
use crate::plan::{Plans, Purpose, Schedule, schedules};
use crate::strategy::{self, Strategy};
use crate::tile::size;
use crate::tile::verify::verify;

/// Where programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// On the processor, by interpreting programs.
    Processor,
    /// On a kind of GPU, by kernels.
    Gpu(Gpu),
}

/// What is chosen already, for either kind of target; the rest is chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// How the processor cuts it.
    pub blocking: Blocking,
    /// Plans of kernels.
    pub plans: Plans,
}

impl Chosen {
    /// Blocks of so many tokens, wherever it runs.
    pub fn of(tokens: Option<usize>) -> Chosen {
        Chosen { blocking: Blocking::of(tokens), plans: Plans::of(tokens) }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it is for.
    pub purpose: Purpose,
    /// What of it is given.
    pub chosen: Chosen,
}

impl Choice {
    /// For a purpose, as the compiler chooses.
    pub fn of(purpose: Purpose) -> Choice {
        Choice { purpose, chosen: Chosen::default() }
    }
}

/// What is made of a recurrence.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The recurrence whose programs these are: kernels that go token by token have more states.
    pub recurrence: Recurrence,
    /// How it is computed, with its normal form or the reason why it has none.
    pub strategy: Strategy,
    /// The programs that run for each block of tokens, the masked one last. None where the program of one
    /// token runs as it stands.
    pub blocks: Vec<Block>,
    /// Its two halves, where it runs as such: their programs are theirs, the schedules the whole's.
    pub halves: Vec<Artifact>,
    /// What the blocks of a GPU's threads do, pass by pass; nothing on the processor.
    pub schedules: Vec<Schedule>,
}

/// Compiles a recurrence. The error says what a target lacks, or what is too large for it.
pub fn compile(r: &Recurrence, target: Target, choice: Choice) -> Result<Artifact, Refusal> {
    debug_assert_eq!(verify(&r.token), Ok(()), "token of {}", r.name);
    let strategy = strategy::of(r);
    let mut halves = Vec::new();
    if let Strategy::Halves(both) = &strategy {
        for half in [&both.states, &both.sums] {
            halves.push(compile(&half.recurrence, target, choice)?);
        }
    }
    // Kernels hold what tokens read again as further states.
    let of = match (target, &strategy) {
        (Target::Gpu(_), Strategy::Recurrent(_)) => remembered(r)?.recurrence,
        _ => r.clone(),
    };
    let (schedules, blocks) = match (target, &strategy) {
        (Target::Processor, Strategy::Recurrent(_) | Strategy::Halves(_)) => (vec![], vec![]),
        (Target::Processor, _) => {
            let tokens = block::tokens(r, &strategy, choice.chosen.blocking.tokens);
            (vec![], block::full_and_tail(r, &strategy, tokens)?.into())
        }
        (Target::Gpu(gpu), _) => {
            let schedules = schedules(r, &strategy, choice.purpose, gpu, choice.chosen.plans)?;
            fits(r, &schedules)?;
            schedules.iter().try_for_each(|schedule| supports(schedule, gpu))?;
            let tokens = schedules[0].kernels[0].chunk;
            // Chunks of one token are always full.
            let block = || block::block(&of, &strategy, tokens, tokens > 1, &|_, _| false);
            let blocks = if halves.is_empty() { vec![block()?] } else { vec![] };
            (schedules, blocks)
        }
    };
    Ok(Artifact { recurrence: of, strategy, blocks, halves, schedules })
}

/// Everything that a recurrence may be launched for on a kind of GPU: training, and where its
/// states are all it needs, decoding.
pub fn all_schedules(r: &Recurrence, gpu: Gpu, chosen: Chosen) -> Result<Vec<Schedule>, Refusal> {
    let of = |purpose| compile(r, Target::Gpu(gpu), Choice { purpose, chosen });
    let decodes = strategy::of(r).decodes();
    let (training, decode) =
        rayon::join(|| of(Purpose::Training), || decodes.then(|| of(Purpose::Decode)));
    let mut all = training?.schedules;
    all.extend(decode.transpose()?.into_iter().flat_map(|made| made.schedules));
    Ok(all)
}

/// Bytes of workspace that a block may have: with more, no GPU could hold all blocks that run at once.
const WORKSPACE: usize = 1 << 30;

/// Refuses kernels of a recurrence whose blocks need more memory than there is.
fn fits(r: &Recurrence, schedules: &[Schedule]) -> Result<(), Refusal> {
    let Some(needs) = schedules.iter().find_map(too_large) else { return Ok(()) };
    let largest = r.states.iter().max_by_key(|state| size(&state.shape));
    let of = largest.map(|state| format!("state `{}` is {:?}: ", state.name, state.shape));
    let why = format!("{}{needs}", of.unwrap_or_default());
    Err(Refusal { span: largest.map(|state| state.span), why })
}

/// What a schedule needs of memory, where there is not so much.
pub fn too_large(schedule: &Schedule) -> Option<String> {
    let kernel = schedule.kernels.iter().find(|kernel| kernel.workspace > WORKSPACE)?;
    let (name, bytes) = (&kernel.name, kernel.workspace);
    Some(format!(
        "a block of `{name}` needs {bytes} bytes of workspace, and there are at most {WORKSPACE}"
    ))
}
