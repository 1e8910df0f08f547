"""Which checkpoints stay, what leaves the run folder, and whose numbers an export refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.trainer import export, train
from palaestra.trainer.checkpoint import CheckpointError, Retention, latest, recover, save, steps


@given(st.sets(st.integers(0, 200)), st.integers(0, 5), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 200)))
def test_the_newest_the_regular_and_the_best_stay(there, newest, every, best):
    dropped = Retention(newest, every, best).drop(sorted(there))
    kept = there - set(dropped)
    assert set(dropped) <= there
    assert set(sorted(there)[-newest:] if newest else there) <= kept
    assert {s for s in there if s == best or (every and s % every == 0)} <= kept
    if newest:
        assert all(s in sorted(there)[-newest:] or s == best or (every and s % every == 0) for s in kept)


def test_a_run_keeps_what_its_file_says_and_exports_it(run_sections, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wanted = {"steps": 5, "checkpoint_every": 1, "keep": 1, "keep_every": 2, "keep_best": True}
    result = train({**run_sections, "train": {**run_sections["train"], **wanted}})
    best = max(result.evals, key=lambda step: (result.evals[step].pass_at[1].value, step))
    assert steps(result.folder / "checkpoints") == sorted({0, 2, 4, 5, best})
    out = export(result.folder, tmp_path / "exported", step=4)
    assert not {"trainer.pt", "state.json", "shards"} & {path.name for path in out.iterdir()}
    AutoModelForCausalLM.from_pretrained(out)
    AutoTokenizer.from_pretrained(out)
    with pytest.raises(CheckpointError, match="exists"):
        export(result.folder, out)
    with pytest.raises(CheckpointError, match=r"no intact checkpoint of step 3; steps there: 0, 2, 4, 5"):
        export(result.folder, tmp_path / "other", step=3)


class Weights:
    """What a checkpoint stores of a policy, here one text."""

    def __init__(self, text):
        self.text = text

    def save(self, folder):
        (folder / "weights.txt").write_text(self.text)


@pytest.mark.parametrize("half_deleted", [True, False])
def test_a_kill_between_deleting_and_renaming_loses_nothing(tmp_path, half_deleted):
    final = save(tmp_path, 3, Weights("new"), {}, {"cursor": 7}, Retention(1))
    final.rename(tmp_path / ".writing-000003")
    if half_deleted:
        final.mkdir()
        (final / "weights.txt").write_text("old")
    assert latest(tmp_path) is None
    recover(tmp_path)
    found = latest(tmp_path)
    assert found.step == 3 and found.state["cursor"] == 7
    assert (found.folder / "weights.txt").read_text() == "new"


def test_what_was_still_being_written_is_not_taken_for_a_checkpoint(tmp_path):
    kept = save(tmp_path, 3, Weights("whole"), {}, {}, Retention(1))
    half = tmp_path / ".writing-000004"
    half.mkdir()
    (half / "weights.txt").write_text("ha")
    recover(tmp_path)
    assert latest(tmp_path).folder == kept and steps(tmp_path) == [3]
