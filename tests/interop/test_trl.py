"""TRL's GRPOTrainer, three steps of a tiny model: our judge gives its rewards, and our environment plays with it."""

# ruff: noqa: E402 - imports after the skip

import json

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl", reason="TRL is not installed; extra `bench` has it")
datasets = pytest.importorskip("datasets")

from palaestra.envs import make
from palaestra.envs.adapters.trl import trl_environment
from palaestra.judges import JudgeClient, JudgeService, LLMJudge
from palaestra.judges.adapters import TRLReward
from palaestra.judges.testing import FakeOpenAI, Fault, judge_server
from palaestra.lm import OpenAIModel
from palaestra.trainer.config import PolicyConfig
from palaestra.trainer.policy import load_policy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A Hugging Face folder with Qwen3's chat template, so that TRL knows how to read tool calls."""
    folder = tmp_path_factory.mktemp("model")
    policy = load_policy(PolicyConfig(layers=1, hidden=32))
    policy.tokenizer.chat_template = trl.chat_template_utils.qwen3_chat_template
    policy.save(folder)
    return str(folder)


def settings(tmp_path, **changes):
    common = {
        "max_steps": 3, "per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 4,
        "report_to": "none", "use_cpu": True, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True,
        "learning_rate": 1e-2,
    }  # fmt: skip
    return trl.GRPOConfig(output_dir=str(tmp_path), **{**common, **changes})


def prompts(**columns):
    rows = [{"prompt": [{"role": "user", "content": "Write four letters."}], **columns} for _ in range(8)]
    return datasets.Dataset.from_list(rows)


def logged(trainer, key):
    return [row[key] for row in trainer.state.log_history if key in row]


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_our_judge_ranks_each_group(model, tmp_path):
    with FakeOpenAI() as server:  # an oracle with a fixed opinion on every text
        judge = LLMJudge("oracle", OpenAIModel("any", base_url=server.url))
        with judge_server(JudgeService([judge])) as url:
            trainer = trl.GRPOTrainer(
                model, reward_funcs=TRLReward(JudgeClient(url)), args=settings(tmp_path), train_dataset=prompts()
            )
            before = weights(trainer).clone()
            trainer.train()
        assert server.hits > 0
    assert len(logged(trainer, "rewards/palaestra_rank/mean")) == 3
    assert all(std > 0 for std in logged(trainer, "reward_std"))
    assert not torch.equal(before, weights(trainer))


def test_a_broken_judge_trains_nothing(model, tmp_path):
    """None is TRL's word for "no reward"; it must not become a zero among other rewards."""
    with FakeOpenAI(faults=Fault("refusal")) as server:
        judge = LLMJudge("broken", OpenAIModel("any", base_url=server.url))
        with judge_server(JudgeService([judge])) as url:
            reward = TRLReward(JudgeClient(url))
            trainer = trl.GRPOTrainer(
                model, reward_funcs=reward, args=settings(tmp_path, max_steps=1), train_dataset=prompts()
            )
            before = weights(trainer).clone()
            trainer.train()
    assert logged(trainer, "rewards/palaestra_rank/mean") == [None]
    assert torch.equal(before, weights(trainer))


class Scripted(trl.GRPOTrainer):
    """Its policy calls the tool, so that the environment is really played; log-probabilities and loss are TRL's."""

    replies = ()

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        texts = []
        for i, ids in enumerate(prompt_ids):
            if "<tool_response>" in self.processing_class.decode(ids):
                texts.append("ok")
            else:
                call = {"name": "reply", "arguments": {"text": self.replies[i % len(self.replies)]}}
                texts.append(f"<tool_call>\n{json.dumps(call)}\n</tool_call>")
        end = self.processing_class.eos_token_id
        return [[*self.processing_class.encode(text, add_special_tokens=False), end] for text in texts], None


def test_our_environment_is_its_environment(model, tmp_path):
    right = next(iter(_solutions("palaestra/Sort-v0", seed=5, digits=3)))
    Scripted.replies = (right, "xyz", right, "000")
    data = datasets.Dataset.from_list([{"prompt": [{"role": "user", "content": "Sort: "}], "seed": 5}] * 8)
    trainer = Scripted(
        model,
        args=settings(tmp_path, max_completion_length=256),
        train_dataset=data,
        environment_factory=trl_environment("palaestra/Sort-v0", digits=3),
    )
    before = weights(trainer).clone()
    trainer.train()
    assert logged(trainer, "rewards/TRLEnvironment/mean") == [0.5] * 3
    assert logged(trainer, "tools/call_frequency") == [1.0] * 3
    assert logged(trainer, "tools/failure_frequency") == [0.0] * 3
    assert not torch.equal(before, weights(trainer))


def _solutions(env_id, seed, **knobs):
    env = make(env_id, **knobs)
    env.reset(seed=seed)
    return env.unwrapped.oracle()


def test_what_was_not_finished_has_no_reward():
    episode = trl_environment("palaestra/Lookup-v0")()
    assert episode.get_reward() is None
    assert "Question" in episode.reset(seed=1)
    assert "Observation" in episode.reply("Action: search[nothing]") and episode.get_reward() is None
    episode.reply("Action: finish[nowhere]")
    assert episode.get_reward() == 0.0
    assert episode.reply("again") == "The episode is over."
