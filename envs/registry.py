"""Naming environments: the `env` decorator, `register`, `make`, `make_vec`, `list_envs`, and Gymnasium's registry.

Every environment stands in Gymnasium's own registry, so ``gymnasium.make`` finds it too. Built-in ones are imported
when they are first made. Packages of other people publish theirs through the entry-point group ``palaestra.envs``: the
entry's name is the environment's id, its value the decorated function or the class.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import gymnasium
from gymnasium.envs.registration import EnvSpec, parse_env_id
from gymnasium.envs.registration import registry as gymnasium_registry

from ..names import suggestion
from .authors import check_function, check_instance
from .builtin import BUILTIN

log = logging.getLogger("palaestra.envs")

F = TypeVar("F", bound=Callable[..., Any])

GROUP = "palaestra.envs"


class UnknownEnvironment(gymnasium.error.Error):
    """No environment has this id; the text offers the nearest one."""


@dataclass(frozen=True)
class Entry:
    """One registered environment.

    Attributes:
        id: Gymnasium id, ``name-v0`` or ``namespace/Name-v0``.
        build: makes an unwrapped environment from knobs and settings.
        summary: first line of its documentation.
        kwargs: knobs it is registered with.
        author: the function or class it was made from.
    """

    id: str
    build: Callable[..., Any] = field(repr=False)
    summary: str = ""
    kwargs: dict[str, Any] = field(default_factory=dict)
    author: Any = field(default=None, repr=False)


_entries: dict[str, Entry] = {}


@dataclass(frozen=True)
class _Function:
    """Builds the environment of an author's function. A class and no closure, so that it can be pickled and copied."""

    id: str
    function: Callable[..., Any]
    attributes: tuple[tuple[str, Any], ...] = ()

    def __call__(self, **arguments: Any) -> Any:
        from .forms import from_function

        made = from_function(self.function, getattr(self.function, "_palaestra_oracle", None), **arguments)
        made.env_id = self.id
        for name, value in self.attributes:
            setattr(made, name, value)
        return made


@dataclass(frozen=True)
class _Class:
    """Builds an environment from its class."""

    id: str
    form: Callable[..., Any]

    def __call__(self, **arguments: Any) -> Any:
        made = self.form(**arguments)
        check_instance(self.id, made)
        if not made.env_id:
            made.env_id = self.id
        return made


@dataclass(frozen=True)
class _Later:
    """Imports the module or entry point of an environment when it is first made."""

    id: str
    module: str = ""
    entry: EntryPoint | None = None

    def load(self) -> Entry:
        """The entry, after the import that registers it."""
        if self.entry is not None:
            loaded = self.entry.load()
            if self.id not in _entries:
                register(self.id, loaded)
        else:
            import_module(self.module, __package__)
        if self.id not in _entries:
            raise UnknownEnvironment(f"importing {self.module or self.entry} did not register {self.id!r}")
        return _entries[self.id]

    def __call__(self, **arguments: Any) -> Any:
        return self.load().build(**arguments)


def env(
    id: str,
    *,
    max_turns: int | None = None,
    max_reward: float = 1.0,
    feedback_bits: float | None = 3.0,
    blocking: bool = False,
    local_only: tuple[str, ...] = (),
    oracle: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Register a function as an environment.

    A function that returns ``prompt, answer`` is a single turn; a generator function that yields what the policy sees
    and returns ``reward``, ``(reward, feedback)`` or a `Result` has many. The first parameter is a numpy ``Generator``
    seeded by ``reset(seed=)``; keyword parameters are difficulty knobs. The function itself is returned unchanged, with
    an attribute ``oracle`` that decorates a function of the same parameters which yields right replies, for
    ``palaestra check``.

    Args:
        id: Gymnasium id, with or without a namespace.
        max_turns: replies after which an unfinished episode is truncated.
        max_reward: what the right answer earns.
        feedback_bits: how much the feedback of a single turn may tell a reply, as log2 of the number of texts; None
            where tests are shown by design.
        blocking: a reply takes long to judge, so ``astep`` runs it in a thread.
        local_only: knobs that name things on this machine, such as files; clients of a server cannot set them.
        oracle: see above.

    Example:
        >>> @env("doctest/Double-v0")
        ... def double(rng, hi=9):
        ...     n = int(rng.integers(1, hi + 1))
        ...     return f"Double {n}.", 2 * n
        >>> make("doctest/Double-v0", hi=3).reset(seed=0)[0][0]["role"]
        'user'
    """

    if not isinstance(id, str):
        raise TypeError(f"@palaestra.env needs an id: write @palaestra.env('my/Name-v0'), not {id!r:.60}")

    def decorate(function: F) -> F:
        check_function(id, function)
        attributes: dict[str, Any] = {
            "max_reward": max_reward,
            "feedback_bits": feedback_bits,
            "blocking": blocking,
            "local_only": local_only,
        }
        if max_turns is not None:
            attributes["max_turns"] = max_turns
        if oracle is not None:
            function._palaestra_oracle = oracle  # type: ignore[attr-defined]

        def attach(script: F) -> F:
            function._palaestra_oracle = script  # type: ignore[attr-defined]
            return script

        function.oracle = attach  # type: ignore[attr-defined]
        function.env_id = id  # type: ignore[attr-defined]
        _add(Entry(id, _Function(id, function, tuple(attributes.items())), _summary(function), author=function))
        return function

    return decorate


def register(id: str, target: Any, **kwargs: Any) -> None:
    """Register a class, a function or an import path as an environment.

    Args:
        id: Gymnasium id, with or without a namespace.
        target: a class (`SingleTurnEnv`, `MultiTurnEnv`, `ToolEnv` or any ``TextEnv``), a function as `env` takes it,
            or ``"module:attribute"`` of either.
        **kwargs: knobs and settings it is made with unless ``make`` says otherwise.
    """
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        target = import_module(module)
        for part in filter(None, attribute.split(".")):
            target = getattr(target, part)
    if isinstance(target, type):
        build: Any = _Class(id, target)
    elif callable(target):
        check_function(id, target)
        build = _Function(id, target)
    else:
        raise TypeError(f"register({id!r}): {target!r} is neither a class nor a function")
    _add(Entry(id, build, _summary(target), dict(kwargs), target))


def make(id: str, **kwargs: Any) -> Any:
    """An environment by id, unwrapped: ``areset``, ``astep``, ``fork`` and ``messages`` are at hand.

    Args:
        id: a registered id.
        **kwargs: difficulty knobs and settings.

    Raises:
        UnknownEnvironment: no such id; the nearest one is named.
        TypeError: an unknown knob; the nearest one is named.
    """
    entry = find(id)
    made = entry.build(**{**entry.kwargs, **kwargs})
    made.unwrapped.spec = EnvSpec(
        entry.id, entry.build, order_enforce=False, disable_env_checker=True, kwargs={**entry.kwargs, **kwargs}
    )
    return made


def make_vec(id: str, num_envs: int = 1, *, mode: str = "sync", **kwargs: Any) -> gymnasium.vector.VectorEnv:
    """Many copies of one environment behind Gymnasium's vector interface, safe for text.

    Nothing is reset behind the agent (autoreset is disabled: reset finished ones with ``options={"reset_mask":
    ...}``), and text never goes through shared memory, which would replace it by zeros.

    Args:
        id: a registered id.
        num_envs: how many copies.
        mode: ``"sync"``, or ``"async"`` for one process each.
        **kwargs: difficulty knobs and settings.
    """
    from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

    find(id)
    makers = [_Maker(id, tuple(kwargs.items()))] * num_envs
    if mode == "sync":
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
    if mode == "async":
        return AsyncVectorEnv(makers, shared_memory=False, autoreset_mode=AutoresetMode.DISABLED)
    raise ValueError(f"make_vec(mode={mode!r}): choose 'sync' or 'async'")


@dataclass(frozen=True)
class _Maker:
    """Makes one copy; picklable for worker processes."""

    id: str
    kwargs: tuple[tuple[str, Any], ...]

    def __call__(self) -> Any:
        return make(self.id, **dict(self.kwargs))


def find(id: str) -> Entry:
    """The entry of an id, imported if need be.

    Raises:
        UnknownEnvironment: no such id.
    """
    if id not in _entries:
        _load_entry_points()
    if id in _entries:
        return _entries[id]
    known = _later()
    if id in known:
        return known[id].load()
    if ":" in id:  # "module:id" imports the module first, as in gymnasium.make
        module, _, rest = id.partition(":")
        import_module(module)
        return find(rest)
    names = sorted({*_entries, *known})
    hint = suggestion(id, names, "none is close;")
    raise UnknownEnvironment(f"no environment is called {id!r}; {hint} `palaestra list` shows all of them")


def list_envs() -> list[Entry]:
    """Every environment that can be made here, by id; those that fail to import are left out with a warning."""
    _load_entry_points()
    for id, later in sorted(_later().items()):
        if id not in _entries:
            try:
                later.load()
            except Exception as exc:
                log.warning("%s cannot be imported: %s: %s", id, type(exc).__name__, exc)
    return [_entries[id] for id in sorted(_entries)]


def register_gymnasium() -> None:
    """Enter all environments known without an import into Gymnasium's registry. Called by ``import gymnasium``."""
    for id, later in _later().items():
        _into_gymnasium(id, later)


def _later() -> dict[str, _Later]:
    known = {id: _Later(id, module) for id, module in BUILTIN.items()}
    for entry in entry_points(group=GROUP):
        known.setdefault(entry.name, _Later(entry.name, entry=entry))
    return known


def _load_entry_points() -> None:
    """Make sure that environments of installed packages are known to Gymnasium; cheap, nothing is imported."""
    for id, later in _later().items():
        if id not in gymnasium_registry:
            _into_gymnasium(id, later)


def _add(entry: Entry) -> None:
    parse_env_id(entry.id)
    if entry.id in _entries:
        log.info("%s is registered again; the latest registration holds", entry.id)
    _entries[entry.id] = entry
    _into_gymnasium(entry.id, entry.build, entry.kwargs)


def _into_gymnasium(id: str, build: Callable[..., Any], kwargs: dict[str, Any] | None = None) -> None:
    # Written into the registry directly: `gymnasium.register` would force the namespace of the plugin that is loading.
    gymnasium_registry[id] = EnvSpec(id, build, order_enforce=False, kwargs=dict(kwargs or {}))


def _summary(target: Any) -> str:
    return (getattr(target, "__doc__", None) or "").strip().split("\n")[0]
