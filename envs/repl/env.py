"""The environment: a `TextEnv` around one `rlm` conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...rlm.context import Context
from ...rlm.conversation import Conversation
from ...rlm.fences import find_blocks
from ...rlm.guest import as_text
from ...rlm.lms import as_lm
from ...rlm.prompt import Prompt
from ...rlm.replay import ReplayLM
from ...rlm.rollouts import stop_reason, to_rollout
from ...rlm.score import score
from ...rlm.tasks import LongTask, generate
from ...rlm.tasks.leaf import OracleLM
from ...rlm.trace import Node, Trace
from ...rlm.tree import CallFailed, Tree
from ...rlm.types import LM, Limits, Reply, Status
from ...schema import Feedback, Rollout, Task
from ..core import TextEnv
from ..turns import Ask, Result
from .loop import host
from .secret import task_secret

KNOBS: dict[str, Any] = {
    "family": "linear",
    "length": 20_000,
    "sub": None,
    "limits": None,
    "prompt": "full",
    "repl": "fork",
    "secret": None,
    "child_weight": "mean",
    "train_depths": None,
    "first_turn_answer": True,
    "bare_code": False,
}


class RecursiveREPL(TextEnv):
    """Answer a question about a long context through a REPL.

    Knobs, besides those of the family (``tier``, ``ask`` ... see `palaestra.rlm.tasks`):
        family: task family.
        length: characters of the context, or ``[low, high]`` to draw one on a logarithmic scale.
        sub: model of sub-calls: an `LM`, a `LanguageModel`, ``"oracle"`` or ``"oracle:0.9"`` (true labels with that
            accuracy; families linear and pairs), ``{"model": ..., "base_url": ...}``, ``"policy"`` (whoever steps the
            environment gives it with `use_sub`; the trainer does), or None (sub-calls fail).
        limits: fields of `palaestra.rlm.Limits`, as a mapping; ``max_turns`` is the setting of that name.
        prompt: ``full``, ``short``, ``none``, or a `Prompt`.
        repl: backend, see `palaestra.rlm.Worker`.
        secret: text mixed into the seed instead of the host's own, see `secret.py`.
        bare_code: a reply without any fence is run as code, for policies too small to learn fences.
        child_weight: how sub-calls are weighted in training, see `palaestra.rlm.samples`.
        train_depths: depths of sub-calls that are trained (1 is called by the root); None means all.
        first_turn_answer: whether an answer in the first turn counts; if not, that turn's submit is refused.
    """

    max_turns = 20
    blocking = True

    def __init__(self, **arguments: Any) -> None:
        self._conversation: Conversation | None = None
        self._tree: Tree | None = None
        self._long: LongTask | None = None
        self._caller: asyncio.AbstractEventLoop | None = None
        self._sub: LM | None = None
        super().__init__(**arguments)

    # ---- hooks of TextEnv --------------------------------------------------------------------------------------

    def _knobs(self) -> tuple[Mapping[str, Any], bool]:
        return KNOBS, True

    def _open(self, rng: np.random.Generator, knobs: dict[str, Any]) -> Ask:
        own = {name: knobs.get(name, default) for name, default in KNOBS.items()}
        family_knobs = {name: value for name, value in knobs.items() if name not in KNOBS}
        secret = own["secret"].encode() if own["secret"] is not None else task_secret()
        seed = int(rng.integers(2**62))
        own["length"] = _drawn(own["length"], rng)
        task = generate(own["family"], seed, own["length"], secret=secret, **family_knobs)
        self._long = task
        self.current_task = Task(
            id="",
            prompt=task.question,
            answer=task.gold,
            metadata={"family": task.family, "split_key": task.id, **{k: str(v) for k, v in family_knobs.items()}},
        )
        limits = Limits(**{**(own["limits"] or {}), "max_turns": self._turn_limit or self.max_turns})
        prompt = own["prompt"] if isinstance(own["prompt"], Prompt) else Prompt(variant=own["prompt"])
        self._sub = _sub_model(own["sub"], task)
        self._tree = Tree(limits, self._ask_sub, self._ask_sub, Trace(), seed=seed & 0xFFFFFFFF)
        node = Node("0", None, -1, 0, 0, "rlm", self._tree.seed)
        worker = host().worker(own["repl"])
        self._child_weight, self._train_depths = own["child_weight"], own["train_depths"]
        self._first_turn_answer, self._bare_code = bool(own["first_turn_answer"]), bool(own["bare_code"])
        self._conversation = Conversation(
            self._tree, node, Context.of(task.context), task.question, prompt, worker, ("repl", "python")
        )
        return Ask(self._conversation.start(), info={"budget": self._budget()})

    def _answer(self, text: str) -> Ask | Result:
        self._caller = None
        return host().run(self._act(text))

    async def _aanswer(self, text: str) -> Ask | Result:
        self._caller = asyncio.get_running_loop()
        return await host().arun(self._act(text))

    def _too_long(self, text: str, limit: int) -> Ask | Result:
        note = Feedback(text=f"The reply is longer than {limit} characters and was not read.", kind="constraint")
        return Result(0.0, note, "too_long", {"score": 0.0}, info={"status": Status.NO_ANSWER.value})

    def _end(self) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.stop(Status.CANCELLED)
            if conversation.has_repl:
                host().run(conversation.close(), timeout=30)

    def oracle(self) -> Iterator[str]:
        """Code that computes the answer where the family knows some, else code that submits the gold answer."""
        assert self._long is not None
        gold = self._long.gold
        text = (
            "\n".join(f"{a}, {b}" for a, b in gold) or "none" if self._long.kind.startswith("pairs") else as_text(gold)
        )
        final = self._long.meta.get("solution") or f"submit({text!r})"
        steps = [final] if self._first_turn_answer else ["print(len(context))", final]
        yield from (step if self._bare_code else f"```repl\n{step}\n```" for step in steps)

    def fork(self) -> TextEnv:
        """A second environment in the same state: the code runs again, sub-model replies come from the record."""
        trace, actions = self.trace(), list(self._actions)
        twin = self._blank()
        twin.reset(seed=self._episode_seed, options=self._options)
        assert isinstance(twin, RecursiveREPL)
        twin._sub = ReplayLM(trace, fallback=twin._sub or _no_sub, strict=False)
        for action in actions:
            twin.step(action)
        return twin

    @property
    def wants_policy(self) -> bool:
        """Whether the policy that plays is also to answer sub-calls."""
        return {**KNOBS, **self.knobs}["sub"] == "policy"

    # ---- what is asked of it besides ---------------------------------------------------------------------------

    def trace(self) -> Trace:
        """The rollout tree of the current or last episode."""
        if self._tree is None:
            raise RuntimeError("there is no episode yet; call reset() first")
        return self._tree.trace

    def children(self, reward: float | None, rollout_id: str | None = None) -> tuple[Rollout, ...]:
        """The sub-calls of the current or last episode as nested rollouts, see `palaestra.rlm.rollouts`.

        Args:
            reward: of the episode, which they share.
            rollout_id: of the episode; their ids begin with it.
        """
        trace = self.trace()
        weight, depths = self._child_weight, self._train_depths
        root = to_rollout(trace, reward, self._task_name, None, weight, depths, self._name, rollout_id)
        return root.children

    def use_sub(self, sub: Any) -> None:
        """Answer sub-calls of this episode with `sub`, an `LM` or a `LanguageModel` (the policy itself, to train on
        both). It runs in the event loop that steps the environment, when there is one."""
        self._sub = as_lm(sub)

    async def drain(self, mode: str = "wait") -> None:
        """Let no sub-call be under way while weights change; go on with `resume`."""
        if self._tree is not None:
            await host().arun(self._tree.drain("cancel" if mode == "cancel" else "wait"))

    def resume(self) -> None:
        """Go on after `drain`."""
        if self._tree is not None:
            host().loop.call_soon_threadsafe(self._tree.resume)

    # ---- inside ------------------------------------------------------------------------------------------------

    async def _ask_sub(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        sub = self._sub or _no_sub
        work = sub(messages, n_max_tokens=n_max_tokens, seed=seed, tags=tags)
        caller = self._caller
        if caller is None or not caller.is_running():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, caller))  # type: ignore[arg-type]

    async def _act(self, text: str) -> Ask | Result:
        conversation, tree = self._conversation, self._tree
        assert conversation is not None and tree is not None
        if self._bare_code and "```" not in text:
            text = f"```repl\n{text}\n```"
        blocks = find_blocks(text)
        cut = (
            bool(blocks) and not blocks[-1].closed
        )  # an environment cannot know why a reply ends; half a block is not run
        early = not self._first_turn_answer and not conversation.node.turns
        fresh = await conversation.act(Reply(text, "length" if cut else "stop"), refuse_answer=early)
        self._count()
        outcome = conversation.outcome
        last = conversation.node.turns[-1]
        notes = [
            Feedback(text="\n".join(cell.output.splitlines()[-20:])[-2_000:], kind="error")
            for cell in last.cells
            if cell.status != "ok"
        ]
        if outcome is None:
            reason = last.cells[-1].status if last.cells else "no_code"
            return Ask(fresh, feedback=notes, reason=reason, info={"budget": self._budget()})
        info: dict[str, Any] = {"status": outcome.status.value, "budget": self._budget()}
        if outcome.infra:
            info["children"] = self.children(None)
            return Result(None, notes, outcome.status.value, error=outcome.error, info=info)
        assert self._long is not None
        if outcome.answer is None:
            value = 0.0
            notes.append(Feedback(text=f"No answer was submitted: {outcome.error}.", kind="constraint"))
        else:
            found = score(self._long.kind, self._long.gold, outcome.answer)
            value = found.value
            notes.append(Feedback(text=found.reason, kind="correct" if value == 1.0 else "incorrect"))
        info["children"] = self.children(value)
        answered = outcome.status is Status.ANSWERED
        stop = None if answered else stop_reason(outcome.status)
        return Result(
            value, notes, outcome.status.value, {"score": value}, truncated=not answered, stop=stop, info=info
        )

    def _budget(self) -> dict[str, Any]:
        assert self._tree is not None
        done = len(self._conversation.node.turns) if self._conversation else 0
        left = self._tree.ledger.remaining(self._tree.limits.max_turns - done, 0)
        del left["seconds"]  # the clock is no part of the state: a fork and a replay give the same info
        return left

    def _count(self) -> None:
        """Counters of the episode; they are metrics and never part of the reward."""
        assert self._tree is not None
        nodes = list(self._tree.trace.nodes.values())
        cells = [cell for node in nodes for turn in node.turns for cell in turn.cells]
        used = self._tree.ledger.usage.total
        self._counts.update(
            sub_calls=float(len(nodes) - 1),
            depth=float(max(node.depth for node in nodes)),
            cells=float(len(cells)),
            code_errors=float(sum(cell.status != "ok" for cell in cells)),
            repl_restarts=float(sum(node.restarts for node in nodes)),
            sub_tokens=float(used.tokens),
            sub_failures=float(used.failed),
        )


async def _no_sub(
    messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
) -> Reply:
    raise CallFailed("there is no sub-model in this environment; give sub=")


def _drawn(length: Any, rng: np.random.Generator) -> int:
    if isinstance(length, int):
        return length
    low, high = length
    if not 0 < low <= high:
        raise ValueError(f"length is {length!r}; give a number of characters, or [low, high]")
    return round(low * (high / low) ** rng.random())


def _sub_model(sub: Any, task: LongTask) -> LM | None:
    if sub is None or sub == "policy":
        return None
    if isinstance(sub, str):
        name, _, accuracy = sub.partition(":")
        if name != "oracle":
            raise ValueError(f"sub is {sub!r}; give oracle, oracle:0.9, a model, or a mapping with model and base_url")
        return OracleLM(task, float(accuracy or 1.0))
    if isinstance(sub, Mapping):
        from ...lm import OpenAIModel

        known = {name: value for name, value in sub.items() if name != "model"}
        return as_lm(OpenAIModel(sub["model"], **known))
    return as_lm(sub)
