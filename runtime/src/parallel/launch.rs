//! Which of several processes this is: what launchers say in the environment.

use crate::ground::error::Failure;

/// One of several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Its number on its machine.
    pub local: usize,
    /// How many there are on its machine.
    pub beside: usize,
}

impl Place {
    /// Refuses a number of processes that are not so many each time, as hold the segments of a sequence.
    pub fn holds(self, segments: usize) -> Result<(), Failure> {
        if self.size.is_multiple_of(segments.max(1)) {
            return Ok(());
        }
        let size = self.size;
        Err(Failure::Usage(format!(
            "`segments: {segments}` needs {segments} processes or a multiple of it, and {size} were started"
        )))
    }
}

/// It brings no MPI.
pub const TORCHRUN: &str = "torchrun";

/// The names under which a launcher says number and count, on all machines and on this one.
struct Launcher {
    name: &'static str,
    all: [&'static str; 2],
    /// The count may be missing: it is then taken for that of all.
    here: [&'static str; 2],
}

/// `SLURM_NTASKS` stands in a batch script too, where nothing but that script runs: what `srun` starts has the number of its step.
const LAUNCHERS: [Launcher; 4] = [
    Launcher {
        name: "mpirun",
        all: ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
        here: ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"],
    },
    Launcher {
        name: TORCHRUN,
        all: ["RANK", "WORLD_SIZE"],
        here: ["LOCAL_RANK", "LOCAL_WORLD_SIZE"],
    },
    Launcher {
        name: "srun",
        all: ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
        here: ["SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"],
    },
    Launcher {
        name: "mpiexec",
        all: ["PMI_RANK", "PMI_SIZE"],
        here: ["MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
    },
];

/// What a launcher says of this process, and which launcher; nothing where it was started alone.
pub fn place(
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(Place, &'static str)>, Failure> {
    for Launcher { name, all, here } in LAUNCHERS {
        let (Some(rank), Some(size)) = (variable(all[0]), variable(all[1])) else { continue };
        let number = |name: &str, text: &str| {
            // `2(x3)` is Slurm's way to say 2 on each of 3 machines.
            let digits = text.split('(').next().unwrap_or(text).trim();
            digits.parse::<usize>().map_err(|_| {
                Failure::Usage(format!("the environment says {name}={text}: expected a number"))
            })
        };
        let (rank, size) = (number(all[0], &rank)?, number(all[1], &size)?);
        if rank >= size {
            return Err(Failure::Usage(format!(
                "the environment says {}={rank} and {}={size}: numbers begin at 0",
                all[0], all[1]
            )));
        }
        let told = |at: usize| variable(here[at]).map(|text| number(here[at], &text)).transpose();
        let place = Place {
            rank,
            size,
            local: told(0)?.unwrap_or(rank),
            beside: told(1)?.unwrap_or(size).clamp(1, size),
        };
        return Ok((size > 1).then_some((place, name)));
    }
    Ok(None)
}

/// Threads that each process takes where nobody says how many: an even share of its machine's cores. A launcher may have
/// given each process cores of its own, so that it is allowed fewer than there are.
fn threads(beside: usize, allowed: usize, cores: usize) -> usize {
    let sharing = (beside * allowed).div_ceil(cores.max(allowed));
    (allowed / sharing.max(1)).max(1)
}

/// Computes with a share of the machine's cores, unless the environment says with how many.
pub fn share_cores(place: Place) {
    if std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return;
    }
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = all.lines().filter(|line| line.starts_with("processor")).count();
    let threads = threads(place.beside, allowed, cores);
    // Whoever has begun to compute before has chosen already; that costs time, no more.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Result<Option<(Place, &'static str)>, Failure> {
        place(&|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        })
    }

    #[test]
    fn launchers_say_who_is_who() {
        assert_eq!(said(&[]).unwrap(), None);
        let place = Place { rank: 5, size: 8, local: 1, beside: 4 };
        for (name, pairs) in [
            (
                "mpirun",
                [
                    ("OMPI_COMM_WORLD_RANK", "5"),
                    ("OMPI_COMM_WORLD_SIZE", "8"),
                    ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
                    ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
                ],
            ),
            (
                "torchrun",
                [
                    ("RANK", "5"),
                    ("WORLD_SIZE", "8"),
                    ("LOCAL_RANK", "1"),
                    ("LOCAL_WORLD_SIZE", "4"),
                ],
            ),
            (
                "srun",
                [
                    ("SLURM_PROCID", "5"),
                    ("SLURM_STEP_NUM_TASKS", "8"),
                    ("SLURM_LOCALID", "1"),
                    ("SLURM_STEP_TASKS_PER_NODE", "4(x2)"),
                ],
            ),
        ] {
            assert_eq!(said(&pairs).unwrap(), Some((place, name)));
        }
    }

    #[test]
    fn one_process_is_none_of_several() {
        assert_eq!(said(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        // A batch script of Slurm is not one of the tasks that it may start.
        assert_eq!(said(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for pairs in [[("RANK", "4"), ("WORLD_SIZE", "4")], [("RANK", "x"), ("WORLD_SIZE", "4")]] {
            assert_eq!(said(&pairs).unwrap_err().status(), 2);
        }
    }

    #[test]
    fn cores_are_shared() {
        // All see all cores; more processes than cores; each bound to a core, to a socket, two to a socket.
        let each = [[2, 8, 8], [8, 2, 2], [2, 1, 2], [2, 16, 32], [4, 16, 32]];
        let shares = each.map(|[beside, allowed, cores]| threads(beside, allowed, cores));
        assert_eq!(shares, [4, 1, 1, 16, 8]);
    }
}
