//! Counter-based randomness: Philox4x32-10 (Salmon et al. 2011).
//!
//! A number is a function of (seed, purpose, counter): nothing is carried along, so a resumed run
//! draws what the uninterrupted one would have drawn, whatever happened in between.

/// Ten rounds of Philox on a counter and key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// What numbers are drawn for: different purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Fresh parameters.
    Init = 1,
    /// Training examples.
    Train = 2,
    /// Evaluation examples.
    Eval = 3,
    /// Sampled text.
    Sample = 4,
    /// Random input of checks.
    Verify = 5,
    /// Resamples of measurements.
    Bootstrap = 6,
    /// The lengths of steps.
    Lengths = 7,
    /// The source of each sequence.
    Mixture = 8,
    /// The order of the sequences of a source.
    Order = 9,
    /// The level of each sequence.
    Levels = 10,
    /// What is left out of a step (dropout).
    Dropout = 11,
    /// Random directions of diagnoses.
    Diagnosis = 12,
    /// Points of a search.
    Search = 13,
    /// What a task says is so.
    Facts = 14,
}

/// A stream of numbers for one (seed, purpose, item).
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    item: u64,
    block: u64,
    ready: [u32; 4],
    used: usize,
}

impl Stream {
    /// The numbers of item `item`.
    pub fn new(seed: u64, purpose: Purpose, item: u64) -> Stream {
        Stream { key: Stream::key(seed, purpose), item, block: 0, ready: [0; 4], used: 4 }
    }

    /// The key of [`philox`] for a seed and purpose; item and block are the counter.
    pub fn key(seed: u64, purpose: Purpose) -> [u32; 2] {
        let mixed = seed ^ (purpose as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        [mixed as u32, (mixed >> 32) as u32]
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            let [i, b] = [self.item, self.block];
            let counter = [b as u32, (b >> 32) as u32, i as u32, (i >> 32) as u32];
            self.ready = philox(counter, self.key);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.ready[self.used - 1]
    }

    /// 64 random bits.
    pub fn wide(&mut self) -> u64 {
        u64::from(self.bits()) << 32 | u64::from(self.bits())
    }

    /// A number in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        (f64::from(self.bits()) + 0.5) / 4_294_967_296.0
    }

    /// A whole number below `n`, without bias worth mentioning for `n` below 2^20.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.bits()) * n as u64) >> 32) as usize
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_answers() {
        // Random123, kat_vectors, philox4x32 with 10 rounds.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn streams_differ_by_purpose_and_item() {
        let first = |purpose, item| Stream::new(7, purpose, item).bits();
        assert_ne!(first(Purpose::Train, 0), first(Purpose::Eval, 0));
        assert_ne!(first(Purpose::Train, 0), first(Purpose::Train, 1));
        assert_eq!(first(Purpose::Train, 5), first(Purpose::Train, 5));
    }
}
