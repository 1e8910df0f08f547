"""Eight families of generated code problems. A new one is a function here and a line in `FAMILIES`.

Each takes a generator and a level from 1 to 3 and returns a problem with a reference, a wrong and a slow reply. Test
inputs are drawn per problem, so outputs learned by heart are worth nothing. (``predict`` has no slow reply: an answer
has no running time.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..problem import Problem
from .functions import function, predict
from .inverse import inverse
from .mutants import repair, test_writing
from .refactor import refactor
from .simulation import simulation
from .sql import sql

FAMILIES: dict[str, Callable[[np.random.Generator, int], Problem]] = {
    "function": function,
    "simulation": simulation,
    "repair": repair,
    "inverse": inverse,
    "predict": predict,
    "refactor": refactor,
    "sql": sql,
    "test_writing": test_writing,
}
LEVELS = (1, 2, 3)

__all__ = ["FAMILIES", "LEVELS"]
