"""On-policy distillation, LightReasoner, contrastive decoding."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from palaestra.trainer.objectives.decoding import contrast
from palaestra.trainer.objectives.distillation import (
    discounted_to_go,
    full_kl_to_teacher,
    light_reasoner,
    on_policy_distillation,
)
from palaestra.trainer.objectives.divergences import contrastive_target, kl
from palaestra.trainer.objectives.losses import importance_sampling
from palaestra.trainer.objectives.types import Normaliser, TeacherTargets

F64 = torch.float64


def t(values):
    return torch.tensor(values, dtype=F64)


def all_tokens_once(tokens, z, teacher):
    """One row a token of a one-step policy: summing with the policy's probabilities gives exact expectations."""
    logp = torch.log_softmax(z, 0)[:, None]
    targets = TeacherTargets(teacher.log()[:, None], torch.ones_like(logp).detach())
    return tokens(logp, 0.0, old=logp.detach(), teacher=targets, norm=Normaliser(1, 1, 1))


def test_opd_gradient_is_minus_the_kl_gradient(oracle, tokens):
    given, want, tol = oracle("OPD-1")
    teacher = t(given["teacher"])
    z = t(given["student"]).log().requires_grad_(True)
    student = torch.softmax(z, 0).detach()
    captured = {}

    def policy(batch):
        captured["A"] = batch.advantages_BT[:, 0]
        rho = (batch.logp_BT - batch.logp_old_BT).exp()[:, 0]
        return -(student * rho * batch.advantages_BT[:, 0]).sum(), {}

    value, _ = on_policy_distillation(policy)(all_tokens_once(tokens, z, teacher))
    assert captured["A"].tolist() == pytest.approx(want["A"], abs=tol)
    assert (student * captured["A"]).sum().item() == pytest.approx(want["E_A"], abs=tol)
    gradient = -torch.autograd.grad(value, z, retain_graph=True)[0]
    assert gradient.tolist() == pytest.approx(want["policy_gradient"], abs=tol)
    fresh = z.detach().clone().requires_grad_(True)
    exact = torch.autograd.grad(kl(torch.log_softmax(fresh, 0), teacher.log()), fresh)[0]
    assert gradient.tolist() == pytest.approx((-exact).tolist(), abs=1e-12)


def test_opd_reaches_the_teacher(oracle):
    given, want, _ = oracle("OPD-1")
    z, q = np.log(given["student"]), np.array(given["teacher"])
    for _ in range(200):
        p = np.exp(z) / np.exp(z).sum()
        gap = np.log(p / q)
        z = z - p * (gap - p @ gap)
    p = np.exp(z) / np.exp(z).sum()
    assert p @ np.log(p / q) == pytest.approx(want["kl_after_200_unit_steps"], abs=1e-9)


def test_opd_masks_observations_floors_the_teacher_and_adds_rewards(tokens):
    teacher = TeacherTargets(t([[-1.0, float("-inf"), -5.0]]), t([[1.0, 1.0, 0.0]]))
    b = tokens([[-1.0, -2.0, -3.0]], 0.5, mask=[[1.0, 1.0, 0.0]], teacher=teacher)
    seen = {}

    def spy(batch):
        seen["A"] = batch.advantages_BT[0].tolist()
        return importance_sampling()(batch)

    value, metrics = on_policy_distillation(spy, coef=0.1)(b)
    assert seen["A"] == pytest.approx([0.5, 0.5 - 0.1 * 18.0, 0.5]) and torch.isfinite(value)
    assert metrics["teacher_kl"].item() == pytest.approx(18.0)


def test_teacher_equal_to_student_gives_zero(tokens):
    same = t([[-1.0, -2.0]])
    b = tokens([[-1.0, -2.0]], 0.0, teacher=TeacherTargets(same, torch.ones(1, 2, dtype=F64)))
    value, _ = on_policy_distillation(importance_sampling())(b)
    assert value.item() == 0 and torch.autograd.grad(value, b.logp_BT)[0].abs().sum() == 0


def test_discounted_to_go():
    assert discounted_to_go(t([[1.0, 2.0, 4.0]]), 0.5).tolist() == [[3.0, 4.0, 4.0]]


def test_two_tiny_models_come_together(tokens):
    """A small random transformer learns another one's next-token distributions from its own samples."""
    torch.manual_seed(0)

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.pos = torch.nn.Embedding(16, 16), torch.nn.Embedding(8, 16)
            self.block = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
            self.out = torch.nn.Linear(16, 16)

        def forward(self, ids):
            x = self.emb(ids) + self.pos(torch.arange(ids.shape[1]))
            causal = torch.nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            return torch.log_softmax(self.out(self.block(x, src_mask=causal, is_causal=True)), -1)

    student, teacher = Tiny(), Tiny()
    optimiser = torch.optim.Adam(student.parameters(), 1e-2)
    loss, seen = on_policy_distillation(importance_sampling()), []
    for _ in range(40):
        ids = torch.zeros(32, 1, dtype=torch.long)
        with torch.no_grad():
            for _ in range(5):
                ids = torch.cat([ids, torch.multinomial(student(ids)[:, -1].exp(), 1)], 1)
            taught = teacher(ids[:, :-1]).gather(-1, ids[:, 1:, None])[..., 0]
        logp = student(ids[:, :-1]).gather(-1, ids[:, 1:, None])[..., 0]
        value, metrics = loss(tokens(logp, 0.0, teacher=TeacherTargets(taught, torch.ones_like(taught))))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        seen.append(metrics["teacher_kl"].item() / taught.numel())
    assert np.mean(seen[-5:]) < 0.5 * np.mean(seen[:5])


def test_light_reasoner_target(oracle):
    given, want, tol = oracle("LR-1")
    expert, amateur = t(given["expert"]), t(given["amateur"])
    gap = kl(expert.log(), amateur.log()).item()
    assert gap == pytest.approx(want["kl"], abs=tol) and (gap >= given["beta"]) is want["kept"]
    target = contrastive_target(expert.log(), amateur.log(), given["alpha"])
    assert target.exp().tolist() == pytest.approx(want["w"], abs=tol)
    assert kl(target, expert.log()).item() == pytest.approx(want["loss_at_expert"], abs=tol)
    easy = kl(expert.log(), t([0.55, 0.33, 0.09, 0.03]).log()).item()
    assert easy == pytest.approx(want["easy_step_kl"], abs=tol)


def light_batch(tokens, expert, amateur, student):
    rows, width = expert.shape[:2]
    ones = torch.ones(rows, width, dtype=F64)
    targets = TeacherTargets(ones * 0, ones, None, expert, student, True, amateur)
    return tokens(-ones, 0.0, teacher=targets)


def test_light_reasoner_loss_learns_and_selects(tokens):
    g = torch.Generator().manual_seed(0)
    expert, amateur = (torch.randn(4, 5, 16, generator=g, dtype=F64).mul(2).log_softmax(-1) for _ in range(2))
    z = expert.clone().requires_grad_(True)
    kept, values = [], []
    for beta in (0.0, 0.5, 2.0, 50.0):
        value, metrics = light_reasoner(beta=beta)(light_batch(tokens, expert, amateur, z.log_softmax(-1)))
        kept.append(metrics["contrast_tokens"].item())
    assert kept == sorted(kept, reverse=True) and kept[0] == 16 and kept[-1] == 0
    assert value.item() == 0
    for _ in range(20):
        value, _ = light_reasoner(beta=0.4)(light_batch(tokens, expert, amateur, z.log_softmax(-1)))
        values.append(value.item())
        z = (z - 5 * torch.autograd.grad(value, z)[0]).detach().requires_grad_(True)
    assert all(b < a for a, b in pairwise(values))


def test_light_reasoner_of_equal_models_keeps_nothing(tokens):
    same = torch.randn(2, 3, 5, dtype=F64).log_softmax(-1)
    value, metrics = light_reasoner()(light_batch(tokens, same, same, same.clone().requires_grad_(True)))
    assert value.item() == 0 and metrics["contrast_tokens"].item() == 0


def test_full_kl_term_is_the_kl(tokens):
    student, ref = t([[[0.5, 0.5]]]).log().requires_grad_(True), t([[[0.9, 0.1]]]).log()
    targets = TeacherTargets(t([[0.0]]), t([[1.0]]), None, ref, student, True)
    value, _ = full_kl_to_teacher(0.05)(tokens([[-1.0]], 0.0, teacher=targets))
    assert value.item() == pytest.approx(0.05 * (0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)))


def test_contrastive_decoding_scores(oracle):
    given, want, tol = oracle("CD-1")
    expert, amateur = t(given["expert"]).log(), t(given["amateur"]).log()
    scores = contrast(expert, amateur, given["alpha"])
    plausible = torch.isfinite(scores).nonzero()[:, 0].tolist()
    assert plausible == want["head"] and scores[plausible].tolist() == pytest.approx(want["scores"], abs=tol)
    sharp = contrast(expert, amateur, given["alpha"], 0.5)
    assert sharp[plausible].tolist() == pytest.approx(want["scores_tau_0p5"], abs=tol)
    tempered = (amateur / 0.5).softmax(-1)
    assert tempered.tolist() == pytest.approx(want["amateur_tau_0p5"], abs=tol)
    assert (expert[3] - tempered[3].log()).item() == pytest.approx(want["masked_tau_0p5"], abs=tol)
    assert scores[plausible].argsort().tolist() != sharp[plausible].argsort().tolist()


def test_contrastive_decoding_edges():
    flat = torch.full((20,), 0.05, dtype=torch.float64).log()
    assert torch.isfinite(contrast(flat, flat)).all()  # the threshold is relative, so nothing is implausible
    expert = t([0.2, 0.7, 0.1]).log()
    assert contrast(expert, expert, greedy=True).argmax() == 1  # all scores are 0: the expert's favourite
    with pytest.raises(ValueError, match="one tokenizer"):
        contrast(expert, flat)
    for alpha, temperature in ((0.0, 1.0), (0.1, 0.0)):
        with pytest.raises(ValueError, match="alpha"):
            contrast(expert, expert, alpha, temperature)
    p = contrast(expert, t([0.3, 0.3, 0.4]).log(), 0.2).softmax(-1)
    assert p.sum().item() == pytest.approx(1) and p[2] == 0


def test_greedy_contrastive_strings_against_brute_force():
    """One table for every step: per-step greedy is the best string, for scores do not look ahead."""
    rng = np.random.default_rng(0)
    expert, amateur = (t(rng.dirichlet(np.ones(3)).tolist()).log() for _ in range(2))
    scores = contrast(expert, amateur)
    best = max(product(range(3), repeat=3), key=lambda string: sum(scores[b].item() for b in string))
    assert [contrast(expert, amateur, greedy=True).argmax().item()] * 3 == list(best)
