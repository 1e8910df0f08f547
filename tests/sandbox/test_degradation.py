"""A kernel that lacks a facility: what then holds is found by testing, what does not is refused with a hint."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

import pytest

from palaestra.sandbox import LocalSandbox, SandboxUnavailable, package

WITHOUT = {
    "landlock": ("landlock.py", "def abi() -> int:", "def abi() -> int:\n    return 0\n\n\ndef unused() -> int:"),
    "seccomp": ("seccomp.py", "if kernel.MACHINE not in _AUDIT_ARCH:", "if True:"),
}


@pytest.fixture
def kernel_without(monkeypatch):
    """Make fork servers believe that the kernel lacks a facility."""
    places = []

    def lack(facility):
        place = tempfile.mkdtemp()
        places.append(place)
        os.chmod(place, 0o755)
        shutil.copytree(package.SOURCE, f"{place}/guest", ignore=shutil.ignore_patterns("__pycache__"))
        name, old, new = WITHOUT[facility]
        with open(f"{place}/guest/{name}") as file:
            text = file.read()
        assert text.count(old) == 1
        with open(f"{place}/guest/{name}", "w") as file:
            file.write(text.replace(old, new))
        monkeypatch.setattr(package, "borrow", lambda: place)
        monkeypatch.setattr(package, "give_back", lambda: None)

    yield lack
    for place in places:
        shutil.rmtree(place)


@pytest.mark.parametrize(
    ("facility", "lost", "hint"),
    [("landlock", {"fs_write"}, "no Landlock"), ("seccomp", {"net_inet", "syscalls"}, "seccomp")],
)
def test_level_c_is_refused_and_names_what_is_missing(confined, kernel_without, facility, lost, hint):
    kernel_without(facility)
    with pytest.raises(SandboxUnavailable, match=re.escape(hint)) as refused:
        LocalSandbox(slots=1, level="C", self_test="always")
    assert lost <= set(refused.value.missing)
    with LocalSandbox(slots=1, level="C", self_test="always", require={"env", "kill_tree"}) as sandbox:
        assert not lost & sandbox.isolation.tested


@pytest.mark.parametrize(
    ("facility", "kept"), [("landlock", {"fs_read", "fs_write", "fs_meta"}), ("seccomp", {"net_inet", "signal_host"})]
)
def test_namespaces_stand_in_for_what_is_missing(isolated, kernel_without, facility, kept):
    kernel_without(facility)
    with LocalSandbox(slots=1, level="I", self_test="always", require=kept) as sandbox:
        assert kept <= sandbox.isolation.tested
