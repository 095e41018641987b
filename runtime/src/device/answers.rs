//! What a step says on a device: losses, single numbers, squares of norms. All of it lies in one tensor, which the host
//! reads once, when the step has run.

use super::backend::Said;
use super::store::{Store, Tensor};
use crate::ground::error::Failure;
use crate::ops::loss::SaidRow;

/// Numbers that there is room for at first.
const ROOM: usize = 1 << 14;

/// Something that the host will read.
enum Answer {
    /// Loss, best guess and logarithm of the sum of exponentials of each row, and the rows' targets.
    Rows(Vec<u32>),
    /// A number.
    Number,
    /// Squares whose sum is that of a norm.
    Squares,
}

/// What will be read, in order.
#[derive(Default)]
pub(super) struct Answers {
    /// Where it lies, as far as there is room.
    room: Option<Tensor>,
    used: usize,
    all: Vec<(Answer, Tensor)>,
}

impl Answers {
    /// Room for what rows say.
    pub(super) fn rows(&mut self, store: &mut Store, targets: &[u32]) -> Result<Tensor, Failure> {
        self.answer(store, Answer::Rows(targets.to_vec()), 3 * targets.len())
    }

    /// Room for a number.
    pub(super) fn number(&mut self, store: &mut Store) -> Result<Tensor, Failure> {
        self.answer(store, Answer::Number, 1)
    }

    /// Room for so many squares.
    pub(super) fn squares(&mut self, store: &mut Store, count: usize) -> Result<Tensor, Failure> {
        self.answer(store, Answer::Squares, count)
    }

    fn answer(&mut self, store: &mut Store, of: Answer, words: usize) -> Result<Tensor, Failure> {
        let room = match self.room {
            Some(room) => room,
            None => *self.room.insert(store.keep("what a step says", ROOM)?),
        };
        let at = match self.used + words <= room.words {
            true => room.part(self.used, words),
            // There will be room for it in the next step.
            false => store.take("what a step says", words)?,
        };
        self.used += words;
        self.all.push((of, at));
        Ok(at)
    }

    /// Reads everything, after what was started has run.
    pub(super) fn read(&mut self, store: &mut Store) -> Result<Said, Failure> {
        let mut said = Said::default();
        let (Some(room), used) = (self.room, std::mem::take(&mut self.used)) else {
            return Ok(said);
        };
        let inside = |at: &Tensor| at.slot == room.slot;
        let together = self.all.iter().filter(|(_, at)| inside(at));
        let count = together.map(|(_, at)| at.start + at.words).max();
        let whole = count.map_or(Ok(vec![]), |count| store.get(room.part(0, count)))?;
        for (answer, at) in std::mem::take(&mut self.all) {
            if inside(&at) {
                said.take_in(&answer, &whole[at.start..at.start + at.words]);
            } else {
                said.take_in(&answer, &store.get(at)?);
                store.give(at);
            }
        }
        if used > room.words {
            store.unkeep(room);
            self.room = Some(store.keep("what a step says", used)?);
        }
        Ok(said)
    }
}

impl Said {
    fn take_in(&mut self, answer: &Answer, numbers: &[f32]) {
        match answer {
            Answer::Rows(targets) => {
                let rows = numbers.chunks_exact(3).zip(targets);
                self.rows.extend(rows.map(|(row, target)| SaidRow {
                    loss: f64::from(row[0]),
                    log_z: f64::from(row[2]),
                    right: row[1] as u32 == *target,
                    guess: row[1] as u32,
                }));
            }
            Answer::Number => self.numbers.extend(numbers),
            Answer::Squares => {
                let sum: f64 = numbers.iter().map(|x| f64::from(*x)).sum();
                self.norms.push(sum.sqrt());
            }
        }
    }
}
