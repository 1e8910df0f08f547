"""Run files: strict keys with hints, overrides, and a stored copy that reads back equal."""

from __future__ import annotations

import pytest

from palaestra.trainer.config import ConfigError, load_config, to_toml

BASE = {"env": {"id": "palaestra/Sort-v0", "args": {"digits": 4}}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stepz=3", ["unknown key 'train.stepz'", "'steps'"]),
        ("trian.steps=3", ["unknown key 'trian'", "'train'"]),
        ("train.steps=-1", ["train.steps", "-1"]),
        ("train.steps=many", ["train.steps", "many"]),
        ("eval.pass_at=[1,99]", ["pass_at", "99", "eval.samples"]),
        ("judge.on_failure=zero", ["judge.on_failure", "zero"]),
        ("steps", ["section.key=value"]),
        ("env.id.x=1", ["is a value"]),
    ],
)
def test_mistakes_name_the_key_and_the_fix(override, words):
    with pytest.raises(ConfigError) as caught:
        load_config(BASE, [override])
    for word in words:
        assert word in str(caught.value)


def test_file_errors_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the run file"):
        load_config(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[train\nsteps=1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(bad)
    with pytest.raises(ConfigError, match=r"env is missing"):
        load_config({})


def test_values_are_read_as_toml_and_as_text():
    config = load_config(BASE, ["train.betas=[0.8,0.9]", "policy.model=some/model", "objective.eps_high=0.3"])
    assert config.train.betas == (0.8, 0.9)
    assert config.policy.model == "some/model"
    assert config.objective.params == {"eps_high": 0.3}


def test_stored_config_reads_back_equal(tmp_path):
    tricky = {"env": {"id": "palaestra/Sort-v0", "args": {"a b": [1, {"c": '"quoted" \n line'}]}}}
    for sections in (BASE, tricky):
        config = load_config(sections, ["seed=7", "judge.url=http://127.0.0.1:1"])
        path = tmp_path / "config.toml"
        path.write_text(to_toml(config))
        assert load_config(path) == config


def test_the_judge_token_is_neither_stored_nor_shown():
    config = load_config(BASE, ["judge.token=hush"])
    assert config.judge.token == "hush"
    assert "hush" not in to_toml(config)
    assert "hush" not in repr(config)


def test_config_needs_no_torch():
    import subprocess
    import sys

    code = "import sys; from palaestra.trainer import load_config; load_config({'env': 'x'}); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
