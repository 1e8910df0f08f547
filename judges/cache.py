"""Verdict cache on SQLite: correct keys, no pickles, bounded in bytes, written by one thread.

Only verdicts are stored. Errors and empty results never are, so a judge that was down yesterday is asked again today.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from ..schema import clean_text
from .parsing import PARSER_VERSION
from .types import SCHEMA_VERSION

COMPRESS_ABOVE = 4096
NOTE_USES = 256  # hits that are noted together
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ncpfs"}


class CacheError(RuntimeError):
    """The cache cannot live where it was put."""


def cache_key(
    judge: str, revision: str | None, messages: Any, sampling: dict[str, Any], response_format: Any, sample: int = 0
) -> str:
    """sha256 over everything that decides a verdict, each field preceded by its length."""
    digest = hashlib.sha256()
    for part in (SCHEMA_VERSION, judge, revision, messages, sampling, PARSER_VERSION, response_format, sample):
        text = json.dumps(part, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        data = clean_text(text).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


class VerdictCache:
    """Key to JSON value, least recently used thrown out beyond ``max_bytes``.

    Args:
        path: database file; ``:memory:`` keeps nothing.
        max_bytes: size of all values together.
    """

    def __init__(self, path: str | Path = ":memory:", max_bytes: int = 2**30):
        self.path = str(path)
        self.max_bytes = max_bytes
        if self.path != ":memory:":
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            kind = filesystem_of(Path(self.path).parent)
            if kind in _NETWORK:
                raise CacheError(f"cache {self.path} lies on a network file system ({kind}); put it on a local disk")
        try:
            self._db = self._connect()
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, value BLOB NOT NULL,"
                " packed INTEGER NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL)"
            )
            self._db.execute("CREATE INDEX IF NOT EXISTS by_use ON verdicts (used)")
            self._bytes = self._db.execute("SELECT COALESCE(SUM(bytes), 0) FROM verdicts").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise CacheError(
                f"cache {self.path} cannot be opened ({error}); move it away or name another file"
            ) from error
        # A connection of its own lets readers pass a commit; a database in memory has only the one.
        self._reader = self._db if self.path == ":memory:" else self._connect()
        self._reading = threading.Lock()
        self._writing = self._reading if self.path == ":memory:" else threading.Lock()
        self._lock = threading.Lock()  # the two dictionaries below
        self._pending: dict[str, str] = {}
        self._used: dict[str, float] = {}
        self._jobs: queue.Queue[tuple[str, str] | None] = queue.Queue()  # None wakes the writer without a value
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="verdict-cache", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=10)

    def get(self, key: str) -> Any | None:
        """The stored value, or None."""
        with self._lock:
            text = self._pending.get(key)
        if text is not None:
            return json.loads(text)
        with self._reading:
            row = self._reader.execute("SELECT value, packed FROM verdicts WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        with self._lock:
            self._used[key] = time.time()
            many = len(self._used) >= NOTE_USES
        if many:  # waking the writer for every hit would cost more than the hit
            self._jobs.put(None)
        return json.loads(zlib.decompress(row[0]) if row[1] else row[0])

    def put(self, key: str, value: Any) -> None:
        """Store a value; it can be read at once and is on disk after `flush`."""
        if value is None:
            raise ValueError("the cache stores verdicts; None is not one")
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        with self._lock:
            self._pending[key] = text
        self._jobs.put((key, text))

    def flush(self) -> None:
        """Wait until everything put so far is written."""
        self._jobs.join()

    def close(self) -> None:
        """Write what is left and close; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._writer.join(30)
        self._db.close()
        self._reader.close()

    def writable(self) -> bool:
        """Whether the cache accepts verdicts."""
        return not self._closed and self._writer.is_alive()

    def __len__(self) -> int:
        self.flush()
        with self._reading:
            return int(self._reader.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def _write(self) -> None:
        while True:
            batch = [self._jobs.get()]
            while len(batch) < 200 and not self._jobs.empty():
                batch.append(self._jobs.get())
            try:
                with self._writing:
                    self._apply([job for job in batch if job is not None])
            except sqlite3.Error:
                pass  # a full disk costs the cache, not the verdicts; `writable` and misses show it
            finally:
                for _ in batch:
                    self._jobs.task_done()
            if self._closed and self._jobs.empty():
                return

    def _apply(self, jobs: list[tuple[str, str]]) -> None:
        with self._lock:
            used, self._used = self._used, {}
        self._db.execute("BEGIN")
        try:
            self._db.executemany("UPDATE verdicts SET used = ? WHERE key = ?", [(at, key) for key, at in used.items()])
            for key, text in jobs:
                self._store(key, text)
            self._evict()
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise
        finally:
            with self._lock:
                for key, text in jobs:
                    if self._pending.get(key) == text:
                        del self._pending[key]

    def _store(self, key: str, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        packed = len(data) > COMPRESS_ABOVE
        value = zlib.compress(data) if packed else data
        old = self._db.execute("SELECT bytes FROM verdicts WHERE key = ?", (key,)).fetchone()
        self._db.execute(
            "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)", (key, value, packed, len(value), time.time())
        )
        self._bytes += len(value) - (old[0] if old else 0)

    def _evict(self) -> None:
        while self._bytes > self.max_bytes:
            row = self._db.execute("SELECT key, bytes FROM verdicts ORDER BY used LIMIT 1").fetchone()
            if row is None:
                return
            self._db.execute("DELETE FROM verdicts WHERE key = ?", (row[0],))
            self._bytes -= row[1]


def filesystem_of(path: Path) -> str:
    """Type of the file system a path lies on, from the mount table; empty when unknown."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    target = str(path.resolve())
    for line in lines:
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        mount = parts[1].replace("\\040", " ")
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, parts[2]
    return kind
