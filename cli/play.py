"""`palaestra play`: try an environment by hand in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Play one episode of an environment by hand: you are the policy. A reply of several lines begins with a "
        "line of three double quotes and ends with a line that is only a dot; the end of input gives up.\n\n"
        "Examples: `palaestra play palaestra/Lookup-v0`, `palaestra play palaestra/Countdown-v0 --seed 7 --set count=3`"
    )
    def play(
        env: Annotated[str, typer.Argument(help="Id of the environment.")],
        seed: Annotated[int | None, typer.Option(help="Names the task.")] = None,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        knobs: Annotated[list[str] | None, typer.Option("--set", help="A knob as name=value; JSON values.")] = None,
        url: Annotated[str | None, typer.Option(help="Play on this environment server.")] = None,
        token: Annotated[str | None, typer.Option(envvar="PALAESTRA_TOKEN", help="The server's token.")] = None,
    ) -> None:
        from ..envs import HttpEnv, make
        from ._envs import import_all, parse_knobs

        import_all(imports)
        settings = parse_knobs(knobs)
        world = HttpEnv(url, env, token=token, **settings) if url else make(env, **settings)
        try:
            _episode(world, seed)
        finally:
            world.close()


def _episode(env: Any, seed: int | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    observation, info = env.reset(seed=seed)
    console.print(Text(f"{info['task_id']}", style="dim"))
    total = 0.0
    while True:
        for message in observation:
            console.print(Text(f"[{message['role']}]", style="cyan"))
            console.print(Text(str(message["content"])))
        reply = _read(console)
        if reply is None:
            console.print(Text("given up", style="dim"))
            return
        observation, reward, terminated, truncated, info = env.step(reply)
        for item in info["feedback"]:
            console.print(Text(f"{item.kind}: {item.text}", style="yellow"))
        total += reward if reward == reward else 0.0
        if terminated or truncated:
            unscored = f", not scored: {info['error']}" if "error" in info else ""
            console.print(Text(f"the end ({info['stop_reason']}): return {total:g}{unscored}", style="bold"))
            return


def _read(console: Any) -> str | None:
    """One reply: a line, or several between \"\"\" and a line with a dot. None at the end of input."""
    try:
        line = input("> " if sys.stdin.isatty() else "")
        if line.strip() != '"""':
            return line
        lines = []
        while (line := input("")) != ".":
            lines.append(line)
        return "\n".join(lines)
    except EOFError:
        return None
