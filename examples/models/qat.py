"""Makes a small network aware of its quantisation: trained a little further with weights and activations on their grids.

Straight-through estimator (Bengio, Leonard and Courville, 2013; Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", 2018): forwards everything is rounded, backwards the rounding is
taken to be the identity. Plain numpy, so that it works on what scikit-learn trained; a PyTorch module goes the same way
(its weights into `Network`, tuned, and out again by `onnx`).
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

WEIGHT_BITS = 5  # of the second layer: what a sum of noisy activations bears
FIRST_WEIGHT_BITS = 8  # the first layer works on fresh inputs
ACTIVATION_BITS = 4


def on_grid(values, bits):
    """Signed, symmetric: -(2^(bits-1) - 1) to 2^(bits-1) - 1 steps."""
    step = np.abs(values).max() / (2 ** (bits - 1) - 1)
    return np.rint(values / step) * step


class Network:
    """Two layers: a clipped ReLU on a grid of 4 bits, then scores."""

    def __init__(self, first, first_bias, second, second_bias, most):
        self.first, self.first_bias, self.second, self.second_bias = first, first_bias, second, second_bias
        self.most = most

    @classmethod
    def of(cls, model, input_scale):
        """Of a fitted sklearn MLPClassifier with one hidden layer, whose inputs were scaled so."""
        return cls(model.coefs_[0] * input_scale, model.intercepts_[0], model.coefs_[1], model.intercepts_[1], most=None)

    def hidden(self, x):
        raw = x @ on_grid(self.first, FIRST_WEIGHT_BITS) + self.first_bias
        step = self.most / (2**ACTIVATION_BITS - 1)
        return raw, np.clip(np.rint(raw / step), 0, 2**ACTIVATION_BITS - 1) * step

    def scores(self, x):
        return self.hidden(x)[1] @ on_grid(self.second, WEIGHT_BITS) + self.second_bias

    def predict(self, x):
        return self.scores(x).argmax(axis=1)

    def tune(self, x, y, seed, epochs=60, rate=0.02, batch=32):
        raw = x @ self.first + self.first_bias
        self.most = float(np.percentile(np.maximum(raw, 0), 99.5))
        random = np.random.default_rng(seed)
        target = np.eye(int(y.max()) + 1)[y]
        for epoch in range(epochs):
            speed = rate * (1 - epoch / epochs)
            for at in np.array_split(random.permutation(len(x)), len(x) // batch):
                raw, hidden = self.hidden(x[at])
                scores = hidden @ on_grid(self.second, WEIGHT_BITS) + self.second_bias
                powers = np.exp(scores - scores.max(axis=1, keepdims=True))
                error = (powers / powers.sum(axis=1, keepdims=True) - target[at]) / len(at)
                back = (error @ on_grid(self.second, WEIGHT_BITS).T) * ((raw > 0) & (raw < self.most))
                self.second -= speed * hidden.T @ error
                self.second_bias -= speed * error.sum(axis=0)
                self.first -= speed * x[at].T @ back / 64
                self.first_bias -= speed * back.sum(axis=0)
        return self

    def onnx(self, labels):
        """Gemm, Clip, Gemm, Softmax: weights on their grids; the client of the model rounds the activations."""

        def tensor(name, values):
            return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)

        constants = [
            tensor("w1", on_grid(self.first, FIRST_WEIGHT_BITS)),
            tensor("b1", self.first_bias),
            tensor("w2", on_grid(self.second, WEIGHT_BITS)),
            tensor("b2", self.second_bias),
            tensor("least", 0.0),
            tensor("most", self.most),
        ]
        nodes = [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Clip", ["h", "least", "most"], ["a"]),
            helper.make_node("Gemm", ["a", "w2", "b2"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ]
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, self.first.shape[0]])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(labels)])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
        model.ir_version = 8
        return model
