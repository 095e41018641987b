//! `lrc spec`: the fields of a spec.

use lrc_runtime::config::{page, schema};
use lrc_runtime::ground::error::Failure;

use crate::terminal;

/// Arguments of `lrc spec`.
#[derive(Debug, clap::Args)]
pub struct Spec {
    /// A JSON Schema for editors instead of the page.
    #[arg(long)]
    pub schema: bool,
}

/// `lrc spec`
pub fn spec(args: &Spec) -> Result<(), Failure> {
    terminal::write(&if args.schema { schema::schema() } else { page::page() });
    Ok(())
}
