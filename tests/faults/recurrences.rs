//! The language of recurrences: what is accepted, what is refused, in which words.
