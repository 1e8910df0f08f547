"""Calibration of scoring judges with known faults against labels."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.judges.calibrate_scores import LabelledScore, calibrate_scores, read_scores
from palaestra.judges.testing import judge_server


def rows(labels, rewards, texts=None, groups=None):
    texts = texts or ["x" * (k + 1) for k in range(len(labels))]
    return [
        LabelledScore(str(k), texts[k], label, reward, groups[k] if groups else "")
        for k, (label, reward) in enumerate(zip(labels, rewards, strict=True))
    ]


def simulated(n=400, noise=0.1, shift=0.0, length_taste=0.0, seed=0):
    """A judge of responses labelled 1 to 5, with noise, leniency and a taste for length."""
    rng = np.random.default_rng(seed)
    label = rng.integers(1, 6, n).astype(float)
    length = rng.integers(5, 300, n)
    taste = length_taste * (np.log1p(length) - np.log1p(length).mean())
    reward = np.clip((label - 1) / 4 + shift + taste + noise * rng.standard_normal(n), 0, 1)
    return rows(label.tolist(), reward.tolist(), ["x" * int(k) for k in length])


def test_a_judge_that_repeats_the_labels_is_perfect():
    result = calibrate_scores(rows([1, 2, 3, 4, 5] * 30, [0, 0.25, 0.5, 0.75, 1] * 30))
    assert (result.agreement.value, result.kappa, result.weighted_kappa) == (1.0, 1.0, 1.0)
    assert (result.order.value, result.bias) == (1.0, 0.0)
    assert result.spearman == pytest.approx(1) == pytest.approx(result.pearson)
    assert result.warnings() == []


def test_hand_counted_agreement_and_area_under_the_curve():
    result = calibrate_scores(rows([1.0, 1.0, 0.0, 0.0, 0.0], [0.9, 0.4, 0.6, 0.1, 0.4]))
    assert result.levels == (0.0, 1.0)
    assert result.confusion == {"0": {"0": 2, "1": 1}, "1": {"0": 1, "1": 1}}
    assert result.agreement.value == pytest.approx(3 / 5)
    assert result.kappa == pytest.approx((0.6 - (0.6 * 0.6 + 0.4 * 0.4)) / (1 - 0.52))
    assert result.order.value == pytest.approx((3 + 0 + 1 + 0.5) / 6)  # pairs won, a tie counts half
    assert result.order.count == 6


def test_near_misses_cost_less_in_the_weighted_kappa():
    near = calibrate_scores(rows([1, 2, 3, 4, 5] * 4, [0.25, 0.5, 0.75, 1, 1] * 4))
    assert near.agreement.value == pytest.approx(0.2) and near.kappa < 0.1 and near.weighted_kappa > 0.7


def test_leniency_and_taste_for_length_are_found():
    fair, lenient, wordy = simulated(), simulated(shift=0.25), simulated(length_taste=0.3)
    assert calibrate_scores(fair).warnings() == []
    assert any("lenient by 0." in w for w in calibrate_scores(lenient).warnings())
    found = calibrate_scores(wordy)
    assert found.length_beyond_labels > 0.4 > 0.1 > abs(found.label_length_correlation)
    assert any("longer responses" in w for w in found.warnings())


def test_a_judge_that_guesses_is_called_that():
    rng = np.random.default_rng(1)
    result = calibrate_scores(rows([0.0, 1.0] * 100, rng.random(200).tolist()))
    assert any("no better than chance" in w for w in result.warnings()) and result.kappa < 0.4


def test_order_is_compared_within_prompts_when_they_repeat():
    # Between prompts the judge is misled by their level, within each it is right.
    data = rows([1, 2, 5, 6], [0.8, 0.9, 0.1, 0.2], groups=["p", "p", "q", "q"])
    result = calibrate_scores(data)
    assert result.order.value == 1.0 and result.order_within_prompts and result.order.count == 2
    assert calibrate_scores([LabelledScore(r.id, r.response, r.label, r.reward) for r in data]).order.value < 0.5


def test_failures_are_left_out_and_never_zeros():
    result = calibrate_scores(rows([0, 1, 0, 1], [0.0, None, None, 1.0]))
    assert (result.items, result.scored, result.agreement.value, result.bias) == (4, 2, 1.0, 0.0)
    assert "2 of 4 responses have no score" in result.warnings()[0]
    nothing = calibrate_scores(rows([0, 1], [None, None]))
    assert nothing.scored == 0 and nothing.agreement.value is None and nothing.spearman is None


def test_many_different_labels_are_a_measurement():
    result = calibrate_scores(rows([k / 50 for k in range(50)], [k / 50 for k in range(50)]))
    assert result.levels == () and result.kappa is None and result.agreement.value is None
    assert result.spearman == pytest.approx(1)


def test_the_scale_of_the_labels_can_be_given():
    data = rows([2, 3, 4], [0.25, 0.5, 0.75])
    assert calibrate_scores(data, (1, 5)).bias == pytest.approx(0) and calibrate_scores(data, (1, 5)).kappa == 1
    with pytest.raises(ValueError, match="labels run from 2 to 4, outside the scale 3 to 5"):
        calibrate_scores(data, (3, 5))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.floats(0, 1) | st.none()), min_size=1, max_size=30), st.randoms()
)
def test_the_order_of_the_file_changes_nothing(pairs, random):
    data = rows([label for label, _ in pairs], [reward for _, reward in pairs])
    shuffled = random.sample(data, len(data))
    one, two = calibrate_scores(data), calibrate_scores(shuffled)
    assert one.confusion == two.confusion and one.scored == two.scored
    assert one.order.value == pytest.approx(two.order.value) and one.kappa == pytest.approx(two.kappa)
    json.dumps(one.confusion, allow_nan=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"label": 1}', "line 1: missing field 'response'"),
        ('{"response": "x"}', "missing field 'label'"),
        ('{"response": 3, "label": 1}', "response must be a text"),
        ('{"response": "x", "label": "good"}', "label='good' must be true, false or a finite number"),
        ('{"response": "x", "label": NaN}', "finite"),
        ('{"response": "x", "label": 1, "reward": 7}', "reward=7 must be a number from 0 to 1"),
        ('{"response": "x", "label": 1, "reward": true}', "reward=True"),
        ("[1]", "line 1"),
    ],
)
def test_bad_rows_name_the_line_and_the_fix(line, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        read_scores([line])
    with pytest.raises(ValueError, match="appears twice"):
        read_scores(['{"id": "a", "response": "x", "label": 1}'] * 2)


def test_the_command_asks_plots_and_saves(tmp_path):
    data = [
        {"id": f"r{k}", "prompt": "2+2?", "response": answer, "reference": "4", "label": answer == "4"}
        for k, answer in enumerate(["4", "5", "4", "3"])
    ]
    source, picture, kept = tmp_path / "labels.jsonl", tmp_path / "c.png", tmp_path / "judged.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in data))
    run = CliRunner()
    with judge_server() as url:
        common = ["calibrate", str(source), "--url", url, "--rubric", "exact"]
        result = run.invoke(build_app(), [*common, "--plot", str(picture), "--save", str(kept), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["agreement"]["value"] == 1.0 and found["kappa"] == 1.0 and picture.stat().st_size > 1000
    assert [json.loads(line)["reward"] for line in kept.read_text().splitlines()] == [1.0, 0.0, 1.0, 0.0]
    again = run.invoke(build_app(), ["calibrate", str(kept)])  # nobody is asked twice
    assert again.exit_code == 0 and "ordered as labelled" in again.output


def test_the_command_refuses_a_mixture_and_rows_nobody_judged(tmp_path):
    source = tmp_path / "labels.jsonl"
    source.write_text('{"response": "x", "label": 1}\n')
    result = CliRunner().invoke(build_app(), ["calibrate", str(source)])
    assert result.exit_code != 0 and "give --url" in str(result.exception) + result.output
    source.write_text('{"response": "x", "label": 1}\n{"a": "x", "b": "y", "label": "a"}\n')
    result = CliRunner().invoke(build_app(), ["calibrate", str(source)])
    assert result.exit_code != 0 and "line 2" in str(result.exception) + result.output
