"""Losses against a teacher's log-probabilities (`TokenBatch.teacher`). torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .divergences import contrastive_target, kl, on_support, sampled_token
from .losses import aggregate, log_ratio
from .types import Aggregation, Loss, LossOutput, TeacherTargets, TokenBatch


def targets(batch: TokenBatch) -> TeacherTargets:
    """The teacher part of a batch.

    Raises:
        ValueError: if the loop provided none.
    """
    if batch.teacher is None:
        raise ValueError("this objective needs TokenBatch.teacher; the loop must make it as Objective.teacher says")
    return batch.teacher


def _divergence(batch: TokenBatch, alpha: float, tail: bool) -> Tensor:
    teacher = targets(batch)
    if teacher.teacher_logp_BTK is None or teacher.student_logp_BTK is None:
        if alpha != 1.0:
            raise ValueError(f"alpha {alpha} needs a support; with the sampled token alone only alpha = 1 is defined")
        logp_BT = torch.where(teacher.mask_BT > 0, batch.logp_BT, torch.zeros_like(batch.logp_BT))
        teacher_BT = torch.where(teacher.mask_BT > 0, teacher.logp_BT, torch.zeros_like(logp_BT))
        return sampled_token(logp_BT, teacher_BT)
    mask = (teacher.mask_BT > 0)[..., None]
    # Rows without a teacher may hold anything; uniform stand-ins keep nan out of their (zero) gradient.
    flat = -torch.log(torch.tensor(float(teacher.teacher_logp_BTK.shape[-1] + 1)))
    student = torch.where(mask, teacher.student_logp_BTK, flat.to(teacher.student_logp_BTK))
    taught = torch.where(mask, teacher.teacher_logp_BTK, flat.to(teacher.teacher_logp_BTK))
    return on_support(student, taught, alpha, tail, teacher.full)


def self_distillation(
    alpha: float = 0.5,
    tail: bool = True,
    is_clip: float | None = 2.0,
    aggregation: Aggregation = "token_mean",
    per_micro_batch: bool = False,
) -> Loss:
    """SDPO's loss: divergence to the self-teacher at every token that has one (arXiv 2601.20802).

    Args:
        alpha: 0 KL(teacher || student), 1 KL(student || teacher), 0.5 Jensen-Shannon.
        tail: compare on top-K plus one tail bucket; otherwise on the renormalised top-K.
        is_clip: cap on the detached ratio pi / pi_old, None for no weight.
        aggregation: reduction mode; the loop's normaliser counts the tokens *with a teacher*.
        per_micro_batch: divide by this micro-batch's own count instead (the published code's denominator).
    """

    def loss(batch: TokenBatch) -> LossOutput:
        teacher = targets(batch)
        mask_BT = batch.mask_BT * teacher.mask_BT
        values_BT = _divergence(batch, alpha, tail)
        if is_clip is not None:
            ratio_BT = log_ratio(batch.logp_BT, batch.logp_old_BT, mask_BT).exp().detach()
            values_BT = values_BT * ratio_BT.clamp(max=is_clip)
        if batch.weights_BT is not None:
            values_BT = values_BT * batch.weights_BT
        norm = batch.norm
        if per_micro_batch:
            norm = replace(norm, tokens=float(mask_BT.sum().clamp(min=1.0)))
        elif batch.norm.teacher_tokens is not None:
            norm = replace(norm, tokens=max(batch.norm.teacher_tokens, 1.0))
        metrics: dict[str, Tensor | float] = {
            "teacher_divergence": (torch.where(mask_BT > 0, values_BT.detach(), torch.zeros_like(mask_BT))).sum(),
            "teacher_tokens": mask_BT.sum(),
        }
        return aggregate(values_BT, mask_BT, norm, aggregation), metrics

    return loss


def mixed(first: Loss, second: Loss, weight: float) -> Loss:
    """weight * first + (1 - weight) * second, metrics of both."""

    def loss(batch: TokenBatch) -> LossOutput:
        a, metrics_a = first(batch)
        b, metrics_b = second(batch)
        return weight * a + (1 - weight) * b, {**metrics_a, **metrics_b}

    return loss


def on_policy_distillation(policy_loss: Loss, coef: float = 1.0, floor: float = -20.0, gamma: float = 0.0) -> Loss:
    """Per-token advantage -coef (log student - log teacher), added to the batch's own advantages.

    Args:
        policy_loss: any policy loss; importance sampling is the usual one.
        coef: weight of the teacher signal.
        floor: least teacher log-probability, so that an impossible token is punished but not infinitely.
        gamma: discount of later tokens' signal; 0 credits each token with its own alone.
    """

    def loss(batch: TokenBatch) -> LossOutput:
        teacher = targets(batch)
        mask_BT = batch.mask_BT * teacher.mask_BT
        zeros = torch.zeros_like(batch.logp_BT)
        gap_BT = (batch.logp_roll_BT.detach() - teacher.logp_BT.detach().clamp(min=floor)).clamp(-20.0, 20.0)
        signal_BT = torch.where(mask_BT > 0, -coef * gap_BT, zeros)
        if gamma:
            signal_BT = discounted_to_go(signal_BT, gamma)
        value, metrics = policy_loss(replace(batch, advantages_BT=batch.advantages_BT + signal_BT * mask_BT))
        return value, {**metrics, "teacher_kl": torch.where(mask_BT > 0, gap_BT, zeros).sum()}

    return loss


def discounted_to_go(values_BT: Tensor, gamma: float) -> Tensor:
    """sum_{u >= t} gamma^(u-t) v_u along the last axis."""
    running = torch.zeros_like(values_BT[:, 0])
    columns = []
    for t in reversed(range(values_BT.shape[1])):
        running = values_BT[:, t] + gamma * running
        columns.append(running)
    return torch.stack(columns[::-1], 1)


def light_reasoner(alpha: float = 0.2, beta: float = 0.4, skip_first: bool = True) -> Loss:
    """KL(contrast target || student) at the steps where expert and amateur disagree by at least beta nats.

    The teacher is the expert and `amateur_logp_BTK` the amateur, both over the full vocabulary. Averages over the
    tokens of the step, kept or not, so the size of the loss follows the share of informative steps.
    """

    def loss(batch: TokenBatch) -> LossOutput:
        teacher = targets(batch)
        if teacher.teacher_logp_BTK is None or teacher.amateur_logp_BTK is None or teacher.student_logp_BTK is None:
            raise ValueError("light_reasoner needs full-vocabulary log-probabilities of expert, amateur and student")
        expert, amateur = teacher.teacher_logp_BTK, teacher.amateur_logp_BTK
        gap_BT = kl(expert, amateur)
        mask_BT = batch.mask_BT * teacher.mask_BT * (gap_BT >= beta)
        if skip_first:
            first_BT = torch.cumsum(batch.mask_BT, -1) <= 1
            mask_BT = mask_BT * (~first_BT)
        target = contrastive_target(expert, amateur, alpha)
        values_BT = kl(target, teacher.student_logp_BTK)
        metrics: dict[str, Tensor | float] = {"contrast_tokens": mask_BT.sum()}
        return aggregate(values_BT, mask_BT, batch.norm, "token_mean"), metrics

    return loss


def full_kl_to_teacher(coef: float) -> Callable[[TokenBatch], LossOutput]:
    """Regulariser coef * KL(student || teacher) over the full vocabulary (Quark's reference term)."""

    def term(batch: TokenBatch) -> LossOutput:
        teacher = targets(batch)
        values_BT = _divergence(batch, 1.0, tail=True)
        mask_BT = batch.mask_BT * teacher.mask_BT
        metric = torch.where(mask_BT > 0, values_BT.detach(), torch.zeros_like(mask_BT)).sum()
        return coef * aggregate(values_BT, mask_BT, batch.norm, "token_mean"), {"kl_to_reference": metric}

    return term
