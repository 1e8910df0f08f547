"""Writing environments: functions, generators, classes; what happens at their edges."""

import ast
import asyncio
import doctest
import inspect
import math
import re
import textwrap
from importlib import import_module
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded

import palaestra as pl
from palaestra.envs import UnknownEnvironment
from palaestra.envs.splits import split_of
from palaestra.schema import Feedback, Task

MANUAL = Path(pl.__file__).parent / "docs" / "environments.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", MANUAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
EXAMPLES = BLOCKS[0]


@pytest.fixture(scope="module")
def examples():
    space: dict = {}
    exec(EXAMPLES, space)  # our own text, run as a user's module would be
    return space


def test_the_printed_examples_run(examples):
    env = pl.make("my/Mul-v0", hi=9)
    observation, info = env.reset(seed=3)
    a, b = map(int, re.findall(r"\d+", observation[0]["content"]))
    assert a < 9 and b < 9 and info["feedback"] == []
    assert env.step(f"\\boxed{{{a * b}}}")[1:4] == (1.0, True, False)
    env.reset(seed=3)
    assert env.step(f"\\boxed{{{a * b + 1}}}")[1] == 0.0

    env = pl.make("my/Guess-v0")
    env.reset(seed=3)
    lo, hi = 1, 20
    while True:
        middle = (lo + hi) // 2
        observation, reward, terminated, _, _ = env.step(f"I say {middle}")
        if terminated:
            break
        lo, hi = (middle + 1, hi) if observation[0]["content"] == "higher" else (lo, middle - 1)
    assert reward == 1.0


def test_the_manuals_other_examples_run(examples):
    space = dict(examples)
    for block in BLOCKS[1:4]:
        exec(block, space)
    env = pl.make("my/Shop-v0")
    env.reset(seed=0)
    stock = env.step('<tool_call>{"name": "look", "arguments": {"item": "pear"}}</tool_call>')[0][0]["content"]
    buy = f'{{"name": "buy", "arguments": {{"item": "pear", "amount": {stock}}}}}'
    assert env.step(f"<tool_call>{buy}</tool_call>")[1] == 1.0
    env = space["Reverse"]()
    word = env.reset(seed=0)[0][0]["content"].removeprefix("Reverse ")
    assert env.step(word[::-1])[1] == 1.0


def test_the_printed_examples_are_short():
    tree = ast.parse(EXAMPLES)
    lines = {
        node.name: len(node.decorator_list) + (node.end_lineno - node.lineno + 1)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    assert lines["mul"] <= 4 and lines["guess"] <= 8


def test_gymnasium_makes_them_too(examples):
    assert gymnasium.make("my/Mul-v0", hi=5).reset(seed=1)[0] == pl.make("my/Mul-v0", hi=5).reset(seed=1)[0]
    assert gymnasium.make("palaestra/Sort-v0").unwrapped.spec.id == "palaestra/Sort-v0"


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownEnvironment, match="palaestra/Countdown-v0"):
        pl.make("palaestra/Countdwn-v0")
    with pytest.raises(TypeError, match="did you mean 'digits'"):
        pl.make("palaestra/Sort-v0", digit=3)
    env = pl.make("palaestra/Sort-v0")
    with pytest.raises(TypeError, match="'digits'"):
        env.reset(options={"digit": 3})


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"feedback": "loud"}, "feedback"),
        ({"max_turns": 0}, "max_turns"),
        ({"split": "dev"}, "split"),
        ({"test_share": 2}, "test_share"),
        ({"tool_format": "yaml"}, "tool_format"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        pl.make("palaestra/Sort-v0", **settings)


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True])
def test_bad_seeds_are_named(seed):
    with pytest.raises((TypeError, ValueError), match="seed"):
        pl.make("palaestra/Sort-v0").reset(seed=seed)


def test_options_hold_for_one_episode():
    env = pl.make("palaestra/Sort-v0")
    assert len(env.reset(seed=0, options={"digits": 3})[0][0]["content"]) == 3
    assert len(env.reset(seed=0)[0][0]["content"]) == 6
    assert env.reset(seed=0)[1]["task_id"] != env.reset(seed=0, options={"digits": 3})[1]["task_id"]


def test_numpy_seeds_name_the_same_task():
    env = pl.make("palaestra/Sort-v0")
    assert env.reset(seed=np.int64(5))[1] == env.reset(seed=5)[1]


def test_reset_without_seed_continues_the_stream():
    env = pl.make("palaestra/Sort-v0")
    env.reset(seed=1)
    following = [env.reset()[0] for _ in range(3)]
    env.reset(seed=1)
    assert [env.reset()[0] for _ in range(3)] == following
    assert len({repr(o) for o in following}) == 3


def test_a_failing_grader_gives_no_reward():
    @pl.env("test/Broken-v0")
    def broken(rng):
        def grade(response):
            raise RuntimeError("the database is gone")

        return "Say anything.", grade

    @pl.env("test/Unjudged-v0")
    def unjudged(rng):
        return "Say anything.", lambda response: None

    for id, text in (("test/Broken-v0", "database"), ("test/Unjudged-v0", "checker")):
        env = pl.make(id)
        env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step("hello")
        assert math.isnan(reward) and truncated and not terminated and observation == ()
        assert info["stop_reason"] == "env_error" and text in info["error"] and info["feedback"] == []


def test_result_none_is_unscored():
    @pl.env("test/Unscored-v0")
    def unscored(rng):
        return "?", lambda response: pl.Result(None, error="judge down")

    env = pl.make("test/Unscored-v0")
    env.reset(seed=0)
    _, reward, _, truncated, info = env.step("x")
    assert math.isnan(reward) and truncated and info["error"] == "judge down"


@pytest.mark.parametrize(
    ("value", "word"), [(object(), "turn must be"), (3, "turn must be"), ([], "turn must be"), (None, "turn must be")]
)
def test_a_wrong_turn_is_an_environment_error(value, word):
    @pl.env("test/WrongYield-v0")
    def wrong(rng):
        yield "first"
        yield value

    env = pl.make("test/WrongYield-v0")
    env.reset(seed=0)
    assert word in env.step("x")[4]["error"]


def test_a_generator_that_returns_nothing_is_an_environment_error():
    @pl.env("test/NoReturn-v0")
    def silent(rng):
        yield "first"

    env = pl.make("test/NoReturn-v0")
    env.reset(seed=0)
    assert "return a reward" in env.step("x")[4]["error"]


def test_wrong_prompts_raise_at_reset():
    @pl.env("test/NoPrompt-v0")
    def no_prompt(rng):
        return 3

    with pytest.raises(TypeError, match="a task is"):
        pl.make("test/NoPrompt-v0").reset(seed=0)


@pytest.mark.parametrize(
    ("value", "reward", "text"),
    [
        (1, 1.0, "Correct."),
        (True, 1.0, "Correct."),
        (np.float32(0.5), 0.5, "Incorrect."),
        ((0.0, "Too short."), 0.0, "Too short."),
        ((0, Feedback(text="No.", kind="constraint")), 0.0, "No."),
        (pl.Result(0.25, ["a", "b"], "partial", {"x": 1}), 0.25, "a"),
    ],
)
def test_endings(value, reward, text):
    @pl.env("test/Ending-v0")
    def ending(rng):
        yield "?"
        return value

    env = pl.make("test/Ending-v0")
    env.reset(seed=0)
    _, got, terminated, truncated, info = env.step("x")
    assert got == reward and isinstance(got, float) and terminated and not truncated
    assert info["feedback"][0].text == text


def test_class_forms():
    class Reverse(pl.SingleTurnEnv):
        def task(self, rng, length=6):
            word = "".join(rng.choice(list("abcdef"), length))
            return pl.Task(prompt=f"Reverse {word}", answer=word[::-1])

        def verify(self, task, response):
            ok = response.strip() == task.answer
            return float(ok), "" if ok else "Not the reverse; check the letter order."

    pl.register("test/Reverse-v0", Reverse)
    env = pl.make("test/Reverse-v0", length=3)
    observation, info = env.reset(seed=1)
    word = observation[0]["content"].removeprefix("Reverse ")
    assert len(word) == 3 and env.current_task.id == info["task_id"]
    assert env.step(word[::-1])[1] == 1.0
    env.reset(seed=1)
    assert env.step("x")[4]["feedback"][0].text == "Not the reverse; check the letter order."

    class Count(pl.MultiTurnEnv):
        def start(self, rng, goal=2):
            self.left = goal
            return "Say go."

        def reply(self, text):
            self.left -= text == "go"
            return "Again." if self.left else (1.0, "Done.")

    env = Count(goal=2)
    env.reset(seed=0)
    assert env.step("no")[0][0]["content"] == "Again."
    assert env.step("go")[1:4] == (0.0, False, False)
    assert env.step("go")[1:4] == (1.0, True, False)


def test_register_takes_an_import_path():
    pl.register("test/Path-v0", "palaestra.envs.sort:sort", digits=2)
    assert len(pl.make("test/Path-v0").reset(seed=0)[0][0]["content"]) == 2
    with pytest.raises(TypeError, match="neither a class nor a function"):
        pl.register("test/Nothing-v0", 3)


def test_a_task_from_a_file_keeps_its_id():
    class One(pl.SingleTurnEnv):
        def task(self, rng):
            return Task(id="file/17", prompt="?", answer="x")

        def verify(self, task, response):
            return 0.0

    assert One().reset(seed=0)[1]["task_id"] == "file/17"


def test_steps_are_refused_outside_an_episode():
    env = pl.make("palaestra/Sort-v0")
    with pytest.raises(ResetNeeded):
        env.step("x")
    with pytest.raises(ResetNeeded):
        env.fork()
    env.reset(seed=0)
    with pytest.raises(InvalidAction):
        env.step(b"x")
    env.step("x")
    with pytest.raises(ResetNeeded):
        env.step("x")
    env.close()
    env.close()


def test_too_long_replies_are_not_read():
    env = pl.make("test/Guess-v0", max_chars=10)
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step("1" * 11)
    assert (
        not terminated
        and reward == 0.0
        and info["reason"] == "too_long"
        and "longer than 10" in observation[0]["content"]
    )
    env = pl.make("palaestra/Sort-v0", max_chars=10)
    env.reset(seed=0)
    assert env.step("1" * 11)[1:4] == (0.0, True, False)


def test_turn_limit_truncates_and_keeps_the_step_reward():
    @pl.env("test/Paying-v0")
    def paying(rng):
        while True:
            yield pl.Ask("more", reward=0.5)

    env = pl.make("test/Paying-v0", max_turns=3)
    env.reset(seed=0)
    steps = [env.step("x") for _ in range(3)]
    assert [s[1] for s in steps] == [0.5, 0.5, 0.5]
    assert [s[2:4] for s in steps] == [(False, False), (False, False), (False, True)]
    assert steps[-1][4]["stop_reason"] == "turn_limit"


def test_fork_gives_equal_continuations():
    env = pl.make("test/Guess-v0", hi=1_000_000)
    env.reset(seed=11)
    env.step("3")
    twins = [env.fork() for _ in range(3)]
    for reply in ("5", "12"):
        steps = [e.step(reply) for e in (env, *twins)]
        assert all(repr(step) == repr(steps[0]) for step in steps)
    assert all(twin.messages == env.messages for twin in twins)
    assert twins[0] is not twins[1]


def test_fork_works_without_a_seed_and_with_options():
    env = pl.make("test/Guess-v0")
    env.reset(options={"hi": 1000})
    env.step("500")
    assert repr(env.fork().step("3")) == repr(env.step("3"))


def test_forks_are_independent():
    env = pl.make("test/Guess-v0")
    env.reset(seed=1)
    twin = env.fork()
    for _ in range(5):
        twin.step("none")
    assert env.step("none")[2] is False


def test_splits_are_disjoint_and_stable():
    train, test = (pl.make("palaestra/Sort-v0", digits=3, split=side) for side in ("train", "test"))
    a = {train.reset(seed=s)[0][0]["content"] for s in range(150)}
    b = {test.reset(seed=s)[0][0]["content"] for s in range(150)}
    assert a and b and not a & b
    assert all(split_of([p]) == "train" for p in a) and all(split_of([p]) == "test" for p in b)
    assert split_of(["527140"]) == split_of(["527140"])
    share = np.mean([split_of(f"task {i}", 0.2) == "test" for i in range(4000)])
    assert 0.17 < share < 0.23


def test_countdown_splits_ignore_the_order_of_numbers():
    small = {"count": 3, "lo": 1, "hi": 9, "target_hi": 99, "ops": "+-*", "use_all": True, "prompt": "compact"}
    sides = {}
    for side in ("train", "test"):
        env = pl.make("palaestra/Countdown-v0", split=side, **small)
        for seed in range(300):
            env.reset(seed=seed)
            key = str(env.current_task.metadata["split_key"])
            assert sides.setdefault(key, side) == side


def test_an_impossible_split_says_so():
    @pl.env("test/OnePrompt-v0")
    def one(rng):
        return "always the same", "x"

    other = "test" if split_of(["always the same"]) == "train" else "train"
    with pytest.raises(RuntimeError, match="split"):
        pl.make("test/OnePrompt-v0", split=other).reset(seed=0)


def test_async_twins_and_overlapping_steps():
    @pl.env("test/Slow-v0", blocking=True)
    def slow(rng):
        import time

        yield "?"
        time.sleep(0.3)
        return 1.0

    async def run():
        env = pl.make("test/Slow-v0")
        await env.areset(seed=0)
        first = asyncio.create_task(env.astep("x"))
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="still running"):
            await env.astep("y")
        return await first

    assert asyncio.run(run())[1] == 1.0


def test_a_cancelled_step_ends_the_episode():
    @pl.env("test/Slower-v0", blocking=True)
    def slower(rng):
        import time

        yield "?"
        time.sleep(0.3)
        yield "more"

    async def run():
        env = pl.make("test/Slower-v0")
        await env.areset(seed=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(env.astep("x"), 0.02)
        with pytest.raises(ResetNeeded):
            await env.astep("x")

    asyncio.run(run())


def test_render_shows_the_transcript():
    env = pl.make("palaestra/Sort-v0", render_mode="ansi")
    env.reset(seed=0)
    env.step("x")
    assert "[user]" in env.render() and "[assistant]\nx" in env.render()


@pytest.mark.parametrize(
    "module",
    "arithmetic countdown data feedback forms registry replies spaces splits tools toolcalls transforms turns".split(),  # noqa: SIM905
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(f"palaestra.envs.{module}"))
    assert result.attempted and not result.failed


def test_the_interface_docstring_names_what_exists():
    import palaestra.envs as envs

    for name in re.findall(
        r"^    (?:await )?(?:TextEnv\.)?([a-zA-Z_]+)\(", textwrap.dedent(envs.__doc__), re.MULTILINE
    ):
        assert hasattr(envs, name) or hasattr(envs.TextEnv, name), name
    assert inspect.isfunction(envs.list)
