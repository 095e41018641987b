//! Event files that TensorBoard reads: records of a length, its checksum, a message and its checksum.
//! The messages are the few fields of `event.proto` that a scalar takes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ground::error::{Failure, at_path};

/// An open file of events.
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Begins a file in a run's folder. Every process has its own: TensorBoard reads all of them,
    /// and where steps are done over it shows the newest.
    pub fn create(folder: &Path) -> Result<Events, Failure> {
        let seconds = now() as u64;
        let mut number = 0;
        loop {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.lrc.{number}"));
            match File::create_new(&path) {
                Ok(file) => {
                    let mut events = Events { path, file: BufWriter::new(file) };
                    events.write(0, |event| text(event, 3, "brain.Event:2"))?;
                    return Ok(events);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(at_path("write", &path)(error)),
            }
        }
    }

    /// Adds numbers of a step by name.
    pub fn scalars(&mut self, step: u64, scalars: &[(String, f64)]) -> Result<(), Failure> {
        self.write(step, |event| {
            let mut summary = Vec::new();
            for (name, x) in scalars {
                let mut value = Vec::new();
                text(&mut value, 1, name);
                key(&mut value, 2, FIXED32);
                value.extend((*x as f32).to_le_bytes());
                bytes(&mut summary, 1, &value);
            }
            bytes(event, 5, &summary);
        })
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(at_path("write", &self.path))
    }

    fn write(&mut self, step: u64, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failure> {
        let mut event = Vec::new();
        key(&mut event, 1, FIXED64);
        event.extend(now().to_le_bytes());
        key(&mut event, 2, VARINT);
        varint(&mut event, step);
        fill(&mut event);
        let length = (event.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked(&length), &event, &masked(&event)].concat();
        self.file.write_all(&parts).map_err(at_path("write", &self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The checksum of a record as its format wants it.
fn masked(data: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

fn varint(to: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        to.push(x as u8 | 0x80);
        x >>= 7;
    }
    to.push(x as u8);
}

fn key(to: &mut Vec<u8>, field: u64, kind: u64) {
    varint(to, field << 3 | kind);
}

fn bytes(to: &mut Vec<u8>, field: u64, data: &[u8]) {
    key(to, field, LENGTH);
    varint(to, data.len() as u64);
    to.extend(data);
}

fn text(to: &mut Vec<u8>, field: u64, text: &str) {
    bytes(to, field, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard's own writer gives for step 3, tag "loss", value 1.5, by hand from the
    /// definition of the format.
    #[test]
    fn records_have_their_lengths_checksums_and_fields() {
        let folder = std::env::temp_dir().join(format!("lrc-events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut events = Events::create(&folder).unwrap();
        events.scalars(300, &[("loss".into(), 1.5)]).unwrap();
        events.flush().unwrap();
        let data = std::fs::read(&events.path).unwrap();
        let mut at = 0;
        let mut messages = Vec::new();
        while at < data.len() {
            let length = u64::from_le_bytes(data[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(data[at + 8..at + 12], masked(&data[at..at + 8]));
            let message = &data[at + 12..at + 12 + length];
            assert_eq!(data[at + 12 + length..][..4], masked(message));
            messages.push(message.to_vec());
            at += 16 + length;
        }
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0][11..], *b"\x1a\x0dbrain.Event:2");
        // Time, then step 300 as a varint, then one value in a summary.
        let want = b"\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f";
        assert_eq!(messages[1][0], 0x09);
        assert_eq!(messages[1][9..], *want);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The published check value of CRC-32C.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
