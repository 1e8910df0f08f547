"""The run file: strict sections with vetted defaults, loaded from TOML, checked without torch.

An unknown key fails with the nearest known one. `resolve` gives the full configuration that is stored with the run.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..names import suggestion


class ConfigError(ValueError):
    """The run file cannot be used; the message names the key, its value and the fix."""


class Section(BaseModel):
    """Base of all sections: strict about names, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyConfig(Section):
    """Whose weights are trained."""

    model: str = "tiny"
    """``tiny``, a Hugging Face folder, or a Hugging Face id."""
    layers: int = Field(default=2, ge=1)
    """Layers of the tiny model; this and the next four are ignored for other models."""
    hidden: int = Field(default=64, ge=8)
    heads: int = Field(default=2, ge=1)
    mlp: int = Field(default=0, ge=0)
    characters: str = ""
    """Alphabet of the tiny tokenizer; empty = printable ASCII."""
    dtype: Literal["auto", "float32", "mixed", "bfloat16"] = "auto"
    """mixed = weights in float32, computing in bfloat16; auto = float32 on CPU, mixed on a GPU. With bfloat16 weights a
    step that moves a weight by less than 1/512 of it is lost, unless ``train.optimiser`` rounds at random."""
    device: str = "auto"
    lora_rank: int = Field(default=0, ge=0)
    """0 trains all weights; otherwise low-rank adapters on every projection, merged into checkpoints."""
    lora_alpha: float = Field(default=32.0, gt=0)


class EnvConfig(Section):
    """Where tasks come from."""

    id: str
    args: dict[str, Any] = Field(default_factory=dict)
    """Knobs and settings handed to ``palaestra.make``."""
    url: str = ""
    """Environment server to play on (`palaestra serve envs`); empty = in this process."""
    token: str = Field(default="", repr=False)
    """The server's bearer token."""
    split: bool = True
    """Train on the environment's ``train`` split and evaluate on its ``test`` split."""
    seed: int = 0
    """First task seed."""


class RolloutConfig(Section):
    """How attempts are sampled."""

    engine: Literal["native", "hf", "vllm", "vllm_http"] = "native"
    """native decodes with the learner's own weights; hf is the fallback for other architectures; vllm copies them into
    vLLM in this process, vllm_http into a running vLLM server."""
    compile: bool = False
    """native only: compile the parts of a layer between its attentions with torch.compile; for a GPU, where it makes
    fewer and larger kernels (half a minute at the start)."""
    url: str = ""
    """Address of the server, for vllm_http."""
    transfer: str = ""
    """Folder that the server sees too, for handing over weights; empty = a temporary one on this machine."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of vllm.LLM, for engine vllm."""
    probe_tolerance: float = Field(default=0.0, ge=0)
    """Largest log-prob difference between vLLM and learner after an update; 0 = 1e-4 in float32, 0.2 otherwise."""
    group_size: int = Field(default=8, ge=1)
    prompts_per_step: int = Field(default=16, ge=1)
    max_new_tokens: int = Field(default=64, ge=1)
    """Cap on sampled tokens of one turn."""
    temperature: float = Field(default=1.0, gt=0)
    max_turns: int = Field(default=32, ge=1)
    max_context: int = Field(default=4096, ge=2)
    """Cap on prompt plus completion of one turn; a rollout that would pass it is cut off."""
    step_timeout: float = Field(default=60.0, gt=0)
    """Seconds an environment may take for one step before its rollout is given up, unscored."""
    max_staleness: int = Field(default=0, ge=0)
    """Most optimiser versions that a group may be old when it is trained on. 0 = sample, then train, bit-reproducibly;
    n > 0 = sample beside training, with truncated importance sampling unless objective.correction says otherwise."""
    on_template_rewrite: Literal["branch", "append"] = "branch"
    """What to do when the chat template rewrites history: start a new training sample, or keep appending."""


class ObjectiveConfig(Section):
    """Which method, by its registry name; every other key is a parameter of that method."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "grpo"

    @property
    def params(self) -> dict[str, Any]:
        """The method's own parameters."""
        return dict(self.model_extra or {})


class JudgeConfig(Section):
    """The judge server, for objectives that need clusters or ranks, or for rewards that judges give."""

    url: str = ""
    """Base URL. Empty = use what the environment says about its solutions."""
    token: str = Field(default="", repr=False)
    scope: Literal["answer", "semantic", "strategy"] = "answer"
    method: str = "auto"
    reward: bool = False
    """Replace the environment's reward by the judge's ``/v1/score``."""
    judge: str = ""
    """Name of the judge to ask; empty = the server's default."""
    timeout: float = Field(default=60.0, gt=0)
    on_failure: Literal["stop", "unscored"] = "stop"
    """stop = end the run with the step saved; unscored = the groups train nothing and are counted."""


class WarmupConfig(Section):
    """Supervised warm start on solutions that the environment generates; 0 steps switches it off."""

    steps: int = Field(default=0, ge=0)
    """Most steps."""
    target: float = Field(default=0.4, ge=0, le=1)
    """Stop at the first check whose pass@1 on held-out tasks reaches this."""
    check_every: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=5, ge=0)
    tasks: int = Field(default=256, ge=1)
    """Held-out tasks of a check."""
    weight_decay: float = Field(default=0.0, ge=0)


class TrainConfig(Section):
    """Optimisation."""

    steps: int = Field(default=100, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    final_lr: float = Field(default=0.1, ge=0, le=1)
    """Share of the learning rate that linear decay ends at; 1 = constant."""
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    max_grad_norm: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=1, ge=1)
    """Passes over each step's rollouts."""
    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps in one pass."""
    token_budget: int = Field(default=16384, ge=64)
    """Padded tokens of one micro-batch; lower it when memory runs out."""
    head_chunk: int = Field(default=1024, ge=16)
    """Positions whose logits exist at once, for large vocabularies."""
    gradient_checkpointing: bool = False
    """Keep the input of each layer only and compute the rest again; on a CPU it switches shared prompts off."""
    compile: bool = False
    """Compile the parts of a layer between its attentions with torch.compile (minutes at the start; needs a C++
    compiler on CPU). Rounding differs from an uncompiled run."""
    optimiser: Literal["adamw", "adamw8bit"] = "adamw"
    """adamw8bit keeps both moments in 8 bits (package torchao), and rounds bfloat16 weights at random, so that small
    steps count on average."""
    shared_prefix: bool = True
    """Encode each prompt once for its whole group (exact)."""
    rehearsal_tasks: int = Field(default=256, ge=1)
    """Tasks that objectives with rehearsal try under the initial policy to find what it has mastered."""
    max_ratio: float = Field(default=1e4, gt=1)
    """An optimiser step whose importance ratio passes this is skipped and counted."""
    max_bad_steps: int = Field(default=10, ge=1)
    """Stop after so many skipped optimiser steps in a row."""
    checkpoint_every: int = Field(default=50, ge=1)
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints kept."""
    keep_every: int = Field(default=0, ge=0)
    """Checkpoints of steps that this divides are kept for good; 0 = none."""
    keep_best: bool = False
    """Keep the checkpoint with the best evaluation (pass@1, else reward) too."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch; 0 leaves them alone. Part of a run's identity: another count changes rounding."""


class EvalConfig(Section):
    """Evaluation on held-out tasks."""

    every: int = Field(default=0, ge=0)
    """Steps between evaluations; 0 = only before and after training."""
    tasks: int = Field(default=128, ge=1)
    samples: int = Field(default=8, ge=1)
    pass_at: tuple[int, ...] = (1,)
    greedy: bool = True
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    success: float = 1.0
    """A rollout whose reward reaches this is right."""
    start: bool = True
    """Evaluate before the first step too."""

    @model_validator(mode="after")
    def _enough_samples(self) -> EvalConfig:
        if self.pass_at and max(self.pass_at) > self.samples:
            raise ValueError(f"pass_at asks for {max(self.pass_at)} of {self.samples} samples; raise eval.samples")
        return self


class LogConfig(Section):
    """What a run writes besides metrics.jsonl."""

    tensorboard: bool = True
    rollouts: int = Field(default=4, ge=0)
    """Groups a step whose rollouts are written to rollouts/; 0 writes none."""
    rollouts_every: int = Field(default=1, ge=1)
    wandb: str = ""
    """Project name; empty = off. Needs the wandb package."""
    trackio: str = ""
    peak_flops: float = Field(default=0.0, ge=0)
    """Peak of matrix products in operations a second that utilisation is reported against; 0 = measure at the start."""


class RunConfig(Section):
    """A whole run file."""

    seed: int = 0
    out: str = ""
    """Run folder; empty = runs/ENV-OBJECTIVE-SEED."""
    policy: PolicyConfig = PolicyConfig()
    env: EnvConfig
    rollout: RolloutConfig = RolloutConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    judge: JudgeConfig = JudgeConfig()
    warmup: WarmupConfig = WarmupConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    log: LogConfig = LogConfig()

    @field_validator("env", mode="before")
    @classmethod
    def _env_by_name(cls, env: Any) -> Any:
        return {"id": env} if isinstance(env, str) else env

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        if self.out:
            return Path(self.out)
        name = self.env.id.split("/")[-1].split("-v")[0].lower()
        return Path("runs") / f"{name}-{self.objective.name}-{self.seed}"


def load_config(source: str | Path | Mapping[str, Any] | RunConfig, overrides: Iterable[str] = ()) -> RunConfig:
    """Read and check a run file.

    Args:
        source: a TOML path, a mapping of its sections, or a configuration.
        overrides: ``a.b=c`` settings; the value is read as TOML, or as text when it is not TOML.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is wrong.

    Example:
        >>> load_config({"env": {"id": "palaestra/Sort-v0"}}, ["train.steps=3"]).train.steps
        3
    """
    if isinstance(source, RunConfig):
        data = source.model_dump()
    elif isinstance(source, Mapping):
        data = json.loads(json.dumps(source))
    else:
        try:
            data = tomllib.loads(Path(source).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the run file {str(source)!r}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source} is not valid TOML: {error}") from None
    for item in overrides:
        _override(data, item)
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item) for item in error.errors())) from None


def _override(data: dict[str, Any], item: str) -> None:
    key, equals, text = item.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {item!r}: write it as section.key=value")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in path[:-1]:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {item!r}: {part!r} is a value and has no keys")
    data[path[-1]] = value


def _explain(item: Any) -> str:
    where = [str(part) for part in item["loc"]]
    key = ".".join(where)
    if item["type"] == "extra_forbidden":
        section: Any = RunConfig
        for part in where[:-1]:
            section = section.model_fields[part].annotation
        hint = suggestion(where[-1], section.model_fields, f"known: {', '.join(section.model_fields)}")
        return f"unknown key {key!r}; {hint}"
    if item["type"] == "missing":
        return f"{key} is missing; add it to the run file"
    return f"{key} = {item.get('input')!r}: {item['msg']}"


def to_toml(config: RunConfig) -> str:
    """The whole configuration as TOML, every default written out; tokens are left out."""
    data = config.model_dump(mode="json", exclude={"judge": {"token"}, "env": {"token"}})
    lines = [f"{key} = {_toml(value)}" for key, value in data.items() if not isinstance(value, dict)]
    for name, section in data.items():
        if isinstance(section, dict):
            lines += [
                "",
                f"[{name}]",
                *(f"{key} = {_toml(value)}" for key, value in section.items() if value is not None),
            ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)  # TOML's strings, numbers and booleans are written like JSON's
