"""The host's end of the channel to a fork server: frames over descriptors, in whatever event loop is running."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Any

from .guest.frames import Frame, FrameError, FrameReader, encode


class ChannelClosed(ConnectionError):
    """The fork server is gone."""


class Channel:
    """Asynchronous frames over two descriptors (which may be one socket).

    It registers with the event loop only while an operation waits, so it may be used from one loop now and from
    another later.

    Args:
        read_fd: where frames arrive.
        write_fd: where frames go.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._outgoing: deque[memoryview] = deque()
        self._queued = self._written = 0  # bytes ever
        self._readers: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.Future[None]] = []
        self._broken: FrameError | None = None
        self.closed = False

    async def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Write one frame; reads meanwhile, so that both sides can never wait for each other.

        Frames leave whole and in the order of the calls, however many senders wait for room at once, and also when a
        sender is cancelled half-way: whoever comes next writes the rest first.

        Raises:
            ChannelClosed: the other side is gone.
        """
        data = encode(header, parts)
        self._outgoing.append(memoryview(data))
        self._queued += len(data)
        end = self._queued
        while self._written < end:
            if self.closed:
                raise ChannelClosed("the fork server has ended")
            self._flush()
            if self._written < end:
                self._fill()
                await self._wait(self._writers)

    def _flush(self) -> None:
        """Write what is queued, as far as there is room."""
        try:
            while self._outgoing:
                count = os.write(self.write_fd, self._outgoing[0])
                self._written += count
                if count == len(self._outgoing[0]):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = self._outgoing[0][count:]
        except BlockingIOError:
            return
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    async def receive(self) -> Frame:
        """Wait for the next frame.

        Raises:
            ChannelClosed: the other side is gone.
            FrameError: it sent something that is no frame.
        """
        while not self._frames:
            if not self.closed:
                self._fill()
            if self._frames:
                break
            if self.closed:
                raise self._broken or ChannelClosed("the fork server has ended")
            await self._wait(self._readers)
        return self._frames.popleft()

    def ready(self) -> list[Frame]:
        """The frames that have arrived, without waiting."""
        if not self.closed:
            self._fill()
        frames, self._frames = list(self._frames), deque()
        return frames

    def _fill(self) -> None:
        try:
            data = os.read(self.read_fd, 1 << 20 if self._reader.pending else 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            frames = self._reader.feed(data) if data else []
        except FrameError as error:
            frames, data, self._broken = [], b"", error
        self._frames += frames
        self.closed = self.closed or not data
        if frames or self.closed:
            self._wake()

    async def _wait(self, queue: list[asyncio.Future[None]]) -> None:
        """Sleep until something can be read or, for a writer, written. Any number of coroutines may wait at once."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        if not self._readers and not self._writers:
            loop.add_reader(self.read_fd, self._wake)
        queue.append(ready)
        if queue is self._writers and len(queue) == 1:
            loop.add_writer(self.write_fd, self._wake)
        try:
            await ready
        finally:
            queue.remove(ready)
            if queue is self._writers and not queue and self.write_fd >= 0:
                loop.remove_writer(self.write_fd)
            if not self._readers and not self._writers and self.read_fd >= 0:
                loop.remove_reader(self.read_fd)

    def _wake(self) -> None:
        for ready in (*self._readers, *self._writers):
            if not ready.done():
                ready.set_result(None)

    def close(self) -> None:
        """Close both descriptors and wake whoever waits; they see ``ChannelClosed``. From any thread."""
        if self.read_fd < 0:
            return
        self.closed = True
        fds = {self.read_fd, self.write_fd}
        self.read_fd = self.write_fd = -1
        loop = next((ready.get_loop() for ready in (*self._readers, *self._writers)), None)
        if loop is None or loop.is_closed():
            _close(fds, None)
        elif asyncio._get_running_loop() is loop or not loop.is_running():
            _close(fds, loop)
            self._wake()
        else:  # the loop must forget the numbers before something else can get them
            loop.call_soon_threadsafe(_close, fds, loop)
            loop.call_soon_threadsafe(self._wake)


def _close(fds: set[int], loop: asyncio.AbstractEventLoop | None) -> None:
    for fd in fds:
        if loop is not None:
            loop.remove_reader(fd)
            loop.remove_writer(fd)
        os.close(fd)
