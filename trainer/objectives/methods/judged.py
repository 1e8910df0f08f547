"""Rewards made from a whole group by a judge: ArenaRL's ranks and DARLING's diversity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from ..advantages import group_advantage
from ..shaping import darling, judge_ranks
from ..types import Method, Objective, Problem
from .common import PolicyParams, clipped_objective

Published = Literal["round_robin", "anchor", "single_elimination", "double_elimination", "swiss"]
Design = Literal["balanced", "adaptive", "random"]


class ArenaParams(PolicyParams):
    """Parameters of ArenaRL; the judge server plays the tournament."""

    eps_high: float = Field(0.28, ge=0)
    eps: float = 1e-6
    """Added to the standard deviation."""
    topology: Literal["auto"] | Published | Design = "auto"
    """Who is compared with whom: one of the five published tournaments, or a design whose ratings are fitted (balanced,
    adaptive, random); auto leaves it to the judge server."""
    rounds: int | None = Field(None, ge=1)
    """Rounds of swiss; unset = ceil(log2 N)."""
    degree: int | None = Field(None, ge=1)
    """Comparisons a rollout of balanced and random; unset = 6, or everybody in groups of up to 8."""
    estimator: Literal["auto", "wins", "bt", "ls_margin", "lmm"] = "auto"
    """How comparisons become places; auto = the tournament's own, or what the judge's answers allow."""
    order_policy: Literal["auto", "both", "balanced_single", "random_single"] = "auto"
    """Both orders of every pair, or one; auto = both in the five tournaments."""

    @model_validator(mode="after")
    def _knobs_belong(self) -> ArenaParams:
        for knob, topologies in (("rounds", ("swiss",)), ("degree", ("balanced", "random"))):
            if getattr(self, knob) is not None and self.topology not in topologies:
                raise ValueError(
                    f"{knob} = {getattr(self, knob)} says nothing about topology {self.topology!r}; "
                    f"set topology to {' or '.join(topologies)}, or leave {knob} out"
                )
        return self

    @property
    def ranking(self) -> dict[str, Any]:
        """Options of the judge server's rank operation."""
        given = {"method": self.topology, "estimator": self.estimator, "rounds": self.rounds, "degree": self.degree}
        order = None if self.order_policy == "auto" else self.order_policy
        return {"reward": "quantile", **{k: v for k, v in (given | {"order_policy": order}).items() if v is not None}}


class DarlingParams(PolicyParams):
    """Parameters of DARLING."""

    combine: Literal["multiply", "add"] = "multiply"
    """Reward times diversity, or plus."""
    floor: float = Field(0.1, ge=0, le=1)
    """Least diversity; 0.1 in the authors' code, none in their formula."""
    negative: Literal["shift", "raise"] = "shift"
    """Negative rewards: shift the group by its minimum, or refuse."""
    source: Literal["clusters", "diversity"] = "clusters"
    """Clusters of equivalent answers, or the judge's own diversity values."""
    scale: Literal["none", "group"] = "none"
    """Whether the advantage is divided by the group's standard deviation (it is not)."""


def _arena(params: ArenaParams) -> Objective:
    advantage = partial(group_advantage, eps=params.eps)
    return clipped_objective("arena", params, advantage, shape=judge_ranks, needs={"ranks"}, ranking=params.ranking)


def _darling(params: DarlingParams) -> Objective:
    shape = darling(params.combine, params.floor, params.negative, params.source)
    advantage = partial(group_advantage, scale=params.scale)
    return clipped_objective("darling", params, advantage, shape=shape, needs={params.source})


def _arena_problems(params: ArenaParams, facts: Mapping[str, Any]) -> list[Problem]:
    size = facts.get("group_size")
    if size is None:
        return []
    if size < 2:
        what = "a tournament" if params.topology == "auto" else f"topology {params.topology}"
        reason = f"{what} needs two rollouts to compare, the group has {size}"
        return [Problem("rollout.group_size", reason, "Set rollout.group_size to 4 or more")]
    found = []
    for knob in ("rounds", "degree"):
        value = getattr(params, knob)
        if value is not None and value >= size:
            reason = f"{knob} {value} asks every rollout for {value} opponents, the group has {size - 1} others"
            found.append(Problem(f"objective.{knob}", reason, f"Set it to at most {size - 1}, or enlarge the group"))
    return found


ARENA = Method(
    name="arena",
    summary="rank rewards of a tournament judged inside each group",
    paper="arXiv 2601.06487",
    params=ArenaParams,
    build=_arena,
    formula="r_i = (N-1-place_i)/(N-1) from the tournament; A_i = (r_i - mean)/(std + eps)",
    cost="judge calls a group: N(N-1) round robin, 2(N-1) anchor, 4(N-1) elimination, N log2 N swiss; equal texts once",
    when="open-ended tasks where pointwise scores of one group come out nearly equal",
    parts="shape: judge ranks; advantage: group; loss: ppo_clip, clip-higher",
    problems=_arena_problems,
    requires=("group", "ranks"),
)
DARLING = Method(
    name="darling",
    summary="reward times the share of the group that is semantically different",
    paper="arXiv 2509.02534",
    params=DarlingParams,
    build=_darling,
    formula="D_i = max((n - s_i)/(n-1), floor), s_i = size of i's cluster; r' = r D; A = r' - mean r'",
    cost="one partition of each group: up to n(n-1)/2 pair classifications, or one judge call",
    when="quality and variety are both wanted and a classifier or judge can tell answers apart",
    parts="shape: darling; advantage: group without std; loss: ppo_clip",
    requires=("group", "clusters"),
)
