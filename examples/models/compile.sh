#!/usr/bin/env bash
# Makes the programs of this folder from what train.py and text.py trained. VEILGATE names the binary (default: veilgate).
set -euo pipefail
cd "$(dirname "$0")"
CANCER="Breast Cancer Wisconsin (Diagnostic): Wolberg, Mangasarian, Street and Street, 1993; UCI Machine Learning Repository, doi:10.24432/C5DW2B, CC BY 4.0."
DIGITS="Optical Recognition of Handwritten Digits: Alpaydin and Kaynak, 1998; UCI Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0."

compile() { # NAME FILE CALIBRATION DESCRIPTION MORE…
  "${VEILGATE:-veilgate}" model compile "trained/$2" --calibration "trained/$3" --name "$1" -o "$1.json" --description "$4" "${@:5}"
}
table() { # NAME FILE CALIBRATION DESCRIPTION [MORE…]: columns of numbers, and a label
  compile "$@" --label label
}
table breast-cancer-linear breast-cancer-linear.onnx breast-cancer-train.csv "Logistic regression. $CANCER"
table breast-cancer-tree breast-cancer-tree.onnx breast-cancer-train.csv "A decision tree of depth 4. $CANCER"
table breast-cancer-forest breast-cancer-forest.onnx breast-cancer-train.csv "A random forest of 20 trees of depth 4. $CANCER"
table breast-cancer-boosted breast-cancer-boosted.json breast-cancer-train.csv "50 boosted trees of depth 3. $CANCER" --labels benign,malignant
table breast-cancer-trees breast-cancer-trees.json breast-cancer-train.csv "12 oblivious trees of depth 4. $CANCER"
table breast-cancer-mlp breast-cancer-mlp.onnx breast-cancer-train.csv "A network 30-16-1. $CANCER"
table digits-mlp digits-mlp.onnx digits-train.csv "A network 64-32-10. $DIGITS"
table flows-boosted flows-boosted.json flows-train.csv "30 boosted trees on made-up network flows (flows.py)." --labels normal,attack
compile log-lines log-lines.onnx log-lines-train.csv "Is a log line one that somebody who watches over a system would want to see?" --text text
