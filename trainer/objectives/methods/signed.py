"""PSR, NSR and W-REINFORCE: raise what was correct, lower what was wrong, or both with unequal weights."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from ..advantages import signed_rewards
from ..filters import keep_sign
from ..types import Method, Objective
from .common import RegularisedParams, regularised


class SignedParams(RegularisedParams):
    """Parameters of PSR and NSR."""

    drop_other_sign: bool = True
    """Leave samples of the other sign out of the loss and of its normaliser, as the published code does."""


class WeightedParams(RegularisedParams):
    """Parameters of W-REINFORCE."""

    lam: float = Field(0.1, ge=0)
    """Weight of correct samples; 1 is plain +-1 REINFORCE."""


def _signed(name: str, positive: float, negative: float, params: SignedParams) -> Objective:
    from ..losses import score_function

    advantage = partial(signed_rewards, positive=positive, negative=negative)
    filters = (keep_sign("positive" if positive else "negative"),) if params.drop_other_sign else ()
    return regularised(name, params, advantage, score_function(params.aggregation), filters=filters)


def _weighted(params: WeightedParams) -> Objective:
    from ..losses import score_function

    advantage = partial(signed_rewards, positive=params.lam, negative=1.0)
    return regularised("w_reinforce", params, advantage, score_function(params.aggregation))


PSR = Method(
    name="psr",
    summary="reinforce correct samples only",
    paper="arXiv 2506.01347",
    params=SignedParams,
    build=partial(_signed, "psr", 1.0, 0.0),
    formula="A = 1 for correct samples; wrong ones are dropped before the token mean",
    when="pass@1 matters and pass@k does not",
    parts="advantage: signed rewards; filter: positive; loss: score_function",
    requires=("binary",),
)
NSR = Method(
    name="nsr",
    summary="penalise wrong samples only",
    paper="arXiv 2506.01347",
    params=SignedParams,
    build=partial(_signed, "nsr", 0.0, 1.0),
    formula="A = -1 for wrong samples; correct ones are dropped before the token mean",
    when="pass@k matters: nothing correct is pushed up at the cost of other correct answers",
    parts="advantage: signed rewards; filter: negative; loss: score_function",
    requires=("binary",),
)
W_REINFORCE = Method(
    name="w_reinforce",
    summary="penalise wrong samples, reinforce correct ones with a small weight",
    paper="arXiv 2506.01347",
    params=WeightedParams,
    build=_weighted,
    formula="A = lam for correct, -1 for wrong samples",
    when="between NSR and REINFORCE",
    parts="advantage: signed rewards; loss: score_function",
    requires=("binary",),
)
