"""One run, from its request to its result: start, watch, end, judge."""

from __future__ import annotations

import errno
import os
import select
import time
from typing import Any

from .capture import HeadTail
from .entry import NO_EXEC, STARTED
from .frames import Frame, FrameError, parse_json
from .launcher import memory_file
from .verdict import Facts, judge

MAX_REPORT = 64 << 10


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
        header, parts = {"verdict": "sandbox_error", "reason": explain(error)}, {}
    zygote.host.send({"op": "result", "id": job["id"], **header}, parts)


def explain(error: OSError) -> str:
    """Why a run could not be set up."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room for the files of the job: raise limits.disk_mb, or free the disk they are put on ({error})"
    return str(error)


def _run(zygote: Any, job: dict[str, Any], limits: dict[str, Any], parts: dict[str, bytes]) -> tuple[dict, dict]:
    files = {name[5:]: data for name, data in parts.items() if name.startswith("file:")}
    opened: list[int] = []
    try:
        zygote.begin(limits, files)
        stdin = zygote.null
        if parts.get("stdin"):
            opened.append(stdin := memory_file(parts["stdin"]))
        for _ in range(3):
            opened += os.pipe2(os.O_CLOEXEC)
        out, out_w, err, err_w, rep, rep_w = opened[-6:]
        captures = {out: HeadTail(limits["out_bytes"]), err: HeadTail(limits["out_bytes"])}
        options = {"argv": job["argv"], "env": job["env"]} if job["argv"] is not None or job["env"] else None
        table = zygote.table(limits, job["bound_memory"])
        began = time.monotonic()
        launcher = zygote.launcher
        launcher.start(table, options, parts.get("code", b""), [stdin, out_w, err_w, rep_w])
        watch = _Watch(zygote, limits, captures, rep)
        try:
            ended_by = watch.until_end(began + limits["wall_s"])
            wall = time.monotonic() - began
            starved = zygote.starved_s(launcher.pid) if ended_by == "timeout_wall" else 0.0
        finally:
            usage = zygote.finish()
        watch.drain()
        result, outputs = _result(zygote, job, limits, watch, usage, ended_by)
        result["wall_s"], result["starved_s"] = round(wall, 6), round(starved, 3)
        if job["fetch"]:
            fetched = zygote.scratch.collect(job["fetch"], limits["file_mb"] << 20)
            outputs |= {f"file:{name}": data for name, data in fetched.items()}
        return result, outputs
    finally:
        for fd in opened:
            os.close(fd)
        zygote.scratch.end()


class _Watch:
    """Reads a run's pipes until its main process ends or a limit is passed.

    The fork server keeps the writing ends open, so nothing wakes it when a guest closes its own. The report is looked
    at now and then only: it matters at the end.
    """

    def __init__(self, zygote: Any, limits: dict[str, Any], captures: dict[int, HeadTail], rep: int) -> None:
        self.zygote, self.captures = zygote, captures
        self.meter = Meter(zygote, limits)
        self.report_fd = rep
        self.report = b""
        self._pipes = select.poll()
        for fd in (*captures, rep):
            self._pipes.register(fd, select.POLLIN)

    def until_end(self, deadline: float) -> str | None:
        """Return None when the main process ended by itself, else the verdict that ended it."""
        host, exit_fd = self.zygote.host, self.zygote.launcher.exit_fd
        poller = select.poll()
        for fd in (*self.captures, exit_fd, host.read_fd):
            poller.register(fd, select.POLLIN)
        now = time.monotonic()
        next_sample = now + self.meter.period
        while True:
            ended = False
            for fd, _ in poller.poll(max(1, int(1000 * (min(deadline, next_sample) - now)) + 1)):
                if fd == exit_fd:
                    ended = True
                elif fd == host.read_fd:
                    if any(frame.header.get("op") == "cancel" for frame in host.poll()) or host.closed:
                        return "cancelled"
                else:
                    self._read(fd)
                    if self.captures[fd].overflow:
                        return "output_limit"
            if ended:
                return None
            now = time.monotonic()
            if now >= deadline:
                return "timeout_wall"
            if now >= next_sample:
                verdict = self.meter.exceeded(self.zygote.launcher.pid)
                if verdict:
                    return verdict
                if any(fd == self.report_fd for fd, _ in self._pipes.poll(0)):
                    self._read(self.report_fd)  # so that nobody waits for room in it
                next_sample = now + self.meter.period

    def _read(self, fd: int) -> None:
        data = os.read(fd, 1 << 16)
        if fd != self.report_fd:
            self.captures[fd].add(data)
        elif len(self.report) <= MAX_REPORT:
            self.report += data

    def drain(self) -> None:
        """Read what is left in the pipes; every writer is dead."""
        while ready := self._pipes.poll(0):
            for fd, _ in ready:
                self._read(fd)


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
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "peak_kb": peak_kb or max(usage.max_rss_kb, watch.meter.peak_kb),
        "mem_scope": "tree" if peak_kb else "process", "traceback": (report or {}).get("traceback", ""),
    }  # fmt: skip
    parts = {}
    for name, capture in zip(("stdout", "stderr"), watch.captures.values(), strict=True):
        parts[name], header[name + "_dropped"], header[name + "_cut"] = capture.take()
    return header, parts
