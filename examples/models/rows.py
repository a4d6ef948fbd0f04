#!/usr/bin/env python3
"""Many rows for `veilgate model evaluate`, of which a test file alone has too few to count rare differences.

    rows.py NAME [--between N] > rows.csv      NAME: breast-cancer, digits, flows

Writes the held-out rows, then those that were trained on. With --between, N new rows in their stead, each a mix of two
rows of the same class. The same rows come out of every run. They tell how often encryption changes a label, and nothing
about how good a model is, which has seen most of them.
"""

import argparse
import csv
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 7


def read(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def between(rows, count):
    random.seed(SEED)
    classes = {}
    for row in rows:
        classes.setdefault(row[-1], []).append(row)
    for _ in range(count):
        one = random.choice(rows)
        other = random.choice(classes[one[-1]])
        share = random.random()
        mixed = (float(a) * share + float(b) * (1 - share) for a, b in zip(one[:-1], other[:-1]))
        yield [*map(repr, mixed), one[-1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["breast-cancer", "digits", "flows"])
    parser.add_argument("--between", type=int, metavar="N")
    args = parser.parse_args()
    header, rows = read(HERE / f"{args.name}-test.csv")
    rows += read(HERE / "trained" / f"{args.name}-train.csv")[1]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows if args.between is None else between(rows, args.between))


if __name__ == "__main__":
    main()
