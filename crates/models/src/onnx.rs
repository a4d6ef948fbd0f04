//! ONNX files: decode, walk the graph from its inputs, and make a model of what its outputs stand for.

mod attributes;
mod columns;
mod dense;
mod finish;
mod graph;
mod linear;
mod proto;
mod tensor;
mod trees;
mod trees_v5;
mod value;

use crate::error::ModelError;
use crate::model::{Model, SourceFormat};

pub(crate) fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    let file = proto::decode(bytes)?;
    let graph = file
        .graph
        .ok_or_else(|| SourceFormat::Onnx.damaged("it has no graph"))?;
    let opset = file
        .opset_import
        .iter()
        .filter(|set| set.domain.is_empty() || set.domain == "ai.onnx")
        .map(|set| set.version)
        .max()
        .unwrap_or(1);
    let walk = graph::Walk::through(&graph, opset)?;
    let model = finish::model(&graph, walk)?;
    model.check()?;
    Ok(model)
}
