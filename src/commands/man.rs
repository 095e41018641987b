//! `lrc man`: a page for each command.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;
use lrc_runtime::ground::atomic;
use lrc_runtime::ground::error::{Failure, at_path};

use crate::commands::Args;
use crate::terminal::say;

/// Writes `lrc.1`, `lrc-train.1` and so on into a folder, which is made.
pub fn man(out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out).map_err(at_path("make", out))?;
    let mut command = Args::command();
    command.build();
    let mut pages = Vec::new();
    page(&command, out, &mut pages)?;
    say!("{} pages in {}: man -l {}", pages.len(), out.display(), pages[0].display());
    Ok(())
}

/// The page of a command and those of its own commands. A built command is called like its page: `lrc-train`.
fn page(command: &clap::Command, out: &Path, pages: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = out.join(format!("{name}.1"));
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).map_err(at_path("write", &path))?;
    atomic::write(&path, &text)?;
    pages.push(path);
    let mut shown = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    shown.try_for_each(|sub| page(sub, out, pages))
}
