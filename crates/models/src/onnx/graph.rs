//! The walk through a graph: each operator in the order of the file, from what its inputs stand for to what its outputs do.
//!
//! ONNX requires that order, so one pass is enough and nothing recurses. An operator is carried out on what values mean and
//! not on numbers; the first one that has no meaning here is named in the error, with those that have.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::attributes::{Attributes, FORMAT};
use super::columns;
use super::dense::{self, Input, spread};
use super::linear;
use super::proto::{GraphProto, NodeProto};
use super::tensor::Tensor;
use super::trees;
use super::value::{Mirror, Rows, Scores, Units, Value, View};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Activation, Link};

const SUPPORTED: &str = "LinearClassifier, LinearRegressor, TreeEnsembleClassifier, TreeEnsembleRegressor, TreeEnsemble, Scaler, Normalizer (of probabilities, L1), ZipMap, ArrayFeatureExtractor, Gemm, MatMul, Add, Sub, Mul, Div, Neg, Relu, Clip, Sigmoid, Tanh, Softmax, LogSoftmax, Exp, ArgMax, Concat, Gather, Cast, Identity, Dropout, Flatten, Reshape, Squeeze, Unsqueeze and Constant";

/// Weights and columns that may be copied while a graph is walked: what a long graph of wide operators could ask for has a bound.
const COPIED_MAX: usize = 4 * limits::ELEMENTS_MAX;

pub(super) struct Walk {
    values: HashMap<String, Value>,
    pub features: Vec<String>,
    opset: i64,
    copied: usize,
}

impl Walk {
    pub fn through(graph: &GraphProto, opset: i64) -> Result<Self, ModelError> {
        let mut walk = Self {
            values: HashMap::new(),
            features: Vec::new(),
            opset,
            copied: 0,
        };
        for tensor in &graph.initializer {
            let constant = Tensor::read(tensor, &format!("the constant {}", short(&tensor.name)))?;
            walk.define(&tensor.name, Value::Constant(Rc::new(constant)))?;
        }
        // Old files list their constants among the inputs.
        let constants: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let inputs: Vec<_> = graph
            .input
            .iter()
            .filter(|input| !constants.contains(input.name.as_str()))
            .collect();
        let (rows, features) = columns::inputs(&inputs)?;
        walk.features = features;
        for (name, rows) in rows {
            walk.define(&name, Value::Rows(Rc::new(rows)))?;
        }
        for (id, node) in graph.node.iter().enumerate() {
            walk.step(node, id)?;
        }
        Ok(walk)
    }

    pub fn value(&self, name: &str) -> Result<Value, ModelError> {
        self.values.get(name).cloned().ok_or_else(|| {
            FORMAT.damaged(format!(
                "nothing before its use gives the value \"{}\"",
                short(name)
            ))
        })
    }

    fn define(&mut self, name: &str, value: Value) -> Result<(), ModelError> {
        // An output without a name is one that nobody wants.
        if !name.is_empty() && self.values.insert(name.to_owned(), value).is_some() {
            return Err(FORMAT.damaged(format!("two values are called \"{}\"", short(name))));
        }
        Ok(())
    }

    fn spend(&mut self, value: &Value) -> Result<(), ModelError> {
        self.copied += match value {
            // A column, and a step of it, are larger than a number.
            Value::Rows(rows) => rows
                .columns
                .iter()
                .map(|column| 8 * (1 + column.steps.len()))
                .sum(),
            Value::Units(units) => units
                .layers
                .last()
                .map_or(0, |layer| layer.weights.iter().map(Vec::len).sum()),
            _ => 0,
        };
        within(
            "numbers in operators that follow one another",
            self.copied,
            COPIED_MAX,
        )
    }

    fn step(&mut self, node: &NodeProto, id: usize) -> Result<(), ModelError> {
        let attributes = Attributes(node);
        let inputs = node
            .input
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| self.value(name))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(classified) = classify(attributes, &inputs, id)? {
            let label = Value::Label(classified.clone(), Rc::clone(&classified.labels));
            let outputs = [label, Value::Scores(classified)];
            for (name, value) in node.output.iter().zip(outputs) {
                self.define(name, value)?;
            }
            return Ok(());
        }
        let value = self.apply(attributes, &inputs, id)?;
        self.spend(&value)?;
        let name = node.output.first().map_or("", String::as_str);
        self.define(name, value)
    }

    fn apply(
        &self,
        attributes: Attributes<'_>,
        inputs: &[Value],
        id: usize,
    ) -> Result<Value, ModelError> {
        let name = attributes.0.op_type.as_str();
        let units_or = |apply: &dyn Fn(&Units) -> Result<Value, ModelError>| match inputs {
            [Value::Units(units), ..] => apply(units),
            _ => Err(misplaced(name, inputs)),
        };
        let activate =
            |activation| units_or(&|units| Ok(Value::Units(units.activate(activation, id, name)?)));
        match (name, inputs) {
            ("Constant", []) => Ok(Value::Constant(Rc::new(constant(attributes)?))),
            ("Identity" | "Dropout" | "Squeeze" | "Unsqueeze" | "ZipMap", [value, ..]) => {
                Ok(value.clone())
            }
            ("Cast", [value]) => cast(attributes, value),
            ("Flatten", [value]) => flatten(attributes, value),
            ("Reshape", [value, Value::Constant(shape)]) => reshape(value, shape),
            ("Scaler", [Value::Rows(rows)]) => Ok(Value::Rows(columns::scaler(attributes, rows)?)),
            ("Normalizer", [value]) => normalizer(attributes, value),
            ("LinearRegressor", [Value::Rows(rows)]) => {
                Ok(Value::Scores(linear::regressor(attributes, rows, id)?))
            }
            ("TreeEnsembleRegressor", [Value::Rows(rows)]) => {
                Ok(Value::Scores(trees::regressor(attributes, rows, id)?))
            }
            ("TreeEnsemble", [Value::Rows(rows)]) => {
                Ok(Value::Scores(trees::ensemble_v5(attributes, rows, id)?))
            }
            ("MatMul", [input, Value::Constant(weights)]) => Ok(Value::Units(dense::matmul(
                layer_input(name, input)?,
                weights,
                id,
            )?)),
            ("Gemm", [input, Value::Constant(weights)]) => Ok(Value::Units(dense::gemm(
                layer_input(name, input)?,
                attributes,
                weights,
                None,
                id,
            )?)),
            ("Gemm", [input, Value::Constant(weights), Value::Constant(bias)]) => {
                Ok(Value::Units(dense::gemm(
                    layer_input(name, input)?,
                    attributes,
                    weights,
                    Some(bias),
                    id,
                )?))
            }
            ("Add" | "Sub" | "Mul" | "Div", [_, _]) => arithmetic(name, inputs, id),
            ("Neg", [Value::Units(units)]) if units.width() == 1 => {
                Ok(Value::Mirror(units.clone(), Mirror::Negated))
            }
            ("Relu", _) => activate(Activation::Relu),
            ("Tanh", _) => activate(Activation::Tanh),
            ("Clip", _) => activate(clip(attributes, inputs)?),
            ("Sigmoid", [Value::Scores(scores)]) => relink(scores, Link::Logistic, name),
            ("Sigmoid", _) => activate(Activation::Sigmoid),
            ("Exp", [Value::Scores(scores)]) => relink(scores, Link::Exp, name),
            ("Exp", _) => units_or(&|units| Ok(Value::Scores(units.linked(Link::Exp, name)?))),
            ("Softmax" | "LogSoftmax", [value]) => {
                along_columns(attributes, if self.opset < 13 { 1 } else { -1 })?;
                match value {
                    Value::Scores(scores) => relink(scores, Link::Softmax, name),
                    _ => units_or(&|units| Ok(Value::Scores(units.linked(Link::Softmax, name)?))),
                }
            }
            ("ArgMax", [value]) => {
                along_columns(attributes, 0)?;
                match value {
                    // Of one column the greatest is always the first.
                    Value::Scores(scores)
                        if scores.count > 1 || matches!(scores.view, View::Pair { .. }) =>
                    {
                        Ok(Value::Place(scores.clone()))
                    }
                    Value::Units(units) if units.width() > 1 => Ok(Value::Place(units.finish()?)),
                    _ => Err(misplaced(name, inputs)),
                }
            }
            ("Concat", _) => concat(attributes, inputs),
            ("Gather" | "ArrayFeatureExtractor", [Value::Rows(rows), Value::Constant(places)]) => {
                if name == "Gather" {
                    along_columns(attributes, 0)?;
                }
                Ok(Value::Rows(rows.choose(places, name)?))
            }
            (
                "ArrayFeatureExtractor" | "Gather",
                [Value::Constant(labels), Value::Place(scores)],
            ) => label(labels, scores),
            // The column of the class that is there when the score is high.
            ("ArrayFeatureExtractor", [Value::Scores(scores), Value::Constant(places)])
                if matches!(scores.view, View::Pair { .. }) && places.ints() == Some(&[1]) =>
            {
                Ok(Value::Scores(scores.clone()))
            }
            _ => Err(misplaced(name, inputs)),
        }
    }
}

pub(super) fn short(name: &str) -> String {
    name.chars().take(40).collect()
}

fn is_supported(name: &str) -> bool {
    SUPPORTED
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|word| word == name)
}

fn misplaced(name: &str, inputs: &[Value]) -> ModelError {
    match name {
        "Imputer" => FORMAT.unsupported(
            "the operator Imputer",
            "fill in missing values before the row is encrypted, or train trees, which take them as they are",
        ),
        "LabelEncoder" | "OneHotEncoder" | "CategoryMapper" | "DictVectorizer" => FORMAT.unsupported(
            format!("the operator {name}"),
            "one-hot encode categories before the model, and export it alone",
        ),
        _ if is_supported(name) => {
            let taken: Vec<_> = inputs.iter().map(Value::describe).collect();
            FORMAT.unsupported(
                format!("the operator {name} on {}", taken.join(" and ")),
                "export scalers, one model and its probabilities, in that order",
            )
        }
        _ => FORMAT.unsupported(
            format!("the operator {}", short(name)),
            format!("these are read: {SUPPORTED}"),
        ),
    }
}

fn classify(
    attributes: Attributes<'_>,
    inputs: &[Value],
    id: usize,
) -> Result<Option<Scores>, ModelError> {
    match (attributes.0.op_type.as_str(), inputs) {
        ("LinearClassifier", [Value::Rows(rows)]) => {
            linear::classifier(attributes, rows, id).map(Some)
        }
        ("TreeEnsembleClassifier", [Value::Rows(rows)]) => {
            trees::classifier(attributes, rows, id).map(Some)
        }
        _ => Ok(None),
    }
}

fn constant(attributes: Attributes<'_>) -> Result<Tensor, ModelError> {
    use super::tensor::Data;
    if attributes.has("value") {
        return attributes.tensor("value");
    }
    let (dims, data) = if attributes.has("value_float") {
        (
            Vec::new(),
            Data::Floats(vec![attributes.float("value_float", 0.0)]),
        )
    } else if attributes.has("value_int") {
        (Vec::new(), Data::Ints(vec![attributes.int("value_int", 0)]))
    } else if attributes.has("value_floats") {
        let values = attributes.floats("value_floats")?;
        (vec![values.len()], Data::Floats(values))
    } else {
        let values = attributes.ints("value_ints").to_vec();
        (vec![values.len()], Data::Ints(values))
    };
    Ok(Tensor { dims, data })
}

/// Operators that work along the columns of a row, and along nothing else. Rows have two dimensions.
fn along_columns(attributes: Attributes<'_>, default: i64) -> Result<(), ModelError> {
    match attributes.int("axis", default) {
        1 | -1 => Ok(()),
        other => Err(FORMAT.unsupported(
            format!("the operator {} along axis {other}", attributes.0.op_type),
            "export it along axis 1, over the columns of each row",
        )),
    }
}

/// Types of numbers: 1 float, 11 double, 6 and 7 integers, 8 texts.
fn cast(attributes: Attributes<'_>, value: &Value) -> Result<Value, ModelError> {
    match (value, attributes.int("to", 0)) {
        (Value::Rows(rows), 1) => Ok(Value::Rows(rows.round())),
        (Value::Rows(rows), 11) => Ok(Value::Rows(rows.widen())),
        (Value::Label(..) | Value::Place(_) | Value::Constant(_), _)
        | (Value::Units(_) | Value::Mirror(..) | Value::Scores(_), 1 | 11) => Ok(value.clone()),
        (_, to) => Err(FORMAT.unsupported(
            format!("a Cast of {} to the type {to}", value.describe()),
            "only casts to float and double are read (types 1 and 11)",
        )),
    }
}

fn flatten(attributes: Attributes<'_>, value: &Value) -> Result<Value, ModelError> {
    if attributes.int("axis", 1) != 1 {
        return Err(FORMAT.unsupported(
            "a Flatten that is not along axis 1",
            "export it with axis=1",
        ));
    }
    Ok(value.clone())
}

/// A shape that leaves each row a row.
fn reshape(value: &Value, shape: &Tensor) -> Result<Value, ModelError> {
    let width = match value {
        // A column, and a step of it, are larger than a number.
        Value::Rows(rows) => rows
            .columns
            .iter()
            .map(|column| 8 * (1 + column.steps.len()))
            .sum(),
        Value::Units(units) => units.width(),
        Value::Scores(scores) if matches!(scores.view, View::Plain) => scores.count,
        Value::Scores(_) | Value::Mirror(..) => 2,
        Value::Label(..) | Value::Place(_) | Value::Constant(_) => return Ok(value.clone()),
    };
    let dims = shape.ints().unwrap_or_default();
    let inner = dims.get(1..).unwrap_or_default();
    let product = inner
        .iter()
        .fold(1_i64, |product, dim| product.saturating_mul(*dim));
    // One dimension may be left open by -1; were it the first of several, the row's length must come out by itself.
    let keeps =
        usize::try_from(product) == Ok(width) || (inner == [-1] && dims.first() == Some(&0));
    if keeps || width == 1 {
        return Ok(value.clone());
    }
    Err(FORMAT.unsupported(
        format!("a Reshape of {width} columns to {dims:?}"),
        "a reshape must leave each row a row",
    ))
}

fn normalizer(attributes: Attributes<'_>, value: &Value) -> Result<Value, ModelError> {
    let norm = attributes.text("norm", "MAX");
    match value {
        Value::Scores(scores) if norm == "L1" => match (scores.link, scores.view) {
            // These add up to one already.
            (Link::Softmax | Link::LogisticShare, _) | (Link::Logistic, View::Pair { .. }) => Ok(value.clone()),
            (Link::Logistic, View::Plain) => Ok(Value::Scores(Scores {
                link: Link::LogisticShare,
                ..scores.clone()
            })),
            (Link::Identity | Link::Exp, _) => Err(misplaced("Normalizer", std::slice::from_ref(value))),
        },
        Value::Rows(_) => Err(FORMAT.unsupported(
            format!("a Normalizer ({}) of the input, which divides each row by its own length", short(&norm)),
            "train with StandardScaler or MinMaxScaler, or normalise rows before they are encrypted",
        )),
        _ => Err(misplaced("Normalizer", std::slice::from_ref(value))),
    }
}

fn layer_input(name: &str, value: &Value) -> Result<Input, ModelError> {
    match value {
        Value::Rows(rows) => Ok(Input {
            rows: Rc::clone(rows),
            layers: Vec::new(),
        }),
        Value::Units(units) => Ok(Input {
            rows: Rc::clone(&units.rows),
            layers: units.layers.clone(),
        }),
        _ => Err(misplaced(name, std::slice::from_ref(value))),
    }
}

fn arithmetic(name: &str, inputs: &[Value], id: usize) -> Result<Value, ModelError> {
    let opposite = |numbers: Vec<f64>| {
        numbers
            .into_iter()
            .map(|number| -number)
            .collect::<Vec<_>>()
    };
    match (name, inputs) {
        (
            "Add" | "Mul",
            [
                Value::Constant(constant),
                other @ (Value::Rows(_) | Value::Units(_)),
            ],
        ) => arithmetic(
            name,
            &[other.clone(), Value::Constant(Rc::clone(constant))],
            id,
        ),
        (_, [Value::Rows(rows), Value::Constant(constant)]) => {
            let numbers = spread(constant, rows.columns.len(), name)?;
            Ok(Value::Rows(on_rows(name, rows, numbers)?))
        }
        ("Sub", [Value::Constant(constant), Value::Units(units)])
            if units.width() == 1
                && units.last_activation() == Some(Activation::Sigmoid)
                && constant.floats().as_deref() == Some(&[1.0]) =>
        {
            Ok(Value::Mirror(units.clone(), Mirror::OneMinus))
        }
        ("Mul", [Value::Units(units), Value::Constant(constant)])
            if units.width() == 1 && constant.floats().as_deref() == Some(&[-1.0]) =>
        {
            Ok(Value::Mirror(units.clone(), Mirror::Negated))
        }
        (_, [Value::Units(units), Value::Constant(constant)]) => {
            let numbers = spread(constant, units.width(), name)?;
            Ok(Value::Units(match name {
                "Add" => units.shift(&numbers, id, name)?,
                "Sub" => units.shift(&opposite(numbers), id, name)?,
                "Mul" => units.scale(&numbers, id, name)?,
                _ => units.scale(
                    &numbers.into_iter().map(f64::recip).collect::<Vec<_>>(),
                    id,
                    name,
                )?,
            }))
        }
        _ => Err(misplaced(name, inputs)),
    }
}

fn on_rows(name: &str, rows: &Rows, numbers: Vec<f64>) -> Result<Rc<Rows>, ModelError> {
    match name {
        "Add" => rows.shift(&numbers, name),
        "Sub" => rows.shift(
            &numbers
                .into_iter()
                .map(|number| -number)
                .collect::<Vec<_>>(),
            name,
        ),
        "Mul" => rows.scale(&numbers, name),
        _ => rows.divide(&numbers, name),
    }
}

/// The bounds are attributes in old files, and inputs in new ones; an absent one is none.
fn clip(attributes: Attributes<'_>, inputs: &[Value]) -> Result<Activation, ModelError> {
    let bound = |at: usize| match inputs.get(at) {
        Some(Value::Constant(constant)) => Ok(constant
            .floats()
            .and_then(|numbers| numbers.first().copied())),
        Some(_) => Err(misplaced("Clip", inputs)),
        None => Ok(None),
    };
    // Names of inputs that are left out are empty: the lower bound, where only the upper is given.
    let lower_is_left_out = attributes.0.input.get(1).is_some_and(String::is_empty);
    let (lower, upper) = if lower_is_left_out {
        (None, bound(1)?)
    } else {
        (bound(1)?, bound(2)?)
    };
    let min = lower.unwrap_or_else(|| attributes.float("min", f64::from(f32::MIN)));
    let max = upper.unwrap_or_else(|| attributes.float("max", f64::from(f32::MAX)));
    Ok(Activation::Clip { min, max })
}

fn relink(scores: &Scores, link: Link, name: &str) -> Result<Value, ModelError> {
    if scores.link != Link::Identity || scores.view != View::Plain {
        return Err(misplaced(name, &[Value::Scores(scores.clone())]));
    }
    Ok(Value::Scores(Scores {
        link,
        ..scores.clone()
    }))
}

fn concat(attributes: Attributes<'_>, inputs: &[Value]) -> Result<Value, ModelError> {
    along_columns(attributes, 0)?;
    if let [Value::Mirror(of, mirror), Value::Units(units)] = inputs
        && of.id == units.id
    {
        let scores = units.finish()?;
        // 1 - p beside p, and -s beside s.
        let fits = match mirror {
            Mirror::OneMinus => scores.link == Link::Logistic,
            Mirror::Negated => scores.link == Link::Identity,
        };
        if fits {
            return Ok(Value::Scores(Scores {
                view: View::Pair { at: 0.0 },
                ..scores
            }));
        }
    }
    let parts: Vec<_> = inputs
        .iter()
        .filter_map(|input| match input {
            Value::Rows(rows) => Some(Rc::clone(rows)),
            _ => None,
        })
        .collect();
    if parts.is_empty() || parts.len() != inputs.len() {
        return Err(misplaced("Concat", inputs));
    }
    Ok(Value::Rows(Rows::join(&parts)?))
}

fn label(labels: &Tensor, scores: &Scores) -> Result<Value, ModelError> {
    within("labels", labels.elements(), limits::SCORES_MAX)?;
    let labels = labels
        .labels()
        .ok_or_else(|| FORMAT.damaged("its class labels are neither integers nor texts"))?;
    let classes = if matches!(scores.view, View::Pair { .. }) {
        2
    } else {
        scores.count
    };
    if labels.len() != classes {
        return Err(FORMAT.damaged(format!(
            "it has {} labels for {classes} classes",
            labels.len()
        )));
    }
    Ok(Value::Label(scores.clone(), labels.into()))
}
