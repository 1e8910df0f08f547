"""The fork server's side of a session: relays commands, collects output, notices limits and deaths.

A session is a tree whose main process stays. Its branches are forks of that process with sockets and pipes of their
own.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

from .capture import HeadTail
from .frames import Frame, FrameError, FrameReader, encode
from .jobs import Meter, explain
from .tree import process_cpu_s, sender_of
from .verdict import Facts, judge

MAX_GUEST_HEADER = 256 << 10
MAX_GUEST_BODY = 16 << 20
INSIST_S = 0.02


class Branch:
    """One interpreter of a session, seen from outside."""

    def __init__(self, number: int, out_bytes: int) -> None:
        self.number = number
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.setblocking(False)
        (self.out, self.out_w), (self.err, self.err_w) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        self.captures = {self.out: HeadTail(out_bytes), self.err: HeadTail(out_bytes)}
        for fd in self.captures:
            os.set_blocking(fd, False)
        self.reader = FrameReader(MAX_GUEST_HEADER, MAX_GUEST_BODY)
        self.queue = bytearray()
        self.waiting = False  # for room to send the rest of the queue
        self.pid = 0
        self.pidfd = -1
        self.cell: int | None = None
        self.cpu_before = 0.0
        self.overflowed = False
        self.interrupted = 0.0  # when the cell was last asked to end

    def give_away(self) -> None:
        """Close the guest's ends here, once the guest has them."""
        self.theirs.close()
        os.close(self.out_w)
        os.close(self.err_w)

    def cpu_s(self) -> float:
        """Processor seconds of the branch's main process."""
        return process_cpu_s(self.pid)

    def drain(self) -> None:
        """Read the output that is there now."""
        for fd, capture in self.captures.items():
            try:
                while data := os.read(fd, 1 << 16):
                    capture.add(data)
                    if capture.overflow:
                        break
            except BlockingIOError:
                continue

    def output(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What was printed since the last call, as header keys and parts."""
        header: dict[str, Any] = {}
        parts: dict[str, bytes] = {}
        for name, capture in zip(("stdout", "stderr"), self.captures.values(), strict=True):
            parts[name], header[name + "_dropped"], header[name + "_cut"] = capture.take()
        return header, parts

    def kill(self) -> None:
        """Kill the branch's main process."""
        if self.pidfd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the running cell, if there is one."""
        if self.cell is None or not self.pid:
            return
        self.interrupted = time.monotonic()
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGINT)

    def insist(self) -> None:
        """Interrupt again: a cell that had not begun, because the machine is busy, did not notice the first time."""
        if self.interrupted and self.cell is not None and time.monotonic() - self.interrupted > INSIST_S:
            self.interrupt()

    def close(self) -> None:
        """Give the descriptors back."""
        self.sock.close()
        for fd in (self.out, self.err, *([self.pidfd] if self.pidfd >= 0 else [])):
            os.close(fd)


class SessionServer:
    """Serves one session to its end."""

    def __init__(self, zygote: Any, frame: Frame) -> None:
        self.zygote, self.host = zygote, zygote.host
        self.limits = frame.header["limits"]
        self.idle_s = frame.header["idle_s"]
        self.host_calls = frame.header["host_calls"]
        self.env = frame.header["env"]
        self.branches: dict[int, Branch] = {}
        self.meter = Meter(zygote, self.limits)
        self.over: tuple[str, str] | None = None
        self.last_used = self.last_measured = time.monotonic()
        self.poller = select.poll()

    def start(self) -> None:
        """Fork the session's main process."""
        branch = Branch(0, self.limits["out_bytes"])
        self.launcher = self.zygote.launcher
        options = {"env": self.env, "host_calls": self.host_calls}
        table = self.zygote.table(self.limits, bounded=True)
        self.launcher.start(table, options, b"", [self.zygote.null, branch.out_w, branch.err_w, branch.theirs.fileno()])
        branch.give_away()
        branch.pid = self.launcher.pid
        branch.pidfd = os.pidfd_open(branch.pid)
        self.branches[0] = branch
        self.poller.register(self.host.read_fd, select.POLLIN)
        self.poller.register(self.launcher.exit_fd, select.POLLIN)
        self._watch(branch)

    def _watch(self, branch: Branch) -> None:
        for fd in branch.captures:
            self.poller.register(fd, select.POLLIN)
        self.poller.register(branch.sock.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Relay until the main process has ended or the host wants no more."""
        while self.over is None:
            cells = [branch for branch in self.branches.values() if branch.cell is not None]
            busy = bool(cells)
            for branch in cells:
                branch.insist()
            period = INSIST_S if any(branch.interrupted for branch in cells) else self.meter.period
            wait = period if busy else max(0.05, self.idle_s - (time.monotonic() - self.last_used))
            events = dict(self.poller.poll(int(1000 * wait) + 1))
            polled = list(self.branches.values())  # a branch made below may get the descriptors of one ended below
            if self.host.read_fd in events:
                for frame in self.host.poll():
                    self.command(frame)
                if self.host.closed:
                    self.over = ("closed", "the host hung up")
                self.last_used = time.monotonic()
            for branch in polled:
                if self.branches.get(branch.number) is branch:
                    self._serve_branch(branch, events)
            if self.launcher.exit_fd in events and self.over is None:
                self.over = ("ended", "")
            if busy:
                if time.monotonic() - self.last_measured >= self.meter.period:
                    self._measure()
                    self.last_measured = time.monotonic()
            elif time.monotonic() - self.last_used > self.idle_s:
                self.over = ("closed", f"idle for more than {self.idle_s:g} s")

    def _measure(self) -> None:
        for branch in list(self.branches.values()):
            verdict = self.meter.exceeded(branch.pid)
            if verdict and branch.number == 0:
                self.over = (verdict, "ended by the sandbox")
            elif verdict:
                self._bury(branch, verdict, "ended by the sandbox")

    def command(self, frame: Frame) -> None:
        """Carry out one word of the host."""
        header = frame.header
        op = header["op"]
        branch = self.branches.get(header.get("branch", 0))
        if op == "close":
            self.over = ("closed", "")
        elif branch is None:
            self.host.send(
                {"op": "ended", "branch": header.get("branch"), "verdict": "exit", "reason": "no such branch"}
            )
        elif op == "interrupt":
            branch.interrupt()
        elif op == "kill" and branch.number:
            self._bury(branch, header.get("verdict", "signal"), header.get("reason", "killed"))
        elif op == "kill":
            self.over = (header.get("verdict", "signal"), header.get("reason", "killed"))
        elif op == "reply":
            branch.queue += encode({key: header[key] for key in header if key != "branch"}, frame.parts)
        elif op == "cell":
            self._begin_cell(branch, header, frame.parts)

    def _begin_cell(self, branch: Branch, header: dict[str, Any], parts: dict[str, bytes]) -> None:
        branch.cell, branch.overflowed, branch.interrupted = header["id"], False, 0.0
        branch.cpu_before = branch.cpu_s()
        words = {"op": header["kind"], "id": header["id"], **header.get("args", {})}
        if header["kind"] != "fork":
            branch.queue += encode(words, parts)
            self._flush(branch)
            return
        new = Branch(header["new"], self.limits["out_bytes"])
        self._flush(branch)
        try:
            if branch.queue:
                raise BlockingIOError("it does not read what it was sent before")
            socket.send_fds(branch.sock, [encode(words)], [new.theirs.fileno(), new.out_w, new.err_w])
        except OSError as error:
            problem = {"type": type(error).__name__, "message": f"the session takes no command: {error}"}
            self._end_cell(branch, {"error": {**problem, "traceback": ""}}, {})
            new.give_away()
            new.close()
            return
        new.give_away()
        self.branches[new.number] = new
        self._watch(new)

    def _end_cell(self, branch: Branch, guest: dict[str, Any], guest_parts: dict[str, bytes]) -> None:
        """Tell the host how a cell ended, with what was printed meanwhile."""
        branch.drain()
        output, parts = branch.output()
        header = {
            "op": "cell", "branch": branch.number, "id": branch.cell, **output,
            "cpu_s": round(branch.cpu_s() - branch.cpu_before, 6), "overflowed": branch.overflowed, "guest": guest,
        }  # fmt: skip
        branch.cell = None
        self.host.send(header, {**parts, **{"guest:" + name: data for name, data in guest_parts.items()}})

    def _flush(self, branch: Branch) -> None:
        try:
            while branch.queue:
                sent = branch.sock.send(branch.queue[: 1 << 18])
                del branch.queue[:sent]
        except BlockingIOError:
            pass
        except OSError:
            branch.queue.clear()
        waiting = bool(branch.queue)
        if waiting != branch.waiting:
            branch.waiting = waiting
            with contextlib.suppress(OSError, ValueError):
                self.poller.modify(branch.sock.fileno(), select.POLLIN | (select.POLLOUT if waiting else 0))

    def _serve_branch(self, branch: Branch, events: dict[int, int]) -> None:
        for fd, capture in branch.captures.items():
            if events.get(fd, 0) & select.POLLIN:
                capture.add(os.read(fd, 1 << 16))
                if capture.overflow and not branch.overflowed and branch.cell is not None:
                    branch.overflowed = True
                    branch.interrupt()
            elif events.get(fd, 0):
                self.poller.unregister(fd)
        seen = events.get(branch.sock.fileno(), 0)
        if seen & select.POLLIN:
            self._from_guest(branch)
        elif seen & (select.POLLHUP | select.POLLERR):
            self._hung_up(branch)
        if branch.queue and branch.number in self.branches:
            self._flush(branch)

    def _hung_up(self, branch: Branch) -> None:
        if branch.number:
            self._bury(branch, *self._cause())
        else:
            self.poller.unregister(branch.sock.fileno())
            self.launcher.signal(signal.SIGKILL)  # a main process that closed its socket is of no further use

    def _from_guest(self, branch: Branch) -> None:
        try:
            data, ancillary, *_ = branch.sock.recvmsg(1 << 18, socket.CMSG_SPACE(12))
            if not data:
                self._hung_up(branch)
                return
            if not branch.pid:
                pid = sender_of(data, ancillary)
                branch.pidfd = os.pidfd_open(pid)
                branch.pid = pid
            for frame in branch.reader.feed(data):
                self._guest_says(branch, frame)
        except BlockingIOError:
            return
        except OSError:  # the connection broke, or the branch is dead before it was known
            self._hung_up(branch)
        except (FrameError, KeyError, TypeError) as error:
            self._protocol_error(branch, str(error))

    def _protocol_error(self, branch: Branch, reason: str) -> None:
        if branch.number:
            self._bury(branch, "protocol_error", reason)
        else:
            self.over = ("protocol_error", reason)

    def _guest_says(self, branch: Branch, frame: Frame) -> None:
        op = frame.header.get("op")
        if op == "hello":
            self.host.send({"op": "opened", "branch": branch.number})
        elif op == "host_call" and frame.header.get("name") in self.host_calls and "args" in frame.parts:
            number = frame.header.get("n")
            if type(number) is not int:
                raise FrameError("host call without a number")
            if branch.cell is None:  # a thread that outlived its cell
                branch.queue += encode({"op": "reply", "n": number, "error": "no cell is running"})
                return
            words = {"op": "host_call", "branch": branch.number, "n": number, "name": frame.header["name"]}
            self.host.send(words, {"args": frame.parts["args"]})
        elif op == "done" and branch.cell is not None and frame.header.get("id") == branch.cell:
            guest = {key: value for key, value in frame.header.items() if key not in ("op", "id")}
            self._end_cell(branch, guest, frame.parts)
        else:
            raise FrameError(f"a session sent an unexpected {str(op)[:40]!r} frame")

    def _cause(self) -> tuple[str, str]:
        if self.zygote.group and self.zygote.group.since_begin()[0]:
            return "memory", "the kernel killed a process at the memory limit"
        return "exit", "the process ended"

    def _bury(self, branch: Branch, verdict: str, reason: str) -> None:
        """End a branch and tell the host."""
        branch.kill()
        branch.drain()
        header, parts = branch.output()
        self.host.send({"op": "ended", "branch": branch.number, "verdict": verdict, "reason": reason, **header}, parts)
        for fd in (branch.sock.fileno(), *branch.captures):
            with contextlib.suppress(KeyError, ValueError):
                self.poller.unregister(fd)
        branch.close()
        self.branches.pop(branch.number, None)

    def finish(self) -> None:
        """End everything and tell the host how it went."""
        usage = self.zygote.finish()
        assert self.over is not None
        verdict, reason = self.over
        oom, forks, cpu, peak = 0, 0, usage.cpu_s, 0
        if self.zygote.group:
            oom, forks, group_cpu, peak = self.zygote.group.since_begin()
            cpu = max(cpu, group_cpu)
        if verdict == "ended":
            facts = Facts(True, None, usage.status, cpu, self.limits["cpu_s"], oom, forks, None, False)
            verdict, reason = judge(facts)
            verdict = "exit" if verdict == "ok" else verdict
            reason = reason or "exit code 0"
        for branch in list(self.branches.values()):
            self._bury(branch, verdict, reason)
        self.host.send({
            "op": "closed", "verdict": verdict, "reason": reason, "cpu_s": round(cpu, 6),
            "peak_kb": peak or max(usage.max_rss_kb, self.meter.peak_kb), "leftovers": usage.leftovers,
            "mem_scope": "tree" if peak else "process",
        })  # fmt: skip


def serve_session(zygote: Any, frame: Frame) -> None:
    """Carry out one ``open`` frame until the session's end."""
    files = {name[5:]: data for name, data in frame.parts.items() if name.startswith("file:")}
    try:
        zygote.begin(frame.header["limits"], files)
        server = SessionServer(zygote, frame)
        server.start()
    except OSError as error:
        zygote.scratch.end()
        zygote.host.send({"op": "closed", "verdict": "sandbox_error", "reason": explain(error)})
        return
    try:
        server.serve()
    finally:
        server.over = server.over or ("sandbox_error", "the fork server failed")
        server.finish()
        zygote.scratch.end()
