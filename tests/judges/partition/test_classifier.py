"""The trainable pair judge: symmetric, saved without pickle, threshold included."""

import json

import numpy as np
import pytest

from palaestra.judges.partition import PartitionGroup, PartitionOptions, partition_groups_sync
from palaestra.judges.partition.classifier import LabelledPair, PairClassifier, read_pairs
from palaestra.judges.partition.features import pair_features

pytest.importorskip("sklearn", reason="fitting needs scikit-learn")
TOPICS = {
    "induction": ["use induction on n", "argue by induction", "prove it by induction on the size"],
    "contradiction": ["assume the contrary", "argue by contradiction, assume it is false", "a contradiction follows"],
    "counting": ["count the pairs in two ways", "double counting of pairs", "count pairs twice"],
}


def training_pairs():
    texts = [(topic, text) for topic, group in TOPICS.items() for text in group]
    return [LabelledPair(a, b, s == t) for i, (s, a) in enumerate(texts) for t, b in texts[i:]]


@pytest.fixture(scope="module")
def model():
    return PairClassifier.fit(training_pairs())


def test_it_learns_and_its_report_is_from_held_out_pairs(model):
    right = [(model.p_same(p.first, p.second) > model.threshold) == p.same for p in training_pairs()]
    assert np.mean(right) > 0.8
    assert 0 < model.threshold < 1
    assert model.report["pairs"] == 45
    assert 0.5 < model.report["held_out_balanced_accuracy"] <= 1


def test_it_is_symmetric(model):
    for p in training_pairs():
        assert model.p_same(p.first, p.second) == model.p_same(p.second, p.first)
        assert (pair_features(p.first, p.second) == pair_features(p.second, p.first)).all()


def test_saved_and_loaded_it_says_the_same(model, tmp_path):
    path = tmp_path / "model.json"
    model.save(path)
    again = PairClassifier.load(path)
    assert again.threshold == model.threshold
    for p in training_pairs():
        assert again.p_same(p.first, p.second) == pytest.approx(model.p_same(p.first, p.second), abs=1e-6)
    PairClassifier.fit(training_pairs()).save(tmp_path / "twin.json")
    assert (tmp_path / "twin.json").read_bytes() == path.read_bytes()


def test_broken_files_are_refused(model, tmp_path):
    path = tmp_path / "model.json"
    model.save(path)
    body = json.loads(path.read_text())
    for change, message in (
        ({"format": "x"}, "format is 'x'"),
        ({"weights": "AAAA"}, "expected"),
        ({"threshold": 3}, "3"),
    ):
        path.write_text(json.dumps(body | change))
        with pytest.raises(ValueError, match=message):
            PairClassifier.load(path)


def test_it_serves_partition(model):
    contents = {f"{topic}{k}": text for topic, group in TOPICS.items() for k, text in enumerate(group)}
    result = partition_groups_sync(
        [PartitionGroup("g", list(contents), contents)],
        lambda pair: model.judge(contents[pair.first], contents[pair.second]),
        PartitionOptions(threshold=model.threshold),
    )[0]
    assert result.stats.n_clusters <= 5
    assert result.labels[0] == result.labels[1]


def test_odd_texts_are_only_texts(model):
    for text in ("", "\ud800", "\x00", "a" * 100_000):
        assert 0 <= model.p_same(text, "use induction") <= 1


def test_reading_pairs():
    lines = ['{"a": "x", "b": "y", "label": "same"}', "", '{"a": "x", "b": "z", "label": false}']
    assert [p.same for p in read_pairs(lines)] == [True, False]
    for bad, message in (
        ("{", "line 1"),
        ('{"a": "x", "b": "y", "label": "maybe"}', "maybe"),
        ('{"a": 1, "b": "", "label": true}', "texts"),
    ):
        with pytest.raises(ValueError, match=message):
            read_pairs([bad])
    with pytest.raises(ValueError, match="two or more"):
        PairClassifier.fit([LabelledPair("a", "b", True)])
