"""Settings of a judge server, from a TOML file or from flags, and the service they describe."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...lm import OpenAIModel, Price, Sampling
from ..base import Judge, Runtime
from ..cache import VerdictCache
from ..limits import AdaptiveLimiter
from ..llm import LLMJudge
from ..programmatic import ProgrammaticJudge
from ..replay import ReplayLog
from ..rubric import BUILTIN_RUBRICS, Rubric
from ..service import JudgeService
from .auth import Tokens
from .metrics import Metrics


class Section(BaseModel):
    """Base of sections: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class JudgeConfig(Section):
    """One ``[[judge]]``."""

    name: str
    kind: Literal["llm", "programmatic", "local", "classify", "pair_model"] = "llm"
    rubric: str | None = None
    """Rubric used when a request names none."""
    strategy: Literal["none", "form"] = "none"
    """Programmatic judges: what counts as one strategy; ``form`` = final answers written alike."""
    model: str | None = None
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key."""
    revision: str | None = None
    on_model_change: Literal["refuse", "warn"] = "refuse"
    """When another model answers than at the start of a run: no verdict, or a verdict with a warning."""
    temperature: float = 0.0
    max_tokens: int = 1024
    structured: bool = True
    graded: bool = True
    char_budget: int = 24_000
    overlong: Literal["trim", "reject"] = "trim"
    min_chars: int = 1
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability above which a pair is the same; it belongs to the model."""
    concurrency: int = Field(default=8, ge=1)
    min_concurrency: int = Field(default=1, ge=1)
    max_concurrency: int = Field(default=64, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    max_queue: int = 10_000
    read_s: float = 120.0
    deadline_s: float = 300.0
    price_prompt: float | None = None
    price_completion: float | None = None

    @model_validator(mode="after")
    def _model_named(self) -> JudgeConfig:
        if self.kind != "programmatic" and not self.model:
            raise ValueError(f"judge {self.name!r} of kind {self.kind!r} needs a model")
        return self


class DialectConfig(Section):
    """How requests of other trainers are answered."""

    rubric: str | None = None
    failure: Literal["error", "value"] = "error"
    """``error``: HTTP 503, so that the trainer tries again. ``value``: send ``fill`` instead of a score."""
    fill: float | None = None
    mode: Literal["score", "rank"] = "score"
    """``rank``: buffer single requests into cohorts of one prompt and answer with the rank reward."""
    cohort_size: int = Field(default=8, ge=2, le=128)
    cohort_wait_s: float = Field(default=10.0, gt=0)
    """How long the first member waits for the others; well below the timeout of the client (slime: 30 s)."""
    cohort_fallback: Literal["partial", "score", "unscored"] = "unscored"
    """For cohorts that stay incomplete: rank what came, score each on its own, or no reward."""
    open: bool = False
    """Serve these routes without a token: their clients cannot send one."""

    @model_validator(mode="after")
    def _fill_given(self) -> DialectConfig:
        if self.failure == "value" and self.fill is None:
            raise ValueError("dialects.failure is 'value'; say which with dialects.fill")
        return self


class JudgeServerConfig(Section):
    """The whole file."""

    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    token_file: str | None = None
    insecure: bool = False
    drain_timeout: float = Field(default=30.0, ge=0)
    deadline_s: float = Field(default=600.0, gt=0)
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    cache: str | None = None
    """File of the verdict cache; kept in memory when missing."""
    cache_bytes: int = Field(default=2**30, ge=2**16)
    log: str | None = None
    """Folder of the replay log."""
    log_bodies: bool = False
    jobs: str | None = None
    """Folder in which jobs survive a restart."""
    default: str | None = None
    audit: str | None = None
    audit_share: float = Field(default=0.0, ge=0, le=1)
    canary_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the scored items that bring a canary probe along: two calls that try to talk the judge into more."""
    allow_python: bool = False
    judge: list[JudgeConfig] = Field(default_factory=list)
    rubric: list[Rubric] = Field(default_factory=list)
    dialects: DialectConfig = Field(default_factory=DialectConfig)

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> JudgeServerConfig:
        """Read a TOML file; ``overrides`` that are not None win.

        Raises:
            ValueError: unreadable TOML, with the place; pydantic's error for wrong keys and values.
        """
        try:
            data = tomllib.loads(Path(path).read_text())
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not valid TOML: {error}") from error
        return cls.model_validate({**data, **{k: v for k, v in overrides.items() if v is not None}})


def build_service(
    config: JudgeServerConfig, tokens: Tokens, metrics: Metrics
) -> tuple[JudgeService, dict[str, AdaptiveLimiter]]:
    """The service a configuration describes, and the limiter of each endpoint."""
    rubrics = {rubric.id: rubric for rubric in config.rubric}
    limiters: dict[str, AdaptiveLimiter] = {}
    judges = [_judge(row, {**BUILTIN_RUBRICS, **rubrics}, limiters) for row in config.judge]
    audit = next((judge for judge in judges if judge.name == config.audit), None)
    if config.audit is not None and audit is None:
        raise ValueError(f"audit names judge {config.audit!r}, which is not configured")
    secrets = [*tokens.scopes, *(os.environ.get(row.api_key_env, "") for row in config.judge)]
    runtime = Runtime(
        cache=VerdictCache(config.cache or ":memory:", config.cache_bytes),
        log=ReplayLog(config.log, bodies=config.log_bodies, secrets=secrets) if config.log else None,
        observer=metrics,
    )
    service = JudgeService(
        judges, default=config.default, rubrics=rubrics, runtime=runtime, deadline_s=config.deadline_s, audit=audit,
        audit_share=config.audit_share, canary_share=config.canary_share, allow_python=config.allow_python,
    )  # fmt: skip
    return service, limiters


def _judge(row: JudgeConfig, rubrics: dict[str, Rubric], limiters: dict[str, AdaptiveLimiter]) -> Judge:
    rubric = None
    if row.rubric is not None:
        if row.rubric not in rubrics:
            raise ValueError(f"judge {row.name!r} names rubric {row.rubric!r}; known: {', '.join(sorted(rubrics))}")
        rubric = rubrics[row.rubric]
    if row.kind == "programmatic":
        return ProgrammaticJudge(row.name, rubric, row.strategy)
    if row.kind == "pair_model":
        from ..classify import PairModelJudge

        return PairModelJudge(row.name, str(row.model))
    if row.kind == "classify":
        from ..classify import ClassifyJudge

        return ClassifyJudge(row.name, str(row.model), base_url=str(row.base_url), threshold=row.threshold)
    if row.kind == "local":
        from ..local import LocalModel

        model: Any = LocalModel(str(row.model))
    else:
        endpoint = row.base_url or "default"
        limiter = limiters.get(endpoint)
        if limiter is None:  # one limiter an endpoint, whatever the number of judges behind it
            limiter = limiters[endpoint] = AdaptiveLimiter(
                start=row.concurrency, minimum=row.min_concurrency, maximum=max(row.max_concurrency, row.concurrency),
                requests_per_minute=row.requests_per_minute, tokens_per_minute=row.tokens_per_minute,
                max_queue=row.max_queue,
            )  # fmt: skip
        price = None
        if row.price_prompt is not None or row.price_completion is not None:
            price = Price(row.price_prompt or 0.0, row.price_completion or 0.0)
        model = OpenAIModel(
            str(row.model), base_url=row.base_url, api_key=os.environ.get(row.api_key_env) or None, limiter=limiter,
            read_s=row.read_s, deadline_s=row.deadline_s, price=price,
        )  # fmt: skip
    sampling = Sampling(temperature=row.temperature, max_tokens=row.max_tokens)
    judge = LLMJudge(
        row.name, model, revision=row.revision, sampling=sampling, structured=row.structured, graded=row.graded,
        char_budget=row.char_budget, overlong=row.overlong, min_chars=row.min_chars,
        on_model_change=row.on_model_change,
    )  # fmt: skip
    judge.rubric, judge.threshold = rubric, row.threshold  # type: ignore[attr-defined]
    return judge
