//! What a name in a graph stands for while it is walked: not numbers, but what has been done to the row so far.

use std::rc::Rc;

use super::tensor::Tensor;
use crate::edge;
use crate::model::{Layer, Link, Trees};

/// Shared: a value may be passed on by very many operators.
pub(super) type Labels = Rc<[String]>;

#[derive(Clone)]
pub(super) enum Value {
    Constant(Rc<Tensor>),
    /// Columns of the input, each perhaps scaled.
    Rows(Rc<Rows>),
    /// The result of a dense layer.
    Units(Units),
    /// The other half of a pair of classes, made from the one score that there is.
    Mirror(Units, Mirror),
    /// Raw scores, or what a link made of them.
    Scores(Scores),
    /// The place of the greatest of them.
    Place(Scores),
    /// A label a score; of a pair, two.
    Label(Scores, Labels),
}

impl Value {
    /// In an error: what this is.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Constant(_) => "a constant",
            Self::Rows(_) => "the input",
            Self::Units(_) => "the result of a layer",
            Self::Mirror(..) => "the other half of a pair of classes",
            Self::Scores(_) => "scores",
            Self::Place(_) => "the place of the greatest score",
            Self::Label(..) => "a label",
        }
    }
}

#[derive(Clone)]
pub(super) struct Rows {
    pub columns: Vec<Column>,
    /// Whether the numbers are f32.
    pub narrow: bool,
}

#[derive(Clone)]
pub(super) struct Column {
    pub feature: u32,
    pub steps: Vec<Step>,
}

/// One operation on a column. f32 operations are done in f64 and rounded, which gives the same bits for one operation at a time.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Round,
    Shift(f64),
    /// Not by 0.
    Scale(f64),
    /// Apart from scaling by the inverse, which rounds otherwise. Not by 0.
    Divide(f64),
}

impl Column {
    fn apply(&self, value: f64) -> f64 {
        self.steps.iter().fold(value, |value, step| match step {
            Step::Round => f64::from(value as f32),
            Step::Shift(by) => value + by,
            Step::Scale(by) => value * by,
            Step::Divide(by) => value / by,
        })
    }

    /// (scale, offset): what the steps come to but for rounding.
    pub fn affine(&self) -> (f64, f64) {
        self.steps
            .iter()
            .fold((1.0, 0.0), |(scale, offset), step| match step {
                Step::Round => (scale, offset),
                Step::Shift(by) => (scale, offset + by),
                Step::Scale(by) => (scale * by, offset * by),
                Step::Divide(by) => (scale / by, offset / by),
            })
    }

    /// The edge of `column > t` (or `>= t`) in terms of the feature, and whether it is passed downwards.
    pub fn edge(&self, t: f64, or_equal: bool) -> (f64, bool) {
        if let [Step::Round] = self.steps[..]
            && t == f64::from(t as f32)
        {
            let t = t as f32;
            return (
                if or_equal {
                    edge::at_least_f32(t)
                } else {
                    edge::above_f32(t)
                },
                false,
            );
        }
        if self.steps.is_empty() {
            return (
                if or_equal {
                    edge::at_least_f64(t)
                } else {
                    t.min(f64::MAX)
                },
                false,
            );
        }
        let passes = |x| {
            let value = self.apply(x);
            if or_equal { value >= t } else { value > t }
        };
        let falls = self
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Scale(by) | Step::Divide(by) if *by < 0.0))
            .count()
            % 2
            == 1;
        if falls {
            (edge::last_that_fails(|x| !passes(x)), true)
        } else {
            (edge::last_that_fails(passes), false)
        }
    }
}

#[derive(Clone)]
pub(super) struct Units {
    /// The operator that began the last layer's numbers: two values with the same one are the same numbers.
    pub id: usize,
    pub rows: Rc<Rows>,
    pub layers: Vec<Rc<Layer>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mirror {
    OneMinus,
    Negated,
}

#[derive(Clone)]
pub(super) struct Scores {
    pub id: usize,
    pub body: Rc<Draft>,
    /// How many, in the body.
    pub count: usize,
    pub link: Link,
    pub view: View,
    /// Of a classifier.
    pub labels: Labels,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum View {
    /// Column s is score s.
    Plain,
    /// Two columns for one score: of the class where it is not above `at`, and of the other.
    Pair { at: f64 },
}

pub(super) enum Draft {
    Dense {
        rows: Rc<Rows>,
        layers: Vec<Rc<Layer>>,
    },
    Trees(Trees),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The edge of a scaled column is where f32 arithmetic itself passes the threshold.
        #[test]
        fn the_edge_of_a_scaled_column_is_exact(
            offset in -100_f32..100.0,
            scale in prop_oneof![0.001_f32..50.0, -50_f32..-0.001],
            divide in any::<bool>(),
            t in -20_f32..20.0,
            or_equal in any::<bool>(),
            near in -3_i64..4,
            far in -1e4_f64..1e4,
        ) {
            let stretch = if divide { Step::Divide } else { Step::Scale };
            let column = Column {
                feature: 0,
                steps: vec![
                    Step::Round,
                    Step::Shift(f64::from(-offset)),
                    Step::Round,
                    stretch(f64::from(scale)),
                    Step::Round,
                ],
            };
            let library = |x: f64| {
                let shifted = x as f32 - offset;
                let value = if divide { shifted / scale } else { shifted * scale };
                if or_equal { value >= t } else { value > t }
            };
            let (above, falls) = column.edge(f64::from(t), or_equal);
            prop_assert_eq!(falls, scale < 0.0);
            for x in [f64::from_bits(above.to_bits().wrapping_add_signed(near)), far] {
                prop_assert_eq!(library(x), (x > above) != falls, "{}", x);
            }
        }
    }
}
