"""The API's own pages in Chromium."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from . import axe
from .browser import CHROMIUM, Site, browser_of_module, log_in_as_admin, site_with

pytestmark = pytest.mark.once

expect.set_options(timeout=20_000)  # Other tests may keep the machine busy.

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"There is no {CHROMIUM}.", allow_module_level=True)


site = site_with("tests.browsing_settings")
browser = browser_of_module()


@pytest.fixture
def page(site: Site, browser: Browser) -> Page:
    """A page of a browser in which the operator has logged in."""
    page = browser.new_page()
    page.goto(f"{site.url}/admin/")
    log_in_as_admin(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("administration")
    return page


def newest(page: Page, site: Site) -> Any:
    """Return the session that was made last, as the API tells it."""
    return page.request.get(f"{site.url}/api/sessions/?page_size=1").json()["results"][0]


def shown(page: Page) -> Any:
    text = page.locator(".response-info").inner_text()
    return json.loads(text[text.index("{") :])


def test_a_session_is_changed_and_deleted_as_it_was_shown(page: Page, site: Site) -> None:
    session = newest(page, site)
    page.goto(f"{site.url}/api/sessions/{session['id']}/")
    content = page.get_by_label("Content:")
    data = json.loads(content.input_value())["data"]
    assert data == shown(page)["data"]
    content.fill(json.dumps({"data": data | {"pizza_count": 77}}))
    page.get_by_role("button", name="PATCH").click()
    expect(page.locator(".response-info")).to_contain_text('"pizza_count": 77')

    page.goto(f"{site.url}/api/sessions/{session['id']}/extend/")
    page.get_by_label("Content:").fill('{"seconds": 86400}')
    page.get_by_role("button", name="POST").click()
    expect(page.locator(".response-info")).to_contain_text("HTTP 200 OK")

    page.goto(f"{site.url}/api/sessions/{session['id']}/")
    page.get_by_role("button", name="DELETE").click()
    page.locator("#deleteModal .btn-danger").click()
    expect(page.locator(".response-info")).to_contain_text("HTTP 204 No Content")
    assert page.request.get(f"{site.url}/api/sessions/{session['id']}/").status == 404


def test_what_changed_since_it_was_shown_is_not_overwritten(page: Page, site: Site) -> None:
    session = newest(page, site)
    address = f"{site.url}/api/sessions/{session['id']}/"
    page.goto(address)
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    headers = {"If-Match": session["etag"], "X-CSRFToken": cookies["csrftoken"], "Referer": address}
    mine = {"data": {"pizza_count": 5}}
    assert page.request.patch(address, data=mine, headers=headers).ok
    page.get_by_role("button", name="PATCH").click()
    expect(page.locator(".response-info")).to_contain_text("HTTP 412 Precondition Failed")
    assert shown(page)["session"]["data"] == mine["data"]
    page.get_by_label("Content:").fill('{"data": {"pizza_count": 6}}')
    page.get_by_role("button", name="PATCH").click()
    expect(page.locator(".response-info")).to_contain_text("HTTP 200 OK")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_docs_are_led_to_after_a_login_and_can_be_read_by_all(
    site: Site, browser: Browser, look: Any
) -> None:
    page = browser.new_page(color_scheme=look)
    page.goto(f"{site.url}/api/docs/")
    log_in_as_admin(page)
    expect(page.get_by_text("/api/sessions/export/").first).to_be_visible()
    dark = page.evaluate("document.documentElement.classList.contains('dark-mode')")
    assert dark == (look == "dark")
    assert axe.violations(page, axe.script()) == {}
