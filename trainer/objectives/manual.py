"""The manual page of the objectives, made from the registry: `python -m palaestra.trainer.objectives.manual`."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any

from .registry import rows as all_rows
from .types import Method

HEADER = """# Objectives

Made from the registry by `python -m palaestra.trainer.objectives.manual > docs/objectives.md`; do not edit by hand.

An objective is chosen in a run file, its parameters stand beside its name:

```toml
[objective]
name = "uniqueness"
alpha = 0.5
kl_coef = 0.001
```

Notation: r reward, A advantage, G rollouts of a group, rho = pi / pi_old of a token, sg = no gradient. A rollout that
could not be scored has no reward: it is in no mean and trains nothing. Groups with fewer than two scored rollouts get
advantage 0. Standard deviations are unbiased unless `ddof` says otherwise.

Other packages add objectives through the entry-point group `palaestra.objectives`; see `examples/own_objective.py`.

| name | what it does | paper |
|---|---|---|
"""


NEEDS = {
    "group": "groups of two or more",
    "clusters": "a judge server that partitions, or an environment that names its solutions",
    "ranks": "a judge server that compares",
    "binary": "rewards of 0 and 1",
    "answers": "tasks with a text or number as reference answer",
    "teacher": "a stronger model with the policy's tokenizer",
    "amateur": "a weaker model with the policy's tokenizer",
    "local_reward": "a differentiable reward in torch, in this process",
}
"""What `Method.requires` means, for people."""


def needs(row: Method) -> str:
    """What a run must have for this method."""
    return "; ".join(NEEDS[requirement] for requirement in row.requires) or "nothing in particular"


def documentation(params: type) -> dict[str, str]:
    """Docstrings of the fields of a parameter class, inherited ones included."""
    return {name: text for owner in reversed(params.__mro__) for name, text in _own_documentation(owner).items()}


@cache
def _own_documentation(owner: type) -> dict[str, str]:
    """Docstrings under the fields that a class itself declares."""
    if owner.__module__.startswith(("pydantic", "builtins")):
        return {}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError):  # a class made in a shell has no source
        return {}
    found: dict[str, str] = {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for node, after in pairwise(body):
        text = after.value if isinstance(after, ast.Expr) else None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(text, ast.Constant):
            found[node.target.id] = " ".join(str(text.value).split())
    return found


def shown(value: Any) -> str:
    """A default as it would stand in a run file."""
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def section(row: Method) -> str:
    """The part of one method."""
    notes = documentation(row.params)
    from .methods.common import PolicyParams

    lines = [f"## {row.name}", "", f"{row.summary[0].upper()}{row.summary[1:]}. Paper: {row.paper}.", ""]
    lines += [f"- **Formula**: `{row.formula}`", f"- **When**: {row.when}", f"- **Cost**: {row.cost}"]
    lines += [f"- **Needs**: {needs(row)}", f"- **Parts**: {row.parts}", ""]
    own = []
    for name, field in row.params.model_fields.items():
        shared = PolicyParams.model_fields.get(name)
        if shared is None or shared.default != field.default:
            own.append(f"| `{name}` | {shown(field.default)} | {notes.get(name, '')} |")
    if own:
        lines += ["| parameter | default | meaning |", "|---|---|---|", *own, ""]
    takes = [name for name in PolicyParams.model_fields if name in row.params.model_fields]
    if takes:
        clips = "" if "dual_clip" in takes else ", except those of the clip"
        lines += [f"Takes the shared parameters too{clips}.", ""]
    return "\n".join(lines)


def page() -> str:
    """The whole page as Markdown."""
    from .methods.common import PolicyParams

    rows = all_rows()
    table = "".join(f"| [`{row.name}`](#{row.name}) | {row.summary} | {row.paper} |\n" for row in rows)
    notes = documentation(PolicyParams)
    shared = "".join(
        f"| `{name}` | {shown(field.default)} | {notes.get(name, '')} |\n"
        for name, field in PolicyParams.model_fields.items()
    )
    head = f"{HEADER}{table}\n## Shared parameters\n\n| parameter | default | meaning |\n|---|---|---|\n{shared}\n"
    return head + "\n".join(section(row) for row in rows)


if __name__ == "__main__":
    sys.stdout.write(page())
