"""The inside of the launcher: an interpreter with the usual modules, confined as far as all its guests will be."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from typing import Any

from . import driver, view
from .confine import Confinement
from .entry import guest
from .launcher import forking, serve

PRELUDE = (
    "abc", "array", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "io", "itertools", "json", "math", "operator", "random",
    "re", "statistics", "string", "struct", "textwrap", "time", "traceback", "typing",
)  # fmt: skip


def main(zygote: Any, config: dict[str, Any], words: int, jobs: int) -> None:
    """Become the launcher of a slot; never returns.

    Args:
        zygote: the fork server this process is a copy of.
        config: the slot's first frame.
        words: descriptor for words of the fork server.
        jobs: descriptor that guests get their jobs from.
    """
    for fd in {zygote.host.read_fd, zygote.host.write_fd}:
        os.dup2(zygote.null, fd, inheritable=False)  # a container's are 0 and 1, which must stay open
    counted_alone = _own_count(zygote, config["own_pids"])
    os.environ.clear()
    os.environ.update({
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": zygote.work, "TMPDIR": zygote.work + "/tmp", "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
    })  # fmt: skip  # what guests inherit
    system = [*view.SYSTEM, *(f"/etc/{name}" for name in (*view.ETC, *view._ETC_FILES))]
    confinement = Confinement(
        uid=zygote.uid if zygote.root else None,
        gid=zygote.gid,
        read=[path for path in [*system, *config["runtime"]] if os.path.exists(path)],
        write=zygote.box,
        devices=[f"/dev/{name}" for name in view.DEVICES],
        private_view=zygote.level == "I",
        inner_user=not zygote.root and (zygote.level == "I" or counted_alone),
        trusted=zygote.level == "T",
    )
    sys.path[:] = [path for path in sys.path if path and not path.endswith("/sandbox")] + config["site"]
    for name in (*PRELUDE, *config["preload"]):
        importlib.import_module(name)
    driver.prepare()
    _first_to_die(zygote.proc)
    confinement.prepare()
    facts = {
        "missing": confinement.missing, "landlock": confinement.landlock_abi, "counted_alone": counted_alone,
    }  # fmt: skip
    start = forking(guest(jobs, zygote.work, zygote.group, confinement), zygote.own_pidns)
    gc.collect()
    gc.freeze()
    serve(words, start, facts)


def _own_count(zygote: Any, own_pids: bool) -> bool:
    """Enter a user namespace: the kernel then counts the processes of this slot apart from the user's others."""
    if zygote.root or zygote.level != "C" or own_pids:
        return False
    try:
        view.enter_user_namespace(zygote.uid, zygote.gid)
    except OSError:
        return False
    return True


def _first_to_die(proc: int) -> None:
    """Let the kernel, short of memory, take guests first; they inherit this, and the largest is chosen."""
    with contextlib.suppress(OSError):
        fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, b"1000")
        finally:
            os.close(fd)
