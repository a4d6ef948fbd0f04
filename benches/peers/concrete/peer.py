#!/usr/bin/env python3
"""The peer of encrypted models: the same data, the same kinds of models, in concrete-python as Concrete ML lays them out.

    peer.py MODEL [--rows N] [--p-error P]      MODEL: linear, tree, forest, boosted, mlp, digits

Trees are laid out as Concrete ML does (the GEMM strategy of Hummingbird, Nakandala et al., OSDI 2020): one comparison for
each inner node, one equality for each leaf, matrix products between them. Inputs and leaf values have 6 bits, which is
Concrete ML's default. Linear models have 8-bit inputs and weights, networks 4-bit weights and activations; the sums that
networks look up are rounded to their upper bits first, approximately, as Concrete ML does with `rounding_threshold_bits`.
Both compression settings are on. Prints one line of JSON: seconds of CPU and wall per row, bytes up, down and of keys, and
two accuracies: of the circuit in the clear, and (networks) of concrete-python's own simulation with noise.
"""

import argparse
import csv
import json
import resource
import time
from pathlib import Path

import numpy as np
import xgboost
from concrete import fhe
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

MODELS = Path(__file__).resolve().parents[3] / "examples" / "models"
SEED = 7
TREE_BITS = 6
# The fewest with which both networks are right as often as without rounding: with 6 a row takes more than twice as long,
# with 4 the smaller network loses several points of accuracy.
ROUNDED_BITS = 5


def read(path):
    with open(path, newline="") as file:
        lines = list(csv.reader(file))[1:]
    return np.array([[float(v) for v in line[:-1]] for line in lines]), np.array([line[-1] for line in lines])


def quantise(x, low, high, bits):
    return np.clip(np.rint((x - low) / (high - low) * (2**bits - 1)), 0, 2**bits - 1).astype(np.int64)


class Trees:
    """Every tree as (feature, threshold, path), on inputs of TREE_BITS bits."""

    def __init__(self, x, trees, values):
        self.low, self.high = x.min(axis=0), x.max(axis=0) + 1e-9
        nodes, leaves = [], []  # (feature, threshold) and ([(node, goes right)], value)
        for tree, leaf_values in zip(trees, values):
            self.walk(tree, leaf_values, 0, [], nodes, leaves)
        self.features = np.array([feature for feature, _ in nodes])
        self.thresholds = quantise(
            np.array([t for _, t in nodes]), self.low[self.features], self.high[self.features], TREE_BITS
        )
        # The Hummingbird path matrix: +1 where a leaf needs the left branch, -1 where it needs the right one.
        self.paths = np.zeros((len(nodes), len(leaves)), dtype=np.int64)
        self.lefts = np.zeros(len(leaves), dtype=np.int64)
        for leaf, (path, _) in enumerate(leaves):
            for node, right in path:
                self.paths[node, leaf] = -1 if right else 1
                self.lefts[leaf] += not right
        raw = np.array([value for _, value in leaves])
        self.leaf_values = np.rint(raw / np.abs(raw).max() * (2 ** (TREE_BITS - 1) - 1)).astype(np.int64)

    def walk(self, tree, values, node, path, nodes, leaves):
        left, right, feature, threshold = tree
        if left[node] == -1:
            leaves.append((path, values[node]))
            return
        number = len(nodes)
        nodes.append((feature[node], threshold[node]))
        self.walk(tree, values, left[node], [*path, (number, False)], nodes, leaves)
        self.walk(tree, values, right[node], [*path, (number, True)], nodes, leaves)

    def encode(self, x):
        return quantise(x, self.low, self.high, TREE_BITS)

    def circuit(self, x):
        goes_left = x[self.features] <= self.thresholds
        reached = (goes_left @ self.paths) == self.lefts
        return reached @ self.leaf_values


def of_sklearn(model, x):
    trees = [t.tree_ for t in getattr(model, "estimators_", [model])]
    shapes = [(t.children_left, t.children_right, t.feature, t.threshold) for t in trees]
    return Trees(x, shapes, [t.value[:, 0, 1] / t.value[:, 0].sum(axis=1) - 0.5 for t in trees])


def of_xgboost(model, x):
    shapes, values = [], []
    for tree in json.loads(model.get_booster().save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]:
        left = np.array(tree["left_children"])
        conditions = np.array(tree["split_conditions"])
        shapes.append((left, np.array(tree["right_children"]), np.array(tree["split_indices"]), conditions))
        values.append(conditions)  # of a leaf, the condition is its value
    return Trees(x, shapes, values)


class Linear:
    def __init__(self, x, y):
        self.scaler = StandardScaler().fit(x)
        model = LogisticRegression(C=0.5, max_iter=10_000, random_state=SEED).fit(self.scaler.transform(x), y)
        self.weights = np.rint(model.coef_[0] / np.abs(model.coef_).max() * 127).astype(np.int64)
        self.bias = model.intercept_[0] / np.abs(model.coef_).max() * 127 * (127 / 4)

    def encode(self, x):
        return np.clip(np.rint(self.scaler.transform(x) * 127 / 4), -127, 127).astype(np.int64)

    def circuit(self, x):
        return np.sum(x * self.weights)

    def label(self, score):
        return score + self.bias > 0


class Network:
    def __init__(self, x, y, hidden):
        self.low, self.high = x.min(axis=0), x.max(axis=0) + 1e-9
        q = self.encode(x)
        scale = q.astype(float) / 15
        model = MLPClassifier((hidden,), alpha=1e-2, max_iter=2000, random_state=SEED).fit(scale, y)
        grid = lambda w: np.rint(w / np.abs(w).max() * 7).astype(np.int64)
        self.first, self.second = grid(model.coefs_[0]), grid(model.coefs_[1])
        one = 15 * 7 / np.abs(model.coefs_[0]).max()
        self.first_bias = np.rint(model.intercepts_[0] * one).astype(np.int64)
        raw = q @ self.first + self.first_bias
        self.shift = max(0, int(np.ceil(np.log2(np.percentile(np.maximum(raw, 1), 99.5) / 15))))
        two = one / 2**self.shift * 7 / np.abs(model.coefs_[1]).max()
        self.second_bias = np.rint(model.intercepts_[1] * two).astype(np.int64)
        self.rounder = fhe.AutoRounder(target_msbs=ROUNDED_BITS)

    def encode(self, x):
        return quantise(x, self.low, self.high, 4)

    def circuit(self, x):
        raw = x @ self.first + self.first_bias
        upper = fhe.round_bit_pattern(raw, lsbs_to_remove=self.rounder, exactness=fhe.Exactness.APPROXIMATE)
        hidden = fhe.univariate(lambda v: np.clip(v // 2**self.shift, 0, 15).astype(np.int64))(upper)
        return hidden @ self.second + self.second_bias


def build(name):
    if name == "digits":
        data = load_digits()
        x, x_test, y, y_test = train_test_split(
            data.data, data.target, test_size=0.3, random_state=SEED, stratify=data.target
        )
        model = Network(x, y, 32)
        return model, x, x_test, y_test, lambda score: int(np.argmax(score))
    x, y = read(MODELS / "trained" / "breast-cancer-train.csv")
    x_test, y_test = read(MODELS / "breast-cancer-test.csv")
    label = lambda score: "malignant" if np.sum(score) > 0 else "benign"
    if name == "linear":
        model = Linear(x, y)
        return model, x, x_test, y_test, lambda score: "malignant" if model.label(score) else "benign"
    if name == "tree":
        model = of_sklearn(DecisionTreeClassifier(max_depth=4, random_state=SEED).fit(x, y), x)
    elif name == "forest":
        model = of_sklearn(RandomForestClassifier(n_estimators=20, max_depth=4, random_state=SEED).fit(x, y), x)
    elif name == "boosted":
        trained = xgboost.XGBClassifier(n_estimators=50, max_depth=3, learning_rate=0.3, n_jobs=1, random_state=SEED)
        model = of_xgboost(trained.fit(x, (y == "malignant").astype(int)), x)
    else:
        model = Network(x, y, 16)
    return model, x, x_test, y_test, label


def accuracy(answer, model, x, y):
    answers = [answer(model.encode(row[None])[0]) for row in x]
    return float(np.mean([str(a) == str(b) for a, b in zip(answers, y)]))


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["linear", "tree", "forest", "boosted", "mlp", "digits"])
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--p-error", type=float, default=2**-40)
    args = parser.parse_args()
    model, x, x_test, y_test, label = build(args.model)
    # All rows that there are, so that no interval is too small.
    inputs = [model.encode(row[None])[0] for row in np.concatenate([x, x_test])]
    rounded = isinstance(model, Network)
    compiler = fhe.Compiler(model.circuit, {"x": "encrypted"})
    began = time.time()
    circuit = compiler.compile(
        inputs,
        p_error=args.p_error,
        compress_input_ciphertexts=True,
        compress_evaluation_keys=True,
        use_gpu=False,
        auto_adjust_rounders=rounded,
    )
    compiled = time.time() - began
    began = time.time()
    circuit.keygen(force=True)
    keygen = time.time() - began
    walls, cpus, up, down, wrong = [], [], 0, 0, 0
    for row, expected in zip(x_test[: args.rows], y_test):
        encoded = model.encode(row[None])[0]
        encrypted = circuit.encrypt(encoded)
        up = len(encrypted.serialize())
        began, began_cpu = time.time(), cpu()
        result = circuit.run(encrypted)
        walls.append(time.time() - began)
        cpus.append(cpu() - began_cpu)
        down = len(result.serialize())
        # Approximate rounding moves scores a little: there the label counts.
        same = (lambda a, b: label(a) == label(b)) if rounded else np.array_equal
        wrong += not same(circuit.decrypt(result), model.circuit(encoded))
    simulated = None
    if rounded:
        # Another compilation, so that what was measured above is the program without what simulation adds.
        noisy = fhe.Compiler(model.circuit, {"x": "encrypted"}).compile(
            inputs, p_error=args.p_error, auto_adjust_rounders=True, fhe_simulation=True, fhe_execution=False
        )
        simulated = accuracy(lambda row: label(noisy.simulate(row)), model, x_test, y_test)
    print(
        json.dumps(
            {
                "model": args.model,
                "cpu_s": float(np.median(cpus)),
                "wall_s": float(np.median(walls)),
                "compile_s": compiled,
                "keygen_s": keygen,
                "bytes_up": up,
                "bytes_down": down,
                "bytes_key": len(circuit.keys.serialize()) if args.model == "linear" else len(circuit.client.evaluation_keys.serialize()),
                "accuracy": accuracy(lambda row: label(model.circuit(row)), model, x_test, y_test),
                "accuracy_simulated": simulated,
                "wrong": wrong,
                "bootstraps": circuit.programmable_bootstrap_count,
            }
        )
    )


if __name__ == "__main__":
    main()
