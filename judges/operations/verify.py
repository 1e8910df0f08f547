"""Grader objects in the words of OpenAI graders, with one error boolean for each way they can fail."""

from __future__ import annotations

import ast
import asyncio
import math
import operator
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from ...schema import RewardStatus
from ..base import Judge
from ..checkers import run_check
from ..context import Context
from ..problems import Problem
from ..rubric import Criterion, Rubric
from ..textprep import gate
from ..types import BadItem, ErrorInfo, Item, VerifyReply, VerifyRequest, VerifyResult, as_text
from .score import bad_item

if TYPE_CHECKING:
    from ..service import JudgeService

TYPES = ("string_check", "text_similarity", "python", "score_model", "label_model", "multi", "check")
ERRORS = (
    "formula_parse_error", "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
    "invalid_variable_error", "other_error", "python_grader_server_error", "python_grader_runtime_error",
    "model_grader_server_error", "model_grader_refusal_error", "model_grader_parse_error",
)  # fmt: skip
_ERROR_OF = {
    RewardStatus.REFUSAL: "model_grader_refusal_error",
    RewardStatus.PARSE_ERROR: "model_grader_parse_error",
    RewardStatus.UPSTREAM_ERROR: "model_grader_server_error",
    RewardStatus.RATE_LIMITED: "model_grader_server_error",
    RewardStatus.TIMEOUT: "unresponsive_reward_error",
    RewardStatus.TRUNCATED_INPUT: "truncated_observation_error",
    RewardStatus.INVALID_INPUT: "sample_parse_error",
}
MAX_DEPTH = 3


async def verify(service: JudgeService, request: VerifyRequest, context: Context) -> VerifyReply:
    """Grade every item."""
    judge = service.judge_for(request)
    check_grader(request.verifier, service.allow_python)

    async def one(item: Item | BadItem) -> VerifyResult:
        if isinstance(item, BadItem):
            result = VerifyResult(**bad_item(item).model_dump(), errors=_errors(RewardStatus.INVALID_INPUT))
        else:
            result = await grade(judge, request.verifier, item, context)
        context.finished(result)
        return result

    return VerifyReply(results=list(await asyncio.gather(*(one(item) for item in request.items))))


def check_grader(grader: Mapping[str, Any], allow_python: bool, depth: int = 0) -> None:
    """Refuse a grader that cannot work, before anything is paid for.

    Raises:
        Problem: 422 naming the field.
    """
    kind = grader.get("type")
    if kind not in TYPES:
        raise Problem(422, "unknown_verifier", f"verifier.type is {kind!r}; known: {', '.join(TYPES)}")
    if kind == "python" and not allow_python:
        raise Problem(
            422,
            "python_disabled",
            "verifier.type 'python' is off; set allow_python = true in the server's configuration",
        )
    if kind == "multi":
        graders = grader.get("graders")
        if depth >= MAX_DEPTH or not isinstance(graders, Mapping) or not graders:
            raise Problem(422, "invalid_verifier", "verifier.graders must be a non-empty object, at most 3 levels deep")
        for inner in graders.values():
            check_grader(inner, allow_python, depth + 1)
        try:
            Formula(str(grader.get("calculate_output", "")), set(graders))
        except ValueError as error:
            raise Problem(422, "formula_parse_error", f"verifier.calculate_output: {error}") from error
    if kind == "label_model":
        labels, passing = grader.get("labels"), grader.get("passing_labels")
        if (
            not isinstance(labels, list)
            or len(labels) < 2
            or not isinstance(passing, list)
            or not set(passing) <= set(labels)
        ):
            raise Problem(422, "invalid_verifier", "verifier.labels needs two or more, passing_labels a part of them")


def _errors(status: RewardStatus, detail: str | None = None) -> dict[str, bool]:
    name = detail or (None if status in (RewardStatus.OK, RewardStatus.GATED) else _ERROR_OF.get(status, "other_error"))
    return {key: key == name for key in ERRORS}


def _failed(item: Item, status: RewardStatus, message: str, detail: str | None = None) -> VerifyResult:
    error = ErrorInfo(code=detail or status.value, message=message)
    return VerifyResult(id=item.id, status=status, error=error, errors=_errors(status, detail))


def _scored(item: Item, value: float, **more: Any) -> VerifyResult:
    return VerifyResult(
        id=item.id, status=RewardStatus.OK, score=value, reward=value, errors=_errors(RewardStatus.OK), **more
    )


async def grade(judge: Judge, grader: Mapping[str, Any], item: Item, context: Context) -> VerifyResult:
    """Grade one item with one grader object."""
    kind = grader["type"]
    text = as_text(item.response)
    try:
        if kind == "string_check":
            return _scored(item, float(_string_check(grader, text, item)))
        if kind == "text_similarity":
            return _text_similarity(grader, text, item)
        if kind == "check":
            settings = grader.get("check") or {}
            found = await asyncio.to_thread(run_check, settings, text, item)
            if found.score is None:
                return _failed(item, found.status, found.evidence or "")
            return _scored(item, found.score)
        if kind == "python":
            from ..sandboxed import python_grade

            fields = {"reference": item.reference, "prompt": as_text(item.prompt), **item.metadata}
            source = str(grader.get("source", ""))
            score, problem = await asyncio.to_thread(python_grade, source, {"output_text": text}, fields)
            if score is None:
                return _failed(item, RewardStatus.UPSTREAM_ERROR, problem, "python_grader_runtime_error")
            return _scored(item, score)
        if kind == "label_model":
            return await _label_model(judge, grader, item, context)
        if kind == "score_model":
            return await _score_model(judge, grader, item, context)
        return await _multi(judge, grader, item, context)
    except (TypeError, ValueError, KeyError) as error:
        return _failed(item, RewardStatus.INVALID_INPUT, f"verifier {kind!r}: {error}", "invalid_variable_error")


def fill(template: Any, text: str, item: Item) -> str:
    """A grader's template with ``{{sample.output_text}}``, ``{{item.reference}}`` and ``{{item.NAME}}`` put in.

    One pass of plain substitution: braces inside the values stay what they are.
    """
    if not isinstance(template, str):
        return str(template)
    values = {"sample.output_text": text, "item.reference": item.reference, "item.prompt": as_text(item.prompt)}
    values |= {f"item.{key}": value for key, value in item.metadata.items()}
    parts = template.split("{{")
    out = [parts[0]]
    for part in parts[1:]:
        name, closing, rest = part.partition("}}")
        if not closing:
            out.append("{{" + part)
            continue
        if name.strip() not in values:
            raise ValueError(f"{{{{{name.strip()}}}}} is not known; use {sorted(values)}")
        out += [str(values[name.strip()]), rest]
    return "".join(out)


def _string_check(grader: Mapping[str, Any], text: str, item: Item) -> bool:
    given = fill(grader.get("input", "{{sample.output_text}}"), text, item)
    wanted = fill(grader.get("reference", "{{item.reference}}"), text, item)
    tests: dict[str, Callable[[str, str], bool]] = {
        "eq": operator.eq,
        "ne": operator.ne,
        "like": lambda a, b: b in a,
        "ilike": lambda a, b: b.casefold() in a.casefold(),
    }
    name = grader.get("operation", "eq")
    if name not in tests:
        raise ValueError(f"operation is {name!r}; known: {', '.join(tests)}")
    return tests[name](given, wanted)


def _text_similarity(grader: Mapping[str, Any], text: str, item: Item) -> VerifyResult:
    metric = grader.get("evaluation_metric", "fuzzy_match")
    given = fill(grader.get("input", "{{sample.output_text}}"), text, item)
    wanted = fill(grader.get("reference", "{{item.reference}}"), text, item)
    if metric != "fuzzy_match":
        return _failed(
            item, RewardStatus.UNSUPPORTED, f"evaluation_metric {metric!r} is not supported; use 'fuzzy_match'"
        )
    if len(given) > 20_000 or len(wanted) > 20_000:
        return _failed(item, RewardStatus.TRUNCATED_INPUT, "fuzzy_match takes at most 20000 characters")
    value = SequenceMatcher(None, given, wanted, autojunk=False).ratio()
    result = _scored(item, value)
    result.flags.append("not_semantic")
    return result


async def _label_model(judge: Judge, grader: Mapping[str, Any], item: Item, context: Context) -> VerifyResult:
    reason = gate(as_text(item.response))
    if reason is not None:
        result = _scored(item, 0.0, flags=["gated"])
        result.status = RewardStatus.GATED
        return result
    found = await judge.label(str(grader.get("instructions", "")), item, [str(x) for x in grader["labels"]], context)
    if not found.ok or found.values is None:
        return _failed(item, found.status, found.error.message if found.error else "")
    label = found.values["label"]
    return _scored(item, float(label in grader["passing_labels"]), flags=[f"label:{label}"[:100]], cached=found.cached)


async def _score_model(judge: Judge, grader: Mapping[str, Any], item: Item, context: Context) -> VerifyResult:
    low, high = grader.get("range", (0.0, 1.0))
    instructions = str(grader.get("instructions") or "How well the response does what the prompt asks.")
    rubric = Rubric(criteria=(Criterion(name="score", description=instructions),), scale=(float(low), float(high)))
    found = await judge.score_item(item, rubric, context)
    fields = {**found.model_dump(), "reward": found.score}
    return VerifyResult(**fields, errors=_errors(found.status))


async def _multi(judge: Judge, grader: Mapping[str, Any], item: Item, context: Context) -> VerifyResult:
    graders = grader["graders"]
    results = await asyncio.gather(*(grade(judge, inner, item, context) for inner in graders.values()))
    by_name = dict(zip(graders, results, strict=True))
    parts = {name: r.reward for name, r in by_name.items()}
    formula = Formula(str(grader["calculate_output"]), set(graders))
    missing = [by_name[name] for name in sorted(formula.names) if by_name[name].reward is None]
    if missing:
        failed = missing[0]
        return VerifyResult(
            id=item.id, status=failed.status, error=failed.error, errors=failed.errors, sub_rewards=parts
        )
    try:
        value = formula({name: float(r) for name, r in parts.items() if r is not None})
    except (ArithmeticError, ValueError) as error:
        result = _failed(item, RewardStatus.INVALID_INPUT, f"calculate_output: {error}", "other_error")
        result.sub_rewards = parts
        return result
    return _scored(item, value, sub_rewards=parts)


_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "ceil": math.ceil, "sqrt": math.sqrt, "exp": math.exp,
    "log": math.log,
}  # fmt: skip


class Formula:
    """Arithmetic over grader names: ``+ - * /``, numbers, and min, max, abs, floor, ceil, sqrt, exp, log.

    The text is parsed and walked, never evaluated as Python.

    Raises:
        ValueError: anything else in the text, or an unknown name.
    """

    def __init__(self, text: str, names: set[str]):
        if not 0 < len(text) <= 1000:
            raise ValueError(f"must have 1 to 1000 characters, has {len(text)}")
        try:
            self._tree = ast.parse(text, mode="eval").body
        except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
            raise ValueError(f"cannot be read: {error}") from error
        self.names: set[str] = set()
        self._check(self._tree, names)

    def __call__(self, values: Mapping[str, float]) -> float:
        result = float(self._value(self._tree, values))
        if not math.isfinite(result):
            raise ValueError(f"the result is {result}")
        return result

    def _check(self, node: ast.AST, names: set[str]) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return
        if isinstance(node, ast.Name):
            if node.id not in names:
                raise ValueError(f"{node.id!r} is no grader; known: {sorted(names)}")
            self.names.add(node.id)
            return
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            self._check(node.left, names)
            self._check(node.right, names)
            return
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return self._check(node.operand, names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            if node.keywords or not node.args:
                raise ValueError(f"{node.func.id} takes plain arguments")
            for argument in node.args:
                self._check(argument, names)
            return
        raise ValueError(f"{type(node).__name__} is not allowed; use + - * / and {', '.join(_FUNCTIONS)}")

    def _value(self, node: Any, values: Mapping[str, float]) -> float:
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](self._value(node.left, values), self._value(node.right, values))
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, values)
            return -value if isinstance(node.op, ast.USub) else value
        assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id](*(self._value(argument, values) for argument in node.args))
