"""Two environments of your own, one turn and many turns; both are checked and one is played.

Try them with `python examples/own_environment.py` and with
`palaestra check example/Change-v0 --import examples/own_environment.py`.
"""

import palaestra as pl
from palaestra.envs.check import check

COINS = (1, 2, 5, 10, 20, 50)


@pl.env("example/Change-v0")
def change(rng, most=99):
    """One turn: the prompt, and a function that judges a reply in place of an answer to compare with."""
    amount = int(rng.integers(3, most + 1))

    def grade(reply):
        words = reply.split()
        if not words or not all(word in map(str, COINS) for word in words):
            return pl.Result(0.0, f"Send coins out of {COINS}, separated by spaces.", reason="not_coins")
        if sum(map(int, words)) != amount:
            return pl.Result(0.0, "The coins do not add up to the amount.", reason="wrong_sum")
        return pl.Result(1.0, "Correct.", scores={"coins": len(words)})  # scores are logged, not trained on

    return f"Pay {amount} with coins out of {COINS}. Send the coins only.", grade


@change.oracle
def pay(rng, most=99):
    """A right reply, drawn from the same rng: lets the checker test that it earns the maximum."""
    amount, coins = int(rng.integers(3, most + 1)), []
    for coin in reversed(COINS):
        coins += [coin] * (amount // coin)
        amount %= coin
    return " ".join(map(str, coins))


@pl.env("example/Weigh-v0", max_turns=8)
def weigh(rng, most=9):
    """Many turns: yield what the policy sees, receive its reply. One coin is heavier; weigh to find it."""
    coins = int(rng.integers(4, most + 1))
    heavy = int(rng.integers(coins))
    reply = yield f"One of the coins 0 to {coins - 1} is heavier. Weigh with `1 2 | 3 4`; answer with `coin 5`."
    while True:
        if reply.startswith("coin "):
            right = reply[5:].strip() == str(heavy)
            return float(right), "Correct." if right else "Another coin is the heavy one."
        left, bar, right = (set(part.split()) for part in reply.partition("|"))
        if not bar or len(left) != len(right) or left & right:
            reply = yield "Put equally many different coins on both sides of one `|`."
        else:
            side = "left" if str(heavy) in left else "right" if str(heavy) in right else ""
            reply = yield f"The {side} side is heavier." if side else "Both sides weigh the same."


@weigh.oracle
def find(rng, most=9):
    """Weigh one against one, then name the coin; `yield` gives each reply in turn."""
    coins = int(rng.integers(4, most + 1))
    heavy = int(rng.integers(coins))
    yield f"{heavy} | {(heavy + 1) % coins}"
    yield f"coin {heavy}"


def main() -> None:
    """Check both, play one, continue a copy of it differently."""
    for env_id in ("example/Change-v0", "example/Weigh-v0"):
        report = check(env_id)
        print(env_id, "keeps the contract" if report.ok else [f for f in report.findings if f.ok is False])
    env = pl.make("example/Weigh-v0")
    print("env:", env.reset(seed=1)[0][-1]["content"])
    print("env:", env.step("0 1 | 2 3")[0][-1]["content"])
    copy = env.fork()  # same state, by replaying the replies so far
    print("original:", env.step("coin 2")[1], "copy:", copy.step("coin 3")[1])


if __name__ == "__main__":
    main()
