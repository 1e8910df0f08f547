"""Bearer tokens with scopes, compared in constant time and never logged."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..problems import Problem

SCOPES = ("score", "admin")
ENVIRONMENT = "PALAESTRA_JUDGE_TOKENS"


@dataclass(frozen=True)
class Tokens:
    """Which token may do what. Without any token everything is allowed, which is for loopback only."""

    scopes: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | Path | None = None) -> Tokens:
        """Read tokens from a file (one ``token [scope ...]`` a line, # comments) and the environment.

        ``PALAESTRA_JUDGE_TOKENS`` holds the same lines separated by commas. Without a scope a token may ``score``;
        ``admin`` includes it.

        Raises:
            ValueError: for unknown scopes or short tokens, without repeating the token.
        """
        lines = os.environ.get(ENVIRONMENT, "").split(",")
        if path is not None:
            lines += Path(path).read_text().splitlines()
        table: dict[str, frozenset[str]] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            token, scopes = words[0], set(words[1:]) or {"score"}
            if len(token) < 8:
                raise ValueError(f"token in line {number} has fewer than 8 characters; use a longer one")
            if scopes - set(SCOPES):
                raise ValueError(f"token in line {number} has unknown scopes {sorted(scopes - set(SCOPES))}")
            table[token] = frozenset(scopes | ({"score"} if "admin" in scopes else set()))
        return cls(table)

    def __bool__(self) -> bool:
        return bool(self.scopes)

    def require(self, header: str | None, scope: str) -> None:
        """Check an Authorization header.

        Raises:
            Problem: 401 without a known token, 403 when it lacks the scope.
        """
        if not self.scopes:
            return
        kind, _, given = (header or "").partition(" ")
        found: frozenset[str] | None = None
        for token, scopes in self.scopes.items():  # all are compared, so that timing tells nothing
            if hmac.compare_digest(token.encode(), given.strip().encode("utf-8", "replace")):
                found = scopes
        if kind.lower() != "bearer" or found is None:
            raise Problem(401, "unauthorized", "send a known token as 'Authorization: Bearer ...'")
        if scope not in found:
            raise Problem(403, "forbidden", f"this token lacks the scope {scope!r}")
