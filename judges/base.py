"""What every judge can be asked, and the runtime (cache, coalescing, log, metrics) judges share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..schema import RewardStatus
from .cache import VerdictCache
from .context import Context, RawVerdict, failed
from .replay import ReplayLog
from .rubric import Rubric
from .singleflight import SingleFlight
from .types import Item, ItemResult, JudgeInfo, Text, as_text


class Observer(Protocol):
    """Hears of every judge call; the server counts them in its metrics."""

    def call(self, judge: str, outcome: str, seconds: float, repaired: bool) -> None:
        """One question was answered, from wherever: ``outcome`` is a status, ``cached`` or ``coalesced``."""

    def canary(self, judge: str, probe: str, passed: bool | None) -> None:
        """A probe was asked; ``passed`` is None when it came to no score."""


@dataclass
class Runtime:
    """What judges of one server share."""

    cache: VerdictCache | None = None
    log: ReplayLog | None = None
    observer: Observer | None = None
    flights: SingleFlight[RawVerdict] = field(default_factory=SingleFlight)


@dataclass(frozen=True)
class PairQuestion:
    """Two texts of one prompt, in the order they are shown.

    ``sources`` are the same responses as they came: where they are conversations, a judge that has to cut them can cut
    tool output first.
    """

    prompt: str
    first: str
    second: str
    reference: Any = None
    allow_tie: bool = True
    rubric: Rubric | None = None
    sources: tuple[Text, Text] | None = None
    tag: Mapping[str, Any] = field(default_factory=dict)


class Judge:
    """Base of judges. What a kind of judge cannot do is answered with ``unsupported``, never with a number.

    Subclasses override what they can do and list it in ``capabilities``.
    """

    kind = "judge"
    capabilities: tuple[str, ...] = ()
    graded = True
    char_budget: int | None = None
    """Characters it is shown of each response; None when it sees all."""
    paid = False
    """Whether its verdicts cost calls: then budgets hold, and responses without content are not sent to it."""

    def __init__(self, name: str):
        self.name = name
        self.runtime = Runtime()

    def info(self) -> JudgeInfo:
        """Who this is."""
        return JudgeInfo(name=self.name, kind=self.kind, capabilities=self.capabilities)

    async def score_item(self, item: Item, rubric: Rubric, context: Context, *, sample: int = 0) -> ItemResult:
        """Score one response on a rubric."""
        return ItemResult(id=item.id, status=RewardStatus.UNSUPPORTED)

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """Values ``winner`` (first, second or tie) and, from a graded judge, ``score_first`` and ``score_second``."""
        return self._cannot("compare")

    async def same(self, question: PairQuestion, scope: str, context: Context) -> RawVerdict:
        """Value ``p_same``: probability that both are the same in a scope, None when undecided."""
        return self._cannot("same")

    async def listwise(
        self, prompt: str, responses: Mapping[str, str], reference: Any, rubric: Rubric | None, context: Context
    ) -> RawVerdict:
        """Value ``scores``: id to score, for every id."""
        return self._cannot("listwise")

    async def cluster(self, prompt: str, responses: Mapping[str, str], scope: str, context: Context) -> RawVerdict:
        """Value ``clusters``: lists of ids, as the judge gave them (not yet checked to be a partition)."""
        return self._cannot("cluster")

    async def label(self, instructions: str, item: Item, labels: Sequence[str], context: Context) -> RawVerdict:
        """Value ``label``: one of the labels."""
        return self._cannot("label")

    def calls_per_item(self, rubric: Rubric) -> int:
        """Model calls one item of this rubric takes."""
        return 0

    def price_of(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Dollars for so many tokens; None when no price is known."""
        return None

    def cuts(self, response: Text) -> bool:
        """Whether a response is too long to be shown whole."""
        return self.char_budget is not None and len(as_text(response)) > self.char_budget

    async def healthy(self) -> bool:
        """Whether the judge could answer now."""
        return True

    def _cannot(self, what: str) -> RawVerdict:
        return failed(RewardStatus.UNSUPPORTED, f"judge {self.name!r} ({self.kind}) cannot {what}")
