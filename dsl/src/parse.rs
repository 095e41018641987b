//! Text to syntax tree. A syntax error in one declaration does not hide those in the next.

use pest::Parser;
use pest::iterators::Pair;

use crate::ast::*;
use crate::diag::Diag;
use crate::slips;
use crate::span::{FileId, Span};

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
        many => {
            let (last, rest) = many.split_last().expect("more than one");
            diag.label(format!("expected {} or {last}", rest.join(", ")))
        }
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

/// Turns pest's pairs into the tree; every pair's order is fixed by the grammar.
struct Reader {
    file: FileId,
    offset: usize,
}

type Found<'a> = Pair<'a, Rule>;

impl Reader {
    fn span(&self, pair: &Found) -> Span {
        let span = pair.as_span();
        let start = (self.offset + span.start()) as u32;
        // Rules swallow trailing blanks before they fail on the next token: leave those out.
        let end = start + span.as_str().trim_end().len() as u32;
        Span { file: self.file, start, end }
    }

    fn name(&self, pair: &Found) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(pair) }
    }

    fn file(&self, pair: Found, tree: &mut File, diags: &mut Vec<Diag>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::use_file => {
                    for string in part.into_inner().filter(|p| p.as_rule() == Rule::string) {
                        let text = string.as_str().trim_matches('"').to_string();
                        tree.uses.push(Name { text, span: self.span(&string) });
                    }
                }
                Rule::decl => match self.decl(part) {
                    Ok(decl) => tree.decls.push(decl),
                    Err(diag) => diags.push(*diag),
                },
                _ => {}
            }
        }
    }

    fn decl(&self, pair: Found) -> Read<Decl> {
        let mut decl = Decl {
            docs: Vec::new(),
            kind: Kind::Recurrence,
            name: Name { text: String::new(), span: self.span(&pair) },
            settings: Vec::new(),
            items: Vec::new(),
            span: self.span(&pair),
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::doc => {
                    decl.docs.push(part.as_str().trim_start_matches('/').trim().to_string());
                }
                Rule::kind => {
                    decl.kind = match part.as_str() {
                        "mixer" => Kind::Mixer,
                        "model" => Kind::Model,
                        _ => Kind::Recurrence,
                    };
                }
                Rule::name => decl.name = self.name(&part),
                Rule::settings => {
                    for setting in part.into_inner().filter(|p| p.as_rule() == Rule::setting) {
                        let mut inner = setting.into_inner();
                        let name = self.name(&next(&mut inner));
                        let value = self.expr(last(inner))?;
                        decl.settings.push((name, value));
                    }
                }
                Rule::item => decl.items.push(self.item(part)?),
                _ => {}
            }
        }
        Ok(decl)
    }

    fn items(&self, pair: Found) -> Read<Vec<Item>> {
        let items = pair.into_inner().filter(|p| p.as_rule() == Rule::item);
        items.map(|item| self.item(item)).collect()
    }

    fn item(&self, pair: Found) -> Read<Item> {
        let pair = last(pair.into_inner());
        let span = self.span(&pair);
        Ok(match pair.as_rule() {
            Rule::declare => self.declare(pair, span)?,
            Rule::equation => self.equation(pair, span)?,
            Rule::function => {
                let mut names = Vec::new();
                let mut body = None;
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::name => names.push(self.name(&part)),
                        Rule::expr => body = Some(self.expr(part)?),
                        _ => {}
                    }
                }
                let name = names.remove(0);
                Item::Function { name, args: names, body: body.expect("grammar: body"), span }
            }
            Rule::repeat => {
                let mut range = None;
                let mut items = Vec::new();
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::expr => range = Some(self.range(part)?),
                        Rule::item => items.push(self.item(part)?),
                        _ => {}
                    }
                }
                Item::Repeat { range: range.expect("grammar: range"), items, span }
            }
            Rule::loss => Item::Loss(self.expr(only(pair))?),
            Rule::vocab => Item::Vocab(self.expr(only(pair))?),
            Rule::residual => Item::Residual(self.expr(only(pair))?),
            Rule::head => {
                let mut inner =
                    pair.into_inner().filter(|p| matches!(p.as_rule(), Rule::expr | Rule::name));
                let value = self.expr(next(&mut inner))?;
                // Without its word a head is told what it lacks beside everything else.
                let nothing = || Name { text: String::new(), span };
                let tied = inner.next().map_or_else(nothing, |name| self.name(&name));
                Item::Head { value, tied }
            }
            Rule::shared => {
                let mut inner = pair.clone().into_inner();
                let name = inner.find(|p| p.as_rule() == Rule::name).expect("grammar: name");
                Item::Shared { name: self.name(&name), items: self.items(pair)?, span }
            }
            Rule::spread => {
                let mut count = None;
                let mut portions = Vec::new();
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::expr => count = Some(self.expr(part)?),
                        Rule::portion => {
                            let mut inner = part.into_inner().filter(|p| p.as_rule() == Rule::expr);
                            let share = self.expr(next(&mut inner))?;
                            portions.push((share, self.expr(next(&mut inner))?));
                        }
                        _ => {}
                    }
                }
                Item::Spread { count: count.expect("grammar: count"), portions, span }
            }
            _ => Item::Statement(self.expr(only(pair))?),
        })
    }

    fn declare(&self, pair: Found, span: Span) -> Read<Item> {
        let mut role = Role::In;
        let mut names = Vec::new();
        let mut shape = None;
        let mut attrs = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::role => {
                    role = match part.as_str() {
                        "param" => Role::Param,
                        "state" => Role::State,
                        _ => Role::In,
                    };
                }
                Rule::declared => {
                    let mut inner = part.into_inner();
                    let name = self.name(&next(&mut inner));
                    let count = match inner.next() {
                        Some(count) => Some(
                            self.expr(
                                count
                                    .into_inner()
                                    .find(|p| p.as_rule() == Rule::expr)
                                    .expect("grammar: count"),
                            )?,
                        ),
                        None => None,
                    };
                    names.push((name, count));
                }
                Rule::shape => shape = Some(self.shape(part)?),
                Rule::attr => attrs.push(self.attr(part)?),
                _ => {}
            }
        }
        Ok(Item::Declare { role, names, shape: shape.expect("grammar: shape"), attrs, span })
    }

    fn shape(&self, pair: Found) -> Read<Shape> {
        let span = self.span(&pair);
        let inner = last(pair.into_inner());
        let axes = inner.into_inner().filter(|p| p.as_rule() == Rule::expr);
        Ok(Shape { axes: axes.map(|axis| self.expr(axis)).collect::<Read<_>>()?, span })
    }

    fn attr(&self, pair: Found) -> Read<(Attr, Span)> {
        let span = self.span(&pair);
        let pair = last(pair.into_inner());
        let attr = match pair.as_rule() {
            Rule::attr_unit => Attr::Unit,
            Rule::attr_complex => Attr::Complex,
            Rule::attr_f32 => Attr::F32,
            Rule::attr_no_decay => Attr::NoDecay,
            Rule::attr_init => Attr::Init(self.expr(last(pair.into_inner()))?),
            _ => {
                let mut low_closed = false;
                let mut high_closed = false;
                let mut ends = Vec::new();
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::lower => low_closed = part.as_str() == "[",
                        Rule::upper => high_closed = part.as_str() == "]",
                        Rule::expr => ends.push(self.expr(part)?),
                        _ => {}
                    }
                }
                let high = ends.pop().expect("grammar: two ends");
                let low = ends.pop().expect("grammar: two ends");
                Attr::Interval { low, low_closed, high, high_closed }
            }
        };
        Ok((attr, span))
    }

    fn equation(&self, pair: Found, span: Span) -> Read<Item> {
        let mut out = false;
        let mut targets = Vec::new();
        let mut shape = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::kw_out => out = true,
                Rule::target => {
                    let mut inner = part.into_inner();
                    let name = self.name(&next(&mut inner));
                    targets.push(Target { name, now: inner.next().is_some() });
                }
                Rule::shape => shape = Some(self.shape(part)?),
                Rule::expr => value = Some(self.expr(part)?),
                _ => {}
            }
        }
        Ok(Item::Equation { out, targets, shape, value: value.expect("grammar: value"), span })
    }

    fn range(&self, pair: Found) -> Read<Range> {
        let expr = self.expr(pair)?;
        let span = expr.span;
        let mut terms = Vec::new();
        let mut ops = Vec::new();
        flatten_chain(expr, &mut terms, &mut ops);
        let sound = !ops.is_empty()
            && ops.iter().all(|op| matches!(op, BinaryOp::Lt | BinaryOp::Le))
            && ops.len() <= 2;
        if !sound {
            return Err(Box::new(
                Diag::error("E0103", span, "expected a range")
                    .label("not a chain of `<` or `<=`")
                    .help("a range is written `j < n`, `u <= t` or `s <= u <= t`"),
            ));
        }
        Ok(Range { terms, ops, span })
    }

    fn expr(&self, pair: Found) -> Read<Expr> {
        let span = self.span(&pair);
        let mut operands = Vec::new();
        let mut ops = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::operand => operands.push(self.operand(part)?),
                rule => ops.push(binary_op(rule)),
            }
        }
        if ops.len() > MAX_CHAIN {
            return Err(Box::new(
                Diag::error(
                    "E0102",
                    span,
                    format!("more than {MAX_CHAIN} operators in one expression"),
                )
                .help("name parts of it"),
            ));
        }
        Ok(build(operands, ops))
    }

    /// An operand: how many minus signs stand before it, and the value.
    fn operand(&self, pair: Found) -> Read<Operand> {
        let mut minuses = Vec::new();
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::minus => minuses.push(self.span(&part)),
                Rule::primary => value = Some(self.primary(last(part.into_inner()))?),
                _ => {
                    let base = value.take().expect("grammar: primary before postfix");
                    value = Some(self.postfix(base, last(part.into_inner()))?);
                }
            }
        }
        Ok(Operand { minuses, value: value.expect("grammar: primary") })
    }

    fn postfix(&self, base: Expr, pair: Found) -> Read<Expr> {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let kind = match pair.as_rule() {
            Rule::transpose => ExprKind::Transpose(base),
            Rule::index => {
                let inner =
                    pair.into_inner().find(|p| p.as_rule() == Rule::expr).expect("grammar: index");
                ExprKind::Index(base, Box::new(self.expr(inner)?))
            }
            _ => ExprKind::Field(base, self.name(&last(pair.into_inner()))),
        };
        Ok(Expr { kind, span })
    }

    fn primary(&self, pair: Found) -> Read<Expr> {
        let span = self.span(&pair);
        let inner_expr = |pair: Found| -> Read<Expr> {
            self.expr(pair.into_inner().find(|p| p.as_rule() == Rule::expr).expect("grammar: expr"))
        };
        let kind = match pair.as_rule() {
            Rule::number => {
                let text = pair.as_str().replace('_', "");
                ExprKind::Number(text.parse().unwrap_or(f64::INFINITY))
            }
            Rule::truth => ExprKind::Truth(pair.as_str() == "true"),
            Rule::name => ExprKind::Name(pair.as_str().to_string()),
            Rule::group => return Ok(Expr { span, ..inner_expr(pair)? }),
            Rule::length => ExprKind::Length(Box::new(inner_expr(pair)?)),
            Rule::choice => {
                let parts: Read<Vec<Expr>> = pair
                    .into_inner()
                    .filter(|p| p.as_rule() == Rule::expr)
                    .map(|p| self.expr(p))
                    .collect();
                let mut parts = parts?.into_iter().map(Box::new);
                let mut next = || parts.next().expect("grammar: three parts");
                ExprKind::Choice(next(), next(), next())
            }
            _ => {
                let mut inner = pair.into_inner();
                let name = self.name(&next(&mut inner));
                let args = inner.filter(|p| p.as_rule() == Rule::arg);
                ExprKind::Call(name, args.map(|arg| self.arg(arg)).collect::<Read<_>>()?)
            }
        };
        Ok(Expr { kind, span })
    }

    fn arg(&self, pair: Found) -> Read<Arg> {
        let mut name = None;
        let mut value = None;
        let mut over = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::expr => value = Some(self.expr(part)?),
                Rule::over => over = Some(self.range(last(part.into_inner()))?),
                _ => {}
            }
        }
        Ok(Arg { name, value: value.expect("grammar: value"), over })
    }
}

type Read<T> = Result<T, Box<Diag>>;

struct Operand {
    minuses: Vec<Span>,
    value: Expr,
}

fn next<'a>(pairs: &mut impl Iterator<Item = Found<'a>>) -> Found<'a> {
    pairs.next().expect("the grammar fixes the number of parts")
}

fn last<'a>(pairs: impl Iterator<Item = Found<'a>>) -> Found<'a> {
    pairs.last().expect("the grammar fixes the number of parts")
}

fn only(pair: Found) -> Found {
    last(pair.into_inner())
}

fn flatten_chain(expr: Expr, terms: &mut Vec<Expr>, ops: &mut Vec<BinaryOp>) {
    match expr.kind {
        ExprKind::Binary(op, left, right) if op.compares() => {
            flatten_chain(*left, terms, ops);
            ops.push(op);
            terms.push(*right);
        }
        _ => terms.push(expr),
    }
}

/// Precedence climbing over a flat list: tightest binding first, `^` to the right.
fn build(operands: Vec<Operand>, ops: Vec<BinaryOp>) -> Expr {
    let mut operands = operands.into_iter();
    let first = operands.next().expect("grammar: at least one operand");
    // Each open entry: a left operand (or a pending minus) waiting for its right side.
    let mut values = Vec::new();
    let mut pending: Vec<Pending> = Vec::new();
    push_operand(first, &mut values, &mut pending);
    for (op, operand) in ops.into_iter().zip(operands) {
        reduce(&mut values, &mut pending, op.strength(), op == BinaryOp::Pow);
        pending.push(Pending::Binary(op));
        push_operand(operand, &mut values, &mut pending);
    }
    reduce(&mut values, &mut pending, 0, false);
    values.pop().expect("one value is left")
}

enum Pending {
    Minus(Span),
    Binary(BinaryOp),
}

fn push_operand(operand: Operand, values: &mut Vec<Expr>, pending: &mut Vec<Pending>) {
    pending.extend(operand.minuses.into_iter().map(Pending::Minus));
    values.push(operand.value);
}

/// Closes every pending operator that binds tighter than `strength` (or as tight, unless the
/// coming operator groups to the right).
fn reduce(values: &mut Vec<Expr>, pending: &mut Vec<Pending>, strength: u8, right: bool) {
    while let Some(top) = pending.last() {
        let top_strength = match top {
            Pending::Minus(_) => NEGATE_STRENGTH,
            Pending::Binary(op) => op.strength(),
        };
        if top_strength < strength || (top_strength == strength && right) {
            return;
        }
        let value = values.pop().expect("an operand for every operator");
        let made = match pending.pop().expect("just seen") {
            Pending::Minus(minus) => {
                let span = minus.to(value.span);
                Expr { kind: ExprKind::Negate(Box::new(value)), span }
            }
            Pending::Binary(op) => {
                let left = values.pop().expect("two operands for a binary operator");
                let span = left.span.to(value.span);
                Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(value)), span }
            }
        };
        values.push(made);
    }
}

fn binary_op(rule: Rule) -> BinaryOp {
    match rule {
        Rule::op_or => BinaryOp::Or,
        Rule::op_and => BinaryOp::And,
        Rule::op_le => BinaryOp::Le,
        Rule::op_ge => BinaryOp::Ge,
        Rule::op_eq => BinaryOp::Eq,
        Rule::op_ne => BinaryOp::Ne,
        Rule::op_lt => BinaryOp::Lt,
        Rule::op_gt => BinaryOp::Gt,
        Rule::op_add => BinaryOp::Add,
        Rule::op_sub => BinaryOp::Sub,
        Rule::op_each => BinaryOp::Each,
        Rule::op_mul => BinaryOp::Mul,
        Rule::op_div => BinaryOp::Div,
        Rule::op_mod => BinaryOp::Mod,
        _ => BinaryOp::Pow,
    }
}
