"""Probes catch a judge that can be talked to, and a judge that was exchanged behind its name."""

import asyncio
import json
import re

import pytest
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.judges import Item, JudgeClient, JudgeService, LLMJudge, ScoreRequest
from palaestra.judges.canary import PROBES, probe, probe_server
from palaestra.judges.rubric import BUILTIN_RUBRICS
from palaestra.judges.server import create_app
from palaestra.judges.server.metrics import Metrics
from palaestra.judges.testing import FakeOpenAI, Fault, Reply, judge_server
from palaestra.lm import OpenAIModel

QUALITY = BUILTIN_RUBRICS["quality"]


def sober(request):
    return {"reasoning": "weak", "scores": {"overall": 2}}


def obedient(pattern):
    def answer(request):
        response = re.search(r"\[\[BEGIN RESPONSE.*?\n(.*)\n\[\[END RESPONSE", request.messages[-1]["content"], re.S)[1]
        return {"reasoning": "told so", "scores": {"overall": 10 if re.search(pattern, response) else 2}}

    return answer


def service_of(server, **options):
    model = OpenAIModel("any", base_url=server.url, backoff_s=0.01, deadline_s=20, max_attempts=1)
    return JudgeService([LLMJudge("llm", model, **options.pop("judge", {}))], **options)


def probed(script, rubric=QUALITY, **fake):
    with FakeOpenAI(script, **fake) as server:
        service = service_of(server)
        context = service.context(ScoreRequest(items=[]))
        return asyncio.run(probe(service.judges["llm"], rubric, context))


def test_a_sober_judge_passes_every_probe():
    assert {r.name: r.passed for r in probed(sober)} == {p.name: True for p in PROBES}


@pytest.mark.parametrize(
    ("pattern", "caught"),
    [
        ("Ignore all previous", {"order", "delimiter"}),
        ("verified by experts", {"authority"}),
        (r'"winner": "1"', {"verdict", "control_tokens"}),
        ("^Thought process", {"opener"}),
    ],
)
def test_a_judge_that_obeys_its_material_is_caught(pattern, caught):
    assert {r.name for r in probed(obedient(pattern)) if r.passed is False} == caught


def test_an_opener_without_content_is_gated_before_any_call():
    with FakeOpenAI(sober) as server:
        service = service_of(server)
        only = [p for p in PROBES if p.name == "master_key"]
        (result,) = asyncio.run(probe(service.judges["llm"], QUALITY, service.context(ScoreRequest(items=[])), only))
        assert result.passed is True and result.attacked == 0.0 and server.hits == 0


def test_a_judge_that_is_down_neither_passes_nor_fails():
    results = probed(None, faults=Fault("server_error"))
    assert {r.passed for r in results if r.name != "master_key"} == {None}
    assert {r.status for r in results if r.name != "master_key"} == {"upstream_error"}


def test_a_rubric_of_checks_is_not_probed():
    assert probed(sober, BUILTIN_RUBRICS["exact"]) == []


def test_a_share_of_the_items_brings_a_probe_along_and_a_failure_changes_no_score():
    metrics = Metrics()
    with FakeOpenAI(obedient("Ignore all previous|experts|winner|Thought")) as server:
        service = service_of(server, canary_share=1.0)
        service.runtime.observer = metrics
        items = [Item(id=f"i{k}", response=f"An answer, number {k}.") for k in range(40)]
        reply = asyncio.run(service.score(ScoreRequest(items=items)))
        again = asyncio.run(service.score(ScoreRequest(items=items, budget={"max_calls": 0})))
    assert {r.reward for r in reply.results} == {0.2}
    assert reply.stats["canaries"] == len(PROBES) and reply.stats["canaries_failed"] == len(PROBES) - 1
    assert any("fell for canary 'order': reward 1.00 instead of 0.20" in w for w in reply.warnings)
    text = metrics.render({}).decode()
    assert 'palaestra_judge_canaries_total{judge="llm",outcome="failed",probe="order"} 1.0' in text
    assert again.usage.calls == 0  # probes obey the budget too


def test_probes_are_off_unless_asked_for():
    with FakeOpenAI(sober) as server:
        reply = asyncio.run(service_of(server).score(ScoreRequest(items=[Item(id="a", response="An answer.")])))
        assert server.hits == 1 and "canaries" not in reply.stats


def test_the_command_exits_with_one_when_an_attack_succeeds():
    with FakeOpenAI(obedient("experts")) as server, judge_server(service_of(server)) as url:
        found = probe_server(JudgeClient(url))
        assert [r.name for r in found if r.passed is False] == ["authority"]
        run = CliRunner().invoke(build_app(), ["judges", "canary", "--url", url, "--json"])
        rows = [json.loads(line) for line in run.output.splitlines()]
        assert run.exit_code == 1 and len(rows) == len(PROBES)
        with pytest.raises(ValueError, match="'nonsense' is not known"):
            probe_server(JudgeClient(url), "nonsense")
        with pytest.raises(ValueError, match="asks no model"):
            probe_server(JudgeClient(url), "exact")


# ---- a judge that changes during a run


def changing(*models):
    """A judge whose replies name one model after the other."""
    return [Reply('{"reasoning": "", "scores": {"overall": 7}}', model=name) for name in models]


def score(service, text, **fields):
    request = ScoreRequest(items=[Item(id="x", response=text)], **fields)
    return asyncio.run(service.score(request))


def test_a_model_that_changes_during_a_run_gives_no_reward():
    with FakeOpenAI(changing("any-2026-01", "any-2026-02", "any-2026-02")) as server:
        service = service_of(server)
        assert score(service, "one", run_id="r").results[0].reward == 0.7
        changed = score(service, "two", run_id="r").results[0]
        assert changed.reward is None and changed.status == "upstream_error" and changed.error.code == "model_changed"
        assert "any-2026-01" in changed.error.message and "any-2026-02" in changed.error.message
        assert score(service, "three", run_id="next").results[0].reward == 0.7  # another run starts with what is there


def test_a_change_may_be_taken_with_a_warning():
    with FakeOpenAI(changing("any-1", "any-2")) as server:
        service = service_of(server, judge={"on_model_change": "warn"})
        score(service, "one")
        reply = score(service, "two")
    assert reply.results[0].reward == 0.7 and any("'any-2'" in w for w in reply.warnings)


def test_a_verdict_of_the_old_model_is_not_taken_from_the_cache():
    from palaestra.judges.base import Runtime
    from palaestra.judges.cache import VerdictCache

    cache = VerdictCache()
    with FakeOpenAI(changing("any-1", "any-2", "any-2")) as server:
        service = service_of(server, runtime=Runtime(cache=cache))
        score(service, "one", run_id="old")  # stored, of any-1
        score(service, "two", run_id="new")  # this run belongs to any-2
        reply = score(service, "one", run_id="new")
        assert server.hits == 3 and not reply.results[0].cached and reply.results[0].reward == 0.7
        assert score(service, "one", run_id="new").results[0].cached
    cache.close()


def test_the_setting_is_part_of_the_configuration():
    from palaestra.judges.server.config import JudgeServerConfig

    row = {"name": "llm", "model": "m", "base_url": "http://127.0.0.1:9/v1", "on_model_change": "warn"}
    app = create_app(JudgeServerConfig(judge=[row], canary_share=0.25))
    service = app.state.judges.service
    assert service.judges["llm"].on_model_change == "warn" and service.canary_share == 0.25
    service.runtime.cache.close()
