"""How well do partition algorithms recover planted clusters from noisy pair verdicts, and at how many calls?

    python benchmarks/partition.py [--trials 1000] [--write docs/benchmarks/partition.md]

Clusters are planted by a Chinese restaurant process (alpha 2). The verdict of each pair is drawn once, symmetric and
independent: "same" with probability fp across clusters, "different" with probability fn within one. The methods run
through the sessions that also serve HTTP; only the judge is simulated. Exit code 1 when a cell misses its reference.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from palaestra.judges.partition import (
    PairOutcome,
    PartitionGroup,
    PartitionOptions,
    PartitionSession,
    adjusted_rand,
    cluster_sizes,
    darling_diversity,
)

METHODS = ("union_find", "greedy_first", "greedy_vote", "average_linkage", "corr_cluster")
CELLS = ((0.02, 0.1), (0.05, 0.1), (0.1, 0.1), (0.05, 0.25))
# Adjusted Rand index of the reference simulation, methods in the order above.
REFERENCE = {
    (8, 0.02, 0.1): (0.814, 0.811, 0.846, 0.872, 0.921),
    (8, 0.05, 0.1): (0.647, 0.743, 0.793, 0.824, 0.881),
    (8, 0.1, 0.1): (0.396, 0.628, 0.708, 0.730, 0.828),
    (8, 0.05, 0.25): (0.633, 0.588, 0.591, 0.629, 0.698),
    (16, 0.02, 0.1): (0.584, 0.799, 0.872, 0.933, 0.971),
    (16, 0.05, 0.1): (0.270, 0.720, 0.826, 0.881, 0.959),
    (16, 0.1, 0.1): (0.084, 0.613, 0.764, 0.805, 0.934),
    (16, 0.05, 0.25): (0.285, 0.546, 0.625, 0.715, 0.788),
}


def planted(n: int, rng: np.random.Generator, alpha: float = 2.0) -> np.ndarray:
    """Labels from a Chinese restaurant process."""
    labels = [0]
    for _ in range(n - 1):
        counts = np.bincount(labels)
        shares = np.append(counts, alpha) / (len(labels) + alpha)
        labels.append(int(rng.choice(len(shares), p=shares)))
    return np.array(labels)


def verdicts(labels: np.ndarray, fp: float, fn: float, rng: np.random.Generator) -> np.ndarray:
    """(N, N) symmetric matrix of "same" verdicts with errors."""
    same = labels[:, None] == labels[None, :]
    u = np.triu(rng.random(same.shape), k=1)
    u = u + u.T
    return np.where(same, u >= fn, u < fp)


def cell(n: int, fp: float, fn: float, method: str, trials: int, seed: int = 0) -> tuple[float, float, float, float]:
    """(ARI, error of the number of clusters, error of the diversity reward, calls), means over trials."""
    rng = np.random.default_rng([seed, n, round(1000 * fp), round(1000 * fn)])
    ids = [f"{i:03d}" for i in range(n)]
    sums = np.zeros(4)
    for trial in range(trials):
        true = planted(n, rng)
        said = verdicts(true, fp, fn, rng)
        session = PartitionSession(PartitionGroup("g", ids), PartitionOptions(method=method, seed=trial))
        while pairs := session.next_pairs():
            session.feed([PairOutcome(float(said[int(p.first), int(p.second)])) for p in pairs])
        found = session.labels
        reward_error = np.abs(
            darling_diversity(cluster_sizes(found.tolist()), 0.0) - darling_diversity(cluster_sizes(true.tolist()), 0.0)
        ).mean()
        clusters_error = abs(len(set(found.tolist())) - len(set(true.tolist())))
        sums += (adjusted_rand(found, true), clusters_error, reward_error, session.calls)
    ari, clusters, reward, calls = sums / trials
    return float(ari), float(clusters), float(reward), float(calls)


def main() -> int:
    """Run the table, print it and optionally write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="trials per cell (default 1000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32], help="group sizes")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    args = parser.parse_args()
    started = time.perf_counter()
    lines = [
        "| N | fp | fn | method | ARI | reference ARI | error of number of clusters | error of diversity | calls |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    good = True
    for n in args.sizes:
        for fp, fn in CELLS:
            for k, method in enumerate(METHODS):
                trials = args.trials if n <= 16 else max(args.trials // 4, 1)
                ari, clusters, reward, calls = cell(n, fp, fn, method, trials)
                reference = REFERENCE.get((n, fp, fn), (None,) * len(METHODS))[k]
                good &= reference is None or ari >= reference - 0.03 - 1.0 / np.sqrt(trials) * (trials < 1000)
                lines.append(
                    f"| {n} | {fp} | {fn} | {method} | {ari:.3f} | {'-' if reference is None else f'{reference:.3f}'} "
                    f"| {clusters:.2f} | {reward:.3f} | {calls:.1f} |"
                )
                print(lines[-1], flush=True)
    print(f"{'all cells reach their reference' if good else 'A CELL MISSED'}; {time.perf_counter() - started:.0f} s")
    if args.write:
        args.write.write_text(
            "# Partition: accuracy and calls\n\n"
            f"Produced by `python benchmarks/partition.py`, {args.trials} trials per cell (a quarter at N = 32). "
            'Planted clusters, independent verdict errors: `fp` is the rate of "same" across clusters, `fn` the rate '
            'of "different" within one. ARI is the adjusted Rand index; the error of diversity is the mean absolute '
            "error of (N - |C|) / (N - 1). The reference column comes from another simulation "
            "of the same model.\n\n" + "\n".join(lines) + "\n"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
