//! `lrc spec`: the fields of a spec, and what editors know of the files that people write.

use lrc_runtime::config::{page, schema};
use lrc_runtime::eval::experiment;
use lrc_runtime::ground::error::Failure;
use lrc_runtime::search;

use crate::terminal;

/// Arguments of `lrc spec`.
#[derive(Debug, clap::Args)]
pub struct Spec {
    /// A JSON Schema for editors instead of the page: of specs, or of the file that is named.
    #[arg(long, value_enum, value_name = "FILE", num_args = 0..=1, default_missing_value = "spec")]
    pub schema: Option<File>,
}

/// A file that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum File {
    /// Of `lrc train`.
    Spec,
    /// Of `lrc search`.
    Study,
    /// Of `lrc experiment`.
    Experiment,
}

/// `lrc spec`
pub fn spec(args: &Spec) -> Result<(), Failure> {
    terminal::write(&match args.schema {
        None => page::page(),
        Some(File::Spec) => schema::schema(),
        Some(File::Study) => search::schema(),
        Some(File::Experiment) => experiment::schema(),
    });
    Ok(())
}
