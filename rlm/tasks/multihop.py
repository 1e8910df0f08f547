"""F4, multi-hop lookup (BrowseComp-like): one fact a document, a question that composes relations, hard negatives."""

from __future__ import annotations

from collections import deque

from .base import Rng, Spec, Stream, family
from .words import ADJECTIVES, FIRST, LAST, NOUNS, filler, half

RELATIONS = ("mentor", "landlord", "accountant", "translator", "rival", "godparent", "employer", "biographer")
_RULE = "Where two documents disagree, the one with the later date is right."


@family
def multihop(
    rng: Rng,
    length_chars: int,
    hops: int = 3,
    ask: str = "lookup",
    branching: int = 2,
    alias_rate: float = 0.5,
    contradictions: int = 2,
    padding: int = 2,
    similarity: float = 0.3,
    split: str = "train",
) -> Stream:
    """A chain of `hops` facts among documents that share its relations or its people.

    Args:
        hops: facts to chain, 1 to 8.
        ask: ``lookup`` (who is the r1 of the r2 of X) or ``reach`` (how many people within `hops` steps of X).
        branching: facts of other relations about each person of the chain; for ``reach``, facts that lead on.
        alias_rate: how often a person is named by an alias that only another document explains.
        contradictions: outdated facts about links of the chain, overruled by date.
        similarity: share of the other documents that name a person of the chain as somebody else's relation: they match
            a search for the person and for the relation, and lead nowhere.
        padding: filler sentences a document. Below 4000 characters there is none, and at most one distractor of a
            kind.
        split: names of the train or of the evaluation half.
    """
    if not 1 <= hops <= 8 or ask not in ("lookup", "reach") or not (0 <= alias_rate <= 1 and 0 <= similarity <= 1):
        raise ValueError(
            f"hops={hops}, ask={ask!r}, alias_rate={alias_rate}, similarity={similarity}: allowed are 1-8, "
            "lookup|reach, 0-1, 0-1"
        )
    if length_chars < 4_000:
        branching, contradictions, padding = min(branching, 1), min(contradictions, 1), 0
    names = [f"{a} {b}" for a in half(FIRST, split) for b in half(LAST, split)]
    cast = rng.some(names, len(names))
    n_core = min(len(cast) // 2, hops + 1 + hops * branching)
    core, others = cast[:n_core], cast[n_core:]
    chain = core[: hops + 1]
    path = [rng.pick(RELATIONS) for _ in range(hops)]
    facts: dict[tuple[str, str], str] = {}
    for who, relation, whom in zip(chain[:-1], path, chain[1:], strict=True):
        facts[who, relation] = whom
    for person in chain[: hops + 1]:  # hard negatives: the same person, another relation
        for _ in range(branching):
            relation = rng.pick(RELATIONS)
            facts.setdefault((person, relation), rng.pick(core if ask == "reach" else others))
    aliases = {
        person: f"the {adjective} {noun}"
        for person, adjective, noun in zip(
            core, rng.some(ADJECTIVES, min(n_core, len(ADJECTIVES))), _cycle(half(NOUNS, split), n_core), strict=False
        )
        if rng.random() < alias_rate
    }

    def fact(who: str, relation: str, whom: str, year: int) -> str:
        a = aliases[who] if who in aliases and rng.random() < 0.5 else who
        b = aliases[whom] if whom in aliases and rng.random() < 0.5 else whom
        text = rng.pick(("the {r} of {a} is {b}", "{b} is the {r} of {a}", "as {r}, {a} has {b}"))
        sentence = text.replace("{r}", relation).replace("{a}", a).replace("{b}", b)
        return f"Dated {year}: {sentence}.\n"

    needed = [fact(who, relation, whom, rng.between(2010, 2020)) for (who, relation), whom in facts.items()]
    needed += [f"{person} is also known as {alias}.\n" for person, alias in aliases.items()]
    for _ in range(contradictions if ask == "lookup" else 0):
        step = rng.below(hops)
        wrong = rng.pick([p for p in others if p != chain[step + 1]])
        needed.append(fact(chain[step], path[step], wrong, rng.between(1990, 2005)))
    if sum(map(len, needed)) + 200 * (1 + padding) > length_chars and hops > 1:
        raise ValueError(
            f"multihop: hops={hops} needs about {2 * sum(map(len, needed))} characters, not {length_chars}"
        )

    room = length_chars - sum(map(len, needed))
    queue = sorted(((rng.random() * room * 0.9, i) for i in range(len(needed))), reverse=True)
    used: set[tuple[str, str]] = set()
    ends: list[int] = []
    offset = plain = 0
    while True:
        left = length_chars - offset - sum(len(needed[i]) for _, i in queue)
        if queue and (queue[-1][0] <= plain or left < 200 * (1 + padding)):
            body = needed[queue.pop()[1]]
            document = body
        else:
            body = _distractor(rng, others, chain, similarity, used)
            document = body
            plain += len(body)
        extra = "".join(filler(rng) for _ in range(padding)) + "\n"
        if offset + len(document) + len(extra) + sum(len(needed[i]) for _, i in queue) <= length_chars:
            document += extra
            plain += len(extra)
        if offset + len(document) > length_chars:
            break
        yield document
        offset += len(document)
        ends.append(offset)

    if ask == "lookup":
        gold: object = _follow(facts, chain[0], path)
        question = (
            "Who is " + "".join(f"the {r} of " for r in reversed(path)) + f"{chain[0]}? Answer with the full name."
        )
    else:
        gold = len(_reach(facts, chain[0], hops))
        question = (
            f"A person leads to another when some document makes the second a {', a '.join(RELATIONS[:-1])} or a "
            f"{RELATIONS[-1]} of the first. How many people other than {chain[0]} can be reached from {chain[0]} in at "
            f"most {hops} steps? Answer with one integer."
        )
    note = (
        f"The context is a list of {len(ends)} documents. {_RULE} Some people go by an alias that a document explains."
    )
    return Spec(
        f"{note} {question}",
        gold,
        "exact" if ask == "lookup" else "number",
        {
            "facts": [(*key, whom) for key, whom in facts.items()],
            "start": chain[0],
            "path": path,
            "aliases": aliases,
            "documents": len(ends),
            "baselines": {"code_only_oracle": 1.0, "majority": 1 / len(names)},
        },
        documents=tuple(ends),
    )


def _distractor(rng: Rng, people: list[str], chain: list[str], similarity: float, used: set[tuple[str, str]]) -> str:
    """A fact about somebody outside the chain. One person has one holder of a relation; repeats say something else."""
    for _ in range(4):
        who, relation = rng.pick(people), rng.pick(RELATIONS)
        if (who, relation) not in used:
            used.add((who, relation))
            whom = rng.pick(chain if rng.random() < similarity else people)
            return f"Dated {rng.between(1990, 2020)}: the {relation} of {who} is {whom}.\n"
    return f"Dated {rng.between(1990, 2020)}: {rng.pick(people)} and {rng.pick(people)} met once.\n"


def _cycle(items: list[str], n: int) -> list[str]:
    return [items[i % len(items)] for i in range(n)]


def _follow(facts: dict[tuple[str, str], str], start: str, path: list[str]) -> str:
    for relation in path:
        start = facts[start, relation]
    return start


def _reach(facts: dict[tuple[str, str], str], start: str, steps: int) -> set[str]:
    """People within `steps` of `start`, itself left out. People outside the cast may be reached but lead on by their
    own facts only when those are among `facts`."""
    seen, frontier = {start}, deque([(start, 0)])
    while frontier:
        person, distance = frontier.popleft()
        if distance == steps:
            continue
        for (who, _), whom in facts.items():
            if who == person and whom not in seen:
                seen.add(whom)
                frontier.append((whom, distance + 1))
    return seen - {start}
