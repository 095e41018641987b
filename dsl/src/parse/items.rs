//! Declarations and their items.

use pest::iterators::Pair;

use super::Rule;
use crate::ast::*;
use crate::diag::Diag;
use crate::span::{FileId, Span};

/// Turns pest's pairs into the tree; every pair's order is fixed by the grammar.
pub(super) struct Reader {
    pub file: FileId,
    pub offset: usize,
}

pub(super) type Found<'a> = Pair<'a, Rule>;

/// The version of the language. A text that says it, or says none, means the same in every later program.
pub(super) const VERSION: u32 = 1;

impl Reader {
    pub(super) fn span(&self, pair: &Found) -> Span {
        let span = pair.as_span();
        let start = (self.offset + span.start()) as u32;
        // Rules swallow trailing blanks before they fail on the next token: leave those out.
        let end = start + span.as_str().trim_end().len() as u32;
        Span { file: self.file, start, end }
    }

    pub(super) fn name(&self, pair: &Found) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(pair) }
    }

    pub(super) fn file(&self, pair: Found, tree: &mut File, diags: &mut Vec<Diag>) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::version => match self.version(part) {
                    Ok(version) => tree.version = Some(version),
                    Err(diag) => diags.push(*diag),
                },
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

    /// A version that this program reads.
    fn version(&self, pair: Found) -> Read<u32> {
        let span = self.span(&pair);
        let number = pair.into_inner().find(|part| part.as_rule() == Rule::number);
        match number.and_then(|part| part.as_str().parse().ok()) {
            Some(version) if (1..=VERSION).contains(&version) => Ok(version),
            _ => {
                let message = "there is no such version of the language here";
                let diag = Diag::error("E0106", span, message);
                Err(Box::new(diag.help(format!(
                    "this program reads `lrc {VERSION}`; a later one reads later texts and these"
                ))))
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
            Rule::function => self.function(pair, span)?,
            Rule::repeat => self.repeat(pair, span)?,
            Rule::loss => Item::Loss(self.expr(only(pair))?),
            Rule::vocab => Item::Vocab(self.expr(only(pair))?),
            Rule::embed => Item::Embed(self.expr(only(pair))?),
            Rule::residual => Item::Residual(self.expr(only(pair))?),
            Rule::head => self.head(pair, span)?,
            Rule::shared => self.shared(pair, span)?,
            Rule::spread => self.spread(pair, span)?,
            _ => Item::Statement(self.expr(only(pair))?),
        })
    }

    fn function(&self, pair: Found, span: Span) -> Read<Item> {
        let mut parts =
            pair.into_inner().filter(|p| matches!(p.as_rule(), Rule::name | Rule::expr));
        let name = self.name(&next(&mut parts));
        let mut args = Vec::new();
        let mut body = None;
        for part in parts {
            match part.as_rule() {
                Rule::name => args.push(self.name(&part)),
                _ => body = Some(self.expr(part)?),
            }
        }
        Ok(Item::Function { name, args, body: promised(body), span })
    }

    fn repeat(&self, pair: Found, span: Span) -> Read<Item> {
        let mut range = None;
        let mut items = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::expr => range = Some(self.range(part)?),
                Rule::item => items.push(self.item(part)?),
                _ => {}
            }
        }
        Ok(Item::Repeat { range: promised(range), items, span })
    }

    fn head(&self, pair: Found, span: Span) -> Read<Item> {
        let (mut value, mut cap) = (None, None);
        // Without its word a head is told what it lacks beside everything else.
        let mut tied = Name { text: String::new(), span };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => tied = self.name(&part),
                Rule::expr if value.is_none() => value = Some(self.expr(part)?),
                Rule::expr => cap = Some(self.expr(part)?),
                _ => {}
            }
        }
        Ok(Item::Head { value: promised(value), tied, cap })
    }

    fn shared(&self, pair: Found, span: Span) -> Read<Item> {
        let name = promised(pair.clone().into_inner().find(|p| p.as_rule() == Rule::name));
        Ok(Item::Shared { name: self.name(&name), items: self.items(pair)?, span })
    }

    fn spread(&self, pair: Found, span: Span) -> Read<Item> {
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
        Ok(Item::Spread { count: promised(count), portions, span })
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
                    let count =
                        inner.next().map(|count| self.expr(first_expr(count))).transpose()?;
                    names.push((name, count));
                }
                Rule::shape => shape = Some(self.shape(part)?),
                Rule::attr => attrs.push(self.attr(part)?),
                _ => {}
            }
        }
        Ok(Item::Declare { role, names, shape: promised(shape), attrs, span })
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
                let (mut low, mut high) = (None, None);
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::lower => low_closed = part.as_str() == "[",
                        Rule::upper => high_closed = part.as_str() == "]",
                        Rule::expr if low.is_none() => low = Some(self.expr(part)?),
                        Rule::expr => high = Some(self.expr(part)?),
                        _ => {}
                    }
                }
                let (low, high) = (promised(low), promised(high));
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
        Ok(Item::Equation { out, targets, shape, value: promised(value), span })
    }

    pub(super) fn range(&self, pair: Found) -> Read<Range> {
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
}

pub(super) type Read<T> = Result<T, Box<Diag>>;

/// A part that the grammar promises: a rule does not match without it.
pub(super) fn promised<T>(part: Option<T>) -> T {
    part.expect("the grammar fixes the parts of a rule")
}

pub(super) fn next<'a>(pairs: &mut impl Iterator<Item = Found<'a>>) -> Found<'a> {
    promised(pairs.next())
}

pub(super) fn last<'a>(pairs: impl Iterator<Item = Found<'a>>) -> Found<'a> {
    promised(pairs.last())
}

pub(super) fn only(pair: Found) -> Found {
    last(pair.into_inner())
}

/// The expression of a rule that has one.
pub(super) fn first_expr(pair: Found) -> Found {
    promised(pair.into_inner().find(|p| p.as_rule() == Rule::expr))
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
