"""The container image of guests, made without any registry: from this machine's interpreter or from Debian packages.

    palaestra sandbox image                       # the interpreter's files and what they link to; offline
    palaestra sandbox image --debian bookworm     # mmdebstrap; needs a Debian mirror

Both are reproducible: names are sorted, owners and times are fixed. ``--output FILE`` writes the tar instead.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from typing import IO

from . import runtime
from .types import SandboxUnavailable

NAME = "palaestra-sandbox:latest"
TOOLS = ("bash", "sh", "cat", "cp", "echo", "env", "head", "ls", "mkdir", "mv", "rm", "seq", "sleep", "sort", "tail",
         "tr", "true", "false", "wc")  # fmt: skip
SKIPPED = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
           "dist-packages"}  # fmt: skip
DIRECTORIES = ("box", "dev", "etc", "palaestra", "proc", "run", "sys", "var")
LINKS = {"tmp": "/box/w/tmp", "var/tmp": "/box/w/tmp"}
EPOCH = "1700000000"
UNNEEDED = ("var/cache/*", "var/log/*", "var/lib/apt/lists/*", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""Shell patterns, below the root of a Debian image."""


def linked(path: str) -> set[str]:
    """The shared libraries a program or library loads."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=60)
    return set(re.findall(r"(/\S+) \(0x", done.stdout))


def _interpreter() -> tuple[str, str]:
    chosen = runtime.readable_by_all() if os.geteuid() == 0 else runtime.current()
    words = [chosen.executable, "-I", "-S", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    stdlib = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    return chosen.executable, os.path.realpath(stdlib)


def _tree(top: str) -> Iterator[str]:
    for directory, directories, files in os.walk(top):
        directories[:] = sorted(name for name in directories if name not in SKIPPED and not name.startswith("config-"))
        for name in sorted(files):
            yield os.path.join(directory, name)


def contents() -> dict[str, str]:
    """Path in the image to the file on this machine it is copied from."""
    executable, stdlib = _interpreter()
    found = {executable: executable}
    found.update((path, path) for path in _tree(stdlib))
    for tool in TOOLS:
        path = shutil.which(tool, path="/usr/bin:/bin")
        if path:
            found[f"/usr/bin/{tool}"] = os.path.realpath(path)
    binaries = [path for path in found.values() if os.access(path, os.X_OK) or path.endswith(".so")]
    for path in {library for binary in binaries for library in linked(binary)}:
        found[path] = os.path.realpath(path)
    found.setdefault("/usr/bin/python3", executable)
    # /bin, /lib and so on become links into /usr, as on the machine the files come from
    return {_below_usr(path): source for path, source in found.items()}


def _below_usr(path: str) -> str:
    top = "/" + path.split("/")[1]
    return "/usr" + path if top in ("/bin", "/sbin", "/lib", "/lib64") else path


def write_tar(stream: IO[bytes]) -> str:
    """Write the image's file system as a tar and return its SHA-256."""
    hashing = _Hashing(stream)
    files = contents()
    with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        made: set[str] = set()
        for name in sorted(DIRECTORIES):
            _directory(tar, name, made)
        for link in ("bin", "sbin", "lib", "lib64"):
            _link(tar, link, f"usr/{link}")
        for link, target in sorted(LINKS.items()):
            _link(tar, link, target)
        for path in sorted(files):
            name = path.lstrip("/")
            parts = name.split("/")
            for depth in range(1, len(parts)):
                _directory(tar, "/".join(parts[:depth]), made)
            with open(files[path], "rb") as file:
                data = file.read()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if os.access(files[path], os.X_OK) else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return hashing.digest.hexdigest()


class _Hashing(io.RawIOBase):
    """Passes bytes on and hashes them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self.stream.write(data)
        return len(data)


def _directory(tar: tarfile.TarFile, name: str, made: set[str]) -> None:
    if name in made:
        return
    made.add(name)
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(entry)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def debian_command(suite: str, mirror: str | None) -> list[str]:
    """The command that makes a Debian file system with Python, bash, C and JavaScript as a tar on stdout."""
    words = ["mmdebstrap", "--variant=apt", "--include=python3,gcc,libc6-dev,nodejs", "--format=tar"]
    for link, target in LINKS.items():
        words.append(f'--customize-hook=rm -rf "$1/{link}" && ln -s {target} "$1/{link}"')
    words.append('--customize-hook=mkdir -p "$1/box" "$1/palaestra"')
    # What nobody needs, and what differs between builds: compiled Python, logs, caches.
    words.append('--customize-hook=find "$1/usr" -xdev -name __pycache__ -prune -exec rm -rf {} +')
    words.append(f'--customize-hook=cd "$1" && rm -rf {" ".join(UNNEEDED)}')
    return [*words, suite, "-", *([mirror] if mirror else [])]


def save(path: str, debian: str | None = None, mirror: str | None = None) -> str:
    """Write the image's file system to a tar instead; returns its SHA-256."""
    with open(path, "wb") as file:
        return _pipe(debian_command(debian, mirror), file) if debian else write_tar(file)


def build(docker: str, name: str = NAME, debian: str | None = None, mirror: str | None = None) -> str:
    """Build the image and load it into the daemon; returns the SHA-256 of its file system.

    Raises:
        SandboxUnavailable: a tool is missing or the daemon refuses.
    """
    load = [docker, "import", "--change", "LABEL palaestra.image=1", "-", name]
    try:
        importer = subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        raise SandboxUnavailable([], f"{docker} cannot be run: {error}") from None
    assert importer.stdin is not None
    try:
        if debian is None:
            digest = write_tar(importer.stdin)
        else:
            digest = _pipe(debian_command(debian, mirror), importer.stdin)
    except BrokenPipeError:
        digest = ""
    _, complaint = importer.communicate()
    if importer.returncode:
        raise SandboxUnavailable([], f"docker import failed: {complaint.decode(errors='replace').strip()}")
    return digest


def _pipe(command: list[str], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    try:
        maker = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    except OSError as error:
        raise SandboxUnavailable([], f"{command[0]} cannot be run: {error}; apt-get install mmdebstrap") from None
    assert maker.stdout is not None
    while block := maker.stdout.read(1 << 20):
        digest.update(block)
        target.write(block)
    if maker.wait():
        raise SandboxUnavailable([], f"{command[0]} ended with code {maker.returncode}")
    return digest.hexdigest()
