"""What a process owns is left alone while it lives, also by those who cannot see it, and removed once it is dead."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from palaestra.sandbox import owners

OWNER = """
import sys
from palaestra.sandbox import owners
print(owners.make_directory(), flush=True)
for line in sys.stdin:
    owners.sweep_directories()
    print("swept", flush=True)
"""
ROOT = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
# The last one sees the /proc of the namespace outside, in which its own process number is somebody else's.
PLACES = {
    "same namespaces": [],
    "own PID namespace": ["unshare", *ROOT, "-m", "-p", "-f", "--kill-child", "--mount-proc"],
    "own PID namespace, foreign /proc": ["unshare", *ROOT, "-p", "-f", "--kill-child"],
}


class Owner:
    """A process that owns a directory and can be told to sweep."""

    def __init__(self, prefix: list[str], tmp: str) -> None:
        words = [*prefix, sys.executable, "-c", OWNER]
        environment = {**os.environ, "TMPDIR": tmp}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.directory = self.process.stdout.readline().strip()

    def sweep(self):
        self.process.stdin.write("sweep\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "swept\n"

    def end(self, kill):
        if kill:
            self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("place", list(PLACES))
def test_owners_that_cannot_see_each_other_leave_each_other_alone(place, tmp_path):
    first = Owner([], str(tmp_path))
    second = Owner(PLACES[place], str(tmp_path))
    if not second.directory:
        first.end(kill=True)
        second.end(kill=True)
        pytest.skip(f"{place}: not possible here")
    try:
        for owner in (first, second, first):
            owner.sweep()
            assert os.path.isdir(first.directory) and os.path.isdir(second.directory)
        second.end(kill=True)
        first.sweep()
        assert os.path.isdir(first.directory) and not os.path.exists(second.directory)
    finally:
        first.end(kill=False)
        second.end(kill=True)
    assert os.path.isdir(first.directory)  # ended without removing it: the next one does


def test_only_directories_of_ours_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("palaestra-notes", "palaestra-1-2-data-x", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "palaestra-1-2-3-abandoned").mkdir()
    (tmp_path / "palaestra-1-2-3-link").symlink_to(tmp_path / "other")
    mine = owners.make_directory()
    owners.sweep_directories()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        ["palaestra-notes", "palaestra-1-2-data-x", "other", "palaestra-1-2-3-link", os.path.basename(mine)]
    )
    owners.remove_directory(mine)
    assert not os.path.exists(mine)


def test_an_owner_seen_through_a_foreign_proc_is_not_called_gone(monkeypatch):
    gone = f"{owners.PREFIX}-{owners._namespace()}-{os.getpid()}-1"
    assert owners.owner_is_gone(gone)  # this number was given to us after that owner's time
    assert not owners.owner_is_gone(owners.tag())
    monkeypatch.setattr(os, "readlink", lambda path: "12345")
    assert not owners.owner_is_gone(gone)


@pytest.mark.parametrize("setting", ["abc", "0:5", "64000", "64000:0", "-1:5", "4294967290:10"])
def test_a_malformed_range_of_user_ids_is_named(monkeypatch, setting):
    monkeypatch.setenv("PALAESTRA_SANDBOX_UIDS", setting)
    with pytest.raises(ValueError, match="PALAESTRA_SANDBOX_UIDS is"):
        owners.UserId()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives guests user ids of their own")
def test_ids_of_the_dead_that_nobody_waited_for_come_last():
    """The kernel counts them against the limit on processes."""
    reserved = owners.UserId()
    reserved.release()
    zombie = subprocess.Popen(["true"], user=reserved.uid, group=reserved.uid)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    other = owners.UserId()
    other.release()
    zombie.wait()
    assert other.uid != reserved.uid
