"""Rollouts of our runs as OpenEnv's validated token captures (its ``TrainingTrace``)."""

from __future__ import annotations

from typing import Any

from ...schema import Rollout


def training_entries(rollout: Rollout) -> list[dict[str, Any]]:
    """Token records of a rollout for ``openenv.core.harness.training.TrainingTrace.from_entries``.

    Args:
        rollout: with its turns, as the trainer writes them to ``rollouts/step-*.jsonl``.

    Returns:
        One entry a turn, in order. The mask covers prompt and completion; only sampled tokens have 1. Rewards are no
        part of OpenEnv's record.

    Example:
        >>> from palaestra.schema import Turn
        >>> turn = Turn(prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.5,))
        >>> training_entries(Rollout(id="r", task_id="t", turns=(turn,)))[0]["loss_mask"]
        [0, 0, 1]
    """
    return [
        {
            "prompt_token_ids": list(turn.prompt_ids),
            "completion_token_ids": list(turn.completion_ids),
            "per_token_logps": list(turn.logprobs),
            "loss_mask": [0] * len(turn.prompt_ids) + [1] * len(turn.completion_ids),
            "metadata": {
                "node_id": f"{rollout.id}/{number}",
                "group_id": rollout.group_id,
                "policy_version": turn.policy_version,
                "stop": turn.stop,
            },
        }
        for number, turn in enumerate(rollout.turns)
    ]
