//! The messages of ONNX that are read, kept by hand: only the fields that are used; what else is in a file is skipped.
//!
//! Field numbers are those of onnx.proto, which never change. Before a file is decoded its parts are counted, so that a few
//! bytes cannot become many structures.

use crate::error::{ModelError, within};
use crate::limits;
use crate::model::SourceFormat;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelProto {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// 1: the numbers are in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
}

pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto, ModelError> {
    count_parts(bytes)?;
    <ModelProto as prost::Message>::decode(bytes)
        .map_err(|error| SourceFormat::Onnx.damaged(error.to_string()))
}

/// What a length-delimited field holds.
#[derive(Clone, Copy)]
enum Holds {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Info,
    Type,
    TensorType,
    Shape,
    /// A message, a name or a text that has no parts to count.
    End,
    Text,
    /// Numbers, or a field that is skipped.
    Nothing,
}

fn holds(parent: Holds, field: u64) -> Holds {
    match (parent, field) {
        (Holds::Model, 7) => Holds::Graph,
        (Holds::Model, 8) | (Holds::Shape, 1) => Holds::End,
        (Holds::Graph, 1) => Holds::Node,
        (Holds::Graph, 5) => Holds::Tensor,
        (Holds::Graph, 11 | 12) => Holds::Info,
        (Holds::Node, 5) => Holds::Attribute,
        (Holds::Node, 1 | 2) => Holds::Text,
        (Holds::Attribute, 5) => Holds::Tensor,
        (Holds::Attribute, 9) | (Holds::Tensor, 6) => Holds::Text,
        (Holds::Info, 2) => Holds::Type,
        (Holds::Type, 1) => Holds::TensorType,
        (Holds::TensorType, 2) => Holds::Shape,
        _ => Holds::Nothing,
    }
}

/// Walks the fields without taking memory for them; the work left is kept in a list, at most as long as messages are nested.
fn count_parts(bytes: &[u8]) -> Result<(), ModelError> {
    let mut work = vec![(Holds::Model, bytes)];
    let (mut parts, mut texts) = (0, 0);
    while let Some((parent, mut rest)) = work.pop() {
        while !rest.is_empty() {
            let Some((field, inside)) = next_field(&mut rest) else {
                return Err(SourceFormat::Onnx
                    .damaged("a field in it is longer than the file, or of an unknown kind"));
            };
            let held = holds(parent, field);
            match held {
                Holds::Nothing => continue,
                Holds::Text => texts += 1,
                _ => parts += 1,
            }
            within("parts in an ONNX graph", parts, limits::GRAPH_PARTS_MAX)?;
            within("texts in an ONNX graph", texts, limits::GRAPH_TEXTS_MAX)?;
            if !matches!(held, Holds::Text | Holds::End) {
                work.push((parent, rest));
                work.push((held, inside));
                break;
            }
        }
    }
    Ok(())
}

/// The number of the next field, and its bytes where it has a length; none where the bytes are no field.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let tag = varint(rest)?;
    let length = match tag & 7 {
        0 => {
            varint(rest)?;
            return Some((u64::MAX, &[]));
        }
        1 => {
            take(rest, 8)?;
            return Some((u64::MAX, &[]));
        }
        5 => {
            take(rest, 4)?;
            return Some((u64::MAX, &[]));
        }
        2 => varint(rest)?,
        // Groups were given up before ONNX began.
        _ => return None,
    };
    let inside = take(rest, usize::try_from(length).ok()?)?;
    Some((tag >> 3, inside))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
