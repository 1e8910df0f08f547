"""Best-of-n, FeedME, reward conditioning, Quark, expert iteration."""

import math

import numpy as np
import pytest

from palaestra.schema import Message, Rollout, Turn
from palaestra.trainer import objectives
from palaestra.trainer.objectives import preferences as pref


def test_best_of_n_bound_and_normal_maximum(oracle):
    given, want, tol = oracle("BON-1")
    assert [pref.best_of_n_kl(n) for n in given["n"]] == pytest.approx(want["kl_bound"], abs=tol)
    x = np.linspace(-9, 9, 20_001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    for n, expected in zip(given["n"], want["E_max_normal"], strict=True):
        assert x @ (n * density * below ** (n - 1)) * (x[1] - x[0]) == pytest.approx(expected, abs=tol)


def test_best_of_n_law(oracle):
    given, want, tol = oracle("BON-2")
    rewards = np.array(given["arm_rewards"])
    base = np.full(len(rewards), 1 / len(rewards))
    law = pref.best_of_n_law(base, rewards, given["n"])
    assert law.sum() == pytest.approx(1) and law @ rewards == pytest.approx(want["E_R"], abs=tol)
    kl = float((law[law > 0] * np.log(law[law > 0] / base[law > 0])).sum())
    assert kl == pytest.approx(want["kl"], abs=tol)
    assert pref.best_of_n_kl(given["n"]) == pytest.approx(want["bound"], abs=tol) and kl <= want["bound"]


def test_equal_arms_share_the_best_of_n(batch):
    assert pref.best_of_n_law(np.array([0.25, 0.25, 0.5]), np.array([1.0, 1.0, 0.0]), 2) == pytest.approx(
        [0.375, 0.375, 0.25]
    )


def test_preferred_of_two(oracle):
    given, want, tol = oracle("FEEDME-1")
    rewards = np.array(given["arm_rewards"])
    base = np.full(len(rewards), 1 / len(rewards))
    assert base @ rewards == pytest.approx(want["base"], abs=tol)
    assert pref.winner_law(base, rewards) @ rewards == pytest.approx(want["mean_winner"], abs=tol)
    flipped = pref.winner_law(base, rewards, given["p_flip"])
    assert flipped @ rewards == pytest.approx(want["mean_winner_flipped"], abs=tol) and flipped.sum() == pytest.approx(
        1
    )


def test_sampled_pairs_agree_with_the_law(oracle, batch):
    _, want, _ = oracle("FEEDME-1")
    rng = np.random.default_rng(0)
    rewards = rng.integers(0, 8, 4000) / 7
    b = batch(rewards, np.repeat(np.arange(2000), 2))
    pairs = pref.preference_pairs(b)
    tied = [i for i in range(0, 4000, 2) if rewards[i] == rewards[i + 1]]
    winners = np.concatenate([rewards[[w for w, _ in pairs]], rewards[tied]])
    assert winners.mean() == pytest.approx(want["mean_winner"], abs=0.02)
    flipped = pref.preference_pairs(b, flip=0.25)
    turned = np.mean([rewards[w] < rewards[x] for w, x in flipped])
    assert turned == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / len(flipped)))
    with pytest.raises(ValueError, match="say the opposite"):
        pref.preference_pairs(b, flip=0.5)


def test_pairs_do_not_depend_on_the_order_of_the_batch(batch):
    b = batch([3, 1, 2, 0], ids=tuple("abcd"))
    named = {(b.ids[w], b.ids[x]) for w, x in pref.preference_pairs(b, 0.3, seed=1)}
    c = b.take(np.array([2, 0, 3, 1]))
    assert {(c.ids[w], c.ids[x]) for w, x in pref.preference_pairs(c, 0.3, seed=1)} == named


def test_quantiles(batch):
    assert pref.quantiles(np.array([5.0, 1, 4, 2, 3, 0]), 2).tolist() == [0, 1, 0, 1, 0, 1]
    assert pref.quantiles(np.arange(7.0)[::-1], 3).tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert pref.quantiles(np.array([1.0, np.nan, 0.0]), 4).tolist() == [0, -1, 1]
    assert pref.batch_quantiles(batch([1, 1, 1, 1], ids=tuple("dcba")), 4).tolist() == [3, 2, 1, 0]


def made(name, **params):
    return objectives.get(name, params)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("best_of_n", [1, 0, 0, 0, 1, 0]),
        ("expert_iteration", [1, 0, 0, 0, 1, 0]),
        ("iterative_sft", [1, 0, 0, 0, 0, 0]),
        ("self_sft", [1, 0, 0, 0, 0, 0]),
        ("quark", [1, 0, 0, 0, 0, 0]),
    ],
)
def test_which_rollouts_are_imitated(name, kept, batch):
    b = batch([1, 0, None, 0.2, 0.6, 0.1], [0, 0, 0, 1, 1, 1])
    objective = made(name)
    advantages = objective.advantage(b)
    keep = objective.filters[0](b, advantages, {})
    assert keep.astype(int).tolist() == kept and (advantages[keep] == 1).all()


def test_where_samples_come_from():
    fixed = {name for name in objectives.names() if name not in ("aepo", "grade") and made(name).sampling == "initial"}
    assert fixed == {"best_of_n", "self_sft", "feedme", "light_reasoner"}


def test_supervised_loss_is_the_negative_log_likelihood(batch, tokens):
    loss = made("iterative_sft").loss
    assert loss(tokens([[-1.0, -3.0]], 1.0))[0].item() == pytest.approx(2.0)


def rollout(i, prompt="Q"):
    turn = Turn(prompt_ids=(1,), completion_ids=(2,), logprobs=(-1.0,))
    messages = (Message(role="user", content=prompt), Message(role="assistant", content="a"))
    return Rollout(id=f"r{i}", task_id="t", messages=messages, turns=(turn,))


def test_reward_conditioning_relabels_and_samples_with_the_good_text(batch):
    objective = made("reward_conditioning")
    b = batch([1, 0, None], rollouts=(rollout(0), rollout(1, "[good] Q"), rollout(2)))
    seen = objective.relabel(b).messages
    assert [m and m[0].text for m in seen] == ["[good] Q", "[bad] Q", None]
    assert objective.prompt((Message(role="user", content="Q"),))[0].text == "[good] Q"
    assert objective.filters[0](b, objective.advantage(b), {}).tolist() == [True, True, False]


def test_quark_all_quantiles_and_its_reference(batch):
    objective = made("quark", train_on="all", quantiles=2)
    rollouts = tuple(rollout(i, "[quality 2] Q") for i in range(4))
    b = batch([3, 2, 1, 0], rollouts=rollouts)
    assert [m[0].text for m in objective.relabel(b).messages] == ["[quality 2] Q"] * 2 + ["[quality 1] Q"] * 2
    assert {m[0].text for m in objective.teacher.contexts(b).messages} == {"Q"}
    assert objective.teacher.weights == "frozen" and objective.needs == {"teacher"}
    assert made("quark").teacher.contexts is None and made("quark", kl_full_coef=0).teacher is None
