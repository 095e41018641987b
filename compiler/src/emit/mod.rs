//! Prints a schedule's kernels as CUDA C++, statement by statement. The plan has decided everything:
//! arguments, loops, conditions, how the threads of a block share a step, where tiles lie, when threads
//! wait.

mod copies;
mod expr;
mod fragments;
mod map;
mod step;

use crate::normal::Refusal;
use crate::plan::lower::WARP;
use crate::plan::target::Gpu;
use crate::plan::{
    Access, Argument, Buffer, Grid, Kernel, Loop, Number, Over, Schedule, Side, Space, Step, Stmt,
    Tile, TileId, Transport,
};

pub use expr::unary;

/// The tile library.
pub const TILE_LIBRARY: &str = concat!(
    include_str!("../../../templates/tile/numbers.cuh"),
    include_str!("../../../templates/tile/groups.cuh"),
    include_str!("../../../templates/tile/threads.cuh"),
    include_str!("../../../templates/tile/products.cuh"),
    include_str!("../../../templates/tile/decays.cuh"),
    include_str!("../../../templates/tile/masks.cuh"),
    include_str!("../../../templates/tile/grams.cuh"),
    include_str!("../../../templates/tile/scans.cuh"),
    include_str!("../../../templates/tile/solve.cuh"),
    include_str!("../../../templates/tile/inverse.cuh"),
);
/// How kernels of recurrences find their tensors.
const TENSORS: &str = include_str!("../../../templates/kernel.cuh");

/// A count of blocks, where each of so many of them has a part.
fn per_part(blocks: &str, parts: usize) -> String {
    if parts == 1 { blocks.into() } else { format!("({blocks} / {parts})") }
}

/// The CUDA C++ text of a kernel of a schedule.
pub fn cuda(schedule: &Schedule, kernel: &Kernel) -> String {
    let own = function(schedule, kernel);
    // A block that goes through a sequence has most of a multiprocessor to itself, and with it registers for more reads.
    let ahead = if kernel.grid == Grid::Heads { "#define AHEAD 4\n" } else { "" };
    format!("#define THREADS {}\n{ahead}{TILE_LIBRARY}{TENSORS}\n{own}", kernel.threads)
}

/// Refuses a schedule with steps that cannot be printed for a kind of GPU.
pub fn supports(schedule: &Schedule, gpu: Gpu) -> Result<(), Refusal> {
    let steps = || schedule.kernels.iter().flat_map(Kernel::steps);
    let bulk = steps().any(|step| matches!(step, Step::Copy { by: Transport::Bulk, .. }));
    let why = match (bulk, gpu.bulk_copies) {
        (false, _) => return Ok(()),
        (true, false) => format!("{} has no bulk copies", gpu.arch),
        (true, true) => "bulk copies are not printed yet".to_string(),
    };
    Err(Refusal { span: None, why: format!("{}: {why}", schedule.name) })
}

/// The same without the library that it needs.
pub fn function(schedule: &Schedule, kernel: &Kernel) -> String {
    printed(schedule, kernel).text
}

/// The steps of a kernel as people read them, each with the line of [`cuda`]'s text at which it begins.
pub fn steps(schedule: &Schedule, kernel: &Kernel) -> Vec<(usize, String)> {
    let before =
        cuda(schedule, kernel).lines().count() - function(schedule, kernel).lines().count();
    let steps = printed(schedule, kernel).steps.into_iter();
    steps.map(|(line, step)| (before + line, step)).collect()
}

fn printed<'a>(schedule: &'a Schedule, kernel: &Kernel) -> Text<'a> {
    let mut out = Text { of: schedule, text: String::new(), depth: 0, lines: 0, steps: vec![] };
    out.kernel(kernel);
    out
}

/// A number's type in C.
fn type_of(number: Number) -> &'static str {
    match number {
        Number::F32 => "float",
        Number::Bf16 => "bf16",
    }
}

struct Text<'a> {
    of: &'a Schedule,
    text: String,
    depth: usize,
    /// Lines so far.
    lines: usize,
    /// Steps, each with the line at which it begins.
    steps: Vec<(usize, String)>,
}

impl Text<'_> {
    fn line(&mut self, line: &str) {
        if !line.is_empty() {
            (0..self.depth).for_each(|_| self.text.push_str("    "));
        }
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        self.line(if head.is_empty() { "{".into() } else { format!("{head} {{") }.as_str());
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    fn kernel(&mut self, k: &Kernel) {
        let arguments: Vec<String> =
            k.arguments.iter().map(|argument| self.argument(*argument)).collect();
        self.line(&format!("extern \"C\" __global__ void __launch_bounds__({}, 1)", k.threads));
        self.block(&format!("{}({})", k.name, arguments.join(", ")), |t| t.body(k));
    }

    /// An argument's type and name.
    fn argument(&self, argument: Argument) -> String {
        match argument {
            Argument::Bounds => "const int* bounds".to_string(),
            Argument::Chunks { .. } => "const int* chunks".to_string(),
            Argument::Jobs => "const int* jobs".to_string(),
            Argument::Positions => "const int* positions".to_string(),
            Argument::Sequences => "int sequences".to_string(),
            Argument::Rows => "int rows".to_string(),
            Argument::Heads => "int heads".to_string(),
            Argument::Workspace => "unsigned char* __restrict__ workspace".to_string(),
            Argument::Buffer(id) => {
                let Buffer { name, access, number, .. } = self.of.buffer(id);
                let in_place = self.of.buffers.iter().any(|buffer| buffer.in_place);
                let alone = if in_place { "" } else { "__restrict__ " };
                let constant = if *access == Access::Read { "const " } else { "" };
                format!("{constant}{}* {alone}{name}", type_of(*number))
            }
            Argument::OwnHeads(id) => format!("int heads_{}", self.of.buffer(id).name),
        }
    }

    fn body(&mut self, k: &Kernel) {
        self.line("extern __shared__ __align__(128) unsigned char shared[];");
        self.line("Place at;");
        self.place(k);
        if k.workspace > 0 {
            self.line(&format!(
                "unsigned char* own_workspace = workspace + (long long)blockIdx.x * {};",
                k.workspace
            ));
        }
        for Buffer { name, .. } in self.of.buffers.iter().filter(|buffer| buffer.has_own_heads()) {
            self.line(&format!("const int own_{name} = at.head / (heads / heads_{name});"));
        }
        for (id, tile) in k.tiles.iter().enumerate() {
            self.tile(k, TileId(id), tile);
        }
        self.statements(k, &k.body);
    }

    /// Where a tile lies; of one with several stages, all of them.
    fn tile(&mut self, k: &Kernel, id: TileId, tile: &Tile) {
        let (number, id) = (type_of(tile.number), id.0);
        let memory = match tile.space {
            Space::Register(fragment) => {
                let slots = fragment.jobs(&tile.shape).0.div_ceil(k.threads / WARP);
                return self.line(&format!("float tile{id}[{}];", slots * fragment.numbers()));
            }
            Space::Shared(_) => "shared",
            Space::Workspace => "own_workspace",
        };
        let Some(at) = tile.at else { return };
        let all = if tile.stages > 1 { "_stages" } else { "" };
        self.line(&format!("{number}* const tile{id}{all} = ({number}*)({memory} + {at});"));
    }

    /// Lets a tile's name mean one of its stages.
    fn stage(&mut self, id: TileId, tile: &Tile, round: &str) {
        let (number, id) = (type_of(tile.number), id.0);
        let size = tile.bytes / tile.number.bytes();
        let stage = format!("tile{id}_stages + {round} % {} * {size}", tile.stages);
        self.line(&format!("{number}* const tile{id} = {stage};"));
    }

    /// Which block this is, and its tokens.
    fn place(&mut self, k: &Kernel) {
        let parts = k.parts;
        let block = match &k.grid {
            Grid::Heads => vec![
                format!("at.part = blockIdx.x % {parts};"),
                format!("at.head = blockIdx.x / {parts} % heads;"),
                format!("at.sequence = blockIdx.x / {parts} / heads;"),
                "at.job = at.sequence;".to_string(),
            ],
            Grid::Pairs { .. } => vec![
                "at.job = blockIdx.x / heads;".to_string(),
                "const int* job = jobs + 4 * at.job;".to_string(),
                "at.part = 0;".to_string(),
                "at.head = blockIdx.x % heads;".to_string(),
                "at.sequence = job[0];".to_string(),
            ],
            Grid::Chunks => vec![
                "at.job = blockIdx.x / heads;".to_string(),
                "const int* job = jobs + 4 * at.job;".to_string(),
                "at.part = 0;".to_string(),
                "at.head = blockIdx.x % heads;".to_string(),
                "at.sequence = job[0];".to_string(),
                "at.chunk = at.job;".to_string(),
            ],
            Grid::Rows => vec![
                "at.head = at.sequence = at.start = 0;".to_string(),
                format!(
                    "at.part = {};",
                    if parts == 1 { "0".into() } else { format!("blockIdx.x % {parts}") }
                ),
                format!("at.job = {};", per_part("blockIdx.x", parts)),
                "at.length = at.rows = rows;".to_string(),
                "at.positions = positions;".to_string(),
                "__builtin_assume(positions != 0);".to_string(),
            ],
        };
        block.iter().for_each(|line| self.line(line));
        if k.grid != Grid::Rows {
            // A chunk's words say all, so that nothing waits for one read after the other.
            let [start, length] = match k.grid {
                Grid::Chunks => ["job[2]", "job[3]"],
                _ => ["bounds[at.sequence]", "bounds[at.sequence + 1] - at.start"],
            };
            self.line("at.positions = 0;");
            self.line(&format!("at.start = {start};"));
            self.line(&format!("at.length = {length};"));
            self.line("at.rows = bounds[sequences];");
        }
        if k.grid == Grid::Heads {
            self.line(&format!("const int rounds = (at.length + {}) / {};", k.chunk - 1, k.chunk));
            self.line("const int chunks_before = chunks[at.sequence];");
        }
        if k.grid == Grid::Chunks {
            self.rows_of(Side::Queries, "job[1]", k.chunk);
        }
        if let Grid::Pairs { own, .. } = &k.grid {
            self.rows_of(*own, "job[1]", k.chunk);
        }
    }

    fn statements(&mut self, k: &Kernel, body: &[Stmt]) {
        let mut rest = body;
        while let Some((stmt, behind)) = rest.split_first() {
            let copies = self.copies(k, rest);
            rest = if copies > 0 { &rest[copies..] } else { behind };
            match stmt {
                Stmt::Step(_) if copies > 0 => {}
                Stmt::Step(step) => self.step(k, step),
                Stmt::Loop(inner) => self.rounds(k, inner),
                Stmt::Given(buffer, body) => {
                    let name = &self.of.buffer(*buffer).name;
                    self.block(&format!("if ({name} != 0)"), |t| t.statements(k, body));
                }
            }
        }
    }

    fn rounds(&mut self, k: &Kernel, Loop { over, body }: &Loop) {
        let order = match over {
            Over::Chunks { .. } => "for (int round = 0; round < rounds; round++)".to_string(),
            Over::Blocks { tokens, .. } => {
                format!("for (int c = job[2]; c < job[3]; c += {tokens})")
            }
            // Every block takes its share of the groups of rows.
            Over::Groups { rows, .. } => {
                let blocks = per_part("gridDim.x", k.parts);
                format!("for (int c = at.job * {rows}; c < rows; c += {blocks} * {rows})")
            }
        };
        self.line("#pragma unroll 1");
        self.block(&order, |t| {
            match over {
                Over::Chunks { tokens, reverse } => {
                    t.round("round", *tokens, *reverse);
                    for (id, tile) in k.tiles.iter().enumerate().filter(|(_, tile)| tile.stages > 1)
                    {
                        t.stage(TileId(id), tile, "round");
                    }
                }
                Over::Blocks { side, tokens } => t.rows_of(*side, "c", *tokens),
                Over::Groups { rows, halo } => t.rows_of(Side::Queries, "c", rows + halo),
            }
            t.statements(k, body);
        });
    }

    /// Sets the tokens of a round of a loop over chunks.
    fn round(&mut self, round: &str, tokens: usize, reverse: bool) {
        let chunk = if reverse { format!("rounds - 1 - {round}") } else { round.to_string() };
        self.line(&format!("const int c = {chunk};"));
        self.rows_of(Side::Queries, &format!("c * {tokens}"), tokens);
        self.line("at.chunk = chunks_before + c;");
    }

    /// Sets the first token of a side, and how many of a block's are there.
    fn rows_of(&mut self, side: Side, first: &str, rows: usize) {
        let (name, valid) = match side {
            Side::Queries => ("at.first", "at.valid"),
            Side::Keys => ("at.first_key", "at.valid_keys"),
        };
        self.line(&format!("{name} = {first};"));
        self.line(&format!("{valid} = min(at.length - {name}, {rows});"));
    }
}
