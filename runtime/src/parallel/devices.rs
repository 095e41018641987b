//! How the devices of several processes add up and copy: by NCCL between GPUs; by way of the host for the sim device, which stands for
//! GPUs, so that everything but NCCL itself runs without one.

use std::sync::Arc;

use super::words::{of_numbers, to_numbers};
use super::{Group, Place};
use crate::device::collectives::Collectives;
use crate::device::cuda::nccl::{ID_WORDS, Nccl, id};
use crate::device::machine::Machine;
use crate::device::store::{Store, Tensor};
use crate::ground::error::Failure;

/// Lets the processes' devices meet.
pub fn meet(group: &Arc<Group>, machine: &Machine) -> Result<Box<dyn Collectives>, Failure> {
    let Machine::Cuda(gpu) = machine else {
        return Ok(Box::new(ByHost { group: Arc::clone(group) }));
    };
    let Place { rank, size, .. } = group.place();
    // Who cannot say it says nothing, so that nobody waits for it.
    let made = if rank == 0 { id() } else { Ok(vec![0; ID_WORDS]) };
    let said = group.gather(made.as_ref().map(Clone::clone).unwrap_or_default())?;
    made?;
    match said.first() {
        Some(id) if id.len() == ID_WORDS => Ok(Box::new(Nccl::join(gpu, [rank, size], id)?)),
        _ => Err(Failure::World("process 0 could not begin NCCL".into())),
    }
}

/// Through the memory of the processor.
struct ByHost {
    group: Arc<Group>,
}

impl ByHost {
    /// What each process holds of a tensor, for those that hear it.
    fn all(
        &self,
        store: &mut Store,
        tensor: Tensor,
        says: impl Fn(usize) -> bool + Send + 'static,
        hears: impl Fn(usize) -> bool + Send + 'static,
    ) -> Result<Vec<Vec<f32>>, Failure> {
        store.flush()?;
        let Place { rank, size, .. } = self.group.place();
        let (mine, words) = (of_numbers(&store.get(tensor)?), tensor.words);
        let asked = self.group.start(move |line| {
            let said: &[u32] = if says(rank) { &mine } else { &[] };
            let to: Vec<&[u32]> =
                (0..size).map(|who| if hears(who) { said } else { &[] }).collect();
            let mut from: Vec<Vec<u32>> = (0..size)
                .map(|who| vec![0; if hears(rank) && says(who) { words } else { 0 }])
                .collect();
            line.exchange(&to, &mut from)?;
            Ok(from)
        });
        Ok(asked.wait()?.iter().map(|words| to_numbers(words)).collect())
    }
}

impl Collectives for ByHost {
    fn reduce(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let rank = self.group.place().rank;
        for (tensor, owner) in each.iter().copied() {
            let all = self.all(store, tensor, |_| true, move |who| who == owner)?;
            if owner == rank {
                let mut sum = vec![0.0_f32; tensor.words];
                for numbers in &all {
                    sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
                }
                store.put(tensor, &sum)?;
            }
        }
        Ok(())
    }

    fn broadcast(&mut self, store: &mut Store, each: &[(Tensor, usize)]) -> Result<(), Failure> {
        let rank = self.group.place().rank;
        for (tensor, owner) in each.iter().copied() {
            let all = self.all(store, tensor, move |who| who == owner, |_| true)?;
            if owner != rank {
                store.put(tensor, &all[owner])?;
            }
        }
        Ok(())
    }
}
