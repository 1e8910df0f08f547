"""`palaestra serve envs` and `palaestra serve mcp`."""

from __future__ import annotations

from typing import Annotated

import typer


def register(serve: typer.Typer) -> None:
    """Add the sub-commands to ``serve``."""

    @serve.command(
        help="Serve environments over HTTP: native sessions at /v1, OpenEnv's protocol at /openenv/ENV.\n\n"
        "Examples: `palaestra serve envs`, `palaestra serve envs --env palaestra/Sort-v0 --port 9000`, "
        "`PALAESTRA_TOKEN=secret palaestra serve envs --host 0.0.0.0`"
    )
    def envs(
        env: Annotated[list[str] | None, typer.Option(help="Offer only this environment; repeatable.")] = None,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        host: Annotated[str, typer.Option(help="Address to bind; a token is needed beyond loopback.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="Port to bind.")] = 8300,
        token: Annotated[str | None, typer.Option(envvar="PALAESTRA_TOKEN", help="What clients must send.")] = None,
        sessions: Annotated[int, typer.Option(help="Running episodes at once.")] = 1024,
        workers: Annotated[int, typer.Option(help="Environments that compute at once.")] = 32,
        idle: Annotated[float, typer.Option(help="Seconds after which an unused session is closed.")] = 600.0,
        deadline: Annotated[float, typer.Option(help="Longest reset or step in seconds.")] = 120.0,
        run: Annotated[bool, typer.Option("--run/--no-run", help="Also run code in the sandbox at /v1/run.")] = False,
        log_level: Annotated[str, typer.Option(help="uvicorn's log level.")] = "warning",
    ) -> None:
        from ..envs.registry import find, list_envs
        from ..envs.server import Limits, serve
        from ..envs.server.guard import require_token
        from ._envs import import_all

        require_token(host, token)
        import_all(imports)
        for id in env or []:
            find(id)
        sandbox = None
        if run:
            from ..sandbox import Sandbox

            if not token:
                raise typer.BadParameter("--run lets clients run code, so it needs a --token")
            sandbox = Sandbox.open()
        offered = len(env) if env else len(list_envs())
        typer.echo(f"palaestra serve envs: http://{host}:{port}  ({offered} environments, Ctrl-C ends it)")
        limits = Limits(sessions=sessions, workers=workers, idle_seconds=idle, step_seconds=deadline)
        try:
            serve(host=host, port=port, envs=env, token=token, limits=limits, sandbox=sandbox, log_level=log_level)
        finally:
            if sandbox is not None:
                sandbox.close_sync()

    @serve.command(
        help="Serve one environment as an MCP server: its tools, with `reset` and `reply`.\n\n"
        "Examples: `palaestra serve mcp my/Shop-v0`, `palaestra serve mcp my/Shop-v0 --port 8301`"
    )
    def mcp(
        env: Annotated[str, typer.Argument(help="Id of the environment.")],
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        knobs: Annotated[list[str] | None, typer.Option("--set", help="A knob as name=value; JSON values.")] = None,
        http: Annotated[bool, typer.Option("--http", help="Streamable HTTP on loopback in place of stdio.")] = False,
        port: Annotated[int | None, typer.Option(help="Port of HTTP, 8301 by default; implies --http.")] = None,
    ) -> None:
        from ..envs.mcp_bridge import serve_mcp
        from ..envs.registry import find
        from ._envs import import_all, parse_knobs

        import_all(imports)
        find(env)
        serve_mcp(env, port=(port or 8301) if http or port else None, **parse_knobs(knobs))
