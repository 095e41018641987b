//! Text to syntax tree. A syntax error in one declaration does not hide those in the next.

mod expr;
mod items;

use pest::Parser;

use crate::ast::{Expr, File};
use crate::diag::Diag;
use crate::slips;
use crate::span::{FileId, Span};
use items::Reader;

mod generated {
    #![allow(missing_docs, reason = "the derive writes an enum that mirrors grammar.pest")]

    /// The parser that pest derives from `grammar.pest`.
    #[derive(pest_derive::Parser)]
    #[grammar = "grammar.pest"]
    pub struct ArchParser;
}
use generated::{ArchParser, Rule};

/// Deepest nesting of brackets; parsing recurses, so hostile input needs a limit.
const MAX_DEPTH: usize = 64;
/// Most operators in one expression: chains become deep trees.
const MAX_CHAIN: usize = 256;
/// Most `if`s in one file, for the same reason.
const MAX_CHOICES: usize = 512;
/// Most syntax errors after which reading goes on: far more than are shown.
const MAX_ERRORS: usize = 1000;
/// Largest file, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Parses one file. The tree holds every declaration that could be read.
pub fn parse(file: FileId, text: &str) -> (File, Vec<Diag>) {
    let mut diags = Vec::new();
    if let Some(diag) = refuse(file, text) {
        return (File::default(), vec![diag]);
    }
    let mut tree = File::default();
    let lines: Vec<usize> = declaration_lines(text).collect();
    let mut from = 0;
    while from <= text.len() {
        let reader = Reader { file, offset: from };
        match ArchParser::parse(Rule::file, &text[from..]) {
            Ok(mut pairs) => {
                if let Some(pair) = pairs.next() {
                    reader.file(pair, &mut tree, &mut diags);
                }
                break;
            }
            Err(error) => {
                let at = from + error_offset(&error);
                diags.push(syntax_error(file, text, at, &error));
                let after = lines.partition_point(|line| *line <= at);
                // What stands before the broken declaration is sound: read it by itself.
                let broken = lines[..after].last().copied().unwrap_or(from);
                if broken > from
                    && let Ok(mut pairs) = ArchParser::parse(Rule::file, &text[from..broken])
                    && let Some(pair) = pairs.next()
                {
                    reader.file(pair, &mut tree, &mut diags);
                }
                match lines.get(after) {
                    Some(next) if diags.len() < MAX_ERRORS => from = *next,
                    _ => break,
                }
            }
        }
    }
    (tree, diags)
}

/// Parses a text that is one expression, such as the call of a mixer.
pub fn parse_expr(file: FileId, text: &str) -> Result<Expr, Box<Diag>> {
    if let Some(diag) = refuse(file, text) {
        return Err(Box::new(diag));
    }
    match ArchParser::parse(Rule::alone, text) {
        Ok(mut pairs) => {
            let alone = pairs.next().and_then(|pair| pair.into_inner().next());
            let missing = || Box::new(Diag::global("E0101", "there is no expression"));
            Reader { file, offset: 0 }.expr(alone.ok_or_else(missing)?)
        }
        Err(error) => Err(Box::new(syntax_error(file, text, error_offset(&error), &error))),
    }
}

/// Input that recursion could not survive.
fn refuse(file: FileId, text: &str) -> Option<Diag> {
    let whole = |start: usize, end: usize, why: String| {
        Diag::error("E0102", Span { file, start: start as u32, end: end as u32 }, why)
    };
    if text.len() > MAX_BYTES {
        return Some(whole(0, 0, format!("the file has more than {MAX_BYTES} bytes")));
    }
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let why = format!("brackets are nested more than {MAX_DEPTH} deep");
            return Some(whole(at, at + 1, why).help("name the inner expressions"));
        }
    }
    if text.split(|c: char| !c.is_alphanumeric()).filter(|w| *w == "if").count() > MAX_CHOICES {
        return Some(whole(0, 0, format!("the file has more than {MAX_CHOICES} `if`s")));
    }
    let bars = text.bytes().filter(|b| *b == b'|').count();
    if bars > MAX_CHOICES {
        return Some(whole(0, 0, format!("the file has more than {MAX_CHOICES} bars `|`")));
    }
    None
}

fn error_offset(error: &pest::error::Error<Rule>) -> usize {
    match error.location {
        pest::error::InputLocation::Pos(at) => at,
        pest::error::InputLocation::Span((at, _)) => at,
    }
}

/// Starts of lines that begin a declaration.
fn declaration_lines(text: &str) -> impl Iterator<Item = usize> + '_ {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    starts.filter(|&at| {
        ["recurrence ", "mixer ", "model "].iter().any(|word| text[at..].starts_with(word))
    })
}

fn syntax_error(file: FileId, text: &str, at: usize, error: &pest::error::Error<Rule>) -> Diag {
    // Point behind the last thing read when the next token stands on a later line.
    let found = text[at..].chars().next();
    let width = match found {
        Some(c) if c.is_alphanumeric() || c == '_' => {
            text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at)
        }
        Some(c) => c.len_utf8(),
        None => 0,
    };
    let span = Span { file, start: at as u32, end: (at + width) as u32 };
    let got = match found {
        None => "the end of the file".to_string(),
        Some(c) if c.is_control() => format!("`{}`", c.escape_debug()),
        Some(_) => format!("`{}`", &text[at..at + width]),
    };
    let mut expected: Vec<&str> = match &error.variant {
        pest::error::ErrorVariant::ParsingError { positives, .. } => {
            positives.iter().filter_map(|rule| rule_words(*rule)).collect()
        }
        pest::error::ErrorVariant::CustomError { .. } => Vec::new(),
    };
    expected.sort_unstable();
    expected.dedup();
    let diag = Diag::error("E0101", span, format!("unexpected {got}"));
    let diag = match expected.as_slice() {
        [] => diag,
        [one] => diag.label(format!("expected {one}")),
        [rest @ .., last] => diag.label(format!("expected {} or {last}", rest.join(", "))),
    };
    syntax_help(text, at, width, diag)
}

/// Hints for slips that people make.
fn syntax_help(text: &str, at: usize, width: usize, diag: Diag) -> Diag {
    let word = &text[at..at + width];
    let first_of_line = text[..at].trim_end_matches([' ', '\t']).ends_with('\n');
    if let Some(help) = slips::help(text, at) {
        return diag.help(help);
    }
    if ["recurrence", "mixer", "model", "in", "param", "state", "out"].contains(&word) {
        return if first_of_line {
            diag.help("the line before it is not finished")
        } else {
            diag.help(format!("`{word}` is a keyword and cannot be a name"))
        };
    }
    if word == "}" || word.is_empty() {
        return diag.help("every `{`, `(` and `[` needs its partner");
    }
    diag
}

/// Words for a grammar rule in "expected …"; `None` for rules that would only add noise.
fn rule_words(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::open_brace => "`{`",
        Rule::close_brace => "`}`",
        Rule::open_paren => "`(`",
        Rule::close_paren => "`)`",
        Rule::open_square => "`[`",
        Rule::close_square => "`]`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::assign => "`=`",
        Rule::percent => "`%`",
        Rule::bar => "`|`",
        Rule::kw_then => "`then`",
        Rule::kw_else => "`else`",
        Rule::name => "a name",
        Rule::number => "a number",
        Rule::string => "a path in double quotes",
        Rule::primary | Rule::expr | Rule::operand => "an expression",
        Rule::shape | Rule::axes | Rule::scalar => "a shape such as `[dk, dv]` or `scalar`",
        Rule::decl | Rule::kind => "`recurrence`, `mixer` or `model`",
        Rule::item | Rule::statement | Rule::equation => "an equation or a declaration",
        Rule::upper => "`]` or `)`",
        Rule::lower => "`(` or `[`",
        Rule::now_t => "`t`",
        Rule::EOI => "the end of the file",
        _ => return None,
    })
}
