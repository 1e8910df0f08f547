"""A model goes from rank 0 into shards and back unchanged, and no other rank ever has the whole of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap

import pytest
import torch

RANK = """
    import resource, sys
    import torch, torch.distributed as dist
    from palaestra.trainer.sharding import Blueprint, gathered, sharded
    from palaestra.trainer.tiny import tiny_model

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    source = None
    if rank == 0:
        source = tiny_model(32, layers=12, hidden=512, heads=8, mlp=1408, seed=3)
        whole = sum(p.nbytes for p in source.parameters())
    told = [(Blueprint.of(source), whole) if rank == 0 else None]
    dist.broadcast_object_list(told, 0)
    blueprint, whole = told[0]
    small = tiny_model(32, layers=1, hidden=64, heads=2, seed=3)
    sharded(Blueprint.of(small), small if rank == 0 else None)(input_ids=torch.arange(8)[None])  # imports what it needs

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model = sharded(blueprint, source)
    found = 0
    for name, tensor in gathered(model):
        found += tensor.nbytes
        if rank == 0:
            assert torch.equal(tensor, dict(source.named_parameters())[name]), name
    print("GROWN", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / whole)
    assert found == whole, (found, whole)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    mine = sum(p.to_local().nbytes for p in model.parameters())
    assert 0.45 * whole < mine < 0.55 * whole, (mine, whole)
    ids = torch.arange(8)[None]
    torch.set_grad_enabled(False)
    logits = model(input_ids=ids).logits
    if rank == 0:
        torch.testing.assert_close(logits, source(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    everything = blueprint.whole(source)  # as objectives with a reference want it
    torch.testing.assert_close(everything(input_ids=ids).logits, logits, atol=1e-5, rtol=1e-5)
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_hold_half_each_and_only_rank_0_the_whole():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RANK)],
            env={**os.environ, **world, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)[-4000:]
    (line,) = [line for line in said[1].splitlines() if line.startswith("GROWN")]
    assert float(line.split()[1]) < 0.8  # its half, one tensor at a time and buffers of gloo


def test_the_estimate_of_a_model_too_large_counts_the_processes(monkeypatch):
    from transformers import Qwen3Config

    from palaestra.trainer.config import ConfigError
    from palaestra.trainer.policy import _refuse_if_too_large

    heads = {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64}
    config = Qwen3Config(hidden_size=512, num_hidden_layers=8, intermediate_size=2048, vocab_size=1024, **heads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (300 * 2**20, 0))
    with pytest.raises(ConfigError, match=r"0\.\d\dB parameters.*more processes"):
        _refuse_if_too_large("x", config, torch.float32)
    monkeypatch.setenv("WORLD_SIZE", "8")
    _refuse_if_too_large("x", config, torch.float32)
