//! Diagnostics: what is wrong, where, and what to type instead. One look for `.arch` and YAML.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::printable;
use crate::span::{Sources, Span};

/// Most findings that are shown.
pub const MAX_SHOWN: usize = 100;
/// Most names that a message lists.
const MAX_NAMES: usize = 20;
/// Most characters of a name that a message lists.
const MAX_NAME: usize = 80;
/// Most characters of a message, which may quote names of any length.
const MAX_MESSAGE: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing can be compiled or run.
    Error,
    /// Probably a mistake; the program goes on.
    Warning,
    /// Good to know.
    Note,
}

/// One finding about a text of the user's.
#[derive(Clone, Debug, PartialEq)]
pub struct Diag {
    /// A stable code such as `E0203`, explained by `lrc explain E0203`.
    pub code: &'static str,
    /// Error, warning or note.
    pub severity: Severity,
    /// One lower-case sentence without a full stop, names in back quotes.
    pub message: String,
    /// Where; `None` when no text is to blame.
    pub span: Option<Span>,
    /// Words under the caret.
    pub label: String,
    /// Other places that matter, with words.
    pub others: Vec<(Span, String)>,
    /// What to type or do.
    pub helps: Vec<String>,
}

impl Diag {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diag {
        Diag {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            others: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// An error that no place in a text shows.
    pub fn global(code: &'static str, message: impl Into<String>) -> Diag {
        let nowhere = Span { file: crate::span::FileId(0), start: 0, end: 0 };
        Diag { span: None, ..Diag::error(code, nowhere, message) }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diag {
        Diag { severity: Severity::Warning, ..Diag::error(code, span, message) }
    }

    /// The same as a warning.
    pub fn as_warning(self) -> Diag {
        Diag { severity: Severity::Warning, ..self }
    }

    /// A note at a place.
    pub fn note(code: &'static str, span: Span, message: impl Into<String>) -> Diag {
        Diag { severity: Severity::Note, ..Diag::error(code, span, message) }
    }

    /// Words under the caret.
    pub fn label(mut self, text: impl Into<String>) -> Diag {
        self.label = text.into();
        self
    }

    /// Another place that matters.
    pub fn other(mut self, span: Span, text: impl Into<String>) -> Diag {
        self.others.push((span, text.into()));
        self
    }

    /// What to type or do.
    pub fn help(mut self, text: impl Into<String>) -> Diag {
        self.helps.push(text.into());
        self
    }

    /// Names the nearest of `known` to `name`, or lists them.
    pub fn help_nearest<'a>(
        self,
        name: &str,
        what: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Diag {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(name, known.iter().copied()) {
            Some(best) => self.help(format!("did you mean `{best}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("{what}: {}", listed(known))),
        }
    }

    /// Whether it stops the program.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Names in a row, each once: the first ones where they are many, cut where they are long.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut seen = std::collections::BTreeSet::new();
    let names: Vec<&str> = names.into_iter().filter(|name| seen.insert(*name)).collect();
    let cut = |name: &&str| cut(name, MAX_NAME).into_owned();
    let mut text = names.iter().take(MAX_NAMES).map(cut).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        text += &format!(" and {} more", names.len() - MAX_NAMES);
    }
    text
}

/// A text of so many characters at most.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

/// The known name that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Any two names of one letter are one letter apart: that says nothing.
    let limit = match name.chars().count() {
        0 | 1 => 0,
        // Nobody types a name as long as this.
        count if count > MAX_NAME => 0,
        count => (count / 3).max(1),
    };
    let lower = name.to_lowercase();
    known
        .into_iter()
        .filter(|other| *other != name && other.len().abs_diff(name.len()) <= 4 * limit)
        .map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Shows diagnostics with their source lines, in the order of the text, a hundred at most and errors
/// before others. What is found again, where several layers use one recurrence, is said once.
pub fn render(sources: &Sources, diags: &[Diag], colour: bool) -> String {
    let mut sorted: Vec<&Diag> = diags.iter().collect();
    sorted.sort_by_key(|diag| diag.span);
    sorted.dedup();
    let more = sorted.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        sorted.sort_by_key(|diag| !diag.is_error());
        sorted.truncate(MAX_SHOWN);
        sorted.sort_by_key(|diag| diag.span);
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut shown: Vec<String> =
        sorted.iter().map(|diag| render_one(sources, diag, &renderer)).collect();
    shown.dedup();
    if more > 0 {
        shown.push(format!("… and {more} more"));
    }
    shown.join("\n\n")
}

fn render_one(sources: &Sources, diag: &Diag, renderer: &Renderer) -> String {
    let level = match diag.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    // Excerpts are made printable by the renderer; names in messages are not.
    let shown = |text: &str| printable(&cut(text, MAX_MESSAGE)).into_owned();
    let message = shown(&diag.message);
    let label = shown(&diag.label);
    let others: Vec<(Span, _)> =
        diag.others.iter().map(|(span, words)| (*span, shown(words))).collect();
    let helps: Vec<_> = diag.helps.iter().map(|help| shown(help)).collect();
    let path = diag.span.map(|span| printable(sources.name(span.file)));
    let title = level.primary_title(&*message).id(diag.code);
    let mut group = match diag.span {
        None => Group::with_title(title),
        Some(span) => {
            let text = sources.text(span.file);
            let mut snippet = Snippet::source(text)
                .path(path.as_deref())
                .annotation(AnnotationKind::Primary.span(visible(text, span)).label(&*label));
            for (other, words) in others.iter().filter(|(other, _)| other.file == span.file) {
                snippet = snippet.annotation(
                    AnnotationKind::Context.span(visible(text, *other)).label(&**words),
                );
            }
            title.element(snippet)
        }
    };
    for help in &helps {
        group = group.element(Level::HELP.message(&**help));
    }
    renderer.render(&[group])
}

/// A span cut to its text and to whole characters: the renderer needs at least a position.
fn visible(text: &str, span: Span) -> std::ops::Range<usize> {
    let mut start = (span.start as usize).min(text.len());
    let mut end = (span.end as usize).clamp(start, text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    // A long range reads better as its first line.
    let line = text[start..end].find('\n').map_or(end, |at| start + at);
    start..line.max(start)
}
