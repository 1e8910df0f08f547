"""Ratings from judge calls, for many groups at once.

``wins`` counts. ``bt`` is a maximum a posteriori Bradley-Terry model on verdicts (ties half a win each way).
``ls_margin`` is ridge least squares on score margins (HodgeRank, Thurstone's Gaussian case). ``lmm`` adds the
half-sums of the two scores, so it uses both numbers the judge gave. The three models carry a position-bias term.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .evidence import Evidence, Sums
from .types import Noise

LEVEL_VARIANCE = 100.0  # prior variance of the judge's general level: practically unknown
OFF = 1e9  # prior precision of a term that is switched off
NEWTON_STEPS, NEWTON_TOLERANCE = 30, 1e-10


@dataclass(frozen=True)
class Fit:
    """Ratings of G groups.

    Attributes:
        theta_GN: ratings, higher is better.
        cov_GNN: posterior covariance of the ratings, None for ``wins``.
        bias_G: advantage of the first slot, in the units of theta; None for ``wins``.
        residual_G: root mean square of what the model leaves unexplained, in its observation units.
        slope_G: effect of one standard deviation of the covariate; None without one.
        call_variance: variance of one call in the units of theta.
    """

    theta_GN: np.ndarray
    cov_GNN: np.ndarray | None
    bias_G: np.ndarray | None
    residual_G: np.ndarray
    call_variance: float
    slope_G: np.ndarray | None = None

    def stderr(self, group: int, members: np.ndarray) -> np.ndarray | None:
        """Standard error of each rating against the mean rating of ``members``."""
        if self.cov_GNN is None:
            return None
        cov = self.cov_GNN[group][np.ix_(members, members)]
        centre = np.eye(len(members)) - 1 / len(members)
        return np.sqrt(np.maximum(np.diag(centre @ cov @ centre), 0))


def fit_wins(evidence: Evidence) -> Fit:
    """Smoothed win rate (W + 1/2) / (calls + 1); draws count one half."""
    g, c = np.nonzero(evidence.valid_GC)
    wins = np.zeros((evidence.groups, evidence.items))
    calls = np.zeros_like(wins)
    for slot_GC, share_GC in ((evidence.first_GC, evidence.share_GC), (evidence.second_GC, 1 - evidence.share_GC)):
        np.add.at(wins, (g, slot_GC[g, c]), share_GC[g, c])
        np.add.at(calls, (g, slot_GC[g, c]), 1)
    theta = (wins + 0.5) / (calls + 1)
    # Reported in the same terms as the other models: what a win rate difference leaves of the verdicts.
    gap = np.take_along_axis(theta, evidence.first_GC, 1) - np.take_along_axis(theta, evidence.second_GC, 1)
    return Fit(theta, None, None, _rms(evidence.share_GC - (0.5 + gap / 2), evidence.valid_GC), 0.25)


def fit_bt(evidence: Evidence, prior_variance: float = 2.74) -> Fit:
    """MAP Bradley-Terry with Gaussian priors on ratings and position term, by Newton's method.

    Args:
        evidence: calls; only who won matters.
        prior_variance: prior variance of each rating in logits squared (2.74: unit quality, 80 % accurate judge).
    """
    rows = evidence.design(sums=False)[..., : evidence.items + 1]
    turned = rows.transpose(0, 2, 1)
    share = evidence.share_GC * evidence.valid_GC
    phi = np.zeros((evidence.groups, evidence.items + 1))
    prior = np.eye(evidence.items + 1) / prior_variance
    for _ in range(NEWTON_STEPS):
        wins = 1 / (1 + np.exp(-(rows @ phi[..., None])[..., 0]))
        gradient = -phi / prior_variance + (turned @ ((share - wins) * evidence.valid_GC)[..., None])[..., 0]
        hessian = prior + turned @ (rows * (wins * (1 - wins))[..., None])
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        largest = np.abs(step).max(axis=1, keepdims=True, initial=0)
        phi = phi + step / np.maximum(largest / 4, 1)  # a step of more than 4 logits is a step out of the model
        if largest.max(initial=0) < NEWTON_TOLERANCE:
            break
    n = evidence.items
    cov = np.linalg.inv(hessian)
    return Fit(phi[:, :n], cov[:, :n, :n], phi[:, n], _rms(share - wins * evidence.valid_GC, evidence.valid_GC), 4.0)


@dataclass(frozen=True)
class LinearModel:
    """Margins and half-sums of G groups, reduced to sums; fits for any noise cost no pass over the calls.

    Attributes:
        evidence: calls with scores.
        midpoint: middle of the score scale.
        use_sums: True for ``lmm``, False for ``ls_margin``.
    """

    evidence: Evidence
    midpoint: float = 5.0
    use_sums: bool = True

    @cached_property
    def margins(self) -> Sums:
        """Sums of the score margins, in score points."""
        e = self.evidence
        return Sums.of(e.design(sums=False), e.score_first_GC - e.score_second_GC, e.valid_GC)

    @cached_property
    def halves(self) -> Sums:
        """Sums of the half-sums of both scores, in score points from the middle of the scale."""
        e = self.evidence
        return Sums.of(e.design(sums=True), (e.score_first_GC + e.score_second_GC) / 2 - self.midpoint, e.valid_GC)

    @property
    def prior_precision(self) -> np.ndarray:
        """Prior precisions of items, position bias, level and covariate."""
        slope = OFF if self.evidence.covariate_GN is None else 1.0
        return np.array([1.0] * self.evidence.items + [1.0, 1 / LEVEL_VARIANCE, slope])

    def solve(self, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean (G, P) and covariance (G, P, P) of all terms for the given noise."""
        precision = np.diag(self.prior_precision) + self.margins.xx_GPP / noise.s2
        right = self.margins.xy_GP / (noise.s2 * noise.points)
        if self.use_sums:
            precision = precision + self.halves.xx_GPP / noise.m2
            right = right + self.halves.xy_GP / (noise.m2 * noise.points)
        cov = np.linalg.inv(precision)
        return (cov @ right[..., None])[..., 0], cov

    def fit(self, noise: Noise) -> Fit:
        """Ratings for the given noise."""
        phi, cov = self.solve(noise)
        n = self.evidence.items
        residual = np.sqrt(self.margins.residual(phi, noise.points) / np.maximum(self.margins.count_G, 1))
        slope = None if self.evidence.covariate_GN is None else phi[:, n + 2]
        return Fit(phi[:, :n], cov[:, :n, :n], phi[:, n], residual, noise.s2, slope)


def fit_ls_margin(evidence: Evidence, noise: Noise) -> Fit:
    """Ridge least squares on score margins."""
    return LinearModel(evidence, use_sums=False).fit(noise)


def fit_lmm(evidence: Evidence, noise: Noise, midpoint: float = 5.0) -> Fit:
    """Score mixed model: margins and half-sums, each weighted by its own noise."""
    return LinearModel(evidence, midpoint).fit(noise)


def _rms(values_GC: np.ndarray, valid_GC: np.ndarray) -> np.ndarray:
    return np.sqrt((values_GC**2 * valid_GC).sum(axis=1) / np.maximum(valid_GC.sum(axis=1), 1))
