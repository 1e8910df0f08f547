"""`TextEnv`: the one implementation of reset, step, limits, failures, feedback, forks and their async twins.

Authors do not subclass it directly; the forms in `forms.py` (function, generator, class) fill in its two hooks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded

from ..schema import Feedback, StopReason, Task, clean_text
from . import feedback as fb
from .authors import check_knobs
from .settings import Settings, check_types, knob_defaults, sort_arguments
from .spaces import Messages, UnicodeText, as_int_seed
from .splits import split_of, task_id
from .tools import Toolbox
from .turns import Ask, Result

log = logging.getLogger("palaestra.envs")

Observation = tuple[dict[str, Any], ...]
Step = tuple[Observation, float, bool, bool, dict[str, Any]]

MAX_REDRAWS = 10_000


class TextEnv(gym.Env[tuple, str]):
    """A text environment as a real ``gymnasium.Env``.

    Class attributes an environment may set: ``env_id`` (shown in task ids before registration), ``max_turns`` (own turn
    limit), ``max_reward`` (what the right answer earns), ``feedback_bits`` (how much feedback may tell a single reply,
    as log2 of the number of texts; None where tests are shown by design), ``local_only`` (knobs that name things on
    this machine, such as files; clients of a server cannot set them) and ``blocking`` (its reply takes long, so
    ``astep`` runs it in a thread).

    Args:
        **arguments: difficulty knobs of the environment and `Settings`.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as gymnasium.Env declares it
    env_id: str = ""
    max_turns: int | None = None
    max_reward: float = 1.0
    feedback_bits: float | None = 3.0
    blocking: bool = False
    local_only: tuple[str, ...] = ()

    def __init__(self, **arguments: Any) -> None:
        defaults, open_ended = self._knobs()
        self._arguments = dict(arguments)
        self.knobs, self.settings = sort_arguments(arguments, defaults, open_ended, Settings(), self._name)
        self._base_settings = self.settings  # before any option of an episode
        self.render_mode = self.settings.render_mode
        self.observation_space = Messages()
        self.action_space = UnicodeText()
        self.messages: list[dict[str, Any]] = []
        self.current_task: Task | None = None
        self._toolbox: Toolbox | None = None
        self._seeds: np.random.Generator | None = None
        self._done = True
        self._busy = False
        self._options: dict[str, Any] = {}
        self._actions: list[str] = []
        self._task_name = ""
        self._episode_seed = 0

    # ---- hooks of the forms ------------------------------------------------------------------------------------

    def _knobs(self) -> tuple[Mapping[str, Any], bool]:
        """Names and defaults of the difficulty knobs, and whether any other name is accepted. Called first."""
        author = self._author()
        return ({}, False) if author is None else knob_defaults(author)

    def _author(self) -> Callable[..., Any] | None:
        """The function whose parameters, after the rng, are the knobs; their hints are checked. None: no check."""
        return None

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        """Draw a task and return the first turn. Called by ``reset``; an exception propagates to the caller."""
        raise NotImplementedError

    def _answer(self, text: str) -> Ask | Result:
        """React to a reply that is not a tool call. Called by ``step``; an exception ends the episode unscored."""
        raise NotImplementedError

    async def _aanswer(self, text: str) -> Ask | Result:
        """The async twin of :meth:`_answer`; by default in a thread when ``blocking``."""
        return await asyncio.to_thread(self._answer, text) if self.blocking else self._answer(text)

    def _too_long(self, text: str, limit: int) -> Ask | Result:
        """React to a reply over ``max_chars``; it is not read."""
        raise NotImplementedError

    def _out_of_turns(self, limit: int) -> Result:
        """The result when the turn limit is reached; override it to give a partial reward."""
        note = Feedback(text=f"The limit of {limit} replies was reached.", kind="constraint")
        return Result(0.0, note, "turn_limit", truncated=True, stop=StopReason.TURN_LIMIT)

    def _end(self) -> None:
        """Release what the episode holds. Called by ``reset`` and ``close``, any number of times."""

    def oracle(self) -> Iterator[str]:
        """Actions that earn the maximum on the current task, for checks; each is sent after the turn it answers.

        Raises:
            NotImplementedError: the environment has no oracle.
        """
        raise NotImplementedError(f"{self._name} has no oracle")

    def secrets(self) -> list[Any]:
        """Values that feedback on the current task must not tell: numbers (in any equal form) or texts. For checks.

        An answer that is a checker may carry them as its attribute ``secrets``; where there are none, the leak test
        takes what the oracle says.
        """
        answer = self.current_task.answer if self.current_task is not None else None
        if callable(answer):
            return list(getattr(answer, "secrets", ()))
        return [answer] if isinstance(answer, str | int | float | Fraction) and not isinstance(answer, bool) else []

    # ---- gymnasium.Env -----------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new task.

        Args:
            seed: names the task together with the knobs. None draws the next seed from the stream of the last seeded
                reset.
            options: knobs and settings that hold for this episode only.

        Returns:
            The first messages, and ``info``.

        Raises:
            TypeError: an unknown option, or a seed that is not an integer.
            RuntimeError: no task of the wanted split was found.
        """
        self._release()
        self._done = True
        if seed is not None:
            seed = as_int_seed(seed)
            self._seeds = np.random.default_rng([seed, 1])
        else:
            self._seeds = self._seeds or np.random.default_rng()
            seed = int(self._seeds.integers(2**31))
        super().reset(seed=seed)
        knobs, settings = self.knobs, self._base_settings
        if options:
            defaults, open_ended = self._knobs()
            extra, settings = sort_arguments(options, defaults, open_ended, settings, self._name)
            knobs = {**knobs, **extra}
        self._options = dict(options or {})
        self._episode_seed, self.settings = seed, settings
        self.current_task, self._toolbox, self._actions, self.messages = None, None, [], []
        self._counts: dict[str, float] = {}
        check_knobs(knobs, self._name, self._knobs()[0])
        if (author := self._author()) is not None:
            check_types(knobs, author, self._name)
        ask = self._draw(knobs, settings)
        self._task_name = self._name_task(knobs, seed)
        self._done = False
        return self._show(ask), self._info(fb.of_turn(ask.feedback, settings.feedback), ask)

    def step(self, action: str) -> Step:
        """Send the policy's reply.

        Args:
            action: the assistant's raw text of one turn.

        Returns:
            New messages, reward, terminated, truncated, info. A failed grader gives the reward ``nan``, ``truncated``
            and ``info["error"]``.

        Raises:
            gymnasium.error.InvalidAction: ``action`` is not a string.
            gymnasium.error.ResetNeeded: there is no running episode.
        """
        text = self._accept(action)
        try:
            early = self._before(text)
            outcome = early if early is not None else self._answer(text)
        except (Exception, SystemExit) as exc:  # an author's exit() must not take the trainer along
            outcome = self._broken(exc)
        finally:
            self._busy = False
        return self._conclude(text, outcome)

    async def areset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The async twin of :meth:`reset`."""
        if self.blocking:
            return await asyncio.to_thread(lambda: self.reset(seed=seed, options=options))
        return self.reset(seed=seed, options=options)

    async def astep(self, action: str) -> Step:
        """The async twin of :meth:`step`; slow graders and tools run off the event loop."""
        text = self._accept(action)
        try:
            slow = self._toolbox is not None and self._toolbox.blocking
            early = await asyncio.to_thread(self._before, text) if slow else self._before(text)
            outcome = early if early is not None else await self._aanswer(text)
        except asyncio.CancelledError:
            self._done = True  # the reply may be half processed: this episode cannot go on
            raise
        except (Exception, SystemExit) as exc:
            outcome = self._broken(exc)
        finally:
            self._busy = False
        return self._conclude(text, outcome)

    def render(self) -> str | None:  # type: ignore[override]
        """The transcript as text when ``render_mode="ansi"``, else None."""
        if self.render_mode != "ansi":
            return None
        return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in self.messages)

    def close(self) -> None:
        """End the episode and release everything. Safe to call twice."""
        self._release()
        self._done = True

    def fork(self) -> TextEnv:
        """A second environment in the same state, made by replaying (seed, knobs, actions).

        Raises:
            gymnasium.error.ResetNeeded: nothing was reset yet.
        """
        if not self._task_name:
            raise ResetNeeded("fork() copies a running episode; call reset() first")
        twin = self._blank()
        twin.reset(seed=self._episode_seed, options=self._options)
        for action in self._actions:
            twin.step(action)
        return twin

    # ---- inside ------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return (self.spec.id if self.spec else "") or self.env_id or type(self).__name__

    @property
    def _turn_limit(self) -> int | None:
        return self.settings.max_turns if self.settings.max_turns is not None else self.max_turns

    def _release(self) -> None:
        """Call `_end`; what goes wrong in an author's clean-up is logged and changes no step."""
        try:
            self._end()
        except Exception as exc:
            log.warning("%s: the clean-up of task %s failed", self._name, self._task_name, exc_info=exc)

    def _blank(self) -> TextEnv:
        twin = type(self)(**self._arguments)
        twin.env_id = self._name
        return twin

    def _draw(self, knobs: dict[str, Any], settings: Settings) -> Ask:
        """Draw tasks until one lies in the wanted split."""
        for _ in range(MAX_REDRAWS):
            ask = self._open(self.np_random, knobs)
            if settings.split is None or split_of(self._split_key(ask), settings.test_share) == settings.split:
                return ask
            self._release()
        raise RuntimeError(
            f"{self._name}: {MAX_REDRAWS} draws gave no task of split={settings.split!r}; "
            "widen the knobs or change test_share"
        )

    def _split_key(self, ask: Ask) -> Any:
        metadata = self.current_task.metadata if self.current_task is not None else ask.info
        return metadata.get("split_key", [m["content"] for m in ask.messages()])

    def _name_task(self, knobs: dict[str, Any], seed: int) -> str:
        """A task that has its own id (from a file) keeps it; a generated one is named by (environment, knobs, seed)."""
        if self.current_task is not None and self.current_task.id:
            return self.current_task.id
        defaults, _ = self._knobs()
        full = {**{k: v for k, v in defaults.items() if v is not None}, **knobs, "split": self.settings.split}
        name = task_id(self._name, full, seed)
        if self.current_task is not None:
            self.current_task = self.current_task.model_copy(update={"id": name})
        return name

    def _accept(self, action: Any) -> str:
        if not isinstance(action, str):
            raise InvalidAction(f"step({action!r:.60}): an action is the reply as text, not {type(action).__name__}")
        if self._busy:
            raise RuntimeError(f"{self._name}: a step is still running; await it before the next one")
        if self._done:
            raise ResetNeeded(
                f"{self._name}: no episode is running (none was started, or it is over); call reset() first"
            )
        self._busy = True
        return clean_text(action)

    def _before(self, text: str) -> Ask | Result | None:
        """What happens before the author's code sees a reply: the length limit and tool calls."""
        if len(text) > self.settings.max_chars:
            return self._too_long(text[:200], self.settings.max_chars)
        return self._toolbox.handle(text) if self._toolbox is not None else None

    def _broken(self, exc: BaseException) -> Result:
        log.warning("%s failed on task %s", self._name, self._task_name, exc_info=exc)
        return Result(None, reason="env_error", error=f"{type(exc).__name__}: {exc}"[:1000])

    def _conclude(self, text: str, outcome: Ask | Result) -> Step:
        self._actions.append(text)
        self.messages.append({"role": "assistant", "content": text})
        try:
            return self._worded(outcome)
        except Exception as exc:  # malformed messages, tools, feedback or scores of the author's
            return self._worded(self._broken(exc))

    def _worded(self, outcome: Ask | Result) -> Step:
        limit = self._turn_limit
        if isinstance(outcome, Ask) and limit is not None and len(self._actions) >= limit:
            last = self._out_of_turns(limit)
            reward = None if last.reward is None else last.reward + outcome.reward
            notes = [*fb.as_feedback(outcome.feedback), *fb.as_feedback(last.feedback)]
            merged = {**outcome.scores, **last.scores}
            outcome = Result(
                reward, notes, last.reason, merged, last.error, True, last.stop, {**outcome.info, **last.info}
            )
        level = self.settings.feedback
        if isinstance(outcome, Ask):
            return (
                self._show(outcome),
                float(outcome.reward),
                False,
                False,
                self._info(fb.of_turn(outcome.feedback, level), outcome),
            )
        info = self._info(fb.of_result(outcome, level, self.max_reward), outcome)
        self._done = True
        self._release()
        info["stop_reason"] = outcome.stop_reason.value
        if outcome.failed:
            info["error"] = outcome.error or _unscored(outcome.reward)
            return (), math.nan, False, True, info
        assert outcome.reward is not None
        return (), float(outcome.reward), not outcome.truncated, outcome.truncated, info

    def _show(self, ask: Ask) -> Observation:
        """Record a turn in the history and return copies of its messages."""
        messages = ask.messages()
        if ask.tools:
            if self._toolbox is None or not self._toolbox.same(ask.tools):
                self._toolbox = Toolbox(ask.tools, self.settings, self._counts)
                if self.settings.tools_in_prompt:
                    messages = _with_system(messages, self._toolbox.prompt())
        else:
            self._toolbox = None
        self.messages.extend(messages)
        return tuple(dict(message) for message in messages)

    def _info(self, items: Sequence[Feedback], source: Ask | Result) -> dict[str, Any]:
        info: dict[str, Any] = {
            **source.info,
            "feedback": list(items),
            "scores": fb.merge_scores(source.scores),
            "reason": source.reason,
            "task_id": self._task_name,
            "episode_seed": self._episode_seed,
        }
        info.pop("split_key", None)
        if self._counts:
            info["metrics"] = dict(self._counts)
        if self._toolbox is not None and isinstance(source, Ask):
            info["tools"] = self._toolbox.openai_schemas()
        if self.settings.feedback == "reference":
            info["leaky"] = True
        return info


def _unscored(reward: float | None) -> str:
    return "the grader gave no reward" if reward is None else f"the grader gave the reward {reward}, no finite number"


def _with_system(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """``messages`` with ``text`` in the first system message, which is made if there is none."""
    if messages and messages[0]["role"] == "system" and isinstance(messages[0]["content"], str):
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
