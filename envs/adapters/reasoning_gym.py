"""reasoning-gym's task families as environments: their generators, safe scoring.

Nine of their scorers run the answer as code; those are never called. Who scores what (``scorer="auto"``):

- families with one right answer: our own comparer (text, or the maths verifier for numbers);
- the nine: our own checkers (Countdown arithmetic, queens on a board, the maths verifier, plain comparison);
- families with many right answers: their scorer, in a child process that is killed when it takes too long.

The reward is 1 or 0. Some of their scorers give up to a quarter for nonsense; their number, less consolation up to
0.05, is only reported in ``scores`` unless ``partial=True`` asks for it as the reward.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from ...names import suggestion
from ...schema import Feedback, Task
from ..arithmetic import NotAnExpression, evaluate, parse
from ..countdown import judge as judge_countdown
from ..forms import SingleTurnEnv
from ..registry import register
from ..replies import visible
from ..turns import Result
from ..worked_out import in_form_of
from .rg_worker import ScorerBroken, score_in_child

# Their scorers of these families pass the answer to eval() or sympy's parse_expr().
UNSAFE = frozenset(
    {
        "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication", "puzzle24",
        "simple_integration", "spiral_matrix", "string_insertion",
    }
)  # fmt: skip

# One right answer and no scorer of their own, or one that only adds tolerance: compared by us.
EXACT = frozenset(
    {
        "acre", "aiw", "arc_1d", "base_conversion", "basic_arithmetic", "bf", "binary_alternation", "caesar_cipher",
        "chain_sum", "complex_arithmetic", "count_bits", "count_primes", "course_schedule", "game_of_life_halting",
        "gcd", "gsm_symbolic", "isomorphic_strings", "largest_island", "lcm", "leg_counting", "letter_counting",
        "list_functions", "mahjong_puzzle", "maze", "modulo_grid", "number_filtering", "number_sequence", "products",
        "ransom_note", "rectangle_count", "rotate_matrix", "rotten_oranges", "simple_equations", "simple_geometry",
        "spell_backward", "string_manipulation", "string_splitting", "string_synthesis", "syllogism",
        "word_sequence_reversal",
    }
)  # fmt: skip

# The stored answer is rounded, and their scorer gives full marks within a wide margin.
ROUNDED = frozenset({"coin_flip"})

# No single answer is stored, so there is no reply that is known to be right.
NO_ORACLE = frozenset({"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"})

CONSOLATION = 0.05
# Knobs of a family that say how large an item is: beyond this, making one takes minutes of the server's time.
MAX_SIZE = 1000
_SIZES = re.compile(
    r"terms|digits|size|length|rows|cols|width|height|nodes|words|steps|disks|depth|vertices|count|(^|_)n$"
)
SCORERS = ("auto", "exact", "theirs")

_ASK = "\n\nGive the final answer between <answer> and </answer>."


class ReasoningGym(SingleTurnEnv):
    """Any reasoning-gym family, by name, with its own knobs.

    Example:
        ``make("palaestra/ReasoningGym-v0", name="chain_sum", min_terms=2, max_terms=3)``
    """

    blocking = True  # some generators and the scoring process take milliseconds

    def task(
        self,
        rng: np.random.Generator,
        name: str = "chain_sum",
        scorer: str = "auto",
        partial: bool = False,
        **config: Any,
    ) -> Task:
        """Draw one item.

        Args:
            rng: drawn from by ``reset(seed=)``.
            name: family.
            scorer: ``auto``, ``exact`` (our comparer against the stored answer) or ``theirs`` (refused for the unsafe).
            partial: partial credit of their scorers counts as reward.
            **config: the family's own knobs.
        """
        if scorer not in SCORERS:
            raise ValueError(f"scorer={scorer!r}: choose one of {', '.join(SCORERS)}")
        if scorer == "theirs" and name in UNSAFE:
            raise ValueError(
                f"reasoning-gym's scorer of {name!r} runs the answer as code, so it is never called; use scorer='auto'"
            )
        item_seed = int(rng.integers(2**31 - 1))
        item = item_of(name, item_seed, config)
        metadata = {
            "family": name,
            "scorer": scorer,
            "partial": partial,
            "item_seed": item_seed,
            "config": config,
            "item": item.get("metadata", {}),
        }
        return Task(prompt=str(item["question"]) + _ASK, answer=str(item["answer"]), metadata=metadata)

    def verify(self, task: Task, response: str) -> Result:
        """Judge by the scorer the family calls for."""
        answer = extract(response)
        info = {"extracted": answer[:2000]}
        if answer == "":
            return Result(0.0, Feedback(text="The reply is empty.", kind="format"), "no_answer", info=info)
        name, scorer = task.metadata["family"], task.metadata["scorer"]
        if scorer == "theirs" or (scorer == "auto" and name not in EXACT | UNSAFE | ROUNDED):
            try:
                score = score_in_child(name, task.metadata["item_seed"], task.metadata["config"], answer)
            except ScorerBroken as exc:
                return Result(None, error=str(exc))
            score = min(score, 1.0) if score > CONSOLATION else 0.0  # so that nan is 0
        else:
            score = float(compare(name if scorer == "auto" else "", task, answer))
        reward = score if task.metadata["partial"] else float(score >= 1.0)
        text = "Correct." if score >= 1.0 else "Incorrect." if reward == 0.0 else "Partly correct."
        reason = "correct" if score >= 1.0 else "wrong" if reward == 0.0 else "partly_correct"
        return Result(reward, text, reason, {"score": score}, info=info)

    def solution(self, task: Task) -> str | None:
        """The stored answer, where one is stored."""
        return None if task.metadata["family"] in NO_ORACLE else f"<answer>{task.answer}</answer>"


def families() -> list[str]:
    """All family names of the installed version, sorted."""
    return sorted(_library().factory.DATASETS)


def item_of(name: str, seed: int, config: dict[str, Any]) -> dict[str, Any]:
    """One generated item.

    Raises:
        ValueError: unknown family or knob.
    """
    library = _library()
    if name not in library.factory.DATASETS:
        hint = suggestion(name, library.factory.DATASETS, "none is close")
        raise ValueError(f"reasoning-gym has no family {name!r}; {hint}")
    for knob, value in config.items():
        if isinstance(value, int | float) and value > MAX_SIZE and _SIZES.search(knob):
            raise ValueError(f"reasoning-gym {name}: {knob}={value!r:.40}: give at most {MAX_SIZE}")
    try:
        return library.create_dataset(name, seed=seed, size=1, **config)[0]
    except (TypeError, AssertionError) as exc:
        raise ValueError(f"reasoning-gym {name}: {exc}; its knobs are {', '.join(_knobs(library, name))}") from None


def compare(name: str, task: Task, answer: str) -> bool:
    """Our own judgement of an answer; ``name`` picks a checker of its own for the families that need one."""
    item = task.metadata["item"]
    if name == "countdown":
        return judge_countdown(answer, item["numbers"], item["target"], use_all=True).reward == 1.0
    if name == "puzzle24":
        return judge_countdown(answer, item["numbers"], 24, use_all=True).reward == 1.0
    if name == "n_queens":
        return queens(item["puzzle"], answer)
    gold = task.answer
    if name in ROUNDED:
        return near(gold, answer)
    if _flat(answer) == _flat(gold):
        return True
    from ..verify import verify

    if not _is_value(gold) or not in_form_of(answer, gold):  # the question's own arithmetic is no answer
        return False
    return verify(gold, f"\\boxed{{{answer}}}").ok


def near(gold: str, answer: str) -> bool:
    """Whether two decimals or fractions agree to six digits, for families whose stored answer is rounded."""
    try:
        a, b = (float(evaluate(parse(text)) if "/" in text else Decimal(text)) for text in (gold, answer.strip()[:60]))
    except (NotAnExpression, InvalidOperation, ZeroDivisionError, OverflowError):
        return False
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


def queens(puzzle: list[list[str]], answer: str) -> bool:
    """Whether ``answer`` is a board with the puzzle's queens in which no two attack each other."""
    size = len(puzzle)
    rows = [line.split() for line in answer.strip().splitlines()]
    if len(rows) != size or any(len(row) != size or set(row) - {"Q", "_"} for row in rows):
        return False
    placed = [(r, c) for r in range(size) for c in range(size) if rows[r][c] == "Q"]
    if any(puzzle[r][c] == "Q" and rows[r][c] != "Q" for r in range(size) for c in range(size)):
        return False
    distinct = ({r for r, _ in placed}, {c for _, c in placed}, {r + c for r, c in placed}, {r - c for r, c in placed})
    return len(placed) == size and all(len(group) == size for group in distinct)


def extract(response: str) -> str:
    """The last ``<answer>``, else the last box without braces in it, else the whole reply."""
    text = visible(response, 20_000)
    start = text.rfind("<answer>")
    if start >= 0:
        return text[start + len("<answer>") :].partition("</answer>")[0].strip()
    boxed = re.findall(r"\\boxed\{([^{}]{0,2000})\}", text)
    return boxed[-1].strip() if boxed else text.strip()


def _flat(text: str) -> str:
    return " ".join(str(text).split()).casefold()


def _is_value(gold: str) -> bool:
    """Whether a stored answer is a number or a formula, and not words in which the maths verifier would see values."""
    return len(gold) <= 200 and re.search(r"[\d]", gold) is not None and re.search(r"[A-Za-z]{3,}", gold) is None


def _knobs(library: Any, name: str) -> list[str]:
    import dataclasses

    config = library.factory.DATASETS[name][1]
    return [field.name for field in dataclasses.fields(config) if field.name not in ("seed", "size")]


def _library() -> Any:
    try:
        import reasoning_gym
        import reasoning_gym.factory
    except ImportError:
        raise ValueError("this environment needs reasoning-gym; pip install 'palaestra[tasks]'") from None
    return reasoning_gym


register("palaestra/ReasoningGym-v0", ReasoningGym)
