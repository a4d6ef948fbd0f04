//! Operators on the columns of the input before the model: scaling, choosing and joining them, and the inputs themselves.

use std::rc::Rc;

use super::attributes::{Attributes, FORMAT};
use super::dense::spread;
use super::proto::ValueInfo;
use super::tensor::Tensor;
use super::value::{Column, Rows, Step};
use crate::build::{self, finite};
use crate::error::{ModelError, within};
use crate::limits;

/// Operations on one column. Pipelines have two or three.
const STEPS_MAX: usize = 8;

pub(super) type NamedRows = (String, Rows);

/// The inputs of a graph as columns, and the names of all features.
pub(super) fn inputs(infos: &[&ValueInfo]) -> Result<(Vec<NamedRows>, Vec<String>), ModelError> {
    let mut names = Vec::new();
    let mut all = Vec::new();
    for info in infos {
        let (width, narrow) = width(info)?;
        within("features", names.len() + width, limits::FEATURES_MAX)?;
        let first = names.len();
        match width {
            _ if infos.len() == 1 => names = build::numbered_features(width),
            1 => names.push(info.name.clone()),
            _ => names.extend((0..width).map(|at| format!("{}_{at}", info.name))),
        }
        let steps = if narrow {
            vec![Step::Round]
        } else {
            Vec::new()
        };
        let columns = (first..first + width)
            .map(|feature| Column {
                feature: feature as u32,
                steps: steps.clone(),
            })
            .collect();
        all.push((info.name.clone(), Rows { columns, narrow }));
    }
    Ok((all, names))
}

/// How many numbers a row of an input has, and whether they are f32.
fn width(info: &ValueInfo) -> Result<(usize, bool), ModelError> {
    let name = info.name.chars().take(40).collect::<String>();
    let Some(tensor) = info
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref())
    else {
        return Err(FORMAT.unsupported(
            format!("the input {name}, which is no tensor"),
            "export with one tensor of floats as input",
        ));
    };
    let narrow = match tensor.elem_type {
        1 => true,
        11 => false,
        other => {
            return Err(FORMAT.unsupported(
                format!("the input {name} of the type {other}"),
                "export with float or double inputs (types 1 and 11): one-hot encode categories before training",
            ));
        }
    };
    let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    within("dimensions of a tensor", dims.len(), limits::DIMENSIONS_MAX)?;
    // The first dimension is the batch.
    let inner = if dims.len() > 1 { &dims[1..] } else { dims };
    let mut width: usize = 1;
    for dim in inner {
        let dim = dim
            .dim_value
            .and_then(|dim| usize::try_from(dim).ok())
            .unwrap_or(0);
        width = width.saturating_mul(dim);
    }
    if inner.is_empty() || width == 0 {
        return Err(FORMAT.unsupported(
            format!("the input {name}, whose number of features is not said"),
            "export with a fixed number of features, and only the batch dynamic",
        ));
    }
    within("features", width, limits::FEATURES_MAX)?;
    Ok((width, narrow))
}

impl Rows {
    fn step(
        &self,
        name: &str,
        step: impl Fn(usize) -> Result<Option<Step>, ModelError>,
    ) -> Result<Rc<Self>, ModelError> {
        let mut changed = self.clone();
        for (at, column) in changed.columns.iter_mut().enumerate() {
            if let Some(step) = step(at)? {
                column.steps.push(step);
                if self.narrow {
                    column.steps.push(Step::Round);
                }
            }
            if column.steps.len() > 2 * STEPS_MAX + 1 {
                return Err(FORMAT.unsupported(
                    format!("more than {STEPS_MAX} operations on one column before the model (the last is {name})"),
                    "join the scalers into one",
                ));
            }
        }
        Ok(Rc::new(changed))
    }

    pub fn shift(&self, by: &[f64], name: &str) -> Result<Rc<Self>, ModelError> {
        self.step(name, |at| {
            let by = finite(FORMAT, by[at], || format!("a number of {name}"))?;
            Ok((by != 0.0).then_some(Step::Shift(by)))
        })
    }

    pub fn scale(&self, by: &[f64], name: &str) -> Result<Rc<Self>, ModelError> {
        self.stretch(by, name, Step::Scale)
    }

    pub fn divide(&self, by: &[f64], name: &str) -> Result<Rc<Self>, ModelError> {
        self.stretch(by, name, Step::Divide)
    }

    fn stretch(
        &self,
        by: &[f64],
        name: &str,
        step: fn(f64) -> Step,
    ) -> Result<Rc<Self>, ModelError> {
        self.step(name, |at| {
            let by = finite(FORMAT, by[at], || format!("a number of {name}"))?;
            if by == 0.0 {
                return Err(FORMAT.unsupported(
                    format!("{name} of a column by 0"),
                    "drop the column before training",
                ));
            }
            Ok((by != 1.0).then_some(step(by)))
        })
    }

    /// To f32, where it was not.
    pub fn round(&self) -> Rc<Self> {
        let mut changed = self.clone();
        if !self.narrow {
            for column in &mut changed.columns {
                column.steps.push(Step::Round);
            }
            changed.narrow = true;
        }
        Rc::new(changed)
    }

    pub fn widen(&self) -> Rc<Self> {
        Rc::new(Self {
            columns: self.columns.clone(),
            narrow: false,
        })
    }

    pub fn choose(&self, places: &Tensor, name: &str) -> Result<Rc<Self>, ModelError> {
        let width = self.columns.len();
        let places = places.ints().unwrap_or_default();
        within("features", places.len(), limits::FEATURES_MAX)?;
        let columns = places
            .iter()
            .map(|place| {
                let at = if *place < 0 {
                    place.saturating_add(width as i64)
                } else {
                    *place
                };
                usize::try_from(at)
                    .ok()
                    .and_then(|at| self.columns.get(at))
                    .cloned()
                    .ok_or_else(|| {
                        FORMAT.damaged(format!("{name} takes column {place} of {width}"))
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            return Err(FORMAT.damaged(format!("{name} takes no column")));
        }
        Ok(Rc::new(Self {
            columns,
            narrow: self.narrow,
        }))
    }

    pub fn join(parts: &[Rc<Self>]) -> Result<Rc<Self>, ModelError> {
        let width = parts.iter().map(|part| part.columns.len()).sum();
        within("features", width, limits::FEATURES_MAX)?;
        Ok(Rc::new(Self {
            columns: parts
                .iter()
                .flat_map(|part| part.columns.iter().cloned())
                .collect(),
            narrow: parts.iter().all(|part| part.narrow),
        }))
    }
}

/// (x - offset) · scale, which gives f32 whatever it takes.
pub(super) fn scaler(attributes: Attributes<'_>, rows: &Rows) -> Result<Rc<Rows>, ModelError> {
    let width = rows.columns.len();
    let list = |name| {
        let numbers = attributes.floats(name)?;
        let dims = vec![numbers.len()];
        spread(
            &Tensor {
                dims,
                data: super::tensor::Data::Floats(numbers),
            },
            width,
            "Scaler",
        )
    };
    let offset: Vec<f64> = list("offset")?.into_iter().map(|offset| -offset).collect();
    Ok(rows
        .shift(&offset, "Scaler")?
        .scale(&list("scale")?, "Scaler")?
        .round())
}
