"""AEPO: entropy decides whether wrong rollouts train, switched with hysteresis; and its static forms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import model_validator

from ..advantages import group_advantage
from ..filters import aepo_gate, clip_negative_sequences
from ..types import Gate, Method, Objective, Problem, TokenBatch
from .common import RegularisedParams, regularised


class AepoParams(RegularisedParams):
    """Parameters of AEPO. No thresholds are published, so none is a default."""

    h_low: float | None = None
    """Batch entropy (nats a token) below which wrong rollouts train again."""
    h_high: float | None = None
    """Batch entropy above which wrong rollouts stop training."""
    tau_seq: float | None = None
    """Static form: wrong rollouts with a mean entropy above this do not train."""
    tau_token: float | None = None
    """Static form: tokens of wrong rollouts with an entropy above this do not train."""

    @model_validator(mode="after")
    def _order(self) -> AepoParams:
        if (self.h_low is None) != (self.h_high is None):
            raise ValueError("h_low and h_high belong together; set both (batch entropies of 0.1-0.3 were observed)")
        if self.h_low is not None and self.h_high is not None and self.h_low >= self.h_high:
            raise ValueError(f"thresholds are out of order: h_low {self.h_low} must be below h_high {self.h_high}")
        if self.h_low is None and self.tau_seq is None and self.tau_token is None:
            raise ValueError("set h_low and h_high (AEPO), or tau_seq or tau_token (static); there are no defaults")
        return self


def _build(params: AepoParams) -> Objective:
    from ..losses import importance_sampling, weighted_tokens

    gates: list[Gate] = []
    needs: set = set()
    loss = importance_sampling(None, params.aggregation)
    if params.h_low is not None and params.h_high is not None:
        gates.append(aepo_gate(params.h_low, params.h_high))
        needs.add("batch_entropy")
    if params.tau_seq is not None:
        gates.append(clip_negative_sequences(params.tau_seq))
        needs.add("batch_entropy")
    if params.tau_token is not None:
        tau = params.tau_token

        def confident(batch: TokenBatch):
            if batch.entropy_BT is None:
                raise ValueError("aepo.tau_token needs TokenBatch.entropy_BT")
            return 1.0 - ((batch.advantages_BT < 0) & (batch.entropy_BT > tau)).to(batch.logp_BT.dtype)

        loss = weighted_tokens(loss, confident)
        needs.add("entropy")
    advantage = partial(group_advantage, scale="task", eps=0.0)
    return regularised("aepo", params, advantage, loss, gates=tuple(gates), needs=needs)


def _problems(params: AepoParams, facts: Mapping[str, Any]) -> list[Problem]:
    if params.tau_seq is not None and params.h_low is not None:
        reason = "the static threshold and the switched band both remove wrong rollouts"
        return [Problem("objective.tau_seq", reason, "Keep one of them")]
    return []


AEPO = Method(
    name="aepo",
    summary="negative advantages switched off while the policy's entropy is high",
    paper="arXiv 2512.12967",
    params=AepoParams,
    build=_build,
    formula="Hb > h_high: mask A < 0; Hb < h_low: unmask; L = -(1/all tokens) sum A rho I",
    cost="no judge calls; exact entropies from the learner's forward pass",
    when="long contexts, where high-entropy wrong rollouts dominate the gradient noise",
    parts="advantage: task std; gates: entropy band or static thresholds; loss: importance_sampling",
    problems=_problems,
    requires=("group",),
)
