//! What a run writes for people: its record, its page, event files, and the page of a schedule.

pub mod plot;
pub mod record;
pub mod run;
pub mod schedule;
mod tensorboard;
