"""The training loop: tasks -> rollouts -> judges -> objective -> optimiser -> engine. It knows no method by name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import checkpoint as ckpt
from . import snapshot
from .allocator import keep_freed_memory
from .balance import Balanced
from .batcher import Batcher
from .chat import ChatFormat
from .config import RunConfig
from .decide import decide, describe_rollouts, gather
from .direct import direct_step, first_prompts
from .engines import make_engine
from .engines.base import SamplingParams
from .engines.sampling import seed_of
from .evaluation import EvalReport, Evaluator
from .events import Callback, Event, RunResult
from .interrupts import Interrupts
from .judging import Judging, Verdicts
from .learner import Learner, Unstable
from .measuring import measured, probed
from .objectives import registry
from .objectives.types import RolloutBatch
from .policy import Policy, load_policy
from .records import training_record
from .rehearsal import Rehearsal
from .rollout import Play, RolloutWorker
from .rows import Row
from .runfolder import RunFolder
from .speed import Speed
from .staleness import staleness
from .tasks import TaskRef, TaskSource
from .warmup import warm_up


class Trainer:
    """One run, step by step.

    Args:
        config: the resolved configuration.
        folder: where it writes.
        callbacks: told about every event.
        factory: makes environments; by default ``palaestra.make``.
        judge_client: talks to judges; by default a client for ``judge.url``.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        callbacks: Iterable[Callback] = (),
        factory: Callable[[], Any] | None = None,
        judge_client: Any = None,
    ) -> None:
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.config = config
        self.folder = folder
        self.callbacks = tuple(callbacks)
        self.objective = registry.get(config.objective.name, config.objective.params)
        self.judging = Judging(config.judge, self.objective, judge_client)
        self.source = TaskSource(config.env, factory)
        self.balanced = Balanced(self.source) if self.objective.balance_task_types else None
        self.interrupts = Interrupts()
        self.step = 0
        self.cursor = 0
        self.memory: dict[str, Any] = {}
        self.evals: dict[int, EvalReport] = {}
        self.warmup: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}
        self.policy: Policy
        self.learner: Learner
        self.engine: Any = None
        self.sampler: Any = None
        self.rehearsal: Rehearsal | None = None

    # ---- set-up ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Load or restore the policy, warm it up if this is a new run, and make engine and learner."""
        ckpt.recover(self.folder.checkpoints)
        found = ckpt.latest(self.folder.checkpoints)
        settings = self.config.policy
        if found is not None and not settings.lora_rank:
            settings = settings.model_copy(update={"model": str(found.folder)})
        self.policy = load_policy(settings, seed=self.config.seed)
        self.chat = ChatFormat(
            self.policy.tokenizer, self.policy.end_ids, on_rewrite=self.config.rollout.on_template_rewrite
        )
        if self.policy.device.type == "cpu":
            keep_freed_memory()
        self.speed = Speed.of(self.policy, self.config.log.peak_flops)
        self.engine = self._engine_for(self.policy)
        self.worker = RolloutWorker(
            self.source, self.chat, self.config.rollout, self.config.seed, prompt=self.objective.prompt
        )
        self.evaluator = self._evaluator(self.config.eval)
        if found is None:
            self.folder.start(-1)
            self._emit("start", message=f"new run in {self.folder.path}")
            if self.config.warmup.steps:
                with self.interrupts.safe():
                    self.warmup = self._warm_up()
            self._make_learner()
            with self.interrupts.safe():
                self._prepare_rehearsal()
            self.save()
        else:
            self._make_learner()
            snapshot.restore(self, found)
            self._prepare_rehearsal()
            self.folder.start(self.step)
            self._emit("start", message=f"resumed {self.folder.path} at step {self.step}")

    def _engine_for(self, policy: Policy) -> Any:
        return make_engine(self.config.rollout, policy)

    def _evaluator(self, config: Any) -> Evaluator:
        return Evaluator(
            self.source,
            self.chat,
            self.config.rollout,
            config,
            self.config.seed,
            self.policy.end_ids,
            prompt=self.objective.prompt,
        )

    def _new_learner(self) -> Learner:
        return Learner(self.policy, self.objective, self.config.train, self.config.rollout.temperature)

    def _make_learner(self) -> None:
        self.learner = self._new_learner()
        self.learner.length_cap = self.config.rollout.max_new_tokens

        initial = self.learner.teachers.initial
        if self.objective.sampling == "initial" and initial is not None:
            frozen = Policy(initial.model, self.policy.tokenizer, self.policy.end_ids)
            self.sampler = make_engine(self.config.rollout, frozen)
        else:
            self.sampler = self.engine

    def _prepare_rehearsal(self) -> None:
        spec, path = self.objective.rehearsal, self.folder.path / "rehearsal.json"
        if spec is None:
            return
        if path.exists():
            self.rehearsal = Rehearsal.load(spec, path, self.config.seed)
            return
        pool, _ = self.source.take("train", self.config.train.rehearsal_tasks)

        def sample(refs: Any, count: int, stamp: int) -> list[Play]:
            return self.worker.play(refs, count, Batcher(self.engine, self._sampling()), stamp, name="rehearsal")

        self.rehearsal = Rehearsal.collect(spec, pool, sample, self.config.seed)
        self.rehearsal.save(path)
        kept, mastered = len(self.rehearsal.rows), len(self.rehearsal.mastered)
        self._emit("start", message=f"rehearsal: {mastered} of {len(pool)} tasks mastered, {kept} rollouts stored")

    def _sampling(self) -> SamplingParams:
        rollout = self.config.rollout
        return SamplingParams(
            max_new_tokens=rollout.max_new_tokens, temperature=rollout.temperature, stop_ids=self.policy.end_ids
        )

    def _warm_up(self) -> list[dict[str, Any]]:
        check = self.config.eval.model_copy(
            update={"tasks": self.config.warmup.tasks, "samples": 1, "pass_at": (1,), "greedy": False}
        )
        total = self.config.warmup.steps
        return warm_up(
            self.policy,
            self.config,
            self.source,
            self.chat,
            self.engine,
            self._evaluator(check),
            prompt=self.objective.prompt,
            progress=lambda record: self._emit("warmup", record, step=record["warmup_step"], total=total),
        )

    # ---- state -------------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write a checkpoint of the current step."""
        path = snapshot.save(self)
        self._emit("checkpoint", message=str(path))
        return path

    def position(self) -> dict[str, Any]:
        """Which tasks come next."""
        return {"cursor": self.cursor}

    def restore_position(self, state: dict[str, Any]) -> None:
        """The inverse of `position`."""
        self.cursor = state["cursor"]

    # ---- one step ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until all steps are done, evaluating and saving on the way."""
        config = self.config
        if config.eval.start and 0 not in self.evals and self.step == 0:
            self.evaluate()
        while self.step < config.train.steps and not self._target_reached():
            self.train_step()
            due = config.eval.every and self.step % config.eval.every == 0
            if due and self.step < config.train.steps:
                self.evaluate()
            if self.step % config.train.checkpoint_every == 0 and self.step < config.train.steps:
                self.save()
        if self.step not in self.evals and config.train.steps:
            self.evaluate()
        self.save()

    def _target_reached(self) -> bool:
        goal = self.objective.stop_reward
        return goal is not None and self.memory.get("best_reward", -float("inf")) >= goal

    def train_step(self) -> dict[str, Any]:
        """One step: sample, judge, decide, optimise, hand the engine its new weights."""
        if self.objective.direct is not None:
            return self._direct_step()
        clock = time.perf_counter()
        with self.interrupts.safe():  # nothing of the run's state changes before the optimiser moves
            plays, verdicts, cursor, sampling = self._collect(self.cursor)
            sampled = time.perf_counter()
            batch, rows, decided, memory = self._decide(plays, verdicts)
            rounds = 1
            while self._wants_more(rows, rounds):
                more, extra, cursor, seconds = self._collect(cursor, rounds)
                plays, sampling, rounds = [*plays, *more], sampling + seconds, rounds + 1
                verdicts = verdicts.joined(extra)
                batch, rows, decided, memory = self._decide(plays, verdicts)
        judged = time.perf_counter()
        stored = self.rehearsal.chunk(self.step) if self.rehearsal is not None else []
        order = seed_of(self.config.seed, 2, self.step)
        learned = self.learner.train(rows, self.step, order, stored) if rows or stored else {}
        learned |= staleness(rows, self.step)
        trained = time.perf_counter()
        self._advance(cursor, memory)
        receipt = self.engine.update_weights(self.policy.model, self.step)
        if batch.scored_B.any():
            best = float(batch.rewards_B[batch.scored_B].max())
            self.memory["best_reward"] = max(best, self.memory.get("best_reward", best))
        done = time.perf_counter()
        metrics = {
            **describe_rollouts(batch),
            **self._first_success(batch),
            **decided,
            **learned,
            **verdicts.metrics(),
            "sampling_rounds": float(rounds),
            "version": float(self.engine.version),
            "time/rollout": sampled - clock - verdicts.seconds,
            "time/sampling": sampling,
            "time/judge": verdicts.seconds,
            "time/decide": judged - sampled,
            "time/train": trained - judged,
            "time/update": receipt.ms / 1e3,
            "time/step": done - clock,
            **self._feed_metrics(),
        }
        metrics |= self.speed.metrics(metrics, self.policy.device)
        self.last = metrics
        self.folder.metrics(self.step, metrics)
        self.folder.rollouts(self.step, plays, training_record(batch, rows))
        self.folder.judgements(self.step, plays, verdicts.answers)
        self._emit("step", metrics)
        return metrics

    def _direct_step(self) -> dict[str, Any]:
        """A step of an objective that samples by itself; there are no rollouts to judge or to keep."""
        clock, rollout = time.perf_counter(), self.config.rollout
        with self.interrupts.safe():
            refs, cursor = self._next_tasks(rollout.prompts_per_step, self.cursor)
            prompts = first_prompts(self.source, self.chat, refs, self.objective.prompt)
        seed = seed_of(self.config.seed, 2, self.step)
        learned = direct_step(self.learner, prompts, self.step, seed, rollout.max_new_tokens)
        self.step, self.cursor = self.step + 1, cursor
        self.engine.update_weights(self.policy.model, self.step)
        metrics = {**learned, "version": float(self.engine.version), "time/step": time.perf_counter() - clock}
        self.last = metrics
        self.folder.metrics(self.step, metrics)
        self._emit("step", metrics)
        return metrics

    def _first_success(self, batch: RolloutBatch) -> dict[str, float]:
        """Which rollout of the step, from 1, was the first to reach the reward at which training ends."""
        goal = self.objective.stop_reward
        if goal is None or not (batch.rewards_B >= goal).any():
            return {}
        return {"first_success": float(np.argmax(batch.rewards_B >= goal) + 1)}

    def _advance(self, cursor: int, memory: dict[str, Any]) -> None:
        """The optimiser has moved: the step is done."""
        self.step, self.cursor, self.memory = self.step + 1, cursor, memory

    def _feed_metrics(self) -> dict[str, float]:
        return {}

    def _collect(self, cursor: int, again: int = 0) -> tuple[list[Play], Verdicts, int, float]:
        """Played and judged groups, the cursor after them, and the seconds the engine worked."""
        rollout = self.config.rollout
        refs, cursor = self._next_tasks(rollout.prompts_per_step, cursor)
        batcher = Batcher(self.sampler, self._sampling())
        stamp = seed_of(self.step, again) if again else self.step
        name = f"s{self.step + 1}" + (f"r{again}" if again else "")
        plays = self.worker.play(refs, rollout.group_size, batcher, stamp, name=name)
        return plays, self.judging.judge(plays), cursor, batcher.sampling_seconds

    def _next_tasks(self, count: int, cursor: int) -> tuple[list[TaskRef], int]:
        """The next training tasks; those the initial policy had mastered are left to rehearsal."""
        skip: set[int] = set()
        if self.rehearsal is not None and self.rehearsal.spec.split_tasks:
            skip = self.rehearsal.mastered
        if self.balanced is not None:
            return self.balanced.take(count, cursor, self.step, skip)
        refs: list[TaskRef] = []
        while len(refs) < count:
            found, cursor = self.source.take("train", count - len(refs), cursor)
            refs += [ref for ref in found if ref.seed not in skip]
        return refs, cursor

    def _decide(self, plays: list[Play], verdicts: Verdicts) -> tuple[RolloutBatch, list[Row], dict[str, float], Any]:
        batch, samples = gather(plays, verdicts, self.config.rollout.max_new_tokens)
        batch = probed(batch, plays, self.objective, self.engine, self.chat, self.config.env.id)
        batch = measured(batch, samples, self.objective, self.learner)
        memory = json.loads(json.dumps(self.memory))
        rows, decided = decide(self.objective, batch, samples, memory, self.chat.first_of)
        return batch, rows, decided, memory

    def _wants_more(self, rows: list[Row], rounds: int) -> bool:
        """Whether filters left fewer groups than a step wants, and the objective may sample again."""
        refill = self.objective.refill
        if refill is None or len({row.group for row in rows}) >= self.config.rollout.prompts_per_step:
            return False
        if not refill.max_batches or rounds < refill.max_batches:
            return True
        if refill.then == "raise":
            raise Unstable(
                f"{rounds} batches of rollouts left too few groups to train on; tasks are too easy or too hard"
            )
        return False

    def evaluate(self) -> EvalReport:
        """Evaluate on held-out tasks and record it."""
        with self.interrupts.safe():
            report = self.evaluator.run(self.engine, self.step, self.config.policy.model)
        self.evals[self.step] = report
        self.folder.evaluation(self.step, report)
        self.folder.metrics(self.step, report.summary())
        self._emit("eval", report.summary(), report=report)
        return report

    def _emit(self, kind: Any, metrics: dict[str, Any] | None = None, **fields: Any) -> None:
        step, total = fields.pop("step", self.step), fields.pop("total", self.config.train.steps)
        event = Event(kind, step, total, metrics or {}, **fields)
        for callback in self.callbacks:
            callback(event)

    def result(self, stopped: str | None = None, interrupted: int | None = None) -> RunResult:
        """What the run has come to."""
        found = ckpt.latest(self.folder.checkpoints)
        first = min(self.evals, default=None)
        last = max(self.evals, default=None)
        return RunResult(
            folder=self.folder.path,
            checkpoint=found.folder if found else None,
            steps=self.step,
            before=self.evals[first] if first == 0 else None,
            after=self.evals[last] if last is not None and last > 0 else None,
            evals=dict(sorted(self.evals.items())),
            warmup=tuple(self.warmup),
            metrics=self.last,
            stopped=stopped,
            interrupted=interrupted,
        )

    def close(self) -> None:
        """Release engine, environments, judge connections and the folder."""
        for part in (self.engine, self.source, self.judging, self.folder):
            if part is not None:
                part.close()
