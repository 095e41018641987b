//! `lrc library`: the recurrences, mixers and models that are inside the program.

use lrc_runtime::ground::error::Failure;
use lrc_runtime::ground::library::LIBRARY;

use crate::terminal::{say, write};

/// Arguments of `lrc library`.
#[derive(Debug, clap::Args)]
pub struct Library {
    /// A path, `mixers/attention.arch`: print the file. A part of one, `mixers`: list what has it in its path. Without it,
    /// list everything that `use` knows.
    pub path: Option<String>,
}

/// `lrc library`
pub fn library(args: &Library) -> Result<(), Failure> {
    let wanted = args.path.as_deref().unwrap_or_default();
    if let Some((_, text)) = LIBRARY.iter().find(|(path, _)| *path == wanted) {
        write(text);
        return Ok(());
    }
    let found: Vec<_> = LIBRARY.iter().filter(|(path, _)| path.contains(wanted)).collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "no file of the library has `{wanted}` in its path: `lrc library` lists them"
        )));
    }
    let width = found.iter().map(|(path, _)| path.len()).max().unwrap_or_default();
    for (path, text) in found {
        say!("{path:<width$}  {}", summary(text));
    }
    Ok(())
}

/// The first sentence about a file: its first line of documentation.
fn summary(text: &str) -> &str {
    let said = text.lines().map(str::trim).find_map(|line| line.strip_prefix("///"));
    said.map_or("", str::trim)
}
