"""`palaestra eval`: how good is a policy on an environment."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Evaluate a model on an environment: pass@k with 95 % intervals; what could not be scored is counted "
        "apart. `--model` is the address of an OpenAI-compatible server, or a Hugging Face folder or id that is "
        "sampled here. Several samples a task add how alike they are; `--against` evaluates further models on the "
        "same tasks and adds how alike the models are and whether a text gives its model away; with `--judge` a judge "
        "server says which of them answers better.\n\n"
        "Examples: `palaestra eval --env palaestra/Math-v0 --tasks problems.jsonl --model http://127.0.0.1:8000/v1`, "
        "`palaestra eval --env palaestra/Sort-v0 --model runs/sort/checkpoints/step-000150 --samples 4`, "
        "`palaestra eval --env palaestra/Sort-v0 --model runs/a/final --against runs/b/final --samples 8`",
    )
    def eval(
        env: Annotated[str, typer.Option(help="Environment id.")],
        model: Annotated[str, typer.Option(help="Server URL, Hugging Face folder or id.")],
        against: Annotated[
            list[str] | None, typer.Option(help="Another model, given like --model, on the same tasks; repeatable.")
        ] = None,
        amateur: Annotated[
            str, typer.Option(help="Weaker model of the same tokenizer: sample --model contrastively against it.")
        ] = "",
        judge: Annotated[str, typer.Option(help="Judge server that compares --model with each --against.")] = "",
        judge_name: Annotated[str, typer.Option(help="Judge on that server; by default the server's own.")] = "",
        rubric: Annotated[str, typer.Option(help="Rubric of that server; by default the judge's own.")] = "",
        tasks: Annotated[Path | None, typer.Option(help="File of problems; each is played once per sample.")] = None,
        name: Annotated[str, typer.Option(help="Model name on the server; by default the first it offers.")] = "",
        samples: Annotated[int, typer.Option(min=1, help="Rollouts a task.")] = 1,
        pass_at: Annotated[
            str, typer.Option(help="The k of pass@k, pass^k and maj@k, comma-separated; default 1, 2, 4 ... samples.")
        ] = "",
        limit: Annotated[int, typer.Option(min=0, help="Most tasks; 0 = all of a file, 100 generated ones.")] = 0,
        temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 1.0,
        max_new_tokens: Annotated[int, typer.Option(min=1, help="Cap on one reply.")] = 1024,
        seed: Annotated[int, typer.Option(help="Seed of tasks and samples.")] = 0,
        concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 32,
        timeout: Annotated[float, typer.Option(min=1, help="Seconds for one reply, retries included.")] = 300.0,
        out: Annotated[Path | None, typer.Option(help="Report folder; default runs/eval-ENV.")] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="Knob of the environment.")
        ] = None,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ) -> None:
        from ..trainer import load_config
        from ._envs import import_all, parse_knobs
        from ._likeness import show_likeness, write_likeness
        from ._winrate import show_win_rates, write_win_rates
        from .report import report_of

        if judge and not against:
            raise typer.BadParameter("--judge compares two models: name the other one with --against")

        import_all(imports)
        knobs = parse_knobs(settings)
        if tasks is not None:
            knobs["tasks"] = str(tasks)
        ks = _ks(pass_at, samples)
        config = load_config(
            {
                "seed": seed,
                "env": {"id": env, "args": knobs, "split": tasks is None, "seed": seed},
                "rollout": {"max_new_tokens": max_new_tokens},
                "eval": {
                    "tasks": limit or 100,
                    "samples": max(samples, *ks),
                    "pass_at": ks,
                    "temperature": temperature,
                    "greedy": False,
                },
            }
        )
        report, plays = _run(config, model, name, tasks, limit, concurrency, timeout, as_json, amateur)
        folder = out or Path("runs") / f"eval-{env.split('/')[-1].lower()}"
        _write(folder, report, plays)
        if not as_json:
            _table(report, folder)
            _why_unscored(plays)
        rollouts, others, against_plays = {model: _rollouts(plays)}, {}, {}
        for number, other in enumerate(dict.fromkeys(m for m in against or () if m != model), start=1):
            others[other], played = _run(config, other, "", tasks, limit, concurrency, timeout, as_json)
            _write(folder / f"against-{number}", others[other], played)
            rollouts[other], against_plays[other] = _rollouts(played), played
            if not as_json:
                _table(others[other], folder / f"against-{number}")
                _why_unscored(played)
        report_of(folder)
        likeness = write_likeness(folder, rollouts)
        rates = write_win_rates(folder, judge, judge_name, rubric, plays, against_plays) if judge else {}
        if as_json:
            found = {**report.model_dump(mode="json"), **likeness, **({"win_rate": rates} if rates else {})}
            found |= {"against": {m: r.model_dump(mode="json") for m, r in others.items()}} if others else {}
            typer.echo(json.dumps(found))
        else:
            show_likeness(likeness)
            show_win_rates(rates)
        if report.rollouts and report.unscored == report.rollouts:
            errors = {r.error for play in plays for r in play.group.rollouts if r.error}
            typer.echo(f"error: no rollout could be scored: {sorted(errors)[0] if errors else 'unknown'}", err=True)
            raise typer.Exit(1)


def _ks(text: str, samples: int) -> list[int]:
    """The k of pass@k: as asked for, or the powers of two up to the number of samples."""
    if not text.strip():
        return [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    try:
        ks = [int(part) for part in text.split(",")]
    except ValueError:
        ks = []
    if not ks or min(ks) < 1:
        raise typer.BadParameter(f"--pass-at {text!r}: write whole numbers from 1 on with commas, such as 1,4")
    return ks


def _run(
    config: Any,
    model: str,
    name: str,
    tasks: Path | None,
    limit: int,
    concurrency: int,
    timeout: float,
    quiet: bool,
    amateur: str = "",
) -> tuple[Any, Any]:
    from ..trainer.evaluate_server import cover, evaluate_server
    from ..trainer.tasks import TaskSource

    refs = None
    if tasks is not None:
        from ..envs.data import tasks as read

        source = TaskSource(config.env)
        refs = cover(source, len(read(str(tasks), kind="math")))
        source.close()
        refs = refs[:limit] if limit else refs
    if not model.startswith(("http://", "https://")):
        from ..trainer.engines import make_engine
        from ..trainer.evaluation import evaluator_for
        from ..trainer.policy import load_policy

        policy = load_policy(config.policy.model_copy(update={"model": model}))
        evaluator = evaluator_for(config.env, config.rollout, config.eval, policy, config.seed, tasks=refs)
        if not amateur:
            return evaluator.run_with_plays(make_engine("native", policy), policy=model)
        from ..trainer.engines.contrastive import ContrastiveEngine

        weaker = load_policy(config.policy.model_copy(update={"model": amateur}))
        return evaluator.run_with_plays(ContrastiveEngine(policy, weaker), policy=f"{model} against {amateur}")
    if amateur:
        raise typer.BadParameter("--amateur needs the logits of both models: give --model as a folder, not a server")
    from ..lm import OpenAIModel

    url = model.rstrip("/")
    url = url if url.endswith("/v1") else f"{url}/v1"
    lm = OpenAIModel(
        name or _first_model(url), base_url=url, concurrency=concurrency, read_s=timeout, deadline_s=timeout
    )
    with _bar(quiet) as progress:
        return evaluate_server(
            config.env,
            lm,
            config.eval,
            config.rollout,
            tasks=refs,
            seed=config.seed,
            concurrency=concurrency,
            progress=progress,
        )


def _rollouts(plays: Any) -> list[Any]:
    return [rollout for play in plays for rollout in play.group.rollouts]


def _first_model(url: str) -> str:
    import httpx

    try:
        reply = httpx.get(f"{url}/models", timeout=10)
        reply.raise_for_status()
        return str(reply.json()["data"][0]["id"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise typer.BadParameter(
            f"--model {url}: no model list there ({type(error).__name__}: {error}); is the server up? else give --name"
        ) from None


class _bar:
    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.progress = Progress(console=Console(stderr=True), disable=quiet)
        self.task: Any = None

    def __enter__(self) -> Any:
        self.progress.start()
        return self.update

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, done: int, total: int) -> None:
        if self.task is None:
            self.task = self.progress.add_task("rollouts", total=total)
        self.progress.update(self.task, completed=done)


def _write(folder: Path, report: Any, plays: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=1), encoding="utf-8")
    with open(folder / "rollouts.jsonl", "w", encoding="utf-8") as file:
        for play in plays:
            for rollout in play.group.rollouts:
                file.write(json.dumps(rollout.model_dump(mode="json"), ensure_ascii=False) + "\n")


def _table(report: Any, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=f"{report.policy} on {report.env}", title_justify="left")
    for title in ("metric", "value", "95 % interval", "tasks"):
        table.add_column(title)
    rows = [(f"pass@{k}", e) for k, e in report.pass_at.items()]
    rows += [(f"pass^{k}", e) for k, e in report.pass_all.items() if k > 1]
    rows += [(f"maj@{k}", e) for k, e in report.majority.items() if k > 1]
    top = max(report.pass_at, default=1)
    rows += [(f"AUC@{top} ({name})", e) for name, e in report.area.items()]
    rows += [(n.replace("_", " "), getattr(report, n)) for n in ("reward", "distinct_right") if getattr(report, n)]
    for title, e in rows:
        table.add_row(title, f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}", str(e.tasks))
    Console().print(table)
    typer.echo(f"{report.rollouts} rollouts, {report.unscored} unscored, {report.mean_tokens:.0f} tokens each")
    typer.echo(f"folder: {folder}")


def _why_unscored(plays: Any) -> None:
    """The reasons, most frequent first; digits are left out so that like messages count as one."""
    errors = [r.error for r in _rollouts(plays) if r.reward is None and r.error]
    counts = Counter(re.sub(r"\d+", "#", error)[:200] for error in errors)
    for reason, count in counts.most_common(3):
        example = next(e for e in errors if re.sub(r"\d+", "#", e)[:200] == reason)
        typer.echo(f"unscored {count} x {example[:300]}")
    if len(counts) > 3:
        typer.echo(f"unscored for {len(counts) - 3} other reasons; see rollouts.jsonl")
