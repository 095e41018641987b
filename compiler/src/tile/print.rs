//! The text form of a program, one line per node.

use std::fmt::{self, Write};

use super::{Binary, Leaf, Op, Program, Scan, Stream, Unary, Value, Versions};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_program(f, self, &ToString::to_string, &[], 0)
    }
}

/// A program with names for its leaves, and for its results where there are as many names.
pub struct Named<'a> {
    /// The program.
    pub program: &'a Program,
    /// What a leaf is called.
    pub leaf: &'a dyn Fn(&Leaf) -> String,
    /// What the results are called.
    pub results: Vec<String>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_program(f, self.program, self.leaf, &self.results, 0)
    }
}

fn write_program(
    f: &mut fmt::Formatter<'_>,
    program: &Program,
    leaf: &dyn Fn(&Leaf) -> String,
    results: &[String],
    depth: usize,
) -> fmt::Result {
    let indent = "    ".repeat(depth);
    for (at, node) in program.nodes.iter().enumerate() {
        let args: Vec<String> = node.args.iter().map(|arg| format!("%{}", arg.0)).collect();
        let mut shape = String::new();
        for (i, axis) in node.shape.iter().enumerate() {
            write!(shape, "{}{axis}", if i == 0 { "" } else { ", " })?;
        }
        let space = if args.is_empty() { "" } else { " " };
        let op = match &node.op {
            Op::Leaf(source) => leaf(source),
            op => op.to_string(),
        };
        writeln!(f, "{indent}%{at} = {op}{space}{} : [{shape}]", args.join(", "))?;
        if let Op::Past(past) = &node.op {
            write_program(f, &past.term, leaf, &[], depth + 1)?;
        }
    }
    let outputs = program.outputs.iter().enumerate().map(|(at, output)| match results.get(at) {
        Some(name) => format!("{name} = %{}", output.0),
        None => format!("%{}", output.0),
    });
    let outputs: Vec<String> = outputs.collect();
    writeln!(f, "{indent}return {}", outputs.join(", "))
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Input(i) => write!(f, "input{i}"),
            Stream::State(i) => write!(f, "state{i}"),
            Stream::Export(i) => write!(f, "value{i}"),
            Stream::Out(i) => write!(f, "out{i}"),
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Read(stream, at) => write!(f, "{stream}[{at}]"),
            Leaf::Param(i) => write!(f, "param{i}"),
            Leaf::Number(int) => write!(f, "number({int})"),
            Leaf::Head => write!(f, "head"),
            Leaf::Outer(i) => write!(f, "outer{i}"),
            Leaf::Cotangent(stream) => write!(f, "d_{stream}"),
            Leaf::Carry(i) => write!(f, "carry{i}"),
            Leaf::CarryCotangent(i) => write!(f, "d_carry{i}"),
            Leaf::Kept(k) => write!(f, "kept{k}"),
            Leaf::Valid => write!(f, "valid"),
            Leaf::Allowed => write!(f, "allowed"),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.micro, self.offsets)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Leaf(leaf) => write!(f, "{leaf}"),
            Op::Fill(x) => write!(f, "fill {}", x.value()),
            Op::Eye => write!(f, "eye"),
            Op::Unary(op) => f.write_str(&op.name()),
            Op::Binary(op) => f.write_str(&op.name()),
            Op::MulSum(axes) if axes.is_empty() => write!(f, "mul"),
            Op::MulSum(axes) => write!(f, "mulsum{axes:?}"),
            Op::Sum(axes) => write!(f, "sum{axes:?}"),
            Op::LogSumExp(axis) => write!(f, "log_sum_exp[{axis}]"),
            Op::Select => write!(f, "select"),
            Op::Reshape => write!(f, "reshape"),
            Op::Permute(order) => write!(f, "permute{order:?}"),
            Op::Slice(axis, start) => write!(f, "slice[{axis} from {start}]"),
            Op::Pad(axis, before) => write!(f, "pad[{axis} at {before}]"),
            Op::Concat(axis) => write!(f, "concat[{axis}]"),
            Op::Expand => write!(f, "expand"),
            Op::Pick(int) => write!(f, "pick[{int}]"),
            Op::Place(int) => write!(f, "place[{int}]"),
            Op::Alias(id) => write!(f, "version{id}"),
            Op::Past(past) => {
                write!(f, "{:?} u{} in {}..={}", past.gather, past.level, past.low, past.high)
            }
            Op::Weight => write!(f, "weight"),
            Op::CumulativeProduct(v) => write!(f, "cumulative_product<{v}>"),
            Op::CumulativeProductGrad(v) => write!(f, "cumulative_product_grad<{v}>"),
            Op::ReverseCumulativeProduct => write!(f, "reverse_cumulative_product"),
            Op::ReverseCumulativeProductGrad => write!(f, "reverse_cumulative_product_grad"),
            Op::DecayMask(v) => write!(f, "decay_mask<{v}>"),
            Op::DecayMaskGrad(v) => write!(f, "decay_mask_grad<{v}>"),
            Op::Below(v) => write!(f, "below<{v}>"),
            Op::Gram(v) => write!(f, "gram<{v}>"),
            Op::Apply(v) => write!(f, "apply<{v}>"),
            Op::ApplyT(v) => write!(f, "apply_t<{v}>"),
            Op::GramGrad(v) => write!(f, "gram_grad<{v}>"),
            Op::Solve(false) => write!(f, "solve"),
            Op::Solve(true) => write!(f, "solve_t"),
            Op::Scan(Scan::Linear) => write!(f, "scan"),
            Op::Scan(Scan::Max { .. }) => write!(f, "scan_max"),
            Op::ScanGrad => write!(f, "scan_grad"),
            Op::Largest(count) => write!(f, "largest{count}"),
            Op::LinearSolve(false) => write!(f, "linear_solve"),
            Op::LinearSolve(true) => write!(f, "linear_solve_t"),
        }
    }
}

/// Prints a value as an expression, down to leaves and what has a name; deep parts are left out.
pub fn expression(
    program: &Program,
    value: Value,
    leaf: &dyn Fn(&Leaf) -> String,
    known: &dyn Fn(Value) -> Option<String>,
    depth: usize,
) -> String {
    if let Some(name) = known(value) {
        return name;
    }
    if depth == 0 {
        return "…".into();
    }
    let node = program.node(value);
    let arg = |i: usize| expression(program, node.args[i], leaf, known, depth - 1);
    let wrap = |i: usize| tight(arg(i));
    match &node.op {
        Op::Leaf(source) => leaf(source),
        Op::Fill(x) => lrc_dsl::print::number_text(x.value()),
        Op::Eye => "I".into(),
        Op::Unary(Unary::Neg) => format!("-{}", wrap(0)),
        Op::Unary(op) => format!("{}({})", op.name(), arg(0)),
        Op::Binary(Binary::Add) => format!("{} + {}", arg(0), arg(1)),
        Op::Binary(Binary::Sub) => format!("{} - {}", arg(0), wrap(1)),
        Op::Binary(Binary::Div) => format!("{} / {}", wrap(0), wrap(1)),
        Op::Binary(op) => format!("{}({}, {})", op.name(), arg(0), arg(1)),
        Op::MulSum(axes) if axes.is_empty() => format!("{} * {}", wrap(0), wrap(1)),
        Op::MulSum(axes) => {
            let whole = axes.len() == program.shape(node.args[0]).len();
            let dot = whole && program.shape(node.args[0]) == program.shape(node.args[1]);
            if dot && node.args[0] == node.args[1] {
                format!("|{}|^2", arg(0))
            } else {
                format!("sum({} .* {})", wrap(0), wrap(1))
            }
        }
        Op::Sum(_) => format!("sum({})", arg(0)),
        Op::Reshape | Op::Expand | Op::Alias(_) => arg(0),
        Op::Slice(_, start) => format!("{}[{start}]", wrap(0)),
        Op::Permute(_) => format!("{}^T", wrap(0)),
        op => {
            let args: Vec<String> = (0..node.args.len()).map(arg).collect();
            format!("{op}({})", args.join(", "))
        }
    }
}

/// A text with parentheses around it where it holds a space outside of any.
pub fn tight(text: String) -> String {
    let mut depth = 0;
    let loose = text.chars().any(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        c == ' ' && depth == 0
    });
    if loose { format!("({text})") } else { text }
}

/// Prints a value as lines `name = expression`; what is used more than once gets a line of its own,
/// `r1`, `r2` and so on. The value itself is the last line, called `result`.
pub fn lines(
    program: &Program,
    value: Value,
    leaf: &dyn Fn(&Leaf) -> String,
    known: &dyn Fn(Value) -> Option<String>,
    result: &str,
) -> Vec<String> {
    let mut uses = vec![0_usize; program.nodes.len()];
    uses[value.at()] = 1;
    for at in (0..=value.at()).rev() {
        if uses[at] > 0 && known(Value(at as u32)).is_none() {
            program.nodes[at].args.iter().for_each(|arg| uses[arg.at()] += 1);
        }
    }
    let mut names: Vec<(Value, String)> = Vec::new();
    let mut lines = Vec::new();
    for at in 0..=value.at() {
        let own = Value(at as u32);
        let op = &program.nodes[at].op;
        let plain = matches!(
            op,
            Op::Leaf(_)
                | Op::Fill(_)
                | Op::Eye
                | Op::Reshape
                | Op::Expand
                | Op::Permute(_)
                | Op::Alias(_)
        );
        let worth = own == value || (uses[at] > 1 && !plain && known(own).is_none());
        if uses[at] == 0 || !worth {
            continue;
        }
        let called = |found: Value| {
            let named = names.iter().find(|(value, _)| *value == found).map(|(_, n)| n.clone());
            known(found).or(named).filter(|_| found != own)
        };
        let text = expression(program, own, leaf, &called, 64);
        let name = if own == value { result.to_string() } else { format!("r{}", names.len() + 1) };
        lines.push(format!("{name} = {text}"));
        names.push((own, name));
    }
    lines
}
