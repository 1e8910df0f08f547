"""Slots: warm fork servers, and the pool that lends them out one job at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .channel import Channel, ChannelClosed
from .groups import GroupDirectories
from .guest.frames import Frame, FrameError
from .runtime import Profile
from .types import SandboxError

START_S = 60.0  # a fork server starts in 0.2 s; this only catches a hang
OVERDUE_S = 15.0


class Slot:
    """One fork server process.

    Args:
        process: the process (or the client that keeps it, for a container).
        channel: frames to and from it.
        config: its first frame.
        stderr: file its error output goes to.
        release: called once when the slot is closed, to give back what it used.
        kill: ends the server when it does not end by itself.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], channel: Channel, config: dict[str, Any], stderr: Any,
        release: Callable[[], None], kill: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.process, self.channel, self.config = process, channel, config
        self.stderr, self._release, self._kill = stderr, release, kill or process.kill
        self.profile = "stdlib"
        self.runs = 0
        self.healthy = True
        self.hello: dict[str, Any] = {}

    async def start(self) -> None:
        """Configure the server and wait until it is ready.

        Raises:
            SandboxError: it could not be set up.
        """
        try:
            await self.channel.send(self.config)
            frame = await asyncio.wait_for(self.channel.receive(), START_S)
        except (ChannelClosed, FrameError, TimeoutError) as error:
            raise SandboxError(f"the fork server did not start: {error or 'no answer'}. {self.complaint()}") from None
        if frame.header.get("op") != "ready":
            raise SandboxError(f"the fork server could not be set up: {frame.header.get('error')}")
        self.hello = frame.header

    def complaint(self) -> str:
        """The end of what the server wrote to its error output."""
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self.stderr.fileno()).st_size
            return os.pread(self.stderr.fileno(), 2000, max(0, size - 2000)).decode("utf-8", "replace").strip()
        return ""

    async def request(self, header: dict[str, Any], parts: dict[str, bytes], wall_s: float) -> Frame:
        """Send a run and wait for its result. Cancelling ends the run.

        Raises:
            SandboxError: the server is gone or overdue.
        """
        self.runs += 1
        try:
            await self.channel.send(header, parts)
            while True:
                async with asyncio.timeout(wall_s + OVERDUE_S):
                    frame = await self.channel.receive()
                if frame.header.get("op") == "result" and frame.header.get("id") == header["id"]:
                    return frame
                raise SandboxError(f"the fork server answered out of turn: {str(frame.header)[:200]}")
        except (ChannelClosed, FrameError, TimeoutError) as error:
            self.healthy = False
            raise SandboxError(f"the fork server failed: {error or 'overdue'}. {self.complaint()}") from None
        except asyncio.CancelledError:
            self.healthy = False
            with contextlib.suppress(ChannelClosed, FrameError, TimeoutError):
                await self.channel.send({"op": "cancel"})
                frame = await asyncio.wait_for(self.channel.receive(), 5)
                self.healthy = frame.header.get("id") == header["id"]
            raise
        except SandboxError:
            self.healthy = False
            raise

    def close(self) -> None:
        """End the server: first by hanging up, then by force. Safe to call twice."""
        if self._release is None:
            return
        self.channel.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self._kill()
            self.process.kill()
            self.process.wait(10)
        self.stderr.close()
        release, self._release = self._release, None  # type: ignore[assignment]
        release()


def server_config(
    *, level: str, uid: int, gid: int, scratch: str, own_pids: bool, trees: Iterable[str] = (),
    profile: Profile | None = None, group: GroupDirectories | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The first frame a fork server receives.

    Args:
        level: ``I``, ``C`` or ``T``.
        uid: user id of guests.
        gid: group id of guests.
        scratch: directory for the runs' working directories (and, for level I, to build the file view on).
        own_pids: whether the server is alone in its PID namespace, so that everything else in it may be killed.
        trees: directories the interpreter needs.
        profile: what is imported besides.
        group: the slot's control group.
    """
    extra = profile or Profile()
    return {
        "op": "config",
        "level": level,
        "uid": uid,
        "gid": gid,
        "scratch": scratch,
        "own_pids": own_pids,
        "runtime": [*trees, *extra.trees],
        "site": list(extra.site),
        "preload": list(extra.preload),
        "cgroup": group.directories if group else None,
        "cgroup_version": group.version if group else 0,
    }


def error_file() -> Any:
    """An unnamed file for a server's error output."""
    return tempfile.TemporaryFile()


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Pool:
    """Lends slots; usable from several event loops and threads.

    Args:
        size: how many slots may exist.
        launch: starts a slot for a profile.
        recycle_after: runs after which a slot is replaced.
    """

    def __init__(self, size: int, launch: Callable[[str], Slot], recycle_after: int) -> None:
        self.size, self._launch, self.recycle_after = size, launch, recycle_after
        self._idle: list[Slot] = []
        self._all: set[Slot] = set()
        self._count = 0
        self._waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()
        self.closed = False

    async def acquire(self, profile: str = "stdlib") -> Slot:
        """Borrow a slot, starting one if there is room, else waiting for one.

        Raises:
            SandboxError: the pool is closed or a slot does not start.
        """
        while True:
            retired, waiter = None, None
            with self._lock:
                if self.closed:
                    raise SandboxError("this sandbox is closed")
                slot = next((slot for slot in reversed(self._idle) if slot.profile == profile), None)
                if slot is not None:
                    self._idle.remove(slot)
                    if slot.process.poll() is None:
                        return slot
                    retired = slot  # died while idle
                elif self._count < self.size:
                    self._count += 1
                elif self._idle:
                    retired = self._idle.pop(0)
                else:
                    loop = asyncio.get_running_loop()
                    waiter = loop.create_future()
                    self._waiters.append((loop, waiter))
            if waiter is not None:
                await self._wait(waiter)
                continue
            return await self._start(profile, retired)

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            with self._lock:
                self._waiters = deque(entry for entry in self._waiters if entry[1] is not waiter)
            self._wake()
            raise

    async def _start(self, profile: str, retired: Slot | None) -> Slot:
        slot = None
        try:
            if retired is not None:
                self._forget(retired)
            slot = self._launch(profile)
            slot.profile = profile
            with self._lock:
                self._all.add(slot)
            await slot.start()
            return slot
        except BaseException:
            if slot is not None:
                self._forget(slot)
            with self._lock:
                self._count -= 1
            self._wake()
            raise

    def _forget(self, slot: Slot) -> None:
        with self._lock:
            self._all.discard(slot)
        slot.close()

    def release(self, slot: Slot) -> None:
        """Give a slot back; a broken or worn one is closed."""
        keep = slot.healthy and slot.runs < self.recycle_after and not self.closed
        if not keep:
            self._forget(slot)
        with self._lock:
            if keep:
                self._idle.append(slot)
            else:
                self._count -= 1
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            while self._waiters:
                loop, waiter = self._waiters.popleft()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, waiter)
                    return

    def close(self) -> None:
        """End every slot, also those that are lent out."""
        with self._lock:
            self.closed = True
            slots, self._idle, self._all = list(self._all), [], set()
        for slot in slots:
            slot.healthy = False
            slot.close()
        deadline = time.monotonic() + 1
        while self._waiters and time.monotonic() < deadline:
            self._wake()
