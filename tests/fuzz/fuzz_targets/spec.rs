//! No text makes the reader of specs panic, and what it makes of a sound one reads as the same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lrc_dsl::{Sources, render};

fuzz_target!(|text: &str| {
    let mut sources = Sources::default();
    let file = sources.add("fuzz", text);
    match lrc_runtime::config::read(Path::new("fuzz.yaml"), file, text, &[]) {
        Err(diags) => drop(render(&sources, &diags, false)),
        Ok(spec) => {
            let again = sources.add("again", spec.resolved.as_str());
            let read = lrc_runtime::config::read(Path::new("fuzz.yaml"), again, &spec.resolved, &[]);
            assert_eq!(read.ok(), Some(spec));
        }
    }
});
