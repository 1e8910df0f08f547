"""DPH-RL: rehearse what was mastered with a mass-covering divergence, explore the rest without any."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from ..advantages import group_advantage
from ..types import Method, Objective, RehearsalSpec
from .common import PolicyParams, clipped_objective


class DphParams(PolicyParams):
    """Parameters of DPH-RL."""

    eps_high: float = Field(0.28, ge=0)
    dual_clip: float | None = Field(3.0, gt=1)
    generator: Literal["forward", "forward_k1", "js", "js_definition", "alpha"] = "forward"
    """Divergence to the initial policy; forward_k1 is the plain supervised log-ratio."""
    eta: float = Field(0.01, ge=0)
    """Weight of the rehearsal part; 0.01-0.05 for forward and alpha, 0.05-0.2 for js."""
    alpha: float = Field(0.2, gt=0, lt=1)
    """Order of the alpha divergence."""
    clamp: float | None = Field(10.0, gt=0)
    """Bound on a token's divergence."""
    attempts: int = Field(4, ge=1)
    """Rollouts a task in the first stage."""
    threshold: int = Field(4, ge=1)
    """How many must be correct for a task to be near-perfect."""
    chunk: int = Field(256, ge=1)
    """Stored samples a step."""
    correct: float = 1.0
    """Reward of a correct rollout."""
    js_share: float = Field(0.1, ge=0, le=1)
    """js_definition only: share of exploration tokens that also feel the divergence."""

    @model_validator(mode="after")
    def _reachable(self) -> DphParams:
        if self.threshold > self.attempts:
            raise ValueError(f"threshold {self.threshold} exceeds attempts {self.attempts}; no task could reach it")
        return self


def _build(params: DphParams) -> Objective:
    from ..rehearsal import f_divergence, js_exploration

    rehearsal = RehearsalSpec(
        loss=f_divergence(params.generator, params.eta, params.alpha, params.clamp),
        attempts=params.attempts,
        threshold=params.threshold,
        chunk=params.chunk,
        correct=params.correct,
    )
    definition = params.generator == "js_definition"
    return clipped_objective(
        "dph",
        params,
        partial(group_advantage, scale="group"),
        rehearsal=rehearsal,
        regularisers=(js_exploration(params.eta, params.js_share),) if definition else (),
        needs={"reference"} if definition else frozenset(),
    )


DPH = Method(
    name="dph",
    summary="clipped policy loss on hard tasks, f-divergence rehearsal of stored answers to mastered ones",
    paper="arXiv 2509.07430",
    params=DphParams,
    build=_build,
    formula="L = L_grpo(hard tasks) + eta mean f(pi / pi_ref) over stored samples of pi_ref on mastered tasks",
    cost="no judge calls; attempts + 1 rollouts a task once; chunk further sequences a step; no online reference",
    when="training forgets solutions or tasks the start already had",
    parts="advantage: group; loss: ppo_clip; rehearsal: f-divergence",
    requires=("group",),
)
