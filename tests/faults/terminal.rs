//! What reaches the terminal.
