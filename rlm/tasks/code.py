"""F5, questions on the source of the standard library, changed so that memory of CPython gives the wrong answer.

The text is read from the running interpreter's library at generation time and never executed; gold answers come from
`ast` over the changed text. A task is valid for this interpreter's files only (`meta["python"]`, `meta["sha256"]`). The
texts are CPython's, under the PSF licence.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import keyword
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .base import Rng, Spec, Stream, family
from .labels import stdlib_files, stdlib_root, stdlib_version
from .words import ADJECTIVES, NOUNS

_DEF = ast.FunctionDef | ast.AsyncFunctionDef
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+([\w. \t,]+))", re.MULTILINE)


class Found(NamedTuple):
    """A question about one file: the changed text, the wording, the answer and the names worth renaming."""

    text: str
    question: str
    gold: object
    kind: str = "exact"
    names: tuple[str, ...] = ()


@lru_cache(maxsize=600)
def _read(path: Path) -> str:
    """The text of a file, empty when it is not ASCII (columns of `ast` are bytes)."""
    data = path.read_bytes()
    return data.decode().replace("\r\n", "\n") if data.isascii() else ""


@lru_cache(maxsize=600)
def _segments(path: Path) -> tuple[str, ...]:
    """The file cut at its top-level statements; together they are the file."""
    text = _read(path)
    lines = text.splitlines(keepends=True)
    starts = [0]
    for node in ast.parse(text).body[1:]:
        decorators = getattr(node, "decorator_list", [])
        line = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        if line > starts[-1]:
            starts.append(line)
    return tuple("".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True))


def _excerpt(rng: Rng, path: Path, budget: int) -> str:
    """The whole file, or a random stretch of its top-level statements of at most `budget` characters."""
    if len(_read(path)) <= budget:
        return _read(path)
    segments = _segments(path)
    start, out = rng.below(len(segments)), ""
    for segment in segments[start:]:
        if len(out) + len(segment) > budget:
            break
        out += segment
    return out


def _replace(text: str, edits: list[tuple[ast.expr, str]]) -> str:
    """Replace nodes by new source, from the last to the first."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = [
        (starts[n.lineno - 1] + n.col_offset, starts[(n.end_lineno or n.lineno) - 1] + (n.end_col_offset or 0), new)
        for n, new in edits
    ]
    for a, b, new in sorted(spans, reverse=True):
        text = text[:a] + new + text[b:]
    return text


def _functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, _DEF)]


def _unique(items: list[str]) -> set[str]:
    return {name for name in items if items.count(name) == 1}


def _default(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    functions = _functions(ast.parse(text))
    alone = _unique([f.name for f in functions])
    options = [
        (f, arg, value)
        for f in functions
        if f.name in alone
        for arg, value in zip(f.args.args[len(f.args.args) - len(f.args.defaults) :], f.args.defaults, strict=True)
        if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, int | float))
    ]
    if not options:
        return None
    f, arg, node = rng.pick(options)
    gold = repr(node.value)  # type: ignore[attr-defined]
    if change:
        gold = repr(rng.between(2, 997))
        text = _replace(text, [(node, gold)])
    question = (
        f"What is the default value of the parameter {arg.arg} of the function {f.name} in {path}? "
        "Answer with the literal."
    )
    return Found(text, question, gold, names=(f.name,))


def _base(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    classes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef)]
    alone = _unique([c.name for c in classes])
    options = [c for c in classes if len(c.bases) >= 2 and c.name in alone]
    if not options:
        return None
    chosen = rng.pick(options)
    bases = [ast.unparse(b) for b in chosen.bases]
    if change:
        bases = bases[1:] + bases[:1]
        text = _replace(text, list(zip(chosen.bases, bases, strict=True)))
    k = rng.below(len(bases))
    question = f"What is base class number {k + 1} of the class {chosen.name} in {path}? Answer as written there."
    return Found(text, question, bases[k], names=(chosen.name,))


def _raises(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    def hit(node: ast.AST) -> ast.expr | None:
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            return name if isinstance(name, ast.Name) and name.id == "ValueError" else None
        return None

    found = [name for node in ast.walk(ast.parse(text)) if (name := hit(node)) is not None]
    if len(found) < 2:
        return None
    if change:
        text = _replace(text, [(name, "LookupError") for name in found if rng.random() < 0.5])
    gold = sum(any(hit(inner) for inner in ast.walk(f)) for f in _functions(ast.parse(text)))
    question = (
        f"How many function definitions in {path} (methods and nested ones included) contain a statement "
        "`raise ValueError`, with or without arguments, somewhere in their body? Answer with one integer."
    )
    return Found(text, question, gold, "number")


def _calls(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    top = [n for n in ast.parse(text).body if isinstance(n, _DEF)]
    names = {f.name for f in top}
    options = []
    for f in top:
        called = {
            c.func.id for c in ast.walk(f) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)
        } & names - {f.name}
        others = sorted(names - called - {f.name})
        if called and len(others) >= 3 and len(called) < 20:
            options.append((f.name, sorted(called), others))
    if not options:
        return None
    name, callees, others = rng.pick(options)
    gold: str = rng.pick(callees)
    choices = rng.some([gold, *rng.some(others, 3)], 4)
    question = (
        f"Which of these functions does the function {name} in {path} call: {', '.join(choices)}? Answer with the name."
    )
    return Found(text, question, gold, names=(name, *choices))


def _longest(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    def ranked(source: str) -> list[tuple[int, str]]:
        return sorted(((f.end_lineno or 0) - f.lineno, f.name) for f in _functions(ast.parse(source)))[::-1]

    rows = ranked(text)
    if len(rows) < 4:
        return None
    if change:  # another function becomes the longest one: its body grows by comment lines
        target = rng.pick([f for f in _functions(ast.parse(text)) if f.name == rng.pick(rows[1:4])[1]] or [None])
        if target is None:
            return None
        first = target.body[0]
        lines = text.splitlines(keepends=True)
        pad = " " * first.col_offset + "# (reserved)\n"
        if first.lineno == target.lineno:
            return None
        lines[first.lineno - 1 : first.lineno - 1] = [pad] * (rows[0][0] + rng.between(3, 30))
        text = "".join(lines)
        rows = ranked(text)
    if rows[0][0] == rows[1][0] or [n for _, n in rows].count(rows[0][1]) > 1:
        return None
    question = (
        f"Which function or method in {path} is the longest, counted in lines from its `def` to its last line? "
        "Answer with its name."
    )
    return Found(text, question, rows[0][1], names=(rows[0][1], rows[1][1]))


def _chain(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    def depth(source: str) -> int:
        bases: dict[str, list[str]] = {}
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [b.id for b in node.bases if isinstance(b, ast.Name)]

        def of(name: str, seen: frozenset[str]) -> int:
            inner = [of(b, seen | {name}) for b in bases[name] if b in bases and b not in seen and b != name]
            return 1 + max(inner, default=0)

        return max((of(name, frozenset()) for name in bases), default=0)

    if depth(text) < 2:
        return None
    if change:
        own = {n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
        links = [
            b
            for n in ast.parse(text).body
            if isinstance(n, ast.ClassDef)
            for b in n.bases
            if isinstance(b, ast.Name) and b.id in own
        ]
        text = _replace(text, [(link, "object") for link in links if rng.random() < 0.3])
    question = (
        f"In {path}, how many classes does the longest inheritance chain among the top-level classes of that file have "
        "(a class whose bases are all defined elsewhere counts as 1)? Answer with one integer."
    )
    return Found(text, question, depth(text), "number")


def _defined_in(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    tree = ast.parse(text)
    names = [n.name for n in tree.body if isinstance(n, _DEF | ast.ClassDef) and _renamable(n.name)]
    if not names:
        return None
    name = rng.pick(names)
    return Found(text, f"Which file defines {name} at top level? Answer with its path.", path, names=(name,))


def _imports(rng: Rng, text: str, path: str, change: bool) -> Found | None:
    question = (
        f"Start from {path}. A file imports another file of the context when a line of it begins (after white space) "
        "with `import X` or `from X import`, X being the dotted name of that file (a/b.py is a.b, a/__init__.py is a; "
        "`import X, Y` counts for both; relative imports do not count). How many other files does it import, directly "
        "or through others? Answer with one integer."
    )
    return Found(text, question, None, "number") if _IMPORT.search(text) else None


QUESTIONS = {
    "default": _default,
    "base": _base,
    "raises": _raises,
    "calls": _calls,
    "longest": _longest,
    "chain": _chain,
    "defined_in": _defined_in,
    "imports": _imports,
}


def imported(text: str) -> set[str]:
    """Dotted names on the import lines of a file."""
    names: set[str] = set()
    for match in _IMPORT.finditer(text):
        listed = [match[1]] if match[1] else [part.split(" as ")[0] for part in match[2].split(",")]
        names |= {name.strip() for name in listed if name.strip()}
    return names


def _dotted(path: Path) -> str:
    return str(path.relative_to(stdlib_root())).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def closure(start: str, graph: dict[str, set[str]]) -> int:
    """Files reachable from `start` over file -> imported dotted names, itself left out."""
    by_name = {p.removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in graph}
    seen, todo = {start}, [start]
    while todo:
        for name in graph[todo.pop()]:
            other = by_name.get(name)
            if other and other not in seen:
                seen.add(other)
                todo.append(other)
    return len(seen) - 1


def _renamable(name: str) -> bool:
    return len(name) >= 5 and not name.startswith("__") and not keyword.iskeyword(name) and not hasattr(builtins, name)


def _rename(rng: Rng, names: list[str]) -> dict[str, str]:
    """New names for `names`; three words each, so that they meet nothing in the library."""
    out: dict[str, str] = {}
    for name in names:
        new = f"{rng.pick(ADJECTIVES)}_{rng.pick(NOUNS)}_{rng.pick(ADJECTIVES)}{rng.between(2, 99)}"
        out[name] = "_" + new if name.startswith("_") else new
    return out


@family
def code(rng: Rng, length_chars: int, ask: str = "default", counterfactual: bool = True) -> Stream:
    """One question on a mapping of paths to Python source.

    Args:
        ask: one of `QUESTIONS`.
        counterfactual: rename identifiers, change defaults, bases and exceptions, and leave definitions out, so that
            neither memory nor `inspect` in the sandbox helps.
    """
    if ask not in QUESTIONS:
        raise ValueError(f"ask is {ask!r}; choose one of {', '.join(QUESTIONS)}")
    files = rng.some(stdlib_files(), len(stdlib_files()))
    found, target = None, files[0]
    for candidate in files[:200]:
        excerpt = _excerpt(rng, candidate, min(length_chars * 7 // 10, 60_000)) if _read(candidate) else ""
        name = str(candidate.relative_to(stdlib_root()))
        if excerpt and (found := QUESTIONS[ask](rng, excerpt, name, counterfactual)):
            if len(found.text) <= length_chars:
                target = candidate
                break
            found = None
    if found is None:
        return None
    path = str(target.relative_to(stdlib_root()))
    renames: dict[str, str] = {}
    if counterfactual:
        top = [n.name for n in ast.parse(found.text).body if isinstance(n, _DEF | ast.ClassDef)]
        extra = rng.some(sorted({n for n in top if n not in found.names}), min(4, len(set(top) - set(found.names))))
        renames = _rename(rng, [n for n in dict.fromkeys([*found.names, *extra]) if _renamable(n)])
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, renames)) + r")\b") if renames else None
    moved = found.names[0] if ask == "defined_in" else None
    defines = re.compile(rf"^(?:async def|def|class)\s+{re.escape(moved)}\b", re.MULTILINE) if moved else None

    def changed(text: str) -> str:
        return pattern.sub(lambda m: renames[m[0]], text) if pattern else text

    own = changed(found.text)
    if len(own) > length_chars:
        return None
    budget = length_chars - len(own)
    before = int(rng.random() * budget)
    paths: list[str] = []
    ends: list[int] = []
    graph: dict[str, set[str]] = {}
    digest = hashlib.sha256()
    offset = 0

    def put(name: str, text: str) -> str:
        nonlocal offset
        offset += len(text)
        paths.append(name)
        ends.append(offset)
        digest.update(text.encode())
        if ask == "imports":
            graph[name] = imported(text)
        return text

    near: set[Path] = set()
    if ask == "imports":  # without them a small context would hold nothing that the file imports
        near = {f for f in files if _dotted(f) in imported(found.text)}
        files = [*sorted(near, key=files.index), *(f for f in files if f not in near)]
    done = False
    for copy in range(1 + length_chars // 1_000_000):
        for candidate in files:
            if not done and offset >= before:
                yield put(path, own)
                done = True
            left = length_chars - offset - (0 if done else len(own))
            if left <= 0 or candidate == target:
                continue
            room = min(left, length_chars // 6) if candidate in near else left
            text = changed(_excerpt(rng, candidate, room))
            if not text or len(text) > left or (defines and defines.search(_read(candidate))):
                continue
            folder = f"variant{copy}/" if copy else ""
            yield put(folder + str(candidate.relative_to(stdlib_root())), text)
        if length_chars - offset < 2_000:
            break
    if not done:
        yield put(path, own)
    gold = closure(path, graph) if ask == "imports" else found.gold
    if gold == 0 and length_chars >= 20_000:
        return None  # nothing to find; draw again
    note = "The context maps paths to the text of Python files of a library (some are excerpts)."
    if counterfactual:
        note += " The library was changed: answer from the context only."
    return Spec(
        f"{note} {changed(found.question)}",
        changed(gold) if isinstance(gold, str) and ask != "defined_in" else gold,
        found.kind,
        {
            "files": len(paths),
            "path": path,
            "python": stdlib_version(),
            "sha256": digest.hexdigest(),
            "renamed": len(renames),
            "baselines": {"code_only_oracle": 1.0},
        },
        documents=tuple(ends),
        paths=tuple(paths),
    )
