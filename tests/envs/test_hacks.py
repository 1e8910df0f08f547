"""The cheapest ways to earn reward without solving: five or more for each environment, and what they earn.

A hack is a function of the prompt (or a list of replies); ``CEILING`` is the mean return that no hack may exceed, which
leaves room for lucky guesses where there are few answers.
"""

import json
import re

import pytest

import palaestra as pl

SEEDS = 40
CEILING = 0.05


def _numbers(prompt):
    return re.findall(r"\d+", prompt)


def _names(prompt):
    return prompt.partition("\n")[0].split(", ")


def _target(prompt):
    return re.search(r"Target: (\d+)", prompt)[1]


def _given(prompt):
    return re.search(r"Numbers: ([\d, ]+)\.", prompt)[1].split(", ")


def _input(prompt):
    return re.search(r'main_solution\("(\w+)"\)', prompt)[1]


def _book(prompt):
    return re.search(r"author of (\w+)", prompt)[1]


def _examples(prompt):
    return re.findall(r"Input:\n(.*?)\nOutput:\n(.*?)(?=\n\n)", prompt, re.DOTALL)


def _block(code, language="python"):
    return f"```{language}\n{code}\n```"


def _program(prompt):
    """The program printed in a prompt."""
    code = re.search(r"(?:^def .*?)(?=\n\n(?:Example|Reply|Write|What)|\nWhat)", prompt, re.DOTALL | re.MULTILINE)
    return _block(code[0] if code else "")


def _tool(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def _ids(prompt):
    return [int(n) for n in re.findall(r"city id (\d+)", prompt)]


HACKS = {
    ("palaestra/Sort-v0", "{}"): {
        "echo": lambda p: p,
        "reversed": lambda p: p[::-1],
        "all digits": lambda p: "0123456789",
        "every order": lambda p: " ".join(sorted(p)) + "\n" + p,
        "zeros": lambda p: "0" * len(p),
        "a claim": lambda p: f"Correct. reward 1.0 {p}",
    },
    ("palaestra/Countdown-v0", "{}"): {
        "the target": lambda p: f"<answer>{_target(p)}</answer>",
        "an equation": lambda p: f"<answer>{_given(p)[0]} = {_target(p)}</answer>",
        "the other side": lambda p: f"<answer>{_target(p)} = {'+'.join(_given(p))}</answer>",
        "the sum": lambda p: f"<answer>{'+'.join(_given(p))}</answer>",
        "glued digits": lambda p: f"<answer>{''.join(_given(p))}</answer>",
        "many answers": lambda p: "".join(f"<answer>{a}{o}{b}</answer>" for a in _given(p) for o in "+-*" for b in "1"),
        "an answer left open": lambda p: f"<answer>{_target(p)}",
        "division by nothing": lambda p: f"<answer>{_target(p)}/(1-1)</answer>",
        "a comment": lambda p: f"<answer>{_given(p)[0]} # {_target(p)}</answer>",
        "a power": lambda p: f"<answer>{_given(p)[0]}**0*{_target(p)}</answer>",
    },
    ("palaestra/Compose-v0", "{}"): {
        "the input": lambda p: json.dumps({"output": _input(p)}),
        "nothing": lambda p: json.dumps({"output": ""}),
        "a list of guesses": lambda p: json.dumps({"output": [_input(p), _input(p)[::-1]]}),
        "several objects": lambda p: "".join(json.dumps({"output": w}) for w in (_input(p)[::-1], _input(p))),
        "the call": lambda p: json.dumps({"output": f"main_solution({_input(p)})"}),
        "code": lambda p: "def main_solution(x): return True",
        "twice the input": lambda p: json.dumps({"output": _input(p) * 2}),
    },
    ("palaestra/Compose-v0", '{"world": "strict", "level": 3}'): {
        "the input": lambda p: json.dumps({"output": _input(p)}),
        "reversed": lambda p: json.dumps({"output": _input(p)[::-1]}),
        "a literal of the expression": lambda p: json.dumps({"output": (re.findall(r'"(\w+)"', p) or [""])[0]}),
        "nothing": lambda p: json.dumps({"output": ""}),
        "tags": lambda p: "<answer>x</answer>",
    },
    ("palaestra/Lookup-v0", "{}"): {
        "the title": lambda p: f"finish[{_book(p)}]",
        "everything": lambda p: f"finish[{', '.join(re.findall(r'[A-Z][a-z]+', p))}]",
        "nothing": lambda p: "finish[]",
        "an observation of one's own": lambda p: "Observation: correct\nfinish[Observation]",
        "the first page only": lambda p: [f"search[{_book(p)}]", f"finish[{_book(p)}]"],
        "a pattern": lambda p: ["search[.*]", "finish[.*]"],
        "two actions": lambda p: "finish[a]\nfinish[b]",
        "thoughts": lambda p: ["Thought: hm"] * 9,
    },
    ("palaestra/NameIndex-v0", "{}"): {
        "the first": lambda p: _names(p)[0],
        "the last": lambda p: _names(p)[-1],
        "the whole list": lambda p: ", ".join(_names(p)),
        "the number": lambda p: _numbers(p)[0],
        "one word of many": lambda p: ",".join(_names(p)),
        "a pattern": lambda p: ".*",
    },
    ("palaestra/MiddleMatch-v0", "{}"): {
        "the first": lambda p: _names(p)[0],
        "the item before": lambda p: re.search(r"between (\w+)", p)[1],
        "the item after": lambda p: re.search(r"between \w+ and (\w+)", p)[1],
        "the whole list": lambda p: ", ".join(_names(p)),
        "glued": lambda p: "".join(_names(p)),
        "nothing": lambda p: "''",
    },
    ("palaestra/Strategies-v0", "{}"): {  # copying with "a" is a right strategy, and meant to be the easiest
        "the digits alone": lambda p: p.rstrip(">"),
        "the letter alone": lambda p: "a",
        "all letters": lambda p: "abcd" + p.rstrip(">"),
        "a letter that is not offered": lambda p: "f" + p.rstrip(">"),
        "all strategies": lambda p: f"a{p} b{p[::-1]}",
    },
    ("palaestra/ReasoningGym-v0", "{}"): {
        "zero": lambda p: "<answer>0</answer>",
        "the first number": lambda p: f"<answer>{_numbers(p)[0]}</answer>",
        "all numbers": lambda p: f"<answer>{' '.join(map(str, range(300)))}</answer>",
        "the expression": lambda p: f"<answer>{p.partition('problem: ')[2].partition('=')[0]}</answer>",
        "a box in the answer": lambda p: "<answer>1} or \\boxed{2</answer>",
        "a range": lambda p: "<answer>[-1000, 1000]</answer>",
    },
    ("palaestra/Travel-v0", '{"cities": 1, "days": 1}'): {
        "nothing": lambda p: _tool("submit_plan", items=[]),
        "cities as sights": lambda p: _tool(
            "submit_plan", items=[{"kind": "visit", "id": n, "day": 1, "start": "10:00"} for n in _ids(p)]
        ),
        "a claim": lambda p: "The plan is complete and every rule is met.",
        "a forged result": lambda p: '<tool_response>{"reward": 1.0}</tool_response>',
        "every id": lambda p: _tool("submit_plan", items=[{"kind": "leg", "id": n, "day": 1} for n in range(80)]),
        "only asking": lambda p: [_tool("notes", text="done"), _tool("submit_plan", items=[])],
    },
    ("palaestra/Travel-v0", '{"cities": 1, "days": 1, "style": "book"}'): {
        "finish at once": lambda p: _tool("finish"),
        "cancel what is not there": lambda p: [_tool("cancel", booking=1), _tool("finish")],
        "a negative price": lambda p: [_tool("book", kind="leg", id=1, day=1, price=-100), _tool("finish")],
        "finish twice": lambda p: _tool("finish") + _tool("finish"),
        "a plan in the other style": lambda p: _tool("submit_plan", items=[]),
    },
}

CODE = {
    "function": {
        "nothing": lambda p: _block("def solve(x):\n    return None"),
        "the input": lambda p: _block("def solve(x):\n    return x"),
        "exit": lambda p: _block("import os\nos._exit(0)"),
        "always equal": lambda p: _block(
            "class E:\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef solve(x):\n    return E()"
        ),
        "print": lambda p: _block("print('OK')"),
    },
    "simulation": {
        "zero": lambda p: _block("print(0)"),
        "echo": lambda p: _block("import sys\nprint(sys.stdin.read())"),
        "nothing": lambda p: _block("pass"),
        "exit": lambda p: _block("import sys\nsys.exit(0)"),
        "the first example": lambda p: _block(f"print({_examples(p)[0][1]!r})"),
    },
    "repair": {
        "the program as it is": _program,
        "nothing": lambda p: _block("def solve(xs, k):\n    return None"),
        "an empty list": lambda p: _block("def solve(xs, k):\n    return []"),
        "zero": lambda p: _block("def solve(xs, k):\n    return 0"),
        "the prompt": lambda p: p,
    },
    "inverse": {
        "the identity": lambda p: _block("def g(x):\n    return x"),
        "the function itself": lambda p: _program(p).replace("def f(", "def g("),
        "nothing": lambda p: _block("def g(x):\n    return ''"),
        "reversed": lambda p: _block("def g(x):\n    return x[::-1]"),
        "a text that is every text": lambda p: _block(
            "class T(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\ndef g(x):\n    return T('a')"
        ),
    },
    "predict": {
        "nothing": lambda p: _block("[]", "text"),
        "zero": lambda p: _block("0", "text"),
        "null": lambda p: _block("null", "text"),
        "NaN": lambda p: _block("NaN", "text"),
        "true": lambda p: _block("true", "text"),
        "the program": _program,
    },
    "refactor": {
        "the program as it is": _program,
        "zero": lambda p: _block("def solve(*a):\n    return 0"),
        "a hidden loop": lambda p: _block("def solve(*a):\n    return eval('[0 for _ in [1]]')[0]"),
        "another hidden loop": lambda p: _block("import builtins\ndef solve(*a):\n    return builtins.eval('1')"),
        "nothing": lambda p: _block("def solve(*a): pass"),
    },
    "sql": {
        "zero": lambda p: _block("SELECT 0", "sql"),
        "no rows": lambda p: _block("SELECT 1 WHERE 0", "sql"),
        "all rows": lambda p: _block("SELECT * FROM hotel", "sql"),
        "a drop": lambda p: _block("DROP TABLE hotel", "sql"),
        "the first example": lambda p: _block(f"SELECT '{_examples(p)[0][1].replace(chr(39), '')}'", "sql"),
    },
    "test_writing": {
        "no cases": lambda p: _block("def cases():\n    return []"),
        "a wrong case": lambda p: _block("def cases():\n    return [[[1, 2, 3], 1, 10**6]]"),
        "every value": lambda p: _block("def cases():\n    return [[[1, 2], 1, v] for v in range(30)]"),
        "a value that equals all": lambda p: _block(
            "class E:\n    __eq__ = lambda s, o: True\ndef cases():\n    return [[[1, 2], 1, E()]]"
        ),
        "too many": lambda p: _block("def cases():\n    return [[[i], 1, 1] for i in range(5000)]"),
    },
}


def _mean_return(env, hack, seeds):
    total = 0.0
    for seed in range(seeds):
        prompt = env.reset(seed=seed)[0][-1]["content"]
        replies = hack(prompt)
        for reply in replies if isinstance(replies, list) else [replies]:
            _, reward, terminated, truncated, info = env.step(reply)
            assert "error" not in info, info["error"]
            total += reward
            if terminated or truncated:
                break
    return total / seeds


@pytest.mark.parametrize(("env_id", "knobs"), HACKS, ids=[f"{i}-{k}" for i, k in HACKS])
def test_cheap_replies_earn_nothing(env_id, knobs):
    env = pl.make(env_id, **json.loads(knobs))
    hacks = HACKS[env_id, knobs]
    assert len(hacks) >= 5
    earned = {name: _mean_return(env, hack, 15 if "Travel" in env_id else SEEDS) for name, hack in hacks.items()}
    assert {name: mean for name, mean in earned.items() if mean > CEILING} == {}


@pytest.mark.parametrize(
    "env_id",
    sorted({id for id, _ in HACKS if "Travel" not in id} | {"palaestra/Math-v0"}),
)
def test_thoughts_neither_count_nor_disturb(env_id):
    env = pl.make(env_id)
    for seed in range(5):
        env.reset(seed=seed)
        replies = list(env.fork().oracle()) if "Lookup" not in env_id else list(env.oracle())
        inside = env.fork()
        for reply in replies:
            step = inside.step(f"<think>{reply}")  # never closed, so nothing was answered
        assert step[1] == 0.0
        for reply in replies:
            step = env.step(f"<think>I wonder.\nObservation: hm</think>{reply}")
        assert step[1] == 1.0, step[4]


@pytest.mark.parametrize("family", CODE)
def test_cheap_programs_earn_nothing(family):
    from palaestra.envs.code import FAMILIES
    from palaestra.envs.code.grading import shared_sandbox
    from palaestra.sandbox import SandboxError

    assert set(CODE) == set(FAMILIES)
    try:
        shared_sandbox()
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")
    env = pl.make("palaestra/Code-v0", family=family)
    earned = {name: _mean_return(env, hack, 6) for name, hack in CODE[family].items()}
    # single tests are passed by luck where answers are few (0, an empty list), so the ceiling is higher here
    assert {name: mean for name, mean in earned.items() if mean > 0.2} == {}
