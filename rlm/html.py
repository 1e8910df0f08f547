"""A trace as one HTML file that needs nothing else: the tree, folded, with code, output and sub-calls."""

from __future__ import annotations

from html import escape
from pathlib import Path

from .trace import Node, Trace, TurnRecord

Below = dict[str | None, list[Node]]  # children by the parent's id

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}
pre{background:#f4f5f7;padding:.6rem .8rem;border-radius:6px;overflow-x:auto;white-space:pre-wrap;margin:.4rem 0}
pre.code{border-left:3px solid #3b6fd4}pre.out{border-left:3px solid #9aa3ad}pre.bad{border-left:3px solid #c0392b}
details{margin:.35rem 0 .35rem .8rem}summary{cursor:pointer}summary b{font-weight:600}
.meta{color:#5b6570;font-size:.9em}.answered{color:#1d7a3e}.failed{color:#b03224}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
@media(prefers-color-scheme:dark){body{background:#15181c;color:#dfe3e8}pre{background:#1f242a}.meta{color:#98a2ad}}
"""
_SHOWN = 20_000  # characters of one text


def write_html(trace: Trace, path: str | Path, title: str = "Rollout tree") -> Path:
    """Write the page and return its path. All text is escaped; scripts are not used."""
    target = Path(path)
    target.write_text(page(trace, title), encoding="utf-8")
    return target


def page(trace: Trace, title: str = "Rollout tree") -> str:
    """The page as text."""
    root, below = trace.root, trace.by_parent()
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'>{policy}<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>"
        f"<p><b>Question</b></p>{_pre(root.question)}"
        f"<p><b>Answer</b> <span class='{_mark(root)}'>{escape(str(root.status))}</span></p>"
        f"{_pre(root.error, 'bad') if root.answer is None else _pre(root.answer)}"
        f"{_usage(trace)}{_node(below, root, True)}</html>"
    )


def _usage(trace: Trace) -> str:
    rows = trace.meta.get("usage", {}).get("by_depth", {})
    if not rows:
        return ""
    titles = ("depth", "requests", "failed", "prompt tokens", "reply tokens", "cost")
    head = "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
    body = "".join(
        f"<tr><td>{escape(depth)}</td><td>{row['calls']}</td><td>{row['failed']}</td><td>{row['prompt_tokens']}</td>"
        f"<td>{row['completion_tokens']}</td><td>{row['cost']:.4g}</td></tr>"
        for depth, row in sorted(rows.items())
    )
    return f"<table>{head}{body}</table>"


def _node(below: Below, node: Node, is_open: bool) -> str:
    note = f" · {escape(node.note)}" if node.note else ""
    context = f" · context {node.context_kind} of {node.context_chars:,}" if node.kind == "rlm" else ""
    said = f" <span class='meta'>{_brief(node.answer or node.error)}</span>" if not is_open else ""
    head = (
        f"<summary><b>{escape(node.kind)} {escape(node.id)}</b> "
        f"<span class='{_mark(node)}'>{escape(str(node.status))}</span> <span class='meta'>{escape(node.model)} · "
        f"{len(node.turns)} turns · {node.seconds:.2f} s{context}{note}</span>{said}</summary>"
    )
    parts = [_pre(node.error, "bad")] if node.error else []
    if node.kind == "llm":
        parts += [_pre(m["content"]) for m in node.messages]
    else:
        parts += [_turn(below, node, i) for i in range(len(node.turns))]
    return f"<details{' open' if is_open else ''}>{head}{''.join(parts)}</details>"


def _turn(below: Below, node: Node, index: int) -> str:
    turn = node.turns[index]
    parts = [f"<details><summary class='meta'>reply</summary>{_pre(turn.reply.text)}</details>"]
    for cell in turn.cells:
        parts.append(_pre(cell.code, "code"))
        parts.append(_pre(cell.output, "out" if cell.status == "ok" else "bad"))
        left_out = f" · {cell.omitted} characters left out" if cell.omitted else ""
        parts.append(f"<p class='meta'>{escape(cell.status)} · {cell.seconds * 1000:.1f} ms{left_out}</p>")
    children = [child for child in below.get(node.id, []) if child.parent_turn == index]
    parts += [_node(below, child, False) for child in children]
    last = " open" if index == len(node.turns) - 1 else ""
    return f"<details{last}><summary>turn {index + 1} {_facts(turn, children)}</summary>{''.join(parts)}</details>"


def _facts(turn: TurnRecord, children: list[Node]) -> str:
    """The last line of a turn's code, how it ended, and its sub-calls, for the line that is seen when it is folded."""
    if not turn.cells:
        return "<span class='meta'>no code</span>"
    cell = turn.cells[-1]
    bad = "" if cell.status == "ok" else f" <span class='failed'>{escape(cell.status)}</span>"
    failed = sum(child.status != "answered" for child in children)
    calls = f" · {len(children)} sub-calls" + (f", {failed} failed" if failed else "") if children else ""
    code = cell.code.strip().splitlines()[-1:]
    return f"<code>{_brief(code[0] if code else '')}</code>{bad}<span class='meta'>{calls}</span>"


def _brief(text: str) -> str:
    """The beginning of a text in one line, escaped."""
    one = " ".join(text.split())
    return escape(one[:90] + ("…" if len(one) > 90 else ""))


def _mark(node: Node) -> str:
    return "answered" if node.status == "answered" else "failed"


def _pre(text: str, name: str = "out") -> str:
    if not text:
        return ""
    cut = f"\n[... {len(text) - _SHOWN} more characters]" if len(text) > _SHOWN else ""
    return f"<pre class='{name}'>{escape(text[:_SHOWN])}{cut}</pre>"
