#!/usr/bin/env python3
"""Trains the models of this folder, as their users would, and writes them as their libraries do.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python train.py

Writes into trained/:
    breast-cancer-linear.onnx    logistic regression behind a scaler (scikit-learn)
    breast-cancer-tree.onnx      one decision tree of depth 4 (scikit-learn)
    breast-cancer-forest.onnx    a random forest of 20 trees of depth 4 (scikit-learn)
    breast-cancer-boosted.json   50 boosted trees of depth 3 (XGBoost)
    breast-cancer-trees.json     12 oblivious trees of depth 4 (CatBoost)
    breast-cancer-mlp.onnx       a network 30-16-1 (scikit-learn)
    digits-mlp.onnx              a network 64-32-10, made aware of quantisation (see qat.py)
    flows-boosted.json           30 boosted trees on network flows (XGBoost; see flows.py for where they come from)
and, for each data set, NAME-train.csv (for calibration) and beside this file NAME-test.csv (held out), with a label column.

`compile.sh` makes the programs of them. The same files come out of every run (fixed seeds, one thread).
"""

import csv
import json
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
import xgboost
from catboost import CatBoostClassifier
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import flows
import qat

HERE = Path(__file__).resolve().parent
TRAINED = HERE / "trained"
SEED = 7


def write_csv(path, names, rows, labels):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "label"])
        for row, label in zip(rows, labels):
            writer.writerow([*(repr(float(v)) for v in row), label])


def write_onnx(name, model, sample):
    exported = to_onnx(model, sample[:1].astype(np.float32), options={"zipmap": False}, target_opset=15)
    exported.producer_version = ""
    onnx.save(exported, TRAINED / f"{name}.onnx")


def report(name, model, x, y):
    print(f"{name}: accuracy {np.mean(np.asarray(model.predict(x)).ravel() == y):.4f} on {len(y)} held-out rows")


def breast_cancer():
    data = load_breast_cancer()
    names = [str(n) for n in data.feature_names]
    labels = data.target_names[data.target]
    x, x_test, y, y_test = train_test_split(
        data.data, labels, test_size=0.3, random_state=SEED, stratify=data.target
    )
    write_csv(TRAINED / "breast-cancer-train.csv", names, x, y)
    write_csv(HERE / "breast-cancer-test.csv", names, x_test, y_test)

    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=10_000, random_state=SEED)).fit(x, y)
    tree = DecisionTreeClassifier(max_depth=4, random_state=SEED).fit(x, y)
    forest = RandomForestClassifier(n_estimators=20, max_depth=4, random_state=SEED).fit(x, y)
    mlp = make_pipeline(
        StandardScaler(), MLPClassifier((16,), alpha=1e-2, max_iter=2000, random_state=SEED)
    ).fit(x, y)
    for name, model in [("linear", linear), ("tree", tree), ("forest", forest), ("mlp", mlp)]:
        report(f"breast-cancer-{name}", model, x_test, y_test)
        write_onnx(f"breast-cancer-{name}", model, x)
    print(f"  the tree has {tree.tree_.n_leaves} leaves; the forest {sum(t.tree_.n_leaves for t in forest)}")

    boosted = xgboost.XGBClassifier(
        n_estimators=50, max_depth=3, learning_rate=0.3, n_jobs=1, random_state=SEED, tree_method="exact"
    )
    boosted.fit(x, (y == "malignant").astype(int), verbose=False)
    print(f"breast-cancer-boosted: accuracy {np.mean((boosted.predict(x_test) == 1) == (y_test == 'malignant')):.4f}")
    boosted.get_booster().feature_names = names
    boosted.get_booster().save_model(TRAINED / "breast-cancer-boosted.json")

    oblivious = CatBoostClassifier(
        iterations=12, depth=4, learning_rate=0.5, random_seed=SEED, thread_count=1, verbose=False,
        allow_writing_files=False,
    ).fit(x, y, verbose=False)
    report("breast-cancer-trees", oblivious, x_test, y_test)
    oblivious.save_model(str(TRAINED / "breast-cancer-trees.json"), format="json")
    tidy_catboost(TRAINED / "breast-cancer-trees.json", names)


def tidy_catboost(path, names):
    """Times and identifiers of the run would make every run's file another one."""
    model = json.loads(path.read_text())
    for key in ("train_finish_time", "model_guid", "catboost_version_info"):
        model["model_info"].pop(key, None)
    for feature, name in zip(model["features_info"]["float_features"], names):
        feature["feature_name"] = name
    path.write_text(json.dumps(model, indent=1, sort_keys=True) + "\n")


def digits():
    data = load_digits()
    names = [f"pixel_{i // 8}_{i % 8}" for i in range(64)]
    x, x_test, y, y_test = train_test_split(
        data.data, data.target, test_size=0.3, random_state=SEED, stratify=data.target
    )
    write_csv(TRAINED / "digits-train.csv", names, x, y)
    write_csv(HERE / "digits-test.csv", names, x_test, y_test)
    float_model = MLPClassifier((32,), alpha=1e-2, max_iter=1000, random_state=SEED).fit(x / 16, y)
    report("digits-mlp, as trained", float_model, x_test / 16, y_test)
    network = qat.Network.of(float_model, input_scale=1 / 16).tune(x, y, seed=SEED)
    print(f"digits-mlp, aware of quantisation: accuracy {np.mean(network.predict(x_test) == y_test):.4f}")
    exported = network.onnx(labels=[int(c) for c in float_model.classes_])
    onnx.save(exported, TRAINED / "digits-mlp.onnx")


def network_flows():
    names, x, y = flows.make(4000, seed=SEED)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.5, random_state=SEED, stratify=y)
    write_csv(TRAINED / "flows-train.csv", names, x[:1000], y[:1000])
    write_csv(HERE / "flows-test.csv", names, x_test, y_test)
    boosted = xgboost.XGBClassifier(
        n_estimators=30, max_depth=3, learning_rate=0.3, n_jobs=1, random_state=SEED, tree_method="exact"
    )
    boosted.fit(x, (y == "attack").astype(int), verbose=False)
    predicted = boosted.predict(x_test) == 1
    attack = y_test == "attack"
    print(
        f"flows-boosted: accuracy {np.mean(predicted == attack):.4f}, "
        f"false positives {np.mean(predicted[~attack]):.4f}, found {np.mean(predicted[attack]):.4f}"
    )
    boosted.get_booster().feature_names = names
    boosted.get_booster().save_model(TRAINED / "flows-boosted.json")


if __name__ == "__main__":
    TRAINED.mkdir(exist_ok=True)
    breast_cancer()
    digits()
    network_flows()
