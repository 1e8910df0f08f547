"""REPL backends on the sandbox's sessions.

    fork      a conversation is a branch, forked from a session that already holds its context: no copy, and nothing
              that grows with the context. Conversations of one engine share a process tree and its limits.
    process   a conversation is a session of its own: nothing is shared, and each start costs a process tree.
    docker    as `fork`, in a container.

What is enforced is what `Worker.isolation` says, no more.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .context import Context
from .prompt import head_tail
from .repl import CALLS, CellOutcome, Handler, Repl, ReplDead, StopCell, read_report
from .types import Limits

if TYPE_CHECKING:
    from ..sandbox.base import ForkServerSandbox
    from ..sandbox.session import Session
    from ..sandbox.types import CellResult, Isolation

Backend = Literal["fork", "process", "docker", "unsafe_inprocess"]
GRACE_S = 0.15
SHARED_FROM = 200_000  # bytes from which a context gets a session that its conversations are forked from
MAX_SHARED = 8  # such sessions kept
INTERPRETER_BYTES = 256 << 20  # address space of Python itself, not counted against `mem_bytes`
_MARK = re.compile("\0cell [0-9a-f]{16}\0")  # see `guest.Output.begin`
BRANCHES = 24  # conversations of one blank session at once; then another is opened

_SETUP = """
def palaestra_setup(output_chars, echo):
    global palaestra_cells
    import sys
    palaestra_cells = Cells(lambda name, args: palaestra_call(name, args), sys.stdout, output_chars, echo)
    import gc
    gc.collect()
    gc.freeze()

def palaestra_load(layout):
    global palaestra_context
    palaestra_context = decode_context(palaestra_blob, layout)
    palaestra_blob.clear()
    globals().pop("palaestra_piece", None)
    import gc
    gc.collect()
    gc.freeze()  # so that a collection in a branch does not touch, and thereby copy, what it shares

def palaestra_begin(question, answer_chars, memory, layout=None, blob=None):
    if memory is not None:
        try:
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        except (ImportError, ValueError, OSError):
            pass
    context = palaestra_context if layout is None else decode_context(blob, layout)
    palaestra_cells.begin(context, question, answer_chars)

def palaestra_run(code):
    return palaestra_cells.run(code)
"""


class Template:
    """A session from which conversations are forked, and how many there are now."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.branches = 0
        self.lock = asyncio.Lock()


class Worker:
    """Makes REPLs of one backend; a `ReplFactory`.

    Args:
        backend: see the module.
        echo: show the value of a cell's last expression.
        sandbox: use this sandbox and leave it open; None opens one when it is needed.
    """

    def __init__(self, backend: Backend = "fork", echo: bool = True, sandbox: ForkServerSandbox | None = None) -> None:
        if backend not in get_args(Backend):
            raise ValueError(f"repl is {backend!r}; choose one of {', '.join(get_args(Backend))}")
        self.backend, self.echo = backend, echo
        self._sandbox, self._own = sandbox, sandbox is None
        self._blank: list[Template] = []
        self._shared: OrderedDict[tuple[str, int], Template] = OrderedDict()
        self._lock: asyncio.Lock | None = None

    def __call__(self, context: Context, question: str, limits: Limits, handler: Handler) -> Repl:
        if self.backend == "unsafe_inprocess":
            from .inprocess import InProcessRepl

            return InProcessRepl(context, question, limits, handler, self.echo)
        return SessionRepl(self, context, question, limits, handler)

    @property
    def isolation(self) -> Isolation | None:
        """What the sandbox tested to hold; None before the first use and for `unsafe_inprocess`."""
        return self._sandbox.isolation if self._sandbox is not None else None

    async def session(self, context: Context, limits: Limits, handler: Handler) -> tuple[Session, Template | None]:
        """A session or branch that holds `context`, and the template it counts against."""
        if self.backend == "process":
            session = await self._new(limits, handler)
            await load(session, context)
            return session, None
        from ..sandbox.types import SandboxError

        for again in (True, False):
            template = await self._template(context, limits)
            template.branches += 1
            try:
                async with template.lock:  # a session forks one branch at a time
                    return await template.session.fork(palaestra_call=handler), template
            except BaseException as error:
                template.branches -= 1
                if not (again and isinstance(error, SandboxError)):
                    raise
                await self._forget(template)  # it died or idled out; a fresh one may do
        raise AssertionError("unreachable")

    async def _forget(self, template: Template) -> None:
        self._blank = [t for t in self._blank if t is not template]
        for key in [key for key, t in self._shared.items() if t is template]:
            del self._shared[key]
        await template.session.close()

    async def _template(self, context: Context, limits: Limits) -> Template:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if context.size < SHARED_FROM:
                self._blank = [t for t in self._blank if t.session.alive]
                for template in self._blank:
                    if template.branches < BRANCHES:
                        return template
                template = Template(await self._new(limits, _no_call))
                self._blank.append(template)
                return template
            key = (context.sha256, limits.output_chars)
            found = self._shared.get(key)
            if found is not None and found.session.alive:
                self._shared.move_to_end(key)
                return found
            await self._make_room()
            template = Template(await self._new(limits, _no_call))
            await load(template.session, context)
            self._shared[key] = template
            return template

    async def _make_room(self) -> None:
        """Close the shared sessions that were used longest ago and have no conversation."""
        for key, template in list(self._shared.items()):
            if len(self._shared) < MAX_SHARED:
                return
            if template.branches == 0:
                del self._shared[key]
                await template.session.close()

    async def _new(self, limits: Limits, handler: Handler) -> Session:
        from ..sandbox.types import Limits as SandboxLimits
        from ..sandbox.types import SessionSpec

        sandbox = await self._open()
        shared = self.backend != "process"
        spec = SessionSpec(
            limits=SandboxLimits(
                wall_s=60,
                cpu_s=86_400,
                mem_mb=max(64, min(((limits.mem_bytes or 1 << 40) >> 20) * (4 if shared else 1), 1 << 20)),
                procs=min(4096, limits.procs * (BRANCHES if shared else 1) + 2),
                out_bytes=max(256, 4 * limits.output_chars),
            ),
            host_calls=["palaestra_call"],
            grace_s=GRACE_S,
            max_cells=100_000_000,
            max_host_calls=100_000_000,
        )
        session = await sandbox.session(spec, palaestra_call=handler)
        source = Path(__file__).with_name("guest.py").read_text(encoding="utf-8")
        made = await session.exec(source + _SETUP, timeout_s=30)
        if made.ok:
            made = await session.call("palaestra_setup", [limits.output_chars, self.echo], timeout_s=30)
        if not made.ok:
            await session.close()
            raise ReplDead(f"the REPL could not be set up: {made.verdict} {made.reason}", infra=True)
        return session

    async def _open(self) -> ForkServerSandbox:
        if self._sandbox is None:
            if self.backend == "docker":
                from ..sandbox.docker import DockerSandbox

                self._sandbox = await asyncio.to_thread(DockerSandbox)
            else:
                from ..sandbox.local import LocalSandbox

                self._sandbox = await asyncio.to_thread(LocalSandbox, 1, max_sessions=256)
        return self._sandbox

    async def close(self) -> None:
        """End all sessions, and the sandbox when it is the worker's own. Twice is safe."""
        templates = [*self._blank, *self._shared.values()]
        self._blank, self._lock = [], None
        self._shared.clear()
        for template in templates:
            await template.session.close()
        if self._own and self._sandbox is not None:
            sandbox, self._sandbox = self._sandbox, None
            sandbox.close_sync()  # in this thread: at the interpreter's exit there are no others


async def _no_call(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    raise ReplDead("a template makes no calls")


async def load(session: Session, context: Context) -> None:
    """Make the variable `context` in a session."""
    done = await session.exec("palaestra_blob = bytearray()", timeout_s=60)
    for piece in context.pieces():
        if done.ok:
            done = await session.set("palaestra_piece", piece, timeout_s=60)
        if done.ok:
            done = await session.exec("palaestra_blob += palaestra_piece", timeout_s=60)
    if done.ok:
        done = await session.call("palaestra_load", [context.layout()], timeout_s=60)
    if not done.ok:
        raise ReplDead(f"the context could not be loaded: {done.verdict} {done.reason}", infra=True)


class SessionRepl:
    """A REPL in a session or branch of the sandbox; see `repl.Repl`."""

    def __init__(self, worker: Worker, context: Context, question: str, limits: Limits, handler: Handler) -> None:
        self._worker, self._context, self._question, self._limits = worker, context, question, limits
        self._handler = handler
        self._session: Session | None = None
        self._template: Template | None = None
        self._stop: Exception | None = None
        self._late = False

    async def _watched(self, session: Session, code: str, seconds: float) -> CellResult:
        """Run a cell. The sandbox stops the clock while the host answers calls; where the limit is to include those,
        a second clock here ends the session."""
        self._late = False
        cell = asyncio.ensure_future(session.call("palaestra_run", [code], timeout_s=seconds))
        if not self._limits.cell_s_includes_subcalls:
            return await cell
        try:
            done, _ = await asyncio.wait([cell], timeout=seconds + GRACE_S)
        except asyncio.CancelledError:
            cell.cancel()
            await asyncio.wait([cell])
            raise
        if not done:
            self._late = True
            await session.close()
        return await cell

    async def _call(self, name: Any, args: Any) -> dict[str, Any]:
        """One call out of the worker; whatever is wrong with it ends the session, never the host."""
        try:
            if name not in CALLS or not isinstance(args, dict):
                raise ReplDead(f"the worker made an unknown call {str(name)[:40]!r}")
            return await self._handler(name, args)
        except (StopCell, ReplDead) as error:
            self._stop = error
            assert self._session is not None
            await self._session.close()
            return {}

    async def start(self) -> None:
        from ..sandbox.types import SandboxError

        try:
            self._session, self._template = await self._worker.session(self._context, self._limits, self._call)
            own = self._limits.mem_bytes
            memory = None if own is None else own + 2 * self._context.size + INTERPRETER_BYTES
            words: list[Any] = [self._question, self._limits.answer_chars, memory]
            if self._template is not None and self._context.size < SHARED_FROM:  # it crosses with the first call
                words += [self._context.layout(), self._context.blob]
            done = await self._session.call("palaestra_begin", words, timeout_s=30)
        except SandboxError as error:
            await self.close()
            raise ReplDead(str(error), infra=True) from error
        if not done.ok:
            await self.close()
            raise ReplDead(f"the REPL could not be started: {done.verdict} {done.reason}", infra=True)

    async def run(self, code: str, seconds: float) -> CellOutcome:
        from ..sandbox.types import SandboxError

        assert self._session is not None, "start() first"
        self._stop = None
        began = time.monotonic()
        try:
            cell = await self._watched(self._session, code, seconds)
        except SandboxError as error:
            raise ReplDead(str(error), infra=True) from error
        if isinstance(self._stop, ReplDead):
            raise self._stop
        if cell.verdict == "protocol_error":
            raise ReplDead(f"the worker broke the protocol: {cell.reason}")
        row = cell.value if isinstance(cell.value, dict) else None
        cap = self._limits.output_chars
        if row is None:
            lost = True
            status = "timeout" if self._late else "killed" if self._stop else _status(cell.verdict)
            shown, omitted = head_tail(_since_mark(cell.stdout_text) + cell.stderr_text, cap)
            report = read_report(None, self._limits)
        else:
            lost = cell.state_lost
            status = "timeout" if cell.verdict == "timeout_wall" else str(row.get("status", ""))[:20]
            status = "output" if cell.verdict == "output_limit" else "timeout" if status == "interrupt" else status
            shown, omitted = _assemble(cell.stdout_text, cell.stderr_text, row, cap)
            omitted += cell.stdout_dropped + cell.stderr_dropped
            report = read_report(row, self._limits)
        return CellOutcome(status, shown, omitted, state_lost=lost, seconds=time.monotonic() - began, **report)

    async def close(self) -> None:
        session, self._session = self._session, None
        template, self._template = self._template, None
        if template is not None:
            template.branches -= 1
        if session is not None:
            await session.close()


def _status(verdict: str) -> str:
    return {"timeout_wall": "timeout", "timeout_cpu": "timeout", "memory": "memory", "output_limit": "output"}.get(
        verdict, "died"
    )


def _since_mark(printed: str) -> str:
    """What a cell printed; set apart, before it, what a thread or process of an earlier cell printed meanwhile."""
    found = _MARK.search(printed)
    if found is None:
        return printed
    late, own = printed[: found.start()], printed[found.end() :]
    if not late.strip():
        return own
    shown, _ = head_tail(late, 1_000)
    return f"[printed after the last cell had ended]\n{shown.rstrip()}\n[this cell]\n{own}"


def _assemble(printed: str, errors: str, row: Mapping[str, Any], cap: int) -> tuple[str, int]:
    """Printed text, its tail, and the value or traceback, within `cap` characters; and how many were left out."""
    tail, dropped, shown = str(row.get("tail", ""))[-cap:], row.get("dropped"), str(row.get("shown", ""))
    omitted = dropped if isinstance(dropped, int) and dropped > 0 else 0
    printed = _since_mark(printed)
    if omitted:
        printed += f"\n[... {omitted} characters left out ...]\n"
    text = printed + tail + errors
    if shown:
        text += ("" if not text or text.endswith("\n") else "\n") + shown
    if text and not text.endswith("\n"):
        text += "\n"
    if len(text) <= cap + 200:
        return text, omitted
    cut, more = head_tail(text, cap)
    return cut, omitted + more
