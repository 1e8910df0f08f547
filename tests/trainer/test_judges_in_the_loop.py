"""Judges in the loop over real HTTP: clusters arrive, and a server that dies never turns into zeros."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palaestra.judges.testing import judge_server
from palaestra.trainer import ConfigError, train


@pytest.fixture
def sections(run_sections):
    return {
        **run_sections,
        "objective": {"name": "uniqueness"},
        "train": {**run_sections["train"], "checkpoint_every": 1},
    }


def rows(folder, step):
    text = (Path(folder) / f"rollouts/step-{step:06d}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_clusters_come_from_the_server(sections):
    with judge_server() as url:
        result = train({**sections, "judge": {"url": url}})
    assert result.stopped is None
    assert result.metrics["judge_requests"] == 1
    assert result.metrics["judge_calls"] == 0  # equal answers are found by a verifier, nobody was asked
    found = rows(result.folder, 1)
    assert any(row["cluster"] is not None for row in found)
    for row in found:  # equal answers share a cluster; numbers are compared as such, so 01 and 1 do too
        twins = [r for r in found if r["group_id"] == row["group_id"] and r["messages"] == row["messages"]]
        assert len({r["cluster"] for r in twins}) == 1


class Dying:
    """A judge client whose server goes away after some calls."""

    def __init__(self, calls):
        self.left = calls

    def partition_sync(self, groups, **options):
        from palaestra.judges import JudgeUnavailable, Partition

        if not self.left:
            raise JudgeUnavailable("http://127.0.0.1:8400 does not answer")
        self.left -= 1
        return [
            Partition(g.id, {r.id: 0 for r in g.rollouts}, [[r.id for r in g.rollouts]], {}, {}, []) for g in groups
        ]


def test_a_dead_server_stops_the_run_with_the_step_saved(sections):
    result = train(sections, judge_client=Dying(2))
    assert "does not answer" in result.stopped
    assert "on_failure" in result.stopped
    assert result.steps == 2
    assert result.checkpoint.name == "step-000002"
    resumed = train(sections, judge_client=Dying(99), resume=True)
    assert resumed.stopped is None
    assert resumed.steps == 4


def test_or_carries_on_with_its_groups_unscored_and_untrained(sections):
    result = train({**sections, "judge": {"on_failure": "unscored"}}, judge_client=Dying(2))
    assert result.stopped is None
    assert result.steps == 4
    steps = [json.loads(x) for x in (result.folder / "metrics.jsonl").read_text().splitlines()]
    steps = {row["step"]: row for row in steps if "unscored" in row}
    assert steps[2]["unscored"] == 0
    for step in (3, 4):
        assert steps[step]["unscored"] == steps[step]["rollouts"]
        assert steps[step]["judge_failed_groups"] == 8
        assert "reward" not in steps[step]
        assert "loss" not in steps[step]
        assert all(row["advantage"] is None for row in rows(result.folder, step))
    from safetensors.numpy import load_file

    from palaestra.trainer.checkpoint import latest

    folder = result.folder / "checkpoints"
    kept = [load_file(folder / f"step-00000{n}" / "model.safetensors") for n in (3, 4)]
    assert all((kept[0][k] == kept[1][k]).all() for k in kept[0])
    assert latest(folder).step == 4


def test_a_judge_that_places_no_right_reply_is_a_failure(sections):
    class Blind(Dying):
        def partition_sync(self, groups, **options):
            from palaestra.judges import Partition

            labels = [{r.id: None if r.reward else 0 for r in g.rollouts} for g in groups]
            return [Partition(g.id, placed, [], {}, {}, []) for g, placed in zip(groups, labels, strict=True)]

    result = train(sections, judge_client=Blind(9))
    assert "placed none of" in result.stopped


def test_needs_that_nobody_can_meet_fail_before_training(sections):
    with pytest.raises(ConfigError, match=r"judge\.url"):
        train(sections)


def test_broken_environments_are_unscored(run_sections):
    from palaestra.envs import make

    class Moody:
        """Its grader fails on every other task, in two different ways."""

        def __init__(self):
            self.unwrapped = self
            self.env = make("palaestra/Sort-v0", digits=2).unwrapped
            self.settings, self.oracle = self.env.settings, self.env.oracle

        def reset(self, **k):
            self.seed = k.get("seed") or 0
            return self.env.reset(**k)

        def step(self, text):
            if self.seed % 4 == 1:
                raise RuntimeError("sandbox is gone")
            observation, reward, terminated, truncated, info = self.env.step(text)
            if self.seed % 4 == 3:
                return (), float("nan"), False, True, {"error": "grader timed out", "feedback": []}
            return observation, reward, terminated, truncated, info

        def close(self):
            self.env.close()

    sections = {**run_sections, "warmup": {}, "log": {"tensorboard": False, "rollouts": 8}}
    result = train(sections, env_factory=Moody)
    found = rows(result.folder, 1)
    lost = [row for row in found if row["reward"] is None]
    assert {row["error"] for row in lost} == {"RuntimeError: sandbox is gone", "grader timed out"}
    assert len(lost) == result.metrics["unscored"] == 16
    assert all(row["advantage"] is None for row in lost)


class Listening:
    """A judge client that keeps what it was asked about."""

    def __init__(self):
        self.groups = []

    def partition_sync(self, groups, **options):
        from palaestra.judges import Partition

        self.groups += groups
        return [
            Partition(g.id, {r.id: 0 for r in g.rollouts}, [[r.id for r in g.rollouts]], {}, {}, []) for g in groups
        ]


def test_judges_see_the_prompt_without_any_reply(sections):
    client = Listening()
    train({**sections, "train": {**sections["train"], "steps": 1}}, judge_client=client)
    assert client.groups
    for group in client.groups:
        assert [m.role for m in group.task.messages] == ["user"]
        assert all(r.messages[0].text == group.task.messages[0].text for r in group.rollouts)


def longest_first():
    """A judge server whose judge prefers longer replies, and says so in either order."""
    from palaestra.judges.base import Judge
    from palaestra.judges.context import RawVerdict
    from palaestra.judges.service import JudgeService
    from palaestra.schema import RewardStatus

    class Longest(Judge):
        kind, capabilities, graded = "simulated", ("compare",), False

        async def compare(self, question, context):
            first, second = len(question.first.strip()), len(question.second.strip())
            return RawVerdict(
                RewardStatus.OK, {"winner": "tie" if first == second else "first" if first > second else "second"}
            )

    return judge_server(JudgeService([Longest("longest")]))


@pytest.mark.parametrize("topology", ["auto", "round_robin", "anchor", "single_elimination", "swiss"])
def test_the_run_file_chooses_the_tournament(sections, topology):
    sections = {**sections, "objective": {"name": "arena", "topology": topology}, "warmup": {}}
    sections["train"] = {**sections["train"], "steps": 1}
    with longest_first() as url:
        result = train({**sections, "judge": {"url": url}})
    assert result.stopped is None and result.metrics["unscored"] == 0
    groups = {}
    for row in rows(result.folder, 1):
        groups.setdefault(row["group_id"], []).append((len(row["messages"][-1]["content"].strip()), row["advantage"]))
    for replies in groups.values():
        if len({length for length, _ in replies}) > 1:
            assert max(replies)[1] > 0 > min(replies)[1]
    size, played = sections["rollout"]["group_size"], result.metrics["judge_calls"]
    most = {"round_robin": size * (size - 1), "anchor": 2 * (size - 1), "single_elimination": 4 * (size - 1)}
    assert 0 < played <= sections["rollout"]["prompts_per_step"] * most.get(topology, size * (size - 1))
