"""The admin in the theme of django-unfold, in Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from .browser import CHROMIUM, PHONE, Site, chromium, log_in_as_admin, site_with
from .sessions import LIST

pytestmark = pytest.mark.once
pytest.importorskip("unfold")

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"There is no {CHROMIUM}.", allow_module_level=True)

PAGES = ("/admin/botsessions/", LIST, f"{LIST}?sort=largest", f"{LIST}activity/")


site = site_with("tests.unfold_settings", sessions=60)


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    problems: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.context.on("weberror", lambda error: problems.append(str(error.error)))
        page.goto(f"{site.url}{LIST}")
        log_in_as_admin(page)
        expect(page.get_by_role("searchbox", name="Search")).to_be_visible()
        yield page
    assert problems == []


def test_all_are_selected_and_what_is_chosen_is_asked(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{LIST}?bot=orders")
    page.locator("#action-toggle").check()
    expect(page.locator(".action-counter")).not_to_contain_text("0 of")
    page.locator("select[name=action]").select_option(label="Expire now")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.locator("#content-main")).to_contain_text("Which")


def test_the_button_of_the_filters_can_be_read(page: Page, site: Site) -> None:
    page.goto(f"{site.url}{LIST}?bot=orders")
    button = page.locator("#changelist a").filter(has_text="filter_list")
    expect(button).to_have_css("color", "rgb(255, 255, 255)")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] < 60
    button.click()
    expect(page.get_by_role("link", name="Largest first")).to_be_visible()


def test_actions_stand_below_the_box_of_the_search(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{site.url}{LIST}")
    search = page.locator("#changelist :has(> #toolbar)").last.bounding_box()
    actions = page.locator(".actions").bounding_box()
    assert search is not None
    assert actions is not None
    assert search["y"] + search["height"] <= actions["y"]


def test_the_heading_has_one_line_on_a_phone(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 375, "height": 812})
    page.goto(f"{site.url}{LIST}")
    link = page.get_by_role("link", name="What people did").bounding_box()
    assert link is not None
    assert link["height"] < 30
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(re.compile(r"^\s*Sessions\s*$"), use_inner_text=True)
    assert heading.evaluate("heading => heading.scrollWidth <= heading.clientWidth")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [PHONE["viewport"]["width"], 1400])  # type: ignore[index]
def test_no_page_is_wider_than_the_screen(page: Page, site: Site, path: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{site.url}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
