"""Nouns of partition: one question about a pair, its answer, what was asked for and what is returned."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Scope = Literal["answer", "semantic", "strategy"]
PartitionMethod = Literal[
    "auto", "greedy_vote", "greedy_first", "corr_cluster", "union_find", "average_linkage", "one_shot"
]
SCOPES: tuple[str, ...] = Scope.__args__  # type: ignore[attr-defined]
PARTITION_METHODS: tuple[str, ...] = PartitionMethod.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Pair:
    """One question: do these two responses say the same? The judge knows the scope it was built for."""

    group: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What the judge said about a pair.

    Attributes:
        p_same: probability that the two are equivalent, 1.0 or 0.0 for a bare verdict. None with status ``ok`` means
            that the judge looked and does not know.
        status: ``ok`` or a failure of ``RewardStatus``; a failure is neither "same" nor "different".
        error: text for the log.
    """

    p_same: float | None = None
    status: str = "ok"
    error: str | None = None

    @property
    def failed(self) -> bool:
        """True when there is no answer at all, an impossible probability included."""
        return self.status != "ok" or (
            self.p_same is not None and not (math.isfinite(self.p_same) and 0 <= self.p_same <= 1)
        )

    @property
    def probability(self) -> float:
        """The probability, nan when unknown or failed."""
        return math.nan if self.failed or self.p_same is None else float(self.p_same)


@dataclass(frozen=True, slots=True)
class OneShotOutcome:
    """A whole partition from one answer: lists of response ids that belong together; None when the call failed."""

    groups: Sequence[Sequence[str]] | None = None
    status: str = "ok"
    error: str | None = None


AskPair = Callable[[Pair], Awaitable[PairOutcome]]
AskOnce = Callable[[str, Sequence[str]], Awaitable[OneShotOutcome]]


@dataclass(frozen=True, slots=True)
class PartitionGroup:
    """Responses to one task.

    Attributes:
        id: group id.
        ids: response ids in the caller's order; distinct.
        contents: response id -> text; equal texts (after Unicode, case and blank normalisation, which
            leaves programs alone) are never asked about.
        correct: response id -> verified correctness; needed for scope ``strategy``.
    """

    id: str
    ids: Sequence[str]
    contents: Mapping[str, str] | None = None
    correct: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class PartitionOptions:
    """How to partition.

    Attributes:
        scope: ``answer``, ``semantic`` or ``strategy``. Strategies are compared among correct responses only; the
            others become singletons without credit.
        method: ``auto`` is correlation clustering over all pairs where the budget allows it, else greedy voting.
        threshold: a pair is "same" above this probability; it belongs to the judge and ships with it.
        max_repair_calls: calls to spend on pairs whose verdicts contradict each other.
        max_calls: hard limit of judge calls for one group.
        seed: draws orders and directions; same seed, same responses and same judge give the same labels.
        alpha: exponent of the uniqueness weight 1 / |cluster|^alpha.
        floor: smallest DARLING factor.
        hub_weight: factor on the pairs of hubs, vague responses that match everything; 1 leaves them alone.
        one_shot_repeats: differently ordered one-shot answers to reconcile.
        one_shot_retries: how often an invalid one-shot answer is asked again.
        one_shot_chunk: responses shown at once; larger groups are cut, and one more answer about the first members of
            the clusters merges them.
    """

    scope: Scope = "semantic"
    method: PartitionMethod = "auto"
    threshold: float = 0.5
    max_repair_calls: int = 0
    max_calls: int | None = None
    seed: int = 0
    alpha: float = 0.5
    floor: float = 0.1
    hub_weight: float = 1.0
    one_shot_repeats: int = 2
    one_shot_retries: int = 1
    one_shot_chunk: int = 32

    def __post_init__(self) -> None:
        for name, menu in (("scope", SCOPES), ("method", PARTITION_METHODS)):
            if getattr(self, name) not in menu:
                raise ValueError(f"partition option {name}={getattr(self, name)!r} is unknown; choose one of {menu}")
        for name in ("threshold", "alpha", "floor", "hub_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"partition option {name}={getattr(self, name)} must lie in [0, 1]")
        for name, least in (
            ("max_repair_calls", 0),
            ("one_shot_repeats", 1),
            ("one_shot_retries", 0),
            ("one_shot_chunk", 2),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"partition option {name}={getattr(self, name)} must be at least {least}")
        if self.max_calls is not None and self.max_calls < 0:
            raise ValueError(f"partition option max_calls={self.max_calls} must be at least 0")


@dataclass(frozen=True, slots=True)
class PartitionStats:
    """What a reader needs to trust a partition."""

    n_clusters: int
    calls: int
    repair_calls: int
    open_triangles: int
    failed_calls: int
    unknown_pairs: int
    invalid_answers: int
    method: str
    hubs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """A partitioned group; every tuple is in the caller's order.

    Attributes:
        group: group id.
        status: ``ok``, ``degenerate`` (fewer than two responses to compare), or the failure of the whole group.
        labels: cluster number of each response, counted in order of first appearance; None when it is unknown.
        clusters: ids of each cluster.
        p_same: (id, id, probability) of every answered pair.
        darling: DARLING factor of each response: share of the others that differ, at least the floor. 1 (neutral)
            where nothing could be found out, 0 for incorrect responses in scope ``strategy``.
        uniqueness: weight 1 / |cluster|^alpha; 1 (neutral) where nothing could be found out and for incorrect
            responses in scope ``strategy``.
        statuses: ``ok`` or why a response has no label that means anything.
        stats: calls and contradictions.
    """

    group: str
    status: str
    labels: tuple[int | None, ...]
    clusters: tuple[tuple[str, ...], ...]
    p_same: tuple[tuple[str, str, float], ...]
    darling: tuple[float, ...]
    uniqueness: tuple[float, ...]
    statuses: tuple[str, ...]
    stats: PartitionStats
