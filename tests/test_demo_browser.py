"""The demo site in Chromium, as people use it, against a server of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from . import axe
from .browser import CHROMIUM, PHONE, Site, browser_of_module, log_in_as_admin, site_with

pytestmark = pytest.mark.once

expect.set_options(timeout=20_000)  # Other tests may keep the machine busy.

if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"There is no {CHROMIUM}.", allow_module_level=True)


class Chat:
    """The chat page in a browser of its own."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.requested: list[str] = []
        self.errors: list[str] = []
        page.context.on("request", lambda request: self.requested.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.goto(url)
        expect(self.session).to_be_attached()
        expect(self.answers.first).to_be_attached()  # The bot speaks first.

    def say(self, text: str) -> None:
        field = self.page.get_by_label("Message", exact=True)
        field.fill(text)
        field.press("Enter")

    def suggestion(self, name: str) -> Locator:
        return self.page.get_by_role("group", name="Suggestions").get_by_role("button", name=name)

    @property
    def messages(self) -> Locator:
        return self.page.get_by_role("log").get_by_role("listitem")

    @property
    def answers(self) -> Locator:
        return self.messages.filter(has_text="Bot: ")

    @property
    def button(self) -> Locator:
        return self.answers.last.get_by_role("button", name="Eat one")

    @property
    def session(self) -> Locator:
        return self.page.get_by_label("Session data")

    @property
    def alert(self) -> Locator:
        return self.page.get_by_role("alert")

    @property
    def focused(self) -> Locator:
        return self.page.locator(":focus")

    def fits(self) -> bool:
        width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(self.page.evaluate(width))

    def _note(self, message: Any) -> None:
        asked_by_browser = message.location["url"].endswith("/favicon.ico")  # For the admin.
        if message.type in ("error", "warning") and not asked_by_browser:
            self.errors.append(message.text)


site = site_with("project.demo_settings")
browser = browser_of_module()


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Callable[..., Chat]]:
    """Open the chat page in a browser of its own; at the end, see that all went well there."""
    chats: list[Chat] = []

    def visit(**options: Any) -> Chat:
        chats.append(Chat(browser.new_context(**options).new_page(), site.url))
        return chats[-1]

    yield visit
    for chat in chats:
        chat.page.context.close()
        assert chat.errors == []
        assert [url for url in chat.requested if not url.startswith(f"{site.url}/")] == []


def test_the_bot_answers_and_the_session_changes_beside_the_chat(
    visit: Callable[..., Chat],
) -> None:
    chat = visit()
    expect(chat.session).to_have_text("Nothing is stored for this chat.")
    chat.suggestion("pizza").click()
    expect(chat.session).to_contain_text('"pizza_count": 1')
    chat.say("More 🍕!")
    expect(chat.session).to_contain_text('"pizza_count": 2')
    chat.suggestion("/hunger").click()
    expect(chat.answers.last).to_contain_text("Your hunger level is 2!")
    chat.say("hello")
    expect(chat.messages.last).to_contain_text("No answer")
    chat.say("/reset")
    expect(chat.session).to_have_text("Nothing is stored for this chat.")


def test_a_button_counts_and_edits_its_message(visit: Callable[..., Chat]) -> None:
    chat = visit()
    for count in (1, 2):
        chat.button.click()
        expect(chat.answers.last).to_contain_text(f"Pizza so far: {count}")
        expect(chat.session).to_contain_text(f'"pizza_count": {count}')
    expect(chat.page.locator("#notice")).to_have_text("Yum!")
    expect(chat.answers).to_have_count(1)


def test_a_command_in_an_answer_can_be_pressed(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("/start").click()
    chat.answers.last.get_by_role("button", name="/hunger").click()
    expect(chat.answers.last).to_contain_text("Your hunger level is 0!")


def test_a_change_in_the_admin_shows_in_the_chat(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("pizza").click()
    link = chat.page.get_by_role("link", name="Open this row in the admin")
    with chat.page.context.expect_page() as opened:
        link.click()
    admin = opened.value
    log_in_as_admin(admin)
    admin.get_by_role("link", name="Edit data").click()
    admin.get_by_label("Data, as JSON").fill('{"pizza_count": 41}')
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_text("The data was saved.")).to_be_visible()
    expect(chat.session).to_contain_text('"pizza_count": 41')
    chat.suggestion("pizza").click()
    chat.suggestion("/hunger").click()
    expect(chat.answers.last).to_contain_text("Your hunger level is 42!")


def test_visitors_who_speak_at_once_get_their_own_answers(visit: Callable[..., Chat]) -> None:
    chats = {eaten: visit() for eaten in (9, 6, 3, 0)}
    for eaten, chat in chats.items():
        chat.page.evaluate("texts => texts.forEach(send)", ["🍕"] * eaten + ["/hunger"])
    for eaten, chat in chats.items():
        said = [f"Bot: 🍕 no. {n}. Yum!" for n in range(1, eaten + 1)]
        said.append(f"Bot: Your hunger level is {eaten}!")
        expect(chat.answers).to_have_text([re.compile("Hi!"), *said])


def test_tabs_of_one_browser_share_their_chat(visit: Callable[..., Chat], site: Site) -> None:
    chat = visit()
    tab = Chat(chat.page.context.new_page(), site.url)
    chat.suggestion("/hunger").click()
    expect(tab.answers.last).to_contain_text("Your hunger level is 0!")
    expect(tab.session).to_contain_text('"pizza_count": 0')
    assert tab.errors == []


def test_session_and_messages_are_still_there_after_a_restart(
    visit: Callable[..., Chat], site: Site
) -> None:
    chat = visit()
    chat.suggestion("/start").click()
    chat.button.click()
    expect(chat.session).to_contain_text('"pizza_count": 1')

    site.stop()
    expect(chat.alert).to_contain_text("The server does not answer.")
    chat.say("🍕")
    expect(chat.messages.last).to_contain_text("Not delivered. The server does not answer.")
    site.start()
    expect(chat.alert).to_be_hidden()
    chat.messages.last.get_by_role("button", name="Try again").click()
    expect(chat.session).to_contain_text('"pizza_count": 2')

    chat.page.reload()
    expect(chat.session).to_contain_text('"pizza_count": 2')
    expect(chat.answers.last).to_contain_text("🍕 no. 2. Yum!")
    chat.page.get_by_role("button", name="Eat one").last.click()
    expect(chat.session).to_contain_text('"pizza_count": 3')
    chat.errors = [error for error in chat.errors if "ERR_CONNECTION_REFUSED" not in error]


def test_a_failing_bot_is_not_hidden(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("/start").click()
    expect(chat.button).to_be_visible()
    for url in ("**/messages/", "**/presses/"):
        chat.page.route(url, lambda route: route.fulfill(status=500, body="<h1>Error</h1>"))
    chat.button.click()
    expect(chat.alert).to_contain_text("The bot failed (error 500)")
    chat.say("🍕")
    expect(chat.messages.last).to_contain_text("The bot failed (error 500)")
    chat.errors = [error for error in chat.errors if "500" not in error]


def test_without_its_cookies_the_page_says_what_to_do(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.page.context.clear_cookies()
    chat.say("🍕")
    expect(chat.messages.last).to_contain_text("Not delivered. The server refuses it: reload")
    expect(chat.alert).to_contain_text("load the page")
    chat.page.reload()
    expect(chat.session).to_have_text("Nothing is stored for this chat.")
    chat.errors = [error for error in chat.errors if "403" not in error]


def test_it_fits_a_phone(visit: Callable[..., Chat]) -> None:
    chat = visit(**PHONE)
    assert chat.fits()
    chat.say("🍕" + "x" * 300)
    glance = chat.page.locator("summary").get_by_text('{ "pizza_count": 1 }')
    expect(glance).to_be_visible()
    expect(chat.session).to_be_hidden()
    glance.tap()
    expect(chat.session).to_be_visible()
    expect(chat.page.get_by_role("link", name="Open this row in the admin")).to_be_in_viewport()
    expect(chat.page.get_by_role("button", name="Send", exact=True)).to_be_in_viewport()
    assert chat.fits()


def test_it_works_by_keyboard(visit: Callable[..., Chat]) -> None:
    chat = visit()
    keyboard = chat.page.keyboard
    expect(chat.focused).to_have_attribute("placeholder", "Message")
    expect(chat.button).to_be_visible()

    for _ in range(5):  # Over the four suggestions.
        keyboard.press("Shift+Tab")
    expect(chat.button).to_be_focused()
    expect(chat.button).to_have_css("outline-style", "solid")
    for count in (1, 2):
        keyboard.press("Enter")
        expect(chat.answers.last).to_contain_text(f"Pizza so far: {count}")
        expect(chat.button).to_be_focused()

    keyboard.press("Tab")
    expect(chat.suggestion("pizza")).to_be_focused()
    keyboard.press("Space")
    expect(chat.session).to_contain_text('"pizza_count": 3')
    for _ in range(5):  # The other suggestions, the field, the button.
        keyboard.press("Tab")
    expect(chat.focused).to_have_text("Send")
    keyboard.press("Tab")
    expect(chat.focused).to_contain_text("Try to break it")
    for _ in range(4):  # Its buttons.
        keyboard.press("Tab")
    expect(chat.focused).to_contain_text("Stored session")
    keyboard.press("Enter")
    expect(chat.session).to_be_hidden()
    keyboard.press("Enter")
    keyboard.press("Tab")
    expect(chat.session).to_be_focused()
    keyboard.press("Tab")
    expect(chat.focused).to_have_text("Open this row in the admin")


def test_it_is_light_or_dark_as_the_visitor_likes(visit: Callable[..., Chat]) -> None:
    def brightness(scheme: str) -> int:
        body = visit(color_scheme=scheme).page.locator("body")
        colour = body.evaluate("body => getComputedStyle(body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)))

    assert brightness("dark") < 150 < 600 < brightness("light")


def test_new_messages_are_announced(visit: Callable[..., Chat]) -> None:
    log = visit().page.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "polite")
    expect(log).to_have_accessible_name("Messages")


# The four buttons.


def test_twenty_at_once_are_counted_in_order(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("pizza").click()
    chat.page.get_by_role("button", name="Send 20 at once").click()
    expect(chat.answers.last).to_contain_text("🍕 no. 21. Yum!")
    expect(chat.messages.last).to_contain_text("all counted, in order, none lost")
    expect(chat.messages.last).to_be_in_viewport()
    expect(chat.page.locator("#cost")).to_contain_text("20 updates, 40 SQL statements, revision …")


def test_a_conflict_of_admin_and_bot_is_one_click_away(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("pizza").click()
    expect(chat.session).to_contain_text('"pizza_count": 1')
    chat.page.get_by_role("button", name="Edit in the admin while the bot writes").click()
    page = chat.page
    expect(page.get_by_role("alert")).to_contain_text("changed while you edited it")
    page.get_by_label("Stored now").check()
    page.get_by_role("button", name="Save what is chosen").click()
    expect(page.get_by_text("The data is what it was")).to_be_visible()
    page.goto(page.url.partition("/admin/")[0])
    expect(chat.session).to_contain_text('"pizza_count": 2')


def test_the_process_is_restarted_and_the_session_still_there(
    visit: Callable[..., Chat], site: Site
) -> None:
    site.stop()
    site.start()  # On the port that it has had.
    chat = visit()
    chat.suggestion("pizza").click()
    expect(chat.session).to_contain_text('"pizza_count": 1')
    chat.page.get_by_role("button", name="Restart the process").click()
    expect(chat.messages.last).to_contain_text("another one has taken its place")
    expect(chat.session).to_contain_text('"pizza_count": 1')
    chat.suggestion("pizza").click()
    expect(chat.session).to_contain_text('"pizza_count": 2')
    chat.errors = [error for error in chat.errors if "ERR_CONNECTION" not in error]


def test_a_conversation_goes_on_after_its_process_was_restarted(
    visit: Callable[..., Chat], site: Site
) -> None:
    site.stop()
    site.start()  # On the port that it has had.
    chat = visit()
    chat.page.get_by_role("link", name="Table bot").click()
    chat.suggestion("/book").click()
    expect(chat.answers.last).to_contain_text("how many people?")
    chat.page.get_by_role("button", name="Restart the process").click()
    expect(chat.messages.last).to_contain_text("another one has taken its place")
    chat.suggestion("4").click()
    expect(chat.answers.last).to_contain_text("at what time?")
    expect(chat.session).to_contain_text("ptb:conversation:booking")
    chat.errors = [error for error in chat.errors if "ERR_CONNECTION" not in error]


def test_one_click_leads_to_the_admin_and_to_the_api(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.page.get_by_role("button", name="Admin", exact=True).click()
    expect(chat.page.get_by_role("heading", name="Largest sessions")).to_be_visible()
    chat.page.go_back()
    chat.page.get_by_role("button", name="API", exact=True).click()
    expect(chat.page.get_by_role("heading", level=1).first).to_be_visible()
    chat.page.go_back()
    chat.page.get_by_role("link", name="Docs", exact=True).click()
    chat.page.get_by_role("link", name="Sessions", exact=True).click()
    expect(chat.page.locator("body")).to_contain_text("# Sessions")


def test_code_and_cost_of_the_handler_stand_beside_the_chat(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.suggestion("pizza").click()
    expect(chat.page.get_by_label("Code of the handler")).to_contain_text("async def count(")
    chat.suggestion("pizza").click()
    expect(chat.page.locator("#cost")).to_have_text(
        re.compile(r"2 SQL statements, revision …\d{4} → …\d{4}")
    )


def test_the_other_bots_talk_too(visit: Callable[..., Chat]) -> None:
    chat = visit()
    chat.page.get_by_role("link", name="Order bot").click()
    for text, answer in (
        *(("/order", "Which pizza?"), ("Margherita", "where do you live?")),
        ("Via Roma 1", "That was order no. 1."),
    ):
        chat.suggestion(text).click()
        expect(chat.answers.last).to_contain_text(answer)
    chat.page.get_by_role("link", name="Club bot").click()
    chat.suggestion("Funghi").click()
    expect(chat.session).to_contain_text('"favourite": "Funghi"')


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing(visit: Callable[..., Chat], site: Site, look: str) -> None:
    source = axe.script()
    options = PHONE if look == "phone" else {"color_scheme": look}
    chat = visit(**options, bypass_csp=True)  # axe uses inline styles.
    chat.say("🍕")
    expect(chat.answers).to_have_count(2)
    assert axe.violations(chat.page, source) == {}
    for path in ("/?bot=club", "/docs/"):
        chat.page.goto(site.url + path)
        assert axe.violations(chat.page, source) == {}, path
