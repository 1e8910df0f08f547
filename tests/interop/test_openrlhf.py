"""OpenRLHF's own reward client, unchanged, against our server. Only its logger is a stand-in."""

import asyncio
import logging
from types import ModuleType

import pytest


@pytest.fixture
def executor(unpacked, load_file):
    pytest.importorskip("aiohttp")
    logs = ModuleType("openrlhf.utils.logging_utils")
    logs.init_logger = logging.getLogger
    (path,) = unpacked("openrlhf").rglob("openrlhf/utils/agent.py")
    return load_file(path, "openrlhf_agent", openrlhf__utils__logging_utils=logs).SingleTurnAgentExecutor


def test_rewards_arrive(executor, exact_judge):
    client = executor([f"{exact_judge}/get_reward"])
    found = asyncio.run(client._fetch_rewards_via_http(["p4", "p5"], ["p", "p"], ["4", "4"]))
    assert [reward for reply in found for reward in reply["rewards"]] == [1.0, 0.0]


def test_several_addresses_share_the_work(executor, exact_judge):
    client = executor([f"{exact_judge}/get_reward"] * 2)
    found = asyncio.run(client._fetch_rewards_via_http(["p4", "p5"], ["p", "p"], ["4", "5"]))
    assert [reward for reply in found for reward in reply["rewards"]] == [1.0, 1.0]
