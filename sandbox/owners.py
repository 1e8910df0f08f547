"""Names and user ids that say whose they are, so that what a dead process left behind can be found and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import tempfile

from .types import SandboxError

PREFIX = "palaestra"
_NAME = re.compile(PREFIX + r"-\d+-\d+-\d+-\w+")
LOCKS = "/run/palaestra-uids"
UIDS = (64_000, 256)
"""First user id and number of ids for guests of root; ``PALAESTRA_SANDBOX_UIDS=first:count`` overrides."""


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[19].decode()
    except (OSError, IndexError):
        return None


def tag() -> str:
    """A name for things this process owns. Process numbers only mean something within one PID namespace."""
    return f"{PREFIX}-{_namespace()}-{os.getpid()}-{start_time(os.getpid())}"


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def owner_is_gone(name: str) -> bool:
    """Whether a tagged name belongs to a process that does not exist any more."""
    words = name.split("-")
    if len(words) < 4 or words[0] != PREFIX or words[1] != str(_namespace()) or not words[2].isdigit():
        return False
    if os.readlink("/proc/self") != str(os.getpid()):  # /proc shows another namespace: it cannot tell
        return False
    return start_time(int(words[2])) != words[3]


_locks: dict[str, int] = {}


def make_directory() -> str:
    """A temporary directory owned and locked by this process; others may pass through it but not list it.

    The lock, not the name, says whether the owner lives: it holds across PID namespaces that share ``/tmp``, and a
    forked child of the owner keeps it. The directory gets its final name once it is locked, so that whoever finds one
    unlocked may remove it.
    """
    unlocked = tempfile.mkdtemp(prefix=f".{PREFIX}-")
    os.chmod(unlocked, 0o711)
    fd = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    path = os.path.join(os.path.dirname(unlocked), f"{tag()}-{os.path.basename(unlocked)[len(PREFIX) + 2 :]}")
    os.rename(unlocked, path)
    _locks[path] = fd
    return path


def remove_directory(path: str) -> None:
    """Remove a directory made by ``make_directory``."""
    shutil.rmtree(path, ignore_errors=True)
    fd = _locks.pop(path, None)
    if fd is not None:
        os.close(fd)


def sweep_directories() -> None:
    """Remove temporary directories that nobody holds the lock of: their owners are gone."""
    base = tempfile.gettempdir()
    for name in os.listdir(base):
        path = os.path.join(base, name)
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(name) and os.lstat(path).st_uid == os.geteuid():
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(fd)


def _range() -> tuple[int, int]:
    """First user id and number of ids.

    Raises:
        ValueError: the setting is malformed, or includes root.
    """
    setting = os.environ.get("PALAESTRA_SANDBOX_UIDS")
    if not setting:
        return UIDS
    found = re.fullmatch(r"(\d{1,10}):(\d{1,6})", setting)
    first, count = (int(word) for word in found.groups()) if found else (0, 0)
    if not (first > 0 and count > 0 and first + count < 1 << 32):
        raise ValueError(f"PALAESTRA_SANDBOX_UIDS is {setting!r}; give first:count, such as 64000:256, without id 0")
    return first, count


class UserId:
    """A user id reserved for one slot by a lock that ends with this process.

    Raises:
        SandboxError: every id of the range is taken.
    """

    def __init__(self) -> None:
        first, count = _range()
        os.makedirs(LOCKS, mode=0o700, exist_ok=True)
        _, dead = _in_use()  # the kernel counts those, too, so their ids come last
        for uid in sorted(range(first, first + count), key=dead.__contains__):
            fd = os.open(os.path.join(LOCKS, str(uid)), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            if _has_account(uid) or uid in _in_use()[0]:
                os.close(fd)
                continue
            self.uid, self._fd = uid, fd
            return
        raise SandboxError(f"no free user id in {first}..{first + count - 1}; set PALAESTRA_SANDBOX_UIDS=first:count")

    def release(self) -> None:
        """Give the id back."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _in_use() -> tuple[set[int], set[int]]:
    """The user ids of all processes: of the living, and of those that are dead and not waited for."""
    alive: set[int] = set()
    dead: set[int] = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as file:
                state = file.read().rsplit(b")", 1)[1].split()[0]
            (dead if state == b"Z" else alive).add(os.stat(f"/proc/{name}").st_uid)
    return alive, dead


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
