//! An order of many things, without a list of them: a permutation that is computed place by place.

use crate::ground::random::{Purpose, Stream, philox};

/// A random order of `count` things. Which thing stands at a place is found in constant time and
/// memory: a Feistel network over the next power of four, walked until it lands inside (Black and
/// Rogaway 2002).
#[derive(Clone, Copy, Debug)]
pub struct Order {
    count: u64,
    half: u32,
    key: [u32; 2],
}

impl Order {
    /// The order of `item`: each has its own.
    pub fn new(count: u64, seed: u64, item: u64) -> Order {
        let mut random = Stream::new(seed, Purpose::Order, item);
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Order { count, half: bits.div_ceil(2).max(1), key: [random.bits(), random.bits()] }
    }

    /// The thing at a place.
    pub fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.count);
        let mask = (1_u64 << self.half) - 1;
        let mut x = place;
        loop {
            let (mut left, mut right) = (x >> self.half, x & mask);
            for round in 0..4 {
                let mixed = philox([right as u32, (right >> 32) as u32, round, 0], self.key);
                let mixed = u64::from(mixed[0]) | u64::from(mixed[1]) << 32;
                (left, right) = (right, left ^ (mixed & mask));
            }
            x = left << self.half | right;
            if x < self.count {
                return x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_has_one_place() {
        for count in [1, 2, 3, 5, 16, 17, 1000, 4096, 4097] {
            let order = Order::new(count, 7, count);
            let mut found: Vec<u64> = (0..count).map(|place| order.at(place)).collect();
            if count > 100 {
                let kept = found.iter().enumerate().filter(|(at, x)| *at as u64 == **x).count();
                assert!(kept < 10, "{kept} of {count} stay where they were");
            }
            found.sort_unstable();
            assert!(found.into_iter().eq(0..count));
        }
        let [a, b] = [1, 2].map(|item| Order::new(1000, 7, item).at(0));
        assert_ne!(a, b);
    }
}
