"""`palaestra rlm`: ask a question about files too long to read at once."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..rlm.trace import Node

_EXIT = {"answered": 0, "no_answer": 3, "turn_limit": 3, "budget": 4, "timeout": 4, "lm_error": 5, "repl_dead": 6}
_SHOWN_CHILDREN = 12


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        epilog="Examples:  palaestra rlm book.txt --question 'Who dies?' --model http://127.0.0.1:8000/v1    "
        "palaestra rlm src/*.py -q 'Where is the retry?' --model URL --sub-model URL2 --max-calls 50 --html trace.html"
    )
    def rlm(
        files: Annotated[
            list[Path], typer.Argument(help="One file is a text; several are a mapping of names to texts.", exists=True)
        ],
        question: Annotated[str, typer.Option("--question", "-q", help="What is asked.")],
        model: Annotated[
            str, typer.Option(help="Server of the model: its URL ending in /v1, or NAME@URL where it serves several.")
        ],
        sub_model: Annotated[str | None, typer.Option(help="Model of sub-calls, in the same form.")] = None,
        max_turns: Annotated[int, typer.Option(help="Turns of each conversation.")] = 20,
        max_depth: Annotated[int, typer.Option(help="Levels of conversations with a REPL below the root.")] = 1,
        max_calls: Annotated[int, typer.Option(help="Sub-calls in all.")] = 200,
        max_tokens: Annotated[int | None, typer.Option(help="Tokens in all.")] = None,
        max_cost: Annotated[float | None, typer.Option(help="Money in all, where the server reports it.")] = None,
        concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 32,
        seconds: Annotated[float, typer.Option(help="Time for the whole run.")] = 600,
        cell_seconds: Annotated[float, typer.Option(help="Time for one cell.")] = 60,
        reply_tokens: Annotated[int, typer.Option(help="Longest reply of a model with a REPL, in tokens.")] = 4_096,
        sub_reply_tokens: Annotated[int, typer.Option(help="Longest reply of an llm call, in tokens.")] = 2_048,
        repl: Annotated[str, typer.Option(help="fork, process, docker, or unsafe_inprocess (no isolation).")] = "fork",
        seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
        html: Annotated[Path | None, typer.Option(help="Write the rollout tree there as one page.")] = None,
        trace: Annotated[Path | None, typer.Option(help="Write the rollout tree there as JSON lines.")] = None,
        json_output: Annotated[
            bool, typer.Option("--json", help="Print the result as JSON, and no live view.")
        ] = False,
    ) -> None:
        """Answer a question about long files with a recursive language model.

        The exit code is 0 when the model answered, 3 when it did not, 4 when a budget ended, 5 when the model's server
        failed and 6 when the REPL broke.
        """
        from ..rlm import Limits, Worker, write_html

        if not question.strip():
            raise typer.BadParameter("--question is empty; ask something")
        for path in (html, trace):  # found out now, not after the run was paid for
            if path is not None and not path.absolute().parent.is_dir():
                raise typer.BadParameter(f"{path} cannot be written: there is no folder {path.absolute().parent}")
        try:
            Worker(repl)  # type: ignore[arg-type]
            limits = Limits(
                max_turns=max_turns, max_depth=max_depth, max_calls=max_calls, max_total_tokens=max_tokens,
                max_cost=max_cost, max_concurrency=concurrency, wall_s=seconds, cell_s=cell_seconds,
                reply_tokens=reply_tokens, sub_reply_tokens=sub_reply_tokens,
            )  # fmt: skip
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        context = read(files)
        result = asyncio.run(_run(context, question, model, sub_model, limits, repl, seed, trace, not json_output))
        _report(result, json_output, html, trace)
        if html is not None:
            write_html(result.trace, html, question[:80])
        raise typer.Exit(_EXIT.get(result.status.value, 1))


def read(files: list[Path]) -> str | dict[str, str]:
    """The context: the text of one file, or the texts of several by name. Bytes that are no UTF-8 are replaced, and
    said so.

    Raises:
        typer.BadParameter: a directory, a file that cannot be read, or one that is no text.
    """
    texts: dict[str, str] = {}
    for path in files:
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a directory; give files (the shell expands {path}/*)")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from None
        if b"\0" in data[:8_192]:
            raise typer.BadParameter(f"{path} is not text (it holds NUL bytes); extract its text first")
        text = data.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        if damaged and "\ufffd".encode() not in data:
            typer.echo(f"{path} is not all UTF-8; {damaged} characters were replaced", err=True)
        texts[str(path)] = text.replace("\r\n", "\n").replace("\r", "\n")
    return next(iter(texts.values())) if len(texts) == 1 else texts


async def connect(address: str) -> Any:
    """A model from ``URL`` or ``NAME@URL``; without a name the server's first model.

    Raises:
        typer.BadParameter: no URL, or a server that does not say what it serves.
    """
    from ..lm import OpenAIModel

    name, _, url = address.rpartition("@")
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{address!r} is not a server; give http://HOST:PORT/v1 or NAME@http://HOST:PORT/v1")
    if not name:
        import os

        import httpx

        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with httpx.AsyncClient(timeout=10, headers=headers) as client:
                name = (await client.get(f"{url.rstrip('/')}/models")).raise_for_status().json()["data"][0]["id"]
        except (httpx.HTTPError, KeyError, IndexError, ValueError, TypeError) as error:
            raise typer.BadParameter(
                f"{url}/models does not list a model ({type(error).__name__}: {error}); give NAME@{url}"
            ) from None
    return OpenAIModel(name, base_url=url)


async def _run(
    context: Any, question: str, model: str, sub_model: str | None, limits: Any, repl: Any, seed: int,
    trace: Path | None, live: bool,
) -> Any:  # fmt: skip
    from ..rlm import RLM

    root = await connect(model)
    sub = await connect(sub_model) if sub_model else None
    view = LiveTree(limits) if live else None
    try:
        async with RLM(root, sub, limits, repl, listener=view.hear if view else None) as engine:
            if view is None:
                return await engine.run(context, question, seed=seed, trace_path=trace)
            with view:
                return await engine.run(context, question, seed=seed, trace_path=trace)
    finally:
        for client in (root, sub):
            if client is not None:
                await client.aclose()


class LiveTree:
    """The rollout tree in the terminal while it grows, and what it has cost; a context manager.

    Args:
        limits: of the run, to show what is left.
    """

    def __init__(self, limits: Any) -> None:
        from rich.console import Console
        from rich.live import Live

        self.limits = limits
        self.nodes: dict[str, Node] = {}
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self.render, transient=False)
        self._began = time.monotonic()

    def __enter__(self) -> LiveTree:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.line()

    def hear(self, what: str, node: Node) -> None:
        """A listener of the engine."""
        self.nodes[node.id] = node

    def render(self) -> Any:
        """The tree as a rich renderable. Of many children the last ones and a count are shown; what is below a child
        that has ended is a count too, so that a large tree stays on the screen."""
        from rich.console import Group
        from rich.text import Text
        from rich.tree import Tree as RichTree

        nodes = list(self.nodes.values())
        if not nodes:
            return Text("starting ...")
        below: dict[str | None, list[Node]] = {}
        for node in nodes:
            below.setdefault(node.parent, []).append(node)

        def grow(node: Node, branch: RichTree) -> None:
            children = below.get(node.id, [])
            hidden = len(children) - _SHOWN_CHILDREN
            if hidden > 0:
                done = sum(bool(child.status) for child in children[:hidden])
                branch.add(Text(f"{hidden} earlier sub-calls, {done} done", style="dim"))
            for child in children[-_SHOWN_CHILDREN:]:
                text = line(child)
                if child.status and child.id in below:
                    text.append(f"  ({len(below[child.id])} sub-calls)", style="dim")
                    branch.add(text)
                else:
                    grow(child, branch.add(text))

        root = below[None][0]
        tree = RichTree(line(root))
        grow(root, tree)
        return Group(tree, self._footer(nodes))

    def _footer(self, nodes: list[Node]) -> Any:
        from rich.text import Text

        replies = [turn.reply for node in nodes for turn in node.turns]
        tokens = sum((reply.prompt_tokens or 0) + (reply.completion_tokens or 0) for reply in replies)
        running = sum(not node.status for node in nodes if node.kind == "llm")
        most = f" of {self.limits.max_total_tokens:,}" if self.limits.max_total_tokens else ""
        return Text(
            f"{time.monotonic() - self._began:.0f} of {self.limits.wall_s:g} s · {len(nodes) - 1} of "
            f"{self.limits.max_calls} sub-calls, {running} open · {tokens:,}{most} tokens",
            style="dim",
        )


def line(node: Node) -> Any:
    """One node in one line."""
    from rich.text import Text

    state = node.status or "running"
    style = {"answered": "green", "running": "yellow"}.get(state, "red")
    text = Text.assemble((node.kind, "bold"), " ", (node.id, "dim"), " ", (str(state), style))
    if node.kind == "rlm" and node.turns:
        cells = node.turns[-1].cells
        text.append(f"  turn {len(node.turns)}", style="cyan")
        last = cells[-1].code.strip().splitlines()[-1:] if cells else []
        text.append(f"  {_plain(last[0])[:60]}" if last else "" if node.status else "  in a cell")
    elif node.kind == "llm" and node.messages:
        text.append(f"  {_plain(node.messages[-1]['content'])[:60]}", style="dim")
    if node.error:
        text.append(f"  {_plain(node.error)[:80]}", style="red")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _plain(text: str) -> str:
    """One line of printable characters: what a model wrote must not drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in text[:200])


def _report(result: Any, json_output: bool, html: Path | None, trace: Path | None) -> None:
    from ..rlm.engine import usage_row

    if json_output:
        row = {
            "status": result.status.value, "answer": result.answer, "partial": result.partial, "error": result.error,
            "usage": usage_row(result.usage), "html": str(html) if html else None,
            "trace": str(trace) if trace else None,
        }  # fmt: skip
        typer.echo(json.dumps(row))
        return
    used = result.usage.total
    if result.answer is not None:
        typer.echo(result.answer)
    else:
        typer.echo(f"No answer: {result.status.value}. {result.error}", err=True)
        if result.partial:
            typer.echo(f"Unfinished answer: {result.partial}", err=True)
    typer.echo(
        f"{used.calls} requests, {used.prompt_tokens} prompt and {used.completion_tokens} reply tokens"
        + (f", {used.failed} failed" if used.failed else ""),
        err=True,
    )
