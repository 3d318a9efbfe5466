"""Keys: rule F6, and what a key function of one's own may be and give."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import Bot, Update, User
from telegram import __version_info__ as telegram_version

from botsessions.exceptions import SessionKeyError
from botsessions.keys import (
    check_key,
    escaped,
    joined,
    per_chat,
    per_topic,
    per_user,
    per_user_chat,
)
from botsessions.testing.offline import OfflineTelegram

from .strategies import TEXT

pytestmark = pytest.mark.once

Json = dict[str, Any]
USER = {"id": 5, "is_bot": False, "first_name": "Maria", "last_name": "Rossi"}
PRIVATE = {"id": 5, "type": "private", "first_name": "Maria", "last_name": "Rossi"}
GROUP = {"id": -9, "type": "supergroup", "title": "Pizza"}
FORUM = {**GROUP, "is_forum": True}
CHANNEL = {"id": -8, "type": "channel", "title": "News"}
DIRECT = {**GROUP, "title": "News Direct", "is_direct_messages": True}
BOT = {"id": 1, "is_bot": True, "first_name": "Bot"}
ANONYMOUS = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
AS_CHANNEL = {"id": 136817688, "is_bot": True, "first_name": "Channel"}
TELEGRAM = {"id": 777000, "is_bot": False, "first_name": "Telegram"}


def message(chat: Json = GROUP, **fields: Any) -> Json:
    return {"message_id": 1, "date": 0, "chat": chat, "from": USER, "text": "Hello", **fields}


def post(chat: Json = CHANNEL, **fields: Any) -> Json:
    return {"message_id": 1, "date": 0, "chat": chat, "sender_chat": chat, **fields}


def pressed(**fields: Any) -> Json:
    return {"id": "1", "from": USER, "chat_instance": "1", "data": "x", **fields}


def member(chat: Json) -> Json:
    status = {"user": USER, "status": "member"}
    changed = {"chat": chat, "from": USER, "date": 0}
    return {**changed, "old_chat_member": status, "new_chat_member": status}


BOOST = {
    "boost_id": "1",
    "add_date": 0,
    "expiration_date": 0,
    "source": {"source": "premium", "user": USER},
}
POLL = {
    "id": "1",
    "question": "?",
    "options": [],
    "total_voter_count": 0,
    "is_closed": False,
    "is_anonymous": True,
    "type": "regular",
    "allows_multiple_answers": False,
    "allows_revoting": False,
    "members_only": False,
}
REACTION = {"chat": GROUP, "message_id": 1, "date": 0}
ADDRESS = {
    "country_code": "IT",
    "state": "",
    "city": "Napoli",
    "street_line1": "",
    "street_line2": "",
    "post_code": "",
}
PRICE = {"currency": "EUR", "total_amount": 1}
BUSINESS = {"business_connection_id": "biz"}


class Keys(NamedTuple):
    """What each of the key functions gives."""

    chat: str | None
    user: str | None
    user_chat: str | None
    topic: str | None


IN_GROUP = Keys("-9", "5", "5/-9", "-9")
GROUP_ALONE = Keys("-9", None, None, "-9")
CHANNEL_ALONE = Keys("-8", None, None, "-8")
USER_ALONE = Keys(None, "5", None, None)
IN_BUSINESS = Keys("biz/5", "5", "5/biz/5", "biz/5")
NOBODY = Keys(None, None, None, None)
AS_A_CHANNEL = Keys("-9", "-8", "-8/-9", "-9")
WITH_A_CUSTOMER = Keys("-9/70", "5", "5/-9/70", "-9/70")

KINDS: dict[str, tuple[Json, Keys]] = {
    "message": (message(), IN_GROUP),
    "edited_message": (message(), IN_GROUP),
    "channel_post": (post(), CHANNEL_ALONE),
    "edited_channel_post": (post(), CHANNEL_ALONE),
    "inline_query": ({"id": "1", "from": USER, "query": "x", "offset": ""}, USER_ALONE),
    "chosen_inline_result": ({"result_id": "1", "from": USER, "query": "x"}, USER_ALONE),
    "callback_query": (pressed(message=message(**{"from": BOT})), IN_GROUP),
    "shipping_query": (
        {"id": "1", "from": USER, "invoice_payload": "x", "shipping_address": ADDRESS},
        USER_ALONE,
    ),
    "pre_checkout_query": ({"id": "1", "from": USER, "invoice_payload": "x", **PRICE}, USER_ALONE),
    "poll": (POLL, NOBODY),
    "poll_answer": (
        {"poll_id": "1", "user": USER, "option_ids": [0], "option_persistent_ids": ["0"]},
        USER_ALONE,
    ),
    "my_chat_member": (member(GROUP), IN_GROUP),
    "chat_member": (member(GROUP), IN_GROUP),
    "chat_join_request": (
        {"chat": GROUP, "from": USER, "user_chat_id": 5, "date": 0},
        IN_GROUP,
    ),
    "chat_boost": ({"chat": GROUP, "boost": BOOST}, GROUP_ALONE),
    "removed_chat_boost": (
        {"chat": GROUP, "boost_id": "1", "remove_date": 0, "source": BOOST["source"]},
        GROUP_ALONE,
    ),
    "message_reaction": (
        {**REACTION, "user": USER, "old_reaction": [], "new_reaction": []},
        IN_GROUP,
    ),
    "message_reaction_count": ({**REACTION, "reactions": []}, GROUP_ALONE),
    "business_connection": (
        {"id": "biz", "user": USER, "user_chat_id": 5, "date": 0, "is_enabled": True},
        USER_ALONE,
    ),
    "business_message": (message(PRIVATE, **BUSINESS), IN_BUSINESS),
    "edited_business_message": (message(PRIVATE, **BUSINESS), IN_BUSINESS),
    "deleted_business_messages": (
        {**BUSINESS, "chat": PRIVATE, "message_ids": [1]},
        Keys("biz/5", None, None, "biz/5"),
    ),
    "purchased_paid_media": ({"from": USER, "paid_media_payload": "x"}, USER_ALONE),
    "managed_bot": ({"user": USER, "bot": BOT}, USER_ALONE),
    "guest_message": (message(guest_query_id="1"), USER_ALONE),
}

IN_TOPIC = {"message_thread_id": 7, "is_topic_message": True}
FOR_CUSTOMER = {"direct_messages_topic": {"topic_id": 70, "user": USER}}


def unseen(chat: Json) -> Json:
    """Return a message that the bot cannot see any more."""
    return {"chat": chat, "message_id": 1, "date": 0}


def reacted(chat: Json, **fields: Any) -> Json:
    return {**REACTION, "chat": chat, "old_reaction": [], "new_reaction": [], **fields}


CASES: dict[str, tuple[str, Json, Keys]] = {
    "a private chat": ("message", message(PRIVATE), Keys("5", "5", "5/5", "5")),
    "a forum topic": ("message", message(FORUM, **IN_TOPIC), Keys("-9", "5", "5/-9", "-9/7")),
    "a forum's general topic": ("message", message(FORUM), IN_GROUP),
    "a thread of replies": ("message", message(message_thread_id=7), IN_GROUP),
    "an edited message of a topic": (
        "edited_message",
        message(FORUM, **IN_TOPIC),
        Keys("-9", "5", "5/-9", "-9/7"),
    ),
    "a topic in a private chat": (
        "message",
        message(PRIVATE, **IN_TOPIC),
        Keys("5", "5", "5/5", "5/7"),
    ),
    "a button in a topic": (
        "callback_query",
        pressed(message=message(FORUM, **IN_TOPIC)),
        Keys("-9", "5", "5/-9", "-9/7"),
    ),
    "a button of a business message": (
        "callback_query",
        pressed(message=message(PRIVATE, **BUSINESS)),
        IN_BUSINESS,
    ),
    "a button of a message that is no longer accessible": (
        "callback_query",
        pressed(message=unseen(GROUP)),
        IN_GROUP,
    ),
    "a button of a forum's message that is no longer accessible": (
        "callback_query",
        pressed(message=unseen(FORUM)),
        IN_GROUP._replace(topic=None),
    ),
    "a button of a private message that is no longer accessible, and may be a business one": (
        "callback_query",
        pressed(message=unseen(PRIVATE)),
        USER_ALONE,
    ),
    "a button of a direct message that is no longer accessible": (
        "callback_query",
        pressed(message=unseen(DIRECT)),
        USER_ALONE,
    ),
    "a button of an inline message": (
        "callback_query",
        pressed(inline_message_id="1"),
        USER_ALONE,
    ),
    "a button under a channel's post": (
        "callback_query",
        pressed(message=post()),
        Keys("-8", "5", "5/-8", "-8"),
    ),
    "a post that is signed by its author": (
        "channel_post",
        post(**{"from": USER}),
        Keys("-8", "5", "5/-8", "-8"),
    ),
    "an anonymous admin": (
        "message",
        message(sender_chat=GROUP, **{"from": ANONYMOUS}),
        GROUP_ALONE,
    ),
    "an anonymous admin's edited message": (
        "edited_message",
        message(sender_chat=GROUP, **{"from": ANONYMOUS}),
        GROUP_ALONE,
    ),
    "an anonymous admin behind a stand-in that nobody knows yet": (
        "message",
        message(sender_chat=GROUP, **{"from": BOT}),
        GROUP_ALONE,
    ),
    "an anonymous admin who changes a member": (
        "chat_member",
        {**member(GROUP), "from": ANONYMOUS},
        GROUP_ALONE,
    ),
    "an anonymous admin who promotes the bot": (
        "my_chat_member",
        {**member(GROUP), "from": ANONYMOUS},
        GROUP_ALONE,
    ),
    "somebody who writes as a channel": (
        "message",
        message(sender_chat=CHANNEL, **{"from": AS_CHANNEL}),
        AS_A_CHANNEL,
    ),
    "a channel's post in its discussion group": (
        "message",
        message(sender_chat=CHANNEL, is_automatic_forward=True, **{"from": TELEGRAM}),
        AS_A_CHANNEL,
    ),
    "a message of Telegram itself": ("message", message(**{"from": TELEGRAM}), GROUP_ALONE),
    "an anonymous reaction": ("message_reaction", reacted(GROUP, actor_chat=GROUP), GROUP_ALONE),
    "a reaction as a channel": (
        "message_reaction",
        reacted(GROUP, actor_chat=CHANNEL),
        AS_A_CHANNEL,
    ),
    "a reaction in some topic of a forum": (
        "message_reaction",
        reacted(FORUM, user=USER),
        IN_GROUP._replace(topic=None),
    ),
    "counted reactions in some topic of a forum": (
        "message_reaction_count",
        {**REACTION, "chat": FORUM, "reactions": []},
        GROUP_ALONE._replace(topic=None),
    ),
    "a reaction in a private chat, which may have topics": (
        "message_reaction",
        reacted(PRIVATE, user=USER),
        Keys("5", "5", "5/5", None),
    ),
    "a reaction to some customer's direct message": (
        "message_reaction",
        reacted(DIRECT, user=USER),
        USER_ALONE,
    ),
    "an anonymous answer to a poll": (
        "poll_answer",
        {"poll_id": "1", "voter_chat": GROUP, "option_ids": [0], "option_persistent_ids": ["0"]},
        NOBODY,
    ),
    "an answer to a poll as a channel": (
        "poll_answer",
        {
            "poll_id": "1",
            "option_ids": [0],
            "option_persistent_ids": ["0"],
            "voter_chat": CHANNEL,
            "user": AS_CHANNEL,
        },
        USER_ALONE._replace(user="-8"),
    ),
    "a customer's direct message to a channel": (
        "message",
        message(DIRECT, **FOR_CUSTOMER),
        WITH_A_CUSTOMER,
    ),
    "an edited direct message": (
        "edited_message",
        message(DIRECT, **FOR_CUSTOMER),
        WITH_A_CUSTOMER,
    ),
    "a channel's answer to a customer": (
        "message",
        message(DIRECT, sender_chat=CHANNEL, **{"from": AS_CHANNEL}, **FOR_CUSTOMER),
        Keys("-9/70", "-8", "-8/-9/70", "-9/70"),
    ),
    "a button of a direct message": (
        "callback_query",
        pressed(message=message(DIRECT, **{"from": BOT}, **FOR_CUSTOMER)),
        WITH_A_CUSTOMER,
    ),
    "a direct message of no customer": ("message", message(DIRECT), USER_ALONE),
    "a member of a channel's direct messages": ("chat_member", member(DIRECT), USER_ALONE),
    "a guest's message from a private chat": (
        "guest_message",
        message(PRIVATE, guest_query_id="1"),
        USER_ALONE,
    ),
    "a guest who is an anonymous admin": (
        "guest_message",
        message(sender_chat=GROUP, guest_query_id="1", **{"from": ANONYMOUS}),
        NOBODY,
    ),
    "a business connection whose id is a number": (
        "business_message",
        message(PRIVATE, business_connection_id="77/8"),
        Keys("%377%2F8/5", "5", "5/%377%2F8/5", "%377%2F8/5"),
    ),
}


def an_update(kind: str, content: Json) -> Update:
    return Update.de_json({"update_id": 1, kind: content}, None)


CONTENTS = [(kind, content) for kind, (content, _) in KINDS.items()]


def from_user(user: Json, content: Json) -> Json:
    return {name: user if value == USER else value for name, value in content.items()}


def in_chat(chat: Json, content: Json) -> Json:
    """Return an update's content in another chat, without what shows the place in there."""
    if "message" in content:
        return {**content, "message": in_chat(chat, content["message"])}
    return {name: chat if name == "chat" else value for name, value in content.items()}


def keys_of(update: Update) -> Keys:
    functions = (per_chat, per_user, per_user_chat, per_topic)
    return Keys(*(function(update) for function in functions))


@pytest.mark.parametrize("kind", [str(kind) for kind in Update.ALL_TYPES])
def test_f6_every_kind_of_update_has_its_keys(kind: str) -> None:
    """A kind that a new python-telegram-bot adds fails until it is in the table."""
    content, keys = KINDS[kind]
    update = an_update(kind, content)
    assert getattr(update, kind) is not None
    assert keys_of(update) == keys


SINCE_22_8 = {"a post that is signed by its author", "a guest's message from a private chat"}


@pytest.mark.parametrize("case", CASES)
def test_f6_special_cases_have_their_keys(case: str) -> None:
    skip_what_is_newer(case)
    kind, content, keys = CASES[case]
    assert keys_of(an_update(kind, content)) == keys


def skip_what_is_newer(case: str) -> None:
    """Skip a case of which an older python-telegram-bot knows nothing, so that there is no key."""
    if case in SINCE_22_8 and telegram_version < (22, 8):
        pytest.skip("This python-telegram-bot does not know such updates.")


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content[0])
def test_f11_no_kind_of_update_takes_a_stand_in_for_a_person(content: tuple[str, Json]) -> None:
    kind, fields = content
    for stand_in in ANONYMOUS, AS_CHANNEL, TELEGRAM:
        keys = keys_of(an_update(kind, from_user(stand_in, fields)))
        assert keys.user is keys.user_chat is None


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content[0])
def test_f11_no_kind_of_update_from_direct_messages_is_of_all_customers(
    content: tuple[str, Json],
) -> None:
    kind, fields = content
    keys = keys_of(an_update(kind, in_chat(DIRECT, fields)))
    assert keys.chat is keys.user_chat is keys.topic is None


def test_f11_two_customers_of_a_channel_have_a_session_each() -> None:
    other = {"direct_messages_topic": {"topic_id": 71, "user": USER | {"id": 6}}}
    for function in per_chat, per_user_chat, per_topic:
        one, two = (
            function(an_update("message", message(DIRECT, **topic)))
            for topic in (FOR_CUSTOMER, other)
        )
        assert one != two


def test_f11_a_guest_has_no_session_of_the_chat_whose_id_is_the_same() -> None:
    guest = an_update("guest_message", message(PRIVATE, guest_query_id="1"))
    assert per_chat(guest) != per_chat(an_update("message", message(PRIVATE)))


@pytest.mark.skipif(not hasattr(User, "has_topics_enabled"), reason="It does not say what it may.")
@pytest.mark.parametrize("may", [False, True])
def test_f11_what_the_bot_may_decides_what_a_message_that_it_cannot_see_is(
    may: bool,
) -> None:
    """A bot that is never in business accounts keeps the session below an old message."""
    telegram = OfflineTelegram()
    abilities = {"can_connect_to_business": may, "has_topics_enabled": may}
    telegram.answers["getMe"] = {**BOT, "username": "bot", **abilities}
    bot = Bot("1:OFFLINE", request=telegram, get_updates_request=telegram)
    asyncio.run(bot.initialize())
    content = pressed(message=unseen(PRIVATE))
    update = Update.de_json({"update_id": 1, "callback_query": content}, bot)
    assert per_chat(update) == (None if may else "5")
    assert per_topic(update) == (None if may else "5")
    reaction = reacted(PRIVATE, user=USER)
    update = Update.de_json({"update_id": 1, "message_reaction": reaction}, bot)
    assert per_chat(update) == "5"
    assert per_topic(update) == (None if may else "5")


def test_f6_an_update_of_an_unknown_kind_has_no_key() -> None:
    assert keys_of(Update(1)) == NOBODY


# By ids.


@pytest.mark.parametrize(
    ("function", "ids", "key"),
    [
        (per_chat, {"chat": 42}, "42"),
        (per_chat, {"chat": -1001}, "-1001"),
        (per_chat, {"chat": 42, "business": "biz"}, "biz/42"),
        (per_user, {"user": 5}, "5"),
        (per_user_chat, {"user": 5, "chat": -9}, "5/-9"),
        (per_user_chat, {"user": 5, "chat": -9, "business": "biz"}, "5/biz/-9"),
        (per_topic, {"chat": -9}, "-9"),
        (per_topic, {"chat": -9, "topic": 7}, "-9/7"),
        (per_topic, {"chat": -9, "topic": 7, "business": "biz"}, "biz/-9/7"),
        (per_chat, {"chat": -9, "direct_topic": 70}, "-9/70"),
        (per_user_chat, {"user": 5, "chat": -9, "direct_topic": 70}, "5/-9/70"),
        (per_chat, {"business": "biz"}, None),
        (per_user, {}, None),
        (per_user_chat, {"user": 5}, None),
        (per_user_chat, {"chat": -9}, None),
        (per_topic, {"topic": 7}, None),
    ],
)
def test_ids_by_name_give_the_key_that_an_update_gives(
    function: Any, ids: Json, key: str | None
) -> None:
    assert function(**ids) == key


@pytest.mark.parametrize(
    ("function", "ids"),
    [
        (per_chat, {"chat": "42"}),
        (per_user, {"user": "5"}),
        (per_user_chat, {"user": 5, "chat": "-9"}),
        (per_user_chat, {"user": "5", "chat": -9}),
        (per_topic, {"chat": -9, "topic": "7"}),
        (per_topic, {"chat": -9, "topic": ""}),
        (per_chat, {"chat": -9, "direct_topic": "70"}),
        (per_user_chat, {"user": 5, "chat": -9, "direct_topic": "70"}),
    ],
)
def test_an_id_that_is_text_is_refused_instead_of_giving_another_key(
    function: Any, ids: Json
) -> None:
    with pytest.raises(SessionKeyError, match="ids are numbers"):
        function(**ids)


CONFUSABLE = st.text("12-/%", max_size=3)
PARTS = st.lists(st.integers() | TEXT | CONFUSABLE, min_size=1, max_size=3)


@given(PARTS, PARTS)
def test_different_parts_never_give_one_key(one: list[int | str], other: list[int | str]) -> None:
    assert (joined(*one) == joined(*other)) == (one == other)


@given(CONFUSABLE, CONFUSABLE)
def test_text_that_looks_escaped_or_like_a_number_is_kept_apart(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


@given(TEXT)
def test_text_is_never_taken_for_a_number_and_holds_no_slash(part: str) -> None:
    key = escaped(part)
    assert "/" not in key
    assert not key.lstrip("-").isdecimal()


# What a key may be.


@pytest.mark.parametrize("key", ["42", "k" * 255, "🍕" * 255, "a b", "a/b", "a%", "ä"])
def test_a_key_that_every_database_keeps_apart_is_taken(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (42, "is int"),
        (b"42", "is bytes"),
        ("", "is empty"),
        ("k" * 256, "has 256 characters; it may have 255"),
        ("42 ", "begins or ends with a blank"),
        ("\n42", "begins or ends with a blank"),
        ("4\x002", "NUL"),
        ("4\ud8002", "surrogate"),
        ("\udfff42", "surrogate"),
    ],
)
def test_a_key_that_some_database_does_not_keep_apart_is_refused(key: object, problem: str) -> None:
    with pytest.raises(SessionKeyError, match=problem) as caught:
        check_key(key)
    assert "Mend the key function" in str(caught.value)
