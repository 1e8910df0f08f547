"""One run, from its request to its result: start, watch, end, judge."""

from __future__ import annotations

import os
import select
import time
from typing import Any

from . import driver
from .capture import HeadTail
from .frames import Frame, FrameError, parse_json
from .verdict import Facts, judge

MAX_REPORT = 64 << 10
STARTED = b"\x01"
NO_EXEC = b"\x02"


class Meter:
    """Watches processor time and memory while a run goes on.

    Memory is bounded by the control group where there is one; else the main process is sampled. Processor time is
    bounded per process by the kernel (RLIMIT_CPU) and for the whole tree by the group's clock.
    """

    def __init__(self, zygote: Any, limits: dict[str, Any]) -> None:
        self.zygote, self.limits = zygote, limits
        self.period = 0.1 if zygote.group else 0.02
        self.peak_kb = 0

    def exceeded(self, pid: int) -> str | None:
        """The verdict to end the run with now, or None."""
        group = self.zygote.group
        if group:
            return "timeout_cpu" if group.since_begin()[2] > self.limits["cpu_s"] else None
        self.peak_kb = max(self.peak_kb, self.zygote.resident_kb(pid))
        if self.peak_kb > self.limits["mem_mb"] << 10:
            return "memory"
        try:
            used = time.clock_gettime(((~pid) << 3) | 2) if pid else 0.0
        except OSError:
            return None
        return "timeout_cpu" if used > self.limits["cpu_s"] else None


def serve_run(zygote: Any, frame: Frame) -> None:
    """Carry out one ``run`` frame and answer with one ``result`` frame."""
    job, limits = frame.header, frame.header["limits"]
    try:
        header, parts = _run(zygote, job, limits, frame.parts)
    except OSError as error:
        header, parts = {"verdict": "sandbox_error", "reason": str(error)}, {}
    zygote.host.send({"op": "result", "id": job["id"], **header}, parts)


def memory_file(data: bytes) -> int:
    """A file in memory holding data, positioned at its start."""
    fd = os.memfd_create("input")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _child(zygote: Any, job: dict[str, Any], code: str | None, fds: tuple[int, int, int], report: int) -> None:
    """In the forked process: become the guest."""
    argv = job["argv"]
    zygote.confine(job["limits"], fds, bounded=job["bound_memory"])
    report_fd = os.dup2(report, 3, inheritable=False)
    zygote.confinement.seal(keep=report_fd)
    os.write(report_fd, STARTED)
    environment = {**zygote.environment, **job["env"]}
    if argv is None:
        os.environ.clear()
        os.environ.update(environment)
        assert code is not None
        driver.run(code, report_fd)
    try:
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(report_fd, NO_EXEC + f"{argv[0]}: {error.strerror}".encode())
        os._exit(126)


def _run(zygote: Any, job: dict[str, Any], limits: dict[str, Any], parts: dict[str, bytes]) -> tuple[dict, dict]:
    files = {name[5:]: data for name, data in parts.items() if name.startswith("file:")}
    code = parts["code"].decode("utf-8", "surrogatepass") if "code" in parts else None
    zygote.begin(limits, files)
    opened: list[int] = []
    try:
        stdin = memory_file(parts["stdin"]) if parts.get("stdin") else os.dup(zygote.null)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        opened = [stdin, *(fd for pair in pipes for fd in pair)]
        (out, out_w), (err, err_w), (rep, rep_w) = pipes
        tree = zygote.make_tree()
        began = time.monotonic()
        tree.start(lambda: _child(zygote, job, code, (stdin, out_w, err_w), rep_w))
        for fd in (out_w, err_w, rep_w):
            os.close(fd)
            opened.remove(fd)
        watch = _Watch(zygote, limits, tree, {out: HeadTail(limits["out_bytes"]), err: HeadTail(limits["out_bytes"])})
        watch.report_fd = rep
        try:
            ended_by = watch.until_end(began + limits["wall_s"])
            wall = time.monotonic() - began
            starved = zygote.starved_s(tree.pid) if ended_by == "timeout_wall" else 0.0
        finally:
            usage = tree.finish()
        watch.drain()
        result, outputs = _result(zygote, job, limits, watch, usage, ended_by)
        result["wall_s"], result["starved_s"] = round(wall, 6), round(starved, 3)
        outputs |= {
            f"file:{name}": data for name, data in zygote.collect(job["fetch"], limits["file_mb"] << 20).items()
        }
        return result, outputs
    finally:
        for fd in opened:
            os.close(fd)
        zygote.end()


class _Watch:
    """Reads a run's pipes until its main process ends or a limit is passed."""

    def __init__(self, zygote: Any, limits: dict[str, Any], tree: Any, captures: dict[int, HeadTail]) -> None:
        self.zygote, self.tree, self.captures = zygote, tree, captures
        self.meter = Meter(zygote, limits)
        self.report_fd = -1
        self.report = b""
        self.open = set(captures)

    def until_end(self, deadline: float) -> str | None:
        """Return None when the main process ended by itself, else the verdict that ended it."""
        host = self.zygote.host
        poller = select.poll()
        for fd in (*self.open, self.report_fd, self.tree.exit_fd, host.read_fd):
            poller.register(fd, select.POLLIN)
        self.open.add(self.report_fd)
        next_sample = time.monotonic() + self.meter.period
        while True:
            now = time.monotonic()
            if now >= deadline:
                return "timeout_wall"
            if now >= next_sample:
                verdict = self.meter.exceeded(self.tree.pid)
                if verdict:
                    return verdict
                next_sample = now + self.meter.period
            ended = False
            for fd, _ in poller.poll(max(1, int(1000 * (min(deadline, next_sample) - now)) + 1)):
                if fd == self.tree.exit_fd:
                    ended = True
                elif fd == host.read_fd:
                    if any(frame.header.get("op") == "cancel" for frame in host.poll()) or host.closed:
                        return "cancelled"
                elif not self._read(fd):
                    poller.unregister(fd)
                    self.open.discard(fd)
            if any(capture.overflow for capture in self.captures.values()):
                return "output_limit"
            if ended:
                return None

    def _read(self, fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        if fd == self.report_fd:
            if len(self.report) <= MAX_REPORT:
                self.report += data
        else:
            self.captures[fd].add(data)
        return bool(data)

    def drain(self) -> None:
        """Read what is left in the pipes; every writer is dead."""
        for fd in self.open:
            os.set_blocking(fd, False)
            try:
                while self._read(fd):
                    pass
            except BlockingIOError:
                continue


def _parse_report(report: bytes) -> tuple[dict[str, Any] | None, bool]:
    """The guest's report, and whether the channel carried anything else."""
    if not report:
        return None, False
    if len(report) > MAX_REPORT:
        return None, True
    try:
        parsed = parse_json(report)
    except FrameError:
        return None, True
    valid = isinstance(parsed, dict) and (
        parsed == {"done": True}
        or (set(parsed) == {"type", "message", "errno", "traceback"}
            and all(isinstance(parsed[key], str) for key in ("type", "message", "traceback"))
            and (parsed["errno"] is None or type(parsed["errno"]) is int))
    )  # fmt: skip
    return (parsed, False) if valid else (None, True)


def _result(
    zygote: Any, job: dict[str, Any], limits: dict[str, Any], watch: _Watch, usage: Any, ended_by: str | None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    oom, forks, peak_kb, cpu = 0, 0, 0, usage.cpu_s
    if zygote.group:
        oom, forks, group_cpu, peak_kb = zygote.group.since_begin()
        cpu = max(cpu, group_cpu)
    started, body = watch.report.startswith(STARTED), watch.report[1:]
    no_exec = body[1:].decode("utf-8", "replace") if body.startswith(NO_EXEC) and job["argv"] else ""
    report, broken = (None, False) if no_exec else _parse_report(body)
    if job["argv"] is not None and not no_exec:
        broken = bool(body)
    facts = Facts(started, ended_by, usage.status, cpu, limits["cpu_s"], oom, forks, report, broken)
    verdict, reason = judge(facts)
    if no_exec and job["argv"][0].startswith("/") and not job["argv"][0].startswith(zygote.work):
        verdict, reason = "sandbox_error", f"missing interpreter: {no_exec}"
    elif no_exec:
        verdict, reason = "exit", f"cannot execute {no_exec}"
    status = usage.status
    header: dict[str, Any] = {
        "verdict": verdict, "reason": reason, "cpu_s": round(cpu, 6), "leftovers": usage.leftovers,
        "exit_code": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
        "peak_kb": peak_kb or max(usage.max_rss_kb, watch.meter.peak_kb),
        "mem_scope": "tree" if peak_kb else "process", "traceback": (report or {}).get("traceback", ""),
    }  # fmt: skip
    parts = {}
    for name, capture in zip(("stdout", "stderr"), watch.captures.values(), strict=True):
        parts[name], header[name + "_dropped"], header[name + "_cut"] = capture.take()
    return header, parts
