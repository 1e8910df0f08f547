"""Our losses equal TRL's own, value and gradient, on random tensors. Needs the `bench` extra."""

from types import SimpleNamespace

import pytest
import torch

from palaestra.trainer.objectives import divergences, losses
from palaestra.trainer.objectives.regularisers import kl_to_reference

pytestmark = pytest.mark.slow
trl = pytest.importorskip("trl", reason="TRL is not installed (pip install palaestra[bench])")


def trl_loss(data, **settings):
    """TRL's GRPO loss on given log-probabilities: its own method, with a model that returns our numbers."""
    from collections import defaultdict

    from trl import GRPOConfig, GRPOTrainer

    logp = data["logp"].clone().requires_grad_(True)
    rows, width = logp.shape
    options = {"loss_type": "dapo", "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, "level": "token"} | settings
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logp, torch.ones_like(logp), None),
        _metrics=defaultdict(lambda: defaultdict(list)),
        _entropy_bonus_enabled=False,
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1),
        args=SimpleNamespace(
            delta=options.get("delta"), use_bias_correction_kl=options.get("corrected", False), steps_per_generation=1
        ),
        aux_loss_enabled=False,
        beta=options["beta"],
        current_gradient_accumulation_steps=1,
        epsilon_high=options["epsilon_high"],
        epsilon_low=options["epsilon_low"],
        importance_sampling_level=options["level"],
        loss_type=options["loss_type"],
        max_completion_length=width,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    inputs = {
        "prompt_ids": torch.zeros(rows, 1, dtype=torch.long),
        "prompt_mask": torch.ones(rows, 1),
        "completion_ids": torch.zeros(rows, width, dtype=torch.long),
        "completion_mask": data["mask"],
        "advantages": data["advantages"],
        "old_per_token_logps": data["old"],
        "ref_per_token_logps": data["ref"],
        "num_items_in_batch": data["mask"].sum(),
    }
    assert GRPOConfig is not None
    value = GRPOTrainer._compute_loss(trainer, None, inputs)
    return value.item(), torch.autograd.grad(value, logp)[0]


@pytest.fixture(params=range(5))
def data(request):
    g = torch.Generator().manual_seed(request.param)
    rows, width = 6, 9
    logp = -torch.rand(rows, width, generator=g, dtype=torch.float64) * 3
    lengths = torch.randint(0, width + 1, (rows, 1), generator=g)
    return {
        "logp": logp,
        "old": logp + 0.3 * torch.randn(rows, width, generator=g, dtype=torch.float64),
        "ref": logp + 0.5 * torch.randn(rows, width, generator=g, dtype=torch.float64),
        "mask": (torch.arange(width)[None] < lengths).double(),
        "advantages": torch.randn(rows, generator=g, dtype=torch.float64),
    }


CASES = {
    "dapo": (lambda: losses.ppo_clip(0.2, 0.28), {"loss_type": "dapo", "epsilon_high": 0.28}),
    "bnpo": (lambda: losses.ppo_clip(), {"loss_type": "bnpo"}),
    "grpo": (lambda: losses.ppo_clip(aggregation="seq_mean_token_mean"), {"loss_type": "grpo"}),
    "dr_grpo": (lambda: losses.ppo_clip(aggregation="dr_grpo"), {"loss_type": "dr_grpo"}),
    "delta": (lambda: losses.ppo_clip(delta=1.5), {"delta": 1.5}),
    "cispo": (lambda: losses.cispo(1.3), {"loss_type": "cispo", "epsilon_high": 1.3}),
    "gspo": (
        lambda: losses.gspo(0.05, 0.05),
        {"loss_type": "grpo", "level": "sequence", "epsilon_low": 0.05, "epsilon_high": 0.05},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_policy_losses(name, data, tokens):
    build, settings = CASES[name]
    theirs, their_grad = trl_loss(data, **settings)
    b = tokens(data["logp"].clone(), data["advantages"][:, None], old=data["old"], mask=data["mask"])
    value, _ = build()(b)
    (grad,) = torch.autograd.grad(value, b.logp_BT)
    # TRL averages an empty response as 0 over all rows, as we do.
    assert value.item() == pytest.approx(theirs, abs=1e-10)
    assert torch.allclose(grad, their_grad, atol=1e-10)


@pytest.mark.parametrize("corrected", [False, True])
def test_kl_term(data, tokens, corrected):
    theirs, their_grad = trl_loss(data, beta=0.1, corrected=corrected)
    b = tokens(
        data["logp"].clone(), data["advantages"][:, None], old=data["old"], mask=data["mask"], logp_ref_BT=data["ref"]
    )
    value = losses.ppo_clip()(b)[0] + kl_to_reference(0.1, "k3", off_policy=corrected)(b)[0]
    assert value.item() == pytest.approx(theirs, abs=1e-10)
    if not corrected:  # TRL differentiates the weight too; ours carries no gradient
        assert torch.allclose(torch.autograd.grad(value, b.logp_BT)[0], their_grad, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_self_distillation_divergences(alpha):
    from trl.experimental.sdpo import loss_utils

    g = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 7, 32, generator=g, dtype=torch.float64) * 2 for _ in range(2))
    p, q = student.log_softmax(-1), teacher.log_softmax(-1)
    theirs = loss_utils.compute_full_logit_self_distillation_loss(student, teacher, distillation_alpha=alpha)
    assert torch.allclose(divergences.on_support(p, q, alpha, True, True), theirs, atol=1e-12)
    top = torch.topk(student, 5, -1).indices
    for tail in (True, False):
        theirs = loss_utils.compute_topk_self_distillation_loss(
            student, teacher, distillation_topk=5, distillation_alpha=alpha, distillation_add_tail=tail
        )
        ours = divergences.on_support(p.gather(-1, top), q.gather(-1, top), alpha, tail, False)
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_sampled_token_distillation():
    from trl.experimental.sdpo import loss_utils

    g = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(3, 4, 11, generator=g) for _ in range(2))
    ids = torch.randint(0, 11, (3, 4), generator=g)
    theirs = loss_utils.compute_sampled_token_self_distillation_loss(student, teacher, ids, distillation_alpha=1.0)
    p, q = (x.log_softmax(-1).gather(-1, ids[..., None])[..., 0] for x in (student, teacher))
    assert torch.allclose(divergences.sampled_token(p, q), theirs, atol=1e-5)
