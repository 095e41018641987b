//! Folders of runs: checkpoints, resuming, locks, signals.
