//! Reads what people train (ONNX, XGBoost, LightGBM, CatBoost) into one representation, and evaluates it in the clear.
//!
//! Nothing here knows of encryption. Every file is taken to be hostile: limits have names (`limits.rs`), nothing panics,
//! nothing recurses as deep as the input says, and no memory is taken for a size that was only declared.

mod bounded;
mod build;
mod catboost;
mod check;
mod edge;
mod error;
mod evaluate;
mod lightgbm;
pub mod limits;
mod model;
mod onnx;
mod read;
mod xgboost;

pub use error::ModelError;
pub use model::{
    Activation, Body, Decide, Layer, Linear, Link, Mlp, Model, Node, Output, SourceFormat, Tree,
    Trees,
};
pub use read::{read, read_bytes};
