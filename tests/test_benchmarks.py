"""That the benchmarks tell the truth; how fast it is, they tell themselves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.comparing import Comparison
from benchmarks.environments import Missing, here
from benchmarks.growing import Growth
from benchmarks.rows import ROWS
from benchmarks.sides import Failed, Program

WEBHOOK = next(row for row in ROWS if row.work.startswith("webhooks") and "gunicorn" in row.work)
OURS = Program("botsessions", partial(here, "ours"))
DJANGO = Program("Django", partial(here, "django_orm"))

pytestmark = pytest.mark.once


def comparison(ours: Program = OURS, peer: Program = DJANGO, least: float = 0.0) -> Comparison:
    return Comparison("10 chats", ours, peer, "sqlite", chats=10, in_flight=5, least=least)


def test_both_sides_work_and_nothing_is_lost() -> None:
    found = comparison().measure(rounds=2, seconds=0.01)
    assert len(found.ours) == len(found.peer) == 2
    assert found.lost == (0, 0)
    assert found.reached
    assert "Django" in found.versions


def test_a_lost_update_is_counted() -> None:
    # With a row each that is read, and written a moment later.
    hot = Comparison("a hot chat", OURS, DJANGO, "sqlite", chats=1, in_flight=5, least=0.0)
    ours, peer = hot.measure(rounds=1, seconds=0.01).lost
    assert ours == 0
    assert peer > 0


def test_a_program_that_fails_says_why() -> None:
    wrong = Program("botsessions", partial(here, "ours"), {"lock": "wrong"})
    with pytest.raises(Failed, match="There is no lock 'wrong'"):
        comparison(ours=wrong).measure(rounds=1, seconds=0.01)


def test_memory_is_read_after_each_step() -> None:
    reads = Program("botsessions", partial(here, "ours"), {"reads": True})
    row = Growth("memory", reads, "sqlite", warm_after=10, chats=100, in_flight=5, most=1000.0)
    found = row.measure(rounds=1, seconds=1)
    assert found.before > 0
    assert found.reached


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_sites_answer_and_nothing_is_lost() -> None:
    row = replace(WEBHOOK, connections=4, least=0.0, database="sqlite", most=None)
    found = row.measure(rounds=1, seconds=1)
    assert found.lost == (0, 0)
    assert found.reached
    (ours, _), (peer, _) = found.waits
    assert ours > peer > 0
    slow = replace(found, row=replace(row, most=(0.001, 0.001)))
    assert not slow.reached
    text = page.rendered([(slow.row, slow)])
    assert "wanted: at most 0.001 and 0.001 ms" in text
    assert "gunicorn" in text


def missing() -> list[str]:
    raise Missing("no such server")


def test_the_page_shows_what_was_found_and_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    page.PAGE.write_text("Before.\n\n<!-- make bench -->\nOld.\n<!-- end -->\n\nAfter.\n")
    row = comparison(least=1_000_000.0)
    found = row.measure(rounds=1, seconds=0.01)
    page.write(page.rendered([(row, found), (row, "not measured here: no such | server")]))
    text = page.PAGE.read_text()
    assert text.startswith("Before.\n\n<!-- make bench -->\n")
    assert text.endswith("<!-- end -->\n\nAfter.\n")
    assert "Old." not in text
    assert "≥ 1000000.00" in text
    assert "| missed |" in text
    assert r"| not measured here: no such \| server |" in text
