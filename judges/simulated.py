"""Simulated annotators: judges with known noise and bias, for experiments without a model or a person.

A pool of annotators stands for a crowd: each has its own bias towards the first place, noise, taste for length and rate
of flipped verdicts, and which of them answers is drawn from the question, so that runs repeat.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..lm import Completion, Messages, Sampling, Usage
from ..schema import Message
from ._fake_oracle import BLOCK, Oracle


@dataclass(frozen=True)
class Annotator:
    """One simulated person.

    Attributes:
        noise: standard deviation of the error on a margin, in quality standard deviations.
        position_bias: advantage of what is shown first, likewise.
        length_bias: quality added per 1000 characters.
        flip: probability that a verdict of a comparison is turned around.
        tie_band: margins below this are a tie.
    """

    noise: float = 0.5
    position_bias: float = 0.0
    length_bias: float = 0.0
    flip: float = 0.0
    tie_band: float = 0.0


CROWD: tuple[Annotator, ...] = (
    Annotator(noise=0.4, position_bias=0.1),
    Annotator(noise=0.6, position_bias=0.3, length_bias=0.2),
    Annotator(noise=0.8, position_bias=-0.1, flip=0.1),
    Annotator(noise=0.5, length_bias=0.4, tie_band=0.2),
    Annotator(noise=1.0, position_bias=0.2, flip=0.2),
)
"""Five unlike annotators; a quarter of their verdicts differ from the truth on random pairs, roughly as people's do."""


class SimulatedModel:
    """A `LanguageModel` that answers our judge prompts like a crowd of annotators; use it in an `LLMJudge`.

    Args:
        quality: true quality of a text, as for `Oracle`.
        annotators: who may answer.
        seed: draws the annotator and the errors, together with the question and the sampling seed.
        cluster: true cluster of a text, for same/different questions.
    """

    def __init__(
        self,
        quality: Callable[[str], float] | Mapping[str, float] | None = None,
        annotators: Sequence[Annotator] = CROWD,
        *,
        seed: int = 0,
        cluster: Callable[[str], Any] | None = None,
        name: str = "simulated",
    ):
        if not annotators:
            raise ValueError("annotators is empty; give at least one")
        self.name = name
        self.annotators = tuple(annotators)
        self.seed = seed
        self.oracle = Oracle(quality=quality, cluster=cluster)

    async def complete(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        deadline_s: float | None = None,
        allow_empty: bool = False,
        may_retry: Callable[[], bool] | None = None,
    ) -> Completion:
        """The verdict of one annotator on one of our judge prompts.

        Raises:
            ValueError: for any other prompt.
        """
        text = "\n".join(m.text if isinstance(m, Message) else str(m.get("content") or "") for m in messages)
        digest = hashlib.sha256(f"{self.seed}:{sampling.seed}:{text}".encode("utf-8", "surrogatepass")).hexdigest()
        rng = random.Random(digest)
        person = rng.choice(self.annotators)
        oracle = replace(
            self.oracle, noise=person.noise, position_bias=person.position_bias, tie_band=person.tie_band,
            quality=lambda t: self.oracle.true_quality(t) + person.length_bias * len(t) / 1000,
        )  # fmt: skip
        answer = oracle.answer(text, rng)
        if answer is None:
            raise ValueError("a simulated annotator answers only the judge prompts of this package")
        if rng.random() < person.flip:
            answer = _flipped(answer)
        characters = sum(len(t) for _, _, t in BLOCK.findall(text))
        return Completion(answer, Usage(1, characters // 4, len(answer) // 4), "stop", self.name)


def _flipped(answer: str) -> str:
    """The verdict of a comparison turned around; other verdicts stay."""
    verdict = json.loads(answer)
    if "winner" in verdict:
        verdict["winner"] = {"1": "2", "2": "1"}.get(verdict["winner"], "tie")
        if "score_1" in verdict:
            verdict["score_1"], verdict["score_2"] = verdict["score_2"], verdict["score_1"]
    elif "verdict" in verdict:
        verdict["verdict"] = "different" if verdict["verdict"] == "same" else "same"
    return json.dumps(verdict)
