"""skyrl-gym's own registry and checks play our environments; run with ``make interop``."""

import pytest

skyrl_gym = pytest.importorskip("skyrl_gym", reason="skyrl-gym is not installed; `make interop` installs it")

import palaestra as pl  # noqa: E402
from palaestra.envs.adapters.skyrl import NotScored, skyrl_environment  # noqa: E402


@pl.env("interop/Broken-v0")
def broken(rng):
    yield "?"
    raise RuntimeError("out of order")


@pytest.fixture
def made():
    """A function: our id -> an environment made by their registry."""

    def make(env_id, extras=None, **knobs):
        name = env_id.lower()
        skyrl_gym.envs.registration.registry.pop(name, None)
        skyrl_gym.register(id=name, entry_point=skyrl_environment(env_id, **knobs))
        return skyrl_gym.make(name, env_config={}, extras=extras or {})

    return make


def test_an_episode(made):
    env = made("palaestra/Sort-v0", {"seed": 3}, digits=4)
    assert isinstance(env, skyrl_gym.Env)
    said, _ = env.init([{"role": "user", "content": "the row's own prompt"}])
    assert [message["role"] for message in said] == ["user"] and said[0]["content"].isdigit()
    again, _ = made("palaestra/Sort-v0", {"seed": 3}, digits=4).init([])
    assert again == said  # rollouts of a row share a task
    out = env.step("".join(sorted(said[0]["content"])))
    assert (out["reward"], out["done"]) == (1.0, True)
    env.close()
    env.close()


def test_a_failed_grader_is_no_reward(made):
    env = made("interop/Broken-v0")
    env.init([])
    with pytest.raises(NotScored, match="out of order"):
        env.step("x")
