"""Calls as arrays, and the few sums of them that the linear estimators need (for many groups at once)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .types import Outcome, Record


@dataclass(frozen=True, slots=True)
class Evidence:
    """Valid calls of G groups with the same number of items.

    Attributes:
        items: number of items N of every group.
        first_GC: item shown first in each call.
        second_GC: item shown second.
        score_first_GC: its score (1, 0 or 1/2 from a judge that gives verdicts only).
        score_second_GC: score of the other one.
        share_GC: share of the first slot's win: 1, 0 or 1/2.
        valid_GC: False for padding.
        covariate_GN: known property of each item, centred and scaled within its group (for example length), or None.
    """

    items: int
    first_GC: np.ndarray
    second_GC: np.ndarray
    score_first_GC: np.ndarray
    score_second_GC: np.ndarray
    share_GC: np.ndarray
    valid_GC: np.ndarray
    covariate_GN: np.ndarray | None = None

    @property
    def groups(self) -> int:
        """Number of groups G."""
        return len(self.first_GC)

    @classmethod
    def from_scores(
        cls,
        items: int,
        first_GC: np.ndarray,
        second_GC: np.ndarray,
        score_first_GC: np.ndarray,
        score_second_GC: np.ndarray,
    ) -> Evidence:
        """Evidence of groups whose calls are all valid and whose winners are those of the scores."""
        margin = score_first_GC - score_second_GC
        return cls(
            items,
            first_GC,
            second_GC,
            score_first_GC,
            score_second_GC,
            (np.sign(margin) + 1) / 2,
            np.ones(first_GC.shape, dtype=bool),
        )

    @classmethod
    def from_records(
        cls, items: int, groups: Sequence[Sequence[Record]], covariates: Sequence[np.ndarray] | None = None
    ) -> Evidence:
        """Evidence from played calls; failed ones are left out.

        Args:
            items: largest number of items; smaller groups are padded with items nobody asked about.
            groups: played calls of each group.
            covariates: one value per item for each group, already centred.
        """
        valid = [[r for r in records if r.outcome.valid] for records in groups]
        width = max((len(records) for records in valid), default=0)
        arrays = {name: np.zeros((len(groups), width)) for name in ("first", "second", "s", "t", "share", "valid")}
        for g, records in enumerate(valid):
            for c, record in enumerate(records):
                outcome: Outcome = record.outcome
                arrays["first"][g, c], arrays["second"][g, c] = record.first, record.second
                arrays["s"][g, c], arrays["t"][g, c] = outcome.scores
                arrays["share"][g, c] = outcome.first_share
                arrays["valid"][g, c] = 1
        covariate_GN = None
        if covariates is not None:
            covariate_GN = np.zeros((len(groups), items))
            for g, values in enumerate(covariates):
                covariate_GN[g, : len(values)] = values
        return cls(
            items,
            arrays["first"].astype(int),
            arrays["second"].astype(int),
            arrays["s"],
            arrays["t"],
            arrays["share"],
            arrays["valid"].astype(bool),
            covariate_GN,
        )

    def design(self, sums: bool) -> np.ndarray:
        """Rows of the linear model, (G, C, N + 3): items, position bias, level, covariate.

        Args:
            sums: False for margins (first minus second, bias 1), True for half-sums (mean of both, level 1).
        """
        rows = np.zeros((*self.first_GC.shape, self.items + 3))
        g, c = np.indices(self.first_GC.shape)
        weight_first, weight_second = (0.5, 0.5) if sums else (1.0, -1.0)
        rows[g, c, self.first_GC] += weight_first
        rows[g, c, self.second_GC] += weight_second
        rows[..., self.items + 1 if sums else self.items] = 1
        if self.covariate_GN is not None:
            cov = self.covariate_GN
            rows[..., self.items + 2] = weight_first * cov[g, self.first_GC] + weight_second * cov[g, self.second_GC]
        return rows * self.valid_GC[..., None]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sufficient statistics of linear observations: X'X, X'y, y'y and their number, for each group."""

    xx_GPP: np.ndarray
    xy_GP: np.ndarray
    yy_G: np.ndarray
    count_G: np.ndarray

    @classmethod
    def of(cls, rows_GCP: np.ndarray, values_GC: np.ndarray, valid_GC: np.ndarray) -> Sums:
        """Sums of ``values = rows @ phi + noise`` over the valid calls."""
        values = values_GC * valid_GC
        turned = rows_GCP.transpose(0, 2, 1)
        return cls(
            turned @ rows_GCP, (turned @ values[..., None])[..., 0], (values**2).sum(axis=1), valid_GC.sum(axis=1)
        )

    def residual(self, phi_GP: np.ndarray, scale: float) -> np.ndarray:
        """Sum over calls of (y / scale - x'phi)^2, (G,)."""
        cross = np.einsum("gp,gp->g", phi_GP, self.xy_GP) / scale
        square = np.einsum("gp,gpq,gq->g", phi_GP, self.xx_GPP, phi_GP)
        return np.maximum(self.yy_G / scale**2 - 2 * cross + square, 0.0)

    def uncertainty(self, cov_GPP: np.ndarray) -> np.ndarray:
        """Sum over calls of x'Cx, (G,)."""
        return np.einsum("gpq,gpq->g", self.xx_GPP, cov_GPP)
