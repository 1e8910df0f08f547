"""Group shaping: DARLING, unlikeliness, overlong, ranks, RLPR."""

import numpy as np
import pytest

from palaestra.judges.partition.rewards import darling_diversity
from palaestra.schema import Message, Rollout, Turn
from palaestra.trainer.objectives import advantages as adv
from palaestra.trainer.objectives import probes, shaping


def labels_of(sizes):
    """Cluster labels with the given size for each member: members of one cluster are neighbours."""
    labels, k = [], 0
    for size in sizes:
        if labels and labels.count(labels[-1]) < sizes[len(labels) - 1] and sizes[len(labels) - 1] == size:
            labels.append(labels[-1])
        else:
            labels.append(k)
            k += 1
    assert [labels.count(label) for label in labels] == sizes
    return labels


@pytest.mark.parametrize("name", ["D1", "D1-additive", "D2", "D3", "D4"])
def test_darling(oracle, batch, name):
    given, want, tol = oracle(name)
    b = batch(given["quality"], clusters_B=labels_of(given["cluster_sizes"]))
    shape = shaping.darling("add" if given.get("combine") == "add" else "multiply", given["floor"])
    shaped = b.with_rewards(shape(b))
    assert darling_diversity(given["cluster_sizes"], given["floor"]) == pytest.approx(want["D"])
    assert shaped.rewards_B == pytest.approx(want["r"], abs=tol)
    assert adv.group_advantage(shaped, "none") == pytest.approx(want["A"], abs=tol)
    assert adv.group_advantage(shaped, "group") == pytest.approx(want["A_std"], abs=tol)


def test_darling_with_negative_quality(oracle, batch):
    given, want, tol = oracle("D5")
    b = batch(given["quality"], clusters_B=labels_of(given["cluster_sizes"]))
    fixed = shaping.darling(floor=given["floor"])(b)
    # Quality is shifted before the product, so a rare rollout still gains.
    diversity = darling_diversity(given["cluster_sizes"], given["floor"])
    assert b.rewards_B * diversity == pytest.approx(want["r"], abs=tol)  # the failure case, which we do not return
    assert adv.group_advantage(b.with_rewards(b.rewards_B * diversity), "none") == pytest.approx(want["A"], abs=tol)
    assert fixed == pytest.approx(want["r_bias_fixed"], abs=tol)
    assert adv.group_advantage(b.with_rewards(fixed), "none") == pytest.approx(want["A_bias_fixed"], abs=tol)
    with pytest.raises(ValueError, match=r"rewards >= 0, found -1"):
        shaping.darling(negative="raise")(b)


def test_darling_groups_of_one_failed_judges_and_unscored(batch):
    shape = shaping.darling(floor=0.1)
    assert shape(batch([0.5], clusters_B=[0])) == pytest.approx([0.5])
    assert shape(batch([1, 1, 0], clusters_B=[0, -1, 0])) == pytest.approx([1, 1, 0])
    gap = shape(batch([1, None, 1], clusters_B=[0, 0, 0]))
    assert gap[[0, 2]] == pytest.approx([0.1, 0.1]) and np.isnan(gap[1])
    judged = shaping.darling(source="diversity", floor=0.1)
    assert judged(batch([1, 1, 1], diversity_B=[0.0, 0.5, np.nan])) == pytest.approx([0.1, 0.5, 1.0])
    with pytest.raises(ValueError, match="clusters_B"):
        shape(batch([1, 0]))


@pytest.mark.parametrize(("name", "gate"), [("UNLIKELY-1", True), ("UNLIKELY-2", False)])
def test_unlikeliness(oracle, batch, name, gate):
    given, want, tol = oracle(name)
    b = batch(given["rewards"], logp_sums_B=[4.0 * lp for lp in given["mean_lp"]], lengths_B=[4] * 4)
    shaped = b.with_rewards(shaping.unlikeliness(given["beta"], gate)(b))
    if "r" in want:
        assert shaped.rewards_B == pytest.approx(want["r"], abs=tol)
        assert adv.group_advantage(b) == pytest.approx(want["A_plain"], abs=tol)
    assert adv.group_advantage(shaped) == pytest.approx(want["A"], abs=tol)


def test_unlikeliness_gate_ties_and_negative_rewards(oracle, batch):
    given, _, _ = oracle("UNLIKELY-2")
    b = batch(given["rewards"], logp_sums_B=given["mean_lp"])
    assert adv.group_advantage(b.with_rewards(shaping.unlikeliness(0.25)(b))) == pytest.approx([0] * 4)
    tied = shaping.unlikeliness(0.5)(batch([1, 1, 0], logp_sums_B=[-3.0, -3.0, -9.0]))
    assert tied[0] == tied[1] == pytest.approx(1 - 0.5 * 1.5 / 3)
    assert shaping.unlikeliness(0.5)(batch([-2, 1], logp_sums_B=[-1.0, -2.0]))[0] == -2


def test_soft_overlong(oracle):
    given, want, tol = oracle("DAPO-overlong")
    got = shaping.soft_overlong(np.array(given["lengths"]), given["L_max"], given["L_cache"])
    assert got == pytest.approx(want, abs=tol)
    with pytest.raises(ValueError, match=r"must be in 1\.\.max_length"):
        shaping.soft_overlong(np.array([1]), 10, 20)


def test_chained_shapes_keep_the_raw_rewards(batch):
    seen = {}

    def spy(group):
        seen["raw"], seen["now"] = group.accuracy_B.tolist(), group.rewards_B.tolist()
        return group.rewards_B

    b = batch([1, 0], lengths_B=[4, 2], max_length=4)
    assert shaping.chain([shaping.overlong_penalty(1.0, 2), spy])(b) == pytest.approx([0, 0])
    assert seen == {"raw": [1, 0], "now": [0, 0]}
    assert shaping.chain([]) is None


def test_judge_ranks(oracle, batch):
    _, want, tol = oracle("A1-strict")
    for n, expected in want.items():
        ranks = 1 - np.arange(int(n)) / (int(n) - 1)
        b = batch([0.0] * int(n), ranks_B=ranks.tolist())
        shaped = b.with_rewards(shaping.judge_ranks(b))
        assert adv.group_advantage(shaped) == pytest.approx(expected, abs=tol)
    with pytest.raises(ValueError, match="ranks_B"):
        shaping.judge_ranks(batch([1, 0]))


def test_an_unranked_rollout_is_unscored_and_an_outage_trains_nothing(batch):
    b = batch([1, 1, 1], ranks_B=[1.0, np.nan, 0.0])
    assert np.isnan(shaping.judge_ranks(b)[1])
    out = batch([1, 1], ranks_B=[np.nan, np.nan])
    assert adv.group_advantage(out.with_rewards(shaping.judge_ranks(out))) == pytest.approx([0, 0])


def test_rlpr_reward(oracle):
    given, want, tol = oracle("RLPR-1")
    p, base = np.array(given["p"]), np.array(given["p_base"])
    assert [p.mean(), p.prod(), p.prod() ** (1 / 3)] == pytest.approx(
        [want["mean"], want["likelihood"], want["geometric"]], abs=tol
    )
    low = np.array([0.9, 0.01, 0.8])
    assert [low.mean(), low.prod()] == pytest.approx(
        [want["mean_with_p1_0p01"], want["likelihood_with_p1_0p01"]], abs=tol
    )
    assert [base.mean(), p.mean() - base.mean()] == pytest.approx([want["base"], want["d"]], abs=tol)
    assert shaping.rlpr_reward(p, base, given["format_ok"]) == pytest.approx(want["r"], abs=tol)
    assert shaping.rlpr_reward(base, p) == pytest.approx(0.1)
    assert np.isnan(shaping.rlpr_reward(np.array([np.nan]), base))


def test_rlpr_shape(batch):
    probs = ((np.array([0.9]), np.array([0.5])), None, (np.array([np.nan]), np.array([0.5])))
    got = shaping.rlpr()(batch([None, None, None], answer_probs=probs))
    assert got[:2] == pytest.approx([0.46, 0.0]) and np.isnan(got[2])


def attempt(text):
    turn = Turn(prompt_ids=(7, 8), completion_ids=(1,), logprobs=(-1.0,))
    messages = (Message(role="user", content="q"), Message(role="assistant", content=text))
    return Rollout(task_id="t", messages=messages, turns=(turn,))


def test_answer_probe_swaps_the_answer_and_ignores_what_was_sampled():
    calls = {}

    def score(prompts, targets):
        calls["prompts"], calls["targets"] = prompts, targets
        return [np.log(np.full(len(x), 0.5)) for x in targets]

    def encode(text):
        return [ord(c) for c in text]

    rollouts = [attempt("so <answer>41</answer>"), attempt("so <answer>nonsense</answer>"), attempt("no tags")]
    found = probes.answer_probs(rollouts, ["42", "42", "42"], score, encode)
    assert found[2] is None and found[0][0] == pytest.approx([0.5, 0.5])
    assert calls["prompts"][0] == calls["prompts"][2] == (7, 8, *encode("so <answer>"))
    assert calls["prompts"][1] == (7, 8, *encode("<answer>"))
    assert set(calls["targets"]) == {tuple(encode("42"))}
    assert probes.answer_probs([attempt("x <answer>1</answer>")], [""], score, encode) == (None,)


def test_answer_probe_tokenises_in_context():
    """A tokenizer that merges '>4' must not make the reference start in the middle of a token."""
    vocabulary = {">4": 1}

    def encode(text):
        ids, i = [], 0
        while i < len(text):
            step = 2 if text[i : i + 2] in vocabulary else 1
            ids.append(vocabulary.get(text[i : i + step], ord(text[i]) + 100))
            i += step
        return ids

    seen = []
    probes.answer_probs(
        [attempt("<answer>9</answer>")],
        ["42"],
        lambda p, c: (seen.extend(zip(p, c, strict=True)), [np.zeros(len(x)) for x in c])[1],
        encode,
    )
    prompt, continuation = seen[0]
    assert list(prompt[2:]) + list(continuation) == encode("<answer>42") and continuation[0] == 1
