"""Idempotency keys: the same key with the same body gets the stored reply, with another body a conflict."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..problems import Problem

TTL_S = 24 * 3600.0
MAX_ENTRIES = 10_000
MAX_BYTES = 256 * 2**20


@dataclass
class Stored:
    """A finished reply."""

    status: int
    body: bytes


@dataclass
class _Entry:
    body_hash: str
    expires: float
    done: asyncio.Future[Stored | None]


class IdempotencyStore:
    """Replies by key, for a day, the oldest forgotten beyond a limit."""

    def __init__(self, ttl_s: float = TTL_S, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES):
        self.ttl_s, self.max_entries, self.max_bytes = ttl_s, max_entries, max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def run(self, key: str, body: bytes, work: Callable[[], Awaitable[Stored]]) -> Stored:
        """The stored reply for a key, or that of ``work``. While the first is under way, others wait for it.

        Replies of 5xx are not kept, so that trying again means something.

        Raises:
            Problem: 409 when the key was used with another body.
        """
        body_hash = hashlib.sha256(body).hexdigest()
        while True:
            self._forget_old()
            entry = self._entries.get(key)
            if entry is None:
                break
            if entry.body_hash != body_hash:
                raise Problem(
                    409, "idempotency_conflict", "this Idempotency-Key was used with another body; take a new key"
                )
            stored = await asyncio.shield(entry.done)
            if stored is not None:
                return stored
        entry = _Entry(body_hash, time.monotonic() + self.ttl_s, asyncio.get_running_loop().create_future())
        self._entries[key] = entry
        reply: Stored | None = None
        try:
            reply = await work()
            return reply
        finally:
            keep = reply is not None and reply.status < 500
            if keep and reply is not None:
                self._bytes += len(reply.body)
            else:
                self._entries.pop(key, None)
            entry.done.set_result(reply if keep else None)

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            full = len(self._entries) > self.max_entries or self._bytes > self.max_bytes
            if entry.done.done() and (entry.expires < now or full):
                del self._entries[key]
                stored = entry.done.result()
                self._bytes -= len(stored.body) if stored is not None else 0
            else:
                return
