"""The fork server's end of the channel to its host."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Any

from .frames import Frame, FrameReader, encode


class HostChannel:
    """Blocking frames over two descriptors (which may be one socket).

    Args:
        read_fd: where frames arrive.
        write_fd: where frames go.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        os.set_blocking(read_fd, True)
        os.set_blocking(write_fd, True)
        self._reader = FrameReader()
        self._ready: list[Frame] = []
        self.closed = False

    def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Write one frame. A host that is gone is noticed at the next receive."""
        data = memoryview(encode(header, parts))
        try:
            while data:
                data = data[os.write(self.write_fd, data) :]
        except OSError:
            self.closed = True

    def receive(self) -> Frame | None:
        """Wait for the next frame; None when the host has hung up."""
        while not self._ready:
            if self.closed or not self._fill():
                return None
        return self._ready.pop(0)

    def poll(self) -> list[Frame]:
        """Frames that are here already or complete with what can be read at once; call it again when there is more."""
        if not self.closed and select.select([self.read_fd], [], [], 0)[0]:
            self._fill()
        frames, self._ready = self._ready, []
        return frames

    def _fill(self) -> bool:
        try:
            data = os.read(self.read_fd, 1 << 18 if self._reader.pending else 1 << 16)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._ready += self._reader.feed(data)
        return True

    def close(self) -> None:
        """Close both descriptors."""
        for fd in {self.read_fd, self.write_fd}:
            with contextlib.suppress(OSError):
                os.close(fd)
