"""verl's own reward manager calls our ``compute_score``."""

# ruff: noqa: E402 - imports after the skip

import asyncio

import pytest

torch = pytest.importorskip("torch")
verl = pytest.importorskip("verl", reason="verl is not installed; `make interop` installs it without its dependencies")

import numpy as np
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager

from palaestra.judges import JudgeClient, JudgeError
from palaestra.judges.adapters import verl_compute_score
from palaestra.judges.testing import judge_server
from palaestra.trainer.config import PolicyConfig
from palaestra.trainer.policy import load_policy


def sample(tokenizer, reply, gold):
    ids = torch.tensor([tokenizer.encode(reply, add_special_tokens=False)])
    return DataProto.from_dict(
        tensors={"prompts": ids, "responses": ids, "attention_mask": torch.ones(1, 2 * ids.shape[1], dtype=torch.long)},
        non_tensors={
            "data_source": np.array(["gsm8k"], dtype=object),
            "reward_model": np.array([{"ground_truth": gold}], dtype=object),
            "extra_info": np.array([{"question": "2+2?"}], dtype=object),
        },
    )


def test_reward_manager(exact_judge):
    tokenizer = load_policy(PolicyConfig(layers=1, hidden=32)).tokenizer

    async def run():
        manager = NaiveRewardManager({}, tokenizer, verl_compute_score(JudgeClient(exact_judge), "exact"))
        return [await manager.run_single(sample(tokenizer, reply, "4")) for reply in ("4", "5")]

    right, wrong = asyncio.run(run())
    assert right == {"reward_score": 1.0, "reward_extra_info": {"score": 1.0, "status": "ok"}}
    assert wrong["reward_score"] == 0.0


def test_a_failure_raises_instead_of_scoring():
    tokenizer = load_policy(PolicyConfig(layers=1, hidden=32)).tokenizer
    with judge_server() as url:  # the default judge checks answers only; asked for quality it says so

        async def run():
            manager = NaiveRewardManager({}, tokenizer, verl_compute_score(JudgeClient(url), "quality"))
            return await manager.run_single(sample(tokenizer, "4", "4"))

        with pytest.raises(JudgeError):
            asyncio.run(run())
