"""Filters, gates and samplers."""

import numpy as np
import pytest

from palaestra.schema import Rollout, StopReason
from palaestra.trainer import objectives
from palaestra.trainer.balance import Balanced
from palaestra.trainer.objectives import filters


def test_keep_rate_of_dynamic_sampling(oracle, batch):
    given, want, tol = oracle("DAPO-keep")
    rng = np.random.default_rng(0)
    for p in given["p"]:
        for size in given["G"]:
            closed = filters.keep_rate(p, size)
            assert closed == pytest.approx(want[f"p{p}_G{size}"], abs=tol)
            rewards = (rng.random((2000, size)) < p).astype(float)
            groups = np.repeat(np.arange(2000), size)
            b = batch(rewards.ravel(), groups)
            kept = filters.drop_constant_groups(b, np.zeros(len(b)), {}).mean()
            assert kept == pytest.approx(closed, abs=5 * np.sqrt(closed * (1 - closed) / 2000) + 1e-9)


def test_dynamic_sampling_looks_at_accuracy_and_not_at_shaped_rewards(batch):
    b = batch([1, 1, 0, 1], [0, 0, 1, 1]).with_rewards(np.array([1.0, 0.5, 0.0, 1.0]))
    state = {}
    assert filters.drop_constant_groups(b, np.zeros(4), state).tolist() == [False, False, True, True]
    assert state == {"kept": 2, "seen": 4}
    assert filters.drop_constant_groups(batch([None, 1, None]), np.zeros(3), {}).tolist() == [False] * 3


def test_overlong_filter(batch):
    stops = [StopReason.FINISHED, StopReason.LENGTH]
    rollouts = tuple(Rollout(task_id="t", stop_reason=s, truncated=s is StopReason.LENGTH) for s in stops)
    assert filters.drop_overlong(batch([1, 1], rollouts=rollouts), np.zeros(2), {}).tolist() == [True, False]
    assert filters.drop_overlong(batch([1, 1], lengths_B=[3, 8], max_length=8), np.zeros(2), {}).tolist() == [1, 0]
    with pytest.raises(ValueError, match="overlong_filter"):
        filters.drop_overlong(batch([1]), np.zeros(1), {})


def test_signs_drop_the_others_and_may_leave_nothing(batch):
    advantages = np.array([1.0, -1.0, 0.0])
    b = batch([1, 0, None])
    assert filters.keep_sign("positive")(b, advantages, {}).tolist() == [True, False, False]
    assert filters.keep_sign("negative")(b, advantages, {}).tolist() == [False, True, False]
    nsr = objectives.get("nsr")
    solved = batch([1, 1])
    assert not nsr.filters[0](solved, nsr.advantage(solved), {}).any()


def test_ema_of_stds(oracle):
    given, want, tol = oracle("RLPR-ema")
    ema, seen = given["ema0"], [given["ema0"]]
    for value in given["mean_std"]:
        ema = filters.ema_update(ema, value, given["ratio"])
        seen.append(ema)
    assert seen == pytest.approx(want["ema"], abs=tol)
    assert [given["beta_std"] * e for e in seen] == pytest.approx(want["threshold"], abs=tol)


def two_groups(batch, a, b):
    return batch([0, a * np.sqrt(2), 0, b * np.sqrt(2)], [0, 0, 1, 1])


def test_ema_filter_collects_then_filters(oracle, batch):
    given, want, tol = oracle("RLPR-ema")
    keep = filters.ema_std_filter(given["beta_std"], given["ratio"], collect_from=2, filter_from=4)
    state = {}
    for step in (1, 2, 3):
        assert keep(two_groups(batch, 0.2, 0.2), np.zeros(4), state).all()
        assert ("ema" in state) is (step >= 2)
    # std .25 and .07: mean .16; the threshold is half of the .2 collected before
    assert keep(two_groups(batch, 0.25, 0.07), np.zeros(4), state).tolist() == [True, True, False, False]
    assert state["ema"] == pytest.approx(want["ema"][1], abs=tol)
    assert keep(two_groups(batch, 0.12, 0.12), np.zeros(4), state).all()
    assert state["ema"] == pytest.approx(want["ema"][2], abs=tol)


def test_ema_filter_skips_nan_and_checks_its_parameters(batch):
    keep = filters.ema_std_filter(0.5, collect_from=1, filter_from=2)
    state = {}
    keep(batch([None, 1, 0, 1], [0, 0, 1, 1]), np.zeros(4), state)
    assert state["ema"] == pytest.approx(np.std([0, 1], ddof=1))
    assert keep(batch([None, 1, 0, 1], [0, 0, 1, 1]), np.zeros(4), state).tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="collect_from < filter_from"):
        filters.ema_std_filter(0.5, collect_from=5, filter_from=5)


def test_aepo_masks(oracle, batch):
    given, want, tol = oracle("AEPO-1")
    b = batch([0] * 4, entropies_B=given["entropy"])
    advantages = np.array(given["A"])
    assert filters.batch_entropy(b) == pytest.approx(want["batch_entropy"], abs=tol)
    gated = filters.aepo_gate(0.1, given["H_high"])(b, advantages, {})
    assert (gated != 0).astype(int).tolist() == want["gated_mask"]
    static = filters.clip_negative_sequences(given["tau_seq"])(b, advantages, {})
    assert (static != 0).astype(int).tolist() == want["static_seq_mask"]


def test_aepo_state_machine_has_hysteresis_and_no_deadlock(batch):
    gate, state = filters.aepo_gate(0.1, 0.3), {}
    mixed = np.array([1.0, -1.0])

    def step(entropy, advantages=mixed):
        entropies = [np.nan, np.nan] if entropy is None else [entropy, entropy]
        return (gate(batch([0, 0], entropies_B=entropies), advantages, state) < 0).any()

    assert [step(h) for h in (None, 0.2, 0.4, 0.2, 0.05, 0.2)] == [True, True, False, False, True, True]
    assert not step(0.5)
    only_negative = np.array([-1.0, -0.5])
    assert step(0.5, only_negative) and state["keep_negatives"]


def test_thresholds_out_of_order():
    with pytest.raises(ValueError, match="out of order"):
        filters.aepo_gate(0.3, 0.3)
    with pytest.raises(objectives.ObjectiveError, match="out of order"):
        objectives.get("aepo", {"h_low": 0.3, "h_high": 0.2})
    with pytest.raises(objectives.ObjectiveError, match="no defaults"):
        objectives.get("aepo")


def test_entropy_stays_in_the_band_under_aepo():
    """200 exact steps of a three-armed policy whose reward oscillates; wrong arms leave when entropy is high."""
    z, state, seen = np.zeros(4), {}, []
    gate = filters.aepo_gate(0.5, 0.9)
    for step in range(200):
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        entropy = -(p * np.log(p)).sum()
        seen.append(entropy)
        good = np.array([1.0, 0.5, 0.0, 0.0]) if (step // 20) % 2 else np.array([0.5, 1.0, 0.0, 0.0])
        advantages = good - p @ good
        from palaestra.trainer.objectives import RolloutBatch

        b = RolloutBatch(tuple("abcd"), np.zeros(4, int), good, entropies_B=np.full(4, entropy))
        advantages = gate(b, advantages, state)
        z = z + 0.5 * p * (advantages - p @ advantages)
    assert max(seen[100:]) < 1.1 and min(seen[100:]) > 0.1


def test_token_level_form_masks_uncertain_tokens_of_wrong_rollouts(tokens):
    import torch

    loss = objectives.get("aepo", {"tau_token": 0.5}).loss
    entropy = torch.tensor([[0.1, 0.9], [0.1, 0.9]], dtype=torch.float64)
    b = tokens(-torch.ones(2, 2, dtype=torch.float64), [[1.0], [-1.0]], entropy_BT=entropy)
    (grad,) = torch.autograd.grad(loss(b)[0], b.logp_BT)
    assert grad.tolist() == [pytest.approx([-0.25, -0.25]), pytest.approx([0.25, 0.0])]


def test_best_of_group_breaks_ties_by_id(batch):
    b = batch([1, 0, 1, None], ids=("z", "m", "a", "b"))
    assert filters.best_of_group(b, np.zeros(4), {}).tolist() == [False, False, True, False]
    assert not filters.best_of_group(batch([None]), np.zeros(1), {}).any()


def test_balanced_counts_are_exact_and_the_remainder_rotates():
    sampler = object.__new__(Balanced)
    sampler.types = ["a", "b", "c"]
    quotas = [sampler.quotas(4, turn) for turn in range(6)]
    assert all(sorted(counts.values()) == [1, 1, 2] for counts in quotas)
    assert [sum(counts[name] for counts in quotas) for name in "abc"] == [8, 8, 8]
    assert sampler.quotas(3, 5) == {"a": 1, "b": 1, "c": 1} and sum(sampler.quotas(2, 1).values()) == 2
