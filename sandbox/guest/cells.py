"""The guest's side of a session: a process that stays, keeps its variables, and runs one cell after another.

The host is reached through one inherited socket. Output goes to descriptors 1 and 2 and is collected outside. Whatever
this process says is a claim: times, limits and verdicts are measured by others.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from . import driver, values
from .frames import Frame, FrameReader, encode
from .tree import received_fds

MAX_REPR = 16_000
# Cells may replace builtins; the session keeps the originals.
_exec, _eval, _compile, _repr = exec, eval, compile, repr


class HostCallError(RuntimeError):
    """A function of the host reported an error."""


class Link:
    """Frames to and from the outside; commands and replies to host calls share one socket."""

    def __init__(self, fd: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.owner = os.getpid()
        self._reader = FrameReader()
        self._commands: list[Frame] = []
        self._replies: dict[int, Frame] = {}
        self._fds: list[int] = []
        self._turn = threading.Condition()
        self._reading = False
        self._calls = 0

    def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        """Send one frame."""
        self.sock.sendall(encode(header, parts))

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

    def command(self) -> Frame:
        """Wait for the next command."""
        while not self._commands:
            self._receive()
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
        with self._turn:
            self._calls += 1
            number = self._calls
            self.send({"op": "host_call", "n": number, "name": name}, {"args": payload})
            while number not in self._replies:
                if self._reading:
                    self._turn.wait()
                    continue
                self._reading = True
                self._turn.release()
                try:
                    self._receive()
                finally:
                    self._turn.acquire()
                    self._reading = False
                    self._turn.notify_all()
            reply = self._replies.pop(number)
        if "error" in reply.header:
            raise HostCallError(reply.header["error"])
        return values.decode(reply.parts["value"])


class Session:
    """Variables and the cell loop."""

    def __init__(self, fd: int, host_calls: list[str]) -> None:
        self.link = Link(fd)
        self.space = driver.main_module("<session>", "").__dict__
        self.count = 0
        self.branches: list[int] = []
        for name in host_calls:
            self.space[name] = self._proxy(name)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

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
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    header, parts = getattr(self, "do_" + frame.header["op"])(frame)
                finally:
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
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

    def do_fork(self, _frame: Frame) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Split in two: the new process answers on a socket of its own."""
        sock, out, err = self.link.take_fds(3)
        driver.flush()
        pid = os.fork()
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
        self.link = Link(sock)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.serve()
        os._exit(0)


def _write_error(text: str) -> None:
    with contextlib.suppress(BaseException):
        sys.stderr.write(text)


def main(fd: int, host_calls: list[str]) -> None:
    """Serve a session in this confined process; never returns."""
    sys.argv = [""]
    sys.path.insert(0, os.getcwd())
    session = Session(fd, host_calls)
    session.serve()
