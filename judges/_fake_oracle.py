"""A judge whose opinions are known: it reads our judge prompts and answers from a table of true qualities."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

BLOCK = re.compile(r"\[\[BEGIN ([A-Z]+(?: [A-Za-z0-9]+)?) ([0-9a-f]{16})\]\]\n(.*?)\n\[\[END \1 \2\]\]", re.S)
TASK = re.compile(r"^Task: (\w+)$", re.M)
NUMBER_SLOT = re.compile(r'("(?:[^"\\]|\\.)*"): <number from (\S+) to (\S+)>')
LABEL_SLOT = re.compile(r'"label": <one of (\[.*?\])>')


def content_hash(text: str) -> str:
    """The hex sha256 under which a text may be listed in ``Oracle.quality``."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def default_quality(text: str) -> float:
    """A standard-normal number that is a pure function of the text."""
    return random.Random(content_hash(text)).gauss(0.0, 1.0)


@dataclass
class Oracle:
    """A scripted judge with known quality, bias and noise; hand it to `FakeOpenAI` as its script.

    Args:
        quality: true quality of a text in standard deviations: a function, or a table by text or by its sha256
            (texts that are not in it get a number drawn from their hash).
        position_bias: advantage of whatever is shown first, in quality standard deviations.
        noise: standard deviation of a call's error on the margin between two responses.
        common_noise: standard deviation of the error both scores of a call share.
        tie_band: margins below this are called a tie.
        points_per_quality: score points (on 0 to 10) for one standard deviation of quality.
        cluster: which cluster a text truly belongs to (for same/different and clustering questions).
        false_same, false_different: error rates of same/different answers.

    A reply depends on the request alone (and the server's seed), so the order of arrival does not matter.
    """

    quality: Callable[[str], float] | Mapping[str, float] | None = None
    position_bias: float = 0.0
    noise: float = 0.0
    common_noise: float = 0.0
    tie_band: float = 0.0
    points_per_quality: float = 1.2
    cluster: Callable[[str], Hashable] | None = None
    false_same: float = 0.0
    false_different: float = 0.0

    def true_quality(self, text: str) -> float:
        """Quality of a text as configured."""
        if callable(self.quality):
            return float(self.quality(text))
        table = self.quality or {}
        for key in (text, content_hash(text)):
            if key in table:
                return float(table[key])
        return default_quality(text)

    def answer(self, prompt: str, rng: random.Random) -> str | None:
        """The JSON text of the verdict on one of our judge prompts; None for any other prompt."""
        task = TASK.search(prompt)
        if task is None:
            return None
        blocks = {name: text for name, _, text in BLOCK.findall(prompt)}
        responses = {name.removeprefix("RESPONSE").strip(): t for name, t in blocks.items() if "RESPONSE" in name}
        handler = getattr(self, f"_{task[1]}", None)
        if handler is None or not responses:
            return None
        return json.dumps({"reasoning": "compared by table", **handler(prompt, responses, rng)}, ensure_ascii=False)

    def _points(self, latent: float) -> float:
        return min(10.0, max(0.0, math.floor(2 * (5 + self.points_per_quality * latent) + 0.5) / 2))

    def _pointwise(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        latent = self.true_quality(next(iter(responses.values()))) + self.noise * rng.gauss(0, 1)
        share = self._points(latent) / 10
        slots = {json.loads(n): (float(lo), float(hi)) for n, lo, hi in NUMBER_SLOT.findall(prompt)}
        return {"scores": {name: lo + (hi - lo) * share for name, (lo, hi) in slots.items()}}

    def _pairwise(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        first, second = (self.true_quality(responses[slot]) for slot in ("1", "2"))
        margin = first - second + self.position_bias + self.noise * rng.gauss(0, 1)
        middle = (first + second) / 2 + self.common_noise * rng.gauss(0, 1)
        tie = abs(margin) <= self.tie_band
        verdict: dict[str, Any] = {"winner": "tie" if tie else "1" if margin > 0 else "2"}
        if '"score_1"' in prompt:
            half = 0.0 if tie else margin / 2
            verdict = {"score_1": self._points(middle + half), "score_2": self._points(middle - half), **verdict}
        return verdict

    def _listwise(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        last = max(1, len(responses) - 1)
        return {
            "scores": {
                label: self._points(
                    self.true_quality(text) + self.noise * rng.gauss(0, 1) + self.position_bias * (0.5 - slot / last)
                )
                for slot, (label, text) in enumerate(responses.items())
            }
        }

    def _same(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        same = self._key(responses["1"]) == self._key(responses["2"])
        if rng.random() < (self.false_different if same else self.false_same):
            same = not same
        return {"verdict": "same" if same else "different", "confidence": 0.9}

    def _cluster(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        clusters: dict[Hashable, list[str]] = {}
        for label, text in responses.items():
            clusters.setdefault(self._key(text), []).append(label)
        return {"clusters": list(clusters.values())}

    def _label(self, prompt: str, responses: dict[str, str], rng: random.Random) -> dict[str, Any]:
        slot = LABEL_SLOT.search(prompt)
        labels = json.loads(slot[1]) if slot else ["yes", "no"]
        return {"label": labels[0] if self.true_quality(next(iter(responses.values()))) > 0 else labels[-1]}

    def _key(self, text: str) -> Hashable:
        return self.cluster(text) if self.cluster else " ".join(text.casefold().split())
