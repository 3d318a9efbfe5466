"""The demo site, request by request. ``test_demo_browser.py`` looks at it in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from botsessions.bots import get_bot
from botsessions.database.connections import close_databases
from botsessions.models import BotSession, HistoryEntry, Incident
from botsessions.reading import is_readable, text_of, with_text
from botsessions.testing import BotClient
from project import chat, demo_settings
from project.bot import PizzaSession, pizza
from project.orders import call_it_address

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True, scope="module")
def _no_connection_is_left() -> Iterator[None]:
    yield
    chat.close()
    close_databases()


class Visitor(Client):
    """A browser that has loaded the chat page."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chat = self.load()

    def load(self) -> int:
        found = re.search(r'data-chat="(\d+)"', self.get("/").content.decode())
        assert found
        return int(found[1])

    def say(self, text: str) -> Any:
        return self.post("/messages/", {"text": text}).json()

    def press(self, message: dict[str, Any]) -> Any:
        button = message["buttons"][0][0]
        fields = {"message_id": message["id"], "text": message["text"]}
        fields |= {"label": button["text"], "button": button["callback_data"]}
        return self.post("/presses/", fields).json()

    @property
    def stored(self) -> Any:
        return self.get("/session/").json()["session"]


def test_the_bot_answers_and_the_session_is_stored() -> None:
    maria = Visitor()
    assert maria.stored is None
    assert [m["text"] for m in maria.say("🍕")["messages"]] == ["🍕 no. 1. Yum!"]
    answer = maria.say("/hunger")
    assert [m["text"] for m in answer["messages"]] == ["Your hunger level is 1!"]
    assert answer["session"]["json"] == '{\n  "pizza_count": 1\n}'
    assert pizza.get(chat=maria.chat) == PizzaSession(1)


def test_the_session_comes_with_its_row_in_the_admin() -> None:
    maria = Visitor()
    session = maria.say("🍕")["session"]
    row = BotSession.objects.get()
    assert session["key"] == row.key == str(maria.chat)
    assert session["admin"] == reverse("admin:botsessions_botsession_change", args=[row.pk])
    assert row.title == f"Guest {maria.chat % 10_000:04}"


def test_a_button_counts_and_edits_its_message() -> None:
    maria = Visitor()
    (greeting,) = maria.say("/start")["messages"]
    answer = maria.press(greeting)
    (edited,) = answer["edited"]
    assert edited["id"] == greeting["id"]
    assert edited["text"] == "Pizza so far: 1"
    assert edited["buttons"] == greeting["buttons"]
    assert answer["notice"] == "Yum!"


def test_a_button_from_before_a_restart_still_works() -> None:
    maria = Visitor()
    button = {"text": "🍕 Eat one", "callback_data": "eat"}
    answer = maria.press({"id": 17, "text": "Pizza so far: 8", "buttons": [[button]]})
    assert [(m["id"], m["text"]) for m in answer["edited"]] == [(17, "Pizza so far: 1")]


def test_reset_deletes_the_session() -> None:
    maria = Visitor()
    assert maria.say("🍕")["session"] is not None
    assert maria.say("/reset")["session"] is None
    assert not BotSession.objects.exists()


def test_a_change_made_elsewhere_is_shown() -> None:
    maria = Visitor()
    before = maria.say("🍕")["session"]
    with pizza.edit(chat=maria.chat) as data:
        data.pizza_count = 40
    assert maria.stored["revision"] != before["revision"]
    assert maria.say("/hunger")["messages"][0]["text"] == "Your hunger level is 40!"


def test_every_browser_has_a_chat_of_its_own() -> None:
    maria, omar = Visitor(), Visitor()
    assert maria.chat != omar.chat
    maria.say("🍕")
    assert omar.stored is None


def test_a_chat_is_the_same_after_logging_in_and_out() -> None:
    maria = Visitor()
    maria.force_login(User.objects.create_superuser("boss"))
    maria.post(reverse("admin:logout"))
    assert maria.load() == maria.chat


def test_a_message_that_is_empty_or_too_long_is_refused() -> None:
    maria = Visitor()
    for text in ("", "🍕" * 4097):
        response = maria.post("/messages/", {"text": text})
        assert response.status_code == 400
        assert response.json()["error"]
    assert maria.post("/presses/", {"message_id": "x"}).status_code == 400
    assert maria.stored is None


def test_a_message_needs_the_csrf_token() -> None:
    maria = Visitor(enforce_csrf_checks=True)
    assert maria.post("/messages/", {"text": "🍕"}).status_code == 403
    token = maria.cookies[settings.CSRF_COOKIE_NAME].value
    headers = {"X-CSRFToken": token}
    assert maria.post("/messages/", {"text": "🍕"}, headers=headers).status_code == 200


def test_a_browser_without_the_chats_cookie_is_told_to_load_the_page() -> None:
    response = Client().post("/messages/", {"text": "🍕"})
    assert response.status_code == 403
    assert "load the page" in response.json()["error"]


def test_a_forged_chat_is_not_shown() -> None:
    maria, omar = Visitor(), Visitor()
    maria.say("🍕")
    omar.cookies["chat"] = maria.cookies["chat"].value.replace(":", "x:", 1)
    assert omar.get("/session/").status_code == 403


def test_the_page_takes_nothing_from_elsewhere() -> None:
    response = Client().get("/")
    assert "default-src 'self'" in response["Content-Security-Policy"]
    content = response.content.decode()
    assert "//" not in content
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", content)


def test_the_bot_by_itself() -> None:
    with BotClient() as telegram:
        maria = telegram.user("Maria")
        assert maria.send("I like 🍕 and more 🍕").text == "🍕 no. 1. Yum!"
        assert maria.send("/hunger").text == "Your hunger level is 1!"
        assert maria.send("/start").buttons == [["🍕 Eat one"]]
        assert maria.press("🍕 Eat one").text == "Pizza so far: 2"
        assert maria.session == PizzaSession(2)
        maria.send("/reset")
        assert maria.session is None


def test_the_handler_that_ran_is_shown_with_what_it_cost() -> None:
    maria = Visitor()
    maria.say("🍕")
    before = maria.stored["revision"]
    ran = maria.say("🍕")["ran"]
    assert "async def count(" in ran["code"]
    assert (ran["before"], ran["after"]) == (before, maria.stored["revision"])
    if connection.vendor != "postgresql":  # Whose statements take another way.
        assert [sql.split()[0] for sql in ran["statements"]] == ["SELECT", "UPDATE"]
    ran = maria.say("hello")["ran"]
    assert (ran["code"], ran["statements"]) == ("", [])


def test_many_at_once_are_answered_in_order_and_none_is_lost() -> None:
    maria = Visitor()
    maria.say("🍕")
    answer = maria.post("/messages/many/").json()
    assert [m["text"] for m in answer["messages"]] == [f"🍕 no. {n}. Yum!" for n in range(2, 22)]
    assert answer["ran"]["updates"] == 20
    assert pizza.get(chat=maria.chat) == PizzaSession(21)


@pytest.fixture
def demo_bots(settings: Any) -> None:
    settings.BOTSESSIONS = demo_settings.BOTSESSIONS


@pytest.mark.usefixtures("demo_bots")
def test_a_conversation_goes_step_by_step() -> None:
    maria = Visitor()
    texts = [
        maria.post("/messages/", {"bot": "orders", "text": text}).json()["messages"][0]["text"]
        for text in ("Hello", "/order", "Margherita", "Via Roma 1")
    ]
    assert texts[1:] == [
        "Which pizza? (You may /cancel at any time.)",
        "And where do you live?",
        "One Margherita to Via Roma 1! That was order no. 1.",
    ]
    row = BotSession.objects.get(bot="orders")
    assert row.version == 2
    assert row.expires_at is not None
    assert HistoryEntry.objects.count() == 4
    assert maria.stored is None


@pytest.mark.usefixtures("demo_bots")
def test_a_multi_session_is_shown_as_a_whole() -> None:
    maria = Visitor()
    say = {"bot": "club", "text": "funghi"}
    session = maria.post("/messages/", say).json()["session"]
    assert json.loads(session["json"]) == {
        "chat": {"votes": {"Funghi": 1}},
        "user": {"favourite": "Funghi", "voted": 1},
    }
    assert maria.get("/session/?bot=club").json()["session"] == session


@pytest.mark.usefixtures("demo_bots")
def test_a_conversation_goes_on_after_a_restart() -> None:
    maria = Visitor()

    def say(text: str) -> Any:
        answer = maria.post("/messages/", {"bot": "tables", "text": text}).json()
        chat.close()  # Nothing is left of it in memory.
        return answer

    for text in ("/book", "4"):
        answer = say(text)
    assert json.loads(answer["session"]["json"])["ptb:conversation:booking"]["state"] == 1
    answer = say("8 p.m.")
    said = [message["text"] for message in answer["messages"]]
    assert said == ["A table for 4 at 8 p.m.! That is your table no. 1."]
    stored = BotSession.objects.get(bot="tables")
    assert stored.name == "ptb:user_data"


@pytest.mark.usefixtures("demo_bots")
def test_each_bot_has_a_page() -> None:
    maria = Visitor()
    titles = {"default": "Pizza", "orders": "Order", "club": "Club", "tables": "Table"}
    for bot, title in ((bot, f"{title} bot") for bot, title in titles.items()):
        assert f"<h1>{title}</h1>" in maria.get(f"/?bot={bot}").content.decode()
    assert "<h1>Pizza bot</h1>" in maria.get("/?bot=nonsense").content.decode()
    assert maria.post("/messages/", {"bot": "nonsense", "text": "x"}).status_code == 400


def test_data_of_an_older_version_is_brought_to_the_newest() -> None:
    assert call_it_address({"pizza": "", "street": "x"}) == {"pizza": "", "address": "x"}


@override_settings(DEBUG=True)
def test_one_click_logs_in_to_the_admin_and_to_nowhere_else() -> None:
    setup()
    maria = Visitor()
    assert maria.get("/try/admin/").status_code == 405
    for target, leads_to in (("/api/docs/", "/api/docs/"), ("https://evil.example/", "/admin/")):
        assert maria.post("/try/admin/", {"next": target})["Location"] == leads_to
    assert maria.get("/admin/").status_code == 200
    assert maria.load() == maria.chat
    strict = Visitor(enforce_csrf_checks=True)
    assert strict.post("/try/admin/").status_code == 403


def test_without_debug_nobody_is_logged_in_and_nothing_is_tried() -> None:
    User.objects.create_superuser("admin", password="admin")
    maria = Visitor()
    for path in ("admin", "conflict", "restart"):
        assert maria.post(f"/try/{path}/").status_code == 404
    assert maria.get("/admin/").status_code == 302
    content = maria.get("/").content.decode()
    assert "/try/admin/" not in content
    assert "Try to break it" not in content


@override_settings(DEBUG=True)
def test_the_bot_writes_while_the_admin_edits() -> None:
    setup()
    maria = Visitor()
    found = maria.post("/try/conflict/").json()
    assert pizza.get(chat=maria.chat) == PizzaSession(2)
    page = maria.post(found["url"], found["fields"]).content.decode()
    assert "The session was changed while you edited it." in page
    assert pizza.get(chat=maria.chat) == PizzaSession(2)


def test_only_the_development_server_can_be_restarted() -> None:
    with override_settings(DEBUG=True):
        assert Visitor().post("/try/restart/").status_code == 404


def test_the_documentation_is_there() -> None:
    client = Client()
    assert "/docs/sessions.md" in client.get("/docs/").content.decode()
    assert client.get("/docs/sessions.md").content.decode().startswith("# Sessions")
    assert client.get("/docs/nonsense.md").status_code == 404


@pytest.mark.usefixtures("demo_bots")
def test_many_sessions_are_made_up_one_of_them_broken() -> None:
    for _ in range(2):
        call_command("demo_setup", "--sessions", "300", stdout=StringIO())
        assert abs(BotSession.objects.count() - 300) < 10
    assert set(BotSession.objects.values_list("bot", "name").distinct()) == {
        *(("default", ""), ("orders", ""), ("club", "chat"), ("club", "user")),
    }
    (found,) = [
        session
        for session in with_text(BotSession.objects.filter(bot="orders", version=2))
        if not is_readable(text_of(session), get_bot("orders").fragments[""])
    ]
    assert Incident.objects.filter(key=found.key).exists()


def test_the_admin_changes_a_session_under_a_new_revision() -> None:
    maria = Visitor()
    before = maria.say("🍕")["session"]
    maria.force_login(User.objects.create_superuser("boss"))
    assert maria.get(reverse("admin:botsessions_botsession_changelist")).status_code == 200
    assert maria.get(before["admin"]).status_code == 200
    url = before["admin"].replace("/change/", "/edit/")
    text = {"text": '{"pizza_count": 123}', "revision": before["revision"]}
    assert maria.post(url, text, follow=True).status_code == 200
    assert maria.stored["revision"] != before["revision"]
    assert pizza.get(chat=maria.chat) == PizzaSession(123)
    row = BotSession.objects.get()
    assert row.size == len('{"pizza_count":123}')


def test_the_admin_finds_a_session_by_the_beginning_of_key_or_title() -> None:
    maria = Visitor()
    maria.say("🍕")
    maria.force_login(User.objects.create_superuser("boss"))
    url = reverse("admin:botsessions_botsession_changelist")
    for words, found in ((str(maria.chat)[:4] + "*", 1), ("Guest", 1), ("uest", 0)):
        assert maria.get(url, {"q": words}).context["cl"].result_count == found


def setup() -> str:
    output = StringIO()
    call_command("demo_setup", stdout=output)
    return output.getvalue()


@override_settings(DEBUG=True)
def test_demo_setup_makes_the_superuser_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8765")
    for _ in range(2):
        assert setup().splitlines() == [
            "Chat with the bot:  http://127.0.0.1:8765/",
            "See its sessions:   http://127.0.0.1:8765/admin/  (log in as admin, password admin)",
        ]
    assert Client().login(username="admin", password="admin")
    assert User.objects.count() == 1


def test_the_demo_goes_on_beside_other_bots() -> None:
    demo = settings.BOTSESSIONS["BOTS"]["default"]
    others = {"shop": demo, "elsewhere": {"TOKEN": "7:A", "FREE_STORAGE": True}}
    with override_settings(BOTSESSIONS={"BOTS": {"default": demo, **others}}):
        setup()
        assert Visitor().say("🍕")["session"]
    assert set(BotSession.objects.values_list("bot", flat=True)) == {"default"}


@override_settings(DEBUG=True)
def test_demo_setup_keeps_a_changed_password_to_itself() -> None:
    User.objects.create_superuser("admin", password="changed")
    assert "password admin" not in setup()
    assert Client().login(username="admin", password="changed")


def test_demo_setup_makes_no_superuser_without_debug() -> None:
    assert "createsuperuser" in setup()
    assert not User.objects.exists()
