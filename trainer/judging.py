"""What judges add to played groups: clusters, ranks, diversity, rewards. A failed judge adds nothing, never zeros."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import ConfigError, JudgeConfig
from .judgements import Answered, judge_metrics, questions
from .objectives.types import Objective
from .rollout import Play


class JudgeFailed(RuntimeError):
    """The judge server could not do its part and the run is configured to stop then."""


@dataclass
class Verdicts:
    """Judgements by rollout id; what is missing was not judged.

    Attributes:
        clusters: label of the rollout inside its group.
        ranks: rank reward.
        diversity: diversity inside the group.
        rewards: reward that replaces the environment's; None = unscored.
        unplaced: rollouts that a partition could not place.
        failed_groups: ids of the groups that could not be judged; they train nothing.
        seconds: time spent waiting.
        requests: requests sent to the server.
        answers: every request and how it ended.
    """

    clusters: dict[str, int] | None = None
    ranks: dict[str, float] | None = None
    diversity: dict[str, float] | None = None
    rewards: dict[str, float | None] | None = None
    failed_groups: set[str] = field(default_factory=set)
    unplaced: int = 0
    seconds: float = 0.0
    requests: int = 0
    answers: list[Answered] = field(default_factory=list)

    def joined(self, other: Verdicts) -> Verdicts:
        """These judgements and those on further groups."""

        def both(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
            return None if a is None and b is None else {**(a or {}), **(b or {})}

        return Verdicts(
            clusters=both(self.clusters, other.clusters),
            ranks=both(self.ranks, other.ranks),
            diversity=both(self.diversity, other.diversity),
            rewards=both(self.rewards, other.rewards),
            unplaced=self.unplaced + other.unplaced,
            failed_groups=self.failed_groups | other.failed_groups,
            seconds=self.seconds + other.seconds,
            requests=self.requests + other.requests,
            answers=self.answers + other.answers,
        )

    def metrics(self) -> dict[str, float]:
        """What a step asked of judges, and what it got."""
        return {
            "judge_requests": float(self.requests),
            "judge_calls": float(questions(self.answers)),
            "judge_unplaced": float(self.unplaced),
            "judge_failed_groups": float(len(self.failed_groups)),
            **judge_metrics(self.answers),
        }


class Judging:
    """Asks for what an objective needs.

    Args:
        config: the [judge] section.
        objective: its `needs` decide what is asked.
        client: a `JudgeClient`; by default one for ``config.url``.

    Raises:
        ConfigError: something is needed that only a judge server can give, and none is configured.
    """

    def __init__(self, config: JudgeConfig, objective: Objective, client: Any = None) -> None:
        self.config = config
        self.needs = objective.needs
        self.ranking = dict(objective.ranking)
        if client is None and config.url:
            from ..judges import JudgeClient

            client = JudgeClient(
                config.url, token=config.token or None, judge=config.judge or None, deadline_s=config.timeout
            )
        self.client = client
        server_only: list[str] = [need for need in ("ranks", "diversity") if need in self.needs]
        if config.reward:
            server_only.append("reward")
        if server_only and client is None:
            raise ConfigError(
                f"judge.url is empty, but {' and '.join(server_only)} of objective {objective.name!r} come from a "
                "judge server; start one with `palaestra serve judges` and set judge.url"
            )

    @property
    def active(self) -> bool:
        """Whether anything is asked at all."""
        return self.config.reward or bool({"clusters", "ranks", "diversity"} & self.needs)

    def problems(self) -> list[str]:
        """What the server cannot do of what is asked, before anything is sampled; needs the server to be up."""
        from ..judges.errors import JudgeError

        if self.client is None or not self.active or not hasattr(self.client, "judges_sync"):
            return []
        try:
            offered = {judge.name: judge for judge in self.client.judges_sync()}
        except JudgeError as error:
            return [f"judge.url: {error}"]
        names = ", ".join(offered) or "none"
        if self.config.judge and self.config.judge not in offered:
            return [f"judge.judge = {self.config.judge!r} is not on the server; it offers: {names}"]
        able = [offered[self.config.judge]] if self.config.judge else list(offered.values())  # its default is not told
        wanted = {"compare": "ranks" in self.needs, "score": self.config.reward}
        return [
            f"judge {self.config.judge or names} cannot {what}, which this run asks of it; the server offers: {names}"
            for what, asked in wanted.items()
            if asked and not any(what in judge.capabilities for judge in able)
        ]

    def judge(self, plays: Sequence[Play]) -> Verdicts:
        """Judge played groups and wait for it.

        Raises:
            JudgeFailed: the server failed and ``judge.on_failure`` is ``stop``.
        """
        verdicts = Verdicts()
        if not self.active or not plays:
            return verdicts
        start = time.perf_counter()
        # Empty, not None: asked for, and nothing known yet.
        verdicts.clusters = {} if "clusters" in self.needs else None
        verdicts.ranks = {} if "ranks" in self.needs else None
        verdicts.diversity = {} if "diversity" in self.needs else None
        if self.config.reward:
            self._ask(verdicts, plays, self._score)
        if "clusters" in self.needs:
            if self.client is None:
                verdicts.clusters = self._clusters_of_environment(plays)
            else:
                self._ask(verdicts, plays, self._partition)
        if "ranks" in self.needs:
            self._ask(verdicts, plays, self._rank)
        if "diversity" in self.needs:
            self._ask(verdicts, plays, self._diversity)
        verdicts.seconds = time.perf_counter() - start
        return verdicts

    def close(self) -> None:
        """Close the client's connections."""
        close = getattr(self.client, "aclose_sync", None) or getattr(self.client, "close", None)
        if close is not None:
            close()

    def _ask(self, verdicts: Verdicts, plays: Sequence[Play], question: Any) -> None:
        from ..judges.errors import JudgeError

        wanted = [play for play in plays if play.group.id not in verdicts.failed_groups]
        if not wanted:
            return
        verdicts.requests += 1
        try:
            question(verdicts, wanted)
        except JudgeError as error:
            groups = tuple(play.group for play in wanted)
            verdicts.answers.append(Answered(question.__name__.lstrip("_"), groups, error=str(error)))
            if self.config.on_failure == "stop":
                named = bool(self.config.url) and self.config.url in str(error)
                raise JudgeFailed(
                    f"{'' if named else f'judge server {self.config.url}: '}{error}; start it again and resume, or set "
                    'judge.on_failure = "unscored" to carry on without its groups'
                ) from error
            verdicts.failed_groups |= {play.group.id for play in wanted}

    def _clusters_of_environment(self, plays: Sequence[Play]) -> dict[str, int]:
        right = any((r.reward or 0.0) > 0 for play in plays for r in play.group.rollouts)
        if right and not any(play.keys for play in plays):
            raise ConfigError(
                "the objective needs clusters, but judge.url is empty and this environment names no solutions "
                "(info['solution_key']); set judge.url"
            )
        clusters: dict[str, int] = {}
        for play in plays:
            labels: dict[str, int] = {}
            for rollout_id, key in play.keys.items():
                clusters[rollout_id] = labels.setdefault(key, len(labels))
            for rollout in play.group.rollouts:  # a reply the environment cannot read is like no other one
                clusters.setdefault(rollout.id, labels.setdefault(f"unread {rollout.id}", len(labels)))
        return clusters

    def _partition(self, verdicts: Verdicts, plays: Sequence[Play]) -> None:
        from ..judges.errors import JudgeError

        answers = self.client.partition_sync(
            [play.group for play in plays],
            scope=self.config.scope,
            method=self.config.method,
            on_reply=_recorder(verdicts, plays),
            correct={r.id: r.reward >= 1 for play in plays for r in play.group.rollouts if r.reward is not None},
        )
        verdicts.clusters = verdicts.clusters or {}
        for partition in answers:
            verdicts.clusters |= {rollout: label for rollout, label in partition.labels.items() if label is not None}
        for play in plays:  # a group of which nothing could be placed was not judged
            missing = [r.id for r in play.group.rollouts if r.id not in verdicts.clusters]
            verdicts.unplaced += len(missing)
            if len(missing) == len(play.group.rollouts):
                verdicts.failed_groups.add(play.group.id)
        right = {r.id for play in plays for r in play.group.rollouts if r.reward is not None and r.reward > 0}
        if right and not right & verdicts.clusters.keys():
            results = [result for partition in answers for result in partition.results if result.rollout_id in right]
            why = next((result.error for result in results if result.error), "it gives no reason")
            raise JudgeError(
                f"partition with scope {self.config.scope!r} placed none of {len(right)} right replies: {why}"
            )

    def _rank(self, verdicts: Verdicts, plays: Sequence[Play]) -> None:
        groups = [play.group for play in plays]
        results = self.client.rank_sync(groups, on_reply=_recorder(verdicts, plays), **self.ranking)
        verdicts.ranks = {r.rollout_id: r.reward for r in results if r.reward is not None}

    def _diversity(self, verdicts: Verdicts, plays: Sequence[Play]) -> None:
        answers = self.client.partition_sync(
            [play.group for play in plays], scope=self.config.scope, on_reply=_recorder(verdicts, plays)
        )
        verdicts.diversity = {}
        for partition in answers:
            verdicts.diversity |= {rollout: value for rollout, value in partition.darling.items() if value is not None}

    def _score(self, verdicts: Verdicts, plays: Sequence[Play]) -> None:
        results = self.client.score_sync([play.group for play in plays], on_reply=_recorder(verdicts, plays))
        verdicts.rewards = {r.rollout_id: r.reward for r in results}


def _recorder(verdicts: Verdicts, plays: Sequence[Play]) -> Callable[[str, Any], None]:
    """Keeps what the server answers among the verdicts."""
    groups = tuple(play.group for play in plays)
    return lambda operation, reply: verdicts.answers.append(Answered(operation, groups, reply))
