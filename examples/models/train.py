#!/usr/bin/env python3
"""Trains the two models of this folder and writes them as Veilgate programs.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python train.py

Writes, beside itself:
    breast-cancer-linear.json   logistic regression: one integer sum, no bootstrap
    breast-cancer-trees.json    12 oblivious trees of depth 4 (CatBoost): one lookup per tree, all in one round
    breast-cancer-test.csv      the held-out rows, which neither model has seen, with their label

and prints what quantisation cost. The program format is described in docs/specs/fhe-program.md; what each part means
is said where it is made. The same rows, models and files come out of every run (fixed seeds, one thread).
"""

import csv
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from catboost import CatBoostClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
SEED = 7
FORMAT = "veilgate-program/2"
SOURCE = (
    "Trained by examples/models/train.py on the Breast Cancer Wisconsin (Diagnostic) data set "
    "(Wolberg, Mangasarian, Street and Street, 1993; UCI Machine Learning Repository, doi:10.24432/C5DW2B, CC BY 4.0)."
)

# The linear model. Inputs and weights are integers of so many bits, sign included.
INPUT_BITS = 10
WEIGHT_BITS = 10
# Inputs beyond so many standard deviations are held at the edge.
CLIP = 8.0
# Words of a result are rounded to so many bits: enough that this rounding never changes the decoded integer.
LINEAR_RESULT_BITS = 32

# The trees. 4 levels make a table of 16 entries: what one lookup of the parameter set reads.
TREES = 12
DEPTH = 4
# Leaves count in units of 2^-32 of the torus, far below the noise of a bootstrap: their quantisation costs nothing.
LEAF_STEP_BITS = 32
# Share of the torus that the sum of all trees may use.
FILL = 0.98
TREES_RESULT_BITS = 20


def linear_program(names, x, y):
    """Logistic regression: its score's sign is the label, so the logistic function is not needed."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=0.5, max_iter=10_000, random_state=SEED).fit(scaler.transform(x), y)
    most = 2 ** (INPUT_BITS - 1) - 1
    # One unit of the encoded input, in standard deviations.
    unit = CLIP / most
    weights = model.coef_[0]
    weight_unit = np.abs(weights).max() / (2 ** (WEIGHT_BITS - 1) - 1)
    integers = np.rint(weights / weight_unit).astype(int)
    scale = float(unit * weight_unit)
    bias = int(round(model.intercept_[0] / scale))
    reach = int(np.abs(integers).sum() * most + abs(bias))
    # The result needs room for -reach..reach.
    step_bits = reach.bit_length() + 1
    program = {
        "format": FORMAT,
        "name": "breast-cancer-linear",
        "version": 1,
        "description": "Logistic regression on 30 measurements. " + SOURCE,
        "params": "linear-2048-128",
        "columns": names,
        "inputs": [
            {
                "column": i,
                "encode": {
                    "scaled": {
                        "offset": float(scaler.mean_[i]),
                        "step": float(scaler.scale_[i] * unit),
                        "min": -most,
                        "max": most,
                    }
                },
            }
            for i in range(len(names))
        ],
        "input_step_bits": step_bits,
        "input_bits": 44,
        "rounds": [
            {"sums": [{"terms": [[i, int(w)] for i, w in enumerate(integers) if w != 0], "bias": bias}]}
        ],
        "result": {
            "bits": LINEAR_RESULT_BITS,
            "precision": "exact",
            "scores": [{"name": "log-odds of benign", "results": [0], "scale": scale, "offset": 0.0}],
            "decide": {"threshold": {"at": 0.0, "below": "malignant", "above": "benign"}},
        },
    }
    return program, lambda rows: model.predict(scaler.transform(rows))


def trees_program(names, x, y):
    """Oblivious trees: every level of a tree asks one question of all its nodes, so that a leaf's number is just the
    answers read as bits. The client sends the answers to all questions of all trees (it knows the edges, not which
    tree asks what); a tree is then one sum of weighted bits and one table."""
    model = CatBoostClassifier(
        iterations=TREES,
        depth=DEPTH,
        learning_rate=0.5,
        random_seed=SEED,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    ).fit(x, y)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        model.save_model(path, format="json")
        exported = json.loads(Path(path).read_text())
    trees = exported["oblivious_trees"]
    tree_scale, (bias,) = exported["scale_and_bias"]

    questions = sorted({(s["float_feature_index"], s["border"]) for t in trees for s in t["splits"]})
    number = {question: i for i, question in enumerate(questions)}

    leaves = [np.array(t["leaf_values"]) * tree_scale for t in trees]
    # Each table is centred, which halves what the sum can reach; the middles go into the last round's bias.
    middles = [(v.max() + v.min()) / 2 for v in leaves]
    reach = sum(np.abs(v - m).max() for v, m in zip(leaves, middles)) + abs(sum(middles) + bias)
    scale = float(reach / (2 ** (LEAF_STEP_BITS - 1) * FILL))
    sums, tables = [], []
    for tree, values, middle in zip(trees, leaves, middles):
        weights = {}
        for level, split in enumerate(tree["splits"]):
            at = number[(split["float_feature_index"], split["border"])]
            weights[at] = weights.get(at, 0) + 2**level
        # A tree shallower than DEPTH uses the first entries of its table.
        padded = list(values) + [values[-1]] * (2**DEPTH - len(values))
        sums.append({"terms": [[i, w] for i, w in sorted(weights.items())], "bias": 0})
        tables.append([int(round((v - middle) / scale)) for v in padded])
    program = {
        "format": FORMAT,
        "name": "breast-cancer-trees",
        "version": 1,
        "description": f"{len(trees)} oblivious trees of depth {DEPTH} on 30 measurements. " + SOURCE,
        "params": "tfhe-2_2-ks32-128",
        "columns": names,
        "inputs": [{"column": f, "encode": {"above": float(edge)}} for f, edge in questions],
        # Four bits and the padding bit.
        "input_step_bits": DEPTH + 1,
        "input_bits": 20,
        "rounds": [
            {
                "sums": sums,
                "lookup": {
                    "bits": DEPTH,
                    "precision": "exact",
                    "step_bits": LEAF_STEP_BITS,
                    "tables": tables,
                    "uses": list(range(len(tables))),
                },
            },
            {
                "sums": [
                    {
                        "terms": [[i, 1] for i in range(len(tables))],
                        "bias": int(round((sum(middles) + bias) / scale)),
                    }
                ]
            },
        ],
        "result": {
            "bits": TREES_RESULT_BITS,
            "precision": "rounded",
            "scores": [{"name": "log-odds of benign", "results": [0], "scale": scale, "offset": 0.0}],
            "decide": {"threshold": {"at": 0.0, "below": "malignant", "above": "benign"}},
        },
    }
    return program, lambda rows: model.predict(rows).astype(int)


def evaluate(program, row):
    """The program in the clear, as the Rust side has it: the score's integer."""
    values = []
    for item in program["inputs"]:
        x = row[item["column"]]
        if "above" in item["encode"]:
            values.append(int(x > item["encode"]["above"]))
        else:
            e = item["encode"]["scaled"]
            values.append(int(min(max(np.rint((x - e["offset"]) / e["step"]), e["min"]), e["max"])))
    for step in program["rounds"]:
        values = [sum(w * values[i] for i, w in s["terms"]) + s["bias"] for s in step["sums"]]
        if "lookup" in step:
            lookup = step["lookup"]
            values = [lookup["tables"][t][v] for v, t in zip(values, lookup["uses"])]
    return values[0]


def main():
    data = load_breast_cancer()
    names = [str(name) for name in data.feature_names]
    x, x_test, y, y_test = train_test_split(
        data.data, data.target, test_size=0.3, random_state=SEED, stratify=data.target
    )
    with open(HERE / "breast-cancer-test.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "label"])
        for row, label in zip(x_test, y_test):
            writer.writerow([*(repr(float(v)) for v in row), data.target_names[label]])
    print(f"{len(x)} rows to learn from, {len(x_test)} held out")
    for make in (linear_program, trees_program):
        program, predict = make(names, x, y)
        (HERE / f"{program['name']}.json").write_text(json.dumps(program, indent=1) + "\n")
        clear = predict(x_test)
        scores = np.array([evaluate(program, row) for row in x_test])
        quantised = (scores > 0).astype(int)
        closest = np.abs(scores).min() * program["result"]["scores"][0]["scale"]
        print(
            f"{program['name']}: accuracy {np.mean(clear == y_test):.4f} as trained, "
            f"{np.mean(quantised == y_test):.4f} quantised, {np.sum(clear != quantised)} labels differ; "
            f"the score closest to the threshold is {closest:.4f} away from it"
        )


if __name__ == "__main__":
    main()
