"""A judge with known faults: noise, position bias, persistent disagreement per pair, drifting level.

Latent quality is standard normal. A call that shows ``a`` first and ``b`` second has the margin

    z = (q_a - q_b) + sqrt(rho) sigma u_ab + delta + sqrt(1 - rho) sigma eps,   sigma = sqrt(2) tan(pi (1 - acc)),

where u_ab = -u_ba is drawn once per pair, so asking again does not help and preferences can be cyclic. With this
sigma the mean accuracy of one call over random pairs is exactly ``acc`` when delta is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .types import Noise

POINTS_PER_QUALITY = 1.2


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """Faults of a simulated judge.

    Attributes:
        acc: accuracy of one call over random pairs, without position bias.
        delta: bias towards the first slot in standard deviations of quality.
        rho: share of the noise that belongs to the pair and does not change when asked again.
        nu: standard deviation of the judge's level from call to call (graded judges).
        graded: scores from 0 to 10 in steps of one half, or only a verdict.
    """

    acc: float = 0.8
    delta: float = 0.5
    rho: float = 0.5
    nu: float = 1.0
    graded: bool = True

    @property
    def sigma(self) -> float:
        """Standard deviation of the margin noise."""
        return math.sqrt(2) * math.tan(math.pi * (1 - self.acc))

    @property
    def noise(self) -> Noise:
        """The true noise, rounding of scores included."""
        s2 = self.sigma**2 + 0.1 if self.graded else max(self.sigma**2, 0.5)
        return Noise(s2=s2, m2=self.nu**2 + 0.05, points=POINTS_PER_QUALITY)

    @property
    def prior_variance(self) -> float:
        """Prior variance of Bradley-Terry ratings that suits this noise."""
        return (1.7 / max(self.sigma, 0.5)) ** 2


class SimulatedJudge:
    """Judges calls between items of G groups at once.

    Args:
        quality_GN: latent quality of every item.
        model: faults of the judge.
        rng: source of all noise.
    """

    def __init__(self, quality_GN: np.ndarray, model: JudgeModel, rng: np.random.Generator) -> None:
        self.quality_GN = np.atleast_2d(quality_GN)
        self.model = model
        self._rng = rng
        upper = np.triu(rng.standard_normal((*self.quality_GN.shape, self.quality_GN.shape[1])), k=1)
        self._persistent = upper - upper.transpose(0, 2, 1)

    def scores(self, first_GC: np.ndarray, second_GC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the first and the second slot for one batch of calls per group."""
        m = self.model
        g = np.arange(len(self.quality_GN))[:, None]
        q_first, q_second = self.quality_GN[g, first_GC], self.quality_GN[g, second_GC]
        fresh = self._rng.standard_normal(first_GC.shape)
        persistent = self._persistent[g, first_GC, second_GC]
        z = q_first - q_second + m.delta
        z = z + m.sigma * (math.sqrt(m.rho) * persistent + math.sqrt(1 - m.rho) * fresh)
        if not m.graded:
            return (z > 0).astype(float), (z <= 0).astype(float)
        level = (q_first + q_second) / 2 + m.nu * self._rng.standard_normal(first_GC.shape)
        return _half_points(level + z / 2), _half_points(level - z / 2)


def _half_points(quality: np.ndarray) -> np.ndarray:
    """Quality as a score from 0 to 10 in steps of one half."""
    return np.clip(np.floor(2 * (5 + POINTS_PER_QUALITY * quality) + 0.5) / 2, 0, 10)


def kendall_tau(estimate_GN: np.ndarray, quality_GN: np.ndarray) -> np.ndarray:
    """Kendall tau of each row, (C - D) / sqrt(M (M - T)); ties can only be in the estimate. 0 when all are tied."""
    a, b = np.triu_indices(estimate_GN.shape[1], k=1)
    said = np.sign(estimate_GN[:, a] - estimate_GN[:, b])
    true = np.sign(quality_GN[:, a] - quality_GN[:, b])
    pairs = len(a)
    untied = np.count_nonzero(said, axis=1)
    return (said * true).sum(axis=1) / np.sqrt(np.maximum(pairs * untied, 1))
