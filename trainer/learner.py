"""The learner: scores rows, takes optimiser steps on whatever loss the objective computes.

Normalisers are counts of the whole step, so any split into micro-batches gives one gradient. Rows without advantage
are left out of the forward pass where they cannot matter, and stay in the counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import shards
from .config import TrainConfig
from .forward import Forward
from .head import HeadOutput, LinearLogits, head
from .objectives.types import Normaliser, Objective, TokenBatch
from .optimiser import make_optimiser, set_learning_rate
from .plan import plan, work
from .policy import Policy
from .rows import Collated, Row, collate
from .step_metrics import StepMetrics
from .teachers import Teachers


class Unstable(RuntimeError):
    """Too many optimiser steps in a row had to be skipped."""


class Learner:
    """Owns the optimiser.

    Args:
        policy: the trained model.
        objective: what is optimised.
        config: the [train] section.
        temperature: sampling temperature; probabilities are compared at it.
        teachers: other weights the objective needs.
    """

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        config: TrainConfig,
        temperature: float,
        teachers: Teachers | None = None,
    ) -> None:
        self.policy = policy
        self.objective = objective
        self.config = config
        self.temperature = temperature
        self.teachers = teachers or Teachers(policy.model, objective, config)
        self.forward = Forward(
            policy.model,
            shared_prefix=config.shared_prefix,
            compiled=config.compile,
            checkpointed=config.gradient_checkpointing,
        )
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimizer = make_optimiser(self.parameters, config)
        self.bad_in_a_row = 0
        self.length_cap = 0

    # ---- what checkpoints hold ---------------------------------------------------------------------------------

    write_shards: Callable[[Path], None] | None = None
    """Makes all processes write their parts of the optimiser; None where one process holds it whole."""

    def load_optimiser(self, state: dict[str, Any]) -> None:
        """Take the state of an optimiser that one process held whole."""
        self.optimizer.load_state_dict(state)

    def read_shards(self, folder: Path) -> None:
        """Take the state of an optimiser from what several processes wrote."""
        shards.load_optimiser(folder, self.policy.model, self.optimizer)

    def load_teachers(self, state: dict[str, Any]) -> None:
        """Restore reference and teacher weights."""
        self.teachers.load_state_dict(state)

    # ---- training ----------------------------------------------------------------------------------------------

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return self.policy.device

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then linear decay; a function of the step alone, so a resumed run agrees."""
        config = self.config
        if step < config.warmup_steps:
            return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
        span = max(config.steps - config.warmup_steps, 1)
        done = min(1.0, (step - config.warmup_steps) / span)
        return config.learning_rate * (1 - (1 - config.final_lr) * done)

    @property
    def skips_zero_advantage(self) -> bool:
        """Whether a row of advantage 0 has no gradient under this objective."""
        o = self.objective
        return o.uses_rewards and o.teacher is None and not o.regularisers and "entropy" not in o.needs

    def batches(self, rows: Sequence[Row], *, teacher: bool = False) -> list[list[int]]:
        """Micro-batches of row indices."""
        contexts = [row.teacher_context if teacher else row.context for row in rows]
        shared = self.forward.decoder is not None
        return plan(contexts, [len(row.sample) for row in rows], self.config.token_budget, shared=shared)

    @torch.no_grad()
    def entropies(self, rows: list[Row], name: str) -> None:
        """Compute the exact entropy (nats, temperature 1) of every position and keep it as ``row.scores[name]``."""
        for batch in self.batches(rows):
            collated = collate([rows[i] for i in batch], self.device)
            out = self._head(self.forward, collated, entropy=True, temperature=1.0)
            assert out.entropy_N is not None
            self._store(collated, out.entropy_N, name)

    @torch.no_grad()
    def score(
        self, rows: list[Row], name: str, *, forward: Forward | None = None, temperature: float | None = None
    ) -> None:
        """Compute log-probabilities of rows without gradient and keep them as ``row.scores[name]``."""
        forward = forward or self.forward
        for batch in self.batches(rows):
            collated = collate([rows[i] for i in batch], self.device)
            out = self._head(forward, collated, temperature=temperature)
            self._store(collated, out.logp_N, name)

    def train(self, rows: list[Row], step: int, seed: int = 0, rehearsal: Sequence[Row] = ()) -> dict[str, float]:
        """Take this step's optimiser steps.

        Args:
            rows: all rows that stay in the loss; every one counts in the normaliser.
            step: training step, for the schedule.
            seed: order of mini-batches.
            rehearsal: stored rows, added to every optimiser step with a loss and a normaliser of their own.

        Returns:
            Metrics of the step.

        Raises:
            Unstable: too many optimiser steps in a row were not finite or their ratio exploded.
        """
        config, metrics = self.config, StepMetrics()
        set_learning_rate(self.optimizer, self.learning_rate(step))
        if config.minibatches > 1:  # later mini-batches see weights that moved: the old policy is scored first
            self.score(rows, "old")
        self.teachers.prepare(self, rows)
        steps_taken = skipped = rehearsed = 0
        stored = StepMetrics()
        norms: list[float] = []
        shuffle = np.random.default_rng(seed)
        for epoch in range(config.epochs):
            for part in self._minibatches(rows, shuffle):
                rehearsed += self._rehearse(rehearsal, stored)
                norm_value = self._optimiser_step(part, metrics, first=epoch == 0, more=bool(rehearsal))
                if norm_value is None:
                    skipped += 1
                elif norm_value > 0:
                    steps_taken += 1
                    norms.append(norm_value)
                    self.teachers.after_step(step)
        self.teachers.after_batch(step, moved=bool(norms))
        if rows and not metrics.sums.get("_first_tokens"):
            self._look(rows, metrics)
        tokens = sum(row.tokens for row in rows)
        out = metrics.summary(tokens, config.epochs, config.epochs * config.minibatches)
        out |= {key: value / max(rehearsed, 1) for key, value in stored.sums.items()}
        out["grad_norm"] = float(np.mean(norms)) if norms else 0.0
        out["learning_rate"] = self.learning_rate(step)
        out["optimiser_steps"], out["skipped_steps"] = float(steps_taken), float(skipped)
        return out

    @torch.no_grad()
    def _look(self, rows: list[Row], metrics: StepMetrics) -> None:
        """Compare engine and learner on one micro-batch of a step in which nothing was trained."""
        collated = collate([rows[i] for i in self.batches(rows)[0]], self.device)
        old_BT = collated.scatter(self._head(self.forward, collated).logp_N)
        metrics.add_mismatch(old_BT, collated.roll_BT, collated.mask_BT)

    def _minibatches(self, rows: list[Row], shuffle: np.random.Generator) -> list[list[Row]]:
        """Whole groups, dealt into `minibatches` parts."""
        count = self.config.minibatches
        if count == 1 or not rows:
            return [rows]
        groups = sorted({row.group for row in rows})
        order = shuffle.permutation(len(groups))
        owner = {groups[g]: position % count for position, g in enumerate(order)}
        return [part for k in range(count) if (part := [row for row in rows if owner[row.group] == k])]

    def _rehearse(self, rows: Sequence[Row], metrics: StepMetrics) -> int:
        """Add the gradient of the stored rows; how many tokens they have."""
        spec = self.objective.rehearsal
        if spec is None or not rows:
            return 0
        tokens = sum(row.tokens for row in rows)
        norm = Normaliser(float(tokens), float(len(rows)), float(self.max_length(rows)))
        for batch in self.batches(rows):
            collated = collate([rows[i] for i in batch], self.device)
            logp_BT = collated.scatter(self._head(self.forward, collated).logp_N)
            reference_BT = collated.field("reference")
            loss, values = spec.loss(
                TokenBatch(
                    logp_BT=logp_BT,
                    logp_old_BT=logp_BT.detach(),
                    logp_roll_BT=reference_BT,
                    advantages_BT=torch.zeros_like(reference_BT),
                    mask_BT=collated.mask_BT,
                    norm=norm,
                    logp_ref_BT=reference_BT,
                )
            )
            metrics.add(values)
            loss.backward()
        return tokens

    def _optimiser_step(
        self, rows: list[Row], metrics: StepMetrics, *, first: bool, more: bool = False
    ) -> float | None:
        """One update; its gradient norm, 0 when no row had a gradient, None when it was skipped as unsound."""
        norm = Normaliser(
            tokens=float(sum(row.tokens for row in rows)),
            sequences=float(len(rows)),
            max_length=float(self.max_length(rows)),
            teacher_tokens=float(sum(row.tokens for row in rows if row.taught)) if self.objective.teacher else None,
        )
        live = [row for row in rows if not self.skips_zero_advantage or np.any(row.advantage_T)]
        metrics.add({"_trained_tokens": sum(row.tokens for row in live)})
        if not live and not more:
            return 0.0
        largest = 0.0
        total, metrics = metrics, StepMetrics()
        for batch, counts in self._work(self.batches(live) if live else []):
            collated = collate([live[i] for i in batch], self.device)
            seen = metrics if counts else StepMetrics()
            done = work(
                [row.context for row in collated.rows],
                [len(row.sample) for row in collated.rows],
                shared=self.forward.decoder is not None,
            )
            seen.add({"_positions": done.positions, "_attended": done.attended, "_scored": len(collated.targets_N)})
            token_batch = self._token_batch(collated, norm, seen, first=first)
            loss, values = self.objective.loss(token_batch)
            seen.add(values)
            for term in self.objective.regularisers:
                extra, values = term(token_batch)
                loss = loss + extra
                seen.add(values)
            self._backward(loss if counts else loss * 0)
            if not counts:
                continue
            with torch.no_grad():
                gap = ((token_batch.logp_BT - token_batch.logp_old_BT).abs() * token_batch.mask_BT).max()
                largest = max(largest, float(gap)) if torch.isfinite(gap) else math.inf
            metrics.add({"_loss": loss.detach()})
        largest = self._combine(metrics, largest)
        total.add(metrics.sums)
        return self.apply(largest, total)

    def _work(self, batches: list[list[int]]) -> Iterator[tuple[list[int], bool]]:
        """The micro-batches to run here, and whether each counts; several processes divide them."""
        for batch in batches:
            yield batch, True

    def _backward(self, loss: Tensor) -> None:
        loss.backward()

    def _combine(self, metrics: StepMetrics, largest: float) -> float:
        """Join sums over processes in place; the largest log-ratio of all."""
        return largest

    def apply(self, largest: float, metrics: StepMetrics) -> float | None:
        """Clip the gathered gradient and step; its norm, or None when the step was unsound and skipped."""
        norm: Any = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        grad_norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        metrics.add({"_max_log_ratio": largest})
        sound = math.isfinite(grad_norm) and largest <= math.log(self.config.max_ratio)
        if sound:
            self.optimizer.step()
            self.bad_in_a_row = 0
        else:
            self.bad_in_a_row += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.bad_in_a_row >= self.config.max_bad_steps:
            raise Unstable(
                f"{self.bad_in_a_row} optimiser steps in a row were skipped (gradient norm {grad_norm:.3g}, largest "
                f"importance ratio e^{largest:.3g}); lower train.learning_rate or train.epochs, or resume from an "
                "earlier checkpoint"
            )
        return grad_norm if sound else None

    def max_length(self, rows: Sequence[Row]) -> int:
        """The constant divisor of length-normalised losses; set by the loop to the run's cap."""
        return self.length_cap or max((len(row.sample) for row in rows), default=1)

    def _head(
        self,
        forward: Forward,
        collated: Collated,
        *,
        entropy: bool = False,
        top_k: int = 0,
        support_NK: Tensor | None = None,
        temperature: float | None = None,
    ) -> HeadOutput:
        hidden = forward.hidden(collated.prompts, collated.index, collated.ids)
        flat = hidden.flatten(0, 1).index_select(0, collated.flat_N)
        at = self.temperature if temperature is None else temperature
        return head(
            LinearLogits(flat, forward.head_weight, at),
            collated.targets_N,
            chunk=self.config.head_chunk,
            compiled=self.config.compile,
            entropy=entropy,
            top_k=top_k,
            support_NK=support_NK,
        )

    def _token_batch(self, collated: Collated, norm: Normaliser, metrics: StepMetrics, *, first: bool) -> TokenBatch:
        objective = self.objective
        out = self._head(
            self.forward, collated, entropy="entropy" in objective.needs, top_k=self.teachers.support_size(self.forward)
        )
        logp_BT = collated.scatter(out.logp_N)
        if "old" not in collated.rows[0].scores:
            self._store(collated, out.logp_N.detach(), "old")
        old_BT, roll_BT = collated.field("old"), collated.roll_BT
        if first:
            metrics.add_mismatch(old_BT, roll_BT, collated.mask_BT)
        device = self.device
        batch = TokenBatch(
            logp_BT=logp_BT,
            logp_old_BT=old_BT,
            logp_roll_BT=roll_BT,
            advantages_BT=collated.advantages_BT,
            mask_BT=collated.mask_BT,
            norm=norm,
            group_ids_B=torch.tensor([row.group for row in collated.rows], device=device),
            entropy_BT=None if out.entropy_N is None else collated.scatter(out.entropy_N),
            logp_ref_BT=collated.field("reference") if "reference" in objective.needs else None,
            teacher=self.teachers.targets(self, collated, out),
        )
        if objective.correction is not None:
            from dataclasses import replace

            batch = replace(batch, weights_BT=objective.correction(batch))
        return batch

    @staticmethod
    def _store(collated: Collated, logp_N: Tensor, name: str) -> None:
        values = collated.scatter(logp_N).cpu().numpy()
        for row, row_values in zip(collated.rows, values, strict=True):
            row.scores[name] = row_values[: len(row.sample)].copy()
