"""tinker-cookbook's pair schedules, out of the wheel, and ours: the same pairs where both play everybody."""

import ast
from enum import StrEnum

import numpy as np
import pytest

from palaestra.judges.ranking.designs import balanced_cycles


@pytest.fixture
def theirs(unpacked):
    """`get_pairs` and its enum, cut out of a file whose imports (chz, tinker) are a hosted service's."""
    text = (unpacked("tinker_cookbook") / "tinker_cookbook" / "rl" / "preference_envs.py").read_text()
    wanted = {"TournamentPattern", "get_pairs", "get_pairs_chunked"}
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if getattr(node, "name", None) in wanted]
    assert {node.name for node in tree.body} == wanted
    names = {"StrEnum": StrEnum}
    exec(compile(tree, "preference_envs.py", "exec"), names)
    return names


@pytest.mark.parametrize("n", range(2, 13))
def test_everybody_against_everybody(theirs, n):
    patterns = theirs["TournamentPattern"]
    rng = np.random.default_rng(n)
    both = set(map(tuple, theirs["get_pairs"](n, patterns.ALL_PAIRS_BOTH_WAYS)))
    once = {frozenset(pair) for pair in theirs["get_pairs"](n, patterns.ALL_PAIRS_ONE_WAY)}
    assert sorted(balanced_cycles(n, n * (n - 1), rng)) == sorted(both)
    ours = balanced_cycles(n, n * (n - 1) // 2, rng)
    assert {frozenset(pair) for pair in ours} == once and len(ours) == len(once)
