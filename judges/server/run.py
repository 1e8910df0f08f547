"""Running the server: safe binding, graceful drain on the first signal, at once on the second."""

from __future__ import annotations

import gc
import ipaddress
import signal
import socket

import uvicorn
from fastapi import FastAPI

from .app import create_app
from .config import JudgeServerConfig


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class DrainingServer(uvicorn.Server):
    """A server that says it is not ready as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config, app: FastAPI):
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What was loaded so far lives as long as the process; without this, every full collection walks over all of
        # it, which stops the server for tenths of a second.
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: object) -> None:
        self._app.state.judges.lifecycle.state = "draining"
        if sig == signal.SIGTERM:  # a clean stop; uvicorn would raise the signal again and exit with an error
            self.force_exit, self.should_exit = self.should_exit, True
        else:
            super().handle_exit(sig, frame)  # type: ignore[arg-type]


def check_address(config: JudgeServerConfig, app: FastAPI) -> None:
    """Refuse to offer judges to other machines without a token.

    Raises:
        ValueError: a public address without a token, unless the configuration says ``insecure``.
    """
    if not is_loopback(config.host) and not app.state.judges.tokens and not config.insecure:
        raise ValueError(
            f"host {config.host} can be reached from other machines and there is no token; give token_file or "
            "PALAESTRA_JUDGE_TOKENS, or --insecure if the network is trusted"
        )


def serve(config: JudgeServerConfig, app: FastAPI | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way within ``drain_timeout``.

    Raises:
        ValueError: see `check_address`.
    """
    app = app or create_app(config)
    check_address(config, app)
    settings = uvicorn.Config(
        app, host=config.host, port=config.port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=max(1, int(config.drain_timeout)), timeout_keep_alive=30,
    )  # fmt: skip
    DrainingServer(settings, app).run()
