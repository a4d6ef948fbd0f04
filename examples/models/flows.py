"""Network flows as a sensor at the edge sees them, made up: no data set of real flows may be shipped here.

Each kind of traffic is drawn from distributions with the shape that published studies of flow data report (heavy-tailed
sizes and durations, ports and flags that go with the service), and kinds overlap: a slow scan looks like a failed
connection, exfiltration like an upload. It shows what the pipeline does, and nothing about how good a detector is on your
network: train on your own flows.
"""

import numpy as np

NAMES = [
    "duration_s", "bytes_out", "bytes_in", "packets_out", "packets_in", "mean_gap_ms", "syn_count", "rst_count",
    "distinct_ports_1m", "distinct_hosts_1m", "failed_1m", "port_class", "tls", "entropy_out",
]
# (label, share): what it is and how often.
KINDS = [("web", 0.42), ("mail", 0.12), ("backup", 0.1), ("failed", 0.06), ("scan", 0.1), ("flood", 0.08), ("brute", 0.06), ("leak", 0.06)]
ATTACKS = {"scan", "flood", "brute", "leak"}


def draw(kind, r):
    log = lambda mean, spread: float(r.lognormal(np.log(mean), spread))
    count = lambda mean: float(r.poisson(mean))
    chance = lambda p: float(r.random() < p)
    shape = {
        "web": (log(2, 1.2), log(2e3, 1), log(4e4, 1.4), 0.02, 0.6, 1 + count(0.3), 1 + count(1.0), count(0.2), 0, chance(0.9), 6.5),
        "mail": (log(4, 0.9), log(2e4, 1.3), log(3e3, 0.8), 0.02, 0.3, 1 + count(0.2), 1 + count(0.5), count(0.2), 1, chance(0.85), 6.3),
        "backup": (log(120, 1), log(2e7, 1.5), log(2e4, 1), 0.01, 0.1, 1 + count(0.1), 1 + count(0.1), count(0.1), 2, chance(0.8), 7.6),
        "failed": (log(0.5, 1), log(200, 0.5), log(60, 0.6), 0.8, 1.0, 1 + count(2.0), 1 + count(2.0), count(3.0), 3, chance(0.2), 3.0),
        "scan": (log(0.2, 1), log(90, 0.5), log(50, 0.6), 0.9, 1.2, count(18.0), 1 + count(4.0), count(12.0), 3, chance(0.1), 2.5),
        "flood": (log(1, 0.8), log(4e3, 0.7), log(80, 0.9), 0.3, 9.0, 1 + count(0.5), 1 + count(0.3), count(2.0), 0, chance(0.3), 3.5),
        "brute": (log(2, 0.5), log(1500, 0.4), log(1500, 0.4), 0.4, 1.5, 1 + count(0.2), 1 + count(1.0), count(9.0), 2, chance(0.6), 6.0),
        "leak": (log(60, 0.9), log(6e6, 1.2), log(4e3, 0.8), 0.02, 0.2, 1 + count(0.1), 1 + count(0.1), count(0.3), 3, chance(0.7), 7.7),
    }[kind]
    duration, out, into, resets, syns, ports, hosts, failed, port_class, tls, entropy = shape
    packets_out, packets_in = max(1.0, out / log(700, 0.3)), max(0.0, into / log(900, 0.3))
    gap = 1000 * duration / (packets_out + packets_in + 1)
    if r.random() < 0.1:
        port_class = int(r.integers(4))
    return [
        duration, out, into, np.ceil(packets_out), np.ceil(packets_in), gap, np.ceil(syns + count(syns)), count(resets),
        ports, hosts, failed, port_class, tls, float(np.clip(r.normal(entropy, 0.5), 0, 8)),
    ]


def make(count, seed):
    r = np.random.default_rng(seed)
    kinds = r.choice(len(KINDS), size=count, p=[share for _, share in KINDS])
    rows = np.array([draw(KINDS[k][0], r) for k in kinds])
    # As a sensor prints them.
    rows = np.array([[float(f"{value:.6g}") for value in row] for row in rows])
    labels = np.array(["attack" if KINDS[k][0] in ATTACKS else "normal" for k in kinds])
    return NAMES, rows, labels
