"""Sampling beside training: nothing slow stops it, staleness is bounded and measured, weights change in flight."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from palaestra.trainer import ConfigError, train
from palaestra.trainer.asynchronous import engine_beside, with_correction
from palaestra.trainer.checkpoint import latest
from palaestra.trainer.engines.base import Prompt, SamplingParams
from palaestra.trainer.engines.native import NativeEngine
from palaestra.trainer.objectives import registry

PATIENCE = 60.0  # seconds after which a wait is a hang


@pytest.fixture
def sections(run_sections):
    return {
        **run_sections,
        "warmup": {},
        "rollout": {**run_sections["rollout"], "prompts_per_step": 4, "max_staleness": 1},
        "train": {"steps": 6, "checkpoint_every": 2, "warmup_steps": 2},
        "eval": {"tasks": 4, "samples": 1, "greedy": False, "start": False},
        "log": {"tensorboard": False, "rollouts": 8},
    }


def steps_of(folder):
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "rollouts" in line]


def trained_tasks(folder):
    files = sorted((Path(folder) / "rollouts").glob("step-*.jsonl"))
    return [[json.loads(line)["group_id"] for line in file.read_text().splitlines()] for file in files]


class Gate:
    """Opens when training has done some steps; who waits at it while sampling is synchronous waits in vain."""

    def __init__(self, step):
        self.step, self.open, self.waited = step, threading.Event(), []

    def __call__(self, event):
        if event.kind == "step" and event.step == self.step:
            self.open.set()

    def wait(self):
        self.waited.append(self.open.is_set())
        assert self.open.wait(PATIENCE), "training did not go on while this was waiting"


def test_a_slow_environment_does_not_stop_the_sampler(sections):
    from palaestra.envs import make

    gate = Gate(step=3)

    class Slow:
        """Blocks in its first task until training has done three steps; it has no asynchronous methods."""

        def __init__(self):
            self.unwrapped = self
            self.env = make("palaestra/Sort-v0", digits=2).unwrapped
            self.settings, self.oracle = self.env.settings, self.env.oracle

        def reset(self, **k):
            self.seed = k.get("seed")
            return self.env.reset(**k)

        def step(self, text):
            if self.seed == 0 and threading.current_thread() is not threading.main_thread():
                gate.wait()
            return self.env.step(text)

        def close(self):
            self.env.close()

    result = train(sections, callbacks=[gate], env_factory=Slow)
    assert result.stopped is None
    assert result.steps == 6
    assert gate.waited[:4] == [False] * 4
    # When the slow group ends, it is too old to be trained on.
    assert "a0-0" not in {group for step in trained_tasks(result.folder) for group in step}


def test_a_slow_judge_does_not_stop_the_sampler(sections):
    gate = Gate(step=3)

    class Slow:
        def partition_sync(self, groups, **options):
            from palaestra.judges import Partition

            assert len(groups) == 1  # each group is judged as soon as it has been played
            if groups[0].id == "a1-0":
                gate.wait()
            return [
                Partition(g.id, {r.id: 0 for r in g.rollouts}, [[r.id for r in g.rollouts]], {}, {}, []) for g in groups
            ]

    result = train({**sections, "objective": {"name": "uniqueness"}}, callbacks=[gate], judge_client=Slow())
    assert result.stopped is None
    assert result.steps == 6
    assert gate.waited == [False]
    assert result.metrics["judge_requests"] == 4


class EvenFirst:
    """Sorting, but any reply that begins with an even digit is right, so that an untrained policy has live groups."""

    def __init__(self):
        from palaestra.envs import make

        self.unwrapped = self
        self.env = make("palaestra/Sort-v0", digits=2).unwrapped
        self.settings, self.oracle = self.env.settings, self.env.oracle

    def reset(self, **k):
        return self.env.reset(**k)

    def step(self, text):
        observation, _, terminated, truncated, info = self.env.step(text)
        return observation, float(text[:1] in ("0", "2", "4", "6", "8")), terminated, truncated, info

    def close(self):
        self.env.close()


@pytest.mark.parametrize("bound", [1, 3])
def test_staleness_is_bounded_and_every_step_says_how_far_sampler_and_learner_are_apart(sections, bound):
    sections["rollout"]["max_staleness"] = bound
    result = train({**sections, "train": {**sections["train"], "learning_rate": 1e-2}}, env_factory=EvenFirst)
    steps = steps_of(result.folder)
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= step["staleness_mean"] <= step["staleness_max"] <= bound for step in steps)
    assert max(step["staleness_max"] for step in steps) >= 1
    assert steps[-1]["version"] == 6
    learned = [step for step in steps if "ess" in step]
    assert len(learned) == 6
    assert all(0 < step["ess"] <= 1 + 1e-6 and step["rollout_kl"] >= -1e-6 for step in learned)  # float32 rounding
    groups = [group for step in trained_tasks(result.folder) for group in dict.fromkeys(step)]
    assert len(groups) == len(set(groups)) == 24


def test_synchronous_steps_are_never_stale(sections):
    sections["rollout"]["max_staleness"] = 0
    steps = steps_of(train(sections).folder)
    assert all(step["staleness_max"] == 0 for step in steps)
    assert all("stale_groups" not in step for step in steps)


def test_a_resumed_run_repeats_only_what_was_in_flight(sections):
    def stop(event):
        if event.kind == "step" and event.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    first = train(sections, callbacks=[stop])
    assert first.interrupted == signal.SIGTERM
    state = latest(first.folder / "checkpoints").state
    done = {int(group[1:-2]) for step in trained_tasks(first.folder) for group in step}
    pending = {job["number"] for job in state["pending"]}
    assert done
    assert not done & pending
    stale = sum(step["stale_groups"] for step in steps_of(first.folder))
    assert len(done) + len(pending) + stale == state["number"]  # every drawn task is trained, dropped or still to come
    second = train(sections, resume=True)
    assert second.steps == 6
    groups = [group for step in trained_tasks(second.folder) for group in dict.fromkeys(step)]
    assert len(groups) == len(set(groups))
    later = {int(group[1:-2]) for step in trained_tasks(second.folder)[3:] for group in step}
    assert not later & done
    dropped = sum(step["stale_groups"] for step in steps_of(second.folder)[3:])
    waiting = {job["number"] for job in latest(second.folder / "checkpoints").state["pending"]}
    assert len(pending - later - waiting) <= dropped  # the rest is trained or waits still


def test_a_judge_that_dies_stops_the_run_with_its_step_saved(sections):
    class Dying:
        left = 9

        def partition_sync(self, groups, **options):
            from palaestra.judges import JudgeUnavailable, Partition

            if self.left <= 0:
                raise JudgeUnavailable("http://127.0.0.1:8400 does not answer")
            self.left -= 1
            return [
                Partition(g.id, {r.id: 0 for r in g.rollouts}, [[r.id for r in g.rollouts]], {}, {}, []) for g in groups
            ]

    result = train({**sections, "objective": {"name": "uniqueness"}}, judge_client=Dying())
    assert "does not answer" in result.stopped
    assert 1 <= result.steps <= 2
    assert latest(result.folder / "checkpoints").step == result.steps


def test_truncated_importance_sampling_is_the_default():
    plain = registry.get("grpo", {})
    assert plain.correction is None
    assert with_correction(plain, {}).correction is not None
    assert with_correction(plain, {"correction": "none"}).correction is None


def test_objectives_that_sample_by_themselves_are_refused(sections):
    with pytest.raises(ConfigError, match="max_staleness = 0"):
        train({**sections, "objective": {"name": "grade", "reward": "math:sqrt"}})


PARAMS = SamplingParams(max_new_tokens=8, temperature=1.0)
PROMPTS = [Prompt((1, 2, 3), 4, (5, 6, 7, 8)), Prompt((4, 5), 4, (1, 2, 3, 4))]


def test_weights_change_between_two_tokens_and_each_span_says_so(policy, monkeypatch):
    engine = NativeEngine(policy.model, own_copy=True, version=3)
    before = engine.sample(PROMPTS, PARAMS)
    decode, calls = NativeEngine._decode, []

    def update_after_three(self, *args):
        calls.append(1)
        out = decode(self, *args)
        if len(calls) == 3:
            with torch.no_grad():
                for parameter in policy.model.parameters():
                    parameter.mul_(1.5)
            self.update_weights(policy.model, 4)
        return out

    monkeypatch.setattr(NativeEngine, "_decode", update_after_three)
    after = engine.sample(PROMPTS, PARAMS)
    for old, new in zip((t for ts in before for t in ts), (t for ts in after for t in ts), strict=True):
        assert new.policy_version == 3
        assert new.version_spans == ((4, 4),)
        assert new.versions == (3, 3, 3, 3, 4, 4, 4, 4)
        assert new.completion_ids[:4] == old.completion_ids[:4]
        assert new.logprobs[:4] == old.logprobs[:4]
    assert [t.logprobs for ts in before for t in ts] != [t.logprobs for ts in after for t in ts]


def test_the_learner_may_change_its_weights_while_the_engine_samples(policy):
    engine = engine_beside("native", policy)
    before = engine.sample(PROMPTS, PARAMS)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.1)
    assert engine.sample(PROMPTS, PARAMS) == before
    engine.update_weights(policy.model, 1)
    assert engine.sample(PROMPTS, PARAMS) != before


@pytest.mark.parametrize("kind", ["native", "hf"])
def test_swaps_are_whole_under_threads(policy, kind):
    """Every token comes from one version or another, never from a mixture that no version would give."""
    engine = engine_beside(kind, policy)
    prompts = [Prompt((1, 2, 3), 1, (5,))]
    first = SamplingParams(max_new_tokens=1)
    known, states = {}, []
    generator = torch.Generator().manual_seed(0)
    for version in range(4):
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        states.append({k: v.clone() for k, v in policy.model.state_dict().items()})
        engine.update_weights(policy.model, version)
        known[version] = engine.sample(prompts, first)[0][0].logprobs
    assert len(set(known.values())) == 4
    seen, errors, end = [], [], threading.Event()

    def sample():
        try:
            while not end.is_set() or len(seen) < 20:
                seen.append(engine.sample(prompts, first)[0][0])
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=sample)
    thread.start()
    for turn in range(40):
        policy.model.load_state_dict(states[turn % 4])
        engine.update_weights(policy.model, turn % 4)
    end.set()
    thread.join(PATIENCE)
    assert not errors
    assert len(seen) >= 20
    for turn in seen:
        np.testing.assert_allclose(turn.logprobs, known[turn.policy_version], atol=1e-5)
