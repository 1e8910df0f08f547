"""Which rows go through the model together: a pure function of lengths and a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a forward pass goes through, padding left out.

    Attributes:
        positions: tokens that pass the layers.
        attended: sum over them of the tokens each looks at.
    """

    positions: int
    attended: int


def work(prompts: Sequence[tuple[int, ...]], lengths: Sequence[int], *, shared: bool = True) -> Work:
    """Tokens of one micro-batch; a shared prompt counts once.

    Example:
        >>> work([(1, 2), (1, 2)], [3, 3])
        Work(positions=8, attended=27)
    """
    positions = attended = 0
    heads = set(prompts) if shared else prompts
    for prompt in heads:
        positions += len(prompt)
        attended += len(prompt) * (len(prompt) + 1) // 2
    for prompt, length in zip(prompts, lengths, strict=True):
        positions += length
        attended += length * len(prompt) + length * (length + 1) // 2
    return Work(positions, attended)


def plan(
    prompts: Sequence[tuple[int, ...]], lengths: Sequence[int], budget: int, *, shared: bool = True
) -> list[list[int]]:
    """Split rows into micro-batches.

    Rows with equal prompts stay together when prompts are shared, rows of similar length meet, and no micro-batch has
    more than `budget` padded tokens unless one row alone does. The result depends on the arguments alone.

    Args:
        prompts: prompt of each row.
        lengths: continuation length of each row.
        budget: most padded tokens of a micro-batch.
        shared: a prompt is encoded once a micro-batch, and not once a row.

    Returns:
        Row indices of each micro-batch; every row appears once.

    Example:
        >>> plan([(1,), (1,), (2,)], [3, 3, 9], budget=20)
        [[0, 1], [2]]
    """

    def cost(unique: int, rows: int, prompt: int, length: int) -> int:
        return unique * prompt + rows * length if shared else rows * (prompt + length)

    by_prompt: dict[object, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt if shared else row, []).append(row)
    units: list[list[int]] = []
    for rows in by_prompt.values():
        rows = sorted(rows, key=lambda r: lengths[r])
        size = len(prompts[rows[0]])
        part: list[int] = []
        for row in rows:
            if part and cost(1, len(part) + 1, size, max(lengths[row], 1)) > budget:
                units.append(part)
                part = []
            part.append(row)
        units.append(part)
    units.sort(key=lambda unit: (max(lengths[r] for r in unit), len(prompts[unit[0]]), unit[0]))
    batches: list[list[int]] = []
    current: list[int] = []
    count = longest = widest = 0
    for unit in units:
        length, size = max(lengths[row] for row in unit), len(prompts[unit[0]])
        joined = cost(count + 1, len(current) + len(unit), max(widest, size), max(longest, length, 1))
        if current and joined > budget:
            batches.append(current)
            current, count, longest, widest = [], 0, 0, 0
        current = [*current, *unit]
        count, longest, widest = count + 1, max(longest, length), max(widest, size)
    if current:
        batches.append(current)
    return batches
