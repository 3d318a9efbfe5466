"""What goes wrong with sessions is noted: which, when, what, and never what they hold."""

from __future__ import annotations

import html
import json
import os
import re
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, incidents, multi_session, session
from botsessions.admin.filters import UNKNOWN
from botsessions.exceptions import SessionStorageError, SessionVersionError
from botsessions.failures import Failure
from botsessions.incidents import current, notebook, writing
from botsessions.incidents.notebook import MOST_WAITING
from botsessions.maintenance import forget_incidents
from botsessions.maintenance.people import export_incidents, forget_user
from botsessions.models import BotSession, Incident
from botsessions.sources import FromKey
from botsessions.storages import Address
from botsessions.testing import BotClient

from .commands import manage, output
from .harness import Store, building
from .sessions import LIST, make, staff, url

pytestmark = pytest.mark.django_db
SECRET = "open sesame"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def a_notebook_of_its_own() -> None:
    incidents.start_anew()


def written() -> list[Incident]:
    current().write()
    return list(Incident.objects.order_by("pk"))


def bot(declared: Any, *handlers: Any) -> BotClient:
    return BotClient(build=building(declared, *handlers), raise_errors=False)


async def count(update: Any, context: Any) -> None:
    context.session["count"] += 1


def failing(operation: str, error: Exception) -> Store:
    store = Store({"5": {"count": SECRET}} if operation == "" else {"5": {"count": 1}})
    store.fails[operation] = error
    return store


@pytest.mark.parametrize(
    ("operation", "kind"), [("read", Incident.Kind.LOAD), ("write", Incident.Kind.SAVE)]
)
def test_a_storage_that_fails_is_an_incident_of_the_session(operation: str, kind: str) -> None:
    store = failing(operation, ValueError(SECRET))
    maria = bot(session(storage=store), count).user(id=5)
    maria.send("/go")
    (incident,) = written()
    assert (incident.bot, incident.name, incident.key) == ("1", "", "5")
    assert (incident.kind, incident.error, incident.message) == (kind, "ValueError", "")
    assert incident.by.startswith("update:")
    assert (incident.chat_id, incident.user_id, incident.count) == (5, 5, 1)


def test_our_own_messages_are_kept_without_tokens() -> None:
    token = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"
    store = failing("read", SessionStorageError(f"https://api.example/bot{token}/x failed."))
    bot(session(storage=store), count).user(id=5).send("/go")
    (incident,) = written()
    assert incident.error == "SessionStorageError"
    assert "failed" in incident.message
    assert token[10:] not in incident.message


def test_a_conflict_and_refused_data_are_told_apart() -> None:
    async def meanwhile(update: Any, context: Any) -> None:
        context.session["count"] += 1
        await BotSession.objects.aupdate(revision=1)

    async def wrong(update: Any, context: Any) -> None:
        context.session["count"] = {SECRET}

    make("5", {"count": 1}, bot="1")
    bot(session(), meanwhile).user(id=5).send("/go")
    make("6", {"count": 1}, bot="1")
    bot(session(), wrong).user(id=6).send("/go")
    conflict, refused = written()
    assert (conflict.kind, conflict.key) == (Incident.Kind.CONFLICT, "5")
    assert (refused.kind, refused.key) == (Incident.Kind.DATA, "6")
    assert "$.count" in refused.message
    assert SECRET not in refused.message


def test_data_that_does_not_fit_is_one_whoever_asks_for_it() -> None:
    make("5", {"count": SECRET}, bot="1")
    bot(session(data_type=dict[str, int]), count).user(id=5).send("/go")
    (incident,) = written()
    assert incident.kind == Incident.Kind.DATA
    assert SECRET not in incident.message


def test_a_key_function_that_fails_is_an_incident_of_the_bot() -> None:
    def key(update: Any) -> str:
        raise ZeroDivisionError

    bot(session(get_session_key=key, storage=Store()), count).user(id=5).send("/go")
    (incident,) = written()
    assert (incident.bot, incident.key, incident.kind) == ("1", "", Incident.Kind.LOAD)
    assert incident.error == "ZeroDivisionError"


def test_a_save_concerns_all_fragments() -> None:
    async def count_both(update: Any, context: Any) -> None:
        context.session.a["count"] += 1
        context.session.b["count"] += 1

    def counting() -> dict[str, int]:
        return {"count": 0}

    store = Store()
    store.fails["write"] = OSError()
    declared = multi_session(
        a=session(initial=counting, storage=store), b=session(initial=counting, storage=store)
    )
    bot(declared, count_both).user(id=5).send("/go")
    assert {(i.name, i.kind) for i in written()} == {("a", "save"), ("b", "save")}


def test_what_goes_well_notes_nothing_and_costs_nothing() -> None:
    make("5", {"count": 1}, bot="1")
    maria = bot(session(), count).user(id=5)
    with CaptureQueriesContext(connection) as queries:
        maria.send("/go")
        assert not current().write()
    assert len(queries) == 2


def test_a_handler_that_raises_is_none() -> None:
    async def fail(update: Any, context: Any) -> None:
        raise ValueError

    make("5", {"count": 1}, bot="1")
    bot(session(), fail).user(id=5).send("/go")
    assert written() == []


def note(key: str = "5", error: Exception | None = None, bot: str = "1") -> None:
    incidents.note(Failure(Address(bot, "", key), "load", error or OSError(), FromKey(key)))


def test_a_storm_is_counted_in_few_rows_by_few_statements() -> None:
    with CaptureQueriesContext(connection) as queries:
        for number in range(1000):
            note(str(number % 500))
        assert len(queries) == 0
        current().write()
        for _ in range(1000):
            note("7")
        current().write()
    assert len(queries) < 20
    assert Incident.objects.count() == MOST_WAITING + 1
    assert sum(Incident.objects.values_list("count", flat=True)) == 2000
    assert Incident.objects.get(key="7").count == 1002
    assert Incident.objects.get(key="").count == 1000 - 2 * MOST_WAITING


def test_what_fails_again_later_than_an_hour_has_a_row_of_its_own() -> None:
    note()
    current().write()
    Incident.objects.update(first_at=timezone.now() - timedelta(hours=2))
    note()
    assert [incident.count for incident in written()] == [1, 1]


def test_of_a_session_and_in_all_only_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_OF_SESSION", 3)
    monkeypatch.setattr(writing, "MOST", 5)
    errors = [OSError, ValueError, TypeError, KeyError, IndexError]
    for error in errors:
        note("5", error())
        current().write()
    assert [i.error for i in written()] == ["TypeError", "KeyError", "IndexError"]
    for key in range(4):
        note(str(key))
    assert [i.key for i in written()] == ["5", "0", "1", "2", "3"]


def test_what_cannot_be_written_is_counted_and_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writing.Incident._meta, "db_table", "not_there")
        with pytest.MonkeyPatch.context():
            for key in range(30):
                note(str(key))
            assert current().write()
    assert [(i.key, i.kind, i.count) for i in written()] == [("", "load", 30)]


def test_old_ones_are_swept() -> None:
    note("1")
    note("2")
    current().write()
    Incident.objects.filter(key="1").update(last_at=timezone.now() - 31 * DAY)
    assert list(forget_incidents("other")) == []
    call_command("sweep_sessions", verbosity=0)
    assert [incident.key for incident in written()] == ["2"]


def test_those_of_a_user_are_given_out_and_erased() -> None:
    store = failing("read", OSError())
    someone = bot(session(storage=store), count)
    someone.user(id=5).send("/go")
    someone.user(id=6).send("/go")
    current().write()
    (found,) = export_incidents(5)
    assert (found["key"], found["incident"], found["user_id"]) == ("5", "load", 5)
    assert list(export_incidents(5, bot="other")) == list(export_incidents(5, using="other")) == []
    out = StringIO()
    call_command("export_user", "5", stdout=out)
    assert json.loads(out.getvalue()) == found
    forget_user(5)
    assert [incident.key for incident in written()] == ["6"]


def test_nobody_waits_for_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers, told = threading.Event(), threading.Event(), list[int]()

    def write(notes: Any) -> None:
        asked.set()
        told.append(sum(note.count for note in notes))
        assert answers.wait(60)

    monkeypatch.setattr(notebook, "write", write)
    monkeypatch.setattr(notebook, "is_in_test", lambda: False)
    monkeypatch.setattr(notebook, "FIRST_PAUSE_SECONDS", 0.0)
    note()
    assert asked.wait(60)
    for key in range(1000):
        note(str(key))
    assert told == [1]
    answers.set()
    current().end()
    while current().write():
        pass
    assert sum(told) == 1001


def test_in_a_test_no_thread_writes() -> None:
    before = threading.active_count()
    note()
    assert threading.active_count() == before


SCRIPT = """
from botsessions import incidents
from botsessions.failures import Failure
from botsessions.sources import FromKey
from botsessions.records import Address
incidents.note(Failure(Address("1", "", "5"), "load", OSError(), FromKey("5")))
"""


@pytest.mark.once
def test_a_process_that_ends_writes_what_it_has_noted(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    environment = os.environ | {"BOTSESSIONS_DATABASE": "sqlite"}
    environment["BOTSESSIONS_DATABASE_NAME"] = str(database)
    output(manage("migrate", "--verbosity=0", env=environment))
    output(manage("shell", "-c", SCRIPT, env=environment))
    with closing(sqlite3.connect(database)) as opened:
        rows = opened.execute("SELECT kind, error FROM botsessions_incident").fetchall()
    assert rows == [("load", "OSError")]


# In the admin.


def test_they_stand_on_the_session_the_overview_and_a_list(client: Client, settings: Any) -> None:
    declared = session(data_type=dict[str, int])
    settings.BOTSESSIONS = {"BOTS": {"1": {"SESSION": declared, "APPLICATION": print}}}
    row = make("5", {"count": SECRET}, bot="1")
    maria = bot(declared, count).user(id=5)
    maria.send("/go")
    maria.send("/go")
    current().write()
    user = staff("view", "view_contents")
    client.force_login(user)
    page = client.get(url("change", row)).content.decode()
    for text in ("Incidents", "Refused data", "2 times", "Update ", "does not fit", "just now"):
        assert text in page
    assert "/incident/" not in page
    overview = client.get(f"{LIST}overview/").content.decode()
    assert "Refused data" in overview
    assert client.get(INCIDENTS).status_code == 403

    user.user_permissions.add(permission())
    page = client.get(url("change", row)).content.decode()
    assert f"{INCIDENTS}?bot=1&amp;name__exact=&amp;key__exact=5" in page
    overview = client.get(f"{LIST}overview/").content.decode()
    (counted,) = re.findall(rf'"({INCIDENTS}\?[^"]*)"', html.unescape(overview))
    assert f"{INCIDENTS}?bot=1&kind__exact=data&last_at__gte=" in counted
    assert len(client.get(counted).context["cl"].result_list) == 1
    for query in ("", "?bot=1&name__exact=&key__exact=5", "?bot=1&kind__exact=data"):
        with CaptureQueriesContext(connection) as queries:
            listed = client.get(INCIDENTS + query).content.decode()
        assert len(queries) <= 8
        assert f"{LIST}?bot=1&amp;name__exact=&amp;key__exact=5" in listed
        assert "does not fit" in listed
    assert f"{LIST}?bot=1" not in client.get(f"{INCIDENTS}?q=4").content.decode()
    Incident.objects.update(last_at=timezone.now() - timedelta(hours=25))
    assert not client.get(counted).context["cl"].result_list


@pytest.mark.parametrize("key", ["a b  c", "trail ", "k*", "1" * 40, "a/b,c"])
def test_links_lead_from_a_session_to_its_incidents_and_back(
    admin_client: Client, key: str
) -> None:
    row = make(key, bot="shop", name="cart")
    for address in (("shop", "cart", key), ("shop", "", key), ("shop", "cart", f"{key}k")):
        bot, name, other = address
        Incident.objects.create(bot=bot, name=name, key=other, kind="load")
    make(f"{key}k", bot="shop", name="cart")
    make(key, bot="shop")
    page = html.unescape(admin_client.get(url("change", row)).content.decode())
    (there,) = re.findall(rf'href="({INCIDENTS}\?[^"]*)"', page)
    listed = admin_client.get(there)
    (incident,) = listed.context["cl"].result_list
    assert (incident.name, incident.key) == ("cart", key)
    (back,) = re.findall(rf'href="({LIST}\?[^"]*)"', html.unescape(listed.content.decode()))
    assert admin_client.get(back).context["cl"].result_list == [row]
    (found, *_) = admin_client.get(INCIDENTS, {"q": key}).context["cl"].result_list
    assert found.key == key


@pytest.mark.parametrize("result", [None, {"count": SECRET}], ids=["raises", "does not fit"])
def test_where_a_migration_has_failed_its_page_promises_none(
    client: Client, settings: Any, result: Any
) -> None:
    def migrate(old: Any) -> Any:
        if result is None:
            raise ZeroDivisionError
        return result

    storage = enhance_storage(migrations={2: migrate})
    declared = session(data_type=dict[str, int], storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"1": {"SESSION": declared, "APPLICATION": print}}}
    row = make("5", {"count": 1}, bot="1", version=1, user_id=5)
    client.force_login(staff("view", "view_contents", "change"))
    promise, told = "The bot migrates it to 2", "it could not bring it to 2: see the incidents."

    def page(name: str = "change") -> str:
        return client.get(url(name, row)).content.decode()

    note(row.key, error=SessionVersionError("It is too new for the old code."))
    current().write()
    assert promise in page()
    bot(declared, count).user(id=5).send("/go")
    current().write()
    for name in ("change", "edit"):
        assert told in page(name)
        assert promise not in page(name)

    make("6", {"count": 1}, bot="1", version=1)
    make("7", {"count": 1}, bot="1", version=1, user_id=5)
    with CaptureQueriesContext(connection) as queries:
        listed = client.get(LIST).content.decode()
    assert len(queries) <= 8
    assert re.findall(r'class="bs-state bs-(\w+)"', listed) == ["live", "live", "refused"]
    found = client.get(f"{LIST}?state=unreadable").context["cl"].result_list
    assert found == [row]
    asked = client.get(f"{LIST}action/expire/?state=unreadable").content.decode()
    others = client.get(url("change", BotSession.objects.get(key="7"))).content.decode()
    for shown in (page(), asked, others):
        assert "bs-refused" in shown
    BotSession.objects.update(updated_at=timezone.now())  # Somebody has mended it.
    assert promise in page()
    for shown in (page(), client.get(LIST).content.decode()):
        assert "bs-live" in shown
        assert "bs-refused" not in shown


def test_names_of_fields_are_for_those_who_may_see_contents(client: Client) -> None:
    make("5", {"count": SECRET}, bot="1")
    bot(session(data_type=dict[str, int]), count).user(id=5).send("/go")
    current().write()
    user = staff("view")
    user.user_permissions.add(permission())
    client.force_login(user)
    for path in (INCIDENTS, url("change", BotSession.objects.get())):
        page = client.get(path).content.decode()
        assert "SessionDataError" in page
        assert "does not fit" not in page


def test_those_of_bots_that_are_gone_are_found(admin_client: Client, settings: Any) -> None:
    settings.BOTSESSIONS = {"BOTS": {"shop": {"SESSION": session(), "APPLICATION": print}}}
    note("5", bot="shop")
    note("6", bot="gone")
    current().write()
    page = admin_client.get(f"{INCIDENTS}?bot={UNKNOWN}").content.decode()
    assert "bot=gone&amp;name__exact=&amp;key__exact=6" in page
    assert "bot=shop&amp;name__exact" not in page


def test_nobody_changes_them(admin_client: Client) -> None:
    note()
    current().write()
    incident = Incident.objects.get()
    for path in ("add/", f"{incident.pk}/delete/"):
        assert admin_client.get(f"{INCIDENTS}{path}").status_code == 403
    assert admin_client.post(f"{INCIDENTS}{incident.pk}/change/", {}).status_code == 403


INCIDENTS = "/admin/botsessions/incident/"


def permission() -> Permission:
    return Permission.objects.get(codename="view_incident")
