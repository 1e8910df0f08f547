"""A step that does not fit into memory ends the run with advice, and the run goes on from its checkpoint."""

from __future__ import annotations

import torch

from palaestra.trainer import train
from palaestra.trainer.learner import Learner
from palaestra.trainer.oom import is_out_of_memory


def test_out_of_memory_says_what_to_lower_and_the_run_can_go_on(run_sections, monkeypatch):
    sections = {**run_sections, "warmup": {}, "train": {"steps": 4, "checkpoint_every": 2, "token_budget": 4096}}
    real = Learner.train

    def full(self, rows, step, *more):
        if step == 2 and self.config.token_budget > 2048:
            torch.empty(2**60)  # a real failed allocation
        return real(self, rows, step, *more)

    monkeypatch.setattr(Learner, "train", full)
    first = train(sections)
    assert "out of memory in step 3" in first.stopped
    assert "train.token_budget (now 4096)" in first.stopped
    assert "--set train.token_budget=2048" in first.stopped
    assert first.checkpoint.name == "step-000002"
    sections["train"]["token_budget"] = 2048
    second = train(sections, resume=True)
    assert second.stopped is None
    assert second.steps == 4


def test_other_errors_are_not_taken_for_it():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))
