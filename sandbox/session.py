"""Sessions: a Python process that stays, keeps its variables, can call the host, and can be forked.

async with await sandbox.session(llm_query=ask) as session:
    await session.set("context", text)               # any size; no copy per cell
    cell = await session.exec("print(len(context))", timeout_s=5)
    branch = await session.fork()                    # same variables, own life
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from .cell import Cell
from .channel import ChannelClosed
from .guest import values
from .guest.frames import Frame, FrameError
from .inputs import check_size
from .slots import OVERDUE_S, START_S, Pool, Slot
from .types import CellResult, SandboxError, SessionSpec, to_bytes

FORK_S = 60.0
HostCall = Callable[..., Any] | Callable[..., Awaitable[Any]]


class Inbox:
    """Words for one branch, and the command that waits for them."""

    def __init__(self) -> None:
        self.words: deque[Frame | Exception] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def put(self, word: Frame | Exception) -> None:
        """Add a word and wake who waits."""
        self.words.append(word)
        self.wake()

    def wake(self) -> None:
        """Let the waiting command look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class SessionHub:
    """The host's side of one slot that holds a session and its branches; not used directly.

    Args:
        slot: the fork server.
        pool: where it goes back to.
        spec: the session's set-up.
        host_calls: functions the guest may call.
    """

    def __init__(self, slot: Slot, pool: Pool, spec: SessionSpec, host_calls: dict[str, HostCall]) -> None:
        self.slot, self.pool, self.spec, self.host_calls = slot, pool, spec, host_calls
        self.inboxes: dict[int, Inbox] = {}
        self.branches: set[int] = set()
        self.ends: dict[int, str] = {}
        self.used: dict[int, float] = {}  # when a branch last had a command
        self.numbers = itertools.count(1)
        self.cells = 0
        self.final: dict[str, Any] | None = None
        self.failure: SandboxError | None = None
        self._reading = False
        self._released = False

    async def open(self) -> Session:
        """Start the session's main process."""
        spec = self.spec
        header = {
            "op": "open", "limits": vars(spec.limits), "host_calls": sorted(self.host_calls), "env": dict(spec.env),
            "idle_s": spec.idle_s,
        }  # fmt: skip
        parts = {"file:" + name: to_bytes(data) for name, data in spec.files.items()}
        check_size([*spec.env, *spec.env.values()], parts, "SessionSpec")
        self.slot.runs += 1
        try:
            async with asyncio.timeout(START_S):
                await self.slot.channel.send(header, parts)
                frame = await self.slot.channel.receive()
        except (ChannelClosed, FrameError, TimeoutError) as error:
            complaint = f"{error or 'no answer'}. {self.slot.complaint()}"
            raise SandboxError(f"the session did not start: {complaint}") from None
        if frame.header.get("op") != "opened":
            raise SandboxError(f"the session did not start: {frame.header.get('reason')}")
        self.branches.add(0)
        return Session(self, 0)

    async def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Send a word to the fork server."""
        await self.slot.channel.send(header, parts)

    async def make_room(self) -> None:
        """End idle branches, those used longest ago first, until one more may live."""
        most = self.spec.max_branches
        while most is not None and len(self.branches) > most:  # the main process counts as one
            idle = [branch for branch in self.branches if branch and branch not in self.inboxes]
            if not idle:
                raise SandboxError(f"all of the session's {most} branches are busy; wait, or raise max_branches")
            oldest = min(idle, key=lambda branch: self.used.get(branch, 0.0))
            self.branches.discard(oldest)
            self.ends[oldest] = f"it made room for another branch: max_branches is {most}"
            await self.send({"op": "kill", "branch": oldest, "reason": "evicted"})

    def listen(self, branch: int) -> Inbox:
        """Start to receive what concerns a branch."""
        return self.inboxes.setdefault(branch, Inbox())

    def unlisten(self, branch: int) -> None:
        """Stop receiving."""
        self.inboxes.pop(branch, None)

    async def next_word(self, inbox: Inbox) -> Frame | Exception:
        """The next word for an inbox. Of all commands that wait, one reads for all; no task of its own is needed.

        Whoever leaves, for whatever reason, while nobody reads hands that duty to a command that sleeps: else a word
        that has arrived would lie there until something else happens.
        """
        try:
            while not inbox.words:
                if self.failure is not None:
                    return self.failure
                if self._reading:
                    inbox.waiter = asyncio.get_running_loop().create_future()
                    try:
                        await inbox.waiter
                    finally:
                        inbox.waiter = None
                else:
                    await self._read()
            return inbox.words.popleft()
        finally:
            if not self._reading:
                self._pass_on()

    def take_what_is_there(self) -> None:
        """Put the words that have arrived where they belong."""
        for frame in self.slot.channel.ready():
            self._dispatch(frame)

    async def _read(self) -> None:
        """Take the next word from the channel and put it where it belongs."""
        self._reading = True
        try:
            self._dispatch(await self.slot.channel.receive())
        except (ChannelClosed, FrameError) as error:
            self.slot.healthy = False
            self.branches.clear()
            self.failure = SandboxError(f"the fork server failed: {error}. {self.slot.complaint()}")
            for inbox in self.inboxes.values():
                inbox.wake()
        finally:
            self._reading = False

    def _pass_on(self) -> None:
        """Wake one command that sleeps and has not been woken yet; those that were pass the duty on themselves."""
        for inbox in self.inboxes.values():
            if inbox.waiter is not None and not inbox.waiter.done():
                inbox.wake()
                return

    def _dispatch(self, frame: Frame) -> None:
        op = frame.header.get("op")
        if op == "closed":
            self.final = frame.header
            self.ends |= dict.fromkeys(self.branches, _cause(frame.header))
            self.branches.clear()
            for inbox in self.inboxes.values():
                inbox.put(frame)
            return
        branch = frame.header.get("branch", 0)
        if op == "ended" and branch in self.branches:
            self.branches.discard(branch)
            self.ends[branch] = _cause(frame.header)
        if branch in self.inboxes:
            self.inboxes[branch].put(frame)

    async def end(self) -> None:
        """Close the session and give the slot back."""
        if self._released:
            return
        self._released = True
        if self.final is not None or 0 not in self.branches:
            # The main process ended by itself, and a command may have crossed its end: words are left over.
            self.slot.healthy = False
        self.branches.clear()
        try:
            if self.final is None and self.slot.healthy:
                await self.send({"op": "close"})
                inbox = self.listen(-1)
                async with asyncio.timeout(OVERDUE_S):
                    while self.final is None:
                        word = await self.next_word(inbox)
                        if isinstance(word, Exception):
                            break
        except (ChannelClosed, TimeoutError):
            self.slot.healthy = False
        except asyncio.CancelledError:
            self.slot.healthy = False
            raise
        finally:
            self.pool.release(self.slot)


def _cause(header: dict[str, Any]) -> str:
    return f"{header.get('verdict', '')}: {header.get('reason', '')}".strip(": ")


class Session:
    """One interpreter of a session: the main one, or a branch made by ``fork``. One command at a time."""

    def __init__(self, hub: SessionHub, branch: int, host_calls: dict[str, HostCall] | None = None) -> None:
        self._hub, self._branch = hub, branch
        self._host_calls = hub.host_calls if host_calls is None else host_calls
        self._busy = False

    @property
    def alive(self) -> bool:
        """Whether the process and its variables are still there, as far as is known."""
        return self._branch in self._hub.branches

    async def exec(self, code: str, *, timeout_s: float | None = None) -> CellResult:
        """Run a cell.

        Args:
            code: Python source; the value of a final expression comes back as bounded ``repr``.
            timeout_s: wall limit; by default the session's ``limits.wall_s``. Time the host takes to answer host
                calls does not count.

        Returns:
            The result. After a kill ``state_lost`` is true and further cells say so too.

        Raises:
            SandboxError: the fork server failed.
        """
        if not isinstance(code, str):
            raise ValueError(f"a cell's code is {type(code).__name__}; give text")
        return await self._command("exec", {}, {"code": to_bytes(code)}, timeout_s)

    async def call(
        self, name: str, args: Any = (), kwargs: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> CellResult:
        """Call a function of the guest by name; arguments and value cross as data.

        Args:
            name: a function, or ``Class.method`` (the class is instantiated without arguments).
            args: positional arguments.
            kwargs: keyword arguments.
            timeout_s: wall limit.

        Returns:
            The result with ``value``; when the value cannot cross, verdict ``exception`` and ``problem``.
        """
        payload = values.encode([list(args), dict(kwargs or {})])
        return await self._command("call", {"name": name}, {"args": payload}, timeout_s)

    async def get(self, name: str, *, timeout_s: float | None = None) -> CellResult:
        """The value of a variable, as data, in ``value``."""
        return await self._command("get", {"name": name}, {}, timeout_s)

    async def set(self, name: str, value: Any, *, timeout_s: float | None = None) -> CellResult:
        """Set a variable. Text and bytes may be large: they cross once and unencoded."""
        if isinstance(value, str):
            parts = {"text": to_bytes(value)}
        elif isinstance(value, bytes):
            parts = {"bytes": value}
        else:
            parts = {"value": values.encode(value)}
        return await self._command("set", {"name": name}, parts, timeout_s)

    async def names(self, *, timeout_s: float | None = None) -> CellResult:
        """The public names the guest defines, with the names of their types, in ``value``."""
        return await self._command("names", {}, {}, timeout_s)

    async def fork(self, **host_calls: HostCall) -> Session:
        """A branch: a copy of this process with the same variables, made by fork, so nothing large is copied.

        A branch is closed by its own ``close`` and ends with the main session.

        Args:
            **host_calls: functions that answer this branch's calls instead of the session's own ones of these names.

        Raises:
            SandboxError: this session is gone, or the process limit (or ``max_branches`` busy ones) allows no more.
        """
        await self._hub.make_room()
        new = next(self._hub.numbers)
        inbox = self._hub.listen(new)
        try:
            result = await self._command("fork", {}, {}, FORK_S, new=new)
            if not result.ok:
                raise SandboxError(f"the session could not be forked: {result.error_message or result.reason}")
            try:
                async with asyncio.timeout(FORK_S):
                    opened = await self._hub.next_word(inbox)
            except TimeoutError:
                raise SandboxError(f"the session's branch did not start within {FORK_S:g} s") from None
            if isinstance(opened, Exception) or opened.header.get("op") != "opened":
                raise SandboxError("the session's branch did not start")
            self._hub.branches.add(new)
            self._hub.used[new] = time.monotonic()
            return Session(self._hub, new, {**self._host_calls, **host_calls})
        finally:
            self._hub.unlisten(new)

    async def close(self) -> None:
        """End this interpreter (and, for the main one, the whole session). Safe to call twice."""
        if self._branch == 0:
            await self._hub.end()
        elif self.alive:
            self._hub.branches.discard(self._branch)
            try:
                await self._hub.send({"op": "kill", "branch": self._branch, "reason": "closed"})
            except ChannelClosed:
                self._hub.slot.healthy = False

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _command(
        self, kind: str, args: dict[str, Any], parts: dict[str, bytes], timeout_s: float | None, new: int | None = None
    ) -> CellResult:
        hub = self._hub
        limit = hub.spec.limits.wall_s if timeout_s is None else timeout_s
        if not isinstance(limit, (int, float)) or not 0 <= limit < 1e9:
            raise ValueError(f"timeout_s is {timeout_s!r}; give seconds")
        check_size([str(args.get("name", ""))], parts, "a command")
        if self._busy:
            raise SandboxError("this session is busy with another command; use fork() for parallel work")
        if not self.alive:
            why = hub.ends.get(self._branch)
            return CellResult("exit", reason=f"the session has ended{f' ({why})' if why else ''}", state_lost=True)
        if hub.cells >= hub.spec.max_cells:
            return CellResult("exit", reason=f"the session's {hub.spec.max_cells} cells are used up")
        hub.cells += 1
        hub.used[self._branch] = time.monotonic()
        self._busy = True
        number = next(hub.numbers)
        header = {"op": "cell", "branch": self._branch, "id": number, "kind": kind, "args": args}
        if new is not None:
            header["new"] = new
        inbox = hub.listen(self._branch)
        cell = Cell(hub, self._branch, self._host_calls, number, limit)
        try:
            await hub.send(header, parts)
            return await cell.finish(inbox)
        except ChannelClosed as error:
            hub.slot.healthy = False
            raise SandboxError(f"the fork server failed: {error}") from None
        except asyncio.CancelledError:
            hub.branches.discard(self._branch)  # the cell is still running: this interpreter is of no further use
            await hub.send({"op": "kill", "branch": self._branch, "reason": "cancelled"})
            raise
        finally:
            cell.cancel_calls()
            self._busy = False
            hub.unlisten(self._branch)
