"""Find the code blocks of an assistant message: a CommonMark line scanner that respects Python strings."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass

_OPEN = re.compile(r"^( {0,3})(`{3,})([^`]*)$")
_TILDE = re.compile(r"^ {0,3}(~{3,})")
_ALIASES = {"py": "python", "python3": "python"}
_TOKENISE_LIMIT = 200_000  # longer blocks end at their first closing fence
_RETRIES = 20


@dataclass(frozen=True)
class Block:
    """One code block. `closed` is false when the message ended before the closing fence."""

    code: str
    info: str
    closed: bool = True


def _closes(line: str, length: int, mark: str) -> bool:
    text = line.strip(" \t")
    return len(line) - len(line.lstrip(" ")) <= 3 and len(text) >= length and set(text) == {mark}


def _tokenises(code: str) -> bool:
    try:
        return all(
            token.type != tokenize.ERRORTOKEN or token.string.isspace()
            for token in tokenize.generate_tokens(io.StringIO(code + "\n").readline)
        )
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError):
        return False


def _ends(lines: list[str], start: int, length: int) -> int | None:
    """Index of the line that closes a block opened just before `start`.

    The first closing fence wins, unless the text up to it is not Python and the text up to a later one is: then the
    first fence sits inside a triple-quoted string.
    """
    closers: list[int] = []
    for i in range(start, len(lines)):
        if _closes(lines[i], length, "`"):
            closers.append(i)
            if len(closers) > _RETRIES:
                break
    if not closers:
        return None
    first = closers[0]
    if sum(map(len, lines[start:first])) > _TOKENISE_LIMIT or _tokenises("\n".join(lines[start:first])):
        return first
    for later in closers[1:]:
        if sum(map(len, lines[start:later])) > _TOKENISE_LIMIT:
            break
        if _tokenises("\n".join(lines[start:later])):
            return later
    return first


def find_blocks(text: str, fences: tuple[str, ...] = ("repl", "python")) -> list[Block]:
    """Code blocks in order of appearance.

    A fence is at least three back-ticks, indented by at most three spaces; the first word of its info string must be
    one of `fences` (case does not matter; ``py`` and ``python3`` count as ``python``). Blocks of other languages and
    ``~~~`` blocks are skipped whole, with anything inside them.

    Args:
        text: an assistant message. Never call this on output, context or sub-model text.
        fences: info words that mark code to run.

    Example:
        >>> [b.code for b in find_blocks("Look:\\n```repl\\nprint(1)\\n```\\n")]
        ['print(1)']
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks: list[Block] = []
    i = 0
    while i < len(lines):
        tilde = _TILDE.match(lines[i])
        if tilde:
            close = next(
                (j for j in range(i + 1, len(lines)) if _closes(lines[j], len(tilde[1]), "~")),
                i,  # a stray ~~~ swallows nothing
            )
            i = close + 1
            continue
        opener = _OPEN.match(lines[i])
        if not opener:
            i += 1
            continue
        indent, ticks, rest = opener.groups()
        word = (rest.split() or [""])[0].lower()
        wanted = word in fences or _ALIASES.get(word) in fences
        body = i + 1
        if wanted:
            end = _ends(lines, body, len(ticks))
        else:
            end = next((j for j in range(body, len(lines)) if _closes(lines[j], len(ticks), "`")), None)
        if wanted:
            code = [_outdent(line, len(indent)) for line in lines[body:end]]
            blocks.append(Block("\n".join(code), word, closed=end is not None))
        i = len(lines) if end is None else end + 1
    return blocks


def _outdent(line: str, width: int) -> str:
    return line[min(width, len(line) - len(line.lstrip(" "))) :]
