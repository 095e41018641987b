//! Loads, stores and copies of a warp.

use super::{Around, Copy, LANES, Long, Warp, Word, lanes, window};
use crate::device::sim::count::traffic::NOWHERE;
use crate::device::sim::instruction::{Address, Inst, Op, Reg, Space, Src, Type};
use crate::device::sim::memory::Wrong;

impl Warp {
    /// Counts an instruction, one that no thread runs as if the first did.
    pub(super) fn count(&self, around: &mut Around, pc: usize, inst: &Inst, active: u32) {
        let none = [0; LANES];
        let [at, from] = match &inst.op {
            Op::Load(_, _, _, at) | Op::Store(_, _, _, at) | Op::Matrices(_, _, at) => {
                [self.addresses(at), none]
            }
            Op::Copy(_, to, from, brought) => {
                let (from, brought) = (self.addresses(from), self.word(*brought, around));
                let place = |lane: usize| if brought[lane] > 0 { from[lane] } else { NOWHERE };
                [self.addresses(to), std::array::from_fn(place)]
            }
            _ => [none; 2],
        };
        if let Some(counter) = &mut around.counter {
            counter.issue(self.first / LANES, pc, &inst.op, active, [&at, &from]);
        }
    }

    pub(super) fn load(
        &mut self,
        space: Space,
        ty: Type,
        d: &[Reg],
        address: &Address,
        mask: u32,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        let bytes = ty.bytes();
        let addresses = self.addresses(address);
        if space == Space::Param {
            let at = addresses[0] as usize;
            let mut raw = [0; 8];
            raw[..bytes].copy_from_slice(&around.params[at..at + bytes]);
            self.put_long(d[0], mask, [u64::from_le_bytes(raw); LANES]);
            return Ok(());
        }
        let (piece, pieces) = (bytes.min(4), bytes.div_ceil(4));
        for lane in lanes(mask) {
            let thread = self.first + lane;
            let place = around.place(space, addresses[lane], bytes * d.len());
            let (shared, start) = place.map_err(|wrong| (lane, wrong))?;
            for (at, reg) in d.iter().enumerate() {
                let mut value = 0_u64;
                for part in 0..pieces {
                    let at = start + (at * bytes + part * 4) as u64;
                    let word = if shared {
                        around.shared.read(at, piece, thread)
                    } else {
                        around.memory.read(at, piece)
                    };
                    value |= u64::from(word.map_err(|wrong| (lane, wrong))?) << (32 * part);
                }
                if ty == Type::S16 {
                    value = i64::from(value as i16) as u64;
                }
                match *reg {
                    Reg::Word(at) => self.words[at][lane] = value as u32,
                    Reg::Long(at) => self.longs[at][lane] = value,
                    Reg::Pred(_) => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        space: Space,
        ty: Type,
        from: &[Src],
        address: &Address,
        mask: u32,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        let bytes = ty.bytes();
        let addresses = self.addresses(address);
        let (piece, pieces) = (bytes.min(4), bytes.div_ceil(4));
        let values: Vec<Long> = from.iter().map(|src| self.long(*src, around)).collect();
        for lane in lanes(mask) {
            let thread = self.first + lane;
            let place = around.place(space, addresses[lane], bytes * from.len());
            let (shared, start) = place.map_err(|wrong| (lane, wrong))?;
            for (at, value) in values.iter().enumerate() {
                for part in 0..pieces {
                    let at = start + (at * bytes + part * 4) as u64;
                    let word = (value[lane] >> (32 * part)) as u32;
                    let done = if shared {
                        around.shared.write(at, piece, word, thread)
                    } else {
                        around.memory.write(at, piece, word)
                    };
                    done.map_err(|wrong| (lane, wrong))?;
                }
            }
        }
        Ok(())
    }

    /// Lane `l` names row `l % 8` of matrix `l / 8`; it receives two numbers of each matrix.
    pub(super) fn matrices(
        &mut self,
        transposed: bool,
        d: &[Reg; 4],
        address: &Address,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        let addresses = self.addresses(address);
        for (matrix, reg) in d.iter().enumerate() {
            let mut rows = [[0_u16; 8]; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let lane = matrix * 8 + r;
                let start =
                    around.shared.check(addresses[lane], 16).map_err(|wrong| (lane, wrong))?;
                for (c, x) in row.iter_mut().enumerate() {
                    // Whoever receives the number reads it; one of them stands for all.
                    let reader =
                        self.first + if transposed { c * 4 + r / 2 } else { r * 4 + c / 2 };
                    let read = around.shared.read((start + 2 * c) as u64, 2, reader);
                    *x = read.map_err(|wrong| (lane, wrong))? as u16;
                }
            }
            let value: Word = std::array::from_fn(|lane| {
                let (g, t) = (lane / 4, lane % 4 * 2);
                let [low, high] = if transposed {
                    [rows[t][g], rows[t + 1][g]]
                } else {
                    [rows[g][t], rows[g][t + 1]]
                };
                u32::from(low) | u32::from(high) << 16
            });
            self.put_word(*reg, u32::MAX, value);
        }
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        bytes: usize,
        [to, from]: [&Address; 2],
        brought: Src,
        mask: u32,
        around: &mut Around,
    ) -> Result<(), (usize, Wrong)> {
        let (to, from) = (self.addresses(to), self.addresses(from));
        let brought = self.word(brought, around);
        for lane in lanes(mask) {
            let (_, at) = window(Space::Generic, to[lane]);
            let started = around.shared.start_copy(at, bytes, self.first + lane);
            started.map_err(|wrong| (lane, wrong))?;
            let brought = brought[lane] as usize;
            if brought > bytes || !brought.is_multiple_of(4) {
                return Err((lane, format!("it copies {brought} of {bytes} bytes")));
            }
            if brought > 0 {
                around.memory.check(from[lane], bytes).map_err(|wrong| (lane, wrong))?;
            }
            let mut words = (0..brought / 4)
                .map(|word| around.memory.read(from[lane] + 4 * word as u64, 4))
                .collect::<Result<Vec<u32>, Wrong>>()
                .map_err(|wrong| (lane, wrong))?;
            words.resize(bytes / 4, 0);
            self.loose.push(Copy { lane, at, words });
        }
        Ok(())
    }
}
