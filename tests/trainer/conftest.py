"""Shared by the tests of the training loop: a tiny policy, small environments, ready run files, all on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Test runs share a machine; one thread each also fixes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def policy() -> Any:
    """A fresh tiny policy over digits."""
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    return load_policy(PolicyConfig(characters="0123456789", layers=2, hidden=32, device="cpu"))


@pytest.fixture
def run_sections(tmp_path) -> dict[str, Any]:
    """Sections of a run that takes a few seconds."""
    return {
        "out": str(tmp_path / "run"),
        "policy": {"characters": "0123456789", "layers": 1, "hidden": 32, "device": "cpu"},
        "env": {"id": "palaestra/Sort-v0", "args": {"digits": 2}},
        "warmup": {"steps": 25, "target": 0.5, "check_every": 5, "batch_size": 64, "tasks": 32},
        "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 5},
        "train": {"steps": 4, "checkpoint_every": 2, "warmup_steps": 2},
        "eval": {"tasks": 16, "samples": 2, "pass_at": [1, 2]},
        "log": {"tensorboard": False},
    }


def _policy() -> Any:
    """A tiny policy whose heads have 32 entries: vLLM's CPU kernels take no fewer."""
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    return load_policy(PolicyConfig(characters="0123456789", layers=2, hidden=64, device="cpu"))


@pytest.fixture
def copied_policy() -> Any:
    """A fresh policy of the shape that the shared vLLM engines hold."""
    return _policy()


@pytest.fixture(scope="session")
def vllm_engine() -> Any:
    """One in-process vLLM engine for all tests; each gives it its own weights."""
    pytest.importorskip("vllm", reason="vLLM is not installed in this interpreter")
    from palaestra.trainer.engines import make_engine

    engine = make_engine("vllm", _policy())
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory) -> Any:
    """Address of a vLLM server with a tiny policy, run by the interpreter that PALAESTRA_VLLM_PYTHON names."""
    import importlib.util
    import os
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("_vllm_server", Path(__file__).with_name("_vllm_server.py"))
    server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    python = os.environ.get("PALAESTRA_VLLM_PYTHON")
    reason = server.why_not(python)
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("vllm")
    _policy().save(folder / "model")
    with server.serving(python, folder / "model", folder / "server") as url:
        yield url


@pytest.fixture(scope="session")
def vllm_http_engine(vllm_url) -> Any:
    """One engine on that server."""
    from palaestra.trainer.config import RolloutConfig
    from palaestra.trainer.engines import make_engine

    engine = make_engine(RolloutConfig(engine="vllm_http", url=vllm_url), _policy())
    yield engine
    engine.close()
