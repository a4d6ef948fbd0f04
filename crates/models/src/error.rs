//! What can be wrong with a model file, each kind told apart: whose fault it is, and what to do about it.

use crate::model::SourceFormat;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The bytes are no format that is read here.
    #[error(
        "these bytes are no model that can be read: {why}. What can be read: ONNX, XGBoost JSON (save_model(\"m.json\")), LightGBM text (save_model(\"m.txt\")), CatBoost JSON (save_model(\"m.json\", format=\"json\"))"
    )]
    UnknownFormat { why: String },
    /// The file contradicts its own format, or itself: it is damaged or was made up.
    #[error(
        "this {format} model is damaged: {what}. Save it again from the library that trained it"
    )]
    Damaged { format: SourceFormat, what: String },
    /// The file is well formed, and says something that cannot be represented.
    #[error("this {format} model has {what}, which is not supported: {instead}")]
    Unsupported {
        format: SourceFormat,
        what: String,
        instead: String,
    },
    /// The file, or something that it declares, is larger than is allowed.
    #[error(
        "this model has {got} {what}, more than the {limit} that are allowed: train a smaller one"
    )]
    TooLarge {
        what: &'static str,
        got: u64,
        limit: u64,
    },
    /// A model put together by a reader, or by hand, breaks a rule of the representation.
    #[error("this model cannot be used: {0}")]
    Invalid(String),
}

/// Refuses `got` of something where it is over its limit.
pub(crate) fn within(what: &'static str, got: usize, limit: usize) -> Result<(), ModelError> {
    if got <= limit {
        return Ok(());
    }
    Err(ModelError::TooLarge {
        what,
        got: got as u64,
        limit: limit as u64,
    })
}

/// What a reader says of its own format: `Damaged` and `Unsupported` without repeating the format at every place.
impl SourceFormat {
    pub(crate) fn damaged(self, what: impl Into<String>) -> ModelError {
        ModelError::Damaged {
            format: self,
            what: what.into(),
        }
    }

    pub(crate) fn unsupported(
        self,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> ModelError {
        ModelError::Unsupported {
            format: self,
            what: what.into(),
            instead: instead.into(),
        }
    }
}
