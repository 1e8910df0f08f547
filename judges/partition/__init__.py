"""Partition of a group into responses that say the same, and the rewards that follow from it.

The judge of pairs is one async function:

    async def ask(pair: Pair) -> PairOutcome        # Pair(group, first, second): ids, in the order shown
    PairOutcome(p_same=0.93)                        # probability that the two are equivalent (1.0 / 0.0 for a verdict)
    PairOutcome(p_same=None)                        # "unknown": looked at, undecided; weight 0, not a failure
    PairOutcome(status="timeout")                   # failure; left out and counted

Public functions:

    partition_groups(groups: Sequence[PartitionGroup], ask: AskPair | None, options: PartitionOptions | None = None,
                     ask_once: AskOnce | None = None) -> list[PartitionResult]                              (async)
    partition_group(group, ask, options=None, ask_once=None) -> PartitionResult                             (async)
    partition_groups_sync(groups, judge: Callable[[Pair], PairOutcome], options=None) -> list[PartitionResult]
    plan_partition(group: PartitionGroup | int, options=None) -> PartitionPlan(calls_min, calls_max, rounds_max)

    PartitionGroup(id, ids, contents=None, correct=None)            contents, correct: dicts by id
    PartitionOptions(scope="semantic", method="auto", threshold=0.5, max_repair_calls=0, max_calls=None, seed=0,
                     alpha=0.5, floor=0.1, hub_weight=1.0, one_shot_repeats=2, one_shot_retries=1, one_shot_chunk=32)
    PartitionResult(group, status, labels, clusters, p_same, darling, uniqueness, statuses, stats)

``ask_once`` serves ``method="one_shot"``: it gets the group id and the ids in the order to show, and returns lists of
ids that belong together, ``async def ask_once(group: str, ids: Sequence[str]) -> OneShotOutcome(groups, status)``.
An answer that is no exact partition is asked again, then repaired by pair questions if ``ask`` is given, else it is an
error: the group keeps neutral weights (1), and the failure is counted.

Matrix level (pure, numpy): ``union_find``, ``average_linkage``, ``corr_cluster``, ``open_triangles``,
``adjusted_rand``, ``darling_diversity``, ``darling_reward``, ``uniqueness_weights``, ``check_partition``,
``reconcile``. Trainable pair judge without network:
``palaestra.judges.partition.classifier.PairClassifier`` (``fit``, ``save``, ``load``, ``p_same``).

>>> judge = lambda pair: PairOutcome(p_same=float(pair.first[0] == pair.second[0]))
>>> result = partition_groups_sync([PartitionGroup("g", ["a1", "b1", "a2"])], judge)[0]
>>> result.labels, result.darling
((0, 1, 0), (0.5, 1.0, 0.5))
"""

from .cluster import adjusted_rand, average_linkage, corr_cluster, hubs, open_triangles, reconcile, union_find, weights
from .one_shot import Problems, check_partition
from .rewards import (
    cluster_sizes,
    darling_diversity,
    darling_reward,
    pairwise_diversity,
    uniqueness_weights,
)
from .run import PartitionPlan, finish, partition_group, partition_groups, partition_groups_sync, plan_partition
from .session import PartitionSession
from .types import (
    AskOnce,
    AskPair,
    OneShotOutcome,
    Pair,
    PairOutcome,
    PartitionGroup,
    PartitionOptions,
    PartitionResult,
    PartitionStats,
)

__all__ = [
    "AskOnce",
    "AskPair",
    "OneShotOutcome",
    "Pair",
    "PairOutcome",
    "PartitionGroup",
    "PartitionOptions",
    "PartitionPlan",
    "PartitionResult",
    "PartitionSession",
    "PartitionStats",
    "Problems",
    "adjusted_rand",
    "average_linkage",
    "check_partition",
    "cluster_sizes",
    "corr_cluster",
    "darling_diversity",
    "darling_reward",
    "finish",
    "hubs",
    "open_triangles",
    "pairwise_diversity",
    "partition_group",
    "partition_groups",
    "partition_groups_sync",
    "plan_partition",
    "reconcile",
    "union_find",
    "uniqueness_weights",
    "weights",
]
