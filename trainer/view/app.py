"""The viewer's server: JSON about runs for the page in static/, on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi import Query as Parameter
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .answers import Json, shortened
from .groups import list_groups
from .library import Library
from .rollouts import ORDERS, Entry, Query, rollout_of
from .runs import Run

STATIC = Path(__file__).parent / "static"
# Nothing but this server's own files runs or loads, so untrusted text could do nothing even if it were markup.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
PAGE = 100
CARD_CHARS = 4000

Limit = Annotated[int, Parameter(ge=1, le=500)]


def wanted(
    text: str = "",
    task: str = "",
    group: str = "",
    scored: Annotated[str, Parameter(pattern="^(all|scored|unscored)$")] = "all",
    reward_from: float | None = None,
    reward_to: float | None = None,
    tokens_from: int | None = None,
    tokens_to: int | None = None,
    step: int | None = None,
    order: Annotated[str, Parameter(pattern=f"^({'|'.join(ORDERS)})$")] = "newest",
) -> Query:
    """The filter of a request."""
    return Query(text, task, group, scored, reward_from, reward_to, tokens_from, tokens_to, step, order)


def create_app(roots: list[str | Path], hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The viewer over run folders or folders of run folders.

    Args:
        roots: run folders, or folders that hold some.
        hosts: names the page may be asked for under; others are refused, so that no web page can read runs through a
            name of its own that leads here.

    Raises:
        FileNotFoundError: a root does not exist.
    """
    paths = [Path(root) for root in roots]
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(f"no folder {str(path)!r}; give a run folder or the folder that holds runs")
    library = Library(paths)
    app = FastAPI(title="Palaestra viewer", docs_url=None, redoc_url=None, default_response_class=Json)

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.middleware("http")
    async def _headers(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-cache"
        return response

    def run_of(name: str) -> Run:
        try:
            return library.get(name)
        except KeyError as error:
            raise HTTPException(404, error.args[0]) from None

    def line_of(run: Run, entry: Entry) -> dict[str, Any]:
        try:
            return run.rollouts.load(entry)
        except (OSError, ValueError):
            raise HTTPException(410, "this rollout's file was rewritten meanwhile; go back to the list") from None

    def entry_of(run: Run, key: int) -> Entry:
        entry = run.rollouts.get(key)
        if entry is None:
            raise HTTPException(404, f"no rollout {key}; this run has {len(run.rollouts)}")
        return entry

    # Answers are returned as `Json` and not left to FastAPI, which would walk through megabytes to validate them.
    @app.get("/api/runs")
    def list_runs() -> Json:
        library.refresh()
        return Json([{**run.summary(), "name": name} for name, run in sorted(library.runs.items())])

    @app.get("/api/runs/{name}")
    def one_run(name: str) -> Json:
        run = run_of(name)
        library.refresh(name)
        evaluations = run.evaluations.rows()
        whole = {**run.summary(), "name": name, "config": run.config()[0], "series": run.series()}
        return Json({**whole, "evaluations": evaluations, "notes": whole["notes"] + run.evaluations.notes})

    @app.get("/api/runs/{name}/rollouts")
    def list_rollouts(name: str, query: Annotated[Query, Depends(wanted)], start: int = 0, limit: Limit = PAGE) -> Json:
        run = run_of(name)
        page = run.rollouts.page(query, max(0, start), limit)
        rows = [entry.row() for entry in page.entries]
        return Json(
            {
                "rollouts": rows,
                "next": page.next,
                "looked_at": page.looked_at,
                "total": len(run.rollouts),
                "indexed": run.indexed,
            }
        )

    @app.get("/api/runs/{name}/rollouts/{key}")
    def one_rollout(name: str, key: int, query: Annotated[Query, Depends(wanted)]) -> Json:
        run = run_of(name)
        line = line_of(run, entry_of(run, key))
        texts = library.token_texts(name)
        turns = rollout_of(line).get("turns")
        turns = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
        return Json(
            {
                "key": key,
                "line": shortened(line),
                "token_texts": [texts.decode(turn.get("completion_ids")) for turn in turns],
                "prompt_texts": [texts.decode(ids) for ids in fresh_prompts(turns)],
                "token_note": texts.note,
                **run.rollouts.beside(key, query),
            }
        )

    @app.get("/api/runs/{name}/rollouts/{key}/raw")
    def raw_rollout(name: str, key: int) -> Response:
        run = run_of(name)
        entry = entry_of(run, key)
        try:
            raw = run.rollouts.files.raw(entry.file, entry.offset, entry.length)
        except OSError:
            raise HTTPException(410, "this rollout's file is gone") from None
        name = f"rollout-{key}.json"
        return Response(
            raw, media_type="application/json", headers={"Content-Disposition": f"attachment; filename={name}"}
        )

    @app.get("/api/runs/{name}/groups")
    def groups(name: str, task: str = "", start: int = 0, limit: Limit = PAGE) -> Json:
        return Json(list_groups(run_of(name).rollouts, task, max(0, start), limit))

    @app.get("/api/runs/{name}/group")
    def one_group(name: str, id: str) -> Json:
        run = run_of(name)
        entries = [entry for entry in run.rollouts.known() if entry.group_id == id][:500]
        if not entries:
            raise HTTPException(404, f"no group {id!r} in run {name!r}")
        rollouts = [{"key": entry.key, "line": shortened(line_of(run, entry), CARD_CHARS)} for entry in entries]
        return Json(
            {"group": id, "rollouts": rollouts, "judgements": shortened(run.judgements.of_group(id), CARD_CHARS)}
        )

    @app.get("/api/runs/{name}/judge")
    def judge(name: str) -> Json:
        run = run_of(name)
        return Json({**run.judgements.summary(), "series": run.series("judge"), "indexed": run.indexed})

    @app.get("/runs/{name}/report.html")
    def report(name: str) -> Response:
        path = run_of(name).path / "report.html"
        if not path.is_file():
            raise HTTPException(404, f"run {name!r} has no report.html")
        return FileResponse(path, headers={"Content-Security-Policy": REPORT_POLICY})

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def fresh_prompts(turns: list[dict[str, Any]]) -> list[list[Any]]:
    """The prompt ids of each turn that did not stand before: what the environment said since the last turn."""
    seen: list[Any] = []
    found = []
    for turn in turns:
        prompt, sampled = (
            ids if isinstance(ids, list) else [] for ids in (turn.get("prompt_ids"), turn.get("completion_ids"))
        )
        found.append(prompt[len(seen) :] if seen and prompt[: len(seen)] == seen else prompt)
        seen = [*prompt, *sampled]
    return found


def serve(roots: list[str | Path], host: str = "127.0.0.1", port: int = 8500) -> None:
    """Serve the viewer until interrupted; it has no login, so it binds to this machine unless told otherwise."""
    import uvicorn

    names = ("localhost", "127.0.0.1", "[::1]", host) if host in ("127.0.0.1", "localhost", "::1") else ("*",)
    uvicorn.run(create_app(roots, names), host=host, port=port, log_level="warning")
