//! Memory of the sim device, with the checks that hardware does not make.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Generic addresses of shared memory begin here.
pub const SHARED_WINDOW: u64 = 1 << 60;
/// Bits of an offset into a buffer.
const OFFSET_BITS: u32 = 40;

/// What is wrong with an access.
pub type Wrong = String;

/// The device's memory: buffers that lie far apart.
#[derive(Debug, Default)]
pub struct Memory {
    buffers: Vec<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    name: String,
    bytes: usize,
    words: Vec<AtomicU32>,
    /// A bit per byte that somebody has written.
    written: Vec<AtomicU8>,
}

impl Memory {
    /// A buffer that nobody has written; gives its address.
    pub fn reserve(&mut self, name: &str, bytes: usize) -> u64 {
        let words = bytes.div_ceil(4);
        self.buffers.push(Buffer {
            name: name.to_string(),
            bytes,
            words: (0..words).map(|_| AtomicU32::new(0)).collect(),
            written: (0..words).map(|_| AtomicU8::new(0)).collect(),
        });
        (self.buffers.len() as u64) << OFFSET_BITS
    }

    /// Gives a buffer's memory back: nobody may use it again.
    pub fn release(&mut self, address: u64) {
        let buffer = self.buffer(address);
        (buffer.bytes, buffer.words, buffer.written) = (0, vec![], vec![]);
    }

    /// Takes a buffer for something else: nobody has written it.
    pub fn forget(&mut self, address: u64, name: &str) {
        let buffer = self.buffer(address);
        buffer.name = name.to_string();
        buffer.written.iter_mut().for_each(|w| *w.get_mut() = 0);
    }

    /// Writes words into a buffer, from an element on.
    pub fn fill(&mut self, address: u64, start: usize, words: impl Iterator<Item = u32>) {
        let buffer = self.buffer(address);
        let places = buffer.words[start..].iter_mut().zip(&mut buffer.written[start..]);
        for ((word, written), x) in places.zip(words) {
            (*word.get_mut(), *written.get_mut()) = (x, 15);
        }
    }

    /// Writes zeros into so many bytes from an address on.
    pub fn zero(&mut self, address: u64, bytes: usize) -> Result<(), Wrong> {
        let end = address + bytes as u64;
        let start = address.next_multiple_of(4).min(end);
        let stop = (end & !3).max(start);
        if start < stop {
            let first = (start & ((1 << OFFSET_BITS) - 1)) as usize / 4;
            self.fill(start, first, std::iter::repeat_n(0, (stop - start) as usize / 4));
        }
        // Numbers of two bytes at either end.
        (address..start).chain(stop..end).step_by(2).try_for_each(|at| self.write(at, 2, 0))
    }

    fn buffer(&mut self, address: u64) -> &mut Buffer {
        &mut self.buffers[(address >> OFFSET_BITS) as usize - 1]
    }

    /// So many floats from an address on, of 4 bytes or of 2; the first place that nobody has written is an
    /// error.
    pub fn floats(&self, address: u64, count: usize, bytes: usize) -> Result<Vec<f32>, Wrong> {
        let one = |at: usize| {
            let bits = self.read(address + (at * bytes) as u64, bytes).map_err(|why| {
                let buffer = &self.buffers[(address >> OFFSET_BITS) as usize - 1];
                format!("{} is not written at element {at}: {why}", buffer.name)
            })?;
            Ok(f32::from_bits(if bytes == 2 { bits << 16 } else { bits }))
        };
        (0..count).map(one).collect()
    }

    fn find(&self, address: u64, bytes: usize) -> Result<(&Buffer, usize), Wrong> {
        let at = (address & ((1 << OFFSET_BITS) - 1)) as usize;
        let index = ((address >> OFFSET_BITS) as usize).wrapping_sub(1);
        let buffer = self
            .buffers
            .get(index)
            .ok_or_else(|| format!("address {address:#x} belongs to no buffer"))?;
        if at + bytes > buffer.bytes {
            let Buffer { name, bytes: size, .. } = buffer;
            return Err(format!(
                "out of bounds: bytes {at}..{} of {name}, which has {size}",
                at + bytes
            ));
        }
        if !at.is_multiple_of(bytes) {
            return Err(format!("misaligned: byte {at} of {} for {bytes} bytes", buffer.name));
        }
        Ok((buffer, at))
    }

    /// Whether bytes may be touched at once.
    pub fn check(&self, address: u64, bytes: usize) -> Result<(), Wrong> {
        self.find(address, bytes).map(|_| ())
    }

    /// Reads 2 or 4 bytes.
    pub fn read(&self, address: u64, bytes: usize) -> Result<u32, Wrong> {
        let (buffer, at) = self.find(address, bytes)?;
        let (word, shift) = (at / 4, at % 4);
        let need = ((1_u8 << bytes) - 1) << shift;
        if buffer.written[word].load(Ordering::Relaxed) & need != need {
            return Err(format!("byte {at} of {} is read, but nobody has written it", buffer.name));
        }
        let value = buffer.words[word].load(Ordering::Relaxed) >> (8 * shift);
        Ok(if bytes == 4 { value } else { value & 0xffff })
    }

    /// Writes 2 or 4 bytes.
    pub fn write(&self, address: u64, bytes: usize, value: u32) -> Result<(), Wrong> {
        let (buffer, at) = self.find(address, bytes)?;
        let (word, shift) = (at / 4, at % 4);
        if bytes == 4 {
            buffer.words[word].store(value, Ordering::Relaxed);
        } else {
            let mask = 0xffff_u32 << (8 * shift);
            let put = (value & 0xffff) << (8 * shift);
            let update = |old: u32| Some(old & !mask | put);
            let _ = buffer.words[word].fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        }
        buffer.written[word].fetch_or(((1_u8 << bytes) - 1) << shift, Ordering::Relaxed);
        Ok(())
    }
}

/// Who touched two bytes of shared memory last, and between which barriers.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    write_epoch: u32,
    read_epoch: u32,
    writer: u16,
    reader: u16,
    state: u8,
}

/// A cell has been written.
const WRITTEN: u8 = 1;
/// A copy into a cell is in flight.
const IN_FLIGHT: u8 = 2;
/// Several threads have read a cell.
const MANY: u16 = u16::MAX;

/// A block's shared memory.
#[derive(Debug)]
pub struct Shared {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    /// Counts barriers, from 1.
    pub epoch: u32,
}

impl Shared {
    /// Memory that nobody has written.
    pub fn new(bytes: usize) -> Shared {
        Shared { bytes: vec![0; bytes], cells: vec![Cell::default(); bytes.div_ceil(2)], epoch: 1 }
    }

    /// Whether bytes may be touched at once.
    pub fn check(&self, at: u64, bytes: usize) -> Result<usize, Wrong> {
        let size = self.bytes.len();
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if at.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(format!("out of bounds: byte {at} of shared memory, which has {size}"));
        }
        if !at.is_multiple_of(bytes) {
            return Err(format!("misaligned: byte {at} of shared memory for {bytes} bytes"));
        }
        Ok(at)
    }

    /// Reads 2 or 4 bytes.
    pub fn read(&mut self, at: u64, bytes: usize, thread: usize) -> Result<u32, Wrong> {
        let at = self.check(at, bytes)?;
        let epoch = self.epoch;
        for cell in &mut self.cells[at / 2..(at + bytes) / 2] {
            if cell.state & IN_FLIGHT != 0 {
                return Err(format!(
                    "byte {at} of shared memory is read while a copy to it is in flight: nobody has waited for it"
                ));
            }
            if cell.state & WRITTEN == 0 {
                return Err(format!(
                    "byte {at} of shared memory is read, but nobody has written it"
                ));
            }
            if cell.write_epoch == epoch && cell.writer != thread as u16 {
                let writer = cell.writer;
                return Err(format!(
                    "race: byte {at} of shared memory, written by thread {writer} since the last barrier"
                ));
            }
            cell.reader = if cell.read_epoch == epoch && cell.reader != thread as u16 {
                MANY
            } else {
                thread as u16
            };
            cell.read_epoch = epoch;
        }
        let low = u32::from(self.bytes[at]) | u32::from(self.bytes[at + 1]) << 8;
        if bytes == 2 {
            return Ok(low);
        }
        Ok(low | u32::from(self.bytes[at + 2]) << 16 | u32::from(self.bytes[at + 3]) << 24)
    }

    /// Writes 2 or 4 bytes.
    pub fn write(&mut self, at: u64, bytes: usize, value: u32, thread: usize) -> Result<(), Wrong> {
        let at = self.check(at, bytes)?;
        let (epoch, me) = (self.epoch, thread as u16);
        for cell in &mut self.cells[at / 2..(at + bytes) / 2] {
            if cell.state & IN_FLIGHT != 0 {
                return Err(format!(
                    "byte {at} of shared memory is written while a copy to it is in flight"
                ));
            }
            if cell.write_epoch == epoch && cell.writer != me {
                let other = cell.writer;
                return Err(format!(
                    "race: byte {at} of shared memory, also written by thread {other} since the last barrier"
                ));
            }
            if cell.read_epoch == epoch && cell.reader != me {
                return Err(format!(
                    "race: byte {at} of shared memory, read by another thread since the last barrier"
                ));
            }
            (cell.write_epoch, cell.writer) = (epoch, me);
            cell.state |= WRITTEN;
        }
        self.bytes[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        Ok(())
    }

    /// Marks bytes to which a copy has started.
    pub fn start_copy(&mut self, at: u64, bytes: usize, thread: usize) -> Result<(), Wrong> {
        let first = self.check(at, bytes)?;
        for word in (first..first + bytes).step_by(4) {
            self.write(word as u64, 4, 0, thread)?;
        }
        self.cells[first / 2..(first + bytes) / 2].iter_mut().for_each(|c| c.state |= IN_FLIGHT);
        Ok(())
    }

    /// Ends a copy.
    pub fn end_copy(&mut self, at: u64, words: &[u32], thread: usize) -> Result<(), Wrong> {
        let first = at as usize;
        self.cells[first / 2..first / 2 + words.len() * 2]
            .iter_mut()
            .for_each(|c| c.state &= !IN_FLIGHT);
        for (word, value) in words.iter().enumerate() {
            self.write(at + 4 * word as u64, 4, *value, thread)?;
        }
        Ok(())
    }
}
