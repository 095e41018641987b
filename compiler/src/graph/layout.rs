//! The layout of a model: what it declares, and its sub-layers one after the other.

use std::collections::BTreeMap;

use lrc_dsl::ast::{BinaryOp, Decl, Expr, ExprKind, Item, Kind as DeclKind, Name, Range};
use lrc_dsl::{Diag, Namespace, Span, print};

use crate::apportion::apportion;
use crate::elaborate::Setting;
use crate::elaborate::signature::{Numbers, sized};

/// Most sub-layers of a model.
const MAX_LAYERS: usize = 4096;

/// Most turns of repetitions and uses of shared blocks: a layout may hold turns without a sub-layer.
const MAX_TURNS: usize = 4 * MAX_LAYERS;

/// One resolved sub-layer call.
pub(super) struct Layer {
    /// The call.
    pub call: Expr,
    /// What is known where it stands.
    pub numbers: Numbers,
    /// Where its parameters are.
    pub path: String,
    /// What later sub-layers call it.
    pub name: Option<String>,
    /// Whether it stands in a shared block.
    pub shared: bool,
}

/// What a model declares besides sub-layers.
pub(super) struct Whole<'d> {
    /// Tokens that exist.
    pub vocab: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// What becomes of a token's row of the embedding before the first sub-layer.
    pub embed: Option<&'d Expr>,
    /// The rule around each sub-layer.
    pub residual: &'d Expr,
    /// What the logits are made from.
    pub head: &'d Expr,
    /// Whether the embedding gives the logits.
    pub tied: bool,
    /// The soft cap of logits.
    pub cap: Option<f64>,
}

/// Unrolls a model's items; what it declares is missing where it is not whole.
pub(super) fn resolve<'d>(
    namespace: &Namespace,
    decl: &'d Decl,
    numbers: &Numbers,
    diags: &mut Vec<Diag>,
) -> (Vec<Layer>, Option<Whole<'d>>) {
    let mut flat = Flattener {
        namespace,
        layers: Vec::new(),
        diags,
        shared: BTreeMap::new(),
        open: Vec::new(),
        turns: 0,
        full: false,
        parts: Parts::default(),
    };
    flat.items(&decl.items, numbers, true);
    let Flattener { layers, parts, full, .. } = flat;
    let whole = parts.complete(decl, numbers, &layers, diags);
    // Thousands of sub-layers are not built to be refused.
    (layers, whole.filter(|_| !full))
}

#[derive(Default)]
struct Parts<'d> {
    vocab: Option<&'d Expr>,
    embed: Option<&'d Expr>,
    residual: Option<&'d Expr>,
    head: Option<(&'d Expr, &'d Name, Option<&'d Expr>)>,
}

impl<'d> Parts<'d> {
    fn complete(
        &self,
        decl: &'d Decl,
        numbers: &Numbers,
        layers: &[Layer],
        diags: &mut Vec<Diag>,
    ) -> Option<Whole<'d>> {
        let mut lacks = |what: &str, help: &str| {
            let message = format!("the model `{}` lacks {what}", decl.name.text);
            diags.push(Diag::error("E0220", decl.name.span, message).help(help));
        };
        if !numbers.known.contains_key("width") {
            lacks("a `width`", "declare it as a parameter: `model name(width = 256) { … }`");
        }
        if self.vocab.is_none() {
            lacks("`vocab`", "add a line such as `vocab 256`");
        }
        if self.residual.is_none() {
            lacks("`residual`", "add a line such as `residual x + f(rmsnorm(x))`");
        }
        if self.head.is_none() {
            lacks("`head`", "add a line such as `head rmsnorm(x), untied`");
        }
        if layers.is_empty() && diags.iter().all(|d| !d.is_error()) {
            let message = format!("the model `{}` has no sub-layer", decl.name.text);
            diags.push(Diag::error("E0220", decl.name.span, message));
        }
        let width = told(width(decl, numbers)?, diags);
        let vocab = told(numbers.size(self.vocab?), diags);
        let (head, tied, cap) = self.head?;
        let cap = told(cap.map(|cap| positive(numbers, cap)).transpose(), diags);
        let tied = match (tied.text.as_str(), numbers.known.get(&tied.text)) {
            ("tied", _) | (_, Some(Setting::Truth(true))) => true,
            ("untied", _) | (_, Some(Setting::Truth(false))) => false,
            (other, _) => {
                let message = match other {
                    "" => "a head says whether it is `tied` or `untied`".to_string(),
                    other => format!("unknown word `{other}`"),
                };
                let value = print::expr(head);
                diags.push(Diag::error("E0220", tied.span, message).help(format!(
                    "`head {value}, tied` uses the embedding's matrix, `head {value}, untied` has its own; a parameter that is true or false may stand in place of the word"
                )));
                return None;
            }
        };
        let embed = self.embed;
        let (vocab, width, residual) = (vocab?, width?, self.residual?);
        Some(Whole { vocab, width, embed, residual, head, tied, cap: cap? })
    }
}

/// What was found, or nothing where it was an error.
fn told<T>(found: Result<T, Box<Diag>>, diags: &mut Vec<Diag>) -> Option<T> {
    found.map_err(|diag| diags.push(*diag)).ok()
}

/// A number above 0 that logits stay below.
fn positive(numbers: &Numbers, cap: &Expr) -> Result<f64, Box<Diag>> {
    match numbers.eval(cap)? {
        // Logits are f32.
        Setting::Number(x) if (x as f32).is_normal() && x > 0.0 => Ok(x),
        other => {
            let message =
                format!("the cap of logits is {other}, not a number above 0 that f32 holds");
            Err(Box::new(Diag::error("E0213", cap.span, message)))
        }
    }
}

/// The width of a model, if it has one.
fn width(decl: &Decl, numbers: &Numbers) -> Option<Result<usize, Box<Diag>>> {
    let known = numbers.known.get("width")?;
    let declared = decl.settings.iter().find(|(name, _)| name.text == "width");
    let span = declared.map_or(decl.name.span, |(name, _)| name.span);
    Some(match known {
        Setting::Number(x) => sized("width", *x, span),
        Setting::Truth(x) => {
            Err(Box::new(Diag::error("E0213", span, format!("the size `width` is {x}, no number"))))
        }
    })
}

struct Flattener<'a, 'd> {
    namespace: &'a Namespace,
    layers: Vec<Layer>,
    diags: &'a mut Vec<Diag>,
    shared: BTreeMap<&'d str, (&'d [Item], Span)>,
    /// Shared blocks around the place at hand.
    open: Vec<&'d str>,
    turns: usize,
    /// Whether a limit is reached, and said.
    full: bool,
    parts: Parts<'d>,
}

impl<'d> Flattener<'_, 'd> {
    fn items(&mut self, items: &'d [Item], numbers: &Numbers, top: bool) {
        for item in items {
            match item {
                Item::Vocab(expr) if top => {
                    let first = self.parts.vocab.replace(expr);
                    self.once("vocab", first, expr);
                }
                Item::Embed(expr) if top => {
                    let first = self.parts.embed.replace(expr);
                    self.once("embed", first, expr);
                }
                Item::Residual(expr) if top => {
                    let first = self.parts.residual.replace(expr);
                    self.once("residual", first, expr);
                }
                Item::Head { value, tied, cap } if top => {
                    let first = self.parts.head.replace((value, tied, cap.as_ref()));
                    self.once("head", first.map(|(value, ..)| value), value);
                }
                Item::Repeat { range, items, .. } => self.repeat(range, items, numbers),
                Item::Statement(expr) => self.call(expr, numbers, None),
                Item::Equation { out: false, targets, value, .. } if targets.len() == 1 => {
                    self.call(value, numbers, Some(targets[0].name.text.clone()));
                }
                Item::Shared { name, items, .. } => self.share(name, items),
                Item::Spread { count, portions, span } => {
                    self.spread(count, portions, numbers, *span);
                }
                Item::Declare { span, .. }
                | Item::Equation { span, .. }
                | Item::Function { span, .. } => self.diags.push(
                    Diag::error("E0212", *span, "this does not belong in a model")
                        .help("a model holds `vocab`, `embed`, `residual`, `head` and sub-layers"),
                ),
                Item::Loss(e)
                | Item::Vocab(e)
                | Item::Embed(e)
                | Item::Residual(e)
                | Item::Head { value: e, .. } => {
                    self.diags.push(Diag::error("E0212", e.span, "this does not belong here"));
                }
            }
        }
    }

    /// Refuses a second line of what a model has once.
    fn once(&mut self, word: &str, first: Option<&Expr>, again: &Expr) {
        let Some(first) = first else { return };
        self.diags.push(
            Diag::error("E0105", again.span, format!("a model has one `{word}`"))
                .label("said again")
                .other(first.span, "said here"),
        );
    }

    fn share(&mut self, name: &'d Name, items: &'d [Item]) {
        let Some((_, first)) = self.shared.insert(&name.text, (items, name.span)) else { return };
        if first != name.span {
            self.diags.push(
                Diag::error("E0105", name.span, format!("`{}` is declared twice", name.text))
                    .label("declared again")
                    .other(first, "first declared here"),
            );
        }
    }

    /// Whether there is room for so many turns or sub-layers more; says once where there is not.
    fn room(&mut self, turns: usize, layers: usize, span: Span) -> bool {
        self.turns = self.turns.saturating_add(turns);
        let turns = self.turns > MAX_TURNS;
        if !turns && layers <= MAX_LAYERS.saturating_sub(self.layers.len()) {
            return true;
        }
        if !std::mem::replace(&mut self.full, true) {
            let message = if turns {
                format!("more than {MAX_TURNS} turns of repetitions")
            } else {
                format!("more than {MAX_LAYERS} sub-layers")
            };
            self.diags.push(Diag::error("E0102", span, message));
        }
        false
    }

    fn repeat(&mut self, range: &'d Range, items: &'d [Item], numbers: &Numbers) {
        let name = range.terms[0].as_name().map(str::to_string);
        let high = range.terms.get(1).map(|high| numbers.number(high));
        let (Some(name), Some(high), 2) = (name, high, range.terms.len()) else {
            self.diags.push(Diag::error(
                "E0103",
                range.span,
                "a repetition is written `for i < n`",
            ));
            return;
        };
        let high = match high {
            Ok(high) => high + if range.ops[0] == BinaryOp::Le { 1.0 } else { 0.0 },
            Err(diag) => return self.diags.push(*diag),
        };
        let mut i = 0.0;
        while i < high && self.room(1, 0, range.span) {
            let mut inner = numbers.clone();
            inner.known.insert(name.clone(), Setting::Number(i));
            let errors = self.diags.len();
            self.items(items, &inner, false);
            if self.diags.len() > errors {
                return;
            }
            i += 1.0;
        }
    }

    fn call(&mut self, expr: &'d Expr, numbers: &Numbers, name: Option<String>) {
        match &expr.kind {
            ExprKind::Choice(condition, a, b) => match numbers.truth(condition) {
                Ok(true) => self.call(a, numbers, name),
                Ok(false) => self.call(b, numbers, name),
                Err(diag) => self.diags.push(*diag),
            },
            ExprKind::Call(mixer, _) => match self.namespace.get(&mixer.text) {
                Some(decl) if decl.kind == DeclKind::Mixer => {
                    if !self.room(0, 1, expr.span) {
                        return;
                    }
                    let at = self.layers.len();
                    self.layers.push(Layer {
                        call: expr.clone(),
                        numbers: numbers.clone(),
                        path: format!("layers.{at}.{}", mixer.text),
                        name,
                        shared: false,
                    });
                }
                other => {
                    let diag = no_mixer(self.namespace, mixer, other);
                    self.diags.push(diag);
                }
            },
            ExprKind::Name(shared) if self.shared.contains_key(shared.as_str()) => {
                self.block(shared, numbers, expr.span);
            }
            _ => self.diags.push(
                Diag::error("E0212", expr.span, "a sub-layer is a call of a mixer")
                    .help("for example `attention(heads = 4)`"),
            ),
        }
    }

    /// The sub-layers of a shared block.
    fn block(&mut self, shared: &'d str, numbers: &Numbers, span: Span) {
        if self.open.contains(&shared) {
            let message = format!("the block `{shared}` contains itself");
            return self.diags.push(Diag::error("E0218", span, message));
        }
        if !self.room(1, 0, span) {
            return;
        }
        let (items, _) = self.shared[shared];
        let first = self.layers.len();
        self.open.push(shared);
        self.items(items, numbers, false);
        self.open.pop();
        for (at, layer) in self.layers[first..].iter_mut().enumerate() {
            let mixer = layer.path.rsplit('.').next().unwrap_or_default().to_string();
            layer.path = format!("shared.{shared}.{at}.{mixer}");
            layer.shared = true;
        }
    }

    /// Counts by largest remainder; copy k of n stands at (k + ½) / n.
    fn spread(
        &mut self,
        count: &Expr,
        portions: &'d [(Expr, Expr)],
        numbers: &Numbers,
        span: Span,
    ) {
        let count = match numbers.size(count) {
            Ok(count) => count,
            Err(diag) => return self.diags.push(*diag),
        };
        let shares: Result<Vec<f64>, _> = portions.iter().map(|(p, _)| numbers.number(p)).collect();
        let shares = match shares {
            Ok(shares) => shares,
            Err(diag) => return self.diags.push(*diag),
        };
        if let Some((at, share)) =
            shares.iter().enumerate().find(|(_, x)| !(0.0..=100.0).contains(*x))
        {
            let message = format!("{share} is no percentage");
            return self.diags.push(Diag::error("E0213", portions[at].0.span, message));
        }
        let total: f64 = shares.iter().sum();
        if (total - 100.0).abs() > 0.5 {
            let message = format!("the percentages add up to {total}, not 100");
            return self.diags.push(Diag::error("E0213", span, message));
        }
        if !self.room(0, count, span) {
            return;
        }
        for at in spread_order(count, &shares) {
            self.call(&portions[at].1, numbers, None);
        }
    }
}

/// Puts other calls at some places.
pub(super) fn replace(
    namespace: &Namespace,
    layers: &mut [Layer],
    replaced: &BTreeMap<usize, Expr>,
    diags: &mut Vec<Diag>,
) {
    let count = layers.len();
    for (at, call) in replaced {
        let mut wrong = |message: String, help: &str| {
            diags.push(Diag::error("E0212", call.span, message).help(help));
        };
        let Some(layer) = layers.get_mut(*at) else {
            let help = "they are counted from 0, as `lrc train --dry-run` lists them";
            wrong(format!("there is no sub-layer {at}: the model has {count}"), help);
            continue;
        };
        if layer.shared {
            let help = "its parameters are those of every use: change the block itself";
            wrong(format!("the sub-layer {at} stands in a shared block"), help);
            continue;
        }
        let ExprKind::Call(mixer, _) = &call.kind else {
            wrong("a sub-layer is a call of a mixer".into(), "for example `attention(heads = 4)`");
            continue;
        };
        match namespace.get(&mixer.text) {
            Some(decl) if decl.kind == DeclKind::Mixer => {
                layer.path = format!("layers.{at}.{}", mixer.text);
                layer.call = call.clone();
            }
            other => diags.push(no_mixer(namespace, mixer, other)),
        }
    }
}

/// What is wrong with the call of something that is no mixer.
fn no_mixer(namespace: &Namespace, mixer: &Name, found: Option<&Decl>) -> Diag {
    let name = mixer.text.as_str();
    if let Some(decl) = found {
        let message = format!("`{name}` is a {}, and a sub-layer is a mixer", decl.kind.word());
        let diag = Diag::error("E0217", mixer.span, message);
        return match decl.kind {
            DeclKind::Recurrence => diag.help(format!(
                "write a mixer around it: `mixer m {{ …  o = {name}(…)  out y = linear(o) }}`"
            )),
            _ => diag,
        };
    }
    let diag = Diag::error("E0217", mixer.span, format!("there is no mixer `{name}`"));
    match namespace.shipped(DeclKind::Mixer, name) {
        Some(path) => diag.help(format!("write `use \"{path}\"`: it is in the library")),
        None => diag.help_nearest(name, "mixers", namespace.names(DeclKind::Mixer)),
    }
}

/// Which portion stands at each of `count` places.
fn spread_order(count: usize, shares: &[f64]) -> Vec<usize> {
    let mut places: Vec<(f64, usize)> = apportion(shares, count as u64)
        .iter()
        .enumerate()
        .flat_map(|(at, &n)| (0..n).map(move |k| ((k as f64 + 0.5) / n as f64, at)))
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().map(|(_, at)| at).collect()
}
