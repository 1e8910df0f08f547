"""reasoning-gym: generation by theirs, scoring that never runs an answer."""

import math
import os
import re
import signal

import pytest

import palaestra as pl

pytest.importorskip("reasoning_gym")

from palaestra.envs.adapters import rg_worker
from palaestra.envs.adapters.reasoning_gym import EXACT, UNSAFE, extract, families, near, queens

ID = "palaestra/ReasoningGym-v0"


@pytest.mark.parametrize("name", sorted(UNSAFE))
def test_their_unsafe_scorers_are_refused(name):
    with pytest.raises(ValueError, match="runs the answer as code"):
        pl.make(ID, name=name, scorer="theirs").reset(seed=0)


@pytest.mark.parametrize("name", sorted(UNSAFE))
def test_the_unsafe_families_are_scored_by_us(name, tmp_path):
    marker = tmp_path / "ran"
    env = pl.make(ID, name=name)
    env.reset(seed=1)
    assert env.step(next(env.oracle()))[1] == 1.0
    for attack in (f"__import__('os').system('touch {marker}')", "9**9**9**9", f"[open({str(marker)!r}, 'w')]", ""):
        env.reset(seed=1)
        reward = env.step(f"<answer>{attack}</answer>")[1]
        assert reward == 0.0 and not os.path.exists(marker)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["sudoku", "word_ladder", "polynomial_equations", "number_sorting", "propositional_logic"]
)
def test_their_scorers_run_in_a_child_and_consolation_is_nothing(name):
    env = pl.make(ID, name=name)
    for reply, expected in (("<answer>zzz</answer>", 0.0), ("I do not know", 0.0), ("", 0.0)):
        env.reset(seed=1)
        assert env.step(reply)[1] == expected
    env.reset(seed=1)
    try:
        right = next(env.oracle())
    except NotImplementedError:
        return
    assert env.step(right)[1] == 1.0


def test_a_hanging_scorer_is_killed_and_the_next_one_works(monkeypatch):
    assert rg_worker.score_in_child("sudoku", 1, {}, "x") == pytest.approx(0.0, abs=0.05)
    hanging = rg_worker._child.process
    os.kill(hanging.pid, signal.SIGSTOP)
    monkeypatch.setattr(rg_worker, "SECONDS", 0.2)
    assert rg_worker.score_in_child("sudoku", 1, {}, "x" * 1000) == 0.0
    assert rg_worker._child is None and hanging.poll() == -signal.SIGKILL
    monkeypatch.setattr(rg_worker, "SECONDS", 30.0)
    assert rg_worker.score_in_child("sudoku", 1, {}, "x") == pytest.approx(0.0, abs=0.05)


def test_a_child_that_cannot_start_gives_no_reward(monkeypatch):
    def broken(*_):
        raise rg_worker.ScorerBroken("no child")

    monkeypatch.setattr("palaestra.envs.adapters.reasoning_gym.score_in_child", broken)
    env = pl.make(ID, name="sudoku")
    env.reset(seed=0)
    _, reward, _, truncated, info = env.step("<answer>1</answer>")
    assert math.isnan(reward) and truncated and info["error"] == "no child"


def test_exact_families_are_compared_by_us():
    for name in ("chain_sum", "gcd", "caesar_cipher", "spell_backward"):
        assert name in EXACT
        env = pl.make(ID, name=name)
        env.reset(seed=2)
        right = next(env.oracle())
        assert env.step(right)[1] == 1.0
        env.reset(seed=2)
        assert env.step(right.replace("</answer>", " or so</answer>"))[1] == 0.0


def test_knobs_reach_the_family_and_errors_name_them():
    env = pl.make(ID, name="chain_sum", min_terms=2, max_terms=2, min_digits=1, max_digits=1)
    prompt = env.reset(seed=0)[0][0]["content"]
    assert len([word for word in prompt.split() if word.isdigit()]) == 2
    with pytest.raises(ValueError, match="did you mean 'chain_sum'"):
        pl.make(ID, name="chain_sums").reset(seed=0)
    with pytest.raises(ValueError, match="its knobs are"):
        pl.make(ID, name="chain_sum", terms=2).reset(seed=0)
    with pytest.raises(ValueError, match="scorer="):
        pl.make(ID, scorer="mine").reset(seed=0)


def test_all_families_of_the_library_are_there():
    assert len(families()) >= 100 and set(families()) >= UNSAFE | EXACT


def test_queens():
    puzzle = [["_"] * 4 for _ in range(4)]
    puzzle[0][1] = "Q"
    assert queens(puzzle, "_ Q _ _\n_ _ _ Q\nQ _ _ _\n_ _ Q _")
    assert not queens(puzzle, "_ _ Q _\nQ _ _ _\n_ _ _ Q\n_ Q _ _")  # right board, other first queen
    assert not queens(puzzle, "_ Q _ _\n_ _ _ Q\nQ _ _ _\n_ _ _ Q")
    assert not queens(puzzle, "") and not queens(puzzle, "Q")


def test_extract():
    assert extract("a <answer> 3 </answer> b") == "3" and extract("so \\boxed{4}") == "4" and extract(" 5 ") == "5"
    assert extract("<answer>1</answer><answer>2") == "2"


@pytest.mark.parametrize(
    ("name", "cheat"),
    [
        ("complex_arithmetic", lambda prompt: "nan"),  # full marks from their scorer
        ("coin_flip", lambda prompt: "0"),  # likewise, where the probability is small
        ("chain_sum", lambda prompt: re.search(r"problem: (.*) =", prompt)[1]),
        ("polynomial_multiplication", lambda prompt: re.search(r"\(.*\)", prompt)[0]),
        ("gcd", lambda prompt: f"gcd({', '.join(re.findall(r'[0-9]+', prompt))})"),
        ("products", lambda prompt: re.search(r"[0-9]+(?: \* [0-9]+)+", prompt)[0]),
        ("fraction_simplification", lambda prompt: re.search(r"fraction (\S+)", prompt)[1].strip("$")),
    ],
)
def test_cheats_that_equal_or_fool_are_wrong(name, cheat):
    env = pl.make(ID, name=name)
    for seed in range(6):
        prompt = env.reset(seed=seed)[0][-1]["content"]
        right = next(iter(env.oracle()))
        assert env.fork().step(right)[1] == 1.0
        assert env.step(f"<answer>{cheat(prompt)}</answer>")[1] == 0.0, (seed, prompt)


def test_rounded_answers_are_compared_to_six_digits():
    assert near("3.051757812e-05", "1/32768") and near("0.03125", "1/32") and near("0.5", "0.5000001")
    for wrong in ("0", "0.5", "nan", "inf", "1/0", "", "1e-5x"):
        assert not near("3.051757812e-05", wrong)


def test_the_size_of_an_item_is_bounded():
    with pytest.raises(ValueError, match="max_terms=1000000"):
        pl.make(ID, name="chain_sum", max_terms=10**6).reset(seed=0)
