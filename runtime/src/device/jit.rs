//! Compiles kernel plans, several at a time.

use lrc_compiler::emit;
use lrc_compiler::plan::{Kernel, Schedule};
use rayon::prelude::*;

use super::cache::Cache;
use super::cuda::nvrtc::{Code, Nvrtc};
use crate::ground::error::Failure;

/// A kernel compiled for one kind of GPU, and what its compiler says of it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel's symbol.
    pub name: String,
    /// The kind of GPU.
    pub arch: String,
    /// PTX text or a CUBIN.
    pub code: Vec<u8>,
    /// Registers of a thread, of a CUBIN.
    pub registers: usize,
    /// Bytes of registers that did not fit and went to memory, stored and loaded, of a CUBIN.
    pub spill_bytes: usize,
    /// Whether it had been compiled before.
    pub cached: bool,
}

/// The text of a kernel, and the kind of GPU that it is for.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The kernel's symbol.
    pub name: String,
    /// CUDA C++.
    pub text: String,
    /// As NVRTC names it.
    pub arch: &'a str,
}

impl<'a> Source<'a> {
    /// The text of a kernel of a schedule.
    pub fn of(schedule: &Schedule, kernel: &Kernel, arch: &'a str) -> Source<'a> {
        Source { name: kernel.name.clone(), text: emit::cuda(schedule, kernel), arch }
    }
}

/// Compiles kernels that are not in the user's cache, in the order given.
pub fn build(sources: &[Source], code: Code) -> Result<Vec<Built>, Failure> {
    let (nvrtc, cache) = (Nvrtc::load()?, Cache::of_user());
    let one = |Source { name, text, arch }: &Source| {
        let key = Cache::key(nvrtc, text, arch, code);
        let known = cache.get(&key);
        let cached = known.is_some();
        let compiled = match known {
            Some(compiled) => compiled,
            None => {
                let compiled = nvrtc.compile(text, name, arch, code)?;
                cache.put(&key, &compiled);
                compiled
            }
        };
        Ok(Built {
            name: name.clone(),
            arch: (*arch).to_string(),
            registers: number_before(&compiled.log, " registers").unwrap_or(0),
            spill_bytes: number_before(&compiled.log, " bytes spill stores").unwrap_or(0)
                + number_before(&compiled.log, " bytes spill loads").unwrap_or(0),
            code: compiled.code,
            cached,
        })
    };
    // One after the other as threads come free: some take three times as long as others, and halves of the list would not end
    // together.
    let texts = sources.iter().enumerate().par_bridge();
    let mut built: Vec<(usize, Result<Built, Failure>)> =
        texts.map(|(at, source)| (at, one(source))).collect();
    built.sort_by_key(|(at, _)| *at);
    built.into_iter().map(|(_, built)| built).collect()
}

/// The number that stands before some words.
fn number_before(text: &str, words: &str) -> Option<usize> {
    let before = &text[..text.find(words)?];
    let digits = before.chars().rev().take_while(char::is_ascii_digit).count();
    before[before.len() - digits..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_assembler_says() {
        let log = "ptxas info    : 0 bytes gmem\n    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\nptxas info    : Used 40 registers, used 1 barriers";
        assert_eq!(number_before(log, " registers"), Some(40));
        assert_eq!(number_before(log, " bytes spill stores"), Some(4));
        assert_eq!(number_before(log, " bytes stack smash"), None);
    }
}
