//! Dense layers as exporters write them: MatMul and Add, Gemm, and the activations between them.

use std::rc::Rc;

use super::attributes::{Attributes, FORMAT};
use super::tensor::Tensor;
use super::value::{Draft, Rows, Scores, Units, View};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Activation, Layer, Link};

/// Before the first layer there are columns, and after it units.
#[derive(Clone)]
pub(super) struct Input {
    pub rows: Rc<Rows>,
    pub layers: Vec<Rc<Layer>>,
}

impl Input {
    fn width(&self) -> usize {
        self.layers
            .last()
            .map_or(self.rows.columns.len(), |layer| layer.bias.len())
    }

    /// One more layer, of the weights (input, unit) that `at` gives.
    fn layer(
        mut self,
        id: usize,
        units: usize,
        bias: Vec<f64>,
        at: impl Fn(usize, usize) -> f64,
    ) -> Result<Units, ModelError> {
        within("layers", self.layers.len() + 1, limits::LAYERS_MAX)?;
        within("units in a layer", units, limits::UNITS_MAX)?;
        let inputs = self.width();
        self.layers.push(Rc::new(Layer {
            weights: (0..units)
                .map(|unit| (0..inputs).map(|input| at(input, unit)).collect())
                .collect(),
            bias,
            activation: Activation::Identity,
        }));
        Ok(Units {
            id,
            rows: self.rows,
            layers: self.layers,
        })
    }
}

fn no_number(name: &str) -> ModelError {
    FORMAT.damaged(format!("the weights of {name} are no numbers"))
}

/// Row times matrix; a vector is a matrix of one column.
pub(super) fn matmul(input: Input, weights: &Tensor, id: usize) -> Result<Units, ModelError> {
    let inputs = input.width();
    let units = match weights.dims[..] {
        [rows] if rows == inputs => 1,
        [rows, columns] if rows == inputs && columns > 0 => columns,
        _ => {
            return Err(FORMAT.damaged(format!(
                "MatMul has weights of the shape {:?} for {inputs} inputs",
                weights.dims
            )));
        }
    };
    let numbers = weights.floats().ok_or_else(|| no_number("MatMul"))?;
    input.layer(id, units, vec![0.0; units], |input, unit| {
        numbers[input * units + unit]
    })
}

pub(super) fn gemm(
    input: Input,
    attributes: Attributes<'_>,
    weights: &Tensor,
    bias: Option<&Tensor>,
    id: usize,
) -> Result<Units, ModelError> {
    let inputs = input.width();
    let turned = attributes.int("transB", 0) != 0;
    if attributes.int("transA", 0) != 0 {
        return Err(FORMAT.unsupported("a Gemm that transposes its input", "export with transA=0"));
    }
    let (rows, columns) = match weights.dims[..] {
        [rows, columns] => (rows, columns),
        _ => (0, 0),
    };
    let (from, units) = if turned {
        (columns, rows)
    } else {
        (rows, columns)
    };
    if from != inputs || units == 0 {
        return Err(FORMAT.damaged(format!(
            "Gemm has weights of the shape {:?} for {inputs} inputs",
            weights.dims
        )));
    }
    let numbers = weights.floats().ok_or_else(|| no_number("Gemm"))?;
    let alpha = attributes.float("alpha", 1.0);
    let beta = attributes.float("beta", 1.0);
    let bias = match bias {
        None => vec![0.0; units],
        Some(bias) => spread(bias, units, "Gemm")?
            .into_iter()
            .map(|value| value * beta)
            .collect(),
    };
    input.layer(id, units, bias, |input, unit| {
        alpha
            * if turned {
                numbers[unit * inputs + input]
            } else {
                numbers[input * units + unit]
            }
    })
}

/// A constant as one number a column: given so, or one for all.
pub(super) fn spread(constant: &Tensor, width: usize, name: &str) -> Result<Vec<f64>, ModelError> {
    let numbers = constant.floats().ok_or_else(|| no_number(name))?;
    let last = constant.dims.last().copied().unwrap_or(1);
    match numbers.len() {
        1 => Ok(vec![numbers[0]; width]),
        len if len == width && last == width => Ok(numbers),
        _ => Err(FORMAT.damaged(format!(
            "{name} joins {width} columns and a constant of the shape {:?}",
            constant.dims
        ))),
    }
}

impl Units {
    pub fn width(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    pub fn last_activation(&self) -> Option<Activation> {
        self.layers.last().map(|layer| layer.activation)
    }

    /// The same units with their last layer changed; it must be without an activation still.
    fn change(
        &self,
        id: usize,
        name: &str,
        change: impl FnOnce(&mut Layer),
    ) -> Result<Self, ModelError> {
        let mut layers = self.layers.clone();
        match layers.last_mut() {
            Some(last) if last.activation == Activation::Identity => change(Rc::make_mut(last)),
            _ => {
                return Err(FORMAT.unsupported(
                    format!("{name} after an activation"),
                    "put a dense layer between them, or leave it out",
                ));
            }
        }
        Ok(Self {
            id,
            rows: Rc::clone(&self.rows),
            layers,
        })
    }

    pub fn shift(&self, by: &[f64], id: usize, name: &str) -> Result<Self, ModelError> {
        self.change(id, name, |layer| {
            for (bias, by) in layer.bias.iter_mut().zip(by) {
                *bias += by;
            }
        })
    }

    pub fn scale(&self, by: &[f64], id: usize, name: &str) -> Result<Self, ModelError> {
        self.change(id, name, |layer| {
            for ((bias, weights), by) in layer.bias.iter_mut().zip(&mut layer.weights).zip(by) {
                *bias *= by;
                weights.iter_mut().for_each(|weight| *weight *= by);
            }
        })
    }

    pub fn activate(
        &self,
        activation: Activation,
        id: usize,
        name: &str,
    ) -> Result<Self, ModelError> {
        self.change(id, name, |layer| layer.activation = activation)
    }

    /// These units as the scores of the model: a sigmoid at the end is the link.
    pub fn finish(&self) -> Result<Scores, ModelError> {
        if self.last_activation() == Some(Activation::Sigmoid) {
            let mut bare = self.clone();
            if let Some(last) = bare.layers.last_mut() {
                Rc::make_mut(last).activation = Activation::Identity;
            }
            return Ok(bare.scores(Link::Logistic));
        }
        Ok(self.scores(Link::Identity))
    }

    /// A link that an operator applies to these units.
    pub fn linked(&self, link: Link, name: &str) -> Result<Scores, ModelError> {
        let bare = self.change(self.id, name, |_| ())?;
        Ok(bare.scores(link))
    }

    fn scores(&self, link: Link) -> Scores {
        Scores {
            id: self.id,
            body: Rc::new(Draft::Dense {
                rows: Rc::clone(&self.rows),
                layers: self.layers.clone(),
            }),
            count: self.width(),
            link,
            view: View::Plain,
            labels: Rc::default(),
        }
    }
}

/// Folds what was done to the columns into the weights of the first layer, which then takes the features.
pub(super) fn fold(rows: &Rows, layer: &Layer, features: usize) -> Result<Layer, ModelError> {
    within(
        "weights",
        layer.bias.len().saturating_mul(features),
        limits::ELEMENTS_MAX,
    )?;
    let affine: Vec<_> = rows
        .columns
        .iter()
        .map(super::value::Column::affine)
        .collect();
    let mut bias = layer.bias.clone();
    let mut weights = vec![vec![0.0; features]; bias.len()];
    for (unit, row) in layer.weights.iter().enumerate() {
        for ((weight, column), (scale, offset)) in row.iter().zip(&rows.columns).zip(&affine) {
            weights[unit][column.feature as usize] += weight * scale;
            bias[unit] += weight * offset;
        }
    }
    Ok(Layer {
        weights,
        bias,
        activation: layer.activation,
    })
}
