//! `task`: synthetic tasks, and the bytes of files.

use crate::data::tasks::KINDS;
use crate::fields::Table;

/// `task`
pub static TASK: Table = Table::one_of(KINDS, None);
