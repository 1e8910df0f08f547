"""How noisy is this judge? Estimated from its own calls, pooled over the groups it has judged.

One update makes the noise consistent with the residuals of the fit it leads to (expectation maximisation for a linear
model with Gaussian terms): the variances become the mean squared residual plus the posterior uncertainty of the
prediction, and the scale becomes the one in which ratings have unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .estimators import LinearModel
from .types import Noise

FLOOR_S2, FLOOR_M2 = 0.1, 0.05  # scores come in steps; no judge is more exact than its scale
MAX_UPDATES, TOLERANCE = 300, 1e-4
MIN_CALLS = 24  # with fewer pooled calls the half-sums are left out: their noise cannot be told
PRIOR_CALLS = 4.0  # the default noise counts as this many calls, which keeps tiny pools from collapsing


def estimate_noise(models: Sequence[LinearModel], start: Noise | None = None) -> Noise:
    """Noise of one judge from all groups it judged.

    Args:
        models: linear models of the groups (batches of groups of one size each, padding included).
        start: where to begin; default: variances of a typical judge and the scale of the observed margins.

    Returns:
        The fixed point of the consistent update; ``start`` (or the default) when there are no calls.
    """
    calls = sum(float(model.margins.count_G.sum()) for model in models)
    typical = Noise()
    if calls == 0:
        return start or typical
    spread = math.sqrt(sum(float(model.margins.yy_G.sum()) for model in models) / calls)
    smallest = 1e-3 * max(spread, 1e-6)
    if start is None:
        start = Noise(points=max(spread / math.sqrt(2 + typical.s2), 1e-6))
    noise = start
    for _ in range(MAX_UPDATES):
        margin = half = square = items = 0.0
        for model in models:
            phi, cov = model.solve(noise)
            n = model.evidence.items
            asked = np.diagonal(model.margins.xx_GPP, axis1=1, axis2=2)[:, :n] > 0  # padding and unasked items say 1
            variance = np.diagonal(cov, axis1=1, axis2=2)[:, :n]
            square += float(((phi[:, :n] ** 2 + variance) * asked).sum())
            items += float(asked.sum())
            margin += float((model.margins.residual(phi, noise.points) + model.margins.uncertainty(cov)).sum())
            if model.use_sums:
                half += float((model.halves.residual(phi, noise.points) + model.halves.uncertainty(cov)).sum())
        updated = Noise(
            s2=max((margin + PRIOR_CALLS * typical.s2) / (calls + PRIOR_CALLS), FLOOR_S2),
            m2=max((half + PRIOR_CALLS * typical.m2) / (calls + PRIOR_CALLS), FLOOR_M2) if half else noise.m2,
            points=max(noise.points * math.sqrt(square / items), smallest),
        )
        change = max(
            abs(math.log(new / old))
            for new, old in zip(
                (updated.s2, updated.m2, updated.points), (noise.s2, noise.m2, noise.points), strict=True
            )
        )
        noise = updated
        if change < TOLERANCE:
            break
    return noise
