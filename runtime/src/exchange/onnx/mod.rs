//! Recurrences as ONNX files: the operation `LinearAttention` where a recurrence is one of its rules, else a `Scan` over
//! tokens whose body is the program of one token.
//!
//! Inputs are `[B, T, H, …]` as everywhere, parameters `[H, …]`, and states before the first token
//! `initial_state… [B, H, …]`; outputs are those of the recurrence and `final_state…`. The number of heads and all sizes are
//! fixed, `B` and `T` are each call's own.

mod body;
mod known;
mod proto;

use std::collections::BTreeMap;

use lrc_compiler::chunk::remember::remembered;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::normal::Refusal;
use lrc_compiler::tile::{Leaf, Stream};
use prost::Message;

use body::{Leaves, Made, Writer};
pub use known::{Known, known};
use proto::{Graph, Model, Node, OperatorSet, Value};

/// How a recurrence is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// As an operation of its own.
    Operation(Known),
    /// As a scan over tokens.
    Scan,
}

/// The format's version, and the sets of operations that have `LinearAttention`, and all that a scan's body uses.
const FORMAT: i64 = 10;
const WITH_LINEAR_ATTENTION: i64 = 27;
const OPERATIONS: i64 = 21;

/// The bytes of a file. `scan` writes a scan even where there is an operation.
pub fn write(r: &Recurrence, heads: usize, scan: bool) -> Result<(Vec<u8>, Written), Refusal> {
    let known = if scan { None } else { known(r) };
    let (graph, version, written) = match known {
        Some(known) => {
            (operation(r, heads, &known), WITH_LINEAR_ATTENTION, Written::Operation(known))
        }
        None => (scanned(r, heads)?, OPERATIONS, Written::Scan),
    };
    let model = Model {
        ir_version: Some(FORMAT),
        producer_name: Some("lrc".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: None,
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(version) }],
    };
    Ok((model.encode_to_vec(), written))
}

/// Axes of an input or output: `[B, T, H, …]`.
fn rows<'a>(slot: &Slot, heads: usize) -> Vec<Result<usize, &'a str>> {
    let tokens = if slot.count.is_some() { Err("rows") } else { Err("T") };
    [Err("B"), tokens, Ok(heads)].into_iter().chain(slot.one().iter().map(|n| Ok(*n))).collect()
}

/// Axes of a state: `[B, H, …]`.
fn state<'a>(slot: &Slot, heads: usize) -> Vec<Result<usize, &'a str>> {
    [Err("B"), Ok(heads)].into_iter().chain(slot.shape.iter().map(|n| Ok(*n))).collect()
}

/// What comes in and goes out, by its names everywhere.
fn outside(r: &Recurrence, heads: usize) -> (Vec<Value>, Vec<Value>) {
    let mut input: Vec<Value> = Vec::new();
    for slot in &r.inputs {
        input.push(proto::value(&slot.name, &rows(slot, heads), ""));
    }
    for slot in &r.params {
        let axes: Vec<_> =
            [Ok(heads)].into_iter().chain(slot.shape.iter().map(|n| Ok(*n))).collect();
        input.push(proto::value(&slot.name, &axes, "a parameter"));
    }
    let mut output: Vec<Value> =
        r.outs.iter().map(|slot| proto::value(&slot.name, &rows(slot, heads), "")).collect();
    for (k, slot) in r.states.iter().enumerate() {
        let suffix = r.state_suffix(k);
        let axes = state(slot, heads);
        let before = "the state before the first token";
        input.push(proto::value(&format!("initial_state{suffix}"), &axes, before));
        output.push(proto::value(
            &format!("final_state{suffix}"),
            &axes,
            "the state after the last token",
        ));
    }
    (input, output)
}

/// A file's graph.
fn whole(r: &Recurrence, heads: usize, writer: Writer) -> Graph {
    let (input, output) = outside(r, heads);
    Graph {
        node: writer.nodes,
        name: Some(r.name.clone()),
        initializer: writer.constants,
        doc_string: None,
        input,
        output,
    }
}

/// Gives a value the name that it has outside.
fn named(writer: &mut Writer, from: &str, name: &str) {
    writer.nodes.push(Node {
        input: vec![from.into()],
        output: vec![name.into()],
        op_type: Some("Identity".into()),
        attribute: vec![],
    });
}

/// As the operation, which wants heads and their entries in one axis.
fn operation(r: &Recurrence, heads: usize, known: &Known) -> Graph {
    let mut writer = Writer::new("v");
    let flat = writer.whole(&[0, 0, -1]);
    let mut operands = BTreeMap::new();
    for (name, at) in &known.inputs {
        let own = r.inputs[*at].name.as_str();
        operands.insert(name.as_str(), writer.op("Reshape", &[own, &flat], vec![]));
    }
    let before = format!("initial_state{}", r.state_suffix(0));
    let given = |name: &str| operands.get(name).cloned().unwrap_or_default();
    let (packed, after) = (writer.fresh(), format!("final_state{}", r.state_suffix(0)));
    let input = vec![given("q"), given("k"), given("v"), before, given("g"), given("beta")];
    writer.nodes.push(Node {
        input,
        output: vec![packed.clone(), after],
        op_type: Some("LinearAttention".into()),
        attribute: vec![
            proto::int("q_num_heads", heads as i64),
            proto::int("kv_num_heads", heads as i64),
            proto::string("update_rule", known.rule),
            proto::float("scale", known.scale as f32),
        ],
    });
    let sizes = writer.whole(&[0, 0, heads as i64, r.outs[0].shape[0] as i64]);
    let out = writer.op("Reshape", &[&packed, &sizes], vec![]);
    named(&mut writer, &out, &r.outs[0].name);
    whole(r, heads, writer)
}

/// As a scan over tokens.
fn scanned(r: &Recurrence, heads: usize) -> Result<Graph, Refusal> {
    let whole_token = remembered(r)?;
    let (token, declared) = (whole_token.recurrence, whole_token.declared);
    let mut writer = Writer::new("v");
    let read = read_inputs(&token);
    let elements = elements(&mut writer, r, heads, &read);
    let states = begin(&mut writer, r, &token, [declared, heads])?;
    let body = body(&token, heads, &read)?;
    let position = writer.floats(&[1], [0.0]);
    let mut output: Vec<String> =
        (0..declared).map(|k| format!("final_state{}", r.state_suffix(k))).collect();
    // What is not declared, the position, then the outputs.
    output.extend((declared..=token.states.len()).map(|_| writer.fresh()));
    let outs: Vec<String> = r.outs.iter().map(|_| writer.fresh()).collect();
    output.extend(outs.iter().cloned());
    writer.nodes.push(Node {
        input: states.into_iter().chain([position]).chain(elements).collect(),
        output,
        op_type: Some("Scan".into()),
        attribute: vec![
            proto::int("num_scan_inputs", read.len() as i64),
            proto::graph("body", body),
        ],
    });
    for (name, slot) in outs.iter().zip(&r.outs) {
        let turned = turned(&mut writer, name, 3 + slot.shape.len());
        named(&mut writer, &turned, &slot.name);
    }
    Ok(whole(r, heads, writer))
}

/// The other of `[B, T, …]` and `[T, B, …]`: scans go along the first axis.
fn turned(writer: &mut Writer, name: &str, rank: usize) -> String {
    let order = [1, 0].into_iter().chain(2..rank as i64).collect();
    writer.op("Transpose", &[name], vec![proto::ints("perm", order)])
}

/// Which inputs a token reads, and how many tokens back.
fn read_inputs(token: &Recurrence) -> Vec<(usize, i64)> {
    let leaves = token.token.leaves();
    let read = leaves.filter_map(|(_, leaf, _)| match leaf {
        Leaf::Read(Stream::Input(i), at) => at.lag().filter(|lag| *lag >= 0).map(|lag| (*i, lag)),
        _ => None,
    });
    let mut read: Vec<(usize, i64)> = read.collect();
    read.sort_unstable();
    read.dedup();
    read
}

/// What a scan goes over: inputs `[T, B, H, …]`, with a token's rows beside each other, `[T, B, H, n, …]`, and zeros before
/// the first token where one further back is read.
fn elements(
    writer: &mut Writer,
    r: &Recurrence,
    heads: usize,
    read: &[(usize, i64)],
) -> Vec<String> {
    let mut names = Vec::new();
    for (input, lag) in read {
        let slot = &r.inputs[*input];
        let rank = 3 + slot.shape.len();
        let mut name = slot.name.clone();
        if let Some(count) = slot.count {
            let mut sizes = vec![0, -1, count as i64, heads as i64];
            sizes.extend(slot.one().iter().map(|n| *n as i64));
            let order: Vec<i64> = [0, 1, 3, 2].into_iter().chain(4..rank as i64).collect();
            let sizes = writer.whole(&sizes);
            name = writer.op("Reshape", &[&name, &sizes], vec![]);
            name = writer.op("Transpose", &[&name], vec![proto::ints("perm", order)]);
        }
        name = turned(writer, &name, rank);
        if *lag > 0 {
            let pads = writer.whole(&[*lag, 0]);
            let [first, last, axis] = [0, -*lag, 0].map(|x| writer.whole(&[x]));
            let zero = writer.floats(&[], [0.0]);
            name = writer.op("Pad", &[&name, &pads, &zero, &axis], vec![]);
            name = writer.op("Slice", &[&name, &first, &last, &axis], vec![]);
        }
        names.push(name);
    }
    names
}

/// The states before the first token: those declared are given, the others begin as they do everywhere.
fn begin(
    writer: &mut Writer,
    r: &Recurrence,
    token: &Recurrence,
    [declared, heads]: [usize; 2],
) -> Result<Vec<String>, Refusal> {
    let mut states: Vec<String> =
        (0..declared).map(|k| format!("initial_state{}", r.state_suffix(k))).collect();
    if token.states.len() == declared {
        return Ok(states);
    }
    let plain = |name: &str| Made { name: name.into(), front: 0 };
    let head = writer.floats(&[heads], (0..heads).map(|head| head as f32));
    let position = writer.floats(&[], [0.0]);
    let params: Vec<Made> =
        r.params.iter().map(|slot| Made { name: slot.name.clone(), front: 1 }).collect();
    let (head, none) = (Made { name: head, front: 1 }, BTreeMap::new());
    let leaves =
        Leaves { inputs: &none, states: &[], params: &params, head, position: plain(&position) };
    let made = writer.program(&token.init, &leaves)?;
    // `[B, H]` of an input.
    let first = r.inputs.first().map_or("", |slot| slot.name.as_str());
    let batch = writer.op("Shape", &[first], vec![proto::int("end", 1)]);
    for (value, slot) in made.iter().zip(&token.states).skip(declared) {
        let own: Vec<i64> = [heads].iter().chain(&slot.shape).map(|n| *n as i64).collect();
        let own = writer.whole(&own);
        let sizes = writer.op("Concat", &[&batch, &own], vec![proto::int("axis", 0)]);
        states.push(writer.op("Expand", &[&value.name, &sizes], vec![]));
    }
    Ok(states)
}

/// One token: states, the position and inputs come in, and states, the next position and outputs go out.
fn body(token: &Recurrence, heads: usize, read: &[(usize, i64)]) -> Result<Graph, Refusal> {
    let mut writer = Writer::new("b");
    let two = |name: String| Made { name, front: 2 };
    let states: Vec<Made> = (0..token.states.len()).map(|k| two(format!("before{k}"))).collect();
    let inputs: BTreeMap<(usize, i64), Made> =
        read.iter().map(|(i, lag)| ((*i, *lag), two(format!("token{i}_{lag}")))).collect();
    let params: Vec<Made> =
        token.params.iter().map(|slot| Made { name: slot.name.clone(), front: 1 }).collect();
    let head = writer.floats(&[heads], (0..heads).map(|head| head as f32));
    let none = writer.whole(&[]);
    let position = writer.op("Reshape", &["position", &none], vec![]);
    let leaves = Leaves {
        inputs: &inputs,
        states: &states,
        params: &params,
        head: Made { name: head, front: 1 },
        position: Made { name: position, front: 0 },
    };
    let made = writer.program(&token.token, &leaves)?;
    // `[B, H, …]` of something, for values that do not depend on the token.
    let like = inputs.values().next().or(states.first()).cloned();
    let like = like.unwrap_or(Made { name: "position".into(), front: 0 });
    let (outs, rest) = made.split_at(token.outs.len());
    let mut output = Vec::new();
    for (k, (value, slot)) in rest.iter().zip(&token.states).enumerate() {
        let full = writer.full(value, &slot.shape, &like);
        named(&mut writer, &full, &format!("after{k}"));
        output.push(proto::value(&format!("after{k}"), &state(slot, heads), ""));
    }
    let one = writer.floats(&[1], [1.0]);
    let next = writer.op("Add", &["position", &one], vec![]);
    output.push(proto::value(&next, &[Ok(1)], ""));
    for (k, (value, slot)) in outs.iter().zip(&token.outs).enumerate() {
        let full = writer.full(value, &slot.shape, &like);
        named(&mut writer, &full, &format!("out{k}"));
        output.push(proto::value(&format!("out{k}"), &state(slot, heads), ""));
    }
    let mut input: Vec<Value> = Vec::new();
    for (made, slot) in states.iter().zip(&token.states) {
        input.push(proto::value(&made.name, &state(slot, heads), ""));
    }
    input.push(proto::value("position", &[Ok(1)], ""));
    for ((i, _), made) in &inputs {
        input.push(proto::value(&made.name, &state(&token.inputs[*i], heads), ""));
    }
    Ok(Graph {
        node: writer.nodes,
        name: Some("token".into()),
        initializer: writer.constants,
        doc_string: None,
        input,
        output,
    })
}
