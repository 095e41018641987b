//! What the devices of several processes do together, with tensors where they lie.

use super::store::{Store, Tensor};
use crate::ground::error::Failure;

/// Collective operations. All processes ask for the same ones in the same order, on tensors of the same sizes.
pub trait Collectives {
    /// Adds each tensor up over all processes, into that of its owner; what the others hold there afterwards is arbitrary. Of f32.
    fn reduce(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure>;

    /// Brings what the owner of each tensor holds to all.
    fn broadcast(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure>;
}
