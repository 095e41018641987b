//! Runs schedules: what flows between kernels, what must start at zero, and what is added up in the
//! end all follow from the axes of their buffers.

use lrc_compiler::plan::attention::jobs;
use lrc_compiler::plan::{Argument as Place, Binding, Buffer, Dim, Grid, Kernel, Role, Schedule};

use lrc_compiler::tile::Number;

use super::fixed::{fold, fold_source};
use super::jit::Source;
use super::store::{Argument, Loaded, Machine, Store, Tensor};
use crate::ground::error::Failure;

/// Blocks that go over rows, at most: enough to fill a GPU, and few partial sums.
pub const ROW_BLOCKS: usize = 512;

/// A schedule whose kernels are compiled and loaded.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The schedule.
    pub schedule: Schedule,
    kernels: Vec<Loaded>,
    /// What adds up f32, to numbers that are held so.
    folds: [(Number, Loaded); 2],
}

/// Compiles and loads schedules.
pub fn ready(machine: &Machine, schedules: Vec<Schedule>) -> Result<Vec<Ready>, Failure> {
    let arch = machine.kind().arch;
    const HELD: [Number; 2] = [Number::F32, Number::Bf16];
    let mut sources: Vec<Source> = HELD.iter().map(|number| fold_source(*number, arch)).collect();
    let mut shared = vec![0; HELD.len()];
    for schedule in &schedules {
        for kernel in &schedule.kernels {
            sources.push(Source::of(schedule, kernel, arch));
            shared.push(kernel.shared);
        }
    }
    let mut loaded = machine.load(&sources, &shared)?.into_iter();
    let folds = HELD.map(|number| (number, loaded.next().expect("one per text")));
    let ready = schedules.into_iter().map(|schedule| {
        let kernels = loaded.by_ref().take(schedule.kernels.len()).collect();
        Ready { schedule, kernels, folds: folds.clone() }
    });
    Ok(ready.collect())
}

/// What a schedule goes over.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// The tokens of sequences, for each head.
    Sequences {
        /// Row at which each sequence starts, and the total.
        bounds: &'a [usize],
        /// Heads.
        heads: usize,
    },
    /// Rows of any sequences.
    Rows {
        /// How many.
        rows: usize,
        /// The position of each in its sequence.
        positions: Tensor,
        /// Blocks at most, of each part of a row: [`ROW_BLOCKS`] of them, unless fewer are to be counted.
        blocks: usize,
    },
}

/// The tensor that a buffer is in a call.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The tensor.
    pub tensor: Tensor,
    /// Its heads, where the buffer has its own number of them or results of heads are shared.
    pub heads: usize,
    /// Whether results are added to what it holds.
    pub add: bool,
}

impl Bound {
    /// A tensor with so many heads.
    pub fn new(tensor: Tensor, heads: usize) -> Bound {
        Bound { tensor, heads, add: false }
    }
}

/// How a kernel goes over the tokens of a call.
struct Spread {
    /// What each block reads to know its place.
    table: Option<Tensor>,
    /// What blocks have one each of, per head.
    jobs: usize,
    blocks: usize,
}

/// Partial results, and what they are to be added up to.
struct Partial {
    of: Bound,
    from: Tensor,
    terms: usize,
    outer: usize,
    share: usize,
    inner: usize,
}

/// A schedule about to run.
pub struct Run<'a> {
    ready: &'a Ready,
    over: Over<'a>,
    /// Where sequences start, or the positions of rows.
    first: Tensor,
    spread: Vec<Spread>,
}

impl<'a> Run<'a> {
    /// Sends the tables by which blocks know their places.
    pub fn new(store: &mut Store, ready: &'a Ready, over: Over<'a>) -> Result<Run<'a>, Failure> {
        let kernels = ready.schedule.kernels.iter();
        let spread = kernels.map(|kernel| Spread::new(store, kernel, over));
        let spread = spread.collect::<Result<_, _>>()?;
        let first = match over {
            Over::Sequences { bounds, .. } => {
                store.table(bounds.iter().map(|x| *x as u32).collect())?
            }
            Over::Rows { positions, .. } => positions,
        };
        Ok(Run { ready, over, first, spread })
    }

    /// The length of an axis.
    fn extent(&self, dim: &Dim) -> usize {
        let (rows, bounds, heads) = match self.over {
            Over::Sequences { bounds, heads } => {
                (bounds.last().copied().unwrap_or(0), bounds, heads)
            }
            Over::Rows { rows, .. } => (rows, [].as_slice(), 1),
        };
        match dim {
            Dim::Rows => rows,
            Dim::Chunks { every } => {
                bounds.windows(2).map(|w| (w[1] - w[0]).div_ceil(*every)).sum()
            }
            Dim::Sequences => bounds.len().saturating_sub(1),
            Dim::Heads | Dim::OwnHeads => heads,
            Dim::Parts(n) | Dim::Number(n) => *n,
            Dim::Jobs { kernel } => self.spread[*kernel].jobs,
        }
    }

    /// Numbers of a buffer.
    pub fn numbers(&self, buffer: &Buffer) -> usize {
        buffer.numbers(&|dim| self.extent(dim))
    }

    /// Runs the kernels, and adds up what they leave in parts. `bound` gives the tensor of every
    /// buffer that is no temporary one, where there is one.
    pub fn start(
        &self,
        store: &mut Store,
        bound: impl Fn(Binding) -> Option<Bound>,
    ) -> Result<(), Failure> {
        let schedule = &self.ready.schedule;
        let (mut given, mut temporary, mut partial) = (Vec::new(), Vec::new(), Vec::new());
        for buffer in &schedule.buffers {
            let own = bound(buffer.binding);
            let own = match (buffer.role, own) {
                (Role::Temporary, _) => {
                    let (name, count) = (self.name(buffer), self.numbers(buffer));
                    let made = store.take_as(&name, count, buffer.number)?;
                    temporary.push(made);
                    Some(Bound::new(made, 1))
                }
                (Role::Result, Some(own)) => match self.partial(
                    store,
                    buffer,
                    Bound { add: own.add || buffer.adds, ..own },
                )? {
                    Some(sum) => {
                        let from = Bound::new(sum.from, 1);
                        partial.push(sum);
                        Some(from)
                    }
                    None => Some(own),
                },
                (_, own) => own,
            };
            if let (true, Some(own)) = (buffer.starts_at_zero, own) {
                store.clear(own.tensor)?;
            }
            given.push(own);
        }
        for (at, kernel) in schedule.kernels.iter().enumerate() {
            self.kernel(store, kernel, &self.ready.kernels[at], &self.spread[at], &given)?;
        }
        for sum in partial {
            self.add_up(store, &sum)?;
            store.give(sum.from);
        }
        temporary.into_iter().for_each(|tensor| store.give(tensor));
        Ok(())
    }

    fn name(&self, buffer: &Buffer) -> String {
        format!("{} of {}", buffer.name, self.ready.schedule.name)
    }

    /// Room for partial results, where kernels cannot write the result itself.
    fn partial(
        &self,
        store: &mut Store,
        buffer: &Buffer,
        own: Bound,
    ) -> Result<Option<Partial>, Failure> {
        let terms = buffer.terms(&|dim| self.extent(dim));
        let of_one = &buffer.dims[buffer.partial..];
        let heads = of_one.iter().position(|dim| *dim == Dim::Heads);
        let share = heads.map_or(1, |_| self.extent(&Dim::Heads) / own.heads);
        // What is held otherwise than kernels leave it is rounded when it is added up.
        let held = own.tensor.number == buffer.number;
        if terms == 1 && share == 1 && !own.add && held {
            return Ok(None);
        }
        let from = store.take_as(&self.name(buffer), self.numbers(buffer), buffer.number)?;
        let size = |dims: &[Dim]| dims.iter().map(|dim| self.extent(dim)).product::<usize>();
        // Places that are shared, each by how many heads, and the numbers of one head there.
        let (outer, inner) = match heads {
            Some(at) => (size(&of_one[..at]) * own.heads, size(&of_one[at + 1..])),
            None => (1, size(of_one)),
        };
        Ok(Some(Partial { of: own, from, terms, outer, share, inner }))
    }

    /// Adds up the partial results of a buffer, and what heads that share something have.
    fn add_up(&self, store: &mut Store, sum: &Partial) -> Result<(), Failure> {
        let Partial { of, from, terms, outer, share, inner } = *sum;
        let all = outer * share * inner;
        if share == 1 {
            return self.fold(store, of.tensor, from, [1, terms, all], of.add);
        }
        if terms == 1 {
            return self.fold(store, of.tensor, from, [outer, share, inner], of.add);
        }
        let whole = store.take("sum over parts", all)?;
        self.fold(store, whole, from, [1, terms, all], false)?;
        self.fold(store, of.tensor, whole, [outer, share, inner], of.add)?;
        store.give(whole);
        Ok(())
    }

    fn fold(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        sizes: [usize; 3],
        add: bool,
    ) -> Result<(), Failure> {
        let [plain, narrow] = &self.ready.folds;
        let (_, kernel) = if to.number == plain.0 { plain } else { narrow };
        fold(store, kernel, to, from, sizes, add)
    }

    /// Starts one kernel.
    fn kernel(
        &self,
        store: &mut Store,
        kernel: &Kernel,
        loaded: &Loaded,
        spread: &Spread,
        given: &[Option<Bound>],
    ) -> Result<(), Failure> {
        let workspace = (kernel.workspace > 0)
            .then(|| store.take("workspace", spread.blocks * kernel.workspace / 4))
            .transpose()?;
        let mut arguments: Vec<Argument> = Vec::with_capacity(kernel.arguments.len());
        for argument in &kernel.arguments {
            arguments.push(match argument {
                Place::Bounds | Place::Positions => Argument::Tensor(Some(self.first)),
                Place::Chunks { .. } | Place::Jobs => Argument::Tensor(spread.table),
                Place::Sequences => self.extent(&Dim::Sequences).into(),
                Place::Rows => self.extent(&Dim::Rows).into(),
                Place::Heads => self.extent(&Dim::Heads).into(),
                Place::Workspace => Argument::Tensor(workspace),
                Place::Buffer(id) => Argument::Tensor(given[id.0].map(|own| own.tensor)),
                Place::OwnHeads(id) => given[id.0].map_or(1, |own| own.heads).into(),
            });
        }
        store.launch(loaded, [spread.blocks, kernel.threads, kernel.shared], &arguments)?;
        workspace.into_iter().for_each(|tensor| store.give(tensor));
        Ok(())
    }
}

/// The words by which blocks know their chunks: the sequence, the chunk's first token there, where the sequence begins,
/// and how long it is.
fn chunks(tokens: usize, bounds: &[usize]) -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for (sequence, w) in bounds.windows(2).enumerate() {
        for first in (0..w[1] - w[0]).step_by(tokens) {
            all.push([sequence, first, w[0], w[1] - w[0]]);
        }
    }
    all
}

impl Spread {
    fn new(store: &mut Store, kernel: &Kernel, over: Over) -> Result<Spread, Failure> {
        let table = |store: &mut Store, all: &mut dyn Iterator<Item = usize>| {
            store.table(all.map(|x| x as u32).collect()).map(Some)
        };
        let (bounds, heads) = match over {
            Over::Sequences { bounds, heads } => (bounds, heads),
            Over::Rows { rows, blocks, .. } => {
                let jobs = rows.div_ceil(kernel.chunk).min(blocks);
                return Ok(Spread { table: None, jobs, blocks: jobs * kernel.parts });
            }
        };
        Ok(match &kernel.grid {
            Grid::Pairs { .. } => {
                let jobs = jobs(kernel, bounds);
                Spread {
                    table: table(store, &mut jobs.iter().flat_map(|job| job.words()))?,
                    jobs: jobs.len(),
                    blocks: jobs.len() * heads,
                }
            }
            Grid::Chunks => {
                let words = chunks(kernel.chunk, bounds);
                let jobs = words.len();
                Spread {
                    table: table(store, &mut words.into_iter().flatten())?,
                    jobs,
                    blocks: jobs * heads,
                }
            }
            Grid::Heads | Grid::Rows => {
                let mut chunks = vec![0];
                for w in bounds.windows(2) {
                    chunks.push(chunks[chunks.len() - 1] + (w[1] - w[0]).div_ceil(kernel.chunk));
                }
                let sequences = bounds.len().saturating_sub(1);
                Spread {
                    table: table(store, &mut chunks.iter().copied())?,
                    jobs: sequences,
                    blocks: sequences * heads * kernel.parts,
                }
            }
        })
    }
}
