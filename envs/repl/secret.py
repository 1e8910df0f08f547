"""The host's secret that is mixed into task seeds, so that nobody who knows the generator can make a task again."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path

VARIABLE = "PALAESTRA_TASK_SECRET"


@cache
def task_secret() -> bytes:
    """The variable ``PALAESTRA_TASK_SECRET``, else a random secret kept in the user's state folder (mode 0600).

    Set the variable to get the same tasks on several machines. Where the folder cannot be written the secret lasts as
    long as the process.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return given.encode()
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "palaestra"
    path = folder / "task_secret"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_bytes()
        fresh = secrets.token_hex(16).encode()
        with open(fd, "wb") as file:
            file.write(fresh)
        return fresh
    except OSError:
        return secrets.token_bytes(16)
