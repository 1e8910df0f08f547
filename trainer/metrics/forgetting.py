"""What a tuned model lost elsewhere: Gain, Drop, forward KL, and the projection RL is compared with. numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats of two distributions; infinite where q drops support of p."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    kept = p > 0
    with np.errstate(divide="ignore"):
        return float((p[kept] * (np.log(p[kept]) - np.log(q[kept]))).sum())


def i_projection(base: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """The nearest all-correct policy in KL(pi || base): base restricted to correct outputs and renormalised.

    One rejection-sampling (EM) step reaches it. Softmax policy gradient does not, in general.
    """
    restricted = np.asarray(base, float) * np.asarray(correct, bool)
    if restricted.sum() == 0:
        raise ValueError("i_projection: the base policy has no probability on any correct output")
    return restricted / restricted.sum()


def sampled_forward_kl(
    logp_base: Sequence[np.ndarray], logp_tuned: Sequence[np.ndarray], clip: float = 20.0
) -> dict[str, float]:
    """KL(base || tuned) from responses sampled by the base: per sequence and per token, log-ratios limited.

    Args:
        logp_base: token log-probabilities of each response under the base.
        logp_tuned: the same under the tuned policy.
        clip: bound on a token's log-ratio, since a dropped token would make the estimate infinite.
    """
    gaps = [np.clip(np.asarray(a) - np.asarray(b), -clip, clip) for a, b in zip(logp_base, logp_tuned, strict=True)]
    tokens = sum(len(g) for g in gaps)
    total = float(sum(g.sum() for g in gaps))
    nan = float("nan")
    return {"per_sequence": total / len(gaps) if gaps else nan, "per_token": total / tokens if tokens else nan}


@dataclass(frozen=True)
class Forgetting:
    """Gain on the target and Drop on prior tasks.

    Attributes:
        gain: accuracy on the target, tuned minus base.
        drop: mean over prior tasks of base minus tuned; positive = forgetting.
        drops: the same a task.
        cannot_drop: prior tasks the base could not do at all.
    """

    gain: float
    drop: float
    drops: dict[str, float]
    cannot_drop: tuple[str, ...]


def forgetting(base: Mapping[str, float], tuned: Mapping[str, float], target: str) -> Forgetting:
    """Gain and Drop (arXiv 2510.18874) from accuracies a task.

    Drop is positive for forgetting. Compare two methods at equal Gain only, see `drop_at_gain`.

    Raises:
        ValueError: if a task was evaluated on one side only.
    """
    if set(base) != set(tuned) or target not in base:
        missing = sorted(set(base) ^ set(tuned)) or [target]
        raise ValueError(f"forgetting needs every task on both sides; missing: {', '.join(missing)}")
    drops = {task: base[task] - tuned[task] for task in base if task != target}
    mean = float(np.mean(list(drops.values()))) if drops else float("nan")
    return Forgetting(tuned[target] - base[target], mean, drops, tuple(t for t in drops if base[t] == 0))


def drop_at_gain(curve: Sequence[tuple[float, float]], gain: float) -> float | None:
    """Drop interpolated at a given Gain along (gain, drop) points of one run; None when the run never got there."""
    points = sorted(curve)
    gains = [g for g, _ in points]
    if not points or not gains[0] <= gain <= gains[-1]:
        return None
    return float(np.interp(gain, gains, [d for _, d in points]))


def top1_flip_rate(base_top: Sequence[int], tuned_top: Sequence[int]) -> float:
    """Share of positions whose most likely token changed."""
    pairs = list(zip(base_top, tuned_top, strict=True))
    return sum(a != b for a, b in pairs) / len(pairs) if pairs else float("nan")
