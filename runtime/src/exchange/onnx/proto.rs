//! The parts of ONNX's files that are written here, by the field numbers of `onnx.proto`.

use prost::Message;

/// Numbers of element types.
pub const FLOAT: i32 = 1;
/// Whole numbers of 64 bits.
pub const INT64: i32 = 7;
/// Truths.
pub const BOOL: i64 = 9;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    /// The version of the format.
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    /// Who wrote it.
    #[prost(string, optional, tag = "2")]
    pub producer_name: Option<String>,
    /// Its version.
    #[prost(string, optional, tag = "3")]
    pub producer_version: Option<String>,
    /// What it is for.
    #[prost(string, optional, tag = "6")]
    pub doc_string: Option<String>,
    /// What is computed.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// Which operations there are.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

/// A set of operations.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    /// Whose; ONNX's own is empty.
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    /// Which.
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
}

/// Operations in order.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// The operations.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    /// Its name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// Constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    /// What it is for.
    #[prost(string, optional, tag = "10")]
    pub doc_string: Option<String>,
    /// What comes in.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<Value>,
    /// What goes out.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<Value>,
}

/// An operation.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Names of what it reads; empty where an optional one is left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of what it makes.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Which operation.
    #[prost(string, optional, tag = "4")]
    pub op_type: Option<String>,
    /// How.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// A number.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// A whole number.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A text.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    /// A graph.
    #[prost(message, optional, tag = "6")]
    pub g: Option<Graph>,
    /// Whole numbers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of these it is.
    #[prost(int32, optional, tag = "20")]
    pub kind: Option<i32>,
}

/// A constant.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Its shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// What it holds.
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    /// Its name.
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    /// Its numbers, little-endian.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw_data: Option<Vec<u8>>,
}

/// A name with its type.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The type.
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
    /// What it is.
    #[prost(string, optional, tag = "3")]
    pub doc_string: Option<String>,
}

/// A type.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    /// A tensor's.
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

/// A tensor's type.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    /// What it holds.
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    /// Its axes.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// Axes.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}

/// An axis: a size, or a name for one that each call has its own of.
#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    /// The size.
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    /// The name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

/// A setting that is a number.
pub fn float(name: &str, x: f32) -> Attribute {
    Attribute { name: Some(name.into()), f: Some(x), kind: Some(1), ..Attribute::default() }
}

/// A setting that is a whole number.
pub fn int(name: &str, x: i64) -> Attribute {
    Attribute { name: Some(name.into()), i: Some(x), kind: Some(2), ..Attribute::default() }
}

/// A setting that is a text.
pub fn string(name: &str, x: &str) -> Attribute {
    let s = Some(x.as_bytes().to_vec());
    Attribute { name: Some(name.into()), s, kind: Some(3), ..Attribute::default() }
}

/// A setting that is a graph.
pub fn graph(name: &str, g: Graph) -> Attribute {
    Attribute { name: Some(name.into()), g: Some(g), kind: Some(5), ..Attribute::default() }
}

/// A setting that is a list of whole numbers.
pub fn ints(name: &str, ints: Vec<i64>) -> Attribute {
    Attribute { name: Some(name.into()), ints, kind: Some(7), ..Attribute::default() }
}

/// A tensor of f32 with a name: axes are sizes, or names of sizes that calls have their own of.
pub fn value(name: &str, axes: &[Result<usize, &str>], doc: &str) -> Value {
    let dim = axes.iter().map(|axis| match axis {
        Ok(size) => Dim { value: Some(*size as i64), name: None },
        Err(name) => Dim { value: None, name: Some((*name).to_string()) },
    });
    let tensor = TensorType { elem_type: Some(FLOAT), shape: Some(Shape { dim: dim.collect() }) };
    let doc_string = (!doc.is_empty()).then(|| doc.to_string());
    Value { name: Some(name.into()), kind: Some(Type { tensor: Some(tensor) }), doc_string }
}

/// A constant of f32.
pub fn floats(name: &str, dims: &[usize], data: impl IntoIterator<Item = f32>) -> Tensor {
    let raw: Vec<u8> = data.into_iter().flat_map(f32::to_le_bytes).collect();
    let dims = dims.iter().map(|size| *size as i64).collect();
    Tensor { dims, data_type: Some(FLOAT), name: Some(name.into()), raw_data: Some(raw) }
}

/// A constant list of whole numbers.
pub fn whole(name: &str, data: &[i64]) -> Tensor {
    let raw: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let dims = vec![data.len() as i64];
    Tensor { dims, data_type: Some(INT64), name: Some(name.into()), raw_data: Some(raw) }
}
