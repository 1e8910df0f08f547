"""F1, needle in a haystack (RULER style): one record among filler, asked by key. A regex solves paraphrase level 0."""

from __future__ import annotations

from .base import Rng, Spec, Stream, family
from .words import ADJECTIVES, FIRST, LAST, NOUNS, filler, half

_SYNONYMS = {"code": ("number", "cipher", "combination"), "of": ("kept by", "belonging to", "assigned to")}


def digits(value: int, base: int) -> str:
    """`value` written in `base` (2 to 36), lower case."""
    out = ""
    while value:
        value, d = divmod(value, base)
        out = "0123456789abcdefghijklmnopqrstuvwxyz"[d] + out
    return out or "0"


@family
def needle(
    rng: Rng,
    length_chars: int,
    depth: float | None = None,
    n_distractor: int = 1,
    collisions: bool = False,
    paraphrase: int = 0,
    form: str = "inline",
    base: int = 10,
    split: str = "train",
) -> Stream:
    """One record ``The {adjective} {noun} code of {person} is {six digits}.`` hidden in filler.

    Args:
        depth: where the record stands, 0 to 1; None draws a decile.
        n_distractor: records whose key differs in one word (in two where there are more than 20), up to 10,000; fewer
            where they would fill more than a third of the text, and stated in meta.
        collisions: distractors may carry the gold value under another key (searching for values is then useless).
        paraphrase: 0 the question uses the record's words; 1 synonyms; 2 the owner is described by kinship, and the
            kinship is a record of its own elsewhere.
        form: ``inline``, or ``split`` over two lines.
        base: the value is written in this base.
        split: names of the train or of the evaluation half.
    """
    if paraphrase not in (0, 1, 2) or form not in ("inline", "split") or not 2 <= base <= 36:
        raise ValueError(f"paraphrase={paraphrase}, form={form!r}, base={base}: allowed are 0-2, inline|split, 2-36")
    first, last, nouns = half(FIRST, split), half(LAST, split), half(NOUNS, split)
    adjective, noun, owner = rng.pick(ADJECTIVES), rng.pick(nouns), f"{rng.pick(first)} {rng.pick(last)}"
    value = rng.between(100_000, 999_999)
    gold = digits(value, base)

    def record(adj: str, thing: str, name: str, text: str) -> str:
        gap = "\n" if form == "split" else " "
        return f"The {adj} {thing} code of {name}{gap}is {text}.\n"

    planted = [record(adjective, noun, owner, gold)]
    who, relation = owner, ""
    if paraphrase == 2:
        relation = rng.pick(["brother", "sister", "neighbour", "teacher"])
        others = [f for f in first if not owner.startswith(f)]
        who = f"{rng.pick(others)} {rng.pick(last)}"
        planted.append(f"{owner} is the {relation} of {who}.\n")
    keys = {(adjective, noun, owner)}
    distractors: list[str] = []
    most = min(n_distractor, max(1, length_chars // 180))  # a third of the text at most
    for _ in range(50 * most):
        if len(distractors) == most:
            break
        key = [adjective, noun, owner]
        slot = rng.below(3)
        if n_distractor > 20:  # more distractors than one-word neighbours exist: vary two words
            key[(slot + 1) % 3] = rng.pick(
                (ADJECTIVES, nouns, [f"{a} {b}" for a in first[:6] for b in last])[(slot + 1) % 3]
            )
        key[slot] = (
            rng.pick(ADJECTIVES)
            if slot == 0
            else rng.pick(nouns)
            if slot == 1
            else f"{rng.pick(first)} {rng.pick(last)}"
        )
        if tuple(key) in keys:
            continue
        keys.add((key[0], key[1], key[2]))
        other = rng.between(100_000, 999_999)
        same = collisions and rng.random() < 0.5
        distractors.append(record(key[0], key[1], key[2], gold if same else digits(other + (other == value), base)))

    at = (rng.below(10) + rng.random()) / 10 if depth is None else depth
    needed = sum(map(len, planted)) + sum(map(len, distractors))
    span = max(1, length_chars - needed - 120)
    plan = sorted(
        [(at * span, planted[0])] + [(rng.random() * span, text) for text in planted[1:] + distractors],
        key=lambda p: p[0],
    )
    plain, planted_at, reserve = 0, -1, needed
    offset = 0
    for position, text in plan:
        while plain < position and offset + reserve + 120 < length_chars:
            line = filler(rng)
            yield line
            plain += len(line)
            offset += len(line)
        if text == planted[0]:
            planted_at = offset
        yield text
        offset += len(text)
        reserve -= len(text)
    while True:
        line = filler(rng)
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)

    noun_word, of = "code", "of"
    if paraphrase:
        noun_word, of = rng.pick(_SYNONYMS["code"]), rng.pick(_SYNONYMS["of"])
    described = f"{who}'s {relation}" if paraphrase == 2 else owner
    verb = f"the {adjective} {noun} {noun_word} {of} {described}"
    note = f" It is written in base {base}; give it as written." if base != 10 else ""
    return Spec(
        f"What is {verb}?{note} Answer with the value only.",
        gold,
        "exact",
        {
            "planted_at": planted_at,
            "distractors": len(distractors),
            "baselines": {"code_only_oracle": 1.0, "majority": 0.0},
        },
    )
