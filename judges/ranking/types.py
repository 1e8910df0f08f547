"""Nouns of ranking: one judge call, what came back, what was asked for and what is returned."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ...lm_types import Usage

Winner = Literal["first", "second", "tie"]
Method = Literal[
    "auto",
    "balanced",
    "adaptive",
    "random",
    "round_robin",
    "anchor",
    "single_elimination",
    "double_elimination",
    "swiss",
]
Estimator = Literal["auto", "topology", "wins", "bt", "ls_margin", "lmm"]
OrderPolicy = Literal["auto", "both", "balanced_single", "random_single", "given"]
RewardKind = Literal["quantile", "quantile_z", "theta", "theta_z"]

METHODS: tuple[str, ...] = Method.__args__  # type: ignore[attr-defined]
ESTIMATORS: tuple[str, ...] = Estimator.__args__  # type: ignore[attr-defined]
ORDER_POLICIES: tuple[str, ...] = OrderPolicy.__args__  # type: ignore[attr-defined]
REWARD_KINDS: tuple[str, ...] = RewardKind.__args__  # type: ignore[attr-defined]
ALL_PAIRS_UP_TO = 8
"""Groups up to this size are compared pair by pair, each once, unless told otherwise."""
TOPOLOGIES = ("round_robin", "anchor", "single_elimination", "double_elimination", "swiss")


@dataclass(frozen=True, slots=True)
class Call:
    """One question to the judge: which of two responses is better, and in which order they are shown.

    Attributes:
        group: id of the group.
        first: id of the response shown first.
        second: id of the response shown second.
        round: parallel round, from 0; calls of one round do not depend on each other.
    """

    group: str
    first: str
    second: str
    round: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the judge said about one call. Anything but ``ok`` is a failure and never counts as a score or a tie.

    Attributes:
        status: ``ok`` or a failure of ``RewardStatus``.
        winner: slot that won; taken from the scores when missing.
        score_first: score of the response shown first, None for a judge that gives a verdict only.
        score_second: score of the response shown second.
        error: text for the log.
        cached: whether the judge had answered this very question before.
        used: model requests, tokens and money it took.
    """

    status: str = "ok"
    winner: Winner | None = None
    score_first: float | None = None
    score_second: float | None = None
    error: str | None = None
    cached: bool = False
    used: Usage = field(default_factory=Usage)

    @property
    def graded(self) -> bool:
        """True when both scores are there and finite."""
        return all(score is not None and math.isfinite(score) for score in (self.score_first, self.score_second))

    @property
    def valid(self) -> bool:
        """True when the call decided something, a tie included."""
        bad = any(score is not None and not math.isfinite(score) for score in (self.score_first, self.score_second))
        return self.status == "ok" and not bad and (self.winner is not None or self.graded)

    @property
    def scores(self) -> tuple[float, float]:
        """Scores of the two slots; a bare verdict counts 1 for the winner, a tie one half each."""
        if self.graded:
            return float(self.score_first), float(self.score_second)  # type: ignore[arg-type]
        return {"first": (1.0, 0.0), "second": (0.0, 1.0)}.get(self.winner or "tie", (0.5, 0.5))

    @property
    def first_share(self) -> float:
        """1 if the first slot won, 0 if it lost, one half for a tie."""
        if self.winner is not None:
            return {"first": 1.0, "second": 0.0, "tie": 0.5}[self.winner]
        first, second = self.scores
        return 0.5 if first == second else float(first > second)


Ask = Callable[[Call], Awaitable[Outcome]]
"""The judge, as ranking sees it. It retries, limits and caches by itself; an exception counts as ``upstream_error``."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a judge in units of one standard deviation of response quality.

    Attributes:
        s2: variance of a score margin.
        m2: variance of a half-sum of scores (the judge's level on one call).
        points: score points per unit of quality (called K in the literature on rating scales).
    """

    s2: float = 1.15
    m2: float = 1.05
    points: float = 1.2


@dataclass(frozen=True, slots=True)
class RankGroup:
    """Responses to one task.

    Attributes:
        id: group id, handed back in every ``Call``.
        ids: response ids, in the caller's order; distinct.
        contents: response id -> text. Responses with identical text are judged once and share the reward.
    """

    id: str
    ids: Sequence[str]
    contents: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RankOptions:
    """How to rank.

    Attributes:
        method: which pairs are asked. ``auto``: ``balanced``, or ``adaptive`` where verdicts without scores have to
            order more than 8 responses, because one round of bare verdicts tells too little then.
        graded: whether the judge gives scores; only ``auto`` asks.
        estimator: how calls become ratings. ``auto``: the topology's own places for the five topologies, else ``lmm``
            for a judge with scores and ``bt`` for one without.
        order_policy: ``both`` asks every pair in both orders. ``auto``: ``both`` for the topologies, else
            ``balanced_single``.
        reward: ``quantile`` (rank in [0, 1]), ``quantile_z``, ``theta`` (rating) or ``theta_z``.
        degree: calls per response of a balanced or random design; default 6, or all pairs up to 8 responses.
        rounds: rounds of ``swiss``, default ceil(log2 N); most dependent rounds of ``adaptive``, default as many as it
            takes when everybody plays once a round.
        anchor_id: anchor of ``anchor`` and ``single_elimination``; default: drawn by lot.
        max_calls: hard limit of judge calls for one group.
        seed: same seed, same responses and same judge give identical results.
        noise: known noise of the judge; None estimates it from the calls of all groups of the request.
        score_range: lowest and highest score the judge can give.
        prior_variance: prior variance of Bradley-Terry ratings, in logits squared.
        length_covariate: fit and remove a linear effect of response length (ratings by ``ls_margin`` and ``lmm``).
        compat: ``qqr`` reproduces that library's brackets and ties (needs a topology); for comparison only.
    """

    method: Method = "auto"
    graded: bool = True
    estimator: Estimator = "auto"
    order_policy: OrderPolicy = "auto"
    reward: RewardKind = "quantile_z"
    degree: int | None = None
    rounds: int | None = None
    anchor_id: str | None = None
    max_calls: int | None = None
    seed: int = 0
    noise: Noise | None = None
    score_range: tuple[float, float] = (0.0, 10.0)
    prior_variance: float = 2.74
    length_covariate: bool = False
    compat: Literal["qqr"] | None = None

    def __post_init__(self) -> None:
        menus = {
            "method": METHODS,
            "estimator": ESTIMATORS,
            "order_policy": ORDER_POLICIES,
            "reward": REWARD_KINDS,
            "compat": (None, "qqr"),
        }
        for name, menu in menus.items():
            if getattr(self, name) not in menu:
                raise ValueError(f"rank option {name}={getattr(self, name)!r} is unknown; choose one of {list(menu)}")
        for name, least in (("degree", 1), ("rounds", 1), ("max_calls", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"rank option {name}={value} must be at least {least}")
        if not self.score_range[0] < self.score_range[1]:
            raise ValueError(f"rank option score_range={self.score_range} must be (low, high) with low < high")
        if self.prior_variance <= 0:
            raise ValueError(f"rank option prior_variance={self.prior_variance} must be positive")
        if self.noise is not None and min(self.noise.s2, self.noise.m2, self.noise.points) <= 0:
            raise ValueError(f"rank option noise={self.noise} must have positive s2, m2 and points")
        if self.estimator == "topology" and self.method not in TOPOLOGIES:
            raise ValueError(
                f"estimator='topology' needs a topology, method={self.method!r} is a design; "
                "use estimator='auto', 'lmm', 'ls_margin', 'bt' or 'wins'"
            )
        if self.places and self.reward.startswith("theta"):
            raise ValueError(
                f"reward={self.reward!r} needs ratings, but {self.method} with estimator={self.estimator!r} gives "
                "places only; set estimator='lmm' or 'bt', or reward='quantile_z'"
            )
        if self.compat and self.method not in TOPOLOGIES:
            raise ValueError(f"compat={self.compat!r} needs one of the topologies {list(TOPOLOGIES)}")

    def settled(self, items: int) -> RankOptions:
        """The same with ``auto`` decided for a group of so many different responses."""
        if self.method != "auto":
            return self
        return replace(self, method="balanced" if self.graded or items <= ALL_PAIRS_UP_TO else "adaptive")

    @property
    def places(self) -> bool:
        """True when the reward comes from places in a tournament and not from fitted ratings."""
        return self.estimator == "topology" or (self.estimator == "auto" and self.method in TOPOLOGIES)

    @property
    def both_orders(self) -> bool:
        """True when each comparison is two calls."""
        return self.order_policy == "both" or (self.order_policy == "auto" and self.method in TOPOLOGIES)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The result of one response. ``reward`` and ``rank`` are None exactly when it could not be ranked."""

    id: str
    status: str
    rank: float | None
    reward: float | None
    theta: float | None = None
    stderr: float | None = None
    wins: int = 0
    losses: int = 0
    ties: int = 0


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """One judge call as it happened; ``winner`` is the id of a response, ``"tie"`` or None.

    The calls of one comparison (both orders) share ``comparison``.
    """

    id: str
    comparison: int
    round: int
    stage: str | None
    a: str
    b: str
    first: str
    winner: str | None
    score_a: float | None
    score_b: float | None
    margin: float | None
    status: str
    error: str | None
    cached: bool
    calls: int


@dataclass(frozen=True, slots=True)
class Bye:
    """A response that had no opponent in one round of a tournament."""

    id: str
    round: int
    stage: str | None


@dataclass(frozen=True, slots=True)
class RankStats:
    """What a reader needs to trust a ranking; None where nothing could be measured."""

    method: str
    order_policy: str
    reward: str
    calls: int
    rounds: int
    planned_calls: int
    failed_calls: int
    cached_calls: int
    statuses: Mapping[str, int]
    p_first: float | None
    tie_rate: float | None
    inconsistent_rate: float | None
    position_bias: float | None
    cyclic_triads: float | None
    residual: float | None
    coverage: float | None
    connected: bool
    estimator: str
    noise: Noise | None = None
    length_effect: float | None = None
    length_correlation: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RankResult:
    """A ranked group. ``rewards`` and ``ranking`` are in the caller's order, and ``ranking`` carries the ids."""

    group: str
    rewards: tuple[float | None, ...]
    ranking: tuple[Ranked, ...]
    matches: tuple[MatchRecord, ...]
    stats: RankStats
    byes: tuple[Bye, ...] = ()
    used: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Plan:
    """What ranking will cost, known before any call."""

    comparisons: int
    calls: int
    rounds: int


@dataclass(slots=True)
class Record:
    """One played call between items of the canonical order, by index."""

    first: int
    second: int
    round: int
    outcome: Outcome = field(default_factory=Outcome)
    comparison: int = 0
    stage: str | None = None
