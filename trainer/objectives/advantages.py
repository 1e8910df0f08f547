"""Advantage estimators: rewards of a batch in, one number a rollout out. Pure numpy.

Unscored rollouts (nan rewards) are seen by no statistic and get advantage 0; a group with fewer than two scored
rollouts has no baseline and gets 0 too. Standard deviations are unbiased (ddof 1) unless a parameter says otherwise,
and eps is added outside the root.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np

from .types import RolloutBatch

Scale = Literal["none", "group", "batch", "task"]


def _std(values: np.ndarray, ddof: int) -> float:
    """Standard deviation, 0 for fewer than two values and for values that differ by rounding only."""
    if len(values) < 2:
        return 0.0
    std = float(np.std(values, ddof=ddof))
    return std if std > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0


def _scored_groups(batch: RolloutBatch) -> list[np.ndarray]:
    """Index arrays of the scored rollouts of each group with a baseline (at least two of them)."""
    groups, alone = [], 0
    for index in batch.groups():
        scored = index[batch.scored_B[index]]
        if len(scored) >= 2:
            groups.append(scored)
        alone += len(scored) == 1
    if alone:
        warnings.warn(
            f"{alone} group(s) have one scored rollout and therefore no baseline: their advantage is 0. "
            "Use rollout.group_size >= 2",
            stacklevel=3,
        )
    return groups


def group_advantage(batch: RolloutBatch, scale: Scale = "group", eps: float = 1e-6, ddof: int = 1) -> np.ndarray:
    """Reward minus the mean of its group, divided by a standard deviation over a group, the batch or a task family.

    Args:
        batch: rewards_B, group_ids_B and, for ``scale="task"``, task_types.
        scale: whose standard deviation divides: ``group`` (GRPO, arXiv 2402.03300), ``none`` (Dr.GRPO,
            arXiv 2503.20783), ``batch``, or ``task``: all rollouts of the same task family in this batch
            (QwenLong-L1.5, arXiv 2512.12967).
        eps: added to the standard deviation.
        ddof: 1 divides by n-1, 0 by n.

    Returns:
        Advantages [B], 0 where there is nothing to compare.
    """
    advantages_B = np.zeros(len(batch))
    for index in _scored_groups(batch):
        rewards = batch.rewards_B[index]
        centred, std = rewards - rewards.mean(), _std(rewards, ddof)
        if std > 0:
            advantages_B[index] = centred / (std + eps) if scale == "group" else centred
    if scale in ("batch", "task"):
        for index in _families(batch, scale):
            std = _std(batch.rewards_B[index], ddof)
            advantages_B[index] = advantages_B[index] / (std + eps) if std > 0 else 0.0
    return advantages_B


def _families(batch: RolloutBatch, scale: Scale) -> list[np.ndarray]:
    """Scored rollouts of the whole batch, or of each task family."""
    if scale == "batch" or not batch.task_types:
        return [np.flatnonzero(batch.scored_B)]
    types = np.array(batch.task_types)
    return [np.flatnonzero((types == name) & batch.scored_B) for name in dict.fromkeys(batch.task_types)]


def leave_one_out(batch: RolloutBatch) -> np.ndarray:
    """Reward minus the mean of the other rollouts of its group (RLOO, arXiv 2402.14740): an unbiased baseline."""
    advantages_B = np.zeros(len(batch))
    for index in _scored_groups(batch):
        rewards = batch.rewards_B[index]
        advantages_B[index] = (rewards - rewards.mean()) * len(index) / (len(index) - 1)
    return advantages_B


def plain_returns(batch: RolloutBatch, baseline: Literal["none", "batch"] = "none") -> np.ndarray:
    """The reward itself (REINFORCE), optionally minus the mean over the batch."""
    scored = batch.scored_B
    mean = batch.rewards_B[scored].mean() if baseline == "batch" and scored.any() else 0.0
    return np.where(scored, np.nan_to_num(batch.rewards_B) - mean, 0.0)


def whitened_returns(
    batch: RolloutBatch, gamma: float = 1.0, group_baseline: bool = False, eps: float = 1e-8
) -> np.ndarray:
    """Discounted returns whitened over all sampled tokens of the batch (REINFORCE++, arXiv 2501.03262).

    Args:
        batch: rewards_B and lengths_B (rollouts without lengths count as one token).
        gamma: discount a token; the reward arrives at the last token.
        group_baseline: subtract the group mean first (the "-baseline" form).
        eps: added to the standard deviation.

    Returns:
        [B] for gamma 1, else [B, T] with T the longest rollout; 0 where all returns are equal.
    """
    lengths_B = np.ones(len(batch), int) if batch.lengths_B is None else batch.lengths_B.astype(int)
    rewards_B = group_advantage(batch, "none") if group_baseline else np.nan_to_num(batch.rewards_B)
    width = max(int(lengths_B.max(initial=0)), 1)
    to_go_BT = (lengths_B - 1)[:, None] - np.arange(width)[None, :]
    valid_BT = (to_go_BT >= 0) & batch.scored_B[:, None]
    returns_BT = rewards_B[:, None] * gamma ** np.maximum(to_go_BT, 0)
    tokens = returns_BT[valid_BT]
    std = _std(tokens, ddof=1)
    if std == 0.0:
        return np.zeros(len(batch)) if gamma == 1.0 else np.zeros((len(batch), width))
    white_BT = np.where(valid_BT, (returns_BT - tokens.mean()) / (std + eps), 0.0)
    return white_BT[:, 0] if gamma == 1.0 else white_BT


def signed_rewards(batch: RolloutBatch, positive: float = 1.0, negative: float = 1.0) -> np.ndarray:
    """`positive` for a correct rollout, minus `negative` for a wrong one (PSR, NSR, W-REINFORCE; arXiv 2506.01347).

    Raises:
        ValueError: if a reward is neither 0 nor 1.
    """
    require_binary(batch.rewards_B[batch.scored_B], "PSR / NSR / W-REINFORCE")
    correct_B = batch.rewards_B == 1.0
    return np.where(batch.scored_B, np.where(correct_B, positive, -negative), 0.0)


def require_binary(rewards: np.ndarray, method: str) -> None:
    """Refuse rewards other than 0 and 1 for methods that are defined on right and wrong alone."""
    bad = rewards[(rewards != 0.0) & (rewards != 1.0)]
    if len(bad):
        raise ValueError(
            f"{method} is defined for rewards 0 and 1, found {bad[0]:g}; "
            "use an environment with right/wrong rewards, or another objective such as grpo"
        )


def pass_at_k_advantage(batch: RolloutBatch, k: int, eps: float = 1e-6) -> np.ndarray:
    """Analytic advantage of pass@k for n samples of which c are correct (arXiv 2508.10751).

    The group sum is 0 for every c. Groups with no failure or no success get 0, and so do groups in which judging
    failed so often that fewer than k rollouts are scored.

    Raises:
        ValueError: if k exceeds the size of a group or a reward is not 0 or 1.
    """
    advantages_B = np.zeros(len(batch))
    smallest = min((len(index) for index in batch.groups()), default=k)
    if k > smallest:
        raise ValueError(f"pass_at_k.k is {k} but a group has {smallest} rollouts; use k <= rollout.group_size")
    for index in _scored_groups(batch):
        rewards = batch.rewards_B[index]
        require_binary(rewards, "the analytic pass@k advantage")
        n, c = len(index), int(rewards.sum())
        if k > n:
            continue
        rho = 1 - math.comb(n - c, k) / math.comb(n, k)
        sigma = math.sqrt(rho * (1 - rho))
        if c in (0, n) or sigma == 0.0:
            continue
        right = (1 - rho) / (sigma + eps)
        wrong = (1 - rho - math.comb(n - c - 1, k - 1) / math.comb(n - 1, k - 1)) / (sigma + eps)
        advantages_B[index] = np.where(rewards == 1.0, right, wrong)
    return advantages_B


def best_only_advantage(batch: RolloutBatch, scale: Literal["none", "group"] = "none", eps: float = 1e-6) -> np.ndarray:
    """Only the best rollout of a group learns, by its lead over the second best (arXiv 2503.19595); ties give 0."""
    advantages_B = np.zeros(len(batch))
    for index in _scored_groups(batch):
        rewards = batch.rewards_B[index]
        second, best = np.sort(rewards)[-2:]
        lead = best - second
        advantages_B[index[int(rewards.argmax())]] = lead / (_std(rewards, 1) + eps) if scale == "group" else lead
    return advantages_B


def differential_smoothing(
    batch: RolloutBatch,
    gamma_p: float,
    gamma_n: float,
    reduce: Literal["sum", "mean"] = "sum",
    clip: float | None = None,
    skip_zero_variance: bool = False,
    eps: float = 1e-6,
) -> np.ndarray:
    """GRPO's advantage, minus gamma_p log pi_old for correct and plus gamma_n log pi_old for wrong rollouts.

    DS-GRPO (arXiv 2511.19942): rare correct answers gain most and rare errors lose most. The term comes after the
    normalisation and is not centred again.

    Args:
        batch: rewards_B, logp_sums_B and (for the mean) lengths_B.
        gamma_p: weight on correct rollouts, >= 0.
        gamma_n: weight on wrong rollouts, >= 0.
        reduce: sum of token log-probabilities as written, or their mean.
        clip: bound on the size of the added term.
        skip_zero_variance: leave groups of equal rewards at 0, as GRPO does.
        eps: added to the standard deviation.
    """
    if batch.logp_sums_B is None:
        raise ValueError("ds_grpo needs RolloutBatch.logp_sums_B, the old policy's log-probabilities of the rollouts")
    logp_B = np.where(np.isfinite(batch.logp_sums_B), batch.logp_sums_B, 0.0)
    if reduce == "mean":
        if batch.lengths_B is None:
            raise ValueError("ds_grpo.logp_reduce = 'mean' needs RolloutBatch.lengths_B")
        logp_B = logp_B / np.maximum(batch.lengths_B, 1)
    term_B = np.where(batch.rewards_B > 0, -gamma_p * logp_B, gamma_n * logp_B)
    if clip is not None:
        term_B = np.clip(term_B, -clip, clip)
    use_B = batch.scored_B.copy()
    if skip_zero_variance:
        for index in batch.groups():
            use_B[index] &= _std(batch.rewards_B[index][batch.scored_B[index]], 1) > 0
    return group_advantage(batch, "group", eps) + np.where(use_B, term_B, 0.0)


def cluster_weights(
    batch: RolloutBatch,
    alpha: float,
    apply_to: Literal["all", "correct_only"] = "all",
    count_over: Literal["all", "correct"] = "all",
) -> np.ndarray:
    """Weight 1 / (cluster size)^alpha of each rollout (uniqueness-aware RL, arXiv 2601.08763).

    A group in which any scored rollout has no cluster keeps weight 1 throughout: missing labels are a failed
    partition, never singletons. Empty responses are left out of the counts and keep weight 1.
    """
    if batch.clusters_B is None:
        raise ValueError("uniqueness needs RolloutBatch.clusters_B: a judge's partition or the environment's labels")
    from ...judges.partition.rewards import uniqueness_weights

    weights_B = np.ones(len(batch))
    filled_B = np.ones(len(batch), bool) if batch.lengths_B is None else batch.lengths_B > 0
    for index in batch.groups():
        index = index[batch.scored_B[index] & filled_B[index]]
        labels = batch.clusters_B[index]
        if len(index) == 0 or (labels < 0).any():
            continue
        correct = (batch.rewards_B[index] > 0).tolist()
        weights_B[index] = uniqueness_weights(labels.tolist(), alpha, correct, apply_to, count_over)
    return weights_B
