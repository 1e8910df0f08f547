"""The page in a real browser: it works, it works with keys and in a narrow window, and hostile text stays text."""

import os
import threading

import pytest

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
    import uvicorn

    from palaestra.trainer.view import create_app

    server = uvicorn.Server(uvicorn.Config(create_app([library]), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the server ended before it started"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


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
    assert page.locator("#runs tbody tr").count() == 3
    assert page.locator(".chart canvas").count() >= 2
    legends = page.locator(".chart").first.locator(".u-label").all_inner_texts()
    assert {"healthy", "hostile", "damaged"} <= set(legends)


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
    assert page.locator(".tok").count() == 2
    page.keyboard.press("g")
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 4
    page.keyboard.press("u")
    page.wait_for_selector("#rollouts")


def test_unscored_is_shown_as_unscored(page):
    go(page, "run/healthy/rollout/7")
    assert "unscored" in page.locator(".tags").inner_text()
    assert "judge timed out" in page.locator(".note").inner_text()


def test_hostile_text_is_text(page):
    for where in ("", "run/hostile", "run/hostile/rollouts", "run/hostile/rollout/0", "run/hostile/group/g0"):
        go(page, where)
        assert page.title() == "Palaestra"
        assert page.locator("main img, main script").count() == 0
    go(page, "run/hostile/rollout/0")
    assert "more characters" in page.locator(".msg.assistant button").inner_text()
    assert "</script>" in page.locator(".msg.feedback").inner_text()


def test_damaged_run_is_shown_with_notes(page):
    go(page, "run/damaged")
    assert page.locator(".note").count() == 3
    assert page.locator(".chart").count() >= 2


def test_narrow_window_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 360, "height": 720})
    for where in ("", "run/healthy/rollouts", "run/hostile/rollout/0", "run/healthy/group/g1"):
        go(page, where)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, where


def test_nothing_is_loaded_from_elsewhere(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    go(page, "run/healthy")
    assert asked
    assert all(url.startswith((page.site, "data:")) for url in asked)
