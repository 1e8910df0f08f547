"""The traveller, by script: a small state machine that keeps wishes back until asked about their topic.

States: ``open`` (answers), ``done`` (asked too often; answers no more). A question about several topics at once, or
about everything, is sent back, so asking well pays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import clock, constraints
from .query import Query

TOPICS: dict[str, tuple[str, ...]] = {
    "transport": (
        "transport",
        "train",
        "trains",
        "flight",
        "flights",
        "fly",
        "flying",
        "bus",
        "buses",
        "mode",
        "modes",
    ),
    "return": ("return", "back", "home", "arrive", "arrival", "deadline"),
    "food": ("food", "meal", "meals", "eat", "eating", "cuisine", "cuisines", "restaurant", "restaurants", "diet"),
    "hotel": ("hotel", "hotels", "room", "rooms", "sleep", "accommodation", "stars", "pet", "pets", "dog"),
    "sights": ("sight", "sights", "see", "visit", "visits", "attraction", "attractions", "museum", "museums"),
    "weather": ("weather", "rain", "storm", "forecast"),
    "walking": ("walk", "walking", "foot", "distance"),
    "money": ("money", "budget", "cost", "costs", "price", "spend"),
}


@dataclass
class Traveller:
    """Answers questions about one query.

    Attributes:
        query: what the traveller wants.
        told: kinds of withheld constraints that were told.
        asked: questions so far.
        state: ``open`` or ``done``.
    """

    query: Query
    told: set[str] = field(default_factory=set)
    asked: int = 0
    state: str = "open"

    @property
    def patience(self) -> int:
        """Questions that are answered."""
        return 3 + 2 * len(self.query.withheld)

    def answer(self, question: str) -> str:
        """The traveller's answer; whole words of the question decide its topic."""
        if self.state == "done":
            return "I have said enough. Please go on with what you know."
        self.asked += 1
        if self.asked >= self.patience:
            self.state = "done"
        words = set(re.findall(r"[a-z]+", question[:1000].lower()))
        topics = [topic for topic, known in TOPICS.items() if words & set(known)]
        if not topics:
            return f"What would you like to know? Ask about one of: {', '.join(TOPICS)}."
        if len(topics) > 1:
            return f"One thing at a time, please: {' or '.join(topics)}?"
        return self._tell(topics[0])

    def _tell(self, topic: str) -> str:
        lines = []
        for constraint in self.query.constraints:
            if constraints.topic(constraint.kind) == topic:
                lines.append(constraints.text(constraint))
                self.told.add(constraint.kind)
        if topic == "money":
            lines.append(budget_text(self.query))
            self.told.add("budget")
        return " ".join(lines) if lines else f"Nothing in particular about {topic}."


def budget_text(query: Query) -> str:
    """The budget as the traveller says it."""
    return f"We can spend {clock.money(query.budget)} ({query.budget} cents) on everything."
