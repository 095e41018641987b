//! The text form of a program, one line per node.

use std::fmt::{self, Write};

use super::{Leaf, Op, Program, Stream, Versions};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_program(f, self, 0)
    }
}

fn write_program(f: &mut fmt::Formatter<'_>, program: &Program, depth: usize) -> fmt::Result {
    let indent = "    ".repeat(depth);
    for (at, node) in program.nodes.iter().enumerate() {
        let args: Vec<String> = node.args.iter().map(|arg| format!("%{}", arg.0)).collect();
        let mut shape = String::new();
        for (i, axis) in node.shape.iter().enumerate() {
            write!(shape, "{}{axis}", if i == 0 { "" } else { ", " })?;
        }
        let space = if args.is_empty() { "" } else { " " };
        writeln!(f, "{indent}%{at} = {}{space}{} : [{shape}]", node.op, args.join(", "))?;
        if let Op::Past(past) = &node.op {
            write_program(f, &past.term, depth + 1)?;
        }
    }
    let outputs: Vec<String> = program.outputs.iter().map(|o| format!("%{}", o.0)).collect();
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
            Op::Prefix(v) => write!(f, "prefix<{v}>"),
            Op::PrefixGrad(v) => write!(f, "prefix_grad<{v}>"),
            Op::Suffix => write!(f, "suffix"),
            Op::SuffixGrad => write!(f, "suffix_grad"),
            Op::Pairs(v) => write!(f, "pairs<{v}>"),
            Op::PairsGrad(v) => write!(f, "pairs_grad<{v}>"),
            Op::Below(v) => write!(f, "below<{v}>"),
            Op::Gram(v) => write!(f, "gram<{v}>"),
            Op::Apply(v) => write!(f, "apply<{v}>"),
            Op::ApplyT(v) => write!(f, "apply_t<{v}>"),
            Op::GramGrad(v) => write!(f, "gram_grad<{v}>"),
            Op::Solve(false) => write!(f, "solve"),
            Op::Solve(true) => write!(f, "solve_t"),
            Op::Largest(count) => write!(f, "largest{count}"),
            Op::LinearSolve(false) => write!(f, "linear_solve"),
            Op::LinearSolve(true) => write!(f, "linear_solve_t"),
        }
    }
}
