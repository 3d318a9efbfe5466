"""Whose job a session key stands for, and what is stored of a job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from botsessions import MemoryStorage, multi_session, session
from botsessions.callbacks import Callback, Whose, callback_of, storage_of_jobs
from botsessions.codec import Codec
from botsessions.exceptions import SessionDataError, SessionKeyError, StoredJobError
from botsessions.records import Address
from botsessions.storages import DatabaseStorage

pytestmark = pytest.mark.once

HERE = Address("shop", "job:remind", "5/tea")

ids = st.one_of(st.none(), st.integers(1, 2**40), st.integers(-(2**40), -1))
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)


async def remind(context: Any) -> None: ...


@given(ids, ids, names)
def test_a_key_says_again_whose_job_it_is(chat: int | None, user: int | None, name: str) -> None:
    whose = Whose.of(name, chat=chat, user=user)
    assert Whose.of_key(whose.key) == whose


@given(ids.filter(bool), ids, names, st.none() | names, st.none() | st.integers(1, 2**40))
def test_a_key_tells_apart_chats_of_one_id(
    chat: int, user: int | None, name: str, business: str | None, topic: int | None
) -> None:
    assume(3 * len(f"{name}{business}".encode()) < 200)  # Escaped, it fits into a key.
    whose = Whose.of(name, chat=chat, user=user, business=business, direct_topic=topic)
    assert Whose.of_key(whose.key) == whose


def test_a_person_and_the_private_chat_are_the_same() -> None:
    assert Whose.of("a", chat=5) == Whose.of("a", user=5) == Whose.of("a", chat=5, user=5)
    assert Whose.of("a", user=5)[:3] == (5, 5, "a")
    assert Whose.of("a", chat=-5)[:3] == (-5, None, "a")
    assert Whose.of("a", chat=-5, user=5).key == "-5/5/a"


def test_names_that_look_like_ids_are_names() -> None:
    keys = {
        Whose.of("5/a", chat=-5).key,
        Whose.of("a", chat=-5, user=5).key,
        Whose.of("-5").key,
        Whose.of("t5/a", chat=-5).key,
        Whose.of("a", chat=-5, direct_topic=5).key,
    }
    assert keys == {"-5/%35%2Fa", "-5/5/a", "%2D5", "-5/t5%2Fa", "-5/t5/a"}


@pytest.mark.parametrize("key", ["1/2/3/a", "a/b", "1/", "x1/a"])
def test_another_key_is_no_jobs(key: str) -> None:
    with pytest.raises(SessionKeyError, match="no key of a stored job"):
        Whose.of_key(key)


@pytest.mark.parametrize("stored", [None, [], {}, {"data": "x"}])
def test_what_was_stored_by_others_is_refused(stored: Any) -> None:
    with pytest.raises(SessionDataError, match="'5/tea' of fragment 'job:remind' of bot 'shop'"):
        Callback("remind", remind, Codec(int)).decode(HERE, stored)


def test_a_missing_callback_is_named_with_those_that_there_are() -> None:
    with pytest.raises(StoredJobError, match="callback 'remind', which the code does not have"):
        callback_of(HERE)


def test_jobs_are_where_the_first_fragment_is_that_is_in_a_database() -> None:
    here, there = DatabaseStorage(using="default"), DatabaseStorage(history=3)
    several = multi_session(
        a=session(storage=MemoryStorage()), b=session(storage=here), c=session(storage=there)
    )
    assert storage_of_jobs(several.fragments) is here
    assert storage_of_jobs(multi_session().fragments) == DatabaseStorage()
