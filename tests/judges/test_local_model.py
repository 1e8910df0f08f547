"""A model in this process as a judge, with a tiny random one made here."""

import asyncio

import pytest

from palaestra.judges import Item, JudgeService, LLMJudge, ScoreRequest
from palaestra.lm import LMContextLengthError, LMTimeout, Sampling
from palaestra.schema import RewardStatus

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

HELLO = [{"role": "user", "content": "hello"}]


class Bytes:
    """A tokenizer of bytes."""

    chat_template = None
    pad_token_id = 0
    eos_token_id = 0

    def __call__(self, text):
        return {"input_ids": list(text.encode())}

    def decode(self, ids, skip_special_tokens=True):
        return bytes(i for i in ids if i).decode("latin-1")


@pytest.fixture(scope="module")
def local():
    from palaestra.judges.local import LocalModel

    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=256, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=8192,
    )  # fmt: skip
    return LocalModel(transformers.Qwen3ForCausalLM(config).eval(), Bytes(), name="tiny")


def test_generation_is_seeded_and_leaves_the_process_generator_alone(local):
    sampling = Sampling(temperature=1.0, max_tokens=8, seed=3)
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    one, two = (asyncio.run(local.complete(HELLO, sampling, allow_empty=True)) for _ in range(2))
    assert torch.rand(1) == wanted
    assert one.token_ids == two.token_ids and len(one.token_ids) <= 8 and one.usage.prompt_tokens > 5


def test_nonsense_is_a_parse_error_and_no_score(local):
    judge = LLMJudge("local", local, sampling=Sampling(temperature=1.0, max_tokens=12))
    items = [Item(id="a", prompt="q", response="An answer.")]
    result = asyncio.run(JudgeService([judge]).score(ScoreRequest(items=items))).results[0]
    assert result.status is RewardStatus.PARSE_ERROR and result.reward is None


def test_deadline_and_context_are_typed_errors(local):
    with pytest.raises(LMTimeout):
        asyncio.run(local.complete(HELLO, Sampling(max_tokens=4000), deadline_s=0.2))
    with pytest.raises(LMContextLengthError):
        asyncio.run(local.complete([{"role": "user", "content": "x" * 9000}]))
