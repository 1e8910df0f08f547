"""One group being partitioned by pair questions: what to ask next, and what the answers add up to.

Like the session of ranking, it knows nothing of networks or coroutines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Sequence

import numpy as np

from ..equivalence_text import normalise_text
from . import cluster
from .types import Pair, PairOutcome, PartitionGroup, PartitionOptions

ALL_PAIRS_UP_TO = 32
MAX_VOTES = 3

Questions = Generator[list[tuple[int, int]], None, np.ndarray]
"""Yields rounds of pairs of items; the answers are in the session's matrix. Returns labels."""


class PartitionSession:
    """The questions of one group.

    Args:
        group: the responses.
        options: how to partition.

    Attributes:
        items: ids of the responses that are compared, one for each distinct text, in canonical order.
        member_of: response id -> number in ``items``; None for responses outside the scope.
        p_NN: mean probability of each pair, nan where unknown.
        calls: questions dispatched.
        repair_calls: those of them spent on contradictions.
        failed_calls: questions without an answer.
        labels: cluster of each item once finished.
        rng: draws orders and directions, seeded from the options and the responses.
    """

    def __init__(self, group: PartitionGroup, options: PartitionOptions) -> None:
        ids = list(group.ids)
        if len(set(ids)) != len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise ValueError(f"group {group.id!r} holds response id {twice!r} twice; ids must be unique")
        for name, mapping in (("contents", group.contents), ("correct", group.correct)):
            missing = [i for i in ids if mapping is not None and i not in mapping]
            if missing:
                raise ValueError(f"group {group.id!r}: {name} lacks response {missing[0]!r}; give it for all or none")
        if options.scope == "strategy" and group.correct is None:
            raise ValueError(f"scope='strategy' compares correct responses only; give `correct` for group {group.id!r}")
        self.group, self.options = group, options
        text = {i: normalise_text(group.contents[i]) if group.contents is not None else i for i in ids}
        in_scope = [i for i in ids if options.scope != "strategy" or (group.correct or {})[i]]
        self.items: list[str] = []
        number_of: dict[str, int] = {}
        for i in sorted(in_scope, key=lambda i: (text[i], i)):
            if text[i] not in number_of:
                number_of[text[i]] = len(self.items)
                self.items.append(i)
        self.member_of: dict[str, int | None] = {i: number_of[text[i]] if i in in_scope else None for i in ids}
        digest = hashlib.sha256("\0".join(text[i] for i in self.items).encode("utf-8", "surrogatepass")).digest()
        self.rng = np.random.default_rng([options.seed & (2**64 - 1), int.from_bytes(digest[:8], "little")])
        n = len(self.items)
        self._sum = np.zeros((n, n))
        self._answers = np.zeros((n, n))
        self._asked_first = np.zeros((n, n), dtype=bool)
        self.asked = np.zeros((n, n), dtype=int)
        self.failures = np.zeros((n, n), dtype=int)
        self.failure_status: dict[int, str] = {}
        self.calls = self.repair_calls = self.failed_calls = 0
        self.out_of_budget = False
        first_seen: dict[int, int] = {}
        for place, i in enumerate(ids):
            number = self.member_of[i]
            if number is not None:
                first_seen.setdefault(number, place)
        self._input_order = sorted(first_seen, key=lambda number: first_seen[number])
        self.labels: np.ndarray | None = np.zeros(n, dtype=int) if n < 2 else None
        self.method = self._choose_method()
        self._questions: Questions | None = None
        self._round: list[tuple[int, int]] = []
        if n > 1 and self.method != "one_shot":
            self._questions = self._start()
            self._next_round()

    @property
    def p_NN(self) -> np.ndarray:
        """Mean probability of "same" for each pair, nan where nothing is known."""
        known = self._answers > 0
        return np.where(known, self._sum / np.maximum(self._answers, 1), math.nan)

    def _choose_method(self) -> str:
        if self.options.method != "auto":
            return self.options.method
        n = len(self.items)
        pairs = n * (n - 1) // 2
        fits = self.options.max_calls is None or pairs <= self.options.max_calls
        return "corr_cluster" if fits and n <= ALL_PAIRS_UP_TO else "greedy_vote"

    # -- asking ------------------------------------------------------------------------------------------------------

    def next_pairs(self) -> list[Pair]:
        """The next round of independent questions; empty when finished. Answer them with :meth:`feed`."""
        return [Pair(self.group.id, self.items[a], self.items[b]) for a, b in self._round]

    def feed(self, outcomes: Sequence[PairOutcome]) -> None:
        """Take the answers to :meth:`next_pairs`, one for each, in the same order."""
        if len(outcomes) != len(self._round):
            raise ValueError(f"group {self.group.id!r}: {len(outcomes)} answers to {len(self._round)} questions")
        for (a, b), outcome in zip(self._round, outcomes, strict=True):
            self.note(a, b, outcome)
        self.calls += len(self._round)
        self._next_round()

    def note(self, a: int, b: int, outcome: PairOutcome) -> None:
        """Enter the answer to the question about item ``a`` shown before item ``b``."""
        self._asked_first[a, b] = True
        p = outcome.probability
        for i, j in ((a, b), (b, a)):
            self.asked[i, j] += 1
            self.failures[i, j] += outcome.failed
            if outcome.failed:
                self.failure_status[i] = outcome.status if outcome.status != "ok" else "parse_error"
            elif not math.isnan(p):
                self._sum[i, j] += p
                self._answers[i, j] += 1
        self.failed_calls += outcome.failed

    def _next_round(self) -> None:
        assert self._questions is not None
        try:
            wanted = next(self._questions)
        except StopIteration as stop:
            self._round, self.labels = [], stop.value
            return
        limit = self.options.max_calls
        affordable = len(wanted) if limit is None else min(len(wanted), limit - self.calls)
        if affordable < len(wanted):
            self.out_of_budget = True
        self._round = [self._direction(a, b) for a, b in wanted[:affordable]]
        if not self._round:  # nothing can be paid for: the algorithm goes on without the answers
            self._next_round()

    def _direction(self, a: int, b: int) -> tuple[int, int]:
        """A random direction for the first question about a pair, the opposite one for the next."""
        if self._asked_first[a, b] != self._asked_first[b, a]:
            return (b, a) if self._asked_first[a, b] else (a, b)
        return (a, b) if self.rng.random() < 0.5 else (b, a)

    # -- the methods -------------------------------------------------------------------------------------------------

    def _start(self) -> Questions:
        if self.method == "greedy_first":
            return self._greedy(np.array(self._input_order), votes=1, by_size=False)
        if self.method == "greedy_vote":
            return self._greedy(self.rng.permutation(len(self.items)), votes=MAX_VOTES, by_size=True)
        return self._all_pairs()

    def _all_pairs(self) -> Questions:
        n = len(self.items)
        pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
        yield [pairs[k] for k in self.rng.permutation(len(pairs))]  # a budget then cuts random pairs
        yield from self._repair()
        return self.solve()

    def _repair(self) -> Generator[list[tuple[int, int]], None, None]:
        """Ask again, in the other direction, about the least certain pair of a contradiction."""
        while self.repair_calls < self.options.max_repair_calls and not self.out_of_budget:
            _, broken = cluster.open_triangles(self.p_NN, self.options.threshold)
            candidates = np.triu((broken > 0) & (self.asked == 1), k=1)
            if not candidates.any():
                return
            doubt = -np.abs(np.nan_to_num(self.p_NN - self.options.threshold)) + 1e-6 * broken
            a, b = divmod(int(np.where(candidates, doubt, -np.inf).argmax()), len(self.items))
            before = self.calls
            yield [(a, b)]
            self.repair_calls += self.calls - before

    def solve(self) -> np.ndarray:
        """Labels from the answers so far by the method of the options."""
        p, threshold = self.p_NN, self.options.threshold
        if self.method == "union_find":
            return cluster.union_find(p, threshold)
        if self.method == "average_linkage":
            return cluster.average_linkage(p, threshold)
        w = cluster.weights(p, threshold)
        vague = cluster.hubs(p, threshold)
        w[vague] *= self.options.hub_weight
        w[:, vague] *= self.options.hub_weight
        return cluster.corr_cluster(w, self.rng)

    def _greedy(self, order: np.ndarray, votes: int, by_size: bool) -> Questions:
        """Compare each item with up to ``votes`` first members of each cluster; join on a strict majority."""
        clusters: list[list[int]] = []
        for item in order.tolist():
            joined = yield from self.vote(item, clusters, votes, by_size)
            if joined is None:
                clusters.append([item])
            else:
                joined.append(item)
        labels = np.empty(len(self.items), dtype=int)
        for number, members in enumerate(clusters):
            labels[members] = number
        return labels

    def vote(
        self, item: int, clusters: list[list[int]], votes: int = MAX_VOTES, by_size: bool = True
    ) -> Generator[list[tuple[int, int]], None, list[int] | None]:
        """The cluster that accepts an item, or None. An unknown answer is no vote for "same"."""
        for members in sorted(clusters, key=lambda c: -len(c)) if by_size else clusters:
            judges = members[:votes]
            yes = 0
            for asked, member in enumerate(judges):
                left = len(judges) - asked
                if yes > len(judges) / 2 or yes + left <= len(judges) / 2:
                    break
                yield [(member, item)]
                p = self.p_NN[member, item]
                yes += bool(p > self.options.threshold)
            if yes > len(judges) / 2:
                return members
        return None
