"""What a session is for, and the key that it gets: an update, a job, ids or a key from outside."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from telegram import Update

from botsessions.exceptions import SessionKeyError
from botsessions.keys import per_chat, per_topic, per_user, per_user_chat, takes_ids
from botsessions.sources import FromIds, FromJob, FromKey, FromMigration, FromUpdate
from botsessions.storages import About

from .test_keys import (
    ANONYMOUS,
    AS_CHANNEL,
    CASES,
    CHANNEL,
    DIRECT,
    FOR_CUSTOMER,
    GROUP,
    POLL,
    PRIVATE,
    Json,
    an_update,
    message,
    skip_what_is_newer,
)

pytestmark = pytest.mark.once


def by_bot(update: Update) -> str:
    return "bot"


def by_shop(update: Update | None = None, *, shop: int | None = None) -> str | None:
    return None if shop is None else f"shop-{shop}"


class ByAnybody:
    def __call__(self, *updates: Update, chat: int | None = None) -> str | None:
        return None


def test_an_update_is_given_to_the_key_function() -> None:
    update = an_update("message", message())
    assert FromUpdate(update).key(per_user_chat) == "5/-9"
    assert FromUpdate(update).key(by_bot) == "bot"


def test_ids_are_given_to_key_functions_that_take_them() -> None:
    assert takes_ids(per_user_chat) == {"user", "chat", "business", "direct_topic"}
    assert takes_ids(by_shop) == {"shop"}
    assert takes_ids(ByAnybody()) == {"chat"}
    assert takes_ids(by_bot) is None
    assert takes_ids(lambda update=None: None) is None
    assert FromIds({"shop": 3}).key(by_shop) == "shop-3"


def test_ids_for_a_key_function_that_takes_updates_only_are_refused() -> None:
    with pytest.raises(SessionKeyError, match="by_bot takes updates only"):
        FromIds({"chat": 42}).key(by_bot)


def test_ids_that_a_key_function_does_not_know_are_refused_by_name() -> None:
    with pytest.raises(SessionKeyError, match="per_user knows no chat, topic; it takes user"):
        FromIds({"user": 5, "chat": 42, "topic": 1}).key(per_user)


def test_ids_that_give_no_key_are_named() -> None:
    why = FromIds({"user": 5}).no_key(per_user_chat)
    assert why == "The key function per_user_chat gives no key for user."
    why = FromIds({}).no_key(ByAnybody())
    assert why == "The key function ByAnybody gives no key for no ids."


class Job(NamedTuple):
    chat_id: int | None = None
    user_id: int | None = None
    name: str = "remind"


@pytest.mark.parametrize(
    ("job", "function", "key"),
    [
        (Job(chat_id=-9, user_id=5), per_chat, "-9"),
        (Job(chat_id=-9, user_id=5), per_user, "5"),
        (Job(chat_id=-9, user_id=5), per_user_chat, "5/-9"),
        (Job(chat_id=-9), per_topic, "-9"),
        (Job(chat_id=-9), per_user, None),
        (Job(chat_id=-9), by_bot, None),
        (Job(), per_chat, None),
    ],
)
def test_f5_a_job_has_the_key_that_its_ids_give(job: Any, function: Any, key: str | None) -> None:
    assert FromJob(job).key(function) == key


def test_f5_a_job_without_a_key_says_why() -> None:
    job: Any = Job(chat_id=-9)
    assert "per_user gives no key for chat" in FromJob(job).no_key(per_user)
    assert "by_bot takes updates only" in FromJob(job).no_key(by_bot)


def test_a_session_without_a_key_reads_as_none_for_updates_and_for_jobs_without_ids() -> None:
    jobs: list[Any] = [Job(), Job(chat_id=-9)]
    sources = [FromUpdate(Update(1)), *map(FromJob, jobs), FromIds({"user": 5}), FromKey("42")]
    assert [source.readable(per_chat) for source in sources] == [True, True, False, False, False]


def test_a_key_from_outside_is_taken_as_it_is() -> None:
    assert FromKey("5/-9").key(per_user) == "5/-9"
    assert FromKey("5/-9").about(per_user) is None


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (per_chat, "chat"),
        (per_user, "user"),
        (per_user_chat, "user and no chat"),
        (per_topic, "chat"),
    ],
)
def test_a3_an_update_without_a_key_says_what_it_lacks(function: Any, missing: str) -> None:
    assert f"has no {missing}, so" in FromUpdate(an_update("poll", POLL)).no_key(function)


@pytest.mark.parametrize(
    ("case", "function"),
    [
        ("an anonymous admin", per_user),
        ("an anonymous admin", per_user_chat),
        ("a direct message of no customer", per_chat),
        ("a reaction in some topic of a forum", per_topic),
        ("a guest's message from a private chat", per_chat),
    ],
)
def test_a3_an_update_that_hides_whose_it_is_says_so(case: str, function: Any) -> None:
    skip_what_is_newer(case)
    kind, content, _ = CASES[case]
    why = FromUpdate(an_update(kind, content)).no_key(function)
    assert "does not show exactly which chat, topic or person" in why


def test_a3_a_key_function_that_gave_none_is_named() -> None:
    assert "by_shop returned None" in FromUpdate(Update(1)).no_key(by_shop)


def test_f9_what_is_no_update_of_telegram_has_no_key() -> None:
    assert FromUpdate("a string").key(per_chat) is None
    assert "A str has no session" in FromUpdate("a string").no_key(per_chat)


IN_ANOTHER_NAME = message(sender_chat=CHANNEL, **{"from": AS_CHANNEL})


DIRECT_MESSAGE = message(
    DIRECT, **{"from": {"id": 6, "is_bot": False, "first_name": "Admin"}}, **FOR_CUSTOMER
)


@pytest.mark.parametrize(
    ("content", "function", "about"),
    [
        (message(PRIVATE), per_chat, About(5, None, "private", "Maria Rossi")),
        (message(GROUP), per_chat, About(-9, None, "supergroup", "Pizza")),
        (message(GROUP), per_user, About(None, 5, None, "Maria Rossi")),
        (message(GROUP), per_user_chat, About(-9, 5, "supergroup", "Maria Rossi, Pizza")),
        (message(PRIVATE), per_user_chat, About(5, 5, "private", "Maria Rossi")),
        (message(GROUP), by_bot, About(-9, None, "supergroup", "Pizza")),
        (message(PRIVATE), by_bot, About(5, 5, "private", "Maria Rossi")),
        (IN_ANOTHER_NAME, per_user, About(None, -8, None, "News")),
        (IN_ANOTHER_NAME, per_user_chat, About(-9, -8, "supergroup", "News, Pizza")),
        (message(sender_chat=GROUP, **{"from": ANONYMOUS}), per_user, About()),
        (DIRECT_MESSAGE, per_chat, About(-9, 5, "supergroup", "Maria Rossi, News Direct")),
        (DIRECT_MESSAGE, per_topic, About(-9, 5, "supergroup", "Maria Rossi, News Direct")),
        (DIRECT_MESSAGE, by_bot, About(-9, 5, "supergroup", "Maria Rossi, News Direct")),
        (DIRECT_MESSAGE, per_user, About(None, 6, None, "Admin")),
    ],
)
def test_a_session_is_about_those_whose_ids_are_in_its_key(
    content: Json, function: Any, about: About
) -> None:
    assert FromUpdate(an_update("message", content)).about(function) == about


def test_names_that_not_every_database_can_store_are_told_as_far_as_they_can_be() -> None:
    update = an_update("message", message({**GROUP, "title": "\0 Pizza \ud800 🍕"}))
    assert FromUpdate(update).about(per_chat) == About(-9, None, "supergroup", "? Pizza ? 🍕")


def test_an_update_of_nobody_is_about_nobody() -> None:
    assert FromUpdate(Update(1)).about(per_user_chat) == About()


def test_ids_tell_about_chat_and_user() -> None:
    assert FromIds({"user": 5, "chat": -9, "shop": 3}).about(per_chat) == About(-9, 5)
    assert FromIds({"shop": 3}).about(by_shop) is None
    assert FromIds({"chat": "a name"}).about(by_shop) is None
    job: Any = Job(chat_id=-9, user_id=5)
    assert FromJob(job).about(per_user) == About(user_id=5)


def test_f7_what_a_migration_writes_is_the_supergroups() -> None:
    update = an_update("message", message(GROUP))
    assert FromMigration(update, -100).about(per_chat) == About(-100, None, "supergroup", "Pizza")
    assert FromMigration(update, -100).about(per_user) == About(None, 5, None, "Maria Rossi")


def test_who_works_with_a_session_is_told_by_update_or_job() -> None:
    job: Any = Job()
    sources = [FromUpdate(Update(7)), FromUpdate("text"), FromJob(job), FromIds({}), FromKey("42")]
    assert [source.by for source in sources] == ["update:7", "", "job:remind", "", ""]


def test_the_ids_of_chat_and_user_are_known_as_far_as_there_are_any() -> None:
    source = FromUpdate(an_update("message", message(GROUP)))
    assert (source.ids, source.chat_id) == ({"chat": -9, "user": 5}, -9)
    assert (FromUpdate(Update(1)).ids, FromUpdate("text").chat_id) == ({}, None)
    assert FromIds({"chat": -9}).chat_id == -9
    assert (FromKey("42").ids, FromKey("42").chat_id) == ({}, None)
