"""What newcomers get wrong: every error names the field, the value and the fix, before an episode runs where it can."""

import asyncio
import math
import re

import numpy as np
import pytest

import palaestra as pl


def _tool_without_hint(x):
    return x


def _tool_of_anything(x: "Undefined"):  # noqa: F821
    return x


class Foreign:
    """A type no JSON schema describes."""


def _tool_of_a_foreign_type(x: Foreign):
    return x


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "answer is None"),
        (True, "bool True"),
        (np.bool_(False), "bool False"),
        ([4], "type list"),
        ({4}, "type set"),
        (np.array([4]), "type ndarray"),
        ({"a": 1}, "dict with 'tests'"),
        ({"tests": []}, "at least one test"),
        ({"tests": [{"inp": 1}]}, "tests\\[0\\] has the keys"),
        ({"tests": 3}, "tests cannot be used"),
        ("", "empty text"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_an_answer_that_nothing_could_match_is_named_at_reset(answer, words):
    @pl.env("mistake/Answer-v0")
    def ask(rng):
        return "2+2?", answer

    with pytest.raises((TypeError, ValueError), match=words) as caught:
        pl.make("mistake/Answer-v0").reset(seed=0)
    assert "mistake/Answer-v0" in str(caught.value)


@pytest.mark.parametrize("answer", [np.int64(4), np.float64(4), np.array(4), np.str_("4"), 4 + 0j])
def test_numpy_scalars_are_numbers_and_text(answer):
    @pl.env("mistake/Numpy-v0")
    def ask(rng):
        return "2+2?", answer

    env = pl.make("mistake/Numpy-v0")
    env.reset(seed=0)
    assert env.step("\\boxed{4}")[1] == 1.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2+2?", "returned the prompt alone"),
        (None, "returned nothing"),
        (1.0, "needs a `yield prompt` first"),
        (("2+2?", 4, {}), "returned 3 values"),
        (["2+2?", 4], "return a tuple"),
        ({"prompt": "2+2?", "answer": 4}, "return a tuple"),
        ((22, 4), "prompt must be text"),
        ((None, 4), "prompt must be text"),
        (("", 4), "empty text"),
        (([{"content": "x"}], 4), "bad role"),
        (([{"role": "users", "content": "x"}], 4), "bad role"),
        (([3], 4), "message must be text"),
    ],
)
def test_what_is_no_task_says_what_to_return(value, words):
    @pl.env("mistake/Task-v0")
    def ask(rng):
        return value

    with pytest.raises((TypeError, ValueError), match=words):
        pl.make("mistake/Task-v0").reset(seed=0)


async def _coroutine(rng):
    return "2+2?", 4


async def _agenerator(rng):
    yield "2+2?"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_coroutine, "async function"),
        (_agenerator, "async function"),
        (lambda: ("2+2?", 4), "no parameter for the random generator"),
        (lambda *, hi=3: ("2+2?", 4), "no parameter for the random generator"),
        (3, "no function"),
    ],
)
def test_what_is_no_environment_is_refused_at_registration(function, words):
    with pytest.raises(TypeError, match=words):
        pl.env("mistake/Function-v0")(function)


def test_the_decorator_needs_an_id():
    with pytest.raises(TypeError, match=r"@palaestra.env\('my/Name-v0'\)"):

        @pl.env
        def forgot(rng):
            return "2+2?", 4


def test_a_knob_without_a_default_must_be_given():
    @pl.env("mistake/Knob-v0")
    def ask(rng, hi):
        return f"{hi}?", hi

    with pytest.raises(TypeError, match="knob 'hi' has no default"):
        pl.make("mistake/Knob-v0").reset(seed=0)
    assert pl.make("mistake/Knob-v0", hi=3).reset(seed=0)[0][0]["content"] == "3?"
    assert pl.make("mistake/Knob-v0").reset(seed=0, options={"hi": 4})[0][0]["content"] == "4?"


def test_knobs_are_checked_against_the_hints_of_the_author():
    @pl.env("mistake/Hints-v0")
    def ask(rng, hi: int = 9, words: bool = False, side: str | int = 0, free=1):
        return f"{hi} {words} {side} {free}?", 1

    @pl.env("mistake/Unknown-v0")
    def unknown(rng, hi: int = 9, other: "Undefined" = None):  # noqa: F821
        return f"{hi}?", 1

    for knobs in ({"hi": "9x"}, {"hi": 1.5}, {"words": 7}, {"side": [1]}):
        with pytest.raises(TypeError, match=f"{next(iter(knobs))}="):
            pl.make("mistake/Hints-v0", **knobs).reset(seed=0)
    pl.make("mistake/Hints-v0", hi=np.int64(3), side="left", free=object()).reset(seed=0)
    pl.make("mistake/Unknown-v0", hi="9x", other=object()).reset(seed=0)  # hints that cannot be resolved check nothing


@pytest.mark.parametrize(
    "setting", [{"max_turns": "a"}, {"max_turns": True}, {"test_share": "b"}, {"max_chars": 1.5}, {"lenient": 1}]
)
def test_settings_of_the_wrong_type_are_named(setting):
    with pytest.raises(TypeError, match=f"{next(iter(setting))}="):
        pl.make("palaestra/Sort-v0", **setting)


class NoSuper(pl.MultiTurnEnv):
    def __init__(self):
        self.count = 0

    def start(self, rng):
        return "?"

    def reply(self, text):
        return 1.0


class OneTool(pl.ToolEnv):
    def start(self, rng):
        return "?"

    def tools(self):
        return self.act

    def act(self, x: int):
        return x


@pytest.mark.parametrize(
    ("form", "words"),
    [(NoSuper, "super\\(\\).__init__"), (Foreign, "derive it from"), (OneTool, "return a list")],
)
def test_classes_that_miss_something(form, words):
    pl.register("mistake/Class-v0", form)
    with pytest.raises(TypeError, match=words):
        pl.make("mistake/Class-v0").reset(seed=0)


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([_tool_without_hint], "no type hint"),
        ([_tool_of_anything], "cannot be resolved"),
        ([_tool_of_a_foreign_type], "hint arguments with"),
        (_tool_without_hint, "give a list of functions"),
    ],
)
def test_tools_that_cannot_be_described(tools, words):
    @pl.env("mistake/Tools-v0")
    def ask(rng):
        yield pl.Ask("?", tools=tools)

    with pytest.raises(TypeError, match=words):
        pl.make("mistake/Tools-v0").reset(seed=0)


def _never_again(reply):
    raise SystemExit(3)


async def _async_grader(reply):
    return float(reply == "x")


def _bad_scores(reply):
    return pl.Result(1.0, scores={"speed": "fast"})


# what a grader does with the reply "x" -> words of info["error"], or None when that is no mistake
GRADERS = [
    (lambda reply: "yes", "reward 'yes'"),
    (lambda reply: None, "`return` missing"),
    (lambda reply: (1.0, "a", "b"), "return a reward"),
    (lambda reply: (1.0, None), "feedback of type NoneType"),
    (lambda reply: (1.0, [3]), "feedback holds 3"),
    (lambda reply: pl.Result("1.0"), "reward '1.0'"),
    (lambda reply: pl.Result(1.0, None), "feedback=None"),
    (lambda reply: float("inf"), "inf, no finite number"),
    (lambda reply: 10**400, "finite number"),
    (lambda: 1.0, "positional argument"),
    (_bad_scores, "scores\\['speed'\\] is 'fast'"),
    (_never_again, "SystemExit: 3"),
    (lambda reply: np.bool_(True), None),
    (_async_grader, None),
]


@pytest.mark.parametrize(("grader", "words"), GRADERS)
@pytest.mark.parametrize("twin", [False, True])
def test_a_grader_that_goes_wrong_ends_the_episode_unscored(grader, words, twin):
    @pl.env("mistake/Grader-v0")
    def ask(rng):
        return "?", grader

    env = pl.make("mistake/Grader-v0")
    env.reset(seed=0)
    _, reward, terminated, truncated, info = asyncio.run(env.astep("x")) if twin else env.step("x")
    if words is None:
        assert reward == 1.0 and terminated
        return
    assert math.isnan(reward) and truncated and not terminated and info["stop_reason"] == "env_error"
    assert re.search(words, info["error"]), info["error"]


# what the second turn of a generator is -> words of info["error"]
TURNS = [
    (3, "a reward is returned, not yielded"),
    (None, "nothing was yielded"),
    (lambda: pl.Ask("x", reward="y"), "reward 'y'"),
    (lambda: pl.Ask("x", reward=float("nan")), "finite number"),
    (lambda: pl.Ask("x", feedback=3), "feedback is 3"),
    (lambda: pl.Ask("x", scores={"a": None}), "scores\\['a'\\]"),
    ({"role": "judge", "content": "x"}, "bad role"),
]


@pytest.mark.parametrize(("turn", "words"), TURNS)
def test_a_turn_that_goes_wrong_ends_the_episode_unscored(turn, words):
    @pl.env("mistake/Turn-v0")
    def talk(rng):
        yield "?"
        yield turn() if callable(turn) else turn
        return 1.0

    env = pl.make("mistake/Turn-v0")
    env.reset(seed=0)
    _, reward, _, truncated, info = env.step("x")
    assert math.isnan(reward) and truncated and re.search(words, info["error"]), info["error"]


def test_endings_that_are_forgotten_or_wrong():
    @pl.env("mistake/Ending-v0")
    def talk(rng, ending=None):
        yield "?"
        return ending

    for ending, words in ((None, "`return` missing"), ("done", "reward 'done'")):
        env = pl.make("mistake/Ending-v0", ending=ending)
        env.reset(seed=0)
        assert words in env.step("x")[4]["error"]


def test_methods_that_forget_to_return_or_yield_instead():
    class Silent(pl.MultiTurnEnv):
        def start(self, rng):
            return "?"

        def reply(self, text):
            pass

    class Yields(Silent):
        def reply(self, text):
            yield "more"

    class Waits(Silent):
        async def reply(self, text):
            return 1.0

    for form, words in ((Silent, "`return` missing"), (Yields, "method that yields")):
        env = form()
        env.reset(seed=0)
        assert words in env.step("x")[4]["error"]
    env = Waits()
    env.reset(seed=0)
    assert env.step("x")[1] == 1.0


def test_a_clean_up_that_fails_changes_no_step(caplog):
    @pl.env("mistake/Finally-v0", max_turns=1)
    def talk(rng):
        try:
            yield "?"
            yield "more"
        finally:
            raise ValueError("the file is gone")

    env = pl.make("mistake/Finally-v0")
    env.reset(seed=0)
    _, reward, _, truncated, info = env.step("x")
    assert reward == 0.0 and truncated and info["stop_reason"] == "turn_limit" and "clean-up" in caplog.text
    env.reset(seed=0)
    env.close()
