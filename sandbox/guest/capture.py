"""Output kept while it is written: the beginning and the end, and how much was dropped between them."""

from __future__ import annotations


class HeadTail:
    """Keeps the first three quarters and the last quarter of ``cap`` bytes.

    ``overflow`` becomes true when the writer went far beyond the cap; the caller then ends the run, so that an endless
    writer costs neither memory nor time.
    """

    def __init__(self, cap: int) -> None:
        self.head_cap = cap - cap // 4
        self.tail_cap = cap // 4
        self.stop_at = max(16 * cap, cap + (1 << 20))
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self.head_cap - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        if data:
            self.tail += data
            if len(self.tail) > 2 * self.tail_cap + 65536:
                self._trim()

    def _trim(self) -> None:
        del self.tail[: max(0, len(self.tail) - self.tail_cap)]

    @property
    def overflow(self) -> bool:
        """Whether the stream is so long that the run should end."""
        return self.total > self.stop_at

    def take(self) -> tuple[bytes, int, int]:
        """Return ``(kept bytes, bytes dropped, offset of the cut)`` and start anew."""
        self._trim()
        kept, dropped, cut = bytes(self.head + self.tail), self.total - len(self.head) - len(self.tail), len(self.head)
        self.head.clear()
        self.tail.clear()
        self.total = 0
        return kept, dropped, cut
