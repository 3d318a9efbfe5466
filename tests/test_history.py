"""Past versions of sessions: what is kept of changes by hand, and the page in the admin."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import DatabaseStorage, enhance_storage, session
from botsessions.history import KEPT_FOR, past_of
from botsessions.maintenance import changing, forget_history
from botsessions.maintenance.people import export_user, forget_user
from botsessions.models import BotSession, HistoryEntry
from botsessions.storages import ANY, Address, Record

from .sessions import make, staff, url

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
MOST_STATEMENTS = 8
HISTORY = DatabaseStorage(history=5)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    migrating = enhance_storage(HISTORY, migrations={2: lambda data: data | {"two": 2}})
    declared = {
        "plain": session(initial=lambda: {"new": True}),
        "shop": session(initial=lambda: {"new": True}, storage=HISTORY),
        "moving": session(storage=migrating),
    }
    bots = {name: {"SESSION": one, "APPLICATION": print} for name, one in declared.items()}
    settings.BOTSESSIONS = {"BOTS": bots, "MASKED_FIELDS": ["pin"]}


def write(n: int, key: str = "5", bot: str = "shop", **more: Any) -> BotSession:
    record = Record({"n": n, **more}, revision=ANY)
    async_to_sync(HISTORY.write)(Address(bot, "", key), record)
    return BotSession.objects.get(bot=bot, key=key)


def past(row: BotSession) -> list[tuple[Any, str, bool]]:
    row = BotSession.objects.get(pk=row.pk)
    return [(json.loads(one.entry.data), one.entry.by, one.is_present) for one in past_of(row)]


# Changes by hand.


@pytest.mark.parametrize("bot", ["plain", "shop"])
def test_what_is_changed_by_hand_can_be_had_back(bot: str) -> None:
    row = make("5", {"n": 1}, bot=bot)
    changing.write_data(row, {"n": 2}, row.revision, by="admin:1")
    (entry, *_) = (one.entry for one in reversed(past_of(BotSession.objects.get())))
    assert json.loads(entry.data) == {"n": 1}
    row.refresh_from_db()
    changing.restore(row, entry, by="admin:1")
    row.refresh_from_db()
    assert row.data == {"n": 1}
    assert next(data for data, _, is_present in past(row) if not is_present) == {"n": 2}


def test_with_history_each_change_by_hand_says_by_whom() -> None:
    row = write(1)
    changing.write_data(row, {"n": 2}, row.revision, by="admin:1")
    list(changing.reset(BotSession.objects.all(), by="admin:2"))
    list(changing.expire(BotSession.objects.all(), by="api:3"))
    assert [(data, by) for data, by, _ in past(row)] == [
        *(({"new": True}, "admin:2"), ({"n": 2}, "admin:1"), ({"n": 1}, "")),
    ]
    list(changing.extend(BotSession.objects.all(), HOUR, by="api:3"))
    assert past(row)[0] == ({"new": True}, "api:3", True)


def test_without_history_only_what_was_before_is_kept_and_not_for_long() -> None:
    row = make("5", {"n": 1}, bot="plain")
    list(changing.expire(BotSession.objects.all(), by="admin:1"))
    assert past(row) == [({"n": 1}, "", False)]
    entry = HistoryEntry.objects.get()
    assert entry.kept_until is not None
    assert abs(entry.kept_until - timezone.now() - KEPT_FOR) < HOUR
    HistoryEntry.objects.update(kept_until=timezone.now() - HOUR)
    assert [batch.done for batch in forget_history()] == [1]


def test_a_session_that_was_ended_by_hand_lives_again() -> None:
    row = make("5", {"n": 1}, bot="plain", expires_at=timezone.now() + HOUR)
    list(changing.expire(BotSession.objects.all()))
    row.refresh_from_db()
    changing.restore(row, past_of(row)[0].entry)
    row.refresh_from_db()
    assert row.data == {"n": 1}
    assert row.expires_at is not None
    assert row.expires_at > timezone.now()


def test_what_had_expired_is_gone_with_all_that_was_before() -> None:
    row = write(1)
    write(2)
    HistoryEntry.objects.update(expires_at=timezone.now() - HOUR)
    write(3)
    assert [data for data, _, _ in past(row)] == [{"n": 3}]
    BotSession.objects.update(expires_at=timezone.now() - HOUR)
    assert past(row) == []


def test_what_was_changed_by_hand_and_has_expired_later_is_gone_too() -> None:
    row = write(1)
    changing.write_data(row, {"n": 2}, row.revision, by="admin:1")
    ended = timezone.now() + HOUR
    BotSession.objects.update(expires_at=ended)
    HistoryEntry.objects.filter(by="admin:1").update(expires_at=ended)
    with mock.patch.object(timezone, "now", return_value=ended + HOUR):
        assert past(row) == []


def test_migrations_are_versions_where_a_history_is_kept() -> None:
    row = write(1, bot="moving")
    make("6", {"n": 1}, bot="plain")
    call_command("migrate_sessions", verbosity=0)
    assert past(row)[0] == ({"n": 1, "two": 2}, "command:migrate_sessions", True)
    assert (
        HistoryEntry.objects.filter(session_id=row.pk).count() == 2 == HistoryEntry.objects.count()
    )


# The end of it.


def test_it_goes_with_its_session() -> None:
    for key in "123":
        write(1, key)
    write(1, "4")
    list(changing.delete(BotSession.objects.filter(key="1")))
    BotSession.objects.filter(key="2").update(expires_at=timezone.now() - HOUR)
    call_command("sweep_sessions", verbosity=0)
    BotSession.objects.filter(key="3").delete()
    assert HistoryEntry.objects.count() == 2
    call_command("sweep_sessions", "--dry-run", verbosity=0)
    assert HistoryEntry.objects.count() == 2
    call_command("sweep_sessions", verbosity=0)
    assert HistoryEntry.objects.get().session_id == BotSession.objects.get(key="4").pk


def test_it_is_given_out_and_erased_with_a_user() -> None:
    row = write(1)
    write(2)
    BotSession.objects.update(chat_id=5)
    (line,) = export_user(5)
    assert [version["data"] for version in line["history"]] == [{"n": 2}, {"n": 1}]
    out = StringIO()
    call_command("export_user", "5", stdout=out)
    assert json.loads(out.getvalue()) == line
    assert forget_user(5) == 1
    assert not HistoryEntry.objects.filter(session_id=row.pk).exists()


def test_of_sessions_that_their_bot_has_deleted_nothing_is_left_after_erasing() -> None:
    row = make("5", {"n": 1}, bot="plain", chat_id=5)
    changing.write_data(row, {"n": 2}, row.revision)
    session(initial=dict).delete(bot="plain", chat=5)
    assert HistoryEntry.objects.exists()
    forget_user(5)
    assert not HistoryEntry.objects.exists()


def test_it_follows_a_session_to_another_key() -> None:
    row = write(1)
    BotSession.objects.update(key="6")
    assert [data for data, _, _ in past(row)] == [{"n": 1}]


# The page.


@pytest.fixture
def editor(client: Client) -> Client:
    client.force_login(staff("change", "view_contents"))
    return client


def test_the_page_shows_versions_and_what_differs(editor: Client) -> None:
    row = write(1, pin="sesame")
    write(20, pin="poppy")
    page = editor.get(url("past", row)).content.decode()
    for text in (
        "The last 5 versions are kept.",
        "just now",
        "Code of the project",
        "now</strong>",
    ):
        assert text in page
    assert "$.n" in page
    assert "Restore the version before" in page
    assert "sesame" not in page
    assert "poppy" not in page
    assert url("past", row) in editor.get(url("change", row)).content.decode()


def test_the_page_of_a_session_says_who_has_changed_it_last(editor: Client) -> None:
    row = write(1)
    assert "Changed by" not in editor.get(url("change", row)).content.decode()
    row = BotSession.objects.get()
    changing.write_data(row, {"n": 2}, row.revision, by="update:7")
    with CaptureQueriesContext(connection) as queries:
        page = editor.get(url("change", row)).content.decode()
    assert len(queries) <= MOST_STATEMENTS
    assert "Update 7" in page


@pytest.mark.parametrize("by", ["admin:abc", "api:", "admin:None", f"api:{10**30}"])
def test_whoever_is_nobody_is_no_error(editor: Client, by: str) -> None:
    row = write(1)
    HistoryEntry.objects.update(by=by)
    write(2)
    for page in ("change", "past", "recent"):
        assert editor.get(url(page, row)).status_code == 200
    who = by.partition(":")[2]
    assert f"User {who} " in editor.get(url("past", row)).content.decode()


def test_any_two_can_be_compared_at_the_cost_of_few_statements(editor: Client) -> None:
    row = write(1)
    for n in (2, 3, 4):
        write(n)
    first, *_, last = HistoryEntry.objects.order_by("pk").values_list("pk", flat=True)
    with CaptureQueriesContext(connection) as queries:
        page = editor.get(url("past", row), {"before": first, "after": last}).content.decode()
    assert len(queries) <= MOST_STATEMENTS
    assert '<del><code class="bs-json">1</code></del>' in page
    assert '<ins><code class="bs-json">4</code></ins>' in page
    for nonsense in ("x", "-1", "99999999"):
        assert editor.get(url("past", row), {"before": nonsense}).status_code == 200


def test_one_is_restored_unless_the_session_has_changed(editor: Client) -> None:
    row = write(1)
    write(2)
    row.refresh_from_db()
    entry = HistoryEntry.objects.earliest("pk")
    stale = {"restore": entry.pk, "revision": row.revision + 1}
    page = editor.post(url("past", row), stale, follow=True).content.decode()
    assert "Nothing was restored" in page
    page = editor.post(
        url("past", row), {"restore": entry.pk, "revision": row.revision}, follow=True
    ).content.decode()
    assert "The session is what it was." in page
    row.refresh_from_db()
    assert row.data == {"n": 1}
    assert past(row)[0][1].startswith("admin:")
    assert LogEntry.objects.get().object_id == str(row.pk)
    assert " in the admin" in editor.get(url("past", row)).content.decode()
    missing = {"restore": 0, "revision": row.revision}
    page = editor.post(url("past", row), missing, follow=True).content.decode()
    assert "Nothing was restored" in page


def test_that_of_another_session_cannot_be_had(editor: Client) -> None:
    row, other = write(1), write(2, "6")
    entry = HistoryEntry.objects.get(session_id=other.pk)
    data = {"restore": entry.pk, "revision": row.revision}
    page = editor.post(url("past", row), data, follow=True).content.decode()
    assert "Nothing was restored" in page
    row.refresh_from_db()
    assert row.data == {"n": 1}


@pytest.mark.parametrize("name", ["reset", "expire"])
def test_after_an_action_a_link_leads_to_what_was(editor: Client, name: str) -> None:
    row = make("5", {"n": 1}, bot="plain")
    page = editor.post(url("operation", row, name), {"confirmed": "yes"}, follow=True)
    assert url("past", row) in page.content.decode()
    assert "See what it was, or undo" in page.content.decode()


@pytest.mark.parametrize("name", ["reset", "expire"])
def test_no_link_leads_to_what_one_may_not_see(client: Client, name: str) -> None:
    row = make("5", {"n": 1}, bot="plain")
    client.force_login(staff("change"))
    page = client.post(url("operation", row, name), {"confirmed": "yes"}, follow=True)
    assert "1 session done" in page.content.decode()
    assert url("past", row) not in page.content.decode()


@pytest.mark.parametrize("name", ["reset", "expire"])
def test_what_the_bot_could_not_read_cannot_be_had_back_and_is_said_so(
    editor: Client, name: str
) -> None:
    row = make("5", {"n": 1}, bot="plain", version=7)
    said = "it cannot be had back"
    assert said in editor.get(url("operation", row, name)).content.decode()
    page = editor.post(url("operation", row, name), {"confirmed": "yes"}, follow=True)
    assert "1 session done" in page.content.decode()
    assert "See what it was, or undo" not in page.content.decode()
    readable = make("6", {"n": 1}, bot="plain")
    assert said not in editor.get(url("operation", readable, name)).content.decode()
    assert said not in editor.get(url("operation", row, "extend")).content.decode()


def test_after_an_edit_too(editor: Client) -> None:
    row = make("5", {"n": 1}, bot="plain")
    data = {"text": '{"n": 2}', "revision": row.revision}
    page = editor.post(url("edit", row), data, follow=True).content.decode()
    assert "See what it was, or undo" in page
    page = editor.get(url("past", row)).content.decode()
    assert "before a change by hand" in page
    assert '<del><code class="bs-json">1</code></del>' in page
    assert '<ins><code class="bs-json">2</code></ins>' in page
    row.refresh_from_db()
    restore = {"restore": HistoryEntry.objects.get().pk, "revision": row.revision}
    assert "Restore the version before" in page
    editor.post(url("past", row), restore)
    row.refresh_from_db()
    assert row.data == {"n": 1}


@pytest.mark.parametrize("bot", ["plain", "shop"])
@pytest.mark.parametrize("edits", [0, 1, 3])
def test_a_session_that_was_ended_by_hand_is_on_its_page_restored_as_it_was_last(
    editor: Client, bot: str, edits: int
) -> None:
    row = write(0, bot=bot)
    for n in range(edits):
        changing.write_data(row, {"n": n + 1}, row.revision, by="admin:1")
        row.refresh_from_db()
    editor.post(url("operation", row, "expire"), {"confirmed": "yes"})
    row.refresh_from_db()
    assert row.expires_at is not None
    page = editor.get(url("past", row)).content.decode()
    assert "Restore the version before" in page
    restored = re.search(r'name="restore" value="(\d+)"', page)
    assert restored is not None
    editor.post(url("past", row), {"restore": restored[1], "revision": row.revision})
    row.refresh_from_db()
    assert (row.data, row.expires_at) == ({"n": edits}, None)
    assert LogEntry.objects.latest("pk").get_change_message() == "Changed Expires."


def test_the_log_names_what_is_another_since_a_version_was_restored(editor: Client) -> None:
    row = make("5", {"n": 1}, bot="plain")
    changing.write_data(row, {"n": 2}, row.revision, by="admin:1")
    row.refresh_from_db()
    entry = HistoryEntry.objects.get()
    editor.post(url("past", row), {"restore": entry.pk, "revision": row.revision})
    assert LogEntry.objects.get().get_change_message() == "Changed Data."


def test_of_which_nothing_is_kept_the_page_says_so(editor: Client) -> None:
    page = editor.get(url("past", make("5", bot="plain"))).content.decode()
    assert "No earlier version is kept yet." in page
    assert "7 days" in page


def test_the_last_changes_are_told_on_the_session_s_page(editor: Client) -> None:
    row = write(1, pin="1234", long="x" * 20_000)
    write(2, pin="1234")
    write(3, pin="5678", a=1, b=2, c=3, d=4)
    part = editor.get(url("recent", row)).content.decode()
    assert url("recent", row) in editor.get(url("change", row)).content.decode()
    assert part.count(">Compare</a>") == 2  # Of the first nobody knows what was before.
    shown = part.split(">Compare</a>")
    assert "<del>2</del>" in shown[1]
    assert "<ins>3</ins>" in shown[1]
    assert "1 further place is not shown." in shown[1]
    assert "<del>" not in shown[2]  # One of the two is too large to be looked into.
    assert "1234" not in part
    assert "5678" not in part


def test_what_was_changed_by_hand_without_history_is_told_too(editor: Client) -> None:
    row = make("5", {"n": 1}, bot="plain")
    part = editor.get(url("recent", row)).content.decode()
    assert "No earlier version is kept yet." in part
    editor.post(url("edit", row), {"text": '{"n": 2}', "revision": row.revision})
    part = editor.get(url("recent", row)).content.decode()
    assert "and by the bot since" not in part
    assert re.search(r"<strong>staff\d+</strong>", part)
    assert "<del>1</del>" in part
    assert "<ins>2</ins>" in part
    assert re.search(r"staff\d+</a></strong> Changed data.n", part)


def test_what_the_bot_has_changed_since_is_told_so(editor: Client) -> None:
    row = make("5", {"n": 1}, bot="plain")
    editor.post(url("edit", row), {"text": '{"n": 2}', "revision": row.revision})
    write(3, bot="plain")
    LogEntry.objects.create(**of_entry(LogEntry.objects.get()), change_message="Exported.")
    part = editor.get(url("recent", row)).content.decode()
    assert "By hand, and by the bot since" in part
    assert "<ins>3</ins>" in part


def of_entry(entry: LogEntry) -> dict[str, Any]:
    names = ("user_id", "content_type_id", "object_id", "object_repr", "action_flag")
    return {name: getattr(entry, name) for name in names}


def test_without_contents_the_last_changes_are_not_told(client: Client) -> None:
    row = write(1)
    write(2)
    client.force_login(staff("view"))
    assert "Last changes" not in client.get(url("recent", row)).content.decode()
