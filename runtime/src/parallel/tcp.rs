//! Sockets between all processes, for launchers that bring no MPI (`torchrun`) and builds without it. They find each other by files in
//! the run's folder: each process writes where it listens, and holds a lock as long as it does, so that what an earlier meeting
//! left is told from what is there.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::watch::folder;
use super::{Idle, Place, Transport, ended};
use crate::ground::atomic;
use crate::ground::error::{Failure, at_path};
use crate::ground::lock::Lock;

/// How long processes wait for each other in the beginning.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for a process that is not there yet.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at something else while nothing arrives.
const TURN: Duration = Duration::from_millis(200);

/// Connections to all other processes.
struct Sockets {
    rank: usize,
    /// Per process; nothing for this one.
    peers: Vec<Option<Peer>>,
    /// Held as long as this process may be met.
    _lock: Lock,
}

/// A connection: a thread writes, so that nobody waits for a reader.
struct Peer {
    stream: TcpStream,
    outgoing: Sender<Vec<u8>>,
}

/// Where a process listens, and the number that whoever comes must know.
struct Address {
    host: String,
    port: u16,
    secret: u64,
}

/// Meets the others in a run's folder.
pub(super) fn join(place: Place, run: &Path) -> Result<Box<dyn Transport>, Failure> {
    let until = Instant::now() + PATIENCE;
    let folder = folder(run);
    std::fs::create_dir_all(&folder).map_err(at_path("make", &folder))?;
    // Processes of one machine hear nobody else.
    let alone = place.beside == place.size;
    let listener = TcpListener::bind(if alone { "127.0.0.1:0" } else { "0.0.0.0:0" });
    let wire = |why: std::io::Error| {
        Failure::World(format!("cannot listen for the other processes: {why}"))
    };
    let listener = listener.map_err(wire)?;
    let lock = locked(&folder, place.rank, until)?;
    let own = Address {
        host: if alone { "127.0.0.1".into() } else { host() },
        port: listener.local_addr().map_err(wire)?.port(),
        secret: secret()?,
    };
    let text = format!("{} {} {}\n", own.host, own.port, own.secret);
    atomic::write(&folder.join(format!("{}.address", place.rank)), text.as_bytes())?;
    let mut peers: Vec<Option<Peer>> = (0..place.size).map(|_| None).collect();
    for (rank, peer) in peers.iter_mut().enumerate().take(place.rank) {
        *peer = Some(Peer::new(call(&folder, rank, place, until)?)?);
    }
    while peers.iter().skip(place.rank + 1).any(Option::is_none) {
        let (rank, stream) = answer(&listener, &own, place, until)?;
        peers[rank] = Some(Peer::new(stream)?);
    }
    Ok(Box::new(Sockets { rank: place.rank, peers, _lock: lock }))
}

/// The lock that says that a process listens. Whoever looks at it takes it for a moment.
fn locked(folder: &Path, rank: usize, until: Instant) -> Result<Lock, Failure> {
    let path = folder.join(format!("{rank}.listens"));
    loop {
        if let Some(lock) = Lock::of_file(&path)? {
            return Ok(lock);
        }
        if Instant::now() > until {
            return Err(Failure::Usage(format!(
                "another process is number {rank} of a run in {}: wait for its end, or choose another folder with --out",
                folder.display()
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// The name of this machine, as others call it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

fn secret() -> Result<u64, Failure> {
    let (path, mut bytes) = (Path::new("/dev/urandom"), [0; 8]);
    let mut file = std::fs::File::open(path).map_err(at_path("read", path))?;
    file.read_exact(&mut bytes).map_err(at_path("read", path))?;
    Ok(u64::from_le_bytes(bytes))
}

fn read(path: &Path) -> Option<Address> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    let host = words.next()?.to_string();
    Some(Address { host, port: words.next()?.parse().ok()?, secret: words.next()?.parse().ok()? })
}

/// Calls a process that came before in number, as soon as it listens.
fn call(folder: &Path, rank: usize, place: Place, until: Instant) -> Result<TcpStream, Failure> {
    let (lock, address) =
        (folder.join(format!("{rank}.listens")), folder.join(format!("{rank}.address")));
    let mut why = "it does not listen".to_string();
    while Instant::now() < until {
        // Who holds the lock may not have written its address yet: what lies there is then of an earlier meeting, and nobody
        // there knows its secret.
        let listens = lock.exists() && Lock::of_file(&lock)?.is_none();
        if let Some(Address { host, port, secret }) = read(&address).filter(|_| listens) {
            match TcpStream::connect((host.as_str(), port))
                .and_then(|s| greet(s, secret, place.rank))
            {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("{host}:{port}: {error}"),
            }
        }
        thread::sleep(PAUSE);
    }
    Err(Failure::World(format!(
        "process {} of {} cannot reach process {rank} ({why}); do all see {}?",
        place.rank,
        place.size,
        folder.display()
    )))
}

/// Says who calls, and waits for the answer.
fn greet(mut stream: TcpStream, secret: u64, rank: usize) -> std::io::Result<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&secret.to_le_bytes())?;
    stream.write_all(&(rank as u64).to_le_bytes())?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    if answer == (!secret).to_le_bytes() { Ok(stream) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Waits for a call of one of the others; whoever does not know the secret is not heard.
fn answer(
    listener: &TcpListener,
    own: &Address,
    place: Place,
    until: Instant,
) -> Result<(usize, TcpStream), Failure> {
    let wire = |why: std::io::Error| {
        Failure::World(format!("cannot listen for the other processes: {why}"))
    };
    listener.set_nonblocking(true).map_err(wire)?;
    while Instant::now() < until {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(found) = known(stream, own.secret, place) {
                    return Ok(found);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(wire(error)),
        }
    }
    Err(Failure::World(format!(
        "process {} of {} has waited {} s for the others: has the launcher started all of them, in the same folder?",
        place.rank,
        place.size,
        PATIENCE.as_secs()
    )))
}

fn known(mut stream: TcpStream, secret: u64, place: Place) -> Option<(usize, TcpStream)> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let (mut said, mut rank) = ([0; 8], [0; 8]);
    stream.read_exact(&mut said).ok()?;
    stream.read_exact(&mut rank).ok()?;
    let rank = usize::try_from(u64::from_le_bytes(rank)).ok()?;
    if said != secret.to_le_bytes() || rank <= place.rank || rank >= place.size {
        return None;
    }
    stream.write_all(&(!secret).to_le_bytes()).ok()?;
    Some((rank, stream))
}

impl Peer {
    fn new(stream: TcpStream) -> Result<Peer, Failure> {
        let wire = |why: std::io::Error| {
            Failure::World(format!("cannot speak with another process: {why}"))
        };
        stream.set_nodelay(true).map_err(wire)?;
        stream.set_read_timeout(Some(TURN)).map_err(wire)?;
        let mut writer = stream.try_clone().map_err(wire)?;
        let (outgoing, messages) = channel::<Vec<u8>>();
        thread::spawn(move || {
            for message in messages {
                // A process that is gone is noticed by who reads.
                if writer.write_all(&message).is_err() {
                    return;
                }
            }
        });
        Ok(Peer { stream, outgoing })
    }

    /// Fills words with what arrives; `gone` is what is wrong where nothing can any more.
    fn receive(
        &mut self,
        words: &mut [u32],
        gone: impl Fn() -> Failure,
        idle: Idle,
    ) -> Result<(), Failure> {
        let (mut bytes, mut at) = (vec![0; words.len() * 4], 0);
        while at < bytes.len() {
            match self.stream.read(&mut bytes[at..]) {
                Ok(0) => return Err(gone()),
                Ok(count) => at += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => idle()?,
                    _ => return Err(gone()),
                },
            }
        }
        for (word, four) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
        Ok(())
    }
}

impl Transport for Sockets {
    fn exchange(
        &mut self,
        to: &[&[u32]],
        from: &mut [Vec<u32>],
        idle: Idle,
    ) -> Result<(), Failure> {
        for (peer, words) in self.peers.iter().zip(to) {
            if let Some(peer) = peer.as_ref().filter(|_| !words.is_empty()) {
                let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                // As above: reading says who is gone.
                let _ = peer.outgoing.send(bytes);
            }
        }
        let size = to.len();
        from[self.rank].copy_from_slice(to[self.rank]);
        for (rank, (peer, words)) in self.peers.iter_mut().zip(from).enumerate() {
            if let Some(peer) = peer {
                peer.receive(words, || ended(rank, size), idle)?;
            }
        }
        Ok(())
    }

    fn abort(&mut self, _: i32) {
        for peer in self.peers.iter().flatten() {
            // Who is gone already needs no word.
            let _ = peer.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::parallel::Group;

    #[test]
    fn processes_meet_in_a_folder_that_an_earlier_meeting_has_left() {
        let run = std::env::temp_dir().join(format!("lrc-tcp-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir_all(folder(&run)).unwrap();
        for rank in 0..3 {
            // Nobody listens there; and one file is torn.
            let text = if rank == 1 { "torn" } else { "127.0.0.1 1 7" };
            std::fs::write(folder(&run).join(format!("{rank}.address")), text).unwrap();
            std::fs::write(folder(&run).join(format!("{rank}.listens")), "1\n").unwrap();
        }
        let run = Arc::new(run);
        let all: Vec<_> = (0..3)
            .map(|rank| {
                let run = Arc::clone(&run);
                thread::spawn(move || {
                    let place = Place { rank, size: 3, local: rank, beside: 3 };
                    let group = Group::meet(place, move || join(place, &run)).unwrap();
                    let long = vec![rank as u32; 300_000 * (rank + 1)];
                    group.gather(long).unwrap()
                })
            })
            .collect();
        for found in all {
            let found = found.join().unwrap();
            for (rank, words) in found.iter().enumerate() {
                assert!(*words == vec![rank as u32; 300_000 * (rank + 1)]);
            }
        }
        std::fs::remove_dir_all(&*run).unwrap();
    }

    #[test]
    fn who_does_not_know_the_secret_is_not_heard() {
        let place = Place { rank: 0, size: 2, local: 0, beside: 2 };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        for (secret, rank, heard) in [(8, 1, false), (7, 0, false), (7, 2, false), (7, 1, true)] {
            let caller =
                thread::spawn(move || greet(TcpStream::connect(at).unwrap(), secret, rank));
            let (stream, _) = listener.accept().unwrap();
            assert_eq!(known(stream, 7, place).is_some(), heard);
            assert_eq!(caller.join().unwrap().is_ok(), heard);
        }
    }
}
