"""From flags and files to a running server, with a line that says what it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cache import VerdictCache
from ..replay import read_log
from ..service import JudgeService
from .app import create_app
from .config import JudgeConfig, JudgeServerConfig
from .run import check_address, serve


def load_config(
    path: Path | None, *, model: str | None = None, base_url: str | None = None, **flags: Any
) -> JudgeServerConfig:
    """The configuration of a file, or of flags alone; flags win.

    Raises:
        ValueError: for a base URL without a model and whatever the file gets wrong.
    """
    if base_url is not None and model is None:
        raise ValueError("--base-url names a server but no model; add --model NAME")
    given: dict[str, Any] = {
        k: str(v) if isinstance(v, Path) else v for k, v in flags.items() if v is not None and v is not False
    }
    config = JudgeServerConfig.load(path, **given) if path is not None else JudgeServerConfig(**given)
    if model is not None:
        config.judge.append(JudgeConfig(name="llm", model=model, base_url=base_url))
        config.default = config.default or "llm"
    if not any(judge.kind == "programmatic" for judge in config.judge):
        config.judge.append(JudgeConfig(name="programmatic", kind="programmatic"))
    return config


def preload(service: JudgeService, log: Path) -> int:
    """Put the verdicts of a replay log into the cache and forbid everything else; how many there were.

    Raises:
        ValueError: when the log holds no verdict.
    """
    cache = service.runtime.cache or VerdictCache()
    service.runtime.cache = cache
    count = 0
    for record in read_log(log):
        if record.get("status") == "ok" and record.get("verdict") is not None:
            cache.put(record["key"], {"values": record["verdict"], "model": record.get("model")})
            count += 1
    if not count:
        raise ValueError(f"{log} holds no verdict to replay")
    cache.flush()
    service.replay_only = True
    return count


def start(config: JudgeServerConfig, replay: Path | None = None, announce: Callable[[str], None] = print) -> None:
    """Serve until told to stop."""
    app = create_app(config)
    check_address(config, app)
    service = app.state.judges.service
    if replay is not None:
        announce(f"replaying {preload(service, replay)} verdicts of {replay}; anything else is 'unscored'")
    names = ", ".join(f"{judge.name} ({judge.kind})" for judge in service.judges.values())
    announce(f"judges on http://{config.host}:{config.port}: {names}; default {service.default}")
    if all(judge.kind == "programmatic" for judge in service.judges.values()):
        announce("warning: only programmatic checks; they check form and answers and do not understand text")
    serve(config, app)
