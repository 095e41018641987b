//! Executes 32 threads in lockstep.
//!
//! Threads that stand at the same instruction run together; of several groups the one furthest
//! behind runs first, so that they meet again after a branch.

mod registers;
mod traffic;

use crate::device::sim::arithmetic::{compare, convert, long_function, multiply, one, two};
use crate::device::sim::count::Counter;
use crate::device::sim::instruction::{Entry, Inst, Lane, One, Op, Reg, Space, Src, Two, Type};
use crate::device::sim::memory::{Memory, SHARED_WINDOW, Shared, Wrong};

/// Threads of a warp.
pub const LANES: usize = 32;

/// A value of each thread of a warp.
pub(super) type Word = [u32; LANES];
type Long = [u64; LANES];

/// A copy that has started: where to in shared memory, and what.
#[derive(Debug)]
struct Copy {
    lane: usize,
    at: u64,
    words: Vec<u32>,
}

/// 32 threads of a block.
pub struct Warp {
    /// Index of the first thread.
    first: usize,
    words: Vec<Word>,
    longs: Vec<Long>,
    preds: Vec<u32>,
    /// Threads that run, by where they stand.
    groups: Vec<(usize, u32)>,
    /// Threads that wait at a barrier.
    pub waiting: Vec<(usize, u32)>,
    /// Threads that wait for the rest of their warp, before an exchange between all of its lanes.
    meeting: Option<(usize, u32)>,
    /// Copies in flight, by group.
    copies: Vec<Vec<Copy>>,
    /// Copies that no group holds yet.
    loose: Vec<Copy>,
}

/// What all warps of a block share.
pub struct Around<'a> {
    /// The kernel.
    pub entry: &'a Entry,
    /// The arguments.
    pub params: &'a [u8],
    /// The device's memory.
    pub memory: &'a Memory,
    /// The block's memory.
    pub shared: &'a mut Shared,
    /// The block's index, and how many there are.
    pub block: [u32; 2],
    /// Threads of a block.
    pub threads: u32,
    /// Instructions executed so far, and how many are allowed.
    pub steps: [u64; 2],
    /// What counts them, where somebody asks.
    pub counter: Option<Counter<'a>>,
}

impl Around<'_> {
    /// Whether an address is in shared memory, and where; an error if the bytes there may not be
    /// touched at once.
    fn place(&self, space: Space, address: u64, bytes: usize) -> Result<(bool, u64), Wrong> {
        let (shared, start) = window(space, address);
        if shared {
            self.shared.check(start, bytes)?;
        } else {
            self.memory.check(start, bytes)?;
        }
        Ok((shared, start))
    }
}

/// What went wrong, at which instruction and in which thread.
pub struct Stop {
    /// The instruction.
    pub pc: usize,
    /// The thread's index in its block.
    pub thread: usize,
    /// What it did.
    pub wrong: Wrong,
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

impl Warp {
    /// Threads at the beginning of a kernel.
    pub fn new(entry: &Entry, first: usize) -> Warp {
        let [words, longs, preds] = entry.registers;
        Warp {
            first,
            words: vec![[0; LANES]; words],
            longs: vec![[0; LANES]; longs],
            preds: vec![0; preds],
            groups: vec![(0, u32::MAX)],
            waiting: vec![],
            meeting: None,
            copies: vec![],
            loose: vec![],
        }
    }

    /// Whether threads of the warp are still to finish.
    pub fn alive(&self) -> bool {
        !(self.groups.is_empty() && self.waiting.is_empty())
    }

    /// Threads that have not finished.
    pub fn threads(&self) -> u32 {
        let here = self.waiting.iter().chain(&self.groups).chain(&self.meeting);
        here.fold(0, |all, (_, mask)| all | mask)
    }

    /// Lets the threads that wait go on.
    pub fn release(&mut self) {
        self.groups.append(&mut self.waiting);
        self.groups.iter_mut().for_each(|(pc, _)| *pc += 1);
        self.settle();
    }

    /// The group furthest behind last; groups that stand at the same place become one.
    fn settle(&mut self) {
        self.groups.sort_by_key(|(pc, _)| std::cmp::Reverse(*pc));
        self.groups.dedup_by(|a, b| {
            let same = a.0 == b.0;
            if same {
                b.1 |= a.1;
            }
            same
        });
    }

    /// Lets the threads that do not take part go on by themselves.
    fn leave(&mut self, pc: usize, mask: u32) {
        if mask != 0 {
            self.groups.push((pc, mask));
            self.settle();
        }
    }

    /// Runs until every thread has finished or waits at a barrier.
    pub fn run(&mut self, around: &mut Around) -> Result<(), Stop> {
        while let Some((pc, mask)) = self.groups.pop() {
            self.run_group(pc, mask, around)?;
        }
        match self.meeting {
            Some((pc, mask)) => {
                let (lane, wrong) = missing(mask);
                Err(self.stop(pc, lane, wrong))
            }
            None => Ok(()),
        }
    }

    /// Runs threads that stand at one place until they part, meet others, finish or wait.
    fn run_group(&mut self, mut pc: usize, mask: u32, around: &mut Around) -> Result<(), Stop> {
        let code = &around.entry.code;
        let meet = self.groups.last().map_or(usize::MAX, |(pc, _)| *pc);
        while pc != meet {
            let Some(inst) = code.get(pc) else { return Ok(()) };
            around.steps[0] += 1;
            if around.steps[0] > around.steps[1] {
                return Err(self.stop(pc, 0, "it does not end".to_string()));
            }
            if matches!(inst.op, Op::Shuffle(..) | Op::Either(..)) && mask != u32::MAX {
                return self.meet(pc, mask).map_err(|(lane, wrong)| self.stop(pc, lane, wrong));
            }
            let active = self.active(inst, mask);
            if around.counter.is_some() {
                self.count(around, pc, inst, active);
            }
            match &inst.op {
                Op::Branch(to) if active == mask => {
                    pc = *to;
                    if pc > meet {
                        break;
                    }
                    continue;
                }
                Op::Branch(to) if active != 0 => {
                    self.groups.push((*to, active));
                    self.leave(pc + 1, mask & !active);
                    return Ok(());
                }
                Op::Branch(_) => {}
                Op::Return => {
                    self.leave(pc + 1, mask & !active);
                    return Ok(());
                }
                Op::Barrier => {
                    self.waiting.push((pc, active));
                    self.leave(pc + 1, mask & !active);
                    return Ok(());
                }
                op if active != 0 => self
                    .step(op, active, mask, around)
                    .map_err(|(lane, wrong)| self.stop(pc, lane, wrong))?,
                _ => {}
            }
            pc += 1;
        }
        self.leave(pc, mask);
        Ok(())
    }

    fn stop(&self, pc: usize, lane: usize, wrong: Wrong) -> Stop {
        Stop { pc, thread: self.first + lane, wrong }
    }

    /// Lets threads wait until the rest of the warp has come to the same exchange; then all go on.
    fn meet(&mut self, pc: usize, mask: u32) -> Result<(), (usize, Wrong)> {
        let all = match self.meeting.take() {
            Some((other, here)) if other != pc => return Err(missing(here)),
            Some((_, here)) => here | mask,
            None => mask,
        };
        if all == u32::MAX {
            self.leave(pc, all);
        } else {
            self.meeting = Some((pc, all));
        }
        Ok(())
    }

    fn active(&self, inst: &Inst, mask: u32) -> u32 {
        match inst.guard {
            None => mask,
            Some((p, true)) => mask & self.pred(p),
            Some((p, false)) => mask & !self.pred(p),
        }
    }

    /// Arithmetic; everything else is passed on.
    fn step(
        &mut self,
        op: &Op,
        mask: u32,
        group: u32,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        match op {
            Op::Move(ty, d, a) if ty.bytes() == 8 => {
                let a = self.long(*a, around);
                self.put_long(*d, mask, a);
            }
            Op::Move(_, d, a) => {
                let a = self.word(*a, around);
                self.put_word(*d, mask, a);
            }
            Op::Two(f, ty, d, a, b) if ty.bytes() == 8 => {
                let (a, b) = (self.long(*a, around), self.long(*b, around));
                let f = long_function(*f, *ty);
                self.put_long(*d, mask, std::array::from_fn(|lane| f(a[lane], b[lane])));
            }
            Op::Two(f, ty, d, a, b) => {
                let (a, b) = (self.word(*a, around), self.word(*b, around));
                let value = two(*f, *ty, &a, &b);
                self.put_word(*d, mask, value);
            }
            Op::Fused(ty, d, of) => self.fused(*ty, *d, of, mask, around),
            Op::Wide(ty, d, a, b, c) => self.wide(*ty, *d, [*a, *b], *c, mask, around),
            Op::One(f, ty, d, a) if ty.bytes() == 8 => {
                let a = self.long(*a, around);
                let f = *f;
                self.put_long(
                    *d,
                    mask,
                    a.map(|x| if f == One::Neg { x.wrapping_neg() } else { !x }),
                );
            }
            Op::One(f, ty, d, a) => {
                let a = self.word(*a, around);
                self.put_word(*d, mask, a.map(|x| one(*f, *ty, x)));
            }
            Op::Convert { to, from, whole, d, a } => {
                let a = self.long(*a, around);
                self.put_long(*d, mask, a.map(|x| convert(x, *from, *to, *whole)));
            }
            Op::Pack(d, high, low) => {
                let [high, low] = [high, low].map(|src| self.word(*src, around));
                let half = |x: u32| convert(u64::from(x), Type::F32, Type::Bf16, false) as u32;
                let pair = |lane: usize| half(high[lane]) << 16 | half(low[lane]);
                self.put_word(*d, mask, std::array::from_fn(pair));
            }
            Op::Compare { order, unordered, ty, d, a, b, with } => {
                let (a, b) = (self.long(*a, around), self.long(*b, around));
                let holds = |lane: usize| compare(*order, *unordered, *ty, a[lane], b[lane]);
                let set = (0..LANES).fold(0, |set, lane| set | u32::from(holds(lane)) << lane);
                self.put_truth(*d, mask, set, *with);
            }
            Op::Choose(_, d, a, b, p) => {
                let (a, b, p) = (self.long(*a, around), self.long(*b, around), self.pred(*p));
                let value = |lane: usize| if p >> lane & 1 == 1 { a[lane] } else { b[lane] };
                self.put_long(*d, mask, std::array::from_fn(value));
            }
            Op::Insert(d, of) => self.insert(*d, of, mask, around),
            other => self.together_or_memory(other, mask, group, around)?,
        }
        Ok(())
    }

    /// A product of twice as many bits, and perhaps a sum.
    fn wide(
        &mut self,
        ty: Type,
        d: Reg,
        [a, b]: [Src; 2],
        c: Option<Src>,
        mask: u32,
        around: &Around,
    ) {
        let (a, b) = (self.word(a, around), self.word(b, around));
        let c = c.map_or([0; LANES], |c| self.long(c, around));
        let widen = |x: u32| match ty {
            Type::S32 => i64::from(x as i32) as u64,
            Type::S16 => i64::from(x as i16) as u64,
            Type::U16 => u64::from(x as u16),
            _ => u64::from(x),
        };
        let value = |lane: usize| widen(a[lane]).wrapping_mul(widen(b[lane])).wrapping_add(c[lane]);
        self.put_long(d, mask, std::array::from_fn(value));
    }

    /// Truth values of comparisons, perhaps together with another one.
    fn put_truth(&mut self, d: Reg, mask: u32, set: u32, with: Option<(Two, Reg, bool)>) {
        let set = match with {
            None => set,
            Some((f, p, holds)) => {
                let p = if holds { self.pred(p) } else { !self.pred(p) };
                match f {
                    Two::And => set & p,
                    Two::Or => set | p,
                    _ => set ^ p,
                }
            }
        };
        if let Reg::Pred(at) = d {
            self.preds[at] = self.preds[at] & !mask | set & mask;
        }
    }

    /// Bits of one value put into another.
    fn insert(&mut self, d: Reg, of: &[Src; 4], mask: u32, around: &Around) {
        let [a, b, first, length] = of.map(|x| self.word(x, around));
        let value = |lane: usize| {
            let bits = (1_u64 << length[lane].min(32)) - 1;
            let at = first[lane].min(31);
            let keep = !((bits << at) as u32);
            b[lane] & keep | ((u64::from(a[lane]) & bits) << at) as u32
        };
        self.put_word(d, mask, std::array::from_fn(value));
    }

    /// `d = a * b + c`
    fn fused(&mut self, ty: Type, d: Reg, [a, b, c]: &[Src; 3], mask: u32, around: &Around) {
        if ty.bytes() == 8 {
            let [a, b, c] = [a, b, c].map(|x| self.long(*x, around));
            let value = |lane: usize| a[lane].wrapping_mul(b[lane]).wrapping_add(c[lane]);
            return self.put_long(d, mask, std::array::from_fn(value));
        }
        let [a, b, c] = [a, b, c].map(|x| self.word(*x, around));
        let value: Word = if ty == Type::F32 {
            // The product of two f32 is exact in f64.
            std::array::from_fn(|lane| {
                let [a, b, c] = [a, b, c].map(|x| f64::from(f32::from_bits(x[lane])));
                ((a * b + c) as f32).to_bits()
            })
        } else {
            std::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]).wrapping_add(c[lane]))
        };
        self.put_word(d, mask, value);
    }

    /// Operations on memory, and those of a whole warp.
    fn together_or_memory(
        &mut self,
        op: &Op,
        mask: u32,
        group: u32,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        match op {
            Op::Load(space, ty, d, address) => self.load(*space, *ty, d, address, mask, around)?,
            Op::Store(space, ty, from, address) => {
                self.store(*space, *ty, from, address, mask, around)?
            }
            Op::Shuffle(other, d, a, by) => {
                together(mask, group)?;
                let (a, by) = (self.word(*a, around), self.word(*by, around));
                let value = |lane: usize| {
                    let by = by[lane] as usize & 31;
                    a[if *other == Lane::Is { by } else { lane ^ by }]
                };
                self.put_word(*d, mask, std::array::from_fn(value));
            }
            Op::Either(d, a) => {
                together(mask, group)?;
                let all = self.word(*a, around).into_iter().fold(0, |all, x| all | x);
                self.put_word(*d, mask, [all; LANES]);
            }
            Op::Matrices(transposed, d, address) => {
                together(mask, group)?;
                self.matrices(*transposed, d, address, around)?;
            }
            Op::Multiply { d, a, b, c } => {
                together(mask, group)?;
                let a = a.map(|x| self.word(x, around));
                let b = b.map(|x| self.word(x, around));
                let c = c.map(|x| self.word(x, around));
                let sums = multiply(&a, &b, &c);
                for (d, sum) in d.iter().zip(sums) {
                    self.put_word(*d, mask, sum);
                }
            }
            Op::Copy(bytes, to, from, brought) => {
                self.copy(*bytes, [to, from], *brought, mask, around)?;
            }
            Op::CopyGroup => self.copies.push(std::mem::take(&mut self.loose)),
            Op::CopyWait(in_flight) => {
                while self.copies.len() > *in_flight {
                    for copy in self.copies.remove(0) {
                        around
                            .shared
                            .end_copy(copy.at, &copy.words, self.first + copy.lane)
                            .map_err(|wrong| (copy.lane, wrong))?;
                    }
                }
            }
            _ => unreachable!("branches are followed where groups of threads are kept"),
        }
        Ok(())
    }
}

/// Operations of a whole warp need all of its threads.
fn together(mask: u32, group: u32) -> Result<(), (usize, Wrong)> {
    if mask & group == u32::MAX {
        return Ok(());
    }
    Err(missing(mask & group))
}

/// The first lane that is not there.
fn missing(there: u32) -> (usize, Wrong) {
    let lane = (!there).trailing_zeros() as usize;
    (lane, "it is missing at an instruction of its whole warp".to_string())
}

/// Whether an address is in shared memory, and where.
fn window(space: Space, address: u64) -> (bool, u64) {
    match space {
        Space::Shared => (true, address),
        Space::Generic if address >= SHARED_WINDOW => (true, address - SHARED_WINDOW),
        _ => (false, address),
    }
}
