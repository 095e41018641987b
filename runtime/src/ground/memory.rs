//! How much memory this process may take.

use std::fs::read_to_string;

use crate::ground::error::Failure;

/// Refuses something that takes more memory than this process may have.
pub fn room(bytes: f64, what: &str) -> Result<(), Failure> {
    match allowed() {
        Some(has) if bytes > has => Err(Failure::Memory(format!(
            "{what} takes at least {} of memory, and this process may have {}",
            gib(bytes),
            gib(has)
        ))),
        _ => Ok(()),
    }
}

/// Bytes for people.
pub fn gib(bytes: f64) -> String {
    format!("{:.2} GiB", bytes / f64::from(1 << 30))
}

/// Bytes that the system lets this process have, as far as it says: the machine's memory with its swap, or less where a
/// limit is set. Nothing where it does not say.
pub fn allowed() -> Option<f64> {
    let limits = [machine(), address_space(), group()];
    limits.into_iter().flatten().reduce(f64::min)
}

/// Memory and swap of the machine.
fn machine() -> Option<f64> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
    };
    Some(of("MemTotal:")? + of("SwapTotal:").unwrap_or(0.0))
}

/// What `ulimit -v` allows.
fn address_space() -> Option<f64> {
    let text = read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the control group of a container allows.
fn group() -> Option<f64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().find_map(|file| read_to_string(file).ok()?.trim().parse().ok())
}

/// The most memory that this process has held so far, in bytes, where the system says so (Linux).
pub fn peak() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    /// Every Linux says how much memory it has, and no machine has less than this test takes.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_how_much_there_is() {
        assert!(super::allowed().is_some_and(|bytes| bytes > 1e7));
    }
}
