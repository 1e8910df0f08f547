"""The contract of every engine: exact ids and log-probabilities, seeds, stops, versions, no stale weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from palaestra.trainer.config import PolicyConfig
from palaestra.trainer.engines import make_engine
from palaestra.trainer.engines.base import EngineFailed, Prompt, SamplingParams
from palaestra.trainer.engines.sampling import draw, seed_of, uniforms
from palaestra.trainer.policy import load_policy

LOCAL = ["native", "hf"]
ON_GPU = [
    pytest.param(f"{kind} cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"))
    for kind in LOCAL
]
KINDS = [*LOCAL, *ON_GPU, *(pytest.param(kind, marks=pytest.mark.vllm) for kind in ("vllm", "vllm_http"))]


def _reference(model, prompt, completion):
    ids = torch.tensor([[*prompt, *completion]], device=model.device)
    with torch.no_grad():
        logp = model(ids).logits.float().log_softmax(-1)[0, len(prompt) - 1 : -1].cpu()
    return logp.gather(1, torch.tensor(completion)[:, None])[:, 0].numpy()


def _prompts(count=3, n=4):
    rng = np.random.default_rng(0)
    return [
        Prompt(tuple(rng.integers(3, 13, 2 + 3 * i).tolist()), n, tuple(seed_of(9, i, j) for j in range(n)))
        for i in range(count)
    ]


@pytest.fixture
def policy(copied_policy):
    return copied_policy


@pytest.fixture(params=KINDS)
def engine(request, policy):
    if request.param.startswith("vllm"):  # they start slowly: one engine for all tests, with this test's weights
        shared = request.getfixturevalue(f"{request.param}_engine")
        shared.policy, shared.probe.model = policy, policy.model
        shared.update_weights(policy.model, 0)
        yield shared
        return
    kind, _, device = request.param.partition(" ")
    policy.model.to(device or "cpu")
    made = make_engine(kind, policy)
    yield made
    made.close()


def test_logprobs_are_the_models_own(engine, policy):
    for temperature in (1.0, 0.0):
        for prompt, turns in zip(
            _prompts(),
            engine.sample(_prompts(), SamplingParams(max_new_tokens=9, temperature=temperature)),
            strict=True,
        ):
            assert len(turns) == prompt.n
            for turn in turns:
                assert turn.prompt_ids == prompt.ids
                expected = _reference(policy.model, prompt.ids, turn.completion_ids)
                np.testing.assert_allclose(turn.logprobs, expected, atol=1e-5)
            if temperature == 0:
                assert len({turn.completion_ids for turn in turns}) == 1


def test_scores_agree_with_samples_and_top_k_holds_the_best(engine, policy):
    turns = [group[0] for group in engine.sample(_prompts(), SamplingParams(max_new_tokens=6))]
    scored = engine.score([t.prompt_ids for t in turns], [t.completion_ids for t in turns], topk=3)
    for turn, score in zip(turns, scored, strict=True):
        np.testing.assert_allclose(score.logp, turn.logprobs, atol=1e-5)
        assert score.top_ids.shape == score.top_logp.shape == (len(turn.completion_ids), 3)
        assert (np.diff(score.top_logp, axis=1) <= 0).all()
        assert (score.top_logp[:, 0] >= score.logp - 1e-6).all()


def test_a_sample_does_not_depend_on_its_neighbours(engine):
    params = SamplingParams(max_new_tokens=7)
    together = engine.sample(_prompts(), params)
    for prompt, turns in zip(_prompts(), together, strict=True):
        alone = engine.sample([Prompt(prompt.ids, 1, prompt.keys[2:3])], params)[0][0]
        assert alone.completion_ids == turns[2].completion_ids


def test_engines_draw_the_same_tokens_from_the_same_seeds(policy):
    native, stock = (make_engine(kind, policy).sample(_prompts(), SamplingParams(max_new_tokens=8)) for kind in LOCAL)
    assert [[t.completion_ids for t in ts] for ts in native] == [[t.completion_ids for t in ts] for ts in stock]


def test_stop_ids_end_a_turn_and_are_kept(engine):
    free = engine.sample(_prompts(), SamplingParams(max_new_tokens=12))
    stop = free[0][0].completion_ids[3]
    ended = engine.sample(_prompts(), SamplingParams(max_new_tokens=12, stop_ids=(stop,)))
    for before, after in zip(free, ended, strict=True):
        for a, b in zip(before, after, strict=True):
            cut = a.completion_ids.index(stop) + 1 if stop in a.completion_ids else 12
            assert b.completion_ids == a.completion_ids[:cut]
            assert b.stop == ("stop" if stop in a.completion_ids else "length")


def test_stop_strings_end_a_turn(engine, policy):
    free = engine.sample(_prompts(1, 1), SamplingParams(max_new_tokens=12))[0][0]
    text = policy.tokenizer.decode(free.completion_ids[2:4])
    ended = engine.sample(_prompts(1, 1), SamplingParams(max_new_tokens=12, stop_strings=(text,)))[0][0]
    assert ended.stop == "stop"
    assert policy.tokenizer.decode(ended.completion_ids).endswith(text)


@pytest.mark.parametrize("kind", LOCAL)
def test_stop_strings_need_a_tokenizer(kind, policy):
    engine = make_engine(kind, type("P", (), {"model": policy.model, "tokenizer": None})())
    with pytest.raises(ValueError, match="stop_strings needs a tokenizer"):
        engine.sample(_prompts(), SamplingParams(max_new_tokens=2, stop_strings=("1",)))


def test_new_weights_are_used_and_the_version_moves(engine, policy):
    before = engine.sample(_prompts(), SamplingParams(max_new_tokens=4))
    assert {t.policy_version for ts in before for t in ts} == {0}
    with torch.no_grad():
        for parameter in policy.model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.add_(0.05 * noise.to(parameter))
    assert engine.update_weights(policy.model, 5).version == engine.version == 5
    for ts in engine.sample(_prompts(), SamplingParams(max_new_tokens=4)):
        for turn in ts:
            assert turn.policy_version == 5
            np.testing.assert_allclose(
                turn.logprobs, _reference(policy.model, turn.prompt_ids, turn.completion_ids), atol=1e-5
            )


def test_a_cached_prompt_is_encoded_again_with_new_weights(engine, policy):
    long = Prompt(tuple(np.random.default_rng(2).integers(3, 13, 300).tolist()))
    engine.sample([long], SamplingParams(max_new_tokens=2))
    with torch.no_grad():
        for parameter in policy.model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.add_(0.02 * noise.to(parameter))
    engine.update_weights(policy.model, 1)
    turn = engine.sample([long], SamplingParams(max_new_tokens=2))[0][0]
    np.testing.assert_allclose(turn.logprobs, _reference(policy.model, long.ids, turn.completion_ids), atol=1e-5)


def test_weights_come_as_a_state_dict_too(engine, policy):
    state = {name: tensor + 0.01 for name, tensor in policy.model.state_dict().items()}
    engine.update_weights(state, 2)
    turn = engine.sample(_prompts(1, 1), SamplingParams(max_new_tokens=4))[0][0]
    policy.model.load_state_dict(state)
    np.testing.assert_allclose(turn.logprobs, _reference(policy.model, turn.prompt_ids, turn.completion_ids), atol=1e-5)


def test_log_probs_are_those_of_the_distribution_sampled_from(engine, policy):
    for turn in engine.sample(_prompts(1, 4), SamplingParams(max_new_tokens=6, temperature=0.5))[0]:
        ids = torch.tensor([[*turn.prompt_ids, *turn.completion_ids]], device=policy.device)
        with torch.no_grad():
            logp = (policy.model(ids).logits.float() / 0.5).log_softmax(-1)[0, len(turn.prompt_ids) - 1 : -1]
        expected = logp.cpu().gather(1, torch.tensor(turn.completion_ids)[:, None])[:, 0]
        np.testing.assert_allclose(turn.logprobs, expected, atol=1e-5)


def test_diverged_weights_are_said_and_not_sampled_from(engine, policy, request):
    if "vllm" in request.node.name:
        pytest.skip("vLLM checks its weights by the probe")
    with torch.no_grad():
        policy.model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan
    engine.update_weights(policy.model, 1)
    with pytest.raises(EngineFailed, match=r"diverged.*train\.learning_rate"):
        engine.sample(_prompts(), SamplingParams(max_new_tokens=4))


def test_an_empty_prompt_is_refused_and_no_prompts_is_fine(engine):
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        engine.sample([Prompt(())], SamplingParams())
    assert engine.sample([], SamplingParams()) == []


def test_other_shapes_of_the_native_decoder():
    """Grouped heads, an untied head and query biases agree with the stock forward pass; others fall back, loudly."""
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    from palaestra.trainer.engines.decoder import Decoder, why_unsupported

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 17,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": None,
    }
    models = [
        LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False)),
        Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=True)),
    ]
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        engine = make_engine("native", type("P", (), {"model": model.eval(), "tokenizer": None})())
        for prompt, turns in zip(_prompts(), engine.sample(_prompts(), SamplingParams(max_new_tokens=5)), strict=True):
            for turn in turns:
                expected = _reference(model, prompt.ids, turn.completion_ids)
                np.testing.assert_allclose(turn.logprobs, expected, atol=2e-5)
    stranger = GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=16, n_layer=1, n_head=2)).eval()
    assert "GPT2LMHeadModel" in str(why_unsupported(stranger))
    with pytest.raises(ValueError, match="engine = 'hf'"):
        Decoder(stranger)
    fallback = make_engine("native", type("P", (), {"model": stranger, "tokenizer": None})())
    assert type(fallback).__name__ == "HuggingFaceEngine"
    turn = fallback.sample(_prompts(1, 1), SamplingParams(max_new_tokens=5))[0][0]
    np.testing.assert_allclose(turn.logprobs, _reference(stranger, turn.prompt_ids, turn.completion_ids), atol=1e-5)


def test_draws_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]]).expand(20000, -1)
    numbers = torch.from_numpy(uniforms(np.arange(20000, dtype=np.uint64), 1)[:, 0])
    ids, logp = draw(logits, numbers)
    expected = logits[0].softmax(-1)
    observed = torch.bincount(ids, minlength=4) / 20000
    assert observed[2] == 0
    np.testing.assert_allclose(observed, expected, atol=0.015)
    np.testing.assert_allclose(logp, expected.log()[ids], atol=1e-6)


def test_draws_at_the_edges():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]] * 2)
    ids, _ = draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))
    assert ids.tolist() == [0, 1]
    nucleus, logp = draw(
        torch.tensor([[3.0, 2.0, 0.0]] * 50), torch.linspace(0, 0.999, 50, dtype=torch.float64), 1.0, 0.5
    )
    assert set(nucleus.tolist()) == {0}
    np.testing.assert_allclose(logp, 0, atol=1e-6)


def test_a_large_vocabulary_is_searched_in_two_steps_to_the_same_end():
    logits = 3 * torch.randn(64, 9001, generator=torch.Generator().manual_seed(0))
    logits[:, ::3] = -torch.inf
    numbers = torch.from_numpy(uniforms(np.arange(64, dtype=np.uint64), 1)[:, 0])
    numbers[:3] = torch.tensor([0.0, 1 - 2**-53, 0.5])
    ids, logp = draw(logits, numbers)
    cumulative = logits.double().softmax(-1).cumsum(-1)
    before = cumulative.gather(1, (ids - 1).clamp_min(0)[:, None])[:, 0] * (ids > 0)
    assert (before - 1e-6 <= numbers).all()
    assert (numbers <= cumulative.gather(1, ids[:, None])[:, 0] + 1e-6).all()
    assert torch.isfinite(logp).all()
    alone, _ = draw(logits[5:6], numbers[5:6])
    assert alone[0] == ids[5]


def test_large_models_are_refused_with_an_estimate(tmp_path):
    from transformers import Qwen3Config

    from palaestra.trainer.config import ConfigError

    Qwen3Config(hidden_size=16384, num_hidden_layers=120, intermediate_size=65536).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"B parameters; training it takes about .* GiB"):
        load_policy(PolicyConfig(model=str(tmp_path)))


def test_bfloat16_weights_leave_the_rotary_frequencies_alone():
    narrow, wide = (load_policy(PolicyConfig(layers=1, hidden=64, dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert {p.dtype for p in narrow.model.parameters()} == {torch.bfloat16}
    for (name, one), (_, two) in zip(narrow.model.named_buffers(), wide.model.named_buffers(), strict=True):
        assert torch.equal(one, two), name  # rounded ones would be a radian off after some thousand tokens
    assert narrow.model.lm_head.weight is narrow.model.model.embed_tokens.weight
