"""One group being ranked: hands out rounds of judge calls, takes what came back, never exceeds its budget.

The session knows nothing of clocks, networks or coroutines, so HTTP, library and simulation drive the same code.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Sequence

import numpy as np

from . import designs
from .elimination import double_elimination, single_elimination
from .estimators import LinearModel, fit_bt
from .evidence import Evidence
from .noise import estimate_noise
from .swiss import default_rounds, swiss
from .topologies import Key, Pair, Round, Totals, anchor, balanced_order, both_orders, random_order, round_robin
from .types import TOPOLOGIES, Call, Outcome, RankGroup, RankOptions, Record

Play = Generator[list[Pair], list[Totals | None], list[Key | None] | None]
"""A tournament, or a design, which returns no places."""


class Session:
    """The calls of one group.

    Responses are put into a canonical order (by text, else by id) before any lot is drawn, and the generator is
    seeded from that order and the seed. The same responses in another input order are therefore asked the same
    questions and get the same rewards.

    Args:
        group: the responses.
        options: how to rank.

    Attributes:
        options: the same with method ``auto`` decided.
        items: ids of the representatives in canonical order; duplicates are not judged again.
        member_of: response id -> number of its representative in ``items``.
        records: all calls so far, failed ones included.
        played: all comparisons so far with their totals, None where they could not be scored.
        calls: judge calls dispatched.
        rounds: parallel rounds dispatched.
        keys: places of a topology once it has ended.
        byes: (item, round, stage) of everyone who had no opponent in a round that was played.
    """

    def __init__(self, group: RankGroup, options: RankOptions) -> None:
        ids = list(group.ids)
        if len(set(ids)) != len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise ValueError(f"group {group.id!r} holds response id {twice!r} twice; ids must be unique")
        missing = [i for i in ids if group.contents is not None and i not in group.contents]
        if missing:
            raise ValueError(f"group {group.id!r}: contents lacks response {missing[0]!r}; give every text or none")
        if options.length_covariate and group.contents is None:
            raise ValueError(f"length_covariate=True needs the contents of group {group.id!r}")
        if options.anchor_id is not None and options.anchor_id not in ids:
            raise ValueError(f"anchor_id={options.anchor_id!r} is not a response of group {group.id!r}")
        self.group = group
        text = group.contents if group.contents is not None else {i: i for i in ids}
        order = ids if options.compat else sorted(ids, key=lambda i: (text[i], i))
        self.items: list[str] = []
        number_of: dict[str, int] = {}
        for i in order:
            if text[i] not in number_of:
                number_of[text[i]] = len(self.items)
                self.items.append(i)
        self.member_of = {i: number_of[text[i]] for i in ids}
        self.options = options.settled(len(self.items))
        digest = hashlib.sha256()
        for i in self.items:
            encoded = text[i].encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        self._rng = np.random.default_rng([options.seed & (2**64 - 1), int.from_bytes(digest.digest()[:8], "little")])
        self.records: list[Record] = []
        self.played: list[tuple[Pair, Totals | None]] = []
        self.calls = self.rounds = 0
        self.keys: list[Key | None] | None = None
        self.byes: list[tuple[int, int, str]] = []
        self._input_place = {self.member_of[i]: place for place, i in reversed(list(enumerate(ids)))}
        self._orient = self._make_orient()
        self._tournament: Play | None = None
        self._pairs: list[Pair] = []
        self._skipped: list[Pair] = []
        self._open: list[Record] = []
        self._stage: str | None = None
        if len(self.items) > 1:
            self._tournament = self._start()
            self._enter(next(self._tournament, []))
            self._settle_unaffordable()

    # -- what to ask -------------------------------------------------------------------------------------------------

    @property
    def planned_comparisons(self) -> int:
        """Comparisons of the method as asked for, before a call budget cuts a topology short."""
        n, o = len(self.items), self.options
        if n < 2:
            return 0
        if o.method == "round_robin":
            return n * (n - 1) // 2
        if o.method == "anchor":
            return n - 1
        if o.method in ("single_elimination", "double_elimination"):
            return 2 * (n - 1)
        if o.method == "swiss":
            return n // 2 * (min(o.rounds, n - 1) if o.rounds is not None else default_rounds(n))
        return self._pair_budget()

    @property
    def cut_by_budget(self) -> bool:
        """True when ``max_calls`` kept the method from asking all it would have asked."""
        limit = self.options.max_calls
        if limit is None or len(self.items) < 2:
            return False
        if self.options.method in TOPOLOGIES:
            return any(r.outcome.status == "budget_exhausted" for r in self.records)
        return self._pair_budget() < self._unlimited_pairs()

    def next_calls(self) -> list[Call]:
        """The next parallel round; empty when the group is finished. Give the outcomes to :meth:`feed`."""
        if not self._open:
            done = len(self.played)
            self._open = [
                Record(a, b, self.rounds, comparison=done + number, stage=self._stage)
                for number, pair in enumerate(self._pairs)
                for a, b in self._orient(pair)
            ]
        return [Call(self.group.id, self.items[r.first], self.items[r.second], r.round) for r in self._open]

    def feed(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of :meth:`next_calls`, one for each call, in the same order."""
        if len(outcomes) != len(self._open):
            raise ValueError(f"group {self.group.id!r}: {len(outcomes)} outcomes for {len(self._open)} calls")
        for record, outcome in zip(self._open, outcomes, strict=True):
            record.outcome = outcome
        self.calls += len(self._open)
        self.rounds += bool(self._open)
        self.records += self._open
        per_pair = len(self._open) // len(self._pairs) if self._pairs else 1
        groups = [self._open[k : k + per_pair] for k in range(0, len(self._open), per_pair)]
        results = [_totals(pair, records) for pair, records in zip(self._pairs, groups, strict=True)]
        self._open = []
        self._advance(results)
        self._settle_unaffordable()

    def _advance(self, results: list[Totals | None]) -> None:
        pairs = self._pairs + self._skipped
        results = results + [None] * len(self._skipped)
        self.played += zip(pairs, results, strict=True)
        self._pairs, self._skipped = [], []
        assert self._tournament is not None
        try:
            self._enter(self._tournament.send(results))
        except StopIteration as stop:
            self.keys = stop.value

    def _enter(self, pairs: list[Pair]) -> None:
        """Take the next round of the tournament or design."""
        self._pairs = list(pairs)
        self._stage = pairs.stage if isinstance(pairs, Round) else None
        if isinstance(pairs, Round):
            self.byes += [(player, self.rounds, pairs.stage) for player in pairs.byes]

    def _settle_unaffordable(self) -> None:
        """Cut the round to the budget; rounds nobody can pay for pass without a call."""
        limit = self.options.max_calls
        while self._pairs and limit is not None:
            affordable = (limit - self.calls) // self._per_pair
            self._skipped = self._pairs[affordable:]
            self._pairs = self._pairs[:affordable]
            missed = Outcome(status="budget_exhausted")
            number = len(self.played) + len(self._pairs)
            self.records += [
                Record(a, b, self.rounds, missed, number + k, self._stage) for k, (a, b) in enumerate(self._skipped)
            ]
            if self._pairs:
                return
            self._advance([])

    # -- the methods -------------------------------------------------------------------------------------------------

    @property
    def _per_pair(self) -> int:
        return 2 if self.options.both_orders else 1

    def _unlimited_pairs(self) -> int:
        """Comparisons a one-round or adaptive design would ask without a budget."""
        n, o = len(self.items), self.options
        if o.both_orders and n == 2 and o.degree is None:
            return 1
        return designs.default_budget(n, o.degree)

    def _pair_budget(self) -> int:
        """The same within the budget."""
        pairs, limit = self._unlimited_pairs(), self.options.max_calls
        return pairs if limit is None else min(pairs, limit // self._per_pair)

    def _start(self) -> Play:
        n, o, rng = len(self.items), self.options, self._rng
        if o.method == "round_robin":
            return round_robin(n, rng)
        if o.method == "swiss":
            return swiss(n, rng, o.rounds)
        if o.method == "double_elimination":
            return double_elimination(n, rng)
        if o.method in ("anchor", "single_elimination"):
            chosen = self.member_of[o.anchor_id] if o.anchor_id else 0 if o.compat else int(rng.integers(n))
            return anchor(n, rng, chosen) if o.method == "anchor" else single_elimination(n, rng, chosen, o.compat)
        if o.method == "adaptive":
            return self._adaptive(self._pair_budget())
        make = designs.random_pairs if o.method == "random" and n > 2 else designs.balanced_cycles
        return self._one_round(make(n, self._pair_budget(), rng))

    def _one_round(self, pairs: list[Pair]) -> Play:
        if pairs:
            yield pairs
        return None

    def _adaptive(self, budget: int) -> Play:
        n, rounds = len(self.items), self.options.rounds
        met = np.zeros((n, n))
        lead = np.zeros(n)
        opening = budget if rounds == 1 else min(n, budget)
        pairs = designs.balanced_cycles(n, opening, self._rng)
        for a, b in pairs:
            designs.note(a, b, met, lead)
        while pairs:
            yield pairs
            budget -= len(pairs)
            if budget <= 0:
                return None
            theta, cov, variance = self._current_fit()
            # Usually everybody plays once a round; with a limit of rounds, as often as the budget needs.
            wanted = n // 2 if rounds is None else math.ceil(budget / max(rounds - self.rounds, 1))
            wanted = min(wanted, budget)
            pairs = []
            while len(pairs) < wanted:
                room = min(n // 2, wanted - len(pairs))
                found = designs.adaptive_round(theta, cov, variance, met, lead, room, self._rng)
                for a, b in found:
                    designs.note(a, b, met, lead)
                pairs += found
        return None

    def _current_fit(self) -> tuple[np.ndarray, np.ndarray, float]:
        o = self.options
        evidence = Evidence.from_records(len(self.items), [self.records])
        if o.estimator == "bt" or not graded(self.records):
            fit = fit_bt(evidence, o.prior_variance)
        else:
            model = LinearModel(evidence, sum(o.score_range) / 2, use_sums=o.estimator != "ls_margin")
            fit = model.fit(o.noise or estimate_noise([model]))
        assert fit.cov_GNN is not None
        return fit.theta_GN[0], fit.cov_GNN[0], fit.call_variance

    def _make_orient(self) -> Callable[[Pair], list[Pair]]:
        policy = self.options.order_policy
        if self.options.both_orders:
            return both_orders
        if policy == "random_single":
            return random_order(self._rng)
        if policy == "given":
            place = self._input_place
            return lambda pair: [pair if place[pair[0]] < place[pair[1]] else pair[::-1]]
        if self.options.method in TOPOLOGIES:
            return balanced_order(len(self.items), self._rng)
        return lambda pair: [pair]  # designs are balanced by construction


def graded(records: Sequence[Record]) -> bool:
    """True when every valid call came with scores (and there is one)."""
    valid = [r.outcome for r in records if r.outcome.valid]
    return bool(valid) and all(outcome.graded for outcome in valid)


def _totals(pair: Pair, records: Sequence[Record]) -> Totals | None:
    """Sums of a pair over its calls; None when one of them failed, because half a comparison is not one."""
    if not all(r.outcome.valid for r in records):
        return None
    use_scores = all(r.outcome.graded for r in records)
    total = {pair[0]: 0.0, pair[1]: 0.0}
    for r in records:
        share = r.outcome.first_share
        first, second = r.outcome.scores if use_scores else (share, 1 - share)
        total[r.first] += first
        total[r.second] += second
    if math.isclose(total[pair[0]], total[pair[1]], rel_tol=1e-12, abs_tol=1e-12):
        total[pair[1]] = total[pair[0]]  # 0.1 + 0.2 against 0.3 is a draw
    return total[pair[0]], total[pair[1]]
