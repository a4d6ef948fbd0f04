//! A network of dense layers made ready: layers joined, units that never change left out, ranges of activations seen.

use models::{Activation, Layer, Linear, Mlp};

use crate::inputs::Inputs;

/// An activation may go so far beyond what was seen, in parts of its range, before its table saturates.
const BEYOND: f64 = 0.05;
/// Below this share of its size, an activation's range is no range.
const STILL: f64 = 1e-9;

/// Hidden layers, each with an activation, and the affine head behind them.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub hidden: Vec<(Linear, Activation)>,
    pub head: Linear,
}

impl Network {
    /// Layers without an activation are joined with the next one.
    pub fn new(mlp: &Mlp) -> Self {
        let mut hidden: Vec<(Linear, Activation)> = Vec::new();
        let mut open: Option<Linear> = None;
        for layer in &mlp.layers {
            let affine = match open.take() {
                Some(before) => join(&before, layer),
                None => affine(layer),
            };
            match layer.activation {
                Activation::Identity => open = Some(affine),
                other => hidden.push((affine, other)),
            }
        }
        // A network that ends in an activation gives what its last lookup gives.
        let head = open
            .unwrap_or_else(|| identity(hidden.last().map_or(0, |(layer, _)| layer.bias.len())));
        Self { hidden, head }
    }

    pub fn of_linear(linear: &Linear) -> Self {
        Self {
            hidden: vec![],
            head: linear.clone(),
        }
    }

    pub fn layer(&self, index: usize) -> &Linear {
        match self.hidden.get(index) {
            Some((layer, _)) => layer,
            None => &self.head,
        }
    }

    fn layer_mut(&mut self, index: usize) -> &mut Linear {
        match self.hidden.get_mut(index) {
            Some((layer, _)) => layer,
            None => &mut self.head,
        }
    }

    /// Whether any unit of the first layer looks at this feature.
    pub fn uses(&self, feature: usize) -> bool {
        self.layer(0).weights.iter().any(|w| w[feature] != 0.0)
    }

    /// Takes the columns that `inputs` has, and watches every unit on rows of them. Units that never change become part
    /// of the next layer's bias. Gives the ranges, and how many units were left out.
    pub fn settle(&mut self, inputs: &Inputs, rows: &[&[f64]]) -> (Vec<Vec<Range>>, usize) {
        let first = self.layer_mut(0);
        first.weights = first.weights.iter().map(|w| inputs.select(w)).collect();
        let mut values: Vec<Vec<f64>> = rows.iter().map(|row| held(inputs, row)).collect();
        let mut ranges = Vec::new();
        let mut left_out = 0;
        for index in 0..self.hidden.len() {
            let (layer, activation) = &self.hidden[index];
            values = values
                .iter()
                .map(|row| apply(layer, row).map(|z| activation.apply(z)).collect())
                .collect();
            let mut seen: Vec<Range> = (0..layer.bias.len())
                .map(|unit| Range::of(values.iter().map(|row| row[unit])))
                .collect();
            let next = self.layer(index + 1);
            let matters = |unit: &usize| {
                !seen[*unit].is_still() && next.weights.iter().any(|w| w[*unit] != 0.0)
            };
            let mut kept: Vec<usize> = (0..seen.len()).filter(matters).collect();
            if kept.is_empty() {
                kept.push(0);
            }
            left_out += seen.len() - kept.len();
            self.leave_out(index, &kept, &seen);
            let keep = |row: &Vec<f64>| kept.iter().map(|&unit| row[unit]).collect();
            values = values.iter().map(keep).collect();
            seen = kept.iter().map(|&unit| seen[unit]).collect();
            ranges.push(seen);
        }
        (ranges, left_out)
    }

    fn leave_out(&mut self, index: usize, kept: &[usize], seen: &[Range]) {
        let next = self.layer_mut(index + 1);
        for (weights, bias) in next.weights.iter_mut().zip(&mut next.bias) {
            let gone = (0..seen.len()).filter(|unit| !kept.contains(unit));
            *bias += gone
                .map(|unit| weights[unit] * seen[unit].mean)
                .sum::<f64>();
            *weights = kept.iter().map(|&unit| weights[unit]).collect();
        }
        let layer = self.layer_mut(index);
        layer.weights = kept.iter().map(|&u| layer.weights[u].clone()).collect();
        layer.bias = kept.iter().map(|&u| layer.bias[u]).collect();
    }
}

/// What a unit's activation came to on the calibration rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub low: f64,
    pub high: f64,
    pub mean: f64,
    pub variance: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count().max(1) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.clone().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let beyond = (high - low) * BEYOND;
        Self {
            low: low - beyond,
            high: high + beyond,
            mean,
            variance,
        }
    }

    fn is_still(&self) -> bool {
        self.high - self.low <= STILL * self.low.abs().max(1.0)
    }
}

/// A row as the program sees it: beyond an input's range, its edge.
fn held(inputs: &Inputs, row: &[f64]) -> Vec<f64> {
    let hold = |(&feature, value): (&usize, &crate::inputs::Value)| {
        let half = value.unit * value.high as f64;
        row[feature].clamp(value.zero - half, value.zero + half)
    };
    inputs
        .features
        .iter()
        .zip(&inputs.values)
        .map(hold)
        .collect()
}

fn apply<'a>(layer: &'a Linear, row: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    let units = layer.weights.iter().zip(&layer.bias);
    units
        .map(move |(weights, bias)| weights.iter().zip(row).map(|(w, x)| w * x).sum::<f64>() + bias)
}

fn affine(layer: &Layer) -> Linear {
    Linear {
        weights: layer.weights.clone(),
        bias: layer.bias.clone(),
    }
}

fn identity(size: usize) -> Linear {
    let row = |at: usize| (0..size).map(|i| f64::from(u8::from(i == at))).collect();
    Linear {
        weights: (0..size).map(row).collect(),
        bias: vec![0.0; size],
    }
}

/// `layer` behind `before`, as one.
fn join(before: &Linear, layer: &Layer) -> Linear {
    let width = before.weights.first().map_or(0, Vec::len);
    let weights = |outer: &Vec<f64>| {
        let mut joined = vec![0.0; width];
        for (w, inner) in outer.iter().zip(&before.weights) {
            joined
                .iter_mut()
                .zip(inner)
                .for_each(|(sum, x)| *sum += w * x);
        }
        joined
    };
    let bias = |(outer, bias): (&Vec<f64>, &f64)| {
        bias + outer
            .iter()
            .zip(&before.bias)
            .map(|(w, b)| w * b)
            .sum::<f64>()
    };
    Linear {
        weights: layer.weights.iter().map(weights).collect(),
        bias: layer.weights.iter().zip(&layer.bias).map(bias).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(weights: &[&[f64]], bias: &[f64], activation: Activation) -> Layer {
        Layer {
            weights: weights.iter().map(|w| w.to_vec()).collect(),
            bias: bias.to_vec(),
            activation,
        }
    }

    fn scores(network: &Network, row: &[f64]) -> Vec<f64> {
        let mut values = row.to_vec();
        for (layer, activation) in &network.hidden {
            values = apply(layer, &values).map(|z| activation.apply(z)).collect();
        }
        apply(&network.head, &values).collect()
    }

    #[test]
    fn layers_without_an_activation_are_joined() {
        let network = Network::new(&Mlp {
            layers: vec![
                layer(
                    &[&[1.0, 2.0], &[0.0, -1.0]],
                    &[0.5, 0.0],
                    Activation::Identity,
                ),
                layer(&[&[3.0, 1.0]], &[-1.0], Activation::Relu),
                layer(&[&[2.0]], &[1.0], Activation::Identity),
            ],
        });
        assert_eq!(network.hidden.len(), 1);
        // 3 · (1 + 4 + 0.5) - 2 - 1 is 13.5.
        assert_eq!(scores(&network, &[1.0, 2.0]), [28.0]);
        assert_eq!(scores(&network, &[-9.0, 0.0]), [1.0]);
    }

    #[test]
    fn a_last_activation_is_a_layer_of_its_own() {
        let network = Network::new(&Mlp {
            layers: vec![layer(&[&[1.0], &[-1.0]], &[0.0, 0.0], Activation::Relu)],
        });
        assert_eq!(network.hidden.len(), 1);
        assert_eq!(scores(&network, &[2.0]), [2.0, 0.0]);
        assert_eq!(scores(&network, &[-3.0]), [0.0, 3.0]);
    }
}
