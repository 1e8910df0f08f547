"""A small pair judge that can be trained on labelled pairs and ships as one JSON file, threshold included.

Logistic regression on symmetric features of the two texts. scikit-learn fits it; using it needs numpy alone.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .features import WIDTH, pair_features
from .types import PairOutcome

FORMAT = "palaestra-pair-classifier-1"


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two texts and whether they are equivalent."""

    first: str
    second: str
    same: bool


@dataclass(frozen=True)
class PairClassifier:
    """Probability that two texts say the same.

    Attributes:
        weights: one for each feature.
        bias: intercept.
        threshold: "same" above this probability; chosen on held-out pairs and part of the model.
        report: what was measured while fitting.
    """

    weights: np.ndarray
    bias: float
    threshold: float = 0.5
    report: dict[str, Any] = field(default_factory=dict)

    def p_same(self, first: str, second: str) -> float:
        """Probability that the two are equivalent; the same in either order."""
        z = float(self.weights @ pair_features(first, second)) + self.bias
        return 1 / (1 + math.exp(-max(min(z, 60.0), -60.0)))

    def judge(self, first: str, second: str) -> PairOutcome:
        """The probability as an answer for partition; use ``threshold`` in its options."""
        return PairOutcome(p_same=self.p_same(first, second))

    @classmethod
    def fit(cls, pairs: Sequence[LabelledPair], strength: float = 1.0, folds: int = 5, seed: int = 0) -> PairClassifier:
        """Train on labelled pairs and choose the threshold on predictions for held-out folds.

        Args:
            pairs: at least two of each label.
            strength: inverse regularisation.
            folds: cross-validation folds for the threshold.
            seed: shuffles the folds.

        Raises:
            ValueError: when there are too few pairs of one label.
            ImportError: without scikit-learn.
        """
        labels = np.array([pair.same for pair in pairs], dtype=int)
        fewest = int(min(labels.sum(), (1 - labels).sum())) if len(labels) else 0
        if fewest < 2:
            raise ValueError(
                f"{len(pairs)} pairs with {int(labels.sum())} labelled same; give two or more of each label"
            )
        try:
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import StratifiedKFold, cross_val_predict
        except ImportError as error:
            raise ImportError("fitting a pair classifier needs scikit-learn: pip install 'palaestra[train]'") from error

        rows = np.stack([pair_features(pair.first, pair.second) for pair in pairs])
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        split = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed)
        held_out = cross_val_predict(model, rows, labels, cv=split, method="predict_proba")[:, 1]
        threshold, accuracy = _best_threshold(held_out, labels)
        model.fit(rows, labels)
        report = {
            "pairs": len(pairs),
            "share_same": round(float(labels.mean()), 4),
            "held_out_balanced_accuracy": round(accuracy, 4),
            "folds": min(folds, fewest),
        }
        return cls(model.coef_[0].astype(np.float32), float(model.intercept_[0]), threshold, report)

    def save(self, path: str | Path) -> None:
        """Write the model as JSON (weights as base64 of little-endian float32); nothing in it is executable."""
        body = asdict(self) | {
            "format": FORMAT,
            "weights": base64.b64encode(self.weights.astype("<f4").tobytes()).decode("ascii"),
        }
        Path(path).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> PairClassifier:
        """Read a model written by :meth:`save`.

        Raises:
            ValueError: for another format or a model of another shape.
        """
        body = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            found = body.get("format") if isinstance(body, dict) else type(body).__name__
            raise ValueError(f"{path}: format is {found!r}, expected {FORMAT!r}; fit the classifier again")
        try:
            weights = np.frombuffer(base64.b64decode(body["weights"], validate=True), dtype="<f4")
            threshold, bias = float(body["threshold"]), float(body["bias"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: damaged model, expected {WIDTH} weights: {error}") from error
        if weights.shape != (WIDTH,) or not np.isfinite(weights).all() or not math.isfinite(bias):
            raise ValueError(
                f"{path}: {weights.shape[0]} weights, expected {WIDTH} finite ones; fit the classifier again"
            )
        if not 0 <= threshold <= 1:
            raise ValueError(f"{path}: threshold={threshold} must lie in [0, 1]")
        return cls(weights, bias, threshold, dict(body.get("report", {})))


def read_pairs(lines: Iterable[str]) -> list[LabelledPair]:
    """Labelled pairs from JSON lines ``{"a": text, "b": text, "label": "same" | "different" | true | false}``.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            same = {"same": True, "different": False, True: True, False: False}[row["label"]]
            first, second = row["a"], row["b"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'line {number}: {error!r}; expected {{"a": text, "b": text, "label": "same"}}') from error
        if not (isinstance(first, str) and isinstance(second, str)):
            raise ValueError(f"line {number}: a and b must be texts")
        pairs.append(LabelledPair(first, second, same))
    return pairs


def _best_threshold(p_same: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The threshold with the best balanced accuracy, in the middle of the gap it lies in."""
    values = np.unique(p_same)
    candidates = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [(1 + values[-1]) / 2]])
    said = p_same[None, :] > candidates[:, None]
    recall = (said & (labels == 1)).sum(axis=1) / (labels == 1).sum()
    rejection = (~said & (labels == 0)).sum(axis=1) / (labels == 0).sum()
    accuracy = (recall + rejection) / 2
    best = int(accuracy.argmax())
    return float(candidates[best]), float(accuracy[best])
