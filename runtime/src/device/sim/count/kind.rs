//! What is known of an instruction before it runs.

use crate::device::sim::hardware::Hardware;
use crate::device::sim::instruction::{Address, Inst, One, Op, Reg, Space, Src, Two, Type};

/// Kinds of instructions, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Whole numbers, addresses, comparisons, choices.
    Integer,
    /// Arithmetic on f32.
    Float,
    /// Functions of a number, and conversions between whole numbers and floats.
    Function,
    /// Products of matrix fragments.
    Product,
    /// Reads and writes of shared memory, matrices among them.
    Shared,
    /// Reads and writes of the device's memory, copies among them.
    Memory,
    /// Exchanges between lanes.
    Shuffle,
    /// Branches, barriers and waits.
    Control,
    /// Moves between registers and reads of arguments, which the assembler mostly takes away: they cost nothing.
    Move,
}

/// How many there are.
pub const CLASSES: usize = 9;

impl Class {
    /// All of them, in the order of their counts.
    pub const ALL: [Class; CLASSES] = [
        Class::Integer,
        Class::Float,
        Class::Function,
        Class::Product,
        Class::Shared,
        Class::Memory,
        Class::Shuffle,
        Class::Control,
        Class::Move,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Class::Integer => "integer",
            Class::Float => "float",
            Class::Function => "function",
            Class::Product => "product",
            Class::Shared => "shared",
            Class::Memory => "memory",
            Class::Shuffle => "shuffle",
            Class::Control => "control",
            Class::Move => "move",
        }
    }
}

/// How an instruction touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Not at all.
    None,
    /// Bytes of each lane.
    Load(usize),
    /// Bytes of each lane.
    Store(usize),
    /// 16 bytes of each lane from shared memory, eight lanes for each of four matrices.
    Matrices,
    /// Bytes of each lane, from the device's memory to shared memory.
    Copy(usize),
}

/// What is known of an instruction.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its kind.
    pub class: Class,
    /// Its line in the kernel's text.
    pub line: usize,
    /// Registers that it waits for.
    pub reads: Vec<Reg>,
    /// Registers that it makes.
    pub writes: Vec<Reg>,
    /// Cycles until they can be used, unless memory decides.
    pub latency: f64,
    /// Cycles for which it keeps its unit.
    pub busy: f64,
    /// Operations of each lane on the ordinary units.
    pub operations: f64,
    /// How it touches memory.
    pub touch: Touch,
    /// Whether what it reads is constant for the kernel, so that it may pass earlier writes.
    pub constant: bool,
}

/// Multiples of a simple instruction that a division of f32 and one of whole numbers take.
const DIVISIONS: [f64; 2] = [8.0, 20.0];

/// What is known of an instruction on a kind of GPU.
pub fn known(inst: &Inst, hardware: &Hardware) -> Known {
    let class = class(&inst.op);
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    registers(&inst.op, &mut |src| reads.push(src), &mut |reg| writes.push(reg));
    reads.extend(inst.guard.map(|(p, _)| p));
    let [integer, float, function, product] = hardware.busy;
    let times = repeated(&inst.op);
    let (latency, busy) = match class {
        Class::Integer => (hardware.arithmetic * times, integer * times),
        Class::Float => (hardware.arithmetic * times, float * times),
        Class::Function => (hardware.function, function),
        Class::Product => (hardware.product, product),
        Class::Shared => {
            let [plain, matrices] = hardware.shared;
            (if matches!(inst.op, Op::Matrices(..)) { matrices } else { plain }, 1.0)
        }
        Class::Shuffle => (hardware.shuffle, 1.0),
        Class::Memory | Class::Control => (0.0, 1.0),
        Class::Move => (0.0, 0.0),
    };
    Known {
        class,
        line: inst.line[1],
        reads,
        writes,
        latency,
        busy,
        operations: operations(&inst.op),
        touch: touch(&inst.op),
        constant: matches!(inst.op, Op::Load(Space::Constant, ..)),
    }
}

fn class(op: &Op) -> Class {
    let arithmetic = |ty: Type| if ty == Type::F32 { Class::Float } else { Class::Integer };
    match op {
        Op::Move(..) | Op::Load(Space::Param, ..) => Class::Move,
        Op::Two(_, ty, ..) | Op::Fused(ty, ..) => arithmetic(*ty),
        Op::One(f, ty, ..) => match f {
            One::Neg | One::Not | One::Abs | One::Clz => arithmetic(*ty),
            _ => Class::Function,
        },
        Op::Convert { to, from, .. } => match (float(*to), float(*from)) {
            (true, true) => Class::Float,
            (false, false) => Class::Integer,
            _ => Class::Function,
        },
        Op::Pack(..) => Class::Float,
        Op::Wide(..) | Op::Compare { .. } | Op::Choose(..) | Op::Insert(..) => Class::Integer,
        Op::Load(space, ..) | Op::Store(space, ..) if *space == Space::Shared => Class::Shared,
        // Which memory a generic address names is known when it runs; see `Counter::issue`.
        Op::Load(..) | Op::Store(..) | Op::Copy(..) => Class::Memory,
        Op::Matrices(..) => Class::Shared,
        Op::Multiply { .. } => Class::Product,
        Op::Shuffle(..) | Op::Either(..) => Class::Shuffle,
        Op::Branch(_) | Op::Barrier | Op::Return | Op::CopyGroup | Op::CopyWait(_) => {
            Class::Control
        }
    }
}

fn float(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::Bf16)
}

/// Simple instructions that one stands for.
fn repeated(op: &Op) -> f64 {
    let [of_floats, of_numbers] = DIVISIONS;
    match op {
        Op::Two(Two::Div, Type::F32, ..) => of_floats,
        Op::Two(Two::Div | Two::Rem, ..) => of_numbers,
        Op::Two(_, ty, ..) | Op::Fused(ty, ..) | Op::One(_, ty, ..) | Op::Choose(ty, ..)
            if ty.bytes() == 8 =>
        {
            2.0
        }
        _ => 1.0,
    }
}

fn operations(op: &Op) -> f64 {
    match op {
        Op::Fused(Type::F32, ..) => 2.0,
        Op::Two(_, Type::F32, ..) => 1.0,
        Op::One(f, Type::F32, ..) if !matches!(f, One::Neg | One::Abs) => 1.0,
        _ => 0.0,
    }
}

fn touch(op: &Op) -> Touch {
    match op {
        Op::Load(Space::Param, ..) => Touch::None,
        Op::Load(_, ty, to, _) => Touch::Load(ty.bytes() * to.len()),
        Op::Store(_, ty, from, _) => Touch::Store(ty.bytes() * from.len()),
        Op::Matrices(..) => Touch::Matrices,
        Op::Copy(bytes, ..) => Touch::Copy(*bytes),
        _ => Touch::None,
    }
}

/// Calls the functions for what an instruction reads and writes.
fn registers(op: &Op, reads: &mut impl FnMut(Reg), writes: &mut impl FnMut(Reg)) {
    let mut read = |src: &Src| {
        if let Src::Reg(reg) = src {
            reads(*reg);
        }
    };
    fn base(address: &Address) -> Src {
        address.base.map_or(Src::Value(0), Src::Reg)
    }
    match op {
        Op::Move(_, d, a) | Op::One(_, _, d, a) | Op::Convert { d, a, .. } | Op::Either(d, a) => {
            read(a);
            writes(*d);
        }
        Op::Two(_, _, d, a, b) | Op::Shuffle(_, d, a, b) | Op::Pack(d, a, b) => {
            [a, b].into_iter().for_each(read);
            writes(*d);
        }
        Op::Fused(_, d, of) => {
            of.iter().for_each(read);
            writes(*d);
        }
        Op::Wide(_, d, a, b, c) => {
            [Some(a), Some(b), c.as_ref()].into_iter().flatten().for_each(read);
            writes(*d);
        }
        Op::Compare { d, a, b, with, .. } => {
            [a, b].into_iter().for_each(&mut read);
            with.iter().for_each(|(_, p, _)| read(&Src::Reg(*p)));
            writes(*d);
        }
        Op::Choose(_, d, a, b, p) => {
            [*a, *b, Src::Reg(*p)].iter().for_each(read);
            writes(*d);
        }
        Op::Insert(d, of) => {
            of.iter().for_each(read);
            writes(*d);
        }
        Op::Load(_, _, d, address) => {
            read(&base(address));
            d.iter().for_each(|d| writes(*d));
        }
        Op::Store(_, _, from, address) => {
            from.iter().for_each(&mut read);
            read(&base(address));
        }
        Op::Matrices(_, d, address) => {
            read(&base(address));
            d.iter().for_each(|d| writes(*d));
        }
        Op::Multiply { d, a, b, c } => {
            a.iter().chain(b).chain(c).for_each(read);
            d.iter().for_each(|d| writes(*d));
        }
        Op::Copy(_, to, from, brought) => {
            [base(to), base(from), *brought].iter().for_each(read);
        }
        Op::Branch(_) | Op::Barrier | Op::Return | Op::CopyGroup | Op::CopyWait(_) => {}
    }
}
