//! What the host sends in a step: tokens, targets, lists of rows, rates. The first thing of every step lies where the first one
//! of the last step lay, and so on, so that what reads it is the same; and nobody waits for the step before to send it.

use std::collections::HashMap;

use super::cuda::gpu::Staging;
use super::store::{Store, Tensor};
use crate::ground::error::Failure;

/// Where things lie that are sent, in their order.
#[derive(Default)]
pub(super) struct Sent {
    all: Vec<Tensor>,
    next: usize,
    /// Of each slot on a GPU, what it is copied from.
    pub(super) staging: HashMap<usize, Staging>,
}

impl Store {
    /// Sends words that the next launch reads, or any of the list that is open.
    pub fn send(&mut self, words: &[u32]) -> Result<Tensor, Failure> {
        let at = self.sent.next;
        let known = self.sent.all.get(at).copied();
        let whole = match known.filter(|tensor| tensor.words >= words.len()) {
            Some(whole) => whole,
            None => {
                let whole = self.room_to_send(words.len())?;
                match self.sent.all.get_mut(at) {
                    Some(old) => {
                        let old = std::mem::replace(old, whole);
                        self.unkeep(old);
                    }
                    None => self.sent.all.push(whole),
                }
                whole
            }
        };
        self.sent.next += 1;
        self.deliver(whole, words)?;
        Ok(whole.part(0, words.len()))
    }

    /// Nothing that waits may name memory that is written at once.
    fn room_to_send(&mut self, words: usize) -> Result<Tensor, Failure> {
        self.flush()?;
        let made = self.keep("what the host sends", words)?;
        // What varies a little stays where it is.
        Ok(self.whole(made))
    }

    /// What is sent from here on takes the place of what was sent before.
    pub(super) fn begin_sending(&mut self) {
        self.sent.next = 0;
    }

    /// A launch has what was sent for it; without a list, the next thing takes its place.
    pub(super) fn sent_are_read(&mut self) {
        if !self.lists.is_open() {
            self.sent.next = 0;
        }
    }
}
