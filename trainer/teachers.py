"""Other weights an objective looks at: the reference policy and teachers (EMA, frozen, trust region, another model)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from .config import ConfigError, TrainConfig
from .forward import Forward
from .head import HeadOutput, LinearLogits, head, mixed_logits
from .objectives.divergences import ema_
from .objectives.types import Objective, TeacherTargets
from .rows import Collated, Row, collate

if TYPE_CHECKING:
    from .learner import Learner


def keeps_initial(objective: Objective) -> bool:
    """Whether an objective looks at the policy's initial weights."""
    return (
        bool({"reference", "batch_reference"} & objective.needs)
        or (objective.teacher is not None and objective.teacher.weights in ("frozen", "trust_region"))
        or objective.sampling == "initial"
    )


class Teachers:
    """Holds copies of the policy's initial weights and what becomes of them.

    Args:
        model: the policy at its initial weights.
        objective: says which weights are needed.
        config: the [train] section.
    """

    def __init__(self, model: Any, objective: Objective, config: TrainConfig) -> None:
        self.objective = objective
        self.spec = objective.teacher
        self.config = config
        weights = self.spec.weights if self.spec else None
        self.initial = self._copy(model) if keeps_initial(objective) else None
        self.ema = self._copy(model) if weights == "ema" else None
        self.external = self._load(self.spec.model, "teacher") if self.spec and weights == "external" else None
        self.amateur = self._load(self.spec.amateur, "amateur") if self.spec and self.spec.amateur else None
        self.model = model

    def _copy(self, model: Any) -> Forward:
        twin = copy.deepcopy(model).eval().requires_grad_(False)
        return Forward(twin, shared_prefix=self.config.shared_prefix)

    def _load(self, name: str | None, role: str) -> Forward:
        from .config import PolicyConfig
        from .policy import load_policy

        if not name:
            raise ConfigError(f"the objective needs a {role} model; give its folder or id as the objective's parameter")
        policy = load_policy(PolicyConfig(model=name))
        return Forward(policy.model.requires_grad_(False), shared_prefix=self.config.shared_prefix)

    def support_size(self, student: Forward) -> int:
        """How many of the student's own top tokens the teacher is compared on."""
        if self.spec is None or self.spec.top_k == 0:
            return 0
        vocabulary = student.head_weight.shape[0]
        return vocabulary if self.spec.top_k is None else min(self.spec.top_k, vocabulary)

    def prepare(self, learner: Learner, rows: list[Row]) -> None:
        """Score the rows under the reference, where the objective wants it."""
        if "reference" in self.objective.needs and rows and "reference" not in rows[0].scores:
            assert self.initial is not None
            learner.score(rows, "reference", forward=self.initial)

    def targets(self, learner: Learner, collated: Collated, student: HeadOutput) -> TeacherTargets | None:
        """Teacher log-probabilities at the sampled positions of a micro-batch."""
        if self.spec is None:
            return None
        taught_B = torch.tensor([float(row.taught) for row in collated.rows], device=collated.mask_BT.device)
        mask_BT = collated.mask_BT * taught_B[:, None]
        with torch.no_grad():
            teacher = self._score(learner, collated, student)
            amateur = self._amateur(learner, collated, student)
        return TeacherTargets(
            logp_BT=collated.scatter(teacher.logp_N),
            mask_BT=mask_BT,
            support_BTK=None if student.support_NK is None else collated.scatter(student.support_NK),
            teacher_logp_BTK=None if teacher.support_logp_NK is None else collated.scatter(teacher.support_logp_NK),
            student_logp_BTK=None if student.support_logp_NK is None else collated.scatter(student.support_logp_NK),
            full=student.support_NK is not None and student.support_NK.shape[1] == learner.forward.head_weight.shape[0],
            amateur_logp_BTK=None if amateur is None else collated.scatter(amateur),
        )

    def _score(self, learner: Learner, collated: Collated, student: HeadOutput) -> HeadOutput:
        spec, theirs = self.spec, collate(collated.rows, collated.mask_BT.device, teacher=True)
        assert spec is not None
        current = learner.forward
        choices: dict[str, list[tuple[float, Forward | None]]] = {
            "current": [(1.0, current)],
            "ema": [(1.0, self.ema)],
            "frozen": [(1.0, self.initial)],
            "external": [(1.0, self.external)],
            "trust_region": [(1 - spec.rate, self.initial), (spec.rate, current)],
        }
        logits = []
        for weight, forward in choices[spec.weights]:
            assert forward is not None
            hidden = forward.hidden(theirs.prompts, theirs.index, theirs.ids).flatten(0, 1)
            flat = hidden.index_select(0, theirs.flat_N)
            logits.append((weight, LinearLogits(flat, forward.head_weight)))
        return head(
            logits[0][1] if len(logits) == 1 else mixed_logits(logits),
            theirs.targets_N,
            chunk=self.config.head_chunk,
            support_NK=student.support_NK,
        )

    def _amateur(self, learner: Learner, collated: Collated, student: HeadOutput) -> torch.Tensor | None:
        if self.amateur is None:
            return None
        out = learner._head(self.amateur, collated, support_NK=student.support_NK, temperature=1.0)
        return out.support_logp_NK

    def after_step(self, step: int) -> None:
        """An optimiser step was taken."""
        if self.spec is not None and self.spec.every == "step":
            self._move()

    def after_batch(self, step: int, *, moved: bool) -> None:
        """A training batch is done; `moved` says that at least one optimiser step was sound."""
        if self.spec is not None and self.spec.every == "batch" and moved:
            self._move()

    def _move(self) -> None:
        """Move the EMA teacher; parameters only, no buffers."""
        if self.ema is not None and self.spec is not None:
            ema_(self.ema.model.parameters(), self.model.parameters(), self.spec.rate)

    def state_dict(self) -> dict[str, Any]:
        """Weights that a resumed run cannot make again."""
        held = {"initial": self.initial, "ema": self.ema}
        return {name: forward.model.state_dict() for name, forward in held.items() if forward is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for name, forward in {"initial": self.initial, "ema": self.ema}.items():
            if forward is not None:
                forward.model.load_state_dict(state[name])
