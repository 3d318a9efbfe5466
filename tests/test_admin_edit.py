"""Editing a session's data in the admin."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from botsessions import enhance_storage, session
from botsessions.models import BotSession

from .sessions import make, staff, url

pytestmark = pytest.mark.django_db


@dataclass
class Basket:
    pizzas: int = 0


basket = session(
    initial=Basket,
    storage=enhance_storage(time_to_live=timedelta(hours=1), migrations={2: lambda old: old}),
)


@pytest.fixture(autouse=True)
def bots(settings: Any) -> None:
    settings.BOTSESSIONS = {
        "BOTS": {
            "default": {"SESSION": session(), "APPLICATION": print},
            "shop": {"SESSION": basket, "APPLICATION": print},
        },
        "MASKED_FIELDS": ["pin"],
        "MAX_BYTES": 1000,
    }


@pytest.fixture
def editor(client: Client) -> Client:
    client.force_login(staff("change", "view_contents"))
    return client


def edit(
    client: Client, row: BotSession, text: Any, revision: int | None = None, **form: Any
) -> Any:
    text = text if isinstance(text, str) else json.dumps(text)
    form["revision"] = row.revision if revision is None else revision
    if "opened" in form:
        form["opened"] = json.dumps(form["opened"])
    return client.post(url("edit", row), form | {"text": text})


def told(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_the_data_is_there_to_be_edited(editor: Client) -> None:
    row = make(data={"city": "Köln", "pets": [1]})
    text = told(editor.get(url("edit", row)))
    assert '{\n  "city": "Köln",\n  "pets": [\n    1\n  ]\n}' in text


def test_what_is_saved_has_a_new_revision_and_is_logged(editor: Client) -> None:
    row = make(data={"a": "sesame", "b": 1})
    response = edit(editor, row, {"a": "sesame!", "b": 1, "c": "ä"})
    assert response.url == url("change", row)
    stored = BotSession.objects.get()
    assert stored.data == {"a": "sesame!", "b": 1, "c": "ä"}
    assert stored.size == len('{"a":"sesame!","b":1,"c":"ä"}'.encode())
    assert stored.revision != row.revision
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed data.a and data.c."
    assert "sesame" not in entry.change_message
    assert entry.object_repr == f"Session {row.pk} of default"


def test_keys_that_are_no_names_of_fields_are_not_logged(editor: Client) -> None:
    edit(editor, make(data={}), {"maria@example.com": 1})
    assert LogEntry.objects.get().get_change_message() == "Changed data."


def test_what_is_saved_renews_the_expiry(editor: Client) -> None:
    row = make("1", {"pizzas": 1}, "shop", version=2)
    edit(editor, row, {"pizzas": 2})
    expires_at = BotSession.objects.get().expires_at
    assert expires_at is not None
    assert expires_at > timezone.now() + timedelta(minutes=59)


def test_nothing_changed_nothing_saved(editor: Client) -> None:
    row = make(data={"a": 1})
    assert edit(editor, row, '{ "a":1 }').status_code == 302
    row.refresh_from_db()
    assert LogEntry.objects.count() == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Line 1, column 2: this is no JSON"),
        ("", "This field is required"),
        ('{"a": 1, "a": 2}', "The field “a” stands there twice."),
        ('{"a": NaN}', "NaN is no JSON."),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "too many digits"),
        ('{"pizzas": "many"}', "$.pizzas does not fit Basket: Expected `int`"),
        ('{"pizzas": 1, "a": ' + "[" * 40 + "]" * 40 + "}", "nested deeper than 30 levels"),
        ('{"pizzas": 1, "a": ' + "[" * 600 + "]" * 600 + "}", "nested deeper than 30 levels"),
        ('{"pizzas": 1, "a": "\\u0000"}', "$.a is text that holds a NUL"),
        ('{"pizzas": 1, "a": "\\ud800"}', "lone surrogate"),
        (f'{{"pizzas": 1, "a": "{"x" * 1000}"}}', "a session may have 1000"),
        ("null", "delete the session instead"),
        ('{"pizzas": 1, "pin": "[masked: $.pin]"}', "$.pin is the mask of $.pin, where nothing"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(
    editor: Client, text: str, problem: str
) -> None:
    row = make("1", {"pizzas": 1}, "shop", version=2)
    response = told(edit(editor, row, text))
    assert problem in response
    assert text in response
    assert BotSession.objects.get().data == {"pizzas": 1}
    assert not LogEntry.objects.exists()


def test_data_of_a_newer_version_is_left_alone(editor: Client) -> None:
    row = make("1", {"a": 1}, "shop", version=3)
    assert "knows none after 2" in told(edit(editor, row, {"a": 2}))
    assert BotSession.objects.get().data == {"a": 1}


def test_a_conflict_shows_both_and_overwrites_nothing(editor: Client) -> None:
    opened = {"pizzas": 1, "name": "Maria", "city": "Napoli"}
    row = make(data=opened)
    with session_of_bot("1") as data:
        data |= {"pizzas": 2, "city": "Roma"}
    mine = {"pizzas": 3, "name": "Mario", "city": "Napoli"}
    text = told(edit(editor, row, mine, opened=opened))
    assert "The session was changed while you edited it." in text
    assert "1 place that both have changed" in text
    assert "2 places that one has changed" in text
    for path, taken in (("$.pizzas", "mine"), ("$.name", "mine"), ("$.city", "stored")):
        assert f'name="take {path}" value="{taken}" checked' in text
    stored = BotSession.objects.get()
    assert stored.data == {"pizzas": 2, "name": "Maria", "city": "Roma"}
    assert f'name="revision" value="{stored.revision}"' in text
    # Having seen both, the admin may decide.
    edit(editor, stored, mine, opened=opened, how="merged", **{"take $.pizzas": "stored"})
    assert BotSession.objects.get().data == {"pizzas": 2, "name": "Mario", "city": "Roma"}


def test_numbers_that_are_sent_back_have_no_thousand_separators(
    editor: Client, settings: Any
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    row = make(data={"a": 1})
    edit(editor, row, {"a": 2}, opened=row.data)
    BotSession.objects.update(revision=7540414)
    row.refresh_from_db()
    for page in (
        told(editor.get(url("past", row))),
        told(edit(editor, row, {"a": 3}, 1, opened={"a": 1})),
    ):
        assert 'name="revision" value="7540414"' in page
    assert 'data-revision="7540414"' in told(editor.get(url("change", row)))
    checked = told(edit(editor, row, "\n" * 1500 + "?", how="check", part="1"))
    assert 'data-line="1501"' in checked


def test_mine_may_be_saved_over_all_that_is_stored(editor: Client) -> None:
    row = make(data={"a": 1, "b": 1})
    BotSession.objects.update(data={"a": 2, "b": 2}, revision=5)
    edit(editor, row, {"a": 3, "b": 1}, 5, opened=row.data, how="mine")
    assert BotSession.objects.get().data == {"a": 3, "b": 1}


def test_what_was_merged_may_be_edited(editor: Client) -> None:
    row = make(data={"a": 1, "b": 1})
    BotSession.objects.update(data={"a": 2, "b": 1}, revision=5)
    text = told(edit(editor, row, {"a": 1, "b": 3}, 5, opened=row.data, how="edit"))
    assert '{\n  "a": 2,\n  "b": 3\n}</textarea>' in text
    assert 'name="revision" value="5"' in text
    assert BotSession.objects.get().revision == 5


def test_choices_outlive_a_further_conflict(editor: Client) -> None:
    row = make(data={"a": 1})
    BotSession.objects.update(data={"a": 2}, revision=5)
    chosen = {"opened": row.data, "how": "merged", "take $.a": "stored"}
    text = told(edit(editor, row, {"a": 3}, 4, **chosen))
    assert 'name="take $.a" value="stored" checked' in text


def test_what_cannot_be_merged_is_explained(editor: Client) -> None:
    row = make("1", {"pizzas": 1}, "shop", version=2)
    mine = {"pizzas": "many"}
    text = told(edit(editor, row, mine, opened=row.data, how="merged"))
    assert "$.pizzas does not fit Basket" in text
    assert '"pizzas": "many"' in text


@pytest.mark.parametrize(
    ("text", "told_of", "line"),
    [
        ('{\n  "pizzas": 2\n}', "1 change", None),
        ('{"pizzas": 1}', "Nothing is changed.", None),
        ('{\n  "pizzas" 2}', "this is no JSON", 2),
        ('{\n\n  "notes": [{}, {"a\\"b": 1}],\n "pizzas": "many"}', "does not fit Basket", 4),
        ('{"pizzas": 1, "pin": "[masked: $.pin]"}', "$.pin is the mask of", 1),
    ],
)
def test_a_text_is_checked_without_saving_it(
    editor: Client, text: str, told_of: str, line: int | None
) -> None:
    row = make("1", {"pizzas": 1}, "shop", version=2)
    for part in ({"part": "1"}, {}):
        answer = told(edit(editor, row, text, opened=row.data, how="check", **part))
        assert told_of in answer
        assert (f'data-line="{line}"' in answer) == (line is not None)
        assert ("<html" in answer) == (not part)
    assert BotSession.objects.get().revision == row.revision


def test_a_check_says_that_the_session_was_changed_meanwhile(editor: Client) -> None:
    row = make(data={"a": 1, "b": 1})
    BotSession.objects.update(data={"a": 2, "b": 1}, revision=5)
    text = told(edit(editor, row, {"a": 1, "b": 3}, opened=row.data, how="check"))
    assert "has been changed since you opened it" in text
    assert "<code>$.b</code>" in text
    assert "<code>$.a</code>" not in text


def session_of_bot(key: str) -> Any:
    from botsessions.bots import get_bot  # noqa: PLC0415

    return get_bot("default").session.edit(key)


def test_text_that_is_no_json_is_kept_in_a_conflict_too(editor: Client) -> None:
    row = make(data={"a": 1})
    BotSession.objects.update(data={"a": 2}, revision=5)
    assert "{nonsense" in told(edit(editor, row, "{nonsense"))


def test_what_turns_a_line_round_is_an_escape_that_means_the_same(editor: Client) -> None:
    row = make(data={"\u202ename": "\u202eevil \u00adé👩\u200d🍳\x7f", "n": 1})
    page = told(editor.get(url("edit", row)))
    opened = page.partition('name="text"')[2].partition(">")[2].partition("</textarea>")[0].strip()
    assert r'"\u202ename": "\u202eevil \u00adé👩‍🍳\u007f"' in opened
    assert "\u202e" not in page
    assert json.loads(opened) == row.data
    assert edit(editor, row, opened).status_code == 302
    assert LogEntry.objects.count() == 0
    text, form = opened.replace('"n": 1', '"n": 2'), {"opened": row.data}
    assert "1 change<" in told(edit(editor, row, text, how="check", **form))
    BotSession.objects.update(data=row.data | {"m": 1}, revision=5)
    page = told(edit(editor, row, text, **form))
    assert "Nothing was changed by both" in page
    edit(editor, row, text, 5, how="merged", **form)
    assert BotSession.objects.get().data == row.data | {"n": 2, "m": 1}


def test_a_session_deleted_meanwhile_is_not_made_anew(editor: Client) -> None:
    row = make()
    BotSession.objects.all().delete()
    text = told(edit(editor, row, {"mine": 1}))
    assert "The session was deleted meanwhile. Nothing was saved." in text
    assert '{"mine": 1}' in text
    assert not BotSession.objects.exists()


def test_a_check_of_a_session_deleted_meanwhile_answers_with_a_part(editor: Client) -> None:
    row = make()
    BotSession.objects.all().delete()
    text = told(edit(editor, row, {"mine": 1}, how="check", part="1"))
    assert "The session was deleted meanwhile. Nothing was saved." in text
    assert "<html" not in text


def test_what_has_expired_cannot_be_edited(editor: Client) -> None:
    row = make(data={"secret": "sesame"}, expires_at=timezone.now())
    assert editor.get(url("edit", row)).url == url("change", row)
    text = told(edit(editor, row, {"a": 1}))
    assert "The session has expired meanwhile." in text
    assert "sesame" not in text
    assert BotSession.objects.get().data == {"secret": "sesame"}


def test_masked_fields_stay_as_they_are_stored(editor: Client) -> None:
    row = make(data={"pin": "sesame", "pets": [{"pin": "b"}], "name": "Maria"})
    text = told(editor.get(url("edit", row)))
    assert '"pin": "[masked: $.pin]"' in text
    assert "sesame" not in text
    masked = {"pin": "[masked: $.pin]", "pets": [{"pin": "[masked: $.pets[0].pin]"}], "name": "Eva"}
    edit(editor, row, masked)
    stored = BotSession.objects.get()
    assert stored.data == {"pin": "sesame", "pets": [{"pin": "b"}], "name": "Eva"}
    edit(editor, stored, masked | {"pin": 1})
    assert BotSession.objects.get().data["pin"] == 1


def test_a_mask_cannot_be_moved_to_where_it_would_be_shown(editor: Client) -> None:
    row = make(data={"pin": "sesame"})
    text = told(edit(editor, row, {"name": "[masked: $.pin]"}))
    assert "$.name is the mask of a hidden value" in text
    assert BotSession.objects.get().data == {"pin": "sesame"}


def test_text_that_a_user_wrote_never_keeps_the_session_from_being_edited(editor: Client) -> None:
    row = make(data={"name": "[masked: $.pin]", "n": 1, "pin": "sesame"})
    edit(editor, row, {"name": "[masked: $.pin]", "n": 2, "pin": "[masked: $.pin]"})
    assert BotSession.objects.get().data == {"name": "[masked: $.pin]", "n": 2, "pin": "sesame"}


def test_who_guesses_a_masked_field_is_not_told(editor: Client) -> None:
    row = make(data={"pin": "sesame", "name": "Maria"})
    edit(editor, row, {"pin": "sesame", "name": "Maria"})
    assert BotSession.objects.get().revision != row.revision
    assert LogEntry.objects.get().get_change_message() == "Changed data.pin."


@pytest.mark.parametrize("written", ["multipart", "urlencoded"])
def test_the_editor_saves_what_it_opens_up_to_max_bytes(
    editor: Client, settings: Any, written: str
) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 4 * 2**20}
    note = 'ä"\n' * 600_000
    row = make(data={"note": note, "list": [[[1]]] * 5_000, "pin": "sesame"})
    opened = html.unescape(editor.get(url("edit", row)).content.decode())
    start = opened.index("{", opened.index("<textarea"))
    text = opened[start : opened.index("</textarea>")]
    assert len(text) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    form = {"text": text.replace("\n", "\r\n"), "revision": row.revision}
    if written == "multipart":
        response = editor.post(url("edit", row), form)
    else:
        kind = "application/x-www-form-urlencoded"
        response = editor.post(url("edit", row), urlencode(form), content_type=kind)
    assert response.url == url("change", row)
    assert BotSession.objects.get().revision == row.revision  # It was what it was.
    changed = form | {"text": text.replace('"list": [', '"list": [7,', 1)}
    assert editor.post(url("edit", row), changed).url == url("change", row)
    stored = BotSession.objects.get().data
    assert (stored["note"], stored["list"][:2], stored["pin"]) == (note, [7, [[1]]], "sesame")


def test_a_form_that_is_longer_than_any_session_is_refused_in_words(
    editor: Client, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    row = make(data={"a": 1})
    response = editor.post(
        url("edit", row), {"text": "1" * 30_000, "revision": row.revision}, follow=True
    )
    assert "longer than any session may be" in told(response)
    assert BotSession.objects.get().data == {"a": 1}


@pytest.mark.parametrize("size", [1, 3 * 2**20])
def test_nobody_else_can_make_an_editor_save(settings: Any, size: int) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 4 * 2**20}
    row, client = make(data={"a": 1}), Client(enforce_csrf_checks=True)
    client.force_login(staff("change", "view_contents"))
    form = {"text": json.dumps({"a": "x" * size}), "revision": row.revision}
    assert client.post(url("edit", row), form).status_code == 403
    client.get(url("edit", row))
    form["csrfmiddlewaretoken"] = client.cookies["csrftoken"].value
    assert client.post(url("edit", row), form).status_code == 302
    assert BotSession.objects.get().data == {"a": "x" * size}


def test_a_conflict_of_large_texts_keeps_both(editor: Client, settings: Any) -> None:
    settings.BOTSESSIONS = settings.BOTSESSIONS | {"MAX_BYTES": 4 * 2**20}
    row = make(data={"a": "x" * 3 * 2**20})
    BotSession.objects.update(data={"a": "stored"}, revision=5)
    text = told(edit(editor, row, {"a": "y" * 3 * 2**20}))
    assert "The session was changed while you edited it." in text
    assert "y" * 3 * 2**20 in text


def test_a_conflict_hides_masked_fields(editor: Client) -> None:
    row = make(data={"pin": "sesame"})
    BotSession.objects.update(data={"pin": "open sesame"}, revision=5)
    text = told(edit(editor, row, {"pin": "[masked: $.pin]", "a": 1}))
    assert "sesame" not in text
