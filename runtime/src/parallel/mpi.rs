//! MPI, by whatever library `mpicc` stands for.

use std::time::Duration;

use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::request::scope;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::{Idle, Place, Transport};
use crate::ground::error::Failure;
use crate::ground::terminal::tell;

/// Between two looks at what has arrived: a core that looks without a pause computes nothing.
const PAUSE: Duration = Duration::from_micros(50);

/// The processes that `mpirun` or `srun` has started.
pub(super) struct Mpi {
    universe: Universe,
}

/// Joins the others. The thread that calls it is the only one that speaks with them.
pub(super) fn join(place: Place, launcher: &str) -> Result<Box<dyn Transport>, Failure> {
    let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Serialized)
        .ok_or_else(|| Failure::World("MPI was begun twice in one process".into()))?;
    let size = universe.world().size() as usize;
    if size != place.size {
        return Err(Failure::Usage(format!(
            "{launcher} has started {} processes, and MPI knows of {size}: start them with the mpirun of the library that \
             lrc was built with",
            place.size
        )));
    }
    Ok(Box::new(Mpi { universe }))
}

/// Where each part of a buffer begins, and how long it is.
fn places(lengths: impl Iterator<Item = usize>) -> Result<[Vec<i32>; 2], Failure> {
    let (mut starts, mut counts, mut whole) = (vec![], vec![], 0_i32);
    for length in lengths {
        let count = i32::try_from(length).ok();
        starts.push(whole);
        let next = count.and_then(|count| whole.checked_add(count));
        whole = next.ok_or_else(|| {
            Failure::World("more than 2^31 words are too many for one message of MPI".into())
        })?;
        counts.extend(count);
    }
    Ok([starts, counts])
}

impl Transport for Mpi {
    fn exchange(
        &mut self,
        to: &[&[u32]],
        from: &mut [Vec<u32>],
        idle: Idle,
    ) -> Result<(), Failure> {
        // MPI takes equal addresses of both buffers for the wish to do it in place, and empty ones have the same: each has a word
        // to spare.
        let sent: Vec<u32> = [to.concat(), vec![0]].concat();
        let mut received = vec![0_u32; from.iter().map(Vec::len).sum::<usize>() + 1];
        let [send_at, send] = places(to.iter().map(|words| words.len()))?;
        let [receive_at, receive] = places(from.iter().map(Vec::len))?;
        {
            let out = Partition::new(&sent[..], &send[..], &send_at[..]);
            let mut own = PartitionMut::new(&mut received[..], &receive[..], &receive_at[..]);
            let world = self.universe.world();
            scope(|scope| {
                let mut request = world.immediate_all_to_all_varcount_into(scope, &out, &mut own);
                loop {
                    request = match request.test() {
                        Ok(_) => return,
                        Err(unfinished) => unfinished,
                    };
                    if let Err(failure) = idle() {
                        // The library still holds the memory that it was given: there is no way back from here.
                        tell!("error: {failure}");
                        world.abort(i32::from(failure.status()));
                    }
                    std::thread::sleep(PAUSE);
                }
            });
        }
        let mut rest = received.as_slice();
        for words in from {
            let (own, others) = rest.split_at(words.len());
            words.copy_from_slice(own);
            rest = others;
        }
        Ok(())
    }

    fn abort(&mut self, status: i32) {
        self.universe.world().abort(status);
    }
}
