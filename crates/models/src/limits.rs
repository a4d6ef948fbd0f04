//! How large a model may be. A file is refused by the first limit that it passes, before memory is taken for what it declares.

/// A file. Trained models that are worth evaluating under encryption are far smaller; the text formats take about 80 bytes a node.
pub const BYTES_MAX: usize = 32 << 20;
/// Columns of the input.
pub const FEATURES_MAX: usize = 16_384;
/// A name of a feature or a label.
pub const NAME_BYTES_MAX: usize = 256;
/// Scores that a model gives for a row: classes, or targets.
pub const SCORES_MAX: usize = 1_024;
pub const TREES_MAX: usize = 10_000;
/// Splits and leaves of all trees together.
pub const NODES_MAX: usize = 1_000_000;
/// Splits between the root of a tree and a leaf. The libraries stop at 16 to 64 unless told otherwise.
pub const DEPTH_MAX: usize = 256;
/// Values in all leaves together: (leaf, score) pairs.
pub const LEAF_VALUES_MAX: usize = 4_000_000;
/// Numbers in one tensor, and weights of all layers together.
pub const ELEMENTS_MAX: usize = 4_000_000;
pub const DIMENSIONS_MAX: usize = 8;
pub const LAYERS_MAX: usize = 64;
/// Units of one layer.
pub const UNITS_MAX: usize = 16_384;
/// Operators, attributes, initializers, inputs and outputs of an ONNX graph, all counted together.
pub const GRAPH_PARTS_MAX: usize = 20_000;
/// Texts in an ONNX graph: a tree ensemble has one a node.
pub const GRAPH_TEXTS_MAX: usize = NODES_MAX + GRAPH_PARTS_MAX;
