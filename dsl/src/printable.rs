//! Text of strangers on its way to a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character does something to a terminal, or to the order in which a reader sees the others.
fn commands(c: char) -> bool {
    let turns =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

/// The text with control characters written out (`\u{1b}`): names and excerpts come from files of anybody. Line breaks
/// and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if commands(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}
