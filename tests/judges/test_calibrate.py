"""Calibration of judges with known faults against labels."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.judges.calibrate import LabelledComparison, Look, Share, calibrate, kappa, read_comparisons
from palaestra.judges.testing import judge_server


def row(label, *looks, a="x", b="y", id="p"):
    return LabelledComparison(id, a, b, label, tuple(Look(first, winner) for first, winner in looks))


def simulated(n=400, accuracy=0.8, first_bonus=0.0, length_taste=0.0, seed=0):
    """Judges with a position bias and a taste for length, as JSON lines."""
    rng = np.random.default_rng(seed)
    lines = []
    for k in range(n):
        lengths = rng.integers(5, 200, 2)
        label = "ab"[rng.integers(2)]
        orders = []
        for first in "ab":
            right = 1.0 if rng.random() < accuracy else -1.0
            margin = right if label == "a" else -right
            margin += first_bonus * (1 if first == "a" else -1) * rng.random()
            margin += length_taste * math.log(lengths[0] / lengths[1])
            score_a, score_b = 5 + margin, 5 - margin
            winner = "a" if margin > 0 else "b" if margin < 0 else "tie"
            scores = (score_a, score_b) if first == "a" else (score_b, score_a)
            orders.append({"first": first, "winner": winner, "score_first": scores[0], "score_second": scores[1]})
        text = {"a": "x" * int(lengths[0]), "b": "x" * int(lengths[1])}
        lines.append(json.dumps({"id": f"p{k}", "label": label, "orders": orders, **text}))
    return lines


def test_a_fair_judge():
    result = calibrate(read_comparisons(simulated()))
    assert result.p_first.low < 0.5 < result.p_first.high
    assert result.accuracy_first.value == pytest.approx(0.8, abs=0.06)
    assert result.accuracy_second.value == pytest.approx(0.8, abs=0.06)
    assert result.consistent.value == pytest.approx(0.8**2 + 0.2**2, abs=0.07)
    assert result.agreement_decisive.value == pytest.approx(0.64 / 0.68, abs=0.04)
    assert result.warnings() == []
    assert abs(result.length_correlation) < 0.15
    assert sum(n for _, _, n in result.by_margin) == sum(
        "tie" not in (r.label, r.verdict) for r in read_comparisons(simulated())
    )


def test_position_bias_and_taste_for_length_are_found():
    biased = calibrate(read_comparisons(simulated(first_bonus=4.0)))
    assert biased.p_first.value > 0.7
    assert biased.accuracy_first.value > biased.accuracy_second.value + 0.3
    assert any("position bias" in warning for warning in biased.warnings())
    wordy = calibrate(read_comparisons(simulated(length_taste=2.0)))
    assert wordy.length_correlation > wordy.label_length_correlation + 0.3
    assert any("longer" in warning for warning in wordy.warnings())
    assert wordy.by_length[0][1] < 0.3 < 0.7 < wordy.by_length[-1][1]


def test_kappa_by_hand():
    assert kappa({"x": {"x": 20, "y": 5}, "y": {"x": 10, "y": 15}}) == pytest.approx(0.4)
    assert kappa({"x": {"x": 0, "y": 5}, "y": {"x": 5, "y": 0}}) == pytest.approx(-1)
    assert kappa({"x": {"x": 4, "y": 0}, "y": {"x": 0, "y": 0}}) is None  # chance agrees always
    assert kappa({"x": {"x": 0}}) is None


def test_orders_that_disagree_are_a_tie_and_failures_are_left_out():
    assert row("a", ("a", "a"), ("b", "b")).verdict == "tie"
    assert row("a", ("a", "a"), ("b", None)).verdict == "a"
    assert row("a", ("a", None)).verdict is None
    result = calibrate([row("a", ("a", "a"), ("b", None), id="1"), row("b", ("a", None), id="2")])
    assert (result.pairs, result.scored, result.calls, result.failed_calls) == (2, 1, 3, 2)
    assert result.agreement.value == 1.0 and result.agreement.count == 1
    assert result.consistent.value is None
    nothing = calibrate([row("a", ("a", None))])
    assert nothing.agreement.value is None and nothing.kappa is None and nothing.length_correlation is None
    assert calibrate([]).pairs == 0


def test_wilson_interval():
    share = Share.of(8, 10)
    assert (round(share.low, 3), round(share.high, 3)) == (0.490, 0.943)
    assert Share.of(0, 0).value is None
    assert Share.of(5, 5).high == 1.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ('{"a": "x", "b": "y"}', "label"),
        ('{"a": "x", "b": "y", "label": "c"}', "label='c'"),
        ('{"a": 1, "b": "y", "label": "a"}', "a must be a text"),
        ('{"a": "x", "b": "y", "label": "a", "orders": [{"first": "z"}]}', "orders.first='z'"),
    ],
)
def test_bad_rows_name_the_line_and_the_field(line, message):
    with pytest.raises(ValueError, match=message):
        read_comparisons([line])


def test_ids_are_unique():
    with pytest.raises(ValueError, match="'7' appears twice"):
        read_comparisons(['{"id": 7, "a": "x", "b": "y", "label": "a"}'] * 2)


def test_command_line(tmp_path):
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "pairs.jsonl", tmp_path / "plot.png"
    path.write_text("\n".join(simulated(120)))
    result = CliRunner().invoke(build_app(), ["calibrate", str(path), "--plot", str(picture), "--json"])
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["pairs"] == body["scored"] == 120
    assert body["agreement"]["low"] < body["agreement"]["value"] < body["agreement"]["high"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = CliRunner().invoke(build_app(), ["calibrate", str(path)])
    assert "kappa" in shown.output and "first slot wins" in shown.output


def test_pairs_without_verdicts_need_a_judge(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": "p", "a": "x", "b": "y", "label": "a"}')
    result = CliRunner().invoke(build_app(), ["calibrate", str(path)])
    assert result.exit_code == 1
    assert "--url" in str(result.exception)


def test_fit_partition_command(tmp_path):
    pytest.importorskip("sklearn")
    path, model = tmp_path / "pairs.jsonl", tmp_path / "model.json"
    words = ["red apple", "green pear", "blue plum", "ripe fig"]
    rows = [{"a": a, "b": b + " please", "label": a == b} for a in words for b in words]
    path.write_text("\n".join(json.dumps(r) for r in rows))
    result = CliRunner().invoke(build_app(), ["fit-partition", str(path), "-o", str(model), "--json", "--folds", "3"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs"] == 16
    assert json.loads(model.read_text())["format"].startswith("palaestra")


def test_asking_a_judge_server(tmp_path):
    """Pairs without verdicts are put to a real server in both orders, and what it said is kept."""
    path, saved = tmp_path / "pairs.jsonl", tmp_path / "judged.jsonl"
    rows = [
        {"id": f"p{k}", "prompt": "2+2?", "a": "45"[k % 2], "b": "54"[k % 2], "reference": "4", "label": "ab"[k % 2]}
        for k in range(20)
    ]
    path.write_text("\n".join(json.dumps(r) for r in rows))
    with judge_server() as url:
        arguments = ["calibrate", str(path), "--url", url, "--rubric", "exact", "--save", str(saved), "--json"]
        result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert (body["pairs"], body["scored"], body["agreement"]["value"], body["p_first"]["value"]) == (20, 20, 1.0, 0.5)
    kept = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [r["id"] for r in kept] == [r["id"] for r in rows]
    assert all(len(r["orders"]) == 2 for r in kept)
