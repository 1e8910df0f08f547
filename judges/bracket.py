"""Rankings and their matches as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree


def _number(value: Any, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def ranking_table(group: str, ranking: Sequence[Mapping[str, Any]], stats: Mapping[str, Any]) -> Table:
    """Places, ratings and rewards of one group, best first; what was not scored stands last without a number."""
    wanted = ("estimator", "calls", "rounds", "coverage", "position_bias", "p_first", "cyclic_triads")
    caption = ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k in wanted if (v := stats.get(k)) is not None
    )
    table = Table(title=f"group {group}", caption=caption)
    for column in ("rank", "id", "rating", "error", "reward", "won/lost/tied", "status"):
        table.add_column(column, justify="left" if column in ("id", "status") else "right")
    for row in sorted(ranking, key=lambda r: (r["rank"] is None, r["rank"] or 0)):
        table.add_row(
            _number(row["rank"], 1), Text(str(row["id"])), _number(row.get("theta")), _number(row.get("stderr")),
            _number(row["reward"]), f"{row['wins']:g}/{row['losses']:g}/{row['ties']:g}", str(row["status"]),
        )  # fmt: skip
    return table


def match_tree(group: str, matches: Sequence[Mapping[str, Any]]) -> Tree:
    """Matches by round, the winner of each marked."""
    tree = Tree(Text(f"matches of group {group}"))
    rounds: dict[int, Tree] = {}
    for match in matches:
        number = int(match["round"])
        branch = rounds.get(number)
        if branch is None:
            branch = rounds[number] = tree.add(f"round {number + 1}")
        line = Text()
        for key, score in (("a", match.get("score_a")), ("b", match.get("score_b"))):
            won = match["winner"] == match[key]
            shown = "" if score is None else f" {score:g}"
            line.append(f"{match[key]}{shown}", style="bold green" if won else "")
            line.append(" : " if key == "a" else "")
        if match["winner"] is None:
            line.append(f"  ({match['status']})", style="red")
        elif match["winner"] == "tie":
            line.append("  (tie)")
        branch.add(line)
    return tree
