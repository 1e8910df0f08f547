"""The forms an author writes: classes (`SingleTurnEnv`, `MultiTurnEnv`, `ToolEnv`) and the classes behind functions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from ..schema import Feedback, Message, Task
from . import golds
from .authors import no_task
from .core import TextEnv
from .turns import Ask, Gold, Result, as_ask, as_result, is_ending


class SingleTurnEnv(TextEnv):
    """One question, one answer, one reward.

    Define ``task(rng, **knobs)``; the answer's type picks the verifier, or define ``verify``. Feedback that ``verify``
    returns must not tell the answer; ``palaestra check`` tests it. The drawn task is ``env.current_task``.

    Example:
        >>> class Reverse(SingleTurnEnv):
        ...     def task(self, rng, length=6):
        ...         word = "".join(rng.choice(list("abcdef"), length))
        ...         return Task(prompt=f"Reverse {word}", answer=word[::-1])
        ...     def verify(self, task, response):
        ...         return float(response.strip() == task.answer)
        ...     def solution(self, task):
        ...         return task.answer
        >>> env = Reverse(length=3)
        >>> _ = env.reset(seed=1)
        >>> env.step(env.solution(env.current_task))[1]
        1.0
    """

    def task(self, rng: np.random.Generator, **knobs: Any) -> Task | tuple[Any, Any]:
        """Draw a task: a `Task`, or ``(prompt, answer)``. Called by ``reset``; keyword parameters are the knobs."""
        raise NotImplementedError(f"{type(self).__name__} must define task(self, rng, ...)")

    def verify(self, task: Task, response: str) -> Any:
        """Judge a reply: a reward, ``(reward, feedback)`` or a `Result`. By default the answer's type picks the
        verifier.

        Called by ``step`` once an episode. An exception, or the reward None, ends the episode unscored.
        """
        return golds.grade(Gold(task.answer), response, task)

    async def averify(self, task: Task, response: str) -> Any:
        """The async twin of :meth:`verify`; a ``verify`` of your own runs in a thread when the class is blocking."""
        if type(self).verify is SingleTurnEnv.verify:
            return await golds.agrade(Gold(task.answer), response, task)
        value = await asyncio.to_thread(self.verify, task, response) if self.blocking else self.verify(task, response)
        return await value if inspect.isawaitable(value) else value

    def solution(self, task: Task) -> str | None:
        """A reply that earns the maximum, for checks; None when unknown."""
        return golds.gold_answer(Gold(task.answer))

    def oracle(self) -> Iterator[str]:
        """The one reply of :meth:`solution`."""
        assert self.current_task is not None
        answer = self.solution(self.current_task)
        if answer is None:
            raise NotImplementedError(f"{self._name} has no oracle: define solution(self, task)")
        yield answer

    def _author(self) -> Callable[..., Any]:
        return self.task

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        task = _as_task(self.task(rng, **knobs), self._name)
        if type(self).verify is SingleTurnEnv.verify:
            golds.require(task.answer, self._name)
        self.current_task = task
        return Ask(task.messages)

    def _answer(self, text: str) -> Ask | Result:
        assert self.current_task is not None
        return self._graded(golds.settled(self.verify(self.current_task, text)))

    async def _aanswer(self, text: str) -> Ask | Result:
        assert self.current_task is not None
        return self._graded(await self.averify(self.current_task, text))

    def _graded(self, value: Any) -> Result:
        result = as_result(value, f"{self._name}: verify")
        if (
            self.settings.feedback == "reference"
            and self.current_task is not None
            and not callable(self.current_task.answer)
        ):
            note = Feedback(
                text=f"The reference answer is {self.current_task.answer}.", kind="info", details={"leaky": True}
            )
            given = (result.feedback,) if isinstance(result.feedback, str | Feedback) else tuple(result.feedback)
            return Result(**{**_fields(result), "feedback": (*given, note)})
        return result

    def _too_long(self, text: str, limit: int) -> Ask | Result:
        return Result(0.0, Feedback(text=f"The reply is longer than {limit} characters.", kind="format"), "too_long")


class MultiTurnEnv(TextEnv):
    """A conversation: ``start`` opens it, ``reply`` answers until it returns an ending.

    Example:
        >>> class Echo(MultiTurnEnv):
        ...     def start(self, rng, word="hello"):
        ...         self.word = word
        ...         return f"Say {word}."
        ...     def reply(self, text):
        ...         return 1.0 if text == self.word else "Again."
        >>> env = Echo()
        >>> _ = env.reset(seed=0)
        >>> env.step("hi")[0][0]["content"], env.step("hello")[1]
        ('Again.', 1.0)
    """

    max_turns = 64

    def start(self, rng: np.random.Generator, **knobs: Any) -> Any:
        """Draw a task and return the first turn: text, messages or an `Ask`. Keyword parameters are the knobs."""
        raise NotImplementedError(f"{type(self).__name__} must define start(self, rng, ...)")

    def reply(self, text: str) -> Any:
        """React to a reply: text, messages or an `Ask` go on; a reward, ``(reward, feedback)`` or a `Result` end."""
        raise NotImplementedError(f"{type(self).__name__} must define reply(self, text)")

    def _author(self) -> Callable[..., Any]:
        return self.start

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        ask = as_ask(self.start(rng, **knobs))
        self.current_task = _conversation(ask)
        return ask

    def _answer(self, text: str) -> Ask | Result:
        return self._next(golds.settled(self.reply(text)))

    async def _aanswer(self, text: str) -> Ask | Result:
        value = await asyncio.to_thread(self.reply, text) if self.blocking else self.reply(text)
        return self._next(await value if inspect.isawaitable(value) else value)

    def _next(self, value: Any) -> Ask | Result:
        return as_result(value, f"{self._name}: reply") if is_ending(value) else as_ask(value)

    def _too_long(self, text: str, limit: int) -> Ask | Result:
        note = Feedback(text=f"The reply is longer than {limit} characters and was not read.", kind="format")
        tools = self._toolbox.given if self._toolbox is not None else ()
        return Ask(note.text, tools, note, reason="too_long")


class ToolEnv(MultiTurnEnv):
    """A conversation in which the policy has tools in every turn.

    Define ``start``, and ``tools`` (typed functions or methods). A tool that returns a `Result` ends the episode.
    Replies without a call go to ``reply``, which by default says that a call is expected.

    Example:
        >>> class Adder(ToolEnv):
        ...     def start(self, rng):
        ...         return "Submit 3."
        ...     def tools(self):
        ...         return [self.submit]
        ...     def submit(self, value: int):
        ...         '''Hand in the answer.'''
        ...         return Result(float(value == 3))
        >>> env = Adder()
        >>> _ = env.reset(seed=0)
        >>> env.step('<tool_call>{"name": "submit", "arguments": {"value": 3}}</tool_call>')[1]
        1.0
    """

    def tools(self) -> Sequence[Any]:
        """The tools of the current task. Called after ``start`` and for every later turn."""
        raise NotImplementedError(f"{type(self).__name__} must define tools(self)")

    def reply(self, text: str) -> Any:
        """Called with a reply that holds no tool call."""
        note = Feedback(
            text="no_call_found: the reply has no tool call", kind="format", details={"code": "no_call_found"}
        )
        return Ask(f"Error: {note.text}.", feedback=note, reason="no_call_found")

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        ask = super()._open(rng, knobs)
        tools = self.tools()
        if not isinstance(tools, Sequence):
            raise TypeError(f"{self._name}: tools() gave {tools!r:.60}; return a list, e.g. [self.search]")
        self._tools = tuple(tools)
        return self._with_tools(ask)

    def _next(self, value: Any) -> Ask | Result:
        turn = super()._next(value)
        return self._with_tools(turn) if isinstance(turn, Ask) else turn

    def _with_tools(self, ask: Ask) -> Ask:
        return ask if ask.tools else Ask(**{**_fields(ask), "tools": self._tools})


class FunctionEnv(SingleTurnEnv):
    """The class behind a single-turn function: it returns the prompt and the answer."""

    def __init__(
        self, function: Callable[..., Any], oracle: Callable[..., Any] | None = None, /, **arguments: Any
    ) -> None:
        self._function, self._oracle = function, oracle
        super().__init__(**arguments)

    def task(self, rng: np.random.Generator, **knobs: Any) -> Task | tuple[Any, Any]:
        """What the author's function returns."""
        return self._function(rng, **knobs)

    def oracle(self) -> Iterator[str]:
        """The author's oracle, or the answer in the form its verifier reads."""
        return _scripted(self) if self._oracle is not None else super().oracle()

    def _author(self) -> Callable[..., Any]:
        return self._function

    def _blank(self) -> TextEnv:
        return _twin(self)


class GeneratorEnv(MultiTurnEnv):
    """The class behind a generator function: it yields what the policy sees and receives its replies."""

    def __init__(
        self, function: Callable[..., Any], oracle: Callable[..., Any] | None = None, /, **arguments: Any
    ) -> None:
        self._function, self._oracle = function, oracle
        self._running: Generator[Any, str, Any] | None = None
        super().__init__(**arguments)

    def oracle(self) -> Iterator[str]:
        """The author's oracle."""
        if self._oracle is None:
            raise NotImplementedError(f"{self._name} has no oracle: write one with @{self._function.__name__}.oracle")
        return _scripted(self)

    def _author(self) -> Callable[..., Any]:
        return self._function

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        self._running = self._function(rng, **knobs)
        try:
            ask = as_ask(next(self._running))
        except StopIteration:
            raise TypeError(f"{self._name}: the generator ended before its first yield; yield a prompt first") from None
        self.current_task = _conversation(ask)
        return ask

    async def _aanswer(self, text: str) -> Ask | Result:
        return await asyncio.to_thread(self._answer, text) if self.blocking else self._answer(text)

    def _answer(self, text: str) -> Ask | Result:
        assert self._running is not None
        try:
            return as_ask(self._running.send(text))
        except StopIteration as stop:
            ending = stop.value
        return as_result(ending, self._name)

    def _end(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.close()

    def _blank(self) -> TextEnv:
        return _twin(self)


def from_function(
    function: Callable[..., Any], oracle: Callable[..., Any] | None = None, /, **arguments: Any
) -> TextEnv:
    """The environment of an author's function: many turns when it is a generator function, else one."""
    form = GeneratorEnv if inspect.isgeneratorfunction(function) else FunctionEnv
    return form(function, oracle, **arguments)


def _twin(env: FunctionEnv | GeneratorEnv) -> TextEnv:
    twin = type(env)(env._function, env._oracle, **env._arguments)
    for name in ("max_turns", "max_reward", "feedback_bits", "blocking", "local_only", "spec"):
        setattr(twin, name, getattr(env, name))
    twin.env_id = env._name
    return twin


def _scripted(env: FunctionEnv | GeneratorEnv) -> Iterator[str]:
    """Actions of the author's oracle, which draws the same task from the same seed.

    The generator yields actions and receives the text of the turn that answers each.
    """
    from gymnasium.utils.seeding import np_random

    assert env._oracle is not None
    given = dict(env._knobs()[0])
    knobs = {k: v for k, v in {**env.knobs, **env._options}.items() if k in given}
    if env.settings.split is None:
        script = env._oracle(np_random(env._episode_seed)[0], **knobs)
    else:
        raise NotImplementedError("an oracle function replays the draws of a seed; check it without a split")
    if not inspect.isgenerator(script):
        yield str(script)
        return
    try:
        action = next(script)
        while True:
            yield str(action)
            last = env.messages[-1]["content"] if env.messages else ""
            action = script.send(last)  # type: ignore[arg-type]
    except StopIteration:
        return


def _conversation(ask: Ask) -> Task:
    """The task record of a conversation: its opening messages; the answer stays inside the environment."""
    messages = tuple(Message(**message) for message in ask.messages())
    metadata = {"split_key": ask.info["split_key"]} if "split_key" in ask.info else {}
    return Task(id="", prompt=messages, metadata=metadata)


def _as_task(value: Any, name: str) -> Task:
    if isinstance(value, Task):
        return value.model_copy(update={"answer": golds.plain(value.answer)})
    if isinstance(value, tuple) and len(value) == 2:
        prompt, answer = value
        if isinstance(prompt, str) and not prompt.strip():
            raise ValueError(f"{name}: the prompt is the empty text {prompt!r}; the policy needs something to read")
        try:
            messages = prompt if isinstance(prompt, str) else tuple(_messages(prompt))
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        return Task(id="", prompt=messages, answer=golds.plain(answer))
    raise no_task(value, name)


def _messages(prompt: Any) -> Iterator[Message]:
    for message in Ask(prompt).messages():
        yield Message(**message)


def _fields(value: Ask | Result) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
