"""SDPO: the policy, shown feedback and a sibling's solution, teaches itself token by token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from ..advantages import group_advantage
from ..checks import unwritable
from ..teachers import CLOSING, FEEDBACK, SOLUTION, Reprompt, self_teacher
from ..types import Method, Objective, Problem, TeacherSpec
from .common import RegularisedParams, regularised

Compat = Literal["none", "sdpo-self-success", "sdpo-denominator", "sdpo-ema-cadence"]


class SdpoParams(RegularisedParams):
    """Parameters of SDPO."""

    alpha: float = Field(0.5, ge=0, le=1)
    """0 KL(teacher || student), 1 KL(student || teacher), 0.5 Jensen-Shannon; the ends are exact, not limits."""
    top_k: int | None = Field(100, ge=0)
    """Support of the comparison from the student's top tokens; None = whole vocabulary, 0 = sampled token only."""
    tail: bool = True
    """Compare the mass outside the support as one more outcome; otherwise renormalise."""
    is_clip: float | None = Field(2.0, gt=0)
    """Cap on pi / pi_old."""
    teacher: Literal["ema", "trust_region", "frozen", "current"] = "ema"
    """Whose weights teach; current (no regularisation) diverges."""
    teacher_rate: float = Field(0.05, ge=0, le=1)
    """EMA rate, or mixing weight of the trust region."""
    success: float = 0.5
    """Reward from which a sibling counts as a solution."""
    feedback: bool = True
    """Show the environment's feedback."""
    feedback_only_without_solution: bool = True
    """Leave feedback out whenever a solution is shown."""
    remove_thinking: bool = True
    """Cut <think> spans from the shown solution."""
    solution_text: str = SOLUTION
    """Heading of the solution in the teacher's prompt."""
    feedback_text: str = FEEDBACK
    """Heading of the feedback in the teacher's prompt."""
    closing_text: str = CLOSING
    """Last line of the teacher's prompt; empty for none."""
    hybrid: float = Field(0.0, ge=0, le=1)
    """Share of the GRPO loss (without std): 0 is pure self-distillation, 0.9 was reported for weak models."""
    eps_low: float = Field(0.2, ge=0)
    """Lower clip of the hybrid's policy loss."""
    eps_high: float = Field(0.28, ge=0)
    """Upper clip of the hybrid's policy loss."""
    compat: Compat = "none"
    """One published quirk: self-success, per-micro-batch denominator, or an EMA step a training batch."""

    @model_validator(mode="after")
    def _sampled_token(self) -> SdpoParams:
        if self.top_k == 0 and self.alpha != 1.0:
            raise ValueError("top_k = 0 compares the sampled token alone, which is defined for alpha = 1 only")
        return self


class TestTimeParams(SdpoParams):
    """SDPO on one question until it is solved."""

    alpha: float = Field(1.0, ge=0, le=1)
    top_k: int | None = Field(20, ge=0)
    teacher_rate: float = Field(0.01, ge=0, le=1)
    stop_reward: float = 1.0
    """Training ends with the first rollout that reaches this reward."""


def _build(name: str, params: SdpoParams) -> Objective:
    from ..distillation import mixed, self_distillation
    from ..losses import ppo_clip

    rules = Reprompt(
        success=params.success,
        self_success=params.compat == "sdpo-self-success",
        feedback=params.feedback,
        feedback_only_without_solution=params.feedback_only_without_solution,
        remove_thinking=params.remove_thinking,
        solution_text=params.solution_text,
        feedback_text=params.feedback_text,
        closing_text=params.closing_text,
    )
    per_micro_batch = params.compat == "sdpo-denominator"
    loss = self_distillation(params.alpha, params.tail, params.is_clip, params.aggregation, per_micro_batch)
    if params.hybrid > 0:
        loss = mixed(ppo_clip(params.eps_low, params.eps_high, aggregation=params.aggregation), loss, params.hybrid)
    teacher = TeacherSpec(
        contexts=self_teacher(rules),
        weights=params.teacher,
        rate=params.teacher_rate,
        top_k=params.top_k,
        every="batch" if params.compat == "sdpo-ema-cadence" else "step",
    )
    return regularised(
        name,
        params,
        partial(group_advantage, scale="none"),
        loss,
        needs={"teacher"},
        teacher=teacher,
        uses_rewards=params.hybrid > 0,
        stop_reward=getattr(params, "stop_reward", None),
    )


def _problems(params: SdpoParams, facts: Mapping[str, Any]) -> list[Problem]:
    found = []
    if facts.get("group_size") == 1 and not (params.feedback and facts.get("feedback", True)):
        reason = "a rollout alone in its group has no sibling to learn from, and there is no feedback"
        found.append(Problem("rollout.group_size", reason, "Use groups of 2 or more, or an environment with feedback"))
    texts = {"solution_text": f"{params.solution_text}\n\n", "closing_text": params.closing_text}
    if params.feedback:
        texts["feedback_text"] = params.feedback_text
    return [*found, *unwritable(facts, **texts)]


_COST = "no judge calls; one teacher forward pass on a longer prompt (two with trust_region), top-K logits of both"
SDPO = Method(
    name="sdpo",
    summary="pull each token to the policy's own distribution under a prompt with feedback and a solution",
    paper="arXiv 2601.20802",
    params=SdpoParams,
    build=partial(_build, "sdpo"),
    formula="L = mean_t D_alpha(pi(.|x,y<t), sg pi'(.|x + solution + feedback, y<t))",
    cost=_COST,
    when="rich feedback or some successes in each group, and a policy that can use them in context",
    parts="teacher: self with context; loss: generalised JSD on top-K plus tail",
    problems=_problems,
)
SDPO_TEST_TIME = Method(
    name="sdpo_test_time",
    summary="SDPO on a single question, stopping at the first success",
    paper="arXiv 2601.20802",
    params=TestTimeParams,
    build=partial(_build, "sdpo_test_time"),
    formula="sdpo with KL(student || teacher), top 20, EMA rate 0.01; stop when a reward reaches stop_reward",
    cost=_COST,
    when="one hard question with feedback on each attempt; measured by discovery@k",
    parts="as sdpo; stop at success",
    problems=_problems,
)
