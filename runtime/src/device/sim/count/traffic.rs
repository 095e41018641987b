//! What accesses of a warp cost memory: wavefronts of shared memory, pieces of the device's.

use std::collections::HashMap;

use crate::device::sim::warp::LANES;

/// Bytes of a bank's word, and banks.
const BANK: u64 = 4;
const BANKS: usize = 32;
/// Bytes of shared memory that are served at a time.
const WAVEFRONT: usize = 128;
/// Bytes of the device's memory that are fetched together.
pub const SECTOR: u64 = 32;

/// The address of a lane that touches no memory of the device.
pub const NOWHERE: u64 = u64::MAX;

/// Wavefronts that an access of shared memory takes, and how many it would without conflicts: lanes are served in groups
/// that together ask for 128 bytes, and of a group each bank serves one word at a time, to all who want it.
pub fn wavefronts(addresses: &[u64; LANES], mask: u32, bytes: usize) -> [f64; 2] {
    let group = (WAVEFRONT / bytes.max(4)).min(LANES);
    let (mut taken, mut least) = (0, 0);
    for first in (0..LANES).step_by(group) {
        let mut words: Vec<u64> = (first..first + group)
            .filter(|lane| mask >> lane & 1 == 1)
            .flat_map(|lane| {
                let start = addresses[lane] / BANK;
                start..start + (bytes as u64).div_ceil(BANK)
            })
            .collect();
        if words.is_empty() {
            continue;
        }
        words.sort_unstable();
        words.dedup();
        let mut banks = [0_u64; BANKS];
        words.iter().for_each(|word| banks[*word as usize % BANKS] += 1);
        taken += banks.into_iter().max().unwrap_or(1);
        least += (words.len() as u64).div_ceil(BANKS as u64);
    }
    [taken as f64, least as f64]
}

/// The pieces of the device's memory that an access touches.
pub fn sectors(addresses: &[u64; LANES], mask: u32, bytes: usize) -> Vec<u64> {
    let mut all: Vec<u64> = (0..LANES)
        .filter(|lane| mask >> lane & 1 == 1 && addresses[*lane] != NOWHERE)
        .flat_map(|lane| {
            addresses[lane] / SECTOR..(addresses[lane] + bytes as u64).div_ceil(SECTOR)
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What caches hold of the device's memory for one block: the pieces that came last.
#[derive(Clone, Debug)]
pub struct Held {
    /// Pieces that each cache has room for, the nearest first.
    room: [u64; CACHES],
    /// When each piece came, counted in pieces that came to the same cache.
    came: HashMap<u64, [u64; CACHES]>,
    clock: [u64; CACHES],
}

/// L1 and L2.
const CACHES: usize = 2;

impl Held {
    /// Nothing, with room for so many bytes in each cache.
    pub fn new(bytes: [usize; CACHES]) -> Held {
        let room = bytes.map(|bytes| bytes as u64 / SECTOR);
        Held { room, came: HashMap::new(), clock: [0; CACHES] }
    }

    /// The first cache that holds a piece, or their number; it comes to all before that one.
    pub fn find(&mut self, sector: u64) -> usize {
        let known = self.came.get(&sector).copied();
        let holds = |at: &usize| {
            known.is_some_and(|came| came[*at] > 0 && self.clock[*at] - came[*at] < self.room[*at])
        };
        let found = (0..CACHES).find(holds).unwrap_or(CACHES);
        let came = self.came.entry(sector).or_default();
        self.clock[..found].iter_mut().for_each(|clock| *clock += 1);
        came[..found].copy_from_slice(&self.clock[..found]);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(bytes: u64) -> [u64; LANES] {
        std::array::from_fn(|lane| lane as u64 * bytes)
    }

    #[test]
    fn banks_serve_a_word_at_a_time() {
        assert_eq!(wavefronts(&every(4), u32::MAX, 4), [1.0, 1.0]);
        // Everyone reads one word; two halves share a word.
        assert_eq!(wavefronts(&every(0), u32::MAX, 4), [1.0, 1.0]);
        assert_eq!(wavefronts(&every(2), u32::MAX, 2), [1.0, 1.0]);
        // A column of rows of 32 words, then of rows that are padded by one.
        assert_eq!(wavefronts(&every(128), u32::MAX, 4), [32.0, 1.0]);
        assert_eq!(wavefronts(&every(132), u32::MAX, 4), [1.0, 1.0]);
        // 16 bytes a lane take four turns, eight lanes each.
        assert_eq!(wavefronts(&every(16), u32::MAX, 16), [4.0, 4.0]);
        assert_eq!(wavefronts(&every(128), 0xff, 16), [8.0, 1.0]);
    }

    #[test]
    fn neighbours_share_pieces() {
        assert_eq!(sectors(&every(4), u32::MAX, 4).len(), 4);
        assert_eq!(sectors(&every(4), 1, 4).len(), 1);
        assert_eq!(sectors(&every(64), u32::MAX, 4).len(), 32);
        assert!(sectors(&[NOWHERE; LANES], u32::MAX, 16).is_empty());
    }

    #[test]
    fn the_oldest_pieces_go_first() {
        let piece = SECTOR as usize;
        let mut held = Held::new([2 * piece, 3 * piece]);
        assert_eq!(
            [1, 1, 2, 1, 3, 2, 1, 4, 5, 2].map(|sector| held.find(sector)),
            [2, 0, 2, 0, 2, 0, 1, 2, 2, 2]
        );
    }
}
