"""Reward functions for trainers that call one: TRL and verl. Both ask a judge server through `JudgeClient`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .client import JudgeClient, RubricLike
from .errors import JudgeError


class TRLReward:
    """A reward function for TRL's trainers: groups completions by prompt and ranks each group once.

    Use it as ``GRPOTrainer(reward_funcs=[TRLReward(JudgeClient(url))], ...)``. What could not be judged becomes None,
    which TRL leaves out; length and order are those of the call.

    Args:
        client: the judge server.
        mode: ``rank`` (one ranking a prompt) or ``score`` (a rubric).
        rubric: name of a rubric or a rubric.
        reference_column: column with the known answers, for the judge only.
        on_error: ``none`` gives None to every completion when the server fails as a whole; ``raise`` stops the run.
        options: passed on to `JudgeClient.rank` or `JudgeClient.score`.
    """

    def __init__(
        self,
        client: JudgeClient,
        *,
        mode: str = "rank",
        rubric: RubricLike = None,
        reference_column: str | None = None,
        on_error: str = "raise",
        **options: Any,
    ):
        if mode not in ("rank", "score"):
            raise ValueError(f"mode is {mode!r}; use 'rank' or 'score'")
        if on_error not in ("none", "raise"):
            raise ValueError(f"on_error is {on_error!r}; use 'none' or 'raise'")
        self.client, self.mode, self.rubric = client, mode, rubric
        self.reference_column, self.on_error, self.options = reference_column, on_error, options
        self.__name__ = f"palaestra_{mode}"  # TRL names its metrics after the function

    async def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Rewards in the order of ``completions``."""
        references: Sequence[Any] = columns.get(self.reference_column or "") or [None] * len(prompts)
        rows = [
            {"id": f"{i}", "prompt": _text(p), "response": _text(c), "reference": r}
            for i, (p, c, r) in enumerate(zip(prompts, completions, references, strict=True))
        ]
        try:
            found = await (
                self._rank(rows) if self.mode == "rank" else self.client.score(rows, self.rubric, **self.options)
            )
        except JudgeError:
            if self.on_error == "raise":
                raise
            return [None] * len(rows)
        rewards = {result.rollout_id: result.reward for result in found}
        return [rewards.get(row["id"]) for row in rows]

    async def _rank(self, rows: list[dict[str, Any]]) -> list[Any]:
        groups: dict[str, dict[str, Any]] = {}
        for row in rows:
            key = repr((row["prompt"], row["reference"]))
            group = groups.setdefault(
                key,
                {
                    "id": f"group-{uuid.uuid4().hex[:8]}",
                    "prompt": row["prompt"],
                    "reference": row["reference"],
                    "responses": [],
                },
            )
            group["responses"].append({"id": row["id"], "response": row["response"]})
        # Ids are unique over the whole call, so the groups' results can be put together.
        return await self.client.rank(list(groups.values()), rubric=self.rubric, **self.options)


def _text(value: Any) -> Any:
    """Text as it is, conversations as message dicts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return [dict(value)]
    return [dict(message) for message in value]


def verl_compute_score(
    client: JudgeClient, rubric: RubricLike = None, *, fill: float | None = None
) -> Callable[..., Any]:
    """An async ``compute_score`` for verl's reward loop.

    Args:
        client: the judge server.
        rubric: name of a rubric or a rubric.
        fill: score for what could not be judged. Without it that raises, since verl has no word for "no reward".

    Returns:
        ``compute_score(data_source, solution_str, ground_truth, extra_info=None, **_)`` giving ``{"score", "status"}``.
    """

    async def compute_score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **_: Any
    ) -> dict[str, Any]:
        prompt = extra_info.get("question", "") if isinstance(extra_info, Mapping) else ""
        row = {"id": "one", "prompt": str(prompt), "response": solution_str, "reference": ground_truth}
        result = (await client.score([row], rubric, metadata={"data_source": str(data_source)}))[0]
        if result.reward is None:
            if fill is None:
                raise JudgeError(f"not judged: {result.error or result.status.value}", code=result.status.value)
            return {"score": fill, "status": result.status.value}
        return {"score": result.reward, "status": result.status.value}

    return compute_score
