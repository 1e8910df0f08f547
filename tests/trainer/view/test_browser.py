"""The page in a real browser: it works, it works with keys and in a narrow window, and hostile text stays text."""

import json
import os
from urllib.parse import quote

import pytest

from palaestra.judges.testing import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra `browser`)")
CHROMIUM = next(
    (p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if os.path.exists(p)), None
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield started
        started.close()


@pytest.fixture
def site(library):
    from palaestra.trainer.view import create_app

    with serving(create_app([library])) as url:
        yield url


@pytest.fixture
def page(browser, site):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.site = site
    yield page
    page.close()
    assert problems == []


def go(page, where):
    page.goto(f"{page.site}/#/{where}")
    page.wait_for_function("want => document.getElementById('main').dataset.ready === want", arg=f"#/{where}")


def test_runs_side_by_side(page):
    go(page, "")
    assert page.locator("#runs tbody tr").count() == 4
    assert page.locator(".chart canvas").count() >= 2
    legends = page.locator(".chart").first.locator(".u-label").all_inner_texts()
    assert {"healthy", "hostile", "damaged", "ranked"} <= set(legends)
    page.keyboard.press("j")
    page.keyboard.press("x")  # the first run leaves the charts
    page.wait_for_function("() => !document.querySelector('.chart').innerText.includes('damaged')")
    page.keyboard.press("/")
    page.keyboard.type("entropy")
    assert page.locator(".chart").count() == 1


def test_curves_that_hardly_move_are_drawn(page, library):
    curves = {
        "ess": [1, 1 - 1e-7, 1],
        "zero": [0, 0, 0],
        "huge": [1e300, -1e300, 1e308],
        "tiny": [1e-300, 3e-300, 2e-300],
    }
    with (library / "healthy" / "metrics.jsonl").open("w") as file:
        for step in range(3):
            file.write(json.dumps({"step": step, **{name: values[step] for name, values in curves.items()}}) + "\n")
    go(page, "run/healthy")
    assert page.locator(".chart canvas").count() == len(curves)


def test_a_run_in_progress_grows_on_the_page(page, library):
    go(page, "run/healthy/rollouts")
    with (library / "healthy" / "rollouts" / "train.jsonl").open("a") as file:
        file.write(json.dumps({"step": 30, "rollout": {"id": "fresh", "reward": 1}}) + "\n")
    page.wait_for_function("() => document.querySelector('#rollouts tbody tr').innerText.includes('fresh')")


def test_rollouts_by_keyboard(page):
    go(page, "run/healthy/rollouts")
    assert page.locator("#rollouts tbody tr").count() == 20
    page.keyboard.press("/")
    page.keyboard.type("answer 13")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#rollouts tbody tr').length === 1")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector(".msg.assistant")
    assert page.locator("h1").inner_text() == "r13"
    page.keyboard.press("t")
    assert page.locator(".tokens .tok:not(.masked)").count() == 2
    assert page.locator(".tokens .tok.masked").count() == 3
    page.locator("main select").select_option("gap")
    assert "did not score" in page.locator("#area").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 4
    page.keyboard.press("2")
    page.wait_for_selector("#rollouts")


def test_neighbours_keep_the_filter(page):
    go(page, "run/healthy/rollouts?reward_from=1")
    page.locator("#rollouts tbody tr").first.click()
    page.wait_for_selector(".msg.assistant")
    assert page.locator("h1").inner_text() == "r19"
    page.keyboard.press("j")
    page.wait_for_function("() => document.querySelector('h1').innerText === 'r17'")


def test_a_tournament_is_drawn(page):
    go(page, "run/ranked/group/g0")
    assert page.locator("svg.plot circle").count() == 4  # ratings
    assert page.locator("svg.plot line.error").count() == 4  # with their errors
    assert page.locator("svg.graph .edge").count() == 4
    assert page.locator(".bracket .round").count() == 2
    assert "…r0" not in page.locator(".bracket").inner_text()
    assert page.locator(".bracket .match").count() == 3
    assert "1 of 8" not in page.locator("h1").inner_text()
    page.locator("summary", has_text="all 8 judge calls").click()
    assert page.locator("details td.bad", has_text="timeout").count() == 1


def test_the_judge_is_described(page):
    go(page, "run/ranked/judge")
    said = page.locator("#shares").inner_text()
    assert "57.1 %" in said and "12.5 %" in said  # 4 of 7 decisive calls went to the first slot, 1 of 8 failed
    assert "0.01" in page.locator("main").inner_text()
    go(page, "run/healthy/judge")
    assert "No judgements are recorded" in page.locator("main").inner_text()


def test_tests_of_a_sandbox_and_sub_calls(page):
    go(page, "run/hostile/rollout/1")
    assert page.locator(".strip .pass").count() == 2
    assert page.locator(".strip .fail").count() == 1
    assert page.locator(".tree > li").count() == 2  # a child, and its own child inside
    page.locator(".node summary").first.click()
    assert "sub-question" in page.locator(".node").first.inner_text()


def test_unscored_is_shown_as_unscored(page):
    go(page, "run/healthy/rollout/7")
    assert "unscored" in page.locator(".tags").inner_text()
    assert "judge timed out" in page.locator(".note").inner_text()


def test_hostile_text_is_text(page, hostile_text):
    group = quote(hostile_text, safe="")
    parts = ("", "/rollouts", "/rollout/0", "/rollout/1", "/groups", f"/group/{group}", "/judge")
    for where in ("", *(f"run/hostile{part}" for part in parts), "run/ranked/group/g0", "run/ranked/judge"):
        go(page, where)
        assert page.title() == "Palaestra"
        assert page.locator("main img, main script, main iframe").count() == 0
        assert "\u202e" not in page.locator("main").inner_text()  # would turn the rest of the line round
    go(page, "run/hostile/rollout/0")
    assert "more characters" in page.locator(".msg.assistant button").inner_text()
    assert "</script>" in page.locator(".msg.feedback").inner_text()
    assert "⟨202E⟩" in page.locator(".msg.feedback").inner_text()
    page.keyboard.press("t")
    assert page.locator(".tok").count() > 0


def test_odd_shapes_do_not_break_a_page(page, library):
    shapes = [None, True, 7, "text", [], [1, None, "a", [2]], {}, {"a": [1]}]
    names = ("messages", "turns", "feedback", "children", "scores", "metrics", "reward", "id", "task_id", "stop_reason")
    lines = [
        {"step": 0, "rollout": {**dict.fromkeys(names, shape), "group_id": "odd"}, "advantages": shape}
        for shape in shapes
    ]
    lines += [
        {"id": "in", "group_id": "odd", "messages": [s], "turns": [s], "feedback": [s], "children": [s]} for s in shapes
    ]
    (library / "hostile" / "rollouts" / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    judged = [
        {"group_id": "odd", "operation": "rank", "result": {"ranking": [s], "matches": [s], "stats": s, "byes": s}}
        for s in shapes
    ]
    judged += [{"group_id": "odd", "operation": s, "result": s, "warnings": s, "judge": s, "error": s} for s in shapes]
    (library / "hostile" / "judgements").mkdir()
    (library / "hostile" / "judgements" / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in judged))
    where = [f"run/hostile/rollout/{key}" for key in range(2, 2 + len(lines))]
    for one in [
        "",
        "run/hostile",
        "run/hostile/rollouts",
        "run/hostile/groups",
        "run/hostile/judge",
        "run/hostile/group/odd",
        *where,
    ]:
        go(page, one)
        assert "cannot be shown" not in page.locator("main").inner_text(), one
        if "/rollout/" in one:
            page.keyboard.press("t")


def test_damaged_run_is_shown_with_notes(page):
    go(page, "run/damaged")
    assert page.locator(".note").count() == 3
    assert page.locator(".chart").count() >= 2


def test_narrow_window_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 360, "height": 720})
    inside = (
        "run/hostile",
        "run/hostile/rollout/0",
        "run/hostile/rollout/1",
        "run/ranked/group/g0",
        "run/ranked/judge",
    )
    for where in ("", "run/healthy/rollouts", "run/healthy/group/g1", "run/healthy/groups", *inside):
        go(page, where)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, where


def test_nothing_is_loaded_from_elsewhere(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    go(page, "run/healthy")
    assert asked
    assert all(url.startswith((page.site, "data:")) for url in asked)
