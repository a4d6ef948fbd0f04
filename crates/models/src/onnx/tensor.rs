//! Constants of a graph, checked: as many numbers as its dimensions say, and no more than are allowed.

use super::proto::TensorProto;
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::SourceFormat;

const FORMAT: SourceFormat = SourceFormat::Onnx;

#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub dims: Vec<usize>,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Tensor {
    pub fn read(proto: &TensorProto, place: &str) -> Result<Self, ModelError> {
        if proto.data_location != 0 {
            return Err(FORMAT.unsupported(
                format!("numbers in another file ({place})"),
                "save the model with its weights inside (save_as_external_data=False)",
            ));
        }
        within(
            "dimensions of a tensor",
            proto.dims.len(),
            limits::DIMENSIONS_MAX,
        )?;
        let mut dims = Vec::with_capacity(proto.dims.len());
        let mut elements: usize = 1;
        for dim in &proto.dims {
            let dim = usize::try_from(*dim)
                .map_err(|_| FORMAT.damaged(format!("{place} has the dimension {dim}")))?;
            elements = elements.saturating_mul(dim);
            dims.push(dim);
        }
        within("numbers in a tensor", elements, limits::ELEMENTS_MAX)?;
        let data = read_data(proto, place)?;
        let found = data.len();
        if found != elements {
            return Err(FORMAT.damaged(format!(
                "{place} has {found} numbers, and its dimensions say {elements}"
            )));
        }
        Ok(Self { dims, data })
    }

    pub fn elements(&self) -> usize {
        self.data.len()
    }

    pub fn floats(&self) -> Option<Vec<f64>> {
        match &self.data {
            Data::Floats(values) => Some(values.clone()),
            Data::Ints(values) => Some(values.iter().map(|value| *value as f64).collect()),
            Data::Texts(_) => None,
        }
    }

    pub fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(values) => Some(values),
            Data::Floats(_) | Data::Texts(_) => None,
        }
    }

    /// Class labels, as text.
    pub fn labels(&self) -> Option<Vec<String>> {
        match &self.data {
            Data::Ints(values) => Some(values.iter().map(i64::to_string).collect()),
            Data::Texts(values) => Some(values.clone()),
            Data::Floats(_) => None,
        }
    }
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

/// Bytes to numbers of `N` bytes each, little end first.
fn raw<const N: usize, T>(
    proto: &TensorProto,
    place: &str,
    number: fn([u8; N]) -> T,
) -> Result<Vec<T>, ModelError> {
    let (chunks, rest) = proto.raw_data.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(FORMAT.damaged(format!(
            "{place} has {} bytes, no multiple of {N}",
            proto.raw_data.len()
        )));
    }
    Ok(chunks.iter().map(|chunk| number(*chunk)).collect())
}

fn read_data(proto: &TensorProto, place: &str) -> Result<Data, ModelError> {
    let is_raw = !proto.raw_data.is_empty();
    Ok(match proto.data_type {
        1 if is_raw => Data::Floats(raw(proto, place, |b| f64::from(f32::from_le_bytes(b)))?),
        1 => Data::Floats(
            proto
                .float_data
                .iter()
                .map(|value| f64::from(*value))
                .collect(),
        ),
        11 if is_raw => Data::Floats(raw(proto, place, f64::from_le_bytes)?),
        11 => Data::Floats(proto.double_data.clone()),
        7 if is_raw => Data::Ints(raw(proto, place, i64::from_le_bytes)?),
        7 => Data::Ints(proto.int64_data.clone()),
        6 if is_raw => Data::Ints(raw(proto, place, |b| i64::from(i32::from_le_bytes(b)))?),
        2 if is_raw => Data::Ints(raw(proto, place, |b: [u8; 1]| i64::from(b[0]))?),
        2 | 6 => Data::Ints(
            proto
                .int32_data
                .iter()
                .map(|value| i64::from(*value))
                .collect(),
        ),
        8 => Data::Texts(
            proto
                .string_data
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
        ),
        other => {
            return Err(FORMAT.unsupported(
                format!("the number type {other} in {place}"),
                "export with float, double, int32 or int64 tensors (types 1, 11, 6, 7)",
            ));
        }
    })
}
