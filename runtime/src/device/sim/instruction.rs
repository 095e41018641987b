//! Instructions of PTX, as far as kernels here use them.

/// The type that an instruction works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Truth values.
    Pred,
    /// One byte.
    B8,
    /// 16 bits without a sign.
    U16,
    /// 16 bits with a sign.
    S16,
    /// 32 bits without a sign.
    U32,
    /// 32 bits with a sign.
    S32,
    /// A float.
    F32,
    /// 64 bits without a sign.
    U64,
    /// 64 bits with a sign.
    S64,
    /// A bf16 float.
    Bf16,
}

impl Type {
    pub(super) fn of(name: &str) -> Option<Type> {
        Some(match name {
            "pred" => Type::Pred,
            "b8" | "u8" => Type::B8,
            "b16" | "u16" => Type::U16,
            "s16" => Type::S16,
            "b32" | "u32" => Type::U32,
            "s32" => Type::S32,
            "f32" => Type::F32,
            "b64" | "u64" => Type::U64,
            "s64" => Type::S64,
            "bf16" => Type::Bf16,
            _ => return None,
        })
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Type::Pred | Type::B8 => 1,
            Type::U16 | Type::S16 | Type::Bf16 => 2,
            Type::U32 | Type::S32 | Type::F32 => 4,
            Type::U64 | Type::S64 => 8,
        }
    }
}

/// A register, by the file that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reg {
    /// Up to 32 bits.
    Word(usize),
    /// 64 bits.
    Long(usize),
    /// A truth value.
    Pred(usize),
}

/// What an instruction reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Src {
    /// A register.
    Reg(Reg),
    /// Bits.
    Value(u64),
    /// The thread's index in its block.
    Thread,
    /// The block's index.
    Block,
    /// Threads of a block.
    Threads,
    /// Blocks.
    Blocks,
}

/// Memory by how it is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// By the address's window.
    Generic,
    /// The device's memory.
    Global,
    /// The device's memory, where nobody writes while the kernel runs.
    Constant,
    /// The block's.
    Shared,
    /// The kernel's arguments.
    Param,
}

/// Operations of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Two {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product; of whole numbers its low half.
    Mul,
    /// High half of a product of whole numbers.
    High,
    /// Quotient.
    Div,
    /// Rest of the division.
    Rem,
    /// Smaller one.
    Min,
    /// Larger one.
    Max,
    /// Bits of both.
    And,
    /// Bits of either.
    Or,
    /// Bits of one.
    Xor,
    /// Bits moved up.
    Shl,
    /// Bits moved down.
    Shr,
}

impl Two {
    /// Those whose name alone says what they do.
    pub(super) fn named(name: &str) -> Option<Two> {
        Some(match name {
            "add" => Two::Add,
            "sub" => Two::Sub,
            "div" => Two::Div,
            "rem" => Two::Rem,
            "min" => Two::Min,
            "max" => Two::Max,
            "and" => Two::And,
            "or" => Two::Or,
            "xor" => Two::Xor,
            "shl" => Two::Shl,
            "shr" => Two::Shr,
            _ => return None,
        })
    }
}

/// Operations of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum One {
    /// Minus.
    Neg,
    /// Opposite bits.
    Not,
    /// Absolute value.
    Abs,
    /// `2^x`.
    Exp2,
    /// Logarithm to base 2.
    Log2,
    /// Square root.
    Sqrt,
    /// `1 / x`.
    Recip,
    /// `1 / sqrt(x)`.
    RecipSqrt,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Zeros before the first one.
    Clz,
}

impl One {
    pub(super) fn named(name: &str) -> Option<One> {
        Some(match name {
            "neg" => One::Neg,
            "not" => One::Not,
            "abs" => One::Abs,
            "ex2" => One::Exp2,
            "lg2" => One::Log2,
            "sqrt" => One::Sqrt,
            "rcp" => One::Recip,
            "rsqrt" => One::RecipSqrt,
            "sin" => One::Sin,
            "cos" => One::Cos,
            "clz" => One::Clz,
            _ => return None,
        })
    }
}

/// How a comparison holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `a == b`.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
    /// Both are numbers; the opposite where the comparison holds for what is none.
    Num,
}

/// An address: a register or a symbol's place, and an offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Address {
    /// The register, if there is one.
    pub base: Option<Reg>,
    /// Bytes to add.
    pub offset: i64,
}

/// How a lane names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// By the bits in which their numbers differ.
    Differs,
    /// By its number, of which the last five bits count.
    Is,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `d = a`.
    Move(Type, Reg, Src),
    /// `d = f(a, b)`.
    Two(Two, Type, Reg, Src, Src),
    /// `d = a * b + c`.
    Fused(Type, Reg, [Src; 3]),
    /// `d = a * b (+ c)`, twice as wide as `a` and `b`, whose type is given.
    Wide(Type, Reg, Src, Src, Option<Src>),
    /// `d = f(a)`.
    One(One, Type, Reg, Src),
    /// `d = a` in another type; rounded to a whole number if so marked.
    Convert { to: Type, from: Type, whole: bool, d: Reg, a: Src },
    /// Two floats as bf16 in one register: the higher half, and the lower one.
    Pack(Reg, Src, Src),
    /// `d = a ? b`, and or or-ed with a truth value.
    Compare {
        order: Order,
        unordered: bool,
        ty: Type,
        d: Reg,
        a: Src,
        b: Src,
        with: Option<(Two, Reg, bool)>,
    },
    /// `d = p ? a : b`.
    Choose(Type, Reg, Src, Src, Reg),
    /// `d` is `b` with `length` bits from `first` on taken from `a`.
    Insert(Reg, [Src; 4]),
    /// Reads memory into registers.
    Load(Space, Type, Vec<Reg>, Address),
    /// Writes registers to memory.
    Store(Space, Type, Vec<Src>, Address),
    /// Goes on elsewhere.
    Branch(usize),
    /// Waits for the block.
    Barrier,
    /// Ends the thread.
    Return,
    /// Takes what another lane has: that whose number differs by a mask, or is given.
    Shuffle(Lane, Reg, Src, Src),
    /// What any lane has of each bit.
    Either(Reg, Src),
    /// Four 8x8 matrices from shared memory, perhaps transposed.
    Matrices(bool, [Reg; 4], Address),
    /// A product of matrix fragments, bf16 with f32 sums.
    Multiply { d: [Reg; 4], a: [Src; 4], b: [Src; 2], c: [Src; 4] },
    /// Starts to copy bytes from the device's memory to shared memory: so many of them, and zeros behind these.
    Copy(usize, Address, Address, Src),
    /// Closes a group of copies.
    CopyGroup,
    /// Waits until at most so many groups are in flight.
    CopyWait(usize),
}

/// An instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Runs only where this truth value is as given.
    pub guard: Option<(Reg, bool)>,
    /// What it does.
    pub op: Op,
    /// The line of the CUDA text it comes from: inside the tile library, and in the kernel.
    pub line: [usize; 2],
}

/// A kernel.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its symbol.
    pub name: String,
    /// Bytes at which each argument starts, and its size.
    pub(super) params: Vec<(usize, usize)>,
    /// Its instructions.
    pub(super) code: Vec<Inst>,
    /// Registers of up to 32 bits, of 64 bits, and of truth values.
    pub(super) registers: [usize; 3],
}
