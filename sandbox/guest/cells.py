"""The guest's side of a session: a process that stays, keeps its variables, and runs one cell after another.

The host is reached through one inherited socket. Output goes to descriptors 1 and 2 and is collected outside. Whatever
this process says is a claim: times, limits and verdicts are measured by others.
"""

from __future__ import annotations

import ast
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import driver, values
from .frames import Frame, FrameReader, encode
from .tree import received_fds

MAX_REPR = 16_000
# Cells may replace builtins; the session keeps the originals.
_exec, _eval, _compile, _repr = exec, eval, compile, repr


class HostCallError(RuntimeError):
    """A function of the host reported an error."""


class Interrupt:
    """The handler of SIGINT: ends the cell that runs, once, never the loop around it, and never half a frame.

    ``armed`` while a cell runs. Within ``held`` an interrupt is kept for its end, or for the next ``wait``.
    """

    def __init__(self) -> None:
        self.armed = self._held = self._kept = False

    def __call__(self, _number: int, _frame: Any) -> None:
        if self.armed and self._held:
            self._kept = True
        elif self.armed:
            self._end()

    def _end(self) -> None:
        self.armed = self._kept = False
        raise KeyboardInterrupt

    def arm(self) -> None:
        """Let the next interrupt end what runs from now on; the last cell may have replaced the handler."""
        self._held = self._kept = False
        signal.signal(signal.SIGINT, self)
        self.armed = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What is done within is done whole. Interrupts come to the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._kept:
                self._end()

    def wait(self, sleep: Callable[[], Any]) -> None:
        """Within ``held``: sleep, and let an interrupt end that."""
        if not self._held or threading.current_thread() is not threading.main_thread():
            sleep()
            return
        self._held = False
        try:
            if self._kept:
                self._end()
            sleep()
        finally:
            self._held = True


class Link:
    """Frames to and from the outside; commands and replies to host calls share one socket.

    Of all threads that wait, one reads for all.
    """

    def __init__(self, fd: int, interrupt: Interrupt) -> None:
        self.sock = socket.socket(fileno=fd)
        self.owner = os.getpid()
        self.interrupt = interrupt
        self._reader = FrameReader()
        self._commands: list[Frame] = []
        self._replies: dict[int, Frame] = {}
        self._fds: list[int] = []
        self._turn = threading.Condition()
        self._reading = False
        self._calls = 0

    def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Send one frame."""
        data = encode(header, parts)
        with self._turn:
            self.sock.sendall(data)

    def _receive(self) -> None:
        data, ancillary, *_ = self.sock.recvmsg(1 << 18, socket.CMSG_SPACE(16))
        if not data:
            os._exit(0)
        self._fds += received_fds(ancillary)
        for frame in self._reader.feed(data):
            if frame.header.get("op") == "reply":
                self._replies[frame.header["n"]] = frame
            else:
                self._commands.append(frame)

    def _until(self, arrived: Callable[[], bool]) -> None:
        """Receive until something has arrived; with the turn held."""
        while not arrived():
            if self._reading:
                self.interrupt.wait(self._turn.wait)
                continue
            self._reading = True
            self._turn.release()
            try:
                if self.interrupt.armed:
                    self.interrupt.wait(lambda: select.select([self.sock], [], []))
                self._receive()
            finally:
                self._turn.acquire()
                self._reading = False
                self._turn.notify_all()

    def command(self) -> Frame:
        """Wait for the next command."""
        with self._turn:
            self._until(lambda: bool(self._commands))
            return self._commands.pop(0)

    def take_fds(self, count: int) -> list[int]:
        """Descriptors that came with the last command."""
        fds, self._fds = self._fds[:count], self._fds[count:]
        return fds

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Ask the host to run one of its functions; threads may call at the same time.

        Raises:
            HostCallError: the host's function failed or refused.
        """
        if os.getpid() != self.owner:
            raise HostCallError(f"{name} can only be called from the session's own process")
        payload = values.encode([list(args), kwargs])
        with self.interrupt.held(), self._turn:
            self._calls += 1
            number = self._calls
            self.send({"op": "host_call", "n": number, "name": name}, {"args": payload})
            self._until(lambda: number in self._replies)
            reply = self._replies.pop(number)
        if "error" in reply.header:
            raise HostCallError(reply.header["error"])
        return values.decode(reply.parts["value"])


class Session:
    """Variables and the cell loop."""

    def __init__(self, fd: int, host_calls: list[str]) -> None:
        self.interrupt = Interrupt()
        self.link = Link(fd, self.interrupt)
        self.space = driver.main_module("<session>", "").__dict__
        self.count = 0
        self.branches: list[int] = []
        for name in host_calls:
            self.space[name] = self._proxy(name)
        signal.signal(signal.SIGINT, self.interrupt)

    def _proxy(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.link.call(name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        return call

    def serve(self) -> None:
        """Run commands until the socket closes."""
        self.link.send({"op": "hello"})
        while True:
            frame = self.link.command()
            header: dict[str, Any] = {}
            parts: dict[str, bytes] = {}
            try:
                try:
                    self.interrupt.arm()
                    header, parts = getattr(self, "do_" + frame.header["op"])(frame)
                finally:
                    self.interrupt.armed = False
            except SystemExit as error:
                header = {"exit": driver.exit_code(error)}
            except values.ValueProblem as error:
                header = {"problem": error.kind, "message": driver.printable(str(error))}
            except BaseException as error:
                header = {"error": driver.describe(error, skip=2)}
                if frame.header["op"] == "exec":
                    _write_error(header["error"]["traceback"])
            driver.flush()
            self.link.send({"op": "done", "id": frame.header["id"], **header}, parts)
            self._reap()

    def _reap(self) -> None:
        for pid in list(self.branches):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self.branches.remove(pid)
            except OSError:
                self.branches.remove(pid)

    def do_exec(self, frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Run a cell; the value of a final expression is returned as bounded repr."""
        code = frame.parts["code"].decode("utf-8", "surrogatepass")
        self.count += 1
        name = f"<cell {self.count}>"
        driver.remember_source(name, code)
        body: Any = _compile(code, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
        if body.body:
            _exec(_compile(body, name, "exec", dont_inherit=True), self.space)
        if last is None:
            return {}, {}
        value = _eval(_compile(ast.Expression(last.value), name, "eval", dont_inherit=True), self.space)
        if value is None:
            return {}, {}
        self.space["_"] = value
        text = _repr(value)
        if len(text) > MAX_REPR:
            cut = len(text) - MAX_REPR
            text = f"{text[: MAX_REPR * 3 // 4]} ... {cut} characters cut ... {text[-MAX_REPR // 4 :]}"
        return {}, {"repr": text.encode("utf-8", "backslashreplace")}

    def do_call(self, frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Call a function by name with data, return its value as data."""
        args, kwargs = values.decode(frame.parts["args"])
        function = self._find(frame.header["name"])
        parts = {"value": values.encode(function(*args, **kwargs))}
        with contextlib.suppress(values.ValueProblem):
            parts["arguments"] = values.encode(args)
        return {}, parts

    def _find(self, name: str) -> Any:
        first, *rest = name.split(".")
        if first not in self.space:
            raise NameError(f"name {first!r} is not defined")
        found = self.space[first]
        for part in rest:
            found = getattr(found() if isinstance(found, type) else found, part)
        return found

    def do_get(self, frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The value of a variable as data."""
        return {}, {"value": values.encode(self._find(frame.header["name"]))}

    def do_set(self, frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Set a variable; large text and bytes come without any encoding."""
        kind, data = next(iter(frame.parts.items()))
        value: Any = data
        if kind == "text":
            value = data.decode("utf-8", "surrogatepass")
        elif kind == "value":
            value = values.decode(data)
        self.space[frame.header["name"]] = value
        return {}, {}

    def do_names(self, _frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The public names defined so far and their types."""
        names = {
            name: type(value).__name__[:100]
            for name, value in list(self.space.items())
            if isinstance(name, str) and not name.startswith("_")
        }
        return {}, {"value": values.encode(names)}

    def _fork(self) -> int:
        """Fork; where the process limit refuses, branches that are just being ended may make room."""
        for _ in range(40):
            self._reap()
            try:
                return os.fork()
            except BlockingIOError:
                time.sleep(0.005)
        return os.fork()

    def do_fork(self, _frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Split in two: the new process answers on a socket of its own."""
        self.interrupt.armed = False
        sock, out, err = self.link.take_fds(3)
        try:
            driver.flush()
            pid = self._fork()
        except BaseException:
            for fd in (sock, out, err):
                os.close(fd)
            raise
        if pid:
            for fd in (sock, out, err):
                os.close(fd)
            self.branches.append(pid)
            return {}, {}
        self.link.sock.close()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        self.branches = []
        self.link = Link(sock, self.interrupt)
        self.serve()
        os._exit(0)


def _write_error(text: str) -> None:
    with contextlib.suppress(BaseException):
        sys.stderr.write(text)


def main(fd: int, host_calls: list[str]) -> None:
    """Serve a session in this confined process; never returns."""
    sys.argv = [""]
    session = Session(fd, host_calls)
    session.serve()
