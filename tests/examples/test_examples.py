"""Every example is short and does what its docstring says, at the smallest sizes."""

import importlib.util
from pathlib import Path

import pytest

import palaestra

FOLDER = Path(palaestra.__file__).parent / "examples"
LONGER = {"grpo_in_one_file.py": 350}


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) < LONGER.get(path.name, 80)


def test_own_environment(capsys):
    load("own_environment").main()
    said = capsys.readouterr().out
    assert said.count("keeps the contract") == 2
    assert "original: 0.0 copy: 1.0" in said  # the copy went another way from the same state


def test_own_rubric():
    rewards = load("own_rubric").main([])
    assert rewards["good"] > rewards["curt"] > 0
    assert rewards["forgetful"] == 0.0  # vetoed by the required check, unasked
    assert rewards["unlucky"] is None  # the judge failed: no reward, which is not zero


def test_remote_servers(tmp_path, one_thread):
    small = ["warmup.steps=10", "warmup.tasks=4", "eval.tasks=4", "train.steps=2"]
    arguments = [word for setting in small for word in ("--set", setting)]
    result = load("remote_servers").main(["--out", str(tmp_path / "run"), *arguments])
    assert result.stopped is None and result.steps == 2
    assert result.metrics["judge_requests"] == 1 and result.metrics["unscored"] == 0


def test_arena_travel(tmp_path, one_thread):
    result, tastes = load("arena_travel").main(["--out", str(tmp_path / "run"), "--steps", "8"])
    assert result.stopped is None and len(tastes) == 8
    assert sum(tastes[-2:]) > sum(tastes[:2])  # ranks alone moved the plans towards the judge's taste


def test_sdpo_code(tmp_path, one_thread):
    from palaestra.sandbox import Sandbox, SandboxUnavailable

    try:
        Sandbox.open().close_sync()
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox here: {error}")
    result, said = load("sdpo_code").main(["--out", str(tmp_path / "run"), "--steps", "1"])
    assert result.stopped is None and result.metrics["unscored"] == 0
    assert result.metrics["loss"] > 0  # the teacher, shown feedback, differs from the student
    assert sum(said.values()) == 16 and said.keys() & {"Runtime Error", "Wrong Answer", "Accepted: all tests pass."}
