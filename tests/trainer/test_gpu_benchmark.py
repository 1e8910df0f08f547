"""The benchmark for a GPU runs to its end on a CPU with toy shapes, so that it can be trusted where a GPU is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path


def test_every_part_reports(capsys):
    path = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("gpu_benchmark", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    small = "--rows 8 --prompt 4 --new 4 --train-rows 8 --head-tokens 16 --repeats 1"
    script.main(f"--sizes nano --device cpu --engines native {small}".split())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["device"] == "cpu"
    assert [line.get("part") for line in lines][1:4] == ["bounds", "rollout native", "chunked head"]
    assert len(lines) == 10
    assert not any("failed" in line for line in lines)
    assert all(line["train_tokens_per_second"] > 0 for line in lines if line.get("part", "").startswith("training"))
