//! Several processes that train one model, each on its own parts of every step (data parallel), each with a share of the sums
//! of gradients and of what the optimiser remembers (ZeRO stages 1 and 2; Rajbhandari et al. 2020).
//!
//! All sums are taken in an order that the step decides, not the number of processes: what is learned is the same to the bit
//! however many there are, as long as a step is cut into the same parts.

pub mod devices;
pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
pub mod shards;
pub mod sums;
mod tcp;
pub mod threads;
mod watch;
pub mod words;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::ground::error::Failure;
pub use launch::Place;
use watch::Watch;

/// What is done now and then while nothing arrives; an error ends the waiting.
pub type Idle<'i> = &'i mut dyn FnMut() -> Result<(), Failure>;

/// By what processes speak with each other where their launcher brings it; else by sockets.
pub const MPI: bool = cfg!(feature = "mpi");

/// What a launcher says of this process, where it has started several.
pub fn launched() -> Result<Option<Launched>, Failure> {
    let found = launch::place(&|name| std::env::var(name).ok())?;
    Ok(found.map(|(place, launcher)| Launched { place, launcher }))
}

/// One of several processes that have not met yet.
#[derive(Clone, Copy, Debug)]
pub struct Launched {
    /// Which one.
    pub place: Place,
    launcher: &'static str,
}

impl Launched {
    /// Meets the others, in the folder of the run that they train; takes a share of the machine.
    pub fn meet(self, run: &Path) -> Result<Group, Failure> {
        let Launched { place, launcher } = self;
        launch::share_cores(place);
        crate::device::cuda::gpu::choose(place.local);
        #[cfg(feature = "mpi")]
        if launcher != launch::TORCHRUN {
            return Group::meet(place, move || mpi::join(place, launcher));
        }
        let _ = launcher;
        let run = run.to_path_buf();
        Group::meet(place, move || tcp::join(place, &run))
    }
}

/// What carries numbers between processes. All of them call it in the same order.
pub trait Transport {
    /// Sends to each process the words that are for it, and takes from each what it sends; how many these are both know
    /// before: vectors of `from` come with their lengths.
    fn exchange(&mut self, to: &[&[u32]], from: &mut [Vec<u32>], idle: Idle)
    -> Result<(), Failure>;

    /// Ends all processes at once, with this status; comes back where that is left to the caller.
    fn abort(&mut self, status: i32);
}

/// Something to do with the transport, behind all that was asked for before.
type Job = Box<dyn FnOnce(&mut Line) + Send>;

/// The transport, in the thread that owns it.
pub struct Line {
    transport: Box<dyn Transport>,
    watch: Arc<Mutex<Option<Watch>>>,
    /// Why nothing can be sent any more.
    broken: Option<String>,
}

impl Line {
    /// See [`Transport::exchange`].
    pub fn exchange(&mut self, to: &[&[u32]], from: &mut [Vec<u32>]) -> Result<(), Failure> {
        if let Some(why) = &self.broken {
            return Err(Failure::World(why.clone()));
        }
        let watch = Arc::clone(&self.watch);
        let mut idle = || match watch.lock().ok().as_mut().and_then(|watch| watch.as_mut()) {
            Some(watch) => watch.look(),
            None => Ok(()),
        };
        let done = self.transport.exchange(to, from, &mut idle);
        done.map_err(|failure| {
            let why = self.advised(&failure);
            self.broken = Some(why.clone());
            Failure::World(why)
        })
    }

    /// What went wrong, with what to do about it where that is known and not said yet.
    fn advised(&self, failure: &Failure) -> String {
        let (why, watch) = (failure.to_string(), self.watch.lock());
        match watch.as_ref().ok().and_then(|watch| watch.as_ref()).map(Watch::advice) {
            Some(advice) if !why.contains(&advice) => format!("{why}; {advice}"),
            _ => why,
        }
    }

    /// What every process has to say, in the order of their ranks; of lengths that nobody knows before.
    pub fn gather(&mut self, mine: &[u32], processes: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let length = [mine.len() as u32];
        let mut lengths = vec![vec![0]; processes];
        self.exchange(&vec![&length[..]; processes], &mut lengths)?;
        let mut all: Vec<Vec<u32>> = lengths.iter().map(|n| vec![0; n[0] as usize]).collect();
        self.exchange(&vec![mine; processes], &mut all)?;
        Ok(all)
    }
}

/// The processes that train one model, as one of them sees them. A thread of its own does what they ask of each other, one
/// thing after the other, while the model runs.
pub struct Group {
    place: Place,
    jobs: Option<Sender<Job>>,
    watch: Arc<Mutex<Option<Watch>>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What comes of something that was asked for.
pub struct Pending<R>(Receiver<Result<R, Failure>>);

impl<R> Pending<R> {
    /// Waits for it.
    pub fn wait(self) -> Result<R, Failure> {
        self.0.recv().unwrap_or_else(|_| Err(Failure::World(GONE.into())))
    }
}

/// That one of the processes has ended before the others.
fn ended(rank: usize, size: usize) -> Failure {
    Failure::World(format!("process {rank} of {size} has ended, and training needs all of them"))
}

const GONE: &str = "the thread that speaks with the other processes has ended";

impl Group {
    /// Meets the other processes: `connect` runs in the thread that owns the transport.
    pub fn meet(
        place: Place,
        connect: impl FnOnce() -> Result<Box<dyn Transport>, Failure> + Send + 'static,
    ) -> Result<Group, Failure> {
        let (jobs, work) = channel::<Job>();
        let (met, meeting) = channel();
        let watch = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&watch);
        let thread = thread::spawn(move || {
            let transport = match connect() {
                Ok(transport) => transport,
                Err(failure) => return drop(met.send(Err(failure))),
            };
            // Who asked has gone where nobody hears it.
            let _ = met.send(Ok(()));
            let mut line = Line { transport, watch: seen, broken: None };
            work.into_iter().for_each(|job| job(&mut line));
            if line.broken.is_some() {
                // Its end would wait for processes that are gone.
                std::mem::forget(line);
            }
        });
        meeting.recv().unwrap_or_else(|_| Err(Failure::World(GONE.into())))?;
        Ok(Group { place, jobs: Some(jobs), watch, thread: Some(thread) })
    }

    /// Which of them this is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether this is the one that writes.
    pub fn first(&self) -> bool {
        self.place.rank == 0
    }

    /// Asks for something, behind all that was asked for before; the caller goes on.
    pub fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Line) -> Result<R, Failure> + Send + 'static,
    ) -> Pending<R> {
        let (done, wait) = channel();
        let job: Job = Box::new(move |line| drop(done.send(work(line))));
        if let Some(jobs) = &self.jobs {
            // Where the thread has ended, waiting says so.
            let _ = jobs.send(job);
        }
        Pending(wait)
    }

    /// What every process has to say, in the order of their ranks.
    pub fn gather(&self, mine: Vec<u32>) -> Result<Vec<Vec<u32>>, Failure> {
        let size = self.place.size;
        self.start(move |line| line.gather(&mine, size)).wait()
    }

    /// The same of messages that are all as long.
    pub fn agree(&self, mine: Vec<u32>) -> Result<Vec<Vec<u32>>, Failure> {
        let size = self.place.size;
        let asked = self.start(move |line| {
            let mut all = vec![vec![0; mine.len()]; size];
            line.exchange(&vec![mine.as_slice(); size], &mut all)?;
            Ok(all)
        });
        asked.wait()
    }

    /// Comes back when all processes have come here.
    pub fn meet_again(&self) -> Result<(), Failure> {
        self.agree(vec![0]).map(|_| ())
    }

    /// From here on, notices when one of the processes ends, by locks on files in the run's folder; `advice` is what to do then.
    pub fn watch(
        &self,
        folder: &Path,
        advice: impl Fn() -> String + Send + 'static,
    ) -> Result<(), Failure> {
        let watch = Watch::begin(folder, self.place, Box::new(advice))?;
        self.meet_again()?;
        if let Ok(mut held) = self.watch.lock() {
            *held = Some(watch);
        }
        Ok(())
    }

    /// Whether this is the first of those that are left, as far as that is watched.
    pub fn leads(&self) -> bool {
        let watch = self.watch.lock();
        let gone = |rank| match watch.as_ref().ok().and_then(|watch| watch.as_ref()) {
            Some(watch) => watch.gone(rank),
            None => false,
        };
        (0..self.place.rank).all(gone)
    }

    /// Ends the watch: from here on processes may end.
    pub fn part(&self) -> Result<(), Failure> {
        self.meet_again()?;
        if let Some(watch) = self.watch.lock().ok().and_then(|mut held| held.take()) {
            watch.end();
        }
        Ok(())
    }

    /// Ends all processes at once.
    pub fn abort(&self, status: u8) {
        let aborted = self.start(move |line| {
            line.transport.abort(i32::from(status));
            line.broken = Some("all processes end".into());
            Ok(())
        });
        let _ = aborted.wait();
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
