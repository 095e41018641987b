//! Threads of one process in place of processes: everything but the wire, for tests.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::{Group, Idle, Place, Transport, ended};
use crate::ground::error::Failure;

/// One of several that are threads.
struct Threads {
    to: Vec<Sender<Vec<u32>>>,
    from: Vec<Receiver<Vec<u32>>>,
}

/// As many groups, each for a thread.
pub fn groups(size: usize) -> Result<Vec<Group>, Failure> {
    let mut to: Vec<Vec<Sender<Vec<u32>>>> = (0..size).map(|_| vec![]).collect();
    let mut from: Vec<Vec<Receiver<Vec<u32>>>> = (0..size).map(|_| vec![]).collect();
    for receiver in &mut from {
        for sender in &mut to {
            let (send, receive) = channel();
            sender.push(send);
            receiver.push(receive);
        }
    }
    let ends = to.into_iter().zip(from).enumerate();
    let groups = ends.map(|(rank, (to, from))| {
        let place = Place { rank, size, local: rank, beside: size };
        Group::meet(place, move || Ok(Box::new(Threads { to, from }) as Box<dyn Transport>))
    });
    groups.collect()
}

impl Transport for Threads {
    fn exchange(
        &mut self,
        to: &[&[u32]],
        from: &mut [Vec<u32>],
        idle: Idle,
    ) -> Result<(), Failure> {
        let size = to.len();
        for (rank, (sender, words)) in self.to.iter().zip(to).enumerate() {
            sender.send(words.to_vec()).map_err(|_| ended(rank, size))?;
        }
        for (rank, (receiver, words)) in self.from.iter().zip(from).enumerate() {
            let length = words.len();
            *words = loop {
                match receiver.recv_timeout(Duration::from_millis(100)) {
                    Ok(words) => break words,
                    Err(RecvTimeoutError::Timeout) => idle()?,
                    Err(RecvTimeoutError::Disconnected) => return Err(ended(rank, size)),
                }
            };
            if words.len() != length {
                return Err(Failure::Verification(format!(
                    "process {rank} has sent {} words where {length} were expected",
                    words.len()
                )));
            }
        }
        Ok(())
    }

    fn abort(&mut self, _: i32) {}
}
