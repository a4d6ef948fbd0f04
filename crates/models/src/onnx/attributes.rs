//! The attributes of an operator by name, each of the kind that is asked for; an absent one is empty, or its default.

use super::proto::NodeProto;
use super::tensor::Tensor;
use crate::error::ModelError;
use crate::limits;
use crate::model::SourceFormat;

pub(super) const FORMAT: SourceFormat = SourceFormat::Onnx;

#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub &'a NodeProto);

impl<'a> Attributes<'a> {
    fn find(self, name: &str) -> Option<&'a super::proto::AttributeProto> {
        self.0.attribute.iter().find(|found| found.name == name)
    }

    pub fn int(self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |found| found.i)
    }

    pub fn float(self, name: &str, default: f64) -> f64 {
        self.find(name).map_or(default, |found| f64::from(found.f))
    }

    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn text(self, name: &str, default: &str) -> String {
        self.find(name).map_or_else(
            || default.to_owned(),
            |found| String::from_utf8_lossy(&found.s).into_owned(),
        )
    }

    pub fn ints(self, name: &str) -> &'a [i64] {
        self.find(name).map_or(&[], |found| &found.ints)
    }

    pub fn texts(self, name: &str) -> &'a [Vec<u8>] {
        self.find(name).map_or(&[], |found| &found.strings)
    }

    /// A list of numbers: as such, or as a tensor under the name with `_as_tensor`.
    pub fn floats(self, name: &str) -> Result<Vec<f64>, ModelError> {
        if let Some(found) = self.find(name) {
            if found.t.is_some() {
                return self
                    .tensor(name)
                    .map(|tensor| tensor.floats().unwrap_or_default());
            }
            return Ok(found.floats.iter().map(|value| f64::from(*value)).collect());
        }
        let wide = format!("{name}_as_tensor");
        if self.has(&wide) {
            return Ok(self.tensor(&wide)?.floats().unwrap_or_default());
        }
        Ok(Vec::new())
    }

    pub fn tensor(self, name: &str) -> Result<Tensor, ModelError> {
        let place = format!("attribute {name} of {}", self.0.op_type);
        match self.find(name).and_then(|found| found.t.as_ref()) {
            Some(tensor) => Tensor::read(tensor, &place),
            None => Err(FORMAT.damaged(format!("{place} is missing"))),
        }
    }

    /// Class labels: numbers under one name, texts under the other.
    pub fn labels(self, ints: &str, texts: &str) -> Vec<String> {
        let numbered = self.ints(ints).iter().map(i64::to_string);
        let named = self
            .texts(texts)
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned());
        // One more than is allowed is enough to be refused.
        numbered.chain(named).take(limits::SCORES_MAX + 1).collect()
    }

    /// The link that `post_transform` names.
    pub fn link(self) -> Result<crate::model::Link, ModelError> {
        use crate::model::Link;
        match self.text("post_transform", "NONE").as_str() {
            "NONE" => Ok(Link::Identity),
            "LOGISTIC" => Ok(Link::Logistic),
            "SOFTMAX" => Ok(Link::Softmax),
            other => Err(FORMAT.unsupported(
                format!(
                    "the post_transform {}",
                    other.chars().take(40).collect::<String>()
                ),
                "export with NONE, LOGISTIC or SOFTMAX",
            )),
        }
    }
}
