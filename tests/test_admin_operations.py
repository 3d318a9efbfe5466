"""What can be done to many sessions, or to one, in the admin."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import audit, enhance_storage, finding, session
from botsessions.admin import activity, affected, doing, operations, ranges
from botsessions.locks import process_lock
from botsessions.maintenance import changing
from botsessions.models import BotSession, HistoryEntry
from botsessions.records import new_revision
from botsessions.storages import Address

from .sessions import LIST, make, staff, total, url

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
ON_ALL = f"{LIST}action/expire/"
GROUP_ANONYMOUS = 1087968824
"""Telegram's id for whoever is an anonymous admin of a group."""


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    declared = session(initial=lambda: {"new": True})
    settings.BOTSESSIONS = {
        "BOTS": {"default": {"SESSION": declared, "APPLICATION": print}},
        "MASKED_FIELDS": ["pin"],
    }


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(staff("view", "view_contents", "change", "delete", "export"))
    return client


def run(
    client: Client,
    name: str,
    rows: Iterable[BotSession],
    *,
    query: str = "",
    across: bool = False,
    **chosen: Any,
) -> Any:
    """Send an action of the list; ``confirmed="yes"`` does it."""
    return client.post(
        LIST + query,
        {
            "action": name,
            "select_across": "1" if across else "0",
            "_selected_action": [row.pk for row in rows],
            **chosen,
        },
        follow=True,
    )


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def told(response: Any) -> str:
    return html.unescape(text(response))


def test_it_is_asked_first_how_many_and_which(operator: Client) -> None:
    rows = [make(n, title=f"Title {n}") for n in range(105)]
    page = text(run(operator, "expire", rows))
    assert "Expire now: 105 sessions" in page
    assert "Title 104" in page
    assert "and 5 more" in page
    assert page.count('name="_selected_action"') == 105
    assert not BotSession.objects.exclude(expires_at=None).exists()


def test_expire_now(operator: Client) -> None:
    rows = [make(n, data={"secret": "sesame"}) for n in range(3)]
    gone = make("gone", expires_at=timezone.now() - HOUR)
    other = make("other")
    page = text(run(operator, "expire", [*rows, gone], confirmed="yes"))
    assert "Expire now: 3 sessions done." in page
    assert BotSession.objects.filter(expires_at__lte=timezone.now()).count() == 4
    other.refresh_from_db()
    assert other.expires_at is None
    entries = LogEntry.objects.all()
    assert {entry.object_id for entry in entries} == {str(row.pk) for row in rows}
    assert {entry.get_change_message() for entry in entries} == {"Changed Expires."}


def test_extend_by_a_chosen_time(operator: Client) -> None:
    row = make(expires_at=timezone.now() + HOUR)
    page = text(run(operator, "extend", [row]))
    assert 'name="amount"' in page
    run(operator, "extend", [row], confirmed="yes", amount="3", unit="days")
    row.refresh_from_db()
    assert row.expires_at is not None
    assert abs(row.expires_at - timezone.now() - timedelta(days=3)) < timedelta(minutes=1)


@pytest.mark.parametrize("amount", ["0", "-1", "", "x", "99999999"])
def test_a_time_that_makes_no_sense_is_asked_again(operator: Client, amount: str) -> None:
    row = make(expires_at=timezone.now() + HOUR)
    page = text(run(operator, "extend", [row], confirmed="yes", amount=amount, unit="weeks"))
    assert "From now on, for:" in page
    assert "amount:" not in page
    assert BotSession.objects.get().revision == row.revision


def test_reset_to_initial(operator: Client) -> None:
    rows = [make(n, data={"secret": "sesame"}) for n in range(2)]
    stranger = make("x", bot="gone")
    page = text(run(operator, "reset", [*rows, stranger], confirmed="yes"))
    assert "Reset to initial: 2 sessions done." in page
    assert "1 session was left as it was." in page
    assert "declare no initial data" in page
    assert "sesame" not in page
    for row in rows:
        row.refresh_from_db()
        assert row.data == {"new": True}
    stranger.refresh_from_db()
    assert stranger.data == {"pizza_count": 1}
    assert LogEntry.objects.count() == 2


def test_the_log_names_what_a_reset_has_changed_of_each_session(
    operator: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr("botsessions.audit.MANY", 1)
    soon = timezone.now() + HOUR
    rows = [make(1), make(2, version=2), make(3, expires_at=soon)]
    run(operator, "reset", rows, confirmed="yes")
    said = {entry.object_id: entry.get_change_message() for entry in LogEntry.objects.all()}
    assert said == {
        str(rows[0].pk): "Changed Data.",
        str(rows[1].pk): "Changed Data and Version.",
        str(rows[2].pk): "Changed Data and Expires.",
        None: "Changed Data, Version and Expires.",
    }


def test_migrate(operator: Client, settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: {"pets": [old["pet"]]}})
    declared = session(storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": declared, "APPLICATION": print}}}
    old, broken = make("1", {"pet": "Rex"}), make("2", {"fish": "sesame"})
    new = make("3", {"pets": []}, version=2)
    expired = make("4", {"pet": "Rex"}, expires_at=timezone.now())
    newer = make("5", {"pets": []}, version=3)
    chosen = [old, broken, new, expired, newer]
    page = text(run(operator, "migrate", chosen))
    assert "Migrate: 2 sessions" in page
    assert "For 3 there is nothing to do." in page
    assert page.count('class="bs-title"') == 2
    page = text(run(operator, "migrate", chosen, confirmed="yes"))
    assert "Migrate: 1 session done." in page
    assert "For 3 there was nothing to do." in page
    assert "1 session was left as it was." in page
    link = f"""<a href="{url("change", broken)}">'2' of bot 'default'</a>"""
    assert link in html.unescape(page)
    assert "sesame" not in page
    old.refresh_from_db()
    assert (old.data, old.version) == ({"pets": ["Rex"]}, 2)
    assert LogEntry.objects.get().get_change_message() == "Changed Data and Version."


@pytest.mark.parametrize(
    ("name", "what"),
    [("expire", "Expire now"), ("extend", "Extend"), ("export", "Export as JSON lines")],
)
def test_for_how_many_there_is_nothing_to_do_is_told_before_as_after(
    operator: Client, name: str, what: str
) -> None:
    ends = (timezone.now() + HOUR, None, timezone.now() - HOUR)
    chosen = [make(n, expires_at=at) for n, at in enumerate(ends)]
    page = text(run(operator, name, chosen))
    assert f"{what}: 2 sessions" in page
    assert "For 1 there is nothing to do." in page
    assert page.count('class="bs-title"') == 2
    done = run(operator, name, chosen, confirmed="yes", amount="3", unit="days")
    if name == "export":
        assert b"".join(done.streaming_content).count(b"\n") == 2
        return
    assert f"{what}: 2 sessions done. For 1 there was nothing to do." in text(done)


def test_delete(operator: Client) -> None:
    rows = [make(n) for n in range(3)]
    left = make("left")
    page = text(run(operator, "delete_selected", rows, confirmed="yes"))
    assert "Delete: 3 sessions done." in page
    assert list(BotSession.objects.all()) == [left]
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 3


def test_export_as_json_lines(operator: Client) -> None:
    make("1", {"name": "ä\u2028", "pin": "sesame"}, chat_id=1, title="Maria")
    make("2", {"secret": "sesame"}, expires_at=timezone.now())
    response = run(operator, "export", BotSession.objects.all(), confirmed="yes")
    assert response["Content-Disposition"] == 'attachment; filename="sessions.jsonl"'
    line, end = b"".join(response.streaming_content).decode().split("\n")
    assert end == ""
    exported = json.loads(line)
    assert exported["data"] == {"name": "ä\u2028", "pin": "[masked: $.pin]"}
    assert (exported["bot"], exported["key"], exported["title"]) == ("default", "1", "Maria")
    assert exported["expired"] is False
    assert "sesame" not in line
    assert {entry.get_change_message() for entry in LogEntry.objects.all()} == {"Exported."}


def test_forget_user(operator: Client) -> None:
    row = make("1", chat_id=5, chat_type="private", title="private")
    make("5/-42", user_id=5, chat_id=-42, title="member")
    make("5", user_id=5, bot="gone", title="elsewhere")
    group, other = make("-42", chat_id=-42), make("6", user_id=6)
    page = text(run(operator, "forget_user", [row, group]))
    assert "Forget user: 3 sessions" in page
    assert "1 user." in page
    for title in ("private", "member", "elsewhere"):
        assert title in page
    assert "gone" in page
    page = text(run(operator, "forget_user", [row, group], confirmed="yes"))
    assert "Forget user: 3 sessions done." in page
    assert set(BotSession.objects.all()) == {group, other}
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.object_id) == ("3 sessions", None)


def test_sessions_of_another_database_are_named_without_a_link(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, other = make(1, user_id=5), make(2, user_id=5)
    other._state.db = "other"
    both = affected.Affected(2, [row, other])
    monkeypatch.setattr(operations.ForgetUser, "affected", lambda *_: both)
    page = run(operator, "forget_user", [row]).content.decode()
    assert url("change", row) in page
    assert url("change", other) not in page


def test_of_several_users_who_are_forgotten_history_is_walked_once(operator: Client) -> None:
    rows = [make(n, user_id=n) for n in (5, 6, 7)]
    HistoryEntry.objects.create(
        table="botsessions_botsession",
        session_id=0,
        revision=1,
        data="1",
        size=1,
        at=timezone.now(),
    )
    with CaptureQueriesContext(connection) as queries:
        run(operator, "forget_user", rows, confirmed="yes")
    walks = [q for q in queries if "NOT EXISTS" in q["sql"] and q["sql"].startswith("SELECT")]
    assert len(walks) == 3  # The second locks what is found, the third finds no more.
    assert not BotSession.objects.exists()
    assert not HistoryEntry.objects.exists()


def test_what_is_done_for_an_id_is_done_to_no_stranger(operator: Client) -> None:
    make("424242", chat_id=424242, chat_type="private", expires_at=timezone.now() + HOUR)
    stranger = make("4242421337", chat_id=4242421337, chat_type="private")
    for name in ("export", "expire", "extend", "reset", "forget_user"):
        rows = BotSession.objects.filter(chat_id=424242)
        assert "1 session<" in text(run(operator, name, rows, query="?q=424242", across=True))
        chosen = {"amount": "2", "unit": "days"} if name == "extend" else {}
        done = run(operator, name, rows, query="?q=424242", across=True, confirmed="yes", **chosen)
        if name == "export":
            assert len(b"".join(done.streaming_content).splitlines()) == 1
    (left,) = BotSession.objects.all()
    assert (left.pk, left.revision) == (stranger.pk, stranger.revision)


def test_nobody_is_forgotten_by_an_id_that_telegram_gives_to_many(operator: Client) -> None:
    rows = [make(f"{GROUP_ANONYMOUS}/{chat}", user_id=GROUP_ANONYMOUS) for chat in (-1, -2)]
    run(operator, "forget_user", rows[:1], confirmed="yes")
    assert BotSession.objects.count() == 2


def test_all_that_match_and_no_others(operator: Client) -> None:
    rows = [make(n, chat_id=-42) for n in range(120)]
    make("other", chat_id=-7)
    page = text(run(operator, "expire", rows[:1], query="?of=chat:-42", across=True))
    assert "Expire now: 120 sessions" in page
    assert page.count('name="_selected_action"') == 1
    assert 'name="select_across" value="1"' in page
    run(operator, "expire", rows[:1], query="?of=chat:-42", across=True, confirmed="yes")
    assert BotSession.objects.filter(expires_at=None).count() == 1


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ("?q=alpha", 2),
        ("?changed_to=2099-01-01", 2),
        ("?size_from=20&size_to=4000", 2),
        ("?q=alpha&changed_from=2020-01-01&size_from=20&sort=largest", 2),
    ],
)
def test_all_that_match_are_all_also_where_the_list_shows_the_newest(
    operator: Client, monkeypatch: Any, query: str, listed: int
) -> None:
    for n in range(6):
        row = make(n, data={"a": "x" * 30}, title=f"The Alpha {n}")
    make("small", title="Beta", updated_at=datetime(2100, 1, 1, tzinfo=dt_timezone.utc))
    BotSession.objects.filter(key="small").update(size=2)
    for module, name in ((finding, "NEWEST"), (ranges, "NEWEST"), (ranges, "LISTED")):
        monkeypatch.setattr(module, name, 3)
    page = text(operator.get(LIST + query))
    assert total(page) == f"at least {listed} sessions"
    assert "Expire now: 6 sessions" in text(
        run(operator, "expire", [row], query=query, across=True)
    )
    address = ON_ALL + query
    assert "Expire now: 6 sessions" in text(operator.get(address))
    run(operator, "expire", [row], query=query, across=True, confirmed="yes")
    assert BotSession.objects.get(expires_at=None).key == "small"


@pytest.mark.parametrize("more", ["", "&state=live", "&of=user:5", "&created_from=2020-01-01"])
def test_all_of_a_version_are_those_of_bots_that_left_the_settings_too(
    operator: Client, more: str
) -> None:
    row = make(1, version=77, user_id=5)
    for bot in ("Gone", "aaa", "zzz"):
        make(1, bot=bot, version=77, user_id=5)
        make(2, bot=bot, version=1, user_id=5)
    query = f"?exact_version=77{more}"
    assert total(text(operator.get(LIST + query))) == "4 sessions"
    assert "Delete: 4 sessions" in text(
        run(operator, "delete_selected", [row], query=query, across=True)
    )


def test_of_all_that_are_unreadable_it_is_said_where_they_were_looked_for(
    operator: Client,
) -> None:
    row = make("1")
    said = "Looked for in the newest 500 sessions"
    every = run(operator, "expire", [row], query="?state=unreadable", across=True)
    assert said in text(every)
    assert said in text(operator.get(ON_ALL + "?state=unreadable"))
    assert said not in text(run(operator, "expire", [row], query="?state=unreadable"))
    assert said not in text(run(operator, "expire", [row], across=True))


def test_all_that_a_list_shows_at_an_address(operator: Client) -> None:
    for n in range(120):
        make(n, chat_id=-42)
    make("other", chat_id=-7)
    where = f"{LIST}action/expire/?of=chat:-42&bot=default"
    page = text(operator.get(where))
    assert "Expire now: 120 sessions" in page
    assert "Chat or user: Chat -42" in page
    assert "Bot: default" in page
    done = operator.post(where, {"confirmed": "yes"}, follow=True)
    assert done.redirect_chain == [(f"{LIST}?of=chat%3A-42&bot=default", 302)]
    assert "Expire now: 120 sessions done." in text(done)
    assert BotSession.objects.filter(expires_at=None).count() == 1
    assert operator.get(f"{LIST}action/expire/?nonsense=1").url == f"{LIST}?nonsense=1"
    assert operator.get(f"{LIST}action/nonsense/").status_code == 403


def test_who_cancels_goes_back_to_the_list_as_it_was(operator: Client) -> None:
    row = make(1)
    assert f'href="{LIST}?bot=default"' in text(
        run(operator, "expire", [row], query="?bot=default")
    )
    assert f'href="{url("change", row)}">Cancel' in text(
        operator.get(url("operation", row, "expire"))
    )


@pytest.mark.parametrize("name", ["expire", "reset", "delete_selected", "export"])
def test_the_log_knows_each_of_many_sessions_and_how_many_they_were(
    operator: Client, monkeypatch: Any, name: str
) -> None:
    monkeypatch.setattr(doing, "BATCH_SIZE", 50)
    rows = [make(n, chat_id=-42) for n in range(audit.MANY + 20)]
    response = run(operator, name, rows[:1], across=True, confirmed="yes")
    if name == "export":
        assert len(b"".join(response.streaming_content).splitlines()) == len(rows)
    entries = LogEntry.objects.exclude(object_id=None)
    assert {entry.object_id for entry in entries} == {str(row.pk) for row in rows}
    assert {entry.user for entry in entries} == {User.objects.get()}
    if name != "export":
        total = LogEntry.objects.get(object_id=None)
        assert total.object_repr == f"{len(rows)} sessions"
        assert total.action_flag == entries[0].action_flag


def test_of_a_batch_that_fails_the_earlier_ones_are_in_the_log(
    operator: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(doing, "BATCH_SIZE", 2)
    rows = [make(n) for n in range(5)]
    real = changing.expire

    def expire(sessions: Any, by: str) -> Any:
        if sessions.filter(pk=rows[3].pk).exists():
            raise RuntimeError("The database is gone.")
        return real(sessions)

    monkeypatch.setattr(changing, "expire", expire)
    with pytest.raises(RuntimeError):
        run(operator, "expire", rows, confirmed="yes")
    assert {entry.object_id for entry in LogEntry.objects.all()} == {str(r.pk) for r in rows[:2]}


@pytest.mark.parametrize("name", ["expire", "extend", "reset", "delete_selected", "export"])
def test_the_page_of_a_session_offers_the_same(operator: Client, name: str) -> None:
    row = make(expires_at=timezone.now() + HOUR)
    other = make("other", expires_at=timezone.now() + HOUR)
    where = url("operation", row, name)
    assert where in text(operator.get(url("change", row)))
    page = text(operator.get(where))
    assert ": 1 session<" in page
    assert BotSession.objects.get(pk=row.pk).revision == row.revision
    response = operator.post(where, {"confirmed": "yes", "amount": "2", "unit": "days"})
    if name == "export":
        assert json.loads(b"".join(response.streaming_content))["key"] == "1"
    elif name == "delete_selected":
        assert response.url == LIST
        assert not BotSession.objects.filter(pk=row.pk).exists()
    else:
        assert response.url == url("change", row)
        assert BotSession.objects.get(pk=row.pk).revision != row.revision
    assert BotSession.objects.get(pk=other.pk).revision == other.revision
    assert LogEntry.objects.get().object_id == str(row.pk)


@pytest.mark.parametrize("name", ["expire", "extend", "reset", "delete_selected"])
def test_what_has_changed_since_it_was_shown_is_asked_again(operator: Client, name: str) -> None:
    row = make(expires_at=timezone.now() + HOUR)
    where = url("operation", row, name)
    shown = text(operator.get(where))
    BotSession.objects.update(data={"later": 1}, revision=new_revision())
    now = BotSession.objects.get()
    assert f'name="revision" value="{row.revision}"' in shown
    sent = {"confirmed": "yes", "amount": "2", "unit": "days", "revision": str(row.revision)}
    response = operator.post(where, sent, follow=True)
    assert "was changed since you have seen it" in text(response)
    assert f'name="revision" value="{now.revision}"' in text(response)
    left = BotSession.objects.get()
    assert (left.data, left.revision, left.expires_at) == (
        {"later": 1},
        now.revision,
        now.expires_at,
    )
    operator.post(where, sent | {"revision": str(now.revision)})
    assert not BotSession.objects.filter(revision=now.revision).exists()


def test_one_whose_handler_is_running_is_waited_for(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make("1")
    monkeypatch.setattr(changing, "PATIENCE_SECONDS", 0.1)
    ticket = process_lock().request([Address(row.bot, row.name, row.key)])
    try:
        response = operator.post(url("delete", row), {"confirmed": "yes"}, follow=True)
        assert "busy" in text(response)
        assert BotSession.objects.exists()
    finally:
        process_lock().release(ticket)
    operator.post(url("delete", row), {"confirmed": "yes"})
    assert not BotSession.objects.exists()


def test_django_own_way_to_delete_asks_in_the_same_way(operator: Client) -> None:
    row = make()
    page = text(operator.get(url("delete", row)))
    assert "Delete: 1 session" in page
    assert operator.post(url("delete", row), {"confirmed": "yes"}).url == LIST
    assert not BotSession.objects.exists()


def test_a_reset_says_what_becomes_of_the_data(operator: Client) -> None:
    row = make(data={"old": 1, "pin": "sesame"})
    page = html.unescape(text(operator.get(url("operation", row, "reset"))))
    assert "<code>$.old</code>" in page
    assert "<code>$.new</code>" in page
    assert "sesame" not in page
    operator.force_login(staff("change"))
    assert "$.old" not in text(operator.get(url("operation", row, "reset")))


def test_a_session_s_page_offers_only_what_applies(operator: Client) -> None:
    private = make("5", chat_id=5)
    channel = make("-7", chat_id=-7, chat_type="channel", expires_at=timezone.now() + HOUR)
    expired = make("8", chat_id=8, expires_at=timezone.now() - HOUR)
    stranger = make("9", user_id=GROUP_ANONYMOUS, bot="gone")
    offered = {
        row: {
            name
            for name in ("expire", "extend", "reset", "migrate", "export", "forget_user")
            if url("operation", row, name) in text(operator.get(url("change", row)))
        }
        for row in (private, channel, expired, stranger)
    }
    assert offered[private] == {"expire", "reset", "export", "forget_user"}
    assert offered[channel] == {"expire", "extend", "reset", "export"}
    assert offered[expired] == {"extend", "reset", "forget_user"}
    assert offered[stranger] == {"expire", "export"}


def test_what_people_did_is_listed(operator: Client) -> None:
    rows = [make(n, title=f"Title {n}") for n in range(3)]
    assert "Nobody has changed a session" in text(operator.get(f"{LIST}activity/"))
    assert "What its bot writes is not noted" in text(operator.get(url("history", rows[0])))
    run(operator, "expire", rows[:2], confirmed="yes")
    run(operator, "delete_selected", rows[2:], confirmed="yes")
    page = text(operator.get(f"{LIST}activity/"))
    assert page.index(f"Session {rows[2].pk} of default") < page.index("Title 1")
    assert f'<a href="{url("change", rows[0])}">Title 0</a>' in page
    assert "Changed Expires." in page
    user = User.objects.get()
    assert "Title 0" in text(operator.get(f"{LIST}activity/?who={user.pk}"))
    assert "Title 0" not in text(operator.get(f"{LIST}activity/?who={user.pk + 1}"))
    assert "Title 0" not in text(operator.get(f"{LIST}activity/?before=1"))


def test_the_history_names_what_was_done(operator: Client) -> None:
    row = make()
    operator.post(url("operation", row, "expire"), {"confirmed": "yes"})
    assert "Changed Expires." in text(operator.get(url("history", row)))


def test_the_history_looks_at_the_newest_entries_of_the_log(
    operator: Client, monkeypatch: Any
) -> None:
    first, second = make(1), make(2)
    for row in (first, second, second):
        operator.post(url("operation", row, "reset"), {"confirmed": "yes"})
    assert "Changed Data" in text(operator.get(url("history", first)))
    monkeypatch.setattr(activity, "LOOKED_AT", 2)
    assert "Nobody has changed this session" in text(operator.get(url("history", first)))
    assert text(operator.get(url("history", second))).count("Changed Data") == 2


@pytest.mark.parametrize("key", ["text", "1" * 19, "1" * 25, None])
def test_entries_of_the_log_that_are_of_no_session_are_shown_too(
    operator: Client, key: str | None
) -> None:
    row, user = make("1", title="Maria"), User.objects.get()
    audit.log(user, [row], audit.CHANGE, "")
    LogEntry.objects.create(
        user=user,
        content_type=LogEntry.objects.get().content_type,
        object_id=key,
        object_repr="Nobody",
        action_flag=audit.CHANGE,
    )
    page = text(operator.get(f"{LIST}activity/"))
    assert "Nobody" in page
    assert url("change", row) in page


@pytest.fixture
def broken(settings: Any) -> str:
    """A bot that cannot be imported, and the message that says so."""
    bots = settings.BOTSESSIONS["BOTS"]
    storage = enhance_storage(migrations={2: lambda old: old})
    bots["older"] = {"SESSION": session(storage=storage), "APPLICATION": print}
    bots["broken"] = {"SESSION": "nowhere.session", "APPLICATION": print}
    return "The bot's settings are wrong: BOTSESSIONS['BOTS']['broken']['SESSION']"


@pytest.mark.parametrize("name", ["expire", "extend", "reset", "delete_selected", "forget_user"])
def test_nothing_is_done_on_the_page_of_a_session_of_a_bot_that_cannot_be_imported(
    operator: Client, broken: str, name: str
) -> None:
    row = make("1", bot="broken", chat_id=5, expires_at=timezone.now() + HOUR)
    chosen = {"confirmed": "yes", "amount": "2", "unit": "days"}
    page = operator.post(url("operation", row, name), chosen, follow=True)
    assert broken in told(page)
    assert BotSession.objects.get().revision == row.revision


def test_a_session_of_a_bot_that_cannot_be_imported_is_shown_and_not_edited(
    operator: Client, broken: str
) -> None:
    row = make("1", bot="broken")
    for page in ("recent", "past", "edit"):
        assert operator.get(url(page, row)).status_code == 200, page
    form = {"text": "[2]", "revision": row.revision, "opened": ""}
    assert broken in told(operator.post(url("edit", row), form))
    one = {"path": "$.pizza_count", "value": "2", "opened": "1", "kind": "json"}
    assert broken in told(operator.post(url("value", row), one))
    assert BotSession.objects.get().data == row.data


def test_a_bot_that_cannot_be_imported_keeps_nothing_from_being_done_to_others(
    operator: Client, broken: str
) -> None:
    older = make("1", bot="older", version=1)
    assert "1 session done" in text(run(operator, "migrate", [older], confirmed="yes"))
    ends = timezone.now() + HOUR
    mine, its = make("1"), make("1", bot="broken", expires_at=ends)
    page = told(run(operator, "reset", [mine, its], confirmed="yes"))
    assert "1 session done" in page
    assert broken in page
    chosen = {"confirmed": "yes", "amount": "2", "unit": "days"}
    assert "1 session done" in text(run(operator, "extend", [mine, its], **chosen))
    assert "2 sessions done" in text(run(operator, "expire", [mine, its], **chosen))
    # Nobody knows where it keeps what it knows of them.
    person = make("5", chat_id=5)
    for chosen in ({}, {"confirmed": "yes"}):
        assert broken in told(run(operator, "forget_user", [person], **chosen))
    assert broken in told(operator.get(url("operation", person, "forget_user"), follow=True))
