"""Rewards made from a whole group by a judge: ArenaRL's ranks and DARLING's diversity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field

from ..advantages import group_advantage
from ..shaping import darling, judge_ranks
from ..types import Method, Objective, Problem
from .common import PolicyParams, clipped_objective


class ArenaParams(PolicyParams):
    """Parameters of ArenaRL's policy side; the tournament itself is the judge server's."""

    eps_high: float = Field(0.28, ge=0)
    eps: float = 1e-6
    """Added to the standard deviation."""


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
    return clipped_objective("arena", params, advantage, shape=judge_ranks, needs={"ranks"})


def _darling(params: DarlingParams) -> Objective:
    shape = darling(params.combine, params.floor, params.negative, params.source)
    advantage = partial(group_advantage, scale=params.scale)
    return clipped_objective("darling", params, advantage, shape=shape, needs={params.source})


def _arena_problems(params: ArenaParams, facts: Mapping[str, Any]) -> list[Problem]:
    found = []
    size = facts.get("group_size")
    if size is not None and size < 2:
        topology = facts.get("judge_topology", "a")
        reason = f"{topology} tournament needs at least two rollouts, the group has {size}"
        found.append(Problem("rollout.group_size", reason, "Set rollout.group_size to 4 or more"))
    return found


ARENA = Method(
    name="arena",
    summary="rank rewards of a tournament judged inside each group",
    paper="arXiv 2601.06487",
    params=ArenaParams,
    build=_arena,
    formula="r_i = (N-1-place_i)/(N-1) from the tournament; A_i = (r_i - mean)/(std + eps)",
    cost="2 x matches judge calls a group: N(N-1) for round robin, 2(N-1) for anchor, 4(N-1) for elimination",
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
