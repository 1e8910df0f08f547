"""GRADE-STE: straight-through gradients, their bias, and a tiny model."""

import pytest
import torch

from palaestra.trainer import objectives
from palaestra.trainer.objectives import grade
from palaestra.trainer.objectives.types import DirectInputs, Normaliser

F64 = torch.float64


def test_straight_through_gradient_statistics(oracle):
    given, want, tol = oracle("GRADE-STE")
    logits, reward = (torch.tensor(given[k], dtype=F64) for k in ("logits", "reward"))
    n = given["samples"]
    for key, row in want.items():
        z = logits.expand(n, 3).clone().requires_grad_(True)
        noise = grade.gumbel((n, 3), torch.Generator().manual_seed(0), F64)
        (grads,) = torch.autograd.grad((grade.straight_through(z, noise, float(key[4:])) @ reward).sum(), z)
        assert grads.mean(0).tolist() == pytest.approx(row["mean"], abs=tol)
        assert grads.std(0).tolist() == pytest.approx(row["std"], abs=tol)


def test_the_sample_is_hard_and_distributed_as_the_policy():
    z = torch.tensor([0.2, -0.3, 0.5], dtype=F64).expand(50_000, 3)
    y = grade.straight_through(z, grade.gumbel((50_000, 3), torch.Generator().manual_seed(1), F64), 0.5)
    assert torch.allclose(y.max(-1).values, torch.ones(50_000, dtype=F64), atol=1e-9)
    assert y.mean(0).tolist() == pytest.approx(torch.softmax(z[0], -1).tolist(), abs=0.01)


def test_top_logits():
    assert grade.keep_top(torch.tensor([3.0, 1.0, 2.0]), 2).tolist() == [3.0, float("-inf"), 2.0]
    assert grade.keep_top(torch.tensor([1.0]), 256).tolist() == [1.0]
    with pytest.raises(ValueError, match="tau"):
        grade.straight_through(torch.zeros(2), torch.zeros(2), 0.0)


class Tiny(torch.nn.Module):
    """An order-1 language model with the two methods of a Hugging Face model that are used."""

    def __init__(self, vocabulary=8, width=8):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(vocabulary, width), torch.nn.Linear(width, vocabulary)

    def get_input_embeddings(self):
        return self.table

    def forward(self, inputs_embeds):
        return type("Out", (), {"logits": self.head(inputs_embeds)})


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_training_raises_a_local_reward(beta):
    torch.manual_seed(0)
    model, reference = Tiny(), Tiny()
    weights = torch.randn(8)
    direct = grade.grade_direct(lambda y, alive: (y @ weights * alive).sum(-1), 1.0, 4, beta, eos_id=0)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    rewards = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        inputs = DirectInputs(model, ((1,), (2, 3), (4,), (5,)), 4, Normaliser(0, 4, 4), generator, reference)
        value, metrics = direct(inputs)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        rewards.append(metrics["reward"].item() / 4)
    assert sum(rewards[-10:]) > sum(rewards[:10]) + 10


def test_positions_after_the_end_do_not_count():
    model = Tiny()
    torch.nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([100.0] + [0.0] * 7))
    inputs = DirectInputs(model, ((1,),), 3, Normaliser(0, 1, 3), torch.Generator().manual_seed(0))
    tokens, alive, _ = grade.generate_soft(inputs, (1,), 1.0, None, 0, 0.0)
    assert tokens[0, :, 0].tolist() == pytest.approx([1, 1, 1]) and alive[0].tolist() == pytest.approx(
        [1, 0, 0], abs=1e-6
    )


def test_reward_paths():
    assert callable(grade.load_reward("math:sqrt"))
    with pytest.raises(ValueError, match=r"package\.module:function"):
        grade.load_reward("math")
    assert objectives.get("grade", {"reward": "math:sqrt"}).direct is not None
