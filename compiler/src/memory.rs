//! Memory that is used again.
//!
//! A system hands out large blocks page by page, each cleared and mapped when it is first touched,
//! and takes them back when they are freed: at the rate at which kernels make and drop them, that
//! costs more than what is computed in them. What is given back here is handed out again as it is.

use crate::num::Real;

/// Blocks kept at most.
const BLOCKS: usize = 256;

/// `length` numbers; their values are arbitrary.
pub fn take<R: Real>(length: usize) -> Vec<R> {
    let found = R::pool(|pool| {
        let fits = |block: &Vec<R>| (length..=2 * length).contains(&block.capacity());
        let best = (0..pool.len()).filter(|&i| fits(&pool[i])).min_by_key(|&i| pool[i].capacity());
        best.map(|i| pool.swap_remove(i))
    });
    let mut memory = found.unwrap_or_default();
    // A block that was used before keeps its length, so that only what is new is written.
    memory.resize(length, R::ZERO);
    memory
}

/// `length` zeros.
pub fn zeros<R: Real>(length: usize) -> Vec<R> {
    let mut memory = take(length);
    memory.fill(R::ZERO);
    memory
}

/// Keeps memory for whoever takes some next.
pub fn give<R: Real>(memory: Vec<R>) {
    if memory.capacity() > 0 {
        R::pool(|pool| {
            if pool.len() == BLOCKS {
                pool.remove(0);
            }
            pool.push(memory);
        });
    }
}
