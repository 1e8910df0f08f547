"""HTML blocks and the page that holds them. Every string is escaped unless it is `Raw`, which only this room makes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ...schema import Rollout

MAX_SHOWN_CHARS = 4000  # a megabyte of policy text must not make the page unreadable

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6671; --line: #d9dee3; --paper: #fff; --tint: #f4f6f8;
  --good: #00734f; --bad: #a6400a; --mark: #0060a0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --line: #39424b; --paper: #14181c;
  --tint: #1e242a; --good: #4fc39b; --bad: #eb9a66; --mark: #7cc0f0; } figure svg { background: #fff; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 62rem; padding: 2rem 1.2rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; } h2 { margin: 2.6rem 0 .4rem; font-size: 1.35rem; }
h3 { margin: 1.6rem 0 .3rem; font-size: 1.05rem; } p { max-width: 46rem; margin: .5rem 0; }
.sub, caption, figcaption, .note { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; font-size: .86rem; } td.num, th.num { text-align: right; }
td.num { white-space: nowrap; }
figure { margin: 1rem 0; break-inside: avoid; }

.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 1.5rem; }
figure svg { max-width: 100%; height: auto; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0; padding: .45rem .8rem; }
summary { cursor: pointer; } .tag { border-radius: 99px; padding: .05rem .55rem; font-size: .8rem;
  background: var(--tint); }
.good { color: var(--good); } .bad { color: var(--bad); } .none { color: var(--soft); font-style: italic; }
.msg { margin: .5rem 0; padding: .45rem .7rem; border-radius: 8px; background: var(--tint); white-space: pre-wrap;
  overflow-wrap: anywhere; font: .88rem/1.45 ui-monospace, monospace; }
.msg b { display: block; font: 600 .75rem system-ui, sans-serif; color: var(--soft); }
.msg.assistant { border-left: 3px solid var(--mark); } .msg.feedback { border-left: 3px solid var(--bad); }
@media print { details, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } body { max-width: none; padding: 0;
  font-size: 11pt; } table { font-size: 9pt; display: table; } td.num { white-space: normal; } }
"""


class Raw(str):
    """Markup made by this room from escaped pieces; anything else is text."""

    __slots__ = ()


def _html(value: object) -> str:
    return value if isinstance(value, Raw) else escape(str(value))


def heading(title: str, level: int = 2) -> Raw:
    """A section heading."""
    return Raw(f"<h{level}>{_html(title)}</h{level}>")


def text(paragraph: str) -> Raw:
    """A paragraph."""
    return Raw(f"<p>{_html(paragraph)}</p>")


def note(paragraph: str) -> Raw:
    """A paragraph of small print: sample sizes, caveats, how a number was made."""
    return Raw(f'<p class="note">{_html(paragraph)}</p>')


def preformatted(content: str) -> Raw:
    """Text as it stands, in a fixed-width face."""
    return Raw(f'<div class="msg">{_html(content)}</div>')


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Raw:
    """A table; cells that read as numbers are right-aligned, None is shown as a dash."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    numeric = [any(row[i].startswith('<td class="num"') for row in cells if i < len(row)) for i in range(len(headers))]
    head = "".join(
        f"<th{' class=num' * right}>{_html(name)}</th>" for name, right in zip(headers, numeric, strict=True)
    )
    body = "".join("<tr>" + "".join(row) + "</tr>" for row in cells)
    foot = f"<caption>{_html(caption)}</caption>" if caption else ""
    return Raw(f"<table>{foot}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _cell(cell: object) -> str:
    if cell is None:
        return '<td class="num none">-</td>'
    shown = _html(cell)
    numeric = isinstance(cell, (int, float)) or shown[:1].isdigit() or shown[:2].lstrip("+-−").isdigit()
    return f'<td class="num">{shown}</td>' if numeric else f"<td>{shown}</td>"


def figure(svg: Raw, caption: str = "") -> Raw:
    """A plot with its caption, which says what is shown and from how many samples."""
    return Raw(f"<figure>{svg}<figcaption>{_html(caption)}</figcaption></figure>")


def side_by_side(*figures: Raw) -> Raw:
    """Small figures in as many columns as fit."""
    return Raw(f'<div class="figures">{"".join(figures)}</div>')


def details(summary: str | Raw, *blocks: Raw, open_: bool = False) -> Raw:
    """A block that unfolds."""
    return Raw(f"<details{' open' if open_ else ''}><summary>{_html(summary)}</summary>{''.join(blocks)}</details>")


def transcript(rollout: Rollout, cluster: int | None = None) -> Raw:
    """One rollout as a conversation with its reward, feedback and cluster."""
    if rollout.reward is None:
        badge = f'<span class="none">unscored: {escape(rollout.error or "no reward")}</span>'
    else:
        badge = f'<span class="{"good" if rollout.reward > 0 else "bad"}">reward {rollout.reward:.3g}</span>'
    tags = [Raw(f'<span class="tag">{badge}</span>'), _tag(rollout.stop_reason.value)]
    if cluster is not None:
        tags.append(_tag(f"cluster {cluster}"))
    said = [_message(m.role, m.text) for m in rollout.messages]
    said += [_message("feedback", f.text) for f in rollout.feedback]
    first = next((m.text for m in rollout.messages if m.role == "user"), rollout.task_id)
    return details(Raw(f"{escape(_cut(first, 80))} {' '.join(tags)}"), *said)


def _tag(label: str) -> Raw:
    return Raw(f'<span class="tag">{escape(label)}</span>')


def _message(role: str, content: str) -> Raw:
    return Raw(f'<div class="msg {escape(role)}"><b>{escape(role)}</b>{escape(_cut(content, MAX_SHOWN_CHARS))}</div>')


def _cut(content: str, limit: int) -> str:
    if len(content) <= limit:
        return content
    return f"{content[: limit * 3 // 4]} … [{len(content) - limit} characters left out] … {content[-limit // 4 :]}"


@dataclass
class Page:
    """A report under construction."""

    title: str
    subtitle: str = ""
    blocks: list[Raw] = field(default_factory=list)

    def add(self, *blocks: Raw) -> None:
        """Append blocks made by the functions of this module."""
        for block in blocks:
            if not isinstance(block, Raw):
                raise TypeError(f"Page.add takes blocks such as text(...), got {type(block).__name__}")
            self.blocks.append(block)

    def render(self) -> str:
        """The whole page; no script, and nothing is loaded from elsewhere."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            'img-src data:">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>"
            f'<h1>{escape(self.title)}</h1><p class="sub">{escape(self.subtitle)}</p>'
            f"{''.join(self.blocks)}</body></html>"
        )

    def write(self, path: Path) -> Path:
        """Write the page whole or not at all: a reader never sees half a report."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(path.suffix + ".part")
        scratch.write_text(self.render(), encoding="utf-8")
        os.replace(scratch, path)
        return path
