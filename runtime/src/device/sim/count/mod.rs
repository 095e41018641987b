//! Counts what a block does, and estimates how long it takes.
//!
//! The time is that of a simple machine. Within a basic block (no branch, barrier or wait) the instructions of a warp
//! start in whatever order their operands allow, one a cycle, as an assembler would arrange them; only reads of memory
//! do not pass earlier writes, unless they read what is constant for the kernel (`const … __restrict__`). Between two
//! barriers a block takes as long as the longest warp, or as the busiest unit is busy, whichever is more; that time
//! is given to the lines of the kernel's text that the longest warp spent it on. Device memory serves one request after
//! the other, from barrier to barrier: who reads waits for those before, who copies ahead of time does not.

pub mod kind;
pub mod traffic;

use kind::{CLASSES, Class, Known, Touch, known};
use traffic::{Held, SECTOR, sectors, wavefronts};

use super::Launch;
use super::hardware::Hardware;
use super::instruction::{Entry, Op, Reg};
use super::memory::SHARED_WINDOW;
use super::warp::LANES;

/// Operations of a product of fragments 16 x 8 x 16.
const PRODUCT: f64 = 2.0 * 16.0 * 8.0 * 16.0;
/// Schedulers of a multiprocessor: warps are dealt out to them in turn.
const SCHEDULERS: usize = 4;

/// What was counted, of one line of a kernel or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Instructions of warps, by [`Class`].
    pub instructions: [f64; CLASSES],
    /// Instructions of lanes, and how many they would be if every lane of the block did as much as the busiest warp.
    pub lanes: [f64; 2],
    /// Operations on the ordinary units, and on the matrix units.
    pub operations: [f64; 2],
    /// Wavefronts of shared memory, and how many there would be without conflicts of banks.
    pub wavefronts: [f64; 2],
    /// Bytes of device memory that lanes read and write.
    pub bytes: [f64; 2],
    /// Bytes of device memory that move: whole pieces of 32 bytes, read only where no cache holds them, and written.
    pub moved: [f64; 2],
    /// Cycles that blocks spend here, by what the longest warp did: it issued an instruction of a class, or waited for
    /// the result of one.
    pub cycles: [f64; CLASSES],
}

/// Adds the numbers of one list to another, so many times.
fn plus<const N: usize>(to: &mut [f64; N], from: &[f64; N], times: f64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += times * from);
}

impl Tally {
    /// Adds another one, so many times.
    pub fn add(&mut self, other: &Tally, times: f64) {
        plus(&mut self.instructions, &other.instructions, times);
        plus(&mut self.lanes, &other.lanes, times);
        plus(&mut self.operations, &other.operations, times);
        plus(&mut self.wavefronts, &other.wavefronts, times);
        plus(&mut self.bytes, &other.bytes, times);
        plus(&mut self.moved, &other.moved, times);
        plus(&mut self.cycles, &other.cycles, times);
    }
}

impl Tally {
    /// All cycles.
    pub fn time(&self) -> f64 {
        self.cycles.iter().sum()
    }
}

/// Units that may be busy.
pub const UNITS: usize = 7;

/// Their names: what each scheduler issues, its arithmetic of whole numbers, of f32, its functions and its products; then
/// shared memory, and the share of the device's memory that a multiprocessor has.
pub const UNIT_NAMES: [&str; UNITS] =
    ["issue", "integer", "float", "function", "product", "shared", "memory"];

/// What the blocks of a launch have done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// By line of the kernel's text, from 1 on.
    pub lines: Vec<Tally>,
    /// Cycles of the longest block.
    pub longest: f64,
    /// Cycles for which a multiprocessor with one block keeps each unit busy, of all blocks together.
    pub busy: [f64; UNITS],
    /// Barriers that blocks went through.
    pub barriers: f64,
}

impl Counts {
    /// Those of more blocks.
    pub(super) fn and(mut self, other: &Counts) -> Counts {
        let longest = self.longest.max(other.longest);
        self.add(other, 1.0);
        Counts { longest, ..self }
    }

    /// Adds those of another launch, so many times.
    pub fn add(&mut self, other: &Counts, times: f64) {
        let lines = self.lines.len().max(other.lines.len());
        self.lines.resize(lines, Tally::default());
        self.lines.iter_mut().zip(&other.lines).for_each(|(to, from)| to.add(from, times));
        self.longest += times * other.longest;
        plus(&mut self.busy, &other.busy, times);
        self.barriers += times * other.barriers;
    }

    /// All lines together.
    pub fn all(&self) -> Tally {
        self.lines.iter().fold(Tally::default(), |mut all, line| {
            all.add(line, 1.0);
            all
        })
    }
}

/// What a warp has spent on a line since the last barrier.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    cycles: [f64; CLASSES],
    issued: u64,
}

/// A time, and the class of the instruction that decides it.
type When = (f64, Class);

/// The later one.
fn later(a: When, b: When) -> When {
    if b.0 > a.0 { b } else { a }
}

/// The time of a warp.
#[derive(Clone, Debug)]
struct Clock {
    /// When the basic block began that it is in.
    begun: f64,
    /// Instructions of that block so far.
    issued: f64,
    /// When the last of them was issued, at least.
    end: f64,
    /// When its last write to memory was issued.
    stored: When,
    /// When registers can be used: words, longs, truth values.
    ready: [Vec<When>; 3],
    /// Cycles for which it has kept device memory busy since the last barrier.
    asked: f64,
    /// When copies arrive, by group; the last group is open.
    copies: Vec<f64>,
    spent: Vec<Spent>,
    /// The lines on which it has spent something.
    touched: Vec<usize>,
}

/// Counts one block.
#[derive(Clone, Debug)]
pub struct Counter<'a> {
    hardware: &'a Hardware,
    known: &'a [Known],
    /// Bytes of device memory that the block's multiprocessor moves in a cycle.
    bytes_a_cycle: f64,
    held: Held,
    clocks: Vec<Clock>,
    /// When the last barrier opened.
    opened: f64,
    /// Since then, how long each scheduler's units are busy, and those that all share.
    busy: [[f64; 5]; SCHEDULERS],
    wavefronts: f64,
    /// Until when device memory is busy with what it was asked for before the last barrier, and for how long with what
    /// it was asked for since.
    queue: [f64; 2],
    counts: Counts,
}

/// What is known of a kernel's instructions on a kind of GPU.
pub fn study(entry: &Entry, hardware: &Hardware) -> Vec<Known> {
    entry.code.iter().map(|inst| known(inst, hardware)).collect()
}

impl<'a> Counter<'a> {
    /// Nothing counted yet of a block, of which there are so many in all.
    pub fn new(
        entry: &Entry,
        known: &'a [Known],
        launch: Launch,
        blocks: usize,
        hardware: &'a Hardware,
    ) -> Counter<'a> {
        let lines = known.iter().map(|known| known.line + 1).max().unwrap_or(0);
        let clock = Clock {
            begun: 0.0,
            issued: 0.0,
            end: 0.0,
            stored: (0.0, Class::Control),
            asked: 0.0,
            ready: entry.registers.map(|n| vec![(0.0, Class::Control); n]),
            copies: vec![0.0],
            spent: vec![Spent::default(); lines],
            touched: vec![],
        };
        Counter {
            hardware,
            known,
            bytes_a_cycle: hardware.bytes_a_cycle(blocks),
            held: Held::new([
                hardware.on_chip.saturating_sub(launch.shared),
                hardware.l2 / hardware.multiprocessors,
            ]),
            clocks: vec![clock; launch.threads / LANES],
            opened: 0.0,
            busy: [[0.0; 5]; SCHEDULERS],
            wavefronts: 0.0,
            queue: [0.0; 2],
            counts: Counts { lines: vec![Tally::default(); lines], ..Counts::default() },
        }
    }

    /// Counts an instruction of a warp that some of its lanes run, given the addresses that it names: of what it reads
    /// or writes, and of a copy's source.
    pub fn issue(&mut self, warp: usize, pc: usize, op: &Op, mask: u32, at: [&[u64; LANES]; 2]) {
        let known = &self.known[pc];
        let clock = &mut self.clocks[warp];
        let begun = (clock.begun, Class::Control);
        let mut start = known.reads.iter().map(|reg| clock.ready(*reg)).fold(begun, later);
        if matches!(known.touch, Touch::Load(_) | Touch::Matrices) && !known.constant {
            start = later(start, clock.stored);
        }
        if let Op::CopyWait(in_flight) = op {
            start = later(start, (clock.arrived(*in_flight), Class::Memory));
        }
        let (class, done) = self.touch(warp, pc, mask, at, start.0);
        let clock = &mut self.clocks[warp];
        let known = &self.known[pc];
        known.writes.iter().for_each(|reg| clock.make(*reg, (done, class)));
        match known.touch {
            Touch::Store(_) => clock.stored = later(clock.stored, (start.0, class)),
            Touch::Copy(_) => clock.copies.iter_mut().rev().take(1).for_each(|t| *t = t.max(done)),
            _ => {}
        }
        if matches!(op, Op::CopyGroup) {
            clock.copies.push(0.0);
        }
        let costs = f64::from(u8::from(class != Class::Move));
        clock.issued += costs;
        let issued = clock.begun + clock.issued;
        let end = issued.max(start.0 + costs).max(clock.end);
        let waited = if start.0 + costs > issued { start.1 } else { class };
        clock.spend(known.line, end - clock.end, waited);
        clock.end = end;
        if class == Class::Control {
            (clock.begun, clock.issued) = (end, 0.0);
        }
        self.tally(warp, pc, class, mask);
    }

    /// What an instruction does to memory: its class by the memory that it touches, and when its result is there if it
    /// starts at a time.
    fn touch(
        &mut self,
        warp: usize,
        pc: usize,
        mask: u32,
        at: [&[u64; LANES]; 2],
        start: f64,
    ) -> (Class, f64) {
        let known = &self.known[pc];
        let line = known.line;
        let bytes = match known.touch {
            Touch::None => return (known.class, start + known.latency),
            Touch::Load(bytes) | Touch::Store(bytes) | Touch::Copy(bytes) => bytes,
            Touch::Matrices => 16,
        };
        let first = at[0][mask.trailing_zeros() as usize % LANES];
        let shared = known.class == Class::Shared || first >= SHARED_WINDOW;
        let copies = matches!(known.touch, Touch::Copy(_));
        if shared || copies {
            let [taken, least] = wavefronts(at[0], mask, bytes);
            let tally = &mut self.counts.lines[line];
            plus(&mut tally.wavefronts, &[taken, least], 1.0);
            self.wavefronts += taken;
            if !copies {
                let plain = if known.touch == Touch::Matrices { 1 } else { 0 };
                let latency = self.hardware.shared[plain] + taken - least;
                return (Class::Shared, start + latency);
            }
        }
        let writes = matches!(known.touch, Touch::Store(_));
        let from = if copies { at[1] } else { at[0] };
        let (mut latency, mut moved) = (0.0_f64, 0.0);
        for sector in sectors(from, mask, bytes) {
            let found = self.held.find(sector);
            latency = latency.max(self.hardware.memory[found]);
            // Writes go through to the device.
            if writes || found + 1 == self.hardware.memory.len() {
                moved += SECTOR as f64;
            }
        }
        let tally = &mut self.counts.lines[line];
        tally.bytes[usize::from(writes)] += f64::from(mask.count_ones()) * bytes as f64;
        tally.moved[usize::from(writes)] += moved;
        if moved == 0.0 {
            return (Class::Memory, start + latency);
        }
        // Warps are counted one after the other and ask side by side: each finds as much before its requests as if the
        // others had asked for as much so far.
        let takes = moved / self.bytes_a_cycle;
        let [before, asked] = &mut self.queue;
        let (own, count) = (self.clocks[warp].asked, self.clocks.len() as f64);
        let turn = start.max(*before + asked.min(own * count));
        self.clocks[warp].asked += takes;
        *asked += takes;
        (Class::Memory, turn + takes + latency)
    }

    fn tally(&mut self, warp: usize, pc: usize, class: Class, mask: u32) {
        let known = &self.known[pc];
        let lanes = f64::from(mask.count_ones());
        let tally = &mut self.counts.lines[known.line];
        tally.instructions[class as usize] += 1.0;
        tally.lanes[0] += lanes;
        tally.operations[0] += lanes * known.operations;
        let busy = &mut self.busy[warp % SCHEDULERS];
        match class {
            Class::Move => return,
            Class::Integer => busy[1] += known.busy,
            Class::Float => busy[2] += known.busy,
            Class::Function => busy[3] += known.busy,
            Class::Product => {
                tally.operations[1] += PRODUCT;
                busy[4] += known.busy;
            }
            _ => {}
        }
        busy[0] += 1.0;
    }

    /// Ends the time between two barriers.
    pub fn barrier(&mut self) {
        self.counts.barriers += 1.0;
        let last = self.close();
        self.open(last + self.hardware.barrier);
    }

    /// Ends the block.
    pub fn finish(mut self) -> Counts {
        self.counts.longest = self.close().max(self.queue.iter().sum());
        self.counts
    }

    /// How long the block took since the last barrier, given to lines; gives the time.
    fn close(&mut self) -> f64 {
        let ends = self.clocks.iter().map(|clock| clock.end).enumerate();
        let (slowest, end) = ends.fold((0, self.opened), |a, b| if b.1 > a.1 { b } else { a });
        let mut units = [0.0_f64; UNITS];
        for scheduler in &self.busy {
            units.iter_mut().zip(scheduler).for_each(|(unit, busy)| *unit = unit.max(*busy));
        }
        units[5] = self.wavefronts;
        units[6] = self.queue[1];
        self.counts.busy.iter_mut().zip(units).for_each(|(all, unit)| *all += unit);
        let chain = end - self.opened;
        // Those who wait for memory have waited; the others go on while it works.
        let time = units[..6].iter().copied().fold(chain, f64::max);
        let clock = &self.clocks[slowest];
        // Where a unit is busy for longer than the longest warp, every line takes so much longer.
        let stretch = if chain > 0.0 { time / chain } else { 0.0 };
        for line in &clock.touched {
            plus(&mut self.counts.lines[*line].cycles, &clock.spent[*line].cycles, stretch);
        }
        self.level();
        self.opened + time
    }

    /// Counts the lanes that would have run if all warps had done as much as the busiest one, line by line.
    fn level(&mut self) {
        let lanes = (self.clocks.len() * LANES) as f64;
        let mut lines: Vec<usize> =
            self.clocks.iter().flat_map(|c| c.touched.iter().copied()).collect();
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            let most = self.clocks.iter().map(|clock| clock.spent[line].issued).max().unwrap_or(0);
            self.counts.lines[line].lanes[1] += most as f64 * lanes;
        }
    }

    /// All warps go on from a time.
    fn open(&mut self, time: f64) {
        self.opened = time;
        self.queue = [self.queue.iter().sum::<f64>().max(time), 0.0];
        self.busy = [[0.0; 5]; SCHEDULERS];
        self.wavefronts = 0.0;
        for clock in &mut self.clocks {
            clock.restart(time);
        }
    }
}

impl Clock {
    fn file(reg: Reg) -> (usize, usize) {
        match reg {
            Reg::Word(at) => (0, at),
            Reg::Long(at) => (1, at),
            Reg::Pred(at) => (2, at),
        }
    }

    fn ready(&self, reg: Reg) -> When {
        let (file, at) = Clock::file(reg);
        self.ready[file][at]
    }

    fn make(&mut self, reg: Reg, done: When) {
        let (file, at) = Clock::file(reg);
        self.ready[file][at] = done;
    }

    /// When all groups of copies but the last so many have arrived; those are forgotten.
    fn arrived(&mut self, in_flight: usize) -> f64 {
        let over = self.copies.len().saturating_sub(in_flight + 1);
        self.copies.drain(..over).fold(0.0, f64::max)
    }

    fn spend(&mut self, line: usize, cycles: f64, class: Class) {
        let spent = &mut self.spent[line];
        if spent.issued == 0 {
            self.touched.push(line);
        }
        spent.cycles[class as usize] += cycles;
        spent.issued += 1;
    }

    fn restart(&mut self, time: f64) {
        (self.begun, self.issued, self.end) = (time, 0.0, time);
        self.asked = 0.0;
        for line in self.touched.drain(..) {
            self.spent[line] = Spent::default();
        }
    }
}
