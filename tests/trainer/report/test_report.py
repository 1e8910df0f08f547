"""Reports: one offline file, hostile text shown and never run, damaged input noted."""

import pytest

from palaestra import Feedback, Message, Rollout
from palaestra.trainer.report import Page, Series, curves, figure, heading, intervals, table, text, transcript

HOSTILE = "</div><script>alert(1)</script><img src=x onerror=alert(1)>\x00 \u202e {score}"


def _rollout(**fields) -> Rollout:
    said = (Message(role="user", content=HOSTILE), Message(role="assistant", content=HOSTILE))
    return Rollout(task_id=HOSTILE, messages=said, feedback=(Feedback(text=HOSTILE),), **fields)


def test_hostile_text_is_escaped_in_every_block():
    page = Page(HOSTILE, HOSTILE)
    page.add(heading(HOSTILE), text(HOSTILE), table([HOSTILE], [[HOSTILE]], caption=HOSTILE))
    page.add(transcript(_rollout(reward=1.0), cluster=3), transcript(_rollout(error=HOSTILE)))
    page.add(figure(curves([Series(HOSTILE, [0, 1], [0, 1])], "step", "reward"), HOSTILE))
    html = page.render()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html


def test_unscored_is_not_shown_as_zero():
    html = transcript(_rollout(error="judge timed out"))
    assert "unscored: judge timed out" in html
    assert "reward 0" not in html
    assert "reward 0" in transcript(_rollout(reward=0.0))


def test_megabyte_messages_are_cut_and_counted():
    rollout = Rollout(task_id="t", messages=(Message(role="assistant", content="a" * 1_000_000),), reward=0.5)
    html = transcript(rollout)
    assert len(html) < 10_000
    assert "996000 characters left out" in html


def test_page_takes_only_blocks():
    with pytest.raises(TypeError, match=r"text\(\.\.\.\)"):
        Page("t").add("<b>not a block</b>")


def test_page_is_one_offline_file(tmp_path):
    page = Page("Demo")
    page.add(figure(intervals(["pass@1"], [Series("start", [0], [0.5], [0.4], [0.6])], "share"), "n = 10"))
    path = page.write(tmp_path / "deep" / "report.html")
    html = path.read_text()
    assert list(path.parent.iterdir()) == [path]
    assert "default-src 'none'" in html
    for outside in ("<link", "<script", 'src="http', "url(http"):
        assert outside not in html


def test_same_numbers_give_the_same_plot():
    series = [Series("a", [0, 1, 2], [0.1, 0.4, 0.9], [0, 0.3, 0.8], [0.2, 0.5, 1.0])]
    assert curves(series, "step", "pass@1", target=0.85) == curves(series, "step", "pass@1", target=0.85)
