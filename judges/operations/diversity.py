"""Diversity of a set of texts: clusters and what follows from them, and measures of the surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..context import Context
from ..types import DiversityReply, DiversityRequest

if TYPE_CHECKING:
    from ..service import JudgeService


async def diversity(service: JudgeService, request: DiversityRequest, context: Context) -> DiversityReply:
    raise NotImplementedError
