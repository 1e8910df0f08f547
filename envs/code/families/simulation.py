"""Programs that read commands from standard input: a bank ledger, a queue, a robot on a grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..problem import Problem, stdio
from .common import choice, letters, reply, source, visibility, whole

Maker = Callable[
    [np.random.Generator, int], tuple[str, str, str, Callable[[np.random.Generator], str], Callable[[str], str]]
]


def _ledger(rng: np.random.Generator, level: int) -> tuple[str, str, str, Callable[..., str], Callable[[str], str]]:
    fee = whole(rng, 1, 5)
    names = [letters(rng, 3) for _ in range(2 + level)]
    statement = (
        "Read the number n and then n commands, one a line:\n"
        "`deposit NAME AMOUNT` adds to an account (all accounts start at 0);\n"
        f"`withdraw NAME AMOUNT` takes AMOUNT plus a fee of {fee} if the balance covers both, else it does nothing;\n"
        "`move FROM TO AMOUNT` moves AMOUNT without a fee if the balance covers it, else it does nothing.\n"
        "Print every account that was named, one a line in alphabetical order, as `NAME BALANCE`."
    )
    code = source(f"""
        balance = {{}}
        for _ in range(int(input())):
            command, *rest = input().split()
            for name in rest[:-1]:
                balance.setdefault(name, 0)
            amount = int(rest[-1])
            if command == "deposit":
                balance[rest[0]] += amount
            elif command == "withdraw":
                if balance[rest[0]] >= amount + {fee}:
                    balance[rest[0]] -= amount + {fee}
            elif balance[rest[0]] >= amount:
                balance[rest[0]] -= amount
                balance[rest[1]] += amount
        for name in sorted(balance):
            print(name, balance[name])
    """)
    wrong = code.replace(f">= amount + {fee}:", ">= amount:")

    def draw(inner: np.random.Generator) -> str:
        lines = []
        for _ in range(whole(inner, 6, 8 + 4 * level)):
            kind, name = choice(inner, ("deposit", "withdraw", "withdraw", "move")), choice(inner, names)
            middle = f" {choice(inner, names)}" if kind == "move" else ""
            lines.append(f"{kind} {name}{middle} {whole(inner, 1, 30)}")
        first = f"deposit {names[0]} 10"
        return "\n".join([str(len(lines) + 2), first, f"withdraw {names[0]} {10 - fee + 1}", *lines])

    def run(stdin: str) -> str:
        balance: dict[str, int] = {}
        for line in stdin.split("\n")[1:]:
            command, *rest = line.split()
            for name in rest[:-1]:
                balance.setdefault(name, 0)
            amount = int(rest[-1])
            if command == "deposit":
                balance[rest[0]] += amount
            elif command == "withdraw":
                if balance[rest[0]] >= amount + fee:
                    balance[rest[0]] -= amount + fee
            elif balance[rest[0]] >= amount:
                balance[rest[0]] -= amount
                balance[rest[1]] += amount
        return "\n".join(f"{name} {balance[name]}" for name in sorted(balance))

    return statement, code, wrong, draw, run


def _queue(rng: np.random.Generator, level: int) -> tuple[str, str, str, Callable[..., str], Callable[[str], str]]:
    size = whole(rng, 2, 3 + level)
    statement = (
        "Read the number n and then n commands, one a line. A waiting room has "
        f"{size} seats. `come NAME` seats a person, or prints `full NAME` if no seat is free; `call` prints and "
        "removes the person who has waited longest, or prints `nobody`; `leave NAME` removes a person who is there, "
        "silently.\n"
        "At the end print the number of people still waiting."
    )
    code = source(f"""
        room = []
        for _ in range(int(input())):
            command, *rest = input().split()
            if command == "come":
                if len(room) < {size}:
                    room.append(rest[0])
                else:
                    print("full", rest[0])
            elif command == "call":
                print(room.pop(0) if room else "nobody")
            elif rest[0] in room:
                room.remove(rest[0])
        print(len(room))
    """)
    wrong = code.replace(f"< {size}:", f"<= {size}:")

    def draw(inner: np.random.Generator) -> str:
        lines = [f"come {letters(inner, 4)}" for _ in range(size + 1)]
        known = [line.split()[1] for line in lines]
        for _ in range(whole(inner, 4, 6 + 4 * level)):
            kind = choice(inner, ("come", "come", "call", "leave"))
            if kind == "come":
                known.append(letters(inner, 4))
            lines.append({"come": f"come {known[-1]}", "call": "call", "leave": f"leave {choice(inner, known)}"}[kind])
        return "\n".join([str(len(lines)), *lines])

    def run(stdin: str) -> str:
        room: list[str] = []
        out = []
        for line in stdin.split("\n")[1:]:
            command, *rest = line.split()
            if command == "come":
                if len(room) < size:
                    room.append(rest[0])
                else:
                    out.append(f"full {rest[0]}")
            elif command == "call":
                out.append(room.pop(0) if room else "nobody")
            elif rest[0] in room:
                room.remove(rest[0])
        return "\n".join([*out, str(len(room))])

    return statement, code, wrong, draw, run


def _robot(rng: np.random.Generator, level: int) -> tuple[str, str, str, Callable[..., str], Callable[[str], str]]:
    turn = choice(rng, ("right", "left"))
    statement = (
        "The first line holds the height h and the width w of a grid, the next h lines the grid (`#` is a wall, `.` "
        "is free), the last line the number of steps. A robot starts in the upper left cell, which is free, and faces "
        "right. In each step it moves one cell forward if that cell is inside the grid and free; otherwise it turns "
        f"{turn} by 90 degrees and stays. Print the row and column where it ends (from 0) and the number of different "
        "cells it has stood on."
    )
    sign = 1 if turn == "right" else -1
    code = source(f"""
        h, w = map(int, input().split())
        grid = [input() for _ in range(h)]
        steps = int(input())
        r = c = d = 0
        seen = {{(0, 0)}}
        for _ in range(steps):
            dr, dc = ((0, 1), (1, 0), (0, -1), (-1, 0))[d]
            if 0 <= r + dr < h and 0 <= c + dc < w and grid[r + dr][c + dc] == ".":
                r, c = r + dr, c + dc
                seen.add((r, c))
            else:
                d = (d + {sign}) % 4
        print(r, c, len(seen))
    """)
    wrong = code.replace(f"(d + {sign}) % 4", f"(d - {sign}) % 4")

    def draw(inner: np.random.Generator) -> str:
        h, w = whole(inner, 3, 4 + level), whole(inner, 3, 4 + level)
        rows = [["#" if inner.random() < 0.2 else "." for _ in range(w)] for _ in range(h)]
        rows[0][0] = rows[0][1] = rows[1][0] = rows[1][1] = "."
        return "\n".join([f"{h} {w}", *("".join(row) for row in rows), str(whole(inner, 5, 30 * level))])

    def run(stdin: str) -> str:
        lines = stdin.split("\n")
        h, w = map(int, lines[0].split())
        grid, steps = lines[1 : h + 1], int(lines[h + 1])
        r = c = d = 0
        seen = {(0, 0)}
        for _ in range(steps):
            dr, dc = ((0, 1), (1, 0), (0, -1), (-1, 0))[d]
            if 0 <= r + dr < h and 0 <= c + dc < w and grid[r + dr][c + dc] == ".":
                r, c = r + dr, c + dc
                seen.add((r, c))
            else:
                d = (d + sign) % 4
        return f"{r} {c} {len(seen)}"

    return statement, code, wrong, draw, run


MAKERS: tuple[Maker, ...] = (_ledger, _queue, _robot)


def simulation(rng: np.random.Generator, level: int) -> Problem:
    """Write a program that follows commands on standard input."""
    statement, code, wrong, draw, run = choice(rng, MAKERS)(rng, level)
    inputs = [draw(rng) for _ in range(6)]
    tests = tuple(stdio(str(i + 1), text + "\n", run(text) + "\n", visibility(i)) for i, text in enumerate(inputs))
    solutions = {
        "reference": reply(code),
        "wrong": reply(wrong),
        "slow": reply(f"for _wait in range(10**10):\n    pass\n{code}"),
    }
    return Problem(f"Write a Python program. {statement}", tests, solutions=solutions)
