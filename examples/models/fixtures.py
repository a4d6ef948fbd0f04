#!/usr/bin/env python3
"""Trains a small model of every kind that crates/models reads, and writes what the library itself makes of some rows.

    python3 -m venv venv && venv/bin/pip install -r requirements-fixtures.txt && venv/bin/python fixtures.py

Writes into crates/models/tests/data, for each model NAME: the model file, and NAME.csv with one line a row:
    x0, x1, …      the input, as f64; empty is missing
    raw0, …        the library's raw scores, where it gives them
    out0, …        its prediction or probabilities (of two classes: of the second)
    label          its label; empty for a regression

Some rows lie on a threshold, and as little beside it as an f64 can: libraries that round to f32 must be followed there.
The same files come out of every run (fixed seeds, one thread). Networks are trained by scikit-learn; those that are to look
as PyTorch exports them are put together here, operator by operator.
"""

import csv
import json
import os
import re
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import catboost
import lightgbm
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_linnerud, load_wine
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "crates" / "models" / "tests" / "data"
SEED = 7
ROWS = 24
EDGE_ROWS = 12
FEATURES = 10  # of the breast cancer data set's 30: the rest would only make files longer

# skl2onnx gives booleans where integers are wanted, which onnx refuses since 1.23.
plain_attribute = helper.make_attribute


def attribute_of_integers(key, value, *args, **kwargs):
    if isinstance(value, (list, np.ndarray)) and any(isinstance(v, (bool, np.bool_)) for v in value):
        value = [int(v) for v in value]
    return plain_attribute(key, value, *args, **kwargs)


helper.make_attribute = attribute_of_integers


def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return x[:, :FEATURES], y


def wine():
    return load_wine(return_X_y=True)


def diabetes():
    return load_diabetes(return_X_y=True, scaled=False)


def digits():
    return load_digits(return_X_y=True)


def with_missing(data):
    x, y = data
    x = x.copy()
    rng = np.random.default_rng(SEED)
    x[rng.random(x.shape) < 0.15] = np.nan
    return x, y


def rows_of(x, thresholds=()):
    """Some rows of the data, and some that lie on a threshold or right beside it."""
    rng = np.random.default_rng(SEED)
    rows = [x[i].copy() for i in rng.choice(len(x), min(ROWS, len(x)), replace=False)]
    thresholds = [(f, t) for f, t in thresholds if np.isfinite(t)]
    for i in range(EDGE_ROWS if thresholds else 0):
        feature, t = thresholds[i * len(thresholds) // EDGE_ROWS]
        row = x[rng.integers(len(x))].copy()
        t32 = np.float32(t)
        middle = (float(t32) + float(np.nextafter(t32, np.float32(np.inf)))) / 2
        below = (float(t32) + float(np.nextafter(t32, np.float32(-np.inf)))) / 2
        row[feature] = [
            float(t), np.nextafter(t, np.inf), np.nextafter(t, -np.inf),
            middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf),
            below, np.nextafter(below, np.inf), np.nextafter(below, -np.inf),
        ][i % 9]
        rows.append(row)
    return np.array(rows)


def columns(values):
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), -1)


def write(name, ending, content, x, raw, out, labels):
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / f"{name}.{ending}").write_bytes(content)
    raw = columns(raw) if raw is not None else np.zeros((len(x), 0))
    out = columns(out)
    with open(DATA / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [f"{k}{i}" for k, m in (("x", x), ("raw", raw), ("out", out)) for i in range(m.shape[1])]
        writer.writerow(names + ["label"])
        for i in range(len(x)):
            numbers = [v for m in (x, raw, out) for v in m[i]]
            label = "" if labels is None else str(labels[i])
            writer.writerow(["" if np.isnan(v) else repr(float(v)) for v in numbers] + [label])
    print(f"{name}.{ending}: {len(content)} bytes, {len(x)} rows")


# ---- ONNX, with onnxruntime as the library ----


def write_onnx(name, model, x, out=None, label=None, second=False, double=False, named=False, implied=False):
    """`out` and `label` are the places of those outputs; `second`: two columns, of which the second counts."""
    model.producer_version = ""
    # skl2onnx takes them from a set, whose order changes from run to run.
    opsets = sorted({(o.domain, o.version) for o in model.opset_import})
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*o) for o in opsets)
    content = model.SerializeToString(deterministic=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options)
    fed = x if double else x.astype(np.float32)
    if named:
        feed = {info.name: fed[:, i : i + 1] for i, info in enumerate(session.get_inputs())}
    else:
        info = session.get_inputs()[0]
        feed = {info.name: fed.reshape([len(x)] + list(info.shape[1:]))}
    found = session.run(None, feed)
    values = found[out]
    if isinstance(values, list):  # ZipMap: a list of dictionaries
        values = [list(row.values()) for row in values]
    values = columns(values)
    if second:
        values = values[:, 1:]
    labels = None if label is None else [str(v) for v in np.asarray(found[label]).ravel()]
    if implied:  # probabilities without a label: the likelier class by its number
        labels = values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0.5).astype(int)
    write(name, "onnx", content, x, None, values, labels)


def ensemble_thresholds(model):
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if "nodes_values" in attributes:
            split = [m != b"LEAF" for m in attributes["nodes_modes"]]
            return [(f, t) for f, t, s in zip(attributes["nodes_featureids"], attributes["nodes_values"], split) if s]
    return []


def sklearn_model(name, model, data, classes=0, double=False, zipmap=True):
    x, y = data
    model.fit(x, y)
    kind = np.float64 if double else np.float32
    made = to_onnx(model, x[:1].astype(kind), options=None if zipmap or not classes else {"zipmap": False})
    if double:  # declared as double, which the operator does not give
        made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    thresholds = ensemble_thresholds(made)
    for node in made.graph.node:
        if node.op_type == "Scaler":  # back to where the input is on the threshold, or next to it
            by = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            thresholds = [(f, t / by["scale"][f] + by["offset"][f]) for f, t in thresholds]
    rows = rows_of(x, thresholds)
    if classes:
        write_onnx(name, made, rows, out=1, label=0, second=classes == 2, double=double)
    else:
        write_onnx(name, made, rows, out=0, double=double)


def scikit_learn():
    few = dict(random_state=SEED)
    sklearn_model("onnx-logistic", make_pipeline(StandardScaler(), LogisticRegression()), cancer(), 2)
    sklearn_model("onnx-logistic-classes", make_pipeline(MinMaxScaler(), LogisticRegression()), wine(), 3)
    sklearn_model("onnx-ridge", Ridge(), diabetes())
    sklearn_model("onnx-ridge-targets", make_pipeline(StandardScaler(), Ridge()), load_linnerud(return_X_y=True))
    sklearn_model("onnx-poisson", make_pipeline(StandardScaler(), PoissonRegressor()), diabetes())
    for name, (x, y) in (("onnx-svc", cancer()), ("onnx-svc-classes", wine())):
        svc = LinearSVC(**few).fit(StandardScaler().fit_transform(x), y)
        x = StandardScaler().fit_transform(x)
        made = to_onnx(svc, x[:1].astype(np.float32))
        write_onnx(name, made, rows_of(x), out=1, label=0)
    x, y = cancer()
    x = StandardScaler().fit_transform(x)
    made = to_onnx(RidgeClassifier().fit(x, y), x[:1].astype(np.float32))
    write_onnx("onnx-ridge-classifier", made, rows_of(x), out=1, label=0)
    made = to_onnx(SGDClassifier(**few).fit(x, y), x[:1].astype(np.float32))
    write_onnx("onnx-sgd", made, rows_of(x), out=1, label=0, second=True)

    sklearn_model("onnx-tree", DecisionTreeClassifier(max_depth=4, **few), cancer(), 2)
    sklearn_model("onnx-tree-classes", DecisionTreeClassifier(max_depth=4, **few), wine(), 3, zipmap=False)
    sklearn_model("onnx-tree-double", DecisionTreeRegressor(max_depth=4, **few), diabetes(), double=True)
    sklearn_model("onnx-forest", RandomForestClassifier(6, max_depth=4, n_jobs=1, **few), cancer(), 2)
    names = wine()[0], np.array(["barolo", "grignolino", "barbera"])[wine()[1]]
    sklearn_model("onnx-forest-names", RandomForestClassifier(6, max_depth=3, n_jobs=1, **few), names, 3)
    sklearn_model("onnx-extra-trees", ExtraTreesRegressor(6, max_depth=4, n_jobs=1, **few), diabetes())
    boosted = dict(n_estimators=8, max_depth=3, **few)
    sklearn_model("onnx-boosting", GradientBoostingClassifier(**boosted), cancer(), 2)
    sklearn_model("onnx-boosting-classes", GradientBoostingClassifier(**boosted), wine(), 3)
    sklearn_model("onnx-boosting-value", GradientBoostingRegressor(**boosted), diabetes())
    scaled = make_pipeline(StandardScaler(), GradientBoostingClassifier(**boosted))
    sklearn_model("onnx-boosting-scaled", scaled, cancer(), 2)
    hist = dict(max_iter=8, max_depth=3, **few)
    sklearn_model("onnx-hist", HistGradientBoostingClassifier(**hist), with_missing(cancer()), 2)
    sklearn_model("onnx-hist-value", HistGradientBoostingRegressor(**hist), with_missing(diabetes()))
    # A column whose values say nothing, but whether they are there does: a split at infinity.
    x, y = cancer()
    x = x[:, :4].copy()
    x[:, 3] = np.where(y == 1, np.nan, 1.0)
    sklearn_model("onnx-hist-missing-only", HistGradientBoostingClassifier(**hist), (x, y), 2)

    quick = dict(max_iter=120, **few)
    sklearn_model("onnx-mlp", make_pipeline(StandardScaler(), MLPClassifier((8,), **quick)), cancer(), 2)
    tanh = MLPClassifier((6, 5), activation="tanh", **quick)
    sklearn_model("onnx-mlp-classes", make_pipeline(StandardScaler(), tanh), wine(), 3)
    sigmoid = MLPRegressor(hidden_layer_sizes=(6,), activation="logistic", **quick)
    sklearn_model("onnx-mlp-value", make_pipeline(StandardScaler(), sigmoid), diabetes())

    # One named input a column, some of them scaled.
    x, y = cancer()
    x = x[:, :4]
    chosen = ColumnTransformer([("a", StandardScaler(), [2, 0]), ("b", MinMaxScaler(), [3])])
    model = make_pipeline(chosen, LogisticRegression()).fit(x, y)
    types = [(f"column_{i}", FloatTensorType([None, 1])) for i in range(4)]
    made = to_onnx(model, initial_types=types)
    write_onnx("onnx-columns", made, rows_of(x), out=1, label=0, second=True, named=True)


# ---- ONNX, in the shapes of other exporters ----


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def assemble(nodes, constants, shape, outputs, domain_ml=None, opset=18):
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch"] + shape)]
    made = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    graph = helper.make_graph(nodes, "main_graph", inputs, made, [tensor(k, v) for k, v in constants.items()])
    opsets = [helper.make_opsetid("", opset)]
    if domain_ml:
        opsets.append(helper.make_opsetid("ai.onnx.ml", domain_ml))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def other_exporters():
    node = helper.make_node
    # torch.nn.Sequential(Flatten, Linear, ReLU6, Linear, LogSoftmax) on pictures.
    x, y = digits()
    network = MLPClassifier((12,), max_iter=80, random_state=SEED).fit(x / 16.0, y)
    (w1, w2), (b1, b2) = network.coefs_, network.intercepts_
    f32 = lambda a: np.ascontiguousarray(a, dtype=np.float32)
    constants = {"0.weight": f32(w1.T / 16.0), "0.bias": f32(b1), "2.weight": f32(w2.T), "2.bias": f32(b2)}
    nodes = [
        node("Flatten", ["input"], ["flat"], axis=1),
        node("Gemm", ["flat", "0.weight", "0.bias"], ["/0/Gemm"], alpha=1.0, beta=1.0, transB=1),
        node("Constant", [], ["low"], value=tensor("", np.float32(0.0))),
        node("Constant", [], ["high"], value=tensor("", np.float32(6.0))),
        node("Clip", ["/0/Gemm", "low", "high"], ["/1/Clip"]),
        node("Gemm", ["/1/Clip", "2.weight", "2.bias"], ["logits"], alpha=1.0, beta=1.0, transB=1),
    ]
    rows = rows_of(x)
    write_onnx("torch-digits", assemble(nodes, constants, [1, 8, 8], ["logits"]), rows, out=0)
    nodes += [node("Softmax", ["logits"], ["output"], axis=1)]
    write_onnx("torch-digits-softmax", assemble(nodes, constants, [1, 8, 8], ["output"]), rows, out=0, implied=True)

    # Normalisation in the graph, MatMul and Add with the constant first, one sigmoid at the end.
    x, y = cancer()
    mean, std = x.mean(axis=0), x.std(axis=0)
    network = MLPClassifier((6, 4), max_iter=120, random_state=SEED).fit((x - mean) / std, y)
    constants = {"mean": f32(mean), "std": f32(std)}
    nodes = [node("Sub", ["input", "mean"], ["s0"]), node("Div", ["s0", "std"], ["h0"])]
    for i, (w, b) in enumerate(zip(network.coefs_, network.intercepts_)):
        constants |= {f"w{i}": f32(w), f"b{i}": f32(b)}
        last = i == len(network.coefs_) - 1
        nodes += [
            node("MatMul", [f"h{i}", f"w{i}"], [f"m{i}"]),
            node("Add", [f"b{i}", f"m{i}"], [f"a{i}"]),
            node("Sigmoid" if last else "Relu", [f"a{i}"], ["output" if last else f"h{i + 1}"]),
        ]
    write_onnx("torch-sigmoid", assemble(nodes, constants, [FEATURES], ["output"]), rows_of(x), out=0, implied=True)

    # TreeEnsemble of ai.onnx.ml 5: x0 < 14, then x1 >= 20 or a leaf; a tree of one leaf.
    ensemble = node(
        "TreeEnsemble", ["input"], ["output"], domain="ai.onnx.ml", n_targets=2, aggregate_function=1, post_transform=0,
        tree_roots=[0, 2], nodes_modes=tensor("m", np.array([1, 2, 0], np.uint8)), nodes_featureids=[0, 1, 0],
        nodes_splits=tensor("s", f32([14.0, 20.25, 0.0])), nodes_truenodeids=[1, 0, 3], nodes_trueleafs=[0, 1, 1],
        nodes_falsenodeids=[2, 1, 3], nodes_falseleafs=[1, 1, 1], nodes_missing_value_tracks_true=[1, 0, 0],
        leaf_targetids=[0, 1, 0, 1], leaf_weights=tensor("w", f32([1.5, -2.25, 0.75, 0.125])),
    )
    rows = rows_of(with_missing(cancer())[0], [(0, 14.0), (1, 20.25)])
    write_onnx("onnx-ensemble-5", assemble([ensemble], {}, [FEATURES], ["output"], 5), rows, out=0)


# ---- XGBoost ----


def xgboost_model(name, data, params, rounds=8, classes=0, names=None):
    x, y = data
    params = {"max_depth": 3, "seed": SEED, "nthread": 1, "tree_method": "hist", **params}
    booster = xgboost.train(params, xgboost.DMatrix(x, label=y, feature_names=names), rounds)
    content = bytes(booster.save_raw("json"))
    model = json.loads(content)["learner"]["gradient_booster"]
    trees = model.get("gbtree", model).get("model", {}).get("trees", [])
    splits = [
        (t["split_indices"][i], t["split_conditions"][i])
        for t in trees
        for i in range(len(t["left_children"]))
        if t["left_children"][i] != -1
    ]
    rows = rows_of(x, splits)
    matrix = xgboost.DMatrix(rows, feature_names=names)
    # Without this, dart drops trees while it predicts.
    raw = booster.predict(matrix, output_margin=True, training=False)
    out = booster.predict(matrix, training=False)
    labels = None
    if classes == 2:
        labels = (columns(raw)[:, 0] > 0).astype(int)
    elif classes:
        labels = columns(raw).argmax(axis=1)
    if params.get("objective") == "multi:softmax":
        shares = np.exp(columns(raw) - columns(raw).max(axis=1, keepdims=True))
        out = shares / shares.sum(axis=1, keepdims=True)
    write(name, "json", content, rows, raw, out, labels)


def xgboost_models():
    two = {"objective": "binary:logistic"}
    xgboost_model("xgboost-binary", with_missing(cancer()), two, classes=2, names=[f"cell {i}" for i in range(FEATURES)])
    xgboost_model("xgboost-raw", cancer(), {"objective": "binary:logitraw"}, classes=2)
    xgboost_model("xgboost-base", cancer(), {**two, "base_score": 0.3}, classes=2)
    forest = {"num_parallel_tree": 2, "subsample": 0.7}
    xgboost_model("xgboost-classes", wine(), {"objective": "multi:softprob", "num_class": 3, **forest}, 3, classes=3)
    xgboost_model("xgboost-softmax", with_missing(wine()), {"objective": "multi:softmax", "num_class": 3}, 3, classes=3)
    xgboost_model("xgboost-value", with_missing(diabetes()), {"objective": "reg:squarederror"})
    xgboost_model("xgboost-poisson", diabetes(), {"objective": "count:poisson"})
    xgboost_model("xgboost-gamma", diabetes(), {"objective": "reg:gamma"})
    x, y = cancer()
    xgboost_model("xgboost-logistic-value", (x, y * 0.9), {"objective": "reg:logistic"})
    xgboost_model("xgboost-rank", (x, y), {"objective": "rank:pairwise"})
    xgboost_model("xgboost-dart", cancer(), {**two, "booster": "dart", "rate_drop": 0.5}, classes=2)
    xgboost_model("xgboost-targets", load_linnerud(return_X_y=True), {"objective": "reg:squarederror"}, 4)
    linear = {"booster": "gblinear", "updater": "coord_descent", "tree_method": None, "max_depth": None}
    linear = {k: v for k, v in linear.items() if v is not None}
    xgboost_model("xgboost-linear", (x / x.max(axis=0), y), {**two, **linear}, classes=2)
    x, y = wine()
    softprob = {"objective": "multi:softprob", "num_class": 3}
    xgboost_model("xgboost-linear-classes", (x / x.max(axis=0), y), {**softprob, **linear}, classes=3)


# ---- LightGBM ----


def lightgbm_model(name, data, params, rounds=8, classes=0, names="auto"):
    x, y = data
    sigmoid = params.get("sigmoid", 1.0)
    params = {"max_depth": 3, "num_leaves": 8, "seed": SEED, "num_threads": 1, "deterministic": True, "verbose": -1, **params}
    booster = lightgbm.train(params, lightgbm.Dataset(x, label=y, feature_name=names), rounds)
    content = booster.model_to_string().encode()
    # The parameters, and what only tells how it was trained, are not part of the model.
    splits = []
    for block in content.decode().split("Tree=")[1:]:
        fields = dict(re.findall(r"^(\w+)=(.*)$", block, re.M))
        splits += zip(map(int, fields.get("split_feature", "").split()), map(float, fields.get("threshold", "").split()))
    rows = rows_of(x, splits)
    raw = booster.predict(rows, raw_score=True)
    if params.get("boosting") == "rf":  # raw is the sum here, but predictions are made of the mean
        raw = raw / rounds
    out = booster.predict(rows)
    labels = None
    if classes == 2:
        labels = (raw > 0).astype(int)
    elif classes:
        labels = out.argmax(axis=1)
    write(name, "txt", content, rows, raw * sigmoid, out, labels)


def lightgbm_models():
    lightgbm_model("lightgbm-binary", with_missing(cancer()), {"objective": "binary"}, classes=2)
    lightgbm_model("lightgbm-sigmoid", cancer(), {"objective": "binary", "sigmoid": 2.0}, classes=2,
                   names=[f"cell_{i}" for i in range(FEATURES)])
    lightgbm_model("lightgbm-classes", with_missing(wine()), {"objective": "multiclass", "num_class": 3}, 3, classes=3)
    lightgbm_model("lightgbm-ova", wine(), {"objective": "multiclassova", "num_class": 3}, 3, classes=3)
    lightgbm_model("lightgbm-value", with_missing(diabetes()), {"objective": "regression"})
    lightgbm_model("lightgbm-poisson", diabetes(), {"objective": "poisson"})
    x, y = cancer()
    lightgbm_model("lightgbm-cross-entropy", (x, y * 0.8 + 0.1), {"objective": "cross_entropy"})
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
    lightgbm_model("lightgbm-forest", diabetes(), {"objective": "regression", **forest})
    lightgbm_model("lightgbm-forest-binary", cancer(), {"objective": "binary", **forest}, classes=2)
    # NaN in rows of a model that was trained without any.
    x, y = with_missing(cancer())
    lightgbm_model("lightgbm-no-missing", (np.nan_to_num(x, nan=1.0), y), {"objective": "binary", "use_missing": False}, classes=2)


# ---- CatBoost ----


def catboost_model(name, data, kind, classes=0, names=None, **params):
    x, y = data
    model = kind(
        iterations=6, depth=3, random_seed=SEED, thread_count=1, verbose=0, allow_writing_files=False, border_count=32, **params
    )
    model.fit(catboost.Pool(x, y, feature_names=names))
    path = DATA / f"{name}.json"
    DATA.mkdir(parents=True, exist_ok=True)
    model.save_model(str(path), format="json")
    parsed = json.loads(path.read_text())
    # What says when and how it was trained differs between runs, and is no part of the model.
    info = parsed["model_info"]
    loss = info["params"]["loss_function"]
    parsed["model_info"] = {k: info[k] for k in ("class_params",) if k in info} | {"params": {"loss_function": loss}}
    content = json.dumps(parsed, sort_keys=True).encode()
    splits = [(f["feature_index"], b) for f in parsed["features_info"]["float_features"] for b in f["borders"] or []]
    rows = rows_of(x, splits)
    raw = model.predict(rows, prediction_type="RawFormulaVal")
    labels = None
    if classes:
        out = model.predict_proba(rows)
        out = out[:, 1:] if classes == 2 else out
        labels = np.asarray(model.predict(rows)).ravel()
    elif loss["type"] in ("Poisson", "Tweedie"):
        out = model.predict(rows, prediction_type="Exponent")
    else:
        out = raw
    write(name, "json", content, rows, raw, out, labels)


def catboost_models():
    classifier, regressor = catboost.CatBoostClassifier, catboost.CatBoostRegressor
    catboost_model("catboost-binary", with_missing(cancer()), classifier, 2, [f"cell {i}" for i in range(FEATURES)])
    catboost_model("catboost-max", with_missing(cancer()), classifier, 2, nan_mode="Max")
    x, y = wine()
    catboost_model("catboost-classes", (x, np.array(["barolo", "grignolino", "barbera"])[y]), classifier, 3)
    catboost_model("catboost-ova", (x, y), classifier, 3, loss_function="MultiClassOneVsAll")
    catboost_model("catboost-value", with_missing(diabetes()), regressor)
    catboost_model("catboost-poisson", diabetes(), regressor, loss_function="Poisson")
    catboost_model("catboost-targets", load_linnerud(return_X_y=True), regressor, loss_function="MultiRMSE")
    catboost_model("catboost-lossguide", with_missing(diabetes()), regressor, grow_policy="Lossguide")
    catboost_model("catboost-depthwise", (x, y), classifier, 3, grow_policy="Depthwise")


if __name__ == "__main__":
    scikit_learn()
    other_exporters()
    xgboost_models()
    lightgbm_models()
    catboost_models()
