//! What happens behind each step, in this order: it is written down, policies look at its layers, the model is asked, a
//! checkpoint is saved.

mod checkpoint;
mod evaluate;
mod policies;
mod record;

use super::run::{Done, Run, Then};
use crate::ground::error::Failure;

/// What is done behind a step. The number is that of a signal that asks the run to stop, or 0.
pub(super) type Hook = fn(&mut Run, &mut Done, i32) -> Result<Then, Failure>;

/// All of them, in their order.
pub(super) const ALL: [Hook; 4] =
    [record::after, policies::after, evaluate::after, checkpoint::after];
