//! Tile programs as functions of Python, a line for each operation, on PyTorch's tensors.
//!
//! A value has its tile's axes last; those of sequences, heads and tokens stand in front as far as it differs between them.
//! PyTorch repeats axes from the last one on, as tile programs do, so that axes are counted from the last one.

use lrc_compiler::tile::{
    Binary, Gather, Int, IntOp, Leaf, Op, Past, Program, Stream, Unary, Value,
};

/// The lines of a function.
#[derive(Debug, Default)]
struct Writer {
    lines: Vec<String>,
    /// How many names are taken.
    names: usize,
}

/// What a node is: a name, or a constant, which gets one where a number does not do.
#[derive(Clone, Debug)]
enum Made {
    Name(String),
    Constant(f64),
}

/// Where the nodes of a program stand: those so far, and the name of what reads leaves.
struct Scope<'p> {
    program: &'p Program,
    made: Vec<Made>,
    reader: String,
    /// What the program captures.
    outer: Vec<String>,
}

/// The body of a function of the reader `s` that gives a program's results: one, or a list of them.
pub fn body(program: &Program, list: bool) -> Result<String, String> {
    let mut writer = Writer::default();
    let mut scope = Scope { program, made: vec![], reader: "s".into(), outer: vec![] };
    writer.nodes(&mut scope, program.nodes.len())?;
    let made: Vec<String> =
        program.outputs.iter().map(|output| writer.value(&mut scope, *output)).collect();
    let given = if list { format!("[{}]", made.join(", ")) } else { made.join(", ") };
    writer.lines.push(format!("return {given}"));
    Ok(writer.lines.iter().map(|line| format!("    {line}\n")).collect())
}

/// Axes, or sizes, as a tuple.
pub fn tuple<T: ToString>(entries: &[T]) -> String {
    let entries: Vec<String> = entries.iter().map(T::to_string).collect();
    match &entries[..] {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    }
}

/// A number as Python reads it.
pub fn number(x: f64) -> String {
    match x {
        x if x.is_nan() => "math.nan".into(),
        x if x == f64::INFINITY => "math.inf".into(),
        x if x == f64::NEG_INFINITY => "-math.inf".into(),
        x => format!("{x:?}"),
    }
}

/// A position, or what follows from it; `s` has those of tokens and of the past.
fn whole(at: &Int, s: &str) -> String {
    match at {
        Int::T => format!("{s}.t"),
        Int::Bound(_) => format!("{s}.u"),
        Int::Const(c) => c.to_string(),
        Int::Op(op, a, b) => {
            let divides = matches!(**b, Int::Const(c) if c > 0);
            let (a, b) = (whole(a, s), whole(b, s));
            match op {
                IntOp::Add => format!("({a} + {b})"),
                IntOp::Sub => format!("({a} - {b})"),
                IntOp::Mul => format!("({a} * {b})"),
                IntOp::Div if divides => format!("({a} // {b})"),
                IntOp::Mod if divides => format!("({a} % {b})"),
                IntOp::Div => format!("quotient({a}, {b})"),
                IntOp::Mod => format!("rest({a}, {b})"),
                IntOp::Xor => format!("({a} ^ {b})"),
                IntOp::Bits => format!("digits({a})"),
                IntOp::Max => format!("larger({a}, {b})"),
            }
        }
    }
}

/// An axis counted from the last one.
fn from_last(axis: usize, rank: usize) -> i64 {
    axis as i64 - rank as i64
}

fn axes_from_last(axes: &[usize], rank: usize) -> String {
    tuple(&axes.iter().map(|axis| from_last(*axis, rank)).collect::<Vec<i64>>())
}

fn unary(op: Unary, x: &str) -> String {
    let function = match op {
        Unary::Neg => return format!("-{x}"),
        Unary::Step => return format!("({x} > 0).to({x})"),
        Unary::Pow(c) => return format!("{x} ** {}", number(c.value())),
        Unary::Gelu => return format!("functional.gelu({x}, approximate=\"tanh\")"),
        Unary::LogSigmoid => "functional.logsigmoid",
        Unary::Softplus => "functional.softplus",
        Unary::Silu => "functional.silu",
        Unary::Elu => "functional.elu",
        other => return format!("torch.{}({x})", other.name()),
    };
    format!("{function}({x})")
}

fn binary(op: Binary, a: &str, b: &str) -> String {
    match op {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Max => format!("torch.maximum({a}, {b})"),
        Binary::Min => format!("torch.minimum({a}, {b})"),
        Binary::LogAddExp => format!("torch.logaddexp({a}, {b})"),
        Binary::Ge => format!("({a} >= {b}).to(s.like)"),
    }
}

impl Writer {
    fn line(&mut self, expression: &str) -> String {
        let name = format!("v{}", self.names);
        self.names += 1;
        self.lines.push(format!("{name} = {expression}"));
        name
    }

    /// The first nodes of a program, so many.
    fn nodes(&mut self, scope: &mut Scope, count: usize) -> Result<(), String> {
        for at in 0..count {
            let made = match &scope.program.nodes[at].op {
                Op::Fill(x) => Made::Constant(x.value()),
                Op::Alias(_) => scope.made[scope.program.nodes[at].args[0].at()].clone(),
                _ => {
                    let expression = self.node(scope, at)?;
                    Made::Name(self.line(&expression))
                }
            };
            scope.made.push(made);
        }
        Ok(())
    }

    /// The name of a value.
    fn value(&mut self, scope: &mut Scope, value: Value) -> String {
        match &scope.made[value.at()] {
            Made::Name(name) => name.clone(),
            Made::Constant(x) => {
                let shape = tuple(scope.program.shape(value));
                let name = self.line(&format!("s.fill({}, {shape})", number(*x)));
                scope.made[value.at()] = Made::Name(name.clone());
                name
            }
        }
    }

    /// Two values that meet entry by entry: a constant stays a number where the other has all axes of the result.
    fn pair(&mut self, scope: &mut Scope, args: [Value; 2], shape: &[usize]) -> [String; 2] {
        let whole = args.map(|arg| scope.program.shape(arg) == shape);
        let constant = args.map(|arg| match scope.made[arg.at()] {
            Made::Constant(x) => Some(x),
            Made::Name(_) => None,
        });
        match constant {
            [Some(x), None] if whole[1] => [number(x), self.value(scope, args[1])],
            [None, Some(x)] if whole[0] => [self.value(scope, args[0]), number(x)],
            _ => args.map(|arg| self.value(scope, arg)),
        }
    }

    fn node(&mut self, scope: &mut Scope, at: usize) -> Result<String, String> {
        let program = scope.program;
        let node = &program.nodes[at];
        let (shape, rank) = (&node.shape, node.shape.len());
        let two = || [node.args[0], node.args[1]];
        Ok(match &node.op {
            Op::Leaf(leaf) => self.leaf(scope, leaf, shape)?,
            Op::Eye => format!("s.eye({})", shape[0]),
            Op::Binary(op @ (Binary::Add | Binary::Sub | Binary::Div | Binary::Ge)) => {
                let [a, b] = self.pair(scope, two(), shape);
                binary(*op, &a, &b)
            }
            Op::MulSum(axes) if axes.is_empty() => {
                let [a, b] = self.pair(scope, two(), shape);
                format!("{a} * {b}")
            }
            Op::MulSum(axes) => {
                let [a, b] = two().map(|arg| self.value(scope, arg));
                format!("contract({a}, {b}, {rank}, {})", axes_from_last(axes, rank))
            }
            Op::Past(past) => {
                let names: Vec<String> =
                    node.args.iter().map(|arg| self.value(scope, *arg)).collect();
                self.past(past, names, rank)?
            }
            op => {
                let names: Vec<String> =
                    node.args.iter().map(|arg| self.value(scope, *arg)).collect();
                let shapes: Vec<&[usize]> =
                    node.args.iter().map(|arg| program.shape(*arg)).collect();
                self.named(scope, op, &names, &shapes, shape)?
            }
        })
    }

    /// An operation on values that have names.
    fn named(
        &mut self,
        scope: &Scope,
        op: &Op,
        names: &[String],
        shapes: &[&[usize]],
        shape: &[usize],
    ) -> Result<String, String> {
        let rank = shape.len();
        let x = names.first().map_or("", String::as_str);
        Ok(match op {
            Op::Unary(op) => unary(*op, x),
            Op::Binary(op) => binary(*op, x, &names[1]),
            Op::Weight => format!("torch.exp({x} - {})", names[1]),
            Op::Sum(axes) => format!("{x}.sum({}, keepdim=True)", axes_from_last(axes, rank)),
            Op::LogSumExp(axis) => {
                format!("{x}.logsumexp({}, keepdim=True)", from_last(*axis, rank))
            }
            Op::Select => format!("torch.where({x} != 0, {}, {})", names[1], names[2]),
            Op::Reshape => format!("shaped({x}, {}, {})", shapes[0].len(), tuple(shape)),
            Op::Permute(order) => format!("turned({x}, {})", tuple(order)),
            Op::Slice(axis, start) => {
                format!("{x}.narrow({}, {start}, {})", from_last(*axis, rank), shape[*axis])
            }
            Op::Pad(axis, before) => {
                let after = shape[*axis] - before - shapes[0][*axis];
                format!("padded({x}, {}, {before}, {after})", from_last(*axis, rank))
            }
            Op::Concat(axis) => {
                format!("joined([{}], {rank}, {})", names.join(", "), from_last(*axis, rank))
            }
            Op::Expand => format!("spread({x}, {})", tuple(shape)),
            Op::Pick(at) => format!("pick({x}, {rank}, {})", whole(at, &scope.reader)),
            Op::Place(at) => {
                let width = shape.last().copied().unwrap_or(1);
                format!("place({x}, {rank}, {}, {width})", whole(at, &scope.reader))
            }
            Op::Largest(count) => format!("largest({x}, {count})"),
            Op::LinearSolve(true) => format!("solved({x}.mT, {})", names[1]),
            Op::LinearSolve(false) => format!("solved({x}, {})", names[1]),
            other => return Err(format!("{other:?} is no operation of a token")),
        })
    }

    fn leaf(&mut self, scope: &Scope, leaf: &Leaf, shape: &[usize]) -> Result<String, String> {
        let s = &scope.reader;
        let place = |at: &Int| format!(", {}", whole(at, s));
        Ok(match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                let at = if *at == Int::T { String::new() } else { place(at) };
                format!("{s}.input({i}, {}{at})", tuple(shape))
            }
            Leaf::Read(Stream::State(k), at) => {
                let at = if at.lag() == Some(1) { String::new() } else { place(at) };
                format!("{s}.state({k}{at})")
            }
            Leaf::Read(Stream::Export(k), at) => format!("{s}.export({k}{})", place(at)),
            Leaf::Param(i) => format!("{s}.param({i}, {})", tuple(shape)),
            Leaf::Number(at) => format!("{s}.number({})", whole(at, s)),
            Leaf::Head => format!("{s}.head()"),
            Leaf::Outer(k) => format!("beside({}, {})", scope.outer[*k], shape.len()),
            other => return Err(format!("{other} is no leaf of a token")),
        })
    }

    /// A sum over positions of the past, whose terms are computed for all of them at once.
    fn past(&mut self, past: &Past, outer: Vec<String>, rank: usize) -> Result<String, String> {
        let reader = self.line("s.past()");
        let keep = format!(
            "({reader}.u >= {}) & ({reader}.u <= {})",
            whole(&past.low, &reader),
            whole(&past.high, &reader)
        );
        let keep = self.line(&keep);
        let term = &past.term;
        let output = term.outputs[0];
        let mut scope = Scope { program: term, made: vec![], reader, outer };
        if let (Gather::Sum, Op::MulSum(axes)) = (past.gather, &term.node(output).op) {
            // A product is summed as it is made.
            self.nodes(&mut scope, output.at())?;
            let mut args = [term.node(output).args[0], term.node(output).args[1]];
            args.sort_by_key(|arg| term.shape(*arg).iter().product::<usize>());
            let [a, b] = args.map(|arg| self.value(&mut scope, arg));
            let axes = axes_from_last(axes, rank);
            return Ok(format!("past_product({a}, {b}, {keep}, {rank}, {axes})"));
        }
        self.nodes(&mut scope, term.nodes.len())?;
        let x = self.value(&mut scope, output);
        Ok(match past.gather {
            Gather::Sum => format!("past_sum({x}, {keep}, {rank})"),
            Gather::LogSumExp => format!("past_logsumexp({x}, {keep}, {rank})"),
        })
    }
}

/// How many tokens back a program reads inputs, nothing where that is not limited.
pub fn reach(program: &Program) -> Option<usize> {
    each_read(program).try_fold(0, |most, read| match read {
        (Stream::Input(_), at) => at.lag().map(|lag| most.max(lag.max(0) as usize)),
        _ => Some(most),
    })
}

/// Whether a program reads what tokens before the last have computed.
pub fn reads_history(program: &Program) -> bool {
    each_read(program).any(|(stream, at)| match stream {
        Stream::State(_) => at.lag() != Some(1),
        Stream::Export(_) => true,
        _ => false,
    })
}

/// What leaves read, those of sums over the past too.
fn each_read(program: &Program) -> Box<dyn Iterator<Item = (Stream, &Int)> + '_> {
    Box::new(program.nodes.iter().flat_map(|node| match &node.op {
        Op::Leaf(Leaf::Read(stream, at)) => {
            Box::new(std::iter::once((*stream, at))) as Box<dyn Iterator<Item = _>>
        }
        Op::Past(past) => each_read(&past.term),
        _ => Box::new(std::iter::empty()),
    }))
}
