"""Speed of Travel-v0: `python -m benchmarks.envs_travel`. Prints one row a measurement and writes nothing.

    --quick     a tenth of the work, for a look

Each row has the measured value and the target; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import palaestra as pl
from palaestra.envs.travel import Item, Knobs, Store, draw, look_up, verdicts
from palaestra.envs.travel.env import _calls, _dump
from palaestra.envs.travel.gen import Size, image, tables, world
from palaestra.envs.travel.preferences import utility


def lags(work: Callable[[int], Any], count: int) -> np.ndarray:
    """Milliseconds of ``count`` runs, after one that does not count."""
    work(0)
    found = []
    for number in range(count):
        start = time.perf_counter()
        work(number)
        found.append(1e3 * (time.perf_counter() - start))
    return np.array(found)


def show(found: np.ndarray) -> str:
    """Median and 95th percentile."""
    return f"{np.median(found):.2f} ms (p95 {np.percentile(found, 95):.2f})"


def tool_calls(env: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """One call of every tool that reads."""
    query = env._drawn.query
    city, home = query.cities[0].id, query.origin.id
    hotel = next(row.id for row in env._drawn.world.rows["hotel"] if row.city == city)
    yield "search_cities", {}
    yield "search_pois", {"city": city, "day": 1, "open_at": "12:00"}
    yield "search_restaurants", {"city": city, "near": hotel}
    yield "search_hotels", {"city": city, "day_in": 1, "nights": 1, "guests": 2}
    yield "search_legs", {"origin": home, "target": city, "day": 1}
    yield "around", {"id": hotel, "radius_m": 5000, "kind": "restaurant"}
    yield "get", {"kind": "hotel", "id": hotel}
    yield "route", {"from_id": city, "to_id": hotel, "mode": "bus", "depart": "10:00"}
    yield "weather", {"city": city, "day": 1}
    yield "calc", {"expression": "(1250+300)*2/7"}
    yield "notes", {}


def measure(count: int) -> Iterator[tuple[str, str, str]]:
    """Rows of what, value and target."""
    sizes = {"5 cities, 3 days": Size(), "12 cities, 3 days": Size(12, 3, 20)}
    for name, size in sizes.items():
        rows = tables(1, size)
        yield f"world of {name}: rows", f"{sum(map(len, rows.values()))}", ""
        found = lags(lambda n, size=size: image(tables(n, size)), max(5, count // 20))
        yield f"world of {name}: build", show(found), ""
        made = world(1, size)
        yield f"world of {name}: bytes", f"{len(made.image)}", ""
        yield f"world of {name}: copy", show(lags(lambda _, m=made: Store(m.image).close(), count)), "<= 5 ms"
    yield (
        "draw a task (default knobs, with its world)",
        show(lags(lambda n: draw(np.random.default_rng(n), Knobs()), count // 4)),
        "",
    )

    env = pl.make("palaestra/Travel-v0", max_turns=10**9)
    env.reset(seed=1)
    everything = []
    for name, arguments in tool_calls(env):
        found = lags(lambda _, n=name, a=arguments: getattr(env._desk, n)(**a), count)
        everything.append(found)
        yield f"tool {name}", show(found), ""
    yield "all tools", show(np.concatenate(everything)), "p95 <= 2 ms"
    texts = [_calls([call]) for call in tool_calls(env)]
    found = lags(lambda n: env.step(texts[n % len(texts)]), count)
    yield "step with a tool call: parse, check, run, schemas in info", show(found), "p95 <= 2 ms"

    drawn = env._drawn
    store = Store(drawn.world.image)
    trip = look_up(drawn.hidden, drawn.query, store)
    yield (
        "look up and check a plan",
        show(lags(lambda _: verdicts(look_up(drawn.hidden, drawn.query, store), drawn.query), count)),
        "",
    )
    yield "points of the wishes", show(lags(lambda _: utility(trip, drawn.query), count)), ""
    for number, item in enumerate(drawn.hidden):
        store.book(Item(**_dump(item)), number)
    yield "hash of the final bookings", show(lags(lambda _: store.final_hash(), count)), ""
    store.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for what, value, target in measure(40 if options.quick else 400):
        rows.append({"what": what, "value": value, "target": target})
        if not options.json:
            print(f"{what:58} {value:>26}   {target}", flush=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
