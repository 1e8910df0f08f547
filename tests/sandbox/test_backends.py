"""Opening, refusing, other languages, other backends, and what is left when the host goes away."""

from __future__ import annotations

import asyncio
import glob
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import pytest

from palaestra.sandbox import (
    BwrapSandbox,
    CallTest,
    DockerSandbox,
    Job,
    Limits,
    LocalSandbox,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    StdioTest,
    languages,
    owners,
)
from palaestra.sandbox.image import write_tar
from palaestra.sandbox.selftest import judge
from palaestra.sandbox.types import PROPERTIES, RunResult


def open_or_skip(make):
    try:
        return make()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def test_properties_are_tested(sandbox):
    report = sandbox.isolation
    assert set(report.properties) == set(PROPERTIES)
    assert {
        "fs_read",
        "fs_write",
        "fs_meta",
        "env",
        "net_inet",
        "net_unix",
        "signal_host",
        "kill_tree",
    } <= report.tested
    assert report.level[0] == sandbox.level


def test_requirements_that_are_not_met_are_refused():
    with pytest.raises(SandboxUnavailable) as error:
        LocalSandbox(slots=1, level="C", require={"disk"}, cgroups=False)
    assert error.value.missing == ["disk"] and error.value.hint
    with pytest.raises(SandboxUnavailable) as error:
        LocalSandbox(slots=1, require={"net"}, self_test="never")  # nothing was tested, so nothing is promised
    assert error.value.missing == ["net_inet", "net_unix"]
    with pytest.raises(ValueError, match="unknown property 'teleport'"):
        LocalSandbox(slots=1, require={"teleport"})
    with pytest.raises(ValueError, match="unknown backend 'cloud'"):
        Sandbox.open(prefer=["cloud"])
    with pytest.raises(SandboxUnavailable, match="allow_unconfined"):
        LocalSandbox(level="T")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused_an_unconfined_sandbox():
    with pytest.raises(SandboxUnavailable, match="refused to root"):
        LocalSandbox(level="T", allow_unconfined=True)


def test_open_takes_the_first_that_will_do():
    with Sandbox.open(prefer=["local"], slots=1) as sandbox:
        assert sandbox.backend == "local" and sandbox.run_sync(Job(code="print(1)")).ok


def test_a_self_test_that_finds_harm_marks_the_property_absent():
    fine = RunResult(
        "ok", stdout=b'{"environ": [], "net_inet": {"tcp": "PermissionError"}, "fs_read": {"shadow": "done"}}'
    )
    results = dict.fromkeys(("touch", "forks", "daemon", "bomb", "bombs", "burn", "fill"), fine)
    found = judge(results, {"net_inet"}, True, "secret")
    assert found["net_inet"].status == "absent"  # refused, they said; but a packet arrived
    assert found["fs_read"].status == "absent" and found["kill_tree"].status == "absent"
    assert found["mem_tree"].status == "absent" and found["env"].status == "tested"


NEEDS = {"bash": "bash", "c": "gcc", "javascript": "node"}
DOUBLE = {
    "bash": "read a; echo $((a * 2))",
    "c": '#include <stdio.h>\nint main(void) { int a; scanf("%d", &a); printf("%d\\n", a * 2); }',
    "javascript": "console.log(2 * parseInt(require('fs').readFileSync(0)))",
}


@pytest.mark.parametrize("lang", DOUBLE)
def test_other_languages(sandbox, lang):
    if shutil.which(NEEDS[lang], path="/usr/bin:/bin") is None:
        pytest.skip(f"{NEEDS[lang]} is not installed")
    tests = [StdioTest(str(i), str(i), str(2 * i)) for i in (4, 21)]
    result = sandbox.run_sync(Job(code=DOUBLE[lang], lang=lang, tests=tests, limits=Limits(wall_s=60, mem_mb=512)))
    assert [test.verdict for test in result.tests] == ["ok", "ok"], result


def test_a_missing_compiler_is_named_with_what_would_help(confined, monkeypatch):
    language = replace(languages.LANGUAGES["c"], compile=("/usr/bin/no-such-compiler",))
    monkeypatch.setitem(languages.LANGUAGES, "c", language)
    with pytest.raises(SandboxError, match=r"no-such-compiler.*apt-get install gcc.*--debian"):
        confined.run_sync(Job(code="int main(){return 77;}", lang="c"))


def test_a_program_that_does_not_compile_fails_its_tests(confined):
    if shutil.which("gcc", path="/usr/bin") is None:
        pytest.skip("gcc is not installed")
    result = confined.run_sync(Job(code="int main( {", lang="c", tests=[StdioTest("1", "", "")]))
    assert result.verdict == "exit" and result.reason.startswith("compile:") and b"error" in result.stderr
    assert not result.tests[0].passed


def test_numpy_profile(sandbox):
    pytest.importorskip("numpy")
    try:
        result = sandbox.run_sync(
            Job(
                code="import numpy as np; print(np.arange(4) @ np.arange(4))",
                profile="numpy",
                limits=Limits(wall_s=60, mem_mb=1024),
            )
        )
    except ValueError as error:
        pytest.skip(str(error))
    assert result.stdout == b"14\n", result


@pytest.mark.parametrize("make", [BwrapSandbox, pytest.param(DockerSandbox, marks=pytest.mark.docker)])
def test_other_backends(make):
    with open_or_skip(lambda: make(slots=1, max_sessions=2)) as sandbox:
        result = sandbox.run_sync(
            Job(code="import os; print(6 * 7); os.mkdir('d'); open('d/f', 'w').write('x')", fetch=["d/f"])
        )
        assert (result.verdict, result.stdout, result.files) == ("ok", b"42\n", {"d/f": b"x"})
        assert (
            sandbox.run_sync(Job(code="while True: pass", limits=Limits(wall_s=60, cpu_s=1))).verdict == "timeout_cpu"
        )
        assert sandbox.run_sync(Job(code="read x; echo $x", lang="bash", stdin="hi\n")).stdout == b"hi\n"
        graded = sandbox.run_sync(Job(code="def f(x): return x + 1", tests=[CallTest("a", "f", [1], expected=2)]))
        assert graded.tests[0].passed

        async def scenario():
            async with await sandbox.session(twice=lambda x: 2 * x) as session:
                await session.exec("x = 5")
                branch = await session.fork()
                return (await branch.exec("twice(x)")).value_repr

        assert asyncio.run(scenario()) == "10"
        with pytest.raises(SandboxError, match="missing interpreter"):
            sandbox.run_sync(Job(argv=["/usr/bin/no-such-program"]))


def test_a_dead_daemon_is_named(monkeypatch):
    if shutil.which("docker") is None:
        pytest.skip("no docker client")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(SandboxUnavailable, match="daemon does not answer"):
        DockerSandbox()


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxUnavailable, match=r"docker\.io"):
        DockerSandbox()
    with pytest.raises(SandboxUnavailable, match="install bubblewrap"):
        BwrapSandbox()


@pytest.mark.slow
def test_the_image_is_reproducible():
    sink = [io.BytesIO(), io.BytesIO()]
    first, second = (write_tar(stream) for stream in sink)
    assert first == second and len(sink[0].getvalue()) > 10_000_000


def test_a_full_scratch_disk_on_the_host_is_a_sandbox_error(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises((SandboxError, OSError)):
        LocalSandbox(slots=1)


def leftovers(tag):
    return glob.glob(f"{tempfile.gettempdir()}/{tag}-*") + glob.glob(f"/sys/fs/cgroup/**/{tag}-*", recursive=True)


def test_close_leaves_nothing_and_is_safe_twice():
    before = set(leftovers(owners.tag()))
    sandbox = LocalSandbox(slots=2)
    sandbox.run_batch_sync([Job(code="print(1)")] * 4)
    pids = [slot.process.pid for slot in sandbox._runs._all]
    assert pids and set(leftovers(owners.tag())) > before
    sandbox.close_sync()
    sandbox.close_sync()
    assert set(leftovers(owners.tag())) == before and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run_sync(Job(code="1"))


HOST = """
import os, sys
from palaestra.sandbox import Job, Limits, LocalSandbox, owners
sandbox = LocalSandbox(slots=1, level=sys.argv[1])
print(owners.tag(), *[slot.process.pid for slot in sandbox._runs._all], flush=True)
code = "import os, time\\nif os.fork() == 0: os.setsid()\\ntime.sleep(600)"
sandbox.run_sync(Job(code=code, limits=Limits(wall_s=600)))
"""


@pytest.mark.parametrize("level", ["C", "I"])
def test_host_death_ends_everything_and_the_next_start_sweeps(level, sandbox):
    if sandbox.level != level:
        pytest.skip("the other level's turn")
    host = subprocess.Popen([sys.executable, "-c", HOST, level], stdout=subprocess.PIPE, text=True)
    tag, *pids = host.stdout.readline().split()
    time.sleep(0.5)
    host.send_signal(signal.SIGKILL)
    host.wait()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    LocalSandbox(slots=1, level=level).close_sync()  # another test's sandbox may have swept already
    assert leftovers(tag) == []
