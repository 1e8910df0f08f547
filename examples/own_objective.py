"""An objective of your own: GRPO in which long answers earn a little less.

In a package, publish it with an entry point in pyproject.toml, and it stands beside the built-in ones:

    [project.entry-points."palaestra.objectives"]
    short_grpo = "my_package.short_grpo:SHORT_GRPO"

    palaestra objectives short_grpo
    palaestra train run.toml --set objective.name=short_grpo --set objective.price=0.2

Here it is registered for this process instead: python examples/own_objective.py
"""

import numpy as np

from palaestra.trainer import objectives
from palaestra.trainer.objectives import Method, Params, RolloutBatch
from palaestra.trainer.objectives.advantages import group_advantage


class ShortParams(Params):
    """A misspelt parameter fails with its name; docstrings under fields become the manual."""

    price: float = 0.1
    """Reward taken off a response of full length."""


def build(params: ShortParams) -> objectives.Objective:
    """Compose the parts; torch is imported here, so that listing objectives stays light."""
    from palaestra.trainer.objectives.losses import ppo_clip

    def shape(group: RolloutBatch) -> np.ndarray:
        return group.rewards_B - params.price * group.lengths_B / group.max_length

    return objectives.Objective("short_grpo", advantage=group_advantage, loss=ppo_clip(), shape=shape)


SHORT_GRPO = Method(
    name="short_grpo",
    summary="GRPO in which long answers earn a little less",
    paper="this file",
    params=ShortParams,
    build=build,
    formula="r_i <- r_i - price |y_i| / L_max; then grpo",
    when="answers grow without getting better",
    parts="shape: length price; advantage: group; loss: ppo_clip",
    requires=("group",),
)


def main() -> None:
    """Show what it does to a group."""
    objectives.register(SHORT_GRPO)
    objective = objectives.get("short_grpo", {"price": 0.2})
    group = RolloutBatch(
        ids=("a", "b", "c"),
        group_ids_B=np.zeros(3, int),
        rewards_B=np.array([1.0, 1.0, 0.0]),
        lengths_B=np.array([10, 90, 50]),
        max_length=100,
    )
    shaped = group.with_rewards(objective.shape(group))
    print("shaped rewards:", shaped.rewards_B, "advantages:", objective.advantage(shaped).round(3))


if __name__ == "__main__":
    main()
