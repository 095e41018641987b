//! Signals that ask a run to save and stop.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::ground::error::Failure;

/// The signal of this process.
static SEEN: OnceLock<Arc<AtomicI32>> = OnceLock::new();

/// What is done at once when a signal is heard, besides.
type Heard = Box<dyn Fn(i32) + Send>;

static HEARD: Mutex<Option<Heard>> = Mutex::new(None);

/// Does this at once when a signal is heard, instead of what was to be done before.
pub fn hear(heard: impl Fn(i32) + Send + 'static) {
    if let Ok(mut held) = HEARD.lock() {
        *held = Some(Box::new(heard));
    }
}

/// The number of the first signal that asked the process to stop, or 0; a second one ends it at once. All runs of a process
/// hear the same.
pub fn signals() -> Result<Arc<AtomicI32>, Failure> {
    if let Some(seen) = SEEN.get() {
        return Ok(Arc::clone(seen));
    }
    let seen = watched()?;
    Ok(Arc::clone(SEEN.get_or_init(|| seen)))
}

fn watched() -> Result<Arc<AtomicI32>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    let seen = Arc::new(AtomicI32::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
        // `nohup` lets a terminal hang up.
        if signal == SIGHUP && ignored(signal) {
            continue;
        }
        let again = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let wire = |error: std::io::Error| Failure::World(format!("cannot watch signals: {error}"));
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .map_err(wire)?;
        signal_hook::flag::register(signal, again).map_err(wire)?;
        let seen = Arc::clone(&seen);
        let mut watch = signal_hook::iterator::Signals::new([signal]).map_err(wire)?;
        std::thread::spawn(move || {
            for signal in watch.forever() {
                seen.store(signal, Ordering::Relaxed);
                if let Ok(Some(heard)) = HEARD.lock().as_deref() {
                    heard(signal);
                }
            }
        });
    }
    Ok(seen)
}

/// Whether who started this process wants a signal ignored.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
