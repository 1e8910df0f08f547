"""A compiled copy of the ``guest`` package that any user id can read, shared by every sandbox of this process."""

from __future__ import annotations

import compileall
import os
import shutil
import threading

from . import owners

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
_lock = threading.Lock()
_users = 0
_directory = ""


def borrow() -> str:
    """The directory that holds ``guest``; made by the first borrower. Give it back with ``give_back``."""
    global _users, _directory
    with _lock:
        if not _users:
            _directory = owners.make_directory()
            os.chmod(_directory, 0o755)
            copy = os.path.join(_directory, "guest")
            shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
            for path, _, _ in os.walk(copy):
                os.chmod(path, 0o755)
            compileall.compile_dir(copy, quiet=2)
        _users += 1
        return _directory


def give_back() -> None:
    """Remove the copy when nobody needs it any more."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            owners.remove_directory(_directory)
