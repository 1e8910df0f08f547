"""The viewer's server: JSON about runs for the page in static/, on loopback."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from . import rollouts as lists
from .runs import Run, find_runs
from .tokens import TokenTexts

STATIC = Path(__file__).parent / "static"
# Nothing but this server's own files runs or loads, so untrusted text could do nothing even if it were markup.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
PAGE = 100


class Library:
    """The runs on show; new folders appear, old ones grow."""

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots
        self.runs: dict[str, Run] = {}
        self.tokens: dict[str, TokenTexts] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Look for new runs and read what was added to the known ones."""
        async with self._lock:
            await asyncio.to_thread(self._refresh)

    def _refresh(self) -> None:
        known = {run.path for run in self.runs.values()}
        for path in find_runs(self.roots):
            if path not in known:
                name, suffix = path.name, 2
                while name in self.runs:
                    name, suffix = f"{path.name}~{suffix}", suffix + 1
                self.runs[name] = Run(path)
        for run in self.runs.values():
            run.refresh()

    def get(self, name: str) -> Run:
        if name not in self.runs:
            raise HTTPException(404, f"no run {name!r}; there are {', '.join(sorted(self.runs)) or 'none'}")
        return self.runs[name]

    def token_texts(self, name: str) -> TokenTexts:
        if name not in self.tokens:
            self.tokens[name] = TokenTexts.of_run(self.get(name).path)
        return self.tokens[name]


def create_app(roots: list[str | Path]) -> FastAPI:
    """The viewer over run folders or folders of run folders.

    Args:
        roots: run folders, or folders that hold some.

    Raises:
        FileNotFoundError: a root does not exist.
    """
    paths = [Path(root) for root in roots]
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(f"no folder {str(path)!r}; give a run folder or the folder that holds runs")
    library = Library(paths)
    app = FastAPI(title="Palaestra viewer", docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def _headers(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-cache"
        return response

    @app.get("/api/runs")
    async def list_runs() -> list[dict[str, Any]]:
        await library.refresh()
        return [{**run.summary(), "name": name} for name, run in sorted(library.runs.items())]

    @app.get("/api/runs/{name}")
    async def one_run(name: str) -> dict[str, Any]:
        run = library.get(name)
        return {**run.summary(), "name": name, "config": run.config()[0], "series": run.series()}

    @app.get("/api/runs/{name}/rollouts")
    async def list_rollouts(
        name: str,
        text: str = "",
        task: str = "",
        group: str = "",
        scored: Annotated[str, Query(pattern="^(all|scored|unscored)$")] = "all",
        reward_from: float | None = None,
        reward_to: float | None = None,
        tokens_from: int | None = None,
        tokens_to: int | None = None,
        step: int | None = None,
        before: int | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> dict[str, Any]:
        run = library.get(name)
        query = lists.Query(text, task, group, scored, reward_from, reward_to, tokens_from, tokens_to, step)
        found = (e for e in run.rollouts.search(query) if before is None or e.key < before)
        entries = await asyncio.to_thread(lambda: list(islice(found, limit + 1)))
        more = len(entries) > limit
        page = entries[:limit]
        return {"rollouts": [e.row() for e in page], "next": page[-1].key if more else None, "total": len(run.rollouts)}

    @app.get("/api/runs/{name}/rollouts/{key}")
    async def one_rollout(name: str, key: int) -> dict[str, Any]:
        run = library.get(name)
        if not 0 <= key < len(run.rollouts):
            raise HTTPException(404, f"no rollout {key}; this run has {len(run.rollouts)}")
        line = await asyncio.to_thread(run.rollouts.load, run.rollouts.entries[key])
        texts = library.token_texts(name)
        turns = lists.rollout_of(line).get("turns") or []
        ids = [turn.get("completion_ids") or [] for turn in turns if isinstance(turn, dict)]
        return {"key": key, "line": line, "token_texts": [texts.decode(turn) for turn in ids], "token_note": texts.note}

    @app.get("/api/runs/{name}/groups/{group}")
    async def one_group(name: str, group: str) -> dict[str, Any]:
        run = library.get(name)
        entries = [e for e in run.rollouts.entries if e.group_id == group]
        if not entries:
            raise HTTPException(404, f"no group {group!r} in run {name!r}")
        lines = await asyncio.to_thread(lambda: [run.rollouts.load(e) for e in entries])
        return {
            "group": group,
            "rollouts": [{"key": e.key, "line": line} for e, line in zip(entries, lines, strict=True)],
        }

    @app.get("/runs/{name}/report.html")
    async def report(name: str) -> Response:
        path = library.get(name).path / "report.html"
        if not path.is_file():
            raise HTTPException(404, f"run {name!r} has no report.html")
        return FileResponse(path, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def serve(roots: list[str | Path], host: str = "127.0.0.1", port: int = 8500) -> None:
    """Serve the viewer until interrupted; it has no login, so it binds to this machine unless told otherwise."""
    import uvicorn

    uvicorn.run(create_app(roots), host=host, port=port, log_level="warning")
