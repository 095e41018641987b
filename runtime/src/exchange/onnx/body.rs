//! Tile programs as ONNX's operations.
//!
//! A value of a program has its tile's axes last, and in front of them those of sequences and heads as far as it differs
//! between them: `[B, H, …]`, `[H, …]` for what follows from parameters, or none. ONNX repeats axes from the last one on,
//! as tile programs do, so that operations between such values need nothing; axes are counted from the last one.

use std::collections::BTreeMap;

use lrc_compiler::normal::Refusal;
use lrc_compiler::tile::{Binary, Int, IntOp, Leaf, Op, Program, Stream, Unary};

use super::proto::{self, BOOL, Node, Tensor};

/// A value that has been written: its name, and how many axes stand before those of its tile.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its name in the graph.
    pub name: String,
    /// 2 for `[B, H]`, 1 for `[H]`, 0.
    pub front: usize,
}

/// Operations as they are written.
#[derive(Debug, Default)]
pub struct Writer {
    /// The operations.
    pub nodes: Vec<Node>,
    /// The constants.
    pub constants: Vec<Tensor>,
    /// Stands before every name.
    prefix: &'static str,
    next: usize,
}

/// Where leaves of a program come from.
pub struct Leaves<'a> {
    /// Inputs, by their number and how many tokens back they are read.
    pub inputs: &'a BTreeMap<(usize, i64), Made>,
    /// The states before the token.
    pub states: &'a [Made],
    /// Parameters.
    pub params: &'a [Made],
    /// The index of the head.
    pub head: Made,
    /// The token's position.
    pub position: Made,
}

/// Why an operation has no place in a file.
fn unwritten(op: &Op) -> &'static str {
    match op {
        Op::Past(_) => "ONNX's Scan holds no past: sums over it are not written",
        Op::Solve(_) | Op::LinearSolve(_) => "ONNX has no operation that solves",
        Op::Largest(_) => "the largest entries are not written",
        _ => "this is not written for ONNX",
    }
}

/// What cannot be said in ONNX.
fn refuse(why: impl Into<String>, node: &lrc_compiler::tile::Node) -> Refusal {
    Refusal { why: why.into(), span: node.span }
}

impl Writer {
    /// A writer whose names begin with something that those of other graphs do not begin with.
    pub fn new(prefix: &'static str) -> Writer {
        Writer { prefix, ..Writer::default() }
    }

    /// A name that nothing else has.
    pub fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{}{}", self.prefix, self.next)
    }

    /// Writes an operation with one result.
    pub fn op(&mut self, kind: &str, inputs: &[&str], attribute: Vec<proto::Attribute>) -> String {
        let name = self.fresh();
        self.nodes.push(Node {
            input: inputs.iter().map(|name| (*name).to_string()).collect(),
            output: vec![name.clone()],
            op_type: Some(kind.into()),
            attribute,
        });
        name
    }

    /// A constant.
    pub fn floats(&mut self, dims: &[usize], data: impl IntoIterator<Item = f32>) -> String {
        let name = self.fresh();
        self.constants.push(proto::floats(&name, dims, data));
        name
    }

    /// A constant list of whole numbers.
    pub fn whole(&mut self, data: &[i64]) -> String {
        let name = self.fresh();
        self.constants.push(proto::whole(&name, data));
        name
    }

    fn number(&mut self, x: f64) -> String {
        self.floats(&[], [x as f32])
    }

    /// Writes a program and gives its results.
    pub fn program(&mut self, program: &Program, leaves: &Leaves) -> Result<Vec<Made>, Refusal> {
        let mut made: Vec<Made> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let args: Vec<Made> = node.args.iter().map(|arg| made[arg.at()].clone()).collect();
            let shapes: Vec<&[usize]> = node.args.iter().map(|arg| program.shape(*arg)).collect();
            let value = self.node(node, &args, &shapes, leaves)?;
            made.push(value);
        }
        Ok(program.outputs.iter().map(|output| made[output.at()].clone()).collect())
    }

    fn node(
        &mut self,
        node: &lrc_compiler::tile::Node,
        args: &[Made],
        shapes: &[&[usize]],
        leaves: &Leaves,
    ) -> Result<Made, Refusal> {
        let rank = node.shape.len() as i64;
        let front = args.iter().map(|arg| arg.front).max().unwrap_or(0);
        let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
        let name = match &node.op {
            Op::Leaf(leaf) => return self.leaf(leaf, node, leaves),
            Op::Fill(x) => {
                let count = node.shape.iter().product();
                self.floats(&node.shape, std::iter::repeat_n(x.value() as f32, count))
            }
            Op::Eye => {
                let n = node.shape[0];
                self.floats(
                    &node.shape,
                    (0..n * n).map(|at| f32::from(u8::from(at % (n + 1) == 0))),
                )
            }
            Op::Unary(op) => self.unary(*op, names[0]),
            Op::Binary(op) => self.binary(*op, names[0], names[1]),
            Op::Weight => {
                let gap = self.op("Sub", &names, vec![]);
                self.op("Exp", &[&gap], vec![])
            }
            Op::MulSum(axes) => {
                let product = self.op("Mul", &names, vec![]);
                if axes.is_empty() {
                    product
                } else {
                    self.reduce("ReduceSum", &product, axes, rank)
                }
            }
            Op::Sum(axes) => self.reduce("ReduceSum", names[0], axes, rank),
            Op::LogSumExp(axis) => self.reduce("ReduceLogSumExp", names[0], &[*axis], rank),
            Op::Select => {
                let truth = self.op("Cast", &names[..1], vec![proto::int("to", BOOL)]);
                self.op("Where", &[&truth, names[1], names[2]], vec![])
            }
            Op::Alias(_) => self.op("Identity", &names, vec![]),
            _ => self.shaped(node, args, shapes, front)?,
        };
        Ok(Made { name, front })
    }

    /// An operation that moves entries.
    fn shaped(
        &mut self,
        node: &lrc_compiler::tile::Node,
        args: &[Made],
        shapes: &[&[usize]],
        front: usize,
    ) -> Result<String, Refusal> {
        let shape = &node.shape;
        let from_last = |axis: usize| axis as i64 - shape.len() as i64;
        let name = args.first().map_or("", |arg| arg.name.as_str());
        Ok(match &node.op {
            Op::Reshape => {
                let sizes: Vec<i64> =
                    std::iter::repeat_n(0, front).chain(shape.iter().map(|n| *n as i64)).collect();
                let sizes = self.whole(&sizes);
                self.op("Reshape", &[name, &sizes], vec![])
            }
            Op::Permute(order) => {
                let order = order.iter().map(|axis| (axis + front) as i64);
                let order = (0..front as i64).chain(order).collect();
                self.op("Transpose", &[name], vec![proto::ints("perm", order)])
            }
            Op::Slice(axis, start) => {
                let [start, end] = [*start, *start + shape[*axis]].map(|x| self.whole(&[x as i64]));
                let axis = self.whole(&[from_last(*axis)]);
                self.op("Slice", &[name, &start, &end, &axis], vec![])
            }
            Op::Pad(axis, before) => {
                let after = shape[*axis] - before - shapes[0][*axis];
                let pads = self.whole(&[*before as i64, after as i64]);
                let (zero, axis) = (self.number(0.0), self.whole(&[from_last(*axis)]));
                self.op("Pad", &[name, &pads, &zero, &axis], vec![])
            }
            Op::Concat(axis) => {
                let even: Vec<String> = args
                    .iter()
                    .zip(shapes)
                    .map(|(arg, shape)| self.widened(arg, shape, front, args))
                    .collect();
                let names: Vec<&str> = even.iter().map(String::as_str).collect();
                self.op("Concat", &names, vec![proto::int("axis", from_last(*axis))])
            }
            Op::Expand => {
                let sizes: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
                let sizes = self.whole(&sizes);
                self.op("Expand", &[name, &sizes], vec![])
            }
            Op::Pick(Int::Const(at)) => {
                let at = self.whole(&[*at]);
                self.op("Gather", &[name, &at], vec![proto::int("axis", -1)])
            }
            Op::Place(Int::Const(at)) => {
                let width = shape.last().copied().unwrap_or(1) as i64;
                let pads = self.whole(&[*at, width - 1 - at]);
                let (zero, axis) = (self.number(0.0), self.whole(&[-1]));
                self.op("Pad", &[name, &pads, &zero, &axis], vec![])
            }
            op => return Err(refuse(unwritten(op), node)),
        })
    }

    /// An argument with all axes in front, as those beside it have them.
    fn widened(&mut self, arg: &Made, shape: &[usize], front: usize, beside: &[Made]) -> String {
        let Some(wide) =
            beside.iter().find(|other| other.front == front).filter(|_| arg.front < front)
        else {
            return arg.name.clone();
        };
        // The sizes in front are those of the other, whatever they are.
        let all = self.op("Shape", &[&wide.name], vec![proto::int("end", front as i64)]);
        let own: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
        let own = self.whole(&own);
        let sizes = self.op("Concat", &[&all, &own], vec![proto::int("axis", 0)]);
        self.op("Expand", &[&arg.name, &sizes], vec![])
    }

    /// A value `[B, H, …]`, with the sizes in front of another.
    pub fn full(&mut self, value: &Made, shape: &[usize], like: &Made) -> String {
        self.widened(value, shape, 2, std::slice::from_ref(like))
    }

    fn leaf(
        &mut self,
        leaf: &Leaf,
        node: &lrc_compiler::tile::Node,
        leaves: &Leaves,
    ) -> Result<Made, Refusal> {
        Ok(match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                let known = at.lag().and_then(|lag| leaves.inputs.get(&(*i, lag)));
                let why = "this is read from a token that follows from the position";
                known.cloned().ok_or_else(|| refuse(why, node))?
            }
            Leaf::Read(Stream::State(k), at) if at.lag() == Some(1) => leaves.states[*k].clone(),
            Leaf::Param(i) => leaves.params[*i].clone(),
            Leaf::Head => leaves.head.clone(),
            Leaf::Number(at) => Made { name: self.whole_number(at, leaves, node)?, front: 0 },
            _ => return Err(refuse("this is read from tokens further back", node)),
        })
    }

    /// A whole number that follows from the position, in f32: exact below 2^24.
    fn whole_number(
        &mut self,
        at: &Int,
        leaves: &Leaves,
        node: &lrc_compiler::tile::Node,
    ) -> Result<String, Refusal> {
        Ok(match at {
            Int::T => leaves.position.name.clone(),
            Int::Const(c) => self.number(*c as f64),
            Int::Op(op, a, b) => {
                let kind = match op {
                    IntOp::Add => "Add",
                    IntOp::Sub => "Sub",
                    IntOp::Mul => "Mul",
                    IntOp::Div | IntOp::Mod => "Div",
                    IntOp::Max => "Max",
                    IntOp::Xor | IntOp::Bits => {
                        return Err(refuse("binary digits of positions are not written", node));
                    }
                };
                let (a, b) =
                    (self.whole_number(a, leaves, node)?, self.whole_number(b, leaves, node)?);
                let made = self.op(kind, &[&a, &b], vec![]);
                match op {
                    IntOp::Div => self.op("Floor", &[&made], vec![]),
                    IntOp::Mod => {
                        let whole = self.op("Floor", &[&made], vec![]);
                        let below = self.op("Mul", &[&whole, &b], vec![]);
                        self.op("Sub", &[&a, &below], vec![])
                    }
                    _ => made,
                }
            }
            Int::Bound(_) => return Err(refuse("this is bound by a sum over the past", node)),
        })
    }

    fn reduce(&mut self, kind: &str, name: &str, axes: &[usize], rank: i64) -> String {
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64 - rank).collect();
        let axes = self.whole(&axes);
        self.op(kind, &[name, &axes], vec![proto::int("keepdims", 1)])
    }

    fn unary(&mut self, op: Unary, x: &str) -> String {
        let one = |kind: &str| kind.to_string();
        let plain = match op {
            Unary::Neg => one("Neg"),
            Unary::Exp => one("Exp"),
            Unary::Log => one("Log"),
            Unary::Sqrt => one("Sqrt"),
            Unary::Sigmoid => one("Sigmoid"),
            Unary::Softplus => one("Softplus"),
            Unary::Relu => one("Relu"),
            Unary::Elu => one("Elu"),
            Unary::Tanh => one("Tanh"),
            Unary::Abs => one("Abs"),
            Unary::Sign => one("Sign"),
            Unary::Sin => one("Sin"),
            Unary::Cos => one("Cos"),
            _ => return self.composed(op, x),
        };
        self.op(&plain, &[x], vec![])
    }

    /// Functions that ONNX's older sets of operations have no name for.
    fn composed(&mut self, op: Unary, x: &str) -> String {
        match op {
            Unary::Pow(c) => {
                let c = self.number(c.value());
                self.op("Pow", &[x, &c], vec![])
            }
            Unary::Expm1 => {
                // e^x - 1 = tanh(x/2) (e^x + 1), which keeps its digits near 0.
                let (half, one) = (self.number(0.5), self.number(1.0));
                let y = self.op("Mul", &[x, &half], vec![]);
                let y = self.op("Tanh", &[&y], vec![]);
                let more = self.op("Exp", &[x], vec![]);
                let more = self.op("Add", &[&more, &one], vec![]);
                self.op("Mul", &[&y, &more], vec![])
            }
            Unary::LogSigmoid => {
                let minus = self.op("Neg", &[x], vec![]);
                let soft = self.op("Softplus", &[&minus], vec![]);
                self.op("Neg", &[&soft], vec![])
            }
            Unary::Silu => {
                let share = self.op("Sigmoid", &[x], vec![]);
                self.op("Mul", &[x, &share], vec![])
            }
            Unary::Gelu => self.op("Gelu", &[x], vec![proto::string("approximate", "tanh")]),
            _ => {
                // `step`: 1 where x > 0.
                let zero = self.number(0.0);
                let truth = self.op("Greater", &[x, &zero], vec![]);
                self.op("Cast", &[&truth], vec![proto::int("to", i64::from(proto::FLOAT))])
            }
        }
    }

    fn binary(&mut self, op: Binary, a: &str, b: &str) -> String {
        let kind = match op {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Div => "Div",
            Binary::Max => "Max",
            Binary::Min => "Min",
            Binary::Ge => {
                let truth = self.op("GreaterOrEqual", &[a, b], vec![]);
                return self.op("Cast", &[&truth], vec![proto::int("to", i64::from(proto::FLOAT))]);
            }
            Binary::LogAddExp => {
                // The larger one and what the smaller adds to it.
                let (top, gap) = (self.op("Max", &[a, b], vec![]), self.op("Sub", &[a, b], vec![]));
                let gap = self.op("Abs", &[&gap], vec![]);
                let below = self.op("Neg", &[&gap], vec![]);
                let more = self.op("Softplus", &[&below], vec![]);
                return self.op("Add", &[&top, &more], vec![]);
            }
        };
        self.op(kind, &[a, b], vec![])
    }
}
