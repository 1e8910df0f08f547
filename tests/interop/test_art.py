"""ART's RULER, out of the wheel, and our listwise judge, asked a model that lists the responses in another order.

RULER zips scores by position; ours are matched by id. The test holds the difference, so that a change is noticed.
"""

import asyncio
import json
from types import ModuleType, SimpleNamespace

import pytest

from palaestra.judges import JudgeClient, JudgeService, LLMJudge
from palaestra.judges.testing import FakeOpenAI, Oracle, judge_server
from palaestra.lm import OpenAIModel

QUALITY = {"GOOD": 2.0, "BAD": -2.0}


@pytest.fixture
def ruler(unpacked, load_file):
    """Their module with a scripted model that lists the second response first."""

    class Reply:
        def __init__(self, content):
            self.choices = [SimpleNamespace(message=SimpleNamespace(content=content))]

    async def acompletion(**_):
        scores = [("2", 0.9), ("1", 0.1)]
        return Reply(json.dumps({"scores": [{"trajectory_id": i, "explanation": "", "score": s} for i, s in scores]}))

    litellm, utils, types, art = (ModuleType(n) for n in ("litellm", "litellm.types", "litellm.types.utils", "art"))
    litellm.acompletion, types.ModelResponse = acompletion, Reply
    art.Tools = art.Trajectory = art.TrajectoryGroup = object
    stand_ins = {"litellm": litellm, "litellm__types": utils, "litellm__types__utils": types, "art": art}
    return load_file(unpacked("openpipe_art") / "art" / "rewards" / "ruler.py", "art_ruler", **stand_ins)


def test_rewards_go_to_the_response_that_earned_them(ruler):
    said = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text}] for text in ("BAD", "GOOD")]
    theirs = [score.score for score in asyncio.run(ruler.ruler(said, judge_model="scripted"))]
    assert theirs == [0.9, 0.1]  # BAD has got the 0.9 that the judge gave to the second response

    group = {"id": "g", "prompt": "q", "responses": [{"id": t, "response": t} for t in ("BAD", "GOOD")]}
    with FakeOpenAI(Oracle(quality=QUALITY)) as model:
        judge = LLMJudge("scripted", OpenAIModel("any", base_url=model.url))
        with judge_server(JudgeService([judge])) as url:
            ours = {r.rollout_id: r.rank for r in JudgeClient(url).rank_sync(group, method="listwise")}
    assert ours == {"GOOD": 1.0, "BAD": 2.0}
