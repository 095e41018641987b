//! What the threads of a warp have in registers.

use super::{Around, LANES, Long, Warp, Word, lanes};
use crate::device::sim::instruction::{Address, Reg, Src};

impl Warp {
    pub(super) fn pred(&self, reg: Reg) -> u32 {
        match reg {
            Reg::Pred(at) => self.preds[at],
            _ => 0,
        }
    }

    pub(super) fn word(&self, src: Src, around: &Around) -> Word {
        match src {
            Src::Reg(Reg::Word(at)) => self.words[at],
            Src::Reg(Reg::Long(at)) => self.longs[at].map(|x| x as u32),
            Src::Reg(Reg::Pred(at)) => std::array::from_fn(|lane| self.preds[at] >> lane & 1),
            Src::Value(x) => [x as u32; LANES],
            Src::Thread => std::array::from_fn(|lane| (self.first + lane) as u32),
            Src::Block => [around.block[0]; LANES],
            Src::Blocks => [around.block[1]; LANES],
            Src::Threads => [around.threads; LANES],
        }
    }

    pub(super) fn long(&self, src: Src, around: &Around) -> Long {
        match src {
            Src::Reg(Reg::Long(at)) => self.longs[at],
            Src::Value(x) => [x; LANES],
            other => self.word(other, around).map(u64::from),
        }
    }

    pub(super) fn put_word(&mut self, reg: Reg, mask: u32, value: Word) {
        match reg {
            Reg::Word(at) if mask == u32::MAX => self.words[at] = value,
            Reg::Word(at) => {
                let to = &mut self.words[at];
                for lane in 0..LANES {
                    to[lane] = if mask >> lane & 1 == 1 { value[lane] } else { to[lane] };
                }
            }
            Reg::Long(_) => self.put_long(reg, mask, value.map(u64::from)),
            Reg::Pred(at) => {
                // A truth value is one bit: the compiler negates it by an exclusive or with -1.
                let set = (0..LANES).fold(0, |set, lane| set | (value[lane] & 1) << lane);
                self.preds[at] = self.preds[at] & !mask | set & mask;
            }
        }
    }

    pub(super) fn put_long(&mut self, reg: Reg, mask: u32, value: Long) {
        match reg {
            Reg::Long(at) => {
                for lane in lanes(mask) {
                    self.longs[at][lane] = value[lane];
                }
            }
            other => self.put_word(other, mask, value.map(|x| x as u32)),
        }
    }

    pub(super) fn addresses(&self, address: &Address) -> Long {
        let offset = address.offset as u64;
        match address.base {
            None => [offset; LANES],
            Some(Reg::Long(at)) => self.longs[at].map(|x| x.wrapping_add(offset)),
            Some(Reg::Word(at)) => self.words[at].map(|x| u64::from(x).wrapping_add(offset)),
            Some(Reg::Pred(_)) => [offset; LANES],
        }
    }
}
