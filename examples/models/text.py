#!/usr/bin/env python3
"""Trains a model of texts: is a log line one that somebody who watches over a system would want to see?

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python text.py

Writes trained/log-lines.onnx (logistic regression on 2048 hashed words), trained/log-lines-train.csv (for calibration) and log-lines-test.csv
(held out, half of it lines of sentences that were not trained on). The lines are made up: see loglines.py.
"""

import csv
from pathlib import Path

import numpy as np
import onnx
from skl2onnx import to_onnx
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

import loglines

HERE = Path(__file__).resolve().parent
TRAINED = HERE / "trained"
BUCKETS = 2048
SEED = 7
CALIBRATION_ROWS = 600
TEST_ROWS = 250


def main():
    TRAINED.mkdir(exist_ok=True)
    train, known, unseen = loglines.make(SEED)
    # Counts, without signs: the client makes the same ones from `text` in the program.
    hashed = HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None)
    features = lambda rows: hashed.transform([text for text, _ in rows])
    labels = lambda rows: [label for _, label in rows]
    model = LogisticRegression(C=0.3, max_iter=2000, random_state=SEED).fit(features(train), labels(train))
    for name, rows in (("new lines of known sentences", known), ("lines of sentences never seen", unseen)):
        print(f"log-lines: accuracy {model.score(features(rows), labels(rows)):.4f} on {len(rows)} {name}")
    exported = to_onnx(model, np.zeros((1, BUCKETS), np.float32), options={"zipmap": False}, target_opset=15)
    exported.producer_version = ""
    onnx.save(exported, TRAINED / "log-lines.onnx")
    write(TRAINED / "log-lines-train.csv", train[:CALIBRATION_ROWS])
    write(HERE / "log-lines-test.csv", known[:TEST_ROWS] + unseen[:TEST_ROWS])


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
