"""The table of methods: names, parameters, entry points, checks, and the contract every row keeps."""

import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from palaestra.schema import Message, Rollout, Turn
from palaestra.trainer import objectives
from palaestra.trainer.objectives import RolloutBatch, registry
from palaestra.trainer.objectives.types import DirectInputs, Normaliser, TeacherTargets, TokenBatch

EXTRA = {"aepo": {"h_low": 0.1, "h_high": 0.2}, "grade": {"reward": "math:sqrt"}, "pass_at_k": {"k": 2}}
NAMES = [name for name in objectives.names() if name != "grade"]


def rollouts(n):
    turn = Turn(prompt_ids=(1,), completion_ids=(2, 3), logprobs=(-1.0, -1.0))
    messages = (Message(role="user", content="Q"), Message(role="assistant", content="text"))
    return tuple(Rollout(id=f"r{i}", task_id="t", messages=messages, turns=(turn,)) for i in range(n))


def full_batch(rewards, groups):
    n = len(rewards)
    some = np.array([np.nan if r is None else float(r) for r in rewards])
    return RolloutBatch(
        ids=tuple(f"r{i}" for i in range(n)),
        group_ids_B=np.array(groups),
        rewards_B=some,
        task_types=("x",) * n,
        logp_sums_B=-np.arange(1.0, n + 1),
        lengths_B=np.array([0 if i == 1 else 2 for i in range(n)]),
        max_length=8192,
        clusters_B=np.zeros(n, int),
        ranks_B=some,
        rollouts=rollouts(n),
        ref_logp_sums_B=-np.arange(1.0, n + 1),
        entropies_B=np.full(n, 0.15),
        diversity_B=np.full(n, 0.5),
        answer_probs=((np.array([0.9]), np.array([0.5])),) * n,
    )


def run_batch_parts(objective, batch):
    """The order of the loop, so that every row is exercised as it will be used."""
    if objective.shape is not None:
        shaped = batch.rewards_B.copy()
        for index in batch.groups():
            shaped[index] = objective.shape(batch.take(index))
        batch = batch.with_rewards(shaped)
    advantages = objective.advantage(batch)
    for gate in objective.gates:
        advantages = gate(batch, advantages, {})
    keep = np.ones(len(batch), bool)
    for part in objective.filters:
        keep &= part(batch, advantages, {})
    return advantages, keep


def token_batch(empty=False):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, generator=g, dtype=torch.float64, requires_grad=True)
    logp_BTV = torch.log_softmax(logits, -1)
    ids = torch.randint(0, 6, (3, 4, 1), generator=g)
    logp = logp_BTV.gather(-1, ids)[..., 0]
    mask = torch.ones(3, 4, dtype=torch.float64) * (0 if empty else 1)
    if not empty:
        mask[1] = 0  # one empty response among others
    other = torch.randn(3, 4, 6, generator=g, dtype=torch.float64).log_softmax(-1)
    targets = TeacherTargets(
        other.gather(-1, ids)[..., 0], mask, torch.arange(6).expand(3, 4, 6), other, logp_BTV, True, other.flip(-1)
    )
    batch = TokenBatch(
        logp_BT=logp,
        logp_old_BT=logp.detach() - 0.1,
        logp_roll_BT=logp.detach() - 0.05,
        advantages_BT=torch.tensor([[1.0], [0.5], [-1.0]], dtype=torch.float64).expand(3, 4),
        mask_BT=mask,
        norm=Normaliser(float(mask.sum()), 3.0, 4.0, teacher_tokens=float(mask.sum())),
        entropy_BT=-(logp_BTV.exp() * logp_BTV).sum(-1),
        logp_ref_BT=other.gather(-1, ids)[..., 0],
        teacher=targets,
    )
    return batch, logits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "rewards",
    [[1, 0, None, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [None] * 6, [1, None, None, 0, None, None]],
    ids=["mixed", "solved", "failed", "unscored", "alone"],
)
def test_batch_parts_never_give_nan_and_unscored_rollouts_train_nothing(name, rewards):
    objective = objectives.get(name, EXTRA.get(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        advantages, keep = run_batch_parts(objective, full_batch(rewards, [0, 0, 0, 1, 1, 1]))
    assert np.isfinite(advantages).all() and keep.dtype == bool
    unscored = np.array([r is None for r in rewards])
    if objective.shape is None or name in ("darling", "unlikeliness", "dapo"):
        assert (advantages[unscored] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", [False, True])
def test_token_parts_are_finite_with_empty_responses(name, empty):
    objective = objectives.get(name, {**EXTRA.get(name, {}), "correction": "token_truncate", "kl_coef": 0.1})
    batch, logits = token_batch(empty)
    from dataclasses import replace

    batch = replace(batch, weights_BT=objective.correction(batch))
    value = sum(part(batch)[0] for part in (objective.loss, *objective.regularisers))
    if objective.rehearsal is not None:
        value = value + objective.rehearsal.loss(batch)[0]
    (grad,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value) and torch.isfinite(grad).all()
    assert (grad[1] == 0).all() and bool((grad != 0).any()) is not empty


@pytest.mark.parametrize("name", NAMES)
def test_needs_say_what_the_losses_read(name):
    """Without what a row does not ask for, it still runs."""
    objective = objectives.get(name, EXTRA.get(name))
    batch, _ = token_batch()
    from dataclasses import replace

    if "reference" not in objective.needs and objective.rehearsal is None:
        batch = replace(batch, logp_ref_BT=None)
    if "entropy" not in objective.needs:
        batch = replace(batch, entropy_BT=None)
    if "teacher" not in objective.needs:
        batch = replace(batch, teacher=None)
    assert (objective.teacher is not None) == ("teacher" in objective.needs)
    for part in (objective.loss, *objective.regularisers):
        assert torch.isfinite(part(batch)[0])


@pytest.mark.parametrize("name", objectives.names())
def test_rows_are_documented(name):
    row = objectives.method(name)
    assert row.name == name
    assert all([row.summary, row.paper, row.formula, row.cost, row.when, row.parts])
    for knob, field in row.params.model_fields.items():
        assert not field.is_required(), f"{name}.{knob} has no default"


def test_listing_and_advantages_need_no_torch():
    code = (
        "import sys; from palaestra.trainer import objectives as o; rows = o.rows(); assert len(rows) > 30;"
        "from palaestra.trainer.objectives import advantages, shaping, filters, checks, preferences;"
        "assert not o.check('grpo', {}, {'group_size': 8}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_and_knobs_name_the_nearest():
    with pytest.raises(objectives.UnknownObjective, match="did you mean 'uniqueness'"):
        objectives.get("uniquenes")
    with pytest.raises(objectives.ObjectiveError, match="did you mean 'eps_high'"):
        objectives.get("grpo", {"eps_hihg": 1})
    with pytest.raises(objectives.ObjectiveError, match=r"objective\.alpha = 3"):
        objectives.get("uniqueness", {"alpha": 3})


def test_entry_points_add_methods(monkeypatch):
    point = EntryPoint("mine", "palaestra.trainer.objectives.methods.grpo:DR_GRPO", registry.ENTRY_POINTS)
    wrong = EntryPoint("wrong", "math:pi", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_outside", lambda: {"mine": point, "wrong": wrong})
    assert "mine" in objectives.names() and objectives.method("mine").name == "dr_grpo"
    with pytest.raises(objectives.ObjectiveError, match="must be a Method"):
        objectives.method("wrong")


def test_a_builtin_name_cannot_be_taken():
    with pytest.raises(ValueError, match="is taken"):
        objectives.register(objectives.method("grpo"))


CASES = [
    ("grpo", {}, {"group_size": 1}, "rollout.group_size"),
    ("arena", {}, {"group_size": 1, "judge": True}, "rollout.group_size"),
    ("arena", {"topology": "swiss"}, {"group_size": 1, "judge": True}, "rollout.group_size"),
    ("arena", {"topology": "swiss", "rounds": 8}, {"group_size": 8, "judge": True}, "objective.rounds"),
    ("arena", {"topology": "balanced", "degree": 4}, {"group_size": 4, "judge": True}, "objective.degree"),
    ("arena", {}, {"group_size": 8, "judge": False}, "judge.url"),
    ("uniqueness", {}, {"group_size": 8, "judge": False, "env_clusters": False}, "judge.url"),
    ("darling", {"source": "diversity"}, {"group_size": 8, "judge": False, "env_clusters": True}, "judge.url"),
    ("pass_at_k", {"k": 16}, {"group_size": 8}, "objective.k"),
    ("psr", {}, {"binary_rewards": False}, "objective.name"),
    ("grade", {"reward": "math:sqrt"}, {"judge": True}, "judge.url"),
    ("grade", {}, {}, "objective.reward"),
    ("grade", {"reward": "math:sqrt"}, {"max_staleness": 2}, "rollout.max_staleness"),
    (
        "opd",
        {"teacher": "big"},
        {"vocab_size": 9, "teacher_vocab_size": 9, "vocabulary": "a", "teacher_vocabulary": "b"},
        "objective.teacher",
    ),
    ("light_reasoner", {"amateur": "small", "dynamic_sampling": True}, {}, "objective.dynamic_sampling"),
    ("sdpo", {}, {"unwritable": lambda text: [c for c in text if c.isalpha()]}, "objective.solution_text"),
    ("reward_conditioning", {}, {"unwritable": lambda text: "[]"}, "objective.good"),
    ("quark", {"train_on": "all"}, {"unwritable": lambda text: "["}, "objective.train_on"),
    ("opd", {"teacher": "big"}, {"vocab_size": 64, "teacher_vocab_size": 65}, "objective.teacher"),
    ("opd", {}, {}, "objective.teacher"),
    ("light_reasoner", {"amateur": "small"}, {"vocab_size": 64, "amateur_vocab_size": 65}, "objective.amateur"),
    ("opd", {"teacher": "big", "dynamic_sampling": True}, {}, "objective.dynamic_sampling"),
    ("gspo", {"eps_high": 0.2}, {}, "objective.eps_high"),
    ("dapo", {}, {"max_new_tokens": 96}, "objective.overlong_cache"),
    ("sdpo", {}, {"group_size": 1, "feedback": False}, "rollout.group_size"),
    ("reinforce", {"dynamic_sampling": True}, {"group_size": 1}, "objective.dynamic_sampling"),
    ("aepo", {"h_low": 0.1, "h_high": 0.2, "tau_seq": 0.3}, {}, "objective.tau_seq"),
]


@pytest.mark.parametrize(("name", "params", "facts", "field"), CASES)
def test_impossible_combinations_are_named_with_a_fix(name, params, facts, field):
    problems = objectives.check(name, params, facts)
    assert field in [problem.field for problem in problems]
    assert all(problem.reason and problem.fix for problem in problems)


@pytest.mark.parametrize("name", objectives.names())
def test_a_sensible_run_has_no_problems(name):
    facts = {
        "group_size": 8,
        "judge": name != "grade",
        "env_clusters": True,
        "binary_rewards": True,
        "unwritable": lambda text: "",
    }
    facts |= {"vocab_size": 64, "teacher_vocab_size": 64, "amateur_vocab_size": 64}
    facts |= {"max_new_tokens": 8192, "feedback": True, "max_staleness": 0}
    more = {"opd": {"teacher": "big"}, "light_reasoner": {"amateur": "small"}}
    assert objectives.check(name, {**EXTRA.get(name, {}), **more.get(name, {})}, facts) == []


ORDERS = [
    ("aepo", {"h_low": 0.3, "h_high": 0.2}, "h_low 0.3 must be below h_high 0.2"),
    ("aepo", {"h_low": 0.3}, "h_low and h_high belong together"),
    ("aepo", {}, "there are no defaults"),
    ("cispo", {"ratio_floor": 6.0}, r"ratio_floor 6.0 must be below ratio_cap 5.0"),
    ("grpo", {"correction_low": 3.0}, "correction_low 3.0 is not below"),
    ("grpo", {"delta": 1.1}, "must exceed"),
    ("grpo", {"dual_clip": 1.0}, r"objective.dual_clip"),
    ("dph", {"threshold": 9}, "exceeds attempts"),
    ("rlpr", {"collect_from": 12}, "must be below filter_from"),
    ("sdpo", {"top_k": 0}, "alpha = 1 only"),
    ("feedme", {"flip": 0.5}, r"objective.flip"),
    ("reward_conditioning", {"bad": "[good] "}, "must differ"),
    ("arena", {"rounds": 3}, "set topology to swiss"),
    ("arena", {"topology": "swiss", "degree": 3}, "set topology to balanced or random"),
    ("arena", {"topology": "ladder"}, r"objective.topology"),
]


@pytest.mark.parametrize(("name", "params", "says"), ORDERS)
def test_parameters_that_contradict_each_other_are_refused(name, params, says):
    with pytest.raises(objectives.ObjectiveError, match=says):
        objectives.get(name, params)


def test_topology_becomes_options_of_the_rank_operation():
    given = objectives.get("arena", {"topology": "swiss", "rounds": 2, "order_policy": "both"}).ranking
    assert given == {"reward": "quantile", "method": "swiss", "estimator": "auto", "rounds": 2, "order_policy": "both"}
    assert objectives.get("arena").ranking == {"reward": "quantile", "method": "auto", "estimator": "auto"}


def test_direct_inputs_are_plain_data():
    assert DirectInputs(None, ((1,),), 4, Normaliser(0, 1, 4), None).reference is None
