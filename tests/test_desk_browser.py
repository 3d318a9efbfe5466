"""What people on call ask, and in how many clicks the admin's first page answers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from .browser import CHROMIUM, Site, browser_of_module, log_in_as_admin, site_with
from .commands import manage, output
from .sessions import LIST

pytestmark = pytest.mark.once

expect.set_options(timeout=20_000)  # Other tests may keep the machine busy.

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"There is no {CHROMIUM}.", allow_module_level=True)

MOST_CLICKS = 3
HOLD = "from project.bot import pizza\nwith pizza.edit(chat=424242):\n print('held'); input()"


site = site_with("tests.desk_settings", sessions=60)
browser = browser_of_module()


class Desk:
    """The admin, from its first page on. Enter is a click, too; to type is none."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def click(self, target: Locator) -> None:
        target.click()
        self.clicks += 1

    def overview(self) -> None:
        self.click(self.page.get_by_role("link", name="Bot sessions", exact=True))
        expect(self.page.get_by_role("heading", name="Largest sessions")).to_be_visible()

    def chat(self) -> None:
        """Open the session of the chat that somebody has complained about."""
        self.overview()
        field = self.page.get_by_role("searchbox", name="Chat, user or title")
        self.page.wait_for_load_state()  # With its script.
        self.page.keyboard.press("/")
        expect(field).to_be_focused()
        field.fill("424242")
        field.press("Enter")
        self.clicks += 1
        self.click(self.page.get_by_role("link", name="Maria Rossi"))
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Maria Rossi")

    def section(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=name)


@pytest.fixture
def desk(site: Site, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{site.url}/admin/")
    log_in_as_admin(page)
    desk = Desk(page)
    yield desk
    context.close()
    assert desk.clicks <= MOST_CLICKS


@contextmanager
def running(site: Site) -> Iterator[None]:
    """Let a process hold the chat's key as a handler does that hangs."""
    command = ("shell", "--command", HOLD)
    process = manage(*command, env=site.environment, stdin=subprocess.PIPE)
    assert process.stdout is not None
    while (line := process.stdout.readline()) and "held" not in line:
        pass
    assert line, "It has ended."
    try:
        yield
    finally:
        process.communicate("\n")


def test_why_is_this_chat_stuck(desk: Desk, site: Site) -> None:
    with running(site):
        desk.chat()
        expect(desk.page.get_by_text(re.compile("Held by running code, for "))).to_be_visible()
        incidents = desk.section("Incidents")
        expect(incidents).to_contain_text("Conflict 3 times")
        expect(incidents).to_contain_text("Update 900100")
        expect(desk.section("Facts")).to_contain_text(re.compile(r"Changed\s*\d+ min ago"))
        expect(desk.section("Facts")).to_contain_text(re.compile(r"Changed by\s*Update 900102"))


def test_which_sessions_are_the_biggest(desk: Desk) -> None:
    desk.overview()
    largest = desk.section("Largest sessions").get_by_role("listitem")
    expect(largest.first).to_contain_text("Maria Rossi")


def test_what_has_changed_in_the_last_hour_and_who_has_edited_it(desk: Desk, site: Site) -> None:
    edit = "from project.bot import pizza\nwith pizza.edit(chat=424242) as data: data.pizza_count=8"
    output(manage("shell", "--command", edit, env=site.environment))
    desk.chat()
    changes = desk.section("Last changes")
    expect(changes.get_by_role("listitem").first).to_contain_text(
        re.compile(r"just now\s+\$\.pizza_count\s+7\s+8")
    )
    expect(changes).to_contain_text("Update 900101")
    path = desk.page.get_by_role("link", name="Edit $.pizza_count")
    path.click()
    value = desk.page.get_by_label("$.pizza_count", exact=True)
    value.fill("9")
    value.press("Control+Enter")
    expect(desk.page.get_by_text("The data was saved.")).to_be_visible()
    expect(desk.section("What people did")).to_contain_text(re.compile("admin.*pizza_count"))


def test_does_the_sweeper_run(desk: Desk, site: Site) -> None:
    output(manage("sweep_sessions", env=site.environment))
    desk.overview()
    expect(desk.section("Maintenance")).to_contain_text(re.compile("Last sweep Done.*just now"))


def test_are_there_conflicts_or_failing_saves(desk: Desk) -> None:
    desk.overview()
    incidents = desk.section("Incidents last day")
    expect(incidents).to_contain_text(re.compile(r"Conflict default\s+3 times"))
    desk.click(incidents.get_by_role("link", name="Conflict"))
    expect(desk.page.get_by_role("link", name="424242")).to_be_visible()


def test_expire_all_of_version_1(desk: Desk) -> None:
    desk.overview()
    old = desk.section("Versions in use").get_by_role("listitem").filter(has_text="orders 1")
    desk.click(old.get_by_role("link", name="Expire now"))
    expect(
        desk.page.get_by_text("Bot: orders · Fragment: Single session · Version: 1")
    ).to_be_visible()
    desk.click(desk.page.get_by_role("button", name="Expire now"))
    expect(desk.page.get_by_text(re.compile(r"Expire now: \d+ sessions? done"))).to_be_visible()
    states = desk.page.locator(".field-state")
    assert {*states.all_inner_texts()} == {"○ Expired"}


@pytest.mark.parametrize("width", [800, 1301, 1400])
def test_a_list_with_fragments_and_long_titles_fits_the_screen(
    desk: Desk, site: Site, width: int
) -> None:
    title = "from botsessions.models import BotSession as B\nB.objects.filter(title='Ayşe').update("
    output(manage("shell", "--command", f"{title}title='L' * 255)", env=site.environment))
    page = desk.page
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{site.url}{LIST}?q=616161")
    expect(page.locator(".bs-title")).to_have_text(f"{'L' * 80}…")
    inside = "document.querySelector('.results').clientWidth"
    assert page.evaluate(f"document.getElementById('result_list').scrollWidth <= {inside}")
    page.locator(".field-whose a").click()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Change history")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
