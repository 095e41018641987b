//! Parts of a tensor that lie between each other, for writers that run side by side.
//!
//! Problem: heads lie side by side in each row of a tensor, and each is written by a thread of its own. A list of
//! all pieces of each head is as long as the tensor has rows, and making it costs more than some recurrences.
//!
//! Idea: a head's pieces lie equally far apart, so that the first one and the distance say where all of them are.

use std::marker::PhantomData;

/// Pieces of equal width, equally far apart in memory that is borrowed for writing.
#[derive(Debug)]
pub struct Stripe<'t, R> {
    first: *mut R,
    count: usize,
    distance: usize,
    width: usize,
    memory: PhantomData<&'t mut [R]>,
}

// SAFETY: a stripe is a borrow of its pieces for writing, as `&mut [R]` is, which may go to another thread
// where `R` may; no other stripe or borrow holds any of them (see `stripes`).
#[expect(unsafe_code, reason = "a pointer says nothing about threads")]
unsafe impl<R: Send> Send for Stripe<'_, R> {}

impl<R> Default for Stripe<'_, R> {
    /// No pieces at all.
    fn default() -> Self {
        let first = std::ptr::NonNull::dangling().as_ptr();
        Stripe { first, count: 0, distance: 0, width: 0, memory: PhantomData }
    }
}

impl<R> Stripe<'_, R> {
    /// Numbers of a piece.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A piece.
    ///
    /// # Panics
    ///
    /// Where there is none of this number.
    #[expect(unsafe_code, reason = "pieces of two stripes lie between each other")]
    pub fn piece(&mut self, at: usize) -> &mut [R] {
        assert!(at < self.count, "a stripe has {} pieces", self.count);
        // SAFETY: `stripes` has checked that `count` pieces lie inside the memory that is borrowed for `'t`, and
        // gives each number of it to one stripe alone; the borrow of the stripe keeps a second borrow of a piece away.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(at * self.distance), self.width) }
    }
}

/// Cuts memory `[rows, count, width]` into `count` stripes of `width` numbers a row, in order.
///
/// # Panics
///
/// Where the memory is no whole number of rows.
pub fn stripes<R>(
    memory: &mut [R],
    count: usize,
    width: usize,
) -> impl Iterator<Item = Stripe<'_, R>> {
    let distance = count * width;
    let rows = memory.len().checked_div(distance).unwrap_or(0);
    assert_eq!(rows * distance, memory.len(), "memory of stripes is a whole number of rows");
    let first = memory.as_mut_ptr();
    (0..count).map(move |at| Stripe {
        // The piece of row `r` is `first + r * distance + at * width ..+ width`: inside row `r`, behind the stripes
        // before it, and before those behind it.
        first: first.wrapping_add(at * width),
        count: rows,
        distance,
        width,
        memory: PhantomData,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_belongs_to_one_stripe() {
        for (rows, count, width) in [(3, 4, 5), (1, 1, 1), (0, 2, 3), (7, 1, 2), (2, 3, 0)] {
            let mut memory = vec![0; rows * count * width];
            std::thread::scope(|scope| {
                for (at, mut stripe) in stripes(&mut memory, count, width).enumerate() {
                    scope.spawn(move || {
                        for row in 0..rows * usize::from(width > 0) {
                            stripe.piece(row).iter_mut().for_each(|x| *x += 1 + row * count + at);
                        }
                    });
                }
            });
            let wanted = (0..rows * count).flat_map(|piece| std::iter::repeat_n(1 + piece, width));
            assert!(memory.into_iter().eq(wanted), "{rows} {count} {width}");
        }
    }

    #[test]
    #[should_panic(expected = "a stripe has 2 pieces")]
    fn a_piece_past_the_end_is_refused() {
        let mut memory = vec![0; 12];
        let mut all: Vec<Stripe<i32>> = stripes(&mut memory, 2, 3).collect();
        all[1].piece(2);
    }
}
