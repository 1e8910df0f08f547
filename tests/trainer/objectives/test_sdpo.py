"""SDPO: divergences, supports, sampled-token loss, teachers, context selection."""

import numpy as np
import pytest
import torch

from palaestra.schema import Feedback, Message, Rollout, Turn
from palaestra.trainer import objectives
from palaestra.trainer.head import mixed_logits
from palaestra.trainer.objectives import divergences as div
from palaestra.trainer.objectives import teachers
from palaestra.trainer.objectives.advantages import group_advantage
from palaestra.trainer.objectives.distillation import mixed, self_distillation
from palaestra.trainer.objectives.losses import ppo_clip
from palaestra.trainer.objectives.types import Normaliser, TeacherTargets

F64 = torch.float64


def logs(logits):
    return torch.log_softmax(torch.tensor(logits, dtype=F64), -1)


def test_full_vocabulary(oracle):
    given, want, tol = oracle("S1-full")
    p, q = logs(given["student_logits"]), logs(given["teacher_logits"])
    assert p.exp().tolist() == pytest.approx(want["p"], abs=tol)
    assert q.exp().tolist() == pytest.approx(want["q"], abs=tol)
    for key in ("alpha_0", "alpha_1", "alpha_0.5", "alpha_0.25", "alpha_0.75"):
        assert div.generalised_jsd(p, q, float(key[6:])).item() == pytest.approx(want[key], abs=tol)


def test_topk_with_tail(oracle):
    given, want, tol = oracle("S1-topk-tail")
    index = torch.tensor(given["indices"])
    assert torch.topk(torch.tensor(given["student_logits"]), given["k"]).indices.tolist() == given["indices"]
    p, q = logs(given["student_logits"])[index], logs(given["teacher_logits"])[index]
    assert div.add_tail(p).exp().tolist() == pytest.approx(want["p_plus"], abs=tol)
    assert div.add_tail(q).exp().tolist() == pytest.approx(want["q_plus"], abs=tol)
    for key in ("alpha_0", "alpha_1", "alpha_0.5"):
        assert div.on_support(p, q, float(key[6:]), True, False).item() == pytest.approx(want[key], abs=tol)


def test_gradients(oracle):
    given, want, tol = oracle("S1-grad")
    q = logs(given["teacher_logits"])
    for key, expected in want.items():
        z = torch.tensor(given["student_logits"], dtype=F64, requires_grad=True)
        value = div.generalised_jsd(torch.log_softmax(z, -1), q, float(key[6:]))
        assert torch.autograd.grad(value, z)[0].tolist() == pytest.approx(expected, abs=tol)


def test_the_family_is_not_continuous_at_its_ends(oracle):
    given, want, tol = oracle("S1b")
    p, q = logs(given["student_logits"]), logs(given["teacher_logits"])
    for key in ("alpha_0", "alpha_1", "alpha_0.5", "alpha_0.1", "alpha_0.9"):
        assert div.generalised_jsd(p, q, float(key[6:])).item() == pytest.approx(want[key], abs=tol)
    k = given["topk_no_tail"]
    top = torch.topk(p, k).indices
    renorm = [div.on_support(p[top], q[top], a, False, False).item() for a in (1.0, 0.5)]
    assert renorm == pytest.approx([want["top2_renorm_kl"], want["top2_renorm_jsd"]], abs=tol)


def s2(oracle, tokens, rollout_weights=True):
    given, want, tol = oracle("S2")
    has = torch.tensor(given["has_teacher"], dtype=F64)[:, None]
    mask = torch.tensor(given["mask"], dtype=F64)
    teacher = TeacherTargets(torch.tensor(given["lp_teacher"], dtype=F64), (mask * has))
    weights = torch.tensor(given["rollout_weights"], dtype=F64) if rollout_weights else None
    norm = Normaliser(float(mask.sum()), 3.0, 3.0, teacher_tokens=float((mask * has).sum()))
    b = tokens(given["lp"], 0.0, old=given["lp_old"], mask=mask, norm=norm, teacher=teacher, weights_BT=weights)
    return given, want, tol, b


def test_sampled_token_loss(oracle, tokens):
    given, want, tol, b = s2(oracle, tokens)
    loss = self_distillation(1.0, is_clip=given["is_clip"])
    value, _ = loss(b)
    assert value.item() == pytest.approx(want["loss"], abs=tol)
    (grad,) = torch.autograd.grad(value, b.logp_BT)
    assert grad.tolist() == [pytest.approx(row, abs=tol) for row in want["grad_lp"]]
    bare = s2(oracle, tokens, rollout_weights=False)[3]
    assert loss(bare)[0].item() == pytest.approx(want["loss_without_rollout_weights"], abs=tol)
    assert self_distillation(1.0, is_clip=None)(bare)[0].item() == pytest.approx(want["loss_no_weights"], abs=tol)
    ratio = (bare.logp_BT - bare.logp_old_BT).exp().clamp(max=2.0)[0]
    assert ratio.tolist() == pytest.approx(want["ratio_row0"], abs=tol)
    per_token = ratio * div.sampled_token(bare.logp_BT, bare.teacher.logp_BT)[0]
    assert per_token.tolist() == pytest.approx(want["per_token_row0"], abs=tol)
    # The wrong denominator (every response token) must not be what we divide by.
    wrong = value.item() * b.norm.teacher_tokens / b.norm.tokens
    assert wrong == pytest.approx(want["loss_wrong_denominator"], abs=tol) and abs(wrong - value.item()) > 0.1


def test_sampled_token_values(oracle):
    given, want, tol = oracle("S2-unweighted")
    values = div.sampled_token(torch.tensor(given["lp"], dtype=F64), torch.tensor(given["lp_teacher"], dtype=F64))
    assert values[0].tolist() == pytest.approx(want["row0"], abs=tol)
    assert values[2].tolist() == pytest.approx(want["row2"], abs=tol)


def test_sampled_token_mode_is_for_alpha_one_only(oracle, tokens):
    b = s2(oracle, tokens)[3]
    with pytest.raises(ValueError, match="alpha = 1"):
        self_distillation(0.5)(b)
    with pytest.raises(objectives.ObjectiveError, match="alpha = 1"):
        objectives.get("sdpo", {"top_k": 0, "alpha": 0.5})


def test_sampled_token_gradient_is_the_kl_gradient_in_expectation():
    z = torch.tensor([2.0, 0.5, 0.0, -1.0], dtype=F64, requires_grad=True)
    q = logs([0.0, 1.0, 0.5, -2.0])
    p = torch.log_softmax(z, -1)
    (exact,) = torch.autograd.grad(div.kl(p, q), z, retain_graph=True)
    (sampled,) = torch.autograd.grad((p.detach().exp() * div.sampled_token(p, q)).sum(), z)
    assert torch.allclose(exact, sampled, atol=1e-12)


def test_no_teacher_anywhere_gives_zero_and_finite_gradients(tokens):
    empty = torch.zeros(2, 3, dtype=F64)
    nothing = torch.full((2, 3, 4), float("nan"), dtype=F64)
    student = torch.randn(2, 3, 4, dtype=F64, requires_grad=True)
    targets = TeacherTargets(empty, empty, torch.zeros(2, 3, 4, dtype=torch.long), nothing, student.log_softmax(-1))
    b = tokens(torch.zeros(2, 3, dtype=F64) - 1, 0.0, teacher=targets, norm=Normaliser(6, 2, 3, teacher_tokens=0.0))
    value, metrics = self_distillation(0.5)(b)
    (grad,) = torch.autograd.grad(value, student)
    assert value.item() == 0 and metrics["teacher_tokens"].item() == 0 and (grad == 0).all()


def test_per_micro_batch_denominator_is_the_compat_form(oracle, tokens):
    from dataclasses import replace

    b = s2(oracle, tokens)[3]
    half = replace(b, norm=Normaliser(b.norm.tokens * 2, 6.0, 3.0, teacher_tokens=b.norm.teacher_tokens * 2))
    ours, compat = (self_distillation(1.0, per_micro_batch=flag)(half)[0].item() for flag in (False, True))
    assert compat == pytest.approx(2 * ours)


def test_trust_region_teacher(oracle):
    given, want, tol = oracle("S3-trust-region")
    ref, current = (torch.tensor(given[k], dtype=F64) for k in ("ref_logits", "current_logits"))
    for rate, row in zip(given["mix"], want, strict=True):
        for a, b in ((ref, current), (ref.log_softmax(-1), current.log_softmax(-1))):
            mixed = mixed_logits([(1 - rate, lambda i, j, a=a: a[None]), (rate, lambda i, j, b=b: b[None])])(0, 1)
            assert mixed[0].softmax(-1).tolist() == pytest.approx(row, abs=tol)


def test_ema_teacher(oracle):
    given, want, tol = oracle("S3-ema")
    teacher = torch.tensor([given["initial"]], dtype=F64)
    for student, expected in zip(given["students"], want, strict=True):
        div.ema_([teacher], [torch.tensor([float(student)], dtype=F64)], given["rate"])
        assert teacher.item() == pytest.approx(expected, abs=tol)


def test_hybrid_advantage(oracle, tokens, batch):
    """The gradient of the hybrid loss in log pi is minus the mixed advantage, with log q - log p as SDPO's."""
    given, want, tol = oracle("S4")
    logp = torch.full((4, 1), -1.5, dtype=F64)
    advantages = torch.tensor(group_advantage(batch(given["rewards"]), "none"))[:, None]
    teacher = TeacherTargets(logp + torch.tensor(given["a_sdpo"], dtype=F64)[:, None], torch.ones(4, 1, dtype=F64))
    b = tokens(logp, advantages, teacher=teacher)
    value, _ = mixed(ppo_clip(), self_distillation(1.0, is_clip=None), given["lam"])(b)
    (grad,) = torch.autograd.grad(value, b.logp_BT)
    assert (-4 * grad[:, 0]).tolist() == pytest.approx(want, abs=tol)


def test_hybrid_objective_keeps_both_terms(oracle, tokens):
    b = s2(oracle, tokens, rollout_weights=False)[3]
    pure = objectives.get("sdpo", {"top_k": 0, "alpha": 1.0}).loss(b)[0].item()
    from dataclasses import replace

    signed = replace(b, advantages_BT=torch.ones_like(b.mask_BT))
    hybrid = objectives.get("sdpo", {"top_k": 0, "alpha": 1.0, "hybrid": 0.9})
    from palaestra.trainer.objectives.losses import ppo_clip

    policy = ppo_clip(0.2, 0.28)(signed)[0].item()
    assert hybrid.loss(signed)[0].item() == pytest.approx(0.9 * policy + 0.1 * pure)
    assert hybrid.uses_rewards and not objectives.get("sdpo").uses_rewards


def rollout(i, text="try", feedback="", turns=1):
    notes = (Feedback(text=feedback, kind="incorrect"),) if feedback else ()
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Q?"))
    messages += (Message(role="assistant", content=text),) * turns
    turn = Turn(prompt_ids=(1,), completion_ids=(2,), logprobs=(-1.0,))
    return Rollout(id=f"r{i}", task_id="t", messages=messages, turns=(turn,) * turns, feedback=notes)


def contexts(batch, rewards, rollouts, **rules):
    b = batch(rewards, rollouts=tuple(rollouts), lengths_B=[1] * len(rewards))
    return teachers.self_teacher(teachers.Reprompt(**rules))(b).messages


def test_first_successful_sibling_is_the_solution(batch):
    group = [rollout(0, "wrong"), rollout(1, "<think>hm</think>first"), rollout(2, "second")]
    seen = contexts(batch, [0, 1, 1], group)
    assert [("first" in m[-1].text, "second" in m[-1].text) for m in seen] == [(1, 0), (0, 1), (1, 0)]
    assert all("hm" not in m[-1].text and "wrong" not in m[-1].text for m in seen)
    assert all(m[0].text == "Be brief." and m[-1].text.startswith("Q?") for m in seen)
    assert all(m[-1].text.endswith(teachers.CLOSING) for m in seen)


def test_a_lone_success_teaches_its_siblings_and_not_itself(batch):
    group = [rollout(0, "good"), rollout(1), rollout(2)]
    assert [m is not None for m in contexts(batch, [1, 0, 0], group)] == [False, True, True]
    assert [m is not None for m in contexts(batch, [1, 0, 0], group, self_success=True)] == [True] * 3


def test_no_success_and_no_feedback_teaches_nobody(batch):
    assert contexts(batch, [0, 0], [rollout(0), rollout(1)]) == (None, None)


def test_feedback_is_used_and_dropped_beside_a_solution(batch):
    group = [rollout(0, feedback="Test 2 failed."), rollout(1, "ok")]
    alone = contexts(batch, [0], group[:1])
    assert "Test 2 failed." in alone[0][-1].text
    assert "Test 2 failed." not in contexts(batch, [0, 1], group)[0][-1].text
    assert "Test 2 failed." in contexts(batch, [0, 1], group, feedback_only_without_solution=False)[0][-1].text
    assert contexts(batch, [0], group[:1], feedback=False) == (None,)


def test_unscored_empty_and_blank_rollouts(batch):
    group = [rollout(0), rollout(1, ""), rollout(2, feedback="  ")]
    assert contexts(batch, [None, 1, 0], group) == (None, None, None)


def test_siblings_of_other_groups_are_no_solutions(batch):
    b = batch([0, 1], [0, 1], rollouts=(rollout(0), rollout(1, "other")), lengths_B=[1, 1])
    assert teachers.self_teacher()(b).messages == (None, None)


def test_long_blocks_are_cut_inside_the_block(batch):
    seen = contexts(batch, [0, 1], [rollout(0), rollout(1, "x" * 500)], max_chars=100)
    assert seen[0][-1].text.endswith(teachers.CLOSING) and "x" * 101 not in seen[0][-1].text


def test_prompt_of_a_multi_turn_rollout_keeps_few_shot_turns():
    shot = (Message(role="user", content="2+2"), Message(role="assistant", content="4"))
    many = rollout(0, turns=2)
    many = many.model_copy(update={"messages": (*shot, *many.messages)})
    assert [m.text for m in teachers.prompt_messages(many)] == ["2+2", "4", "Be brief.", "Q?"]


def test_self_distillation_reaches_the_teacher():
    """A tabular student under KL(student || teacher), exact gradient steps."""
    z = torch.zeros(4, dtype=F64, requires_grad=True)
    q = logs([0.0, 1.0, 0.5, -2.0])
    for _ in range(400):
        (grad,) = torch.autograd.grad(div.generalised_jsd(torch.log_softmax(z, -1), q, 1.0), z)
        z = (z - grad).detach().requires_grad_(True)
    assert np.allclose(torch.softmax(z, -1).detach(), q.exp(), atol=1e-4)
