"""Gymnasium's own comparison of two environments, and its wrappers, on ours: near and over HTTP."""


import gymnasium
import pytest
from gymnasium.utils.env_match import check_environments_match
from gymnasium.wrappers import OrderEnforcing, RecordEpisodeStatistics, TimeLimit

import palaestra as pl
from palaestra.envs import HttpEnv
from palaestra.envs.server.app import create_app
from palaestra.judges.testing import serving


@pytest.fixture(scope="module")
def server():
    with serving(create_app()) as url:
        yield url


@pytest.mark.parametrize("env_id", ["palaestra/Sort-v0", "palaestra/Countdown-v0", "palaestra/Lookup-v0"])
def test_a_server_changes_nothing(server, env_id):
    near, far = pl.make(env_id), HttpEnv(server, env_id)
    check_environments_match(near, far, num_steps=12, seed=3)
    near.close()
    far.close()


def test_a_stack_of_wrappers():
    env = RecordEpisodeStatistics(OrderEnforcing(TimeLimit(gymnasium.make("palaestra/Sort-v0").unwrapped, 2)))
    (message,), _ = env.reset(seed=1)
    *_, info = env.step("".join(sorted(message["content"])))
    assert info["episode"]["r"] == 1.0 and info["episode"]["l"] == 1
    env.close()
