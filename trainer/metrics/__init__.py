"""Evaluation metrics: pure functions over samples, texts, vectors and losses. No torch."""

from .bootstrap import Interval, bootstrap, over_seeds, paired_difference
from .diversity import (
    components,
    cosines,
    distinct_n,
    effective_number,
    hivemind,
    inter_homogeneity,
    intra_homogeneity,
    leaders,
    vendi,
)
from .embeddings import hashed_tfidf
from .epiplexity import kt_epiplexity, prequential, requential
from .estimators import entropies, ess, ess_from_parts, ess_parts, kl_estimates
from .forgetting import Forgetting, drop_at_gain, forgetting, i_projection, sampled_forward_kl, top1_flip_rate
from .identity import identity_report
from .passk import auc_at_k, discovery_at_k, maj_at_k, pass_at_k, pass_hat_k
from .preference import win_rate

__all__ = [
    "Forgetting",
    "Interval",
    "auc_at_k",
    "bootstrap",
    "components",
    "cosines",
    "discovery_at_k",
    "distinct_n",
    "drop_at_gain",
    "effective_number",
    "entropies",
    "ess",
    "ess_from_parts",
    "ess_parts",
    "forgetting",
    "hashed_tfidf",
    "hivemind",
    "i_projection",
    "identity_report",
    "inter_homogeneity",
    "intra_homogeneity",
    "kl_estimates",
    "kt_epiplexity",
    "leaders",
    "maj_at_k",
    "over_seeds",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "prequential",
    "requential",
    "sampled_forward_kl",
    "top1_flip_rate",
    "vendi",
    "win_rate",
]
