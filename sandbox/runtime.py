"""Which interpreter guests run, and what of the host it needs to see."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field

from .types import SandboxUnavailable

BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from guest.zygote import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
# Not -I: that would ignore the fixed hash seed, the one variable the fork server is started with.
FLAGS = ("-s", "-P", "-S", "-B", "-X", "utf8")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"}


@dataclass(frozen=True)
class Runtime:
    """An interpreter for guests.

    Attributes:
        executable: path of the interpreter.
        trees: directories outside the system's own that it needs.
        version: (major, minor).
    """

    executable: str
    trees: tuple[str, ...]
    version: tuple[int, int]


@dataclass(frozen=True)
class Profile:
    """What is imported before guests start.

    Attributes:
        site: directories added to ``sys.path``.
        trees: directories guests may read for it.
        preload: modules imported by the fork server.
    """

    site: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    preload: tuple[str, ...] = field(default=())


def world_readable(path: str) -> bool:
    """Whether any user can reach and read a file or directory."""
    path = os.path.realpath(path)
    try:
        if not os.stat(path).st_mode & stat.S_IROTH:
            return False
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
    except OSError:
        return False
    return True


def current() -> Runtime:
    """The interpreter that runs this program, outside any virtual environment."""
    executable = os.path.realpath(sys.executable)
    prefix = os.path.realpath(sys.base_prefix)
    trees = () if prefix in ("/", "/usr", "/usr/local") else (prefix,)
    return Runtime(executable, trees, sys.version_info[:2])


def readable_by_all() -> Runtime:
    """An interpreter that a guest under another user id can read.

    Raises:
        SandboxUnavailable: there is none.
    """
    runtime = current()
    if world_readable(runtime.executable) and world_readable(os.__file__):
        return runtime
    for executable in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if world_readable(executable):
            words = [executable, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"]
            answer = subprocess.run(words, capture_output=True, text=True, timeout=30).stdout.split()
            if len(answer) == 2 and tuple(map(int, answer)) >= (3, 11):
                return Runtime(os.path.realpath(executable), (), (int(answer[0]), int(answer[1])))
    raise SandboxUnavailable(
        [],
        f"{runtime.executable} cannot be read by the guests' user id (a directory above it is private). "
        "Install Python 3.11 or newer as /usr/bin/python3, or move the interpreter out of the private directory",
    )


def profile(name: str, runtime: Runtime) -> Profile:
    """What a named profile needs.

    Raises:
        ValueError: the name is unknown, or its package is not installed for this interpreter.
    """
    if name == "stdlib":
        return Profile()
    if name != "numpy":
        raise ValueError(f"Job.profile is {name!r}; choose 'stdlib' or 'numpy'")
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        raise ValueError("Job.profile is 'numpy' but NumPy is not installed here; pip install numpy")
    if runtime.version != sys.version_info[:2]:
        raise ValueError(f"Job.profile is 'numpy' but guests run Python {runtime.version}, not {sys.version_info[:2]}")
    package = os.path.dirname(spec.origin)
    site = os.path.dirname(package)
    trees = tuple(path for path in (package, os.path.join(site, "numpy.libs")) if os.path.isdir(path))
    return Profile((site,), trees, ("numpy",))
