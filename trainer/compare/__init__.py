"""Compare objectives fairly: one start, the same tasks, budget and seeds, one folder a run, one table.

    from palaestra.trainer.compare import Plan, compare

    comparison = compare("run.toml", Plan(objectives=("grpo", "uniqueness"), seeds=(0, 1, 2)), "runs/compare")
    print(comparison.markdown())

A cell is an objective with its parameters (`uniqueness:alpha=1.0`) and a seed. Finished cells are kept: running the
same comparison again continues it.
"""

from .measure import Measurement, measure
from .plan import Arm, Plan
from .run import Comparison, compare

__all__ = ["Arm", "Comparison", "Measurement", "Plan", "compare", "measure"]
