//! What recurrences compute: forms, gradients, and what `verify` says of them.
