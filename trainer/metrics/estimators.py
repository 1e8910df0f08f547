"""Effective sample size, entropies and KL estimates as logged numbers. numpy; nats unless a name says bits."""

from __future__ import annotations

import numpy as np


def ess(weights: np.ndarray) -> float:
    """Effective sample size as a share: (sum w)^2 / (N sum w^2); 0 for no or all-zero weights.

    Of the raw weights. On clamped weights the number is no effective sample size: name it otherwise.
    """
    w = np.asarray(weights, float)
    total = (w**2).sum()
    return float(w.sum() ** 2 / (len(w) * total)) if len(w) and total > 0 else 0.0


def ess_parts(log_weights: np.ndarray) -> dict[str, float]:
    """Sums that add up over ranks: `ess` is sum_w^2 / (count sum_w2)."""
    w = np.exp(np.clip(np.asarray(log_weights, float), -60, 60))
    return {"sum_w": float(w.sum()), "sum_w2": float((w**2).sum()), "count": float(len(w))}


def ess_from_parts(parts: dict[str, float]) -> float:
    """The share from the sums of `ess_parts`."""
    below = parts["count"] * parts["sum_w2"]
    return parts["sum_w"] ** 2 / below if below > 0 else 0.0


def entropies(p: np.ndarray) -> dict[str, float]:
    """Shannon entropy (nats, bits, normalised), perplexity, Renyi-2, min-entropy and Gini impurity of p."""
    p = np.asarray(p, float)
    kept = p[p > 0]
    nats = float(-(kept * np.log(kept)).sum())
    collision = float((p**2).sum())
    return {
        "nats": nats,
        "bits": nats / np.log(2),
        "perplexity": float(np.exp(nats)),
        "normalised": nats / float(np.log(len(p))) if len(p) > 1 else 0.0,
        "renyi2": float(-np.log(collision)),
        "min_entropy": float(-np.log(p.max())),
        "gini_impurity": 1 - collision,
    }


def token_mean_entropy(entropies_BT: np.ndarray, mask_BT: np.ndarray) -> float:
    """Mean over all tokens of the batch; nan without tokens."""
    return float((entropies_BT * mask_BT).sum() / mask_BT.sum()) if mask_BT.sum() else float("nan")


def response_mean_entropy(entropies_BT: np.ndarray, mask_BT: np.ndarray) -> float:
    """Mean over responses of each one's token mean (AEPO's form); empty responses are left out."""
    lengths = mask_BT.sum(1)
    rows = (entropies_BT * mask_BT).sum(1)[lengths > 0] / lengths[lengths > 0]
    return float(rows.mean()) if len(rows) else float("nan")


def kl_estimates(logp: np.ndarray, logp_ref: np.ndarray) -> dict[str, float]:
    """k1, k2 and k3 estimates of KL(pi || ref) from samples of pi, and the spread of each, with |log ratio| <= 20."""
    lr = np.clip(np.asarray(logp_ref, float) - np.asarray(logp, float), -20, 20)
    values = {"k1": -lr, "k2": lr**2 / 2, "k3": np.exp(lr) - 1 - lr}
    table = {name: float(v.mean()) if len(v) else float("nan") for name, v in values.items()}
    return table | {f"{name}_std": float(v.std()) if len(v) else float("nan") for name, v in values.items()}
