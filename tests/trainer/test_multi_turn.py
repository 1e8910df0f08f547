"""Multi-turn exactness: sampled tokens are never tokenised again, all else is masked, rewriting templates branch."""

from __future__ import annotations

import numpy as np
import pytest

from palaestra.schema import Rollout, Turn
from palaestra.trainer.batcher import Batcher
from palaestra.trainer.chat import ChatFormat
from palaestra.trainer.config import EnvConfig, RolloutConfig
from palaestra.trainer.engines import make_engine
from palaestra.trainer.engines.base import SamplingParams
from palaestra.trainer.rollout import RolloutWorker
from palaestra.trainer.rows import spread
from palaestra.trainer.samples import samples_of
from palaestra.trainer.tasks import TaskRef, TaskSource
from palaestra.trainer.tiny import END, tiny_tokenizer

KEEPS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' else '' }}\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
FORGETS = KEEPS.replace(
    "{{ m.content }}", "{{ m.content if loop.last or m.role != 'assistant' else m.content.split('#')[-1] }}"
)
NORMALISES = KEEPS.replace("{{ m.content }}", "{{ m.content | replace(': ', ':') | replace(', ', ',') }}")
STRIPS = KEEPS.replace("{{ m.content }}", "{{ m.content | trim }}")


def chat(template, **options):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return ChatFormat(tokenizer, (tokenizer.eos_token_id,), **options)


def follow(chat, said, *, ended=True, history=None, new=None):
    history = history or [{"role": "user", "content": "go"}]
    first = chat.first(history)
    ids = chat.encode(said) + ((chat.end_ids[0],) if ended else ())
    answer = {"role": "assistant", "content": chat.decode(ids)}
    new = new or [{"role": "user", "content": "next"}]
    return first, ids, chat.next(first, ids, history, answer, new), chat.render([*history, answer, *new])


def test_a_plain_template_continues_the_exact_ids():
    c = chat(KEEPS)
    for ended in (True, False):
        first, ids, following, full = follow(c, "a#b", ended=ended)
        assert not following.broken
        assert following.ids[: len(first) + len(ids)] == first + ids
        assert c.tokenizer.decode(following.ids) == full


def test_the_tiny_template_continues_too():
    tokenizer = tiny_tokenizer("0123456789")
    c = ChatFormat(tokenizer, (1,))
    assert tokenizer.apply_chat_template([{"role": "user", "content": "527140"}], tokenize=False) == "527140>"
    first, ids, following, _ = follow(
        c, "12", history=[{"role": "user", "content": "21"}], new=[{"role": "user", "content": "3"}]
    )
    assert following.ids == first + ids + c.encode("3>")


@pytest.mark.parametrize("template", [FORGETS, STRIPS, NORMALISES])
def test_a_template_that_rewrites_history_branches(template):
    """Thinking removed, spaces stripped, the JSON of a tool call written another way."""
    said = ' thinking#<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call> '
    c = chat(template)
    _, _, following, full = follow(c, said)
    assert following.broken
    assert c.tokenizer.decode(following.ids) == full
    kept = chat(template, on_rewrite="append")
    first, ids, following, _ = follow(kept, said)
    assert not following.broken
    assert following.ids[: len(first) + len(ids)] == first + ids


def test_text_that_looks_like_the_end_token_does_not_confuse_the_border():
    c = chat(KEEPS)
    history = [{"role": "user", "content": f"say {END}"}]
    first, ids, following, _ = follow(c, "x", history=history)
    assert following.ids[: len(first) + len(ids)] == first + ids


def turn(prompt, completion, version=0):
    return Turn(
        prompt_ids=prompt, completion_ids=completion, logprobs=(-0.5,) * len(completion), policy_version=version
    )


def test_turns_become_one_masked_row():
    rollout = Rollout(task_id="t", turns=(turn((1, 2), (3, 4), 7), turn((1, 2, 3, 4, 9, 9), (5,), 8)))
    (row,) = samples_of(rollout)
    assert row.prompt_ids == (1, 2)
    assert row.ids_T == (3, 4, 9, 9, 5)
    assert row.mask_T.tolist() == [True, True, False, False, True]
    assert row.logp_T.tolist() == [-0.5, -0.5, 0, 0, -0.5]
    assert row.version_T.tolist() == [7, 7, -1, -1, 8]


def test_a_prefix_break_begins_a_new_row_and_advantages_follow_the_tokens():
    rollout = Rollout(
        task_id="t", turns=(turn((1, 2), (3, 4)), turn((1, 2, 8), (5, 6)), turn((1, 2, 8, 5, 6, 9), (7,)))
    )
    rows = samples_of(rollout)
    assert [(r.prompt_ids, r.ids_T) for r in rows] == [((1, 2), (3, 4)), ((1, 2, 8), (5, 6, 9, 7))]
    parts = spread(rows, np.array([1.0, 2, 3, 4, 5, 99]))
    assert parts[0].tolist() == [1, 2]
    assert parts[1].tolist() == [3, 4, 0, 5]
    assert spread(rows, -1.0)[1].tolist() == [-1, -1, 0, -1]
    assert samples_of(Rollout(task_id="t")) == []


@pytest.fixture
def guessing():
    import palaestra as pl

    def game(rng, turns=3):
        reply = yield f"{int(rng.integers(10, 99))}"
        for _ in range(turns - 1):
            reply = yield f"{len(reply)}"
        return float(len(reply))

    pl.env("test/Guessing-v0")(game)
    return "test/Guessing-v0"


def play(policy, env_id, count=3, **settings):
    source = TaskSource(EnvConfig(id=env_id))
    config = RolloutConfig(**{"max_new_tokens": 4, **settings})
    chat = ChatFormat(policy.tokenizer, policy.end_ids, on_rewrite=config.on_template_rewrite)
    worker = RolloutWorker(source, chat, config, seed=3)
    batcher = Batcher(make_engine("native", policy), SamplingParams(max_new_tokens=4, stop_ids=policy.end_ids))
    plays = worker.play([TaskRef(1), TaskRef(2)], count, batcher, stamp=5)
    source.close()
    return plays


@pytest.mark.parametrize("mode", ["branch", "append"])
def test_rollouts_record_exactly_what_was_sampled(policy, guessing, mode):
    """The untrained policy also samples padding tokens, which no template would write back: there rows branch."""
    import torch

    for played in play(policy, guessing, on_template_rewrite=mode):
        assert len(played.group.rollouts) == 3
        for rollout in played.group.rollouts:
            assert len(rollout.turns) == 3
            assert rollout.terminated
            rows = samples_of(rollout)
            assert len(rows) == 1 or mode == "branch"
            assert sum(int(row.mask_T.sum()) for row in rows) == sum(len(t.completion_ids) for t in rollout.turns)
            for row in rows:
                ids = torch.tensor([[*row.prompt_ids, *row.ids_T]])
                with torch.no_grad():
                    logp = policy.model(ids).logits.log_softmax(-1)[0, len(row.prompt_ids) - 1 : -1]
                taken = logp.gather(1, ids[0, len(row.prompt_ids) :, None])[:, 0].numpy()
                np.testing.assert_allclose(taken[row.mask_T], row.logp_T[row.mask_T], atol=1e-5)
            said = [m.text for m in rollout.messages if m.role == "assistant"]
            assert said == [policy.tokenizer.decode(t.completion_ids, skip_special_tokens=True) for t in rollout.turns]


def test_the_same_stamp_gives_the_same_rollouts(policy, guessing):
    first, second = play(policy, guessing), play(policy, guessing)
    assert [p.group for p in first] == [p.group for p in second]


def test_limits_cut_rollouts_off_with_what_they_earned(policy, guessing):
    for rollout in play(policy, guessing, max_turns=2)[0].group.rollouts:
        assert (rollout.truncated, rollout.stop_reason, rollout.reward) == (True, "turn_limit", 0.0)
    for rollout in play(policy, guessing, max_context=8)[0].group.rollouts:
        assert (rollout.truncated, rollout.stop_reason) == (True, "length")
        assert len(rollout.turns) >= 1
