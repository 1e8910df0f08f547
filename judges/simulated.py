"""A judge made of simulated people: the annotator pool behind the interface of every other judge.

With it, servers, rankings and calibrations can be tried with known noise and bias, without a model or a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..schema import RewardStatus
from .annotators import Annotator, AnnotatorPool
from .base import Judge, PairQuestion
from .context import Context, RawVerdict


class SimulatedJudge(Judge):
    """Compares like a crowd: each pair goes to one member of a pool, always the same for the same seed.

    Args:
        quality: true utility of a text, a function or a table by text.
        members: the pool; `default_pool` when None.
        seed: another seed is another crowd.
    """

    kind = "simulated"
    capabilities = ("compare",)
    graded = False

    def __init__(
        self,
        name: str,
        quality: Callable[[str], float] | Mapping[str, float],
        members: Sequence[Annotator] | None = None,
        *,
        seed: int = 0,
    ):
        super().__init__(name)
        self._quality = quality
        self._members, self._seed = members, seed

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """The verdict of one annotator on the two texts as shown."""
        texts = (question.first, question.second)
        utility, lengths = {text: self._utility(text) for text in texts}, {text: len(text) for text in texts}
        pool = AnnotatorPool(utility, lengths, self._members, self._seed)
        return RawVerdict(RewardStatus.OK, {"winner": pool.compare(*texts).winner})

    def _utility(self, text: str) -> float:
        return float(self._quality(text) if callable(self._quality) else self._quality[text])
