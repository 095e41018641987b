//! Specs, and the arguments of commands.
