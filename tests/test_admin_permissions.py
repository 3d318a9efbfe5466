"""Who may do what in the admin: each permission against each page and action."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any, TypedDict

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from botsessions import audit, enhance_storage, session
from botsessions.admin import BotSessionAdmin
from botsessions.maintenance.changing import write_data
from botsessions.models import BotSession, HistoryEntry, Incident, MaintenanceRun
from botsessions.permissions import PERMISSIONS

from .sessions import LIST, make, staff, url

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SECRET = "open sesame"
INCIDENTS = "/admin/botsessions/incident/"
OPERATIONS = {
    "expire": {"change"},
    "extend": {"change"},
    "reset": {"change"},
    "migrate": {"change"},
    "delete_selected": {"view", "delete"},
    "export": {"view", "view_contents", "export"},
    "forget_user": {"view", "delete"},
}
"""What one has to be allowed; ``change`` includes to see."""
PAGES: dict[str, set[str]] = {
    "change": {"view"},
    "history": {"view"},
    "data": {"view", "view_contents"},
    "past": {"view", "view_contents"},
    "edit": {"change", "view_contents"},
    "value": {"change", "view_contents"},
    "revision": {"view"},
    "recent": {"view"},
}
LISTS = ("", "overview/", "overview/webhooks/", "activity/")
"""Pages of all sessions, for those who may ``view``."""
PEOPLE = [
    (),
    *((name,) for name in PERMISSIONS),
    *(("view", name) for name in PERMISSIONS if name != "view"),
    ("view", "view_contents", "export"),
    ("change", "view_contents"),
    ("view", "delete", "export"),
    PERMISSIONS,
]


class Account(TypedDict):
    password: str


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    declared = session(initial=lambda: {"new": True}, storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": declared, "APPLICATION": print}}}


@pytest.fixture
def row() -> BotSession:
    soon = timezone.now() + timedelta(hours=1)
    return make(data={"secret": SECRET}, user_id=5, expires_at=soon)


def allowed(permissions: tuple[str, ...], needed: set[str]) -> bool:
    return needed <= set(permissions) | ({"view"} if "change" in permissions else set())


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_pages_open_for_those_who_may(
    client: Client, row: BotSession, permissions: tuple[str, ...]
) -> None:
    client.force_login(staff(*permissions))
    for page in LISTS:
        status = client.get(f"{LIST}{page}").status_code
        assert status == (200 if allowed(permissions, {"view"}) else 403), page
    for page, needed in PAGES.items():
        status = client.get(url(page, row), {"path": "$.secret"}).status_code
        assert status == (200 if allowed(permissions, needed) else 403), page
    for name, needed in OPERATIONS.items():
        status = client.get(url("operation", row, name)).status_code
        assert status == (200 if allowed(permissions, needed) else 403), name
        status = client.get(f"{LIST}action/{name}/").status_code
        assert status == (200 if allowed(permissions, needed) else 403), name
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(INCIDENTS).status_code == 403


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_the_api_is_linked_for_those_who_may_use_it(
    client: Client, permissions: tuple[str, ...]
) -> None:
    client.force_login(staff(*permissions))
    is_linked = 'href="/api/docs/"' in client.get(LIST).content.decode()
    assert is_linked == (client.get("/api/docs/").status_code == 200)


def test_the_pages_above_are_all_that_there_are() -> None:
    prefix = "botsessions_botsession_"
    names = {pattern.name for pattern in site.get_model_admin(BotSession).get_urls()} - {None}
    lists = {"changelist", "overview", "webhooks", "activity"}
    others = {"operation", "operation_on_all", "delete", "add"}
    assert names == {prefix + name for name in lists | PAGES.keys() | others}
    assert OPERATIONS.keys() == {operation.name for operation in BotSessionAdmin.actions}


def test_incidents_are_for_those_who_may_view_them(client: Client) -> None:
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(user)
    assert client.get(INCIDENTS).status_code == 200
    assert client.get(LIST).status_code == 403
    assert client.get(f"{INCIDENTS}add/").status_code == 403


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_messages_of_incidents_are_for_those_who_may_see_contents(
    client: Client, permissions: tuple[str, ...]
) -> None:
    incident = Incident.objects.create(bot="default", key="1", kind="data", message=SECRET)
    user = staff(*permissions)
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(user)
    names = [pattern.name for pattern in site.get_model_admin(Incident).get_urls() if pattern.name]
    assert [name.rpartition("_")[2] for name in names] == [
        *("changelist", "add", "history", "delete", "change"),
    ]
    for page, status in {"change": 200, "history": 200, "delete": 403}.items():
        answer = client.get(f"{INCIDENTS}{incident.pk}/{page}/")
        assert answer.status_code == status
        may_see = page == "change" and "view_contents" in permissions
        assert (SECRET in answer.content.decode()) == may_see, page
    assert (SECRET in client.get(INCIDENTS).content.decode()) == ("view_contents" in permissions)
    assert client.get(f"{INCIDENTS}?message__startswith=open").status_code in (302, 400)


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("where", ["list", "all", "page"])
def test_only_those_who_may_change_anything(
    client: Client, row: BotSession, permissions: tuple[str, ...], name: str, where: str
) -> None:
    client.force_login(staff(*permissions))
    BotSession.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    before = stored()
    chosen = {"confirmed": "yes", "amount": "1", "unit": "days"}
    if where == "list":
        client.post(LIST, {"action": name, "_selected_action": [row.pk], **chosen})
    else:
        all_of_them = f"{LIST}action/{name}/"
        client.post(url("operation", row, name) if where == "page" else all_of_them, chosen)
    may_do = allowed(permissions, OPERATIONS[name])
    assert (stored() != before) == (may_do and name != "export")
    assert LogEntry.objects.exists() == may_do


def stored() -> list[Any]:
    return list(BotSession.objects.order_by("pk").values_list("pk", "revision", "data"))


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_only_those_who_may_see_and_change_contents_edit(
    client: Client, row: BotSession, permissions: tuple[str, ...]
) -> None:
    client.force_login(staff(*permissions))
    client.post(url("edit", row), {"text": "{}", "revision": row.revision})
    one = {"path": "$.secret", "kind": "text", "opened": f'"{SECRET}"', "value": "mine"}
    client.post(url("value", row), one)
    row.refresh_from_db()
    edited = allowed(permissions, {"change", "view_contents"})
    assert row.data == ({} if edited else {"secret": SECRET})


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_only_those_who_may_edit_restore(
    client: Client, row: BotSession, permissions: tuple[str, ...]
) -> None:
    write_data(row, {"other": 1}, row.revision)
    row.refresh_from_db()
    client.force_login(staff(*permissions))
    entry = HistoryEntry.objects.get()
    client.post(url("past", row), {"restore": entry.pk, "revision": row.revision})
    row.refresh_from_db()
    may_do = allowed(permissions, {"change", "view_contents"})
    assert row.data == ({"secret": SECRET} if may_do else {"other": 1})
    assert LogEntry.objects.exists() == may_do


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_without_contents_nothing_shows_what_is_stored(
    client: Client, row: BotSession, permissions: tuple[str, ...]
) -> None:
    client.force_login(staff(*permissions))
    answers = [client.get(path) for path in (LIST, f"{LIST}overview/", "/admin/botsessions/")]
    answers += [client.get(url(page, row), {"path": "$.secret"}) for page in PAGES]
    answers += [client.get(url("operation", row, name)) for name in OPERATIONS]
    answers += [client.post(url("edit", row), {"text": "{", "revision": "1"})]
    answers += [client.post(url("operation", row, "export"), {"confirmed": "yes"})]
    text = "".join(
        b"".join(a.streaming_content).decode() if a.streaming else a.content.decode()
        for a in answers
    )
    assert (SECRET in text) == allowed(permissions, {"view", "view_contents"})


@pytest.mark.parametrize("permissions", PEOPLE, ids="+".join)
def test_only_what_one_may_is_offered(
    client: Client, row: BotSession, permissions: tuple[str, ...]
) -> None:
    if not allowed(permissions, {"view"}):
        return
    client.force_login(staff(*permissions))
    listed, page = (
        client.get(LIST).content.decode(),
        client.get(url("change", row)).content.decode(),
    )
    for name, needed in OPERATIONS.items():
        may_do = allowed(permissions, needed)
        assert (f'<option value="{name}"' in listed) == may_do
        assert (url("operation", row, name) in page) == may_do
    for name in ("edit", "data", "past"):
        assert (url(name, row) in page) == allowed(permissions, PAGES[name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_change_needs_a_token_against_forgery(row: BotSession, name: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff(*PERMISSIONS))
    before = stored()
    in_list = {"action": name, "_selected_action": [row.pk], "confirmed": "yes"}
    for where, data in (
        (LIST, in_list),
        (url("operation", row, name), {"confirmed": "yes", "amount": "1", "unit": "days"}),
        (f"{LIST}action/{name}/", {"confirmed": "yes", "amount": "1", "unit": "days"}),
        (url("delete", row), {"confirmed": "yes"}),
        (url("edit", row), {"text": "{}", "revision": row.revision}),
        (url("past", row), {"restore": "1", "revision": row.revision}),
        (url("value", row), {"path": "$", "kind": "json", "opened": "{}", "value": "{}"}),
    ):
        assert client.post(where, data).status_code == 403
    assert stored() == before


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_get_changes_nothing(client: Client, row: BotSession, name: str) -> None:
    client.force_login(staff(*PERMISSIONS))
    before = stored()
    chosen = {"confirmed": "yes", "amount": "1", "unit": "days"}
    client.get(url("operation", row, name), chosen)
    client.get(f"{LIST}action/{name}/", chosen)
    client.get(url("edit", row), {"text": "{}", "revision": row.revision})
    client.get(LIST, {"action": name, "_selected_action": row.pk, "confirmed": "yes"})
    assert stored() == before
    assert not LogEntry.objects.exists()


SCRIPT = "<script>alert(1)</script>'\"&"


def test_markup_is_text_everywhere(client: Client, settings: Any) -> None:
    user = staff(*PERMISSIONS)
    user.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(user)
    data = {SCRIPT: [SCRIPT, {"a": SCRIPT * 20}]}
    row = make(SCRIPT, data, bot=SCRIPT[:60], name=SCRIPT[:60], title=SCRIPT, chat_id=-5)
    make(f"{SCRIPT}2", data, title=SCRIPT, chat_id=-5)
    texts = dict.fromkeys(("error", "message", "by"), SCRIPT)
    Incident.objects.create(bot=row.bot, name=row.name, key=row.key, kind="load", **texts)
    pages = [
        LIST,
        f"{LIST}overview/",
        f"{LIST}?q={SCRIPT}",
        f"{LIST}?bot={SCRIPT}",
        f"{LIST}?of={SCRIPT}",
        INCIDENTS,
    ]
    pages += [url(page, row) for page in ("change", "history", "past", "edit")]
    pages += [f"{url('value', row)}?path={path}" for path in (SCRIPT, "$", f"$[{SCRIPT}]")]
    pages += [f"{LIST}activity/"]
    pages += [url("operation", row, name) for name in OPERATIONS]
    answers = [client.get(page, follow=True) for page in pages]
    answers += [
        client.post(url("edit", row), {"text": SCRIPT, "revision": row.revision}),
        client.post(url("edit", row), {"text": f'"{SCRIPT[:25]}"', "revision": 1}),
        client.post(LIST, {"action": "expire", "_selected_action": [row.pk]}),
        client.post(LIST, {"action": "reset", "_selected_action": [row.pk], "confirmed": "yes"}),
        client.get(url("change", row)),
        client.get(LIST),
    ]
    for answer in answers:
        assert answer.status_code in (200, 302), answer
        assert "<script>alert" not in answer.content.decode(), answer.request
    assert "<script>alert" in html.unescape(answers[6].content.decode())
    raw = client.get(url("data", row))
    assert raw["Content-Type"].startswith("application/json")
    assert raw["X-Content-Type-Options"] == "nosniff"


def test_nothing_turns_the_direction_of_writing_nor_is_a_nul(admin_client: Client) -> None:
    turned = "a\u202eb"
    row = make(turned, bot=turned, name=turned, title=turned, chat_id=-5)
    make("2", bot=turned, name=turned, chat_id=-5)
    texts = dict.fromkeys(("error", "message", "by"), turned)
    Incident.objects.create(bot=turned, name=turned, key=turned, kind="load", **texts)
    write_data(row, {"other": 1}, row.revision, by=f"job:{turned}")
    HistoryEntry.objects.update(kept_until=None, by=f"command:{turned}")
    audit.log(User.objects.get(), [row], audit.CHANGE, "")
    LogEntry.objects.update(object_id="0", object_repr=turned)
    MaintenanceRun.objects.create(work="sweep", only=turned, outcome="done")
    pages = [LIST, f"{LIST}overview/", f"{LIST}activity/", "/admin/botsessions/", INCIDENTS]
    pages += [f"{LIST}?name__exact={turned}", f"{LIST}?q=%00", f"{LIST}%00/change/"]
    pages += [url(page, row) for page in ("change", "history", "past", "recent", "edit")]
    pages += [url("operation", row, name) for name in OPERATIONS]
    for page in pages:
        text = admin_client.get(page, follow=True).content.decode()
        shown = re.sub('<input type="hidden"[^>]*>', "", text)  # What is sent is what was sent.
        assert "\u202e" not in shown, page
        assert "\0" not in text, page


@pytest.mark.parametrize("name", ["migrate", "reset"])
def test_names_of_fields_are_told_to_those_who_may_see_contents(
    client: Client, settings: Any, name: str
) -> None:
    storage = enhance_storage(migrations={2: lambda old: old})
    declared = session(data_type=Account, initial=lambda: {"password": 5}, storage=storage)
    settings.BOTSESSIONS = {"BOTS": {"default": {"SESSION": declared, "APPLICATION": print}}}
    chosen = {"action": name, "_selected_action": [make(data={"password": 5}).pk]}
    for permissions in (("change",), ("change", "view_contents")):
        client.force_login(staff(*permissions))
        page = client.post(LIST, {**chosen, "confirmed": "yes"}, follow=True).content.decode()
        assert "1 session was left as it was." in page
        assert ("password" in page) == ("view_contents" in permissions)
