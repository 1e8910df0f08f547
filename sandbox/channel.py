"""The host's end of the channel to a fork server: frames over descriptors, in whatever event loop is running."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .guest.frames import Frame, FrameReader, encode


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
        self._frames: list[Frame] = []
        self._waiting: list[asyncio.Future[None]] = []
        self.closed = False

    async def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Write one frame; reads meanwhile, so that both sides can never wait for each other.

        Raises:
            ChannelClosed: the other side is gone.
        """
        data = memoryview(encode(header, parts))
        while data:
            if self.closed:
                raise ChannelClosed("the fork server has ended")
            try:
                data = data[os.write(self.write_fd, data) :]
            except BlockingIOError:
                self._fill()
                if not self.closed:
                    await self._wait(write=True)
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
                raise ChannelClosed("the fork server has ended")
            await self._wait(write=False)
        return self._frames.pop(0)

    def _fill(self) -> None:
        try:
            data = os.read(self.read_fd, 1 << 20 if self._reader.pending else 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._frames += self._reader.feed(data)

    async def _wait(self, write: bool) -> None:
        """Sleep until something can be read (or written). Several coroutines may wait at once."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.add_reader(self.read_fd, self._wake)
        self._waiting.append(ready)
        if write:
            loop.add_writer(self.write_fd, self._wake)
        try:
            await ready
        finally:
            self._waiting.remove(ready)
            if write and self.write_fd >= 0:
                loop.remove_writer(self.write_fd)
            if not self._waiting and self.read_fd >= 0:
                loop.remove_reader(self.read_fd)

    def _wake(self) -> None:
        for ready in self._waiting:
            if not ready.done():
                ready.set_result(None)

    def close(self) -> None:
        """Close both descriptors and wake whoever waits; they see ``ChannelClosed``."""
        if self.read_fd < 0:
            return
        self.closed = True
        fds = {self.read_fd, self.write_fd}
        for ready in list(self._waiting):
            loop = ready.get_loop()
            if loop.is_closed():
                continue
            if asyncio._get_running_loop() is loop:
                loop.remove_reader(self.read_fd)
            loop.call_soon_threadsafe(self._wake)
        self.read_fd = self.write_fd = -1
        for fd in fds:
            os.close(fd)
