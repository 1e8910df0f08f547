"""Reports over rollouts of one or several policies: homogeneity and model identity, without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...schema import Rollout
from .diversity import components, cosines, distinct_n, effective_number, hivemind, vendi
from .embeddings import hashed_tfidf
from .identity import TRANSFORMS, identity_report


def homogeneity_report(rollouts: Mapping[str, Sequence[Rollout]], threshold: float = 0.8) -> dict[str, Any]:
    """How alike the responses to one task are, within and between policies (arXiv 2510.22954).

    Similarity is the cosine of hashed character n-grams, so the numbers are comparable among themselves and not with
    those of an embedding model. Read them beside the floor: the similarity of responses to *different* tasks.

    Args:
        rollouts: policy name -> its rollouts; tasks are told apart by `task_id`. Tasks with one response are left out.
        threshold: similarity that counts as alike.

    Returns:
        For each policy mean, pools_above, pairs_above, floor, vendi and clusters (means over tasks) and distinct_2, and
        for each pair of policies the mean between them.
    """
    texts: dict[str, dict[str, list[str]]] = {}
    for name, items in rollouts.items():
        for rollout in items:
            texts.setdefault(name, {}).setdefault(rollout.task_id, []).append(rollout.response)
        texts[name] = {task: said for task, said in texts.get(name, {}).items() if len(said) > 1}
        if not texts[name]:
            raise ValueError(f"homogeneity of {name!r} needs a task with at least two responses; raise eval.samples")
    flat = [(name, task, i) for name in texts for task in texts[name] for i in range(len(texts[name][task]))]
    vectors = hashed_tfidf([texts[name][task][i] for name, task, i in flat])
    pools: dict[str, dict[str, Any]] = {name: {} for name in texts}
    for name in texts:
        for task in texts[name]:
            pools[name][task] = vectors[[k for k, key in enumerate(flat) if key[:2] == (name, task)]]
    table: dict[str, Any] = hivemind(pools, threshold)
    for name in texts:
        similarity = [cosines(pool) for pool in pools[name].values()]
        count = len(similarity)
        table[name]["vendi"] = sum(vendi(s)[0] for s in similarity) / count
        table[name]["clusters"] = (
            sum(effective_number(components(s, threshold))["clusters"] for s in similarity) / count
        )
        table[name]["distinct_2"] = distinct_n([t for said in texts[name].values() for t in said], 2)
    return {"threshold": threshold, "similarity": "hashed character 3-5-grams, TF-IDF", "policies": table}


def identity_of(rollouts: Mapping[str, Sequence[Rollout]], seed: int = 0) -> dict[str, dict[str, float]]:
    """How well a linear classifier tells policies apart, as they are and after each transform (arXiv 2502.12150)."""
    rows = [(r.response, name, r.task_id) for name, items in rollouts.items() for r in items]
    texts, names, tasks = [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]
    return {change: identity_report(texts, names, tasks, transform=change, seed=seed) for change in TRANSFORMS}
