"""Which model wrote this? A classifier of texts by source; accuracy above chance is idiosyncrasy (arXiv 2502.12150)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from .embeddings import hashed_tfidf


def strip_special(text: str) -> str:
    """Letters, digits and blanks only."""
    return re.sub(r"[^\w\s]", "", text)


def shuffle_words(text: str, seed: int = 0) -> str:
    """The words in random order."""
    words = text.split()
    return " ".join(words[i] for i in np.random.default_rng(seed).permutation(len(words)))


def shuffle_letters(text: str, seed: int = 0) -> str:
    """The characters in random order."""
    return "".join(text[i] for i in np.random.default_rng(seed).permutation(len(text)))


def markdown_only(text: str) -> str:
    """Every word replaced by ``xxx``; markup and layout stay."""
    return re.sub(r"\w+", "xxx", text)


TRANSFORMS: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "strip_special": strip_special,
    "shuffle_words": shuffle_words,
    "shuffle_letters": shuffle_letters,
    "markdown_only": markdown_only,
}


def fit_logistic(x_ND: np.ndarray, y_N: np.ndarray, classes: int, l2: float = 1e-4, steps: int = 200) -> np.ndarray:
    """Multinomial logistic regression by accelerated gradient descent; returns weights [D+1, classes], bias last."""
    x = np.hstack([x_ND, np.ones((len(x_ND), 1), x_ND.dtype)])
    target = np.eye(classes, dtype=x.dtype)[y_N]
    direction = np.ones(x.shape[1], x.dtype)
    for _ in range(20):  # largest eigenvalue of x'x, for the step size
        direction = x.T @ (x @ direction)
        direction /= np.linalg.norm(direction)
    rate = len(x) / (0.5 * 1.05 * np.linalg.norm(x @ direction) ** 2 + l2 * len(x))
    weights = momentum = np.zeros((x.shape[1], classes), x.dtype)
    rate = x.dtype.type(rate)
    for step in range(steps):
        scores = x @ momentum
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        ahead = momentum - rate * (x.T @ (p - target) / len(x) + l2 * momentum)
        momentum = ahead + step / (step + 3) * (ahead - weights)
        weights = ahead.astype(x.dtype)
        momentum = momentum.astype(x.dtype)
    return weights


def predict(weights: np.ndarray, x_ND: np.ndarray) -> np.ndarray:
    """Most likely class of each row."""
    return (np.hstack([x_ND, np.ones((len(x_ND), 1))]) @ weights).argmax(1)


def identity_report(
    texts: Sequence[str],
    models: Sequence[str],
    prompts: Sequence[str],
    transform: str = "none",
    max_words: int = 512,
    test_share: float = 0.25,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy of telling models apart, split *by prompt* so that topics cannot give them away.

    Args:
        texts: responses; models: who wrote each; prompts: id of the prompt of each.
        transform: name in `TRANSFORMS`, applied first.
        max_words: texts are cut here, since length alone identifies models.
        test_share: share of prompts held out.
        seed: of the split and of the permutation control.

    Returns:
        accuracy, chance (largest class in the test set), shuffled (accuracy after training on permuted labels, which
        should be near chance), standard_error, and n of the test set.
    """
    names = sorted(set(models))
    if len(names) < 2:
        raise ValueError(f"identity_report needs texts of at least two models, found {names}")
    change = TRANSFORMS[transform]
    x = hashed_tfidf([change(" ".join(t.split(" ")[:max_words])) for t in texts], (1, 2), 4096, words=True)
    x = x[:, x.any(0)].astype(np.float32)
    y = np.array([names.index(m) for m in models])
    rng = np.random.default_rng(seed)
    unique = sorted(set(prompts))
    held = {unique[i] for i in rng.permutation(len(unique))[: max(1, round(test_share * len(unique)))]}
    test = np.array([p in held for p in prompts])
    if test.all() or not test.any():
        raise ValueError(f"identity_report needs at least two prompts to split by, found {len(unique)}")
    accuracy = float((predict(fit_logistic(x[~test], y[~test], len(names)), x[test]) == y[test]).mean())
    permuted = rng.permutation(y[~test])
    shuffled = float((predict(fit_logistic(x[~test], permuted, len(names)), x[test]) == y[test]).mean())
    n = int(test.sum())
    chance = float(np.bincount(y[test], minlength=len(names)).max() / n)
    error = float(np.sqrt(accuracy * (1 - accuracy) / n))
    return {"accuracy": accuracy, "chance": chance, "shuffled": shuffled, "standard_error": error, "n": float(n)}
