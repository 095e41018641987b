//! The canonical form of a file: what `parse` reads back as the same tree.

use std::fmt::Write;

use crate::ast::*;

/// Prints a whole file.
pub fn print(file: &File) -> String {
    let mut out = String::new();
    if let Some(version) = file.version {
        let _ = writeln!(out, "lrc {version}");
    }
    for used in &file.uses {
        let _ = writeln!(out, "use \"{}\"", used.text);
    }
    for decl in &file.decls {
        if !out.is_empty() {
            out.push('\n');
        }
        print_decl(&mut out, decl);
    }
    out
}

fn print_decl(out: &mut String, decl: &Decl) {
    for doc in &decl.docs {
        let _ = writeln!(out, "/// {doc}");
    }
    let _ = write!(out, "{} {}", decl.kind.word(), decl.name.text);
    if !decl.settings.is_empty() {
        let settings: Vec<String> = decl
            .settings
            .iter()
            .map(|(name, value)| format!("{} = {}", name.text, expr(value)))
            .collect();
        let _ = write!(out, "({})", settings.join(", "));
    }
    out.push_str(" {\n");
    print_items(out, &decl.items, 1);
    out.push_str("}\n");
}

fn print_items(out: &mut String, items: &[Item], depth: usize) {
    for item in items {
        let indent = "    ".repeat(depth);
        out.push_str(&indent);
        print_item(out, item, depth);
        out.push('\n');
    }
}

fn print_block(out: &mut String, head: &str, items: &[Item], depth: usize) {
    let _ = writeln!(out, "{head} {{");
    print_items(out, items, depth + 1);
    let _ = write!(out, "{}}}", "    ".repeat(depth));
}

fn print_item(out: &mut String, item: &Item, depth: usize) {
    match item {
        Item::Declare { role, names, shape, attrs, .. } => {
            let names: Vec<String> = names
                .iter()
                .map(|(name, count)| match count {
                    Some(count) => format!("{}[{}]", name.text, expr(count)),
                    None => name.text.clone(),
                })
                .collect();
            let _ = write!(out, "{} {} : {}", role.word(), names.join(", "), shape_text(shape));
            for (at, (attr, _)) in attrs.iter().enumerate() {
                let _ = write!(out, "{}{}", if at == 0 { " " } else { ", " }, attr_text(attr));
            }
        }
        Item::Equation { out: is_out, targets, shape, value, .. } => {
            let targets: Vec<String> = targets
                .iter()
                .map(|t| format!("{}{}", t.name.text, if t.now { "[t]" } else { "" }))
                .collect();
            let _ = write!(out, "{}{}", if *is_out { "out " } else { "" }, targets.join(", "));
            if let Some(shape) = shape {
                let _ = write!(out, " : {}", shape_text(shape));
            }
            let _ = write!(out, " = {}", expr(value));
        }
        Item::Function { name, args, body, .. } => {
            let args: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
            let _ = write!(out, "{}({}) = {}", name.text, args.join(", "), expr(body));
        }
        Item::Repeat { range, items, .. } => {
            print_block(out, &format!("for {}", range_text(range)), items, depth);
        }
        Item::Loss(value) => {
            let _ = write!(out, "loss {}", expr(value));
        }
        Item::Vocab(value) => {
            let _ = write!(out, "vocab {}", expr(value));
        }
        Item::Embed(value) => {
            let _ = write!(out, "embed {}", expr(value));
        }
        Item::Residual(value) => {
            let _ = write!(out, "residual {}", expr(value));
        }
        Item::Head { value, tied, cap } => out.push_str(&head_text(value, tied, cap.as_ref())),
        Item::Shared { name, items, .. } => {
            print_block(out, &format!("shared {}", name.text), items, depth);
        }
        Item::Spread { count, portions, .. } => {
            let _ = writeln!(out, "spread {} {{", expr(count));
            for (share, call) in portions {
                let indent = "    ".repeat(depth + 1);
                let _ = writeln!(out, "{indent}{}% {}", expr(share), expr(call));
            }
            let _ = write!(out, "{}}}", "    ".repeat(depth));
        }
        Item::Statement(value) => out.push_str(&expr(value)),
    }
}

fn head_text(value: &Expr, tied: &Name, cap: Option<&Expr>) -> String {
    let cap = cap.map_or(String::new(), |cap| format!(", cap {}", expr(cap)));
    format!("head {}, {}{cap}", expr(value), tied.text)
}

fn shape_text(shape: &Shape) -> String {
    if shape.axes.is_empty() {
        return "scalar".to_string();
    }
    format!("[{}]", shape.axes.iter().map(expr).collect::<Vec<_>>().join(", "))
}

/// Prints a promise or property.
pub fn attr_text(attr: &Attr) -> String {
    match attr {
        Attr::Interval { low, low_closed, high, high_closed } => {
            let open = if *low_closed { "[" } else { "(" };
            let close = if *high_closed { "]" } else { ")" };
            format!("in {open}{}, {}{close}", expr(low), expr(high))
        }
        Attr::Unit => "unit".into(),
        Attr::Complex => "complex".into(),
        Attr::Init(value) => format!("init {}", expr(value)),
        Attr::F32 => "f32".into(),
        Attr::NoDecay => "no decay".into(),
    }
}

/// Prints a range.
pub fn range_text(range: &Range) -> String {
    let mut text = bound(&range.terms[0], 4);
    for (op, term) in range.ops.iter().zip(&range.terms[1..]) {
        let _ = write!(text, " {} {}", op.text(), bound(term, 4));
    }
    text
}

/// Prints an expression with no more parentheses than needed.
pub fn expr(value: &Expr) -> String {
    bound(value, 0)
}

/// Prints an expression that must bind at least as tightly as `least`.
fn bound(value: &Expr, least: u8) -> String {
    let (text, strength) = match &value.kind {
        ExprKind::Number(number) => (number_text(*number), 9),
        ExprKind::Truth(truth) => (truth.to_string(), 9),
        ExprKind::Name(name) => (name.clone(), 9),
        ExprKind::Index(base, index) => (format!("{}[{}]", bound(base, 9), expr(index)), 9),
        ExprKind::Transpose(base) => (format!("{}^T", bound(base, 9)), 9),
        ExprKind::Field(base, name) => (format!("{}.{}", bound(base, 9), name.text), 9),
        ExprKind::Call(name, args) => {
            let args: Vec<String> = args.iter().map(arg_text).collect();
            (format!("{}({})", name.text, args.join(", ")), 9)
        }
        ExprKind::Negate(inner) => (format!("-{}", bound(inner, NEGATE_STRENGTH)), NEGATE_STRENGTH),
        ExprKind::Binary(op, left, right) => {
            let strength = op.strength();
            let (l, r) = if *op == BinaryOp::Pow {
                (strength + 1, NEGATE_STRENGTH)
            } else {
                (strength, strength + 1)
            };
            let tight = *op == BinaryOp::Pow;
            let gap = if tight { "" } else { " " };
            (format!("{}{gap}{}{gap}{}", bound(left, l), op.text(), bound(right, r)), strength)
        }
        ExprKind::Choice(c, a, b) => {
            (format!("if {} then {} else {}", expr(c), expr(a), expr(b)), 0)
        }
        ExprKind::Length(inner) => (format!("|{}|", expr(inner)), 9),
    };
    // A choice swallows everything to its right, so it is only bare at the outermost level.
    let needs = strength < least;
    if needs { format!("({text})") } else { text }
}

fn arg_text(arg: &Arg) -> String {
    match (&arg.name, &arg.over) {
        (Some(name), _) => format!("{} = {}", name.text, expr(&arg.value)),
        (None, Some(range)) => format!("{} for {}", expr(&arg.value), range_text(range)),
        (None, None) => expr(&arg.value),
    }
}

/// A number as people write it: exponents for the very small and very large.
pub fn number_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) && size.is_finite() {
        return format!("{number:e}");
    }
    if number.is_infinite() {
        return "1e999".into();
    }
    format!("{number}")
}
