//! How numbers are held in memory.

/// How a number is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Number {
    /// Four bytes.
    #[default]
    F32,
    /// Two bytes, eight bits of precision.
    Bf16,
}

impl Number {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Number::F32 => 4,
            Number::Bf16 => 2,
        }
    }
}
