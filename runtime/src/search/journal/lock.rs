//! The lock of a journal, as Optuna's `JournalFileSymlinkLock` takes it: a link `FILE.lock` that only one process can make. It
//! stays behind where that process is killed, so one that shows no sign of life is broken after a while.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::ground::error::{Failure, at_path};
use crate::ground::terminal::tell;

/// A lock that is held; it is given free when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    link: PathBuf,
    /// Signs of life, until this ends.
    _pulse: Pulse,
}

/// A thread that touches a file every now and then.
#[derive(Debug)]
struct Pulse {
    /// It ends when this is gone.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    fn of(file: &Path, every: Duration) -> Pulse {
        let (end, ended) = channel();
        let file = file.to_path_buf();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // Who cannot write it is told when it adds records.
                let open = fs::File::options().append(true).open(&file);
                let _ = open.and_then(|file| file.set_modified(SystemTime::now()));
            }
        });
        Pulse { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Signs of life come so much more often than others wait for one.
const PULSES: u32 = 4;

/// How long it is waited before the next try, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// Which lock it is, and when something was last written under it.
fn life(link: &Path) -> Option<[i64; 4]> {
    let own = fs::symlink_metadata(link).ok()?;
    // Through the link: what is written into the journal is a sign of life.
    let file = fs::metadata(link).map_or([0, 0], |file| [file.mtime(), file.mtime_nsec()]);
    Some([own.ino() as i64, own.mtime_nsec(), file[0], file[1]])
}

impl Held {
    /// Waits for the lock of a file. One without a sign of life for as long as `grace` is broken; this one gives them itself.
    pub(super) fn take(file: &Path, grace: Duration) -> Result<Held, Failure> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let link = PathBuf::from(name);
        let (mut pause, mut seen, mut since) = (Duration::from_millis(1), None, Instant::now());
        loop {
            match symlink(file, &link) {
                Ok(()) => return Ok(Held { link, _pulse: Pulse::of(file, grace / PULSES) }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at_path("make", &link)(error)),
            }
            let now = life(&link);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > grace && now.is_some() && life(&link) == seen {
                tell!("warning: the lock {} is of a process that is gone: broken", link.display());
                release(&link);
                (seen, pause) = (None, Duration::from_millis(1));
                continue;
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE);
        }
    }
}

/// Takes a lock away in one step: of two processes that do so, one finds nothing.
fn release(link: &Path) {
    let mut name = link.as_os_str().to_owned();
    name.push(format!(".{}.rename", std::process::id()));
    if fs::rename(link, &name).is_ok() {
        let _ = fs::remove_file(&name);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        release(&self.link);
    }
}
