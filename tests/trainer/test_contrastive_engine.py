"""Contrastive decoding samples what the rule says, and reports the log-probabilities it drew from."""

import numpy as np
import pytest
import torch

from palaestra.trainer import ConfigError
from palaestra.trainer.config import PolicyConfig
from palaestra.trainer.engines.base import Prompt, SamplingParams
from palaestra.trainer.engines.contrastive import ContrastiveEngine
from palaestra.trainer.objectives.decoding import contrast
from palaestra.trainer.policy import load_policy


def policy(seed, characters="0123456789", hidden=32):
    return load_policy(PolicyConfig(characters=characters, layers=1, hidden=hidden), seed=seed)


def test_the_engine_samples_from_both_models_and_scores_alike():
    expert, amateur = policy(0), policy(1, hidden=16)
    engine = ContrastiveEngine(expert, amateur, alpha=0.3)
    prompts = [Prompt(ids=(5, 6, 7), n=2, keys=(1, 2)), Prompt(ids=(8, 9), n=1, keys=(3,))]
    turns = [turn for group in engine.sample(prompts, SamplingParams(max_new_tokens=6)) for turn in group]
    scored = engine.score([t.prompt_ids for t in turns], [t.completion_ids for t in turns])
    for turn, found in zip(turns, scored, strict=True):
        np.testing.assert_allclose(turn.logprobs, found.logp, atol=1e-4)
        ids = torch.tensor([turn.prompt_ids])
        with torch.no_grad():
            rows = [p.model(input_ids=ids).logits[0, -1].double() for p in (expert, amateur)]
        first = contrast(*rows, 0.3).log_softmax(-1)
        assert found.logp[0] == pytest.approx(first[turn.completion_ids[0]].item(), abs=1e-4)


def test_other_vocabularies_and_wrong_thresholds_are_refused():
    with pytest.raises(ConfigError, match="different vocabularies"):
        ContrastiveEngine(policy(0), policy(1, characters="abc"))
    with pytest.raises(ConfigError, match="alpha"):
        ContrastiveEngine(policy(0), policy(1), alpha=0.0)
