"""Prompt transforms: pure, marked, never doubled."""

import asyncio

import pytest

import palaestra as pl
from palaestra.envs.transforms import JOIN, TRANSFORMS, TransformPrompt, visible_pairs

CHAT = (
    {"role": "system", "content": "rules and tools"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "answer"},
    {"role": "user", "content": "q"},
)


@pytest.mark.parametrize(
    ("name", "text"),
    [("repeat", "q\n\nq"), ("repeat_verbose", f"q{JOIN}q"), ("repeat_thrice", "q\n\nq\n\nq"), ("pad", "q\n\n.")],
)
def test_only_the_last_user_turn_changes(name, text):
    before = [dict(m) for m in CHAT]
    after = TRANSFORMS[name](CHAT)
    assert [dict(m) for m in CHAT] == before
    assert after[:3] == CHAT[:3] and after[3] == {"role": "user", "content": text}


def test_padding_has_the_length_of_repetition():
    messages = ({"role": "user", "content": "What is 2+2?"},)
    assert len(TRANSFORMS["pad"](messages)[0]["content"]) == len(TRANSFORMS["repeat"](messages)[0]["content"])


def test_the_wrapper_says_what_it_did_and_does_it_once():
    env = TransformPrompt(TransformPrompt(pl.make("palaestra/Sort-v0"), "repeat"), "repeat")
    observation, info = env.reset(seed=0)
    prompt = pl.make("palaestra/Sort-v0").reset(seed=0)[0][0]["content"]
    assert observation[0]["content"] == f"{prompt}\n\n{prompt}" and info["transform"] == ["repeat"]
    assert env.step("".join(sorted(prompt)))[1] == 1.0
    both = TransformPrompt(env, "react").reset(seed=0)[1]
    assert both["transform"] == ["repeat", "react"]
    with pytest.raises(ValueError, match="choose one of"):
        TransformPrompt(env, "twice")


def test_a_prompt_that_would_not_fit_stays_as_it_is():
    plain = pl.make("palaestra/Sort-v0", digits=10).reset(seed=0)[0]
    for context, fits in ((30, False), (31, False), (32, True), (None, True)):  # 10 + 2 + 10 bytes and 10 for the reply
        env = TransformPrompt(pl.make("palaestra/Sort-v0", digits=10), "repeat", context=context, reply=10)
        observation, info = env.reset(seed=0)
        assert (observation != plain) is fits and info.get("transform") == (["repeat"] if fits else None)
        assert info.get("transform_skipped") == (None if fits else ["repeat"])
    words = TransformPrompt(pl.make("palaestra/Sort-v0"), "repeat", context=2, count=lambda messages: 2)
    assert words.reset(seed=0)[1]["transform"] == ["repeat"]
    with pytest.raises(ValueError, match="reply=9 leaves no room"):
        TransformPrompt(pl.make("palaestra/Sort-v0"), "repeat", context=9, reply=9)


def test_every_variant_keeps_the_right_answer_right():
    for name in TRANSFORMS:
        for env_id in ("palaestra/NameIndex-v0", "palaestra/MiddleMatch-v0"):
            env = TransformPrompt(pl.make(env_id, size=9), name)
            env.reset(seed=4)
            assert env.step(next(iter(env.unwrapped.oracle())))[1] == 1.0


def test_async_twins_of_the_wrapper():
    async def run():
        env = TransformPrompt(pl.make("test/Guess-v0"), "repeat")
        observation, _ = await env.areset(seed=0)
        return observation, await env.astep("x")

    observation, step = asyncio.run(run())
    assert observation[0]["content"].count("Guess an integer") == 2 and step[0][0]["content"].count("Send") == 1


def test_visible_pairs():
    assert visible_pairs(6) == pytest.approx(7 / 12) and visible_pairs(1) == 1.0
    with pytest.raises(ValueError):
        visible_pairs(0)
