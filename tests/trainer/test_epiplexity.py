"""Structure is what a learner takes up: there is more of it in a rule than in noise; repeats are seen."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import palaestra as pl
from palaestra.trainer.epiplexity import epiplexity


@pl.env("test/RuleOrNoise-v0")
def rule_or_noise(rng, rule=True, digits=3):
    """Repeat digits, or say others that have nothing to do with them."""
    return _draw(rng, rule, digits)


@rule_or_noise.oracle
def _solve(rng, rule=True, digits=3):
    yield _draw(rng, rule, digits)[1]


def _draw(rng, rule, digits):
    given, other = ("".join(str(d) for d in rng.integers(0, 10, digits)) for _ in range(2))
    return given, given if rule else other


def config(**args):
    return {
        "policy": {"characters": "0123456789", "layers": 1, "hidden": 32},
        "env": {"id": "test/RuleOrNoise-v0", "args": args, "split": False},
        "warmup": {"batch_size": 16, "learning_rate": 5e-3},
    }


def test_a_rule_has_more_structure_and_leaves_less():
    rule, noise = (epiplexity(config(rule=kind, digits=2), 1200) for kind in (True, False))
    assert rule.structure > 2 * noise.structure > 0
    assert rule.residual.value < noise.residual.value
    assert noise.residual.value == pytest.approx(2 * np.log2(10), abs=0.6)  # noise stays noise
    each = rule.structure_each
    assert each.low < each.value < each.high and each.value * rule.replies == pytest.approx(rule.structure)
    assert rule.first.value == pytest.approx(each.value + rule.residual.value)
    assert epiplexity(config(rule=True, digits=1), 40).repeats > 0.5  # ten tasks, shown four times over


def test_the_verb_compares_settings(tmp_path):
    from palaestra.cli.app import build_app
    from palaestra.trainer.config import load_config, to_toml

    path = tmp_path / "run.toml"
    path.write_text(to_toml(load_config(config())))
    arguments = ["epiplexity", str(path), "--tasks", "32"]
    found = CliRunner().invoke(build_app(), [*arguments, "--vary", "digits=2,3", "--json"])
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert set(report) == {"digits=2", "digits=3"}
    assert report["digits=3"]["tokens"] == 32 * 4 and report["digits=2"]["replies"] == 32
    shown = CliRunner().invoke(build_app(), arguments)
    assert "structure" in shown.output and "32 tasks once" in shown.output
    assert CliRunner().invoke(build_app(), [*arguments, "--vary", "digits"]).exit_code == 2
