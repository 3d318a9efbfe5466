"""The admin in Chromium, as the person on call uses it, under a strict content policy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, StorageState, expect

from . import axe
from .browser import CHROMIUM, PHONE, Site, browser_of_module, log_in_as_admin, site_with
from .commands import manage, output
from .sessions import LIST

pytestmark = pytest.mark.once

expect.set_options(timeout=20_000)  # Other tests may keep the machine busy.

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"There is no {CHROMIUM}.", allow_module_level=True)


site = site_with("tests.strict_settings")
browser = browser_of_module()


@pytest.fixture(scope="module")
def logged_in(site: Site, browser: Browser) -> StorageState:
    """What a browser keeps of a login."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url + LIST)
    log_in_as_admin(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Select session")
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def log_in(site: Site, browser: Browser, logged_in: StorageState) -> Iterator[Callable[..., Page]]:
    """Open the list in a browser of its own; at the end, see that all went well there."""
    contexts: list[tuple[BrowserContext, list[str]]] = []

    def log_in(**options: Any) -> Page:
        context = browser.new_context(storage_state=logged_in, **options)
        problems: list[str] = []
        contexts.append((context, problems))
        context.on("request", lambda r: None if r.url.startswith(site.url) else note(r.url))
        context.on("weberror", lambda error: note(str(error.error)))
        context.on("console", lambda m: note(m.text) if is_problem(m) else None)
        note = problems.append
        page = context.new_page()
        page.goto(site.url + LIST)
        expect(page.get_by_role("heading", level=1)).to_contain_text("Select session")
        return page

    yield log_in
    for context, problems in contexts:
        context.close()
        assert problems == []


def is_problem(message: ConsoleMessage) -> bool:
    asked_by_browser = message.location["url"].endswith("/favicon.ico")
    return message.type in ("error", "warning") and not asked_by_browser


def find(page: Page, text: str) -> None:
    page.get_by_role("searchbox", name="Search").fill(text)
    page.get_by_role("button", name="Search").click()


def start(page: Page, action: str) -> None:
    page.locator("select[name=action]").select_option(label=action)
    page.get_by_role("button", name="Go", exact=True).or_(
        page.get_by_role("button", name="Run", exact=True)
    ).click()


def test_a_session_is_edited_while_the_bot_writes_to_it(
    log_in: Callable[..., Page], site: Site
) -> None:
    page = log_in()
    chat = page.context.new_page()
    chat.goto(site.url)
    say(chat, "🍕")
    expect(chat.get_by_label("Session data")).to_contain_text('"pizza_count": 1')

    title = page.context.new_page()
    title.goto(site.url + LIST)
    name = title.locator(".bs-title").first.inner_text()
    title.close()
    find(page, name)
    page.get_by_role("link", name=name).click()
    page.get_by_role("link", name="Edit data").click()
    field = page.get_by_label("Data, as JSON")
    expect(field).to_have_value('{\n  "pizza_count": 1\n}')
    field.fill('{"pizza_count": 40}')

    say(chat, "🍕")
    expect(chat.get_by_label("Session data")).to_contain_text('"pizza_count": 2')

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("changed while you edited it")
    place = page.get_by_role("group", name="$.pizza_count")
    expect(place.get_by_label("Stored now")).not_to_be_checked()
    expect(place.get_by_label("Yours")).to_be_checked()
    expect(chat.get_by_label("Session data")).to_contain_text('"pizza_count": 2')

    page.get_by_role("button", name="Edit as text").click()
    field = page.get_by_label("Data, as JSON")
    expect(field).to_have_value('{\n  "pizza_count": 40\n}')
    field.fill('{"pizza_count": "many"}')
    expect(page.locator(".bs-gutter .bs-wrong")).to_have_text("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("$.pizza_count does not fit PizzaSession")
    field.fill('{"pizza_count": 41}')
    field.press("Control+s")
    expect(page.get_by_text("The data was saved.")).to_be_visible()
    say(chat, "🍕")
    expect(chat.get_by_label("Session data")).to_contain_text('"pizza_count": 42')


def test_only_what_both_have_changed_is_to_be_chosen(log_in: Callable[..., Page]) -> None:
    page = log_in()
    find(page, "Maria")
    page.get_by_role("link", name="Maria Rossi").click()
    page.get_by_role("link", name="Edit data").click()
    field = page.get_by_label("Data, as JSON")
    text = field.input_value()
    other = page.context.new_page()
    other.goto(page.url)
    theirs = text.replace('"Via Roma 1"', '"Via Toledo 5"').replace('"Funghi"', '"Marinara"')
    other.get_by_label("Data, as JSON").fill(theirs)
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_text("The data was saved.")).to_be_visible()
    other.close()
    field.fill(text.replace('"Via Roma 1"', '"Via Napoli 7"').replace('"Diavola"', '"Capricciosa"'))
    expect(page.get_by_label("Changes")).to_contain_text("2 changes")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".bs-differences fieldset")).to_have_count(3)
    expect(page.locator(".bs-differences fieldset").locator("visible=true")).to_have_count(1)
    page.get_by_label("Stored now").first.check()
    page.get_by_role("button", name="Save what is chosen").click()
    expect(page.get_by_text("The data was saved.")).to_be_visible()
    page.get_by_role("button", name="Unfold all").click()
    for value in ("Via Toledo 5", "Marinara", "Capricciosa"):
        expect(page.locator(".bs-tree").get_by_text(value)).to_be_visible()


def test_what_is_not_saved_is_not_lost_by_accident(log_in: Callable[..., Page]) -> None:
    page = log_in()
    find(page, "Ayşe")
    page.get_by_role("link", name="Ayşe").click()
    page.get_by_role("link", name="Edit data").click()
    field = page.get_by_label("Data, as JSON")
    field.press("End")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    field.press_sequentially(" ")
    page.get_by_role("link", name="Cancel").click(no_wait_after=True)
    expect(field).to_be_visible()
    assert asked == ["beforeunload"]


def test_a_text_is_not_lost_when_its_writer_is_logged_out(
    log_in: Callable[..., Page], site: Site
) -> None:
    page = log_in()
    visit(page, "conflict")
    conflict = page.url
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Save all of mine").click()
    note = page.get_by_role("alert").filter(has_text="You are logged out. Copy your text, then")
    expect(note).to_be_in_viewport()
    again = page.context.new_page()
    again.goto(site.url + LIST)
    log_in_as_admin(again)
    expect(again.get_by_role("heading", level=1)).to_contain_text("Select session")
    again.goto(conflict)
    field = again.get_by_label("Data, as JSON")
    written = field.input_value().replace("{", "{ ")
    again.context.clear_cookies(name="sessionid")
    field.fill(written)
    expect(again.get_by_role("alert")).to_have_text(
        "You are logged out. Copy your text, then log in again."
    )
    expect(again.get_by_label("Changes")).to_be_empty()
    for _again in range(2):
        field.press("Control+s")
        expect(again.get_by_role("alert")).to_be_in_viewport()
    expect(field).to_have_value(written)
    again.on("dialog", lambda dialog: dialog.accept())
    again.goto(site.url)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_single_value_is_not_lost_when_its_writer_is_logged_out(
    log_in: Callable[..., Page], in_place: bool
) -> None:
    page = log_in()
    visit(page, "value")
    if not in_place:
        page.goto(str(page.get_by_role("link", name="Edit $.pizza_count").evaluate("a => a.href")))
    value = page.get_by_label("$.pizza_count", exact=True)
    value.fill("77")
    page.context.clear_cookies(name="sessionid")
    for _again in range(2):
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_have_text(
            "You are logged out. Copy your text, then log in again."
        )
    expect(value).to_have_value("77")


def say(chat: Page, text: str) -> None:
    field = chat.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")


def test_an_edit_is_undone(log_in: Callable[..., Page]) -> None:
    page = log_in()
    page.get_by_role("link", name="Ayşe").click()
    page.get_by_role("link", name="Edit data").click()
    page.get_by_label("Data, as JSON").fill('{"pizza_count": 99}')
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="See what it was, or undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Versions of Ayşe")
    expect(page.locator(".bs-tree")).to_contain_text(re.compile("pizza_count.*12"))
    page.get_by_role("button", name="Restore the version before").click()
    expect(page.get_by_text("The session is what it was.")).to_be_visible()
    expect(page.locator(".bs-tree")).to_contain_text(re.compile("pizza_count.*12"))
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("radio", name="Version 2 as before").check()
    page.get_by_role("button", name="Compare").press("Enter")
    expect(page.get_by_role("radio", name="Version 2 as before")).to_be_checked()


def test_five_sessions_expire_and_the_rest_is_exported(log_in: Callable[..., Page]) -> None:
    page = log_in(accept_downloads=True)
    boxes = page.get_by_role("checkbox", name="Select this object")
    total = boxes.count()
    for number in range(1, 6):
        boxes.nth(total - number).check()
    start(page, "Expire now")
    expect(page.get_by_role("heading", level=1)).to_have_text("Expire now: 4 sessions")
    expect(page.get_by_text("For 1 there is nothing to do.")).to_be_visible()  # It has expired.
    page.get_by_role("button", name="Expire now").click()
    expect(page.get_by_role("list").filter(has_text="sessions done.")).to_be_visible()
    page.get_by_role("link", name="Expired", exact=True).click()
    expect(page.locator(".bs-total")).to_have_text("5 sessions")

    page.get_by_role("link", name="Live", exact=True).click()
    page.get_by_role("checkbox", name="Select all objects").check()
    start(page, "Export as JSON lines")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    lines = download.value.path().read_text().splitlines()
    assert lines
    assert all("data" in json.loads(line) for line in lines)


def test_the_list_is_used_by_keyboard(log_in: Callable[..., Page]) -> None:
    page = log_in()
    page.locator("body").press("/")
    search = page.get_by_role("searchbox", name="Search")
    expect(search).to_be_focused()
    search.press("j")  # It is text here.
    expect(search).to_have_value("j")
    search.press("Escape")
    links = page.locator(".field-whose a")
    for key, number in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        expect(links.nth(number)).to_be_focused()
    name = links.nth(1).locator(".bs-title").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_filters_are_near_on_a_phone_and_told_as_chips(log_in: Callable[..., Page]) -> None:
    page = log_in(**PHONE)
    order = page.get_by_role("link", name="Largest first")
    expect(order).to_be_hidden()
    page.get_by_role("link", name="Filters and order").tap()
    expect(order).to_be_in_viewport()
    order.tap()
    expect(page.locator(".bs-title").first).to_have_text("Maria Rossi")
    page.get_by_role("link", name="Order: Largest first").tap()
    expect(page.get_by_role("link", name="Order: Largest first")).to_be_hidden()


@pytest.mark.parametrize("width", [800, 1024, 1300, 1301, 1400])
def test_the_list_fits_every_screen(log_in: Callable[..., Page], width: int) -> None:
    page = log_in(viewport={"width": width, "height": 800})
    for column in ("state", "data_size", "changed", "expires"):
        box = page.locator(f".field-{column}").first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
    parent = "document.querySelector('.results').clientWidth"
    assert page.evaluate(f"document.getElementById('result_list').scrollWidth <= {parent}")


def test_the_tree_folds_by_keyboard(log_in: Callable[..., Page]) -> None:
    page = log_in()
    find(page, "Maria")
    page.get_by_role("link", name="Maria Rossi").click()
    summary = page.locator(".bs-tree summary").filter(has_text="orders")
    number = page.locator(".bs-tree").get_by_text("number").first
    expect(number).to_be_hidden()
    page.get_by_role("button", name="Unfold all").press("Enter")
    expect(number).to_be_visible()
    summary.press("Enter")
    expect(number).to_be_hidden()
    page.get_by_role("button", name="Fold all", exact=True).click()
    expect(summary).to_be_hidden()


def test_json_and_time_run_from_left_to_right_in_every_language(
    log_in: Callable[..., Page],
) -> None:
    page = log_in()
    mirror = "document.documentElement.dir = 'rtl'"
    visit(page, "edit")
    page.evaluate(mirror)
    expect(page.get_by_label("Data, as JSON")).to_have_css("direction", "ltr")
    page.get_by_role("link", name="Maria Rossi").click()
    expect(page.get_by_role("link", name="History")).to_be_visible()
    page.evaluate(mirror)
    expect(page.locator(".bs-tree")).to_have_css("direction", "ltr")
    expect(page.get_by_role("heading", level=1)).to_have_css("direction", "rtl")
    expect(page.locator(".bs-places code").first).to_have_css("direction", "ltr")
    expect(page.locator(".bs-facts time").first).to_have_css("unicode-bidi", "plaintext")
    visit(page, "app")
    page.evaluate(mirror)
    for part in (".bs-title", ".bs-kind", ".bs-where"):
        expect(page.locator(part).first).to_have_css("unicode-bidi", "plaintext")
    days, bars = page.locator(".bs-days").first, page.locator(".bs-bars").first
    for parts in (days.locator("li"), bars.locator("rect")):
        first, last = parts.first.bounding_box(), parts.last.bounding_box()
        assert first is not None
        assert last is not None
        assert first["x"] < last["x"]
    day, bar = days.locator("li").last.bounding_box(), bars.locator("rect").last.bounding_box()
    assert day is not None
    assert bar is not None
    assert day["x"] <= bar["x"] + bar["width"] / 2 <= day["x"] + day["width"]


def test_a_value_is_found_and_edited_in_its_place(log_in: Callable[..., Page]) -> None:
    page = log_in()
    find(page, "Maria")
    page.get_by_role("link", name="Maria Rossi").click()
    address = page.url.split("?")[0]
    seek = page.get_by_label("Find in the data")
    seek.fill("margherita")
    expect(page.get_by_text("1 / 1")).to_be_visible()
    expect(page.locator(".bs-at")).to_contain_text("Margherita")
    expect(page.locator(".bs-at")).to_be_visible()
    page.get_by_role("link", name="Edit $.orders[0].pizza").click()
    value = page.get_by_label("$.orders[0].pizza", exact=True)
    expect(value).to_be_focused()
    value.press("Escape")
    expect(value).to_be_hidden()
    page.get_by_role("link", name="Edit $.orders[0].pizza").press("Enter")
    value.fill("Quattro")
    value.press("Control+Enter")
    expect(page.get_by_text("The data was saved.")).to_be_visible()
    assert page.url == address
    page.get_by_role("button", name="Unfold all").click()
    expect(page.locator(".bs-tree")).to_contain_text('"Quattro"')


def show_new(page: Page, site: Site, data: Any) -> None:
    """Show the page of a new session with such data."""
    chat = page.context.new_page()
    chat.goto(site.url)
    say(chat, "🍕")
    expect(chat.get_by_label("Session data")).to_contain_text("pizza_count")
    chat.close()
    page.goto(site.url + LIST)
    page.locator(".field-whose a").first.click()
    page.get_by_role("link", name="Edit data").click()
    page.get_by_label("Data, as JSON").fill(json.dumps({"pizza_count": 1, **data}))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The data was saved.")).to_be_visible()


def test_what_is_folded_is_found_and_what_is_left_out_is_told(
    log_in: Callable[..., Page], site: Site
) -> None:
    page = log_in()
    show_new(page, site, {"note": "x\n" * 500 + "Needle" + "x" * 500})
    expect(page.get_by_text("Only in the first")).to_have_count(0)
    long = page.locator(".bs-long")
    expect(long).to_be_hidden()
    page.get_by_label("Find in the data").fill("needle")
    expect(page.get_by_text("1 / 1")).to_be_visible()
    expect(long).to_be_in_viewport(ratio=0.9)
    assert long.evaluate("long => long.scrollTop") > 0
    show_new(page, site, {"numbers": [*range(3000)]})
    field = page.get_by_label("Find in the data")
    expect(field).to_have_accessible_description(
        "Only in the first 2,000 values, and 100,000 characters of each."
    )
    field.fill("2999")
    expect(page.get_by_text("0 / 0")).to_be_visible()


def test_text_is_copied_without_quotes_however_long_it_is(
    log_in: Callable[..., Page], site: Site
) -> None:
    page = log_in(permissions=["clipboard-read", "clipboard-write"])
    texts = {"city": 'Na"poli\u202e\n', "note": "x" * 500, "odd": "\\n\u202e" * 300}
    show_new(page, site, {**texts, "number": 1.5, "nothing": None, "empty": []})
    for name, text in (*texts.items(), ("number", "1.5"), ("nothing", "null"), ("empty", "[]")):
        place = page.locator(f'[data-path="$.{name}"]')
        place.hover()
        place.get_by_role("button", name="Copy the value").click()
        expect(place.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == text


def test_it_is_said_that_the_bot_has_just_changed_what_is_shown(
    log_in: Callable[..., Page], site: Site
) -> None:
    page = log_in()
    chat = page.context.new_page()
    chat.goto(site.url)
    say(chat, "🍕")
    expect(chat.get_by_label("Session data")).to_contain_text("pizza_count")
    page.goto(site.url + LIST)
    page.locator(".field-whose a").first.click()
    news = page.get_by_text("Changed just now.")
    expect(news).to_be_hidden()
    say(chat, "🍕")
    expect(news).to_be_visible()
    page.get_by_role("link", name="Reload").click()
    expect(page.locator(".bs-tree")).to_contain_text("2")


def test_the_tree_folds_without_scripts(log_in: Callable[..., Page]) -> None:
    page = log_in(java_script_enabled=False)
    find(page, "Maria")
    page.get_by_role("link", name="Maria Rossi").click()
    page.locator(".bs-tree summary").filter(has_text="orders").click()
    expect(page.locator(".bs-tree").get_by_text("3 items")).to_be_visible()
    expect(page.get_by_role("button", name="Unfold all")).to_be_hidden()


PAGES = (
    "app",
    "overview",
    "list",
    "session",
    "edit",
    "conflict",
    "confirm",
    "expired",
    "error",
    "empty",
    "history",
    "incidents",
    "versions",
    "sorted",
    "activity",
    "menu",
    "reset",
    "value",
)


def visit(page: Page, name: str) -> None:
    """Go from the list to one of the pages, and wait until it is there."""
    if name == "list":
        return
    if name == "app":
        page.get_by_role("link", name="Bot sessions", exact=True).first.click()
        expect(page.get_by_role("heading", name="Largest sessions")).to_be_visible()
        return
    if name == "overview":
        page.get_by_role("link", name="Overview").click()
        expect(page.get_by_role("heading", name="Largest sessions")).to_be_visible()
        return
    if name == "sorted":
        page.goto(page.url.split("?")[0] + "?sort=largest&size_from=1&changed_from=2020-01-01")
        expect(page.get_by_role("link", name="Order: Largest first")).to_be_visible()
        return
    if name == "activity":
        page.goto(page.url.split("?")[0] + "activity/")
        expect(page.get_by_role("heading", level=1)).to_contain_text("What people did")
        return
    if name == "empty":
        find(page, "nobody is called so")
        expect(page.get_by_text("0 sessions", exact=True)).to_be_visible()
        return
    if name == "confirm":
        page.get_by_role("checkbox", name="Select all objects").check()
        start(page, "Extend")
        expect(page.get_by_role("button", name="Extend")).to_be_visible()
        return
    if name == "incidents":
        page.goto(page.url.replace("/botsession/", "/incident/"))
        expect(page.get_by_role("link", name="424242")).to_be_visible()
        return
    page.get_by_role("link", name="Jürgen" if name == "expired" else "Maria Rossi").click()
    expect(page.get_by_role("link", name="History")).to_be_visible()
    expect(page.get_by_role("heading", name="Last changes")).to_be_visible()
    if name == "history":
        page.get_by_role("link", name="History").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Change history")
    if name == "versions":
        page.get_by_role("link", name="Versions").click()
        expect(page.get_by_role("button", name="Compare")).to_be_visible()
    if name in ("menu", "reset"):
        page.get_by_text("Actions", exact=True).click()
        expect(page.get_by_role("link", name="Reset to initial")).to_be_visible()
    if name == "reset":
        page.get_by_role("link", name="Reset to initial").click()
        expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
    if name == "value":
        page.get_by_role("link", name="Edit $.pizza_count").click()
        expect(page.get_by_label("$.pizza_count", exact=True)).to_be_visible()
    if name in ("edit", "conflict", "error"):
        page.get_by_role("link", name="Edit data").click()
        expect(page.get_by_label("Data, as JSON")).to_be_visible()
    if name == "error":
        page.get_by_label("Data, as JSON").fill("{")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_be_visible()
    if name == "conflict":
        page.locator("input[name=revision]").evaluate("field => field.value = 1")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("button", name="Save all of mine")).to_be_visible()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_beyond_what_it_finds_in_django(
    log_in: Callable[..., Page], site: Site, look: str
) -> None:
    source = axe.script()
    options = PHONE if look == "phone" else {"color_scheme": look}
    page = log_in(**options, bypass_csp=True)  # axe uses inline styles.
    known = set[tuple[str, str]]()
    of_django = ("", "user/", "user/1/change/", "user/1/delete/", "group/add/")
    for path in (f"auth/{path}" for path in of_django):
        page.goto(f"{site.url}/admin/{path}")
        known |= set(axe.violations(page, source))
    for name in PAGES:
        page.goto(site.url + LIST)
        visit(page, name)
        found = axe.violations(page, source)
        new = {place: problem for place, problem in found.items() if place not in known}
        assert new == {}, name


MAKE_GONE = """
from botsessions.models import BotSession
BotSession.objects.get_or_create(bot="gone", defaults={"data": {}})
"""


@pytest.mark.parametrize("width", [375, 1400])
def test_a_bot_that_left_the_settings_is_a_link_without_colours(
    log_in: Callable[..., Page], site: Site, width: int
) -> None:
    output(manage("shell", "-c", MAKE_GONE, env=site.environment))
    page = log_in(viewport={"width": width, "height": 800})
    visit(page, "overview")
    expect(page.get_by_text("not in the settings")).to_be_visible()
    link = page.get_by_role("link", name="gone", exact=True)
    expect(link).to_have_css("text-decoration-line", "underline")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_a_phone(log_in: Callable[..., Page], name: str) -> None:
    page = log_in(**PHONE)
    visit(page, name)
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(width)
