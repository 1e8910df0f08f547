"""The GPU's way of sampling: on a GPU as it is, elsewhere through Triton's interpreter and without graphs."""

from __future__ import annotations

import os

import pytest
import torch

from palaestra.trainer.engines.base import Prompt, SamplingParams
from palaestra.trainer.engines.native import NativeEngine
from palaestra.trainer.engines.sampling import seed_of

GPU = torch.cuda.is_available()
if not GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton looks at it when it is imported
pytest.importorskip("triton", reason="Triton is not installed; it comes with torch for CUDA")

from palaestra.trainer.engines import attention, graphed  # noqa: E402

DEVICE = "cuda" if GPU else "cpu"
TYPES = [torch.float32, torch.float16, *([torch.bfloat16] if GPU else [])]  # the interpreter cannot multiply bfloat16


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("each", "dim"), [(1, 16), (3, 32)])
@pytest.mark.parametrize("step", [0, 1, 77])
def test_attention_is_softmax_over_prompt_own_tokens_and_the_new_one(dtype, each, dim, step):
    generator = torch.Generator().manual_seed(0)
    kv, slots, own = 2, 70, 90

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(DEVICE, dtype)

    rows = torch.tensor([5, 0, 3], device=DEVICE)
    prompt_of = torch.tensor([0, 0, 1, 1, 2, 2], device=DEVICE)
    lengths = torch.tensor([70, 70, 5, 5, 64, 64], device=DEVICE)
    query, key, value = draw(3, kv * each, dim), draw(3, kv, dim), draw(3, kv, dim)
    prompts = draw(3, kv, slots, dim), draw(3, kv, slots, dim)
    mine = draw(6, kv, own, dim), draw(6, kv, own, dim)
    before = [t.clone() for t in mine]
    at = torch.tensor([step], device=DEVICE)
    found = attention.attend(query, key, value, *prompts, *mine, rows, prompt_of, lengths, at)
    for i, row in enumerate(rows.tolist()):
        prompt, length = prompt_of[row], lengths[row]
        keys, values = (
            torch.cat((p[prompt, :, :length], o[row, :, :step], new[i][:, None]), 1).double().repeat_interleave(each, 0)
            for p, o, new in zip(prompts, before, (key, value), strict=True)
        )
        weights = ((query[i].double()[:, None] * keys).sum(-1) * dim**-0.5).softmax(-1)
        expected = (weights[..., None] * values).sum(1).flatten()
        exact = dtype == torch.float32
        torch.testing.assert_close(found[i].double(), expected, atol=1e-5 if exact else 0.02, rtol=0.02)
        for kept, old, new in zip(mine, before, (key, value), strict=True):
            assert torch.equal(kept[row, :, step], new[i])
            old[row, :, step] = new[i]
    assert all(torch.equal(kept, old) for kept, old in zip(mine, before, strict=True))


def _prompts():
    generator = torch.Generator().manual_seed(1)
    texts = [tuple(torch.randint(3, 13, (n,), generator=generator).tolist()) for n in (2, 9, 4)]
    return [Prompt(text, 3, tuple(seed_of(i, j) for j in range(3))) for i, text in enumerate(texts)]


@pytest.fixture
def both_ways(policy, monkeypatch):
    """Sample the same on the CPU's loop and on the GPU's."""
    reference = NativeEngine(policy.model, policy.tokenizer)
    refuse = graphed.why_not
    capture = graphed.captured if GPU else lambda rows, weights: lambda: rows.advance(weights)
    captures = []

    def counted(rows, weights):
        captures.append(len(rows.row_of_N))
        return capture(rows, weights)

    def run(**params):
        monkeypatch.setattr(graphed, "why_not", lambda *_: "not now")
        expected = reference.sample(_prompts(), SamplingParams(**params))
        monkeypatch.setattr(graphed, "why_not", refuse if GPU else lambda *_: None)
        monkeypatch.setattr(graphed, "captured", counted)
        captures.clear()
        engine = NativeEngine(policy.model.to(DEVICE), policy.tokenizer)
        found = engine.sample(_prompts(), SamplingParams(**params))
        policy.model.to("cpu")
        return [t for turns in found for t in turns], [t for turns in expected for t in turns], captures

    return run


@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_p": 0.8}])
def test_it_samples_what_the_other_loop_samples(both_ways, how):
    found, expected, captures = both_ways(max_new_tokens=20, seed=5, **how)
    assert captures == [9]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.completion_ids == theirs.completion_ids
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)
        assert (mine.stop, mine.version_spans) == (theirs.stop, theirs.version_spans)


def test_rows_that_ended_leave_and_the_others_are_not_disturbed(both_ways):
    free, _, _ = both_ways(max_new_tokens=60, seed=2)
    common = [token for turn in free for token in turn.completion_ids[4:]]
    stop = max(sorted(set(common)), key=common.count)
    found, expected, captures = both_ways(max_new_tokens=60, seed=2, stop_ids=(stop,))
    assert len(captures) > 1
    assert captures[-1] <= 4
    assert [(t.completion_ids, t.stop) for t in found] == [(t.completion_ids, t.stop) for t in expected]
    assert len({len(t.completion_ids) for t in found}) > 2


def test_stop_strings_end_rows(both_ways, policy):
    free, _, _ = both_ways(max_new_tokens=12)
    text = policy.tokenizer.decode(free[0].completion_ids[2:4])
    found, expected, _ = both_ways(max_new_tokens=12, stop_strings=(text,))
    assert found[0].stop == "stop"
    assert [t.completion_ids for t in found] == [t.completion_ids for t in expected]


def test_new_weights_are_used_from_the_next_token_on(policy):
    model = policy.model.to(DEVICE)
    engine = NativeEngine(model, policy.tokenizer, own_copy=True)
    old, asked = engine._serve(), []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    new = (engine.decoder.weights(), 7)
    capture = graphed.captured if GPU else lambda rows, weights: lambda: rows.advance(weights)

    def served():
        asked.append(1)
        return old if len(asked) <= 10 else new

    prompts = _prompts()[:1]
    random = torch.full((30, 3), 0.5, dtype=torch.float64, device=DEVICE)
    params = SamplingParams(max_new_tokens=30)
    with torch.inference_mode():
        out = graphed.sample(engine.decoder, served, prompts, params, random, capture=capture)
    assert out.versions == [0] * 10 + [7] * 20
    asked.clear()
    with torch.inference_mode():
        stale = graphed.sample(engine.decoder, lambda: old, prompts, params, random, capture=capture)
    assert stale.logp[0][:10] == pytest.approx(out.logp[0][:10])
    assert stale.logp[0][10] != pytest.approx(out.logp[0][10], abs=1e-4)


def test_why_it_cannot_be_used_is_said(policy):
    engine = NativeEngine(policy.model)
    assert graphed.why_not(engine.decoder, torch.device("cpu")) == "the device is cpu"
    assert "48" in (attention.why_not(48) or "")
    assert attention.why_not(128) is None
