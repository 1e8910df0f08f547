"""A judge rubric of your own: what a program can check is checked, the rest is asked of a model.

The server runs in this process; `palaestra serve judges` is the same one as a program.

    python examples/own_rubric.py                                                      # a scripted model, offline
    python examples/own_rubric.py --model Qwen/Qwen3-8B --base-url http://127.0.0.1:8000/v1
"""

import argparse
import contextlib

from palaestra.judges import Criterion, JudgeClient, JudgeService, LLMJudge, ProgrammaticJudge, Rubric
from palaestra.judges.testing import FakeOpenAI, Fault, Oracle, judge_server
from palaestra.lm import OpenAIModel

REPLY = Rubric(
    id="support-reply",
    scale=(0, 10),
    criteria=(
        Criterion(name="names the order", check={"type": "regex", "pattern": r"#\d{4}"}, required=True, weight=0),
        Criterion(name="length", check={"type": "length", "max": 400}, weight=1),
        Criterion(name="helps", description="Says what happens next and when.", weight=3),
        Criterion(name="tone", description="Calm, no blame, no empty phrases.", weight=1),
    ),
    instructions="You read replies of a shop to its customers.",
)

PROMPT = "Order #4711 has not arrived. Where is it?"
REPLIES = {
    "good": "Order #4711 left today; you will have it on Friday. Write to me if it does not come.",
    "curt": "#4711: wait.",
    "forgetful": "It left today; you will have it on Friday.",
    "unlucky": "Order #4711: this reply meets a judge that is out of order.",
}


def scripted() -> FakeOpenAI:
    """A stand-in for a model server: known opinions, and one question it fails to answer."""
    opinions = Oracle(quality={REPLIES["good"]: 3.0, REPLIES["curt"]: -2.0, REPLIES["forgetful"]: 2.0})
    return FakeOpenAI(opinions, faults=lambda ask: Fault("refusal") if "out of order" in ask.text else None)


def main(arguments: list[str] | None = None) -> dict[str, float | None]:
    """Score four replies; returns their rewards."""
    options = argparse.ArgumentParser()
    options.add_argument("--model", default="scripted")
    options.add_argument("--base-url")
    chosen = options.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        base_url = chosen.base_url or stack.enter_context(scripted()).url
        judge = LLMJudge("reader", OpenAIModel(chosen.model, base_url=base_url))
        url = stack.enter_context(judge_server(JudgeService([judge, ProgrammaticJudge()])))
        items = [{"id": name, "prompt": PROMPT, "response": text} for name, text in REPLIES.items()]
        results = JudgeClient(url).score_sync(items, REPLY)
    for result in results:
        print(f"{result.rollout_id:10} {result.status.value:8} reward {result.reward}  {dict(result.scores)}")
    return {result.rollout_id: result.reward for result in results}


if __name__ == "__main__":
    main()
